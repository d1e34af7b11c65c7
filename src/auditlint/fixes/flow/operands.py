"""What an expression beside a read is, as far as its text tells: a host number, a tensor, fresh memory."""

from __future__ import annotations

import ast
from typing import Literal, TypeAlias

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.names import means_what_it_says, module_of
from auditlint.fixes.flow.tree import FileTree, FunctionNode

Nature: TypeAlias = Literal["number", "tensor", "unknown"]
_BINDING = (ast.stmt, ast.comprehension, ast.NamedExpr, ast.withitem, ast.ExceptHandler)
_DEEPEST = 6


def nature(file: FileTree, node: ast.expr, hook: FunctionNode | None, depth: int = 0) -> Nature:
    """Whether an expression in a hook (or, with `hook` None, in a function that a hook calls) is a host value."""
    if depth > _DEEPEST:
        return "unknown"
    match node:
        case ast.Constant() | ast.Lambda():
            return "number"
        case ast.JoinedStr():
            return "number"
        case ast.Name(id="args" | "kwargs") if depth == 0:
            return "unknown"  # what torch calls the tuple and the dict of all inputs
        case ast.Name():
            return _name(file, node, hook, depth)
        case ast.Attribute(value=value, attr=attr):
            if attr in idioms.HOST_ATTRIBUTES:
                return "number"
            if attr in ("data", "grad", "values", "indices", "weight", "bias", "T", "mT"):
                return "tensor"
            return "unknown" if nature(file, value, hook, depth + 1) != "tensor" else "tensor"
        case ast.Subscript(value=value):
            return nature(file, value, hook, depth + 1)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            natures = {nature(file, one, hook, depth + 1) for one in elements}
            return "tensor" if "tensor" in natures else ("number" if natures <= {"number"} else "unknown")
        case ast.UnaryOp(operand=operand):
            return nature(file, operand, hook, depth + 1)
        case ast.Starred(value=value):
            return nature(file, value, hook, depth + 1)
        case ast.BinOp(left=left, right=right):
            return _both(nature(file, left, hook, depth + 1), nature(file, right, hook, depth + 1))
        case ast.IfExp(body=left, orelse=right):
            return _both(nature(file, left, hook, depth + 1), nature(file, right, hook, depth + 1))
        case ast.Call():
            return _call(file, node, hook, depth)
    return "unknown"


def _both(left: Nature, right: Nature) -> Nature:
    if "tensor" in (left, right):
        return "tensor"
    return "number" if left == right == "number" else "unknown"


def _call(file: FileTree, node: ast.Call, hook: FunctionNode | None, depth: int) -> Nature:
    if not means_what_it_says(file, node.func):
        return "unknown"
    called = ast.unparse(node.func)
    owner, _, name = called.rpartition(".")
    if not owner:
        if name in ("len", "int", "float", "bool", "str", "repr", "type", "id"):
            return "number"
        if name not in idioms.PURE_BUILTINS:
            return "unknown"
        found = {nature(file, one, hook, depth + 1) for one in node.args}
        return "tensor" if "tensor" in found else ("number" if found == {"number"} else "unknown")
    if owner in ("math", "time", "os", "datetime", "random", "np", "numpy") and module_of(file, node.func):
        return "number"
    if name in idioms.HOST_METHODS:
        return "number"
    if owner in ("torch", "F", "torch.nn.functional", "torch.linalg"):
        return "tensor" if name not in ("is_tensor", "numel", "equal", "allclose", "is_grad_enabled") else "number"
    if name in ("item", "tolist", "numpy"):
        return "number"
    if name in idioms.FRESH or name in ("detach", "float", "view", "reshape", "to", "flatten", "squeeze", "half"):
        assert isinstance(node.func, ast.Attribute)
        return "tensor" if nature(file, node.func.value, hook, depth + 1) == "tensor" else "unknown"
    return "unknown"


def _name(file: FileTree, node: ast.Name, hook: FunctionNode | None, depth: int) -> Nature:
    function = file.function(node)
    while function is not None:
        found = _bound(file, node, function, hook, depth)
        if found is not None:
            return found
        function = file.function(function)
    return "unknown"


def _bound(
    file: FileTree, node: ast.Name, function: FunctionNode, hook: FunctionNode | None, depth: int
) -> Nature | None:
    """What a name of this function is bound to; None where it is not a name of this function."""
    parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    for parameter in parameters:
        if parameter.arg == node.id:
            said = ast.unparse(parameter.annotation) if parameter.annotation is not None else ""
            if said in ("int", "float", "str", "bool"):
                return "number"
            if "Tensor" in said:
                return "tensor"
            return "tensor" if function is hook and given_tensor(function, node.id) else "unknown"
    bindings = bindings_of(file, function, node.id)
    if not bindings:
        return None
    natures = {_binding(file, one, node.id, hook, depth) for one in bindings}
    return natures.pop() if len(natures) == 1 else ("tensor" if "tensor" in natures else "unknown")


