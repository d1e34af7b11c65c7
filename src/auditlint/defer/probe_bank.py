"""Linear probes on a model's layers: one small matmul a layer inside the pass, one transfer for all readouts.

All probes of a layer are packed into one weight matrix, so a thousand of them cost one kernel instead of a thousand.
The readouts go to a buffer on the device, so that nothing waits, and hooks survive torch.compile and CUDA graphs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch

from auditlint.defer.buffer import QUEUEING, BufferFull, OnFull
from auditlint.defer.layer_buffers import device_of, first_tensor, named_layer
from auditlint.defer.probe_export import Export, Shipment, Streams, ship
from auditlint.defer.probe_matrix import Probe, ProbeMatrix

Positions: TypeAlias = Literal["last", "all"] | Callable[[torch.Tensor], torch.Tensor]
Weight: TypeAlias = torch.Tensor | tuple[torch.Tensor, torch.Tensor | float]


class Reader:
    """A forward hook that reads one layer's probes; `active` outlives the handle, for code compiled with the hook."""

    def __init__(self, positions: Positions, matrix: ProbeMatrix) -> None:
        self.positions = positions
        self.matrix = matrix
        self.active = False

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if not self.active:
            return
        hidden = first_tensor(output).detach()
        if callable(self.positions):
            hidden = self.positions(hidden)
        elif self.positions == "last":
            if hidden.dim() < 2:
                raise ValueError(f"an output of shape {tuple(hidden.shape)} has no tokens to take the last of")
            hidden = hidden[..., -1, :]
        if torch.compiler.is_compiling():  # a lock cannot be compiled
            self.matrix.read(hidden)
        else:
            # An edit, or a new matrix, between the product and the count would be a readout too early, or one lost.
            with QUEUEING:
                self.matrix.read(hidden)

    def __deepcopy__(self, memo: Any) -> Reader:
        """Itself: the probes of a copied model go on reading here, and no longer than this one's."""
        return self


