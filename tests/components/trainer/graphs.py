"""What a traced step does to a table."""

from collections.abc import Iterator

import tensorflow as tf

ROW_OPS = {
    "ResourceGather",
    "ResourceScatterAdd",
    "ResourceScatterSub",
    "ResourceScatterUpdate",
    "ResourceSparseApplyFtrlV2",
    "VariableShape",  # a gradient's dense_shape
}
"""Operations on a variable that touch the rows they are given."""


def whole_table_operations(concrete, rows: int) -> list[str]:
    """Returns the operations of a concrete function, as `type name`, that make or read something as long as a table.

    Such is what gives a float tensor whose first dimension is `rows`, also within the branch of a condition, and what takes the
    handle of a variable of that length (slots have it, too) and is not one of ROW_OPS.
    """
    tables = {id(inner) for outer, inner in concrete.graph.captures if _handle_shape(outer)[:1] == [rows]}
    assert tables, "the function has no table"
    users = [
        operation
        for operation in concrete.graph.get_operations()
        if any(id(given) in tables for given in operation.inputs) and operation.type not in ROW_OPS
    ]
    makers = [operation for graph in _graphs(concrete.graph) for operation in graph.get_operations() if _is_long(operation, rows)]
    return [f"{operation.type} {operation.name}" for operation in [*users, *makers]]


def _is_long(operation: tf.Operation, rows: int) -> bool:
    return any(output.dtype.is_floating and output.shape.rank and output.shape[0] == rows for output in operation.outputs)


def _graphs(graph: tf.Graph) -> Iterator[tf.Graph]:
    """Yields a graph and those of the functions that its operations call."""
    yield graph
    for operation in graph.get_operations():
        for name, attribute in operation.node_def.attr.items():
            assert not attribute.list.func, f"{operation.type} has a list of functions, {name}"
            if attribute.HasField("func"):
                yield from _graphs(graph._get_function(attribute.func.name).graph)


def _handle_shape(handle: tf.Tensor) -> list[int]:
    """The shape of the variable that a captured tensor is the handle of; [] if it is none."""
    if handle.dtype != tf.resource or not handle._handle_data.is_set:
        return []
    shape = tf.TensorShape(handle._handle_data.shape_and_type[0].shape)
    return shape.as_list() if shape.rank else []