def given_tensor(hook: FunctionNode, name: str) -> bool:
    """Whether a hook's parameter is one that torch fills with tensors."""
    positional = [one.arg for one in (*hook.args.posonlyargs, *hook.args.args)]
    positional = positional[: len(positional) - len(hook.args.defaults)]
    if positional[:1] in (["self"], ["cls"]):
        del positional[0]
    # Arguments that were bound before come first: torch fills the last ones, (module, input, output) or fewer.
    return name in (positional if len(positional) == 1 else positional[1:][-2:])


def bindings_of(file: FileTree, function: FunctionNode, name: str) -> list[ast.AST]:
    """The statements and comprehensions of a function that bind a name, parameters apart."""
    return [
        next(one for one in file.above(node) if isinstance(one, _BINDING))
        for node in ast.walk(function)
        if isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Store)
        and file.function(node) is function
    ]


def _binding(file: FileTree, binding: ast.AST, name: str, hook: FunctionNode | None, depth: int) -> Nature:
    match binding:
        case ast.Assign(targets=[ast.Name()], value=value) | ast.NamedExpr(value=value):
            return nature(file, value, hook, depth + 1)
        case ast.AugAssign(value=value):
            return nature(file, value, hook, depth + 1)
        case (
            ast.For(target=target, iter=ast.Call(func=ast.Name(id=called)))
            | ast.comprehension(target=target, iter=ast.Call(func=ast.Name(id=called)))
        ):
            if called == "range":
                return "number"
            if called == "enumerate" and isinstance(target, ast.Tuple):
                first = target.elts[0]
                return "number" if isinstance(first, ast.Name) and first.id == name else "unknown"
    return "unknown"


def is_function(func: ast.expr) -> bool:
    """`math.sqrt`, `np.mean`: a function of a module by name."""
    match func:
        case ast.Attribute(value=ast.Name(id=owner)):
            return owner in (*idioms.PURE_MODULES, "torch", "json", "warnings", "sys", "tqdm")
    return False


# What gives the tensor itself, another view of it, or a copy.
SAME_OR_ALIAS = frozenset(
    ["detach", "squeeze", "view", "reshape", "flatten", "float", "double", "half", "bfloat16", "contiguous", "to"]
)


def is_fresh(node: ast.expr) -> bool:
    """Whether nobody else has the memory of the tensor that an expression gives: a reduction, arithmetic."""
    match node:
        case ast.BinOp() | ast.Compare():
            return True
        case ast.UnaryOp(operand=operand):
            return not isinstance(node.op, ast.UAdd) or is_fresh(operand)
        case ast.Attribute(value=value, attr=attr):
            return attr in ("values", "indices", "data") and is_fresh(value)
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            if attr in SAME_OR_ALIAS:
                return is_fresh(value)
            return attr in idioms.FRESH and of_tensors(value) and not _writes_out(node, attr)
    return False


def of_tensors(receiver: ast.expr) -> bool:
    """Whether a method by the name of one of torch's is torch's: not one of the object itself or of what it holds."""
    if ast.unparse(receiver) in idioms.TENSOR_MODULES:
        return True
    while isinstance(receiver, (ast.Attribute, ast.Subscript)):
        receiver = receiver.value
    return not (isinstance(receiver, ast.Name) and receiver.id in ("self", "cls", "nn", *idioms.MODULES))


def _writes_out(call: ast.Call, name: str) -> bool:
    # The second argument of `F.relu` is `inplace`.
    return any(one.arg in ("out", "inplace", None) for one in call.keywords) or (name == "relu" and len(call.args) > 1)


def is_single(node: ast.expr) -> bool:
    """Whether a tensor has no dimensions, as its text tells: a reduction of everything."""
    match node:
        case ast.BinOp(left=left, right=right):
            return all(isinstance(one, ast.Constant) or is_single(one) for one in (left, right))
        case ast.Call(func=ast.Attribute(value=value, attr="detach" | "sqrt" | "abs" | "double" | "float" | "clone")):
            return is_single(value)
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=[], keywords=[]):
            return attr in idioms.REDUCTIONS and of_tensors(value)
    return False


def number_type(node: ast.expr) -> str:
    """The type of the number that `.item()` of an expression gives, where its text tells: float, int, bool or ""."""
    match node:
        case ast.Compare():
            return "bool"
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return number_type(operand)
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr(), right=right):
            return "bool" if number_type(left) == number_type(right) == "bool" else ""
        case ast.Call(func=ast.Attribute(value=value)) if not of_tensors(value):
            return ""
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            if attr in idioms.QUANTIFIERS:
                return "bool" if "bool" in (number_type(one) for one in (value, *node.args[:1])) else ""
            if attr in ("detach", "squeeze", "clone", "cpu", "abs", "max", "min"):
                return number_type(value) if not node.args else ""
            if attr == "sum" and number_type(value) in ("bool", "int"):
                return "int"
            if attr in ("float", "double", "half", "bfloat16"):
                return "float"
            for names, found in ((idioms.FLOATING, "float"), (idioms.INTEGRAL, "int"), (idioms.BOOLEAN, "bool")):
                if attr in names:
                    return found
            if attr == "sum":
                return number_type(value)
        case ast.BinOp(left=left, right=right):
            if "float" in (number_type(left), number_type(right)) or isinstance(node.op, ast.Div):
                return "float"
    return ""
