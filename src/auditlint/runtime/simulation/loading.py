"""`torch.load` onto the simulated device, whose tensors have no storage that torch could fill.

What is loaded goes to the host first. Where the program asked for the device, all tensors are then moved there, with a
copy each, as a device would have it.
"""

from __future__ import annotations

from typing import Any

import torch

from auditlint.runtime.simulation.foreign import is_here
from auditlint.runtime.simulation.tensor import NAME


def load_here(original: Any) -> Any:
    """`torch.load` that knows CUDA devices as this one."""

    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        if callable(map_location) and _keeps_on_host(map_location):
            map_location = "cpu"
        if isinstance(map_location, dict):
            moves = any(is_here(value) for value in map_location.values())
            map_location = {**map_location, f"{NAME}:0": "cpu"} if not moves else "cpu"
        else:
            moves = is_here(map_location)
            map_location = "cpu" if moves else map_location
        loaded = original(f, map_location, *args, **kwargs)
        return moved(loaded, {}) if moves else loaded

    return load


def _keeps_on_host(map_location: Any) -> bool:
    """Whether a function (`lambda storage, location: storage`) leaves storages where they are read to."""
    storage = torch.UntypedStorage(0)
    try:
        return map_location(storage, "cuda:0") is storage
    except Exception:  # it is the program's own, and may expect anything
        return False


def moved(value: Any, done: dict[int, Any]) -> Any:
    """`value` with the tensors in its containers and objects on the simulated device; `done` keeps sharing."""
    if id(value) in done:
        return done[id(value)][0]
    result = value
    if isinstance(value, torch.nn.Parameter):
        result = torch.nn.Parameter(value.detach().to(NAME), value.requires_grad)
    elif isinstance(value, torch.Tensor):
        result = value.to(NAME)
    elif isinstance(value, torch.nn.Module):
        value.to(NAME)
    elif isinstance(value, dict):
        for key in list(value):
            value[key] = moved(value[key], done)
    elif isinstance(value, list):
        value[:] = [moved(item, done) for item in value]
    elif isinstance(value, tuple):
        items = [moved(item, done) for item in value]
        result = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        moved(vars(value), done)
    done[id(value)] = (result, value)  # the original is kept, so that no other object gets its address
    return result
