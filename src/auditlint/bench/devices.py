"""Where a study runs: the device, and the clock that times it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from auditlint.console import UsageError
from auditlint.runtime import Unavailable, count_syncs
from auditlint.runtime.backends import choose
from auditlint.runtime.report import Environment
from auditlint.runtime.simulation.clock import CLOCK, Latency
from auditlint.runtime.simulation.registration import register

# An invented device with a slow memory: a 30M-parameter model keeps it busy for longer than the host needs to queue.
# Launch, copy and sync are the simulation's own; they are of the order that is reported for CUDA (an idle
# cudaDeviceSynchronize takes 10 to 15 us, submitting a cudaMemcpyAsync 5 to 7 us).
LATENCY = Latency(launch=5.0, kernel=2.0, copy=5.0, sync=10.0, bandwidth=100.0)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a study runs on.

    `now` is a clock in seconds.
    """

    backend: str
    torch_device: torch.device
    environment: Environment
    now: Callable[[], float]
    synchronize: Callable[[], None]

    @property
    def simulated(self) -> bool:
        """Whether the times are those of a virtual clock."""
        return self.backend == "simulated"

    @property
    def sends(self) -> bool:
        """Whether there is a device whose data have to be sent to the host."""
        return self.backend != "cpu"

    @property
    def label(self) -> str:
        """What every output says of where its times come from, in one sentence."""
        if self.simulated:
            return f"SIMULATED, not measured on hardware: an invented device, {CLOCK.latency}"
        if self.backend == "cpu":
            return "Measured on the CPU, which has no device to wait for: syncs are potential ones"
        return f"Measured on {self.environment.device}"


@contextlib.contextmanager
def opened(backend: str, latency: Latency = LATENCY) -> Iterator[Device]:
    """The device of that backend, "auto" for the accelerator that is there; `latency` is for the simulated one.

    Raises:
        UsageError: there is no such device here.
    """
    before = CLOCK.latency
    CLOCK.latency = latency
    try:
        try:
            chosen = choose(backend)
            with count_syncs(chosen):  # shows that the device is there, and that its syncs can be counted
                environment = chosen.environment()
        except Unavailable as error:
            raise UsageError(str(error)) from None
        yield _device(chosen.name, environment)
    finally:
        CLOCK.latency = before


def _device(backend: str, environment: Environment) -> Device:
    if backend == "simulated":
        register()
        where = torch.device("sim", 0)
        return Device(backend, where, environment, lambda: CLOCK.host * 1e-6, _wait_for_simulated)
    wait: Callable[[], None] = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(backend, _no_wait)
    return Device(backend, torch.device(backend), environment, time.perf_counter, wait)


def _wait_for_simulated() -> None:
    torch.get_device_module("sim").synchronize()


def _no_wait() -> None:
    return None
