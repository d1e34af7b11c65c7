"""How numbers are written, in the report and in the page alike: two figures that count, and a unit.

JavaScript rounds a number in the middle upwards, and so does this; Python's own formatting rounds it to even.
`formulas.js` has the same functions.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_FLOPS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP")
_COUNTS = ("", "K", "M", "B", "T")


def significant(value: float, figures: int = 2) -> str:
    """Return `value` with that many significant figures: "0.057", "5.9e-5", "16", "1,200"; "0" for zero."""
    if value == 0:
        return "0"
    rounded, exponent = _rounded(abs(value), figures)
    sign = "-" if value < 0 else ""
    if exponent < -3 or exponent >= 9:
        return f"{sign}{rounded.scaleb(-exponent):.{figures - 1}f}e{exponent}"
    return f"{sign}{rounded:,.{max(0, figures - 1 - exponent)}f}"


def percent(value: float) -> str:
    """Return a percentage: "0.057 %"."""
    return f"{significant(value)} %"


def size(count: float) -> str:
    """Return a number of bytes with a decimal unit: "8.2 MB"."""
    return _scaled(count, 2, _UNITS, " ")


def flops(count: float) -> str:
    """Return a number of floating-point operations with a decimal unit: "14 GFLOP"."""
    return _scaled(count, 2, _FLOPS, " ")


def span(low: float, high: float) -> str:
    """Return a range of percentages: "300 % to 900 %"; one of them where both read the same."""
    ends = percent(low), percent(high)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def amount(count: float) -> str:
    """Return a number of parameters as models are named: "7.24B", "124M"."""
    return _scaled(count, 3, _COUNTS, "")


def _scaled(value: float, figures: int, units: tuple[str, ...], space: str) -> str:
    rounded, exponent = _rounded(value, figures)
    index = min(max(exponent // 3, 0), len(units) - 1)
    scaled = rounded.scaleb(-3 * index)
    places = max(0, figures - 1 - (exponent - 3 * index))
    # Bytes and parameters come whole; a digit after the point of "12.0" parameters would say otherwise.
    shown = f"{scaled:,.{places}f}" if index or scaled % 1 else f"{scaled:.0f}"
    return f"{shown}{space if units[index] else ''}{units[index]}"


def _rounded(value: float, figures: int) -> tuple[Decimal, int]:
    """`value`, which is above 0, to that many figures, and the exponent of the first of them."""
    exact = Decimal(value)
    for _ in range(2):  # rounding may add a figure: 9.96 becomes 10
        exponent = exact.adjusted()
        exact = exact.quantize(Decimal(1).scaleb(exponent - figures + 1), ROUND_HALF_UP)
    return exact, exact.adjusted()
