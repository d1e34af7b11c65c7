"""Calls of torch's own functions and classes."""

from __future__ import annotations

import ast

from auditlint.analysis import conditions, outside, tensors
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    NEVER,
    TENSOR,
    UNKNOWN,
    Const,
    Device,
    ExtInstance,
    ListObj,
    Mapping,
    NNModule,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    join_all,
    settled,
)
from auditlint.facts.returns import CONSTRUCTORS, FUNCTIONS, MODULE_CLASSES
from auditlint.facts.syncs import SYNCS

# Whether a compiler looks on: hooks are judged as they run.
COMPILING = (
    "torch.compiler.is_compiling",
    "torch.compiler.is_dynamo_compiling",
    "torch.compiler.is_exporting",
    "torch._dynamo.is_compiling",
    "torch.onnx.is_in_onnx_export",
)


def call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    if path == "torch.device":
        return _device(given)
    if path.startswith("torch.Tensor."):
        name = path.rpartition(".")[2]
        owners = (
            [item for item in alternatives(settled(given.args[0])) if isinstance(item, Tensor)] if given.args else []
        )
        return join_all([tensors.tensor_method(frame, node, owner, name, given) for owner in owners] or [TENSOR])
    met = [item for value in given.all() for item in _tensors_in(value)]
    on_device = any(not tensor.host for tensor in met)
    short = path.rpartition(".")[2]
    for sync in SYNCS.get(path, ()):
        if on_device or sync.kind in ("synchronize", "serialise", "h2d"):
            conditions.report(frame, path, node, path, given)
            break
    made = CONSTRUCTORS.get(path)
    if made == "host_tensor":
        return tensors.constructed(given, Tensor(True))
    if made == "data":
        data = alternatives(settled(given.args[0])) if given.args else ()
        single = bool(data) and all(isinstance(item, (Const, Scalar)) for item in data)
        return tensors.constructed(given, Tensor(not on_device, single=single))
    if made == "follows" and met:
        return tensors.constructed(given, Tensor(not on_device))
    if path in ("torch.nn.Parameter", "torch.nn.parameter.Parameter", "torch.nn.Buffer"):
        return TENSOR
    if path.startswith("torch.nn.") and short in MODULE_CLASSES and short[:1].isupper():
        return NNModule(short)
    if path == "torch.autograd.Variable" or path == "torch.autograd.variable.Variable":
        return given.args[0] if given.args else TENSOR
    if path in ("torch.jit.is_tracing", "torch.jit.is_scripting", *COMPILING):
        return Const(False, "bool")
    kind = FUNCTIONS.get(path)
    if kind is None:
        outside.run_callbacks(frame, node, given)
        if short[:1].isupper():
            return ExtInstance(path)
        return TENSOR if on_device and path.startswith(("torch.ops.", "torch.nn.functional.")) else UNKNOWN
    if kind in ("tensor", "tensors", "tensor|tensors"):
        tensor = tensors.result(short, Tensor(bool(met) and not on_device), given)
        if short in tensors.REDUCTIONS and len(given.args) == 1 and not given.keywords:
            kind = "tensor"
        elif short == "where":
            kind = "tensors" if len(given.args) == 1 else "tensor"
        return tensors.by_kind(kind, tensor)
    return tensors.by_kind(kind, TENSOR)


def _tensors_in(value: Value, depth: int = 0) -> list[Tensor]:
    found: list[Tensor] = []
    for item in alternatives(settled(value)):
        if isinstance(item, Tensor):
            found.append(item)
        elif depth < 2 and isinstance(item, Tup):
            for part in item.items:
                found.extend(_tensors_in(part, depth + 1))
        elif depth < 2 and isinstance(item, (Seq, ListObj, Mapping)) and item.element is not NEVER:
            found.extend(_tensors_in(item.element, depth + 1))
    return found


def _device(given: Arguments) -> Value:
    value = given.get(0, "type")
    if value is None:
        return Device()
    found = {conditions.device_of(item) for item in alternatives(settled(value))}
    return Device(found.pop()) if len(found) == 1 else Device()
