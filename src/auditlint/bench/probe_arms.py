"""The arms of the probe study: ways to read linear probes out of a model's layers while it generates."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from auditlint.bench.audit_arms import COMPILED, EAGER
from auditlint.bench.audited import last
from auditlint.defer import ProbeBank, defer, finalize
from auditlint.defer.probe_export import Export

Readouts = dict[tuple[str, int], list[float]]  # by layer and probe, in the order of the tokens


class Probes(NamedTuple):
    """Probes on some layers: each layer's weights, (probes, width) float32 on the device; readouts are products."""

    weights: Mapping[str, torch.Tensor]


class Reader(NamedTuple):
    """How readouts are had: `flush` brings to the host what was not brought yet; `take` returns and forgets all."""

    flush: Callable[[], None]
    take: Callable[[], Readouts]


class ProbeArm(NamedTuple):
    """A way to read probes; `reads` is False for the arms that have none."""

    name: str
    attach: Callable[[torch.nn.Module, Probes, int], contextlib.AbstractContextManager[Reader]]
    execution: str = EAGER
    reads: bool = True


@contextlib.contextmanager
def none(model: torch.nn.Module, probes: Probes, every: int) -> Iterator[Reader]:
    """No hooks."""
    yield Reader(_nothing, dict)


@contextlib.contextmanager
def no_op(model: torch.nn.Module, probes: Probes, every: int) -> Iterator[Reader]:
    """Hooks that do nothing."""
    with _hooked(model, {layer: lambda hidden: None for layer in probes.weights}):
        yield Reader(_nothing, dict)


@contextlib.contextmanager
def item(model: torch.nn.Module, probes: Probes, every: int) -> Iterator[Reader]:
    """One product and one `.item()` for each readout."""
    with _each(model, probes, torch.Tensor.item) as reader:
        yield reader


@contextlib.contextmanager
def deferred(model: torch.nn.Module, probes: Probes, every: int) -> Iterator[Reader]:
    """One product for each readout, kept and read in one transfer at each flush."""
    with _each(model, probes, lambda value: defer(value, fresh=True), finalize) as reader:
        yield reader


@contextlib.contextmanager
def cpu(model: torch.nn.Module, probes: Probes, every: int) -> Iterator[Reader]:
    """One `.cpu()` of the hidden state for each layer; all products are the host's."""
    on_host = {layer: weights.cpu() for layer, weights in probes.weights.items()}
    found: dict[str, list[torch.Tensor]] = {layer: [] for layer in on_host}

    def hook(layer: str) -> Callable[[torch.Tensor], None]:
        weights, rows = on_host[layer], found[layer]
        return lambda hidden: rows.append(weights @ hidden.cpu())

    def take() -> Readouts:
        taken = _by_probe({layer: torch.stack(rows) for layer, rows in found.items() if rows})
        for rows in found.values():
            rows.clear()
        return taken

    with _hooked(model, {layer: hook(layer) for layer in on_host}):
        yield Reader(_nothing, take)


@contextlib.contextmanager
def bank(model: torch.nn.Module, probes: Probes, every: int) -> Iterator[Reader]:
    """A `ProbeBank`: one product for each layer. A flush begins an export and reads the one that was begun before."""
    probe_bank = ProbeBank(capacity=every)
    for layer, weights in probes.weights.items():
        probe_bank.add_all(layer, {f"{layer}:{number}": row for number, row in enumerate(weights)})
    under_way: list[Export] = []
    arrived: list[dict[str, torch.Tensor]] = []

    def flush() -> None:
        begun = probe_bank.export()
        arrived.extend(export.result() for export in under_way)
        under_way[:] = [begun]

    def take() -> Readouts:
        arrived.extend(export.result() for export in under_way)
        found: Readouts = {}
        for readouts in arrived:
            for name, values in readouts.items():
                layer, _, number = name.rpartition(":")
                found.setdefault((layer, int(number)), []).extend(values.tolist())
        under_way.clear()
        arrived.clear()
        return found

    with probe_bank.attach(model):
        yield Reader(flush, take)


PROBE_ARMS = {
    arm.name: arm
    for arm in (
        ProbeArm("none", none, reads=False),
        ProbeArm("no-op", no_op, reads=False),
        ProbeArm("item", item),
        ProbeArm("cpu", cpu),
        ProbeArm("deferred", deferred),
        ProbeArm("bank", bank),
        ProbeArm("bank-compiled", bank, COMPILED),
    )
}


@contextlib.contextmanager
def _each(
    model: torch.nn.Module,
    probes: Probes,
    take_one: Callable[[torch.Tensor], Any],
    flush: Callable[[list[Any]], Any] = len,
) -> Iterator[Reader]:
    """Hooks that compute the readouts one by one, and append what `take_one` makes of them to a list a layer."""
    rows = {layer: list(weights.unbind()) for layer, weights in probes.weights.items()}
    fresh: dict[str, list[Any]] = {layer: [] for layer in rows}
    done: Readouts = {}

    def hook(layer: str) -> Callable[[torch.Tensor], None]:
        weights, values = rows[layer], fresh[layer]
        return lambda hidden: values.extend([take_one(weight @ hidden) for weight in weights])

    def bring() -> None:
        for layer, values in fresh.items():
            flush(values)
            for number in range(len(rows[layer])):
                done.setdefault((layer, number), []).extend(values[number :: len(rows[layer])])
            values.clear()

    def take() -> Readouts:
        taken = dict(done)
        done.clear()
        return taken

    with _hooked(model, {layer: hook(layer) for layer in rows}):
        yield Reader(bring, take)


@contextlib.contextmanager
def _hooked(model: torch.nn.Module, functions: Mapping[str, Callable[[torch.Tensor], None]]) -> Iterator[None]:
    """Register forward hooks that get the last token's hidden state, (width,) float32."""
    with contextlib.ExitStack() as undo:
        for layer, function in functions.items():
            undo.callback(model.get_submodule(layer).register_forward_hook(_hook(function)).remove)
        yield


def _hook(function: Callable[[torch.Tensor], None]) -> Callable[[torch.nn.Module, Any, Any], None]:
    return lambda module, args, output: function(last(output).float())


def _by_probe(rows: Mapping[str, torch.Tensor]) -> Readouts:
    return {
        (layer, number): column.tolist() for layer, values in rows.items() for number, column in enumerate(values.t())
    }


def _nothing() -> None:
    return None
