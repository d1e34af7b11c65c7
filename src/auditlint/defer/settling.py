"""How a captured tensor becomes a value, once it is on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from auditlint.defer.capture import Capture, Failed
from auditlint.defer.packing import Block, gather, members

_NUMBERS = ("item", "list")  # what these forms give for a tensor without dimensions


# auditlint: allow-sync[AUD103] the blocks are on the host
def settle(captures: Sequence[Capture], blocks: Sequence[Block]) -> None:
    """Give captures their values, from blocks whose memory will be written again."""
    for block in blocks:
        positions = block.group.positions
        single = block.group.shapes is None
        if single:
            for position, number in zip(positions, block.elements.tolist(), strict=True):
                if captures[position]._form in _NUMBERS:
                    settle_value(captures[position], number)
            if all(captures[position]._form in _NUMBERS for position in positions):
                continue  # the usual case: numbers only, which need no tensor each
        for position, tensor in members(block):
            capture = captures[position]
            if not single or capture._form not in _NUMBERS:
                settle_value(capture, _converted(tensor, capture._form, copy=True))


def settle_host(captures: Sequence[Capture]) -> None:
    """Give captures their values that are host tensors of their own."""
    numbers = []
    for capture in captures:
        tensor = capture._held
        if tensor.dim() == 0 and capture._form in _NUMBERS:
            numbers.append(capture)
        else:
            settle_value(capture, _converted(tensor, capture._form, copy=tensor.is_inference()))
    if numbers:
        settle(numbers, gather([capture._held for capture in numbers]))


def settle_value(capture: Capture, value: Any) -> None:
    """Give a capture its value."""
    # In this order: readers look at `_held` without a lock.
    capture._value = value
    capture._stream = None
    capture._held = None


def fail(captures: Sequence[Capture], error: Exception) -> None:
    """Let every read of these captures raise `error`."""
    failed = Failed(error)
    for capture in captures:
        capture._held = failed
        capture._stream = None


# auditlint: allow-sync[AUD101, AUD103, AUD106] the tensor is on the host
def _converted(tensor: torch.Tensor, form: str, *, copy: bool) -> Any:
    """A host tensor in one of the forms of `defer`; `copy` when its memory must not be kept."""
    if form == "item":
        return tensor.item()
    if form == "list":
        return tensor.tolist()
    own = tensor.clone() if copy else tensor
    return own if form == "cpu" else own.resolve_conj().resolve_neg().numpy()
