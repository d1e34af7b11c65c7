"""A study as JSON: what was run, where, and everything that was found. The schemas lie in `schemas/`."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from auditlint import __version__
from auditlint.bench import verdicts
from auditlint.bench.devices import Device
from auditlint.bench.overhead import Outcome, Study
from auditlint.bench.probes import TOLERANCE, Measured, Plan, Point, ProbeStudy, percentile

CRITERIA = {
    "strict_below": verdicts.STRICT_BELOW,
    "lenient_below": verdicts.LENIENT_BELOW,
    "catastrophic_above": verdicts.CATASTROPHIC_ABOVE,
    "registered_on": verdicts.REGISTERED_ON,
}


def schema(study: str) -> dict[str, Any]:
    """The JSON schema of that study's records, "overhead" or "probes"."""
    text = (resources.files("auditlint.bench") / "schemas" / f"{study}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def header(study: str, command: Sequence[str], device: Device, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the records of all studies begin with."""
    return {
        "study": study,
        "command": ["auditlint", "bench", study, *command],
        "environment": {
            "backend": device.backend,
            "times": "simulated" if device.simulated else "measured",
            "label": device.label,
            **device.environment._asdict(),
            "platform": f"{platform.system()} {platform.machine()}",  # the whole of it names people's machines
            "cpus": os.cpu_count(),
            "auditlint": __version__,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        },
        "config": dict(config),
    }


def overhead(study: Study, device: Device, command: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an overhead study, of arms that finished a trial."""
    done = {name: outcome for name, outcome in study.outcomes.items() if outcome.trials}
    return {
        **header("overhead", command, device, config),
        "configurations": {name: _arm(outcome, done.get(outcome.arm.base)) for name, outcome in done.items()},
        "left_out": study.left_out,
        "interrupted": study.interrupted,
        "audit_data_equal": study.audit_data_equal,
        "criteria": {**CRITERIA, "note": verdicts.registration(device.backend)},
    }


def _arm(outcome: Outcome, base: Outcome | None) -> dict[str, Any]:
    speeds = outcome.speeds
    other = base if base is not outcome else None
    difference = outcome.difference
    return {
        "execution": outcome.arm.execution,
        "base": outcome.arm.base,
        "trials": [trial._asdict() for trial in outcome.trials],
        "median": statistics.median(speeds),
        "spread": [min(speeds), max(speeds)],
        "median_ci95": verdicts.median_interval(speeds),
        **_against(other.speeds if other is not None else None, speeds),
        "pass_median": statistics.median(outcome.pass_speeds),
        "pass_overhead": verdicts.overhead(other.pass_speeds, outcome.pass_speeds) if other is not None else None,
        "syncs_in_hooks": outcome.syncs_in_hooks,
        "audit_data": None
        if difference is None
        else {
            "equal": difference.equal,
            "tokens_compared": difference.tokens_compared,
            "largest_difference": _finite(difference.largest),
            "tolerance": difference.tolerance,
        },
    }


def _against(base: Sequence[float] | None, speeds: Sequence[float]) -> dict[str, Any]:
    """What an arm's tokens per second come to beside the baseline's; None where there is nothing to compare with."""
    if base is None:
        return {"overhead": None, "ci95": None, "verdict": None}
    lost = verdicts.overhead(base, speeds)
    return {"overhead": lost, "ci95": verdicts.interval(base, speeds), "verdict": verdicts.verdict(lost)}


def probes(
    study: ProbeStudy, device: Device, command: Sequence[str], config: Mapping[str, Any], plan: Plan
) -> dict[str, Any]:
    """The record of a probe study, of arms that finished a trial."""
    return {
        **header("probes", command, device, config),
        "points": [
            _point(point, {name: one for name, one in arms.items() if one.trials}, plan)
            for point, arms in study.points.items()
            if any(one.trials for one in arms.values())
        ],
        "left_out": study.left_out,
        "interrupted": study.interrupted,
        "audit_data_equal": study.readouts_equal,
        "tolerance": TOLERANCE,
        "criteria": {**CRITERIA, "note": verdicts.registration(device.backend)},
    }


def _point(point: Point, arms: Mapping[str, Measured], plan: Plan) -> dict[str, Any]:
    return {
        "probes": point.probes,
        "scope": point.scope,
        "configurations": {name: _probe_arm(measured, arms.get("none"), plan) for name, measured in arms.items()},
    }


def _probe_arm(measured: Measured, base: Measured | None, plan: Plan) -> dict[str, Any]:
    times = [time for trial in measured.trials for time in trial]
    other = base if base is not measured else None
    return {
        "execution": measured.arm.execution,
        "trials": [{"token_us": [round(time, 3) for time in trial]} for trial in measured.trials],
        "p50_us": percentile(times, 0.50),
        "p99_us": percentile(times, 0.99),
        **_against(other.speeds if other is not None else None, measured.speeds),
        "syncs_per_token": measured.syncs / plan.tokens,
        "syncs_in_hooks_per_token": measured.syncs_in_hooks / plan.tokens,
        "d2h_bytes_per_token": None if measured.d2h_bytes is None else measured.d2h_bytes / plan.tokens,
        "largest_difference": _finite(measured.difference),
    }


def _finite(value: float | None) -> float | None:
    """None for what JSON has no word for: with NaN, something is missing and there is no difference to name."""
    return value if value is not None and math.isfinite(value) else None
