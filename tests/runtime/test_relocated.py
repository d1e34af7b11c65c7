"""Warnings that torch issues beneath a watched method, told as warnings of the user's line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="warns as torch does")

from auditlint.runtime import count_syncs  # noqa: E402


@pytest.fixture(autouse=True)
def always() -> Iterator[None]:
    """torch warns each time, not once a process; what is shown is up to Python alone."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


def loses_the_imaginary_part(target: Any, source: Any) -> None:
    target.copy_(source)
    target.copy_(source)
    source.to(torch.float32)
    source.to(torch.float32)


def test_no_line_hides_the_warning_of_another() -> None:
    first = loses_the_imaginary_part.__code__.co_firstlineno + 1
    operands = torch.zeros(2), torch.ones(2, dtype=torch.complex64)
    with count_syncs("cpu"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        loses_the_imaginary_part(*operands)
        loses_the_imaginary_part(*operands)
    told = [(warning.filename, warning.lineno) for warning in caught]
    assert told == [(__file__, row) for row in range(first, first + 4)]
