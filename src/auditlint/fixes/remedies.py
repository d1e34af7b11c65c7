"""Fixes that defer nothing: a copy moved out of the hook, a call left out, what is kept cut loose from the pass."""

from __future__ import annotations

import ast
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow.functions import callee
from auditlint.fixes.flow.moving import move_of
from auditlint.fixes.flow.result import Rewrite
from auditlint.fixes.flow.tree import FileTree, FunctionNode, Trees

# Rules of captures for which nothing can be written in general, and what to do instead.
_BY_HAND = {
    "AUD303": "where it is to be read and cleared is not known here",
    "AUD304": "where the copy has to have arrived is not known here",
    "AUD306": "move it behind the pass",
}
# Waits for all that a device does; a stream's or an event's is for something.
_DEVICE_WIDE = frozenset([f"torch.{name}.synchronize" for name in ("accelerator", "cuda", "mps", "npu", "xpu")])
_STATISTICS = frozenset(
    [
        "current_allocated_memory", "driver_allocated_memory", "max_memory_allocated", "max_memory_reserved",
        "memory_allocated", "memory_reserved", "memory_stats", "reset_peak_memory_stats",
    ]
)  # fmt: skip
# What needs the wait: clocks, and other streams.
_TIMED = frozenset(
    ["Event", "Stream", "elapsed_time", "monotonic", "non_blocking", "perf_counter", "time", "timeit", "wait_stream"]
)


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
    """To give cached memory back changes no value, and statistics of it are kept on the host."""
    statement, function = file.parents[node], file.function(node)
    if not isinstance(statement, ast.Expr) or not isinstance(node, ast.Call) or function is None:
        return None
    name = ast.unparse(node.func)
    if name in _DEVICE_WIDE and _only_asks_for_memory(file, function):
        doubt = "memory that other streams still use when it is freed is counted"
        return Remedy(Rewrite("delete", file, statement), (doubt,), "remove the call: torch counts memory on the host")
    if not name.endswith(".empty_cache"):
        return None
    if diagnostic.hook is None or diagnostic.hook.name.rpartition(".")[2] != getattr(function, "name", ""):
        return "others call this function to give memory back"
    return Remedy(Rewrite("delete", file, statement), ("memory stays cached in the pass",), "remove the call")


def _only_asks_for_memory(file: FileTree, function: FunctionNode) -> bool:
    """Whether a function, or what it calls in its file, reads the allocator's statistics, and nobody reads a clock."""
    bodies: list[ast.AST] = [function]
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and (target := callee(file, call)) is not None:
            bodies.append(target)
    names = {_name(node) for body in bodies for node in ast.walk(body)}
    return not _STATISTICS.isdisjoint(names) and _TIMED.isdisjoint(_names_of(file))


def _names_of(file: FileTree) -> set[str]:
    return {_name(node) for node in file.parents}


def _name(node: ast.AST) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name) | ast.keyword(arg=str(name)):
            return name
        case ast.ImportFrom(module=str(name)):
            return name
    return ""


def _marked(trees: Trees, diagnostic: Diagnostic) -> Remedy | str:
    """A hook that keeps things in Python is left to Python."""
    hook = diagnostic.hook
    file = trees.file(hook.filename) if hook is not None else None
    node = file.named(hook.name, hook.row) if hook is not None and file is not None else None
    if file is None or not isinstance(node, ast.FunctionDef):
        return "the hook is no function that could be marked"
    doubt = "each call of the hook is a break in the graph, and CUDA graphs do not call it"
    return Remedy(Rewrite("mark", file, node), (doubt,), f"leave `{node.name}` out of the graph")
