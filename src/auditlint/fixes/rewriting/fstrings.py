"""Expressions inside f-strings: where they stand, and how a text must be spelled to stand there.

Before Python 3.12 `ast` gives them no usable positions, so libcst finds them, on every version alike.
What is written is valid before 3.12 too: no quote of the string around it, no backslash, no comment.
"""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from auditlint.fixes.rewriting.layout import Layout, Unwritable

if TYPE_CHECKING:
    import libcst


class Part(NamedTuple):
    """One expression of an f-string: its place in the string's source, parentheses included; the quotes around it.

    `shown` is set where the string repeats the expression's text (`{x=}`).
    """

    start: int
    end: int
    quote: str
    shown: bool


def formatted(string: ast.JoinedStr) -> Iterator[ast.FormattedValue]:
    """The expressions of an f-string in the order of its source, those of format specifications included."""
    for value in string.values:
        if isinstance(value, ast.FormattedValue):
            yield value
            if isinstance(value.format_spec, ast.JoinedStr):
                yield from formatted(value.format_spec)


def parts(source: str) -> list[Part]:
    """The same expressions as places in `source`, the string with all that is implicitly concatenated to it."""
    import libcst
    from libcst.metadata import MetadataWrapper, WhitespaceInclusivePositionProvider

    try:
        module = libcst.parse_module(f"({source})\n")
    except libcst.ParserSyntaxError as error:
        raise Unwritable("an f-string that cannot be read") from error
    positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(WhitespaceInclusivePositionProvider)
    layout = Layout(f"({source})".split("\n"))
    found = []
    for expression, quote in _expressions(_string(module)):
        place = positions[expression.expression]
        start = layout.row_start(place.start.line) + place.start.column - 1
        end = layout.row_start(place.end.line) + place.end.column - 1
        found.append(Part(start, end, quote, expression.equal is not None))
    return found


def _string(module: libcst.Module) -> libcst.CSTNode:
    import libcst

    match module.body:
        case [libcst.SimpleStatementLine(body=[libcst.Expr(value=value)])]:
            return value
    raise Unwritable("an f-string that cannot be read")


def _expressions(node: libcst.CSTNode) -> Iterator[tuple[libcst.FormattedStringExpression, str]]:
    import libcst

    if isinstance(node, libcst.ConcatenatedString):
        yield from _expressions(node.left)
        yield from _expressions(node.right)
    elif isinstance(node, libcst.FormattedString):
        for part in node.parts:
            yield from _of_part(part, node.quote)


def _of_part(part: libcst.CSTNode, quote: str) -> Iterator[tuple[libcst.FormattedStringExpression, str]]:
    import libcst

    if isinstance(part, libcst.FormattedStringExpression):
        yield part, quote
        for inner in part.format_spec or ():
            yield from _of_part(inner, quote)


def embedded(text: str, quotes: tuple[str, ...]) -> str:
    """An expression's text as it can stand inside f-strings with the given quotes, the innermost last."""
    text = _requoted(text, quotes)
    if "\\" in text:
        raise Unwritable("a backslash cannot stand inside an f-string before Python 3.12")
    if "#" in text:
        raise Unwritable("a number sign cannot stand inside an f-string before Python 3.12")
    if "\n" in text and any(len(quote) == 1 for quote in quotes):
        raise Unwritable("a line break cannot stand inside this f-string before Python 3.12")
    if any(quote in text for quote in quotes):
        raise Unwritable("the f-string's quotes cannot stand inside it before Python 3.12")
    tree = ast.parse(f"({text}\n)", mode="eval").body
    if any(isinstance(node, (ast.Lambda, ast.NamedExpr)) for node in ast.walk(tree)):
        return f"({text})"
    return text


def _requoted(text: str, quotes: tuple[str, ...]) -> str:
    """`text` with its own strings in other quotes than `quotes`, where that is a matter of one character."""
    free = [quote for quote in "'\"" if quote not in quotes]
    if not free:
        return text
    layout = Layout(text.split("\n"))
    spelled, end = [], 0
    for found in layout.tokens:
        if found.kind != tokenize.STRING:
            continue
        prefix, quote, body = _literal(found.text)
        if quote in quotes and free[0] not in body and "\\" not in body:
            spelled += [text[end : found.start], prefix, free[0], body, free[0]]
            end = found.end
    return "".join([*spelled, text[end:]])


def _literal(literal: str) -> tuple[str, str, str]:
    start = min(index for index in (literal.find("'"), literal.find('"')) if index >= 0)
    quote = literal[start : start + 3]
    if quote not in ("'''", '"""') or len(literal) < start + 6:
        quote = literal[start]
    return literal[:start], quote, literal[start + len(quote) : -len(quote)]
