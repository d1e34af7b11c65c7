"""What an expression is, and which of its parts make the host wait; calls are in `calls`."""

from __future__ import annotations

import ast
from collections.abc import Callable

from auditlint.analysis import callers, calls, interpreter, names, narrowing, torch_ops
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import Session
from auditlint.analysis.values import (
    ARRAY,
    BOOL,
    MODULE,
    NEVER,
    SCALAR,
    STR,
    TENSOR,
    UNKNOWN,
    Array,
    Bound,
    ClassVal,
    Const,
    Device,
    DictObj,
    Env,
    Ext,
    Func,
    Lazy,
    ListObj,
    Mapping,
    Method,
    ModelOutput,
    ModuleRef,
    NNModule,
    Obj,
    Param,
    Partial,
    Scalar,
    Seq,
    SuperVal,
    Tensor,
    Tup,
    Value,
    alternatives,
    const,
    deferred,
    element,
    holds_device,
    join,
    join_all,
    settled,
    truth,
    tup,
    waits,
)
from auditlint.facts.returns import NAMED_FIELDS, TENSOR_ATTRIBUTES, TENSOR_METHODS


def evaluate(frame: Frame, node: ast.expr) -> Value:
    """The value of an expression; sites in it are recorded in the frame."""
    return EXPRESSIONS.get(type(node), _opaque)(frame, node)


def _opaque(frame: Frame, node: ast.expr) -> Value:
    return UNKNOWN


def literal(node: ast.expr) -> Value:
    return const(node.value) if isinstance(node, ast.Constant) else UNKNOWN


def _constant(frame: Frame, node: ast.Constant) -> Value:
    return const(node.value)


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


def _name(frame: Frame, node: ast.Name) -> Value:
    return callers.resolved(frame, name_value(frame, node.id))


def name_value(frame: Frame, name: str) -> Value:
    """What a name means here: local, then enclosing functions, then the module, then builtins."""
    env = frame.env
    held = env.now.get(name)
    if held is not None:
        return held
    outer: Env | None = env.parent
    if name in env.ever and name not in frame.globals:
        return env.ever[name]
    while outer is not None:
        held = outer.ever.get(name)
        if held is not None:
            return held
        outer = outer.parent
    if frame.lazy:
        value = names.deferred_import(frame.session, frame.module, name)
        if value is not None:
            return value
    value = names.module_value(frame.session, frame.module, name)
    return names.builtin(name) if value is None else value


def _attribute(frame: Frame, node: ast.Attribute) -> Value:
    path = dotted(node)
    if path and frame.env.paths:
        held = frame.env.now.get(path)
        if held is not None:
            return held
    return callers.resolved(frame, attribute(frame, evaluate(frame, node.value), node.attr))


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
        tensors = [item for item in items if item.kind not in ("seq", "tup", "modeloutput")]
        if any(isinstance(item, Tensor) for item in tensors):
            items = tuple(tensors)
    if len(items) == 1:
        return _attribute_of(frame, items[0], name)
    return join_all([_attribute_of(frame, item, name) for item in items])


def _attribute_of(frame: Frame, owner: Value, name: str) -> Value:
    if isinstance(owner, Obj):
        return _object_attribute(frame, owner, name)
    if isinstance(owner, Tensor):
        return torch_ops.tensor_attribute(owner, name)
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
        return torch_ops.module_attribute(owner, name)
    if isinstance(owner, ModelOutput):
        if name in DICT_METHODS:
            return Method(owner, name)
        return Seq(TENSOR) if name in ("hidden_states", "attentions", "past_key_values") else TENSOR
    if isinstance(owner, Device):
        return _device_attribute(owner, name)
    if isinstance(owner, Func | Bound | Partial):
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
        is_method = isinstance(statements[-1], ast.FunctionDef | ast.AsyncFunctionDef)
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
        value = torch_ops.module_attribute(MODULE, name)
        if value.kind != "unknown" and not (isinstance(value, Method) and name not in torch_ops.MODULE_METHODS):
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


