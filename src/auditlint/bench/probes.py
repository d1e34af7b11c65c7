"""The probe study: what a token costs, by the number of probes, where they are, and how they are read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from auditlint.bench import models, trials
from auditlint.bench.audit_arms import COMPILED, EAGER
from auditlint.bench.devices import Device
from auditlint.bench.execution import hooks_told_apart, refusal, runner
from auditlint.bench.probe_arms import PROBE_ARMS, ProbeArm, Probes, Reader, Readouts
from auditlint.bench.transfers import Transfers
from auditlint.runtime import count_syncs

SCOPES = ("one-layer", "every-layer")

# Products are summed in another order, on the host in one arm. Hidden states of the built-in model give readouts of
# the order of 1, of which float32 sums are some 1e-6 apart.
TOLERANCE = 1e-4


class Point(NamedTuple):
    """How many probes are on a layer, and on which layers."""

    probes: int
    scope: str


@dataclass(slots=True)
class Measured:
    """One arm at one point: microseconds of each token, by trial; the rest of one generation that was counted.

    `d2h_bytes` are None where there is no device. `difference` is the largest to the reference's readouts,
    relative to the largest of these; NaN where readouts are missing, None for arms that read none.
    """

    arm: ProbeArm
    trials: list[list[float]] = field(default_factory=list)
    syncs: int = 0
    syncs_in_hooks: int = 0
    d2h_bytes: int | None = None
    difference: float | None = None

    @property
    def speeds(self) -> list[float]:
        """Tokens per second of each trial, flushes included."""
        return [1e6 * len(trial) / sum(trial) for trial in self.trials]


@dataclass(slots=True)
class ProbeStudy:
    """What was measured by point and arm, arms that were left out and why, and whether the study was interrupted."""

    layers: tuple[str, ...]
    points: dict[Point, dict[str, Measured]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def readouts_equal(self) -> bool | None:
        """Whether all arms read the same, within `TOLERANCE`; None if there were not two to compare at any point."""
        compared = [
            [one.difference for one in arms.values() if one.difference is not None] for arms in self.points.values()
        ]
        several = [found for found in compared if len(found) > 1]
        return all(value <= TOLERANCE for found in several for value in found) if several else None


class _Opened(NamedTuple):
    measured: Measured
    reader: Reader
    model: torch.nn.Module
    run: Callable[..., Any]


class Plan(NamedTuple):
    """How much is run: tokens a trial, after how many of them readouts are flushed, trials, and the seed of probes."""

    tokens: int
    every: int
    trials: int
    seed: int = 0


def scoped(layers: Sequence[str], scope: str) -> list[str]:
    """The layers of that scope: all, or the one in the middle."""
    return list(layers) if scope == "every-layer" else [layers[len(layers) // 2]]


def study(
    model: torch.nn.Module,
    device: Device,
    layers: Sequence[str],
    points: Sequence[Point],
    names: Sequence[str],
    plan: Plan,
    tick: trials.Tick = lambda done: None,
) -> ProbeStudy:
    """Time each token of generations with each arm at each point, arms in turns; readouts are brought to the host.

    The device is synchronised before and after each token. Each arm first generates twice untimed at each point: once
    with its syncs being counted, once to warm up. An interrupt ends the study and keeps what was finished.

    Raises:
        UsageError: a layer returns no tensor of hidden states to probe.
    """
    found = ProbeStudy(tuple(layers))
    compiled = any(PROBE_ARMS[name].execution == COMPILED for name in names)
    with torch.no_grad(), hooks_told_apart(compiled):
        widths = models.widths(model, device.torch_device, layers)
        try:
            for point in points:
                measured = found.points[point] = {}
                probes = _probes(scoped(layers, point.scope), widths, point.probes, plan.seed, device)
                with contextlib.ExitStack() as undo:
                    opened, reference = _opened(found, measured, model, device, names, probes, plan, tick, undo)
                    for turn in range(plan.trials):
                        for one in trials.turned(opened, turn):
                            times = _timed(one, device, plan)
                            _judge(one, reference)
                            one.measured.trials.append(times)
                            tick(_name(point, one.measured.arm.name))
        except KeyboardInterrupt:
            found.interrupted = True
    return found


def _name(point: Point, arm: str) -> str:
    return f"{point.probes} {point.scope} {arm}"


def _probes(layers: Sequence[str], widths: dict[str, int], count: int, seed: int, device: Device) -> Probes:
    """Random probes of unit expected length, from a seed."""
    source = torch.Generator().manual_seed(seed)
    weights = {layer: torch.randn(count, widths[layer], generator=source) / widths[layer] ** 0.5 for layer in layers}
    return Probes({layer: rows.to(device.torch_device) for layer, rows in weights.items()})


def _opened(
    found: ProbeStudy,
    measured: dict[str, Measured],
    model: torch.nn.Module,
    device: Device,
    names: Sequence[str],
    probes: Probes,
    plan: Plan,
    tick: trials.Tick,
    undo: contextlib.ExitStack,
) -> tuple[list[_Opened], Readouts]:
    """Open, count and warm up the arms of one point; those that cannot run here are left out.

    Returns them and the readouts of the first that reads, which are the reference.
    """
    opened: list[_Opened] = []
    reference: Readouts = {}
    for name in names:
        arm = PROBE_ARMS[name]
        if name in found.left_out:
            continue
        if why := refusal(arm.execution, device.backend, model):
            found.left_out[name] = why
            continue
        with contextlib.ExitStack() as attached:
            try:
                copy = models.twin(model)
                reader = attached.enter_context(arm.attach(copy, probes, plan.every))
                one = _Opened(Measured(arm), reader, copy, runner(arm.execution, copy, device.torch_device))
                _count(one, device, plan)
                tick(f"{len(probes.weights)} layers, {name}")
                _timed(one, device, plan)
                reference = _judge(one, reference)
                tick(f"{len(probes.weights)} layers, {name}")
            except Exception as error:
                if arm.execution == EAGER:
                    raise
                found.left_out[name] = models.why(error)
                continue
            undo.push(attached.pop_all())
        measured[name] = one.measured
        opened.append(one)
    return opened, reference


def _judge(one: _Opened, reference: Readouts) -> Readouts:
    """Hold what an arm has read against the reference, which it becomes if there is none; returns the reference."""
    readouts = one.reader.take()
    if not one.measured.arm.reads:
        return reference
    reference = reference or readouts
    worst, before = difference(reference, readouts), one.measured.difference
    one.measured.difference = worst if before is None or math.isnan(worst) or worst > before else before
    return reference


def _count(one: _Opened, device: Device, plan: Plan) -> None:
    """Count syncs and bytes of a generation; compiled code runs uncompiled meanwhile."""
    with count_syncs(device.backend) as counter, Transfers() as transfers:
        for number, _ in enumerate(models.tokens(one.model, one.run, device.torch_device, plan.tokens), 1):
            if number % plan.every == 0:
                one.reader.flush()
        if plan.tokens % plan.every:
            one.reader.flush()
        one.reader.take()
        report = counter.report()
    one.measured.d2h_bytes = transfers.to_host if device.sends else None
    one.measured.syncs = report.totals.raw
    one.measured.syncs_in_hooks = sum(site.raw for site in report.sites if site.hook is not None)


def _timed(one: _Opened, device: Device, plan: Plan) -> list[float]:
    """Microseconds of each token of a generation; the tokens at which readouts are flushed contain that."""
    times = []
    with trials.collected():
        passes = models.tokens(one.model, one.run, device.torch_device, plan.tokens)
        for number in range(1, plan.tokens + 1):
            device.synchronize()
            start = device.now()
            next(passes)
            if number % plan.every == 0:
                one.reader.flush()
            device.synchronize()
            times.append((device.now() - start) * 1e6)
        if plan.tokens % plan.every:
            one.reader.flush()
    return times


def difference(reference: Readouts, readouts: Readouts) -> float:
    """The largest difference of two readouts, relative to the largest of the reference; NaN where some are missing."""
    if reference.keys() != readouts.keys() or not reference:
        return math.nan
    largest = max(abs(value) for values in reference.values() for value in values)
    worst = 0.0
    for key, values in reference.items():
        if len(values) != len(readouts[key]):
            return math.nan
        for a, b in zip(values, readouts[key], strict=True):
            worst = max(worst, abs(a - b)) if a == a and b == b else math.nan
            if math.isnan(worst):
                return math.nan
    return worst / largest if largest else worst


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed (the nearest-rank percentile)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
