"""Calls of what the project does not define: builtins, torch's functions, methods of containers, modules, loggers."""

from __future__ import annotations

import ast

from auditlint.analysis import (
    builtins_,
    calls,
    conditions,
    containers,
    declarations,
    deferral,
    host_calls,
    names,
    tensors,
    torch_calls,
)
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    ARRAY,
    SCALAR,
    TENSOR,
    UNKNOWN,
    Const,
    Ext,
    ExtInstance,
    Lazy,
    Partial,
    Seq,
    Tensor,
    Value,
    alternatives,
    element,
    holds_device,
    join_all,
    settled,
)
from auditlint.facts.host import HOST_KEEPING
from auditlint.facts.syncs import SYNCS

# What changes or wraps its arguments is called at once even where only registrations are looked for.
AT_ONCE = {
    "functools.partial", "functools.partialmethod", "weakref.ref", "builtins.setattr", "builtins.list", "builtins.dict",
    "builtins.tuple", "builtins.set", "builtins.getattr", "builtins.zip", "builtins.enumerate", "builtins.map",
}  # fmt: skip

# Libraries whose functions give tensors when they are given tensors.
TENSOR_LIBRARIES = (
    "torch.",
    "einops.",
    "fancy_einsum.",
    "torchvision.",
    "torchaudio.",
    "torch_scatter.",
    "opt_einsum.",
)


def call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    """Call an object outside the project by its dotted path."""
    if frame.lazy and path not in AT_ONCE:
        return Lazy(lambda: _call(frame, node, path, given))
    return _call(frame, node, path, given)


def _call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    if path.startswith("builtins."):
        name = path[9:]
        deferral.note_builtin(frame, node, name, given)
        special = builtins_.BUILTINS.get(name)
        if special is not None:
            return special(frame, node, given)
        return builtins_.plain(frame, node, name, given)
    if path in ("functools.partial", "functools.partialmethod") and given.args:
        return Partial(given.args[0], tuple(given.args[1:]), tuple(given.keywords))
    if path.startswith("auditlint.defer."):
        return deferral.call(frame, node, path, given)
    if path.startswith("torch"):
        return torch_calls.call(frame, node, path, given)
    if path in SYNCS and given.args:
        # Other libraries' own ways of moving tensors.
        conditions.report(
            frame, path, node, path.rpartition(".")[2] + "()", given, definite=holds_device(given.args[0])
        )
        return tensors.moved(given)
    host_calls.host_call(frame, node, path, given)
    if path in HOST_KEEPING and given.args and holds_device(given.args[0]):
        return given.args[0]
    if path == "math.prod" and given.args and holds_device(given.args[0]):
        return element(given.args[0])
    top, _, _ = path.partition(".")
    if top in ("numpy", "np"):
        return ARRAY
    if top in ("math", "cmath", "time", "os", "random", "json", "pickle"):
        return SCALAR
    if path == "typing.cast" and len(given.args) == 2:
        said = (
            declarations.value_of(frame.session, frame.module, node.args[0]) if isinstance(node, ast.Call) else UNKNOWN
        )
        return given.args[1] if said.kind == "unknown" else said
    if path in ("copy.copy", "copy.deepcopy", "contextlib.nullcontext"):
        return given.args[0] if given.args else UNKNOWN
    if path == "weakref.ref" and given.args:
        return Partial(Ext("auditlint.identity"), (given.args[0],), ())
    if path == "auditlint.identity" and given.args:
        return given.args[0]
    if path == "importlib.import_module" and given.args:
        return join_all(
            [
                names.named_module(frame.session, item.value, frame.module)
                if isinstance(item, Const) and isinstance(item.value, str)
                else UNKNOWN
                for item in alternatives(settled(given.args[0]))
            ]
        )
    if path == "logging.getLogger":
        return ExtInstance("logging.Logger")
    if path.startswith("collections."):
        return containers.collection(frame, node, path, given)
    if path.startswith("itertools.") and given.args:
        return Seq(join_all([element(value) for value in given.args]))
    if (path + ".").startswith(TENSOR_LIBRARIES) and any(_any_tensor(value) for value in given.all()):
        return Tensor(not any(holds_device(value) for value in given.all()))
    run_callbacks(frame, node, given)
    name = path.rpartition(".")[2]
    return ExtInstance(path) if name[:1].isupper() else UNKNOWN


def _any_tensor(value: Value) -> bool:
    return any(isinstance(item, Tensor) for item in alternatives(settled(value))) or holds_device(value)


def run_callbacks(frame: Frame, node: ast.expr, given: Arguments) -> None:
    """Callables handed to something unknown are taken to be called, with what else was handed over."""
    if frame.lazy:
        return
    others = [value for value in given.args if not _callable(value)]
    for value in given.args:
        if _callable(value) and others:
            calls.apply(frame, node, value, Arguments([_leaf(others[0])], []))


def _leaf(value: Value) -> Value:
    """What a function mapped over a tree meets."""
    return TENSOR if holds_device(value) else UNKNOWN


def _callable(value: Value) -> bool:
    return any(item.kind in ("func", "bound", "partial") for item in alternatives(value))