def _subscript(frame: Frame, node: ast.Subscript) -> Value:
    owner = evaluate(frame, node.value)
    index = evaluate(frame, node.slice)
    path = _item_path(node)
    if path and frame.env.paths:
        held = frame.env.now.get(path)
        if held is not None:
            return held
    if frame.lazy and waits(owner):
        return deferred(owner, lambda value: _items(frame, value, index, node))
    return _items(frame, owner, index, node)


def _items(frame: Frame, owner: Value, index: Value, node: ast.Subscript) -> Value:
    items = alternatives(settled(owner))
    if len(items) > 1 and _indexes_tensor(index) and any(isinstance(item, Tensor) for item in items):
        items = tuple(item for item in items if isinstance(item, Tensor))
    return join_all([_item(frame, item, index, node) for item in items])


def _indexes_tensor(index: Value) -> bool:
    """Only tensors (and arrays) take tensors and tuples between the brackets."""
    return isinstance(index, Tup) or all(isinstance(item, Tensor) for item in alternatives(settled(index)))


def _item_path(node: ast.Subscript) -> str:
    """`name["key"]` as text, to remember what was stored there; "" when the key is no literal."""
    base = dotted(node.value)
    if base and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str | int):
        return f"{base}.[{node.slice.value!r}]"
    return ""


def _item(frame: Frame, owner: Value, index: Value, node: ast.Subscript) -> Value:
    if isinstance(owner, Tensor):
        return torch_ops.tensor_item(frame, owner, index, node)
    if isinstance(owner, Tup | Seq | ListObj):
        if all(isinstance(item, Tensor) and not item.host for item in alternatives(settled(index))):
            frame.site("index", "list index", node, "Tensor.__index__")
        if _holds_device_bound(frame, node.slice):
            frame.site("index", "slice bound", node, "Tensor.__index__")
        if isinstance(owner, Tup):
            if isinstance(index, Const) and isinstance(index.value, int) and not isinstance(index.value, bool):
                at = index.value
                if -len(owner.items) <= at < len(owner.items):
                    return owner.items[at]
            if isinstance(node.slice, ast.Slice):
                return Seq(element(owner)) if owner.items else owner
        if isinstance(node.slice, ast.Slice):
            return owner if isinstance(owner, Seq | ListObj) else Seq(element(owner))
        return element(owner)
    if isinstance(owner, DictObj):
        if isinstance(index, Const) and index.value in owner.items:
            return owner.items[index.value]
        return owner.values() if owner.items or owner.rest is not NEVER else UNKNOWN
    if isinstance(owner, Mapping):
        return owner.element
    if isinstance(owner, ModelOutput):
        return TENSOR
    if isinstance(owner, Array):
        return ARRAY
    if isinstance(owner, NNModule):
        return MODULE
    if isinstance(owner, Const | Scalar):
        return SCALAR
    if isinstance(owner, ClassVal | Ext):
        return owner
    if isinstance(owner, Obj):
        method = attribute(frame, owner, "__getitem__")
        if method.kind == "bound":
            return calls.call(frame, node, method, [index], [])
        if names.is_nn_module(frame.session, owner.cls):
            return MODULE
    return UNKNOWN


def _holds_device_bound(frame: Frame, node: ast.expr) -> bool:
    if not isinstance(node, ast.Slice):
        return False
    bounds = [part for part in (node.lower, node.upper, node.step) if part is not None]
    return any(
        isinstance(item, Tensor) and not item.host
        for part in bounds
        for item in alternatives(settled(evaluate(frame, part)))
    )


def _slice(frame: Frame, node: ast.Slice) -> Value:
    for part in (node.lower, node.upper, node.step):
        if part is not None:
            evaluate(frame, part)
    return Scalar("slice")


def store_item(frame: Frame, target: ast.Subscript, value: Value) -> None:
    """`owner[index] = value`."""
    owner = evaluate(frame, target.value)
    index = evaluate(frame, target.slice)
    path = _item_path(target)
    if path:
        frame.env.put_path(path, value)
    if frame.lazy and waits(owner) and value.kind not in calls.WORTH_KEEPING:
        return
    for item in alternatives(settled(owner)):
        if isinstance(item, DictObj):
            item.put(index, value)
        elif isinstance(item, ListObj):
            item.add(value)
        elif isinstance(item, Tensor):
            torch_ops.store_tensor_item(frame, item, index, value, target)


