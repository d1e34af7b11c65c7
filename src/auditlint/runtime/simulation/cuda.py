"""What `torch.cuda` answers while a program written for CUDA runs on the simulated device."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

from auditlint.runtime.patches import Patches
from auditlint.runtime.simulation import device
from auditlint.runtime.simulation.clock import CLOCK
from auditlint.runtime.simulation.tensor import NAME

MEMORY = 16 << 30  # bytes; invented: nothing is allocated on a simulated device

PROPERTIES = types.SimpleNamespace(
    name="simulated accelerator",
    major=8,
    minor=0,
    total_memory=MEMORY,
    multi_processor_count=1,
    is_integrated=False,
    is_multi_gpu_board=False,
    warp_size=32,
)


def _always(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _waits(op: str) -> Callable[..., None]:
    return lambda *args, **kwargs: CLOCK.wait("synchronize", op)


def _memory_stats(*args: Any, **kwargs: Any) -> dict[str, int]:
    return {}


def _set_rng_state(state: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    torch.set_rng_state(state)


ANSWERS: dict[str, Any] = {
    "is_available": _always(True),
    "is_initialized": _always(True),
    "is_bf16_supported": _always(True),
    "is_current_stream_capturing": _always(False),
    "device_count": _always(1),
    "current_device": _always(0),
    "get_device_name": _always(PROPERTIES.name),
    "get_device_capability": _always((PROPERTIES.major, PROPERTIES.minor)),
    "get_device_properties": _always(PROPERTIES),
    "mem_get_info": _always((MEMORY, MEMORY)),
    "memory_summary": _always(""),
    "memory_stats": _memory_stats,
    "synchronize": _waits("torch.cuda.synchronize"),
    "empty_cache": _waits("torch.cuda.empty_cache"),
    "current_stream": device.current_stream,
    "default_stream": device.current_stream,
    "stream": device.stream,
    "Stream": device.Stream,
    "Event": device.Event,
    "device": device.device,
    "device_of": device.device,
    "get_rng_state": lambda *args, **kwargs: torch.get_rng_state(),
    "get_rng_state_all": lambda: [torch.get_rng_state()],
    "set_rng_state": _set_rng_state,
    "set_rng_state_all": lambda states: _set_rng_state(states[0]),
    **dict.fromkeys(("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"), _always(0)),
    # The device draws from the host's generator, which has a seed of its own.
    **dict.fromkeys(("manual_seed", "manual_seed_all", "seed", "seed_all"), _always(None)),
    **dict.fromkeys(("init", "_lazy_init", "ipc_collect", "set_device", "set_stream"), _always(None)),
    **dict.fromkeys(("reset_peak_memory_stats", "reset_accumulated_memory_stats"), _always(None)),
    **dict.fromkeys(("reset_max_memory_allocated", "reset_max_memory_cached"), _always(None)),
    **dict.fromkeys(("set_per_process_memory_fraction",), _always(None)),
}
ACCELERATOR: dict[str, Any] = {
    "synchronize": _waits("torch.accelerator.synchronize"),
    "empty_cache": _waits("torch.accelerator.empty_cache"),
    "current_stream": device.current_stream,
    "device_index": device.device,
    **dict.fromkeys(("current_device_index", "current_device_idx"), _always(0)),
    **dict.fromkeys(("set_device_index", "set_device_idx", "set_stream", "reset_peak_memory_stats"), _always(None)),
    **dict.fromkeys(("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"), _always(0)),
    "memory_stats": _memory_stats,
    "get_memory_info": _always((MEMORY, MEMORY)),
}
NVTX = ("range_push", "range_pop", "mark", "range_start", "range_end")


def answer(patches: Patches) -> None:
    """Let `torch.cuda` and `torch.accelerator` speak of the simulated device."""
    for owner, answers in (
        (torch.cuda, ANSWERS),
        (torch.cuda.memory, ANSWERS),
        (torch.cuda.random, ANSWERS),
        (torch.cuda.nvtx, dict.fromkeys(NVTX, _always(0))),
        (torch.accelerator, ACCELERATOR),
        (getattr(torch.accelerator, "memory", None), ACCELERATOR),
        (torch, {"Stream": device.Stream, "Event": device.Event}),
    ):
        for name, value in answers.items():
            if owner is not None and name in vars(owner):
                patches.replace(owner, name, _instead(value))
    patches.replace(torch, "get_autocast_dtype", _named)
    patches.replace(torch, "is_autocast_enabled", _named)


def _instead(value: Any) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        if isinstance(value, type):
            return value
        # A function of its own for each name, since replacing one dresses it as what it replaces.
        return lambda *args, **kwargs: value(*args, **kwargs)

    return make


def _named(original: Any) -> Any:
    def asked(*args: Any, **kwargs: Any) -> Any:
        return original(*(NAME if arg == "cuda" else arg for arg in args), **kwargs)

    return asked
