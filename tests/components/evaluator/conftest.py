"""Real evaluations of tiny models, by the Evaluator and by TFX's."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.rows import random_rows

IN_PROCESS = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def eval_rows() -> pa.Table:
    """80 displays: some without a click, a large one, missing scores and slice columns."""
    rows = random_rows(80, seed=3)
    display = rows["display_id"].to_numpy()
    label = rows["label"].to_numpy().copy()
    label[display % 10 == 0] = 0  # displays without a click
    display = np.where(display <= 4, 1, display)  # a display of more than 12 ads and several clicks
    same = {"event_platform": 1, "event_country": "US", "ads_per_display": 20}
    for name, value in (("display_id", display), ("label", label)):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(value))
    for name, constant in same.items():
        column = [constant if d == 1 else v for d, v in zip(display, rows[name].to_pylist(), strict=True)]
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(column, rows.schema.field(name).type))
    return rows


class EvaluatorRun:
    """Runs the Evaluator as the pipeline does, or TFX's own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.runs = 0

    def examples(self, rows: pa.Table, shards: int):
        import tensorflow as tf
        from tfx.components.util import examples_utils
        from tfx.types import standard_artifacts

        from transforms.examples import encode

        artifact = standard_artifacts.Examples()
        self.runs += 1
        artifact.uri = str(self.folder / f"examples-{self.runs}")
        artifact.split_names = '["eval"]'
        examples_utils.set_payload_format(artifact, 6)
        (Path(artifact.uri) / "Split-eval").mkdir(parents=True)
        encoded = encode(rows)
        for shard in range(shards):  # rows of a display end up in several shards
            path = f"{artifact.uri}/Split-eval/data-{shard:05d}.gz"
            with tf.io.TFRecordWriter(path, "GZIP") as writer:
                for example in encoded[shard::shards]:
                    writer.write(example)
        return artifact

    def model(self, **scorer):
        from tfx.types import standard_artifacts

        from tests.components.saved_models import save_scorer

        self.runs += 1
        artifact = standard_artifacts.Model()
        artifact.uri = str(self.folder / f"model-{self.runs}")
        save_scorer(Path(artifact.uri) / "Format-Serving", **scorer)
        return artifact

    def __call__(self, config, examples, model, baseline=None, tfx=False, beam_args=(IN_PROCESS,)):
        """Returns the evaluation's folder and whether the Evaluator wrote a blessing; `tfx` takes TFX's executor."""
        from tfx.components.evaluator.executor import Executor as TfxExecutor
        from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
        from tfx.types import standard_artifacts
        from tfx.utils import proto_utils

        from components.evaluator.executor import Executor

        self.runs += 1
        evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
        evaluation.uri = str(self.folder / f"evaluation-{self.runs}")
        blessing.uri = str(self.folder / f"blessing-{self.runs}")
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=list(beam_args),
            tmp_dir=str(self.folder / "tmp"),
            unique_id=str(self.runs),
        )
        inputs = {"examples": [examples], "model": [model]} | ({"baseline_model": [baseline]} if baseline else {})
        properties = {"eval_config": proto_utils.proto_to_json(config), "example_splits": '["eval"]'}
        if tfx:
            properties["module_path"] = "components.evaluator.extractors"
        executor = TfxExecutor if tfx else Executor
        executor(context).Do(inputs, {"evaluation": [evaluation], "blessing": [blessing]}, properties)
        return Path(evaluation.uri), Path(blessing.uri).exists() or blessing.has_custom_property("blessed")


@pytest.fixture(scope="session")
def evaluator(tmp_path_factory):
    return EvaluatorRun(tmp_path_factory.mktemp("evaluator"))


@pytest.fixture(scope="session")
def rows():
    return eval_rows()
