"""What the simulated device does with one aten operator: the host's kernel computes, the clock says what it costs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from auditlint.runtime.simulation.clock import CLOCK
from auditlint.runtime.simulation.pinned import is_pinned, pin
from auditlint.runtime.simulation.recurrent import CELLS
from auditlint.runtime.simulation.tensor import NAME, SimTensor, tensors, unwrap, wrap
from auditlint.runtime.simulation.traffic import moved
from auditlint.runtime.simulation.waits import WAITS, Wait

_internals: Any = torch  # what torch's types do not declare
Execute = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

# Answered by the host, or no more than a new way to look at memory, though the schema names no alias.
_NAMED_NO_KERNEL = (
    "_unsafe_view unsafe_split unsafe_split_with_sizes unsafe_chunk _reshape_alias lift lift_fresh empty empty_like "
    "empty_strided empty_permuted new_empty new_empty_strided resize_ set_ is_same_size is_set_to detach_ "
    "sym_size sym_stride sym_numel sym_storage_offset"
)
_NO_KERNEL = frozenset(_NAMED_NO_KERNEL.split())
_INDEXING = frozenset(("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"))
# Kernels that take host tensors by contract: torch moves them, or reads them on the host.
_TAKES_HOST = frozenset(("_pack_padded_sequence_backward", "set_", "_ctc_loss", "_ctc_loss_backward"))
# Code that all devices share and that reads values in some of its parts: run part by part, so that the parts tell.
_SHARED = frozenset(("allclose", "linspace", "logspace", "linalg_pinv", "masked_fill.Tensor", "index_fill.int_Tensor"))
_SHARED_KEYS = ("CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")


class Kernel(NamedTuple):
    """What is known of an operator before it is called."""

    name: str
    overload: str  # "name.overload"
    parameters: tuple[Any, ...]  # of the schema
    written: tuple[int | None, ...]  # for each result, the parameter that is returned itself
    view: bool
    launches: bool
    composite: Any  # the dispatch key of code made of other operators, None where the device has a kernel
    wait: Wait | None
    special: Execute | None
    factory: bool  # makes a tensor on the device that it is told, else on the host


@functools.cache
def describe(func: Any) -> Kernel:
    """Read an operator's schema once."""
    schema = func._schema
    name = schema.name.partition("::")[2]
    overload = f"{name}.{schema.overload_name}" if schema.overload_name else name
    parameters = tuple(schema.arguments)
    written = tuple(_written(result, parameters) for result in schema.returns)
    view = any(result.alias_info is not None and not result.alias_info.is_write for result in schema.returns)
    inplace_view = torch.Tag.inplace_view in func.tags
    device = any(parameter.name == "device" for parameter in parameters)
    return Kernel(
        name=name,
        overload=overload,
        parameters=parameters,
        written=written,
        view=view,
        launches=not (view or inplace_view or name in _NO_KERNEL),
        composite=_composite(func, name in _SHARED or overload in _SHARED),
        wait=WAITS.get(overload) or WAITS.get(name),
        special=SPECIAL.get(name),
        factory=device and not (name.startswith("new_") or name.endswith("_like")),
    )


def _composite(func: Any, shared: bool) -> Any:
    # Implicit ones are reached whole in inference mode only; elsewhere torch has taken them apart already.
    for name in ("CompositeImplicitAutograd", *(_SHARED_KEYS if shared else ())):
        if _internals._C._dispatch_has_kernel_for_dispatch_key(func.name(), name):
            return getattr(_internals._C.DispatchKey, name)
    return None


def _written(result: Any, parameters: tuple[Any, ...]) -> int | None:
    if result.alias_info is None or not result.alias_info.is_write:
        return None
    for position, parameter in enumerate(parameters):
        if parameter.alias_info is not None and parameter.alias_info.before_set == result.alias_info.before_set:
            return position
    return None


