"""Code with probes: which expressions of a module were executed, known exactly and at next to no cost.

A probe is a constant of the code with an attribute that is read in front of the expression E: `probe.passed or E`. The
attribute is None, so that E is evaluated next, and its value, or whether it is true, is what it would have been. The
compiler treats E in that place as it treats E alone, so its instructions and their positions stay the same too. No name
is added to any namespace, and nothing but the code object differs: rows, docstrings, `inspect.getsource` and the source
that tracebacks quote come from the file as ever. The probe goes first: an expression that raises was executed.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType
from typing import Any, NamedTuple, TypeVar

from auditlint.diagnostics import Diagnostic, Location
from auditlint.rules import Columns

__all__ = ["Probe", "Probed", "instrument"]

# Stands for a probe in the source text of constants, where only literals are allowed; no program can hold it by chance.
_MARK = f"auditlint probe {os.urandom(16).hex()} "

# Where an expression is not evaluated when it is reached, or is kept as text: nothing may be put there.
_DECLARATIONS = frozenset({"annotation", "returns", "type_params"})

# Parts of expressions that are none by themselves.
_PARTS: tuple[type[ast.expr], ...] = (ast.FormattedValue, ast.Starred, ast.Slice)
if sys.version_info >= (3, 14):
    _PARTS += (ast.Interpolation,)

_LOAD = ast.Load()

_N = TypeVar("_N", bound=ast.AST)


class Probe(bytearray):
    """Holds one byte until the program reads its `passed`, which is when it gets there.

    Code objects are hashed and compared with their constants, so it is itself and no other array.
    """

    __slots__ = ()

    # None. A property whose getter is written in C costs no frame; nothing that traces calls sees it.
    passed = property(bytearray.clear)

    def __init__(self) -> None:
        super().__init__(1)

    @property
    def reached(self) -> bool:
        """Whether the program got there."""
        return not len(self)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce_ex__(self, protocol: object) -> tuple[type[Probe], tuple[()]]:
        # Functions that travel with their code to another process work there, and note nothing here.
        return Probe, ()


class Probed(NamedTuple):
    """Code with its probes, by the places of the findings that they stand for."""

    code: CodeType
    probes: dict[Location, list[Probe]]


def instrument(source: bytes, filename: str, findings: Iterable[Diagnostic]) -> Probed:
    """The code of a module with a probe in front of every finding's expression.

    Raises:
        LookupError: a finding is at no expression and no statement of `source`.
        SyntaxError, ValueError, RecursionError: as `compile` does.
    """
    tree = ast.parse(source, filename)
    edit = _Edit(tree, source, filename)
    for place, end in dict.fromkeys((item.location, item.end_location) for item in findings):
        for node in edit.find(place, end):
            edit.put(node, place)
    code: CodeType = compile(tree, filename, "exec", dont_inherit=True)
    probes = [Probe() for _ in edit.places]
    by_place: dict[Location, list[Probe]] = {}
    for place, probe in zip(edit.places, probes, strict=True):
        by_place.setdefault(place, []).append(probe)
    return Probed(_with_probes(code, probes), by_place)


class _Edit:
    """Finds the nodes that findings speak of, and puts probes in front of them; `places` are those of the probes."""

    def __init__(self, tree: ast.Module, source: bytes, filename: str) -> None:
        self.places: list[Location] = []
        self._columns = Columns(lambda _: source)
        self._filename = filename
        self._parents: dict[ast.AST, tuple[ast.AST, str]] = {}
        self._ends: dict[int, list[ast.expr]] = {}
        self._statements: list[ast.stmt] = []
        for node in ast.walk(tree):  # outer nodes come before inner ones
            for field, value in ast.iter_fields(node):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self._parents[child] = node, field
            if isinstance(node, ast.stmt):
                self._statements.append(node)
            elif isinstance(node, ast.expr) and not isinstance(node, ast.Constant | ast.Starred | ast.Slice):
                self._ends.setdefault(node.end_lineno or 0, []).append(node)

    def find(self, place: Location, end: Location) -> list[ast.AST]:
        """The nodes that the linter marks at this place: most often one.

        Where several expressions have one span (Python 3.11 gives the parts of an f-string that of the whole), the
        outermost; where they lie apart and have one span all the same, all of them.
        """
        ending = [node for node in self._ends.get(end.row, ()) if self._end(node) == end]
        marked: list[ast.AST] = [node for node in ending if self._anchor(node) == place]
        if marked:
            return [node for node in marked if not any(above in marked for above in self._above(node))]
        around: list[ast.AST] = [node for node in ending if self._start(node) <= place]
        if around:
            return around[-1:]  # the innermost
        rows: list[ast.AST] = [it for it in self._statements if it.lineno <= place.row <= (it.end_lineno or it.lineno)]
        if not rows:
            raise LookupError(f"{self._filename}:{place.row}:{place.column}: no code here")
        return rows[-1:]

    def put(self, node: ast.AST, place: Location) -> None:
        """Put a probe for the finding at `place` in front of `node`, or of what is around it where that takes none."""
        around = [node, *self._above(node)]
        statement = next(it for it in around if isinstance(it, ast.stmt))
        within = around[: around.index(statement)]
        if any(isinstance(it, ast.pattern) for it in within):
            self._before_case(next(it for it in within if isinstance(it, ast.match_case)), place)
            return
        # What a statement evaluates first is reached when the statement is: no jump, nothing left to merge.
        whole = len(within) == 1 and isinstance(statement, ast.Expr | ast.Return)
        if not whole and not any(self._parents[it][1] in _DECLARATIONS for it in within):
            for it in within:
                carrier = self._carrier(it) if isinstance(it, ast.expr) else None
                if carrier is not None:
                    self._before_expression(carrier, place)
                    return
        self._replace(statement, [_at_start(ast.Expr(self._read(statement, place)), statement), statement])

    def _carrier(self, node: ast.expr) -> ast.expr | None:
        """The expression to put a probe in front of so that it tells of `node`; None where syntax leaves no room."""
        if not isinstance(getattr(node, "ctx", _LOAD), ast.Load):
            # `x[mask] = t` and `del x[mask]` evaluate `x` right before they store.
            return node.value if isinstance(node, ast.Subscript | ast.Attribute) else None
        if isinstance(node, _PARTS) or self._parents[node][1] == "format_spec":
            return None
        return node

    def _before_expression(self, node: ast.expr, place: Location) -> None:
        parent = self._parents[node]
        either = ast.copy_location(ast.BoolOp(ast.Or(), [self._read(node, place), node]), node)
        self._replace(node, [either])
        self._parents[either], self._parents[node] = parent, (either, "values")

    def _before_case(self, case: ast.match_case, place: Location) -> None:
        """A case before this one whose guard is the probe: it takes nothing."""
        never = ast.copy_location(ast.MatchAs(), case.pattern)
        body: list[ast.stmt] = [_at_start(ast.Pass(), case.pattern)]
        self._replace(case, [ast.match_case(never, self._read(case.pattern, place), body), case])

    def _read(self, node: ast.AST, place: Location) -> ast.Attribute:
        """What reads a new probe, at the point where `node` begins."""
        mark = _at_start(ast.Constant(f"{_MARK}{len(self.places)}"), node)
        self.places.append(place)
        return _at_start(ast.Attribute(mark, "passed", _LOAD), node)

    def _replace(self, node: ast.AST, instead: list[Any]) -> None:
        """Put `instead` where `node` is; more than one only into a list of statements or cases."""
        parent, field = self._parents[node]
        held = getattr(parent, field)
        if isinstance(held, list):
            index = next(index for index, it in enumerate(held) if it is node)
            held[index : index + 1] = instead
        else:
            [only] = instead
            setattr(parent, field, only)

    def _above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self._parents:
            node = self._parents[node][0]
            yield node

    def _start(self, node: ast.expr) -> Location:
        return self._columns.location(self._filename, node.lineno, node.col_offset)

    def _end(self, node: ast.expr) -> Location:
        return self._columns.location(self._filename, node.end_lineno or 0, node.end_col_offset or 0)

    def _anchor(self, node: ast.expr) -> Location:
        """Where the linter puts its mark: at a method's name, else at the start."""
        function = node.func if isinstance(node, ast.Call) else None
        if not isinstance(function, ast.Attribute):
            return self._start(node)
        column = (function.end_col_offset or 0) - len(function.attr.encode())
        return self._columns.location(self._filename, function.end_lineno or 0, column)


def _at_start(new: _N, node: ast.AST) -> _N:
    """`new`, placed at the point where `node` begins: it adds no row to those that a tracer sees."""
    ast.copy_location(new, node)
    new.end_lineno, new.end_col_offset = new.lineno, new.col_offset  # type: ignore[attr-defined]
    return new


def _with_probes(code: CodeType, probes: Sequence[Probe]) -> CodeType:
    """`code` with probes instead of the marks that stand for them among its constants."""
    constants = tuple(_constant(value, probes) for value in code.co_consts)
    if all(new is old for new, old in zip(constants, code.co_consts, strict=True)):
        return code
    return code.replace(co_consts=constants)


def _constant(value: object, probes: Sequence[Probe]) -> object:
    if isinstance(value, CodeType):
        return _with_probes(value, probes)
    if isinstance(value, str) and value.startswith(_MARK):
        return probes[int(value.removeprefix(_MARK))]
    return value
