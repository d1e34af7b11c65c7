"""`auditlint bench overhead`: its record, its arms' data, and the order of the arms on the simulated device."""

from __future__ import annotations

import functools
import sys
import xml.etree.ElementTree as ElementTree

import pytest

torch = pytest.importorskip("torch", reason="the benches run a model")
jsonschema = pytest.importorskip("jsonschema", reason="holds the records against their schema")

from auditlint.bench import audit_arms, audited, devices, mixture, overhead  # noqa: E402
from auditlint.bench.records import schema  # noqa: E402

EAGER = ["none", "naive", "deferred", "packed", "buffer"]
WAITING = """
import torch


class Waiting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 4)

    def forward(self, ids):
        x = self.embedding(ids)
        return -x if x.sum() > 0 else x
"""
TINY = ["--tokens", "6", "--trials", "2", "--arms", ",".join(EAGER)]


@pytest.mark.parametrize("backend", ["cpu", "simulated"])
def test_a_tiny_study_has_a_record_of_the_schema_and_equal_audit_data(bench, tmp_path, backend):
    run = bench("overhead", "--backend", backend, *TINY, "--plot", "p.PNG")
    assert (run.status, run.err) == (0, "")
    assert (tmp_path / "p.PNG").read_bytes().startswith(b"\x89PNG")
    jsonschema.validate(run.record, schema("overhead"))
    arms = run.record["configurations"]
    assert list(arms) == EAGER and run.record["audit_data_equal"] is True
    assert all(len(arm["trials"]) == 2 for arm in arms.values())
    assert {name: arm["audit_data"]["largest_difference"] for name, arm in arms.items() if arm["audit_data"]} == (
        dict.fromkeys(EAGER[1:], 0.0)
    )
    assert len({arm["trials"][0]["log_bytes"] for arm in arms.values()}) == 2  # none at all, and the same for all
    assert all(len(line) <= 80 for line in run.out.splitlines())
    assert run.record["environment"]["label"].split(":")[0] in run.out.replace("\n", " ")


def test_syncs_are_those_of_the_arms(bench):
    arms = bench("overhead", "--backend", "simulated", *TINY).record["configurations"]
    hooks = 4  # two blocks, each with a norm and a router
    syncs = {name: arm["trials"][0]["syncs"] for name, arm in arms.items()}
    assert syncs == {"none": 0, "naive": 6 * hooks, "deferred": 6 * hooks, "packed": 1, "buffer": 1}
    assert {name: arm["syncs_in_hooks"] for name, arm in arms.items()} == dict.fromkeys(EAGER, 0) | {"naive": 24}
    # A norm and four probabilities a block, of four bytes each.
    assert [arms[name]["trials"][0]["d2h_bytes"] for name in EAGER[:4]] == [0, 240, 240, 240]


def test_the_first_studys_order_holds_on_the_simulated_device():
    with devices.opened("simulated") as device:
        model = mixture.mixture(mixture.Sizes(), 4).to(device.torch_device)
        study = overhead.study(model, device, EAGER[:4], tokens=4, trial_count=1)
    speed = {name: outcome.speeds[0] for name, outcome in study.outcomes.items()}
    assert speed["none"] > speed["packed"] > speed["deferred"] > speed["naive"]
    lost = {name: 1 - value / speed["none"] for name, value in speed.items()}
    assert lost["naive"] > 0.10 and lost["packed"] < lost["naive"] / 5
    assert study.audit_data_equal


def test_the_pass_alone_leaves_the_reading_out(bench):
    run = bench("overhead", "--backend", "simulated", *TINY)
    arms = run.record["configurations"]
    for arm in arms.values():
        for trial in arm["trials"]:
            assert 0 <= trial["read_s"] < trial["wall_clock_s"]
    assert arms["deferred"]["pass_overhead"] < arms["deferred"]["overhead"] / 2  # it waits after the pass
    assert arms["deferred"]["pass_overhead"] == pytest.approx(arms["packed"]["pass_overhead"], rel=0.05)
    assert arms["naive"]["pass_overhead"] == pytest.approx(arms["naive"]["overhead"], abs=0.02)
    assert arms["none"]["pass_overhead"] is None


