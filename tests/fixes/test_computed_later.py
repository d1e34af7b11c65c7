"""What hooks compute from what they read, computed after the pass instead: the same values, and no wait in the hook."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs the fixed code")

from auditlint.runtime import count_syncs  # noqa: E402

SHAPES = Path(__file__).parents[2] / "fixtures" / "fixes" / "shapes"


def rows_of(kind: str, device: str) -> list[Any]:
    """What the program in lists_looped_over keeps of two passes."""
    spec = importlib.util.spec_from_file_location("lists_looped_over", SHAPES / f"lists_looped_over.{kind}.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    torch.manual_seed(3)
    model = torch.nn.Linear(4, 3)
    batches = [torch.randn(2, 4), torch.randn(1, 4)]
    model = model.to(device)
    model.digits, model.names, model.least = 2, ["a", "b", "c"], 0.3
    model.label = str
    model.register_forward_hook(program.hook)
    for batch in batches:
        model(batch.to(device))
        model.digits, model.least = model.digits + 1, 0.0
        model.names.append("d")  # what is read later has been looked up in the hook
    finalize = getattr(program, "finalize", lambda rows: rows)
    rows: list[Any] = finalize(program.rows)
    return rows


def test_the_same_values() -> None:
    assert repr(rows_of("in", "cpu")) == repr(rows_of("unsafe", "cpu"))


def test_only_what_could_not_be_deferred_waits_in_the_hook() -> None:
    left = (SHAPES / "lists_looped_over.txt").read_text().count(" none: ")
    waits = []
    for kind in ("in", "unsafe"):
        with count_syncs("simulated") as counter:
            rows_of(kind, "cuda")
        waits.append(counter.totals.in_hooks)
    assert waits == [20, 2 * left]
