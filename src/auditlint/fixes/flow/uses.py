"""What an expression does with a part of it: computes, hands on, reports, keeps in a container."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree, FunctionNode
from auditlint.project.modules import TRY

DISPLAYS = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp, ast.GeneratorExp)
ANY_DEPTH = ("*",)  # keys of what is somewhere in a container that is stored


def computes(above: ast.AST, node: ast.expr) -> ast.expr | None:
    """The expression around `node` if it makes a host value of it and does nothing else."""
    match above:
        case ast.BinOp() | ast.UnaryOp() | ast.Compare() | ast.JoinedStr() | ast.FormattedValue():
            return above
        case ast.Subscript(value=value, ctx=ast.Load()) if value is node:
            return above
        case ast.Attribute(value=value, attr=attr, ctx=ast.Load()) if value is node:
            return above if attr in idioms.PURE_METHODS or attr in ("shape", "T", "real", "imag", "dtype") else None
        case ast.Call(func=ast.Attribute(attr=attr) as func) if func is node:
            return above if attr in idioms.PURE_METHODS else None
        case ast.Call(func=ast.Attribute(attr=attr)) if node in above.args and attr in idioms.SHAPED:
            return above
        case ast.Call() if node in above.args:
            return above if _pure(above) else None
    return None


def loops(file: FileTree, above: ast.AST, node: ast.expr) -> ast.expr | None:
    """The comprehension that iterates over `node`, if it makes a host value of the elements and does nothing else."""
    if not isinstance(above, ast.comprehension) or above.iter is not node:
        return None
    whole = file.parents[above]
    if isinstance(whole, ast.GeneratorExp):
        around = file.parents[whole]
        if not (isinstance(around, ast.Call) and computes(around, whole) is around):
            return None
    elif not isinstance(whole, (ast.ListComp, ast.DictComp, ast.SetComp)):
        return None
    return whole if whole.generators[0] is above and all(map(_only_computes, _behind(whole))) else None


Comprehension: TypeAlias = ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp


def _behind(whole: Comprehension) -> Iterator[ast.AST]:
    """What a comprehension evaluates for each element: all but what it iterates over."""
    first = set(map(id, ast.walk(whole.generators[0].iter)))
    return (one for one in ast.walk(whole) if one is not whole and id(one) not in first)


def _only_computes(node: ast.AST) -> bool:
    match node:
        case ast.comprehension(is_async=is_async):
            return not is_async
        case ast.Call(func=ast.Attribute(attr=attr)):
            return attr in idioms.PURE_METHODS or _pure(node)
        case ast.Call():
            return _pure(node)
        case ast.Lambda() | ast.Await() | ast.NamedExpr() | ast.Yield() | ast.YieldFrom():
            return False
    return True


def bound_names(whole: Comprehension) -> set[str]:
    """The names that a comprehension, or one inside its elements, gives to elements."""
    return {one.id for one in _behind(whole) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def free_names(whole: Comprehension) -> list[ast.expr]:
    """The variables of the scope around, and attributes of such, that a comprehension looks up for each element.

    Functions and modules that it calls are none of them.
    """
    bound = bound_names(whole)
    called = {one.func for one in _behind(whole) if isinstance(one, ast.Call)}
    called |= {one.value for one in called if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name)}
    found: list[ast.expr] = []
    waiting: list[ast.AST] = [one for one in ast.iter_child_nodes(whole) if one is not whole.generators[0]]
    waiting += [whole.generators[0].target, *whole.generators[0].ifs]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.expr) and node not in called and (root := _variable(node)) is not None:
            if isinstance(root.ctx, ast.Load) and root.id not in bound:
                found.append(node)
        elif node not in called or isinstance(node, ast.Attribute):
            waiting += ast.iter_child_nodes(node)
    return found


def _variable(node: ast.expr) -> ast.Name | None:
    """The variable of `variable.attribute.attribute`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def is_index(file: FileTree, node: ast.AST) -> bool:
    """Whether a tuple is the index in `a[0, 1:]`: it may have no parentheses, and slices in it."""
    above = file.parents[node]
    return isinstance(node, ast.Tuple) and isinstance(above, ast.Subscript) and above.slice is node


