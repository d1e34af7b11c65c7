"""Expressions as text: with parts of them exchanged, with the parentheses they need and no others."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auditlint.diagnostics import Edit
from auditlint.fixes.rewriting.fstrings import Part, embedded, formatted, parts
from auditlint.fixes.rewriting.layout import Layout, Span, Unwritable


class _Inside(NamedTuple):
    """Where a node inside an f-string stands: its expression's place, the strings' quotes, and whether they show it."""

    start: int
    layout: Layout
    quotes: tuple[str, ...]
    shown: bool


class _Change(NamedTuple):
    start: int
    end: int
    text: str


class Expressions:
    """Texts of a file's expressions and edits of them."""

    def __init__(self, layout: Layout, parents: Mapping[ast.AST, ast.AST]) -> None:
        self._layout = layout
        self._parents = parents
        self._spans: dict[ast.AST, Span] = {}
        self._inside: dict[ast.AST, _Inside] = {}

    def code(self, node: ast.expr, holes: Mapping[ast.expr, str]) -> str:
        """The source of an expression, the expressions in `holes` exchanged; it can stand between parentheses."""
        if node in holes:
            return holes[node]
        start, end = self._span(node)
        wanted = [hole for hole in holes if self._within(hole, node)]
        outermost = [
            hole for hole in wanted if not any(other is not hole and self._within(hole, other) for other in wanted)
        ]
        return _applied(self._layout.text, start, end, self._changes(node, {hole: holes[hole] for hole in outermost}))

    def replace(self, node: ast.expr, text: str) -> Edit:
        """The edit that puts `text` in the place of an expression and of parentheses that it makes redundant."""
        self._span(node)
        root = self._root(node)
        if root is not node:
            (change,) = self._changes(root, {node: text})
        else:
            change = self._root_change(node, text)
        return self._layout.edit(*change)

    def _root_change(self, node: ast.expr, text: str) -> _Change:
        """The change of an expression that no other is around; a statement takes anything that parses on its own."""
        start, end = self._span(node)
        pairs = list(self._parentheses(node))
        inside = self._inside.get(node)
        if inside is not None:
            text = self._embedded(node, text)
        if not _stands_alone(text):
            text = f"({text})"
        start, end = pairs[-1] if pairs else (start, end)
        return _Change(start, end, self._spaced(start, end, text))

    def _changes(self, root: ast.expr, holes: Mapping[ast.expr, str]) -> list[_Change]:
        """The changes inside an expression that exchange `holes`, with parentheses only where they are needed."""
        start, end = self._span(root)
        changes = []
        for hole, text in holes.items():
            if hole in self._inside:
                text = self._embedded(hole, text)
            changes.append(_Change(*self._span(hole), f"({text})"))
        text = self._layout.text
        wanted = _shape(root, _applied(text, start, end, changes))
        if wanted is None:
            raise Unwritable("the expression cannot be written with this part exchanged")
        for index, hole in enumerate(holes):
            bare = changes[index].text[1:-1]
            for candidate in self._candidates(hole, bare):
                attempt = [*changes[:index], candidate, *changes[index + 1 :]]
                if _shape(root, _applied(text, start, end, attempt)) == wanted:
                    changes = attempt
                    break
        return changes

    def _candidates(self, hole: ast.expr, text: str) -> Iterator[_Change]:
        """The ways to write `text` in the place of `hole`, the one with the fewest parentheses first."""
        bare = _stands_alone(text)
        for start, end in [*reversed(list(self._parentheses(hole))), self._span(hole)]:
            if bare:
                yield _Change(start, end, self._spaced(start, end, text))
            yield _Change(start, end, f"({text})")

    def _spaced(self, start: int, end: int, text: str) -> str:
        """`text` kept apart from the words that touch its place."""
        whole = self._layout.text
        touched = whole[start - 1] if start else ""
        apart = _wordy(touched) and (_wordy(text[0]) or text[0] in "'\"")
        # Two braces are a brace of the text in an f-string.
        before = " " if apart or touched == text[0] == "{" else ""
        after = " " if _wordy(whole[end : end + 1]) and _wordy(text[-1]) else ""
        return before + text + after

    def _root(self, node: ast.expr) -> ast.expr:
        """The largest expression around a node that ends at a statement or at an f-string's braces."""
        root: ast.expr = node
        parent = self._parents.get(node)
        while isinstance(parent, (ast.expr, ast.keyword, ast.comprehension, ast.arguments)):
            if isinstance(parent, ast.FormattedValue):
                break
            if isinstance(parent, ast.expr):
                root = parent
            parent = self._parents.get(parent)
        return root

    def _within(self, node: ast.AST, outer: ast.AST) -> bool:
        current: ast.AST | None = node
        while current is not None and current is not outer:
            current = self._parents.get(current)
        return current is outer

    def _span(self, node: ast.expr) -> Span:
        """Where an expression stands in the file, without parentheses around it."""
        if node in self._spans:
            return self._spans[node]
        string: ast.JoinedStr | None = None
        current: ast.AST | None = node
        while isinstance(current := self._parents.get(current) if current is not None else None, ast.AST):
            if isinstance(current, ast.stmt):
                break
            if isinstance(current, ast.JoinedStr):
                string = current
            elif type(current).__name__ == "TemplateStr":
                raise Unwritable("parts of template strings are left alone")
        if string is None:
            self._spans[node] = self._layout.span(node)
        else:
            self._spans[string] = self._layout.span(string)
            self._look_inside(string, (), False)
        return self._spans[node]

    def _look_inside(self, string: ast.JoinedStr, quotes: tuple[str, ...], shown: bool) -> None:
        """Find the places of all expressions inside an f-string whose own place is known."""
        start, end = self._spans[string]
        values = list(formatted(string))
        places = parts(self._layout.text[start:end])
        if len(places) != len(values):
            raise Unwritable("an f-string that cannot be read")
        for value, part in zip(values, places, strict=True):
            self._look_into(value.value, part._replace(start=start + part.start, end=start + part.end), quotes, shown)

    def _look_into(self, value: ast.expr, part: Part, quotes: tuple[str, ...], shown: bool) -> None:
        text = self._layout.text[part.start : part.end]
        source = f"({text}\n)"
        layout = Layout(source.split("\n"))
        try:
            twin = ast.parse(source, mode="eval").body
        except SyntaxError as error:
            raise Unwritable("an f-string that cannot be read") from error
        if ast.dump(twin) != ast.dump(value):
            raise Unwritable("an f-string that cannot be read")
        inside = _Inside(part.start - 1, layout, (*quotes, part.quote), shown or part.shown)
        strings, specifications = [], set()
        for ours, theirs in zip(ast.walk(value), ast.walk(twin), strict=True):
            if isinstance(ours, ast.expr) and isinstance(theirs, ast.expr):
                start, end = layout.span(theirs)
                # A tuple without parentheses of its own takes those put around it for its own.
                self._spans[ours] = inside.start + max(start, 1), inside.start + min(end, len(text) + 1)
                self._inside[ours] = inside
            if isinstance(ours, ast.JoinedStr):
                strings.append(ours)
            elif isinstance(ours, ast.FormattedValue):
                specifications.add(ours.format_spec)
        for string in strings:
            # Those further in are reached through the string around them.
            if self._inside[string] is inside and string not in specifications:
                self._look_inside(string, inside.quotes, inside.shown)

    def _parentheses(self, node: ast.expr) -> Iterator[Span]:
        start, end = self._span(node)
        inside = self._inside.get(node)
        if inside is None:
            yield from self._layout.parentheses(start, end)
            return
        for opening, closing in inside.layout.parentheses(start - inside.start, end - inside.start):
            # The outermost pair is not in the file: it was put around the expression to read it.
            if opening > 0:
                yield opening + inside.start, closing + inside.start

    def _embedded(self, node: ast.expr, text: str) -> str:
        inside = self._inside[node]
        if inside.shown:
            raise Unwritable("the f-string shows the expression's text")
        return embedded(text, inside.quotes)


