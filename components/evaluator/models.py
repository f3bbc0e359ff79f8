"""Whether a SavedModel can be judged at all, asked before the work begins."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from components.evaluator.names import PREDICTION_KEY, SIGNATURE
from schemas.errors import InputDataError


def check_model(folder: str, examples: list[bytes], columns: Mapping[str, str], whose: str) -> None:
    """Checks that a model scores raw tf.Examples, by scoring some.

    A model whose graph reads a column that the Examples do not hold would run, and take it as missing from every row: its scores
    would be worse than what it gave when it was blessed, and beating it would mean nothing. So that is an error, too.

    Args:
        folder: The SavedModel.
        examples: A few rows, one at least.
        columns: Name -> dtype of the columns that Examples hold, as TensorFlow calls the dtypes.
        whose: What to call the model in messages, such as "the latest blessed model".

    Raises:
        InputDataError: It cannot be judged; the message says why and names the folder.
    """
    graph = _meta_graph(folder, whose)
    if SIGNATURE not in graph.signature_def:
        have = ", ".join(sorted(name for name in graph.signature_def if not name.startswith("__"))) or "none"
        raise InputDataError(f"{whose}, {folder}: has no signature {SIGNATURE!r}. Received: {have}")
    reads = dict(_columns_read(graph))
    gone = sorted(name for name in reads if name not in columns)
    if gone:
        raise InputDataError(f"{whose}, {folder}: reads columns that the examples do not have: {', '.join(gone)}")
    changed = sorted(f"{name} as {kind}, now {columns[name]}" for name, kind in reads.items() if kind != columns[name])
    if changed:
        raise InputDataError(f"{whose}, {folder}: reads columns that have another type now: {'; '.join(changed)}")
    try:
        model = tf.saved_model.load(folder)
        outputs = model.signatures[SIGNATURE](tf.constant(examples))
        shape = outputs[PREDICTION_KEY].shape
    except KeyError as error:
        raise InputDataError(f"{whose}, {folder}: its signature {SIGNATURE!r} gives no {error}") from error
    except (tf.errors.OpError, OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputDataError(f"{whose}, {folder}: cannot be loaded and run; is a part of it missing or damaged? {first}") from error
    if shape.num_elements() != len(examples):
        raise InputDataError(f"{whose}, {folder}: must give one score a row. Received: shape {shape} for {len(examples)} rows")


def _meta_graph(folder: str, whose: str) -> meta_graph_pb2.MetaGraphDef:
    path = Path(folder) / tf.saved_model.SAVED_MODEL_FILENAME_PB
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "damaged"
        raise InputDataError(f"{whose}, {path}: {why}") from error
    graphs = [graph for graph in saved.meta_graphs if tf.saved_model.SERVING in graph.meta_info_def.tags]
    if not graphs:
        raise InputDataError(f"{whose}, {path}: holds no graph to serve")
    return graphs[0]


def _columns_read(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, str]]:
    """Yields name and dtype of the columns that the ops that parse tf.Examples in a graph and its functions ask for."""
    for nodes in [graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function)]:
        by_name = {node.name: node for node in nodes}
        for node in nodes:
            if node.op == "ParseExampleV2":
                yield from _keys(node, by_name)


def _keys(node: node_def_pb2.NodeDef, by_name: Mapping[str, node_def_pb2.NodeDef]) -> Iterator[tuple[str, str]]:
    # Inputs: serialized, names, sparse_keys, dense_keys, ragged_keys, defaults of the dense.
    kinds = {2: node.attr["sparse_types"].list.type, 3: node.attr["Tdense"].list.type, 4: node.attr["ragged_value_types"].list.type}
    for place, types in kinds.items():
        constant = by_name.get(node.input[place].partition(":")[0])
        if constant is None or "value" not in constant.attr:
            continue
        names = tf.make_ndarray(constant.attr["value"].tensor).reshape(-1)
        yield from ((name.decode(), tf.as_dtype(kind).name) for name, kind in zip(names, types, strict=True))
