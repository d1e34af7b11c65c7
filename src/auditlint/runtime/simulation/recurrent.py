"""The fused LSTM and GRU cells, which torch has for devices but not for the CPU whose kernels do the arithmetic here.

Computed from the definitions of the cells in torch's documentation; gate order and saved values are those that torch's
own backward formulas read ("input, forget, cell, output"; "reset, update, new").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def lstm_cell(
    igates: Tensor, hgates: Tensor, cx: Tensor, ibias: Tensor | None = None, hbias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Next hidden state, next cell state and the four activated gates."""
    total = igates + hgates
    for bias in (ibias, hbias):
        total = total if bias is None else total + bias
    i, f, g, o = total.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat((i, f, g, o), 1)


def lstm_cell_backward(
    grad_hy: Tensor | None, grad_cy: Tensor | None, cx: Tensor, cy: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the gates before activation, of the cell state, and of each bias."""
    if grad_hy is None and grad_cy is None:
        return None, None, None
    i, f, g, o = gates.chunk(4, 1)
    squashed = cy.tanh()
    hy = torch.zeros_like(cy) if grad_hy is None else grad_hy
    cell = hy * o * (1 - squashed * squashed)
    cell = cell if grad_cy is None else cell + grad_cy
    parts = (
        cell * g * i * (1 - i),
        cell * cx * f * (1 - f),
        cell * i * (1 - g * g),
        hy * squashed * o * (1 - o),
    )
    total = torch.cat(parts, 1)
    return total, cell * f, total.sum(0) if has_bias else None


def gru_cell(
    igates: Tensor, hgates: Tensor, hx: Tensor, ibias: Tensor | None = None, hbias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Next hidden state and what the backward pass needs."""
    igates = igates if ibias is None else igates + ibias
    hgates = hgates if hbias is None else hgates + hbias
    ireset, iupdate, inew = igates.chunk(3, 1)
    hreset, hupdate, hnew = hgates.chunk(3, 1)
    reset, update = (ireset + hreset).sigmoid(), (iupdate + hupdate).sigmoid()
    new = (inew + reset * hnew).tanh()
    return new + update * (hx - new), torch.cat((reset, update, new, hx, hnew), 1)


def gru_cell_backward(
    grad_hy: Tensor, saved: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Gradients of both sets of gates, of the hidden state, and of both biases."""
    reset, update, new, hx, hnew = saved.chunk(5, 1)
    grad_update = grad_hy * (hx - new) * (1 - update) * update
    grad_new = grad_hy * (1 - update) * (1 - new * new)
    grad_reset = grad_new * hnew * (1 - reset) * reset
    inputs = torch.cat((grad_reset, grad_update, grad_new), 1)
    hidden = torch.cat((grad_reset, grad_update, grad_new * reset), 1)
    biases = (inputs.sum(0), hidden.sum(0)) if has_bias else (None, None)
    return inputs, hidden, grad_hy * update, *biases


# By the name of the aten operator.
CELLS: dict[str, Any] = {
    "_thnn_fused_lstm_cell": lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": lstm_cell_backward,
    "_thnn_fused_gru_cell": gru_cell,
    "_thnn_fused_gru_cell_backward": gru_cell_backward,
}
