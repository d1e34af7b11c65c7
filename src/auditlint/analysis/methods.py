"""Methods of values that are no instances of a project class: tensors, modules, strings, things unknown."""

from __future__ import annotations

import ast

from auditlint.analysis import attributes, calls, conditions, containers, deferral, host_calls, names, outside, tensors
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    ARRAY,
    INT,
    MODULE,
    NONE,
    SCALAR,
    STR,
    TENSOR,
    UNKNOWN,
    Array,
    ClassVal,
    Const,
    DictObj,
    ExtInstance,
    Lazy,
    ListObj,
    Mapping,
    Method,
    ModelOutput,
    NNModule,
    Obj,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    holds_device,
    join_all,
    settled,
)
from auditlint.facts.host import HOST_METHODS
from auditlint.facts.returns import MODULE_METHODS
from auditlint.facts.syncs import SYNCS


def method_call(frame: Frame, node: ast.expr, method: Method, given: Arguments) -> Value:
    """Call a method of a value that is no instance of a project class (or has no such method there)."""
    owners = alternatives(settled(method.receiver))
    if frame.lazy and not any(owner.kind in CONTAINERS for owner in owners):
        return Lazy(lambda: _methods(frame, node, method, owners, given))
    return _methods(frame, node, method, owners, given)


# Values whose methods change what they hold.
CONTAINERS = {"listobj", "dictobj", "obj", "classval", "nnmodule"}


def _methods(frame: Frame, node: ast.expr, method: Method, owners: tuple[Value, ...], given: Arguments) -> Value:
    if len(owners) > 1 and method.name in MOVES and not all(isinstance(item, Tensor) and item.host for item in owners):
        # A tensor that may be here or there: which way it is moved is not known.
        owners = tuple(Tensor(False, item.dtype) if isinstance(item, Tensor) else item for item in owners)
    return join_all([_method(frame, node, item, method.name, given) for item in dict.fromkeys(owners)])


# Methods that copy between host and device.
MOVES = {"to", "cuda", "copy_", "type"}


def _method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    shifted = Arguments([owner, *given.args], given.keywords, given.star, given.double_star)
    if isinstance(owner, Tensor):
        return tensors.tensor_method(frame, node, owner, name, shifted)
    if isinstance(owner, ListObj):
        return containers.list_method(frame, node, owner, name, given)
    if isinstance(owner, (DictObj, Mapping, ModelOutput)):
        return containers.dict_method(frame, node, owner, name, given)
    if isinstance(owner, (Seq, Tup)):
        if name in ("index", "count"):
            containers.list_reads(frame, node, owner, name, given)
            return INT
        return UNKNOWN
    if isinstance(owner, (Const, Scalar)):
        if name in ("format", "join") and any(holds_device(value) for value in given.all()):
            frame.site("format", f"str.{name}()", node, "Tensor.__format__")
        return Seq(STR) if name in ("split", "rsplit", "splitlines") else SCALAR
    if isinstance(owner, Array):
        return SCALAR if name == "item" else (Seq(SCALAR) if name == "tolist" else ARRAY)
    if isinstance(owner, (NNModule, Obj)):
        return _module_method(frame, node, owner, name, shifted)
    if isinstance(owner, ClassVal) and name == "__new__":
        return names.self_object(frame.session, owner.info)
    if isinstance(owner, ClassVal) and name == "apply":
        # autograd.Function.apply runs the class's own forward.
        forward = attributes.attribute(frame, owner, "forward")
        if forward.kind in ("func", "bound"):
            return calls.apply(frame, node, forward, Arguments([UNKNOWN, *given.args], given.keywords))
        return TENSOR
    if isinstance(owner, ExtInstance):
        return _instance_method(frame, node, owner, name, shifted)
    return _unknown_method(frame, node, owner, name, shifted)


