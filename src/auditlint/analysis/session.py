"""One analysis session: the memo, the call stack, and what was found so far.

A session covers the hooks that one file registers, so its result does not depend on what else is analysed.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from auditlint.analysis.arguments import Arguments
from auditlint.analysis.naming import Naming
from auditlint.analysis.values import (
    NEVER,
    UNKNOWN,
    Const,
    DictObj,
    Env,
    Func,
    Lazy,
    ListObj,
    Mapping,
    Obj,
    Param,
    Result,
    Scalar,
    Seq,
    Tup,
    Union,
    Value,
    join,
)
from auditlint.config import Config
from auditlint.diagnostics import Hook, Step
from auditlint.project.modules import ClassInfo, FunctionInfo, Module
from auditlint.project.project import Broken, Project

if TYPE_CHECKING:
    from auditlint.analysis.captures import Capture
    from auditlint.analysis.places import Place, Use

MAX_DEPTH = 14
MAX_RUNS = 4000
# Runs of one function with different arguments; further calls are taken to be like the last.
MAX_CONTEXTS = 16
# A function that calls itself is entered this often with different arguments.
MAX_RECURSION = 2


# Kinds of hooks that are handed gradients, which carry a graph only under create_graph, or what autograd saves.
OTHER_KINDS = {
    "backward", "backward_pre", "tensor", "node", "node_pre", "parameter", "multi_grad", "communication", "step",
    "pack", "unpack",
}  # fmt: skip


class SiteRecord(NamedTuple):
    """A site inside one run of a function, before it is known which hooks lead there."""

    kind: str
    operation: str
    evidence: str
    definite: bool
    node: ast.expr
    statement: ast.stmt


class Registration(NamedTuple):
    """A callable that became a hook, and the call (or decorator, class, configuration entry) that made it one."""

    kind: str
    callable: Value
    registrar: str
    registered: Step


class Wrapper(NamedTuple):
    """A parameter that ends in a registrar: whoever is handed over under it becomes a hook."""

    name: str
    function: FunctionInfo
    parameter: str
    kind: str
    registrar: str


# Name of a wrapper -> (position without the receiver, keyword, kind, where it is defined) of each hook that it takes.
Takes: TypeAlias = tuple[int, str, str, str]
Wrappers: TypeAlias = dict[str, tuple[Takes, ...]]


class Summary:
    """What one run of a function (with these kinds of arguments) came to."""

    __slots__ = ("calls", "captures", "info", "sites", "value")

    def __init__(self, info: FunctionInfo) -> None:
        self.info = info
        self.value: Value = UNKNOWN
        self.sites: dict[tuple[ast.AST, str], SiteRecord] = {}
        # What the run keeps beyond itself, by the expression that keeps it.
        self.captures: dict[ast.expr, Capture] = {}
        self.calls: dict[int, tuple[int, Summary]] = {}

    def reach(self, row: int, other: Summary) -> None:
        self.calls.setdefault(id(other), (row, other))


class Start(NamedTuple):
    """One run of a hook: `words` say what torch hands over for its parameters after the first `taken`."""

    kind: str
    hook: Hook
    summary: Summary
    taken: int
    words: tuple[str, ...]

    @property
    def has_activations(self) -> bool:
        """Whether it is handed what the forward pass computes, neither gradients nor what autograd saves."""
        return self.kind not in OTHER_KINDS and "bwd" not in self.hook.registrar


class Session:
    """State shared by all runs; the interpreter's rooms are functions over it."""

    def __init__(
        self,
        project: Project,
        config: Config,
        wrappers: Wrappers,
        classes: Iterable[str] = (),
        relevant: Sequence[str] = (),
    ) -> None:
        self.project = project
        self.config = config
        # Functions and classes of the project that turned out to be registrars, by the last part of their name.
        self.known_wrappers = wrappers
        self.tokens = frozenset(wrappers)
        self.naming = Naming(config, {*self.tokens, *classes})
        # Names of classes of the project that inherit from a hook class.
        self.hook_classes: set[str] = set()
        # Calls of each function met in generic runs, functions whose callers were looked for, and what they hand over.
        self.relevant = relevant
        self.call_log: dict[FunctionInfo, list[Arguments]] = {}
        self.traced: set[FunctionInfo] = set()
        self.handed: dict[tuple[FunctionInfo, str], Value] = {}
        # Functions that have been run with nothing known of their arguments.
        self.ran: set[tuple[FunctionInfo, Env | None]] = set()
        self.memo: dict[tuple[object, ...], Summary] = {}
        self.stack: list[FunctionInfo] = []
        self.contexts: dict[tuple[FunctionInfo, bool], list[Summary]] = {}
        self.runs = 0
        # No function is run past this count; callers lower it for as long as their question is worth.
        self.limit = MAX_RUNS
        self.registrations: dict[tuple[object, ...], Registration] = {}
        self.wrappers: dict[tuple[FunctionInfo, str, str], Wrapper] = {}
        self.module_names: dict[tuple[Module, str], Value] = {}
        self.imports: dict[tuple[Module, str], Lazy] = {}
        self.declared: dict[tuple[FunctionInfo, str], Lazy] = {}
        # Names of functions whose callers are being looked for.
        self.tracing: set[str] = set()
        self.traced_rows: dict[Module, list[int]] = {}
        self.mros: dict[ClassInfo, tuple[ClassInfo, ...]] = {}
        self.outside: dict[ClassInfo, tuple[str, ...]] = {}
        self.heirs: dict[tuple[ClassInfo, str], list[ClassInfo]] = {}
        self.selves: dict[ClassInfo, Obj] = {}
        self.objects: dict[tuple[object, ...], Obj] = {}
        self.lists: dict[tuple[object, ...], ListObj] = {}
        self.dicts: dict[tuple[object, ...], DictObj] = {}
        # Environments that classes defined inside functions close over.
        self.class_envs: dict[ClassInfo, Env] = {}
        self.pending: dict[tuple[FunctionInfo, Env | None], Func] = {}
        # The hooks that were run, and who uses the places in which they keep things.
        self.started: list[Start] = []
        self.uses: dict[tuple[Place, tuple[str, ...]], list[Use]] = {}
        self.homes: dict[int, Place] | None = None
        self._rows: dict[Module, list[int]] = {}

    def is_wrapper(self, info: FunctionInfo) -> bool:
        """Whether a function (or, for a constructor, its class) goes by the name of a registrar of the project."""
        name = info.cls.name if info.name == "__init__" and info.cls is not None else info.name
        return name in self.tokens

    def too_nested(self, info: FunctionInfo) -> None:
        """A function whose expressions nest deeper than the interpreter's stack: its file is not analysed in full."""
        name = info.module.filename
        self.project.broken.setdefault(name, Broken(name, info.row, 1, "nested too deeply to be analysed"))

    def rows(self, module: Module) -> list[int]:
        """Rows of a module that name a registrar or a wrapper of one."""
        rows = self._rows.get(module)
        if rows is None:
            rows = self._rows[module] = self.naming.rows(module.source)
        return rows

    def named(self, module: Module, node: ast.expr) -> bool:
        """Whether the rows of an expression name a registrar."""
        first, last = node.lineno, node.end_lineno or node.lineno
        return _within(self.rows(module), first, last) or _within(self.traced_rows.get(module, ()), first, last)

    def registers(self, info: FunctionInfo | ClassInfo) -> bool:
        """Whether the text of a function or class names a registrar."""
        node = info.node
        first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", None) or 10**9
        return _within(self.rows(info.module), first, last)

    def register(self, kind: str, value: Value, registrar: str, step: Step) -> None:
        """Record that each callable that `value` may be is a hook; a parameter makes its function a registrar."""
        for item in flat_callables(value):
            if isinstance(item, Param):
                self._wrap(kind, item, registrar)
            elif isinstance(item, Result):
                # The hook is made by a class or factory that the caller hands over.
                self._wrap(kind, item.of, registrar)
            else:
                self.registrations.setdefault((kind, item), Registration(kind, item, registrar, step))

    def _wrap(self, kind: str, param: Param, registrar: str) -> None:
        info, parameter = param.info, param.name
        name = info.cls.name if info.cls is not None and info.name in ("__init__", "__new__") else info.name
        self.wrappers.setdefault((info, parameter, kind), Wrapper(name, info, parameter, kind, registrar))

    def list_at(self, *key: object) -> ListObj:
        """The one list that an expression makes in one environment."""
        held = self.lists.get(key)
        if held is None:
            held = self.lists[key] = ListObj(NEVER)
        return held

    def dict_at(self, *key: object) -> DictObj:
        """The one dict that an expression makes in one environment."""
        held = self.dicts.get(key)
        if held is None:
            held = self.dicts[key] = DictObj()
        return held


