"""One capture of one hook, with what is known around it."""

from __future__ import annotations

import ast
from typing import NamedTuple

from auditlint.analysis import reach
from auditlint.analysis.captures import Capture
from auditlint.analysis.origins import Context
from auditlint.analysis.places import Place, Use, place_of, uses
from auditlint.analysis.session import Session, SiteRecord, Start
from auditlint.analysis.sites import Site
from auditlint.diagnostics import Step
from auditlint.project.modules import FunctionInfo


class Kept:
    """A capture, the hook it happens in, and the place that it goes to (None: nobody can tell)."""

    __slots__ = ("capture", "context", "path", "place", "session", "start")

    def __init__(
        self, session: Session, start: Start, context: Context, capture: Capture, path: tuple[Step, ...]
    ) -> None:
        self.session = session
        self.start = start
        self.context = context
        self.capture = capture
        self.path = path
        self.place: Place | None = place_of(session, context, capture.env, capture.container)

    @property
    def files(self) -> list[str]:
        """The files in which the hook, its registration and the place are."""
        found = [self.start.hook.registered.filename, self.start.hook.filename, self.context.info.module.filename]
        if self.place is not None and self.place.module is not None:
            found.append(self.place.module.filename)
        return list(dict.fromkeys(found))

    @property
    def operation(self) -> str:
        """What keeps the value, as a reader would write it."""
        node = self.capture.node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return f".{node.func.attr}()"
        if self.capture.how == "append":
            return "+="
        return f".{node.attr} =" if isinstance(node, ast.Attribute) else "[...] ="

    @property
    def escapes(self) -> bool:
        """Whether somebody hands the whole container on, to whom the project does not tell."""
        return any(
            isinstance(node, ast.Return) and node.value in use.nodes
            for use in place_uses(self)
            for node in use.body.nodes
        )

    def record(self, kind: str, operation: str, definite: bool = True, node: ast.expr | None = None) -> SiteRecord:
        return SiteRecord(kind, operation, "", definite, node or self.capture.node, self.capture.statement)

    def site(self, record: SiteRecord) -> Site:
        path = (*self.path[:-1], self.path[-1]._replace(row=record.node.lineno))
        return reach.site(record, self.context.info.module.filename, "hook", self.start.hook, path)

    def read_in(self, info: FunctionInfo, record: SiteRecord) -> Site:
        """A site in a function that reads what was kept: the path leads through the capture to it."""
        filename = info.module.filename
        path = (*self.path, Step(info.qualname, filename, record.node.lineno))
        return reach.site(record, filename, "hook", self.start.hook, path)


def roles(start: Start) -> dict[str, str]:
    """Parameter of a hook -> what torch hands over for it."""
    info = start.summary.info
    found: dict[str, str] = {}
    names = [parameter.arg for parameter in info.positional()][start.taken :]
    for position, name in enumerate(names):
        if position < len(start.words):
            word = start.words[position]
            if word.startswith("*"):
                break
            found[name] = word if start.has_activations or word not in ("tensor", "tensors") else "gradient"
    return found


def place_uses(kept: Kept) -> list[Use]:
    """The functions, in the files around a capture, that name its place."""
    if kept.place is None:
        return []
    key = (kept.place, tuple(kept.files))
    held = kept.session.uses.get(key)
    if held is None:
        held = kept.session.uses[key] = uses(kept.session, kept.place, kept.files)
    return held


class Group(NamedTuple):
    """All captures that go to one place."""

    place: Place
    kept: list[Kept]


def groups(kept: list[Kept]) -> list[Group]:
    """Captures by place, in the order in which the places were first met."""
    found: dict[Place, list[Kept]] = {}
    for item in kept:
        if item.place is not None:
            found.setdefault(item.place, []).append(item)
    return [Group(place, items) for place, items in found.items()]
