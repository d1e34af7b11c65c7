"""One copy from a device to the host, started without waiting for it and finished by waiting for one event.

On devices with streams (CUDA and its likes) packing and copying happen on a stream of their own, after the streams on
which the tensors were made; the host's memory is pinned, kept and used again. On MPS, where asynchronous copies are not
to be trusted, and on devices without streams, one blocking copy does it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Sequence
from typing import Any

import torch

from auditlint.defer.packing import Block, as_bytes, from_bytes, gather

SMALLEST = 1 << 16  # bytes of the smallest piece of host memory that is allocated
KEPT = 1 << 26  # bytes up to which host memory is kept for the next transfer
PIECES = 2  # pieces kept per device: one being read while the next one is written

_internals: Any = torch
_lock = threading.Lock()  # held for a few dictionary operations, never while waiting
_free: dict[torch.device, list[torch.Tensor]] = {}
_sides: dict[torch.device, Any] = {}
_abandoned: list[Any] = []
_cuda_streams: dict[tuple[int, int], Any] = {}


def abandon(objects: Sequence[Any]) -> None:
    """In a forked child: forget streams and memory, and never free them or `objects`.

    They belong to the parent's device context; freeing them would call the device.
    """
    global _lock
    _lock = threading.Lock()
    _abandoned.extend((dict(_free), dict(_sides), dict(_cuda_streams), list(objects)))
    for kept in (_free, _sides, _cuda_streams):
        kept.clear()


@functools.cache
def has_streams(device: torch.device) -> bool:
    """Whether copies from this device may be asynchronous."""
    if device.type in ("cpu", "mps"):
        return False
    try:
        module = _module(device)
    except RuntimeError:  # no module of torch's for this kind of device
        return False
    return all(hasattr(module, name) for name in ("Event", "Stream", "current_stream", "stream"))


def current_stream(device: torch.device) -> Any:
    """The stream on which the calling thread's work for `device` is queued; None for a device without streams."""
    if device.type == "cuda":
        index = device.index or 0
        key = index, _internals._C._cuda_getCurrentRawStream(index)
        stream = _cuda_streams.get(key)
        if stream is None:  # a stream object costs several times as much as its number
            stream = _cuda_streams[key] = torch.cuda.current_stream(device)
        return stream
    return _module(device).current_stream(device) if has_streams(device) else None


class Transfer:
    """Tensors of one device on their way to the host."""

    def __init__(self, device: torch.device, tensors: Sequence[torch.Tensor], streams: Sequence[Any]) -> None:
        """Queue the copy, behind all work queued so far on `streams`; on devices without streams it is done at once.

        The tensors must be kept by the caller until `finish`, or until `release` was called. Raises what the device
        raises. Inference mode and gradients have to be off: the host's memory outlives the block that this runs in.
        """
        self._device = device
        self._tensors: tuple[torch.Tensor, ...] | None = tuple(tensors)
        self._event: Any = None
        self._side: Any = None
        if has_streams(device):
            self._start(streams)
        else:
            blocks = gather(tensors)
            self._groups = [block.group for block in blocks]
            # auditlint: allow-sync[AUD102] the one transfer of a flush, on devices without streams
            self._data = self._memory = as_bytes(blocks).cpu()

    def _start(self, streams: Sequence[Any]) -> None:
        module, side = _module(self._device), _side_stream(self._device)
        for stream in streams:
            side.wait_stream(stream)
        self._side = side
        try:
            with module.stream(side):
                blocks = gather(self._tensors or ())
                packed = as_bytes(blocks)
                self._groups = [block.group for block in blocks]
                self._memory, pinned = _take(self._device, packed.numel())
                self._data = self._memory[: packed.numel()]
                self._data.copy_(packed, non_blocking=pinned)
                if pinned:  # without, the copy has waited already
                    self._event = module.Event()
                    self._event.record(side)
        except BaseException:
            self._abort()
            raise

    def release(self) -> None:
        """Let go of the tensors before the copy is done: their memory is not used again before that."""
        if self._side is not None and not isinstance(self._side, torch.Stream):
            return  # a stream that torch's allocator does not know: the tensors are kept until `finish`
        if self._tensors is not None and self._side is not None:
            for tensor in self._tensors:
                tensor.record_stream(self._side)
        self._tensors = None

    def _abort(self) -> None:
        # The side stream may still read the tensors when the caller lets go of them. A device that is lost takes no
        # such notes, and what it said first is what has to be heard.
        with contextlib.suppress(RuntimeError):
            self.release()

    @property
    def done(self) -> bool:
        """Whether `finish` would not wait."""
        return self._event is None or bool(self._event.query())

    def finish(self) -> list[Block]:
        """Wait for the copy and return the blocks, views of memory that `recycle` makes free for the next transfer.

        Raises what the device raises, then the contents are void.
        """
        if self._event is not None:
            try:
                self._event.synchronize()  # auditlint: allow-sync[AUD107] the one wait of a flush
            except BaseException:
                self._abort()
                raise
        self._tensors = None
        return from_bytes(self._groups, self._data)

    def recycle(self) -> None:
        """Say that nobody looks at the blocks any more."""
        if self._event is not None and self._memory.numel() <= KEPT:
            with _lock:
                kept = _free.setdefault(self._device, [])
                kept.append(self._memory)
                kept.sort(key=torch.Tensor.numel, reverse=True)
                del kept[PIECES:]


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)


def _side_stream(device: torch.device) -> Any:
    with _lock:
        side = _sides.get(device)
    if side is None:
        side = _module(device).Stream(device=device)
        with _lock:
            side = _sides.setdefault(device, side)
    return side


def _take(device: torch.device, nbytes: int) -> tuple[torch.Tensor, bool]:
    """Host memory for at least `nbytes`, uint8 with one dimension, and whether it is pinned."""
    with _lock:
        kept = _free.get(device, [])
        for position in range(len(kept) - 1, -1, -1):  # the smallest that is large enough
            if kept[position].numel() >= nbytes:
                return kept.pop(position), True
    size = max(SMALLEST, 1 << (nbytes - 1).bit_length()) if nbytes <= KEPT else nbytes
    try:
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True), True
    except RuntimeError:  # nothing there to pin with, or no more memory that may be pinned: the copy then waits
        return torch.empty(nbytes, dtype=torch.uint8, device="cpu"), False
