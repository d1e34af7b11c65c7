"""Recording into memory that lives on the device: for hooks in compiled code and in CUDA graphs.

A hook that appends to a Python list is compiled anew on each call, and replaying a CUDA graph runs no Python at all.
What survives both is a preallocated buffer and a counter beside it, both on the device: writing a row is two kernels
whose addresses never change, and nobody waits. Reading is one transfer, counter included.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

Number = bool | int | float | complex
OnFull = Literal["error", "flush"]

# Held while the kernels of one write, or of one snapshot, are queued, never while the host waits for the device. It is
# one for all buffers, since a flush covers several of them, and an object with a lock of its own cannot be copied.
QUEUEING = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child of a fork would wait for ever for a thread that it does not have
    os.register_at_fork(before=QUEUEING.acquire, after_in_parent=QUEUEING.release, after_in_child=QUEUEING.release)


class BufferFull(RuntimeError):
    """More rows were written than there is room for.

    `lost` says how many are gone; `kept` is what would have been returned without that. From `reserve()`, which runs
    before anything is written: 0 and None.
    """

    def __init__(self, message: str, lost: int = 0, kept: Any = None) -> None:
        super().__init__(message)
        self.lost = lost
        self.kept = kept


@dataclass(frozen=True, slots=True)
class Rows:
    """What was recorded, on the host: `values` is (rows, columns) in the buffer's dtype, oldest row first.

    `lost` counts rows that were written and are not among them.
    """

    columns: tuple[str, ...]
    values: torch.Tensor
    lost: int = 0

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def column(self, name: str) -> torch.Tensor:
        """One column, (rows,). Raises KeyError when there is none of that name."""
        if name not in self.columns:
            raise KeyError(f"there is no column {name!r}; there are: {', '.join(self.columns)}")
        return self.values[:, self.columns.index(name)]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict of plain numbers for each row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.values.tolist()]


class DeviceBuffer:
    """Rows of named columns in `capacity` preallocated rows on one device; writing neither waits nor allocates rows.

    It holds what `dtype` holds: integers above 2**24 need int64, not the float32 that is the default. Values become it
    as torch promotes them, from bool to integer to float to complex, and never back. Device memory is `capacity + 1`
    rows: those that do not fit go to the last one, and the counter counts on.

    `on_full="error"`: a read-out that finds rows lost raises `BufferFull`, with the others in it. `"flush"`: in
    addition, `reserve()` moves rows to the host before a pass that might not fit. Nothing is dropped silently, and
    nothing is overwritten.

    Threads: writes and read-outs from several threads are kept apart in eager code; streams are not, so all have to
    use the same stream, or wait for each other's. Compiled code and CUDA graphs write without a lock: one thread at a
    time. Rows written by them during a flush are noticed and counted as lost.

    Raises:
        ValueError: a capacity below 1, no columns, or the same column twice.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        on_full: OnFull = "error",
    ) -> None:
        self.columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if capacity < 1:
            raise ValueError(f"a buffer holds at least one row, not {capacity}")
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise ValueError(f"a buffer needs columns, each of another name; given: {self.columns}")
        if on_full not in ("error", "flush"):
            raise ValueError(f'on_full is "error" or "flush", not {on_full!r}')
        self.capacity = capacity
        self.dtype = dtype
        self.on_full = on_full
        # The buffers of a module: what torch.compile finds there it takes to stay at its address, as CUDA graphs need.
        self._memory = torch.nn.Module()
        with torch.inference_mode(False):  # or nobody could write to it outside of inference mode
            rows = torch.zeros((capacity + 1, len(self.columns)), dtype=dtype, device=device)
            self._memory.register_buffer("rows", rows)
            # Rows in the buffer; rows since the last reset; the latter as the last flush saw it.
            self._memory.register_buffer("counters", torch.zeros(3, dtype=torch.int64, device=device))
        self.device = rows.device
        self._reserved = 0  # rows that may have been written since the last flush, as far as reserve() was told
        self._on_host: list[Rows] = []

    @property
    def written(self) -> torch.Tensor:
        """How many rows were written since the last flush, also where they did not fit: (1,) int64 on the device."""
        return self._memory.counters[:1]

    def append(self, *values: torch.Tensor | Number) -> None:
        """Write one row: a one-element tensor or a number for each column, or one tensor of shape (columns,).

        Tensors are taken detached. A number costs a kernel, and in compiled code one that changes costs a compilation:
        keep what changes in a tensor.

        Raises:
            TypeError: a value would have to be rounded to an integer, or lose its imaginary part.
            ValueError: values do not fit the columns, or are on another device.
        """
        if len(values) == 1 and isinstance(values[0], torch.Tensor) and values[0].dim() == 1:
            self.extend(values[0].unsqueeze(0))
            return
        if len(values) != len(self.columns):
            raise ValueError(f"{len(values)} values for the {len(self.columns)} columns {', '.join(self.columns)}")
        cells = [self._cell(column, value) for column, value in zip(self.columns, values, strict=True)]
        self._write(torch.stack(cells).unsqueeze(0))

    def extend(self, rows: torch.Tensor) -> None:
        """Write several rows, a tensor of shape (rows, columns); for errors see `append`."""
        if rows.dim() != 2 or rows.shape[1] != len(self.columns):
            raise ValueError(f"rows of shape {tuple(rows.shape)} for a buffer of {len(self.columns)} columns")
        self._check("rows", rows)
        self._write(rows.detach().to(self.dtype))

    def reserve(self, rows: int) -> None:
        """Between two passes: make sure that the next one can write so many rows.

        This asks the host's own account, not the device: what was reserved since the last flush. If the rows might not
        fit, `on_full="flush"` moves what there is to the host, in one transfer, for the next `read()` or `flush()`.

        Raises:
            BufferFull: with `on_full="error"`, the rows might not fit. Nothing is lost.
            ValueError: the buffer never holds so many rows.
        """
        reserve_all((self,), rows)

    def read(self) -> Rows:
        """All rows since the last flush, which stay where they are. One transfer, of the whole capacity.

        Raises:
            BufferFull: rows were lost; the others are in the exception.
            RuntimeError: this is compiled code.
        """
        return self._read(empty=False)

    def flush(self) -> Rows:
        """As `read()`, and the buffer is empty afterwards; also when it raises."""
        return self._read(empty=True)

    def reset(self) -> None:
        """Forget all rows, without waiting for the device."""
        with QUEUEING:
            self._memory.counters.zero_()
            self._reserved = 0
            self._on_host.clear()

    def _read(self, *, empty: bool) -> Rows:
        (rows,) = collect((self,), empty=empty)
        check((self,), (rows,), kept=rows)
        return rows

    def _cell(self, column: str, value: torch.Tensor | Number) -> torch.Tensor:
        if not isinstance(value, torch.Tensor):
            self._check_kind(column, type(value).__name__, _kind_of_number(value))
            # torch.tensor() would copy from the host, and wait.
            return torch.full((), value, dtype=self.dtype, device=self.device)
        if value.numel() != 1:
            raise ValueError(f"{column}: a tensor of {value.numel()} elements is not one value")
        self._check(column, value)
        return value.detach().reshape(()).to(self.dtype)

    def _check(self, column: str, value: torch.Tensor) -> None:
        if value.device != self.device:  # moving it would wait
            raise ValueError(f"{column}: a tensor on {value.device}, and the buffer is on {self.device}")
        self._check_kind(column, value.dtype, _kind(value.dtype))

    def _check_kind(self, column: str, given: object, kind: int) -> None:
        if kind > _kind(self.dtype):
            raise TypeError(f"{column}: {given} does not become {self.dtype}")

    def _write(self, rows: torch.Tensor) -> None:
        if torch.compiler.is_compiling():  # a lock cannot be compiled
            self._queue(rows)
        else:
            with QUEUEING:
                self._queue(rows)

    def _queue(self, rows: torch.Tensor) -> None:
        positions = self._memory.counters[:1]
        if rows.shape[0] != 1:
            positions = positions + torch.arange(rows.shape[0], device=rows.device)
        # Beyond the capacity: to the spare row. An index out of bounds would end the device's context.
        self._memory.rows.index_copy_(0, positions.clamp(max=self.capacity), rows)
        self._memory.counters[:2].add_(rows.shape[0])

    def snapshot(self) -> tuple[torch.Tensor, torch.Tensor]:
        """On the device: a copy of the counters, (3,) int64, and the rows themselves, (capacity, columns).

        Whoever calls this holds `QUEUEING` until a copy of the rows, and `forget`, are queued.
        """
        return self._memory.counters.clone(), self._memory.rows[: self.capacity]

    def forget(self, counters: torch.Tensor) -> None:
        """Queue what makes the buffer empty after a snapshot with these counters."""
        self._memory.counters[:1].zero_()
        self._memory.counters[2:].copy_(counters[1:2])
        self._reserved = 0

    def received(self, counters: torch.Tensor, rows: torch.Tensor) -> Rows:
        """The rows of a snapshot that has arrived on the host."""
        written, total, flushed = counters.tolist()
        kept = min(written, self.capacity)
        # A row that compiled code wrote between a snapshot and its forget() is in the total alone.
        return Rows(self.columns, rows[:kept].clone(), max(written, total - flushed) - kept)


