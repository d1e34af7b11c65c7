"""The text of deferred code: `defer(...)` for reads, `derive(...)` for computations, `defer_call(...)` for reports."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from auditlint.fixes.arguments import Arguments, hint_of
from auditlint.fixes.flow.changing import may_change, turns_to_text
from auditlint.fixes.flow.follower import Rewrite
from auditlint.fixes.flow.operands import is_fresh, is_single, nature, number_type
from auditlint.fixes.flow.reads import Read
from auditlint.fixes.flow.tree import FileTree, FunctionNode
from auditlint.fixes.flow.uses import report_kind

WIDTH = 120  # columns that a rewritten line may take before its arguments go on lines of their own

_OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>", ast.MatMult: "@",
}  # fmt: skip


class Code(Protocol):
    """Gives the source text of an expression, with parts of it replaced."""

    def code(self, node: ast.expr, holes: Mapping[ast.expr, str] = ...) -> str: ...


class Texts:
    """The texts of one file's rewrites.

    `called` gives the way to write a name of `auditlint.defer`, `clock` that to write `time.time`; names in `taken`
    mean something in the file already.
    """

    def __init__(
        self,
        file: FileTree,
        source: Code,
        rewrites: Mapping[ast.AST, Rewrite],
        reads: Mapping[ast.AST, Read],
        called: Callable[[str], str],
        clock: Callable[[], str],
        taken: Collection[str],
        hook: FunctionNode,
        plain: bool,
    ) -> None:
        self._file = file
        self._source = source
        self._rewrites = rewrites
        self._reads = reads
        self._called = called
        self._clock = clock
        self._hook = hook
        self._plain = plain
        self._indent, self._margin = "", 0
        self.cached = cache_names([one.node for one in rewrites.values() if one.kind == "move"], taken)

    def text(self, node: ast.expr | ast.stmt) -> str:
        """What stands in the place of an outermost node."""
        self._aligned(node)
        return self.expression(node) if isinstance(node, ast.expr) else self._statement(node)

    def _statement(self, node: ast.stmt) -> str:
        if isinstance(node, ast.If):
            return self._guard(node)
        assert isinstance(node, ast.AugAssign)
        return self._sum(node)

    def _sum(self, node: ast.AugAssign) -> str:
        """`target = derive(...)` for `target += value`."""
        target, operator = self._source.code(node.target), _OPERATORS[type(node.op)]
        if self._plain:
            # Python's numbers have 64 bits: sums of such tensors are what sums of the numbers are.
            wide = "double" if number_type(self._reads[node.value].operand or node.value) == "float" else "long"
            return f"{target} = {target} {operator} {self.expression(node.value)}.{wide}()"
        rewrite = self._rewrites.get(node.value)
        inner = rewrite.leaves if rewrite is not None and rewrite.kind == "derive" else (node.value,)
        arguments = Arguments(self._file, self, self._hook, inner, node.value)
        total = arguments.named(node.target, target, "total")
        body = arguments.body(node.value, top=False)
        function = arguments.function(f"{total} {operator} {body}")
        return f"{target} = {self._call('derive', [function, *arguments.passed()])}"

    def _guard(self, node: ast.If) -> str:
        """A deferred call for a test whose body only reports."""
        report = node.body[0]
        assert isinstance(report, ast.Expr)
        held = [self._rewrites.get(node), self._rewrites.get(report.value)]
        leaves = tuple(leaf for one in held if one is not None for leaf in one.leaves)
        arguments = Arguments(self._file, self, self._hook, leaves, node.test, report.value)
        test = arguments.body(node.test)
        body = arguments.body(report.value)
        return self._call("defer_call", [arguments.function(f"{body} if {test} else None"), *arguments.passed()])

    def _call(self, name: str, parts: list[str]) -> str:
        """The call, an argument a line where it would not fit into one."""
        called = self._called(name)
        text = f"{called}({', '.join(parts)})"
        if self._margin + len(text) <= WIDTH or len(text) < WIDTH // 3 or "\n" in text:
            return text
        inner = self._indent + "    "
        return f"{called}(\n" + "".join(f"{inner}{_folded(part, inner)},\n" for part in parts) + f"{self._indent})"

    def _aligned(self, node: ast.expr | ast.stmt) -> None:
        """Texts that follow stand in the place of `node`."""
        statement = self._file.statement(node)
        line = self._file.source.lines[statement.lineno - 1]
        # A statement's text is indented where it is put.
        self._indent = "" if node is statement else line[: len(line) - len(line.lstrip())]
        end = self._file.source.lines[(node.end_lineno or node.lineno) - 1]
        self._margin = self._file.start(node).column - 1 + len(end) - (self._file.end(node).column - 1)

    def expression(self, node: ast.expr) -> str:
        """The text of an expression, all rewrites in it made."""
        rewrite = self._rewrites.get(node)
        if rewrite is None:
            return self._source.code(node, {one: self.expression(one) for one in self._inside(node)})
        if rewrite.kind == "move":
            return self._moved(node)
        if rewrite.kind in ("detach", "clone"):
            return self._cut_loose(node, rewrite.kind)
        if rewrite.kind == "read":
            return self._read(self._reads[node])
        if rewrite.kind == "gather":
            return self._gathered(node)
        return self._deferred(node, rewrite)

    def outermost(self) -> list[ast.expr | ast.stmt]:
        """The nodes to replace: those that stand in no other."""
        return [
            one.node
            for one in self._rewrites.values()
            if not any(a in self._rewrites for a in self._file.above(one.node))
        ]

    def _inside(self, node: ast.expr) -> list[ast.expr]:
        found: list[ast.expr] = []
        waiting: list[ast.AST] = list(ast.iter_child_nodes(node))
        while waiting:
            one = waiting.pop()
            if isinstance(one, ast.expr) and one in self._rewrites:
                found.append(one)
            else:
                waiting.extend(ast.iter_child_nodes(one))
        return found

    def _read(self, read: Read) -> str:
        assert read.operand is not None
        if self._plain:
            return self._kept(read)
        operand, fresh = _bare(read.operand)
        fresh = fresh or read.alone
        text = _in_one_line(self._source.code(operand))
        if read.extra:
            text = f"{text}.to({', '.join(self._source.code(one) for one in read.extra)})"
        form = "" if read.form == "item" else f', as_="{read.form}"'
        return f"{self._called('defer')}({text}{form}{', fresh=True' if fresh and not read.extra else ''})"

    def _gathered(self, node: ast.expr) -> str:
        """`finalize([...])` for a comprehension of reads; a generator's elements are made at once."""
        text = self._source.code(node, {one: self.expression(one) for one in self._inside(node)})
        if isinstance(node, ast.GeneratorExp):
            text = f"[{text.removeprefix('(').removesuffix(')')}]"
        return self._call("finalize", [text])

    def _moved(self, node: ast.expr) -> str:
        """`vector_to(h.device)` for `vector.to(h.device)`, with the cached method that `cached` names."""
        assert isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        return self._source.code(node, {node.func: self.cached[node]})

    def _cut_loose(self, node: ast.expr, kind: str) -> str:
        """What is kept, without its graph, and in memory of its own for "clone"."""
        operand, _ = _bare(node)
        text = self._receiver(operand)
        return f"{text}.detach()" + (".clone()" if kind == "clone" else "")

    def _receiver(self, node: ast.expr) -> str:
        """The text of an expression that a method is called on."""
        text = _in_one_line(self._source.code(node))
        simple = isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
        return text if simple else f"({text})"

    def _kept(self, read: Read) -> str:
        """The tensor itself, without its graph, and copied where somebody else has it."""
        assert read.operand is not None
        operand, _ = _bare(read.operand)
        kept = f"{self._receiver(operand)}.detach()"
        if read.form == "item" and not is_single(operand):
            kept += ".reshape(())"
        if read.extra:
            kept += f".to({', '.join(self._source.code(one) for one in read.extra)})"
        return kept if is_fresh(operand) else f"{kept}.clone()"

    def _deferred(self, node: ast.expr, rewrite: Rewrite) -> str:
        name = "derive" if rewrite.kind == "derive" else "defer_call"
        simple = self._simple(node, rewrite)
        if simple is not None:
            return self._call(name, simple)
        arguments = Arguments(self._file, self, self._hook, rewrite.leaves, node)
        body = arguments.body(node)
        return self._call(name, [arguments.function(body), *arguments.passed()])

    def _simple(self, node: ast.expr, rewrite: Rewrite) -> list[str] | None:
        """`function, argument, ...` for a call whose arguments are all evaluated in the hook; None for another."""
        if not isinstance(node, ast.Call):
            return None
        given = [*node.args, *(one.value for one in node.keywords)]
        function = node.func
        if any(self._computed(one, rewrite) for one in (function, *given)):
            return None
        if any(isinstance(one, ast.Starred) for one in given) or any(one.arg is None for one in node.keywords):
            return None
        read = self._reads.get(node)
        if read is not None and read.form == "tree":  # `derive` captures one tensor and a structure of many alike
            return [self._source.code(function), *map(self._source.code, given)]
        texts = [self._source.code(function), *(self._given(node, one) for one in node.args)]
        texts += [f"{one.arg}={self.argument(one.value)}" for one in node.keywords]
        if rewrite.kind == "call" and report_kind(node) == "scalar" and uses_time(self._file, node):
            texts.append(f"walltime={self._clock()}()")
        return texts

    def _given(self, call: ast.Call, argument: ast.expr) -> str:
        if turns_to_text(call, argument) and may_change(self._file, argument, self._hook):
            return self.shown(argument)
        return self.argument(argument)

    def _computed(self, node: ast.expr, rewrite: Rewrite) -> bool:
        """Whether a leaf, or what formats tensors, is part of the expression without being the whole of it."""
        if node in rewrite.leaves:
            return False
        if isinstance(node, ast.JoinedStr) and not rewrite.leaves:
            return True
        return any(one in rewrite.leaves for one in ast.walk(node)) or isinstance(node, ast.JoinedStr)

    def leaf(self, node: ast.expr) -> str:
        """The text of what is computed with; a generator is run in the hook."""
        text = self.expression(node)
        return f"[{text.removeprefix('(').removesuffix(')')}]" if isinstance(node, ast.GeneratorExp) else text

    def argument(self, node: ast.expr) -> str:
        """The text of what is passed on from the hook; a tensor is passed so that it looks the same when it is read."""
        if isinstance(node, ast.GeneratorExp):
            return self.leaf(node)
        if node in self._rewrites or nature(self._file, node, self._hook) != "tensor":
            return self.expression(node)
        operand, fresh = _bare(node)
        return f'{self._called("defer")}({self._source.code(operand)}, as_="cpu"{", fresh=True" if fresh else ""})'

    def shown(self, node: ast.expr) -> str:
        """The text of what is formatted in the hook, since it may change."""
        return f'f"{{{self._source.code(node)}}}"'

    def source(self, node: ast.expr, holes: Mapping[ast.expr, str]) -> str:
        return self._source.code(node, holes)