def _pure(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name):
            return name in idioms.PURE_BUILTINS and not (name == "dict" and not call.args)
        case ast.Attribute(value=ast.Name(id=owner), attr=attr):
            if owner == "json":
                return attr == "dumps"
            if owner == "torch":
                return attr in idioms.PURE_TORCH and not any(one.arg == "device" for one in call.keywords)
            own = idioms.OWN_FUNCTIONS.get(owner)
            return owner in idioms.PURE_MODULES and attr not in idioms.IMPURE and (own is None or attr in own)
        case ast.Attribute(value=ast.Constant(), attr="format" | "join"):
            return True
    return False


def passes(above: ast.AST, node: ast.expr) -> ast.expr | None:
    """The expression around a value that hands it on as it is: a display, an element, one of two choices."""
    match above:
        case ast.List() | ast.Tuple():
            return above if isinstance(above.ctx, ast.Load) else None
        case ast.Dict():
            return above if node in above.values else None
        case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) | ast.DictComp(value=element):
            return above if element is node else None
        case ast.IfExp(test=test):
            return above if test is not node else None
        case ast.Call(func=ast.Name(id="copy" | "deepcopy") | ast.Attribute(value=ast.Name(id="copy"))):
            return above if node in above.args else None
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[ast.GeneratorExp() | ast.ListComp()]):
            return above if node in above.args else None
    return None


def extends(above: ast.AST, node: ast.expr, lists: Collection[str]) -> ast.expr | None:
    """The sum of two lists of which `node` is one: `[value] + self.values`, where `lists` are known to be such."""
    match above:
        case ast.BinOp(op=ast.Add(), left=left, right=right) if isinstance(left, ast.List) or isinstance(
            right, ast.List
        ):
            return above if isinstance(node, ast.List) or ast.unparse(node) in lists else None
    return None


def for_backward(function: FunctionNode, target: ast.expr) -> bool:
    """Whether an attribute is one of the context that a `torch.autograd.Function` hands to its backward pass."""
    match function, target:
        case (
            ast.FunctionDef(name="forward" | "setup_context", args=ast.arguments(args=[ast.arg(arg=first), *_])),
            ast.Attribute(value=ast.Name(id=owner)),
        ):
            return owner == first and any(ast.unparse(one) == "staticmethod" for one in function.decorator_list)
    return False


def _maps(call: ast.Call) -> bool:
    """Whether a call applies a function to the tensors in its arguments, and gives back its results in their place."""
    name = ast.unparse(call.func).rpartition(".")[2].lower()
    return "map" in name or "apply" in name


def mapped_by(file: FileTree, function: FunctionNode) -> ast.Call | None:
    """The call that applies a lambda or nested function to the parts of a structure, where nothing else uses it."""
    around = file.function(function)
    if isinstance(function, ast.Lambda):
        used: list[ast.expr] = [function]
    else:
        used = uses_of(around, function.name) if around is not None else []
    call = file.parents[used[0]] if len(used) == 1 else None
    return call if isinstance(call, ast.Call) and used[0] in call.args and _maps(call) else None


def needed_for(above: ast.AST, node: ast.expr) -> str:
    """What the hook needs a value for that ends in `above`, in words that say why it cannot be deferred."""
    match above:
        case ast.For() | ast.AsyncFor():
            return "the hook loops over the value"
        case ast.comprehension(iter=iterated) if iterated is node:
            return "the hook loops over the value"
        case ast.If() | ast.While() | ast.Assert() | ast.IfExp() | ast.BoolOp() | ast.comprehension() | ast.Match():
            return "the value decides what the hook does next"
        case ast.Subscript() | ast.Slice():
            return "the value is a key or an index in the hook"
        case ast.NamedExpr():
            return "it is bound inside an expression"
        case ast.Raise():
            return "the value goes into an error"
        case ast.Yield() | ast.YieldFrom() | ast.Await():
            return "the value is yielded"
        case ast.withitem():
            return "the value manages a context"
    return "the value goes where it cannot be followed"


