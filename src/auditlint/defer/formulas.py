"""How values that are computed from others get theirs: each function once, what it needs before it, no recursion."""

from __future__ import annotations

from collections.abc import Sequence

from auditlint.defer.capture import Capture, Failed, Formula
from auditlint.defer.settling import fail, settle_value


def compute(captures: Sequence[Capture]) -> list[BaseException]:
    """Give values to captures that are formulas, in their order; returns the errors of those that failed.

    The captured tensors that they need have values by now, or get them when they are read. Called with the lock of a
    flush, so that a function that is running was called further up in this very thread.

    Raises RuntimeError when a value is needed to compute itself.
    """
    errors: list[BaseException] = []
    for capture in captures:
        left = [capture]
        while left:  # a stack, and not recursion: sums are chains of thousands
            formula = left[-1]._held
            if not isinstance(formula, Formula):
                left.pop()
                continue
            if formula.running:
                raise RuntimeError("a derived value is read while its own function runs")
            before = [needed for needed in formula.needed if isinstance(needed._held, Formula)]
            if before:
                left += reversed(before)
                continue
            errors += _computed(left.pop(), formula)
    return errors


def _computed(capture: Capture, formula: Formula) -> list[BaseException]:
    for needed in formula.needed:
        if isinstance(needed._held, Failed):  # raising it once more would add to its traceback, for each in a chain
            capture._held = needed._held
            return [needed._held.error]
    formula.running = True
    try:
        value = formula.compute()
    except Exception as error:
        fail([capture], error)
        return [error]
    finally:
        formula.running = False
    settle_value(capture, value)
    return []
