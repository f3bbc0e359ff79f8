from pathlib import Path

import tensorflow as tf
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from components.trainer.canonical import renumbered
from components.trainer.export import export
from components.trainer.model import build_model
from schemas import serving
from schemas.config import EncodingConfig, FeaturesConfig, ModelConfig
from tests.components.conftest import ENCODING, MODEL
from tests.rows import random_rows
from transforms.examples import encode


def test_functions_are_numbered_in_the_order_they_were_traced_in():
    assert renumbered(["b_120", "a_7", "c", "a_1003"]) == {"a_7": "a_1", "b_120": "b_2", "a_1003": "a_3"}


def test_the_same_model_exported_again_has_the_same_files_whatever_was_traced_before(transformed, tmp_path, monkeypatch):
    encoding, config = EncodingConfig(**ENCODING), ModelConfig(**MODEL)
    model = build_model(encoding.inputs(config.max_embedding_dim), config, 0)
    first, again = tmp_path / "first", tmp_path / "again"
    export(model, str(transformed / "tft"), str(first), FeaturesConfig())
    for i in range(3):
        tf.function(lambda x, i=i: x + i)(tf.constant(1))
    # As in a process where strings hash otherwise.
    keys = SavedModelLoader._get_unfed_input_keys
    monkeypatch.setattr(SavedModelLoader, "_get_unfed_input_keys", lambda self, given: sorted(keys(self, given), reverse=True))
    export(model, str(transformed / "tft"), str(again), FeaturesConfig())
    assert contents(first) == contents(again)

    signatures = tf.saved_model.load(str(again)).signatures
    serving.check_signatures(signatures)
    scores = signatures["serving_default"](tf.constant(encode(random_rows(20, seed=5))))["score"].numpy()
    assert len(set(scores)) > 1


def contents(folder: Path) -> dict[str, bytes]:
    """What the files hold, but for the fingerprint, which has a UUID."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "fingerprint.pb"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
