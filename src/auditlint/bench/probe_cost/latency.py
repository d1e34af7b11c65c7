"""How much longer a token takes with probes: bands from the literature, or what one's own bench has measured."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

from auditlint.bench.probe_cost.formulas import latency_overhead
from auditlint.console import UsageError

ILLUSTRATIVE, MEASURED, SIMULATED = "illustrative", "measured", "simulated"

# The arms of the benches that stand for the two ways, by the word that their names begin with.
NAIVE_ARMS = ("naive", "item")
BATCHED_ARMS = ("packed", "buffer", "bank", "probebank")


class Band(NamedTuple):
    """By how many percent a token takes longer, from `low` to `high`; `basis` says what kind of number that is.

    `device` and `date` are those of a measurement or simulation, "" for an illustration.
    """

    low: float
    high: float
    basis: str
    source: str
    device: str = ""
    date: str = ""

    def above(self, floor: float) -> Band:
        """The band where the readouts themselves take `floor` percent: an illustration is not to be below that."""
        if self.basis != ILLUSTRATIVE:
            return self
        return self._replace(low=max(self.low, floor), high=max(self.high, floor))


class Bands(NamedTuple):
    """The two ways: a hook that reads every probe for itself, and one matrix a layer whose readouts are sent later."""

    naive: Band
    batched: Band

    @property
    def caveat(self) -> str:
        """What has to be said along with a verdict that rests on these; "" for nothing."""
        return ON_CPU if any(band.device == "cpu" for band in self) else ""


class Latencies(NamedTuple):
    """Bands, and what they hold for: so many probes on the layers of a scope, or any (0 and "")."""

    bands: Bands
    probes: int = 0
    scope: str = ""


ON_CPU = "That was measured on a CPU, where no device is waited for: on a GPU it is not so."

# S. Mitra, Activation probe cost (2026), gives these as words, anchored to measurements of others on models of 7B
# parameters or so in a serving engine: a plug-in that reads internals while decoding keeps about 25 % of the
# throughput, so a token takes 4 times as long, and naive hooks are an order of magnitude over the baseline, 10 times
# as long. A batched asynchronous readout stays in the low single digits of percent, which is read as 1 to 3 here.
STUDY = "Mitra, Activation probe cost, 2026"
ILLUSTRATION = Bands(
    Band(300.0, 900.0, ILLUSTRATIVE, f"{STUDY}: a quarter of the throughput, to ten times the time"),
    Band(1.0, 3.0, ILLUSTRATIVE, f"{STUDY}: low single digits of percent"),
)


def labels(bands: Bands) -> dict[str, str]:
    """Return for each way what its numbers are and where they come from, as a sentence without its end."""
    names = {"batched": "Batched async readout", "naive": "Naive hook"}
    return {way: f"{name}: {_label(getattr(bands, way))}" for way, name in names.items()}


def _label(band: Band) -> str:
    if band.basis == ILLUSTRATIVE:
        return f"illustrative, not measured ({band.source})"
    device = "" if band.device == band.basis else f", {band.device}"
    return f"{band.basis}{device}, {band.date} ({band.source})"


def measured(path: str) -> tuple[Latencies, ...]:
    """Return the bands that a result file of `auditlint bench overhead` or `auditlint bench probes` holds.

    A band is the 95 % confidence interval of an arm's overhead, which the file gives as a fraction of the tokens per
    second, as a latency; the overhead alone where there is no interval. Of several batched arms, the cheapest counts.
    A study of probes has bands for each of its points.

    Raises:
        UsageError: the file cannot be read, is no such result, is one whose arms cannot be compared, or has no arm for
            one of the ways.
    """
    result = _read(path)
    if result.get("audit_data_equal") is False:
        raise UsageError(f"{path}: the arms of this study recorded different data, and cannot be compared")
    if isinstance(result.get("points"), list):
        # Of a study that was interrupted, the last point may lack arms.
        done = result["points"][: -1 if result.get("interrupted") is True and len(result["points"]) > 1 else None]
        if not done:
            raise UsageError(f"{path}: it has no points")
        return tuple(_point(path, result, point) for point in done)
    return (Latencies(_bands(path, result, result.get("configurations"), "")),)


def nearest(latencies: tuple[Latencies, ...], probes: int, scope: str) -> Bands:
    """Return the bands of that scope for the number of probes that is nearest, by the ratio; of two, the first.

    Raises:
        UsageError: there are none of that scope.
    """
    there = [one for one in latencies if one.scope in ("", scope)]
    if not there:
        raise UsageError(f"what was measured has no probes on {scope.replace('-', ' ')}")
    return min(there, key=lambda one: max(one.probes, probes) / min(one.probes or probes, probes)).bands


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: not JSON") from None
    if not isinstance(result, dict):
        raise UsageError(f"{path}: not a result of `auditlint bench`: it has no `configurations`")
    return result


def _point(path: str, result: dict[str, Any], point: Any) -> Latencies:
    if not isinstance(point, dict) or not isinstance(point.get("probes"), int) or point["probes"] < 1:
        raise UsageError(f"{path}: a point of the study is not as `auditlint bench probes` writes it")
    probes, scope = point["probes"], str(point.get("scope"))
    where = f" at {probes:,} {'probe' if probes == 1 else 'probes'} on {scope.replace('-', ' ')}"
    return Latencies(_bands(path, result, point.get("configurations"), where), probes, scope)


def _bands(path: str, result: dict[str, Any], arms: Any, where: str) -> Bands:
    if not isinstance(arms, dict):
        raise UsageError(f"{path}: not a result of `auditlint bench`: it has no `configurations`")
    naive = _arm(path, arms, NAIVE_ARMS, "naive")
    batched = _arm(path, arms, BATCHED_ARMS, "batched")
    return Bands(_band(path, result, arms, naive, where), _band(path, result, arms, batched, where))


def _arm(path: str, arms: dict[str, Any], names: tuple[str, ...], way: str) -> str:
    found = {arm: _overhead(path, arm, of) for arm, of in arms.items() if re.split(r"[^a-z]", arm.lower())[0] in names}
    if not found:
        raise UsageError(f"{path}: no arm for the {way} way ({', '.join(names)}) among {', '.join(arms) or 'none'}")
    return min(found, key=lambda arm: found[arm])


def _overhead(path: str, arm: str, of: Any) -> float:
    return _fraction(path, arm, "overhead", of.get("overhead") if isinstance(of, dict) else None)


def _fraction(path: str, arm: str, name: str, value: Any) -> float:
    """A share of the tokens per second that an arm takes: below 1, and negative where it was faster by chance."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value >= 1:
        raise UsageError(f"{path}: the {name} of arm `{arm}` is no number below 1")
    return float(value)


def _band(path: str, result: dict[str, Any], arms: dict[str, Any], arm: str, where: str) -> Band:
    of = arms[arm]
    interval = of.get("ci95") or [_overhead(path, arm, of)] * 2
    if not isinstance(interval, list) or len(interval) != 2:
        raise UsageError(f"{path}: the ci95 of arm `{arm}` is no pair of numbers")
    low, high = sorted(latency_overhead(100.0 * _fraction(path, arm, "ci95", end)) for end in interval)
    environment, config = (
        part if isinstance(part := result.get(key), dict) else {} for key in ("environment", "config")
    )
    simulated = SIMULATED in (environment.get("backend"), config.get("backend"))
    return Band(
        low,
        high,
        SIMULATED if simulated else MEASURED,
        f"arm `{arm}` of {path}{where}{', interrupted' if result.get('interrupted') is True else ''}",
        str(environment.get("device") or config.get("backend") or "a device that the file does not name"),
        str(environment.get("date") or result.get("date") or "no date").partition("T")[0],
    )
