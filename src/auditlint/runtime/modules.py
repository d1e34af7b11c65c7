"""What modules are called: by their place in the outermost module that holds them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable

import torch

Reference = weakref.ref[torch.nn.Module]
_GONE = "(a module that is gone)"


def module_names(references: Iterable[Reference | None]) -> dict[int, str]:
    """Name of each module, by the id of the reference to it: "layers.0.mlp"; the class of one that no other holds.

    A module in several others is named by one of them.
    """
    # Not by the reference itself: its hash is the module's, which may have none.
    wanted = {id(reference): reference for reference in references if reference is not None}
    if not wanted:
        return {}
    holders: dict[int, tuple[torch.nn.Module, str]] = {}
    for holder in gc.get_objects():
        if issubclass(type(holder), torch.nn.Module):  # isinstance() would ask proxies for their opinion
            for name, child in list(holder.__dict__.get("_modules", {}).items()):
                holders.setdefault(id(child), (holder, name))
    return {key: _name(reference(), holders) for key, reference in wanted.items()}


def _name(module: torch.nn.Module | None, holders: dict[int, tuple[torch.nn.Module, str]]) -> str:
    if module is None:
        return _GONE
    parts: list[str] = []
    seen: set[int] = set()
    while id(module) in holders and id(module) not in seen:
        seen.add(id(module))
        module, name = holders[id(module)]
        parts.append(name)
    return ".".join(reversed(parts)) or type(module).__name__
