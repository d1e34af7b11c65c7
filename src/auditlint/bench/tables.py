"""Studies as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from auditlint.bench import verdicts
from auditlint.console import count

WIDTH = 80
FEW = 5  # trials below which an interval is too narrow: the first study made so many


def overhead(record: Mapping[str, Any]) -> str:
    """The tables of an overhead study, from its record."""
    arms = record["configurations"]
    config = record["config"]
    lines = [
        *_head(record),
        *_wrapped(
            f"{size(config['parameters'])} parameters, {count(config['hooks'], 'hook')} a pass, "
            f"{count(config['tokens'], 'token')}, {_trials(arms)} an arm"
        ),
        "",
        f"{'arm':<15}{'tokens/s':>8}  {'range':<14}{'overhead':>8}  {'95% interval':<17}verdict",
        *(_speed(record, name, arm) for name, arm in arms.items()),
        "",
        f"{'a token of':<16}{'syncs':>9}{'in hooks':>10}{'bytes to host':>15}{'bytes of log':>14}{'pass alone':>12}",
        *(_traffic(name, arm) for name, arm in arms.items()),
        "",
        *_closing(record),
    ]
    return "\n".join(lines) + "\n"


def probes(record: Mapping[str, Any]) -> str:
    """The tables of a probe study, from its record."""
    config = record["config"]
    lines = [
        *_head(record),
        *_wrapped(
            f"{size(config['parameters'])} parameters, {len(config['layers'])} layers, "
            f"{count(config['tokens'], 'token')} a trial, readouts flushed every "
            f"{count(config['flush_every'], 'token')}"
        ),
    ]
    for point in record["points"]:
        layers = 1 if point["scope"] == "one-layer" else len(config["layers"])
        title = f"{point['probes']} x {layers}, {point['scope']}"
        head = f"{'p50 us':>10}{'p99 us':>11}{'overhead':>10}{'syncs':>10}{'bytes to host':>15}"
        lines += ["", f"{title:<24}{head}"]
        lines += [_probe_arm(name, arm) for name, arm in point["configurations"].items()]
    return "\n".join([*lines, "", *_probes_closing(record)]) + "\n"


def _probe_arm(name: str, arm: Mapping[str, Any]) -> str:
    sent = "-" if arm["d2h_bytes_per_token"] is None else f"{arm['d2h_bytes_per_token']:.1f}"
    lost = "" if arm["overhead"] is None else percent(arm["overhead"])
    return (
        f"  {name:<22}{arm['p50_us']:>10.1f}{arm['p99_us']:>11.1f}{lost:>10}{arm['syncs_per_token']:>10.2f}{sent:>15}"
    )


def _probes_closing(record: Mapping[str, Any]) -> list[str]:
    lines = _wrapped(
        "Probes x layers; all figures are for one token. The device is synchronised around each token; p99 holds the "
        "tokens at which readouts are flushed, and so does the overhead, which is of tokens/s."
    )
    lines += _few(record, [arm for point in record["points"] for arm in point["configurations"].values()])
    if record["environment"]["times"] == "simulated":
        lines += _wrapped(
            "Virtual time leaves out what the host computes by itself, as arm cpu does, and Python's own."
        )
    for name, why in record["left_out"].items():
        lines += _wrapped(f"Left out: {name}: {why}.")
    if record["audit_data_equal"] is None:
        return [*lines, "Readouts: fewer than two arms read some, so there is nothing to compare."]
    if record["audit_data_equal"]:
        return [*lines, f"Readouts: equal in all arms, within {record['tolerance']:g} of the largest."]
    return [*lines, "READOUTS DIFFER: the arms cannot be compared."]


def _trials(arms: Mapping[str, Any]) -> str:
    counts = sorted({len(arm["trials"]) for arm in arms.values()})
    return count(counts[0], "trial") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} trials"


def _head(record: Mapping[str, Any]) -> list[str]:
    environment = record["environment"]
    first = f"auditlint bench {record['study']}: {environment['backend']}, torch {environment['torch']}"
    return [first, *_wrapped(environment["label"])]


def _speed(record: Mapping[str, Any], name: str, arm: Mapping[str, Any]) -> str:
    low, high = (_number(end) for end in arm["spread"])
    line = f"{name:<15}{_number(arm['median']):>8}  {f'{low} to {high}':<14}"
    if arm["overhead"] is None:
        return line.rstrip() if name == arm["base"] else f"{line}{'':>8}  {'':<17}no baseline"
    shown = "" if arm["ci95"] is None else " to ".join(percent(end) for end in arm["ci95"])
    return f"{line}{percent(arm['overhead']):>8}  {shown:<17}{verdict(record, arm)}"


def verdict(record: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
    """An arm's verdict, with a `?` where its interval reaches into another one, or nothing tells how sure it is."""
    measured = record["environment"]["times"] == "measured"
    ends = arm["ci95"] or ()
    unsure = any(verdicts.verdict(end) != arm["verdict"] for end in ends) or (measured and not ends)
    return f"{arm['verdict']}{' ?' if unsure else ''}"


