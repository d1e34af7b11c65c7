"""For each finding: what its fix rewrites, where values are finalized, whether it is safe; or why it has none."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow.files import is_closed
from auditlint.fixes.flow.follower import Follower
from auditlint.fixes.flow.functions import named_elsewhere
from auditlint.fixes.flow.operands import number_type
from auditlint.fixes.flow.reads import Read, Unreadable, read_of
from auditlint.fixes.flow.result import Flow, Impossible, Rewrite
from auditlint.fixes.flow.tree import FileTree, FunctionNode, Trees
from auditlint.fixes.gathering import gathered
from auditlint.fixes.later import may_raise
from auditlint.fixes.placement.place import Function, Nowhere, Placement, Point, place
from auditlint.fixes.placement.points import FLUSH
from auditlint.fixes.placement.presence import is_handled
from auditlint.fixes.placement.scopes import outline
from auditlint.fixes.remedies import remedy_of

LIBRARY, PLAIN = "library", "plain"
_CROWD = 100  # findings; a statement with more was written by a program
_CROWDED = "too many findings in one statement"


class Plan(NamedTuple):
    """How the sync of one finding is removed. `read` is the read itself, None where a whole statement is deferred."""

    file: FileTree
    hook: FunctionNode
    read: Read
    rewrites: tuple[Rewrite, ...]
    points: tuple[Point, ...]
    doubts: tuple[str, ...]
    words: str
    style: str

    @property
    def safe(self) -> bool:
        return not self.doubts


def plans(trees: Trees, diagnostics: Sequence[Diagnostic], styles: Sequence[str]) -> list[Plan | str]:
    """For each diagnostic a plan, or why there is none, each by itself."""
    crowds = Counter((item.filename, item.statement) for item in diagnostics)
    return [
        _plan(trees, item, style) if crowds[item.filename, item.statement] <= _CROWD else _CROWDED
        for item, style in zip(diagnostics, styles, strict=True)
    ]


def _plan(trees: Trees, diagnostic: Diagnostic, style: str) -> Plan | str:
    if diagnostic.code.startswith("AUD9"):
        return ""  # about a file or a comment
    file = trees.file(diagnostic.filename)
    if file is None:
        return "the file cannot be parsed"
    node = file.at(diagnostic.location, diagnostic.end_location)
    if node is None or file.function(node) is None:
        return "this form is not rewritten"
    remedy = remedy_of(trees, file, node, diagnostic)
    if isinstance(remedy, str):
        return remedy
    if remedy is not None:
        around = file.function(node)
        assert around is not None
        whole = Read(diagnostic, node, node, None, "")
        return Plan(file, around, whole, (remedy.rewrite,), (), remedy.doubts, remedy.words, style)
    if diagnostic.code == "AUD305":
        return _entries(file, node, diagnostic, style)
    read = read_of(file, diagnostic, node)
    if isinstance(read, Unreadable):
        return read.reason
    if diagnostic.hook is None:
        return "the hook is not known"
    hook = _hook(trees, diagnostic)
    if hook is None:
        return "the hook's definition is not at hand"
    try:
        flow = Follower(trees, diagnostic, hook.node).follow(file, read)
    except Impossible as error:
        return str(error)
    if style == PLAIN:
        unsupported = _not_plain(flow, read)
        if unsupported:
            return unsupported
    placed = _placed(trees, diagnostic, hook, flow)
    if isinstance(placed, Nowhere):
        return placed.reason
    if style == PLAIN and any(one.points and all(point.code == FLUSH for point in one.points) for one in placed):
        return 'the fix-style "plain" finalizes containers, and this one has no name where the pass ends'
    points = tuple(dict.fromkeys(point for one in placed for point in one.points))
    closed = is_closed(flow, [(one.filename, one.node) for one in points])
    if closed:
        return closed
    for returned in flow.returned:
        if named_elsewhere(trees, returned):
            flow.doubt(f"`{returned.name}()` is called elsewhere as well, and gives a `Deferred` there too")
    for entered in flow.entered:
        if named_elsewhere(trees, entered, hook.node):
            flow.doubt(f"`{entered.name}()` is called elsewhere as well, and defers there too")
    if any(may_raise(one.node) for one in flow.rewrites.values() if one.kind == "derive") and _handled(trees, points):
        flow.doubt("errors in the computation are raised where it is finalized, and handled elsewhere")
    unplaced = bool(flow.stores) and bool(points) and all(point.code == FLUSH for point in points)
    doubts = (*_own_doubts(diagnostic, read, flow), *flow.doubts, *(_doubted(one) for one in placed if not one.safe))
    if unplaced:
        doubts = ("what is stored stays a `Deferred`, which reads as its value", *doubts)
    words = _words(flow, placed, "flush" if unplaced else "finalize")
    return Plan(file, hook.node, read, tuple(flow.rewrites.values()), points, doubts, words, style)


def _entries(file: FileTree, node: ast.expr, diagnostic: Diagnostic, style: str) -> Plan | str:
    found = gathered(file, node, diagnostic)
    if isinstance(found, str):
        return found
    if style == PLAIN:
        return 'the fix-style "plain" finalizes what hooks kept, and nothing else'
    around = file.function(node)
    assert around is not None
    return Plan(file, around, found.read, found.rewrites, found.points, found.doubts, found.words, style)


def _hook(trees: Trees, diagnostic: Diagnostic) -> Function | None:
    hook = diagnostic.hook
    assert hook is not None
    file = trees.file(hook.filename)
    node = file.named(hook.name, hook.row) if file is not None else None
    return Function(hook.filename, node) if node is not None else None


def _placed(trees: Trees, diagnostic: Diagnostic, hook: Function, flow: Flow) -> list[Placement] | Nowhere:
    """Where all that the flow stores and defers is finalized."""
    assert diagnostic.hook is not None
    wanted: dict[str, tuple[Function, ast.expr | None]] = {}
    for store in flow.stores:
        key = f"{store.file.filename} {id(store.function)} {ast.unparse(store.target)}"
        wanted[key] = (Function(store.file.filename, store.function), store.target)
    if not wanted:
        for file, call in flow.reports:
            function = file.function(call)
            assert function is not None
            wanted[""] = (Function(file.filename, function), None)
    if not wanted:
        return Nowhere("the result is not used; the copy is made for its own sake")
    placed: list[Placement] = []
    for inside, target in wanted.values():
        one = place(trees, hook, inside, target, diagnostic.hook.registered)
        if isinstance(one, Nowhere):
            return one
        placed.append(one)
    return placed


def _handled(trees: Trees, points: Sequence[Point]) -> bool:
    """Whether somebody handles errors at one of these points."""
    found = [(trees.tree(point.filename), point) for point in points]
    return any(tree is not None and is_handled(outline(tree), point) for tree, point in found)


def _own_doubts(diagnostic: Diagnostic, read: Read, flow: Flow) -> tuple[str, ...]:
    if read.form == "tree":
        return ("the copies take device memory until they are finalized, and those without dimensions become numbers",)
    if diagnostic.confidence != "definite":
        return ("`defer` takes tensors only, and this may be something else",)
    if diagnostic.code == "AUD105" and flow.stores:
        return ("the text is a `Deferred` until it is finalized",)
    if read.form in ("cpu", "numpy"):
        return ("the copy takes device memory until it is finalized, and is a `Deferred` until then",)
    if read.form == "list" and not _literal_size(read.operand):
        return ("the tensor takes device memory until it is finalized, and is a `Deferred` until then",)
    return ()


def _literal_size(operand: ast.expr | None) -> bool:
    """Whether a tensor has a size that stands in the code: `p.topk(2).indices`."""
    while isinstance(operand, ast.Attribute):
        operand = operand.value
    match operand:
        case ast.Call(func=ast.Attribute(attr="topk"), args=[ast.Constant(value=int()), *_]):
            return True
        case ast.Call(func=ast.Attribute(attr="topk"), args=[_, ast.Constant(value=int()), *_]):
            return True
    return False


def _not_plain(flow: Flow, read: Read) -> str:
    """Why the plain style has no form for a flow; "" when it has."""
    if flow.reports:
        return 'the fix-style "plain" has no deferred calls'
    if any(one.kind == "derive" for one in flow.rewrites.values()):
        return 'the fix-style "plain" keeps tensors only, and this value is computed from a read'
    if flow.namespaces:
        return 'the fix-style "plain" looks into no namespaces'
    if read.form not in ("item", "cpu"):
        return 'the fix-style "plain" gives numbers and host tensors only'
    if any(one.kind == "add" for one in flow.rewrites.values()) and not number_type(read.operand or read.root):
        return 'the fix-style "plain" needs to know whether a sum is one of floats or of integers'
    if any(store.slot for store in flow.stores) and read.form == "cpu":
        return 'the fix-style "plain" finalizes containers only'
    return ""


def _doubted(placement: Placement) -> str:
    """Why a placement is not safe."""
    return placement.words.partition("; ")[2] or "nothing shows that this runs after the pass"


def _words(flow: Flow, placed: Sequence[Placement], finalize: str) -> str:
    """What the fix does, in one line."""
    kinds = {one.kind for one in flow.rewrites.values()}
    what = "defer the call" if kinds == {"call"} or flow.reports else "defer the read"
    where = " and ".join(dict.fromkeys(one.words.partition("; ")[0] for one in placed))
    return f"{what}, {finalize} {where}" if where else what
