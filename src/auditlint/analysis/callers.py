"""Who calls a function, for parameters that the hook's own call path does not bind.

A hook made by a factory, or a method of a hook object, works with what somebody handed to the factory or constructor.
The callers are looked for by name in the function's own file and in the files that name a registrar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlint.analysis import binding, roots
from auditlint.analysis.naming import call_rows
from auditlint.analysis.values import NONE, UNKNOWN, Obj, Param, Union, Value, alternatives, forced, join_all, settled
from auditlint.project.modules import FunctionInfo

if TYPE_CHECKING:
    from auditlint.analysis.frame import Frame
    from auditlint.analysis.session import Session

# More calls than this say nothing in common.
MAX_CALLS = 24
# A name that is called in more places than this is too common a word to tell callers by.
MAX_ROWS = 40
# What one parameter is worth, in functions run.
MAX_EFFORT = 6
# Looking for callers ends when the session has run this many functions.
MAX_RUNS = 1200


def resolved(frame: Frame, value: Value) -> Value:
    """The value with unbound parameters replaced by what the project's callers bind them to."""
    if frame.lazy:
        return value
    if isinstance(value, Param):
        return handed_over(frame.session, value)
    if isinstance(value, Union) and any(isinstance(item, Param) for item in value.items):
        return join_all(handed_over(frame.session, item) if isinstance(item, Param) else item for item in value.items)
    return value


def handed_over(session: Session, param: Param) -> Value:
    """What callers hand over for a parameter; the parameter itself when none is found."""
    key = (param.info, param.name)
    if any(isinstance(item, Obj) for item in alternatives(settled(param.declared))):
        return param
    if key not in session.handed:
        session.handed[key] = param
        limit, session.limit = session.limit, min(session.limit, session.runs + MAX_EFFORT)
        find_callers(session, param.info)
        values = []
        for given in session.call_log.get(param.info, ())[:MAX_CALLS]:
            bound = binding.bind(session, param.info, given.args, given.keywords, given.star, given.double_star)
            value = forced(bound.get(param.name, UNKNOWN))
            for item in alternatives(value):
                if isinstance(item, Param):
                    item = UNKNOWN if item.info is param.info else handed_over(session, item)
                values.append(item)
        if values:
            value = join_all(values)
            declared = settled(param.declared)
            kinds = {item.kind if item != NONE else "none" for item in alternatives(settled(value))}
            # Who hands over nothing, or something unknown, leaves what an annotation says, not what a default does.
            said = declared.kind != "unknown" and _annotated(param)
            session.handed[key] = param if said and ("unknown" in kinds or kinds == {"none"}) else value
        session.limit = limit
    return session.handed[key]


def _annotated(param: Param) -> bool:
    arguments = param.info.arguments
    every = [] if arguments is None else [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return any(parameter.arg == param.name and parameter.annotation is not None for parameter in every)


def find_callers(session: Session, info: FunctionInfo) -> None:
    """Run whatever names the function in the files at hand; its calls are logged as they are met."""
    if info in session.traced or (info.parent is not None and info.cls is None):
        return
    session.traced.add(info)
    if session.runs > MAX_RUNS:
        return
    name = info.cls.name if info.cls is not None and info.name in ("__init__", "__new__") else info.name
    if name.startswith("__"):
        return
    word = name.encode()
    places = []
    for filename in dict.fromkeys([info.module.filename, *session.relevant]):
        source = session.project.source(filename)
        if word in source:
            own = info.row if filename == info.module.filename else 0
            rows = [row for row in call_rows(source, word) if row != own]
            module = session.project.module(filename) if rows else None
            if module is not None:
                places.append((module, rows))
    if sum(len(rows) for _, rows in places) > MAX_ROWS:
        return
    stack, session.stack = session.stack, []
    session.tracing.add(name)
    outer = session.traced_rows
    session.traced_rows = dict(places)
    try:
        for module, rows in places:
            roots.start(session, module, rows)
    finally:
        session.stack = stack
        session.tracing.discard(name)
        session.traced_rows = outer