def _in_one_line(text: str) -> str:
    """A chain of methods with a line for each, in one line, if nothing but the chain has it in several."""
    joined = re.sub(r"\s*\n\s*\.", ".", text)
    kept = "\n" in joined or "#" in text or '"""' in text or "'''" in text or len(joined) > WIDTH * 2 // 3
    return text if kept else joined


def _folded(part: str, indent: str) -> str:
    """An argument that begins at `indent`; a lambda that does not fit there has its body on a line of its own."""
    if len(indent) + len(part) < WIDTH or not part.startswith("lambda") or "\n" in part:
        return part
    head, _, body = part.partition(": ")
    return f"{head}: (\n{indent}    {body}\n{indent})"


def _bare(operand: ast.expr) -> tuple[ast.expr, bool]:
    """The tensor without a last `.detach()`, which `defer` does itself, and whether nobody else has it.

    `.data` stays: objects of other kinds, packed sequences for one, have a tensor under that name.
    """
    fresh = is_fresh(operand)
    while True:
        match operand:
            case ast.Call(func=ast.Attribute(value=inner, attr="detach"), args=[], keywords=[]):
                operand = inner
            case ast.Call(func=ast.Attribute(value=inner, attr="clone"), args=[], keywords=[]) if not is_fresh(inner):
                operand, fresh = inner, False
            case _:
                return operand, fresh


def uses_time(file: FileTree, call: ast.Call) -> bool:
    """Whether a deferred `add_scalar` is to be given the time at which it was called."""
    if any(one.arg == "walltime" for one in call.keywords) or len(call.args) > 3:
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    defined = [one for one in ast.walk(file.tree) if isinstance(one, ast.FunctionDef) and one.name == name]
    return all(any(arg.arg in ("walltime",) for arg in one.args.args) for one in defined)


def cache_names(moves: Collection[ast.AST], taken: Collection[str]) -> dict[ast.AST, str]:
    """The names of the cached methods for calls such as `vector.to(...)`: `vector_to`, which nothing else has."""
    found: dict[ast.AST, str] = {}
    owners: dict[str, str] = dict.fromkeys(taken, "")
    calls = [one for one in moves if isinstance(one, ast.Call)]
    for call in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
        assert isinstance(call.func, ast.Attribute)
        method = ast.unparse(call.func)
        base = f"{hint_of(call.func.value)}_{call.func.attr}"
        name, count = base, 2
        while owners.setdefault(name, method) != method:
            name, count = f"{base}_{count}", count + 1
        found[call] = name
    return found
