"""Which code is a hook: recorded by its code object when it is registered. A user's hook is never wrapped.

A hook is running when a frame of its code stands on the stack and torch called it: whoever calls a hook function
directly is not in a hook.
"""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import inspect
import linecache
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch

from auditlint.diagnostics import Hook
from auditlint.facts.registrars import HOOK_CLASSES
from auditlint.marks import MARKED
from auditlint.runtime.frames import Frames
from auditlint.runtime.patches import Patches
from auditlint.runtime.report import RuntimeHook

DECORATED = "decorated"
# Called from C++ by whatever operation saves a tensor, or by a library that is not torch: the caller may be anybody.
_CALLED_ANYWHERE = frozenset(
    {"pack", "unpack", DECORATED, *(kind for methods in HOOK_CLASSES.values() for kind in methods.values())}
)

# The registering methods of modules, by the kind of hook that they take.
_MODULE = {
    "register_forward_hook": "forward",
    "register_forward_pre_hook": "forward_pre",
    "register_full_backward_hook": "backward",
    "register_full_backward_pre_hook": "backward_pre",
    "register_backward_hook": "backward",
}
# What a module, or torch for all modules, keeps its hooks in.
_MODULE_TABLES = {
    "_forward_hooks": "forward",
    "_forward_pre_hooks": "forward_pre",
    "_backward_hooks": "backward",
    "_backward_pre_hooks": "backward_pre",
}
# The hooks of the deferral library call functions that the user has given it.
_DEFER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "defer", "")
_CLASS_METHODS = frozenset(method for methods in HOOK_CLASSES.values() for method in methods)
# Where torch calls the hooks of modules.
_CALLERS = (torch.nn.modules.module.__file__, torch.utils.hooks.__file__)
_MODULE_KINDS = frozenset(_MODULE.values())
_OPTIMIZER_TABLES = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class Running(NamedTuple):
    """A hook that runs, and the module that it runs for (None for hooks of other things)."""

    hook: RuntimeHook
    module: torch.nn.Module | None


