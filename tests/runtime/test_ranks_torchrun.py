"""Under torchrun each rank counts, and rank 0 writes one report of all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torchrun comes with torch")

ROOT = Path(__file__).parents[2]


def test_two_ranks_make_one_report(tmp_path: Path) -> None:
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    output = tmp_path / "report.json"
    check = ["-m", "auditlint", "--runtime-check", "--output-format", "json", "--output-file", str(output)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, *check, str(ROOT / "fixtures" / "scripts" / "ranks.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    ranks = sorted(line for line in done.stdout.splitlines() if line)
    assert ranks == ["rank 0 of 2.0", "rank 1 of 2.0"], done.stderr
    report = json.loads(output.read_text())
    hooked = {site["thread"]: site["count"] for site in report["sites"] if site["hook"] is not None}
    assert hooked == {"rank 0: MainThread": 1, "rank 1: MainThread": 3}
    assert (report["totals"]["in_hooks"], report["totals"]["outside"]) == (4, 2)
    assert done.returncode == 1  # torchrun's status for a rank that failed: rank 0 found syncs in hooks
