"""Where a value that a hook keeps comes from: whether it still carries the graph, and whose memory it shares."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import NamedTuple

from auditlint.analysis.bodies import Binding, Body, body_of, called
from auditlint.analysis.session import Summary
from auditlint.analysis.spelling import dotted
from auditlint.analysis.tensors import BOOLEAN, INTEGER, WHOLE
from auditlint.facts.returns import FUNCTIONS, TENSOR_METHODS
from auditlint.project.modules import FunctionInfo

MAX_DEPTH = 24


class Origin(NamedTuple):
    """What is known of an expression: `graph`, whether it carries the graph of the pass; `alias`, the argument of the
    hook whose memory it shares ("input", "output", "parameter"; "" for memory of its own or unknown); `single`, whether
    it is a number that stands for a whole tensor; `names`, the local names whose memory it shares.
    """

    graph: bool = False
    alias: str = ""
    single: bool = False
    names: frozenset[str] = frozenset()


NOTHING = Origin()
# Methods and attributes that give the same memory.
VIEWS = {
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "permute", "transpose", "swapaxes", "movedim", "expand", "T",
    "mT", "t", "narrow", "select", "unbind", "chunk", "split", "view_as", "expand_as", "real", "diagonal", "items",
    "values", "get", "to_tuple", "last_hidden_state", "logits", "hidden_states", "sample",
}  # fmt: skip
# What leaves the graph but not the memory.
DETACHING = {"detach", "data", "detach_"}
# What gives host values, or other things without a graph.
PLAIN = {"item", "tolist", "numpy", "shape", "size", "dtype", "device", "grad", "numel", "dim", "ndim", "stride"}
# Functions that give what they are given, and those that give tensors without a graph.
GRAPHLESS = {
    "zeros_like", "ones_like", "rand_like", "randn_like", "empty_like", "full_like", "tensor", "as_tensor", "zeros",
    "ones",
    "bucketize", "isin", "bincount", "histc", "multinomial", "new_zeros", "new_ones", "sign", "nonzero", "unique",
}  # fmt: skip
TENSOR_MODULES = ("torch", "F", "nn", "einops", "functional", "fancy_einsum")


class Context(NamedTuple):
    """A function on the way from a hook.

    Torch hands over what `roles` say, or a function in `above` calls it on `row`, at `node` where that is known.
    `calls` are the runs of the functions that it calls.
    """

    info: FunctionInfo
    roles: dict[str, str]
    above: Context | None
    row: int
    node: ast.Call | None
    calls: tuple[Summary, ...]
    # What was found out about its expressions.
    known: dict[ast.expr, Origin]

    @property
    def body(self) -> Body:
        return body_of(self.info)

    @property
    def given(self) -> dict[str, ast.expr]:
        """Parameter -> the argument that `above` hands over for it, as written there."""
        if self.above is None:
            return {}
        node = self.node
        if node is None:
            node = next((call for call in self.above.body.calls(self.row) if called(call) == self.info.name), None)
        return bound(self.info, node)

    def called(self, node: ast.Call) -> FunctionInfo | None:
        """The project's function that a call in this one goes to, judging by its name."""
        name = called(node)
        found = [callee.info for callee in self.calls if callee.info.name == name]
        return found[0] if found and all(info is found[0] for info in found) else None


def bound(info: FunctionInfo, node: ast.Call | None) -> dict[str, ast.expr]:
    """Parameter -> argument as written, for the parameters that a call binds one by one."""
    if node is None or any(isinstance(part, ast.Starred) for part in node.args):
        return {}
    names = [parameter.arg for parameter in info.positional()]
    if info.cls is not None and "static" not in info.flags:
        names = names[1:]
    found = dict(zip(names, node.args, strict=False))
    found.update({keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None})
    return found


ROLES = {
    "tensor": Origin(True, "output"),
    "output": Origin(True, "output"),
    "tensors": Origin(True, "input"),
    "kwargs": Origin(True, "input"),
}


def origin(context: Context, node: ast.expr, depth: int = 0) -> Origin:
    """Where the value of an expression comes from."""
    held = context.known.get(node)
    if held is None:
        if depth > MAX_DEPTH:
            return NOTHING
        held = _origin(context, node, depth)
        if held.graph and context.body.without_graph(node.lineno):
            held = held._replace(graph=False)
        context.known[node] = held
    return held


def _origin(context: Context, node: ast.expr, depth: int) -> Origin:
    if isinstance(node, ast.Name):
        return _of_name(context, node, depth)
    if isinstance(node, ast.Attribute):
        return _of_attribute(context, node, depth)
    if isinstance(node, ast.Subscript):
        base = origin(context, node.value, depth + 1)
        return base._replace(single=False) if _keeps_memory(node.slice) else Origin(base.graph)
    if isinstance(node, ast.Call):
        return _of_call(context, node, depth)
    if isinstance(node, ast.BinOp):
        parts = [origin(context, part, depth + 1) for part in (node.left, node.right)]
        return Origin(any(part.graph for part in parts), single=any(part.single for part in parts))
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
        return origin(context, node.operand, depth + 1)._replace(alias="", names=frozenset())
    if isinstance(node, ast.IfExp):
        return _both([origin(context, part, depth + 1) for part in (node.body, node.orelse)])
    if isinstance(node, ast.NamedExpr):
        return origin(context, node.value, depth + 1)
    if isinstance(node, (ast.Tuple, ast.List, ast.Dict)):
        return _any([origin(context, part, depth + 1) for part in parts_of(node)])
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return origin(context, node.elt, depth + 1)
    if isinstance(node, ast.DictComp):
        return origin(context, node.value, depth + 1)
    return NOTHING


