"""The operations that a served model may have, and those of a SavedModel that are none of them; nothing is loaded or run."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from schemas.errors import InputDataError

_GROUPS = {
    "requests are parsed, in memory": "ParseExample ParseExampleV2 DecodeRaw",
    "constants, inputs, and what hands them on": ("Const Identity IdentityN NoOp Placeholder PlaceholderWithDefault StopGradient"),
    "variables are read": "VarHandleOp ReadVariableOp ResourceGather ResourceGatherNd VariableShape VarIsInitializedOp",
    "calls and control flow; the functions called are looked at as well": (
        "PartitionedCall StatefulPartitionedCall If StatelessIf Case StatelessCase While StatelessWhile"
    ),
    "a request that cannot be answered fails by itself": "Assert EnsureShape CheckNumerics CheckNumericsV2",
    "strings become ids": (
        "AsString StringJoin StringToHashBucketFast StringToHashBucketStrong StringToNumber StringLength StringLower "
        "StringUpper StringStrip StringSplitV2 Substr StaticRegexFullMatch RegexFullMatch StaticRegexReplace "
        "RegexReplace Fingerprint Bucketize"
    ),
    "tables whose entries are in the graph": (
        "HashTableV2 MutableHashTableV2 InitializeTableV2 LookupTableFindV2 LookupTableImportV2 LookupTableSizeV2"
    ),
    "arithmetic": (
        "Add AddV2 AddN Sub Mul MulNoNan Div DivNoNan RealDiv FloorDiv FloorMod Mod Neg Abs Sign Square "
        "SquaredDifference Sqrt Rsqrt Reciprocal Pow Exp Expm1 Log Log1p Maximum Minimum ClipByValue Floor Ceil Round "
        "Rint Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Xlogy Xdivy Lgamma Digamma Erf Erfc Erfinv Cast Bitcast Cumsum "
        "Cumprod"
    ),
    "comparisons and logic": (
        "Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot ApproximateEqual IsFinite "
        "IsInf IsNan BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift"
    ),
    "sums and the like over an axis": "Sum Mean Prod Max Min Any All ArgMax ArgMin EuclideanNorm",
    "sums over groups": (
        "SegmentSum SegmentSumV2 SegmentMean SegmentMax UnsortedSegmentSum UnsortedSegmentMax UnsortedSegmentMin "
        "UnsortedSegmentProd SparseSegmentSum SparseSegmentMean SparseSegmentSqrtN Bincount DenseBincount"
    ),
    "shapes": (
        "Shape ShapeN Size Rank Reshape ExpandDims Squeeze Transpose BroadcastTo BroadcastArgs Fill ZerosLike OnesLike "
        "Range LinSpace Pack Unpack ConcatV2 Concat ConcatOffset Split SplitV Tile Pad PadV2 MirrorPad StridedSlice "
        "Slice ReverseV2 Roll InvertPermutation"
    ),
    "choosing, looking up and sorting": (
        "Select SelectV2 Where Gather GatherV2 GatherNd ScatterNd TensorScatterUpdate TensorScatterAdd OneHot TopK "
        "TopKV2 Unique UniqueV2 UniqueWithCounts InTopKV2 LowerBound UpperBound"
    ),
    "missing values are absent keys: sparse tensors": (
        "SparseToDense SparseReorder SparseReshape SparseFillEmptyRows SparseConcat SparseSlice SparseReduceSum "
        "SparseTensorDenseMatMul"
    ),
    "lists of any length": "RaggedRange RaggedGather RaggedTensorToTensor RaggedTensorToSparse",
    "loops collect what their turns give": (
        "TensorListReserve TensorListFromTensor TensorListGetItem TensorListSetItem TensorListStack TensorListLength "
        "TensorListElementShape TensorListConcatV2 TensorListGather EmptyTensorList TensorListPushBack "
        "TensorListPopBack"
    ),
    "layers": (
        "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum BiasAdd Relu Relu6 LeakyRelu Elu Selu Softplus Softsign "
        "Sigmoid Tanh Softmax LogSoftmax L2Loss FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 MatrixDiagV3 "
        "MatrixBandPart MatrixSetDiagV3 Cross"
    ),
}
"""Why a served model may have them -> operations. None of them runs code from outside of TensorFlow, opens a file or a
connection, changes a variable, or depends on chance. Our own models and TFT's graph need about seventy of them; the
rest is for a model of one's own (`model.custom`). `infra.allowed_ops` adds to it."""

