"""Imports put where a person puts them, and what a file's imports call things."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

from auditlint.diagnostics import Edit
from auditlint.fixes.rewriting.layout import Layout
from auditlint.fixes.rewriting.statements import Statements

_Import: TypeAlias = ast.Import | ast.ImportFrom

# The order of an import block's sections.
_FUTURE, _STANDARD, _THIRD_PARTY, _FIRST_PARTY, _RELATIVE = range(5)


def added(
    layout: Layout,
    tree: ast.Module,
    statements: Statements,
    module: str,
    names: Sequence[str],
    first_party: Collection[str],
) -> tuple[Edit, ...]:
    """The edits after which a file imports `names` of `module`, or the module itself where there are no names."""
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    if not names:
        if any(isinstance(node, ast.Import) and (module, None) in _pairs(node) for node in imports):
            return ()
        text = f"import {module}"
    else:
        existing = [node for node in imports if isinstance(node, ast.ImportFrom) and _source(node) == module]
        there = {pair for node in existing for pair in _pairs(node)}
        names = [name for name in dict.fromkeys(names) if _pair(name) not in there]
        if not names:
            return ()
        extendable = [node for node in existing if node.names[0].name != "*"]
        if extendable:
            return _Extension(layout, extendable[0]).edits(names)
        text = f"from {module} import {', '.join(sorted(names, key=_member_key))}"
    return (_Placement(layout, tree, statements, first_party).edit(text),)


def bound_as(tree: ast.Module, module: str, name: str) -> str | None:
    """The expression by which module-level imports reach a name of a module, or the module itself; None for none.

    What anything else in the file is called too does not count: it may be that where the expression is to stand.
    """
    bound = _imported_as(tree, module, name)
    return None if bound is None or bound.partition(".")[0] in _ambiguous(tree) else bound


def _imported_as(tree: ast.Module, module: str, name: str) -> str | None:
    parent, _, last = module.rpartition(".")
    found = None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and _source(node) == module and name:
            direct = next((alias for alias in node.names if alias.name == name), None)
            if direct is not None:
                return direct.asname or name
        if isinstance(node, ast.ImportFrom) and parent and _source(node) == parent:
            path = next((alias.asname or alias.name for alias in node.names if alias.name == last), None)
        elif isinstance(node, ast.Import):
            path = next((alias.asname or alias.name for alias in node.names if alias.name == module), None)
        else:
            path = None
        if path is not None and found is None:
            found = f"{path}.{name}" if name else path
    return found


@lru_cache(maxsize=8)
def occurring(tree: ast.Module) -> frozenset[str]:
    """Every name that a file binds or mentions; names of attributes, methods and keywords do not count."""
    methods = _methods(tree)
    return frozenset(name for node in ast.walk(tree) if node not in methods for name in _names(node))


@lru_cache(maxsize=8)
def _ambiguous(tree: ast.Module) -> frozenset[str]:
    """The names that imports bind and something else does too, another import or any other binding."""
    methods = _methods(tree)
    bound: dict[str, set[tuple[str, str]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                what = first if alias.asname is None and isinstance(node, ast.Import) else alias.name
                origin = _source(node) if isinstance(node, ast.ImportFrom) else ""
                bound.setdefault(alias.asname or first, set()).add((origin, what))
        elif node not in methods and not isinstance(node, ast.alias) and not _reads(node):
            for name in _names(node):
                bound.setdefault(name, set()).add(("", ""))
    return frozenset(name for name, origins in bound.items() if len(origins) > 1)


def _reads(node: ast.AST) -> bool:
    return isinstance(node, (ast.Global, ast.Nonlocal)) or isinstance(getattr(node, "ctx", None), ast.Load)


def _methods(tree: ast.Module) -> frozenset[ast.AST]:
    """Functions in the bodies of classes: no code inside functions finds them by their bare names."""
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return frozenset(node for cls in classes for node in cls.body if isinstance(node, defined))


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
        case _ if type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
            yield getattr(node, "name", "")


class _Extension:
    """Names added to a `from` import that is there already, in the manner it is written."""

    def __init__(self, layout: Layout, node: ast.ImportFrom) -> None:
        self._layout = layout
        self._aliases = node.names
        self._spans = [layout.span(alias) for alias in node.names]

    def edits(self, names: Sequence[str]) -> tuple[Edit, ...]:
        keys = [_member_key(alias.name) for alias in self._aliases]
        places: dict[int, list[str]] = {}
        for name in sorted(names, key=_member_key):
            place = len(keys)
            if keys == sorted(keys):
                place = next((index for index, key in enumerate(keys) if _member_key(name) < key), place)
            places.setdefault(place, []).append(name)
        return tuple(self._edit(place, added_names) for place, added_names in places.items())

    def _edit(self, place: int, names: list[str]) -> Edit:
        """The names in front of the alias at `place`, behind the last one where there is none."""
        layout = self._layout
        start = self._spans[min(place, len(self._spans) - 1)][0]
        # What the names come behind: the last token of an alias, or the parenthesis or `import` in front of the first.
        previous = layout.tokens[layout.preceding(self._spans[place - 1][1] if place else start)]
        row = layout.row(previous.start)
        if place == 0:
            if previous.text == "(" and layout.row(start) > row:
                return self._rows(row, layout.indentation(layout.row(start)), names)
            return layout.edit(start, start, "".join(f"{name}, " for name in names))
        following = layout.tokens[layout.following(previous.end)]
        if self._alone(place - 1):
            indentation = layout.indentation(row)
            if following.text == "," and layout.row(following.start) == row:
                return self._rows(row, indentation, names)
            if following.text == ")" and layout.row(following.start) > row:
                rest = layout.text[previous.end : layout.row_end(row)]
                return self._rows(row, indentation, names, previous.end, f",{rest}")
        return layout.edit(previous.end, previous.end, "".join(f", {name}" for name in names))

    def _rows(self, row: int, indentation: str, names: list[str], start: int | None = None, content: str = "") -> Edit:
        """The names on rows of their own below `row`, which ends in `content` from `start` on where that is given."""
        end = self._layout.row_end(row)
        rows = "".join(f"\n{indentation}{name}," for name in names)
        return self._layout.edit(end if start is None else start, end, content + rows)

    def _alone(self, index: int) -> bool:
        """Whether an alias between parentheses has a row of its own."""
        if self._layout.tokens[self._layout.preceding(self._spans[0][0])].text != "(":
            return False
        start = self._spans[index][0]
        row = self._layout.row(start)
        if self._layout.text[self._layout.row_start(row) : start].strip():
            return False
        return index + 1 == len(self._spans) or self._layout.row(self._spans[index + 1][0]) != row


class _Placement:
    """The place of a new import among a file's module-level imports."""

    def __init__(self, layout: Layout, tree: ast.Module, statements: Statements, first_party: Collection[str]) -> None:
        self._layout = layout
        self._body = tree.body
        self._statements = statements
        self._first_party = first_party

    def edit(self, text: str) -> Edit:
        new = ast.parse(text).body[0]
        assert isinstance(new, (ast.Import, ast.ImportFrom))
        kind = self._kind(new)
        imports = self._head()
        section = self._section([node for node in imports if self._kind(node) == kind])
        if section:
            return self._among(section, new, text)
        lower = [node for node in imports if self._kind(node) < kind]
        if lower:
            return self._behind(lower[-1], f"\n{text}")
        if imports:
            return self._in_front(imports[0], f"{text}\n\n")
        match self._body:
            case [ast.Expr(value=ast.Constant(value=str())) as docstring, *_]:
                return self._behind(docstring, f"\n{text}")
        if self._body:
            return self._in_front(self._body[0], f"{text}\n\n")
        place = self._layout.row_end(len(self._layout.lines))
        return self._layout.edit(place, place, f"{text}\n")

    def _head(self) -> list[_Import]:
        """The imports in front of the first definition."""
        found: list[_Import] = []
        for node in self._body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                break
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found.append(node)
        return found

    def _kind(self, node: _Import) -> int:
        if isinstance(node, ast.ImportFrom) and node.level:
            return _RELATIVE
        package = _name(node).partition(".")[0]
        if package == "__future__":
            return _FUTURE
        if package in sys.stdlib_module_names:
            return _STANDARD
        return _FIRST_PARTY if package in self._first_party else _THIRD_PARTY

    def _section(self, imports: list[_Import]) -> list[_Import]:
        """The first of `imports` up to a blank row or another statement."""
        section = imports[:1]
        for node in imports[1:]:
            before = section[-1]
            rows = range(self._last_row(before), node.lineno - 1)
            if self._body.index(node) != self._body.index(before) + 1:
                break
            if any(not self._layout.lines[row].strip() for row in rows):
                break
            section.append(node)
        return section

    def _among(self, section: list[_Import], new: _Import, text: str) -> Edit:
        """In the order of the section, where it has one; else behind it."""
        for order in (_plain_first, _by_module):
            keys = [order(node) for node in section]
            if keys == sorted(keys):
                place = sum(key <= order(new) for key in keys)
                if place == 0:
                    start = self._layout.row_start(self._layout.first_row(self._layout.span(section[0])[0]))
                    return self._layout.edit(start, start, f"{text}\n")
                return self._behind(section[place - 1], text)
        return self._behind(section[-1], text)

    def _behind(self, node: ast.stmt, text: str) -> Edit:
        """`text` on the rows behind a statement; a blank row after it where it begins a section of its own."""
        row = self._last_row(node)
        below = self._layout.lines[row].strip() if row < len(self._layout.lines) else ""
        tail = "\n" if text.startswith("\n") and below else ""
        place = self._layout.row_end(row)
        return self._layout.edit(place, place, f"\n{text}{tail}")

    def _in_front(self, node: ast.stmt, text: str) -> Edit:
        place = self._layout.row_start(self._statements.top_row(node))
        return self._layout.edit(place, place, text)

    def _last_row(self, node: ast.stmt) -> int:
        """The last row of the logical line that a statement ends on."""
        return self._layout.row(self._layout.line_end(self._statements.span(node)[1]))


def _source(node: ast.ImportFrom) -> str:
    """The module that a `from` import names, "" for a relative one."""
    return node.module or "" if not node.level else ""


def _name(node: _Import) -> str:
    return node.names[0].name if isinstance(node, ast.Import) else node.module or ""


def _pairs(node: _Import) -> Iterator[tuple[str, str | None]]:
    for alias in node.names:
        yield alias.name, alias.asname


def _pair(name: str) -> tuple[str, str | None]:
    name, _, other = name.partition(" as ")
    return name, other or None


def _plain_first(node: _Import) -> tuple[bool, str]:
    return isinstance(node, ast.ImportFrom), _name(node).lower()


def _by_module(node: _Import) -> tuple[bool, str]:
    return False, _name(node).lower()


def _member_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    name = name.partition(" as ")[0]
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name.lower()
