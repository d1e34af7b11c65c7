"""The simulated backend: an accelerator with a virtual clock, on any machine."""

from __future__ import annotations

import contextlib
import functools
import platform
from typing import Any

import torch

from auditlint.runtime.backends import Backend, Unavailable
from auditlint.runtime.patches import Patches
from auditlint.runtime.report import Environment
from auditlint.runtime.simulation import backward, device
from auditlint.runtime.simulation.clock import CLOCK, Latency
from auditlint.runtime.simulation.registration import Unsupported, register
from auditlint.runtime.simulation.remap import remap
from auditlint.runtime.simulation.tensor import NAME, SimTensor
from auditlint.runtime.watch import Watch

BLIND_SPOTS = (
    "The device is modelled: which kernels wait follows torch's documentation and binaries for CUDA, not a device's "
    "own kernels, and times come from a virtual clock.",
    "One aten operator counts as one kernel, attention runs unfused, and all streams share one queue.",
    "Values are computed at once by the CPU: reading pinned memory before an asynchronous copy is done gives the right "
    "values here and may not on a device.",
    "Tensors are on `sim:0`: code that compares a tensor's device with `cuda` takes the other branch.",
    "Functions that were imported by name before counting began (`from torch import zeros`) create tensors on the CPU "
    "even when told `cuda`.",
    "Nested and quantised tensors, CUDA graphs, NCCL, DataParallel and extensions that call CUDA are not modelled; "
    "`TransformerEncoder` computes padded positions instead of leaving them out.",
)
IDLE = (
    "Nothing ran on the simulated device: the program keeps its tensors on the CPU. Programs that ask for `cuda` use "
    "it, and so do tensors that are made while it is installed."
)
CALLERS_THREAD = (
    "Backward runs on the thread that calls it, not on one of the device's own: torch had run a backward pass before "
    "the simulated device was made known to it."
)


class Simulated(Backend):
    """Counts on the simulated device; programs written for CUDA run on it while this backend is installed.

    With `default`, tensors that a program creates without naming a device are made on it too.
    """

    name = "simulated"
    tensor_classes: tuple[type, ...] = (SimTensor,)

    def __init__(self, default: bool = False, latency: Latency | None = None) -> None:
        self.default = default
        self.latency = latency
        self._planted: object = None

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What is not modelled."""
        return BLIND_SPOTS if backward.own_thread else (*BLIND_SPOTS, CALLERS_THREAD)

    def environment(self) -> Environment:
        """The latency model stands where a driver's version would."""
        return Environment(
            device="simulated",
            torch=torch.__version__,
            driver=str(self.latency or CLOCK.latency),
            python=platform.python_version(),
            platform=platform.platform(),
        )

    def install(self, watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
        """Report every wait of the simulated device, which programs get when they ask for CUDA."""
        try:
            register()
        except Unsupported as error:
            raise Unavailable(str(error)) from None

        def heard(kind: str, op: str, waited_us: float) -> None:
            watch.read(kind, op, waited_us=waited_us)

        undo.callback(setattr, CLOCK, "listener", CLOCK.listener)
        undo.callback(setattr, CLOCK, "latency", CLOCK.latency)
        CLOCK.listener = heard
        CLOCK.latency = self.latency or CLOCK.latency
        remap(patches, self.default)
        for owner, name, op in _explicit():
            patches.replace(owner, name, functools.partial(watch.entry, op=op, kind="synchronize"))

    def plant(self) -> None:
        """Read one number from the device."""
        torch.ones((), device=torch.device(NAME, 0)).item()
        self._planted = CLOCK.counts()

    @property
    def doubt(self) -> str:
        """Says so when the device has had nothing to do since the planted sync."""
        return IDLE if CLOCK.counts() == self._planted else ""


def _explicit() -> tuple[tuple[Any, str, str], ...]:
    """Calls by which a program tells the host to wait, and their names in the facts."""
    return (
        (torch.cuda, "synchronize", "torch.cuda.synchronize"),
        (torch.cuda, "empty_cache", "torch.cuda.empty_cache"),
        (torch.cuda.memory, "empty_cache", "torch.cuda.empty_cache"),
        (torch.accelerator, "synchronize", "torch.accelerator.synchronize"),
        (torch.accelerator, "empty_cache", "torch.accelerator.empty_cache"),
        (device.Event, "synchronize", "Event.synchronize"),
        (device.Stream, "synchronize", "Stream.synchronize"),
    )