def _kind(dtype: torch.dtype) -> int:
    """A dtype's place in torch's promotion; what `torch.can_cast` asks, which cannot be compiled."""
    if dtype.is_complex:
        return 3
    if dtype.is_floating_point:
        return 2
    return 0 if dtype is torch.bool else 1


def _kind_of_number(value: Number) -> int:
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return 1
    if isinstance(value, float):
        return 2
    if isinstance(value, complex):
        return 3
    raise TypeError(f"{type(value).__name__} is neither a tensor nor a number")


def flush_all(buffers: Sequence[DeviceBuffer]) -> list[Rows]:
    """Flush several buffers, in one transfer for each device that they are on.

    Raises:
        BufferFull: any of them has lost rows. All are empty, and what they held is in the exception, as a list.
        RuntimeError: this is compiled code.
    """
    rows = collect(buffers, empty=True)
    check(buffers, rows, kept=rows)
    return rows


def reserve_all(buffers: Sequence[DeviceBuffer], rows: int) -> None:
    """`DeviceBuffer.reserve` for several buffers, so many rows each; one transfer for each device if they must move."""
    for buffer in buffers:
        if rows > buffer.capacity:
            raise ValueError(f"{rows} rows never fit into a buffer of {buffer.capacity}")
    full = [buffer for buffer in buffers if buffer._reserved + rows > buffer.capacity]
    for buffer in full:
        if buffer.on_full == "error":
            raise BufferFull(f"{buffer._reserved} of {buffer.capacity} rows are reserved, {rows} more do not fit")
    if full:
        moved = collect(buffers, empty=True)
        for buffer, found in zip(buffers, moved, strict=True):
            buffer._on_host = [found]
    for buffer in buffers:
        buffer._reserved += rows


