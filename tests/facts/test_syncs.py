"""What is called a sync is one: each entry whose evidence is an experiment is run and counted again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from auditlint.facts.cases import WAITS, Case
from auditlint.facts.innocent_cases import INNOCENT
from auditlint.facts.syncs import NOT_SYNCS, ROWS, SYNCS, Sync

KINDS = {
    "item",
    "cpu",
    "tolist",
    "cast",
    "format",
    "numpy",
    "synchronize",
    "serialise",
    "truth",
    "builtin",
    "dynamic",
    "compare",
    "index",
    "h2d",
}
CONDITION = re.compile(
    r"always|one_argument|to_cpu|to_device|host_destination|host_source"
    r"|missing:\w+@[\d-](,\w+@[\d-])*|(true|contains|host|device):\w+@[\d-]|tensor:\w+@([\d-]|\d\+)"
)

Count = Callable[[Case], Counter[str]]

# Innocent on a device, but the CPU reads a value, or runs one of the kernels that the fixture counts.
ONLY_ON_CPU = {
    "Tensor.std",
    "Tensor.var",
    "torch.multinomial",
    "torch._assert_async",
    "torch.linalg.inv_ex",
    "torch.linalg.solve_ex",
    "torch.nn.functional.one_hot",
    "torch.histc",
}


def syncs() -> list[tuple[str, str, Sync]]:
    """Each (operation, condition, entry) of the table."""
    return [(name, sync.when, sync) for name, entries in SYNCS.items() for sync in entries]


def named(cases: list[Case]) -> list[object]:
    return [pytest.param(case, id=f"{case.op}-{case.code}") for case in cases]


EXPERIMENTS = {(name, when) for name, when, sync in syncs() if "exp" in sync.evidence}
COUNTED = [case for case in WAITS if (case.op, case.when) in EXPERIMENTS]
FREE = [case for case in INNOCENT if case.op not in ONLY_ON_CPU and (not case.on or "cpu" in case.on)]


def test_each_entry_speaks_the_documented_words() -> None:
    for sync, names in ROWS:
        assert sync.kind in KINDS, names
        assert all(CONDITION.fullmatch(part) for part in sync.when.split(" and ")), sync
        assert sync.cuda or sync.mps, names
        assert re.match(r"(exp|bin|doc|src)\b", sync.evidence), sync


def test_no_row_names_an_operation_twice() -> None:
    for _, names in ROWS:
        listed = names.split()
        assert len(listed) == len(set(listed)), names


def test_nothing_is_both_a_sync_and_harmless() -> None:
    always = {name for name, syncs in SYNCS.items() for sync in syncs if sync.when == "always" and sync.cuda}
    assert not always & NOT_SYNCS


def test_each_condition_of_each_operation_has_its_case() -> None:
    conditions = [(name, when) for name, when, _ in syncs()]
    assert len(conditions) == len(set(conditions))
    assert {(case.op, case.when) for case in WAITS} == set(conditions)


def test_each_innocent_operation_has_its_case() -> None:
    assert NOT_SYNCS - {case.op for case in INNOCENT} == set()
    assert all(not case.when for case in INNOCENT)


@pytest.mark.parametrize("case", [*WAITS, *INNOCENT])
def test_the_code_of_each_case_is_python(case: Case) -> None:
    assert case.code or case.cannot
    for text in (case.setup, case.code, case.after):
        compile(text, "<case>", "exec")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", named(COUNTED))
def test_an_experiment_still_waits(case: Case, counted: Count) -> None:
    assert counted(case)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", named(FREE))
def test_what_is_called_innocent_reads_nothing(case: Case, counted: Count) -> None:
    assert not counted(case)


def test_what_waits_on_mps_alone_is_reported_only_where_it_is_asked_for_by_name() -> None:
    assert [sync.reported for sync in SYNCS["torch.mps.synchronize"]] == [True]
    assert [sync.reported for sync in SYNCS["Tensor.__setitem__[mask,number]"]] == [False]
    assert [sync.reported for sync in SYNCS["Event.elapsed_time"]] == [False]
    assert all(sync.reported for sync in SYNCS["Tensor.item"])
