"""What the methods of a class leave in the attributes of an instance."""

from __future__ import annotations

import ast

from auditlint.analysis import binding, calls, expressions
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import Session, Summary
from auditlint.analysis.values import Env, Obj, Value
from auditlint.project.modules import FunctionInfo


def run_store(session: Session, obj: Obj, method: FunctionInfo, statement: ast.stmt, name: str) -> None:
    """Find out what `statement` of `method` stores into `obj.name`; nothing is done twice."""
    if (method, statement) in obj.done or method in obj.done:
        return
    obj.done.add((method, statement))
    if _store_directly(session, obj, method, statement, name):
        return
    if method in session.stack or calls.too_deep(session):
        return
    obj.done.add(method)
    calls.run_method(session, obj, method)


def _store_directly(session: Session, obj: Obj, method: FunctionInfo, statement: ast.stmt, name: str) -> bool:
    """Evaluate the one statement by itself, where it needs nothing of the method but its parameters."""
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    if not all(isinstance(target, ast.Attribute) for target in targets):
        return False
    used = {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}
    if used & method.locals:
        return False
    frame = Frame(
        session, method, Env(session.class_envs.get(method.cls) if method.cls else None), Summary(method), True
    )
    given = constructor_arguments(session, obj, method)
    bound = binding.bind(session, method, *given) if given is not None else binding.unbound(session, method, obj)
    for parameter, value in bound.items():
        frame.env.put(parameter, value)
    frame.statement = statement
    obj.put(name, expressions.evaluate(frame, statement.value))
    return True


def constructor_arguments(
    session: Session, obj: Obj, method: FunctionInfo
) -> tuple[list[Value], list[tuple[str, Value]], Value | None, Value | None] | None:
    """The arguments that `method` was called with, if it is the constructor and the call was seen."""
    if obj.args is None or method.name != "__init__" or method.cls is not obj.cls:
        return None
    return [obj, *obj.args], list(obj.keywords), None, None
