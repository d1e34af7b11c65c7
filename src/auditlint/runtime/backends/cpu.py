"""The CPU backend: counts what would wait on a device, on a machine that has none.

Tensors on the CPU stand for tensors on a device. Kernels that read a value, or whose result's size depends on the
data, are overridden on the CPU's dispatch key; methods that copy to the host are no-ops here and are watched by name.
What such a copy returns is host data from then on: it is a `HostTensor`, and reading it is free.
"""

from __future__ import annotations

import contextlib
import copy
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import torch

from auditlint.runtime import positions
from auditlint.runtime.backends import Backend
from auditlint.runtime.patches import Patches
from auditlint.runtime.report import Environment
from auditlint.runtime.watch import Watch

# Kernels that make the host wait on CUDA, too (facts/syncs.py has the evidence).
READS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "bincount",
    "repeat_interleave.Tensor",
    "histc",
    "mode",
)
# Kernels that read a value on the CPU and none on a device.
QUIET = ("_assert_async", "_assert_async.msg", "std.correction", "var.correction", "linalg_lu_solve.out")
# Functions of several kernels that read a value only if the tensor is on the CPU.
CPU_ONLY = frozenset({"torch.quantile", "Tensor.quantile", "torch.nanquantile", "Tensor.nanquantile"})
# What makes some of them read nothing on a device: a range, or a size, that is given.
_UNLESS: dict[str, Callable[[Sequence[Any], Mapping[str, Any]], bool]] = {
    "histc": lambda args, kwargs: args[2:4] != (0, 0) and len(args) > 3,
    "repeat_interleave.Tensor": lambda args, kwargs: kwargs.get("output_size") is not None,
}
# Methods that copy the whole tensor to the host, or let it be read there; no kernel tells of them.
WHOLE = {"tolist": "tolist", "numpy": "numpy", "__array__": "numpy", "__dlpack__": "numpy"}
# An optimizer keeps its step counters on the host.
HOST_CODE = ("/torch/optim/", "\\torch\\optim\\")

BLIND_SPOTS = (
    "Counted on the CPU: each is a read that would wait on a device, none was waited for here.",
    "Copies from the host to a device cannot be seen: every tensor is on the CPU.",
    "`.to(device)` counts where the call's text names the CPU; with a device in a variable it cannot be told.",
    "A tensor made from host data stands for one on a device until `.cpu()` has been called on it.",
    "What `.cpu()` makes of a parameter, or of a tensor of another class, goes on standing for one on a device.",
    "Moving a whole module to the CPU (`module.cpu()`) is not counted, nor are copies into tensors made on it.",
    "Waiting for a device by name (`torch.cuda.synchronize()`) is counted where it is called, never measured.",
    "What only a device's own kernels wait for (sparse tensors, allocator, collectives) is not seen.",
)


