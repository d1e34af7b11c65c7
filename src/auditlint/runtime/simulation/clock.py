"""Virtual time of the simulated accelerator: one host, one device with one queue, all in microseconds.

A launch costs the host `launch` and appends work to the queue; the device runs the queue in order. A wait moves the
host to the moment when that work is done, and costs `sync` on top. Nothing here sleeps: only the numbers move.

Where all kernels take equally long, a wait costs the same wherever it stands. With a `bandwidth` they differ, as on a
device: the host gets ahead while large kernels run, and a wait takes that lead away from the small ones that follow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple


class Latency(NamedTuple):
    """What things cost, in microseconds; an invented device unless the numbers were measured on one.

    `launch` is the host's cost to queue one kernel or copy, `kernel` and `copy` how long the device then works on it,
    `sync` what a wait costs the host even when the queue is empty. With a `bandwidth`, in GB/s, a kernel takes as much
    longer as it takes to move its bytes (`traffic.moved`); with 0, the default, all kernels take equally long.
    """

    launch: float = 5.0
    kernel: float = 20.0
    copy: float = 5.0
    sync: float = 10.0
    bandwidth: float = 0.0

    def __str__(self) -> str:
        return (
            f"virtual clock: launch {self.launch:g} us, kernel {self.kernel:g} us, copy {self.copy:g} us, "
            f"sync {self.sync:g} us" + (f", memory {self.bandwidth:g} GB/s" if self.bandwidth else "")
        )

    def kernel_us(self, nbytes: int) -> float:
        """How long the device works on a kernel that moves so many bytes, in microseconds."""
        return self.kernel + (nbytes / (self.bandwidth * 1e3) if self.bandwidth else 0.0)


class Counts(NamedTuple):
    """What a clock has counted: kernels and copies queued, waits, and bytes to the host and to the device."""

    kernels: int
    copies: int
    waits: int
    waited_us: float
    d2h: int
    h2d: int


class Span(NamedTuple):
    """What the host or the device did from `start` to `end`, in microseconds.

    `where` is "host" or "device"; `what` is "launch" or "wait" on the host, "kernel" or "copy" on the device.
    """

    where: str
    what: str
    start: float
    end: float


Listener = Callable[[str, str, float], None]


class Clock:
    """Virtual host and device time, shared by all threads: whoever waits makes the one host wait.

    `listener` is told of each wait: the facts' kind, the operation or kernel, and the microseconds waited. It runs on
    the thread that waits, before the value arrives there.
    """

    def __init__(self, latency: Latency | None = None) -> None:
        self.latency = latency or Latency()
        self.listener: Listener | None = None
        self.trace: list[Span] | None = None  # a list to which all that happens is added
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again at zero; latency and listener stay."""
        with self._lock:
            self.host = self.device = 0.0
            self.kernels = self.copies = self.waits = self.d2h = self.h2d = 0
            self.waited_us = 0.0

    def counts(self) -> Counts:
        """What was counted so far."""
        with self._lock:
            return Counts(self.kernels, self.copies, self.waits, self.waited_us, self.d2h, self.h2d)

    def launch(self, nbytes: int = 0) -> None:
        """Queue one kernel that moves so many bytes."""
        with self._lock:
            self.kernels += 1
            self._queue("kernel", self.latency.kernel_us(nbytes))

    def copy(self, *, d2h: int = 0, h2d: int = 0) -> None:
        """Queue one copy of so many bytes to the host or to the device."""
        with self._lock:
            self.copies += 1
            self.d2h += d2h
            self.h2d += h2d
            self._queue("copy", self.latency.copy)

    def _queue(self, what: str, work: float) -> None:
        begun = self.host
        self.host += self.latency.launch
        start = max(self.device, self.host)
        self.device = start + work
        if self.trace is not None:
            self.trace += (Span("host", "launch", begun, self.host), Span("device", what, start, self.device))

    def mark(self) -> float:
        """The moment at which everything queued so far will be done."""
        with self._lock:
            return max(self.device, self.host)

    def reached(self, moment: float) -> bool:
        """Whether the device has come as far as `moment` by now."""
        with self._lock:
            return self.host >= moment

    def wait(self, kind: str, op: str, until: float | None = None) -> None:
        """Make the host wait for all queued work, or up to `until`, and tell the listener."""
        with self._lock:
            done = self.device if until is None else until
            waited = max(0.0, done - self.host) + self.latency.sync
            if self.trace is not None:
                self.trace.append(Span("host", "wait", self.host, self.host + waited))
            self.host += waited
            self.waits += 1
            self.waited_us += waited
        listener = self.listener
        if listener is not None:
            listener(kind, op, waited)


CLOCK = Clock()