def iterate(frame: Frame, value: Value, node: ast.expr) -> Value:
    """What a loop over `value` binds, iterating instances of project classes included."""
    if frame.lazy and waits(value):
        return deferred(value, lambda made: iterate(frame, made, node))
    parts = []
    for item in alternatives(settled(value)):
        if isinstance(item, Obj):
            method = attribute(frame, item, "__iter__")
            parts.append(element(calls.call(frame, node, method, [], [])) if method.kind == "bound" else UNKNOWN)
        else:
            parts.append(element(item))
    return join_all(parts)


def truth_site(frame: Frame, value: Value, node: ast.expr, operation: str = "") -> None:
    """Record the sync of testing a value, when it is a tensor (or None) and nothing else."""
    if frame.lazy:
        return
    items = alternatives(settled(value))
    found = False
    for item in items:
        if isinstance(item, Tensor):
            found = found or not item.host
        elif not isinstance(item, Const | Scalar):
            return
    if found:
        frame.site("truth", operation or _test_word(frame.statement), node, "Tensor.__bool__")


def _test_word(statement: ast.stmt) -> str:
    return {ast.If: "if", ast.While: "while", ast.Assert: "assert"}.get(type(statement), "truth test")


def _bin_op(frame: Frame, node: ast.BinOp) -> Value:
    left, right = evaluate(frame, node.left), evaluate(frame, node.right)
    if frame.lazy and left.kind not in SEQUENCE_KINDS and right.kind not in SEQUENCE_KINDS:
        return UNKNOWN
    if isinstance(node.op, ast.Mod) and all(_is_text(item) for item in alternatives(left)):
        if holds_device(right):
            frame.site("format", "%-formatting", node, "Tensor.__format__")
        return STR
    pairs = [(a, b) for a in _operands(left) for b in _operands(right)]
    return join_all([_combined(a, b, node.op) for a, b in pairs[:24]])


def _operands(value: Value) -> tuple[Value, ...]:
    """What an operator may meet; a hook's output that is computed with is the tensor, not the dict it might be."""
    items = alternatives(settled(value))
    if len(items) > 1 and any(isinstance(item, Tensor) for item in items):
        return tuple(item for item in items if not isinstance(item, ModelOutput | Seq))
    return items


def _is_text(value: Value) -> bool:
    return isinstance(value, Const | Scalar) and value.type == "str"


def _combined(left: Value, right: Value, op: ast.operator) -> Value:
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return torch_ops.combined(left, right, op)
    if isinstance(left, Array) or isinstance(right, Array):
        return ARRAY
    if isinstance(left, Tup) and isinstance(right, Tup) and isinstance(op, ast.Add):
        return tup(left.items + right.items)
    if isinstance(op, ast.Add) and left.kind in SEQUENCE_KINDS and right.kind in SEQUENCE_KINDS:
        return Seq(join(element(left), element(right)))
    if isinstance(op, ast.Mult) and left.kind in SEQUENCE_KINDS:
        return left if left.kind == "listobj" else Seq(element(left))
    if isinstance(left, Const | Scalar) and isinstance(right, Const | Scalar):
        return STR if _is_text(left) or _is_text(right) else SCALAR
    if isinstance(left, DictObj | Mapping) or isinstance(right, DictObj | Mapping):
        return left
    return UNKNOWN


SEQUENCE_KINDS = {"tup", "seq", "listobj"}


def _unary_op(frame: Frame, node: ast.UnaryOp) -> Value:
    if isinstance(node.op, ast.Not):
        known = narrowing.test(frame, node.operand)
        return BOOL if known is None else const(not known)
    value = evaluate(frame, node.operand)
    if frame.lazy and isinstance(value, Lazy):
        return UNKNOWN
    value = settled(value)
    if isinstance(value, Const) and isinstance(node.op, ast.USub) and isinstance(value.value, int):
        return const(-value.value)
    return join_all([item if isinstance(item, Tensor | Array) else _plain(item) for item in alternatives(value)])


def _plain(item: Value) -> Value:
    return SCALAR if isinstance(item, Const | Scalar) else UNKNOWN


