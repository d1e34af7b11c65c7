"""The names by which programs mean a device that is simulated here."""

from __future__ import annotations

from typing import Any

import torch

from auditlint.runtime.simulation.tensor import NAME

FOREIGN = ("cuda", "simulated")


def here(device: Any) -> Any:
    """The device meant by what a program names; what names another one stays as it is."""
    if isinstance(device, torch.device):
        return torch.device(NAME, 0) if device.type in FOREIGN else device
    if isinstance(device, str):
        return torch.device(NAME, 0) if device.partition(":")[0] in FOREIGN else device
    return device


def is_here(device: Any) -> bool:
    """Whether a device, or a name of one, is the simulated one or stands for it."""
    moved = here(device)
    if isinstance(moved, torch.device):
        return bool(moved.type == NAME)
    return isinstance(moved, str) and moved.partition(":")[0] == NAME
