"""Where hooks are registered, what that says about the model, and what hooks reach."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from auditlint.facts.registrars import LIST_KEYWORDS, REGISTRARS
from auditlint.fixes.placement import models, origins
from auditlint.fixes.placement.models import Pass
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.scopes import DEFS, SCOPES, Def, Outline, Place, Scope, dotted, last


class Function(NamedTuple):
    """A function and the file it is in."""

    filename: str
    node: Def | ast.Lambda


class Site(NamedTuple):
    """A registering call and the function that makes it."""

    file: File
    scope: Scope
    call: ast.Call


def sites(files: list[File], home: File, hook: Function, registering: File | None, row: int) -> Iterator[Site]:
    found: dict[ast.Call, File] = {}
    if registering is not None:
        for call in _registering(registering.outline, row):
            found[call] = registering
    for call in _passing(home, hook):
        found.setdefault(call, home)
    for call, file in found.items():
        yield Site(file, file.outline.function(call), call)


def _registering(file: Outline, row: int) -> list[ast.Call]:
    """The calls at a row that register, the likeliest kind only."""
    calls = [call for each in file.calls.values() for call in each if call.lineno <= row <= (call.end_lineno or 0)]
    for likely in (_is_registrar, lambda call: "hook" in last(call.func), lambda call: call.lineno == row):
        if chosen := [call for call in calls if likely(call)]:
            return chosen
    return []


def _is_registrar(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Call) and last(call.func.func) == "getattr":
        return True
    name = last(call.func)
    listed = any(keyword.arg in LIST_KEYWORDS for keyword in call.keywords)
    return listed or name in REGISTRARS or re.fullmatch(r"register\w*_hook", name) is not None


def _passing(home: File, hook: Function) -> Iterator[ast.Call]:
    """The calls in the hook's file that are handed the hook, or what the function around it returns."""
    factory = home.outline.scope(hook.node)
    name = getattr(hook.node, "name", "")
    maker = getattr(factory, "name", "") if isinstance(factory, DEFS) else ""
    for calls in [*home.outline.calls.values()]:
        for call in calls:
            for each in _given(call):
                made = isinstance(each, ast.Call) and bool(maker) and last(each.func) == maker
                if (
                    (name and last(each) == name and origins.refers(home, each, hook.node, home))
                    or each is hook.node
                    or (made and isinstance(each, ast.Call) and _calls(home, each, factory))
                ):
                    yield call


def _calls(file: File, call: ast.Call, function: Scope) -> bool:
    return models.called(file.outline, call, file.outline.scope(call)) is function


def _given(call: ast.Call) -> Iterator[ast.expr]:
    if last(call.func) in ("append", "extend", "partial"):
        return
    stack: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, (ast.Tuple, ast.List)):
            stack.extend(node.elts)
        elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            stack.append(node.elt)
        elif isinstance(node, ast.Call) and last(node.func) == "partial":
            stack.extend(node.args[:1])


def wanted(files: list[File], sites: Sequence[Site], hook: Function) -> Pass:
    stems: list[Named] = []
    kinds: list[str] = []
    anything = False
    for file, scope, call in sites:
        name = last(call.func)
        kinds.append(models.kind_of("backward" if not name and "backward" in ast.unparse(call.func) else name))
        if name.startswith("register_module_") or name == "saved_tensors_hooks":
            anything = True
        for value in _receivers(file, call, scope, hook):
            stems += [Named(file, each) for each in models.stems_of(file.outline, value, scope)]
    known = origins.names_of(files, stems, stems=True)
    same: list[Named] = []
    made: list[Place] = []
    for file in files:
        here = [named.place for named in known if named.file is file]
        others, built = models.made_of(file.outline, here)
        same += [Named(file, each) for each in others]
        made += built
    known = origins.names_of(files, [*known, *same], stems=True)
    derived = [Named(file, each) for file in files for each in made]
    kind = next((each for each in kinds if each != "forward"), "forward")
    wanted = Pass(kind, (), (), anything)
    return wanted.also([named.place for named in known], [named.place for named in derived])


