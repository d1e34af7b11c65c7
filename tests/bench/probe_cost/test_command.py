"""`auditlint probe-cost`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from auditlint.bench.probe_cost.presets import PRESETS
from auditlint.cli import main


class Run(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Run:
        status = main(["probe-cost", *arguments])
        return Run(status, *capsys.readouterr())

    return run


NUMBER = {"type": "number"}
BAND = {
    "type": "object",
    "additionalProperties": False,
    "required": ["low", "high", "throughput_loss", "basis", "source", "device", "date"],
    "properties": {
        "low": NUMBER,
        "high": NUMBER,
        "throughput_loss": {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2},
        "basis": {"enum": ["illustrative", "measured", "simulated"]},
        "source": {"type": "string", "minLength": 1},
        "device": {"type": ["string", "null"]},
        "date": {"type": ["string", "null"]},
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["study", "command", "model", "config", "computed", "latency", "verdict", "criteria"],
    "properties": {
        "study": {"const": "probe-cost"},
        "command": {"type": "string"},
        "model": {"required": ["name", "params", "active_params", "d_model", "layers", "source"]},
        "config": {"required": ["probes", "scope", "dtype", "probe_dtype"]},
        "computed": {"type": "object", "additionalProperties": NUMBER, "minProperties": 13},
        "latency": {"type": "object", "required": ["naive", "batched"], "additionalProperties": BAND},
        "verdict": {"required": ["floor", "naive", "batched", "headline", "contrast", "sentence"]},
        "criteria": {"const": {"STRICT": 1.0, "LENIENT": 5.0, "CATASTROPHIC": 10.0}},
    },
}


def answered(done: Run) -> Any:
    assert (done.status, done.err) == (0, "")
    answer = json.loads(done.out)
    jsonschema.validate(answer, SCHEMA)
    return answer


def test_the_arithmetic_is_printed(run: Callable[..., Run]) -> None:
    seven = ("--params", "7e9", "--d-model", "4096", "--layers", "32")
    assert re.search(r"arithmetic overhead +5\.9e-5 %  6\.2 orders of magnitude below", run(*seven).out)
    assert "8.2 MB of probe weights beside 14 GB at work" in run(*seven, "--probes", "1000").out


@pytest.mark.parametrize("scope", ["one-layer", "every-layer"])
@pytest.mark.parametrize("name", PRESETS)
def test_reports_fit_80_columns_and_say_what_is_illustrative(name: str, scope: str, run: Callable[..., Run]) -> None:
    done = run("--preset", name, "--probes", "12345", "--scope", scope, "--dtype", "float8")
    assert (done.status, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.count("illustrative, not measured (Mitra, ") == 2
    assert PRESETS[name].source.rpartition(" ")[2] in done.out


def test_json_holds_the_question_and_the_answer(run: Callable[..., Run]) -> None:
    answer = answered(run("--preset", "Mixtral-8x7B", "--probes", "10", "--scope", "every-layer", "--json"))
    assert answer["command"] == "auditlint probe-cost --preset Mixtral-8x7B --probes 10 --scope every-layer --json"
    assert (answer["model"]["params"], answer["model"]["active_params"]) == (46_702_792_704, 12_879_925_248)
    assert answer["config"] == ({"probes": 10, "scope": "every-layer", "dtype": "bfloat16", "probe_dtype": "bfloat16"})
    assert answer["computed"]["readouts"] == 320
    assert answer["computed"]["arithmetic_overhead"] == 100 * 320 * 4096 / 12_879_925_248
    assert answer["latency"]["naive"]["throughput_loss"] == [75.0, 90.0]


@pytest.mark.parametrize(("text", "params"), [("7e9", 7e9), ("7B", 7e9), ("124.4M", 124_400_000), ("1_000", 1000)])
def test_numbers_are_written_as_people_write_them(text: str, params: int, run: Callable[..., Run]) -> None:
    assert answered(run("--params", text, "--d-model", "8", "--layers", "2", "--json"))["model"]["params"] == params


def test_probes_have_the_dtype_that_the_model_computes_in(run: Callable[..., Run]) -> None:
    for given, expected in (
        (["--dtype", "int4"], "bfloat16"),
        (["--dtype", "float32"], "float32"),
        (["--dtype", "float32", "--probe-dtype", "float16"], "float16"),
    ):
        assert answered(run(*given, "--json"))["config"]["probe_dtype"] == expected


def test_a_module_is_read_where_one_is_named(run: Callable[..., Run]) -> None:
    pytest.importorskip("torch", reason="reads a module of torch")
    name = "torch.nn:Transformer"
    answer = answered(run("--model", name, "--d-model", "512", "--layers", "12", "--json"))
    assert (answer["model"]["name"], answer["model"]["d_model"], answer["config"]["dtype"]) == (name, 512, "float32")
    assert answer["model"]["params"] == 44_140_544  # 6 and 6 layers of width 512 and 2,048, and two norms


def test_measured_latencies_replace_the_illustrations(run: Callable[..., Run], tmp_path: Path) -> None:
    arms = {"naive": {"overhead": 0.4, "ci95": [0.38, 0.42]}, "packed": {"overhead": 0.005, "ci95": [0.004, 0.006]}}
    environment = {"device": "Apple M1 Max", "date": "2026-11-28"}
    (tmp_path / "result.json").write_text(json.dumps({"configurations": arms, "environment": environment}))
    done = run("--measured", "result.json")
    assert done.status == 0 and "illustrative" not in done.out
    assert "Can be on by default, batched. The cost is not in the math but in a naive hook." in " ".join(
        done.out.split()
    )
    assert "measured, Apple M1 Max, 2026-11-28 (arm `packed` of result.json)" in " ".join(done.out.split())
    answer = answered(run("--measured", "result.json", "--json"))
    assert {band["basis"] for band in answer["latency"].values()} == {"measured"}
    assert run("--measured", "result.json", "--html", "p.html").status == 0
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "measured, Apple M1 Max, 2026-11-28 (arm `naive` of result.json)" in page


def test_the_page_is_written_beside_the_report(run: Callable[..., Run], tmp_path: Path) -> None:
    done = run("--html", "page.html")
    assert (done.status, done.out) == (0, run().out)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_pipe_is_written_to_and_not_replaced(run: Callable[..., Run], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    both = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)  # it holds more than the page
    try:
        assert run("--html", "pipe").status == 0
        assert os.read(both, 15) == b"<!DOCTYPE html>"
        assert (tmp_path / "pipe").is_fifo()
    finally:
        os.close(both)


def test_presets_are_listed_with_their_configurations(run: Callable[..., Run]) -> None:
    lines = run("--list-presets").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(PRESETS)
    assert max(map(len, lines)) <= 80 and "mistralai/Mistral-7B-v0.1" in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "lama-3-8b"], "no preset `lama-3-8b`; did you mean `llama-3-8b`?"),
        (["--preset", "zzzzzz"], "no preset `zzzzzz`; --list-presets lists them"),
        (["--preset", "gpt2", "--params", "7e9"], "--params does not go with --preset"),
        (["--model", "a:b", "--preset", "gpt2"], "--preset does not go with --model"),
        (["--model", "a:b", "--params", "7e9"], "--params does not go with --model"),
        (["--model", "nothing"], "--model nothing: not of the form module:factory"),
        (["--params", "7e9"], "--d-model is missing"),
        (["--d-model", "4096"], "--params is missing"),
        (["--params", "7e9", "--d-model", "9"], "--layers is missing"),
        (
            ["--params", "7", "--active-params", "8", "--d-model", "1", "--layers", "1"],
            "--active-params 8 is more than --params 7",
        ),
        (["--probes", "0"], "argument --probes: not a whole number from 1 to 1.00M: '0'"),
        (["--probes", "1.5"], "not a whole number"),
        (["--probes", "-1"], "not a whole number"),
        (["--probes", "many"], "argument --probes: not a number: 'many'"),
        (["--probes", "nan"], "not a number: 'nan'"),
        (["--params", "inf", "--d-model", "1"], "not a number: 'inf'"),
        (["--params", "1e99", "--d-model", "1"], "not a whole number from 1 to 1,000T: '1e99'"),
        (["--dtype", "float12"], "invalid choice: 'float12'"),
        (["--probe-dtype", "int4"], "invalid choice: 'int4'"),
        (["--scope", "some"], "invalid choice: 'some'"),
        (["--measured", "none.json"], "none.json: cannot be read: No such file or directory"),
        (["--html", "no/such/folder.html"], "no/such/folder.html: cannot be written: No such file or directory"),
        (["--html", "."], ".: cannot be written: Is a directory"),
        (["stray"], "unrecognized arguments: stray"),
    ],
)
def test_what_cannot_be_obeyed_is_one_clear_line(arguments: list[str], message: str, run: Callable[..., Run]) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("auditlint: error: ") and message in done.err
    assert done.err.count("\n") == 1


def test_neither_the_command_nor_the_page_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from auditlint.cli import main;"
        "status = main(['probe-cost', '--html', sys.argv[1]]);"
        "sys.exit(status or 'torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "page.html")], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_missing_torch_is_one_clear_line(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = run("--model", "a:b")
    assert (done.status, done.err) == (2, "auditlint: error: --model needs torch: pip install 'auditlint[runtime]'\n")
