"""Components that make a pipeline run in seconds: examples and a model without any work. Importable, as runners demand."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model


@component
def TinyExamples(displays: Parameter[int], examples: OutputArtifact[Examples]) -> None:  # noqa: N802
    """Writes random rows as the eval split."""
    import tensorflow as tf
    from tfx.components.util import examples_utils

    from tests.rows import random_rows
    from transforms.examples import encode

    folder = Path(examples.uri, "Split-eval")
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        for example in encode(random_rows(displays)):
            writer.write(example)
    examples.split_names = '["eval"]'
    examples_utils.set_payload_format(examples, 6)


@component
def TinyTrainer(weight: Parameter[float], model: OutputArtifact[Model]) -> None:  # noqa: N802
    """Saves a model that ranks by weight * pop_ad_id, with a report that it was replayed."""
    from schemas.serving import REPLAY_REPORT
    from tests.components.saved_models import save_scorer

    save_scorer(Path(model.uri, "Format-Serving"), weight=weight)
    Path(model.uri, REPLAY_REPORT).write_text('{"skew": 0.0}')
