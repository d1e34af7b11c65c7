"""Packing: whatever is put together on a device comes out on the host bit for bit."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from auditlint.defer.packing import as_bytes, from_bytes, gather, members  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()

DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu") if hasattr(torch, name)),
]


def bits(tensor: torch.Tensor) -> tuple[object, ...]:
    """Dtype, shape and bytes of a host tensor."""
    plain = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    return tensor.dtype, tuple(tensor.shape), bytes(plain.reshape(-1).view(torch.uint8).tolist())


def round_trip(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    blocks = gather(tensors)
    data = as_bytes(blocks)
    assert data.dtype is torch.uint8 and data.dim() == 1
    assert data.numel() == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    found = [member for block in from_bytes([block.group for block in blocks], data.cpu()) for member in members(block)]
    assert sorted(position for position, _ in found) == list(range(len(tensors)))
    return [tensor for _, tensor in sorted(found, key=lambda pair: pair[0])]


@st.composite
def any_tensor(draw: st.DrawFn) -> torch.Tensor:
    """Any bits in any dtype and shape, as they are or as a view that is not contiguous."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = torch.Size(shape).numel()
    raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    values = [byte & 1 for byte in raw] if dtype is torch.bool else list(raw)
    tensor = torch.tensor(values, dtype=torch.uint8).view(dtype).reshape(shape)
    view = draw(st.sampled_from(("whole", "transposed", "every other", "expanded")))
    if view == "transposed":
        return tensor.movedim(0, -1) if tensor.dim() else tensor
    if view == "every other" and tensor.dim():
        return tensor[..., ::2]
    return tensor.expand(2, *shape) if view == "expanded" else tensor


@settings(max_examples=200, deadline=None)
@given(st.lists(any_tensor(), min_size=1, max_size=6), st.booleans())
def test_every_dtype_and_shape_comes_back_bit_for_bit(tensors: list[torch.Tensor], on_device: bool) -> None:
    there = [tensor.to("sim") for tensor in tensors] if on_device else tensors
    assert [bits(found) for found in round_trip(there)] == [bits(tensor) for tensor in tensors]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_lazy_conjugation_and_negation_are_carried_out(dtype: torch.dtype) -> None:
    z = torch.tensor([1 + 2j, 3j], dtype=dtype)
    lazy = [z.conj(), z[0].conj(), z, z.conj().imag, z[0].conj().imag]
    assert [tensor.is_conj() for tensor in lazy[:2]] == [tensor.is_neg() for tensor in lazy[3:]] == [True, True]
    found = round_trip(lazy)
    assert [tensor.tolist() for tensor in found] == [[1 - 2j, -3j], 1 - 2j, [1 + 2j, 3j], [-2.0, -3.0], -2.0]
    assert not any(tensor.is_conj() or tensor.is_neg() for tensor in found)


def test_integers_beyond_what_a_double_holds_are_exact() -> None:
    numbers = [2**53 + 1, -(2**63), 2**63 - 1]
    tensors = [*(torch.tensor(number) for number in numbers), torch.tensor(0.1), torch.tensor(True)]
    assert [found.item() for found in round_trip(tensors)[:3]] == numbers


def test_nothing_but_empty_tensors() -> None:
    tensors = [torch.empty(0), torch.empty(2, 0, 3, dtype=torch.int64)]
    assert [bits(found) for found in round_trip(tensors)] == [bits(tensor) for tensor in tensors]


def test_blocks_lie_aligned_whatever_was_first() -> None:
    tensors = [torch.tensor(True), torch.tensor(1, dtype=torch.int16), torch.tensor(2.0, dtype=torch.float64)]
    blocks = gather(tensors)
    sizes = [block.group.dtype.itemsize for block in blocks]
    assert sizes == sorted(sizes, reverse=True) == [8, 2, 1]


def test_a_thousand_scalars_of_one_dtype_are_one_kernel() -> None:
    scalars = [torch.tensor(float(number), device="sim") for number in range(1000)]
    before = CLOCK.counts()
    as_bytes(gather(scalars))
    after = CLOCK.counts()
    assert (after.kernels - before.kernels, after.copies - before.copies) == (1, 0)


def test_values_keep_their_graph_out_of_the_way() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with torch.no_grad():
        (found,) = round_trip([x])
    assert not found.requires_grad and found.tolist() == [1.0, 2.0]
