"""The arms of the overhead study: ways to get the same audit data out of a model's hooks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from auditlint.bench.audited import Entry, Hook, layers_of
from auditlint.defer import DeviceBuffer, defer, finalize, flush_all

EAGER, COMPILED, GRAPHS = "eager", "compiled", "graphs"


class Recorder(NamedTuple):
    """How a recording is used: `begin` before a generation; `read` after it returns all entries as plain values."""

    begin: Callable[[], None]
    read: Callable[[], list[Entry]]


Attach = Callable[[torch.nn.Module, Sequence[Hook], int, torch.device], contextlib.AbstractContextManager[Recorder]]


class Arm(NamedTuple):
    """A way to record, and a way to run the model: "eager", "compiled" or "graphs".

    `base` is the name of the arm without hooks that runs in the same way.
    """

    name: str
    attach: Attach
    execution: str
    base: str


@contextlib.contextmanager
def none(model: torch.nn.Module, hooks: Sequence[Hook], count: int, device: torch.device) -> Iterator[Recorder]:
    """No hooks."""
    yield Recorder(_nothing, list)


@contextlib.contextmanager
def naive(model: torch.nn.Module, hooks: Sequence[Hook], count: int, device: torch.device) -> Iterator[Recorder]:
    """One read in each hook: `.item()` of a norm, `.tolist()` of a router's probabilities."""
    with _logged(model, hooks, _read) as recorder:
        yield recorder


@contextlib.contextmanager
def deferred(model: torch.nn.Module, hooks: Sequence[Hook], count: int, device: torch.device) -> Iterator[Recorder]:
    """As in the first study: hooks keep references, and after the generation they are read one by one."""

    def read(log: list[Entry]) -> None:
        for entry in log:
            what = "norm" if "norm" in entry else "router"
            entry[what] = _read(entry[what])  # auditlint: allow-sync the arm that reads one by one

    with _logged(model, hooks, _keep, read) as recorder:
        yield recorder


@contextlib.contextmanager
def packed(model: torch.nn.Module, hooks: Sequence[Hook], count: int, device: torch.device) -> Iterator[Recorder]:
    """Hooks keep deferred values, and after the generation all are read in one transfer."""
    with _logged(model, hooks, _defer, finalize) as recorder:
        yield recorder


@contextlib.contextmanager
def buffer(model: torch.nn.Module, hooks: Sequence[Hook], count: int, device: torch.device) -> Iterator[Recorder]:
    """Hooks write to buffers on the device, and after the generation all are read in one transfer."""
    # A few rows more than a generation needs: passes that warm up for a CUDA graph write, too.
    buffers = {
        hook: DeviceBuffer(_columns(hook, module), count + 8, device=device)
        for hook, module in layers_of(model, hooks).items()
    }

    def begin() -> None:
        for one in buffers.values():
            one.reset()

    def read() -> list[Entry]:
        entries: list[Entry] = []
        for hook, rows in zip(buffers, flush_all(list(buffers.values())), strict=True):
            values = rows.values[:, 0] if hook.what == "norm" else rows.values
            entries += [{"layer": hook.layer, hook.what: value} for value in values.tolist()]
        return entries

    def write(hook: Hook) -> Callable[[torch.nn.Module, Any, Any], None]:
        target, statistic = buffers[hook], hook.statistic
        return lambda module, args, output: target.extend(statistic(output).reshape(1, -1))

    with hooked(model, {hook: write(hook) for hook in hooks}):
        yield Recorder(begin, read)


ARMS = {
    arm.name: arm
    for arm in (
        Arm("none", none, EAGER, "none"),
        Arm("naive", naive, EAGER, "none"),
        Arm("deferred", deferred, EAGER, "none"),
        Arm("packed", packed, EAGER, "none"),
        Arm("buffer", buffer, EAGER, "none"),
        Arm("none-compiled", none, COMPILED, "none-compiled"),
        Arm("buffer-compiled", buffer, COMPILED, "none-compiled"),
        Arm("none-graphs", none, GRAPHS, "none-graphs"),
        Arm("buffer-graphs", buffer, GRAPHS, "none-graphs"),
    )
}


@contextlib.contextmanager
def hooked(
    model: torch.nn.Module, functions: dict[Hook, Callable[[torch.nn.Module, Any, Any], None]]
) -> Iterator[None]:
    """Register a forward hook for each, and remove them all at the end."""
    with contextlib.ExitStack() as undo:
        for hook, module in layers_of(model, list(functions)).items():
            undo.callback(module.register_forward_hook(functions[hook]).remove)
        yield


@contextlib.contextmanager
def _logged(
    model: torch.nn.Module,
    hooks: Sequence[Hook],
    take: Callable[[torch.Tensor], Any],
    read: Callable[[list[Entry]], Any] = len,
) -> Iterator[Recorder]:
    """Hooks that append what `take` makes of their statistic to a list, which `read` makes plain."""
    log: list[Entry] = []

    def append(hook: Hook) -> Callable[[torch.nn.Module, Any, Any], None]:
        layer, what, statistic = hook.layer, hook.what, hook.statistic
        return lambda module, args, output: log.append({"layer": layer, what: take(statistic(output))})

    def plain() -> list[Entry]:
        read(log)
        entries = list(log)
        log.clear()
        return entries

    with hooked(model, {hook: append(hook) for hook in hooks}):
        yield Recorder(log.clear, plain)


def _nothing() -> None:
    return None


def _read(value: torch.Tensor) -> Any:
    return value.tolist() if value.dim() else value.item()


def _keep(value: torch.Tensor) -> torch.Tensor:
    return value


def _defer(value: torch.Tensor) -> Any:
    return defer(value, "list" if value.dim() else "item", fresh=True)


def _columns(hook: Hook, module: torch.nn.Module) -> list[str]:
    if hook.what == "norm":
        return ["norm"]
    return [f"expert {number}" for number in range(_experts(module))]


def _experts(module: torch.nn.Module) -> int:
    """How many experts a router chooses among: the rows of its weight, (experts, width)."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
        weight = next(parameter for parameter in module.parameters() if parameter.dim() == 2)
    return int(weight.shape[0])
