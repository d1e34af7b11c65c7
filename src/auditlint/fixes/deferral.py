"""The text of deferred code: `defer(...)` for reads, `derive(...)` for computations, `defer_call(...)` for reports."""

from __future__ import annotations

import ast
import builtins
import keyword
from collections.abc import Callable, Mapping
from typing import Protocol

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.follower import Rewrite
from auditlint.fixes.flow.functions import is_outer
from auditlint.fixes.flow.operands import is_fresh, is_function, is_single, nature, number_type
from auditlint.fixes.flow.reads import Read
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree, FunctionNode
from auditlint.fixes.flow.uses import report_kind

WIDTH = 120  # columns that a rewritten line may take before its arguments go on lines of their own

# A name that says what a value is, where the operation's own name is Python's.
_NAMES = {"sum": "total", "max": "largest", "min": "smallest", "abs": "size", "any": "found", "all": "every"}
_OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>", ast.MatMult: "@",
}  # fmt: skip


class Code(Protocol):
    """Gives the source text of an expression, with parts of it replaced."""

    def code(self, node: ast.expr, holes: Mapping[ast.expr, str] = ...) -> str: ...


class Texts:
    """The texts of one file's rewrites. `called` gives the way to write a name of `auditlint.defer`."""

    def __init__(
        self,
        file: FileTree,
        source: Code,
        rewrites: Mapping[ast.AST, Rewrite],
        reads: Mapping[ast.AST, Read],
        called: Callable[[str], str],
        hook: FunctionNode,
        plain: bool,
    ) -> None:
        self._file = file
        self._source = source
        self._rewrites = rewrites
        self._reads = reads
        self._called = called
        self._hook = hook
        self._plain = plain
        self._indent, self._margin = "", 0

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
        arguments = _Arguments(self, inner)
        total = arguments.named(_hint(node.target, "total"), target)
        body = arguments.body(node.value, top=False)
        function = arguments.function(f"{total} {operator} {body}")
        return f"{target} = {self._call('derive', [function, *arguments.passed()])}"

    def _guard(self, node: ast.If) -> str:
        """A deferred call for a test whose body only reports."""
        report = node.body[0]
        assert isinstance(report, ast.Expr)
        held = [self._rewrites.get(node), self._rewrites.get(report.value)]
        arguments = _Arguments(self, tuple(leaf for one in held if one is not None for leaf in one.leaves))
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
        return f"{called}(\n" + "".join(f"{inner}{part},\n" for part in parts) + f"{self._indent})"

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
        text = self._source.code(operand)
        if read.extra:
            text = f"{text}.to({', '.join(self._source.code(one) for one in read.extra)})"
        form = "" if read.form == "item" else f', as_="{read.form}"'
        return f"{self._called('defer')}({text}{form}{', fresh=True' if fresh and not read.extra else ''})"

    def _moved(self, node: ast.expr) -> str:
        """`vector_to(h.device)` for `vector.to(h.device)`, with the cached method that `cache_of` names."""
        assert isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        return self._source.code(node, {node.func: cache_name(node)})

    def _cut_loose(self, node: ast.expr, kind: str) -> str:
        """What is kept, without its graph, and in memory of its own for "clone"."""
        operand, _ = _bare(node)
        text = self._receiver(operand)
        return f"{text}.detach()" + (".clone()" if kind == "clone" else "")

    def _receiver(self, node: ast.expr) -> str:
        """The text of an expression that a method is called on."""
        text = self._source.code(node)
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
        arguments = _Arguments(self, rewrite.leaves)
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
        texts = [self._source.code(function), *(self.argument(one) for one in node.args)]
        texts += [f"{one.arg}={self.argument(one.value)}" for one in node.keywords]
        if rewrite.kind == "call" and report_kind(node) == "scalar" and uses_time(self._file, node):
            texts.append("walltime=time.time()")
        return texts

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

    def is_global(self, node: ast.expr) -> bool:
        """Whether a name is one of the module, so that a lambda finds the same under it later."""
        return isinstance(node, ast.Name) and all(
            is_outer(self._file, function, node.id)
            for function in self._file.above(node)
            if isinstance(function, FUNCTIONS)
        )

    def source(self, node: ast.expr, holes: Mapping[ast.expr, str]) -> str:
        return self._source.code(node, holes)


