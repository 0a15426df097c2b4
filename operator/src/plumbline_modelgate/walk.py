"""Visits every node, attribute and tensor of a graph, and of the graphs inside it."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod

from onnx import AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, defs

from plumbline_modelgate.errors import Bounds, ModelRefused, text

BITS = {
    TensorProto.FLOAT: 32,
    TensorProto.DOUBLE: 64,
    TensorProto.FLOAT16: 16,
    TensorProto.BFLOAT16: 16,
    TensorProto.INT8: 8,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.UINT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
}
"""Bits of one element in `raw_data`. Types that are not here are refused, strings are counted apart."""


def walk(graph: GraphProto, versions: dict[str, int], bounds: Bounds) -> None:
    """Raises ModelRefused at the first node or tensor that may not be in a model."""
    seen = 0
    pending = [(graph, "graph", 1)]
    while pending:
        inside, where, depth = pending.pop()
        if depth > bounds.depth:
            raise ModelRefused("TooDeep", f"{where} nests graphs deeper than {bounds.depth}")
        seen += len(inside.node)
        if seen > bounds.nodes:
            raise ModelRefused("TooManyNodes", f"the model has more than {bounds.nodes} nodes")
        _tensors(inside.initializer, f"{where}.initializer", bounds)
        _sparse(inside.sparse_initializer, f"{where}.sparse_initializer", bounds)
        for position, node in enumerate(inside.node):
            here = f"{where}.node[{position}]"
            here += f" ({text(node.op_type, here):.100})"
            _node(node, here, versions)
            pending += [(inner, f"{here}.{name}", depth + 1) for name, inner in _attributes(node, here, bounds)]


def _node(node: NodeProto, where: str, versions: dict[str, int]) -> None:
    """A standard operator of an imported domain."""
    named = text(node.domain, f"{where}.domain")
    domain = "" if named == "ai.onnx" else named
    version = versions.get(domain)
    if version is None:
        raise ModelRefused(
            "Domain", f"{where} is of the domain {node.domain!r}, which the model does not import or may not use"
        )
    if not defs.has(node.op_type, version, domain):
        raise ModelRefused(
            "CustomOperator",
            f"{where} is no operator of {domain or 'ai.onnx'} version {version}; only standard operators are allowed",
        )
    if node.overload:
        raise ModelRefused("LocalFunction", f"{where} names the overload {node.overload!r} of a local function")


def _attributes(node: NodeProto, where: str, bounds: Bounds) -> Iterator[tuple[str, GraphProto]]:
    """Checks the tensors in a node's attributes and yields the graphs in them."""
    for attribute in node.attribute:
        name = text(attribute.name, f"{where}.attribute")[:100]
        here = f"{where}.{name}"
        if attribute.ref_attr_name:
            raise ModelRefused("LocalFunction", f"{here} refers to an attribute of a function, outside of one")
        _tensors(_one(attribute, "t"), here, bounds)
        _tensors(attribute.tensors, here, bounds)
        _sparse(_one(attribute, "sparse_tensor"), here, bounds)
        _sparse(attribute.sparse_tensors, here, bounds)
        for graph in (*_one(attribute, "g"), *attribute.graphs):
            yield name, graph


def _one(attribute: AttributeProto, field: str) -> list[object]:
    return [getattr(attribute, field)] if attribute.HasField(field) else []


def _sparse(tensors: Iterable[SparseTensorProto], where: str, bounds: Bounds) -> None:
    """Both halves of a sparse tensor may point outside, and its dense shape may be huge."""
    for tensor in tensors:
        _tensors((tensor.values, tensor.indices), where, bounds)
        _dimensions(tensor.dims, where, bounds)


def _tensors(tensors: Iterable[TensorProto], where: str, bounds: Bounds) -> None:
    for tensor in tensors:
        here = f"{where}[{text(tensor.name, where)[:100]!r}]"
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ModelRefused(
                "ExternalData",
                f"{here} keeps its data in another file; save the model as one file (save_as_external_data=False)",
            )
        if tensor.HasField("segment"):
            raise ModelRefused("Segment", f"{here} is a segment of a larger tensor; save it whole")
        _dimensions(tensor.dims, here, bounds)
        _amount(tensor, here)


def _dimensions(dims: Sequence[int], where: str, bounds: Bounds) -> None:
    if len(dims) > bounds.rank:
        raise ModelRefused("Dimension", f"{where} has {len(dims)} dimensions; at most {bounds.rank} are allowed")
    for dimension in dims:
        if not 0 <= dimension <= bounds.dimension:
            raise ModelRefused("Dimension", f"{where} has a dimension of {dimension}; 0 to {bounds.dimension}")


def _amount(tensor: TensorProto, where: str) -> None:
    """Its shape promises as many elements as it carries; a small file must not unpack into a huge tensor."""
    promised = prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        carried = len(tensor.string_data)
    elif tensor.data_type not in BITS:
        raise ModelRefused("ElementType", f"{where} has the element type {tensor.data_type}, which is not allowed")
    elif tensor.HasField("raw_data"):
        carried, promised = len(tensor.raw_data), (promised * BITS[tensor.data_type] + 7) // 8
    else:
        carried, promised = _listed(tensor), _listable(tensor, promised)
    if carried != promised:
        raise ModelRefused("TensorSize", f"{where} promises {promised} elements or bytes and carries {carried}")


def _listed(tensor: TensorProto) -> int:
    """Elements in the typed lists, whichever of them this element type uses."""
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    return sum(len(getattr(tensor, field)) for field in fields)


def _listable(tensor: TensorProto, elements: int) -> int:
    """List entries for that many elements: two 4-bit numbers share one."""
    return (elements + 1) // 2 if BITS[tensor.data_type] == 4 else elements
