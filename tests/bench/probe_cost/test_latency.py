"""Bands: an illustration is never below the floor, and a measurement stays what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditlint.bench.probe_cost.latency import (
    ILLUSTRATION,
    ILLUSTRATIVE,
    MEASURED,
    ON_CPU,
    SIMULATED,
    Bands,
    labels,
    measured,
    nearest,
)
from auditlint.console import UsageError


def result(**changes: Any) -> dict[str, Any]:
    """A result of the overhead study, with figures like those that were measured on an M1 Max."""
    arm = {"trials": [], "median": 1.0, "verdict": "STRICT"}
    made = {
        "study": "overhead",
        "environment": {"device": "Apple M1 Max", "torch": "2.13.0", "date": "2026-11-28"},
        "config": {"backend": "mps"},
        "configurations": {
            "none": {**arm, "overhead": 0.0, "ci95": None},
            "naive": {**arm, "overhead": 0.4, "ci95": [0.38, 0.42]},
            "deferred": {**arm, "overhead": 0.006, "ci95": [0.001, 0.011]},
            "packed": {**arm, "overhead": 0.004, "ci95": [0.002, 0.006]},
            "buffer-compiled": {**arm, "overhead": 0.002, "ci95": [-0.001, 0.004]},
        },
    }
    return {**made, **changes}


def saved(folder: Path, content: object) -> str:
    path = folder / "result.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def bands_of(path: str, probes: int = 1, scope: str = "one-layer") -> Bands:
    return nearest(measured(path), probes, scope)


def test_an_illustration_is_raised_to_the_floor() -> None:
    band = ILLUSTRATION.batched
    assert (band.low, band.high) == (1.0, 3.0)
    assert band.above(0.5) == band
    assert band.above(2.0)[:2] == (2.0, 3.0)
    assert band.above(7.0)[:2] == (7.0, 7.0)


def test_a_measurement_is_not_changed(tmp_path: Path) -> None:
    for band in bands_of(saved(tmp_path, result())):
        assert band.above(50.0) == band


def test_a_loss_of_throughput_becomes_a_latency(tmp_path: Path) -> None:
    bands = bands_of(saved(tmp_path, result()))
    assert bands.naive[:2] == (pytest.approx(100 * 38 / 62), pytest.approx(100 * 42 / 58))
    assert (bands.naive.basis, bands.naive.device, bands.naive.date) == (MEASURED, "Apple M1 Max", "2026-11-28")


def test_the_cheapest_of_the_batched_arms_counts(tmp_path: Path) -> None:
    band = bands_of(saved(tmp_path, result())).batched
    assert "`buffer-compiled`" in band.source
    assert band[:2] == (pytest.approx(-100 * 0.001 / 1.001), pytest.approx(100 * 0.004 / 0.996))


def test_without_an_interval_the_overhead_stands_for_itself(tmp_path: Path) -> None:
    arms = {"none": {"overhead": 0.0}, "naive": {"overhead": 0.5, "ci95": None}, "packed": {"overhead": 0.01}}
    bands = bands_of(saved(tmp_path, result(configurations=arms)))
    assert bands.naive[:2] == (100.0, 100.0)


@pytest.mark.parametrize("place", ["environment", "config"])
def test_what_was_simulated_is_called_so(place: str, tmp_path: Path) -> None:
    bands = bands_of(saved(tmp_path, result(**{place: {"backend": "simulated", "device": "an invented device"}})))
    assert {band.basis for band in bands} == {SIMULATED}
    assert all(f": {SIMULATED}, " in label and MEASURED not in label for label in labels(bands).values())


def test_a_file_without_a_device_or_a_date_says_so(tmp_path: Path) -> None:
    band = bands_of(saved(tmp_path, result(environment={}, config={}))).naive
    assert (band.device, band.date) == ("a device that the file does not name", "no date")


def test_the_illustration_names_its_source_and_no_device() -> None:
    for band in ILLUSTRATION:
        assert (band.basis, band.device, band.date) == (ILLUSTRATIVE, "", "")
        assert band.source.startswith("Mitra, Activation probe cost, 2026: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "not a result of `auditlint bench`"),
        (result(configurations=[]), "not a result of `auditlint bench`"),
        (result(configurations={}), "no arm for the naive way (naive, item) among none"),
        (result(configurations={"none": {}, "naive": {"overhead": 0.1}}), "no arm for the batched way"),
        (result(configurations={"naive": {"overhead": "0.1"}}), "the overhead of arm `naive` is no number below 1"),
        (result(configurations={"naive": {"overhead": 1.0}}), "the overhead of arm `naive` is no number below 1"),
        (result(configurations={"naive": {"overhead": float("nan")}}), "is no number below 1"),
        (result(configurations={"naive": []}), "the overhead of arm `naive` is no number below 1"),
        (
            result(configurations={"naive": {"overhead": 0.1, "ci95": [1]}, "packed": {"overhead": 0.1}}),
            "the ci95 of arm `naive` is no pair of numbers",
        ),
        (
            result(configurations={"naive": {"overhead": 0.1, "ci95": [0.1, None]}, "packed": {"overhead": 0.1}}),
            "the ci95 of arm `naive` is no number below 1",
        ),
    ],
)
def test_a_file_that_is_no_result_is_one_clear_line(content: object, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(UsageError) as raised:
        bands_of(path)
    assert str(raised.value).startswith(f"{path}: ") and message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=f"cannot be read: {reason}"):
            bands_of(str(path))


def points() -> dict[str, Any]:
    """A result of the study of probes: the more there are, the more a hook that reads each of them costs."""
    made = [
        {
            "probes": probes,
            "scope": scope,
            "configurations": {
                "none": {"overhead": None, "ci95": None},
                "item": {"overhead": 10 * probes / (100 + 10 * probes), "ci95": None},
                "bank": {"overhead": 0.02, "ci95": [0.01, 0.03]},
            },
        }
        for probes in (1, 10, 100)
        for scope in ("one-layer", "every-layer")
    ]
    return {"study": "probes", "environment": {"backend": "simulated", "device": "simulated"}, "points": made}


@pytest.mark.parametrize(("probes", "taken"), [(1, 1), (3, 1), (4, 10), (10, 10), (12, 10), (32, 100), (5000, 100)])
def test_the_nearest_number_of_probes_counts(tmp_path: Path, probes: int, taken: int) -> None:
    bands = bands_of(saved(tmp_path, points()), probes, "every-layer")
    assert bands.naive[:2] == (pytest.approx(10.0 * taken), pytest.approx(10.0 * taken))
    assert bands.batched[:2] == (pytest.approx(100 * 0.01 / 0.99), pytest.approx(100 * 0.03 / 0.97))
    assert labels(bands)["naive"].startswith("Naive hook: simulated, no date (")
    noun = "probe" if taken == 1 else "probes"
    assert f" at {taken} {noun} on every layer)" in labels(bands)["batched"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ([], "no points"),
        ([{"probes": 1, "scope": "one-layer"}], "has no `configurations`"),
        ([{"probes": 1, "scope": "one-layer", "configurations": {"none": {}}}], "no arm for the naive way"),
        ([{"probes": 0, "scope": "one-layer"}], "not as `auditlint bench probes` writes it"),
        ([7], "not as `auditlint bench probes` writes it"),
        (points()["points"][1:2], "no probes on one layer"),
    ],
)
def test_a_study_of_probes_that_cannot_be_used(tmp_path: Path, changed: list[Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bands_of(saved(tmp_path, {**points(), "points": changed}))


def test_of_an_interrupted_study_the_last_point_may_lack_arms(tmp_path: Path) -> None:
    half = {"probes": 7, "scope": "one-layer", "configurations": {"none": {"overhead": None}}}
    path = saved(tmp_path, {**points(), "interrupted": True, "points": [*points()["points"], half]})
    assert "interrupted" in labels(bands_of(path, 7))["batched"]
    assert len(measured(path)) == 6


def test_a_study_whose_arms_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recorded different data"):
        bands_of(saved(tmp_path, result(audit_data_equal=False)))


def test_what_a_cpu_says_of_waiting_is_not_said_of_a_device(tmp_path: Path) -> None:
    on_cpu = bands_of(saved(tmp_path, result(environment={"device": "cpu"})))
    assert on_cpu.caveat == ON_CPU
    assert bands_of(saved(tmp_path, result())).caveat == ILLUSTRATION.caveat == ""


@pytest.mark.parametrize("name", ["probes-simulated", "probes-cpu", "overhead-simulated", "overhead-cpu"])
def test_the_results_in_the_repository_can_be_used(name: str) -> None:
    bands = bands_of(str(Path(__file__).parents[3] / "docs" / "results" / f"{name}.json"), 100)
    assert bands.batched.basis == (SIMULATED if "simulated" in name else MEASURED)
    assert bands.caveat == (ON_CPU if "cpu" in name else "")
