"""The lattice: what an expression may be, as far as syncs are concerned.

Values are immutable and compare by structure (`kind` keeps tuples of the same shape apart), except the mutable objects
(`ListObj`, `DictObj`, `Obj`, `Env`), which stand for one allocation each and only ever grow by joining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from auditlint.analysis.session import Summary
    from auditlint.project.modules import ClassInfo, FunctionInfo, Module

MAX_ALTERNATIVES = 12
MAX_NESTING = 4
MAX_SIZE = 160


class Unknown(NamedTuple):
    """Nothing is known."""

    kind: str = "unknown"


class Const(NamedTuple):
    """A Python constant: str, bytes, int, bool, float, None."""

    value: object
    type: str
    kind: str = "const"


class Scalar(NamedTuple):
    """A host value that is not a tensor: number, string, shape, dtype, ... (`type` is a builtin's name or "")."""

    type: str = ""
    kind: str = "scalar"


class Device(NamedTuple):
    """A torch.device; `host` is True for the CPU, None when it is not known."""

    host: bool | None = None
    kind: str = "device"


class Tensor(NamedTuple):
    """A torch tensor; `dtype` is "bool", "int", "float" or ""; `single` where it is known to have no dimensions."""

    host: bool = False
    dtype: str = ""
    single: bool = False
    kind: str = "tensor"


class Array(NamedTuple):
    """A numpy array or scalar: always on the host."""

    kind: str = "array"


class NNModule(NamedTuple):
    """An nn.Module of no class of the project; `name` is the torch class when known."""

    name: str = ""
    kind: str = "nnmodule"


class ModelOutput(NamedTuple):
    """The dict-like output of a module: its items and attributes are tensors."""

    kind: str = "modeloutput"


class Seq(NamedTuple):
    """An immutable sequence of unknown length, or any iterable."""

    element: Value
    kind: str = "seq"


class Tup(NamedTuple):
    """A tuple or list display whose elements are known."""

    items: tuple[Value, ...]
    # How many values it holds, those in nested tuples counted.
    size: int = 0
    kind: str = "tup"


class Mapping(NamedTuple):
    """A mapping whose values are all alike."""

    element: Value
    kind: str = "mapping"


class Func(NamedTuple):
    """A function of the project together with the environment that it closes over."""

    info: FunctionInfo
    env: Env | None
    kind: str = "func"


class Bound(NamedTuple):
    """A method bound to its receiver."""

    func: Value
    receiver: Value
    kind: str = "bound"


class Partial(NamedTuple):
    """functools.partial: arguments bound in advance."""

    func: Value
    args: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]
    kind: str = "partial"


class ClassVal(NamedTuple):
    """A class of the project."""

    info: ClassInfo
    kind: str = "classval"


class SuperVal(NamedTuple):
    """`super()` inside a method of `cls`."""

    cls: ClassInfo
    receiver: Value
    kind: str = "superval"


class Ext(NamedTuple):
    """An object outside the project, by its dotted path: "torch.nn.Linear", "builtins.print"."""

    path: str
    kind: str = "ext"


class ExtInstance(NamedTuple):
    """An instance of a class outside the project."""

    path: str
    kind: str = "extinstance"


class Method(NamedTuple):
    """An attribute of a value that no class of the project defines: `tensor.item`, `list.append`."""

    receiver: Value
    name: str
    kind: str = "method"


class ModuleRef(NamedTuple):
    """A module of the project."""

    module: Module
    kind: str = "moduleref"


class Param(NamedTuple):
    """The value of a parameter that no caller has bound; `declared` is what its annotation or default says."""

    info: FunctionInfo
    name: str
    declared: Value
    kind: str = "param"


class Result(NamedTuple):
    """What calling an unbound parameter gives."""

    of: Param
    kind: str = "result"


class Union(NamedTuple):
    """One of several values."""

    items: tuple[Value, ...]
    kind: str = "union"


class ListObj:
    """A list or set that grows; all elements are joined."""

    __slots__ = ("element", "hashed")
    kind = "listobj"

    def __init__(self, element: Value) -> None:
        self.element = element
        # A set looks its members up by hash, not by comparing.
        self.hashed = False

    def add(self, value: Value) -> None:
        self.element = join(self.element, value) if self.element is not NEVER else value


class DictObj:
    """A dict that grows: values by constant key, and all others joined."""

    __slots__ = ("items", "rest")
    kind = "dictobj"

    def __init__(self) -> None:
        self.items: dict[object, Value] = {}
        self.rest: Value = NEVER

    def put(self, key: Value, value: Value) -> None:
        if isinstance(key, Const):
            held = self.items.get(key.value)
            self.items[key.value] = value if held is None else join(held, value)
        else:
            self.rest = value if self.rest is NEVER else join(self.rest, value)

    def values(self) -> Value:
        return join_all([*self.items.values(), *([] if self.rest is NEVER else [self.rest])])


