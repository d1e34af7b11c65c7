"""Making the simulated device known to torch: once a process, and for good."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch.utils import backend_registration

from auditlint.runtime.simulation import backward
from auditlint.runtime.simulation.autocast import register_autocast
from auditlint.runtime.simulation.device import DeviceModule
from auditlint.runtime.simulation.kernels import execute
from auditlint.runtime.simulation.tensor import NAME, SimTensor, restored

_LOCK = threading.Lock()
_LIBRARIES: list[torch.library.Library] = []  # a library that is collected takes its kernels along


class Unsupported(RuntimeError):
    """This torch cannot take a device written in Python, or another one has taken the place."""


def register() -> None:
    """Make `torch.device("sim")` work; further calls do nothing.

    torch has one place for a device of one's own (PrivateUse1) and no way to leave it, so this lasts as long as the
    process. Raises `Unsupported` when another package has taken the place.
    """
    with _LOCK:
        if _LIBRARIES:
            return
        setup = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
        if setup is None:
            raise Unsupported(f"torch {torch.__version__} has no devices written in Python (2.10 and later have)")
        taken = torch._C._get_privateuse1_backend_name()
        if taken != "privateuseone":
            raise Unsupported(f"another package has made its device {taken!r} torch's one extra device")
        setup(NAME, backend_module=DeviceModule(), device_guard=backward.guard())
        # Before torch's own (10 and above): it would allocate device storage, and crash.
        torch.serialization.register_package(5, lambda storage: None, _refuse_storage)
        torch.serialization.add_safe_globals([restored])
        _LIBRARIES.extend(_kernels())
        backward.own_thread = _has_own_thread()


def _has_own_thread() -> bool:
    """Whether backward runs on a thread of the device: torch starts these once, before the first backward of all."""
    x = SimTensor(torch.ones(()), requires_grad=True)
    try:
        torch.autograd.grad(x * 2, x)
    except RuntimeError:
        return False
    return True


def _kernels() -> list[torch.library.Library]:
    """Kernels for calls that bypass the tensor subclass: factories, and torch's own code with Python switched off."""
    aten = torch.library.Library("aten", "IMPL")
    for name in ("empty.memory_format", "empty_strided", "_copy_from", "_local_scalar_dense"):
        packet, _, overload = name.partition(".")
        aten.impl(name, _runs(getattr(getattr(torch.ops.aten, packet), overload or "default")), "PrivateUse1")
    register_autocast(aten)
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(lambda func, *args, **kwargs: execute(func, args, kwargs), "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return [aten, everything]


def _refuse_storage(storage: Any, location: str) -> None:
    if location.partition(":")[0] == NAME:
        raise RuntimeError(f"storages cannot be loaded to {location}: load to the CPU, then move the tensors")


def _runs(func: Any) -> Any:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return execute(func, args, kwargs)

    return kernel