def flat_callables(value: Value, depth: int = 0) -> list[Value]:
    """The callables that a value may be, or, for containers, may hold."""
    if value.kind in ("func", "bound", "partial", "obj", "param", "result"):
        return [value]
    if depth > 4:
        return []
    found: list[Value] = []
    parts: Iterable[Value] = ()
    if isinstance(value, (Union, Tup)):
        parts = value.items
    elif isinstance(value, (ListObj, Seq, Mapping)):
        parts = (value.element,)
    elif isinstance(value, DictObj):
        parts = (*value.items.values(), value.rest)
    elif isinstance(value, Lazy):
        parts = (value.force(),)
    for part in parts:
        found.extend(flat_callables(part, depth + 1))
    return found


def _within(rows: Sequence[int], first: int, last: int) -> bool:
    at = bisect_left(rows, first)
    return at < len(rows) and rows[at] <= last


def memorable(value: Value) -> Value:
    """A value as part of a memo key: module-level and literal numbers are not told apart."""
    if type(value) is Const and value.type == "int":
        return Scalar("int")
    return value


def merged_env(env: Env, other: dict[str, Value] | None) -> None:
    """Join another branch's variables into `env.now`."""
    if other is None:
        return
    now = env.now
    for name, value in other.items():
        held = now.get(name)
        now[name] = value if held is None else join(held, value)
