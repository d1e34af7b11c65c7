"""What an audit log captures from a layer: three ready captures, and functions of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from auditlint.defer.capture import Capture
from auditlint.defer.deferred import defer
from auditlint.defer.layer_buffers import first_tensor, matching_layers

CaptureFunction = Callable[[torch.nn.Module, Any, Any], Any]
Layers = str | tuple[str, ...] | list[str] | Callable[[str, torch.nn.Module], bool] | None


def norm(module: torch.nn.Module, args: Any, output: Any) -> dict[str, Capture]:
    """`{"norm": float}`: the Euclidean norm of the layer's output, as `output.norm()`, in the output's dtype."""
    return {"norm": defer(first_tensor(output).detach().norm(), fresh=True)}


def router(module: torch.nn.Module, args: Any, output: Any) -> dict[str, Capture]:
    """`{"probabilities": list}`: softmax in float32 over the last dimension of a router's logits, of their shape."""
    logits = first_tensor(output).detach()
    return {"probabilities": defer(torch.softmax(logits, dim=-1, dtype=torch.float32), "list", fresh=True)}


def log_probs(module: torch.nn.Module, args: Any, output: Any) -> dict[str, Capture]:
    """`{"log_probs": list}`: log-softmax in float32 of a specialist's logits at the last position.

    Logits of shape (batch, positions, vocabulary) give (batch, vocabulary), those of (batch, vocabulary) their own.
    """
    logits = first_tensor(output).detach()
    last = logits[:, -1] if logits.dim() > 2 else logits
    return {"log_probs": defer(torch.log_softmax(last, dim=-1, dtype=torch.float32), "list", fresh=True)}


CAPTURES: Mapping[str, CaptureFunction] = {"norm": norm, "router": router, "log_probs": log_probs}


def capture_function(capture: str | CaptureFunction) -> CaptureFunction:
    """The function that `capture` names, or is. Raises ValueError for an unknown name."""
    if callable(capture):
        return capture
    if capture not in CAPTURES:
        raise ValueError(f"capture is {', '.join(map(repr, CAPTURES))} or a function, not {capture!r}")
    return CAPTURES[capture]


def selected(model: torch.nn.Module, layers: Layers, capture: str | CaptureFunction) -> dict[str, torch.nn.Module]:
    """The layers to capture from, by name, in the model's order.

    `layers` is a name or pattern ("blocks.*"), several of them, or a predicate of name and module. None means, for
    "router", the modules whose own name is "gate" or contains "router"; else the members of the model's outermost
    ModuleLists, or its direct children if it has none. Raises ValueError when there is no such layer.
    """
    named = dict(getattr(model, "_orig_mod", model).named_modules())  # a compiled model: its layers keep their names
    if callable(layers):
        found = {name: module for name, module in named.items() if name and layers(name, module)}
    elif layers is not None:
        return matching_layers(model, layers)
    elif capture == "router":
        found = {name: module for name, module in named.items() if _is_router(name)}
    else:
        found = {name: module for name, module in named.items() if name and _is_block(name, named)}
    if not found:
        raise ValueError(f"no layer of {type(model).__name__} is selected; its layers are {_some(named)}")
    return found


def _is_router(name: str) -> bool:
    own = name.rpartition(".")[2].lower()
    return own == "gate" or "router" in own


def _is_block(name: str, named: dict[str, torch.nn.Module]) -> bool:
    lists = [other for other, module in named.items() if isinstance(module, torch.nn.ModuleList)]
    outermost = [one for one in lists if not any(one.startswith(f"{other}.") for other in lists)]
    parent = name.rpartition(".")[0]
    return parent in outermost if outermost else not parent


def _some(named: dict[str, torch.nn.Module]) -> str:
    names = [name for name in named if name]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none"
