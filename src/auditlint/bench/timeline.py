"""What host and device do during one token, on the simulated device: exact, from its virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from auditlint.bench import models
from auditlint.bench.audit_arms import ARMS
from auditlint.bench.audited import Hook
from auditlint.bench.devices import Device
from auditlint.runtime.simulation.clock import CLOCK, Span

SHOWN = ("naive", "deferred")
WARM_UP = 2  # tokens before the one that is shown


class Timeline(NamedTuple):
    """One token of an arm: spans in microseconds since its pass began, on an idle device, until the device was done."""

    arm: str
    spans: tuple[Span, ...]


def of_one_token(model: torch.nn.Module, hooks: Sequence[Hook], device: Device) -> list[Timeline]:
    """The same token in the arms that are shown; none where the clock is not virtual."""
    return [_traced(name, model, hooks, device) for name in SHOWN] if device.simulated else []


def _traced(name: str, model: torch.nn.Module, hooks: Sequence[Hook], device: Device) -> Timeline:
    copy = models.twin(model)
    spans: list[Span] = []
    with torch.no_grad(), ARMS[name].attach(copy, hooks, WARM_UP + 1, device.torch_device) as recorder:
        recorder.begin()
        passes = models.tokens(copy, copy, device.torch_device, WARM_UP + 1)
        for _ in range(WARM_UP):
            next(passes)
        device.synchronize()
        begun = CLOCK.host
        CLOCK.trace = spans
        try:
            next(passes)
        finally:
            CLOCK.trace = None
        recorder.read()
    return Timeline(name, tuple(span._replace(start=span.start - begun, end=span.end - begun) for span in spans))