class Obj:
    """An instance of a project's class. `args` are the constructor's, None where it was not seen being made."""

    __slots__ = ("args", "attrs", "built", "cls", "done", "exact", "keywords")
    kind = "obj"

    def __init__(
        self,
        cls: ClassInfo,
        args: tuple[Value, ...] | None = None,
        keywords: tuple[tuple[str, Value], ...] = (),
        exact: bool = False,
    ) -> None:
        self.cls = cls
        self.args = args
        self.keywords = keywords
        self.exact = exact
        self.attrs: dict[str, Value] = {}
        self.done: set[object] = set()
        # What the run of the constructor came to, once it was followed.
        self.built: Summary | None = None

    def put(self, name: str, value: Value) -> None:
        held = self.attrs.get(name)
        self.attrs[name] = value if held is None else join(held, value)


class Env:
    """The variables of one run through a function: as they are now, and all that they ever were (for closures)."""

    __slots__ = ("ever", "now", "parent", "paths", "version")

    def __init__(self, parent: Env | None) -> None:
        self.parent = parent
        self.paths: set[str] = set()
        self.now: dict[str, Value] = {}
        self.ever: dict[str, Value] = {}
        self.version = 0

    def put(self, name: str, value: Value) -> None:
        self.now[name] = value
        held = self.ever.get(name)
        if held is None:
            self.ever[name] = value
            self.version += 1
        elif held is not value and held != value:
            merged = join(held, value)
            if merged != held:
                self.ever[name] = merged
                self.version += 1

    def put_path(self, path: str, value: Value) -> None:
        """Remember what was stored under `name.attribute`, as long as `name` is not bound anew."""
        self.paths.add(path)
        self.now[path] = value

    def forget(self, name: str) -> None:
        """Drop what is known of the attributes of a name that was bound anew."""
        if self.paths:
            stale = [path for path in self.paths if path.startswith(name + ".")]
            for path in stale:
                self.paths.discard(path)
                self.now.pop(path, None)


class Lazy:
    """The result of a call that is made only when somebody asks what it is."""

    __slots__ = ("_make", "_value")
    kind = "lazy"

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make: Callable[[], Value] | None = make
        self._value: Value = UNKNOWN

    @property
    def made(self) -> bool:
        return self._make is None

    def force(self) -> Value:
        if self._make is not None:
            make, self._make = self._make, None
            # Whoever asks meanwhile (a value that is made of itself) is told that nothing is known.
            self._value = forced(make())
        return self._value


def waits(value: Value) -> bool:
    """Whether it is the result of a call that nobody has needed yet."""
    if isinstance(value, Union):
        return any(isinstance(item, Lazy) and not item.made for item in value.items)
    return isinstance(value, Lazy) and not value.made


def deferred(value: Value, use: Callable[[Value], Value]) -> Value:
    """What `use` makes of a value, put off until needed where the value itself is."""
    return Lazy(lambda: use(forced(value))) if waits(value) else use(value)


Value: TypeAlias = (
    Unknown
    | Const
    | Scalar
    | Device
    | Tensor
    | Array
    | NNModule
    | ModelOutput
    | Seq
    | Tup
    | Mapping
    | Func
    | Bound
    | Partial
    | ClassVal
    | SuperVal
    | Ext
    | ExtInstance
    | Method
    | ModuleRef
    | Param
    | Result
    | Union
    | ListObj
    | DictObj
    | Obj
    | Lazy
)

UNKNOWN = Unknown()
# An empty container's element: joins to whatever comes.
NEVER = Union(())
NONE = Const(None, "NoneType")
SCALAR = Scalar()
TENSOR = Tensor()
BOOL = Scalar("bool")
INT = Scalar("int")
FLOAT = Scalar("float")
STR = Scalar("str")
ARRAY = Array()
TENSORS = Seq(TENSOR)
MODULE = NNModule()
ANY_DEVICE = Device()
CPU = Device(True)
OUTPUT = Union((TENSOR, TENSORS, ModelOutput()))


def tup(items: tuple[Value, ...]) -> Value:
    """A tuple of known elements; one that has grown beyond what code writes by hand is just a sequence."""
    size = 0
    for item in items:
        size += 1 + (item.size if isinstance(item, Tup) else 0)
    if size > MAX_SIZE:
        return Seq(UNKNOWN)
    return Tup(items, size)


def const(value: object) -> Value:
    """The value of a literal; floats and other numbers are not worth telling apart."""
    if value is None:
        return NONE
    if isinstance(value, (bool, int, str)):
        return Const(value, type(value).__name__)
    return Scalar(type(value).__name__)


