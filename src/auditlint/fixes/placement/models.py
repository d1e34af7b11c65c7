"""Which calls run the model: those of what a hook was registered on, and of what that stems from."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Place, Scope, dotted, last, parameters

# Methods of a model that do not run it: those of nn.Module, of containers, and what models carry along.
_HOUSEKEEPING = re.compile(
    r"eval|train|to|cpu|cuda|half|float|double|bfloat16|type|parameters|buffers|modules|children|named_\w+|get_\w+"
    r"|set_\w+|(un)?register\w*|add_\w+|zero_grad|requires_grad_|apply|state_dict|load_\w+|save\w*|share_memory|compile"
    r"|append|extend|items|keys|values|pop|index|copy|clear|update|remove\w*|reset\w*|close|hooks?|config|tokenizer"
    r"|processor|tie_\w+|resize_\w+|init\w*|_init\w*|from_pretrained|push_to_hub|(un)?freeze\w*|prepare\w*|to_\w+"
    r"|setdefault|get|insert|add|sort|count|discard|join|split|format|startswith|endswith|replace|log\w*|_\w+"
    r"|gradient_checkpointing\w*|enable_\w+|disable_\w+|size|dim|numel|detach|clone|item|attach\w*|print\w*|__\w+__"
)
# What runs a model that it is a method of, or that it is given.
_RUNS = re.compile(
    r"forward|__call__|(batch_|greedy_)?generate\w*|fit\w*|test|predict\w*|validate|evaluate\w*|infer|inference"
    r"|run(_\w*)?|(training|validation|test|predict|train|eval)_(step|batch|epoch|loop)|train_one_epoch|decode|sample"
    r"|train\w*|benchmark\w*"
)
# What models come with, whose `decode` and the like do not run them.
_CARRIED = re.compile(r"tokeni[sz]er|processor|vocab")
_MODEL = re.compile(r"(\w*_)?(model|net|network)")
# What comes from these is a library's, never a model.
_LIBRARIES = {"torch", "torchvision", "transformers", "timm", "functools", "numpy", "copy", "itertools"}
_DEPTH = 3


class Pass(NamedTuple):
    """What to look for: calls that run what `stems` lead to ("forward"), "backward" passes, or a "step".

    `stems` are the places that the hook's module stems from; `derived` what was made of them; `anything` stands for
    hooks on every module there is.
    """

    kind: str
    stems: tuple[Place, ...]
    derived: tuple[Place, ...] = ()
    anything: bool = False

    def also(self, stems: list[Place], derived: list[Place]) -> Pass:
        return self._replace(
            stems=tuple(dict.fromkeys([*self.stems, *stems])), derived=tuple(dict.fromkeys([*self.derived, *derived]))
        )


def kind_of(registrar: str) -> str:
    """Which pass calls the hooks of a registrar, by its name."""
    if "step" in registrar:
        return "step"
    if "backward" in registrar or registrar in _GRADIENT_REGISTRARS:
        return "backward"
    return "forward"


_GRADIENT_REGISTRARS = {
    "register_hook",
    "register_prehook",
    "register_post_accumulate_grad_hook",
    "register_multi_grad_hook",
    "register_comm_hook",
    "queue_callback",
}


def stems_of(outline: Outline, node: ast.expr | None, scope: Scope) -> list[Place]:
    """What an expression stems from: `for layer in model.layers` makes a `layer` of `model`."""
    found: dict[Place, None] = {}
    _stems(outline, node, scope, found, set())
    return [*found]


def _stems(outline: Outline, node: ast.expr | None, scope: Scope, found: dict[Place, None], seen: set[ast.AST]) -> None:
    if node is None or node in seen or len(seen) > 200:
        return
    seen.add(node)
    path = dotted(node)
    if path:
        _stems_of_path(outline, path, scope, found, seen)
    elif isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred, ast.Await, ast.NamedExpr)):
        _stems(outline, node.value, scope, found, seen)
    elif isinstance(node, ast.Call):
        _stems_of_call(outline, node, scope, found, seen)
    elif isinstance(node, ast.DictComp):
        _stems(outline, node.value, scope, found, seen)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
        _stems(outline, node.elt, scope, found, seen)
    elif isinstance(node, (ast.IfExp, ast.BoolOp, ast.BinOp, ast.Tuple, ast.List)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                _stems(outline, child, scope, found, seen)


def _stems_of_path(
    outline: Outline, path: tuple[str, ...], scope: Scope, found: dict[Place, None], seen: set[ast.AST]
) -> None:
    place = outline.place(path, scope)
    if place is None or place in found or _is_library(outline, place):
        return
    found[place] = None
    if isinstance(place.scope, ast.ClassDef):
        if place.path:
            found.setdefault(place._replace(path=place.path[:1]))
            for method, name, value in outline.set_attributes(place.scope):
                if name == place.path[0]:
                    _stems(outline, value, method, found, seen)
        return
    found.setdefault(place._replace(path=place.path[:1]))
    for binding in outline.names(place.scope).bound.get(place.path[0], ()):
        _stems(outline, binding.value, place.scope, found, seen)


def _is_library(outline: Outline, place: Place) -> bool:
    """Whether a name stands for an imported module or class, as `nn` does."""
    if isinstance(place.scope, ast.ClassDef):
        return False
    bindings = outline.names(place.scope).bound.get(place.path[0], [])
    for node in (binding.node for binding in bindings):
        if isinstance(node, ast.ImportFrom):
            return place.path[0][:1].isupper() or (node.module or "").partition(".")[0] in _LIBRARIES
    return bool(bindings) and all(isinstance(each.node, (ast.Import, ast.ClassDef)) for each in bindings)


def _stems_of_call(
    outline: Outline, call: ast.Call, scope: Scope, found: dict[Place, None], seen: set[ast.AST]
) -> None:
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    if isinstance(call.func, ast.Attribute):
        place = outline.place(dotted(call.func), scope)
        if place is None or not isinstance(place.scope, ast.ClassDef) or len(place.path) > 1:
            _stems(outline, call.func.value, scope, found, seen)
        elif not arguments and (method := outline.method(place.scope, place.path[0])):
            for node in outline.nodes(method):
                if isinstance(node, ast.Return):
                    _stems(outline, node.value, method, found, seen)
    for argument in arguments:
        _stems(outline, argument, scope, found, seen)


def made_of(outline: Outline, stems: list[Place]) -> tuple[list[Place], list[Place]]:
    """Other names of the stems, and what is made of them: `self.model = model`, `runner = Runner(model)`."""
    same: list[Place] = []
    made: list[Place] = []
    for scope in dict.fromkeys(stem.scope for stem in stems):
        scopes: list[Scope] = [*outline.methods(scope)] if isinstance(scope, ast.ClassDef) else [scope]
        for inner in scopes:
            for node in outline.assignments(inner):
                call = node.value if isinstance(node.value, ast.Call) else None
                values = [_whole(node.value)] if call is None else [*call.args, *(word.value for word in call.keywords)]
                if not any(outline.place(dotted(value), inner) in stems for value in values if dotted(value)):
                    continue
                for target in node.targets:
                    places = [outline.place(dotted(each), inner) for each in _flat(target)]
                    (same if call is None else made).extend(place for place in places if place is not None)
    return same, made


def _whole(value: ast.expr) -> ast.expr:
    """What an element is of: `models` of `models[1]`."""
    while isinstance(value, ast.Subscript):
        value = value.value
    return value


def _flat(target: ast.expr) -> list[ast.expr]:
    return [*target.elts] if isinstance(target, (ast.Tuple, ast.List)) else [target]


def runs(outline: Outline, scope: Scope, wanted: Pass, depth: int = _DEPTH) -> list[ast.Call]:
    """The calls in a function's own body that run what is wanted, directly or in functions of the file they call.

    `depth` is how many calls deep to look; 0 gives those that run it themselves.
    """
    key = (scope, wanted, depth)
    if key not in outline.runs:
        outline.runs[key] = [node for node in outline.calls_in(scope) if _runs(outline, node, scope, wanted, depth)]
    return [*outline.runs[key]]


def _runs(outline: Outline, call: ast.Call, scope: Scope, wanted: Pass, depth: int) -> bool:
    return _runs_itself(outline, call, scope, wanted) or _runs_inside(outline, call, scope, wanted, depth)


def _runs_itself(outline: Outline, call: ast.Call, scope: Scope, wanted: Pass) -> bool:
    func = call.func
    while isinstance(func, ast.Subscript):
        func = func.value
    path = dotted(func)
    name = func.attr if isinstance(func, ast.Attribute) else path[-1] if path else ""
    if wanted.kind == "backward":
        return _goes_backward(name, path, func)
    if wanted.kind == "step":
        return name == "step" and isinstance(func, ast.Attribute)
    if isinstance(func, ast.Call):  # `Sequential(*layers)(x)`
        made_of = [each.value if isinstance(each, ast.Starred) else each for each in func.args]
        return any(outline.place(dotted(each), scope) in wanted.stems for each in made_of if dotted(each))
    if not path or _CARRIED.search(".".join(path[-2:-1]).lower()):
        return False
    if wanted.anything and _is_named_model(path):
        return True
    place = outline.place(path, scope)
    if place is not None and (_is_run(outline, place, wanted) or _is_run_of_derived(place, wanted)):
        return True
    if (
        place is not None
        and len(path) == 1
        and any(_is_run(outline, each, wanted) for each in _iterated(outline, place))
    ):
        return True
    return _is_given(outline, call, scope, wanted, name)


def _iterated(outline: Outline, place: Place) -> Iterator[Place]:
    """What a variable is an element of, as `model` in `for model in models`."""
    if isinstance(place.scope, ast.ClassDef) or len(place.path) != 1:
        return
    for binding in outline.names(place.scope).bound.get(place.path[0], ()):
        whole = (
            outline.place(dotted(binding.value), place.scope) if binding.each and binding.value is not None else None
        )
        if whole is not None:
            yield whole


def _is_named_model(path: tuple[str, ...]) -> bool:
    if len(path) > 1 and _RUNS.fullmatch(path[-1]) and path[-1] != "train":
        return _MODEL.fullmatch(path[-2]) is not None
    return _MODEL.fullmatch(path[-1]) is not None


def _goes_backward(name: str, path: tuple[str, ...], func: ast.expr) -> bool:
    if name in ("backward", "manual_backward"):
        return isinstance(func, ast.Attribute)
    return name == "grad" and path[-2:-1] == ("autograd",)


def _is_run(outline: Outline, place: Place, wanted: Pass) -> bool:
    method = place.path[-1] if place.path else ""
    owner = place._replace(path=place.path[:-1])
    of_class = isinstance(place.scope, ast.ClassDef)
    for stem in wanted.stems:
        if stem.within(place):
            return True  # the thing itself, or what it is a part of: `model(x)`, `self(x)`
        if not place.path or (of_class and not owner.path and _defined(outline, place)):
            continue
        if owner == stem and (owner.path or not of_class) and not _HOUSEKEEPING.fullmatch(method):
            return True
        if (stem.within(owner) or owner.within(stem)) and _RUNS.fullmatch(method) and not method.startswith("train"):
            return True
    return False


def _is_run_of_derived(place: Place, wanted: Pass) -> bool:
    owner = place._replace(path=place.path[:-1])
    if place in wanted.derived:
        return True
    return bool(owner.path) and owner in wanted.derived and bool(_RUNS.fullmatch(place.path[-1]))


def _defined(outline: Outline, place: Place) -> bool:
    return isinstance(place.scope, ast.ClassDef) and outline.method(place.scope, place.path[0]) is not None


def _is_given(outline: Outline, call: ast.Call, scope: Scope, wanted: Pass, name: str) -> bool:
    """Whether the call hands the model to something that runs models, of which the text is not here."""
    if not _RUNS.fullmatch(name) or called(outline, call, scope) is not None:
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    places = [outline.place(dotted(each), scope) for each in given if dotted(each)]
    return any(place in wanted.stems or place in wanted.derived for place in places if place is not None)


def may_run(outline: Outline, scope: Scope, wanted: Pass) -> Iterator[ast.Call]:
    """The calls in a function's own body that hand the model to something that is imported, and not a library's.

    `go(model, batch)` may run it, whatever it is called, and so may `Runner([model])`.
    """
    if wanted.kind != "forward":
        return
    for call in outline.calls_in(scope):
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if _is_of_derived(outline, call, scope, wanted):
            yield call
        elif any(_mentions(outline, each, scope, wanted.stems) for each in given):
            inside = called(outline, call, scope) is not None and not all(map(dotted, given))
            functions = [each for each in given if _is_function(outline, each, scope)]
            if inside or functions or any(_is_strange(outline, each, scope) for each in (call.func, *given)):
                yield call


def _is_of_derived(outline: Outline, call: ast.Call, scope: Scope, wanted: Pass) -> bool:
    """Whether a call is of a method of what was made of the model, `runner.go()`."""
    place = outline.place(dotted(call.func), scope)
    if place is None or not place.path or _HOUSEKEEPING.fullmatch(place.path[-1]):
        return False
    owner = place._replace(path=place.path[:-1])
    return bool(owner.path) and owner in wanted.derived


def _is_function(outline: Outline, node: ast.expr, scope: Scope) -> bool:
    """Whether an argument is a function of the file, as in `map(go, models)`."""
    place = outline.place(dotted(node), scope)
    if place is None or len(place.path) != 1 or isinstance(place.scope, ast.ClassDef):
        return False
    return any(isinstance(each.node, DEFS) for each in outline.names(place.scope).bound.get(place.path[0], ()))


def _mentions(outline: Outline, value: ast.expr, scope: Scope, stems: Sequence[Place]) -> bool:
    """Whether a value may hold the model: it is named in it, and nothing is called on it."""
    called = {id(inner) for each in ast.walk(value) if isinstance(each, ast.Call) for inner in ast.walk(each.func)}
    parts = (each for each in ast.walk(value) if isinstance(each, (ast.Name, ast.Attribute)) and id(each) not in called)
    return any(outline.place(dotted(each), scope) in stems for each in parts if dotted(each))


def _is_strange(outline: Outline, node: ast.expr, scope: Scope) -> bool:
    """Whether a name, or what it is an attribute of, is imported from somewhere that is not known."""
    path = dotted(node)
    place = outline.place(path, scope) if path else None
    if place is None or isinstance(place.scope, ast.ClassDef):
        return False
    bindings = outline.names(place.scope).bound.get(place.path[0], ())
    sources = [name.partition(".")[0] for each in bindings for name in _sources(each.node)]
    return bool(sources) and (_LIBRARIES | sys.stdlib_module_names).isdisjoint(sources)


def _sources(node: ast.AST) -> list[str]:
    """The modules that an import names."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [each.name for each in node.names] if isinstance(node, ast.Import) else []