def parts_of(node: ast.expr) -> list[ast.expr]:
    """The values in a display; the expression itself where it is none."""
    if isinstance(node, ast.Dict):
        return [part for value in node.values for part in parts_of(value)]
    if isinstance(node, (ast.Tuple, ast.List)):
        return [part for value in node.elts for part in parts_of(value)]
    return [node]


def _of_name(context: Context, node: ast.Name, depth: int) -> Origin:
    name = node.id
    bindings = context.body.before(name, node.lineno)
    found = [_of_binding(context, binding, depth) for binding in bindings]
    if not bindings or bindings[-1].depth:
        # No binding above replaces what the name is when the function begins.
        found += _of_parameter(context, name, depth)
    result = _both(found)
    return result._replace(names=result.names | {name}) if result.alias else result


def _of_binding(context: Context, binding: Binding, depth: int) -> Origin:
    return origin(context, binding.value, depth + 1)


def _of_parameter(context: Context, name: str, depth: int) -> list[Origin]:
    role = context.roles.get(name)
    if role is not None:
        return [ROLES.get(role, NOTHING)]
    given = context.given.get(name)
    if given is not None and context.above is not None:
        # Names of the caller mean nothing here.
        return [origin(context.above, given, depth + 1)._replace(names=frozenset())]
    return [NOTHING]


def _of_attribute(context: Context, node: ast.Attribute, depth: int) -> Origin:
    name = node.attr
    if name in PLAIN:
        return NOTHING
    base = origin(context, node.value, depth + 1)
    if name in DETACHING:
        return base._replace(graph=False)
    if base.graph or base.alias:
        return base if name in VIEWS or not name.startswith("is_") else NOTHING
    if name in ("weight", "bias") and is_module(context, node.value):
        return Origin(alias="parameter")
    return NOTHING


def is_module(context: Context, node: ast.expr) -> bool:
    """Whether an expression is the module that a hook is called with."""
    return isinstance(node, ast.Name) and context.roles.get(node.id) == "module"


def _of_call(context: Context, node: ast.Call, depth: int) -> Origin:
    name = called(node)
    callee = context.called(node)
    if callee is not None:
        inner = Context(callee, {}, context, node.lineno, node, (), {})
        return _both([origin(inner, value, depth + 4) for value in inner.body.returns])._replace(names=frozenset())
    if name in PLAIN or name in BOOLEAN or name in INTEGER or name in GRAPHLESS:
        return NOTHING
    function = node.func
    path = dotted(function)
    if path.partition(".")[0] in TENSOR_MODULES and (path.count(".") or name in FUNCTIONS):
        parts = [origin(context, part, depth + 1) for argument in node.args for part in parts_of(argument)]
        single = name in WHOLE and len(node.args) == 1 and not _names_dim(node)
        return Origin(any(part.graph for part in parts), single=single)
    if not isinstance(function, ast.Attribute):
        if name in ("list", "tuple", "dict", "next", "reversed", "abs") and node.args:
            return origin(context, node.args[0], depth + 1)
        if name in ("zip", "enumerate"):
            return _any([origin(context, part, depth + 1) for part in node.args])
        return NOTHING
    base = origin(context, function.value, depth + 1)
    if name in DETACHING:
        return base._replace(graph=False)
    if name in VIEWS:
        return base
    if name in TENSOR_METHODS or name in ("float", "half", "double", "bfloat16", "to", "cpu", "cuda", "type"):
        whole = name in WHOLE and not node.args and not _names_dim(node)
        # What has one element keeps it under arithmetic and conversions.
        return Origin(base.graph, single=whole or (base.single and name not in ("expand", "repeat")))
    return NOTHING


def _names_dim(node: ast.Call) -> bool:
    return any(keyword.arg in ("dim", "axis", "keepdim") for keyword in node.keywords)


def _keeps_memory(index: ast.expr) -> bool:
    """Whether an index gives a view: numbers, slices, `...`; names may be masks, which copy."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return all(isinstance(part, (ast.Constant, ast.Slice, ast.UnaryOp)) for part in parts)


def _both(found: list[Origin]) -> Origin:
    """What holds whichever of them it is."""
    if not found:
        return NOTHING
    first = found[0]
    if len(found) == 1:
        return first
    alias = first.alias if all(part.alias for part in found) else ""
    names = frozenset(name for part in found for name in part.names) if alias else frozenset()
    return Origin(all(part.graph for part in found), alias, all(part.single for part in found), names)


def _any(found: Iterable[Origin]) -> Origin:
    """What holds for one part of a display at least."""
    parts = list(found)
    alias = next((part for part in parts if part.alias), NOTHING)
    kept = [part for part in parts if part.graph]
    return Origin(bool(kept), alias.alias, bool(kept) and all(part.single for part in kept), alias.names)
