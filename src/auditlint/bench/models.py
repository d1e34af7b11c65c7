"""A model that is measured: letting it generate, and sharing its weights between the arms of a study."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from auditlint.bench.factories import one_line
from auditlint.console import UsageError
from auditlint.defer.layer_buffers import first_tensor

PROTOCOL = "a pass over token ids, (1, tokens), has to give logits, (1, tokens, vocabulary)"


class ModelFailed(UsageError):
    """A pass of the model that is measured raised something."""


def why(error: Exception) -> str:
    """Why a way to run a model is left out: what it raised, as one line."""
    return str(error) if isinstance(error, UsageError) else one_line(error)


def check_generates(name: str, model: torch.nn.Module, device: torch.device) -> None:
    """Let the model generate two tokens.

    Raises:
        UsageError: it cannot; the message says what it did instead.
    """
    try:
        with torch.no_grad():
            for _ in tokens(model, model, device, 2):
                pass
    except ModelFailed as error:
        raise UsageError(f"{name} cannot generate: {PROTOCOL}; {error}") from error
    except UsageError as error:
        raise UsageError(f"{name} cannot generate: {error}") from None


def tokens(model: torch.nn.Module, run: Callable[..., Any], device: torch.device, count: int) -> Iterator[torch.Tensor]:
    """Generate greedily from token 0, one pass a token; yields each new token, (1, 1) int64 on the device.

    `run` is the model, or what runs it compiled or captured. Nothing here waits for the device. A model that has a
    method `reset` keeps what it saw: it is reset, and then gets one token a pass. One whose output has a `cache`, or
    `past_key_values`, gets that back with the next token. Any other gets all tokens in each pass.

    Raises:
        ModelFailed: a pass raised something.
        UsageError: the model returns no logits.
    """
    keeps = callable(getattr(model, "reset", None))
    if keeps:
        model.reset()
    given = torch.zeros((1, 1), dtype=torch.int64, device=device)
    cache: dict[str, Any] = {}
    for number in range(1, count + 1):
        try:
            output = run(given, **cache)
        except Exception as error:
            raise ModelFailed(f"the model failed at token {number:,}: {one_line(error)}") from error
        token = logits(output)[:, -1:].argmax(dim=-1)
        yield token
        cache = _cache(output)
        given = token if keeps or cache else torch.cat((given, token), dim=1)


def _cache(output: Any) -> dict[str, Any]:
    """What an output has of a cache, by the name that the next pass takes it under."""
    for name in ("cache", "past_key_values"):  # the newer name comes first: asking for the other one may warn
        found = getattr(output, name, None)
        if found is not None:
            return {name: found}
    return {}


def logits(output: Any) -> torch.Tensor:
    """The logits in what a model returned, (1, tokens, vocabulary): itself, its `logits`, or the first of a tuple.

    Raises:
        UsageError: there are none.
    """
    found = getattr(output, "logits", output)
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        raise UsageError(f"{PROTOCOL}; it gave {type(found).__name__}")
    if found.dim() != 3 or found.shape[0] != 1:
        raise UsageError(f"{PROTOCOL}; it gave a tensor of shape {tuple(found.shape)}")
    return found


def widths(model: torch.nn.Module, device: torch.device, layers: Iterable[str]) -> dict[str, int]:
    """The last dimension of each layer's output, of its first tensor, from one pass.

    Raises:
        UsageError: a layer does not run, or returns no tensor of vectors, (..., tokens, width).
    """
    found: dict[str, int] = {}

    def note(layer: str) -> Callable[[torch.nn.Module, Any, Any], None]:
        def hook(module: torch.nn.Module, args: Any, output: Any) -> None:
            with contextlib.suppress(TypeError):
                tensor = first_tensor(output)
                if tensor.dim() > 1:
                    found[layer] = int(tensor.shape[-1])

        return hook

    copied = twin(model)
    for layer in layers:
        copied.get_submodule(layer).register_forward_hook(note(layer))
    with torch.no_grad():
        for _ in tokens(copied, copied, device, 1):
            pass
    for layer in layers:
        if layer not in found:
            raise UsageError(f"layer {layer} returns no vectors, (..., tokens, width): name others with --layers")
    return found


def twin(model: torch.nn.Module) -> torch.nn.Module:
    """A copy with hooks of its own, whose parameters and buffers are those of the model.

    Raises:
        UsageError: the model cannot be copied.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        return copy.deepcopy(model, shared)
    except Exception as error:
        raise UsageError(f"{type(model).__name__} cannot be copied for each arm: {one_line(error)}") from None


def parameter_count(model: torch.nn.Module) -> int:
    """How many parameters the model has; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
