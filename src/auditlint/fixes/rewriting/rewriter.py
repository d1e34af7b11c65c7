"""What a fix may ask of one file: texts of its expressions, and the edits that exchange, insert and import."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

from auditlint.diagnostics import Edit
from auditlint.fixes.rewriting import imports
from auditlint.fixes.rewriting.expressions import Expressions
from auditlint.fixes.rewriting.layout import Layout
from auditlint.fixes.rewriting.statements import Statements
from auditlint.source.source_file import SourceFile

_NO_HOLES: Mapping[ast.expr, str] = MappingProxyType({})


class Rewriter:
    """Edits of one file; nothing is changed here, each method gives the edit.

    Nodes are those of `tree`, the file's own tree. Texts of statements are written as if at module level. A method
    raises `Unwritable` where the edit cannot be written; the message says why. `first_party` names the top-level
    packages that imports of third parties are kept apart from.
    """

    def __init__(self, source: SourceFile, tree: ast.Module, first_party: Collection[str] = ()) -> None:
        self._layout = Layout(source.lines)
        self._tree = tree
        self._first_party = first_party

    @cached_property
    def _parents(self) -> Mapping[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self._tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def _expressions(self) -> Expressions:
        return Expressions(self._layout, self._parents)

    @cached_property
    def _statements(self) -> Statements:
        return Statements(self._layout, self._tree, self._parents)

    def code(self, node: ast.expr, holes: Mapping[ast.expr, str] = _NO_HOLES) -> str:
        """The expression as it is written, without parentheses around it, comments and line breaks inside kept.

        Expressions in `holes` are exchanged for the texts given, parenthesised only where precedence needs it. The
        result can stand as one argument of a call; elsewhere it may need parentheses.
        """
        return self._expressions.code(node, holes)

    def replace(self, node: ast.expr, text: str) -> Edit:
        """`text` in the place of an expression, with the parentheses it needs there and no others."""
        return self._expressions.replace(node, text)

    def replace_statement(self, node: ast.stmt, text: str) -> Edit:
        """One or several statements in the place of one, whose trailing comment stays."""
        return self._statements.replace(node, text)

    def delete_statement(self, node: ast.stmt) -> Edit:
        """The statement taken out with its trailing comment, `pass` in its place where the block would be empty."""
        return self._statements.delete(node)

    def after(self, node: ast.stmt, text: str) -> Edit:
        """Statements behind `node` in its block."""
        return self._statements.after(node, text)

    def before(self, node: ast.stmt, text: str) -> Edit:
        """Statements in front of `node`, of its decorators and of the comments directly above it."""
        return self._statements.before(node, text)

    def decorate(self, function: ast.expr | ast.stmt, decorator: str) -> Edit:
        """A decorator above all that a function has."""
        assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        return self._statements.decorate(function, decorator)

    def comments(self, node: ast.expr | ast.stmt) -> list[str]:
        """The comments inside an expression or statement."""
        start, end = self._layout.span(node)
        return [comment.text for comment in self._layout.comments if start <= comment.start < end]

    def returned(self, node: ast.Return, name: str, text: str) -> tuple[Edit, ...]:
        """Statements between the value of a `return`, which is kept as `name`, and the leaving."""
        return self._statements.returned(node, name, text)

    def first(self, function: ast.stmt, text: str) -> Edit:
        """Statements first in a body, behind a docstring and declarations of global names."""
        return self._statements.first(function, text)

    def last(self, block: ast.stmt, text: str) -> Edit:
        """Statements last in a body, behind the comments that belong to it."""
        return self._statements.last(block, text)

    def module_level(self, before: ast.stmt, text: str) -> Edit:
        """A definition at module level in front of the top-level statement that holds `before`."""
        return self._statements.module_level(before, text)

    def imports(self, module: str, names: Sequence[str]) -> tuple[Edit, ...]:
        """`from module import names`, each name as it is or as `name as other`; `import module` without names.

        Nothing for what the file imports at module level already.
        """
        return imports.added(self._layout, self._tree, self._statements, module, names, self._first_party)

    def taken(self) -> frozenset[str]:
        """Every name that occurs anywhere in the file, bound there or not: a new name is best none of these."""
        return imports.occurring(self._tree)

    def bound_as(self, module: str, name: str = "") -> str | None:
        """The expression by which the file's module-level imports reach a name of a module, or the module itself."""
        return imports.bound_as(self._tree, module, name)
