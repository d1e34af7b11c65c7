"""Models whose size is known.

Widths and layers are those of the published configurations. The parameters follow from these: they were counted on
the model classes of transformers 5.24.0, built with the dimensions of the configuration and no data, and
`tests/bench/probe_cost/test_presets.py` counts them again from the dimensions alone. All parameters count, embeddings
included, tied ones once; biases and norms too. At work for a token are all but the experts that the router leaves out.
Model cards count in other ways, and differ by a few percent: some leave the embeddings out.
"""

from __future__ import annotations

from typing import NamedTuple


class Model(NamedTuple):
    """A model's size: `params` in all, `active_params` at work for a token, the width `d_model`, and its `layers`.

    `dtype` is that of the weights where it is known, else "". `source` says where the numbers are from.
    """

    title: str
    params: int
    active_params: int
    d_model: int
    layers: int
    source: str
    dtype: str = ""


DEFAULT = "mistral-7b"


def _model(title: str, params: int, d_model: int, layers: int, config: str, active: int = 0) -> Model:
    return Model(title, params, active or params, d_model, layers, f"configuration of {config}")


PRESETS: dict[str, Model] = {
    "gpt2": _model("GPT-2", 124_439_808, 768, 12, "openai-community/gpt2"),
    "gpt2-xl": _model("GPT-2 XL", 1_557_611_200, 1600, 48, "openai-community/gpt2-xl"),
    "pythia-6.9b": _model("Pythia 6.9B", 6_857_302_016, 4096, 32, "EleutherAI/pythia-6.9b"),
    "llama-2-7b": _model("Llama 2 7B", 6_738_415_616, 4096, 32, "meta-llama/Llama-2-7b-hf"),
    "llama-3-8b": _model("Llama 3 8B", 8_030_261_248, 4096, 32, "meta-llama/Meta-Llama-3-8B"),
    "llama-3-70b": _model("Llama 3 70B", 70_553_706_496, 8192, 80, "meta-llama/Meta-Llama-3-70B"),
    "llama-3.1-405b": _model("Llama 3.1 405B", 405_853_388_800, 16384, 126, "meta-llama/Meta-Llama-3.1-405B"),
    "llama-3.2-1b": _model("Llama 3.2 1B", 1_235_814_400, 2048, 16, "meta-llama/Llama-3.2-1B"),
    "mistral-7b": _model("Mistral 7B", 7_241_732_096, 4096, 32, "mistralai/Mistral-7B-v0.1"),
    "mixtral-8x7b": _model(
        "Mixtral 8x7B", 46_702_792_704, 4096, 32, "mistralai/Mixtral-8x7B-v0.1", active=12_879_925_248
    ),
    "qwen2.5-0.5b": _model("Qwen2.5 0.5B", 494_032_768, 896, 24, "Qwen/Qwen2.5-0.5B"),
    "qwen2.5-7b": _model("Qwen2.5 7B", 7_615_616_512, 3584, 28, "Qwen/Qwen2.5-7B"),
    "qwen2.5-72b": _model("Qwen2.5 72B", 72_706_203_648, 8192, 80, "Qwen/Qwen2.5-72B"),
    "qwen3-8b": _model("Qwen3 8B", 8_190_735_360, 4096, 36, "Qwen/Qwen3-8B"),
    "qwen3-30b-a3b": _model("Qwen3 30B-A3B", 30_532_122_624, 2048, 48, "Qwen/Qwen3-30B-A3B", active=3_353_032_704),
    "gemma-2-2b": _model("Gemma 2 2B", 2_614_341_888, 2304, 26, "google/gemma-2-2b"),
    "gemma-2-9b": _model("Gemma 2 9B", 9_241_705_984, 3584, 42, "google/gemma-2-9b"),
    "gemma-2-27b": _model("Gemma 2 27B", 27_227_128_320, 4608, 46, "google/gemma-2-27b"),
    "phi-3-mini": _model("Phi-3 mini", 3_821_079_552, 3072, 32, "microsoft/Phi-3-mini-4k-instruct"),
    "phi-4": _model("Phi-4", 14_659_507_200, 5120, 40, "microsoft/phi-4"),
    "olmo-2-7b": _model("OLMo 2 7B", 7_298_617_344, 4096, 32, "allenai/OLMo-2-1124-7B"),
    "deepseek-v3": _model("DeepSeek-V3", 671_026_404_352, 7168, 61, "deepseek-ai/DeepSeek-V3", active=37_552_282_624),
}


class Dtype(NamedTuple):
    """A dtype of weights: bytes for each number, and the dtype that models with such weights compute in."""

    size: float
    activations: str


# Scales and zero points of quantised weights, a few percent of them, are not counted.
DTYPES: dict[str, Dtype] = {
    "float64": Dtype(8.0, "float64"),
    "float32": Dtype(4.0, "float32"),
    "bfloat16": Dtype(2.0, "bfloat16"),
    "float16": Dtype(2.0, "float16"),
    "float8": Dtype(1.0, "bfloat16"),
    "int8": Dtype(1.0, "bfloat16"),
    "int4": Dtype(0.5, "bfloat16"),
}
DEFAULT_DTYPE = "bfloat16"
PROBE_DTYPES = tuple(name for name, dtype in DTYPES.items() if dtype.activations == name)

# What can be asked for: (least, most). The most of each is far beyond what has been built.
LIMITS: dict[str, tuple[int, int]] = {
    "params": (1, 10**15),
    "d_model": (1, 10**6),
    "layers": (1, 10**4),
    "probes": (1, 10**6),
}