def _runs_inside(outline: Outline, call: ast.Call, scope: Scope, wanted: Pass, depth: int) -> bool:
    function = called(outline, call, scope) if depth else None
    if function is None or function is scope:
        return False
    if wanted.stems:
        inside = [
            Place(function, (name,))
            for name, value in handed(outline, call, function)
            if outline.place(dotted(value), scope) in wanted.stems
        ]
        wanted = wanted.also(inside, [])
    key = (function, wanted, depth)
    if key not in outline.known:
        outline.known[key] = any(
            _runs(outline, inner, function, wanted, depth - 1) for inner in outline.calls_in(function)
        )
    return outline.known[key]


def called(outline: Outline, call: ast.Call, scope: Scope) -> Def | None:
    """The function or method of this file that a call leads to."""
    place = outline.place(dotted(call.func), scope)
    if place is None or len(place.path) != 1:
        return None
    if isinstance(place.scope, ast.ClassDef):
        return outline.method(place.scope, place.path[0])
    bindings = outline.names(place.scope).bound.get(place.path[0], [])
    return next((binding.node for binding in bindings if isinstance(binding.node, DEFS)), None)


def handed(
    outline: Outline, call: ast.Call, function: Def | ast.Lambda, skip: int = 0
) -> Iterator[tuple[str, ast.expr]]:
    """The parameters that a call gives a value to, with the value; `skip` arguments of the call come before them."""
    names = parameters(function)
    if outline.class_of(function) is not None:
        names = names[1:]
    for name, value in zip(names, call.args[skip:], strict=False):
        if isinstance(value, ast.Starred):
            break
        yield name, value
    for keyword in call.keywords:
        if keyword.arg is not None and keyword.arg in names:
            yield keyword.arg, keyword.value


def compiles(file: Outline) -> str:
    """What compiles or captures in a file, '' if nothing does."""
    for function in file.functions:
        for decorator in function.decorator_list if isinstance(function, DEFS) else ():
            if last(decorator) == "compile":
                return ".".join(dotted(decorator))
    for name in ("compile", "CUDAGraph", "make_graphed_callables", "graph"):
        for call in file.calls.get(name, ()):
            path = dotted(call.func)
            if name == "graph" and path[-2:] != ("cuda", "graph"):
                continue
            if isinstance(call.func, ast.Attribute) and path[:1] not in (("re",), ("regex",), ("tf",), ("builtins",)):
                return ".".join(path) or name
            if name not in ("compile", "graph"):
                return name
    return ""
