"""The sizes of known models follow from the dimensions in their configurations."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from auditlint.bench.probe_cost.presets import DEFAULT, DEFAULT_DTYPE, DTYPES, LIMITS, PRESETS, PROBE_DTYPES


class Decoder(NamedTuple):
    """Dimensions of a decoder with rotary embeddings, root-mean-square norms and a gated feed-forward part.

    `norms` are vectors of the model's width in a block, `head_norms` vectors of a head's. `wide_norms` are those of all
    queries and of all keys. `experts` have feed-forward parts of their own, `chosen` of them work for a token.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    head: int = 0
    tied: bool = False
    norms: int = 2
    head_norms: int = 0
    wide_norms: bool = False
    query_bias: bool = False
    experts: int = 0
    chosen: int = 0

    def params(self, experts: int) -> int:
        head = self.head or self.width // self.heads
        queries, keys = self.heads * head, self.kv_heads * head
        attention = 2 * self.width * (queries + keys)
        attention += queries + 2 * keys if self.query_bias else 0
        attention += self.head_norms * head + (queries + keys if self.wide_norms else 0)
        feed_forward = 3 * self.width * self.hidden * max(experts, 1)
        router = self.width * self.experts
        block = attention + feed_forward + router + self.norms * self.width
        return self.vocabulary * self.width * (1 if self.tied else 2) + self.layers * block + self.width


# From the config.json that each model is published with.
DECODERS = {
    "llama-2-7b": Decoder(32000, 4096, 32, 32, 32, 11008),
    "llama-3-8b": Decoder(128256, 4096, 32, 32, 8, 14336),
    "llama-3-70b": Decoder(128256, 8192, 80, 64, 8, 28672),
    "llama-3.1-405b": Decoder(128256, 16384, 126, 128, 8, 53248),
    "llama-3.2-1b": Decoder(128256, 2048, 16, 32, 8, 8192, tied=True),
    "mistral-7b": Decoder(32000, 4096, 32, 32, 8, 14336),
    "mixtral-8x7b": Decoder(32000, 4096, 32, 32, 8, 14336, experts=8, chosen=2),
    "qwen2.5-0.5b": Decoder(151936, 896, 24, 14, 2, 4864, tied=True, query_bias=True),
    "qwen2.5-7b": Decoder(152064, 3584, 28, 28, 4, 18944, query_bias=True),
    "qwen2.5-72b": Decoder(152064, 8192, 80, 64, 8, 29568, query_bias=True),
    "qwen3-8b": Decoder(151936, 4096, 36, 32, 8, 12288, head=128, head_norms=2),
    "qwen3-30b-a3b": Decoder(151936, 2048, 48, 32, 4, 768, head=128, head_norms=2, experts=128, chosen=8),
    "gemma-2-2b": Decoder(256000, 2304, 26, 8, 4, 9216, head=256, tied=True, norms=4),
    "gemma-2-9b": Decoder(256000, 3584, 42, 16, 8, 14336, head=256, tied=True, norms=4),
    "gemma-2-27b": Decoder(256000, 4608, 46, 32, 16, 36864, head=128, tied=True, norms=4),
    "phi-3-mini": Decoder(32064, 3072, 32, 32, 32, 8192),
    "phi-4": Decoder(100352, 5120, 40, 40, 10, 17920),
    "olmo-2-7b": Decoder(100352, 4096, 32, 32, 32, 11008, wide_norms=True),
}


def gpt2(width: int, layers: int) -> int:
    """Learned positions, biases everywhere, layer norms with two vectors, the output tied to the embedding."""
    block = 12 * width**2 + 13 * width
    return (50257 + 1024) * width + layers * block + 2 * width


def pythia(vocabulary: int, width: int, layers: int) -> int:
    """As GPT-2, with rotary positions and an output of its own, which has no bias."""
    return 2 * vocabulary * width + layers * (12 * width**2 + 13 * width) + 2 * width


def deepseek_v3(experts: int) -> int:
    """Latent attention; three dense blocks, then mixtures with one shared expert; not what predicts further tokens."""
    width, heads, queries, keys, rope, value = 7168, 128, 1536, 512, 64, 128
    attention = width * queries + queries + queries * heads * (128 + rope)
    attention += width * (keys + rope) + keys + keys * heads * (128 + value) + heads * value * width
    dense = 3 * width * 18432
    mixture = 3 * width * 2048 * (experts + 1) + 256 * width
    return 2 * 129280 * width + 61 * (attention + 2 * width) + 3 * dense + 58 * mixture + width


OTHERS = {
    "gpt2": (gpt2(768, 12),) * 2,
    "gpt2-xl": (gpt2(1600, 48),) * 2,
    "pythia-6.9b": (pythia(50432, 4096, 32),) * 2,
    "deepseek-v3": (deepseek_v3(256), deepseek_v3(8)),
}


@pytest.mark.parametrize("name", DECODERS)
def test_the_parameters_of_a_decoder_follow_from_its_dimensions(name: str) -> None:
    of, preset = DECODERS[name], PRESETS[name]
    assert (preset.d_model, preset.layers) == (of.width, of.layers)
    assert preset.params == of.params(of.experts)
    assert preset.active_params == of.params(of.chosen)


@pytest.mark.parametrize("name", OTHERS)
def test_the_parameters_of_other_models_follow_from_theirs(name: str) -> None:
    assert (PRESETS[name].params, PRESETS[name].active_params) == OTHERS[name]


def test_every_preset_is_counted_again_and_has_a_source() -> None:
    assert set(PRESETS) == set(DECODERS) | set(OTHERS)
    assert DEFAULT in PRESETS
    for name, preset in PRESETS.items():
        assert preset.source.startswith("configuration of ") and "/" in preset.source, name
        assert name == name.lower()
        for value, limit in ((preset.params, "params"), (preset.d_model, "d_model"), (preset.layers, "layers")):
            assert LIMITS[limit][0] <= value <= LIMITS[limit][1]


def test_titles_are_told_apart() -> None:
    assert len({preset.title for preset in PRESETS.values()}) == len(PRESETS)


def test_models_compute_in_a_dtype_that_probes_can_have() -> None:
    assert {dtype.activations for dtype in DTYPES.values()} <= set(PROBE_DTYPES)
    assert DEFAULT_DTYPE in DTYPES


def test_sizes_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="compares with torch's own sizes")
    for name, dtype in DTYPES.items():
        known = getattr(torch, {"float8": "float8_e4m3fn", "int4": ""}.get(name, name), None)
        assert known is None or known.itemsize == dtype.size, name
