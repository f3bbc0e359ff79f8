"""Which model a new one has to hold its own against."""

import logging

from ml_metadata import MetadataStore
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from components.pusher import versions
from components.pusher.manifest import read_manifest

_log = logging.getLogger(__name__)


class LatestBlessedOther(resolver.ResolverStrategy):
    """Resolves the blessed model in service, if it is not the candidate; else the latest blessed model other than the candidate.

    The two are the same, but after a rollback, or where a blessed model was not pushed since no server could serve it: a new model
    is compared with the one that it would replace, and not with one that was withdrawn.

    TFX's LatestBlessedModelStrategy would, when a pipeline is run again unchanged, resolve the very model that the Trainer's
    cache hands out: the baseline differs from the first run's, so nothing after it is served from the cache, and a model is
    compared with itself. Leaving out the candidate makes an unchanged run resolve what the first one did.

    The latest is that of the newest blessing, not of the newest model: an older model that was trained, blessed and pushed again
    is what is being served. A model whose folder is gone is passed over.

    With no such model the outputs are empty, and an optional input wired to them gets nothing:

        baseline = resolver.Resolver(
            strategy_class=LatestBlessedOther,
            model=types.Channel(type=standard_artifacts.Model),
            model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            candidate=trainer.outputs["model"],
            config={"serving": "folder of the pushed versions"},
        )
        Evaluator(model=trainer.outputs["model"], baseline_model=baseline.outputs["model"], ...)
    """

    def __init__(self, serving: str = ""):
        """Args: serving: Folder of the pushed versions; nothing is in service unless given."""
        self._serving = serving

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves the channels.

        Args:
            store: Not used; blessings name their models.
            input_dict: `model` and `model_blessing`, all of the pipeline's, and `candidate`, the model just trained.

        Returns:
            The same keys; `model` and `model_blessing` hold one artifact each or none.
        """
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        models = {artifact.id: artifact for artifact in input_dict["model"] if artifact.id not in candidates}
        found: list[tuple[types.Artifact, types.Artifact]] = []
        for blessing in sorted(input_dict["model_blessing"], key=lambda artifact: artifact.id, reverse=True):
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) != constants.BLESSED_VALUE:
                continue
            model = models.get(blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY))
            if model is None:
                continue
            if not fileio.exists(model.uri):
                _log.warning("blessed model %d is gone from %s; looking for an older one", model.id, model.uri)
                continue
            found.append((model, blessing))
        served = self._source_in_service()
        found.sort(key=lambda pair: path_utils.serving_model_path(pair[0].uri) != served)  # stable: else the newest stays first
        return {**input_dict, "model": [m for m, _ in found[:1]], "model_blessing": [b for _, b in found[:1]]}

    def _source_in_service(self) -> str | None:
        """The folder of which the version in service is a copy."""
        version = versions.current(self._serving) if self._serving else None
        manifest = read_manifest(version) if version else None
        return manifest.source if manifest else None
