"""The MPS backend: torch tells nothing there, so what waits is watched where Python and the dispatcher pass.

According to the official binaries, every implicit wait on MPS is a blocking copy between host and device, and kernels
that need a value on the host read it through `aten::_local_scalar_dense`. That one kernel is overridden on the MPS
key; copies, events and explicit synchronisation are wrapped in Python. The kernels that copy (`copy_`, `_to_copy`) are
not overridden: wrapped numbers reach a Python kernel as numbers, and it could not hand them on.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import re
from typing import Any

import torch

from auditlint.runtime.backends import Backend, Unavailable
from auditlint.runtime.backends.copies import Waits, watch_copies
from auditlint.runtime.backends.explicit import watch_calls
from auditlint.runtime.backends.warned import CONTEXT_BLIND_SPOT, contexts_hide, listen
from auditlint.runtime.patches import Patches
from auditlint.runtime.report import Environment
from auditlint.runtime.watch import Watch

SCALAR_READ = "aten::_local_scalar_dense"
# torch warns of an operator that it runs on the CPU instead, copying there and back; once, unless told always to warn.
FALLBACK = re.compile(r"The operator '([\w:.]+)' is not currently supported on the MPS backend and will fall back")

BLIND_SPOTS = (
    "This backend has not been verified on hardware: no Mac has run it; what waits was read off torch's binaries.",
    "An operator that falls back to the CPU copies there and back each time; it is counted when torch warns, which is "
    "the first time only.",
    "Waits of the allocator under memory pressure, and of the profiler, are not seen.",
    "Copies made in C++ that no wrapped function asks for are not seen: indexing with a list, copies called as "
    "`torch.ops...`, and copies in backward nodes.",
    "Third-party extensions that use Metal themselves are not seen.",
)


class Mps(Backend):
    """Counts on Apple's Metal devices."""

    name = "mps"

    def __init__(self) -> None:
        if not torch.backends.mps.is_available():
            built = "torch finds no MPS device" if torch.backends.mps.is_built() else "torch is built without MPS"
            raise Unavailable(f"{built} ({platform.platform()}, torch {torch.__version__})")
        if not hasattr(torch.library, "get_kernel"):
            raise Unavailable(f"torch {torch.__version__} has no torch.library.get_kernel, which counting on MPS needs")

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """What cannot be seen here."""
        return (*BLIND_SPOTS, CONTEXT_BLIND_SPOT) if contexts_hide() else BLIND_SPOTS

    def environment(self) -> Environment:
        """The device's name, and the version of macOS for the driver's, which is part of it."""
        name = getattr(torch.backends.mps, "get_name", platform.processor)()
        macos = f"macOS {platform.mac_ver()[0]}"
        return Environment(name, torch.__version__, macos, platform.python_version(), platform.platform())

    def install(self, watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
        """Override the scalar read, and wrap copies and explicit waits."""
        undo.callback(setattr, watch, "measures_time", watch.measures_time)
        watch.measures_time = True
        override_scalar_read(watch, "MPS", undo)
        watch_copies(watch, patches, blocking("mps"))
        watch_hidden_copies(watch, patches, "mps")
        watch_calls(watch, patches, _explicit())
        listen(_fallbacks(watch), undo)

    def plant(self) -> None:
        """Read one element."""
        torch.ones((), device="mps").item()


def override_scalar_read(watch: Watch, key: str, undo: contextlib.ExitStack) -> None:
    """Report each read of one element by the kernel of the dispatch key `key`, which goes on doing the reading."""
    kernel = torch.library.get_kernel(SCALAR_READ, key)

    def read(keys: Any, tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor):
            return tensor  # A wrapped number arrives as the number, which is on the host already.
        value = kernel.call_boxed(keys, tensor)
        watch.read("", SCALAR_READ)
        return value

    library = torch.library.Library("aten", "IMPL")
    undo.callback(library._destroy)
    with contextlib.ExitStack() as quiet:
        listen(lambda text: "Overriding a previously registered kernel" in text, quiet)
        library.impl("_local_scalar_dense", read, key, with_keyset=True)


def blocking(device: str) -> Waits:
    """Both directions wait, unless they are told not to."""

    def waits(source: Any, target: Any, non_blocking: bool) -> bool:
        return not non_blocking and {source.device.type, target.device.type} == {device, "cpu"}

    return waits


def watch_hidden_copies(watch: Watch, patches: Patches, device: str) -> None:
    """Report copies that are part of another Python function: lists, storages, tensors made from host data."""

    def tolist(original: Any) -> Any:
        def copied(self: Any) -> Any:
            values = original(self)
            if self.device.type == device:
                watch.read("tolist", "Tensor.tolist")
            return values

        return copied

    def storage(original: Any) -> Any:
        def copied(self: Any) -> Any:
            result = original(self)
            if self.device.type == device:
                watch.read("serialise", "UntypedStorage.cpu")
            return result

        return watch.entry(copied, "UntypedStorage.cpu", "serialise")

    patches.replace(torch.Tensor, "tolist", tolist)
    patches.replace(torch.storage._StorageBase, "cpu", storage)
    for name in ("tensor", "as_tensor", "asarray"):
        make = functools.partial(_making, op=f"torch.{name}", position=0, watch=watch, device=device)
        patches.replace(torch, name, make)
    make = functools.partial(_making, op="Tensor.new_tensor", position=1, watch=watch, device=device)
    patches.replace(torch.Tensor, "new_tensor", make)


def _making(original: Any, op: str, position: int, watch: Watch, device: str) -> Any:
    """`original` makes a tensor of the data at that position: on the device, that of host data has to be copied."""

    def made(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if result.device.type == device:
            data = args[position] if len(args) > position else kwargs.get("data", kwargs.get("obj"))
            if not isinstance(data, torch.Tensor) or data.device.type == "cpu":
                watch.read("h2d", op)
        return result

    return watch.entry(made, op)


def _explicit() -> tuple[tuple[Any, str, str], ...]:
    return (
        (torch.mps, "synchronize", "torch.mps.synchronize"),
        (torch.mps, "empty_cache", "torch.mps.empty_cache"),
        (torch.mps.event.Event, "synchronize", "Event.synchronize"),
        (torch.mps.event.Event, "elapsed_time", "Event.elapsed_time"),
        (torch.accelerator, "synchronize", "torch.accelerator.synchronize"),
        (torch.accelerator, "empty_cache", "torch.accelerator.empty_cache"),
    )


def _fallbacks(watch: Watch) -> Any:
    def heard(text: str) -> bool:
        found = FALLBACK.search(text)
        if found:
            watch.read("cpu", found[1])
        return False

    return heard
