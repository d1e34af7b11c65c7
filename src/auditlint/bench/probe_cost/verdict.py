"""Whether probes can ride along: grades by the criteria of the overhead study, and the one sentence."""

from __future__ import annotations

from typing import NamedTuple

from auditlint.bench import verdicts
from auditlint.bench.probe_cost.formulas import throughput_loss
from auditlint.bench.probe_cost.latency import Bands

# What stands in the report and in the page: key -> sentence.
HEADLINES = {
    "arithmetic": "The readouts themselves cost: no implementation is cheaper than its arithmetic and its bytes.",
    "default": "Can be on by default, batched.",
    "affordable": "Affordable where it is wanted, batched.",
    "expensive": "Too expensive even batched.",
}
CONTRASTS = {
    "implementation": "The cost is not in the math but in a naive hook.",
    "either": "A naive hook would do as well.",
    "neither": "A naive hook costs too much as well.",
    "naive": "A naive hook costs less.",
    "fewer": "Fewer probes, or probes on fewer layers, cost less.",
}


class Verdict(NamedTuple):
    """The grades of the floor, of the naive way at its best, and of the batched way at its worst; and the sentences."""

    floor: str
    naive: str
    batched: str
    headline: str
    contrast: str
    caveat: str = ""

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return " ".join(filter(None, (HEADLINES[self.headline], CONTRASTS[self.contrast], self.caveat)))


def grade(loss: float) -> str:
    """Return what the criteria make of a loss of `loss` percent of the tokens per second."""
    return verdicts.verdict(loss / 100.0)


def verdict(floor: float, bands: Bands) -> Verdict:
    """Return the verdict on a `floor` and two bands, in percent of a token's latency."""
    of_floor, of_naive, of_batched = (
        grade(throughput_loss(latency)) for latency in (floor, bands.naive.low, bands.batched.high)
    )
    judged = Verdict(of_floor, of_naive, of_batched, "arithmetic", "fewer", bands.caveat)
    if of_floor != "STRICT":
        return judged
    naive_passes, batched_passes = (of in ("STRICT", "LENIENT") for of in (of_naive, of_batched))
    if not batched_passes:
        return judged._replace(headline="expensive", contrast="naive" if naive_passes else "neither")
    headline = "default" if of_batched == "STRICT" else "affordable"
    return judged._replace(headline=headline, contrast="either" if naive_passes else "implementation")
