"""An executor for TFX's Pusher that lets a blessed model out atomically."""

import json
import logging
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.pusher.versions import WithdrawnError, push

_log = logging.getLogger(__name__)

PUSH_FILE = "push.json"

ONLY_NEW = "only_new"
"""Key of `custom_config`: whether a model that was in service before stays out."""


class Executor(executor.Executor):
    """Pushes a blessed model as one new numbered version (`components.pusher.versions`).

    Unlike TFX's executor, which copies files one by one into the version's folder, it never shows Serving half a model, pushes
    the same model only once, and keeps no second copy in the artifact.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the push.

        Args:
            input_dict: `model`, `model_blessing` and, if there is an infra check, `infra_blessing`.
            output_dict: `pushed_model`; gets `push.json` and the properties `pushed` (0 or 1) and, if it was, `pushed_destination`
                and `pushed_version`. A model that was rolled back is not pushed; `why` in `push.json` says so.
            exec_properties: `push_destination`, a `pusher_pb2.PushDestination` as JSON with `filesystem.base_directory`, and
                `custom_config`, JSON, which may have `ONLY_NEW`.

        Raises:
            ClickrankError: As `components.pusher.versions.push`, but for a model that was rolled back.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        folder = Path(pushed_model.uri)
        folder.mkdir(parents=True, exist_ok=True)
        # TFX's check lets a model without any blessing pass.
        if not input_dict.get(standard_component_specs.MODEL_BLESSING_KEY) or not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed_model)
            _record(folder, {"pushed": False})
            _log.info("not pushed: the model is not blessed, or a server cannot serve it")
            return

        destination = pusher_pb2.PushDestination()  # type: ignore[attr-defined]
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        try:
            only_new = bool((json.loads(exec_properties.get("custom_config") or "null") or {}).get(ONLY_NEW))
            version = push(self.GetModelPath(input_dict), destination.filesystem.base_directory, only_new=only_new)
        except WithdrawnError as error:
            self._MarkNotPushed(pushed_model)
            _record(folder, {"pushed": False, "why": str(error)})
            _log.info("not pushed: %s", error)
            return
        self._MarkPushed(pushed_model, pushed_destination=str(version.path), pushed_version=str(version.number))
        _record(
            folder,
            {
                "pushed": True,
                "version": version.number,
                "path": str(version.path),
                "digest": version.digest,
                "reused": version.reused,
            },
        )
        _log.info("%s version %d in %s", "was already" if version.reused else "pushed", version.number, version.path)


def _record(folder: Path, what: dict[str, Any]) -> None:
    (folder / PUSH_FILE).write_text(json.dumps(what, indent=2) + "\n")