class HostTensor(torch.Tensor):
    """A tensor that has been copied to the host; what is computed from such tensors alone is on the host, too."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            on_host = _all_on_host((*args, *kwargs.values()))
            with _muting() if on_host else contextlib.nullcontext():
                result = func(*args, **kwargs)
            unwrapped = not on_host or func in torch.overrides.get_default_nowrap_functions()
            return result if unwrapped else _arrived(result)

    def __repr__(self, *args: Any, **kwargs: Any) -> str:
        with _muting():
            return str(torch.Tensor.__repr__(self.as_subclass(torch.Tensor), *args, **kwargs))

    def __format__(self, spec: str) -> str:
        # The stock method formats the value only if the type is exactly Tensor.
        with _muting():
            return str(torch.Tensor.__format__(self.as_subclass(torch.Tensor), spec))

    def __reduce_ex__(self, protocol: Any) -> Any:
        with _muting():
            return self.as_subclass(torch.Tensor).__reduce_ex__(protocol)


def _all_on_host(values: tuple[Any, ...]) -> bool:
    """Whether an operation on these takes place on the host. A tensor without dimensions follows the others."""
    operands = list(_tensors(values))
    return all(isinstance(it, HostTensor) for it in [it for it in operands if it.dim()] or operands)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


# The watch that counts at the moment: host tensors outlive it.
_watches: list[Watch] = []


@contextlib.contextmanager
def _muting() -> Iterator[None]:
    with _watches[-1].muted() if _watches else contextlib.nullcontext():
        yield


class Cpu(Backend):
    """Counts would-be syncs. See `BLIND_SPOTS`."""

    name = "cpu"
    potential = True
    blind_spots = BLIND_SPOTS
    unseen_kinds = frozenset({"h2d", "synchronize"})
    tensor_classes: tuple[type, ...] = (HostTensor,)
    not_syncs = CPU_ONLY

    def environment(self) -> Environment:
        """The processor stands in for a device."""
        return Environment("cpu", torch.__version__, "", platform.python_version(), platform.platform())

    def plant(self) -> None:
        """Read one value."""
        torch.ones(()).item()

    def install(self, watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
        """Override kernels and methods until `undo` is closed."""
        _watches.append(watch)
        undo.callback(_watches.remove, watch)
        watch.frames.ignored = HOST_CODE
        undo.callback(setattr, watch.frames, "ignored", ())
        _Methods(watch).install(patches)
        _override_kernels(watch, undo)


class _Methods:
    """Methods of tensors that no kernel tells of."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        # Instruction of a `.to(...)` -> whether its text names the CPU.
        self._named: dict[tuple[int, int], bool] = {}

    def install(self, patches: Patches) -> None:
        for name, kind in WHOLE.items():
            patches.replace(torch.Tensor, name, self._whole(f"Tensor.{name}", kind))
        patches.replace(torch.Tensor, "__reduce_ex__", self._pickled)
        patches.replace(torch.Tensor, "cpu", self._cpu)
        patches.replace(torch.Tensor, "to", self._to)
        patches.replace(torch.Tensor, "copy_", self._copy)
        patches.replace(torch.Tensor, "__setitem__", self._setitem)
        patches.replace(torch.cpu, "synchronize", self._synchronize)
        patches.replace(torch.nn.Parameter, "__new__", _parameter)

    def _whole(self, op: str, kind: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def read(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
                if isinstance(tensor, HostTensor):
                    with self._watch.muted(), torch._C.DisableTorchFunctionSubclass():
                        return original(tensor, *args, **kwargs)
                result = original(tensor, *args, **kwargs)
                self._watch.read(kind, op)
                return result

            return read

        return make

    def _pickled(self, original: Any) -> Any:
        def reduce(tensor: torch.Tensor, protocol: Any) -> Any:
            # copy.copy() comes along here and copies nothing.
            if sys._getframe(2).f_code.co_filename != copy.__file__:
                self._watch.read("serialise", "Tensor.__reduce_ex__")
            return original(tensor, protocol)

        return reduce

    def _cpu(self, original: Any) -> Any:
        def cpu(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if isinstance(tensor, HostTensor) or _moves_a_module(sys._getframe(2)):
                return original(tensor, *args, **kwargs)
            self._watch.read("cpu", "Tensor.cpu")
            return _copied(original(tensor, *args, **kwargs))

        return cpu

    def _to(self, original: Any) -> Any:
        def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            result = original(tensor, *args, **kwargs)
            if isinstance(tensor, HostTensor) or not (args or kwargs):
                return result
            try:
                device, _, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
            except (TypeError, RuntimeError):  # `.to(other)`, whose device is that of a tensor
                return result
            if device is None or device.type != "cpu" or not self._names_cpu(sys._getframe(2)):
                return result
            if not non_blocking:
                self._watch.read("cpu", "Tensor.to")
            return _copied(result)

        return to

    def _copy(self, original: Any) -> Any:
        def copy(tensor: torch.Tensor, source: Any, non_blocking: bool = False, **kwargs: Any) -> Any:
            if isinstance(tensor, HostTensor) and not isinstance(source, HostTensor) and not non_blocking:
                self._watch.read("cpu", "Tensor.copy_")
            return original(tensor, source, non_blocking, **kwargs)

        return copy

    def _names_cpu(self, caller: FrameType) -> bool:
        """Whether the call in `caller` asks for the CPU in so many words, rather than for some device."""
        if not self._watch.frames.is_user(caller.f_code):
            return False
        key = id(caller.f_code), caller.f_lasti
        if key not in self._named:
            self._named[key] = "cpu" in positions.text(caller.f_code, caller.f_lasti).lower()
        return self._named[key]

    def _setitem(self, original: Any) -> Any:
        def setitem(tensor: torch.Tensor, index: Any, value: Any) -> None:
            # A number goes where the mask says without anybody reading the mask; on CUDA, that is.
            number = not isinstance(value, torch.Tensor)
            mask = any(it.dtype in (torch.bool, torch.uint8) for it in _tensors((index,)))
            with self._watch.muted() if number and mask else contextlib.nullcontext():
                original(tensor, index, value)

        return setitem

    def _synchronize(self, original: Any) -> Any:
        def synchronize(*args: Any, **kwargs: Any) -> Any:
            self._watch.read("synchronize", "torch.cpu.synchronize")
            return original(*args, **kwargs)

        return synchronize


def _parameter(original: Any) -> Any:
    """A parameter made of a copy on the host is a parameter: torch would keep the class of what it is made of."""

    def new(cls: type, data: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(data, HostTensor):
            data = data.as_subclass(torch.Tensor)
        return original(cls, data, *args, **kwargs)

    return staticmethod(new)


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """What stands for the copy on the host. Parameters and other subclasses stay what programs expect them to be."""
    return _on_host(tensor) if type(tensor) is torch.Tensor else tensor


def _on_host(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` as one on the host: the same memory, and in the same place of the autograd graph.

    `as_subclass` gives a view, which programs may not detach in place; only a tensor that has a place in the graph,
    or may get one through its base, has to be one.
    """
    if tensor.requires_grad or tensor._is_view():
        return tensor.as_subclass(HostTensor)
    return torch.Tensor._make_subclass(HostTensor, tensor)


def _arrived(result: Any) -> Any:
    """What an operation on the host gives: its tensors, alone or in tuples and lists, are there too."""
    if isinstance(result, torch.Tensor):
        return result if isinstance(result, HostTensor) else _on_host(result)
    if isinstance(result, tuple | list):
        items = [_arrived(item) for item in result]
        # A named tuple takes its values one by one; torch's own take them together.
        return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)
    return result


def _moves_a_module(caller: FrameType) -> bool:
    """Whether `Module.cpu()` or the like calls: its parameters go on standing for tensors on a device."""
    return caller.f_code.co_filename == str(torch.nn.modules.module.__file__)


def _override_kernels(watch: Watch, undo: contextlib.ExitStack) -> None:
    library = torch.library.Library("aten", "IMPL")
    undo.callback(library._destroy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is overridden is what is wanted
        for name in READS:
            library.impl(name, _reading(watch, name), "CPU", with_keyset=True)
        for name in QUIET:
            library.impl(name, _quiet(watch, name), "CPU", with_keyset=True)


def _reading(watch: Watch, name: str) -> Callable[..., Any]:
    kernel = torch.library.get_kernel(f"aten::{name}", "CPU")
    op = f"aten::{name.partition('.')[0]}"

    def read(keys: Any, *args: Any, **kwargs: Any) -> Any:
        args = _unwrapped(args)
        if watch.is_muted:
            return kernel.call_boxed(keys, *args, **kwargs)
        with watch.muted():  # what a kernel reads to do its work belongs to it
            result = kernel.call_boxed(keys, *args, **kwargs)
        if not (name in _UNLESS and _UNLESS[name](args, kwargs)):
            watch.read("", op)
        return result

    return read


def _quiet(watch: Watch, name: str) -> Callable[..., Any]:
    kernel = torch.library.get_kernel(f"aten::{name}", "CPU")

    def work(keys: Any, *args: Any, **kwargs: Any) -> Any:
        with watch.muted():
            return kernel.call_boxed(keys, *_unwrapped(args), **kwargs)

    return work


def _unwrapped(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """A number that torch had wrapped as a tensor arrives as that number, and the kernel wants the tensor."""
    if args and not isinstance(args[0], torch.Tensor):
        return (torch.as_tensor(args[0]), *args[1:])
    return args
