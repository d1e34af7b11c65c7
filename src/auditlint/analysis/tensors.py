"""Tensors and modules: what their attributes, items, operators and methods give, read off the facts."""

from __future__ import annotations

import ast

from auditlint.analysis import conditions, expressions, spelling
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    ARRAY,
    MODULE,
    NONE,
    SCALAR,
    STR,
    TENSOR,
    TENSORS,
    UNKNOWN,
    Array,
    Const,
    Device,
    ExtInstance,
    ListObj,
    Mapping,
    Method,
    NNModule,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    any_device,
    const,
    element,
    join,
    join_all,
    settled,
    tup,
)
from auditlint.facts.returns import MODULE_ATTRIBUTES, MODULE_METHODS, NAMED_FIELDS, TENSOR_ATTRIBUTES, TENSOR_METHODS

KINDS: dict[str, Value] = {
    "tensor": TENSOR,
    "tensors": TENSORS,
    "named_tensors": Seq(tup((STR, TENSOR))),
    "tensor_dict": Mapping(TENSOR),
    "scalar": SCALAR,
    "host_tensor": Tensor(host=True),
    "array": ARRAY,
    "list": Seq(SCALAR),
    "none": NONE,
    "module": MODULE,
    "modules": Seq(MODULE),
    "named_modules": Seq(tup((STR, MODULE))),
    "module_dict": Mapping(MODULE),
    "optimizer": ExtInstance("torch.optim.Optimizer"),
    "event": ExtInstance("Event"),
    "stream": ExtInstance("Stream"),
    "scaler": ExtInstance("GradScaler"),
    "tensor|tensors": join(TENSOR, TENSORS),
    "tensors|tensor": join(TENSOR, TENSORS),
}

# What reading a tensor gives, whichever tensor it is.
READ: dict[str, Value] = {"numpy": ARRAY, "tolist": Seq(SCALAR), "item": SCALAR}

# Reductions that give one tensor without a dimension and a named pair with one.
REDUCTIONS = {"max", "min", "median", "nanmedian"}

# Reductions of a whole tensor, when no dimension is named.
WHOLE = {
    "sum", "mean", "max", "min", "norm", "argmax", "argmin", "any", "all", "prod", "std", "var", "median", "nansum",
    "nanmean", "count_nonzero", "logsumexp", "amax", "amin", "vector_norm", "dot",
}  # fmt: skip

BOOLEAN = {
    "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "isneginf", "isposinf", "isclose", "isin", "bool",
    "logical_and", "logical_or", "logical_not", "logical_xor", "isreal", "signbit", "__eq__", "__ne__", "__lt__",
    "__gt__", "greater", "less", "greater_equal", "less_equal", "not_equal", "any", "all",
}  # fmt: skip

INTEGER = {"argmax", "argmin", "argsort", "long", "int", "short", "count_nonzero", "bucketize", "searchsorted"}

KEEPS_DTYPE = {
    "clone", "detach", "contiguous", "view", "reshape", "squeeze", "unsqueeze", "flatten", "permute", "transpose",
    "expand", "expand_as", "repeat", "to", "cuda", "cpu", "requires_grad_", "detach_", "t", "view_as", "reshape_as",
    "unbind", "chunk", "split", "flip", "roll", "gather", "index_select", "narrow", "select", "movedim", "swapaxes",
    "broadcast_to", "T", "data", "mT", "masked_fill", "logical_and_", "logical_or_",
}  # fmt: skip

# Methods that, on a value of unknown type, only a tensor (or a module) has.
TENSOR_ONLY = {
    "detach", "unsqueeze", "contiguous", "masked_fill", "softmax", "log_softmax", "logsumexp", "requires_grad_", "bmm",
    "topk", "view_as", "scatter_", "scatter_add_", "gather", "index_select", "to_dense", "coalesce", "norm", "float",
    "half", "bfloat16", "type_as", "new_tensor", "new_zeros", "new_ones", "isnan", "masked_select", "nonzero",
    "index_add_", "copy_", "mul_", "add_", "sub_", "div_", "zero_", "fill_", "expand_as", "sigmoid", "tanh", "relu",
    "amax", "amin",
}  # fmt: skip

MODULE_ONLY = {
    "parameters", "named_parameters", "get_parameter", "get_buffer", "buffers", "named_buffers", "state_dict",
}  # fmt: skip


def told_by_name(name: str) -> Value | None:
    """What a method of an unknown value gives, where only tensors or only modules have such a method."""
    if name in TENSOR_ONLY:
        return by_kind(TENSOR_METHODS[name], Tensor(dtype="bool" if name in BOOLEAN else ""))
    if name in MODULE_ONLY:
        return by_kind(MODULE_METHODS[name], TENSOR)
    return None


