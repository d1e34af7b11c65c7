"""The overhead study: what an audit costs, by the way in which it reads what its hooks capture."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from auditlint.bench import audited, models, trials
from auditlint.bench.audit_arms import ARMS, COMPILED, EAGER, Arm, Recorder
from auditlint.bench.audited import Data, Difference, Entry, Hook
from auditlint.bench.devices import Device
from auditlint.bench.execution import hooks_told_apart, refusal, runner
from auditlint.bench.transfers import Transfers
from auditlint.runtime import count_syncs


class Trial(NamedTuple):
    """One generation of so many tokens and the reading of its log, timed together.

    `read_s` is that part of the time which the reading took. `syncs` are the device's waits and `d2h_bytes` what it
    sent to the host, from a generation that was counted and not timed; the latter is None where there is no device.
    `log_bytes` is the size of the log as lines of JSON.
    """

    tokens: int
    wall_clock_s: float
    tokens_per_sec: float
    read_s: float
    syncs: int
    d2h_bytes: int | None
    log_bytes: int


@dataclass(slots=True)
class Outcome:
    """What is known of an arm: its finished trials, what was counted in one generation, and how its data compare.

    `difference` is the largest that was found in any of its generations; None for an arm without hooks.
    """

    arm: Arm
    trials: list[Trial] = field(default_factory=list)
    syncs: int = 0
    syncs_in_hooks: int = 0
    d2h_bytes: int | None = None
    difference: Difference | None = None

    @property
    def speeds(self) -> list[float]:
        """Tokens per second of each trial."""
        return [trial.tokens_per_sec for trial in self.trials]

    @property
    def pass_speeds(self) -> list[float]:
        """Tokens per second of each trial without the reading of its log."""
        return [trial.tokens / (trial.wall_clock_s - trial.read_s) for trial in self.trials]


class Reference(NamedTuple):
    """What the first arm with hooks generated and recorded; the others are compared with it."""

    tokens: list[int]
    data: Data


@dataclass(slots=True)
class Study:
    """The outcomes by arm, arms that were left out and why, and whether the study was interrupted."""

    hooks: tuple[Hook, ...]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    reference: Reference | None = None

    @property
    def audit_data_equal(self) -> bool | None:
        """Whether all arms recorded the same; None if there were not two to compare."""
        found = [one.difference for one in self.outcomes.values() if one.difference is not None]
        return all(one.equal for one in found) if len(found) > 1 else None


class _Opened(NamedTuple):
    """An arm whose hooks are registered, on a copy of the model that shares its weights."""

    outcome: Outcome
    recorder: Recorder
    model: torch.nn.Module
    run: Callable[..., Any]


class _Generation(NamedTuple):
    seconds: float
    reading: float
    tokens: list[int]
    entries: list[Entry]


def with_bases(names: Sequence[str]) -> list[str]:
    """The arms of these names and those that they are compared with, in the order of `ARMS`."""
    wanted = {*names, *(ARMS[name].base for name in names)}
    return [name for name in ARMS if name in wanted]


def study(
    model: torch.nn.Module,
    device: Device,
    names: Sequence[str],
    *,
    tokens: int,
    trial_count: int,
    layers: Sequence[str] = (),
    tick: trials.Tick = lambda done: None,
) -> Study:
    """Generate `tokens` tokens, `trial_count` times with each of the arms, in turns, and read what hooks recorded.

    Each arm first generates twice untimed: once with its syncs being counted, once to warm up. An interrupt ends the
    study and keeps the trials that were finished.

    Raises:
        UsageError: the model cannot generate, or has no layers to hook.
    """
    found = Study(_hooks(model, device, layers))
    compiled = any(ARMS[name].execution == COMPILED for name in names)
    with contextlib.ExitStack() as undo, torch.no_grad(), hooks_told_apart(compiled):
        try:
            opened = _opened(found, model, device, names, tokens, tick, undo)
            for turn in range(trial_count):
                for one in trials.turned(opened, turn):
                    generation = _generated(one, device, tokens)
                    _judge(found, one, generation)
                    one.outcome.trials.append(_trial(one.outcome, generation, tokens))
                    tick(one.outcome.arm.name)
        except KeyboardInterrupt:
            found.interrupted = True
    return found


def _hooks(model: torch.nn.Module, device: Device, layers: Sequence[str]) -> tuple[Hook, ...]:
    hooks = audited.chosen(model, layers)
    widths = models.widths(model, device.torch_device, [hook.layer for hook in hooks])
    return tuple(hook if hook.what == "norm" else hook._replace(values=widths[hook.layer]) for hook in hooks)


def _opened(
    found: Study,
    model: torch.nn.Module,
    device: Device,
    names: Sequence[str],
    tokens: int,
    tick: trials.Tick,
    undo: contextlib.ExitStack,
) -> list[_Opened]:
    """Open and warm up the arms; those that cannot run here are left out."""
    opened = []
    for name in names:
        arm = ARMS[name]
        if arm.base in found.left_out:
            found.left_out[name] = found.left_out[arm.base]
            continue
        if why := refusal(arm.execution, device.backend, model):
            found.left_out[name] = why
            continue
        with contextlib.ExitStack() as attached:
            try:
                one = _open(arm, found.hooks, model, device, tokens, attached)
                _count(one, device, tokens)
                tick(name)
                warm = _generated(one, device, tokens)
                tick(name)
            except Exception as error:
                # A compiler or a capture may fail for reasons of its own; eager code that fails is the user's to see.
                if arm.execution == EAGER:
                    raise
                found.left_out[name] = models.why(error)
                continue
            undo.push(attached.pop_all())
        found.outcomes[name] = one.outcome
        _judge(found, one, warm)
        opened.append(one)
    return opened


def _open(
    arm: Arm,
    hooks: Sequence[Hook],
    model: torch.nn.Module,
    device: Device,
    tokens: int,
    undo: contextlib.ExitStack,
) -> _Opened:
    copy = models.twin(model)
    recorder = undo.enter_context(arm.attach(copy, hooks, tokens, device.torch_device))
    return _Opened(Outcome(arm), recorder, copy, runner(arm.execution, copy, device.torch_device))


def _count(one: _Opened, device: Device, tokens: int) -> None:
    """Count the syncs and the transfers of a generation; compiled code runs uncompiled meanwhile."""
    one.recorder.begin()
    with count_syncs(device.backend) as counter, Transfers() as transfers:
        _generate(one, device, tokens)
        one.recorder.read()
        report = counter.report()
    one.outcome.d2h_bytes = transfers.to_host if device.sends else None
    one.outcome.syncs = report.totals.raw
    one.outcome.syncs_in_hooks = sum(site.raw for site in report.sites if site.hook is not None)


def _generate(one: _Opened, device: Device, tokens: int) -> list[torch.Tensor]:
    return list(models.tokens(one.model, one.run, device.torch_device, tokens))


def _generated(one: _Opened, device: Device, tokens: int) -> _Generation:
    """Generate and read, with the device synchronised at both ends and in between."""
    with trials.collected():
        one.recorder.begin()
        device.synchronize()
        start = device.now()
        made = _generate(one, device, tokens)
        device.synchronize()
        generated = device.now()
        entries = one.recorder.read()
        device.synchronize()
        end = device.now()
    return _Generation(end - start, end - generated, torch.cat(made, dim=1)[0].tolist(), entries)


def _trial(outcome: Outcome, generation: _Generation, tokens: int) -> Trial:
    seconds = generation.seconds
    size = audited.log_bytes(generation.entries)
    return Trial(
        tokens, seconds, tokens / seconds, generation.reading, outcome.syncs, outcome.d2h_bytes, log_bytes=size
    )


def _judge(found: Study, one: _Opened, generation: _Generation) -> None:
    """Hold an arm's data against those of the first arm that recorded some: bit for bit if the kernels are the same."""
    outcome = one.outcome
    if outcome.arm.name == outcome.arm.base:
        return
    data = audited.by_hook(generation.entries)
    reference = found.reference or Reference(generation.tokens, data)
    found.reference = reference
    tolerance = 0.0 if outcome.arm.execution == EAGER else audited.TOLERANCE
    difference = audited.compared(reference.data, data, reference.tokens, generation.tokens, tolerance)
    outcome.difference = audited.worse(outcome.difference, difference)
