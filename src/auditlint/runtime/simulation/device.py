"""`torch.sim`: events, streams and the functions that torch expects of a device's module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from auditlint.runtime.simulation.clock import CLOCK
from auditlint.runtime.simulation.tensor import NAME


class Event:
    """As `torch.cuda.Event`, on virtual time; elapsed times are exact whether asked for or not."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, **_: Any):
        self._moment: float | None = None

    def record(self, stream: Any = None) -> None:
        """Remember the end of everything queued so far."""
        self._moment = CLOCK.mark()

    def query(self) -> bool:
        """Whether the device has passed the recorded moment; True when nothing was recorded."""
        return self._moment is None or CLOCK.reached(self._moment)

    def synchronize(self) -> None:
        """Wait for the recorded moment."""
        CLOCK.wait("synchronize", "Event.synchronize", until=self._moment or 0.0)

    def wait(self, stream: Any = None) -> None:
        """Let a stream wait: there is one queue, which keeps the order by itself."""

    def elapsed_time(self, end_event: Event) -> float:
        """Virtual milliseconds between two recorded events."""
        if self._moment is None or end_event._moment is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return (end_event._moment - self._moment) / 1000.0


class Stream:
    """As `torch.cuda.Stream`; all streams feed the device's one queue, so work of two streams never overlaps."""

    def __init__(self, device: Any = None, priority: int = 0, **_: Any) -> None:
        self.device_index, self.priority = 0, priority
        self.stream_id = self.cuda_stream = 0

    @property
    def device(self) -> torch.device:
        """The only device."""
        return torch.device(NAME, 0)

    def synchronize(self) -> None:
        """Wait for everything queued."""
        CLOCK.wait("synchronize", "Stream.synchronize")

    def query(self) -> bool:
        """Whether everything queued is done."""
        return CLOCK.reached(CLOCK.mark())

    def record_event(self, event: Event | None = None) -> Event:
        """Record an event, a new one unless given."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Nothing to do: one queue."""

    def wait_stream(self, stream: Stream) -> None:
        """Nothing to do: one queue."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


_DEFAULT = Stream()


def synchronize(device: Any = None) -> None:
    """Wait for everything queued."""
    CLOCK.wait("synchronize", "torch.sim.synchronize")


def current_stream(device: Any = None) -> Stream:
    """The default stream: there is one queue."""
    return _DEFAULT


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """As `torch.cuda.stream`: everything goes to the one queue."""
    yield


def empty_cache() -> None:
    """Freeing cached blocks waits for the device, as cudaFree does."""
    CLOCK.wait("synchronize", "torch.sim.empty_cache")


class device:
    """As `torch.cuda.device`: a context in which the only device is the current one."""

    def __init__(self, device: Any = None) -> None:
        self.idx = 0

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


class DeviceModule:
    """What torch finds as `torch.sim`."""

    __name__ = "torch.sim"
    Event, Stream, device = Event, Stream, device
    synchronize = staticmethod(synchronize)
    current_stream = default_stream = staticmethod(current_stream)
    stream = staticmethod(stream)
    empty_cache = staticmethod(empty_cache)

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def set_device(self, device: Any) -> None:
        return None

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    # The device draws from the host's generator, so that a seed gives the same numbers as on the host.
    def manual_seed(self, seed: int) -> None:
        return None

    def manual_seed_all(self, seed: int) -> None:
        return None

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]
