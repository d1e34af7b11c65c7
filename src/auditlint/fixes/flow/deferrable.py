"""What can be put off until after the pass, and which uses of a name or attribute mean what was stored."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from auditlint.fixes.flow.functions import is_outer, is_parameter
from auditlint.fixes.flow.result import Impossible
from auditlint.fixes.flow.tree import FileTree, FunctionNode
from auditlint.fixes.flow.uses import has_step, opened_here, uses_of


def movable(node: ast.expr, what: str) -> None:
    """Check that an expression can be evaluated in another function; `what` begins the reason.

    Raises:
        Impossible: when it waits, yields or binds a name.
    """
    for one in ast.walk(node):
        if isinstance(one, (ast.Await, ast.Yield, ast.YieldFrom)):
            raise Impossible(f"it is in {what} waits or yields")
        if isinstance(one, ast.NamedExpr):
            raise Impossible(f"it is in {what} binds a name")


def report_doubts(file: FileTree, call: ast.Call, kind: str, leaf: ast.expr | None) -> Iterator[str]:
    """What changes when a report of this kind (see `report_kind`) is made after the pass.

    Raises:
        Impossible: when it has to be made in the hook.
    """
    name = ast.unparse(call.func)
    if not isinstance(file.parents[call], (ast.Expr, ast.Lambda)):
        raise Impossible(f"the result of `{name}()` is used")
    if kind == "file":
        written = call.args[1] if len(call.args) > 1 else None
        if isinstance(written, ast.Name) and opened_here(file, call, written.id):
            raise Impossible("the file is open in the hook only")
        if any(ast.unparse(one).endswith("state_dict()") for one in call.args):
            raise Impossible("its tensors without dimensions would be written as numbers")
        late = "the file is written after the pass"
        yield late if leaf else f"{late}, tensors without dimensions in it as numbers"
    elif kind == "step":
        if not any(one.arg == "step" for one in call.keywords):
            raise Impossible(f"`{name}()` without `step=` would count the values for a later step")
        yield "the values are logged after the pass"
    elif kind == "scalar":
        if not has_step(call):
            yield "without an explicit step the writer counts it for a later one"
    else:
        yield "the output moves to after the pass"


def meant(file: FileTree, function: FunctionNode, body: FunctionNode, root: ast.expr) -> list[ast.expr]:
    """The places in `body` that read what `function` calls `root`; an attribute whatever its object is called."""
    found = uses_of(body, ast.unparse(root))
    if body is function or not isinstance(root, ast.Attribute):
        mine = isinstance(root, ast.Name) and body is not function and not is_outer(file, body, root.id)
        return [] if mine else found
    return [
        node
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute) and node.attr == root.attr and isinstance(node.ctx, ast.Load)
    ]


def is_lambdas(file: FileTree, node: ast.expr, name: str) -> bool:
    """Whether a name is the parameter of a lambda around it."""
    function = file.function(node)
    return isinstance(function, ast.Lambda) and is_parameter(function, name)
