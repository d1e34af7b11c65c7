"""One program with syncs in every kind of hook: each backend counts what the comments beside its lines say."""

from __future__ import annotations

import re
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="counts what torch does")

from auditlint.runtime import count_syncs

SCRIPT = Path(__file__).parents[2] / "fixtures/scripts/every_hook.py"
EXPECTATION = re.compile(r"# (\S+) x(\d+) in (\S+) \((\w+)\)$")

Expected = tuple[int, str, str, str]


def expected() -> Counter[Expected]:
    """(row, operation, hook, kind of hook) -> number of calls."""
    counts: Counter[Expected] = Counter()
    for row, line in enumerate(SCRIPT.read_text(encoding="utf-8").splitlines(), start=1):
        if found := EXPECTATION.search(line):
            op, count, hook, kind = found.groups()
            counts[row, op, hook, kind] += int(count)
    return counts


def test_the_program_is_what_it_is_meant_to_be() -> None:
    assert len(expected()) >= 40
    assert len({kind for *_, kind in expected()}) >= 12


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not record columns")
@pytest.mark.parametrize(("backend", "device"), [("cpu", "cpu"), ("simulated", "cuda")])
@pytest.mark.filterwarnings("ignore")
def test_every_sync_is_counted_at_its_line(backend: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), device])
    with count_syncs(backend) as counter:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    counted: Counter[Expected] = Counter()
    for site in counter.report().sites:
        if site.hook and site.allowed is None:
            counted[site.row, site.op, site.hook.name, site.hook.kind] += site.count
    assert counted == expected()
    assert counter.totals.allowed == 2
