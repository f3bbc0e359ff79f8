"""Whether the exported model scores raw Examples as the trained one scores what Transform and Prebatch made of them."""

import json
import posixpath

import numpy as np
import tensorflow as tf

from components.prebatch.replay import REPLAY_FILE, REPLAY_FOLDER
from components.trainer.input import Records, unpack
from components.trainer.scorers.contract import Scorer
from schemas import serving
from schemas.errors import ClickrankError

TOLERANCE = 1e-5
"""Largest difference of two probabilities of a click that are the same."""


def check_replay(model: Scorer, serving_model_dir: str, evaluation: Records) -> None:
    """Scores the replay Examples in both ways, and writes `serving.REPLAY_REPORT` beside the export: JSON with `skew`, the largest
    difference of two probabilities, and `displays`, how many were scored.

    Args:
        model: The trained model.
        serving_model_dir: The export of it.
        evaluation: The eval split's records, which the replay Examples were taken from.

    Raises:
        ClickrankError: A score differs by more than `TOLERANCE`: the export is not the model that was trained.
    """
    served = _served(serving_model_dir, evaluation)
    trained = _trained(model, evaluation, set(served))
    # Rows have no name of their own; but a display's scores, in order, must be the same.
    worst, where = 0.0, 0
    for display, scores in served.items():
        expected = trained.get(display, np.zeros(0))
        difference = np.abs(np.sort(scores) - np.sort(expected)).max() if len(scores) == len(expected) else np.inf
        if not difference <= worst:
            worst, where = float(difference), display
    if not worst <= TOLERANCE:
        raise ClickrankError(
            f"training-serving skew: the exported model's scores of display {where} differ by {worst:g} from the trained "
            f"model's, more than {TOLERANCE:g}; nothing was exported"
        )
    # Not inside the SavedModel: what is pushed is the model alone.
    with tf.io.gfile.GFile(posixpath.join(posixpath.dirname(serving_model_dir.rstrip("/")), serving.REPLAY_REPORT), "w") as file:
        file.write(json.dumps({"skew": worst, "displays": len(served)}) + "\n")


def _served(serving_model_dir: str, evaluation: Records) -> dict[int, np.ndarray]:
    path = posixpath.join(posixpath.dirname(evaluation.folder.rstrip("/")), REPLAY_FOLDER, REPLAY_FILE)
    examples = tf.stack(list(tf.data.TFRecordDataset(path)))  # (n,)
    ids = tf.io.parse_example(examples, {"display_id": tf.io.FixedLenFeature([], tf.int64)})["display_id"].numpy()
    signature = tf.saved_model.load(serving_model_dir).signatures[serving.SERVING_DEFAULT.name]
    return _by_display(ids, signature(examples)[serving.SCORE].numpy())


def _trained(model: Scorer, evaluation: Records, displays: set[int]) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    for record in evaluation.read():
        inputs, _ = unpack({dtype: tf.constant(block) for dtype, block in record.blocks.items()}, evaluation.layout)
        scores = tf.sigmoid(model(inputs, training=False)).numpy()
        found |= _by_display(np.repeat(record.display_ids, record.sizes), scores)
        if displays <= found.keys():
            break
    return found


def _by_display(ids: np.ndarray, scores: np.ndarray) -> dict[int, np.ndarray]:
    order = np.argsort(ids, kind="stable")
    distinct, starts = np.unique(ids[order], return_index=True)
    return dict(zip(distinct.tolist(), np.split(scores[order], starts[1:]), strict=True))
