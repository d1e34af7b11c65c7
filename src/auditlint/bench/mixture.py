"""The model that is measured unless the user brings one: a small mixture-of-experts transformer that decodes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Sizes(NamedTuple):
    """The dimensions of the model; the default has 30.4 million parameters, as the model of the first study had."""

    layers: int = 4
    width: int = 256
    heads: int = 4
    experts: int = 8
    chosen: int = 2
    hidden: int = 1536
    vocabulary: int = 8192


class Attention(nn.Module):
    """Causal self-attention of one new token over a cache that is allocated once."""

    def __init__(self, sizes: Sizes, positions: int) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.project = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.out = nn.Linear(sizes.width, sizes.width, bias=False)
        cache = torch.zeros(1, sizes.heads, positions, sizes.width // sizes.heads)
        self.register_buffer("keys", cache.clone(), persistent=False)
        self.register_buffer("values", cache.clone(), persistent=False)

    def forward(self, x: torch.Tensor, position: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Attend from `x`, (1, 1, width), to all positions that are `seen`, (1, 1, 1, positions)."""
        query, key, value = self.project(x).view(1, 3, self.heads, 1, -1).unbind(1)
        self.keys.index_copy_(2, position, key)
        self.values.index_copy_(2, position, value)
        mixed = functional.scaled_dot_product_attention(query, self.keys, self.values, attn_mask=seen)
        return self.out(mixed.view(1, 1, -1))


class Experts(nn.Module):
    """Experts of which a router chooses some for each token.

    All are computed, and those that were not chosen weigh nothing: so no shape depends on what the router says, and
    nobody has to wait for it.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.router = nn.Linear(sizes.width, sizes.experts, bias=False)
        self.up = nn.Linear(sizes.width, sizes.experts * sizes.hidden, bias=False)
        self.down = nn.Linear(sizes.experts * sizes.hidden, sizes.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 1, width) to (1, 1, width)."""
        logits = self.router(x)
        best, index = logits.topk(self.sizes.chosen, dim=-1)
        weights = torch.full_like(logits, -math.inf).scatter(-1, index, best).softmax(dim=-1)
        hidden = functional.gelu(self.up(x)).view(1, 1, self.sizes.experts, -1) * weights.unsqueeze(-1)
        return self.down(hidden.view(1, 1, -1))


class Block(nn.Module):
    """Attention and experts, each behind a normalisation and beside a residual."""

    def __init__(self, sizes: Sizes, positions: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(sizes.width)
        self.attention = Attention(sizes, positions)
        self.before_experts = nn.LayerNorm(sizes.width)
        self.experts = Experts(sizes)

    def forward(self, x: torch.Tensor, position: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """(1, 1, width) to (1, 1, width)."""
        x = x + self.attention(self.before_attention(x), position, seen)
        return x + self.experts(self.before_experts(x))


class MixtureOfExperts(nn.Module):
    """A decoder that takes one token a pass and keeps what it saw before; `reset()` makes it forget.

    Its weights are random, of a fixed seed. The position is counted on the device, and all memory is allocated once:
    nothing waits for the device, and a pass can be compiled or captured in a CUDA graph.
    """

    def __init__(self, sizes: Sizes, positions: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes, positions) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        self.register_buffer("places", _places(positions, sizes.width), persistent=False)
        self.register_buffer("numbers", torch.arange(positions), persistent=False)
        self.register_buffer("position", torch.zeros(1, dtype=torch.int64), persistent=False)

    def reset(self) -> None:
        """Begin a new sequence; what the caches hold is not seen any more."""
        self.position.zero_()

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        """Logits (1, 1, vocabulary) of what follows the new token, (1, 1) int64."""
        x = self.tokens(token) + self.places.index_select(0, self.position)
        seen = (self.numbers <= self.position).view(1, 1, 1, -1)
        for block in self.blocks:
            x = block(x, self.position, seen)
        self.position.add_(1)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


def _places(positions: int, width: int) -> torch.Tensor:
    """Sines and cosines of positions, (positions, width): Vaswani et al., Attention Is All You Need, section 3.5."""
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(positions).unsqueeze(1) * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).view(positions, width)


def mixture(sizes: Sizes, positions: int, seed: int = 0) -> MixtureOfExperts:
    """The model with random weights of that seed, on the CPU, for sequences of up to so many tokens."""
    state = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        model = MixtureOfExperts(sizes, positions)
        model.eval()
        return model
    finally:
        torch.set_rng_state(state)
