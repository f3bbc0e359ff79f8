"""An ExampleValidator that stops the run when the data is not what the schema says."""

import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_component_specs

from schemas.errors import InputDataError


class Executor(executor.Executor):
    """Writes the anomalies as TFX's executor does, then raises if there are any."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Runs the validation; arguments as TFX's ExampleValidator.

        Raises:
            InputDataError: A split has anomalies; one line names each feature, its split and what is wrong with it.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict[standard_component_specs.ANOMALIES_KEY])
        found = []
        for split in artifact_utils.decode_split_names(artifact.split_names):
            anomalies = anomalies_pb2.Anomalies()
            path = os.path.join(artifact_utils.get_split_uri([artifact], split), executor.DEFAULT_FILE_NAME)
            with open(path, "rb") as file:
                anomalies.ParseFromString(file.read())
            found += [f"{split} {line}" for line in describe(anomalies)]
        if found:
            raise InputDataError(f"examples do not fit the schema: {'; '.join(found)}")
        return result


class StrictExampleValidator(component.ExampleValidator):
    """TFX's ExampleValidator with an executor that raises on anomalies; same inputs, same output `anomalies`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def describe(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """Returns `feature: what is wrong` for each anomaly, sorted by feature; one line each."""
    lines = [
        f"{name}: {' '.join(reason.short_description + ': ' + reason.description for reason in info.reason)}"
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"data set: {anomalies.dataset_anomaly_info.description}")
    return [" ".join(line.split()) for line in lines]