class ProbeBank:
    """Named linear probes on the outputs of a model's layers.

    `capacity` is the number of readouts that each layer holds until they are exported. `positions` selects what is
    read of an output of shape (..., tokens, width): `"last"` the last token of each sequence, `"all"` every token, or
    a function from the output to (..., width), for instance where sequences are padded on the right.

    Weights are kept, and products are computed, in `dtype`, float32 unless told otherwise. Activations in half
    precision are converted to it first, whatever autocast says, so a readout has the error of a dot product in it:
    at most `(width + 1) * u * (sum(|hidden * weight|) + |bias|)` to first order, u = 2**-24 for float32 (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1), where torch may not use TF32 for float32 products.
    With a half `dtype`, activations, weights and readouts are rounded to it, and what the sum is accumulated in is up
    to the device's library.

    `on_full` is as for `DeviceBuffer`: nothing is dropped silently.

    Threads: in eager code, passes, edits and exports of several threads are kept apart, on one stream. Compiled code
    and CUDA graphs run without a lock: one pass at a time, and edits and exports between passes.

    Raises:
        ValueError: a capacity below 1, positions that do not exist, or a dtype that is not a floating-point one.
    """

    def __init__(
        self,
        capacity: int = 1024,
        *,
        positions: Positions = "last",
        dtype: torch.dtype = torch.float32,
        on_full: OnFull = "error",
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a bank holds at least one readout of each probe, not {capacity}")
        if not callable(positions) and positions not in ("last", "all"):
            raise ValueError(f'positions is "last", "all" or a function, not {positions!r}')
        if not dtype.is_floating_point:
            raise ValueError(f"probes compute in a floating-point dtype, not in {dtype}")
        if on_full not in ("error", "flush"):
            raise ValueError(f'on_full is "error" or "flush", not {on_full!r}')
        self.capacity = capacity
        self.positions = positions
        self.dtype = dtype
        self.on_full = on_full
        self._device: torch.device | None = None  # None: wherever the layer is
        self._probes: dict[str, Probe] = {}
        self._readers: dict[str, Reader] = {}
        self._retired: list[ProbeMatrix] = []  # replaced since the last export
        self._shipments: list[Shipment] = []  # sent by reserve()
        self._streams: Streams = {}
        self._reserved = 0
        self._attached = False
        self._first = False  # nothing has been exported since the bank was attached

    @property
    def probes(self) -> Mapping[str, Probe]:
        """The probes by name, in the order in which they were added."""
        return dict(self._probes)

    def add(self, layer: str, name: str, weight: torch.Tensor, bias: torch.Tensor | float = 0.0) -> None:
        """Add one probe to a layer, by the layer's name in the model; see `add_all`."""
        self.add_all(layer, {name: (weight, bias)})

    def add_all(self, layer: str, weights: Mapping[str, Weight]) -> None:
        """Add probes to a layer: by name, a weight of shape (width,), or a pair of weight and bias. They are copied.

        This is possible between two passes while the bank is attached, if the layer had a probe before. Compiled code
        and captured CUDA graphs stay as they are until the layer's matrix has to grow; it has room for the next power
        of two. After that, compiled code is compiled anew, and graphs have to be captured anew.

        Raises:
            RuntimeError: the bank is attached and the layer has no hook: compiled code would never call a new one.
            ValueError: a name that is taken, a weight that is not a vector, or not as wide as the layer's others.
        """
        if not weights:
            return
        added = [self._probe(layer, name, weight) for name, weight in weights.items()]
        widths = {len(probe.weight) for probe in (*self._of(layer), *added)}
        if len(widths) > 1:
            raise ValueError(f"layer {layer!r}: probes of {' and '.join(map(str, sorted(widths)))} weights")
        reader = self._readers.get(layer)
        if self._attached and (reader is None or not reader.active):
            raise RuntimeError(f"layer {layer!r} has no hook: give it a first probe before the bank is attached")
        with QUEUEING:
            self._probes.update((probe.name, probe) for probe in added)
            if reader is not None and not (reader.matrix.width in widths and reader.matrix.put(added)):
                self._renew(layer, reader)

    def remove(self, *names: str) -> None:
        """Remove probes, between two passes. What they have read is still in the next export.

        Raises:
            KeyError: there is no probe of that name; none is removed.
        """
        for name in names:
            if name not in self._probes:
                raise KeyError(f"there is no probe {name!r}")
        with QUEUEING:
            for name in dict.fromkeys(names):
                reader = self._readers.get(self._probes.pop(name).layer)
                if reader is not None:
                    reader.matrix.remove(name)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ProbeBank:
        """Compute on another device or in another dtype from the next pass on; returns the bank.

        Without a device, each layer's matrix is where the layer's parameters were when the bank was attached.

        Raises:
            ValueError: the dtype is not a floating-point one.
        """
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"probes compute in a floating-point dtype, not in {dtype}")
        with QUEUEING:
            self._device = self._device if device is None else torch.device(device)
            self.dtype = self.dtype if dtype is None else dtype
            for name, probe in self._probes.items():
                weight, bias = (one.to(device=self._device, dtype=self.dtype) for one in (probe.weight, probe.bias))
                self._probes[name] = replace(probe, weight=weight, bias=bias)
            for layer, reader in self._readers.items():
                self._renew(layer, reader)
        return self

    @contextlib.contextmanager
    def attach(self, model: torch.nn.Module) -> Iterator[ProbeBank]:
        """Read the probes in each forward pass of the model during the block.

        Attach before compiled code runs for the first time: torch.compile does not see hooks that are added later.
        The hooks are removed at the end of the block, after exceptions too; readouts stay until they are exported.

        Raises:
            RuntimeError: the bank is attached already; each model has a bank of its own.
            ValueError: there are no probes, or one is on a layer that the model does not have.
        """
        if self._attached:
            raise RuntimeError("the bank is attached to a model already; use one bank for each model")
        if not self._probes:
            raise ValueError("the bank has no probes")
        layers = {name: named_layer(model, name) for name in dict.fromkeys(it.layer for it in self._probes.values())}
        with contextlib.ExitStack() as undo:
            self._attached = self._first = True
            undo.callback(setattr, self, "_attached", False)
            for name, layer in layers.items():
                reader = self._reader(name, device_of(layer, model))
                reader.active = True
                undo.callback(setattr, reader, "active", False)
                undo.callback(layer.register_forward_hook(reader).remove)
            yield self

    def reserve(self, readouts: int) -> None:
        """Between two passes: make sure that each layer has room for so many readouts of each probe.

        This asks the host's own account of what was reserved since the last export, not the device. If they might not
        fit, `on_full="flush"` begins to send what there is, for the next `export()`.

        Raises:
            BufferFull: with `on_full="error"`, they might not fit. Nothing is lost.
            ValueError: the bank never holds so many.
        """
        if readouts > self.capacity:
            raise ValueError(f"{readouts} readouts never fit into a bank of {self.capacity}")
        if self._reserved + readouts > self.capacity:
            if self.on_full == "error":
                raise BufferFull(f"{self._reserved} of {self.capacity} are reserved, {readouts} more do not fit")
            self._ship()
        self._reserved += readouts

    def export(self) -> Export:
        """Begin to send all readouts since the last export to the host, and forget them here; nothing waits.

        One transfer for each device. On CUDA it runs on a stream of its own into pinned memory; elsewhere it happens
        when the result is asked for. Call it on the stream of the passes, between two of them.
        """
        with QUEUEING:
            self._ship()
            shipments, self._shipments = self._shipments, []
            first, self._first = self._first, False
            return Export(shipments, tuple(self._probes), self.dtype, first)

    def state_dict(self) -> dict[str, Any]:
        """Probes and settings, for `torch.save`; without readouts. Of positions that are a function: None."""
        return {
            "capacity": self.capacity,
            "positions": None if callable(self.positions) else self.positions,
            "dtype": self.dtype,
            "on_full": self.on_full,
            "probes": [
                {"name": probe.name, "layer": probe.layer, "weight": probe.weight, "bias": probe.bias}
                for probe in self._probes.values()
            ],
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], positions: Positions | None = None) -> ProbeBank:
        """A bank as it was saved.

        Raises:
            ValueError: its positions were a function, which is not saved, and none are given.
        """
        chosen = positions or state["positions"]
        if chosen is None:
            raise ValueError("the saved positions were a function: give them again")
        bank = cls(state["capacity"], positions=chosen, dtype=state["dtype"], on_full=state["on_full"])
        for probe in state["probes"]:
            bank.add(probe["layer"], probe["name"], probe["weight"], probe["bias"])
        return bank

    def _probe(self, layer: str, name: str, given: Weight) -> Probe:
        weight, bias = given if isinstance(given, tuple) else (given, 0.0)
        if name in self._probes:
            raise ValueError(f"there is a probe {name!r} already, on layer {self._probes[name].layer!r}")
        if weight.dim() != 1 or not len(weight):
            raise ValueError(f"probe {name!r}: a weight of shape {tuple(weight.shape)}, not (width,)")
        device = self._device or weight.device
        with torch.inference_mode(False):
            kept = weight.detach().to(device=device, dtype=self.dtype, copy=True)
            offset = torch.as_tensor(bias).detach().to(device=device, dtype=self.dtype, copy=True)
        if offset.numel() != 1:
            raise ValueError(f"probe {name!r}: a bias of shape {tuple(offset.shape)}, not one number")
        return Probe(name, layer, kept, offset.reshape(()))

    def _of(self, layer: str) -> list[Probe]:
        return [probe for probe in self._probes.values() if probe.layer == layer]

    def _reader(self, layer: str, device: torch.device) -> Reader:
        reader = self._readers.get(layer)
        if reader is None:
            matrix = self._matrix(layer, 0, self._device or device)
            reader = self._readers[layer] = Reader(self.positions, matrix)
        elif reader.matrix.device != (self._device or device):
            self._renew(layer, reader, self._device or device)
        return reader

    def _renew(self, layer: str, reader: Reader, device: torch.device | None = None) -> None:
        """A new matrix for a layer's probes; the old one keeps its readouts until the next export."""
        old = reader.matrix
        self._retired.append(old)
        reader.matrix = self._matrix(layer, old.width, device or self._device or old.device)

    def _matrix(self, layer: str, width: int, device: torch.device) -> ProbeMatrix:
        probes = self._of(layer)
        width = len(probes[0].weight) if probes else width
        slots = max(8, 1 << len(probes).bit_length())  # room for one more, at least
        matrix = ProbeMatrix(slots, width, self.capacity, self.dtype, device)
        matrix.put(probes)
        return matrix

    def _ship(self) -> None:
        with QUEUEING:
            matrices = [*self._retired, *(reader.matrix for reader in self._readers.values())]
            self._retired = []
            self._reserved = 0
            self._shipments += ship(matrices, self._streams)
