"""Grades at every threshold, and the sentence for every pair of them."""

from __future__ import annotations

import pytest

from auditlint.bench.probe_cost.formulas import latency_overhead
from auditlint.bench.probe_cost.latency import ILLUSTRATION, MEASURED, Band, Bands
from auditlint.bench.probe_cost.verdict import CONTRASTS, HEADLINES, grade, verdict


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (-3.0, "STRICT"),
        (0.0, "STRICT"),
        (0.999, "STRICT"),
        (1.0, "LENIENT"),
        (4.999, "LENIENT"),
        (5.0, "FAIL"),
        (10.0, "FAIL"),
        (10.001, "CATASTROPHIC"),
        (99.0, "CATASTROPHIC"),
    ],
)
def test_a_loss_is_graded_as_was_registered(loss: float, expected: str) -> None:
    assert grade(loss) == expected


def bands(naive: float, batched: float) -> Bands:
    """Bands whose best and worst cases lose these shares of the tokens per second."""
    low, high = latency_overhead(naive), latency_overhead(batched)
    return Bands(Band(low, 10 * low + 1, MEASURED, ""), Band(0.0, high, MEASURED, ""))


@pytest.mark.parametrize(
    ("naive", "batched", "headline", "contrast"),
    [
        (40.0, 0.6, "default", "implementation"),  # measured on an M1 Max, MPS
        (12.0, 0.3, "default", "implementation"),
        (40.0, 3.0, "affordable", "implementation"),
        (2.0, 0.5, "default", "either"),
        (2.0, 3.0, "affordable", "either"),
        (40.0, 7.0, "expensive", "neither"),
        (40.0, 30.0, "expensive", "neither"),
        (2.0, 7.0, "expensive", "naive"),
    ],
)
def test_the_sentence_follows_from_what_is_lost(naive: float, batched: float, headline: str, contrast: str) -> None:
    of = verdict(0.06, bands(naive, batched))
    assert (of.headline, of.contrast) == (headline, contrast)
    assert of.sentence == f"{HEADLINES[headline]} {CONTRASTS[contrast]}"


def test_where_the_floor_is_high_the_readouts_are_to_blame() -> None:
    of = verdict(2.0, bands(40.0, 3.0))
    assert (of.floor, of.headline, of.contrast) == ("LENIENT", "arithmetic", "fewer")


def test_the_naive_way_is_judged_at_its_best_and_the_batched_one_at_its_worst() -> None:
    of = verdict(6e-5, ILLUSTRATION)
    assert (of.floor, of.naive, of.batched) == ("STRICT", "CATASTROPHIC", "LENIENT")
