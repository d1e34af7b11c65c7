"""Counting backends: how each kind of device is watched. They are imported when they are asked for."""

from __future__ import annotations

import abc
import contextlib

from auditlint.runtime.patches import Patches
from auditlint.runtime.report import BACKENDS, Environment
from auditlint.runtime.watch import Watch


class Unavailable(Exception):
    """Syncs cannot be counted here; the message says why, in one line."""


class Backend(abc.ABC):
    """A way to see that the host waits. Its name is one of `BACKENDS`."""

    name: str
    # Whether what is counted would wait on a device, and does not wait here.
    potential = False
    # The facts' kinds of sync that it cannot see at all.
    unseen_kinds: frozenset[str] = frozenset()
    # Subclasses of `torch.Tensor` that define some of its waiting methods anew.
    tensor_classes: tuple[type, ...] = ()
    # Operations whose reads, as seen by this backend, would not take place on a device.
    not_syncs: frozenset[str] = frozenset()

    @property
    @abc.abstractmethod
    def blind_spots(self) -> tuple[str, ...]:
        """What it cannot see, one plain sentence each."""

    @property
    def doubt(self) -> str:
        """Why nothing that was counted so far says anything, in one sentence; "" if there is no such reason."""
        return ""

    @abc.abstractmethod
    def environment(self) -> Environment:
        """The device and the software around it."""

    @abc.abstractmethod
    def install(self, watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
        """Begin to report to `watch`; closing `undo` puts back everything that was changed."""

    @abc.abstractmethod
    def plant(self) -> None:
        """Make one sync: a counter that does not see it is broken."""


def choose(name: str = "auto") -> Backend:
    """The backend of that name; for "auto" that of the accelerator that is there, else the CPU's.

    Raises:
        Unavailable: there is no such device here.
        ValueError: there is no such backend.
    """
    match name if name != "auto" else _present():
        case "cuda":
            from auditlint.runtime.backends.cuda import Cuda

            return Cuda()
        case "mps":
            from auditlint.runtime.backends.mps import Mps

            return Mps()
        case "cpu":
            from auditlint.runtime.backends.cpu import Cpu

            return Cpu()
        case "simulated":
            from auditlint.runtime.backends.simulated import Simulated

            return Simulated()
    raise ValueError(f"no backend `{name}`; there are auto, {', '.join(BACKENDS)}")


def _present() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
