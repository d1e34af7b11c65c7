"""`auditlint bench probes`: its record, and what each arm reads, waits for and sends."""

from __future__ import annotations

import functools
import math

import pytest

torch = pytest.importorskip("torch", reason="the benches run a model")
jsonschema = pytest.importorskip("jsonschema", reason="holds the records against their schema")

from auditlint.bench import probes  # noqa: E402
from auditlint.bench.probe_arms import PROBE_ARMS  # noqa: E402
from auditlint.bench.records import schema  # noqa: E402

EAGER = ["none", "no-op", "item", "cpu", "deferred", "bank"]
TINY = ["--tokens", "5", "--trials", "2", "--flush-every", "2", "--probes", "3", "--arms", ",".join(EAGER)]


@pytest.mark.parametrize("backend", ["cpu", "simulated"])
def test_a_tiny_study_has_a_record_of_the_schema_and_equal_readouts(bench, tmp_path, backend):
    run = bench("probes", "--backend", backend, *TINY, "--plot", "p.png")
    assert (run.status, run.err) == (0, "")
    jsonschema.validate(run.record, schema("probes"))
    assert [(point["probes"], point["scope"]) for point in run.record["points"]] == [
        (3, "one-layer"),
        (3, "every-layer"),
    ]
    assert all(list(point["configurations"]) == EAGER for point in run.record["points"])
    assert run.record["audit_data_equal"] is True
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert all(len(line) <= 80 for line in run.out.splitlines())


def test_syncs_and_bytes_are_those_of_the_arms(bench):
    run = bench("probes", "--backend", "simulated", *TINY, "--scope", "every-layer", "--tokens", "4")
    arms = run.record["points"][0]["configurations"]  # three probes on each of two layers
    assert {name: arm["syncs_per_token"] for name, arm in arms.items()} == {
        "none": 0,
        "no-op": 0,
        "item": 6,
        "cpu": 2,
        "deferred": 0.5,
        "bank": 0.5,
    }
    assert [arms[name]["syncs_in_hooks_per_token"] for name in EAGER] == [0, 0, 6, 2, 0, 0]
    assert [arms[name]["d2h_bytes_per_token"] for name in EAGER[:5]] == [0, 0, 24, 2 * 16 * 4, 24]
    assert arms["item"]["p50_us"] > arms["deferred"]["p50_us"] > arms["none"]["p50_us"]
    assert arms["no-op"]["p50_us"] == pytest.approx(arms["none"]["p50_us"])
    assert arms["bank"]["p99_us"] > arms["bank"]["p50_us"]  # the tokens at which readouts are flushed


def test_a_compiled_bank_reads_the_same(bench, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    arms = ["--arms", "item,bank-compiled", "--scope", "one-layer"]
    run = bench("probes", "--backend", "cpu", "--tokens", "3", "--trials", "1", "--probes", "2", *arms)
    assert (run.status, run.record["audit_data_equal"]) == (0, True)
    assert list(run.record["points"][0]["configurations"]) == ["none", "item", "bank-compiled"]


def test_readouts_that_differ_are_told(bench, monkeypatch):
    arm = PROBE_ARMS["bank"]

    def attach(model, given, every):
        return arm.attach(model, given._replace(weights={k: v + 1e-2 for k, v in given.weights.items()}), every)

    monkeypatch.setitem(PROBE_ARMS, "bank", arm._replace(attach=attach))
    run = bench("probes", "--backend", "cpu", "--tokens", "2", "--trials", "1", "--probes", "1", "--arms", "item,bank")
    assert run.status == 1 and run.record["audit_data_equal"] is False and "READOUTS DIFFER" in run.out


def test_an_interrupt_keeps_the_points_that_have_finished_trials(bench, monkeypatch):
    runs = []
    timed = probes._timed

    def interrupted(*arguments):
        if len(runs) == 7:  # two arms warmed up and four trials, and then the first warm-up of the second point
            raise KeyboardInterrupt
        runs.append(arguments)
        return timed(*arguments)

    monkeypatch.setattr(probes, "_timed", interrupted)
    arms = ["--arms", "none,item", "--scope", "one-layer"]
    run = bench("probes", "--backend", "cpu", "--tokens", "2", "--trials", "2", "--probes", "1,2", *arms)
    jsonschema.validate(run.record, schema("probes"))
    assert (run.status, [point["probes"] for point in run.record["points"]]) == (130, [1])


def test_differences_are_relative_and_missing_readouts_are_none():
    key = ("layer", 0)
    assert probes.difference({key: [2.0, -4.0]}, {key: [2.0, -4.2]}) == pytest.approx(0.05)
    assert math.isnan(probes.difference({key: [2.0]}, {key: [2.0, 1.0]}))
    assert math.isnan(probes.difference({key: [2.0]}, {}))
    assert math.isnan(probes.difference({key: [2.0]}, {key: [math.nan]}))


def test_percentiles_are_values_that_were_measured():
    values = [float(value) for value in range(1, 101)]
    assert [probes.percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert probes.percentile([7.0], 0.99) == 7.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_all_arms_run_on_a_cuda_device(bench):
    run = bench("probes", "--backend", "cuda", "--tokens", "12", "--trials", "2", "--probes", "1,20")
    jsonschema.validate(run.record, schema("probes"))
    assert (run.status, run.record["left_out"], run.record["audit_data_equal"]) == (0, {}, True)