def collect(buffers: Sequence[DeviceBuffer], *, empty: bool) -> list[Rows]:
    """What the buffers hold, in one transfer for each device. Rows that were lost are counted; that raises nothing."""
    if torch.compiler.is_compiling():
        raise RuntimeError("a buffer is read after the pass, not in compiled code")
    groups: dict[torch.device, list[int]] = {}
    for index, buffer in enumerate(buffers):
        groups.setdefault(buffer.device, []).append(index)
    packed: list[Packed] = []
    with QUEUEING:
        for group in groups.values():
            snapshots = [buffers[index].snapshot() for index in group]
            packed.append(pack([part for snapshot in snapshots for part in snapshot]))
            if empty:
                for index, (counters, _) in zip(group, snapshots, strict=True):
                    buffers[index].forget(counters)
    rows: dict[int, Rows] = {}
    for group, one in zip(groups.values(), packed, strict=True):
        parts = iter(unpack(one.data.cpu(), one.layout))  # the one transfer
        for index in group:
            rows[index] = _joined(buffers[index], buffers[index].received(next(parts), next(parts)), empty)
    return [rows[index] for index in range(len(buffers))]


def _joined(buffer: DeviceBuffer, found: Rows, empty: bool) -> Rows:
    """What `reserve()` moved to the host, and then what was found."""
    parts = [*buffer._on_host, found]
    if empty:
        buffer._on_host = []
    if len(parts) == 1:
        return found
    return Rows(found.columns, torch.cat([part.values for part in parts]), sum(part.lost for part in parts))


def check(buffers: Sequence[DeviceBuffer], rows: Sequence[Rows], kept: Any) -> None:
    """Raise `BufferFull`, with `kept` in it, if rows were lost."""
    lost = sum(one.lost for one in rows)
    if lost:
        sizes = ", ".join(sorted({str(buffer.capacity) for buffer in buffers}))
        raise BufferFull(
            f"{lost} of {lost + sum(map(len, rows))} rows did not fit (capacity: {sizes}): flush more often, reserve() "
            "between passes, or give it more capacity",
            lost,
            kept,
        )


class Packed(NamedTuple):
    """Tensors of one device as one tensor of bytes, and how to take them apart."""

    data: torch.Tensor
    layout: tuple[tuple[int, int, torch.dtype, tuple[int, ...]], ...]  # first byte, end, dtype, shape


def pack(tensors: Sequence[torch.Tensor]) -> Packed:
    """Put tensors of one device into one, in their own bytes: (bytes,) uint8, a copy."""
    # The widest first: then each begins at a multiple of its own width, and the host can look at it without a copy.
    order = sorted(range(len(tensors)), key=lambda index: -tensors[index].element_size())
    places: dict[int, tuple[int, int, torch.dtype, tuple[int, ...]]] = {}
    end = 0
    for index in order:
        one = tensors[index]
        start, end = end, end + one.numel() * one.element_size()
        places[index] = (start, end, one.dtype, tuple(one.shape))
    data = torch.cat([tensors[index].detach().reshape(-1).view(torch.uint8) for index in order])
    return Packed(data, tuple(places[index] for index in range(len(tensors))))


def unpack(host: torch.Tensor, layout: Sequence[tuple[int, int, torch.dtype, tuple[int, ...]]]) -> list[torch.Tensor]:
    """The tensors that were packed, as views of `host`, in their order."""
    return [host[start:end].view(dtype).view(shape) for start, end, dtype, shape in layout]
