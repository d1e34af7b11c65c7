"""The criteria of the first study at their thresholds, and the intervals of what was measured."""

from __future__ import annotations

import pytest

from auditlint.bench.verdicts import interval, median_interval, overhead, registration, verdict


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (-0.2, "STRICT"),
        (0.0, "STRICT"),
        (0.00999, "STRICT"),
        (0.01, "LENIENT"),
        (0.04999, "LENIENT"),
        (0.05, "FAIL"),
        (0.07, "FAIL"),
        (0.10, "FAIL"),
        (0.10001, "CATASTROPHIC"),
        (0.4, "CATASTROPHIC"),
    ],
)
def test_the_verdict_changes_at_the_registered_thresholds(measured, expected):
    assert verdict(measured) == expected


def test_the_first_studys_numbers_give_the_first_studys_verdicts():
    assert round(overhead([142.0], [85.0]), 3) == 0.401
    assert verdict(overhead([142.0], [85.0])) == "CATASTROPHIC"
    assert round(overhead([142.0], [141.1]), 4) == 0.0063
    assert verdict(overhead([142.0], [141.1])) == "STRICT"


@pytest.mark.parametrize(
    ("arm", "expected"), [(99.5, "STRICT"), (96.0, "LENIENT"), (92.0, "FAIL"), (80.0, "CATASTROPHIC")]
)
def test_synthetic_timings_get_the_verdict_of_their_medians(arm, expected):
    base, slower = [100.0, 101.0, 99.0, 100.0, 400.0], [arm, arm + 1, arm - 1, arm, 1.0]
    assert verdict(overhead(base, slower)) == expected


def test_an_interval_is_the_same_for_the_same_timings_and_holds_the_overhead():
    base, arm = [100.0, 104.0, 98.0, 101.0, 99.0], [90.0, 95.0, 86.0, 92.0, 88.0]
    low, high = interval(base, arm)
    assert (low, high) == interval(base, arm)
    assert low <= overhead(base, arm) <= high and low < high
    assert interval(base, arm, seed=1) is not None


def test_what_slows_a_whole_round_does_not_widen_the_interval():
    base = [100.0, 50.0, 80.0, 20.0, 60.0]
    assert interval(base, [value * 0.9 for value in base]) == pytest.approx((0.1, 0.1))


def test_one_round_has_no_interval_and_an_unfinished_one_is_left_out():
    assert interval([100.0], [90.0]) is None and median_interval([100.0]) is None
    assert interval([100.0, 100.0, 7.0], [90.0, 90.0]) == pytest.approx((0.1, 0.1))


def test_backends_for_which_nothing_was_registered_say_so():
    assert registration("mps") == ""
    assert "registered for MPS" in registration("cuda") and "on cuda" in registration("cuda")
