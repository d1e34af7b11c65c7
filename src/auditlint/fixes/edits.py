"""The edits of plans: texts of what is rewritten, finalize points, imports; a file's rewriter is made when needed."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from auditlint.diagnostics import Edit
from auditlint.fixes.deferral import Texts
from auditlint.fixes.flow.follower import Rewrite
from auditlint.fixes.flow.reads import Read
from auditlint.fixes.flow.tree import FileTree, Trees
from auditlint.fixes.placement.place import Point
from auditlint.fixes.plain_text import Name, plain_function
from auditlint.fixes.plan import LIBRARY, PLAIN, Plan
from auditlint.fixes.rewriting.layout import Unwritable
from auditlint.fixes.rewriting.rewriter import Rewriter

LIBRARY_MODULE = "auditlint.defer"
_CALL = re.compile(r"(?P<name>[\w.]+)\((?P<arguments>.*)\)", re.DOTALL)
_FINALIZER = re.compile(r"\b(finalize|flush)\(")
_FLUSHES = re.compile(r"\bflush\(")
_Place: TypeAlias = tuple[str, str, ast.stmt]  # the file, where (see `Point`), and the statement


def edits_of(plans: Sequence[Plan], trees: Trees, together: Collection[Plan]) -> list[tuple[Edit, ...] | str]:
    """The edits of each plan, or why they cannot be written.

    Plans in `together` are going to be carried out in one go: what they import into one file, and finalize at one
    place, they do in one statement.
    """
    rewriters = _Rewriters(trees)
    rewrites: dict[str, dict[ast.AST, Rewrite]] = {}
    reads: dict[ast.AST, Read] = {}
    for plan in plans:
        reads[plan.read.root] = plan.read
        for one in plan.rewrites:
            rewrites.setdefault(one.file.filename, {})[one.node] = one
    drafts: list[_Draft | str] = []
    for plan in plans:
        try:
            drafts.append(_Draft(plan, rewriters, rewrites, reads))
        except Unwritable as error:
            drafts.append(str(error))
    shared = [
        draft for draft, plan in zip(drafts, plans, strict=True) if isinstance(draft, _Draft) and plan in together
    ]
    return [draft if isinstance(draft, str) else _edits(draft, shared) for draft in drafts]


def _edits(draft: _Draft, shared: Sequence[_Draft]) -> tuple[Edit, ...] | str:
    try:
        return draft.edits(shared if draft in shared else (draft,))
    except Unwritable as error:
        return str(error)


class _Rewriters:
    """One rewriter a file."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._known: dict[str, Rewriter] = {}

    def of(self, filename: str) -> Rewriter:
        if filename not in self._known:
            file = self._trees.file(filename)
            if file is None:
                raise Unwritable("a file to change cannot be parsed")
            self._known[filename] = Rewriter(file.source, file.tree)
        return self._known[filename]


