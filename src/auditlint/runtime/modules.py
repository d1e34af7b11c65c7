"""What modules are called: by their place in the outermost module that holds them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import torch

_GONE = "(a module that is gone)"
_MOST_LOOKS = 16


class Reference(weakref.ref[torch.nn.Module]):
    """A reference to a module; `early` is what it was called when it was first met, "" if nobody looked then."""

    early: str = ""


class Namer:
    """Names modules when they are first met: a model that is local to a function is gone before the report is made.

    One look finds the names of all modules that are alive. Looking takes as long as there are objects in the process,
    so a program that always makes new modules is looked at some times only.
    """

    def __init__(self) -> None:
        self._looks = 0
        self._found: dict[int, Reference] = {}

    def meet(self, module: torch.nn.Module) -> Reference:
        """A reference to `module`, with its name."""
        known = self._found.get(id(module))
        if (known is None or known() is not module) and self._looks < _MOST_LOOKS:
            self._looks += 1
            holders = _holders()
            modules = {id(module): module, **{id(holder): holder for holder, _ in holders.values()}}
            modules.update(
                (id(child), child) for holder in list(modules.values()) for child in _children(holder).values()
            )
            self._found = {key: _named(each, _name(each, holders)) for key, each in modules.items()}
            known = self._found[id(module)]
        return known if known is not None and known() is module else Reference(module)


def module_names(references: Iterable[Reference | None]) -> dict[int, str]:
    """Name of each module, by the id of the reference to it: "layers.0.mlp"; the class of one that no other holds.

    A module in several others is named by one of them, and one that is gone as it was when it was met.
    """
    # Not by the reference itself: its hash is the module's, which may have none.
    wanted = {id(reference): reference for reference in references if reference is not None}
    if not wanted:
        return {}
    alive = {key: module for key, reference in wanted.items() if (module := reference()) is not None}
    holders = _holders() if alive else {}
    return {
        key: _name(alive[key], holders) if key in alive else reference.early or _GONE
        for key, reference in wanted.items()
    }


def _named(module: torch.nn.Module, name: str) -> Reference:
    reference = Reference(module)
    reference.early = name
    return reference


def _holders() -> dict[int, tuple[torch.nn.Module, str]]:
    """By the id of each module that another one holds: that one, and its name there."""
    holders: dict[int, tuple[torch.nn.Module, str]] = {}
    for holder in gc.get_objects():
        if issubclass(type(holder), torch.nn.Module):  # isinstance() would ask proxies for their opinion
            for name, child in _children(holder).items():
                holders.setdefault(id(child), (holder, name))
    return holders


def _children(module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {name: child for name, child in list(module.__dict__.get("_modules", {}).items()) if child is not None}


def _name(module: torch.nn.Module, holders: dict[int, tuple[torch.nn.Module, str]]) -> str:
    parts: list[str] = []
    seen: set[int] = set()
    while id(module) in holders and id(module) not in seen:
        seen.add(id(module))
        module, name = holders[id(module)]
        parts.append(name)
    return ".".join(reversed(parts)) or type(module).__name__
