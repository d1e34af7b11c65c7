"""What is said of Python's own callables holds: those that read a tensor do, the harmless ones do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from auditlint.facts.cases import Case
from auditlint.facts.host import HOST_CALLS, HOST_HARMLESS, HOST_METHODS, HOST_MODULES
from auditlint.facts.host_cases import INNOCENT, WAITS
from auditlint.facts.syncs import SYNCS

Count = Callable[[Case], Counter[str]]

# A copy to the host (pickles, arrays) is none on the CPU; reads of one value are what the fixture counts.
# A warning reads its tensor when it is shown, and pytest only records it.
COPIES = ("Tensor.__reduce_ex__", "Tensor.__array__", "Tensor.cpu")
LIBRARIES = ("rich.", "tqdm.", "set_postfix")


def fact(case: Case) -> str:
    """The method of a tensor that the table says the callable reaches."""
    call = HOST_CALLS.get(case.op) or HOST_METHODS.get(case.op) or HOST_MODULES[case.op.partition(".")[0]]
    return call.reaches


def named(cases: list[Case]) -> list[object]:
    return [pytest.param(case, id=case.code or case.op) for case in cases]


READING = [
    case
    for case in WAITS
    if not case.cannot and fact(case) not in COPIES and not case.op.startswith(LIBRARIES) and case.op != "warnings.warn"
]
REFUSED = [case for case in (*WAITS, *INNOCENT) if case.refused == "any" and not case.op.startswith(LIBRARIES)]
FREE = [case for case in INNOCENT if not case.refused]


def test_each_call_reaches_a_method_that_is_known_to_wait() -> None:
    for name, call in (HOST_CALLS | HOST_METHODS | HOST_MODULES).items():
        assert call.reaches in SYNCS, name
        assert call.reads in {"first", "any", "items", "any|items"}, name


def test_each_call_of_python_has_its_case() -> None:
    assert {*HOST_CALLS, *HOST_METHODS} - {case.op for case in WAITS} == set()
    assert {case.op.partition(".")[0] for case in WAITS} >= set(HOST_MODULES)
    assert HOST_HARMLESS - {case.op for case in INNOCENT} == set()


def test_each_case_speaks_of_a_call_in_the_table() -> None:
    assert all(fact(case) for case in WAITS)
    assert not HOST_HARMLESS & {case.op for case in WAITS}


@pytest.mark.parametrize("case", named(READING))
def test_it_reads_the_tensor(case: Case, counted: Count) -> None:
    assert counted(case)


@pytest.mark.parametrize("case", named(FREE))
def test_it_does_not_read_the_tensor(case: Case, counted: Count) -> None:
    if "numpy" in case.setup:
        pytest.importorskip("numpy")
    assert not counted(case)


@pytest.mark.parametrize("case", named(REFUSED))
def test_some_calls_refuse_a_tensor(case: Case, counted: Count) -> None:
    if "numpy" in case.setup:
        pytest.importorskip("numpy")
    with pytest.raises(TypeError):
        counted(case)


@pytest.mark.parametrize("case", named([case for case in FREE if case.op.startswith("numpy.")]))
def test_harmless_functions_of_numpy_work_on_a_tensor_without_values(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="asks torch's meta device, which has no values")
    names = {"numpy": pytest.importorskip("numpy"), "x": torch.empty(3, 3, device="meta")}
    exec(case.code, names)
