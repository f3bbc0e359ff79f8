"""The serving contract: what a client of the exported model sends, and what it gets.

Both signatures take raw tf.Examples, i.e. the columns of the feature table before Transform, so that a client encodes nothing.
A request needs no key column (`features.KEYS`), and any feature may be absent: an absent one is missing, as in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas import features

if TYPE_CHECKING:
    import tensorflow as tf

FEATURES_FILE = "assets.extra/features.json"
"""In a SavedModel's folder: the `features` section of the configuration by which its features were made."""

REPLAY_REPORT = "replay.json"
"""Beside the SavedModel in the Trainer's artifact: how far the exported model's scores are from the trained one's."""

EXAMPLES = "examples"
SCORE = "score"
RANK = "rank"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor of a signature; None in `shape` is any number."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    about: str

    def as_tf(self) -> "tf.TensorSpec":
        """Returns the same as TensorFlow says it."""
        import tensorflow as tf

        return tf.TensorSpec(self.shape, tf.as_dtype(self.dtype), name=self.name)


@dataclass(frozen=True, slots=True)
class Signature:
    """One callable of the SavedModel."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    about: str


_EXAMPLES = TensorSpec(EXAMPLES, "string", (None,), "serialised raw tf.Examples, one an ad")
_SCORE = TensorSpec(SCORE, "float32", (None,), "click probability, in the order of the input")
_RANK = TensorSpec(
    RANK, "int64", (None,), "rank in the order of the input, 1 is best; of equal scores, the one given first is better"
)

SERVING_DEFAULT = Signature("serving_default", (_EXAMPLES,), (_SCORE,), "scores ads, of any displays")
RANK_DISPLAY = Signature("rank", (_EXAMPLES,), (_SCORE, _RANK), "scores and ranks all candidate ads of one display")
SIGNATURES: tuple[Signature, ...] = (SERVING_DEFAULT, RANK_DISPLAY)


def raw_feature_spec(label: bool) -> dict[str, Any]:
    """Returns the `tf.io.parse_example` spec of raw tf.Examples, from the feature table.

    Args:
        label: True is the spec of the Examples that training reads: every feature and key; the keys that are not optional are
            required. False is the spec of a request: the features alone.

    Returns:
        Name -> `tf.io.VarLenFeature` (a feature or an optional key) or `tf.io.FixedLenFeature` of shape () (a required key).
    """
    import tensorflow as tf

    spec: dict[str, Any] = {f.name: tf.io.VarLenFeature(tf.as_dtype(f.dtype)) for f in features.FEATURES}
    if label:
        for key in features.KEYS:
            dtype = tf.as_dtype(key.dtype)
            spec[key.name] = tf.io.VarLenFeature(dtype) if key.optional else tf.io.FixedLenFeature((), dtype)
    return spec


def check_signatures(signatures: Mapping[str, Any], wanted: Sequence[Signature] = SIGNATURES) -> None:
    """Checks that a loaded SavedModel's `signatures` are those of this module, or some of them.

    Raises:
        ValueError: A signature is missing, or its inputs or outputs differ in name, dtype or shape.
    """
    for want in wanted:
        if want.name not in signatures:
            raise ValueError(f"the model has no signature {want.name!r}. Received: {sorted(signatures)}")
        got = signatures[want.name]
        for side, specs, found in (
            ("input", want.inputs, got.structured_input_signature[1]),
            ("output", want.outputs, got.structured_outputs),
        ):
            expected = {s.name: (s.dtype, s.shape) for s in specs}
            received = {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in found.items()}
            if received != expected:
                raise ValueError(f"signature {want.name!r}: {side}s should be {expected}. Received: {received}")
