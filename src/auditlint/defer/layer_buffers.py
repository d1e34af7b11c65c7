"""Recording a statistic of a model's layers into device buffers, by forward hooks that compiled code may contain."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from auditlint.defer.buffer import DeviceBuffer, Number, OnFull, Rows, check, collect, reserve_all

Statistic = Callable[[torch.Tensor], torch.Tensor | Sequence[torch.Tensor | Number]]

NOTHING_RECORDED = (
    "no attached layer has recorded anything yet: the model was not called, or torch.compile had compiled it before "
    "and does not see hooks that are added later (attach first, or call torch.compiler.reset() after attaching)"
)


class LayerBuffers(Mapping[str, DeviceBuffer]):
    """One buffer for each attached layer, by the layer's name; all are read in one transfer for each device."""

    def __init__(self, buffers: dict[str, DeviceBuffer]) -> None:
        self._buffers = buffers
        self._recorded = False

    def __getitem__(self, layer: str) -> DeviceBuffer:
        return self._buffers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._buffers)

    def __len__(self) -> int:
        return len(self._buffers)

    def flush(self) -> dict[str, Rows]:
        """Each layer's rows; all buffers are empty afterwards.

        Warns (RuntimeWarning) when nothing was recorded since the layers were attached.

        Raises:
            BufferFull: rows were lost; the others are in the exception, by layer.
        """
        buffers = list(self._buffers.values())
        rows = collect(buffers, empty=True)
        self._recorded = self._recorded or any(map(len, rows))
        if not self._recorded:
            warnings.warn(NOTHING_RECORDED, RuntimeWarning, stacklevel=2)
        found = dict(zip(self._buffers, rows, strict=True))
        check(buffers, rows, kept=found)
        return found

    def reserve(self, rows: int) -> None:
        """As `DeviceBuffer.reserve`, so many rows for each layer."""
        reserve_all(list(self._buffers.values()), rows)


class Recorder:
    """A forward hook that writes one row; `active` outlives the handle, for code that was compiled with the hook."""

    def __init__(self, statistic: Statistic, buffer: DeviceBuffer) -> None:
        self.statistic = statistic
        self.buffer = buffer
        self.active = True

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if not self.active:
            return
        with torch.no_grad():
            found = self.statistic(first_tensor(output))
        values = (found,) if isinstance(found, torch.Tensor) else found
        self.buffer.append(*values)

    def __deepcopy__(self, memo: Any) -> Recorder:
        """Itself: a copied model goes on recording here, and no longer than this one."""
        return self


@contextlib.contextmanager
def attach(
    model: torch.nn.Module,
    layers: str | Sequence[str],
    statistic: Statistic,
    *,
    columns: str | Sequence[str] = "value",
    capacity: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    on_full: OnFull = "error",
) -> Iterator[LayerBuffers]:
    """Record `statistic(output)` of each layer in each forward pass, into one `DeviceBuffer` a layer.

    `layers` are names of submodules, or patterns of names (`"blocks.*"`). `statistic` gets the layer's output, the
    first tensor of it if there are several, and returns one value for each column; it runs without gradients. The
    buffer is on the device of the layer's parameters, unless `device` names another.

    Attach before compiled code runs for the first time: torch.compile does not see hooks that are added later. The
    hooks are removed at the end of the block, after exceptions too; the buffers stay readable.

    Raises:
        ValueError: a name or pattern that is no layer's.
    """
    found = matching_layers(model, layers)
    buffers = {
        name: DeviceBuffer(columns, capacity, dtype=dtype, device=device or device_of(layer, model), on_full=on_full)
        for name, layer in found.items()
    }
    with contextlib.ExitStack() as undo:
        for name, layer in found.items():
            recorder = Recorder(statistic, buffers[name])
            undo.callback(setattr, recorder, "active", False)
            undo.callback(layer.register_forward_hook(recorder).remove)
        yield LayerBuffers(buffers)


def matching_layers(model: torch.nn.Module, layers: str | Sequence[str]) -> dict[str, torch.nn.Module]:
    """The submodules whose names are given, or match a pattern; in the model's order.

    Raises:
        ValueError: a name or pattern that is no layer's.
    """
    named = _named(model)
    chosen: dict[torch.nn.Module, None] = {}  # a layer that has two names is hooked once
    for wanted in (layers,) if isinstance(layers, str) else layers:
        matching = [wanted] if wanted in named else [name for name in named if fnmatch.fnmatchcase(name, wanted)]
        if not matching:
            raise _no_such(wanted, named)
        chosen.update((named[name], None) for name in matching)
    first_names = {module: name for name, module in reversed(named.items())}
    return {first_names[module]: module for module in named.values() if module in chosen}


def named_layer(model: torch.nn.Module, name: str) -> torch.nn.Module:
    """The submodule of that name.

    Raises:
        ValueError: there is none.
    """
    named = _named(model)
    if name not in named:
        raise _no_such(name, named)
    return named[name]


def _named(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    # In a compiled model, layers keep the names that they have in the model itself.
    return dict(getattr(model, "_orig_mod", model).named_modules(remove_duplicate=False))


def _no_such(name: str, named: Mapping[str, torch.nn.Module]) -> ValueError:
    near = difflib.get_close_matches(name, named, n=1)
    return ValueError(f"no layer is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def device_of(layer: torch.nn.Module, model: torch.nn.Module) -> torch.device:
    """Where a layer computes: the device of its first parameter or buffer, else of the model's, else the CPU."""
    for module in (layer, model):
        for tensors in (module.parameters(), module.buffers()):
            for tensor in tensors:
                return tensor.device
    return torch.device("cpu")


def first_tensor(output: Any) -> torch.Tensor:
    """A layer's output, or the first of several, in a tuple, list or dict.

    Raises:
        TypeError: there is no tensor at that place.
    """
    first = output
    if isinstance(output, dict):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)) and output:
        first = output[0]
    if not isinstance(first, torch.Tensor):
        raise TypeError(f"a layer returned {type(first).__name__} where its first tensor should be")
    return first
