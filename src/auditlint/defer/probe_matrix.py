"""The probes of one layer, packed: one weight matrix, one buffer of readouts, and which row of them is whose."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from auditlint.defer.buffer import DeviceBuffer, Rows

_END = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear readout `hidden @ weight + bias` of one layer; `weight` is (width,), `bias` has no dimensions."""

    name: str
    layer: str
    weight: torch.Tensor
    bias: torch.Tensor


class Held(NamedTuple):
    """Which probe a slot's readouts belong to, as it was when a snapshot was taken."""

    probe: str
    slot: int


class ProbeMatrix:
    """Up to `slots` probes of one layer on one device, and their readouts: (slots, width) and (capacity, slots).

    Probes come and go by writing to their slots, so that addresses and shapes stay what compiled code and CUDA graphs
    have seen. From which readout on a slot is a probe's, and up to which, is noted on the device, where the count is.
    """

    def __init__(self, slots: int, width: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.slots = slots
        self.width = width
        self.buffer = DeviceBuffer([str(slot) for slot in range(slots)], capacity, dtype=dtype, device=device)
        self.device = self.buffer.device
        self.dtype = dtype
        self._held: dict[str, int] = {}
        self._left: list[Held] = []  # removed since the last snapshot
        self._free = list(range(slots))
        self._memory = torch.nn.Module()  # a module for the same reason as in DeviceBuffer
        with torch.inference_mode(False):
            for name, shape in (("weight", (slots, width)), ("bias", (slots,))):
                self._memory.register_buffer(name, torch.zeros(shape, dtype=dtype, device=device))
            spans = torch.zeros((2, slots), dtype=torch.int64, device=device)
            spans[1].fill_(_END)
            self._memory.register_buffer("spans", spans)  # each slot's first readout, and the end
        self._edited = False

    def put(self, probes: Sequence[Probe]) -> bool:
        """Give each probe a free slot, from the next readout on; False, and nothing done, when there are too few."""
        if len(probes) > len(self._free):
            return False
        if not probes:
            return True
        slots = [self._free.pop(0) for _ in probes]
        self._held.update((probe.name, slot) for probe, slot in zip(probes, slots, strict=True))
        places = torch.tensor(slots, device=self.device)
        memory = self._memory
        memory.weight.index_copy_(0, places, _stacked([probe.weight for probe in probes], self.device))
        memory.bias.index_copy_(0, places, _stacked([probe.bias for probe in probes], self.device))
        memory.spans[0].index_copy_(0, places, self.buffer.written.expand(len(slots)))
        memory.spans[1].index_fill_(0, places, _END)
        self._edited = True
        return True

    def remove(self, name: str) -> None:
        """End a probe with the last readout; its slot is free after the next snapshot."""
        slot = self._held.pop(name)
        self._left.append(Held(name, slot))
        self._memory.weight[slot].zero_()
        self._memory.bias[slot].zero_()
        self._memory.spans[1, slot : slot + 1].copy_(self.buffer.written)
        self._edited = True

    def read(self, hidden: torch.Tensor) -> None:
        """Write the readouts of activations (..., width), in the order of the leading dimensions.

        Raises:
            ValueError: activations of another width, or on another device.
        """
        if hidden.device != self.device:
            raise ValueError(
                f"activations on {hidden.device}, and the probes are on {self.device}: move them with to()"
            )
        if hidden.shape[-1] != self.width:
            raise ValueError(f"activations of width {hidden.shape[-1]} for probes of {self.width} weights")
        rows = hidden.reshape(-1, self.width).to(self.dtype)
        kind = self.device.type
        lowered = torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=False) if lowered else contextlib.nullcontext():
            self.buffer.extend(torch.nn.functional.linear(rows, self._memory.weight, self._memory.bias))

    def snapshot(self) -> tuple[tuple[torch.Tensor, ...], list[Held]]:
        """What an export needs, on the device, and whose the slots are; see `DeviceBuffer.snapshot`."""
        parts = (*self.buffer.snapshot(), self._memory.spans)
        return parts, [*self._left, *(Held(name, slot) for name, slot in self._held.items())]

    def forget(self, counters: torch.Tensor) -> None:
        """Queue what makes it empty after a snapshot with these counters."""
        self.buffer.forget(counters)
        if self._edited:
            self._memory.spans[0].zero_()  # the ends of slots that were left are set when they are given again
            self._edited = False
        self._free += [held.slot for held in self._left]
        self._left = []


def received(
    matrix: ProbeMatrix, held: Sequence[Held], counters: torch.Tensor, rows: torch.Tensor, spans: torch.Tensor
) -> tuple[Rows, list[tuple[str, torch.Tensor]]]:
    """A snapshot that has arrived on the host: all of its rows, and each probe's readouts, (readouts,)."""
    found = matrix.buffer.received(counters, rows)
    by_slot = found.values.t().contiguous()
    columns, count = by_slot.unbind(), by_slot.shape[1]
    starts, ends = spans.tolist()

    def readouts(slot: int) -> torch.Tensor:
        start, end = starts[slot], ends[slot]
        return columns[slot] if (start, end) == (0, count) else columns[slot][start:end]

    return found, [(probe, readouts(slot)) for probe, slot in held]


def _stacked(tensors: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Tensors of one shape as one on the device, in one copy if they are on one device already."""
    if len({tensor.device for tensor in tensors}) > 1:
        tensors = [tensor.to(device) for tensor in tensors]
    return torch.stack(tuple(tensors)).to(device)
