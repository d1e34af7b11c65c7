"""What each parameter is in a call: arguments, defaults, annotations, or nobody's."""

from __future__ import annotations

import ast

from auditlint.analysis import conditions, declarations, expressions, names
from auditlint.analysis.arguments import Keywords
from auditlint.analysis.session import Session, memorable
from auditlint.analysis.values import (
    NONE,
    SCALAR,
    UNKNOWN,
    Env,
    Lazy,
    Mapping,
    Param,
    Seq,
    Value,
    const,
    join,
    join_all,
    tup,
)
from auditlint.project.modules import FunctionInfo


def bind(
    session: Session,
    info: FunctionInfo,
    args: list[Value],
    keywords: Keywords,
    star: Value | None = None,
    double_star: Value | None = None,
    env: Env | None = None,
) -> dict[str, Value]:
    """What each parameter is in a call with these arguments."""
    arguments = info.arguments
    if arguments is None:
        return {}
    bound: dict[str, Value] = {}
    named = dict(keywords)
    positional = arguments.posonlyargs + arguments.args
    for position, parameter in enumerate(positional):
        name = parameter.arg
        if position < len(args):
            value: Value | None = args[position]
        elif name in named:
            value = named.pop(name)
        elif star is not None:
            value = star
        else:
            value = double_star if double_star is not None and name not in info.defaults else None
        bound[name] = _argument(session, info, parameter, value, env)
        if value is None and double_star is not None:
            bound[name] = join(bound[name], declarations.parameter(session, info, parameter))
    if arguments.vararg is not None:
        rest = tuple(args[len(positional) :])
        bound[arguments.vararg.arg] = Seq(join_all([*rest, star])) if star is not None else tup(rest)
    for parameter in arguments.kwonlyargs:
        value = named.pop(parameter.arg, None)
        if value is None and double_star is not None and parameter.arg not in info.defaults:
            value = double_star
        bound[parameter.arg] = _argument(session, info, parameter, value, env)
    if arguments.kwarg is not None:
        known = {parameter.arg for parameter in positional}
        bound[arguments.kwarg.arg] = _keyword_dict(
            session, info, [p for p in named.items() if p[0] not in known], double_star
        )
    return bound


def _keyword_dict(session: Session, info: FunctionInfo, pairs: Keywords, double_star: Value | None) -> Value:
    if not pairs:
        return Mapping(UNKNOWN if double_star is None else double_star)
    made = session.dict_at(info, "**", tuple(pairs), double_star)
    for name, value in pairs:
        made.put(const(name), value)
    if double_star is not None:
        made.put(SCALAR, double_star)
    return made


def _argument(session: Session, info: FunctionInfo, parameter: ast.arg, value: Value | None, env: Env | None) -> Value:
    if value is None:
        default = info.defaults.get(parameter.arg)
        if default is None:
            return declarations.parameter(session, info, parameter)
        if isinstance(default, ast.Constant):
            return const(default.value)
        frame = names.module_frame(session, info.module)
        frame.env = Env(env)
        return expressions.evaluate(frame, default)
    if value.kind == "unknown" and parameter.annotation is not None:
        return declarations.parameter(session, info, parameter)
    return memorable(value)


def unbound(session: Session, info: FunctionInfo, receiver: Value | None = None) -> dict[str, Value]:
    """What each parameter is when no caller is known: itself."""
    arguments = info.arguments
    if arguments is None:
        return {}
    bound: dict[str, Value] = {}
    for parameter in arguments.posonlyargs + arguments.args + arguments.kwonlyargs:
        bound[parameter.arg] = Param(info, parameter.arg, _declared(session, info, parameter))
    positional = info.positional()
    if receiver is not None and positional and "static" not in info.flags:
        bound[positional[0].arg] = receiver
    if arguments.vararg is not None:
        declared = declarations.value_of(session, info.module, arguments.vararg.annotation)
        bound[arguments.vararg.arg] = Seq(Param(info, arguments.vararg.arg, declared))
    if arguments.kwarg is not None:
        bound[arguments.kwarg.arg] = Mapping(Param(info, arguments.kwarg.arg, UNKNOWN))
    return bound


def _declared(session: Session, info: FunctionInfo, parameter: ast.arg) -> Value:
    """What annotation and default say of a parameter, worked out when needed."""
    default = info.defaults.get(parameter.arg)
    if parameter.annotation is None and default is None:
        return UNKNOWN
    key = (info, parameter.arg)
    held = session.declared.get(key)
    if held is None:
        held = session.declared[key] = Lazy(lambda: _declaration(session, info, parameter, default))
    return held


def _declaration(session: Session, info: FunctionInfo, parameter: ast.arg, default: ast.expr | None) -> Value:
    declared = declarations.parameter(session, info, parameter)
    if isinstance(default, ast.Constant) and default.value is None:
        return declared if declared.kind == "unknown" else join(declared, NONE)
    if default is not None and declared.kind in ("device", "unknown", "scalar", "union"):
        return _default_device(session, info, default, declared)
    return declared


def _default_device(session: Session, info: FunctionInfo, default: ast.expr, declared: Value) -> Value:
    """A parameter whose default is the CPU is the CPU, as far as anybody knows."""
    if isinstance(default, ast.Constant) and not isinstance(default.value, str):
        return declared
    value = expressions.evaluate(names.module_frame(session, info.module), default)
    return value if conditions.device_of(value) is True else declared