def bind(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by the schema's names, defaults included."""
    bound = {
        parameter.name: parameter.default_value for parameter in kernel.parameters if parameter.has_default_value()
    }
    bound.update(zip((parameter.name for parameter in kernel.parameters), args, strict=False))
    return {**bound, **kwargs}


def execute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operator on the simulated device."""
    kernel = describe(func)
    if kernel.special is not None:
        return kernel.special(func, args, kwargs)
    if kernel.composite is not None:
        return func._op_dk(kernel.composite, *args, **kwargs)
    _check_devices(kernel, args, kwargs)
    device = kwargs.get("device")
    on_device = torch.device(device).type == NAME if device is not None else not kernel.factory
    host_kwargs = {name: unwrap(value) for name, value in kwargs.items() if name != "pin_memory"}
    if device is not None and on_device:
        host_kwargs["device"] = torch.device("cpu")
    compute = CELLS.get(kernel.name, func)
    result = compute(*(unwrap(value) for value in args), **host_kwargs)
    if kernel.launches and (on_device or kernel.wait is not None):
        CLOCK.launch(moved(kernel.name, args, kwargs, result) if CLOCK.latency.bandwidth else 0)
    if kernel.wait is not None:
        _wait(kernel, kernel.wait, bind(kernel, args, kwargs))
    return _returned(kernel, args, kwargs, result, on_device)


def _wait(kernel: Kernel, wait: Wait, arguments: dict[str, Any]) -> None:
    for _ in range(wait.count(arguments)):
        CLOCK.copy(d2h=8)
        CLOCK.wait(wait.kind, wait.op or f"aten::{kernel.name}")


def _returned(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, on_device: bool) -> Any:
    if not any(position is not None for position in kernel.written):
        return _wrapped(kernel, args, result) if on_device else result
    single = len(kernel.written) == 1
    results = (result,) if single else result
    returned = []
    for position, value in zip(kernel.written, results, strict=True):
        if position is None:
            returned.append(wrap(value) if on_device else value)
            continue
        same = args[position] if position < len(args) else kwargs[kernel.parameters[position].name]
        _same_shape(same)
        returned.append(same)
    return returned[0] if single else tuple(returned)


def _wrapped(kernel: Kernel, args: tuple[Any, ...], result: Any) -> Any:
    if kernel.view and torch.is_inference_mode_enabled() and not args[0].is_inference():
        with torch.inference_mode(False):  # a view of a normal tensor is one too, wherever it is made
            return wrap(result)
    return wrap(result)


def _same_shape(tensor: Any) -> None:
    """Give a wrapper the shape that an operator gave to its host tensor (`t_`, `resize_`, `out=`)."""
    if not isinstance(tensor, SimTensor):
        return
    host = tensor._host
    if (
        tensor.shape == host.shape
        and tensor.stride() == host.stride()
        and tensor.storage_offset() == host.storage_offset()
    ):
        return
    # Run on the wrapper as on a meta tensor: its sizes change and nothing is computed.
    with _internals.utils._mode_utils.no_dispatch():
        before = _internals._C._meta_in_tls_dispatch_include()
        _internals._C._set_meta_in_tls_dispatch_include(True)
        try:
            _internals._functionalize_unsafe_set(tensor, SimTensor(host))
            torch.ops.aten.as_strided_.default(tensor, host.shape, host.stride(), host.storage_offset())
        finally:
            _internals._C._set_meta_in_tls_dispatch_include(before)


def _check_devices(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What a device's kernel accepts: its own tensors, and host tensors without dimensions."""
    if kernel.name in _INDEXING:
        _check_indices(kernel, args)
        return
    found = tensors(*args, kwargs)
    if kernel.name in _TAKES_HOST or not any(isinstance(tensor, SimTensor) for tensor in found):
        return
    if any(not isinstance(tensor, SimTensor) and tensor.dim() > 0 for tensor in found):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu!"
        )


def _check_indices(kernel: Kernel, args: tuple[Any, ...]) -> None:
    indices = [index for index in args[1] if index is not None]
    if not isinstance(args[0], SimTensor):
        if any(isinstance(index, SimTensor) for index in indices):
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor ({args[0].device})"
            )
        raise RuntimeError(f"Expected all tensors to be on the same device, but got values on {NAME}:0")
    values = args[2] if len(args) > 2 else None
    if values is not None and not isinstance(values, SimTensor) and values.dim() > 0:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu!"
        )
    for index in indices:
        if not isinstance(index, SimTensor):  # host indices are copied to the device first
            CLOCK.copy(h2d=index.nbytes)
            CLOCK.wait("h2d", "aten::copy_")


