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


def measured(path: str, probes: int, scope: str) -> Bands:
    """Return the bands that a result file of `auditlint bench overhead` or `auditlint bench probes` holds.

    Of `overhead`, a band is the 95 % confidence interval of the arm's overhead, which the file gives as a fraction of
    the tokens per second, as a latency. Of `probes`, it is the median time of a token beside that without probes, for
    the number of probes in the file that is nearest to `probes`, by their ratio, in the same `scope`. Of several
    batched arms, the cheapest counts.

    Raises:
        UsageError: the file cannot be read, is no such result, or has no arm for one of the ways.
    """
    result = _read(path)
    if isinstance(result.get("points"), list):
        result["configurations"] = _nearest(path, result["points"], probes, scope)
    if not isinstance(result.get("configurations"), dict):
        raise UsageError(f"{path}: not a result of `auditlint bench`: it has no `configurations`")
    arms = result["configurations"]
    naive = _arm(path, arms, NAIVE_ARMS, "naive")
    batched = _arm(path, arms, BATCHED_ARMS, "batched")
    return Bands(_band(path, result, naive), _band(path, result, batched))


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


def _nearest(path: str, points: list[Any], probes: int, scope: str) -> dict[str, Any]:
    """The arms of the nearest point of a study of probes, each with its share of the tokens per second."""
    try:
        there = [point for point in points if point["scope"] == scope]
        if not there:
            raise UsageError(f"{path}: it has no probes on {scope.replace('-', ' ')}")
        point = min(there, key=lambda one: abs(math.log(one["probes"] / probes)))
        times = {arm: float(of["p50_us"]) for arm, of in point["configurations"].items()}
        return {arm: {"overhead": 1.0 - times["none"] / time} for arm, time in times.items() if arm != "none"}
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise UsageError(f"{path}: a point of the study is not as `auditlint bench probes` writes it") from None


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


def _band(path: str, result: dict[str, Any], arm: str) -> Band:
    of = result["configurations"][arm]
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
        f"arm `{arm}` of {path}",
        str(environment.get("device") or config.get("backend") or "a device that the file does not name"),
        str(environment.get("date") or result.get("date") or "no date"),
    )