def _bool_op(frame: Frame, node: ast.BoolOp) -> Value:
    """As a value: every operand but the last is tested, and any may be the result."""
    decisive = isinstance(node.op, ast.Or)
    before = dict(frame.env.now)
    results: list[Value] = []
    for operand in node.values[:-1]:
        if isinstance(operand, ast.BoolOp | ast.Compare) or (isinstance(operand, ast.UnaryOp)):
            known = narrowing.test(frame, operand)
            value = evaluate(frame, operand)
        else:
            value = evaluate(frame, operand)
            truth_site(frame, value, operand, "or" if decisive else "and")
            known = truth(value)
        if known is decisive:
            results.append(value)
            break
        if known is None:
            results.append(_passing(value, decisive))
        narrowing.apply(frame, operand, not decisive)
    else:
        results.append(evaluate(frame, node.values[-1]))
    frame.env.now = before
    return join_all(results)


def _passing(value: Value, outcome: bool) -> Value:
    """The alternatives for which a test comes out as `outcome`."""
    if waits(value):
        return value
    kept = [item for item in alternatives(value) if truth(item) in (None, outcome)]
    return join_all(kept) if kept else value


def _compare(frame: Frame, node: ast.Compare) -> Value:
    left = evaluate(frame, node.left)
    if frame.lazy:
        for comparator in node.comparators:
            evaluate(frame, comparator)
        return UNKNOWN
    results: list[Value] = []
    for position, (operator, comparator) in enumerate(zip(node.ops, node.comparators)):
        right = evaluate(frame, comparator)
        result = _compared(frame, left, operator, right, node)
        if position + 1 < len(node.ops):
            truth_site(frame, result, node, "chained comparison")
        results.append(result)
        left = right
    return results[-1] if len(results) == 1 else join_all(results)


def _compared(frame: Frame, left: Value, operator: ast.cmpop, right: Value, node: ast.Compare) -> Value:
    if isinstance(operator, ast.Is | ast.IsNot):
        return BOOL
    if isinstance(operator, ast.In | ast.NotIn):
        torch_ops.membership(frame, left, right, node)
        return BOOL
    left, right = settled(left), settled(right)
    if isinstance(left, Const) and isinstance(right, Const) and left.type == right.type == "str":
        equal = left.value == right.value
        if isinstance(operator, ast.Eq | ast.NotEq):
            return const(equal if isinstance(operator, ast.Eq) else not equal)
    if isinstance(left, Device) and isinstance(right, Const) and isinstance(operator, ast.Eq) and left.host is not None:
        return const((right.value == "cpu") is left.host) if right.value == "cpu" else BOOL
    return join_all([_pair(a, b) for a in _operands(left) for b in _operands(right)])


