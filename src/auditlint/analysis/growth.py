"""Containers that hooks fill with tensors and that nothing in the project ever empties."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from auditlint.analysis import names
from auditlint.analysis.bodies import called
from auditlint.analysis.captures import tensors_in
from auditlint.analysis.keeping import Group, Kept, groups, place_uses
from auditlint.analysis.places import Use, base_of, derived, mentions
from auditlint.analysis.session import Session
from auditlint.analysis.sites import Site
from auditlint.project.modules import ClassInfo

EMPTYING = {"clear", "pop", "popleft", "popitem", "remove"}
# Functions whose name says that they take what was recorded and start anew, or end the recording.
FINISHING = re.compile(
    r"finali[sz]|drain|flush|reset|clear|empty|collect|remove|detach|close|stop|disable|__exit__|__del__|teardown|on_.*_end"
)


def sites_of(session: Session, kept: list[Kept]) -> Iterator[Site]:
    """One site for each container that only ever grows: where a hook appends to it."""
    for group in groups(kept):
        growing = [item for item in group.kept if _grows(item)]
        if growing and group.place.kind != "local" and not _bounded(session, group, growing):
            first = min(growing, key=lambda item: (item.context.info.module.filename, item.capture.node.lineno))
            yield first.site(first.record("growth", ast.unparse(base_of(first.capture.container))))


def _grows(item: Kept) -> bool:
    """Whether a hook makes its own object's, or a module's, container longer by a tensor.

    How long the objects live that a hook's helpers work with, nobody can tell.
    """
    if item.start.kind in ("pack", "unpack"):
        return False
    if item.capture.how != "append" or not any(tensors_in(item.capture.value)) or item.place is None:
        return False
    return item.place.kind == "global" or (
        isinstance(item.place.owner, ClassInfo) and item.start.summary.info.cls is item.context.info.cls
    )


def _bounded(session: Session, group: Group, growing: list[Kept]) -> bool:
    hooks = {item.context.info for item in growing}
    for use in place_uses(growing[0]):
        tainted = derived(use)
        if any(_empties(node, use, tainted) for node in use.body.nodes) or _resets(use, group):
            return True
        if use.info not in hooks and FINISHING.search(use.info.name):
            return True
        # A module that uses the container in its own body is a script: it ends, and with it the container.
        if isinstance(use.info.node, ast.Module) and sum(
            isinstance(n.ctx, ast.Load) for n in use.nodes if isinstance(n, (ast.Name, ast.Attribute))
        ):
            return True
        if _compares_length(use) or _has_limit(use):
            return True
    return _life_ends(session, group) or _emptied_elsewhere(session, group)


def _empties(node: ast.AST, use: Use, tainted: set[str]) -> bool:
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in EMPTYING:
            return mentions(function.value, use.nodes, tainted)
        return bool(FINISHING.search(called(node))) and any(mentions(part, use.nodes, set()) for part in node.args)
    if isinstance(node, ast.Delete):
        return any(mentions(target, use.nodes, tainted) for target in node.targets)
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Subscript) and mentions(target.value, use.nodes, set()) for target in node.targets
    )


def _resets(use: Use, group: Group) -> bool:
    """Whether a function binds the place anew; a constructor, or the module itself, only makes it."""
    if use.info.name == "__init__" or isinstance(use.info.node, ast.Module):
        return False
    stores = [n for n in use.nodes if isinstance(n, (ast.Attribute, ast.Name)) and isinstance(n.ctx, ast.Store)]
    return bool(stores)


def _compares_length(use: Use) -> bool:
    return any(
        isinstance(node, ast.Compare)
        and any(
            isinstance(part, ast.Call) and called(part) == "len" and mentions(part.args[0], use.nodes, set())
            for part in (node.left, *node.comparators)
            if not isinstance(part, ast.Call) or part.args
        )
        for node in use.body.nodes
    )


def _has_limit(use: Use) -> bool:
    """A deque with a length of its own, however it is made."""
    return any(
        isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and "maxlen" in ast.unparse(node.value)
        for node in use.body.nodes
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and any(child in use.nodes for child in ast.walk(node))
    )


def _life_ends(session: Session, group: Group) -> bool:
    """Whether the class removes its hooks: then its containers stop growing, and go with it."""
    owner = group.place.owner
    return isinstance(owner, ClassInfo) and any(
        method.name in ("__exit__", "__del__") or _removes(method.node)
        for cls in names.mro(session, owner)
        for method in cls.methods()
    )


def _removes(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) and called(part) == "remove" for part in ast.walk(node))


def _emptied_elsewhere(session: Session, group: Group) -> bool:
    """Whether any file of the project empties or replaces something of that name."""
    name = re.escape(group.place.name.encode())
    dot = rb"\." if group.place.kind == "attribute" else rb"\b"
    pattern = re.compile(
        dot + name + rb"(\[[^\]\n]*\])?(\.(clear|pop|popleft|popitem)\(|\[:\]\s*=|\s*=[^=])|del\s+[\w.]*" + name
    )
    home = group.place.module.filename if group.place.module else ""
    for filename in session.project.files:
        if filename == home:
            continue
        try:
            source = session.project.read(filename)
        except OSError:
            continue
        if group.place.name.encode() in source and pattern.search(source):
            return True
    return False