def _instance_method(frame: Frame, node: ast.expr, owner: ExtInstance, name: str, given: Arguments) -> Value:
    if owner.path.startswith("auditlint.defer."):
        return deferral.method(frame, node, owner, name)
    cls = owner.path.rpartition(".")[2]
    if f"{cls}.{name}" in SYNCS:
        conditions.report(frame, f"{cls}.{name}", node, f".{name}()", given)
        return SCALAR
    if cls == "GradBucket":
        if name in ("gradients", "parameters"):
            return Seq(TENSOR)
        return TENSOR if name in ("buffer", "gradient") else SCALAR
    return _unknown_method(frame, node, owner, name, given)


def _unknown_method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    """A method of an unknown value: only where the name itself tells."""
    bare = len(given.args) == 1 and not given.keywords
    if owner.kind in ("unknown", "method", "extinstance", "obj"):
        if name == "item" and bare:
            frame.site("item", ".item()", node, "Tensor.item", definite=False)
            return SCALAR
        if name == "cpu" and bare:
            frame.site("cpu", ".cpu()", node, "Tensor.cpu", definite=False)
            return Tensor(host=True)
        if name == "to" and not conditions.non_blocking(given):
            host, device, stays = conditions.destination(given)
            if host and not device and not stays and _says_cpu(node):
                frame.site("cpu", '.to("cpu")', node, "Tensor.to", definite=False)
                return Tensor(host=True)
        if name == "synchronize" and len(given.args) <= 2:
            frame.site("synchronize", ".synchronize()", node, "Event.synchronize", definite=False)
            return NONE
        if name == "tolist" and bare:
            return Seq(SCALAR)
        if name == "numpy" and bare:
            return ARRAY
        told = tensors.told_by_name(name)
        if told is not None:
            return told
    fact = HOST_METHODS.get(name)
    if fact is not None:
        without = Arguments(given.args[1:], given.keywords, given.star, given.double_star)
        if host_calls.reads(fact, without):
            frame.site(fact.kind, f".{name}()", node, fact.reaches)
    if name == "format" and any(holds_device(value) for value in given.args[1:]):
        frame.site("format", ".format()", node, "Tensor.__format__")
    outside.run_callbacks(frame, node, Arguments(given.args[1:], given.keywords))
    return UNKNOWN


def _module_method(frame: Frame, node: ast.expr, owner: NNModule | Obj, name: str, given: Arguments) -> Value:
    if name in ("cpu", "to") and _is_module(frame, owner):
        host, device, _ = conditions.destination(given) if name == "to" else (True, False, False)
        if host and not device and not conditions.non_blocking(given):
            frame.site("cpu", ".cpu()" if name == "cpu" else '.to("cpu")', node, "Tensor.to")
        return owner
    if name in ("register_buffer", "register_parameter") and isinstance(owner, Obj) and len(given.args) > 2:
        for key in alternatives(given.args[1]):
            if isinstance(key, Const) and isinstance(key.value, str):
                owner.put(key.value, tensors.placed(given.args[2]))
        return NONE
    if name == "apply" and len(given.args) == 2 and _is_module(frame, owner):
        calls.apply(frame, node, given.args[1], Arguments([MODULE], []))
        return owner
    if _is_module(frame, owner):
        kind = MODULE_METHODS.get(name)
        if kind is not None:
            return tensors.by_kind(kind, TENSOR)
    if isinstance(owner, Obj):
        return _unknown_method(frame, node, owner, name, given)
    # Of a module's own methods, none but these say by themselves that the value is a tensor after all.
    return _unknown_method(frame, node, UNKNOWN, name, given) if name in ("item", "cpu") else UNKNOWN


def _is_module(frame: Frame, owner: NNModule | Obj) -> bool:
    return isinstance(owner, NNModule) or names.is_nn_module(frame.session, owner.cls)


def _says_cpu(node: ast.expr) -> bool:
    """Whether the call itself names the CPU: of an unknown value nothing else tells that it is copied."""
    given = [*node.args, *(keyword.value for keyword in node.keywords)] if isinstance(node, ast.Call) else []
    for part in given:
        name = part.args[0] if isinstance(part, ast.Call) and part.args else part
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.startswith("cpu"):
            return True
    return False
