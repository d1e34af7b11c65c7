"""`defer`: keep a tensor now, read it later; `Deferred` is what stands for the value until then."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, Literal, overload

import torch
from torch import Tensor

from auditlint.defer.capture import Capture, captured
from auditlint.defer.compiling import outside_graph
from auditlint.defer.pending import read
from auditlint.defer.transfer import current_stream

Form = Literal["item", "list", "numpy", "cpu"]

_internals: Any = torch
_transforms: Callable[[], Any] = getattr(
    getattr(_internals._C, "_functorch", None), "peek_interpreter_stack", lambda: None
)
_capturing: Callable[[], bool] = getattr(_internals._C, "_cuda_isCurrentStreamCapturing", lambda: False)
# What `Tensor.numpy` and `Tensor.item` know.
_ARRAYS = frozenset(
    (
        torch.bool,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    )
)


def _plain(value: Any) -> Any:
    """`value` with each Deferred in it, also in lists, tuples and dicts, replaced by what it stands for."""
    if isinstance(value, Capture):
        return read(value)
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _unary(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return function(read(self))

    return method


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return function(read(self), read(other) if isinstance(other, Capture) else other)

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return function(other, read(self))

    return method


class Deferred(Capture):
    """A value that is still on a device, and reads as what it stands for.

    Arithmetic, comparison, conversion, formatting, hashing and attributes are those of the value; reading makes values
    of everything that is pending, with one transfer a device. `isinstance(deferred, float)` is False: `finalize` puts
    plain values in the place of these.
    """

    __slots__ = ()

    @property
    def value(self) -> Any:
        """The value: a Python number, a (nested) list of them, a numpy array or a host tensor.

        Raises the device's error, on every read, when the transfer failed.
        """
        return read(self)

    @property
    def ready(self) -> bool:
        """Whether reading costs no transfer any more."""
        return self._held is None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # protocols that ask whether somebody knows them; an answer must not cost a transfer
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(read(self), name)

    __add__, __radd__ = _binary(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _binary(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _binary(operator.mod), _reflected(operator.mod)
    __divmod__, __rdivmod__ = _binary(divmod), _reflected(divmod)
    __lshift__, __rlshift__ = _binary(operator.lshift), _reflected(operator.lshift)
    __rshift__, __rrshift__ = _binary(operator.rshift), _reflected(operator.rshift)
    __and__, __rand__ = _binary(operator.and_), _reflected(operator.and_)
    __or__, __ror__ = _binary(operator.or_), _reflected(operator.or_)
    __xor__, __rxor__ = _binary(operator.xor), _reflected(operator.xor)
    __matmul__, __rmatmul__ = _binary(operator.matmul), _reflected(operator.matmul)
    __rpow__ = _reflected(operator.pow)
    __neg__, __pos__ = _unary(operator.neg), _unary(operator.pos)
    __abs__, __invert__ = _unary(operator.abs), _unary(operator.invert)
    __lt__, __le__ = _binary(operator.lt), _binary(operator.le)
    __gt__, __ge__ = _binary(operator.gt), _binary(operator.ge)
    __eq__ = _binary(operator.eq)
    __ne__ = _binary(operator.ne)
    __float__, __int__, __complex__ = _unary(float), _unary(int), _unary(complex)
    __bool__, __index__ = _unary(bool), _unary(operator.index)
    __trunc__, __floor__, __ceil__ = _unary(math.trunc), _unary(math.floor), _unary(math.ceil)
    __hash__ = _unary(hash)
    __str__, __repr__ = _unary(str), _unary(repr)

    def __pow__(self, exponent: Any, modulus: Any = None) -> Any:
        return pow(read(self), _plain(exponent), _plain(modulus))

    def __round__(self, ndigits: int | None = None) -> Any:
        return round(read(self), ndigits)

    def __format__(self, spec: str) -> str:
        return format(read(self), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy

        value = read(self)
        if isinstance(value, torch.Tensor):
            value = value.numpy()
        return numpy.array(value, dtype=dtype) if copy else numpy.asarray(value, dtype=dtype)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*_plain(args), **_plain(kwargs or {}))

    def __copy__(self) -> Any:
        return self._copied(copy.copy)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._copied(copy.deepcopy)

    def _copied(self, function: Callable[[Any], Any]) -> Any:
        """Another Deferred while there is no value yet, so that copying does not wait; else a copy of the value."""
        held = self._held
        if self._form == "item":
            return self  # numbers do not change
        form: Any = self._form
        return defer(held, form) if isinstance(held, torch.Tensor) else function(read(self))

    def __reduce__(self) -> Any:
        # Loads as the plain value, also where auditlint is not installed.
        return operator.getitem, ((read(self),), 0)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


class DeferredArray(Deferred):
    """A Deferred that stands for a list, an array or a host tensor, and has what these have beyond numbers."""

    __slots__ = ()

    __hash__ = _unary(hash)

    def __len__(self) -> int:
        return len(read(self))

    def __iter__(self) -> Iterator[Any]:
        return iter(read(self))

    def __reversed__(self) -> Any:
        return reversed(read(self))

    def __contains__(self, item: Any) -> bool:
        return _plain(item) in read(self)

    def __getitem__(self, index: Any) -> Any:
        return read(self)[_plain(index)]

    def __setitem__(self, index: Any, item: Any) -> None:
        read(self)[_plain(index)] = _plain(item)

    def __delitem__(self, index: Any) -> None:
        del read(self)[_plain(index)]


@overload
def defer(tensor: torch.Tensor, as_: Literal["item"] = "item", fresh: bool = False) -> Deferred: ...
@overload
def defer(tensor: torch.Tensor, as_: Form, fresh: bool = False) -> DeferredArray: ...
@outside_graph
def defer(tensor: torch.Tensor, as_: Form = "item", fresh: bool = False) -> Deferred:
    """Keep `tensor` as it is now, detached, and return a `Deferred` that stands for what reading it would give.

    `as_` says what that is: "item" a Python number (one element needed), "list" what `tolist` gives, "numpy" an array,
    "cpu" a host tensor; arrays and host tensors are contiguous. The tensor is cloned, since a view or an input may be
    written to later, unless `fresh` says that nobody else has it, as with the result of a reduction. Nothing waits
    for the device here.

    Raises RuntimeError where "item" is asked of more than one element, TypeError for dtypes and kinds of tensors that
    cannot be read so, RuntimeError while a CUDA graph is captured, and ValueError for an unknown `as_`.
    """
    if type(tensor) is not Tensor:
        _check_kind(tensor)
    if _transforms() is not None:
        tensor = _unwrapped(tensor)
    if as_ != "item" or tensor.dim():
        tensor = _shaped(tensor, as_)
    if tensor.requires_grad:
        # `data` takes two thirds of the time; it differs by a version counter of its own, which nobody asks here.
        tensor = tensor.data if type(tensor) is Tensor else tensor.detach()
    stream = None
    if not tensor.is_cpu:
        device = tensor.device
        if device.type == "meta" or (device.type == "cuda" and _capturing()):
            raise _unreadable(device)
        stream = current_stream(device)
    if not fresh:
        tensor = tensor.clone()
    return captured(Deferred if as_ == "item" else DeferredArray, tensor, as_, stream)


def _check_kind(tensor: Any) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"defer takes a tensor, not {type(tensor).__name__}")
    names = {kind.__name__ for kind in type(tensor).__mro__}
    if "DTensor" in names:
        raise TypeError("a DTensor lies on several devices: defer its to_local() or full_tensor()")
    if names & {"FakeTensor", "FunctionalTensor"}:
        raise TypeError(f"a {type(tensor).__name__} has no values that could be read later")


def _unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The values behind the wrappers of torch.func; those of vmap have one for each call that it runs at once."""
    functorch = _internals._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            raise RuntimeError("defer cannot be used under vmap, where one tensor stands for many")
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def _shaped(tensor: torch.Tensor, form: str) -> torch.Tensor:
    if form == "item":
        if tensor.numel() != 1:
            raise RuntimeError(f"a Tensor with {tensor.numel()} elements cannot be converted to Scalar")
        return tensor.reshape(())
    if form == "numpy":
        if tensor.dtype not in _ARRAYS:
            raise TypeError(f"numpy has no {tensor.dtype}: use as_='cpu', or convert the tensor first")
    elif form not in ("list", "cpu"):
        raise ValueError(f"as_ is 'item', 'list', 'numpy' or 'cpu', not {form!r}")
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
        raise TypeError("defer takes dense tensors: not sparse, nested or quantised ones")
    return tensor


def _unreadable(device: torch.device) -> Exception:
    if device.type == "meta":
        return TypeError("a meta tensor has no values that could be read later")
    return RuntimeError(
        "a CUDA graph is being captured: its replays do not run Python, so nothing would be deferred again; capture "
        "with auditlint.defer.DeviceBuffer"
    )


def json_default(value: Any) -> Any:
    """For `json.dumps(..., default=json_default)`: what JSON knows for Deferred, tensors and numpy's arrays.

    Raises TypeError for anything else, as json does without it.
    """
    if isinstance(value, Capture):
        value = read(value)
        if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict)):
            return value
    if isinstance(value, torch.Tensor) or type(value).__module__ == "numpy":
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
