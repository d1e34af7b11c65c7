"""Many tensors of one device as one run of bytes, and back: nothing is converted, so nothing is rounded.

Tensors of one dtype are joined as they are. The joined blocks are looked at as bytes and put behind each other, widest
elements first, so that each block lies aligned when the host looks at it in its own dtype again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

# Dtypes that torch can join on every device; all others are joined as integers of the same width.
_JOINED_AS_THEY_ARE = frozenset(
    (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    )
)
_CARRIERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Group(NamedTuple):
    """Tensors of one dtype that were joined: their positions among all, and their shapes.

    `shapes` is None for tensors without dimensions, one element each.
    """

    dtype: torch.dtype
    positions: tuple[int, ...]
    shapes: tuple[torch.Size, ...] | None

    @property
    def nbytes(self) -> int:
        """The length of the group's block in bytes."""
        elements = len(self.positions) if self.shapes is None else sum(shape.numel() for shape in self.shapes)
        return elements * int(self.dtype.itemsize)


class Block(NamedTuple):
    """A group and its elements: a contiguous tensor of one dimension, of the group's dtype."""

    group: Group
    elements: torch.Tensor


def gather(tensors: Sequence[torch.Tensor]) -> list[Block]:
    """Join tensors of one device by dtype, those without dimensions apart from the others; widest elements first.

    The tensors are dense and may be views, conjugated or negated lazily; the blocks have the values they stand for.
    """
    positions: dict[tuple[torch.dtype, bool], list[int]] = {}
    for position, tensor in enumerate(tensors):
        positions.setdefault((tensor.dtype, tensor.dim() == 0), []).append(position)
    blocks = []
    for dtype, single in sorted(positions, key=lambda key: -key[0].itemsize):
        found = positions[dtype, single]
        members = [tensors[position] for position in found]
        shapes = None if single else tuple(member.shape for member in members)
        blocks.append(Block(Group(dtype, tuple(found), shapes), _joined(dtype, members, single)))
    return blocks


def _joined(dtype: torch.dtype, members: list[torch.Tensor], single: bool) -> torch.Tensor:
    if dtype not in _JOINED_AS_THEY_ARE:
        carrier = _CARRIERS[dtype.itemsize]
        members = [member.resolve_conj().resolve_neg().view(carrier) for member in members]
    joined = torch.stack(members) if single else torch.cat([member.reshape(-1) for member in members])
    return joined.resolve_conj().resolve_neg().view(dtype)


def as_bytes(blocks: Sequence[Block]) -> torch.Tensor:
    """The blocks one after the other: uint8, one dimension, on their device."""
    parts = [block.elements.view(torch.uint8) for block in blocks]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def from_bytes(groups: Sequence[Group], data: torch.Tensor) -> list[Block]:
    """The inverse of `as_bytes`: blocks that are views of `data`, uint8 with one dimension."""
    blocks, start = [], 0
    for group in groups:
        end = start + group.nbytes
        blocks.append(Block(group, data[start:end].view(group.dtype)))
        start = end
    return blocks


def members(block: Block) -> Iterator[tuple[int, torch.Tensor]]:
    """Each tensor of a block as a view with its own shape, beside its position."""
    if block.group.shapes is None:
        yield from zip(block.group.positions, block.elements.unbind(), strict=True)
        return
    sizes = [shape.numel() for shape in block.group.shapes]
    parts = block.elements.split(sizes)
    for position, shape, part in zip(block.group.positions, block.group.shapes, parts, strict=True):
        yield position, part.view(shape)
