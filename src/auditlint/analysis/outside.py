"""Calls of what the project does not define: builtins, torch's functions, methods of containers, modules, loggers."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from auditlint.analysis import annotations, calls, expressions, names, torch_ops
from auditlint.analysis.values import (
    ARRAY,
    BOOL,
    INT,
    MODULE,
    NEVER,
    NONE,
    SCALAR,
    STR,
    TENSOR,
    UNKNOWN,
    Array,
    ClassVal,
    Const,
    Device,
    DictObj,
    Ext,
    ExtInstance,
    Lazy,
    ListObj,
    Mapping,
    Method,
    ModelOutput,
    NNModule,
    Obj,
    Partial,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    any_device,
    const,
    element,
    holds_device,
    join,
    join_all,
    settled,
    tup,
)
from auditlint.facts.host import HOST_CALLS, HOST_HARMLESS, HOST_METHODS, HOST_MODULES, HostCall
from auditlint.facts.registrars import REGISTRARS
from auditlint.facts.returns import CONSTRUCTORS, FUNCTIONS, MODULE_CLASSES, MODULE_METHODS
from auditlint.facts.syncs import SYNCS

if TYPE_CHECKING:
    from auditlint.analysis.calls import Arguments
    from auditlint.analysis.interpreter import Frame

# What changes or wraps its arguments is called at once even where only registrations are looked for.
AT_ONCE = frozenset(
    "functools.partial functools.partialmethod weakref.ref builtins.setattr builtins.list builtins.dict builtins.tuple "
    "builtins.set builtins.getattr builtins.zip builtins.enumerate builtins.map".split()
)
# Libraries whose functions give tensors when they are given tensors.
TENSOR_LIBRARIES = (
    "torch.",
    "einops.",
    "fancy_einsum.",
    "torchvision.",
    "torchaudio.",
    "torch_scatter.",
    "opt_einsum.",
)
# On a value of unknown type these say by themselves that it is a tensor on a device.
TELLING = {"item": "item", "cpu": "cpu"}


def call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    """Call an object outside the project by its dotted path."""
    if frame.lazy and path not in AT_ONCE:
        return Lazy(lambda: _call(frame, node, path, given))
    return _call(frame, node, path, given)


def _call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    if path.startswith("builtins."):
        name = path[9:]
        special = BUILTINS.get(name)
        if special is not None:
            return special(frame, node, given)
        return _builtin(frame, node, name, given)
    if path in ("functools.partial", "functools.partialmethod") and given.args:
        return Partial(given.args[0], tuple(given.args[1:]), tuple(given.keywords))
    if path.startswith("torch"):
        return _torch(frame, node, path, given)
    if path in SYNCS and given.args:
        # Other libraries' own ways of moving tensors.
        torch_ops.report(frame, path, node, path.rpartition(".")[2] + "()", given, definite=holds_device(given.args[0]))
        return torch_ops.moved(given)
    host_call(frame, node, path, given)
    top, _, _ = path.partition(".")
    if top in ("numpy", "np"):
        return ARRAY
    if top in ("math", "cmath", "time", "os", "random", "json", "pickle"):
        return SCALAR
    if path == "typing.cast" and len(given.args) == 2:
        said = (
            annotations.value_of(frame.session, frame.module, node.args[0]) if isinstance(node, ast.Call) else UNKNOWN
        )
        return given.args[1] if said.kind == "unknown" else said
    if path in ("copy.copy", "copy.deepcopy", "contextlib.nullcontext"):
        return given.args[0] if given.args else UNKNOWN
    if path == "weakref.ref" and given.args:
        return Partial(Ext("auditlint.identity"), (given.args[0],), ())
    if path == "auditlint.identity" and given.args:
        return given.args[0]
    if path == "importlib.import_module" and given.args:
        return join_all(
            [
                names.named_module(frame.session, item.value, frame.module)
                if isinstance(item, Const) and isinstance(item.value, str)
                else UNKNOWN
                for item in alternatives(settled(given.args[0]))
            ]
        )
    if path == "logging.getLogger":
        return ExtInstance("logging.Logger")
    if path.startswith("collections."):
        return _collection(frame, node, path, given)
    if path.startswith("itertools.") and given.args:
        return Seq(join_all([element(value) for value in given.args]))
    if (path + ".").startswith(TENSOR_LIBRARIES) and any(_any_tensor(value) for value in given.all()):
        return Tensor(not any(holds_device(value) for value in given.all()))
    _run_callbacks(frame, node, given)
    name = path.rpartition(".")[2]
    return ExtInstance(path) if name[:1].isupper() else UNKNOWN


def _any_tensor(value: Value) -> bool:
    return any(isinstance(item, Tensor) for item in alternatives(settled(value))) or holds_device(value)


def _run_callbacks(frame: Frame, node: ast.expr, given: Arguments) -> None:
    """Callables handed to something unknown are taken to be called, with what else was handed over."""
    if frame.lazy:
        return
    others = [value for value in given.args if not _callable(value)]
    for value in given.args:
        if _callable(value) and others:
            calls.apply(frame, node, value, calls.Arguments([_leaf(others[0])], []))


def _leaf(value: Value) -> Value:
    """What a function mapped over a tree meets."""
    return TENSOR if holds_device(value) else UNKNOWN


def _callable(value: Value) -> bool:
    return any(item.kind in ("func", "bound", "partial") for item in alternatives(value))


# Builtins


def _builtin(frame: Frame, node: ast.expr, name: str, given: Arguments) -> Value:
    host_call(frame, node, name, given)
    if name in ("len", "hash", "id", "ord"):
        return INT
    if name in ("isinstance", "issubclass", "callable", "hasattr", "any", "all", "bool"):
        return BOOL
    if name in ("str", "repr", "format", "ascii", "input"):
        return STR
    if name in ("float", "int", "complex", "chr", "hex", "bin", "oct", "pow", "divmod"):
        return SCALAR
    if name in ("print", "delattr"):
        return NONE
    return UNKNOWN


def _getattr(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) < 2:
        return UNKNOWN
    owner, found = given.args[0], []
    for item in alternatives(settled(given.args[1])):
        if isinstance(item, Const) and item.value in REGISTRARS:
            found.append(Method(owner, str(item.value)))
        elif isinstance(item, Const) and isinstance(item.value, str):
            found.append(
                Method(owner, item.value) if "*" in item.value else expressions.attribute(frame, owner, item.value)
            )
        else:
            found.append(UNKNOWN)
    value = join_all(found)
    if len(given.args) > 2:
        if isinstance(value, Method) and value.receiver.kind in ("unknown", "param", "obj", "nnmodule"):
            return join(value, given.args[2])
        return join(value, given.args[2]) if value.kind == "unknown" else value
    return value


def _setattr(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) == 3:
        for owner in alternatives(given.args[0]):
            for name in alternatives(settled(given.args[1])):
                if isinstance(owner, Obj) and isinstance(name, Const) and isinstance(name.value, str):
                    owner.put(name.value, given.args[2])
    return NONE


def _sequence(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    made = frame.session.list_at(node, frame.env)
    if given.args:
        value = settled(given.args[0])
        if isinstance(value, Tup):
            for part in value.items:
                made.add(part)
        else:
            made.add(expressions.iterate(frame, value, node))
    return made


def _tuple(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if not given.args:
        return tup(())
    value = settled(given.args[0])
    return value if isinstance(value, Tup) else Seq(expressions.iterate(frame, value, node))


def _set(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    made = _sequence(frame, node, given)
    made.hashed = True
    return made


def _dict(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    made = frame.session.dict_at(node, frame.env)
    for name, value in given.keywords:
        made.put(const(name), value)
    if given.args:
        for item in alternatives(settled(given.args[0])):
            if isinstance(item, DictObj):
                return item
            if isinstance(item, Mapping):
                made.put(SCALAR, item.element)
            elif isinstance(item, Seq | ListObj):
                pair = settled(item.element)
                made.put(SCALAR, pair.items[1] if isinstance(pair, Tup) and len(pair.items) == 2 else UNKNOWN)
    return made


def _zip(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    return Seq(tup(tuple(expressions.iterate(frame, value, node) for value in given.args)))


def _enumerate(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    return Seq(tup((INT, expressions.iterate(frame, given.args[0], node) if given.args else UNKNOWN)))


def _iterated(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    return Seq(expressions.iterate(frame, given.args[0], node)) if given.args else UNKNOWN


def _next(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if not given.args:
        return UNKNOWN
    one = expressions.iterate(frame, given.args[0], node)
    return join(one, given.args[1]) if len(given.args) > 1 else one


def _map(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) < 2:
        return UNKNOWN
    parts = [expressions.iterate(frame, value, node) for value in given.args[1:]]
    return Seq(calls.apply(frame, node, given.args[0], calls.Arguments(parts, [])))


def _filter(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) < 2:
        return UNKNOWN
    one = expressions.iterate(frame, given.args[1], node)
    kept = calls.apply(frame, node, given.args[0], calls.Arguments([one], []))
    expressions.truth_site(frame, kept, node, "filter()")
    return Seq(one)


def _extreme(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    name = "sorted" if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "sorted" else "max"
    key = given.get(-1, "key")
    items = [expressions.iterate(frame, given.args[0], node)] if len(given.args) == 1 else list(given.args)
    if key is not None and items:
        result = calls.apply(frame, node, key, calls.Arguments([join_all(items)], []))
        if any_device(result):
            frame.site("builtin", f"{getattr(getattr(node, 'func', None), 'id', name)}()", node, "Tensor.__bool__")
    else:
        host_call(frame, node, getattr(getattr(node, "func", None), "id", name), given)
    one = join_all(items) if items else UNKNOWN
    return Seq(one) if name == "sorted" else one


def _sum(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if not given.args:
        return UNKNOWN
    one = expressions.iterate(frame, given.args[0], node)
    tensors = [item for item in alternatives(settled(one)) if isinstance(item, Tensor)]
    return Tensor(all(t.host for t in tensors)) if tensors else (SCALAR if one.kind in ("const", "scalar") else UNKNOWN)


def _range(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    host_call(frame, node, "range", given)
    return Seq(INT)


def _numeric(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    """`abs` and `round` of a tensor are tensors."""
    items = alternatives(settled(given.args[0])) if given.args else ()
    return join_all([item if isinstance(item, Tensor | Array) else SCALAR for item in items])


def _type(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    found = (
        [ClassVal(item.cls) for item in alternatives(settled(given.args[0])) if isinstance(item, Obj)]
        if given.args
        else []
    )
    return join_all([*found]) if found else UNKNOWN


BUILTINS: dict[str, Callable[[Frame, ast.expr, Arguments], Value]] = {
    "getattr": _getattr,
    "setattr": _setattr,
    "list": _sequence,
    "tuple": _tuple,
    "set": _set,
    "frozenset": _set,
    "dict": _dict,
    "zip": _zip,
    "enumerate": _enumerate,
    "iter": _iterated,
    "reversed": _iterated,
    "next": _next,
    "map": _map,
    "filter": _filter,
    "max": _extreme,
    "min": _extreme,
    "sorted": _extreme,
    "sum": _sum,
    "range": _range,
    "abs": _numeric,
    "round": _numeric,
    "type": _type,
}


def _collection(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    name = path.rpartition(".")[2]
    if name == "deque":
        return _sequence(frame, node, given)
    if name == "OrderedDict":
        return _dict(frame, node, given)
    if name == "defaultdict":
        made = _dict(frame, node, calls.Arguments([], []))
        if given.args and isinstance(made, DictObj):
            made.put(SCALAR, calls.apply(frame, node, given.args[0], calls.Arguments([], [])))
        return made
    return UNKNOWN


# Host calls that read a tensor's value


def host_call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> None:
    """Record the sync of a callable outside torch that reads the tensors it is given."""
    if frame.lazy:
        return
    fact = HOST_CALLS.get(path)
    if fact is None and path not in HOST_HARMLESS:
        fact = HOST_MODULES.get(path.partition(".")[0]) if "." in path else None
    if fact is not None and reads(fact, given):
        short = path.rpartition(".")[2] if path.startswith("logging") else path.replace("numpy.", "np.")
        frame.site(fact.kind, f"{short}()", node, fact.reaches)


def reads(fact: HostCall, given: Arguments) -> bool:
    """Whether a host call is given a device tensor in a place where it reads it."""
    if fact.unless and any(name == fact.unless for name, _ in given.keywords):
        return False
    if fact.only_with and not any(name in fact.only_with for name, _ in given.keywords):
        return False
    if fact.kind in ("format", "serialise"):
        considered = given.args[:1] if fact.reads == "first" else given.all()
        return any(holds_device(value) for value in considered)
    if fact.reads == "first":
        return bool(given.args) and any_device(given.args[0])
    if "any" in fact.reads and any(
        any_device(value) for value in (given.args if fact.kind == "builtin" else given.all())
    ):
        return (
            len(given.args) > 1 or fact.kind != "builtin" or not any_device(given.args[0]) or fact.reads == "any|items"
        )
    if "items" in fact.reads and given.args:
        containers = [item for item in alternatives(settled(given.args[0])) if isinstance(item, Tup | Seq | ListObj)]
        return any(any_device(element(item)) for item in containers) or (
            fact.reads == "items" and any_device(given.args[0])
        )
    return False


# torch


def _torch(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    if path == "torch.device":
        return _device(given)
    if path.startswith("torch.Tensor."):
        name = path.rpartition(".")[2]
        owners = (
            [item for item in alternatives(settled(given.args[0])) if isinstance(item, Tensor)] if given.args else []
        )
        return join_all([torch_ops.tensor_method(frame, node, owner, name, given) for owner in owners] or [TENSOR])
    tensors = [item for value in given.all() for item in _tensors_in(value)]
    on_device = any(not tensor.host for tensor in tensors)
    short = path.rpartition(".")[2]
    for sync in SYNCS.get(path, ()):
        if on_device or sync.kind in ("synchronize", "serialise", "h2d"):
            torch_ops.report(frame, path, node, path, given)
            break
    made = CONSTRUCTORS.get(path)
    if made == "host_tensor":
        return torch_ops.constructed(given, Tensor(True))
    if made == "data":
        data = alternatives(settled(given.args[0])) if given.args else ()
        single = bool(data) and all(isinstance(item, Const | Scalar) for item in data)
        return torch_ops.constructed(given, Tensor(not on_device, single=single))
    if made == "follows" and tensors:
        return torch_ops.constructed(given, Tensor(not on_device))
    if path in ("torch.nn.Parameter", "torch.nn.parameter.Parameter", "torch.nn.Buffer"):
        return TENSOR
    if path.startswith("torch.nn.") and short in MODULE_CLASSES and short[:1].isupper():
        return NNModule(short)
    if path == "torch.autograd.Variable" or path == "torch.autograd.variable.Variable":
        return given.args[0] if given.args else TENSOR
    if path in ("torch.jit.is_tracing", "torch.jit.is_scripting", "torch.compiler.is_compiling"):
        return Const(False, "bool")
    kind = FUNCTIONS.get(path)
    if kind is None:
        _run_callbacks(frame, node, given)
        if short[:1].isupper():
            return ExtInstance(path)
        return TENSOR if on_device and path.startswith(("torch.ops.", "torch.nn.functional.")) else UNKNOWN
    if kind in ("tensor", "tensors", "tensor|tensors"):
        tensor = torch_ops.result(short, Tensor(bool(tensors) and not on_device), given)
        if short in torch_ops.REDUCTIONS and len(given.args) == 1 and not given.keywords:
            kind = "tensor"
        elif short == "where":
            kind = "tensors" if len(given.args) == 1 else "tensor"
        return torch_ops.by_kind(kind, tensor)
    return torch_ops.by_kind(kind, TENSOR)


def _tensors_in(value: Value, depth: int = 0) -> list[Tensor]:
    found: list[Tensor] = []
    for item in alternatives(settled(value)):
        if isinstance(item, Tensor):
            found.append(item)
        elif depth < 2 and isinstance(item, Tup):
            for part in item.items:
                found.extend(_tensors_in(part, depth + 1))
        elif depth < 2 and isinstance(item, Seq | ListObj | Mapping) and item.element is not NEVER:
            found.extend(_tensors_in(item.element, depth + 1))
    return found


def _device(given: Arguments) -> Value:
    value = given.get(0, "type")
    if value is None:
        return Device()
    found = {torch_ops.device_of(item) for item in alternatives(settled(value))}
    return Device(found.pop()) if len(found) == 1 else Device()


# Methods


def method_call(frame: Frame, node: ast.expr, method: Method, given: Arguments) -> Value:
    """Call a method of a value that is no instance of a project class (or has no such method there)."""
    owners = alternatives(settled(method.receiver))
    if frame.lazy and not any(owner.kind in CONTAINERS for owner in owners):
        return Lazy(lambda: _methods(frame, node, method, owners, given))
    return _methods(frame, node, method, owners, given)


# Values whose methods change what they hold.
CONTAINERS = {"listobj", "dictobj", "obj", "classval", "nnmodule"}


def _methods(frame: Frame, node: ast.expr, method: Method, owners: tuple[Value, ...], given: Arguments) -> Value:
    if len(owners) > 1 and method.name in MOVES and not all(isinstance(item, Tensor) and item.host for item in owners):
        # A tensor that may be here or there: which way it is moved is not known.
        owners = tuple(Tensor(False, item.dtype) if isinstance(item, Tensor) else item for item in owners)
    return join_all([_method(frame, node, item, method.name, given) for item in dict.fromkeys(owners)])


# Methods that copy between host and device.
MOVES = {"to", "cuda", "copy_", "type"}


def _method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    shifted = calls.Arguments([owner, *given.args], given.keywords, given.star, given.double_star)
    if isinstance(owner, Tensor):
        return torch_ops.tensor_method(frame, node, owner, name, shifted)
    if isinstance(owner, ListObj):
        return _list_method(frame, node, owner, name, given)
    if isinstance(owner, DictObj | Mapping | ModelOutput):
        return _dict_method(frame, node, owner, name, given)
    if isinstance(owner, Seq | Tup):
        if name in ("index", "count"):
            _list_reads(frame, node, owner, name, given)
            return INT
        return UNKNOWN
    if isinstance(owner, Const | Scalar):
        if name in ("format", "join") and any(holds_device(value) for value in given.all()):
            frame.site("format", f"str.{name}()", node, "Tensor.__format__")
        return Seq(STR) if name in ("split", "rsplit", "splitlines") else SCALAR
    if isinstance(owner, Array):
        return SCALAR if name == "item" else (Seq(SCALAR) if name == "tolist" else ARRAY)
    if isinstance(owner, NNModule | Obj):
        return _module_method(frame, node, owner, name, shifted)
    if isinstance(owner, ClassVal) and name == "__new__":
        return names.self_object(frame.session, owner.info)
    if isinstance(owner, ClassVal) and name == "apply":
        # autograd.Function.apply runs the class's own forward.
        forward = expressions.attribute(frame, owner, "forward")
        if forward.kind in ("func", "bound"):
            return calls.apply(frame, node, forward, calls.Arguments([UNKNOWN, *given.args], given.keywords))
        return TENSOR
    if isinstance(owner, ExtInstance):
        return _instance_method(frame, node, owner, name, shifted)
    return _unknown_method(frame, node, owner, name, shifted)


def _instance_method(frame: Frame, node: ast.expr, owner: ExtInstance, name: str, given: Arguments) -> Value:
    cls = owner.path.rpartition(".")[2]
    if f"{cls}.{name}" in SYNCS:
        torch_ops.report(frame, f"{cls}.{name}", node, f".{name}()", given)
        return SCALAR
    if cls in ("GradBucket",):
        return (
            Seq(TENSOR)
            if name in ("gradients", "parameters")
            else (TENSOR if name in ("buffer", "gradient") else SCALAR)
        )
    return _unknown_method(frame, node, owner, name, given)


def _unknown_method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    """A method of an unknown value: only where the name itself tells."""
    bare = len(given.args) == 1 and not given.keywords
    if owner.kind in ("unknown", "method", "extinstance", "obj"):
        if name == "item" and bare:
            frame.site("item", ".item()", node, "Tensor.item", definite=False)
            return SCALAR
        if name == "cpu" and bare:
            frame.site("cpu", ".cpu()", node, "Tensor.cpu", definite=False)
            return Tensor(host=True)
        if name == "to" and not torch_ops.non_blocking(given):
            host, device, stays = torch_ops.destination(given)
            if host and not device and not stays:
                frame.site("cpu", '.to("cpu")', node, "Tensor.to", definite=False)
                return Tensor(host=True)
        if name == "synchronize" and len(given.args) <= 2:
            frame.site("synchronize", ".synchronize()", node, "Event.synchronize", definite=False)
            return NONE
        if name == "tolist" and bare:
            return Seq(SCALAR)
        if name == "numpy" and bare:
            return ARRAY
        told = torch_ops.told_by_name(name)
        if told is not None:
            return told
    fact = HOST_METHODS.get(name)
    if fact is not None:
        without = calls.Arguments(given.args[1:], given.keywords, given.star, given.double_star)
        if reads(fact, without):
            frame.site(fact.kind, f".{name}()", node, fact.reaches)
    if name == "format" and any(holds_device(value) for value in given.args[1:]):
        frame.site("format", ".format()", node, "Tensor.__format__")
    _run_callbacks(frame, node, calls.Arguments(given.args[1:], given.keywords))
    return UNKNOWN


def _module_method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    if name in ("cpu", "to") and isinstance(owner, NNModule | Obj):
        is_module = isinstance(owner, NNModule) or _inherits_module(frame, owner)
        if is_module:
            host, device, stays = torch_ops.destination(given) if name == "to" else (True, False, False)
            if host and not device and not torch_ops.non_blocking(given):
                frame.site("cpu", f".{name}()" if name == "cpu" else '.to("cpu")', node, "Tensor.to")
            return owner
    if name in ("register_buffer", "register_parameter") and isinstance(owner, Obj) and len(given.args) > 2:
        for key in alternatives(given.args[1]):
            if isinstance(key, Const) and isinstance(key.value, str):
                owner.put(key.value, torch_ops.placed(given.args[2]))
        return NONE
    if name == "apply" and len(given.args) == 2 and (isinstance(owner, NNModule) or _inherits_module(frame, owner)):
        calls.apply(frame, node, given.args[1], calls.Arguments([MODULE], []))
        return owner
    if isinstance(owner, NNModule) or _inherits_module(frame, owner):
        kind = MODULE_METHODS.get(name)
        if kind is not None:
            return torch_ops.by_kind(kind, TENSOR)
    if isinstance(owner, Obj):
        return _unknown_method(frame, node, owner, name, given)
    return UNKNOWN if name not in TELLING else _unknown_method(frame, node, UNKNOWN, name, given)


def _inherits_module(frame: Frame, owner: Value) -> bool:
    from auditlint.analysis import names

    return isinstance(owner, Obj) and names.is_nn_module(frame.session, owner.cls)


def _list_method(frame: Frame, node: ast.expr, owner: ListObj, name: str, given: Arguments) -> Value:
    if name in ("append", "add", "appendleft") and given.args:
        owner.add(given.args[0])
        return NONE
    if name == "insert" and len(given.args) == 2:
        owner.add(given.args[1])
        return NONE
    if name in ("extend", "update", "extendleft") and given.args:
        owner.add(expressions.iterate(frame, given.args[0], node))
        return NONE
    if name in ("pop", "popleft"):
        return element(owner)
    if name == "copy":
        return owner
    if name in ("index", "count", "remove") and not owner.hashed:
        _list_reads(frame, node, owner, name, given)
        return INT
    if name == "sort":
        host_call(frame, node, "list.sort", calls.Arguments([owner, *given.args], given.keywords))
    return NONE


def _list_reads(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> None:
    if given.args and (any_device(element(owner)) or any_device(given.args[0])) and f"list.{name}" in HOST_CALLS:
        frame.site("builtin", f".{name}()", node, "Tensor.__bool__")


def _dict_method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    if isinstance(owner, DictObj):
        held = owner.values() if owner.items or owner.rest is not NEVER else UNKNOWN
        if given.args and isinstance(given.args[0], Const) and given.args[0].value in owner.items:
            held = owner.items[given.args[0].value]
    else:
        held = owner.element if isinstance(owner, Mapping) else TENSOR
    if name in ("get", "pop"):
        default = given.args[1] if len(given.args) > 1 else (NONE if name == "get" else None)
        return held if default is None else join(held, default)
    if name == "setdefault" and given.args:
        if isinstance(owner, DictObj) and len(given.args) > 1:
            owner.put(given.args[0], given.args[1])
            return owner.values() if not isinstance(given.args[0], Const) else owner.items[given.args[0].value]
        return held
    if name == "items":
        if isinstance(owner, DictObj) and owner.items and owner.rest is NEVER and len(owner.items) <= 8:
            return Seq(
                join_all([tup((const(k) if isinstance(k, str | int) else SCALAR, v)) for k, v in owner.items.items()])
            )
        return Seq(tup((_keys(owner), held)))
    if name == "keys":
        return Seq(_keys(owner))
    if name == "values":
        return Seq(held)
    if name == "update" and isinstance(owner, DictObj):
        for key, value in given.keywords:
            owner.put(const(key), value)
        for item in alternatives(settled(given.args[0])) if given.args else ():
            if isinstance(item, DictObj) and item is not owner:
                for key, value in item.items.items():
                    owner.put(const(key) if isinstance(key, str | int) else SCALAR, value)
            elif isinstance(item, Mapping):
                owner.put(SCALAR, item.element)
        return NONE
    if name == "copy":
        return owner
    if name == "to_tuple":
        return Seq(TENSOR)
    return UNKNOWN


def _keys(owner: Value) -> Value:
    if (
        isinstance(owner, DictObj)
        and owner.rest is NEVER
        and owner.items
        and all(isinstance(k, str) for k in owner.items)
    ):
        return STR
    return STR if isinstance(owner, ModelOutput) else UNKNOWN