class Hooks:
    """The hooks that are known by now."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._by_code: dict[int, RuntimeHook] = {}  # by the id of their code, which `frames` keeps
        # Hooks that the linter knows and that nobody registers: (file, name) -> row.
        self._declared: dict[tuple[str, str], int] = {}
        # Hooks that a registered function was made from, and calls: code of the one -> code of the others.
        self._handed: dict[int, dict[int, RuntimeHook]] = {}
        # Machinery, which is passed over on every stack.
        self._plain: set[int] = set()
        self._engine = torch.autograd.graph._engine_run_backward.__code__

    def note(self, hook: object, kind: str) -> None:
        """Remember `hook` (a function, method, partial, instance with `__call__`, ...) as one of `kind`."""
        for function in _layers(hook):
            code = getattr(function, "__code__", None)
            if isinstance(code, CodeType) and (self._frames.is_user(code) or code.co_filename.startswith(_DEFER)):
                if id(code) not in self._by_code:
                    self._by_code[id(code)] = _described(hook, code, kind)
                self._note_handed(function, code, kind)
                return

    def _note_handed(self, wrapper: object, code: CodeType, kind: str) -> None:
        """Remember the hooks of other files that a library's `wrapper` holds on to, in order to call them.

        TransformerLens registers a function of its own for each hook that it is given: named for the wrapper, all
        syncs would be in one hook that the reader has never written.
        """
        for held in _closure(wrapper):
            for function in _layers(held):
                inner = getattr(function, "__code__", None)
                if isinstance(inner, CodeType) and self._frames.is_user(inner):
                    if inner.co_filename != code.co_filename:
                        known = self._handed.setdefault(id(code), {})
                        if id(inner) not in known:
                            known[id(inner)] = _described(held, inner, kind)
                    break

    def declare(self, hook: Hook) -> None:
        """Take a hook of the linter's for one that somebody calls without registering it; its file name is absolute."""
        self._declared[hook.filename, hook.name.rpartition(".")[2]] = hook.row

    def known(self) -> list[RuntimeHook]:
        """The hooks that were registered or have run."""
        return [*self._by_code.values(), *(hook for handed in self._handed.values() for hook in handed.values())]

    def running(self, frame: FrameType | None) -> Running | None:
        """The innermost hook that runs on the stack of `frame`, if one does."""
        innermost = frame
        while frame is not None:
            code = frame.f_code
            found = self._by_code.get(id(code))
            if found is None and id(code) not in self._plain:
                found = self._unregistered(frame, code)
            if found is not None and (found.kind in _CALLED_ANYWHERE or self._called_by_torch(frame)):
                hook = self._handed_to(frame, innermost) or found
                return Running(hook, _module_of(frame) if found.kind in _MODULE_KINDS else None)
            frame = frame.f_back
        return None

    def _called_by_torch(self, frame: FrameType) -> bool:
        return frame.f_back is None or not self._frames.is_user(frame.f_back.f_code)

    def _handed_to(self, wrapper: FrameType, innermost: FrameType | None) -> RuntimeHook | None:
        """The hook that `wrapper` was made from, if it is calling that one now."""
        handed = self._handed.get(id(wrapper.f_code))
        ours = wrapper.f_code.co_filename.startswith(_DEFER)
        if handed is None and not ours:
            return None
        called, frame = wrapper.f_code, innermost
        while frame is not None and frame is not wrapper:
            if self._frames.is_user(frame.f_code):
                called = frame.f_code
            frame = frame.f_back
        if ours and called is not wrapper.f_code:
            return _described(None, called, self._by_code[id(wrapper.f_code)].kind)
        return (handed or {}).get(id(called))

    def _unregistered(self, frame: FrameType, code: CodeType) -> RuntimeHook | None:
        """A hook that no registration has told of: decorated, of a hook class, or called by the autograd engine."""
        if not self._frames.is_user(code):
            self._plain.add(id(code))
            return None
        declared = self._declared.get((code.co_filename, code.co_name))
        if id(code) in MARKED or (declared is not None and declared == _def_row(code)):
            found = _described(None, code, DECORATED)
        elif (kind := self._kind_by_class(frame)) is not None:
            return _described(None, code, kind)
        elif self._beneath_engine(frame):
            # Hooks of graph nodes are registered on types that cannot be watched.
            arguments = code.co_argcount - (1 if code.co_varnames[:1] == ("self",) else 0)
            return _described(None, code, {0: "callback", 1: "node_pre"}.get(arguments, "node"))
        else:
            return None
        self._by_code[id(code)] = found
        return found

    def _kind_by_class(self, frame: FrameType) -> str | None:
        """The kind of a method that a library calls as a hook because of its class (accelerate's `ModelHook`)."""
        code = frame.f_code
        if code.co_name not in _CLASS_METHODS or not code.co_varnames:
            return None
        owner = frame.f_locals.get(code.co_varnames[0])
        for base in type(owner).__mro__:
            kind = HOOK_CLASSES.get(base.__name__, {}).get(code.co_name)
            if kind is not None:
                return kind
        return None

    def _beneath_engine(self, frame: FrameType) -> bool:
        if frame.f_back is None:
            # A thread that Python did not start: the engine's, for a device.
            return isinstance(threading.current_thread(), threading._DummyThread)
        return frame.f_back.f_code is self._engine

    def watch_registrations(self, patches: Patches) -> None:
        """Note every hook that is registered from now on."""
        module = torch.nn.modules.module
        optimizer = importlib.import_module("torch.optim.optimizer")  # hidden behind torch.optim's names
        for name, kind in _MODULE.items():
            self._watch(patches, torch.nn.Module, name, {1: ("hook", kind)})
            self._watch(patches, module, name.replace("register_", "register_module_"), {0: ("hook", kind)})
        self._watch(patches, torch.Tensor, "register_hook", {1: ("hook", "tensor")})
        self._watch(patches, torch.Tensor, "register_post_accumulate_grad_hook", {1: ("hook", "parameter")})
        graph = torch.autograd.graph
        self._watch(patches, graph, "register_multi_grad_hook", {1: ("fn", "multi_grad")})
        both = {1: ("pack_hook", "pack"), 2: ("unpack_hook", "unpack")}
        self._watch(patches, graph.saved_tensors_hooks, "__init__", both)
        for owner, prefix, position in (
            (torch.optim.Optimizer, "register_step", 1),
            (optimizer, "register_optimizer_step", 0),
        ):
            for name in (f"{prefix}_pre_hook", f"{prefix}_post_hook"):
                self._watch(patches, owner, name, {position: ("hook", "step")})
        parallel = torch.nn.parallel.DistributedDataParallel
        self._watch(patches, parallel, "register_comm_hook", {2: ("hook", "communication")})

    def _watch(self, patches: Patches, owner: Any, name: str, takes: dict[int, tuple[str, str]]) -> None:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def register(*args: Any, **kwargs: Any) -> Any:
                for position, (keyword, kind) in takes.items():
                    self.note(kwargs.get(keyword, args[position] if len(args) > position else None), kind)
                return original(*args, **kwargs)

            return register

        patches.replace(owner, name, make)

    def note_existing(self) -> None:
        """Note the hooks that were registered before anybody watched, wherever their owners are alive."""
        for name, kind in _MODULE_TABLES.items():
            self._note_table(getattr(torch.nn.modules.module, f"_global{name}", None), kind)
        for owner in gc.get_objects():
            # isinstance() would ask proxies and mocks for their opinion.
            if issubclass(type(owner), torch.nn.Module):
                for name, kind in _MODULE_TABLES.items():
                    self._note_table(owner.__dict__.get(name), kind)
                for parameter in list(owner.__dict__.get("_parameters", {}).values()):
                    self._note_tensor(parameter)
            elif issubclass(type(owner), torch.optim.Optimizer):
                for name in _OPTIMIZER_TABLES:
                    self._note_table(owner.__dict__.get(name), "step")

    def _note_tensor(self, tensor: torch.Tensor | None) -> None:
        if tensor is not None:
            self._note_table(tensor._backward_hooks, "tensor")
            self._note_table(getattr(tensor, "_post_accumulate_grad_hooks", None), "parameter")

    def _note_table(self, table: Any, kind: str) -> None:
        for hook in list(table.values()) if isinstance(table, dict) else ():
            self.note(hook, kind)


