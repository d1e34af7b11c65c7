"""`finalize`: plain values in the place of every Deferred, wherever they were put."""

from __future__ import annotations

import sys
import types
import weakref
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterator
from typing import Any, TypeVar, overload

import torch

from auditlint.defer.calls import raise_all, run_calls
from auditlint.defer.capture import Capture
from auditlint.defer.compiling import outside_graph
from auditlint.defer.derived import Derived
from auditlint.defer.pending import deliver_all, read

First = TypeVar("First")

_ATOMS = (
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
    type(None),
    torch.Tensor,
    torch.dtype,
    torch.device,
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.CodeType,
    types.FrameType,
    types.GeneratorType,
    weakref.ReferenceType,
    *weakref.ProxyTypes,
)
# Most of what is found, by exact type: neither to be looked into, nor with attributes of its own.
_PLAIN = frozenset((str, int, float, bool, complex, type(None), torch.Tensor))
_BARE = frozenset((list, dict, set, deque))


@overload
def finalize() -> None: ...
@overload
def finalize(container: First, /) -> First: ...
@overload
def finalize(container: Any, other: Any, /, *others: Any) -> tuple[Any, ...]: ...
@outside_graph
def finalize(*containers: Any) -> Any:
    """Flush, then put plain values in the place of every Deferred in `containers`; returns them.

    Lists, dicts, sets and deques, and attributes of objects (those of dataclasses, frozen ones and ones with slots
    included) are changed in place, at any depth and also in cycles; tuples, named tuples and frozensets that contain a
    Deferred are made anew where they stand. Instances of the standard library's other classes are not looked into, nor
    are functions, modules of Python and arrays. No property or `__setattr__` of an object is called.

    Returns None without containers, the container for one, else a tuple of all. Doing it again changes nothing and
    costs no transfer. Raises what `auditlint.defer.flush` raises, after everything else is in place; a Deferred whose
    transfer failed stays where it is, and raises the device's error whenever it is read.
    """
    errors: list[BaseException] = [*deliver_all(), *run_calls()]
    walk = _Walk()
    found = tuple(walk.plain(container) for container in containers)
    walk.finish()
    raise_all([*errors, *walk.errors])
    return None if not found else found[0] if len(found) == 1 else found


class _Walk:
    """One walk over containers: what was made anew, and what is still to be looked into."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Any, Any]] = {}  # by address: what stands for an object now, and the object
        self._left: deque[Any] = deque()
        self.errors: list[Exception] = []  # of captures whose transfer failed

    def plain(self, value: Any) -> Any:
        """What stands in the place of `value`; mutable ones are looked into later, by `finish`."""
        kind = type(value)  # and not `isinstance`, which asks proxies, and these may be bound to nothing
        if kind in _PLAIN:
            return value
        if issubclass(kind, Capture):
            try:
                found = read(value)
            except Exception as error:
                self.errors.append(error)
                return value
            return self.plain(found) if kind is Derived else found  # it may contain others
        if kind not in _BARE and issubclass(kind, _ATOMS):
            return value
        known = self._seen.get(id(value))
        if known is not None:
            return known[0]
        if issubclass(kind, (tuple, frozenset)):
            result = self._anew(value)
        else:
            result = value
            self._left.append(value)
        self._seen[id(value)] = result, value
        return result

    def finish(self) -> None:
        """Look into all that was found, and into what is found there."""
        while self._left:
            self._look_into(self._left.popleft())

    def _anew(self, value: Any) -> Any:
        items = [self.plain(item) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)._make(items) if hasattr(value, "_make") else type(value)(items)

    def _look_into(self, value: Any) -> None:
        kind = type(value)
        if issubclass(kind, (dict, UserDict)):
            self._mapping(value)
        elif issubclass(kind, (list, deque, UserList)):
            for position, item in enumerate(list(value)):
                plain = self.plain(item)
                if plain is not item:
                    value[position] = plain
        elif issubclass(kind, set):
            for item in list(value):
                plain = self.plain(item)
                if plain is not item:
                    value.discard(item)
                    value.add(plain)
        elif issubclass(kind, ChainMap):
            self.plain(value.maps)
        if kind in _BARE:
            return
        for name, item, attributes in _attributes(value):
            plain = self.plain(item)
            if plain is item:
                continue
            if attributes is None:
                object.__setattr__(value, name, plain)
            else:
                attributes[name] = plain

    def _mapping(self, value: Any) -> None:
        keys = False
        for key, item in list(value.items()):
            plain = self.plain(item)
            if plain is not item:
                value[key] = plain
            keys = keys or self.plain(key) is not key
        if keys:  # all of them again, so that their order stays
            items = [(self.plain(key), item) for key, item in value.items()]
            value.clear()
            for key, item in items:
                value[key] = item


def _attributes(value: Any) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Name, value and, unless it is a slot, the dict of each attribute that an object has itself."""
    kind = type(value)
    foreign = kind.__module__.partition(".")[0] in sys.stdlib_module_names
    if foreign and kind is not types.SimpleNamespace:
        return
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:  # nothing but slots
        attributes = None
    if type(attributes) is dict:
        for name, item in list(attributes.items()):
            yield name, item, attributes
    for base in kind.__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    yield name, slot.__get__(value, kind), None
                except AttributeError:  # a slot that was never filled
                    continue
