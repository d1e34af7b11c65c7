"""Where the value of a read goes: through what computes, into what stores or reports, along names, calls and returns.

The result names what has to be rewritten, and where values end; or why they cannot be deferred.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.deferrable import is_lambdas, meant, movable, report_doubts
from auditlint.fixes.flow.files import is_written
from auditlint.fixes.flow.functions import (
    Returned,
    argument_for,
    call_on_path,
    callee,
    calls_of,
    is_outer,
    is_parameter,
    is_plain,
    named_elsewhere,
    origin,
    parameter_for,
    reaches,
)
from auditlint.fixes.flow.holders import unsure_of, watched
from auditlint.fixes.flow.reads import Read
from auditlint.fixes.flow.records import is_display, is_namespace, is_record
from auditlint.fixes.flow.result import Flow, Impossible, Rewrite, Store
from auditlint.fixes.flow.running import run_by
from auditlint.fixes.flow.tree import FileTree, FunctionNode, Trees
from auditlint.fixes.flow.uses import (
    ANY_DEPTH,
    caught,
    computes,
    extends,
    for_backward,
    keeps,
    keys_of,
    loops,
    mapped_by,
    needed_for,
    passes,
    picked,
    report_kind,
    reports_only,
    root_of,
    sums_of,
    untouched,
    uses_of,
    writes,
)

__all__ = ["Follower", "Rewrite"]

_MOST = 60  # expressions that one value is followed through
_DEEPEST = 100  # levels of one expression


class Follower:
    """Follows one read. `hook` is the function that torch calls, None where it is in no file that can be read."""

    def __init__(self, trees: Trees, diagnostic: Diagnostic, hook: FunctionNode | None) -> None:
        self.trees = trees
        self.diagnostic = diagnostic
        self.hook = hook
        self.flow = Flow()
        self.seen: set[tuple[str, ast.AST]] = set()
        # Function -> the calls that it was entered by, and those functions that give the value back to their one call.
        self.entered: dict[FunctionNode, list[tuple[FileTree, ast.Call]]] = {}
        self.giving: set[FunctionNode] = set()
        # Parameters that are containers for the value, looked up in the calls.
        self.given: set[tuple[FunctionNode, str]] = set()
        # Names and attributes that hold a deferred value, by function (None: an attribute, in all functions).
        self.slots: set[str] = set()
        # Those of them that hold a list with the value in it.
        self.lists: set[str] = set()
        self.form = ""
        # The keys under which the value itself was put into a container: methods of what is there would read it.
        self.elements: list[tuple[str, ...]] = []

    def follow(self, file: FileTree, read: Read) -> Flow:
        """Everything that the value of `read` passes through.

        Raises:
            Impossible: when it cannot be deferred.
        """
        self.form = read.form
        if read.operand is None:
            self._opaque(file, read.whole)
        else:
            self._only_tensors(file, read)
            movable(read.operand, "an operand that")
            self.flow.rewrite("read", file, read.root)
            self._from(file, read.root)
        self._note_helpers()
        return self.flow

    def _note_helpers(self) -> None:
        """The functions apart from the hook in which something is rewritten."""
        for rewrite in self.flow.rewrites.values():
            function = rewrite.file.function(rewrite.node)
            if function is self.hook or not isinstance(function, ast.FunctionDef):
                continue
            where, call = next(iter(self._calls(rewrite.file, function)), (rewrite.file, None))
            self.flow.entered.append(Returned(function.name, rewrite.file, where, call))

    def _calls(self, file: FileTree, function: FunctionNode) -> list[tuple[FileTree, ast.Call]]:
        """The calls by which the value, or the hook, has come into a function."""
        if function in self.entered or not isinstance(function, ast.FunctionDef):
            return self.entered.get(function, [])
        found = call_on_path(self.trees, self.diagnostic.path, file, function)
        if found is None:
            return []
        where, call = found
        if self.hook is None or where.function(call) is not self.hook:
            return [found]
        return [found, *((where, one) for one in calls_of(self.hook, function.name) if one is not call)]

    def _only_tensors(self, file: FileTree, read: Read) -> None:
        """A helper's parameter is a tensor where this hook calls it; other callers may give it a number."""
        function = self._inside(file, read.root)
        if function is self.hook or not isinstance(function, ast.FunctionDef):
            return
        if isinstance(read.operand, ast.Name) and is_parameter(function, read.operand.id):
            found = call_on_path(self.trees, self.diagnostic.path, file, function)
            if found is None or named_elsewhere(self.trees, Returned(function.name, file, *found)):
                raise Impossible(f"others call `{function.name}()` too, perhaps with what is no tensor")

    def _opaque(self, file: FileTree, node: ast.expr) -> None:
        """A call or string that formats or writes tensors: the whole is deferred."""
        if isinstance(node, ast.Call) and (kind := report_kind(node)):
            self._report(file, node, kind, None)
            return
        if self.diagnostic.code == "AUD108":
            raise Impossible("the bytes are wanted in the hook")
        self._from(file, node, opaque=True)

    def _from(self, file: FileTree, start: ast.expr, *, opaque: bool = False, part: int | None = None) -> None:
        """Follow the value of the expression `start`; it is the element `part` of a tuple that `start` gives."""
        key = (file.filename, start)
        if key in self.seen:
            return
        self.seen.add(key)
        if len(self.seen) > _MOST:
            raise Impossible("the value goes through too many hands")
        leaf: ast.expr | None = None if opaque else start
        region: ast.expr | None = start if opaque else None
        current = start
        for _ in range(_DEEPEST):
            above = file.parents[current]
            passed = passes(above, current) or extends(above, current, self.lists)
            step = (computes(above, current) or loops(file, above, current)) if passed is None else None
            if step is not None:
                current = region = step
                part = None
                continue
            if passed is None:
                break
            if region is not None:
                self._derive(file, region, leaf)
                region = None
            part = passed.elts.index(current) if isinstance(passed, ast.Tuple) and part is None else None
            current = leaf = passed
        else:
            raise Impossible("the expression is nested too deeply")
        if isinstance(above, (ast.Call, ast.keyword)):
            self._argument(file, above, current, leaf, region)
            return
        if isinstance(above, ast.If) and reports_only(above):
            # The computation becomes part of the deferred call.
            self._ends(file, above, current)
            if leaf is not None:
                self.flow.rewrite("guard", file, above, leaf)
            return
        if region is not None:
            self._derive(file, region, leaf)
        self._ends(file, above, current, part)

    def _derive(self, file: FileTree, region: ast.expr, leaf: ast.expr | None) -> None:
        movable(region, "an expression that")
        if caught(file, region):
            raise Impossible("an error in the computation is handled in the hook")
        self.flow.rewrite("derive", file, region, leaf)

    # Where a value ends

    def _ends(self, file: FileTree, above: ast.AST, node: ast.expr, part: int | None = None) -> None:
        match above:
            case ast.Expr():
                return
            case ast.Assign(targets=targets):
                for target in targets:
                    self._bound(file, target, node, part)
            case ast.AnnAssign(target=target):
                self._bound(file, target, node)
            case ast.AugAssign(target=target) if isinstance(node, ast.List):
                self.elements.append((*keys_of(target), ""))
                self._container(file, self._inside(file, node), target)
            case ast.AugAssign(target=target):
                self._added(file, above)
                self._bound(file, target, node)
            case ast.Return() | ast.Lambda():
                self._returned(file, node, part)
            case ast.If(test=test) if test is node and reports_only(above):
                movable(test, "a test that")
                self.flow.rewrite("guard", file, above)
                self.flow.doubt("the output moves to after the pass")
                self.flow.reports.append((file, above))
            case _:
                raise Impossible(needed_for(above, node))

    def _added(self, file: FileTree, statement: ast.AugAssign) -> None:
        if self.form in ("cpu", "numpy", "list"):
            raise Impossible("it is part of a sum that is made in place in the hook")
        self.flow.rewrite("add", file, statement, statement.value)
        self.flow.doubt("the running total becomes a `Deferred` until it is finalized")

    def _inside(self, file: FileTree, node: ast.AST) -> FunctionNode:
        function = file.function(node)
        if function is None:
            raise Impossible("it is in no function")
        return function

    def _bound(self, file: FileTree, target: ast.expr, node: ast.expr, part: int | None = None) -> None:
        function = self._inside(file, node)
        match target:
            case ast.Name(id=name):
                if is_outer(file, function, name):
                    self._slot(file, function, target, node)
                else:
                    self._name(file, function, name, file.statement(node))
            case ast.Attribute():
                self._slot(file, function, target, node)
            case ast.Subscript(value=container):
                self.elements.append((*keys_of(target), *(ANY_DEPTH if is_display(node) else ())))
                self._container(file, function, container)
            case ast.Tuple(elts=elements):
                if part is None or any(isinstance(one, ast.Starred) for one in elements) or part >= len(elements):
                    raise Impossible("the value is unpacked")
                self._bound(file, elements[part], node)
            case _:
                raise Impossible("the value goes where it cannot be followed")

    def _slot(self, file: FileTree, function: FunctionNode, target: ast.expr, node: ast.expr) -> None:
        """`target` is an attribute, or a variable of a scope around the function; `node` is what it is set to."""
        text = ast.unparse(target)
        if for_backward(function, target):
            raise Impossible("it is kept for the backward pass")
        if isinstance(target, ast.Attribute) and watched(file, function, target):
            raise Impossible(f"setting `{text}` runs code that may read the value")
        self.flow.stores.append(Store(file, function, target, True))
        if text in self.slots:
            return
        self.slots.add(text)
        if is_display(node) or isinstance(node, ast.BinOp):
            self.lists.add(text)
        for body in self._bodies(file, function):
            for one in meant(file, function, body, target):
                if untouched(file, one) or (text in self.lists and keeps(file, one)):
                    continue
                self.flow.doubt("the running value becomes a `Deferred` until it is finalized")
                self._from(file, one)
            for sum_ in sums_of(body, text):
                self._added(file, sum_)

    def _name(self, file: FileTree, function: FunctionNode, name: str, since: ast.stmt | None = None) -> None:
        """A local variable holds the value: follow its uses from `since` on, which binds it (None: a parameter)."""
        for one in self._local(file, function, name):
            if reaches(file, function, name, since, one) and not untouched(file, one):
                self._from(file, one)
        for sum_ in sums_of(function, name):
            if reaches(file, function, name, since, sum_.value):
                self._added(file, sum_)

    def _filled(self, file: FileTree, function: FunctionNode, name: str) -> None:
        """A local container holds the value: follow what is done with it."""
        for one in self._local(file, function, name):
            if not untouched(file, one):
                self._from(file, one)

    def _local(self, file: FileTree, function: FunctionNode, name: str) -> list[ast.expr]:
        found = [one for one in uses_of(function, name) if not is_lambdas(file, one, name)]
        if any(file.function(one) is not function for one in found):
            raise Impossible(f"a nested function uses `{name}`")
        return found

    def _container(self, file: FileTree, function: FunctionNode, container: ast.expr) -> None:
        """The value is put into a container: a local one is followed, another one is where it ends."""
        root = root_of(container)
        if isinstance(root, ast.Name) and not is_outer(file, function, root.id):
            other = origin(file, function, root.id)
            if other is not None:
                self._within(other)
                self._container(file, function, other)
                self._reread(file, function, root)
                return
            if not is_parameter(function, root.id):
                self._filled(file, function, root.id)
                return
            if function is not self.hook and self._given(file, function, root.id):
                self._reread(file, function, root)
                return
        if unsure_of(file, function, container, root):
            self.flow.doubt(f"`{ast.unparse(root)}` may be no list or dict")
        self.flow.stores.append(Store(file, function, root, False))
        for body in self._bodies(file, function):
            for one in meant(file, function, body, root):
                self._kept(file, body, one, self.elements)

    def _given(self, file: FileTree, function: FunctionNode, name: str) -> bool:
        """A helper's parameter is the container: it is the caller's argument. False where no caller is known."""
        if (function, name) in self.given:
            return True  # a call of the function in itself
        self.given.add((function, name))
        calls = self._calls(file, function)
        for where, call in calls:
            argument = argument_for(call, function, name)
            if argument is None:
                raise Impossible("the container comes from a call that cannot be followed")
            self._within(argument)
            self._container(where, self._inside(where, call), argument)
        return bool(calls)

    def _within(self, container: ast.expr) -> None:
        """The value is in a part of another container: its keys there are longer."""
        keys = keys_of(container)
        if keys:
            self.elements += [(*keys, *one) for one in self.elements]

    def _reread(self, file: FileTree, function: FunctionNode, root: ast.expr) -> None:
        """What else the hook does with the container is done with the values in it."""
        for one in uses_of(function, ast.unparse(root)):
            self._kept(file, function, one, self.elements)

    def _kept(self, file: FileTree, function: FunctionNode, use: ast.expr, elements: Sequence[tuple[str, ...]]) -> None:
        """A use of a container: what is taken out of it is followed, and other names of it."""
        if keeps(file, use, elements):
            return
        part, below = picked(file, use, elements)
        above = file.parents[part]
        if () in below:
            self._from(file, part)
            return
        match above:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if not is_outer(
                file, function, name
            ):
                if ("alias", above) not in self.seen:
                    self.seen.add(("alias", above))
                    for one in self._local(file, function, name):
                        self._kept(file, function, one, below)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr():
                raise Impossible(f"the hook gives `{ast.unparse(use)}` another name")
            case ast.Attribute(attr="sort"):
                raise Impossible("the hook sorts by the value")
            case _:
                self._from(file, part)

    def _bodies(self, file: FileTree, function: FunctionNode) -> Iterable[FunctionNode]:
        """The functions of this file that run in the pass and may look at what was stored."""
        found = {id(function): function}
        for step in self.diagnostic.path:
            if step.filename == file.filename:
                node = file.named(step.name, step.row)
                if node is not None:
                    found[id(node)] = node
        return run_by(file, found.values())

    # Calls and returns

    def _argument(
        self, file: FileTree, above: ast.AST, node: ast.expr, leaf: ast.expr | None, region: ast.expr | None
    ) -> None:
        """The value is an argument of a call that does not only compute."""
        call = file.parents[above] if isinstance(above, ast.keyword) else above
        if not isinstance(call, ast.Call):
            raise Impossible("the value goes where it cannot be followed")
        if call.func is node:
            raise Impossible("the value is called")
        kind = report_kind(call)
        if not kind and writes(call) and callee(file, call) is None and isinstance(file.parents[call], ast.Expr):
            kind = "file"
        if not kind and is_written(file, self._inside(file, call), call):
            kind = "file"
        if kind:
            if region is not None:
                # The computation becomes part of the deferred call.
                movable(region, "an expression that")
            self._report(file, call, kind, leaf)
            return
        if region is not None:
            self._derive(file, region, leaf)
        name = ast.unparse(call.func)
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        function = self._inside(file, call)
        if method in idioms.STORES and isinstance(call.func, ast.Attribute):
            if method in idioms.KEYED and call.args[0] is node:
                raise Impossible("the value is a key or an index in the hook")
            plain = region is None and leaf is node and not is_display(node)
            if method in idioms.ITERATES and (plain or region is not None) and not isinstance(above, ast.keyword):
                raise Impossible(f"`.{method}()` looks into the value in the hook")
            if not isinstance(file.parents[call], (ast.Expr, ast.Lambda)) and method != "setdefault":
                raise Impossible(f"the result of `.{method}()` is used")
            self._put(file, call.func, node)
            self._container(file, function, call.func.value)
            return
        target = callee(file, call)
        if target is None:
            if is_record(file, call, above, node):
                self.flow.namespaces |= is_namespace(file, call)
                self._from(file, call)
                return
            raise Impossible(f"`{name}()` may read the value in the hook")
        parameter = parameter_for(call, target, above, node)
        if parameter is None:
            raise Impossible(f"`{name}()` takes the value in a way that cannot be followed")
        calls = self.entered.setdefault(target, [])
        if all(one is not call for _, one in calls):
            calls.append((file, call))
        self._once(target)
        self._name(file, target, parameter)

    def _once(self, function: FunctionNode) -> None:
        """A function that gives the value back gives it to one call."""
        if function in self.giving and len(self.entered[function]) > 1:
            assert isinstance(function, ast.FunctionDef)
            raise Impossible(f"`{function.name}()` is called with the value more than once")

    def _put(self, file: FileTree, method: ast.Attribute, node: ast.expr) -> None:
        """A method puts `node` into a container: under which keys the value can be read there."""
        depth = () if method.attr in idioms.ITERATES else ("",)
        self.elements.append((*keys_of(method.value), *depth, *(ANY_DEPTH if is_display(node) else ())))

    def _report(self, file: FileTree, call: ast.Call, kind: str, leaf: ast.expr | None) -> None:
        movable(call, "a call that")
        for doubt in report_doubts(file, call, kind, leaf):
            self.flow.doubt(doubt)
        self.flow.reports.append((file, call))
        self.flow.rewrite("call", file, call, leaf)

    def _returned(self, file: FileTree, node: ast.expr, part: int | None) -> None:
        function = file.function(node)
        assert function is not None
        if function is self.hook:
            raise Impossible("the hook returns the value into the pass")
        mapper = mapped_by(file, function) if function not in self.entered else None
        if mapper is not None:
            self.flow.doubt(f"`{ast.unparse(mapper.func)}()` is taken to hand on what the function gives")
            self._from(file, mapper)
            return
        if not isinstance(function, ast.FunctionDef):
            raise Impossible("the value is returned from a function that cannot be followed")
        self.giving.add(function)
        if function in self.entered:
            self._once(function)
            where, call = self.entered[function][0]
            self.flow.returned.append(Returned(function.name, file, where, call))
            self._from(where, call, part=part)
            return
        found = call_on_path(self.trees, self.diagnostic.path, file, function)
        if found is None:
            raise Impossible(f"`{function.name}()` returns it to a call that cannot be followed")
        if any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in ast.walk(function)) or not is_plain(function):
            raise Impossible(f"`{function.name}()` is decorated, or yields")
        where, call = found
        self.entered[function] = [found]
        self.flow.returned.append(Returned(function.name, file, where, call))
        self._from(where, call, part=part)
