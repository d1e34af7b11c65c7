"""Bringing readouts to the host: begun without waiting where the device can copy on its own, read when wanted."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from auditlint.defer.buffer import QUEUEING, BufferFull, Packed, pack, unpack
from auditlint.defer.layer_buffers import NOTHING_RECORDED
from auditlint.defer.probe_matrix import Held, ProbeMatrix, received

# Devices that copy to pinned memory on a stream of its own. MPS is not one: torch has open reports of wrong values.
ASYNCHRONOUS = frozenset(("cuda",))

Streams = dict[torch.device, Any]


class Transfer:
    """One copy from one device to the host."""

    def __init__(self, packed: Packed, streams: Streams) -> None:
        self._packed = packed
        self._event: Any = None
        self._host: torch.Tensor | None = None
        device = packed.data.device
        if device.type in ASYNCHRONOUS:
            self._begin(packed.data, device, streams)

    def _begin(self, data: torch.Tensor, device: torch.device, streams: Streams) -> None:
        module: Any = torch.get_device_module(device)
        side = streams.get(device)
        if side is None:
            side = streams[device] = module.Stream(device)
        # torch keeps pinned memory that is freed, so only the first export of a size allocates it.
        self._host = torch.empty(data.shape, dtype=torch.uint8, device="cpu", pin_memory=True)
        side.wait_stream(module.current_stream(device))
        with module.stream(side):
            self._host.copy_(data, non_blocking=True)
            # An export may be dropped unread: the memory is not given to anybody else before the copy is done.
            data.record_stream(side)
            self._event = module.Event()
            self._event.record(side)

    def done(self) -> bool:
        """Whether `wait()` would return at once."""
        if self._event is not None:
            return bool(self._event.query())
        return self._host is not None or self._packed.data.device.type == "cpu"

    def wait(self) -> list[torch.Tensor]:
        """The tensors that were packed, on the host."""
        if self._event is not None:
            self._event.synchronize()
        if self._host is None:
            self._host = self._packed.data.cpu()
        return unpack(self._host, self._packed.layout)


class Shipment(NamedTuple):
    """What one device sends in one transfer: the snapshots of some matrices."""

    transfer: Transfer
    matrices: list[tuple[ProbeMatrix, list[Held]]]


def ship(matrices: Sequence[ProbeMatrix], streams: Streams) -> list[Shipment]:
    """Begin one transfer for each device that the matrices are on, and make them empty, without waiting."""
    groups: dict[torch.device, list[ProbeMatrix]] = {}
    for matrix in matrices:
        groups.setdefault(matrix.device, []).append(matrix)
    packed: list[tuple[Packed, list[tuple[ProbeMatrix, list[Held]]]]] = []
    with QUEUEING:
        for group in groups.values():
            snapshots = [matrix.snapshot() for matrix in group]
            data = pack([part for parts, _ in snapshots for part in parts])
            packed.append((data, [(matrix, held) for matrix, (_, held) in zip(group, snapshots, strict=True)]))
            for matrix, (parts, _) in zip(group, snapshots, strict=True):
                matrix.forget(parts[0])
    return [Shipment(Transfer(data, streams), members) for data, members in packed]


class Export:
    """Readouts on their way to the host."""

    def __init__(
        self,
        shipments: Sequence[Shipment],
        probes: Sequence[str],
        dtype: torch.dtype,
        first: bool,
    ) -> None:
        self._shipments = list(shipments)
        self._probes = tuple(probes)
        self._dtype = dtype
        self._first = first
        self._lock = threading.Lock()
        self._result: dict[str, torch.Tensor] | None = None
        self._lost = 0

    def done(self) -> bool:
        """Whether `result()` would return without waiting. Where the device does not copy on its own: not before it
        has been called."""
        return self._result is not None or all(shipment.transfer.done() for shipment in self._shipments)

    def result(self) -> dict[str, torch.Tensor]:
        """Each probe's readouts since the last export, by name: (readouts,) on the host, in the bank's dtype.

        They come in the order of the passes, and within a pass in that of the output's leading dimensions. Probes that
        were removed since the last export are among them; a probe that read nothing has an empty tensor. The host waits
        once for each device; another call gives the same tensors.

        Warns (RuntimeWarning) when this is the first export since the bank was attached and nothing has been read.

        Raises:
            BufferFull: readouts were lost; the others are in the exception, as what this would have returned.
        """
        with self._lock:
            if self._result is None:
                self._result = self._arrived()
                if self._first and not any(map(len, self._result.values())):
                    warnings.warn(NOTHING_RECORDED, RuntimeWarning, stacklevel=2)
        if self._lost:
            raise BufferFull(
                f"{self._lost} rows of readouts did not fit: export more often, reserve() between passes, or give the "
                "bank more capacity",
                self._lost,
                self._result,
            )
        return self._result

    def _arrived(self) -> dict[str, torch.Tensor]:
        self._lost = 0
        pieces: dict[str, list[torch.Tensor]] = {name: [] for name in self._probes}
        for transfer, matrices in self._shipments:
            parts = iter(transfer.wait())
            for matrix, held in matrices:
                rows, readouts = received(matrix, held, next(parts), next(parts), next(parts))
                self._lost += rows.lost
                for name, values in readouts:
                    pieces.setdefault(name, []).append(values)
        self._shipments = []
        nothing = torch.empty(0, dtype=self._dtype)
        # There may be thousands: one tensor stays the part of the transfer that it is.
        return {
            name: values[0] if len(values) == 1 else torch.cat(values or [nothing]) for name, values in pieces.items()
        }