def report_kind(call: ast.Call) -> str:
    """How a call tells its arguments to somebody outside: print, log, scalar, step, file; "" when it does not."""
    name = ast.unparse(call.func)
    owner, _, method = name.rpartition(".")
    if name in idioms.REPORTS:
        return "print"
    last = owner.rpartition(".")[2].lower()
    if method in idioms.LOG_METHODS and ("log" in last or last in ("console", "rich")):
        return "print"
    if method in idioms.SCALAR_WRITERS:
        return "scalar"
    if method in idioms.STEP_WRITERS and (last in ("wandb", "mlflow", "run", "_run") or method != "log"):
        return "step"
    return "file" if name in idioms.EXPORTS else ""


def writes(call: ast.Call) -> bool:
    """Whether the name of what is called says that it writes its arguments to a file."""
    words = ast.unparse(call.func).rpartition(".")[2].strip("_").split("_")
    return words[0] in idioms.WRITERS and not idioms.FILES.isdisjoint(words)


def reports_only(statement: ast.If) -> bool:
    """Whether all that depends on a test is one report."""
    match statement:
        case ast.If(body=[ast.Expr(value=ast.Call() as call)], orelse=[]):
            return report_kind(call) == "print"
    return False


def has_step(call: ast.Call) -> bool:
    return len(call.args) > 2 or any(one.arg in ("global_step", "step") for one in call.keywords)


def opened_here(file: FileTree, call: ast.Call, name: str) -> bool:
    """Whether a variable is a file that the function opens, and closes when it is done."""
    function = file.function(call)
    if function is None:
        return False
    return any("open" in ast.unparse(one).partition("\n")[0] for one in bindings_of(file, function, name))


def root_of(container: ast.expr) -> ast.expr:
    """The variable or attribute that a container is reached by: `self.acts` of `self.acts[name]["norm"]`."""
    while True:
        match container:
            case ast.Subscript(value=inner):
                container = inner
            case ast.Call(func=ast.Attribute(value=inner, attr="setdefault" | "get")):
                container = inner
            case _:
                return container


def uses_of(function: ast.AST, text: str) -> list[ast.expr]:
    """The places in a function that read the variable or attribute `text`."""
    body: list[ast.AST] = [function] if not isinstance(function, FUNCTIONS) else []
    if isinstance(function, FUNCTIONS):
        body += [function.body] if isinstance(function, ast.Lambda) else function.body
    return [
        node
        for part in body
        for node in ast.walk(part)
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load) and ast.unparse(node) == text
    ]


def sums_of(function: ast.AST, text: str) -> list[ast.AugAssign]:
    """The statements in a function that change the variable or attribute `text` in place, as `+=` does."""
    return [node for node in ast.walk(function) if isinstance(node, ast.AugAssign) and ast.unparse(node.target) == text]


def caught(file: FileTree, node: ast.expr) -> bool:
    """Whether an error in an expression is handled in the function that it stands in."""
    inner: ast.AST = node
    for above in file.above(node):
        if isinstance(above, FUNCTIONS):
            return False
        if isinstance(above, TRY) and above.handlers and inner in above.body:
            return True
        if isinstance(above, ast.With) and any("suppress" in ast.unparse(one.context_expr) for one in above.items):
            return True
        inner = above
    return False


def untouched(file: FileTree, node: ast.expr) -> bool:
    """Whether a use of a variable leaves its value, or the values in it, alone: it is filled, or compared to None."""
    above = file.parents[node]
    match above:
        case ast.Subscript(value=value):
            return value is node and (not isinstance(above.ctx, ast.Load) or untouched(file, above))
        case ast.Attribute(attr=attr):
            call = file.parents[above]
            return attr in idioms.STORES and isinstance(call, ast.Call) and isinstance(file.parents[call], ast.Expr)
        case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
            return True
    return False


