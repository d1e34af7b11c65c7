"""Which classes of the project inherit from a class: found by text, confirmed by resolving their bases."""

from __future__ import annotations

import re

from auditlint.analysis import names
from auditlint.analysis.session import Session
from auditlint.analysis.values import ClassVal
from auditlint.project.modules import ClassInfo

# A base class with more heirs than this is a framework's root: following them all would mean reading the world.
MAX_HEIRS = 24


def of(session: Session, cls: ClassInfo, method: str) -> list[ClassInfo]:
    """The subclasses of `cls`, direct or not, whose own body defines `method`; none when there are too many."""
    key = (cls, method)
    held = session.heirs.get(key)
    if held is None:
        session.heirs[key] = []
        held = session.heirs[key] = _find(session, cls, method)
    return held


def _find(session: Session, cls: ClassInfo, method: str) -> list[ClassInfo]:
    headers = session.project.class_headers()
    wanted, seen = [cls.name], {cls.name}
    candidates: list[tuple[str, str]] = []
    while wanted:
        base = wanted.pop()
        for filename, name in headers.get(base, ()):
            candidates.append((filename, name))
            if name not in seen:
                seen.add(name)
                wanted.append(name)
        if len(candidates) > 8 * MAX_HEIRS:
            return []
    definition = re.compile(rb"\bdef[ \t]+" + re.escape(method.encode()) + rb"\b")
    kept = [(f, n) for f, n in sorted(set(candidates)) if definition.search(session.project.read(f))]
    if len({f for f, _ in kept}) > MAX_HEIRS:
        return []
    heirs = []
    for filename, name in kept:
        module = session.project.module(filename)
        if module is None or name not in module.names:
            continue
        value = names.module_value(session, module, name)
        if (
            isinstance(value, ClassVal)
            and value.info is not cls
            and cls in names.mro(session, value.info)
            and value.info.method(method) is not None
        ):
            heirs.append(value.info)
    return heirs
