"""Calls: binding arguments to parameters, following project functions, making instances."""

from __future__ import annotations

import ast

from auditlint.analysis import (
    attributes,
    binding,
    captures,
    declarations,
    expressions,
    hooks,
    interpreter,
    methods,
    names,
    outside,
    tensors,
)
from auditlint.analysis.arguments import Arguments, Keywords
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import MAX_CONTEXTS, MAX_DEPTH, MAX_RECURSION, Session, SiteRecord, Summary
from auditlint.analysis.values import (
    NEVER,
    NONE,
    OUTPUT,
    SCALAR,
    TENSOR,
    UNKNOWN,
    Bound,
    ClassVal,
    DictObj,
    Env,
    Ext,
    Func,
    Lazy,
    Mapping,
    Method,
    NNModule,
    Obj,
    Param,
    Partial,
    Result,
    Seq,
    SuperVal,
    Tup,
    Value,
    alternatives,
    deferred,
    element,
    forced,
    join,
    join_all,
    settled,
    waits,
)
from auditlint.facts.registrars import REGISTRARS
from auditlint.facts.returns import MODULE_CLASSES
from auditlint.project.modules import ClassInfo, FunctionInfo


def evaluate_call(frame: Frame, node: ast.Call) -> Value:
    """The value of a call expression."""
    if isinstance(node.func, ast.Name) and node.func.id == "super":
        return _super(frame, node)
    function = expressions.evaluate(frame, node.func)
    given = _arguments(frame, node)
    if not frame.lazy and isinstance(node.func, ast.Attribute) and node.func.attr in captures.NOTED:
        captures.note_call(frame, node, function, given)
    return apply(frame, node, function, given)


def _arguments(frame: Frame, node: ast.Call) -> Arguments:
    args: list[Value] = []
    star: Value | None = None
    for part in node.args:
        if isinstance(part, ast.Starred):
            value = expressions.evaluate(frame, part.value)
            value = UNKNOWN if frame.lazy and waits(value) else settled(value)
            if isinstance(value, Tup) and star is None:
                args.extend(value.items)
            else:
                one = element(value)
                star = one if star is None else join(star, one)
        elif star is not None:
            star = join(star, expressions.evaluate(frame, part))
        else:
            args.append(expressions.evaluate(frame, part))
    keywords: Keywords = []
    double_star: Value | None = None
    for keyword in node.keywords:
        value = expressions.evaluate(frame, keyword.value)
        if keyword.arg is not None:
            keywords.append((keyword.arg, value))
            continue
        if frame.lazy and waits(value):
            double_star = UNKNOWN
            continue
        for item in alternatives(settled(value)):
            if isinstance(item, DictObj):
                keywords.extend((name, held) for name, held in item.items.items() if isinstance(name, str))
                rest = item.rest if item.rest is not NEVER else UNKNOWN
            else:
                rest = item.element if isinstance(item, Mapping) else UNKNOWN
            double_star = rest if double_star is None else join(double_star, rest)
    return Arguments(args, keywords, star, double_star)


def call(frame: Frame, node: ast.expr, function: Value, args: list[Value], keywords: Keywords) -> Value:
    """Call a value with known arguments."""
    return apply(frame, node, function, Arguments(args, keywords))


def apply(frame: Frame, node: ast.expr, function: Value, given: Arguments) -> Value:
    """Call each thing that `function` may be."""
    if isinstance(node, ast.Call):
        hooks.note_list_keywords(frame, node, given)
    if frame.lazy and waits(function):
        name = _called(node)
        if name in REGISTRARS and name not in OWN_REGISTRARS:
            hooks.note_registrar(frame, node, name, given)
            return UNKNOWN
        if not _wanted(frame, name, given):
            return deferred(function, lambda value: apply(frame, node, value, given))
    items = alternatives(function)
    if len(items) == 1:
        return _apply_one(frame, node, items[0], given)
    return join_all([_apply_one(frame, node, item, given) for item in items])


# What may turn out to be, or to hold, a hook.
WORTH_KEEPING = {"func", "bound", "partial", "obj", "param", "tup", "listobj", "dictobj", "lazy", "union"}

