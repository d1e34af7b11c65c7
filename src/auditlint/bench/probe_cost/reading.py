"""The size of a real model, read off its `nn.Module`. Needs torch."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from auditlint.bench import factories
from auditlint.bench.probe_cost.presets import Model
from auditlint.console import UsageError

# The names that configurations give to the same number; those of transformers come first.
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim")
_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_CHOSEN = ("num_experts_per_tok", "top_k", "num_experts_per_token")

_DTYPES = {
    "float64": "float64",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "float8_e4m3fn": "float8",
    "float8_e5m2": "float8",
    "int8": "int8",
}


class Given(NamedTuple):
    """What the user said of the model; it is believed more than what can be read. None: nothing was said."""

    active_params: int | None = None
    d_model: int | None = None
    layers: int | None = None


def read(name: str, given: Given) -> Model:
    """Return the size of the model that `name`, a factory as "module:factory", returns; the factory takes no arguments.

    Parameters are counted once each. Width and layers come from the model's `config`, else from its embedding and from
    the list of blocks that holds most of its parameters. Where a configuration says how many experts a token has, the
    parameters in modules called `experts` count in that proportion.

    Raises:
        UsageError: torch is missing, there is no such factory, it fails, or the model's size cannot be read off it.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("--model needs torch: pip install 'auditlint[runtime]'") from None
    # What the user's code prints is not to stand in the report.
    with contextlib.redirect_stdout(sys.stderr):
        module = factories.made(name)
    return _measured(name, module, given)


def _measured(name: str, module: Any, given: Given) -> Model:
    from torch.nn.parameter import UninitializedParameter

    parameters = dict(module.named_parameters())
    if any(isinstance(parameter, UninitializedParameter) for parameter in parameters.values()):
        raise UsageError(f"--model {name}: has parameters without a shape; run the model once in its factory")
    params = sum(parameter.numel() for parameter in parameters.values())
    if not params:
        raise UsageError(f"--model {name}: has no parameters")
    active, of_active = _active(parameters, params, module)
    width, of_width = _width(module)
    layers, of_layers = _layers(module)
    if given.active_params is not None:
        active, of_active = given.active_params, "--active-params"
    if given.d_model is not None:
        width, of_width = given.d_model, "--d-model"
    if given.layers is not None:
        layers, of_layers = given.layers, "--layers"
    if not width:
        raise UsageError(f"--model {name}: its width cannot be read off it; give --d-model")
    if not layers:
        raise UsageError(f"--model {name}: its layers cannot be read off it; give --layers")
    if active > params:
        raise UsageError(f"--active-params {active:,} is more than the model has ({params:,})")
    source = f"read off it: width from {of_width}, layers from {of_layers}" + (of_active and f", {of_active}")
    return Model(name, params, active, width, layers, source, _dtype(name, parameters))


def _dtype(name: str, parameters: dict[str, Any]) -> str:
    """The dtype that most parameters have."""
    sizes: Counter[str] = Counter()
    for parameter in parameters.values():
        sizes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    ((most, _),) = sizes.most_common(1)
    if most not in _DTYPES:
        # Several weights of 4 bits are packed into one number of these: numbers are not weights then.
        raise UsageError(f"--model {name}: weights of {most} cannot be counted; give --params and --dtype instead")
    return _DTYPES[most]


def _active(parameters: dict[str, Any], params: int, module: Any) -> tuple[int, str]:
    """The parameters at work for a token, and how that is known ("" where there are no experts)."""
    in_experts = sum(of.numel() for name, of in parameters.items() if "experts" in name.split("."))
    if not in_experts:
        return params, ""
    experts, chosen = _configured(module, _EXPERTS), _configured(module, _CHOSEN)
    if experts is None or chosen is None or chosen[1] > experts[1]:
        return params, "all experts counted (--active-params says otherwise)"
    return params - in_experts + in_experts * chosen[1] // experts[1], f"{chosen[1]} of {experts[1]} experts at work"


def _width(module: Any) -> tuple[int, str]:
    import torch

    if found := _configured(module, _WIDTHS):
        return found[1], found[0]
    embeddings = [
        (part.num_embeddings * part.embedding_dim, part.embedding_dim, name)
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Embedding)
    ]
    if not embeddings:
        return 0, ""
    _, width, name = max(embeddings)
    return width, f"the embedding `{name}`" if name else "the embedding"


def _layers(module: Any) -> tuple[int, str]:
    if found := _configured(module, _LAYERS):
        return found[1], found[0]
    # Experts and the like are lists too, inside of a block: the list of blocks holds more than any of them.
    lists = [(held, -len(name), len(blocks), name) for name, blocks, held in _lists(module)]
    if not lists:
        return 0, ""
    _, _, layers, name = max(lists)
    return layers, f"the blocks `{name}`" if name else "the blocks"


def _lists(module: Any) -> Iterator[tuple[str, list[Any], int]]:
    """The lists of modules of one class, with the parameters that they hold."""
    import torch

    for name, part in module.named_modules():
        if isinstance(part, (torch.nn.ModuleList, torch.nn.Sequential)) and len(part):
            blocks = list(part)
            held = sum(parameter.numel() for parameter in part.parameters())
            if held and len({type(block) for block in blocks}) == 1:
                yield name, blocks, held


def _configured(module: Any, names: tuple[str, ...]) -> tuple[str, int] | None:
    """The first of these names that the model's configuration has, with its number."""
    config = getattr(module, "config", None)
    for of in (config, getattr(config, "text_config", None)):  # models that see or hear have a language model within
        for name in names:
            value = of.get(name) if isinstance(of, dict) else getattr(of, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return f"config.{name}", value
    return None