def _receivers(file: File, call: ast.Call, scope: Scope, hook: Function) -> list[ast.expr]:
    """What a registering call is about: its receiver, or the arguments of a function that registers."""
    func = call.func
    if isinstance(func, ast.Call):
        return func.args[:1]
    receiver = func.value if isinstance(func, ast.Attribute) else None
    given = [each for each in _given(call) if not origins.refers(file, each, hook.node, file)]
    if receiver is None:
        return given
    if _is_registrar(call) and not (call.args and len(call.args) > 1 and _is_instance(file, receiver, scope)):
        return [receiver]
    return given if _is_instance(file, receiver, scope) else [receiver, *given]


def _is_instance(file: File, node: ast.expr, scope: Scope) -> bool:
    found = file.outline.place(dotted(node), scope)
    return found is not None and isinstance(found.scope, ast.ClassDef) and not found.path


def reached(files: list[File], hook: Function, stored_in: Function) -> set[ast.AST]:
    """The hook, other hooks of the files, and what they call."""
    reached: list[tuple[File, ast.AST]] = []
    for file in files:
        for call in (call for each in file.outline.calls.values() for call in each if _is_registrar(call)):
            for each in _given(call):
                reached += [(file, function) for function in _meant(file, each)]
        reached += [(file, each.node) for each in (hook, stored_in) if each.filename == file.filename]
    return called_from(reached)


def registered(file: File) -> Iterator[ast.AST]:
    """The functions of a file that it registers as hooks: named, written in the call, or made by a function of it."""
    for each in _registered(file):
        meant = [each] if isinstance(each, ast.Lambda) else _meant(file, each)
        yield from meant or _methods_named(file, each)
    for call in making(file):
        maker = models.called(file.outline, call, file.outline.scope(call))
        inside = file.outline.nodes(maker) if maker is not None else ()
        yield from (node for node in inside if isinstance(node, (*DEFS, ast.Lambda)))


def _methods_named(file: File, node: ast.expr) -> list[ast.AST]:
    """The methods that `recorder.hook` may mean."""
    name = last(node) if isinstance(node, ast.Attribute) else ""
    functions = (each for each in file.outline.functions if isinstance(each, DEFS) and each.name == name)
    return [each for each in functions if file.outline.class_of(each) is not None]


def making(file: File) -> Iterator[ast.Call]:
    """The calls that make what is registered: `make_hook(rows)`, `partial(hook, rows)`."""
    return (each for each in _registered(file) if isinstance(each, ast.Call))


def _registered(file: File) -> Iterator[ast.expr]:
    for name, calls in file.outline.calls.items():
        for call in calls if "hook" in name or name in REGISTRARS else ():
            yield from _given(call)


def called_from(first: Sequence[tuple[File, ast.AST]]) -> set[ast.AST]:
    """Functions, those in them, and what they call."""
    reached = [*first]
    seen: dict[ast.AST, None] = {}
    for file, node in reached:
        if node in seen:
            continue
        seen[node] = None
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call):
                function = models.called(file.outline, inner, file.outline.scope(inner))
                if function is not None and (file, function) not in reached:
                    reached.append((file, function))
            elif isinstance(inner, SCOPES):
                seen.setdefault(inner)
    return {*seen}


def _meant(file: File, node: ast.expr) -> list[Def]:
    found = file.outline.place(dotted(node), file.outline.scope(node))
    if found is None or len(found.path) != 1:
        return []
    if isinstance(found.scope, ast.ClassDef):
        method = file.outline.method(found.scope, found.path[0])
        return [method] if method is not None else []
    bound = file.outline.names(found.scope).bound.get(found.path[0], [])
    return [each.node for each in bound if isinstance(each.node, DEFS)]


def strangers(file: Outline, stored_in: Scope) -> set[ast.AST]:
    """The methods of classes that share a base with the class of a method, but are neither above nor below it."""
    scope: Scope = stored_in
    while scope is not file.tree and file.class_of(scope) is None:
        scope = file.scope(scope)
    cls = file.class_of(scope)
    if cls is None:
        return set()
    kin = file.methods(cls)
    return {each for each in file.methods(file.root(cls)) if each not in kin}