class _Draft:
    """The edits of one plan while they are made, with the names that each file has to import for them."""

    def __init__(
        self,
        plan: Plan,
        rewriters: _Rewriters,
        rewrites: dict[str, dict[ast.AST, Rewrite]],
        reads: dict[ast.AST, Read],
    ) -> None:
        self._plan = plan
        self._rewriters = rewriters
        self._rewrites = rewrites
        self._reads = reads
        self.imports: dict[str, dict[str, set[str]]] = {}
        files: dict[str, FileTree] = {one.file.filename: one.file for one in plan.rewrites}
        self._rewritten = [edit for filename, file in files.items() for edit in self._rewrite(filename, file)]
        self.points: dict[_Place, list[str]] = {(point.filename, point.where, point.node): [] for point in plan.points}
        self._functions: list[Edit] = []
        for point in plan.points:
            self.points[point.filename, point.where, point.node] += self._code(point)

    def edits(self, shared: Sequence[_Draft]) -> tuple[Edit, ...]:
        """All edits; imports and finalize points are those of all drafts in `shared`, where this one has any.

        Raises:
            Unwritable: when one of them cannot be written.
        """
        edits = [*self._rewritten, *self._functions]
        put = {place: "\n".join(joined(codes)) for place, codes in _all_points(shared).items() if codes}
        for place in self.points:
            if place in put:
                edits += self._in(place[0], self._put(*place, put[place]))
        for filename in self.imports:
            modules: dict[str, set[str]] = {}
            for one in shared:
                for module, names in one.imports.get(filename, {}).items():
                    modules.setdefault(module, set()).update(names)
            if not any(_FLUSHES.search(code) for place, code in put.items() if place[0] == filename):
                # Where something is finalized, nothing is left to flush.
                modules.get(LIBRARY_MODULE, set()).discard("flush")
            for module, names in sorted(modules.items(), key=_section):
                rewriter = self._rewriters.of(filename)
                if "" in names:
                    edits += self._in(filename, rewriter.imports(module, []))
                if names - {""}:
                    edits += self._in(filename, rewriter.imports(module, sorted(names - {""})))
        home = self._plan.file.filename
        named = [edit._replace(filename="" if edit.filename == home else edit.filename) for edit in edits]
        return tuple(_in_order(dict.fromkeys(named)))

    def _put(self, filename: str, where: str, node: ast.stmt, code: str) -> Sequence[Edit]:
        rewriter = self._rewriters.of(filename)
        if where == "return":
            assert isinstance(node, ast.Return)
            free = (name for name in ("output", "result", "returned") if name not in rewriter.taken())
            return rewriter.returned(node, next(free, "value_of_the_pass"), code)
        insert = {"after": rewriter.after, "before": rewriter.before, "first": rewriter.first, "last": rewriter.last}
        return [insert[where](node, code)]

    def _in(self, filename: str, edits: Sequence[Edit]) -> list[Edit]:
        return [edit._replace(filename=filename) for edit in edits]

    def _rewrite(self, filename: str, file: FileTree) -> list[Edit]:
        rewriter = self._rewriters.of(filename)
        texts = Texts(
            file,
            rewriter,
            self._rewrites[filename],
            self._reads,
            lambda name: self._called(filename, name),
            lambda: self._reached(filename, "time", "time"),
            rewriter.taken(),
            self._plan.hook,
            plain=self._plan.style == PLAIN,
        )
        own = {one.node for one in self._plan.rewrites if one.file is file}
        edits: list[Edit] = []
        for node in texts.outermost():
            if not any(one in own for one in ast.walk(node)):
                continue
            if self._rewrites[filename][node].kind == "mark":
                edits.append(rewriter.decorate(node, self._mark(filename)))
            elif self._rewrites[filename][node].kind == "delete":
                assert isinstance(node, ast.stmt)
                edits.append(rewriter.delete_statement(node))
            else:
                text = texts.text(node)
                edits += self._kept_comments(rewriter, file.statement(node), rewriter.comments(node), text)
                if isinstance(node, ast.stmt):
                    edits.append(rewriter.replace_statement(node, text))
                else:
                    edits.append(rewriter.replace(node, text))
                edits += self._cached(filename, self._rewrites[filename][node], texts.cached)
        return self._in(filename, edits)

    def _mark(self, filename: str) -> str:
        """The decorator that leaves a function out of compiled graphs."""
        if self._plan.style == LIBRARY:
            return self._called(filename, "outside_graph")
        bound = self._rewriters.of(filename).bound_as("torch")
        if bound is None:
            self._wanted(filename, "torch", "")
        return f"{bound or 'torch'}.compiler.disable"

    def _kept_comments(self, rewriter: Rewriter, statement: ast.stmt, comments: list[str], text: str) -> list[Edit]:
        """Comments inside what is exchanged that its text has no place for go in front of the statement."""
        lost = [comment for comment in comments if comment not in text]
        return [rewriter.before(statement, "\n".join(lost))] if lost else []

    def _cached(self, filename: str, rewrite: Rewrite, names: Mapping[ast.AST, str]) -> list[Edit]:
        """Where a copy to the device is kept: a cached method, made in front of the hook."""
        call = rewrite.node
        if rewrite.before is None or not isinstance(call, ast.Call):
            return []
        cache = self._reached(filename, "functools", "cache")
        method = self._rewriters.of(filename).code(call.func)
        return [self._rewriters.of(filename).before(rewrite.before, f"{names[call]} = {cache}({method})")]

    def _code(self, point: Point) -> list[str]:
        """What is written at a point."""
        if self._plan.style == LIBRARY:
            return [_FINALIZER.sub(lambda match: f"{self._called(point.filename, match[1])}(", point.code)]
        if point.code.startswith("flush("):
            return []
        name: Name = "finalize_reads" if self._plan.read.form == "item" else "finalize_copies"
        return [point.code.replace("finalize(", f"{self._plain_finalizer(point, name)}(")]

    def _plain_finalizer(self, point: Point, name: Name) -> str:
        """The name of the generated function in a file; it is put there if it is not there yet."""
        rewriter = self._rewriters.of(point.filename)
        if name in rewriter.taken():
            return name
        function = plain_function(name)
        for module in function.imports:
            self._wanted(point.filename, module, "")
        self._functions += self._in(point.filename, [rewriter.module_level(point.node, function.source)])
        return function.name

    def _called(self, filename: str, name: str) -> str:
        """How a name of the library is written in a file."""
        rewriter = self._rewriters.of(filename)
        if rewriter.bound_as(LIBRARY_MODULE, name) is None and name not in rewriter.taken():
            self._wanted(filename, LIBRARY_MODULE, name)
            return name
        return self._reached(filename, LIBRARY_MODULE, name)

    def _reached(self, filename: str, module: str, name: str) -> str:
        """How a name of a module is written: as the file imports it, else `module.name`, else under a free name."""
        rewriter = self._rewriters.of(filename)
        bound = rewriter.bound_as(module, name)
        if bound is not None:
            return bound
        taken = rewriter.taken()
        if module.partition(".")[0] not in taken:
            self._wanted(filename, module, "")
            return f"{module}.{name}"
        free = f"{name}_"
        while free in taken:
            free += "_"
        self._wanted(filename, module, f"{name} as {free}")
        return free

    def _wanted(self, filename: str, module: str, name: str) -> None:
        """A file has to import a name of a module, or with "" the module itself."""
        self.imports.setdefault(filename, {}).setdefault(module, set()).add(name)


