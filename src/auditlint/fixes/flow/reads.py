"""What a finding reads: the tensor, the form that its value has on the host, and the expression that stands for it."""

from __future__ import annotations

import ast
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow.names import misnamed, of_other_module
from auditlint.fixes.flow.operands import number_type
from auditlint.fixes.flow.present import at_once, unused
from auditlint.fixes.flow.tree import FileTree


class Read(NamedTuple):
    """A tensor's value comes to the host.

    `root` is the expression that is replaced, `operand` the tensor; `form` is what `defer` makes of it: "item", "list",
    "numpy" or "cpu". `extra` are arguments for a conversion on the device (a dtype). A read that is `inside` a host
    function (`math.sqrt(t)`) has the operand as root, and `whole` is the function's call. With `operand` None the
    expression formats or writes tensors that are somewhere in it, or copies all of a structure ("tree"). `alone` says
    that nothing can change the tensor before it is read.
    """

    diagnostic: Diagnostic
    whole: ast.expr
    root: ast.expr
    operand: ast.expr | None
    form: str
    extra: tuple[ast.expr, ...] = ()
    alone: bool = False


class Unreadable(NamedTuple):
    """Why there is nothing to defer."""

    reason: str


# Why a finding has no fix, whatever stands around it.
NEVER = {
    "AUD107": "nothing is read; record an event and read its time after the pass",
    "AUD202": "which value is chosen is decided on the host; `torch.maximum`, `torch.sort` stay on the device",
    "AUD203": "the shape of what follows depends on the data",
    "AUD204": "whole tensors are compared; compute the comparison on the device",
    "AUD205": "a position in Python data is chosen in the hook",
    "AUD900": "the file cannot be analysed",
    "AUD901": "remove the comment",
    "AUD902": "only its author knows the reason",
}

# On a host copy of a tensor: methods without arguments that do not change what `defer` has to give.
_SAME = {
    "cpu": {"detach": "cpu", "clone": "cpu", "contiguous": "cpu", "numpy": "numpy", "tolist": "list", "item": "item"},
    "numpy": {"copy": "numpy", "tolist": "list", "item": "item"},
    "item": {},
    "list": {},
}


def read_of(file: FileTree, diagnostic: Diagnostic, node: ast.expr) -> Read | Unreadable:
    """What the finding at `node` reads."""
    found = _read_of(file, diagnostic, node)
    if isinstance(found, Unreadable):
        return found
    name = misnamed(file)
    if name:
        return Unreadable(f"`{name}` is another function in this file than it is by its name")
    name = of_other_module(file, found.operand) if found.operand is not None else ""
    if name:
        return Unreadable(f"`{name}()` is no function of torch, and may give what others change later")
    reason = unused(file, found.root) or at_once(file, found.root)
    return Unreadable(reason) if reason else found


def _read_of(file: FileTree, diagnostic: Diagnostic, node: ast.expr) -> Read | Unreadable:
    match diagnostic.code, node:
        case (("AUD105" | "AUD108"), _):
            return Read(diagnostic, node, node, None, "")
        case "AUD101", ast.Call(func=ast.Attribute(value=operand, attr="item"), args=[]):
            return Read(diagnostic, node, node, operand, "item")
        case "AUD103", ast.Call(func=ast.Attribute(value=operand, attr="tolist")):
            return Read(diagnostic, node, node, operand, "list")
        case "AUD102", ast.Call(func=ast.Attribute(value=operand, attr="cpu"), args=[]):
            return _copy(file, diagnostic, node, operand, ())
        case "AUD102", ast.Call(func=ast.Attribute(value=operand, attr="to")):
            extra = _beside_device(node)
            if extra is None:
                return Unreadable("this form of `.to()` is not rewritten")
            return _copy(file, diagnostic, node, operand, extra)
        case "AUD102", ast.Call(func=ast.Attribute(attr="copy_")):
            return Unreadable("it fills a host tensor that other code reads")
        case "AUD102", ast.Call(func=ast.Name(), args=[ast.Name(), ast.Constant(value="cpu")], keywords=[]):
            return Read(diagnostic, node, node, None, "tree")
        case "AUD102", ast.Call(func=ast.Name(id=name)):
            return Unreadable(f"`{name}()` moves a whole structure; keep it, and move it after the pass")
        case "AUD102", _ if isinstance(file.statement(node), ast.Assign) and not isinstance(node, ast.Call):
            return Unreadable("it fills a host tensor that other code reads")
        case "AUD106", ast.Call(func=ast.Attribute(value=operand, attr="numpy"), args=[]):
            return _extended(file, Read(diagnostic, node, node, operand, "numpy"))
        case "AUD106", ast.Call(func=ast.Attribute(attr="asarray" | "array"), args=[operand], keywords=[]):
            return Read(diagnostic, node, node, operand, "numpy")
        case "AUD106", ast.Call(args=[operand, *_]) if not isinstance(operand, ast.Starred):
            return Read(diagnostic, node, operand, operand, "numpy")
        case "AUD104", ast.Call(func=ast.Name(id=name), args=[operand], keywords=[]) if name in (
            "float",
            "int",
            "bool",
        ):
            if number_type(operand) == name:
                return Read(diagnostic, node, node, operand, "item")
            return Read(diagnostic, node, operand, operand, "item")
        case "AUD104", ast.Call(func=func, args=[operand]) if _on_host(func):
            return Read(diagnostic, node, operand, operand, "item")
        case "AUD104", _:
            return Unreadable("torch wants a number there; use a function that takes a tensor")
        case "AUD201", ast.Call() | ast.Name() | ast.Attribute() | ast.Subscript() | ast.Compare(ops=[_]) | ast.BinOp():
            return Read(diagnostic, node, node, node, "item")
        case "AUD201", _:
            return Unreadable("the value decides what the hook does next")
    return Unreadable(NEVER.get(diagnostic.code, "this form is not rewritten"))


def _on_host(func: ast.expr) -> bool:
    name = ast.unparse(func)
    return name == "complex" or name.startswith(("math.", "operator."))


def _beside_device(call: ast.Call) -> tuple[ast.expr, ...] | None:
    """The arguments of `.to("cpu", ...)` but for the device and `copy`; None where it cannot be told which is which."""
    rest = list(call.args[1:])
    named = {one.arg: one.value for one in call.keywords}
    if "device" in named:
        rest = list(call.args)
    if None in named or any(isinstance(one, ast.Starred) for one in call.args) or len(rest) > 1:
        return None
    if set(named) - {"device", "dtype", "copy", "non_blocking"}:
        return None
    return (*rest, *([named["dtype"]] if "dtype" in named else []))


def _copy(
    file: FileTree, diagnostic: Diagnostic, node: ast.expr, operand: ast.expr, extra: tuple[ast.expr, ...]
) -> Read:
    return _extended(file, Read(diagnostic, node, node, operand, "cpu", extra))


def _extended(file: FileTree, read: Read) -> Read:
    """The read with the conversions that follow it: `t.cpu().numpy()` is one read, in the form of an array."""
    root, form = read.root, read.form
    while True:
        above = file.parents.get(root)
        if not isinstance(above, ast.Attribute):
            break
        call = file.parents.get(above)
        if isinstance(call, ast.Call) and call.func is above:
            following = _SAME[form].get(above.attr)
            if following is None or call.args or call.keywords:
                break
            root, form = call, following
        elif above.attr == "data" and form == "cpu" and isinstance(above.ctx, ast.Load):
            root = above
        else:
            break
    # An item of an array or of a copy has the type that `.item()` gives.
    return read._replace(root=root, form=form)