# Registrars whose names other libraries use for registries of their own: there the receiver decides.
OWN_REGISTRARS = {"register_hook", "register_prehook", "add_hook"}


def _called(node: ast.expr) -> str:
    """The last part of the name of what is called."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _wanted(frame: Frame, name: str, given: Arguments) -> bool:
    """Whether a call may register, so that it must be made at once; others wait until somebody needs their result."""
    session = frame.session
    return (
        name in session.tokens
        or name in session.tracing
        or name in OWN_REGISTRARS
        or name == "partial"
        or (name in interpreter.MUTATORS and any(value.kind in WORTH_KEEPING for value in given.all()))
        or hooks.names_registrar(given)
        or any(keyword in ("with_kwargs", "always_call") for keyword, _ in given.keywords)
    )


def _apply_one(frame: Frame, node: ast.expr, function: Value, given: Arguments) -> Value:
    if isinstance(function, Func):
        return _call_function(frame, node, function, given)
    if isinstance(function, Bound):
        shifted = Arguments([function.receiver, *given.args], given.keywords, given.star, given.double_star)
        return _apply_one(frame, node, function.func, shifted)
    if isinstance(function, Method):
        if function.name == "__init__" and isinstance(function.receiver, Obj):
            hooks.note_constructor(frame, node, names.outside_bases(frame.session, function.receiver.cls), given)
            return NONE
        if hooks.note_registrar(frame, node, function.name, given):
            return UNKNOWN
        return methods.method_call(frame, node, function, given)
    if isinstance(function, Ext):
        if function.path.endswith(".__init__"):
            rest = Arguments(given.args[1:], given.keywords, given.star, given.double_star)
            hooks.note_constructor(frame, node, [function.path[:-9]], rest)
            return NONE
        if hooks.note_registrar(frame, node, function.path.rpartition(".")[2], given):
            return UNKNOWN
        return outside.call(frame, node, function.path, given)
    if isinstance(function, Partial):
        merged = Arguments(
            [*function.args, *given.args],
            [*[pair for pair in function.keywords if pair[0] not in dict(given.keywords)], *given.keywords],
            given.star,
            given.double_star,
        )
        return apply(frame, node, function.func, merged)
    if isinstance(function, ClassVal):
        return _construct(frame, node, function, given)
    if isinstance(function, Obj):
        return _call_object(frame, node, function, given)
    if isinstance(function, NNModule):
        return tensors.by_kind(MODULE_CLASSES[function.name], TENSOR) if function.name in MODULE_CLASSES else OUTPUT
    if isinstance(function, Param):
        hooks.note_unknown(frame, node, given)
        return Result(function)
    if function.kind == "unknown":
        hooks.note_unknown(frame, node, given)
    return UNKNOWN


def _call_object(frame: Frame, node: ast.expr, obj: Obj, given: Arguments) -> Value:
    for name in ("__call__", "forward"):
        method = attributes.attribute(frame, obj, name)
        if any(item.kind in ("bound", "func") for item in alternatives(method)):
            return apply(frame, node, method, given)
    return OUTPUT if names.is_nn_module(frame.session, obj.cls) else UNKNOWN


def _super(frame: Frame, node: ast.Call) -> Value:
    info: FunctionInfo | None = frame.info
    while info is not None and info.cls is None:
        info = info.parent
    if info is None or info.cls is None:
        return UNKNOWN
    if len(node.args) == 2:
        receiver = expressions.evaluate(frame, node.args[1])
        for item in alternatives(expressions.evaluate(frame, node.args[0])):
            if isinstance(item, ClassVal):
                return SuperVal(item.info, settled(receiver))
    parameters = info.positional()
    receiver = expressions.name_value(frame, parameters[0].arg) if parameters else UNKNOWN
    objects = [item for item in alternatives(settled(receiver)) if isinstance(item, (Obj, ClassVal))]
    return SuperVal(info.cls, objects[0] if objects else names.self_object(frame.session, info.cls))


def _call_function(frame: Frame, node: ast.expr, function: Func, given: Arguments) -> Value:
    session = frame.session
    if frame.lazy:
        session.call_log.setdefault(function.info, []).append(given)

    def make() -> Value:
        bound = binding.bind(
            session, function.info, given.args, given.keywords, given.star, given.double_star, function.env
        )
        summary = run_function(session, function, bound, frame.lazy)
        # A hook is not called by the module body that it is run from.
        alias = None if isinstance(frame.info.node, ast.Module) else _only_waits(function.info, summary)
        if alias is None:
            frame.summary.reach(getattr(node, "lineno", 0), summary)
        else:
            frame.site(alias.kind, alias.operation, node, alias.evidence, alias.definite)
        return summary.value

    if session.is_wrapper(function.info):
        hooks.note_wrapper(frame, node, function.info, given)
    elif frame.lazy and function.info.name not in OWN_REGISTRARS and not hooks.names_registrar(given):
        return Lazy(make)
    return make()


def _only_waits(info: FunctionInfo, summary: Summary) -> SiteRecord | None:
    """The site of a function that does nothing but tell the device to finish: it is that call under another name."""
    if isinstance(info.node, ast.FunctionDef) and len(summary.sites) == 1 and not summary.calls:
        body = [s for s in info.node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        record = next(iter(summary.sites.values()))
        if record.kind == "synchronize" and len(body) == 1 and isinstance(body[0], (ast.Return, ast.Expr)):
            return record
    return None


def _construct(frame: Frame, node: ast.expr, value: ClassVal, given: Arguments) -> Value:
    session, cls = frame.session, value.info
    line = names.mro(session, cls)
    bases = session.outside.get(cls, ())
    if any(base.rpartition(".")[2] in ("Enum", "IntEnum", "StrEnum", "Flag") for base in bases):
        return SCALAR
    hooks.note_registrar_class(frame, node, bases, given)
    key = (cls, tuple(given.args), tuple(given.keywords), given.star, given.double_star)
    held = session.objects.get(key)
    if held is not None:
        if not frame.lazy and held.built is not None:
            frame.summary.reach(getattr(node, "lineno", 0), held.built)
        return held
    obj = session.objects[key] = Obj(cls, tuple(given.args), tuple(given.keywords), exact=True)
    found = names.lookup(session, line, "__init__")
    if found is None:
        _fill_fields(frame, obj, line, given)
        return obj
    method = found[0].method("__init__")
    if method is None:
        return obj
    if session.is_wrapper(method):
        made = Arguments([obj, *given.args], given.keywords, given.star, given.double_star)
        hooks.note_wrapper(frame, node, method, made)
    if frame.lazy:
        made = Arguments([obj, *given.args], given.keywords, given.star, given.double_star)
        session.call_log.setdefault(method, []).append(made)
    if not frame.lazy or cls.name in session.tokens:
        function = Func(method, session.class_envs.get(found[0]))
        bound = binding.bind(session, method, [obj, *given.args], given.keywords, given.star, given.double_star)
        obj.done.add(method)
        summary = run_function(session, function, bound, frame.lazy)
        obj.built = summary
        frame.summary.reach(getattr(node, "lineno", 0), summary)
    return obj


def _fill_fields(frame: Frame, obj: Obj, line: tuple[ClassInfo, ...], given: Arguments) -> None:
    """Dataclasses, NamedTuples and their like: annotated fields in order."""
    fields: list[str] = []
    declared: dict[str, Value] = {}
    for cls in reversed(line):
        for statement in cls.node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
                if name not in declared:
                    fields.append(name)
                declared[name] = declarations.value_of(frame.session, cls.module, statement.annotation)
    for position, name in enumerate(fields):
        value = given.get(position, name)
        if value is not None and settled(value).kind != "unknown":
            obj.put(name, value)
        elif declared[name].kind != "unknown":
            obj.put(name, declared[name])


def too_deep(session: Session) -> bool:
    return len(session.stack) >= MAX_DEPTH or session.runs >= session.limit


def run_function(session: Session, function: Func, bound: dict[str, Value], lazy: bool) -> Summary:
    """Run a function with these parameters, or recall what such a run came to."""
    info, env = function.info, function.env
    if not lazy:
        bound = {name: forced(value) for name, value in bound.items()}
    key = (info, env, env.version if env is not None else 0, lazy, tuple(bound.values()))
    held = session.memo.get(key)
    if held is not None:
        return held
    summary = Summary(info)
    summary.value = declarations.returned(session, info)
    if too_deep(session) or session.stack.count(info) >= MAX_RECURSION:
        return summary
    contexts = session.contexts.setdefault((info, lazy), [])
    if len(contexts) >= MAX_CONTEXTS:
        return contexts[-1]
    contexts.append(summary)
    session.memo[key] = summary
    session.runs += 1
    session.stack.append(info)
    declared = summary.value
    try:
        frame = Frame(session, info, Env(env), summary, lazy)
        for name, value in bound.items():
            frame.env.put(name, value)
        interpreter.run(frame)
        hooks.note_returned(frame)
    except RecursionError:
        session.too_nested(info)
        summary.value = UNKNOWN
    finally:
        session.stack.pop()
    if summary.value.kind == "unknown":
        summary.value = declared
    return summary


def run_method(session: Session, obj: Obj, method: FunctionInfo) -> Summary:
    """Run a method for what it stores in `obj`, with the constructor's arguments where they were seen."""
    function = Func(method, session.class_envs.get(method.cls) if method.cls is not None else None)
    if obj.args is not None and method.name == "__init__" and method.cls is obj.cls:
        bound = binding.bind(session, method, [obj, *obj.args], list(obj.keywords))
    else:
        bound = binding.unbound(session, method, obj)
    return run_function(session, function, bound, lazy=True)