def _all_points(drafts: Sequence[_Draft]) -> dict[_Place, list[str]]:
    """What drafts put at each place."""
    found: dict[_Place, list[str]] = {}
    for draft in drafts:
        for place, codes in draft.points.items():
            found.setdefault(place, []).extend(codes)
    return found


def _section(item: tuple[str, set[str]]) -> tuple[bool, str]:
    """Python's own modules come first, where a file has no imports to go by."""
    return item[0].partition(".")[0] not in sys.stdlib_module_names, item[0]


def joined(codes: Sequence[str]) -> list[str]:
    """Statements for one place: one call for all containers, and none that only flushes beside it."""
    containers: dict[str, list[str]] = {}
    others: list[str] = []
    for code in dict.fromkeys(codes):
        call = _CALL.fullmatch(code)
        if call is None:
            others.append(code)
        elif call["arguments"]:
            containers.setdefault(call["name"], []).append(call["arguments"])
    calls = [f"{name}({', '.join(dict.fromkeys(arguments))})" for name, arguments in containers.items()]
    if not calls and not others:
        return list(dict.fromkeys(codes))
    return [*calls, *others]


def _in_order(edits: Iterable[Edit]) -> list[Edit]:
    """The edits by place; what is inserted at one place, at the ends of several blocks, is one, inner blocks first."""
    found: list[Edit] = []
    for edit in sorted(edits, key=lambda one: (one.filename, one.location, one.end_location, -_depth(one.content))):
        last = found[-1] if found else None
        if last is not None and last[1:] == edit[1:] and edit.location == edit.end_location:
            found[-1] = last._replace(content=last.content + edit.content)
        else:
            found.append(edit)
    return found


def _depth(content: str) -> int:
    line = content.strip("\n")
    return len(line) - len(line.lstrip())
