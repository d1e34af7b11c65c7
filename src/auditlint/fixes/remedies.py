"""Fixes that defer nothing: a copy moved out of the hook, a call left out, what is kept cut loose from the pass."""

from __future__ import annotations

import ast
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow.moving import move_of
from auditlint.fixes.flow.result import Rewrite
from auditlint.fixes.flow.tree import FileTree, Trees

# Rules of captures for which nothing can be written in general, and what to do instead.
_BY_HAND = {
    "AUD303": "where it is to be read and cleared is not known here",
    "AUD304": "where the copy has to have arrived is not known here",
    "AUD306": "move it behind the pass",
}


class Remedy(NamedTuple):
    """One rewrite, what speaks against it, and what it does, in words."""

    rewrite: Rewrite
    doubts: tuple[str, ...]
    words: str


def remedy_of(trees: Trees, file: FileTree, node: ast.expr, diagnostic: Diagnostic) -> Remedy | str | None:
    """The remedy for a finding that is no read, or why it has none; None for a read."""
    match diagnostic.code:
        case "AUD206":
            return _moved(file, node, diagnostic)
        case "AUD107":
            return _left_out(file, node, diagnostic)
        case "AUD301":
            doubt = "gradients do not flow through what is kept any more"
            return Remedy(Rewrite("detach", file, node), (doubt,), "keep it without its graph")
        case "AUD302":
            doubt = "what is kept does not change with the original any more"
            return Remedy(Rewrite("clone", file, node), (doubt,), "keep a copy")
        case "AUD307":
            return _marked(trees, diagnostic)
    return _BY_HAND.get(diagnostic.code)


def _moved(file: FileTree, node: ast.expr, diagnostic: Diagnostic) -> Remedy | str:
    move = move_of(file, node)
    if isinstance(move, str):
        return move
    if diagnostic.hook is not None and diagnostic.hook.registrar == "register_hook":
        return "the hook of a tensor runs once, and so does the copy; keep it on the device"
    doubts = move.doubts if diagnostic.confidence == "definite" else ("it may be no tensor", *move.doubts)
    return Remedy(
        Rewrite("move", file, node, before=move.definition), doubts, f"move `{move.name}` once for each device"
    )


def _left_out(file: FileTree, node: ast.expr, diagnostic: Diagnostic) -> Remedy | str | None:
    """To give cached memory back changes no value."""
    statement, function = file.parents[node], file.function(node)
    emptied = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".empty_cache")
    if not emptied or not isinstance(statement, ast.Expr):
        return None
    if diagnostic.hook is None or diagnostic.hook.name.rpartition(".")[2] != getattr(function, "name", ""):
        return "others call this function to give memory back"
    return Remedy(Rewrite("delete", file, statement), ("memory stays cached in the pass",), "remove the call")


def _marked(trees: Trees, diagnostic: Diagnostic) -> Remedy | str:
    """A hook that keeps things in Python is left to Python."""
    hook = diagnostic.hook
    file = trees.file(hook.filename) if hook is not None else None
    node = file.named(hook.name, hook.row) if hook is not None and file is not None else None
    if file is None or not isinstance(node, ast.FunctionDef):
        return "the hook is no function that could be marked"
    doubt = "each call of the hook is a break in the graph, and CUDA graphs do not call it"
    return Remedy(Rewrite("mark", file, node), (doubt,), f"leave `{node.name}` out of the graph")
