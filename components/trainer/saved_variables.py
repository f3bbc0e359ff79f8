"""The variables of a model on disk, by name: of a SavedModel or a checkpoint, whatever object graph it was saved with.

TensorFlow stores values by their path in the object graph that was saved (`model/deep/ad_id/.ATTRIBUTES/VARIABLE_VALUE`), and the
graph beside them, which knows the name that a variable has in its model (`clickrank/deep/ad_id`). The names are what a checkpoint
and a SavedModel of the same model have in common.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from schemas.errors import ConfigError, InputDataError

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"  # the attribute of a variable; Python state and lookup tables have others
_IN_SAVED_MODEL = "variables/variables"
_KINDS = ("best", "step", "ckpt")  # of checkpoints in a folder, from the most wanted on
_CHECKPOINT = re.compile(rf"({'|'.join(_KINDS)})-(\d+)\.index")
_MODEL = ("model_variables", "model")  # what a SavedModel of ours, and a checkpoint of ours, calls the model
_NOT_MODEL = ("save_counter", "keras_api")  # a counter of tf.train.Checkpoint; metrics, in SavedModels that Keras wrote
# A child of every new or old optimizer of Keras. The slots of an old one are nobody's children, so are not come upon.
_OF_OPTIMIZER = frozenset({"_iterations", "iter"})

# The reader maps some of TensorFlow's errors to Python's: out of range, which a file cut short gives, and invalid argument.
_DAMAGES = (tf.errors.OpError, IndexError, ValueError, DecodeError)


class Spec(NamedTuple):
    """A variable's shape and the name of its dtype."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Source:
    """Saved variables.

    Attributes:
        path: Prefix of the checkpoint's files.
        variables: Of each name.
        read: Name -> value, read from the disk; raises InputDataError if it is damaged.
    """

    path: str
    variables: Mapping[str, Spec]
    read: Callable[[str], np.ndarray]


def read_variables(path: str) -> Source:
    """Opens what a model was saved to; values are not read yet.

    Left out are optimizers and all that is not a variable. Where the saved object has a part `model_variables` or `model`, as all
    that this project writes, only that part counts.

    Args:
        path: Folder of a SavedModel, prefix of a checkpoint (`.../step-120`), or folder of checkpoints, of which the newest
            `best-N` is taken, else the newest `step-N`, else the newest `ckpt-N`.

    Raises:
        ConfigError: There is nothing of the kind at `path`, or it has no object graph, or no variable, or two of one name.
        InputDataError: It is damaged.
    """
    prefix = _find(path)
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        if _GRAPH not in shapes:
            raise ConfigError(f"{prefix}: not a checkpoint of TensorFlow 2, it has no object graph")
        keys = _model_variables(TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH)), prefix)
    except _DAMAGES as error:
        raise _damaged(prefix, error) from error
    gone = [key for key in keys.values() if key not in shapes]
    if gone:
        raise InputDataError(f"{prefix}: damaged, it lacks {gone[0]}")

    def read(name: str) -> np.ndarray:
        try:
            return reader.get_tensor(keys[name])
        except _DAMAGES as error:
            raise _damaged(prefix, error) from error

    return Source(prefix, {name: Spec(tuple(shapes[key]), dtypes[key].name) for name, key in keys.items()}, read)


def _find(path: str) -> str:
    """Returns the prefix of the checkpoint that `path` means."""
    inside = posixpath.join(path, _IN_SAVED_MODEL)
    for prefix in (inside, path):
        if tf.io.gfile.exists(f"{prefix}.index"):
            return prefix
    if tf.io.gfile.exists(posixpath.join(path, "saved_model.pb")):
        raise InputDataError(f"{path}: a SavedModel without {_IN_SAVED_MODEL}.index")
    if tf.io.gfile.isdir(path):
        found = [match for match in map(_CHECKPOINT.fullmatch, tf.io.gfile.listdir(path)) if match]
        if not found:
            raise ConfigError(f"{path}: neither a SavedModel nor a folder with checkpoints")
        kind = next(kind for kind in _KINDS if any(match[1] == kind for match in found))
        return posixpath.join(path, f"{kind}-{max(int(match[2]) for match in found if match[1] == kind)}")
    if tf.io.gfile.glob(f"{path}.data-*"):
        raise InputDataError(f"{path}: a checkpoint without {posixpath.basename(path)}.index")
    raise ConfigError(f"{path}: no such SavedModel, checkpoint or folder")


def _model_variables(graph: TrackableObjectGraph, prefix: str) -> dict[str, str]:
    """Returns name -> key of the model's variables, in the order of their names."""
    root = {child.local_name: child.node_id for child in graph.nodes[0].children} if graph.nodes else {}
    todo = [next((root[part] for part in _MODEL if part in root), 0)] if graph.nodes else []
    seen = {root[name] for name in _NOT_MODEL if name in root}
    found: list[tuple[str, str]] = []
    while todo:
        node_id = todo.pop()
        node = graph.nodes[node_id]
        if node_id in seen or _OF_OPTIMIZER & {child.local_name for child in node.children}:
            continue
        seen.add(node_id)
        todo += [child.node_id for child in node.children]
        found += [(a.full_name or a.checkpoint_key, a.checkpoint_key) for a in node.attributes if a.name == _VALUE]
    if not found:
        raise ConfigError(f"{prefix}: holds no variables of a model")
    twice = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    if twice:
        raise ConfigError(f"{prefix}: several variables are called {min(twice)}; names must tell them apart")
    return dict(sorted(found))


def _damaged(prefix: str, error: Exception) -> InputDataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputDataError(f"{prefix}: damaged, it cannot be read: {reason}")
