"""Tensors and modules: what their attributes, items, operators and methods give, read off the facts."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

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
    holds_device,
    join,
    join_all,
    settled,
    tup,
)
from auditlint.facts.returns import MODULE_ATTRIBUTES, MODULE_METHODS, NAMED_FIELDS, TENSOR_ATTRIBUTES, TENSOR_METHODS
from auditlint.facts.syncs import SYNCS

if TYPE_CHECKING:
    from auditlint.analysis.calls import Arguments
    from auditlint.analysis.interpreter import Frame

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
# Reductions that give one tensor without a dimension and a named pair with one.
REDUCTIONS = {"max", "min", "median", "nanmedian"}
# Reductions of a whole tensor, when no dimension is named.
WHOLE = {
    "sum", "mean", "max", "min", "norm", "argmax", "argmin", "any", "all", "prod", "std", "var", "median", "nansum", "nanmean",
    "count_nonzero", "logsumexp", "amax", "amin", "vector_norm", "dot",
}  # fmt: skip
BOOLEAN = {
    "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "isneginf", "isposinf", "isclose", "isin", "bool",
    "logical_and", "logical_or", "logical_not", "logical_xor", "isreal", "signbit", "__eq__", "__ne__", "__lt__", "__gt__",
    "greater", "less", "greater_equal", "less_equal", "not_equal", "any", "all",
}  # fmt: skip
INTEGER = {"argmax", "argmin", "argsort", "long", "int", "short", "count_nonzero", "bucketize", "searchsorted"}
KEEPS_DTYPE = {
    "clone", "detach", "contiguous", "view", "reshape", "squeeze", "unsqueeze", "flatten", "permute", "transpose", "expand",
    "expand_as", "repeat", "to", "cuda", "cpu", "requires_grad_", "detach_", "t", "view_as", "reshape_as", "unbind", "chunk",
    "split", "flip", "roll", "gather", "index_select", "narrow", "select", "movedim", "swapaxes", "broadcast_to", "T",
    "data", "mT", "masked_fill", "logical_and_", "logical_or_",
}  # fmt: skip


# Methods that, on a value of unknown type, only a tensor (or a module) has.
TENSOR_ONLY = frozenset(
    "detach unsqueeze contiguous masked_fill softmax log_softmax logsumexp requires_grad_ bmm topk view_as scatter_ "
    "scatter_add_ gather index_select to_dense coalesce norm float half bfloat16 type_as new_tensor new_zeros new_ones isnan "
    "masked_select nonzero index_add_ copy_ mul_ add_ sub_ div_ zero_ fill_ expand_as sigmoid tanh relu amax amin".split()
)
MODULE_ONLY = frozenset("parameters named_parameters get_parameter get_buffer buffers named_buffers state_dict".split())


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
    boolean = isinstance(op, ast.BitAnd | ast.BitOr | ast.BitXor) and any(tensor.dtype == "bool" for tensor in tensors)
    return Tensor(all(tensor.host for tensor in tensors), "bool" if boolean else "")


def tensor_item(frame: Frame, owner: Tensor, index: Value, node: ast.Subscript) -> Value:
    """`tensor[index]`."""
    for part, part_node in _index_parts(index, node.slice):
        for item in alternatives(settled(part)):
            if isinstance(item, Tensor) and item.dtype == "bool" and not (owner.host and item.host):
                report(frame, "Tensor.__getitem__[mask]", node, "[mask]")
            elif isinstance(item, Tensor) and item.single and not item.host:
                report(frame, "Tensor.__getitem__[scalar]", node, "[index]")
        if isinstance(part_node, ast.Slice):
            _slice_sites(frame, part_node, node)
    return Tensor(owner.host, owner.dtype)


def _index_parts(index: Value, node: ast.expr) -> list[tuple[Value, ast.expr]]:
    if isinstance(index, Tup) and isinstance(node, ast.Tuple) and len(index.items) == len(node.elts):
        return list(zip(index.items, node.elts))
    return [(index, node)]


def _slice_sites(frame: Frame, part: ast.Slice, node: ast.Subscript) -> None:
    from auditlint.analysis import expressions

    for bound in (part.lower, part.upper, part.step):
        if bound is not None and any_device(expressions.evaluate(frame, bound)):
            report(frame, "Tensor.__getitem__[slice]", node, "slice bound")
            return


def store_tensor_item(frame: Frame, owner: Tensor, index: Value, value: Value, node: ast.Subscript) -> None:
    """`tensor[index] = value`."""
    for part, part_node in _index_parts(index, node.slice):
        masked = any(
            isinstance(item, Tensor) and item.dtype == "bool" and not item.host for item in alternatives(settled(part))
        )
        if masked and any(isinstance(item, Tensor) for item in alternatives(settled(value))):
            report(frame, "Tensor.__setitem__[mask,tensor]", node, "[mask] = tensor")
        if any(isinstance(item, Tensor) and item.single and not item.host for item in alternatives(settled(part))):
            report(frame, "Tensor.__getitem__[scalar]", node, "[index]")
        if isinstance(part_node, ast.Slice):
            _slice_sites(frame, part_node, node)
    if owner.host and any_device(value):
        frame.site("cpu", "host[...] = tensor", node, "Tensor.copy_")


def membership(frame: Frame, left: Value, right: Value, node: ast.Compare) -> None:
    """`left in right`: a list compares one by one, a tensor reads the verdict; dicts and sets go by identity."""
    if all(
        isinstance(item, Const | Scalar) and item.type in ("str", "NoneType") for item in alternatives(settled(left))
    ):
        return
    for item in alternatives(settled(right)):
        if isinstance(item, Tensor):
            if not item.host:
                frame.site("builtin", "in", node, "Tensor.__contains__")
        elif isinstance(item, Tup | Seq | ListObj):
            if isinstance(item, ListObj) and item.hashed:
                continue
            if any_device(element(item)) or (any_device(left) and not _only_other(element(item))):
                frame.site("builtin", "in", node, "Tensor.__bool__")


def _only_other(value: Value) -> bool:
    """Whether nothing in it compares with a tensor elementwise (strings, None, modules)."""
    return all(
        (isinstance(item, Const | Scalar) and item.type in ("str", "NoneType")) or isinstance(item, NNModule)
        for item in alternatives(settled(value))
    )


def report(
    frame: Frame, name: str, node: ast.expr, operation: str, given: Arguments | None = None, definite: bool = True
) -> None:
    """Record what the facts say about an operation, as far as its conditions hold."""
    for sync in SYNCS.get(name, ()):
        if sync.reported and all(holds(condition, given) for condition in sync.when.split(" and ")):
            frame.site(sync.kind, operation, node, name, definite)
            return


def holds(condition: str, given: Arguments | None) -> bool:
    """Whether a condition of the facts table holds for a call; the receiver counts as argument 0."""
    if condition == "always":
        return True
    if given is None:
        return False
    if condition == "one_argument":
        return len(given.args) == 1 and not given.keywords and given.star is None
    verb, _, spec = condition.partition(":")
    if verb == "missing":
        return all(_argument(given, part) is None for part in spec.split(","))
    if verb in ("to_cpu", "to_device", "host_destination", "host_source"):
        return _copies(verb, given)
    rest = spec.endswith("+")
    value = _argument(given, spec.rstrip("+"))
    if value is None:
        return False
    if verb == "true":
        return not (isinstance(value, Const) and value.value is False)
    if verb == "tensor":
        if rest:
            position = int(spec.rstrip("+").partition("@")[2])
            return any(holds_device(item) for item in given.args[position:])
        return holds_device(value) if spec.startswith("obj@") else any_device(value)
    if verb == "contains":
        return any(
            isinstance(item, Tup | Seq | ListObj) and holds_device(item) for item in alternatives(settled(value))
        )
    if verb in ("host", "device"):
        return _on_host(value) and (verb == "host" or _names_device(given))
    return False


def _argument(given: Arguments, spec: str) -> Value | None:
    name, _, position = spec.partition("@")
    return given.get(int(position) if position.lstrip("-").isdigit() else -1, name)


def _on_host(value: Value) -> bool:
    """Whether it is known to live on the host: numbers, lists of them, arrays, host tensors."""
    items = alternatives(settled(value))
    return bool(items) and all(_host_item(item) for item in items)


def _host_item(item: Value, depth: int = 0) -> bool:
    if isinstance(item, Tensor):
        return item.host
    if isinstance(item, Const | Scalar):
        return item != NONE
    if isinstance(item, Array):
        return True
    if isinstance(item, Tup) and depth < 3:
        return bool(item.items) and all(_host_item(part, depth + 1) for part in item.items)
    if isinstance(item, Seq | ListObj) and depth < 3:
        return all(_host_item(part, depth + 1) for part in alternatives(settled(item.element)))
    return False


def _names_device(given: Arguments) -> bool:
    for name, value in given.keywords:
        if name == "device":
            return any(device_of(item) is False for item in alternatives(settled(value)))
    return False


def device_of(value: Value) -> bool | None:
    """Whether a device argument means the host (True), a device (False), or cannot be told (None)."""
    if isinstance(value, Device):
        return value.host
    if isinstance(value, Const) and isinstance(value.value, str):
        name = value.value.partition(":")[0]
        if name == "cpu":
            return True
        return False if name in ("cuda", "mps", "xpu", "hpu", "npu", "musa") else None
    if isinstance(value, Const | Scalar) and value.type == "int":
        return False
    return None


def non_blocking(given: Arguments) -> bool:
    """Whether the copy is, or may be meant to be, asynchronous."""
    for name, value in given.keywords:
        if name in ("non_blocking", "async_op"):
            return not (isinstance(value, Const) and value.value is False)
    return False


def destination(given: Arguments) -> tuple[bool, bool, bool]:
    """Where `.to(...)` may go: (to the host, to a device, stays)."""
    host = device = stays = False
    value = given.get(1, "device")
    if value is None:
        value = given.get(-1, "other")
    if value is None:
        return False, False, True
    for item in alternatives(settled(value)):
        if isinstance(item, Tensor):
            host, device = host or item.host, device or not item.host
            continue
        where = device_of(item)
        if where is True:
            host = True
        elif where is False:
            device = True
        else:
            stays = True
    return host, device, stays


def _copies(verb: str, given: Arguments) -> bool:
    if non_blocking(given):
        return False
    receiver = given.args[0] if given.args else UNKNOWN
    if verb in ("to_cpu", "to_device"):
        host, device, stays = destination(given)
        return host and not stays if verb == "to_cpu" else device and _on_host(receiver)
    source = given.get(1, "src")
    if source is None:
        return False
    if len(given.args) > 2 and not (isinstance(given.args[2], Const) and given.args[2].value is False):
        return False
    if verb == "host_destination":
        return _on_host(receiver) and any_device(source)
    return any_device(receiver) and not _on_host(receiver) and _on_host(source)


def tensor_method(frame: Frame, node: ast.expr, owner: Tensor, name: str, given: Arguments) -> Value:
    """`tensor.name(...)`; `given` has the tensor as its first argument."""
    others_host = all(
        item.host for value in given.all()[1:] for item in alternatives(settled(value)) if isinstance(item, Tensor)
    )
    if not owner.host or not others_host or name in ("to", "cuda", "copy_"):
        report(frame, f"Tensor.{name}", node, f".{name}()", given)
    if name in ("cpu", "numpy", "tolist", "item"):
        return {"cpu": Tensor(True, owner.dtype), "numpy": ARRAY, "tolist": Seq(SCALAR), "item": SCALAR}[name]
    if name == "to":
        return _moved(owner, given)
    if name == "cuda":
        return Tensor(False, owner.dtype)
    if name.startswith("new_") or name == "new":
        return _constructed(given, Tensor(owner.host))
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
    host, device, _ = destination(given)
    return _with_tensor(given.args[0], Tensor(True)) if host and not device else given.args[0]


def _kept(frame: Frame, node: ast.expr) -> bool:
    """`self.x = self.x.to(device)` moves once, not at every call."""
    statement = frame.statement
    if (
        not isinstance(statement, ast.Assign)
        or not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Attribute)
    ):
        return False
    receiver = node.func.value
    return isinstance(receiver, ast.Attribute) and any(
        isinstance(target, ast.Attribute)
        and ast.dump(target.value) == ast.dump(receiver.value)
        and target.attr == receiver.attr
        for target in statement.targets
    )


def _moved(owner: Tensor, given: Arguments) -> Value:
    host, device, stays = destination(given)
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
    """A tensor made from numbers: on the host, unless a device is named."""
    return _constructed(given, tensor)


def _constructed(given: Arguments, tensor: Tensor) -> Value:
    dtype = "bool" if _names_bool(given) else ""
    for name, value in given.keywords:
        if name != "device":
            continue
        found = {device_of(item) for item in alternatives(settled(value)) if item != NONE}
        if found:
            return join_all([Tensor(where is True, dtype, tensor.single) for where in found])
    return Tensor(tensor.host, dtype, tensor.single)