def by_kind(kind: str, tensor: Value) -> Value:
    """The value of a return kind of the facts table, its tensors being like `tensor`."""
    value = KINDS.get(kind)
    if value is None:
        if "|" in kind:
            return join_all([by_kind(part, tensor) for part in kind.split("|")])
        return UNKNOWN
    if tensor == TENSOR or "tensor" not in kind or kind == "host_tensor":
        return value
    return _with_tensor(value, tensor)


def _with_tensor(value: Value, tensor: Value) -> Value:
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, Seq):
        return Seq(_with_tensor(value.element, tensor))
    if isinstance(value, Mapping):
        return Mapping(_with_tensor(value.element, tensor))
    if isinstance(value, Tup):
        return tup(tuple(_with_tensor(item, tensor) for item in value.items))
    if value.kind == "union":
        return join_all([_with_tensor(item, tensor) for item in alternatives(value)])
    return value


def tensor_attribute(owner: Tensor, name: str) -> Value:
    if name == "device":
        return Device(owner.host)
    if name in ("is_cuda", "is_cpu"):
        return const(owner.host is (name == "is_cpu"))
    kind = TENSOR_ATTRIBUTES.get(name)
    if kind == "tensor":
        return Tensor(owner.host, owner.dtype if name in KEEPS_DTYPE else "")
    if kind is not None:
        return by_kind(kind, owner)
    if name == "grad_fn":
        return ExtInstance("torch.autograd.graph.Node")
    if name in NAMED_FIELDS and name not in TENSOR_METHODS:
        return Tensor(owner.host)
    return Method(owner, name)


def module_attribute(owner: Value, name: str) -> Value:
    """`module.weight`, `module.parameters`; what is not torch's own is unknown."""
    kind = MODULE_ATTRIBUTES.get(name)
    if kind is not None:
        value = by_kind(kind, TENSOR)
        # `bias` is a parameter of one module and a flag of another.
        return join(value, UNKNOWN) if value == TENSOR else value
    return Method(owner, name)


def combined(left: Value, right: Value, op: ast.operator) -> Value:
    """An arithmetic operator of which one side at least is a tensor."""
    tensors = [item for item in (left, right) if isinstance(item, Tensor)]
    if isinstance(left, Array) or isinstance(right, Array):
        return tensors[0]
    boolean = isinstance(op, (ast.BitAnd, ast.BitOr, ast.BitXor)) and any(tensor.dtype == "bool" for tensor in tensors)
    return Tensor(all(tensor.host for tensor in tensors), "bool" if boolean else "")


def tensor_item(frame: Frame, owner: Tensor, index: Value, node: ast.Subscript) -> Value:
    """`tensor[index]`."""
    for part, part_node in _index_parts(index, node.slice):
        for item in alternatives(settled(part)):
            if isinstance(item, Tensor) and item.dtype == "bool" and not (owner.host and item.host):
                conditions.report(frame, "Tensor.__getitem__[mask]", node, "[mask]")
            elif isinstance(item, Tensor) and item.single and not item.host:
                conditions.report(frame, "Tensor.__getitem__[scalar]", node, "[index]")
        if isinstance(part_node, ast.Slice):
            _slice_sites(frame, part_node, node)
    return Tensor(owner.host, owner.dtype)


def _index_parts(index: Value, node: ast.expr) -> list[tuple[Value, ast.expr]]:
    if isinstance(index, Tup) and isinstance(node, ast.Tuple) and len(index.items) == len(node.elts):
        return list(zip(index.items, node.elts, strict=True))
    return [(index, node)]


def _slice_sites(frame: Frame, part: ast.Slice, node: ast.Subscript) -> None:
    for bound in (part.lower, part.upper, part.step):
        if bound is not None and any_device(expressions.evaluate(frame, bound)):
            conditions.report(frame, "Tensor.__getitem__[slice]", node, "slice bound")
            return


def store_tensor_item(frame: Frame, owner: Tensor, index: Value, value: Value, node: ast.Subscript) -> None:
    """`tensor[index] = value`."""
    for part, part_node in _index_parts(index, node.slice):
        masked = any(
            isinstance(item, Tensor) and item.dtype == "bool" and not item.host for item in alternatives(settled(part))
        )
        if masked and any(isinstance(item, Tensor) for item in alternatives(settled(value))):
            conditions.report(frame, "Tensor.__setitem__[mask,tensor]", node, "[mask] = tensor")
        if any(isinstance(item, Tensor) and item.single and not item.host for item in alternatives(settled(part))):
            conditions.report(frame, "Tensor.__getitem__[scalar]", node, "[index]")
        if isinstance(part_node, ast.Slice):
            _slice_sites(frame, part_node, node)
    if owner.host and any_device(value):
        frame.site("cpu", "host[...] = tensor", node, "Tensor.copy_")