def _few(record: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """What has to be said of measurements that are too few."""
    if record["environment"]["times"] == "measured" and min(len(arm["trials"]) for arm in arms) < FEW:
        return _wrapped(f"Fewer than {FEW} trials: what differs by chance may look sure.")
    return []


def _traffic(name: str, arm: Mapping[str, Any]) -> str:
    trial = arm["trials"][0]
    tokens = trial["tokens"]
    sent = "-" if trial["d2h_bytes"] is None else f"{trial['d2h_bytes'] / tokens:.1f}"
    in_pass = "" if arm["pass_overhead"] is None else percent(arm["pass_overhead"])
    return (
        f"{name:<16}{trial['syncs'] / tokens:>9.3f}{arm['syncs_in_hooks'] / tokens:>10.3f}{sent:>15}"
        f"{trial['log_bytes'] / tokens:>14.1f}{in_pass:>12}"
    ).rstrip()


def _closing(record: Mapping[str, Any]) -> list[str]:
    criteria = record["criteria"]
    lines = _wrapped(
        "Overhead is of tokens/s, the reading of the log included; `pass alone` is without it. Below 1% STRICT, below "
        "5% LENIENT, up to 10% FAIL, above CATASTROPHIC; `?`: the interval reaches into another verdict, or there is "
        f"none. {criteria['note']}"
    )
    if record["environment"]["times"] == "simulated":
        lines += _wrapped(
            "Virtual time has no noise, so all trials of an arm take the same time, to rounding; it leaves out what "
            "Python itself takes."
        )
    lines += _few(record, [*record["configurations"].values()])
    for name, arm in record["configurations"].items():
        waits = arm["trials"][0]["syncs"] / arm["trials"][0]["tokens"]
        if name == arm["base"] and waits:
            lines += _wrapped(
                f"{name}: the model waits by itself, {waits:.2g} times a token; what arms add may vanish behind that."
            )
    for name, why in record["left_out"].items():
        lines += _wrapped(f"Left out: {name}: {why}.")
    return lines + _equality(record)


def _equality(record: Mapping[str, Any]) -> list[str]:
    arms = record["configurations"].items()
    if record["audit_data_equal"] is None:
        return ["Audit data: fewer than two arms recorded some, so there is nothing to compare."]
    if not record["audit_data_equal"]:
        differing = [name for name, arm in arms if arm["audit_data"] and not arm["audit_data"]["equal"]]
        return _wrapped(f"AUDIT DATA DIFFER in {', '.join(differing) or 'an arm'}: the arms cannot be compared.")
    lines = ["Audit data: equal in all arms, bit for bit where the kernels are the same."]
    for name, arm in arms:
        data = arm["audit_data"]
        if data and data["tolerance"]:
            lines += _wrapped(
                f"{name}: within {data['tolerance']:g} (largest difference {data['largest_difference']:.1g}), over "
                f"{data['tokens_compared']} tokens."
            )
    return lines


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def size(parameters: int) -> str:
    """A number of parameters: in millions, if there are any."""
    return f"{parameters / 1e6:.1f}M" if parameters >= 100_000 else f"{parameters:,}"


def percent(fraction: float) -> str:
    """A fraction in percent, with three digits or two decimals."""
    value = fraction * 100
    return f"{value:.1f}%" if abs(value) >= 10 else f"{value:.2f}%".replace("-0.00%", "0.00%")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)