ALLOWED: frozenset[str] = frozenset(op for ops in _GROUPS.values() for op in ops.split())

SAVER: frozenset[str] = frozenset(
    ("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "AssignVariableOp", "DisableCopyOnRead")
)
"""Every SavedModel has them: they read the variables' own files on loading, and set the variables. Allowed in the graph's saver
alone, which no request reaches."""


def read_saved_model(folder: Path) -> saved_model_pb2.SavedModel:
    """Parses `saved_model.pb`.

    Raises:
        InputDataError: It is missing or damaged.
    """
    path = folder / "saved_model.pb"
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except OSError as error:
        raise InputDataError(f"{path}: {error.strerror}") from error
    except DecodeError as error:
        raise InputDataError(f"{path}: damaged, is no SavedModel") from error
    if not saved.meta_graphs:
        raise InputDataError(f"{path}: damaged, has no graph")
    return saved


def refused_operations(saved: saved_model_pb2.SavedModel, more: Collection[str] = ()) -> dict[str, str]:
    """Returns operation -> where it is, for those that are not allowed; custom operations are among them, whatever their name.

    Args:
        saved: The SavedModel; all of its graphs and their functions are looked at.
        more: Operations that are allowed beside `ALLOWED`.
    """
    refused: dict[str, str] = {}
    for graph in saved.meta_graphs:
        functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
        saver = _saver_nodes(graph)
        others = [node for node in graph.graph_def.node if node.name not in saver]
        only_saver = _reached(saver.values(), functions) - _reached(others, functions)
        places: list[tuple[str, Iterable[node_def_pb2.NodeDef], bool]] = [("the graph", others, False)]
        places += [("the saver", saver.values(), True)]
        places += [(f"function {name}", nodes, name in only_saver) for name, nodes in functions.items()]
        for place, nodes, is_saver in places:
            allowed = ALLOWED.union(more, functions, SAVER if is_saver else ())
            for node in nodes:
                for op in {node.op, *_calls(node)} - allowed:
                    refused.setdefault(op, place)
    return refused


def _saver_nodes(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, node_def_pb2.NodeDef]:
    """The graph's nodes that save and restore variables, but for what a request or the initializer needs."""
    saver = graph.saver_def
    names = {_node(name) for name in (saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name) if name}
    fetched = {_node(t.name) for s in graph.signature_def.values() for t in s.outputs.values()}
    needed = _needed(graph.graph_def, fetched)
    return {node.name: node for node in graph.graph_def.node if node.name in names - needed}


def _needed(graph: graph_pb2.GraphDef, names: set[str]) -> set[str]:
    """The names of nodes, and of all that they take as input."""
    inputs = {node.name: [_node(name) for name in node.input] for node in graph.node}
    needed, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += inputs.get(name, [])
    return needed


def _reached(nodes: Iterable[node_def_pb2.NodeDef], functions: Mapping[str, Iterable[node_def_pb2.NodeDef]]) -> set[str]:
    """The names of the functions that nodes call, and those call in turn."""
    reached: set[str] = set()
    waiting = list(nodes)
    while waiting:
        for name in _calls(waiting.pop()):
            if name in functions and name not in reached:
                reached.add(name)
                waiting += functions[name]
    return reached


def _calls(node: node_def_pb2.NodeDef) -> set[str]:
    """The names of the functions that a node calls: its operation may be one, or its attributes name them."""
    named = [f.name for value in node.attr.values() for f in (value.func, *value.list.func) if f.name]
    return {*named, node.op}


def _node(name: str) -> str:
    """`^node` or `node:0` -> `node`."""
    return name.removeprefix("^").partition(":")[0]
