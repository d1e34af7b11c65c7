"""Who becomes a hook: registering calls, lists of hooks, decorators, hook classes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from auditlint.analysis import spelling
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import Wrapper
from auditlint.analysis.values import Const, Func, ListObj, Seq, Tup, Value, alternatives, forced, join_all
from auditlint.diagnostics import Step
from auditlint.facts.registrars import DYNAMIC, LIST_KEYWORDS, REGISTRARS
from auditlint.project.modules import FunctionInfo

_DYNAMIC = re.compile(DYNAMIC)
# Registered under a name made at run time: the signature is told by the number of parameters.
ANY_KIND = "any"


def note_registrar(frame: Frame, node: ast.expr, name: str, given: Arguments) -> bool:
    """Record the hooks that a call of `name` registers, if that is a registrar; False when it is none."""
    configured = dict(frame.session.config.registrars).get(name)
    if configured is not None:
        _register(frame, node, name, configured, join_all(given.args) if given.args else join_all(given.all()))
        return True
    registrar = REGISTRARS.get(name)
    if registrar is not None:
        found = False
        for position, keyword, kind in registrar.takes:
            value = given.get(position, keyword)
            if value is not None:
                found = _register(frame, node, name, _with_kwargs(kind, given), value) or found
        if not found and name == "register_hook":
            # Packages' own `register_hook(module, hook, ...)` on a receiver of unknown type.
            for value in given.all()[1:]:
                _register(frame, node, name, ANY_KIND, value)
        return True
    if "*" in name or (_DYNAMIC.fullmatch(name) and name not in NOT_REGISTRARS):
        if given.args:
            _register(frame, node, name, ANY_KIND, given.args[0])
        return "*" in name
    for position, keyword, kind, _ in frame.session.known_wrappers.get(name, ()):
        value = given.get(position, keyword)
        if value is not None:
            _register(frame, node, name, kind, value)
    return False


NOT_REGISTRARS = frozenset(
    [
        "register_state_dict_pre_hook",
        "register_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_load_state_dict_post_hook",
        "register_save_state_pre_hook",
        "register_module_parameter_registration_hook",
        "register_module_buffer_registration_hook",
        "register_module_module_registration_hook",
        "register_save_state_pre_hook",
        "register_load_state_pre_hook",
        "register_save_state_hook",
    ]
)


def names_registrar(given: Arguments) -> bool:
    """Whether a call hands over the name of a registrar, for `getattr`."""
    return any(isinstance(item, Const) and item.value in REGISTRARS for item in given.all())


def note_unknown(frame: Frame, node: ast.expr, given: Arguments) -> None:
    """A call of something unknown that only a registrar of torch takes the keywords of."""
    kinds = [name for name, _ in given.keywords if name in ("with_kwargs", "always_call")]
    if kinds and given.args:
        _register(frame, node, "register hook", _with_kwargs(ANY_KIND, given), given.args[0])


def note_returned(frame: Frame) -> None:
    """A function called `...hooks` that returns (name, hook) pairs: the lists that `run_with_hooks` takes."""
    node = frame.info.node
    if not isinstance(node, ast.FunctionDef) or not node.name.endswith("hooks"):
        return
    for item in alternatives(forced(frame.summary.value)):
        pair = forced(item.element) if isinstance(item, (ListObj, Seq)) else item
        for part in alternatives(pair):
            if isinstance(part, Tup) and len(part.items) == 2:
                for hook in alternatives(forced(part.items[1])):
                    if isinstance(hook, Func) and _takes_activation(hook):
                        frame.session.register("activation", hook, node.name, frame.step(node))


def _takes_activation(hook: Func) -> bool:
    """`(activation, hook)`, the signature of TransformerLens."""
    parameters = [p.arg for p in hook.info.positional() if p.arg not in hook.info.defaults]
    return len(parameters) == 2 and parameters[1] == "hook"


def note_registrar_class(frame: Frame, node: ast.expr, bases: tuple[str, ...], given: Arguments) -> None:
    """An instance of a subclass of `saved_tensors_hooks` that has no constructor of its own."""
    for base in bases:
        if base.rpartition(".")[2] == "saved_tensors_hooks":
            note_registrar(frame, node, "saved_tensors_hooks", given)


def note_wrapper(frame: Frame, node: ast.expr, info: FunctionInfo, given: Arguments) -> None:
    """A function of the project that keeps what it is given, for somebody else to register."""
    shift = 1 if info.cls is not None and "static" not in info.flags else 0
    name = info.cls.name if info.name == "__init__" and info.cls is not None else info.name
    for position, keyword, kind, where in frame.session.known_wrappers.get(name, ()):
        value = given.get(position + shift if position >= 0 else -1, keyword) if where == place(info) else None
        if value is not None:
            _register(frame, node, name, kind, value)


def place(info: FunctionInfo) -> str:
    """Tells functions of one name apart."""
    return f"{info.module.filename}:{info.qualname}"


def note_constructor(frame: Frame, node: ast.expr, owners: Iterable[str], given: Arguments) -> None:
    """`super().__init__(pack, unpack)` in a subclass of a torch class that registers."""
    for owner in owners:
        name = owner.rpartition(".")[2]
        if name in REGISTRARS:
            note_registrar(frame, node, name, given)


def _with_kwargs(kind: str, given: Arguments) -> str:
    for name, value in given.keywords:
        if name == "with_kwargs" and isinstance(value, Const) and value.value is True:
            return f"{kind}+kwargs"
    return kind


def _register(frame: Frame, node: ast.expr, name: str, kind: str, value: Value) -> bool:
    value = forced(value)
    if not any(item.kind in CALLABLE for item in _flat(value)):
        return False
    frame.session.register(kind, value, name, frame.step(node))
    return True


CALLABLE = {"func", "bound", "partial", "obj", "param", "result", "listobj", "dictobj"}


def _flat(value: Value) -> tuple[Value, ...]:
    parts: list[Value] = []
    for item in alternatives(value):
        if isinstance(item, Tup):
            parts.extend(item.items)
        elif isinstance(item, Seq):
            parts.append(item.element)
        else:
            parts.append(item)
    return tuple(parts)


def note_list_keywords(frame: Frame, node: ast.Call, given: Arguments) -> None:
    """`fwd_hooks=[(name, hook), ...]` in any call."""
    for name, value in given.keywords:
        kind = LIST_KEYWORDS.get(name)
        if kind is not None and value.kind in ("listobj", "dictobj", "seq", "tup", "param", "union", "lazy"):
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", name)
            frame.session.register(kind, forced(value), f"{called}({name}=)", frame.step(node))


def note_decorator(frame: Frame, decorator: ast.expr, function: Value) -> bool:
    """Record a function decorated as a hook; False when the decorator is another one."""
    inner = decorator.func if isinstance(decorator, ast.Call) else decorator
    path = spelling.dotted(inner)
    for name in frame.session.config.decorators:
        if path and (path == name or path.rpartition(".")[2] == name.rpartition(".")[2]):
            registered = Step(frame.info.qualname, frame.module.filename, decorator.lineno)
            frame.session.register(ANY_KIND, function, f"@{path}", registered)
            return True
    return False


def wrapper_takes(wrapper: Wrapper) -> tuple[int, str, str, str]:
    """(position without the receiver, keyword, kind, where it is defined) of a wrapper's hook parameter."""
    positional = [parameter.arg for parameter in wrapper.function.positional()]
    if wrapper.function.cls is not None and "static" not in wrapper.function.flags:
        positional = positional[1:]
    position = positional.index(wrapper.parameter) if wrapper.parameter in positional else -1
    return position, wrapper.parameter, wrapper.kind, place(wrapper.function)