def _module_of(frame: FrameType) -> torch.nn.Module | None:
    """The module that torch has called a hook for: it stands in the frame of torch's that calls hooks.

    The hook's own frame is not looked at. Its local variables, once asked for, would live until it ends.
    """
    caller = frame.f_back
    while caller is not None:
        if caller.f_code.co_filename in _CALLERS:
            owner = caller.f_locals.get("self")
            # Backward hooks are called by an object that holds the module.
            module = owner if isinstance(owner, torch.nn.Module) else getattr(owner, "module", None)
            return module if isinstance(module, torch.nn.Module) else None
        caller = caller.f_back
    return None


def _layers(hook: object) -> Iterator[object]:
    """`hook` itself and what it wraps: partials, methods, `__call__`, decorators that tell by `__wrapped__`."""
    for _ in range(20):
        if isinstance(hook, functools.partial):
            hook = hook.func
        elif inspect.ismethod(hook):
            hook = hook.__func__
        elif hasattr(hook, "__code__"):
            yield hook
            if not hasattr(hook, "__wrapped__"):
                return
            hook = hook.__wrapped__
        elif hasattr(hook, "__wrapped__"):
            hook = hook.__wrapped__
        elif inspect.isfunction(call := getattr(type(hook), "__call__", None)):  # noqa: B004 - the function is wanted
            hook = call
        else:
            return


def _closure(function: object) -> Iterator[object]:
    """What a nested function holds on to."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _described(hook: object, code: CodeType, kind: str) -> RuntimeHook:
    """The hook that runs `code`, named for the innermost function that it wraps."""
    layers: Iterable[object] = _layers(hook) if hook is not None else ()
    for layer in layers:
        inner = getattr(layer, "__code__", None)
        if isinstance(inner, CodeType) and not hasattr(layer, "__wrapped__"):
            return RuntimeHook(_name(inner, layer), inner.co_filename, _def_row(inner), kind)
    return RuntimeHook(_name(code), code.co_filename, _def_row(code), kind)


def _name(code: CodeType, function: object = None) -> str:
    # `co_qualname` came with Python 3.11.
    return str(getattr(function, "__qualname__", None) or getattr(code, "co_qualname", code.co_name))


def _def_row(code: CodeType) -> int:
    """The row of `def`: a code object starts at its first decorator."""
    first = code.co_firstlineno
    if not linecache.getline(code.co_filename, first).lstrip().startswith("@"):
        return first
    return _def_rows(code.co_filename).get(first, first)


@functools.lru_cache(maxsize=64)
def _def_rows(filename: str) -> dict[int, int]:
    """Row of the first decorator -> row of the function that it decorates."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return {}
    return {
        node.decorator_list[0].lineno: node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
    }
