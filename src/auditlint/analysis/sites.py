"""What the analysis hands to the rules: places where a reached function makes the host wait."""

from __future__ import annotations

from typing import NamedTuple

from auditlint.diagnostics import Hook, Step


class Site(NamedTuple):
    """An expression that syncs, inside a hook or a function that a hook reaches.

    `kind` names the operation's family and picks the rule:
    item, cpu, tolist, cast, format, numpy, synchronize, serialise, truth, builtin, dynamic, compare, index, h2d.
    `operation` is the operation as a reader would write it, e.g. `.item()`, `float()`, `f-string`, `torch.nonzero`,
    `if`, `max()`. `evidence` is the key of the facts entry that says why it syncs ("" for host syntax such as `if`).
    `definite` is False where only the syntax speaks for a device tensor. Rows are 1-based, columns 0-based
    UTF-8 byte offsets, as `ast` gives them. `anchor_row` and `anchor_col` are where the finding is shown: the attribute
    name of a method call, else the start of the expression.
    `statement` is the first and last row of the simple statement or compound-statement header around it.
    `scope` is "hook", "forward" (opt-in) or "hot path" (opt-in).
    """

    kind: str
    operation: str
    evidence: str
    definite: bool
    filename: str
    row: int
    col: int
    end_row: int
    end_col: int
    anchor_row: int
    anchor_col: int
    statement: tuple[int, int]
    scope: str
    hook: Hook | None
    path: tuple[Step, ...]
