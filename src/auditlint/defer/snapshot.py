"""A copy of arguments or of an entry as they are now: containers and numpy's arrays copied, tensors captured."""

from __future__ import annotations

import copy
import dataclasses
import sys
import types
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from auditlint.defer.capture import Capture
from auditlint.defer.pending import read

# Most of what is found beside tensors, by exact type: it never changes.
_PLAIN = frozenset((str, int, float, bool, type(None)))
# Containers that keep everything in one list or dict, and the attribute that has it.
_INSIDE = {UserDict: "data", UserList: "data", ChainMap: "maps"}
_WRAPPERS = tuple(_INSIDE)

Captured = Callable[[torch.Tensor], Capture]


class _Set(NamedTuple):
    """The elements of a set, which have no hashes before they are values."""

    kind: type
    items: list[Any]


class _Fields(NamedTuple):
    """A copy of an instance of a dataclass, or of a namespace, and those of its fields that hold captures."""

    instance: Any
    fields: dict[str, Any]


def _ignore(capture: Capture) -> None:
    return None


def taken(value: Any, capture: Captured, found: Callable[[Capture], None] = _ignore) -> Any:
    """A copy of the lists, dicts, tuples, sets and deques in `value`, `capture(tensor)` in the place of each tensor.

    Copied too are the standard library's classes that stand for lists and dicts (UserList, UserDict, ChainMap), byte
    arrays and numpy's arrays, and instances of dataclasses and namespaces that contain tensors; everything else is the
    same object in the copy. `found` is called with each capture that is in the copy, those that were in `value` already
    included.
    """
    return _Taking(capture, found).copied(value)


class _Taking:
    """One copying; `done` has what was copied already, so that shared parts and cycles stay what they are."""

    def __init__(self, capture: Captured, found: Callable[[Capture], None]) -> None:
        self._capture = capture
        self._found = found
        self._done: dict[int, tuple[Any, Any]] = {}  # the original is kept, so that no other object gets its address

    def copied(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) in self._done:
            return self._done[id(value)][0]
        if isinstance(value, (torch.Tensor, Capture)):
            result: Any = self._capture(value) if isinstance(value, torch.Tensor) else value
            self._found(result)
        elif isinstance(value, list):
            result = [] if type(value) is list else copy.copy(value)
            self._done[id(value)] = result, value  # before its items, which may contain it
            result[:] = [self.copied(item) for item in value]
        elif isinstance(value, dict):
            result = {} if type(value) is dict else copy.copy(value)
            self._done[id(value)] = result, value
            for key, item in value.items():
                result[key] = self.copied(item)
        elif isinstance(value, tuple):
            result = _tuple(value, [self.copied(item) for item in value])
        elif type(value) in (set, frozenset):
            result = _Set(type(value), [self.copied(item) for item in value])
        elif isinstance(value, deque):
            result = _empty(value)
            self._done[id(value)] = result, value
            deque.extend(result, [self.copied(item) for item in value])
        elif isinstance(value, _WRAPPERS):
            result = self._wrapper(value)
        elif _is_array(value):
            result = copy.copy(value)
        elif type(value) is types.SimpleNamespace:
            result = self._fields(value, vars(value))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            result = self._fields(value, [field.name for field in dataclasses.fields(value)])
        else:
            result = value
        self._done[id(value)] = result, value
        return result

    def _wrapper(self, value: Any) -> Any:
        kind: Any = type(value)
        result = kind.__new__(kind)  # no `__init__` of a subclass is called
        self._done[id(value)] = result, value
        vars(result).update(vars(value))
        vars(result)[_inside(value)] = self.copied(vars(value)[_inside(value)])
        return result

    def _fields(self, value: Any, names: Iterable[str]) -> Any:
        self._done[id(value)] = value, value  # should one of its fields lead back to it
        held = {name: self.copied(getattr(value, name)) for name in names if hasattr(value, name)}
        changed = {name: item for name, item in held.items() if _holds_capture(item, set())}
        return _Fields(copy.copy(value), changed) if changed else value


def _empty(value: deque[Any]) -> deque[Any]:
    """A deque as `value` is, with nothing in it yet; no `__init__` of a subclass is called."""
    if type(value) is deque:
        return deque(maxlen=value.maxlen)
    result = type(value).__new__(type(value))
    deque.__init__(result, (), value.maxlen)
    getattr(result, "__dict__", {}).update(getattr(value, "__dict__", {}))  # none where a subclass has slots only
    return result


def _inside(wrapper: Any) -> str:
    """The attribute in which a container of Python's own keeps what it contains."""
    return next(name for kind, name in _INSIDE.items() if isinstance(wrapper, kind))


def _is_array(value: Any) -> bool:
    """Whether a value is one of Python's or numpy's arrays; what was not imported has made none."""
    if type(value) is bytearray:
        return True
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    return array is not None and isinstance(value, array)


def _holds_capture(value: Any, seen: set[int]) -> bool:
    """Whether there is a capture in a copy; `seen` are the containers that are being looked into."""
    if isinstance(value, (Capture, _Fields)):
        return True
    if isinstance(value, _WRAPPERS):
        value = vars(value)[_inside(value)]
    if id(value) in seen or not isinstance(value, (list, tuple, dict, deque)):
        return False
    seen.add(id(value))
    return any(_holds_capture(item, seen) for item in (value.values() if isinstance(value, dict) else value))


def values(snapshot: Any) -> Any:
    """What `taken` made, with values in the place of captures; its lists, dicts and deques are changed in place.

    Raises the device's error when a transfer failed.
    """
    return _values(snapshot, {})


def _values(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, Capture):
        return read(value)
    if type(value) is _Set:
        return value.kind(_values(item, done) for item in value.items)
    if type(value) is _Fields:
        for name, item in value.fields.items():
            object.__setattr__(value.instance, name, _values(item, done))  # frozen ones too: it is our own copy
        return value.instance
    if type(value) in _PLAIN:
        return value
    if isinstance(value, tuple):
        return _tuple(value, [_values(item, done) for item in value])
    if id(value) not in done:
        done[id(value)] = value
        if isinstance(value, list):
            value[:] = [_values(item, done) for item in value]
        elif isinstance(value, dict):
            for key, item in value.items():
                value[key] = _values(item, done)
        elif isinstance(value, deque):
            items = [_values(item, done) for item in value]
            deque.clear(value)
            deque.extend(value, items)
        elif isinstance(value, _WRAPPERS):
            vars(value)[_inside(value)] = _values(vars(value)[_inside(value)], done)
    return value


def _tuple(like: tuple[Any, ...], items: list[Any]) -> Any:
    if all(new is old for new, old in zip(items, like, strict=True)):
        return like
    return type(like)._make(items) if hasattr(like, "_make") else type(like)(items)