def _pair(left: Value, right: Value) -> Value:
    """Comparing one thing with another: elementwise when a tensor takes part, and the other is no plain object."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Tensor):
            if _settles(other):
                return BOOL
            return Tensor(one.host and not (isinstance(other, Tensor) and not other.host), "bool", one.single)
    if isinstance(left, Array) or isinstance(right, Array):
        return ARRAY
    plain = isinstance(left, Const | Scalar | Device) and isinstance(right, Const | Scalar | Device)
    return BOOL if plain else UNKNOWN


def _settles(item: Value) -> bool:
    """Values that a tensor is compared with as an object: the result is a bool."""
    return isinstance(item, Const) and (item.value is None or item.type == "str")


def _if_exp(frame: Frame, node: ast.IfExp) -> Value:
    known = narrowing.test(frame, node.test)
    before = dict(frame.env.now)
    results = []
    for outcome, branch in ((True, node.body), (False, node.orelse)):
        if known is (not outcome):
            continue
        narrowing.apply(frame, node.test, outcome)
        results.append(evaluate(frame, branch))
        frame.env.now = dict(before)
    return join_all(results)


def _tuple(frame: Frame, node: ast.Tuple) -> Value:
    if any(isinstance(part, ast.Starred) for part in node.elts) or len(node.elts) > 64:
        return Seq(join_all([_spread(frame, part) for part in node.elts]))
    return tup(tuple([evaluate(frame, part) for part in node.elts]))


def _spread(frame: Frame, node: ast.expr) -> Value:
    return element(evaluate(frame, node.value)) if isinstance(node, ast.Starred) else evaluate(frame, node)


def _list(frame: Frame, node: ast.List | ast.Set) -> Value:
    made = frame.session.list_at(node, frame.env)
    made.hashed = isinstance(node, ast.Set)
    for part in node.elts[:256]:
        made.add(_spread(frame, part))
    return made


def _dict(frame: Frame, node: ast.Dict) -> Value:
    made = frame.session.dict_at(node, frame.env)
    for key, part in list(zip(node.keys, node.values))[:256]:
        value = evaluate(frame, part)
        if key is not None:
            made.put(evaluate(frame, key), value)
            continue
        for item in alternatives(settled(value)):
            if isinstance(item, DictObj):
                for name, held in item.items.items():
                    made.put(const(name) if isinstance(name, str | int) else SCALAR, held)
            elif isinstance(item, Mapping):
                made.put(SCALAR, item.element)
    return made


def _comprehension(frame: Frame, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
    before = dict(frame.env.now)
    for generator in node.generators:
        interpreter.assign(frame, generator.target, iterate(frame, evaluate(frame, generator.iter), generator.iter))
        for condition in generator.ifs:
            narrowing.test(frame, condition)
            narrowing.apply(frame, condition, True)
    if isinstance(node, ast.DictComp):
        made = frame.session.dict_at(node, frame.env)
        made.put(evaluate(frame, node.key), evaluate(frame, node.value))
        result: Value = made
    else:
        inner = evaluate(frame, node.elt)
        result = Seq(inner)
        if isinstance(node, ast.ListComp):
            held = frame.session.list_at(node, frame.env)
            held.add(inner)
            result = held
    frame.env.now = before
    return result


def _lambda(frame: Frame, node: ast.Lambda) -> Value:
    outer = frame.info.qualname
    qualname = "<lambda>" if outer == "<module>" else f"{outer}.<locals>.<lambda>"
    info = frame.module.function(node, qualname, None, frame.info)
    info.statement = frame.statement
    function = Func(info, frame.env)
    if frame.session.registers(info):
        frame.session.pending.setdefault((info, frame.env), function)
    return function


def _joined_str(frame: Frame, node: ast.JoinedStr) -> Value:
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            value = evaluate(frame, part.value)
            if part.format_spec is not None:
                evaluate(frame, part.format_spec)
            if not frame.lazy and holds_device(value):
                frame.site("format", "f-string", node, "Tensor.__format__")
    if len(node.values) == 1 and isinstance(node.values[0], ast.Constant):
        return const(node.values[0].value)
    return Scalar("str") if not _pattern(node) else Const(_pattern(node), "str")


def _pattern(node: ast.JoinedStr) -> str:
    """`f"register_{kind}_hook"` is as good as any registrar's name."""
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return text if text.startswith("register_") and text.endswith("_hook") else ""


def _named(frame: Frame, node: ast.NamedExpr) -> Value:
    value = evaluate(frame, node.value)
    interpreter.assign(frame, node.target, value)
    return value


def _inner(frame: Frame, node: ast.Starred | ast.Await) -> Value:
    return evaluate(frame, node.value)


def _yield(frame: Frame, node: ast.Yield) -> Value:
    frame.yields.append(evaluate(frame, node.value) if node.value is not None else SCALAR)
    return UNKNOWN


def _yield_from(frame: Frame, node: ast.YieldFrom) -> Value:
    frame.yields.append(element(evaluate(frame, node.value)))
    return UNKNOWN


def _call(frame: Frame, node: ast.Call) -> Value:
    return calls.evaluate_call(frame, node)


def unknown_session(session: Session) -> bool:
    return session.runs > 0


EXPRESSIONS: dict[type[ast.expr], Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.BinOp: _bin_op,
    ast.UnaryOp: _unary_op,
    ast.BoolOp: _bool_op,
    ast.Compare: _compare,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.Tuple: _tuple,
    ast.List: _list,
    ast.Set: _list,
    ast.Dict: _dict,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
    ast.JoinedStr: _joined_str,
    ast.IfExp: _if_exp,
    ast.NamedExpr: _named,
    ast.Starred: _inner,
    ast.Await: _inner,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
}
