"""Edits of real files: what each method is asked for happens, and nothing else."""

from __future__ import annotations

import ast
import io
import random
import sysconfig
import tokenize
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from auditlint.diagnostics import Edit, Location
from auditlint.fixes.rewriting.layout import Unwritable
from auditlint.fixes.rewriting.rewriter import Rewriter
from auditlint.source.source_file import SourceFile, parse_source

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
FILES = 35
NODES = 6


class Case(NamedTuple):
    path: Path
    source: SourceFile
    tree: ast.Module
    rewriter: Rewriter


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Files of the standard library, the same ones each time, none of them so long that it takes the time of many."""
    paths = sorted(LIBRARY.glob("*.py")) + sorted(LIBRARY.glob("*/*.py"))
    paths = [path for path in paths if "site-packages" not in path.parts and 500 < path.stat().st_size < 40_000]
    random.Random(7).shuffle(paths)
    found = []
    for path in paths:
        data = path.read_bytes()
        source = parse_source(data)
        try:
            tree = parsed(data)
        except (SyntaxError, ValueError):
            continue  # some files of the library's own tests are broken on purpose
        if not source.problem and tree.body:
            found.append(Case(path, source, tree, Rewriter(source, tree)))
        if len(found) == FILES:
            break
    assert len(found) == FILES
    return found


def parsed(source: str | bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escape sequences of old files
        return ast.parse(source)


def edited(source: SourceFile, *edits: Edit) -> str:
    text = source.text
    starts = [0]
    for line in source.lines:
        starts.append(starts[-1] + len(line) + 1)

    def offset(place: Location) -> int:
        return starts[place.row - 1] + place.column - 1

    for edit in sorted(edits, key=lambda edit: edit.location, reverse=True):
        text = text[: offset(edit.location)] + edit.content + text[offset(edit.end_location) :]
    return text


def comments(text: str) -> list[str]:
    return [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]


def sample(case: Case, kind: type[ast.AST], wanted: Callable[[ast.AST], bool] = lambda _: True) -> list[ast.AST]:
    nodes = [node for node in ast.walk(case.tree) if isinstance(node, kind) and wanted(node)]
    return random.Random(case.path.name).sample(nodes, min(NODES, len(nodes)))


def is_value(node: ast.AST) -> bool:
    """Whether the node stands for a value of its own: no target, slice, starred argument or piece of a string."""
    if isinstance(node, (ast.Starred, ast.Slice, ast.FormattedValue)):
        return False
    if isinstance(node, ast.Tuple) and any(isinstance(element, (ast.Slice, ast.Starred)) for element in node.elts):
        return False
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def pieces(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that are written in another way than expressions: parts of f-strings, patterns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from (value for value in node.values if isinstance(value, ast.Constant))
        elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            yield node.format_spec
        elif isinstance(node, ast.pattern):
            yield from ast.walk(node)


def values(case: Case) -> list[ast.AST]:
    apart = set(pieces(case.tree))
    return sample(case, ast.expr, lambda node: is_value(node) and node not in apart)


def test_an_expression_replaced_by_its_own_code_changes_nothing(cases: list[Case]) -> None:
    seen = 0
    for case in cases:
        meaning = ast.dump(case.tree)
        for node in values(case):
            assert isinstance(node, ast.expr)
            try:
                edit = case.rewriter.replace(node, case.rewriter.code(node))
            except Unwritable as reason:
                assert "f-string" in str(reason)
                continue
            seen += 1
            assert ast.dump(parsed(edited(case.source, edit))) == meaning, (case.path, edit)
    assert seen > 3 * FILES


def test_an_expression_replaced_by_another_one_changes_nothing_else(cases: list[Case]) -> None:
    new = "(yield) if a else lambda: b"
    for case in cases:
        for node in values(case)[:3]:
            assert isinstance(node, ast.expr)
            try:
                edit = case.rewriter.replace(node, new)
            except Unwritable as reason:
                assert "f-string" in str(reason)
                continue
            expected = parsed(case.source.data)
            exchanged = _Exchange(twin_of(case, node, expected), ast.parse(new, mode="eval").body).visit(expected)
            assert ast.dump(parsed(edited(case.source, edit))) == ast.dump(exchanged), (case.path, edit)


def twin_of(case: Case, node: ast.AST, tree: ast.Module) -> ast.AST:
    """The node of another tree of the same file that stands where `node` does."""
    return next(theirs for ours, theirs in zip(ast.walk(case.tree), ast.walk(tree), strict=True) if ours is node)


class _Exchange(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.expr) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def block_of(tree: ast.AST, node: ast.stmt) -> list[ast.stmt]:
    for parent in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(parent, field, None)
            if isinstance(block, list) and node in block:
                return block
    raise AssertionError("a statement without a block")


def is_elif(case: Case, node: ast.AST) -> bool:
    return isinstance(node, ast.If) and case.source.lines[node.lineno - 1].lstrip().startswith("elif")


def first_place(node: ast.stmt) -> int:
    definition = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    place = int(definition and ast.get_docstring(node, clean=False) is not None)  # type: ignore[arg-type]
    body = node.body  # type: ignore[attr-defined]
    while place < len(body) and isinstance(body[place], (ast.Global, ast.Nonlocal)):
        place += 1
    return place


SIMPLE, COMPOUND = "pass", "if a:\n    b()"


@pytest.mark.parametrize("text", [SIMPLE, COMPOUND])
@pytest.mark.parametrize("method", ["before", "after", "first", "last"])
def test_a_new_statement_is_all_that_changes(cases: list[Case], method: str, text: str) -> None:
    inside = method in ("first", "last")
    for case in cases:
        kept = comments(case.source.text)
        for node in sample(case, ast.stmt, lambda node: not inside or bool(getattr(node, "body", None)))[:3]:
            if is_elif(case, node) and not inside:
                continue
            edit = getattr(case.rewriter, method)(node, text)
            expected = parsed(case.source.data)
            twin = twin_of(case, node, expected)
            assert isinstance(twin, ast.stmt)
            block = twin.body if inside else block_of(expected, twin)  # type: ignore[attr-defined]
            if method == "first":
                place = first_place(twin)
            elif method == "last":
                place = len(block)
            else:
                place = block.index(twin) + (method == "after")
            block.insert(place, ast.parse(text).body[0])
            result = edited(case.source, edit)
            assert ast.dump(parsed(result)) == ast.dump(expected), (case.path, edit)
            assert comments(result) == kept, (case.path, edit)


@pytest.mark.parametrize("text", ["a = 1\nb = '''\n c'''", None])
def test_a_statement_exchanged_or_taken_out_is_all_that_changes(cases: list[Case], text: str | None) -> None:
    for case in cases:
        for node in sample(case, ast.stmt)[:3]:
            assert isinstance(node, ast.stmt)
            if is_elif(case, node):
                continue
            rewriter = case.rewriter
            edit = rewriter.delete_statement(node) if text is None else rewriter.replace_statement(node, text)
            expected = parsed(case.source.data)
            twin = twin_of(case, node, expected)
            assert isinstance(twin, ast.stmt)
            block = block_of(expected, twin)
            place = block.index(twin)
            block[place : place + 1] = ast.parse(text or "").body
            if not block and block is not expected.body:
                block.append(ast.Pass())
            assert ast.dump(parsed(edited(case.source, edit))) == ast.dump(expected), (case.path, edit)


@pytest.mark.parametrize(
    "module, names, text",
    [
        ("auditlint.defer", ["defer", "finalize"], "from auditlint.defer import defer, finalize"),
        ("zipimport", [], "import zipimport"),
    ],
)
def test_a_new_import_is_all_that_changes(cases: list[Case], module: str, names: list[str], text: str) -> None:
    new = ast.dump(ast.parse(text).body[0])
    for case in cases:
        before = [ast.dump(node) for node in case.tree.body]
        edits = case.rewriter.imports(module, names)
        if new in before:
            assert edits == ()
            continue
        result = edited(case.source, *edits)
        tree = parsed(result)
        after = [ast.dump(node) for node in tree.body]
        assert new in after, case.path
        after.remove(new)
        assert after == before, case.path
        assert comments(result) == comments(case.source.text), case.path
        assert Rewriter(parse_source(result.encode()), tree).imports(module, names) == ()
