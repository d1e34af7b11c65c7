"""What `owner.name` is."""

from __future__ import annotations

import ast

from auditlint.analysis import calls, names, tensors
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    MODULE,
    SCALAR,
    STR,
    TENSOR,
    UNKNOWN,
    Array,
    Bound,
    ClassVal,
    Const,
    Device,
    Ext,
    Func,
    Lazy,
    Mapping,
    Method,
    ModelOutput,
    ModuleRef,
    NNModule,
    Obj,
    Param,
    Partial,
    Seq,
    SuperVal,
    Tensor,
    Value,
    alternatives,
    deferred,
    join,
    join_all,
    waits,
)
from auditlint.facts.returns import MODULE_METHODS, NAMED_FIELDS, TENSOR_ATTRIBUTES, TENSOR_METHODS


def attribute(frame: Frame, owner: Value, name: str) -> Value:
    """`owner.name`, for each thing that the owner may be."""
    if frame.lazy and waits(owner):
        return deferred(owner, lambda value: attribute(frame, value, name))
    if frame.lazy and isinstance(owner, Obj):
        # Looking it up would read every base class; most attributes of a generic run are never needed.
        return Lazy(lambda: _attribute_of(frame, owner, name))
    items = alternatives(owner)
    if len(items) > 1 and (name in TENSOR_ATTRIBUTES or name in TENSOR_METHODS):
        # Whoever asks for a tensor's attribute has a tensor in hand, not the tuple or dict it might have been.
        likely = [item for item in items if item.kind not in ("seq", "tup", "modeloutput")]
        if any(isinstance(item, Tensor) for item in likely):
            items = tuple(likely)
    if len(items) == 1:
        return _attribute_of(frame, items[0], name)
    return join_all([_attribute_of(frame, item, name) for item in items])


def _attribute_of(frame: Frame, owner: Value, name: str) -> Value:
    if isinstance(owner, Obj):
        return _object_attribute(frame, owner, name)
    if isinstance(owner, Tensor):
        return tensors.tensor_attribute(owner, name)
    if isinstance(owner, Ext):
        return _outside_attribute(frame, owner, name)
    if isinstance(owner, ModuleRef):
        value = names.module_value(frame.session, owner.module, name)
        return value if value is not None else names.submodule(frame.session, owner.module, name) or UNKNOWN
    if isinstance(owner, ClassVal):
        return _class_attribute(frame, owner, name)
    if isinstance(owner, SuperVal):
        return _super_attribute(frame, owner, name)
    if isinstance(owner, Param):
        return attribute(frame, owner.declared, name)
    if isinstance(owner, NNModule):
        return tensors.module_attribute(owner, name)
    if isinstance(owner, ModelOutput):
        if name in DICT_METHODS:
            return Method(owner, name)
        return Seq(TENSOR) if name in ("hidden_states", "attentions", "past_key_values") else TENSOR
    if isinstance(owner, Device):
        return _device_attribute(owner, name)
    if isinstance(owner, (Func, Bound, Partial)):
        if isinstance(owner, Bound) and name == "__self__":
            return owner.receiver
        if isinstance(owner, Partial) and name == "func":
            return owner.func
        return STR if name in ("__name__", "__qualname__", "__doc__", "__module__") else UNKNOWN
    if isinstance(owner, Seq) and name in NAMED_FIELDS:
        return owner.element
    if isinstance(owner, Array) and name in ("shape", "ndim", "size", "dtype", "nbytes"):
        return SCALAR
    return Method(owner, name)


DICT_METHODS = {"keys", "values", "items", "get", "pop", "update", "setdefault", "copy", "to_tuple", "popitem", "clear"}


def _device_attribute(owner: Device, name: str) -> Value:
    if name == "type":
        return STR if owner.host is None else Const("cpu" if owner.host else "cuda", "str")
    return SCALAR


def _outside_attribute(frame: Frame, owner: Ext, name: str) -> Value:
    path = f"{owner.path}.{name}"
    if not owner.path.startswith(("torch", "builtins")):
        found = frame.session.project.find(path, frame.module.filename)
        if found is not None:
            module = frame.session.project.module(found)
            return UNKNOWN if module is None else ModuleRef(module)
    return Ext(path)


def _class_attribute(frame: Frame, owner: ClassVal, name: str) -> Value:
    session = frame.session
    line = names.mro(session, owner.info)
    found = names.lookup(session, line, name)
    stored = names.self_object(session, owner.info).attrs.get(name)
    if found is not None:
        value = names.class_member(session, *found, owner)
        return value if stored is None else join(stored, value)
    if stored is not None:
        return stored
    if name in ("__name__", "__qualname__", "__module__", "__doc__"):
        return STR
    return Method(owner, name)


def _super_attribute(frame: Frame, owner: SuperVal, name: str) -> Value:
    session, receiver = frame.session, owner.receiver
    cls = receiver.cls if isinstance(receiver, Obj) else owner.cls
    line = names.mro(session, cls)
    after = line[line.index(owner.cls) + 1 :] if owner.cls in line else names.mro(session, owner.cls)[1:]
    found = names.lookup(session, after, name)
    if found is not None:
        value = names.class_member(session, *found, receiver)
        return calls.property_value(frame, value)
    return Method(receiver, name)


def _object_attribute(frame: Frame, owner: Obj, name: str) -> Value:
    session = frame.session
    line = names.mro(session, owner.cls)
    found = names.lookup(session, line, name)
    if frame.lazy and found is None and any(name in cls.stores for cls in line):
        return Lazy(lambda: calls.property_value(frame, names.instance_attribute(session, owner, name) or UNKNOWN))
    stored = names.instance_attribute(session, owner, name)
    if found is not None:
        cls, statements = found
        is_method = isinstance(statements[-1], (ast.FunctionDef, ast.AsyncFunctionDef))
        if stored is None or (is_method and "property" in (cls.method(name) or frame.info).flags):
            value = names.class_member(session, cls, statements, owner)
            if is_method and not owner.exact and calls.is_abstract(cls, name):
                if frame.lazy:
                    return Lazy(lambda: _overridden(frame, owner, name, value))
                return _overridden(frame, owner, name, value)
            return calls.property_value(frame, value)
        return join(stored, names.class_member(session, cls, statements, owner))
    if stored is not None:
        return calls.property_value(frame, stored)
    if name == "__class__":
        return ClassVal(owner.cls)
    if name == "__dict__":
        return Mapping(UNKNOWN)
    if names.is_nn_module(session, owner.cls):
        value = tensors.module_attribute(MODULE, name)
        if value.kind != "unknown" and not (isinstance(value, Method) and name not in MODULE_METHODS):
            return Method(owner, name) if isinstance(value, Method) else value
    elif not owner.exact and names.meant_for_heirs(session, owner.cls):
        if frame.lazy:
            return Lazy(lambda: _overridden(frame, owner, name, Method(owner, name)))
        return _overridden(frame, owner, name, Method(owner, name))
    return Method(owner, name)


def _overridden(frame: Frame, owner: Obj, name: str, value: Value) -> Value:
    """What the subclasses of an object's class define under a name that the class leaves to them."""
    heirs = list(names.overrides(frame.session, owner.cls, name))
    return calls.property_value(frame, join_all(heirs) if heirs else value)