def property_value(frame: Frame, value: Value) -> Value:
    """What reading an attribute gives: properties are called."""
    items = alternatives(value)
    if not any(_is_property(item) for item in items):
        return value
    node = frame.statement
    at = ast.Name(id="", ctx=ast.Load(), lineno=node.lineno, col_offset=0)
    return join_all([apply(frame, at, item, Arguments([], [])) if _is_property(item) else item for item in items])


def _is_property(value: Value) -> bool:
    return isinstance(value, Bound) and isinstance(value.func, Func) and "property" in value.func.info.flags


def is_abstract(cls: ClassInfo, name: str) -> bool:
    """Whether a method's body only says that a subclass must define it."""
    method = cls.method(name)
    if method is None or isinstance(method.node, (ast.Lambda, ast.Module)):
        return False
    if "abstract" in method.flags:
        return True
    for statement in method.node.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        return isinstance(statement, (ast.Pass, ast.Raise))
    return True


def decorated(frame: Frame, statement: ast.FunctionDef | ast.AsyncFunctionDef, function: Value) -> Value:
    """What a `def` binds, its decorators applied; decorators from outside are taken to keep the function."""
    for decorator in reversed(statement.decorator_list):
        if hooks.note_decorator(frame, decorator, function):
            continue
        for item in alternatives(expressions.evaluate(frame, decorator)):
            if isinstance(item, (Method, Ext)):
                name = item.name if isinstance(item, Method) else item.path.rpartition(".")[2]
                hooks.note_registrar(frame, decorator, name, Arguments([function], []))
            elif item.kind in ("func", "bound", "partial", "obj", "classval"):
                result = forced(apply(frame, decorator, item, Arguments([function], [])))
                kept = [part for part in alternatives(result) if part.kind in ("func", "bound", "partial", "obj")]
                if kept:
                    function = join_all(kept)
    return function


def enter_context(frame: Frame, node: ast.expr, manager: Value) -> Value:
    """What `with manager as name` binds."""
    if frame.lazy and waits(manager):
        return deferred(manager, lambda value: enter_context(frame, node, value))
    parts = []
    for item in alternatives(settled(manager)):
        if isinstance(item, Obj):
            entered = attributes.attribute(frame, item, "__enter__")
            is_project = any(part.kind == "bound" for part in alternatives(entered))
            parts.append(call(frame, node, entered, [], []) if is_project else item)
            leave = attributes.attribute(frame, item, "__exit__")
            if any(part.kind == "bound" for part in alternatives(leave)):
                call(frame, node, leave, [NONE, NONE, NONE], [])
        elif isinstance(item, Seq):
            parts.append(item.element)
        else:
            parts.append(item)
    return join_all(parts)