def alternatives(value: Value) -> tuple[Value, ...]:
    """The values that it may be."""
    if isinstance(value, (Lazy, Union)):
        value = forced(value)
        if isinstance(value, Union):
            return value.items
    return (value,)


def settled(value: Value) -> Value:
    """The value, with unbound parameters replaced by what they are declared to be and lazy calls made."""
    if isinstance(value, Param):
        return settled(value.declared)
    if isinstance(value, Result):
        return UNKNOWN
    if isinstance(value, Lazy):
        return settled(value.force())
    if isinstance(value, Union) and any(isinstance(item, (Param, Lazy, Result)) for item in value.items):
        return join_all(settled(item) for item in value.items)
    return value


def forced(value: Value) -> Value:
    """The value with lazy calls made; unbound parameters stay what they are."""
    if isinstance(value, Lazy):
        return value.force()
    if isinstance(value, Union) and any(isinstance(item, Lazy) for item in value.items):
        return join_all(forced(item) for item in value.items)
    return value


def join(a: Value, b: Value) -> Value:
    """The least value that covers both."""
    if a is b or a == b:
        return a
    return join_all((a, b))


def join_all(values: Iterable[Value]) -> Value:
    """The least value that covers all of them; unknown when there are too many to keep apart."""
    kept: dict[Value, None] = {}
    for value in values:
        if type(value) is Union:
            for item in value.items:
                kept[item] = None
        else:
            kept[value] = None
    if not kept:
        return UNKNOWN
    if len(kept) == 1:
        return next(iter(kept))
    if len(kept) > MAX_ALTERNATIVES:
        return _summary(list(kept))
    return Union(tuple(kept))


def _summary(items: list[Value]) -> Value:
    """Fewer alternatives that cover what matters: scalars merge, tuples merge by position, at last all else goes."""
    kept: dict[Value, None] = {}
    tuples: dict[int, Tup] = {}
    for item in items:
        if isinstance(item, (Const, Scalar)):
            kept[NONE if item == NONE else SCALAR] = None
        elif isinstance(item, Tup):
            held = tuples.get(len(item.items))
            columns = zip(held.items, item.items, strict=True) if held is not None else ()
            tuples[len(item.items)] = item if held is None else Tup(tuple(join(a, b) for a, b in columns), item.size)
        elif isinstance(item, Param):
            kept[item.declared] = None
        else:
            kept[item] = None
    flat = [*kept, *tuples.values()]
    if len(flat) > MAX_ALTERNATIVES:
        return Union((*flat[: MAX_ALTERNATIVES - 1], UNKNOWN))
    return flat[0] if len(flat) == 1 else Union(tuple(flat))


def any_device(value: Value) -> bool:
    """Whether it may be a tensor on the device."""
    return any(type(item) is Tensor and not item.host for item in alternatives(settled(value)))


def holds_device(value: Value, depth: int = 0) -> bool:
    """Whether it is, or contains, a tensor on the device (what printing or comparing a container would read)."""
    if depth > MAX_NESTING:
        return False
    for item in alternatives(settled(value)):
        if isinstance(item, Tensor):
            if not item.host:
                return True
        elif isinstance(item, Tup):
            if any(holds_device(part, depth + 1) for part in item.items):
                return True
        elif isinstance(item, (Seq, Mapping, ListObj)):
            if holds_device(item.element, depth + 1):
                return True
        elif isinstance(item, DictObj) and any(
            holds_device(part, depth + 1) for part in (*item.items.values(), item.rest)
        ):
            return True
    return False


def element(value: Value) -> Value:
    """What iterating over it yields."""
    parts: list[Value] = []
    for item in alternatives(settled(value)):
        if isinstance(item, Tup):
            parts.extend(item.items)
        elif isinstance(item, (Seq, ListObj)):
            if item.element is not NEVER:
                parts.append(item.element)
        elif isinstance(item, DictObj):
            parts.extend(const(key) for key in item.items)
            if item.rest is not NEVER or not item.items:
                parts.append(UNKNOWN)
        else:
            parts.append(ELEMENTS.get(type(item), UNKNOWN) if type(item) is not Tensor else item)
    return join_all(parts)


# What the values of a kind yield that tell no more about it.
ELEMENTS: dict[type, Value] = {
    Mapping: STR,
    Array: ARRAY,
    Const: SCALAR,
    Scalar: SCALAR,
    NNModule: MODULE,
}


def truth(value: Value) -> bool | None:
    """What a test of it gives, where that is known."""
    if type(value) is Const:
        return bool(value.value)
    if isinstance(value, (Func, Bound, Partial, ClassVal, ModuleRef)):
        return True
    return None
