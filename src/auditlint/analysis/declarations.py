"""What an annotation says about a value."""

from __future__ import annotations

import ast
from functools import lru_cache

from auditlint.analysis import expressions, names, spelling
from auditlint.analysis.session import Session
from auditlint.analysis.values import (
    ANY_DEVICE,
    ARRAY,
    MODULE,
    NONE,
    TENSOR,
    UNKNOWN,
    ClassVal,
    Env,
    Ext,
    ExtInstance,
    Mapping,
    Scalar,
    Seq,
    Tensor,
    Value,
    alternatives,
    join,
    join_all,
    tup,
)
from auditlint.project.modules import FunctionInfo, Module

SEQUENCES = {
    "list", "List", "Sequence", "Iterable", "Iterator", "Collection", "MutableSequence", "Generator", "set", "Set",
    "frozenset", "FrozenSet", "deque", "Deque", "AbstractSet",
}  # fmt: skip
MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"}
SCALARS = {"int": "int", "float": "float", "bool": "bool", "str": "str", "bytes": "str", "complex": "complex"}
TYPES: dict[str, Value] = {
    "torch.Tensor": TENSOR,
    "torch.nn.Parameter": TENSOR,
    "torch.nn.parameter.Parameter": TENSOR,
    "torch.FloatTensor": TENSOR,
    "torch.LongTensor": Tensor(dtype="int"),
    "torch.BoolTensor": Tensor(dtype="bool"),
    "torch.nn.Module": MODULE,
    "torch.nn.modules.module.Module": MODULE,
    "torch.nn.modules.Module": MODULE,
    "torch.device": ANY_DEVICE,
    "torch.dtype": Scalar("dtype"),
    "torch.Size": Scalar("Size"),
    "numpy.ndarray": ARRAY,
    "numpy.typing.NDArray": ARRAY,
}


def value_of(session: Session, module: Module, node: ast.expr | None, env: Env | None = None, depth: int = 0) -> Value:
    """The value that an annotation declares; unknown when it says nothing that matters here."""
    if node is None or depth > 6:
        return UNKNOWN
    if isinstance(node, ast.Constant):
        if node.value is None:
            return NONE
        if isinstance(node.value, str):
            return value_of(session, module, _parsed(node.value), env, depth + 1)
        return UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left = value_of(session, module, node.left, env, depth + 1)
        return join(left, value_of(session, module, node.right, env, depth + 1))
    if isinstance(node, ast.Subscript):
        return _subscript(session, module, node, env, depth)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _named(session, module, node, env)
    return UNKNOWN


@lru_cache(maxsize=512)
def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _named(session: Session, module: Module, node: ast.expr, env: Env | None) -> Value:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    if isinstance(node, ast.Name) and name in SCALARS:
        return Scalar(SCALARS[name])
    frame = names.module_frame(session, module)
    if env is not None:
        frame.env = Env(env)
    found: list[Value] = []
    for item in alternatives(expressions.evaluate(frame, node)):
        if isinstance(item, ClassVal):
            found.append(names.self_object(session, item.info))
        elif isinstance(item, Ext):
            found.append(_outside(item.path))
        else:
            found.append(UNKNOWN)
    return join_all(found)


def _outside(path: str) -> Value:
    held = TYPES.get(path)
    if held is not None:
        return held
    name = path.rpartition(".")[2]
    if name in SEQUENCES:
        return Seq(UNKNOWN)
    if name in MAPPINGS:
        return Mapping(UNKNOWN)
    if path.startswith("torch.") and name.endswith("Tensor"):
        return TENSOR
    if path.startswith("torch.nn."):
        return MODULE
    if name in ("Any", "Callable", "object", "Self", "Tuple", "tuple") or path.startswith("typing."):
        return UNKNOWN
    if name.endswith("PreTrainedModel"):
        return MODULE
    if path.startswith("builtins."):
        return Scalar(name) if name in SCALARS else UNKNOWN
    return ExtInstance(path)


def _subscript(session: Session, module: Module, node: ast.Subscript, env: Env | None, depth: int) -> Value:
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]

    def of(part: ast.expr) -> Value:
        return value_of(session, module, part, env, depth + 1)

    if name == "Optional":
        return join(of(inner[0]), NONE)
    if name == "Union":
        return join_all(of(part) for part in inner)
    if name in ("Annotated", "Final", "ClassVar", "Required", "NotRequired"):
        return of(inner[0])
    if name == "Literal":
        return join_all(spelling.literal(part) for part in inner)
    if name in ("tuple", "Tuple"):
        if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
            return Seq(of(inner[0]))
        return tup(tuple(of(part) for part in inner))
    if name in SEQUENCES:
        return Seq(of(inner[0]))
    if name in MAPPINGS:
        return Mapping(of(inner[-1]))
    if name in ("Callable", "type", "Type"):
        return UNKNOWN
    # jaxtyping: Float[Tensor, "batch d_model"].
    if len(inner) == 2 and isinstance(inner[1], ast.Constant) and isinstance(inner[1].value, str):
        dtype = {"Bool": "bool", "Int": "int", "Float": "float"}.get(name, "")
        return join_all(
            Tensor(item.host, dtype) if isinstance(item, Tensor) else item for item in alternatives(of(inner[0]))
        )
    return _named(session, module, owner, env) if isinstance(owner, (ast.Name, ast.Attribute)) else UNKNOWN


def parameter(session: Session, info: FunctionInfo, argument: ast.arg) -> Value:
    """What the annotation of a parameter declares, the default `None` included."""
    env = session.class_envs.get(info.cls) if info.cls is not None else None
    declared = value_of(session, info.module, argument.annotation, env)
    if declared.kind == "unknown":
        default = info.defaults.get(argument.arg)
        if isinstance(default, ast.Constant) and default.value is not None and default.value is not ...:
            return Scalar(type(default.value).__name__)
    return declared


def returned(session: Session, info: FunctionInfo) -> Value:
    """What the return annotation of a function declares."""
    env = session.class_envs.get(info.cls) if info.cls is not None else None
    return value_of(session, info.module, getattr(info.node, "returns", None), env)
