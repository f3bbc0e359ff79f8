"""Trained weights -> the SavedModel that the Evaluator and TensorFlow Serving load."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from unittest import mock

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from components.trainer.canonical import make_canonical
from components.trainer.scorers.contract import Scorer
from schemas import serving
from schemas.config import FeaturesConfig

ServingFn = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def make_serving_functions(model: Scorer, transform: Callable[..., dict[str, tf.Tensor]]) -> dict[str, ServingFn]:
    """Returns signature name -> function of serialised raw tf.Examples (n,), as `schemas.serving` says.

    Args:
        model: The model.
        transform: Raw features by name, sparse (n, any) -> model inputs; TFT's layer.
    """
    raw = serving.raw_feature_spec(label=False)
    spec = {f.name: raw[f.name] for f in model.features}

    def score(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        logit = model(transform(tf.io.parse_example(examples, spec)), training=False)  # (n,)
        return {serving.SCORE: tf.sigmoid(logit)}

    def rank(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = score(examples)
        order = tf.argsort(scores[serving.SCORE], direction="DESCENDING", stable=True)  # of equals, the first given comes first
        ranks = tf.argsort(order) + 1  # the inverse permutation, from 1
        return {**scores, serving.RANK: tf.cast(ranks, tf.int64)}

    return {serving.SERVING_DEFAULT.name: score, serving.RANK_DISPLAY.name: rank}


def export(model: Scorer, transform_output_dir: str, serving_model_dir: str, how_made: FeaturesConfig) -> None:
    """Saves `model` and the Transform in front of it.

    Args:
        model: Built outside of any strategy's scope: placements of a cluster in the graph break the Evaluator
            (https://github.com/tensorflow/tfx/issues/2894).
        transform_output_dir: Folder of the TFT output.
        serving_model_dir: Where the SavedModel goes.
        how_made: Settings by which the raw features were made; kept with the model for whoever has to make them again.
    """
    module = tf.Module(name="clickrank")
    module.transform = tft.TFTransformOutput(transform_output_dir).transform_features_layer()
    # Keras would number it by how many there have been in this process.
    module.transform._name = "transform_features"
    # The variables, not the model: Keras would add call functions of every layer that nobody calls.
    module.model_variables = model.variables
    functions = make_serving_functions(model, module.transform)
    signatures = {
        signature.name: tf.function(functions[signature.name], input_signature=[s.as_tf() for s in signature.inputs])
        for signature in serving.SIGNATURES
    }
    with _in_order():
        tf.saved_model.save(module, serving_model_dir, signatures=signatures)
    make_canonical(serving_model_dir)
    path = f"{serving_model_dir}/{serving.FEATURES_FILE}"
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(how_made.model_dump_json())


@contextmanager
def _in_order() -> Iterator[None]:
    """Lets TFT go through the columns that a request does not have in the order of their names: in that of a set, the same model
    makes another graph in every process."""
    unordered = SavedModelLoader._get_unfed_input_keys

    def ordered(self: SavedModelLoader, given: Iterable[str]) -> list[str]:
        return sorted(unordered(self, given))

    with mock.patch.object(SavedModelLoader, "_get_unfed_input_keys", ordered):
        yield
