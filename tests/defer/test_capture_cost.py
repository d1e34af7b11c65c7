"""The benchmark of captures runs, counts one transfer for a flush, and says where it cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks" / "capture_cost.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COMMAND), "--rounds", "1", "--captures", "5", "--processes", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("backend", "count"), [("cpu", "none, they are on the host"), ("simulated", "1 transfer, 1 wait")]
)
def test_it_prints_ratios_and_counts_the_transfers_of_a_flush(backend: str, count: str) -> None:
    done = run("--backend", backend)
    assert done.returncode == 0, done.stderr
    head, plain, graph, last = done.stdout.split("\n\n")
    assert head.startswith(f"backend {backend}, torch {torch.__version__}")
    for table in (plain, graph):
        _, unit, *rows = table.splitlines()
        assert unit.split()[:2] == ["kept.append(t.detach())", "1.00"] and len(rows) == 7
        assert all(float(row[48:].split()[0]) > 0 for row in rows)
    assert last.splitlines() == [f"transfers in a flush of 1,000 scalars: {count}"]


def test_it_times_the_import() -> None:
    done = run("--processes", "1")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("import auditlint.defer after import torch: ") and "over 1 processes" in last


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_backend_that_is_not_there_is_no_measurement() -> None:
    done = run("--backend", "cuda")
    assert (done.returncode, done.stdout) == (2, "") and "CUDA" in done.stderr
