"""The CUDA backend: torch says itself when the host waits, in two ways that complement each other.

Sync debug mode warns of each wait for a stream. The warning is kept until the call that waited returns to Python
(`PyWarningHandler`), is lost to Python in operators called as `torch.ops`, and is replayed at the end of
`backward()` for what C++ nodes waited for. The GPU trace calls back at the wait itself, on its thread, and for events
and devices as well. In C++ both stand side by side (c10/cuda/CUDAFunctions.h), so the callback of a wait always comes
before its warning: callbacks count, and a warning counts only where no callback has been heard for it.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import platform
import re
import shutil
import subprocess
import threading
from typing import Any

import torch

from auditlint.runtime.backends import Backend, Unavailable
from auditlint.runtime.backends.copies import watch_copies
from auditlint.runtime.backends.explicit import watch_calls
from auditlint.runtime.backends.warned import CONTEXT_BLIND_SPOT, contexts_hide, listen
from auditlint.runtime.patches import Patches
from auditlint.runtime.report import Environment
from auditlint.runtime.watch import Watch

# "called a synchronizing CUDA operation" in torch 2.13; the word in the middle has changed, and differs in forks.
SYNCHRONIZING = re.compile(r"called a synchronizing (\w+ )?operation")
# What turning the mode on warns of.
PROTOTYPE = re.compile(r"Synchronization debug mode is a prototype")
WARN = 1
# What a wait for a stream is called where no operation is known that asked for it.
STREAM_WAIT = "cudaStreamSynchronize"
# Up to this size, a copy from pageable memory is staged and returns (CUDA C++ Programming Guide, "Asynchronous
# Concurrent Execution": memory copies from host to device of a memory block of 64 KB or less).
STAGED_BYTES = 64 * 1024

BLIND_SPOTS: tuple[str, ...] = (
    "Waits inside the caching allocator (freeing memory under pressure) are seen only where the program asks for them.",
    "Waits inside thrust, cub and sparse kernels (`unique_dim`, `coalesce`, sparse products) are not announced.",
    "NCCL, symmetric memory, the profiler and MAGMA wait without telling torch.",
    "Third-party extensions that call the CUDA runtime themselves are not seen.",
    "Copies with `non_blocking=True` from or to unpinned host memory are counted where `Tensor.to`, `cuda` or `copy_` "
    "makes them, from the host only above 64 KB; CUDA says that these may wait, it was not seen.",
    "Waits of C++ backward nodes have no line of Python code.",
    "A replayed CUDA graph runs no Python and no operator: nothing in it is counted.",
    "Operators called as `torch.ops...` make torch print its own warning to stderr while counting, and "
    "`forbid_syncs` cannot stop them at once.",
    "A program that turns sync debug mode off, or to `error`, takes the warnings away.",
)
NO_TRACE = (
    "torch's GPU trace did not call back: waits for events and devices count only where they are asked for by name, "
    "operators called as `torch.ops...` not at all, and what C++ backward nodes wait for at the end of `backward()`."
)
HIP = "This is ROCm: none of this has been verified there."


class Cuda(Backend):
    """Counts on a CUDA device (or ROCm, which torch calls by the same name)."""

    name = "cuda"

    def __init__(self) -> None:
        if not torch.backends.cuda.is_built():
            raise Unavailable(f"torch {torch.__version__} is built without CUDA")
        if not torch.cuda.is_available():
            raise Unavailable("torch finds no CUDA device")
        self._waits: _Waits | None = None

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What cannot be seen here: the trace's absence is known after `install` and `plant`."""
        spots = BLIND_SPOTS
        if self._waits is not None and not self._waits.traced:
            spots += (NO_TRACE,)
        if torch.version.hip:
            spots += (HIP,)
        return (*spots, CONTEXT_BLIND_SPOT) if contexts_hide() else spots

    def environment(self) -> Environment:
        """The current device, torch's build and the kernel driver's version."""
        return Environment(
            torch.cuda.get_device_name(), torch.__version__, _driver(), platform.python_version(), platform.platform()
        )

    def install(self, watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
        """Turn the mode and the trace on, and wrap what neither announces."""
        undo.callback(setattr, watch, "measures_time", watch.measures_time)
        watch.measures_time = True
        waits = self._waits = _Waits(watch)
        listen(waits.warned, undo)
        _arm(waits, undo)
        _trace(waits, undo)
        watch_calls(watch, patches, _explicit(), waits.on_this_thread)
        watch_copies(watch, patches, may_wait_unseen)

    def plant(self) -> None:
        """Read one element."""
        torch.ones((), device="cuda").item()


class _Local(threading.local):
    """How many waits this thread has reported, and an error that could not be raised where it belongs."""

    def __init__(self) -> None:
        self.reported = 0
        self.error: Exception | None = None


class _Waits:
    """Takes callbacks and warnings in, and reports each wait once."""

    def __init__(self, watch: Watch) -> None:
        self.traced = False
        self.arming = False
        self.shown = False
        self._watch = watch
        self._unwarned = 0
        self._local = _Local()
        self._lock = threading.Lock()

    def on_this_thread(self) -> int:
        """The number of waits that this thread has reported."""
        return self._local.reported

    def warned(self, text: str) -> bool:
        """A warning; whether it goes no further. Raises what the recorder raises."""
        if not SYNCHRONIZING.search(text):
            return self.arming and PROTOTYPE.search(text) is not None
        # Callbacks are not told apart by thread: what C++ nodes of a backward pass wait for is warned of elsewhere.
        with self._lock:
            counted = self._unwarned > 0
            self._unwarned -= counted
        error, self._local.error = self._local.error, None
        if error is not None:
            raise error
        if not counted:
            self._report("", STREAM_WAIT)
        return not self.shown

    def stream(self, stream: int) -> None:
        """The trace: a stream is being waited for."""
        with self._lock:
            self._unwarned += 1
        self._called_back("", STREAM_WAIT)

    def event(self, event: int) -> None:
        """The trace: an event is being waited for."""
        self._called_back("synchronize", "Event.synchronize")

    def device(self) -> None:
        """The trace: the device is being waited for."""
        self._called_back("synchronize", "torch.cuda.synchronize")

    def _called_back(self, kind: str, op: str) -> None:
        self.traced = True
        try:
            self._report(kind, op)
        except Exception as error:
            # torch logs what a callback raises, and goes on. The warning of this wait comes next, and can raise it.
            self._local.error = error

    def _report(self, kind: str, op: str) -> None:
        self._local.reported += 1
        self._watch.read(kind, op)


def may_wait_unseen(source: Any, target: Any, non_blocking: bool) -> bool:
    """Whether a copy between host and device may wait although it was told not to: the mode does not see such a copy.

    CUDA Runtime API, "API synchronization behavior": cudaMemcpyAsync from pageable memory may wait until it is staged,
    and one to pageable memory returns only when the copy has completed.
    """
    if not non_blocking:
        return False
    if source.is_cuda:
        return bool(target.device.type == "cpu" and not _pinned(target))
    return bool(target.is_cuda and source.device.type == "cpu" and source.nbytes > STAGED_BYTES and not _pinned(source))


def _pinned(tensor: Any) -> bool:
    # Only strided tensors can be pinned as a whole; of another layout nothing is known, and nothing is claimed.
    return bool(tensor.layout != torch.strided or tensor.is_pinned())


def _explicit() -> tuple[tuple[Any, str, str], ...]:
    return (
        (torch.cuda, "synchronize", "torch.cuda.synchronize"),
        (torch.cuda.Stream, "synchronize", "Stream.synchronize"),
        (torch.cuda.Event, "synchronize", "Event.synchronize"),
        (torch.cuda, "empty_cache", "torch.cuda.empty_cache"),
        (torch.cuda.memory, "empty_cache", "torch.cuda.empty_cache"),
        (torch.accelerator, "synchronize", "torch.accelerator.synchronize"),
        (torch.accelerator, "empty_cache", "torch.accelerator.empty_cache"),
    )


def _arm(waits: _Waits, undo: contextlib.ExitStack) -> None:
    before = torch.cuda.get_sync_debug_mode()
    # Whoever has turned the mode on wants to see its warnings.
    waits.shown = before == WARN

    def turn(mode: int | str) -> None:
        waits.arming = True
        try:
            torch.cuda.set_sync_debug_mode(mode)
        finally:
            waits.arming = False

    undo.callback(turn, before)
    turn("warn")


def _trace(waits: _Waits, undo: contextlib.ExitStack) -> None:
    """Register with torch's GPU trace. Once active, torch keeps it so for the process; our callbacks go."""
    try:
        from torch.cuda import _gpu_trace

        for registry, callback in (
            (_gpu_trace.StreamSynchronizationCallbacks, waits.stream),
            (_gpu_trace.EventSynchronizationCallbacks, waits.event),
            (_gpu_trace.DeviceSynchronizationCallbacks, waits.device),
        ):
            registry.add_callback(callback)
            undo.callback(registry.callback_list.remove, callback)
        torch._C._activate_gpu_trace()
    except (ImportError, AttributeError):
        # It is no public interface; without it `traced` stays False, and the report says so.
        return


@functools.cache
def _driver() -> str:
    """The version of the kernel driver, "" where nothing tells."""
    for path, pattern in (
        ("/proc/driver/nvidia/version", r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s"),
        ("/sys/module/amdgpu/version", r"(\S+)"),
    ):
        with contextlib.suppress(OSError):
            if found := re.search(pattern, pathlib.Path(path).read_text()):
                return found[1]
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.partition("\n")[0].strip()