def _copy(to: torch.Tensor, source: torch.Tensor, non_blocking: bool) -> torch.Tensor:
    into, values = unwrap(to), unwrap(source)
    into.copy_(values)
    if isinstance(to, SimTensor) and isinstance(source, SimTensor):
        CLOCK.launch(into.nbytes + values.nbytes)
    elif isinstance(to, SimTensor):
        CLOCK.copy(h2d=values.nbytes)
        # From pageable memory the driver first copies to memory of its own, which keeps the host busy for the length
        # of that copy but not until the device has done its work: no wait is counted.
        if not non_blocking:
            CLOCK.wait("h2d", "aten::copy_")
    else:
        CLOCK.copy(d2h=values.nbytes)
        # To pageable memory CUDA returns only when the copy is done, whatever it was told.
        if not (non_blocking and is_pinned(into)):
            CLOCK.wait("cpu", "aten::copy_")
    return to


def _copy_into(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    bound = bind(describe(func), args, kwargs)
    return _copy(bound["self"], bound["src"], bound["non_blocking"])


def _copy_from(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    bound = bind(describe(func), args, kwargs)
    return _copy(bound["dst"], bound["self"], bound.get("non_blocking", False))


def _copy_all(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    bound = bind(describe(func), args, kwargs)
    for to, source in zip(bound["self"], bound["src"], strict=True):
        _copy(to, source, bound["non_blocking"])


def _to_copy(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    source, non_blocking = args[0], kwargs.get("non_blocking", False)
    device = kwargs.get("device")
    options = {name: kwargs[name] for name in ("dtype", "layout", "memory_format") if kwargs.get(name) is not None}
    here = isinstance(source, SimTensor)
    there = here if device is None else torch.device(device).type == NAME
    host = torch.ops.aten._to_copy.default(unwrap(source), **options)
    if here and there:
        CLOCK.launch(source.nbytes + host.nbytes)
        return SimTensor(host)
    if there:
        CLOCK.copy(h2d=source.nbytes)
        if not non_blocking:
            CLOCK.wait("h2d", "aten::_to_copy")
        return SimTensor(host)
    if device is not None and torch.device(device).type == "meta":
        return host.to("meta")
    if options.get("dtype", source.dtype) != source.dtype:  # the device converts, then copies
        CLOCK.launch()
    CLOCK.copy(d2h=host.nbytes)
    if non_blocking:  # torch allocates pinned memory for this
        return pin(host)
    CLOCK.wait("cpu", "aten::_to_copy")
    return host


def _read(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    host = unwrap(args[0])
    CLOCK.copy(d2h=host.element_size())
    CLOCK.wait("item", "aten::_local_scalar_dense")
    return host.item()


def _attention(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return 0  # SDPBackend.MATH: the parts of attention one by one, since fused kernels belong to one device each


def _pack(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, sizes = func(unwrap(args[0]), *args[1:], **kwargs)
    CLOCK.launch()
    return wrap(data), sizes  # lengths and batch sizes stay on the host


def _nothing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    return None


def _never(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return False


def _keep_padded(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    # Whether padding is all on the right, which a device reads back. "No" keeps TransformerEncoder from making a
    # nested tensor, which a wrapper cannot hold; the rest of its fast path stays.
    CLOCK.launch()
    CLOCK.copy(d2h=1)
    CLOCK.wait("compare", "aten::_nested_tensor_from_mask_left_aligned")
    return False


def _cannot_pin(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise RuntimeError("cannot pin memory of a tensor on a device: only dense CPU tensors can be pinned")


SPECIAL: dict[str, Execute] = {
    "copy_": _copy_into,
    "_copy_from": _copy_from,
    "_copy_from_and_resize": _copy_from,
    "_foreach_copy_": _copy_all,
    "_to_copy": _to_copy,
    "_local_scalar_dense": _read,
    "_fused_sdp_choice": _attention,
    "_pack_padded_sequence": _pack,
    "_nested_tensor_from_mask_left_aligned": _keep_padded,
    "record_stream": _nothing,
    "is_pinned": _never,
    "_pin_memory": _cannot_pin,
    "pin_memory": _cannot_pin,
}
