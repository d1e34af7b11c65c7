"""Deferral done wrong: what hooks keep, held against what the project does with it afterwards."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Iterator

from auditlint.analysis import aliases, compiled, entries, growth, unsynchronised
from auditlint.analysis.bodies import WITHOUT_GRAPH as WITHOUT
from auditlint.analysis.bodies import body_of, called
from auditlint.analysis.captures import Capture, tensors_in
from auditlint.analysis.keeping import Kept, place_uses, roles
from auditlint.analysis.origins import Context, Origin, origin, parts_of
from auditlint.analysis.places import derived, functions_of, mentions
from auditlint.analysis.session import Session, SiteRecord, Start, Summary
from auditlint.analysis.sites import Site
from auditlint.analysis.values import Tensor
from auditlint.diagnostics import Step
from auditlint.project.modules import FunctionInfo

# More of them in one hook's reach are taken to be like these.
MAX_CAPTURES = 200


def sites_of(session: Session) -> list[Site]:
    """What is wrong with the captures of all hooks that one file registers."""
    found: list[Site] = []
    kept: list[Kept] = []
    for start in session.started:
        own = list(_kept(session, start))
        found += compiled.sites_of(session, start, own)
        kept += own
    for item in kept:
        found += [item.site(record) for record in _records(session, item)]
    found += growth.sites_of(session, kept)
    found += entries.sites_of(session, kept)
    return found


def _kept(session: Session, start: Start) -> Iterator[Kept]:
    """What one hook, and whatever it reaches, keeps."""
    state = start.kind in compiled.TRACED and b"compile" in session.project.source(start.hook.registered.filename)
    keeping = _keeping(start.summary, state)
    if id(start.summary) not in keeping:
        return
    info = start.summary.info
    top = Context(info, roles(start), None, info.row, None, _callees(start.summary), {})
    queue: deque[tuple[Summary, Context, tuple[Step, ...]]] = deque([(start.summary, top, ())])
    seen = {id(start.summary)}
    count = 0
    while queue:
        summary, context, above = queue.popleft()
        info = summary.info
        for capture in summary.captures.values():
            if not _matters(capture, state):
                continue
            count += 1
            if count > MAX_CAPTURES:
                return
            step = Step(info.qualname, info.module.filename, capture.node.lineno)
            yield Kept(session, start, context, capture, (*above, step))
        for row, callee in summary.calls.values():
            if id(callee) not in seen and id(callee) in keeping:
                seen.add(id(callee))
                inner = Context(callee.info, {}, context, row, None, _callees(callee), {})
                queue.append((callee, inner, (*above, Step(info.qualname, info.module.filename, row))))


def _callees(summary: Summary) -> tuple[Summary, ...]:
    return tuple(callee for _, callee in summary.calls.values())


def _matters(capture: Capture, state: bool) -> bool:
    """Whether a capture is of tensors, or, with `state`, of anything that Python counts or appends."""
    return capture.how == "copy" or (state and capture.how != "store") or any(tensors_in(capture.value))


def _keeping(start: Summary, state: bool) -> set[int]:
    """The runs that keep something, and those that lead to them."""
    runs, callers, pending = [start], dict[int, list[int]](), [start]
    seen = {id(start)}
    while pending:
        summary = pending.pop()
        for _, callee in summary.calls.values():
            callers.setdefault(id(callee), []).append(id(summary))
            if id(callee) not in seen:
                seen.add(id(callee))
                runs.append(callee)
                pending.append(callee)
    found: set[int] = set()
    marked = [id(run) for run in runs if run.captures and any(_matters(c, state) for c in run.captures.values())]
    while marked:
        one = marked.pop()
        if one not in found:
            found.add(one)
            marked += callers.get(one, ())
    return found


def _records(session: Session, kept: Kept) -> Iterable[SiteRecord]:
    """What is wrong with one capture, whatever else its container is used for."""
    capture = kept.capture
    if capture.how == "copy":
        yield from unsynchronised.records(session, kept)
        return
    if capture.how == "count" or not kept.start.has_activations:
        return
    tensors = list(tensors_in(capture.value))
    if not tensors or kept.place is None:
        return
    differentiable = any(_differentiable(tensor) for tensor in tensors)
    for part in parts_of(capture.stored):
        made = origin(kept.context, part)
        if made.graph and differentiable and _graph_is_waste(session, kept, made):
            yield kept.record("graph", kept.operation, node=part)
        yield from aliases.records(kept, part, made)


def _differentiable(tensor: Tensor) -> bool:
    return tensor.dtype not in ("bool", "int")


# Names of values that are kept for their gradient.
GRADIENT_WORDS = ("loss", "regular", "penal", "aux", "distill", "reward", "objective", "energy", "grad")
WITHOUT_GRAPH = tuple(name.encode() for name in sorted(WITHOUT))
FROZEN = (b"requires_grad_(False)", b"requires_grad = False", b"set_grad_enabled(False)")


def _graph_is_waste(session: Session, kept: Kept, made: Origin) -> bool:
    """Whether the project shows that nobody wants the graph: the value is a number for a log, or only ever read."""
    if _without_graph(kept) or _named_for_gradient(kept):
        return False
    read, wanted = _readings(session, kept)
    return not wanted and (read or (kept.capture.how == "append" and made.single and not kept.escapes))


def _without_graph(kept: Kept) -> bool:
    """Whether autograd is off on the way to the capture, or switched off by code around the hook."""
    own: set[FunctionInfo] = set()
    context: Context | None = kept.context
    row = kept.capture.node.lineno
    while context is not None:
        if context.body.without_graph(row):
            return True
        own.add(context.info)
        row, context = context.row, context.above
    return any(_switched_off(kept.session, name, own) for name in kept.files)


def _switched_off(session: Session, filename: str, own: set[FunctionInfo]) -> bool:
    """Whether a file freezes parameters, or switches autograd off in another function than the hook's own."""
    source = session.project.source(filename)
    if any(word in source for word in FROZEN):
        return True
    module = session.project.module(filename) if any(word in source for word in WITHOUT_GRAPH) else None
    if module is None:
        return False
    bodies = (body_of(info) for info in functions_of(module) if info not in own)
    return any(body.free or body.decorators & WITHOUT for body in bodies)


def _named_for_gradient(kept: Kept) -> bool:
    texts = [kept.place.name if kept.place else "", kept.context.info.qualname, ast.unparse(kept.capture.container)]
    texts.append(ast.unparse(kept.capture.stored))
    return any(word in text.lower() for text in texts for word in GRADIENT_WORDS)


def _readings(session: Session, kept: Kept) -> tuple[bool, bool]:
    """Whether the project reads what is kept to the host, and whether it computes a gradient with it."""
    read = wanted = False
    for use in place_uses(kept):
        if use.info is kept.context.info:
            continue
        tainted = derived(use)
        for node in use.body.nodes:
            if not isinstance(node, ast.Call):
                continue
            name = called(node)
            if name in ("backward", "grad", "autograd"):
                wanted = True
            elif name in ("item", "tolist", "numpy", "detach", "cpu") and isinstance(node.func, ast.Attribute):
                read = read or mentions(node.func.value, use.nodes, tainted)
            elif name in ("float", "int", "print", "finalize") and node.args:
                read = read or mentions(node.args[0], use.nodes, tainted)
        wanted = wanted or any(word in name.lower() for name in tainted for word in GRADIENT_WORDS)
        wanted = wanted or any(word in use.info.name.lower() for word in GRADIENT_WORDS)
    return read, wanted