def movable(node: ast.expr) -> bool:
    """Whether an expression means the same in the body of a lambda at its place."""
    return not isinstance(node, ast.Starred) and _moves(node)


def _moves(node: ast.AST) -> bool:
    match node:
        case ast.Await() | ast.Yield() | ast.YieldFrom() | ast.NamedExpr():
            return False
        case ast.comprehension(is_async=1):
            return False
        # These look at the frame that they are called in.
        case ast.Call(func=ast.Name(id="super"), args=[], keywords=[]):
            return False
        case ast.Call(func=ast.Name(id="locals" | "vars" | "dir" | "eval" | "exec")):
            return False
        case ast.Lambda(args=arguments):
            return _moves(arguments)
    return all(map(_moves, ast.iter_child_nodes(node)))


def _wordy(character: str) -> bool:
    return character.isalnum() or character == "_"


def _applied(text: str, start: int, end: int, changes: list[_Change]) -> str:
    """The text between two offsets with the changes made."""
    pieces, done = [], start
    for change in sorted(changes):
        pieces += [text[done : change.start], change.text]
        done = change.end
    return "".join([*pieces, text[done:end]])


def _shape(root: ast.expr, text: str) -> str | None:
    """What `text` means in the place of `root`, None where it means nothing."""
    opening = "f(" if isinstance(root, ast.Starred) else "("
    try:
        return ast.dump(ast.parse(f"{opening}{text}\n)", mode="eval"))
    except SyntaxError:
        return None


def _stands_alone(text: str) -> bool:
    """Whether an expression's text needs no parentheses of its own wherever one expression is expected."""
    try:
        ast.parse(text, mode="eval")
        call = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and len(call.args) == 1 and not call.keywords
