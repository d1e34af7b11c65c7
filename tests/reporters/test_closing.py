"""The line below a report: what it counts, in which words."""

from __future__ import annotations

import pytest

from auditlint.diagnostics import Diagnostic, Fix
from auditlint.reporters.closing import closing, closing_after_fixes


@pytest.fixture
def none(finding: Diagnostic) -> Diagnostic:
    return finding._replace(fix=None)


@pytest.fixture
def unsafe(finding: Diagnostic) -> Diagnostic:
    return finding._replace(fix=Fix("unsafe", "", ()))


def test_without_fixes_the_findings_are_counted(none: Diagnostic) -> None:
    assert closing([]) == closing([], unsafe_fixes=True) == "All checks passed!\n"
    assert closing([none]) == closing([none], unsafe_fixes=True) == "Found 1 sync in 1 hook.\n"
    about_comment = none._replace(code="AUD901", hook=None)
    assert closing([none, none, about_comment]) == "Found 2 syncs in 1 hook and 1 other finding.\n"


def test_what_could_be_fixed_is_counted(none: Diagnostic, finding: Diagnostic, unsafe: Diagnostic) -> None:
    assert closing([none, finding]) == "Found 2 syncs in 1 hook (1 fixable with --fix).\n"
    assert closing([finding, unsafe]) == "Found 2 syncs in 1 hook (1 fixable with --fix, 1 more with --unsafe-fixes).\n"
    assert closing([unsafe]) == "Found 1 sync in 1 hook (1 fixable with --fix --unsafe-fixes).\n"


def test_with_unsafe_fixes_all_are_counted_together(finding: Diagnostic, unsafe: Diagnostic) -> None:
    assert closing([finding], unsafe_fixes=True) == "Found 1 sync in 1 hook (1 fixable with --fix).\n"
    both = "Found 2 syncs in 1 hook (2 fixable with --fix --unsafe-fixes).\n"
    assert closing([finding, unsafe], unsafe_fixes=True) == both


def test_after_fixes_the_sum_is_told(none: Diagnostic, finding: Diagnostic, unsafe: Diagnostic) -> None:
    found = [finding, unsafe, none]
    assert closing_after_fixes(found, [], unsafe_fixes=False) == "Found 3 syncs in 1 hook (3 fixed, 0 left).\n"
    assert closing_after_fixes(found, [unsafe, none], unsafe_fixes=False) == (
        "Found 3 syncs in 1 hook (1 fixed, 2 left; 1 fixable with --unsafe-fixes).\n"
    )
    assert closing_after_fixes(found, [none], unsafe_fixes=True) == "Found 3 syncs in 1 hook (2 fixed, 1 left).\n"
    assert closing_after_fixes([], [], unsafe_fixes=False) == "All checks passed!\n"


def test_findings_that_came_with_fixes_are_new(none: Diagnostic, finding: Diagnostic) -> None:
    new = none._replace(code="AUD103")
    line = closing_after_fixes([finding, finding], [finding, new], unsafe_fixes=False)
    assert line == "Found 2 syncs in 1 hook (1 fixed, 1 left, 1 new).\n"
