"""Where to start in one file: the functions, classes and module code that name a registrar."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase

from auditlint.analysis import binding, calls, hooks, names
from auditlint.analysis.session import Session, Wrapper
from auditlint.analysis.values import Bound, Func, Obj, Value
from auditlint.diagnostics import Step
from auditlint.facts.registrars import HOOK_CLASSES
from auditlint.project.modules import DEFINITIONS, ClassInfo, FunctionInfo, Module

IMPORTS = (ast.Import, ast.ImportFrom)


def start(session: Session, module: Module, rows: list[int]) -> None:
    """Run whatever in a module holds one of these rows, as if called by anyone."""
    started: set[object] = set()
    for row in rows:
        _start_at(session, module, module.tree.body, row, started)


def _start_at(session: Session, module: Module, body: list[ast.stmt], row: int, started: set[object]) -> None:
    statement = _holding(body, row)
    if statement is None or isinstance(statement, IMPORTS):
        return
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        if statement in started:
            return
        started.add(statement)
        names.module_value(session, module, statement.name)
        info = module.function(statement, statement.name)
        run_generic(session, Func(info, None))
    elif isinstance(statement, ast.ClassDef):
        _start_class(session, module.class_(statement, statement.name), row, started)
    elif inner := _blocks(statement, row):
        definition = _holding(inner, row)
        if isinstance(definition, DEFINITIONS) or (definition is not None and _blocks(definition, row)):
            _start_at(session, module, inner, row, started)
        elif definition is not None and not isinstance(definition, IMPORTS):
            _start_body(session, module, started)
    else:
        _start_body(session, module, started)


def _start_body(session: Session, module: Module, started: set[object]) -> None:
    if module not in started:
        started.add(module)
        body = Func(module.body(), None)
        calls.run_function(session, body, {}, lazy=True)


def _start_class(session: Session, cls: ClassInfo, row: int, started: set[object]) -> None:
    statement = _holding(cls.node.body, row)
    if isinstance(statement, ast.ClassDef):
        nested = cls.module.class_(statement, f"{cls.qualname}.{statement.name}", cls.parent)
        _start_class(session, nested, row, started)
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        if statement not in started:
            started.add(statement)
            method = cls.module.function(statement, f"{cls.qualname}.{statement.name}", cls, cls.parent)
            start_method(session, cls, method)
    elif statement is None and cls not in started:
        started.add(cls)
        start_header(session, cls)


def start_method(session: Session, cls: ClassInfo, method: FunctionInfo) -> None:
    """Run a method on the instance that stands for all, its decorators applied."""
    receiver = names.self_object(session, cls)
    names.bound_method(session, method, receiver)
    function = Func(method, session.class_envs.get(cls))
    if method.name == "__init__":
        receiver.done.add(method)
    run_generic(session, function, receiver)


def start_header(session: Session, cls: ClassInfo) -> None:
    """A class that inherits from a hook class, or from a class whose constructor registers."""
    line = names.mro(session, cls)
    bases = {base.rpartition(".")[2] for base in session.outside[cls]} | {other.name for other in line}
    for base, methods in HOOK_CLASSES.items():
        if base not in bases:
            continue
        session.hook_classes.add(cls.name)
        for name, kind in methods.items():
            found = names.lookup(session, line, name)
            method = found[0].method(name) if found is not None else None
            if method is not None:
                bound = Bound(Func(method, None), names.self_object(session, cls))
                step = Step(cls.qualname, cls.module.filename, cls.node.lineno)
                session.register(kind, bound, base, step)
    constructor = names.lookup(session, line, "__init__")
    if constructor is None:
        return
    method = constructor[0].method("__init__")
    if method is None:
        return
    if constructor[0] is cls:
        start_method(session, cls, method)
        return
    for name, takes in session.known_wrappers.items():
        if name == constructor[0].name:
            for _, parameter, kind, _ in takes:
                session.wrappers.setdefault(
                    (method, f"{cls.name}.{parameter}", kind), Wrapper(cls.name, method, parameter, kind, name)
                )


def run_generic(session: Session, function: Func, receiver: Value | None = None) -> None:
    """Run a function with nothing known of its arguments."""
    session.ran.add((function.info, function.env))
    if receiver is None and function.info.cls is not None:
        receiver = names.self_object(session, function.info.cls)
    calls.run_function(session, function, binding.unbound(session, function.info, receiver), lazy=True)


def run_pending(session: Session) -> None:
    """Nested functions that name a registrar and that nobody called: run them as they are."""
    while session.pending:
        (info, env), function = session.pending.popitem()
        if (info, env) not in session.ran:
            run_generic(session, function)


def configured(session: Session, module: Module) -> None:
    """Hooks and hot paths that the configuration names, and `forward` methods when asked for."""
    config = session.config
    hot_file = any(fnmatchcase(module.filename, pattern) for pattern in config.hot_paths.files)
    for function, receiver in _functions(session, module):
        dotted = f"{module.name}.{function.qualname}"
        step = Step("configuration", module.filename, function.row)
        value: Value = Func(function, None) if receiver is None else Bound(Func(function, None), receiver)
        if any(_named(dotted, pattern) for pattern in config.hooks):
            session.register(hooks.ANY_KIND, value, "configuration", step)
        hot = hot_file or any(_named(dotted, pattern) for pattern in config.hot_paths.functions)
        if hot and not any(fnmatchcase(function.name, pattern) for pattern in config.hot_paths.exempt):
            session.register("hot path", value, "hot path", step)
        forward = config.check_forward and function.name == "forward"
        if forward and isinstance(receiver, Obj) and names.is_nn_module(session, receiver.cls):
            session.register("forward method", value, "forward", step)


def _named(dotted: str, pattern: str) -> bool:
    return fnmatchcase(dotted, pattern) or fnmatchcase(dotted, f"*.{pattern}")


def _functions(session: Session, module: Module) -> list[tuple[FunctionInfo, Obj | None]]:
    found: list[tuple[FunctionInfo, Obj | None]] = []
    for name, statements in module.names.items():
        statement = statements[-1]
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append((module.function(statement, name), None))
        elif isinstance(statement, ast.ClassDef):
            cls = module.class_(statement, name)
            for method in cls.methods():
                static = "static" in method.flags
                found.append((method, None if static else names.self_object(session, cls)))
    return found


def _holding(body: list[ast.stmt], row: int) -> ast.stmt | None:
    """The statement that a row belongs to, decorators included."""
    for statement in body:
        first = statement.lineno
        for decorator in getattr(statement, "decorator_list", ()):
            first = min(first, decorator.lineno)
        if first <= row <= (statement.end_lineno or first):
            return statement
    return None


def _blocks(statement: ast.stmt, row: int) -> list[ast.stmt]:
    """The statements of the block of a compound statement that a row falls into."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if isinstance(block, list) and block and _holding(block, row) is not None:
            return block
    for handler in getattr(statement, "handlers", ()):
        if _holding(handler.body, row) is not None:
            return list(handler.body)
    for case in getattr(statement, "cases", ()):
        if _holding(case.body, row) is not None:
            return list(case.body)
    return []