def membership(frame: Frame, left: Value, right: Value, node: ast.Compare) -> None:
    """`left in right`: a list compares one by one, a tensor reads the verdict; dicts and sets go by identity."""
    if all(
        isinstance(item, (Const, Scalar)) and item.type in ("str", "NoneType") for item in alternatives(settled(left))
    ):
        return
    for item in alternatives(settled(right)):
        if isinstance(item, Tensor):
            if not item.host:
                frame.site("builtin", "in", node, "Tensor.__contains__")
        elif isinstance(item, (Tup, Seq, ListObj)):
            if isinstance(item, ListObj) and item.hashed:
                continue
            if any_device(element(item)) or (any_device(left) and not _only_other(element(item))):
                frame.site("builtin", "in", node, "Tensor.__bool__")


def _only_other(value: Value) -> bool:
    """Whether nothing in it compares with a tensor elementwise (strings, None, modules)."""
    return all(
        (isinstance(item, (Const, Scalar)) and item.type in ("str", "NoneType")) or isinstance(item, NNModule)
        for item in alternatives(settled(value))
    )


def tensor_method(frame: Frame, node: ast.expr, owner: Tensor, name: str, given: Arguments) -> Value:
    """`tensor.name(...)`; `given` has the tensor as its first argument."""
    others_host = all(
        item.host for value in given.all()[1:] for item in alternatives(settled(value)) if isinstance(item, Tensor)
    )
    if not owner.host or not others_host or (name in ("to", "cuda", "copy_") and not _moves_for_good(frame, node)):
        conditions.report(frame, f"Tensor.{name}", node, f".{name}()", given)
    if name == "cpu":
        return Tensor(True, owner.dtype)
    if name in READ:
        return READ[name]
    if name == "to":
        return _moved(owner, given)
    if name == "cuda":
        return Tensor(False, owner.dtype)
    if name.startswith("new_") or name == "new":
        return constructed(given, Tensor(owner.host))
    made = result(name, Tensor(owner.host and others_host, owner.dtype), given)
    if name in REDUCTIONS and made.single:
        return made
    if name == "type" and len(given.args) == 1 and not given.keywords:
        return STR
    kind = TENSOR_METHODS.get(name)
    if kind is None:
        return UNKNOWN
    if kind == "scalar|tensor":
        kind = "scalar" if len(given.args) == 1 and not given.keywords else "tensor"
    if name in ("nonzero", "unique", "unique_consecutive"):
        kind = "tensors" if any(key.startswith(("as_tuple", "return_")) for key, _ in given.keywords) else "tensor"
    return by_kind(kind, made)


def result(name: str, tensor: Tensor, given: Arguments) -> Tensor:
    """The tensor that an operation makes of `tensor`: its dtype, and whether it has no dimensions left."""
    single = (
        name in WHOLE
        and len(given.args) == 1
        and not any(key in ("dim", "axis", "keepdim") for key, _ in given.keywords)
    )
    return Tensor(tensor.host, _dtype(name, tensor, given), single)


def moved(given: Arguments) -> Value:
    """What `f(value, device)` of another library gives: the same, on the host where the device is the host."""
    host, device, _ = conditions.destination(given)
    return _with_tensor(given.args[0], Tensor(True)) if host and not device else given.args[0]


def _moves_for_good(frame: Frame, node: ast.expr) -> bool:
    """`self.x = self.x.to(device)` copies once, not at every call."""
    statement = frame.statement
    if not (isinstance(statement, ast.Assign) and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    moved = spelling.dotted(node.func.value)
    return bool(moved) and any("." in moved and spelling.dotted(target) == moved for target in statement.targets)


def _moved(owner: Tensor, given: Arguments) -> Value:
    host, device, stays = conditions.destination(given)
    dtype = "bool" if _names_bool(given) else owner.dtype
    kept: list[Value] = []
    if host:
        kept.append(Tensor(True, dtype))
    if device:
        kept.append(Tensor(False, dtype))
    if stays and not (host or device):
        kept.append(Tensor(owner.host, dtype))
    return join_all(kept)


def _names_bool(given: Arguments) -> bool:
    return any(
        item.kind == "ext" and getattr(item, "path", "") in ("torch.bool", "builtins.bool")
        for value in given.all()
        for item in alternatives(value)
    )


def _dtype(name: str, owner: Tensor, given: Arguments) -> str:
    if name in BOOLEAN or _names_bool(given):
        return "bool"
    if name in INTEGER:
        return "int"
    return owner.dtype if name in KEEPS_DTYPE else ""


def placed(value: Value) -> Value:
    """A tensor that moves with its module: on the device while hooks run."""
    return join_all(
        Tensor(False, item.dtype, item.single) if isinstance(item, Tensor) else item
        for item in alternatives(settled(value))
    )


def constructed(given: Arguments, tensor: Tensor) -> Value:
    """A tensor made from numbers: where `tensor` is, unless a device is named."""
    dtype = "bool" if _names_bool(given) else ""
    for name, value in given.keywords:
        if name != "device":
            continue
        found = {conditions.device_of(item) for item in alternatives(settled(value)) if item != NONE}
        if found:
            return Tensor(found == {True}, dtype, tensor.single)
    return Tensor(tensor.host, dtype, tensor.single)