def test_what_is_not_sure_has_a_question_mark(bench, tmp_path):
    once = bench("overhead", "--backend", "cpu", "--tokens", "3", "--trials", "1", "--arms", "naive", "--plot", "p.svg")
    verdict = once.record["configurations"]["naive"]["verdict"]
    assert f"{verdict} ?" in once.out and f"{verdict} ?" in (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert "Fewer than 5 trials" in once.out
    assert "?\n" not in bench("overhead", "--backend", "simulated", *TINY, "--trials", "1").out


def test_a_model_that_waits_by_itself_is_remarked_on(bench, tmp_path, monkeypatch):
    (tmp_path / "waiting_model.py").write_text(WAITING, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = ["--model", "waiting_model:Waiting", "--layers", "embedding"]
    run = bench("overhead", "--backend", "simulated", "--tokens", "3", "--trials", "1", "--arms", "naive", *model)
    sys.modules.pop("waiting_model", None)
    assert "none: the model waits by itself, 1 times a token" in " ".join(run.out.split())
    assert "waits by itself" not in bench("overhead", "--backend", "simulated", *TINY).out


def test_the_latency_model_is_in_every_output(bench, tmp_path):
    run = bench("overhead", "--backend", "simulated", *TINY, "--latency", "sync=99,bandwidth=0", "--plot", "p.svg")
    assert run.record["config"]["latency_model"]["sync"] == 99
    said = "launch 5 us, kernel 2 us, copy 5 us, sync 99 us"
    assert said in run.record["environment"]["label"] and said in " ".join(run.out.split())
    drawn = (tmp_path / "p.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(drawn).tag.endswith("svg") and "SIMULATED" in drawn and said in drawn


def test_without_a_virtual_clock_the_picture_says_why_there_is_no_timeline(bench, tmp_path):
    run = bench("overhead", "--backend", "cpu", "--tokens", "3", "--trials", "1", "--arms", "naive", "--plot", "p.svg")
    assert run.status == 0 and "No timeline" in (tmp_path / "p.svg").read_text(encoding="utf-8")


def test_an_arm_brings_what_it_is_compared_with(bench):
    run = bench("overhead", "--backend", "cpu", "--tokens", "3", "--trials", "1", "--arms", "packed")
    assert list(run.record["configurations"]) == ["none", "packed"]
    assert run.record["audit_data_equal"] is None and run.record["configurations"]["packed"]["ci95"] is None


def test_one_token_is_enough(bench):
    run = bench("overhead", "--backend", "cpu", "--tokens", "1", "--trials", "1", "--arms", "naive,packed,buffer")
    assert (run.status, run.record["audit_data_equal"]) == (0, True)


def test_arms_that_cannot_run_are_left_out_with_the_reason(bench):
    arms = "none,buffer-compiled,buffer-graphs"
    run = bench("overhead", "--backend", "simulated", "--tokens", "3", "--trials", "1", "--arms", arms)
    assert set(run.record["left_out"]) == {"none-compiled", "buffer-compiled", "none-graphs", "buffer-graphs"}
    assert "CUDA graphs need CUDA" in run.out


def test_hooks_are_compiled_in_though_the_model_was_compiled_without_them(bench, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    run = bench("overhead", "--backend", "cpu", "--tokens", "4", "--trials", "1", "--arms", "naive,buffer-compiled")
    jsonschema.validate(run.record, schema("overhead"))
    arm = run.record["configurations"]["buffer-compiled"]
    assert (run.status, arm["base"]) == (0, "none-compiled")
    assert arm["audit_data"] == {
        "equal": True,
        "tokens_compared": 4,
        "largest_difference": arm["audit_data"]["largest_difference"],
        "tolerance": audited.TOLERANCE,
    }


def test_a_compiler_that_fails_leaves_its_arms_out(bench, monkeypatch):
    def broken(model):
        raise RuntimeError("no\ncompiler")

    monkeypatch.setattr(torch, "compile", broken)
    run = bench("overhead", "--backend", "cpu", "--tokens", "3", "--trials", "1", "--arms", "naive,buffer-compiled")
    assert run.record["left_out"] == dict.fromkeys(("none-compiled", "buffer-compiled"), "RuntimeError: no compiler")


def test_arms_that_record_something_else_are_told(bench, monkeypatch):
    arm = audit_arms.ARMS["packed"]

    def attach(model, hooks, count, device):
        return audit_arms.naive(model, hooks[:-1], count, device)

    monkeypatch.setitem(audit_arms.ARMS, "packed", arm._replace(attach=attach))
    run = bench("overhead", "--backend", "cpu", "--tokens", "3", "--trials", "1", "--arms", "naive,packed")
    assert run.status == 1 and run.record["audit_data_equal"] is False
    assert run.err == "auditlint: error: the arms recorded different data, so their times cannot be compared\n"
    assert "AUDIT DATA DIFFER in packed" in run.out


@pytest.mark.parametrize("after", [1, 7, 9])
def test_an_interrupt_keeps_the_trials_that_were_finished(bench, monkeypatch, after):
    runs = []
    generate = overhead._generated

    def interrupted(*arguments):
        if len(runs) == after:
            raise KeyboardInterrupt
        runs.append(arguments)
        return generate(*arguments)

    monkeypatch.setattr(overhead, "_generated", interrupted)
    run = bench("overhead", "--backend", "cpu", "--tokens", "3", "--trials", "4", "--arms", "naive,packed")
    assert run.status == 130 and run.err.count("\n") == 1
    if after == 1:  # while arms warm up
        assert run.record is None and "nothing is written" in run.err
        return
    jsonschema.validate(run.record, schema("overhead"))
    assert run.record["interrupted"] is True
    trials = [len(arm["trials"]) for arm in run.record["configurations"].values()]
    assert sum(trials) == after - 3 and max(trials) - min(trials) <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_all_arms_run_on_a_cuda_device(bench):
    run = bench("overhead", "--backend", "cuda", "--tokens", "20", "--trials", "2")
    jsonschema.validate(run.record, schema("overhead"))
    assert (run.status, run.record["left_out"], run.record["audit_data_equal"]) == (0, {}, True)


def entries(*norms):
    return audited.by_hook([{"layer": "a", "norm": value} for value in norms])


def test_data_are_compared_bit_for_bit_or_within_a_tolerance():
    reference = entries(1.0, 2.0, 3.0)
    assert audited.compared(reference, entries(1.0, 2.0, 3.0), [5, 6, 7], [5, 6, 7], 0.0).equal
    assert not audited.compared(reference, entries(1.0, 2.0, 3.0 + 1e-6), [5, 6, 7], [5, 6, 7], 0.0).equal
    assert audited.compared(reference, entries(1.0, 2.0, 3.0 + 1e-6), [5, 6, 7], [5, 6, 7], 1e-3).equal
    assert not audited.compared(reference, entries(1.0, 2.0), [5, 6, 7], [5, 6, 7], 1e-3).equal
    assert not audited.compared(reference, {}, [5, 6, 7], [5, 6, 7], 1e-3).equal
    assert audited.compared(entries(float("nan")), entries(float("nan")), [5], [5], 0.0).equal


def test_data_are_compared_up_to_where_rounding_parts_two_generations():
    reference, other = entries(1.0, 2.0, 3.0), entries(1.0, 2.0, 9.0)
    parted = audited.compared(reference, other, [5, 6, 7], [5, 8, 9], 1e-3)
    assert parted.equal and parted.tokens_compared == 2
    assert not audited.compared(reference, other, [5, 6, 7], [5, 8, 9], 0.0).equal
    assert audited.worse(parted, parted._replace(tokens_compared=1, largest=0.5)) == (1, 0.5, 1e-3)