class _Arguments:
    """The parameters of a lambda, and what is passed for them."""

    def __init__(self, texts: Texts, leaves: tuple[ast.expr, ...]) -> None:
        self._texts = texts
        self._leaves = leaves
        self._held: list[tuple[str, str]] = []  # name, text
        self._taken: set[str] = set()

    def function(self, body: str) -> str:
        """The lambda that computes `body`."""
        names = ", ".join(name for name, _ in self._held)
        return f"lambda {names}: {body}" if names else f"lambda: {body}"

    def passed(self) -> list[str]:
        return [text for _, text in self._held]

    def named(self, hint: str, text: str) -> str:
        """A parameter for the argument `text`; the same one for the same text."""
        for name, held in self._held:
            if held == text:
                return name
        name, count = hint, 2
        while name in self._taken:
            name, count = f"{hint}_{count}", count + 1
        self._taken.add(name)
        self._held.append((name, text))
        return name

    def body(self, node: ast.expr, top: bool = True) -> str:
        """The text of the computation, its leaves and everything that is evaluated in the hook replaced."""
        if node in self._leaves:
            return self._leaf(node)
        self._taken.update(one.id for one in ast.walk(node) if isinstance(one, ast.Name) and self._inline(one, node))
        holes: dict[ast.expr, str] = {}
        self._collect_parts(node, holes)
        text = self._texts.source(node, holes)
        return text if top or isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)) else f"({text})"

    def _inline(self, name: ast.Name, node: ast.expr) -> bool:
        return name.id in dir(builtins) or name.id in idioms.PURE_MODULES

    def _leaf(self, node: ast.expr) -> str:
        return self.named(_hint(node), self._texts.leaf(node))

    def _collect(self, node: ast.expr, holes: dict[ast.expr, str]) -> None:
        if node in self._leaves:
            holes[node] = self._leaf(node)
            return
        if isinstance(node, ast.Constant) or _is_number(node):
            return
        if not isinstance(node, (ast.FormattedValue, ast.Slice)) and not self._opened(node):
            holes[node] = self.named(_hint(node), self._texts.argument(node))
            return
        self._collect_parts(node, holes)

    def _collect_parts(self, node: ast.expr, holes: dict[ast.expr, str]) -> None:
        for child in _parts(node):
            if not (_calls(node, child) and self._texts.is_global(child)):
                self._collect(child, holes)

    def _opened(self, node: ast.expr) -> bool:
        """Whether an expression is part of the lambda's body, and only its parts may be evaluated in the hook."""
        if any(one in self._leaves for one in ast.walk(node)):
            return True
        if isinstance(node, ast.JoinedStr):
            return True
        return isinstance(node, ast.Call) and bool(report_kind(node))


def _parts(node: ast.expr) -> list[ast.expr]:
    """The operands of an expression; what a call calls is one where it is a method of a value."""
    match node:
        case ast.Call(func=func, args=args, keywords=keywords):
            found: list[ast.expr] = []
            if isinstance(func, ast.Attribute) and not is_function(func):
                found.append(func.value)
            return [*found, *args, *(one.value for one in keywords)]
        case ast.JoinedStr(values=values):
            return [one for one in values if not isinstance(one, ast.Constant)]
        case ast.FormattedValue(value=value, format_spec=spec):
            return [value, *([spec] if spec is not None else [])]
        case ast.Attribute(value=value):
            return [value]
    return [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]


def _is_number(node: ast.expr) -> bool:
    """`-1`: a number with its sign."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def _calls(call: ast.expr, receiver: ast.expr) -> bool:
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.value is receiver


def _bare(operand: ast.expr) -> tuple[ast.expr, bool]:
    """The tensor without a last `.detach()` or `.data`, which `defer` does itself, and whether nobody else has it."""
    fresh = is_fresh(operand)
    while True:
        match operand:
            case ast.Call(func=ast.Attribute(value=inner, attr="detach"), args=[]):
                operand = inner
            case ast.Attribute(value=inner, attr="data"):
                operand = inner
            case ast.Call(func=ast.Attribute(value=inner, attr="clone"), args=[], keywords=[]) if not is_fresh(inner):
                operand, fresh = inner, False
            case _:
                return operand, fresh


def _hint(node: ast.expr, otherwise: str = "value") -> str:
    """A name for the value of an expression: the variable's, the attribute's, the operation's."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            found = name
        case ast.Call(
            func=ast.Attribute(value=value, attr="item" | "cpu" | "detach" | "tolist" | "numpy" | "to" | "float")
        ):
            found = _hint(value)
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
            found = name
        case ast.Subscript(value=value):
            found = _hint(value)
        case _:
            found = otherwise
    found = _NAMES.get(found, found).lstrip("_").lower()
    unusable = not found.isidentifier() or keyword.iskeyword(found) or hasattr(builtins, found) or found == "self"
    return otherwise if unusable else found


def uses_time(file: FileTree, call: ast.Call) -> bool:
    """Whether a deferred `add_scalar` is to be given the time at which it was called."""
    if any(one.arg == "walltime" for one in call.keywords) or len(call.args) > 3:
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    defined = [one for one in ast.walk(file.tree) if isinstance(one, ast.FunctionDef) and one.name == name]
    return all(any(arg.arg in ("walltime",) for arg in one.args.args) for one in defined)


def cache_name(call: ast.Call) -> str:
    """The name of the cached method for `vector.to(...)`: `vector_to`."""
    assert isinstance(call.func, ast.Attribute)
    return f"{_hint(call.func.value)}_{call.func.attr}"
