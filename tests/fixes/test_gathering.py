"""What hooks kept and a program reads entry by entry: after the fix it reads the same, in one transfer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="runs the fixed code")

from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402

SHAPES = Path(__file__).parents[2] / "fixtures" / "fixes" / "shapes"
LAYERS = [
    ("int", torch.arange(3) * 2**54),
    ("half", torch.tensor([0.1, -7.3], dtype=torch.float16)),
    ("double", torch.tensor([1 / 3, -1e300], dtype=torch.float64)),
    ("single", torch.tensor([[0.1]])),
]


def filled(kind: str, device: str = "cpu") -> ModuleType:
    """The program, with what its hook has kept of each layer."""
    spec = importlib.util.spec_from_file_location("entry_by_entry", SHAPES / f"entry_by_entry.{kind}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in LAYERS:
        output = value.to(device)
        floating = output if output.is_floating_point() else output.double()
        module.log.append({"layer": name, "norm": floating.norm(), "peak": output.abs().max()})
        module.norms.append(floating.norm())
        module.peaks[name] = output.abs().max()
    return module


PROGRAMS: dict[str, Callable[[ModuleType], Any]] = {
    "in_place": lambda module: (module.in_place(), module.log),
    "numbered": lambda module: module.numbered([]),
    "listed": lambda module: module.listed(),
    "by_name": lambda module: module.by_name(4),
    "converted": lambda module: module.converted(),
    "both": lambda module: module.both(),
    "replaced": lambda module: (module.replaced(), module.peaks),
}


def same(one: Any, other: Any) -> bool:
    """Whether values and their types are the same, floats to the bit."""
    return repr(one) == repr(other) and type(one) is type(other)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", ["safe", "unsafe"])
def test_the_same_values(program: str, kind: str) -> None:
    before, after = (PROGRAMS[program](filled(which)) for which in ("in", kind))
    assert same(before, after)


def test_sums_take_what_was_read() -> None:
    assert same(filled("in").summed(), filled("safe").summed())


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_wait_for_all_entries(program: str) -> None:
    waits = []
    for kind in ("in", "unsafe"):
        with count_syncs("simulated"):
            module = filled(kind, "cuda")
            before = CLOCK.counts().waits
            PROGRAMS[program](module)
            waits.append(CLOCK.counts().waits - before)
    assert waits[0] >= len(LAYERS)
    assert waits[1] == 1
