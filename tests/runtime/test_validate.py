"""Every operation that the rules speak of is run and counted, and the counts agree with the table."""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="counts what torch does")

import auditlint  # noqa: E402
from auditlint.console import UsageError  # noqa: E402
from auditlint.facts.cases import Case  # noqa: E402
from auditlint.runtime import validate  # noqa: E402
from auditlint.runtime.report import Environment  # noqa: E402
from auditlint.runtime.validate import (  # noqa: E402
    AGREES,
    CASES,
    COUNTED,
    NOT_COUNTED,
    NOT_RUN,
    Validation,
    Verdict,
)

LIBRARIES = ("accelerate", "cloudpickle", "dill", "joblib", "numpy", "rich", "safetensors", "tensorboard", "tqdm")
COMMAND = "import sys; from auditlint.runtime.validate import main; sys.exit(main(sys.argv[1:]))"

# Where a backend's count differs from the table: the case's code -> why. Each is a fault of the backend, not of the
# table; whoever mends it deletes its line here.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "cpu": {},
    "simulated": {},
}


def run(backend: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON of the command, from a process of its own, which may leave torch as it likes."""
    environment = {**os.environ, "PYTHONPATH": str(Path(auditlint.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "--backend", backend, "--output-format", "json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("backend", ["cpu", "simulated"])
def test_the_counts_agree_with_the_table(backend: str) -> None:
    status, report = run(backend)
    wrong = {case["code"]: case for case in report["cases"] if case["verdict"] in (NOT_COUNTED, COUNTED)}
    assert {code: wrong[code] for code in wrong if code not in EXCEPTIONS[backend]} == {}
    assert set(EXCEPTIONS[backend]) == set(wrong)
    assert status == bool(wrong)
    assert len(report["cases"]) == len(CASES)
    assert sum(report["totals"].values()) == len(CASES)
    # What cannot run is few, and each has a reason that somebody has thought of.
    reasons = {case["reason"] for case in report["cases"] if case["verdict"] == NOT_RUN}
    assert {reason for reason in reasons if not known(reason)} == set()
    assert report["totals"][AGREES] > 400
    assert report["blind_spots"]


def known(reason: str) -> bool:
    said = ("needs ", "works only on ", "takes a figure", "a blind spot of this backend: ")
    return reason.startswith(said) or reason in [f"{library} is not installed" for library in LIBRARIES]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_counts_agree_with_the_table_on_cuda() -> None:
    status, report = run("cuda")
    assert [case for case in report["cases"] if case["verdict"] in (NOT_COUNTED, COUNTED)] == []
    assert status == 0


def test_a_table_that_is_wrong_is_contradicted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = (
        Case("Tensor.item", "always", "x.detach()"),
        Case("Tensor.detach", "", "s.item()"),
        Case("Tensor.item", "always", "s.item()"),
        Case("Tensor.item", "always", "raise ValueError('no such thing')"),
        Case("Tensor.item", "always", "s.item()", setup="s.item(); import no_such_library"),
        Case("Tensor.item", "always", "s.item()", on=("mps",)),
        Case("round", "", "print(round(s))", refused="any"),
    )
    monkeypatch.setattr(validate, "CASES", wrong)
    found = validate.validate("cpu")
    assert [(item.verdict, item.calls, item.reason) for item in found.verdicts] == [
        (NOT_COUNTED, 0, ""),
        (COUNTED, 1, ""),
        (AGREES, 1, ""),
        (NOT_RUN, 0, "ValueError: no such thing"),
        (NOT_RUN, 0, "no_such_library is not installed"),
        (NOT_RUN, 0, "works only on MPS"),
        (AGREES, 0, ""),
    ]
    assert [item.refused for item in found.verdicts] == [False] * 6 + [True]
    assert not [name for name in linecache.cache if name.startswith("<case")]
    assert capsys.readouterr() == ("", "")
    assert validate.main(["--backend", "cpu"]) == 1
    text = capsys.readouterr().out
    assert "Tensor.detach: the table says it does not wait; 1 counted (Tensor.item) in `s.item()`" in " ".join(
        text.split()
    )
    assert text.endswith("7 cases: 2 agree, 2 disagree, 3 not run.\n")


def test_setup_and_cleanup_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "CASES", (Case("Tensor.detach", "", "x.detach()", "s.item()", "s.item()"),))
    [verdict] = validate.validate("cpu").verdicts
    assert (verdict.verdict, verdict.calls, verdict.raw) == (AGREES, 0, 0)


def test_the_table_speaks_of_mps_and_of_cuda() -> None:
    apart = Case("Tensor.__setitem__[mask,number]", "always", "x[m] = 1.0")
    assert (validate.waits(apart, mps=True), validate.waits(apart, mps=False)) == (True, False)
    alike = Case("math.sqrt", "always", "math.sqrt(s)")
    assert (validate.waits(alike, mps=True), validate.waits(alike, mps=False)) == (True, True)
    assert not validate.waits(Case("Tensor.item", "", "x.detach()"), mps=False)


def test_each_blind_spot_is_that_of_a_case() -> None:
    codes = {case.code for case in CASES}
    for spots in validate.BLIND_SPOTS.values():
        assert set(spots) <= codes


def verdict(case: Case, verdict: str, calls: int = 0, reason: str = "") -> Verdict:
    return Verdict(case, bool(case.when), calls, calls * 8, ("Tensor.item",) * bool(calls), False, verdict, reason)


RESULT = Validation(
    "cuda",
    Environment("A device", "2.13.0", "570.1", "3.11.7", "Linux"),
    ("Nothing is seen of this and that, which takes more room to say than there is in a line of eighty columns.",),
    (
        verdict(Case("Tensor.item", "always", "s.item()"), AGREES, 1),
        verdict(Case("torch.nn.utils.rnn.unpad_sequence", "always", "U." + "f" * 90 + "(x)"), AGREES, 2),
        verdict(Case("torch.histc", "missing:min@2,max@3", "torch.histc(x, 5)"), NOT_COUNTED),
        verdict(Case("Tensor.xpu", "always", "host.xpu()"), NOT_RUN, reason="needs an Intel GPU"),
    ),
)


def test_the_report_for_people() -> None:
    text = validate.full(RESULT)
    assert max(map(len, text.splitlines())) <= 80
    assert (
        text
        == """\
A device, torch 2.13.0, Python 3.11.7

  table  calls    waits  operation
  waits      1        8  Tensor.item               s.item()
  waits      2       16  torch.nn.utils.rnn.unpad_sequence
                           U.ffffffffffffffffffffffffffffffffffffffffffffffff...
! waits      0        0  torch.histc               torch.histc(x, 5)

Not run here, or not to be seen:
- needs an Intel GPU: Tensor.xpu

Blind spots of this backend:
- Nothing is seen of this and that, which takes more room to say than there is
  in a line of eighty columns.

The counts contradict the table:
- torch.histc [missing:min@2,max@3]: the table says it waits; none counted in
  `torch.histc(x, 5)`

4 cases: 2 agree, 1 disagree, 1 not run.
"""
    )


def test_the_report_for_programs() -> None:
    report = json.loads(validate.as_json(RESULT))
    assert report["backend"] == "cuda"
    assert (report["device"], report["driver"], report["torch"]) == ("A device", "570.1", "2.13.0")
    assert report["totals"] == {AGREES: 2, NOT_COUNTED: 1, COUNTED: 0, NOT_RUN: 1}
    assert report["cases"][2] == {
        "op": "torch.histc",
        "when": "missing:min@2,max@3",
        "code": "torch.histc(x, 5)",
        "table": "waits",
        "count": 0,
        "raw": 0,
        "counted_as": [],
        "refused": False,
        "verdict": "not-counted",
        "reason": None,
    }


def test_the_report_goes_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "validate", lambda backend: RESULT)
    assert validate.main(["--output-format", "json", "--output-file", str(tmp_path / "report")]) == 1
    assert (tmp_path / "report").read_text() == validate.as_json(RESULT)


def test_a_backend_that_is_not_there_is_an_error_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"invalid choice: 'tpu'"):
        validate.main(["--backend", "tpu"])
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(UsageError, match="MPS"):
        validate.main(["--backend", "mps"])