def keys_of(target: ast.expr) -> tuple[str, ...]:
    """The subscripts of a target, outermost container first; "" for one that is no constant."""
    found: list[str] = []
    while True:
        match target:
            case ast.Subscript(value=inner, slice=key):
                found.insert(0, ast.unparse(key) if isinstance(key, ast.Constant) else "")
            case ast.Call(func=ast.Attribute(value=inner, attr="setdefault" | "get"), args=[key, *_]):
                found.insert(0, ast.unparse(key) if isinstance(key, ast.Constant) else "")
            case _:
                return tuple(found)
        target = inner


def picked(
    file: FileTree, node: ast.expr, elements: Sequence[tuple[str, ...]]
) -> tuple[ast.expr, Sequence[tuple[str, ...]]]:
    """The innermost part that is taken out of a container, and the keys of the values in that; () where it is one."""
    while () not in elements:
        above = file.parents[node]
        match above:
            case ast.Subscript(value=value, ctx=ast.Load()) if value is node:
                # A slice has the same elements as the list.
                elements = elements if isinstance(above.slice, ast.Slice) else _below(elements, keys_of(above)[-1])
                node = above
                continue
            case ast.Attribute(value=value, attr="setdefault" | "get" | "pop" | "popleft" | "popitem" as attr):
                call = file.parents[above]
                if isinstance(call, ast.Call) and call.func is above:
                    keyed = call.args[:1] if attr in ("setdefault", "get") else []
                    key = ast.unparse(keyed[0]) if keyed and isinstance(keyed[0], ast.Constant) else ""
                    elements, node = _below(elements, key), call
                    continue
        break
    return node, elements


def keeps(file: FileTree, node: ast.expr, elements: Sequence[tuple[str, ...]] = ()) -> bool:
    """Whether a use of a container leaves the values in it unread; `elements` are the keys of such as are values."""
    above = file.parents[node]
    match above:
        case ast.Attribute(attr=attr):
            call = file.parents[above]
            if isinstance(call, ast.Call) and call.func is above:
                if attr in ("setdefault", "get", "pop", "popleft", "popitem"):
                    below = _below(elements, "")
                    return isinstance(file.parents[call], ast.Expr) or (() not in below and keeps(file, call, below))
                if attr == "remove":
                    return not elements  # it compares
                return attr in idioms.KEEPS and (attr != "add" or bool(call.args))
            return True  # another attribute of the same object
        case ast.Subscript(value=value) if value is node:
            if not isinstance(above.ctx, ast.Load):
                return True
            below = _below(elements, keys_of(above)[-1])
            return () not in below and keeps(file, above, below)
        case ast.Subscript():
            return True
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()]):
            return left is not node
        case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
            return True
        case ast.Call(func=ast.Name(id="len" | "isinstance" | "id" | "hasattr" | "bool")):
            return True
        case ast.If() | ast.Expr() | ast.While():
            return True
        case ast.UnaryOp() | ast.BoolOp():
            return _only_tested(file, above)
        case ast.Return() | ast.Lambda():
            return False
    return False


def _below(elements: Sequence[tuple[str, ...]], key: str) -> list[tuple[str, ...]]:
    """The keys of values in the part of a container that is reached by `key` ("": any)."""
    found: list[tuple[str, ...]] = []
    for keys in elements:
        if keys[:1] == ANY_DEPTH:
            found += [(), ANY_DEPTH]
        elif keys and (not key or not keys[0] or key == keys[0]):
            found.append(keys[1:])
    return found


def _only_tested(file: FileTree, node: ast.AST) -> bool:
    """Whether `not x`, `x or y` are the test of a statement: a container's length is what counts."""
    while isinstance(node, (ast.UnaryOp, ast.BoolOp)):
        node = file.parents[node]
    return isinstance(node, (ast.If, ast.While, ast.Assert))
