"""Shapes that are programs, with a `run(device)`: they give the same before and after, and wait less in their hooks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs the fixed code")

from auditlint.runtime import count_syncs  # noqa: E402

SHAPES = Path(__file__).parents[2] / "fixtures" / "fixes" / "shapes"
PROGRAMS = sorted(
    path.name.removesuffix(".in.py") for path in SHAPES.glob("*.in.py") if "\ndef run(device" in path.read_text()
)


def kinds_of(name: str) -> list[str]:
    """The fixed programs that there are of one."""
    return [kind for kind in ("safe", "unsafe", "plain") if (SHAPES / f"{name}.{kind}.py").exists()]


def ran(name: str, kind: str, device: str) -> Any:
    """What a program gives, seeded alike."""
    spec = importlib.util.spec_from_file_location(name, SHAPES / f"{name}.{kind}.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    torch.manual_seed(3)
    return program.run(device)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_values(name: str) -> None:
    before = repr(ran(name, "in", "cpu"))
    for kind in kinds_of(name):
        assert repr(ran(name, kind, "cpu")) == before, kind


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_fixed_does_not_wait_in_the_hook(name: str) -> None:
    waits = {}
    for kind in ("in", *kinds_of(name)):
        with count_syncs("simulated") as counter:
            ran(name, kind, "cuda")
        waits[kind] = counter.totals.in_hooks
    library = [waits[kind] for kind in waits if kind not in ("in", "plain")]
    assert max(waits.values()) == waits["in"], waits
    assert min(library) < waits["in"], waits
    if " none: " not in (SHAPES / f"{name}.txt").read_text():
        assert library[-1] == 0, waits
