"""What the metadata store knows of one run, and where its files are now: a root may have been moved since."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.paths import RootPaths
from pipeline.report import content
from pipeline.store import Outputs, outputs_of

BLESSED, MODEL_ID, BASELINE_ID = "blessed", "current_model_id", "baseline_model_id"
"""Properties of a blessing, as TFX names them."""

_RUN = "pipeline_run"
_OUTPUT = metadata_store_pb2.Event.OUTPUT
_INPUT = metadata_store_pb2.Event.INPUT


class NotThereError(Exception):
    """Something that a part of the report needs is not there; the message is the sentence that the report shows."""


class RunArtifacts:
    """The executions and artifacts of one run.

    Args:
        store: The metadata store of the root.
        paths: The root, where it is now.
        run_id: The run.

    Raises:
        NotThereError: The store does not know the run.
    """

    def __init__(self, store: mlmd.MetadataStore, paths: RootPaths, run_id: str):
        context = store.get_context_by_type_and_name(_RUN, run_id)
        if context is None:
            raise NotThereError(f"The metadata store knows no run {run_id}: it ended before its first node.")
        self._store = store
        self._paths = paths
        self._context = context
        self.run_id = run_id

    @cached_property
    def outputs(self) -> Outputs:
        """Node -> output -> artifact."""
        return outputs_of(self._store, self._context)

    @cached_property
    def executions(self) -> dict[str, metadata_store_pb2.Execution]:
        """Node -> its latest execution in the run, in the order of the executions."""
        found = {}
        for execution in sorted(self._store.get_executions_by_context(self._context.id), key=lambda e: e.id):
            for context in self._store.get_contexts_by_execution(execution.id):
                if self._store.get_context_types_by_id([context.type_id])[0].name == "node":
                    found[context.name.rpartition(".")[2]] = execution
        return found

    @property
    def started(self) -> float:
        """Seconds since 1970."""
        return self._context.create_time_since_epoch / 1000

    def folder(self, node: str, output: str) -> Path:
        """Where an output is.

        Raises:
            NotThereError: The run did not get there, or the folder is gone.
        """
        artifact = self.outputs.get(node, {}).get(output)
        if artifact is None:
            raise NotThereError(f"The run has no {output}: {node} did not come to its end.")
        path = locate(artifact.uri, self._paths.root)
        if not path.exists():
            raise NotThereError(f"{relative(artifact.uri, self._paths.root)} is gone, the {output} of {node}.")
        return path

    def property_of(self, node: str, name: str) -> str:
        """A parameter that a node ran with, "" if there is none."""
        execution = self.executions.get(node)
        return execution.custom_properties[name].string_value if execution and name in execution.custom_properties else ""

    @cached_property
    def blessed_id(self) -> int | None:
        """Id of the model that was the latest blessed one when this run was judged, or began if it was not judged."""
        own = self.outputs.get("Gate", {}).get("blessing")
        return (_number(own, BASELINE_ID) if own is not None else self._latest_blessed()) or None

    @cached_property
    def blessed_before(self) -> "RunArtifacts | None":
        """The run that made that model."""
        if self.blessed_id is None:
            return None
        makers = sorted(self._store.get_events_by_artifact_ids([self.blessed_id]), key=lambda event: event.execution_id)
        for event in makers:
            for context in self._store.get_contexts_by_execution(event.execution_id):
                if event.type == _OUTPUT and self._store.get_context_types_by_id([context.type_id])[0].name == _RUN:
                    return RunArtifacts(self._store, self._paths, context.name)
        return None

    def _latest_blessed(self) -> int:
        earlier = [
            blessing
            for blessing in self._store.get_artifacts_by_type("ModelBlessing")
            if blessing.create_time_since_epoch < self._context.create_time_since_epoch
            and _number(blessing, BLESSED) == 1
            and MODEL_ID in blessing.custom_properties
        ]
        return _number(max(earlier, key=lambda blessing: blessing.id), MODEL_ID) if earlier else 0

    def lineage(self, chain: tuple[tuple[str, str, str], ...]) -> tuple[tuple[content.Artifact, ...], tuple[content.Artifact, ...]]:
        """Returns the artifacts of a chain, and all others of the run.

        Args:
            chain: What each artifact is, the node that makes it, the output.
        """
        roles = {(node, output): role for role, node, output in chain}
        places = [place for place in roles if place[1] in self.outputs.get(place[0], {})]
        rest = [(node, output) for node, outputs in self.outputs.items() for output in outputs if (node, output) not in roles]
        named, others = (
            tuple(self._describe(*place, role=roles.get(place, place[1])) for place in some) for some in (places, rest)
        )
        return named, others

    def _describe(self, node: str, output: str, role: str) -> content.Artifact:
        artifact = self.outputs[node][output]
        made_by = min(
            event.execution_id for event in self._store.get_events_by_artifact_ids([artifact.id]) if event.type == _OUTPUT
        )
        run_id = next(iter(self._runs_of(made_by)), self.run_id)
        return content.Artifact(
            artifact.id,
            role,
            relative(artifact.uri, self._paths.root),
            node,
            made_by,
            tuple(sorted({e.artifact_id for e in self._store.get_events_by_execution_ids([made_by]) if e.type == _INPUT})),
            locate(artifact.uri, self._paths.root).exists(),
            run_id if run_id != self.run_id else None,
        )

    def _runs_of(self, execution_id: int) -> Iterator[str]:
        for context in self._store.get_contexts_by_execution(execution_id):
            if self._store.get_context_types_by_id([context.type_id])[0].name == _RUN:
                yield context.name


def locate(uri: str, root: Path) -> Path:
    """Returns where an artifact is: below `root`, also if that was moved or copied since; at `uri` if it never was below a root.

    The layout is TFX's, ROOT/artifacts/NODE/OUTPUT/EXECUTION.
    """
    below = _below_artifacts(Path(uri))
    return Path(uri) if below is None else root / below


def relative(uri: str, root: Path) -> str:
    """Returns an artifact's path relative to the root, also if that was moved; whole if it is not below it."""
    path = Path(uri)
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    below = _below_artifacts(path)
    return str(below) if below is not None else uri


def _below_artifacts(path: Path) -> Path | None:
    places = [i for i, part in enumerate(path.parts) if part == "artifacts"]
    return Path(*path.parts[places[-1] :]) if places else None


def _number(artifact: Any, name: str) -> int:
    return artifact.custom_properties[name].int_value if name in artifact.custom_properties else 0
