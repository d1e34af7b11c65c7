"""What the overhead study's hooks capture: norms of layers' outputs, and probabilities of routers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from auditlint.console import UsageError
from auditlint.defer.layer_buffers import first_tensor
from auditlint.defer.layer_captures import selected

Entry = dict[str, Any]  # "layer", and "norm" (a float) or "router" (a list of floats)
Data = dict[tuple[str, str], list[Any]]

# Compiled kernels add in another order. Values of the built-in model are below 100, and differ by less than 1e-4.
TOLERANCE = 1e-3


class Hook(NamedTuple):
    """One hook: which layer, by its name in the model, and what is captured there, "norm" or "router".

    `values` is how many numbers that are: 1 for a norm, the number of experts for a router.
    """

    layer: str
    what: str
    values: int = 1

    @property
    def statistic(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """What it captures of an output: float32, without dimensions for a norm, (experts,) for a router."""
        return norm if self.what == "norm" else router


def last(output: Any) -> torch.Tensor:
    """The last token's row, (width,), of a layer's output: of its first tensor, (..., width)."""
    tensor = first_tensor(output).detach()
    return tensor.reshape(-1, tensor.shape[-1])[-1]


def norm(output: Any) -> torch.Tensor:
    """The Euclidean norm of the last token's row."""
    return last(output).norm().float()


def router(output: Any) -> torch.Tensor:
    """The softmax of the last token's row."""
    return last(output).softmax(dim=-1, dtype=torch.float32)


def chosen(model: torch.nn.Module, layers: Sequence[str] = ()) -> tuple[Hook, ...]:
    """The hooks of a study, in the model's order: the norm of each layer's output, and each router's probabilities.

    Layers are those of the names or patterns given; else the members of the outermost ModuleLists, or the direct
    children. Routers are modules named `gate`, or with `router` in their names; there may be none.

    Raises:
        UsageError: there are no such layers.
    """
    try:
        blocks = selected(model, list(layers) or None, "norm")
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        routers = selected(model, None, "router")
    except ValueError:
        routers = {}
    names = [name for name, _ in model.named_modules()]
    hooks = [*(Hook(name, "norm") for name in blocks), *(Hook(name, "router") for name in routers)]
    return tuple(sorted(hooks, key=lambda hook: names.index(hook.layer)))


def by_hook(entries: Sequence[Entry]) -> Data:
    """The values of each hook in the order of the tokens, whatever order the entries are in among hooks."""
    data: Data = {}
    for entry in entries:
        what = "norm" if "norm" in entry else "router"
        data.setdefault((entry["layer"], what), []).append(entry[what])
    return data


def log_bytes(entries: Sequence[Entry]) -> int:
    """The size of the log as lines of JSON."""
    return sum(len(json.dumps(entry)) + 1 for entry in entries)


class Difference(NamedTuple):
    """How the audit data of an arm compares with the reference.

    `tokens_compared` is smaller than the number of tokens where the two generations part, as they may where rounding
    decides between two tokens. `largest` is the largest absolute difference of two values, NaN where something is
    missing. `tolerance` is what is allowed: 0 means bit for bit.
    """

    tokens_compared: int
    largest: float
    tolerance: float

    @property
    def equal(self) -> bool:
        """Whether the data are equal, within the tolerance."""
        return self.tokens_compared > 0 and self.largest <= self.tolerance


def compared(
    reference: Data, data: Data, expected: Sequence[int], generated: Sequence[int], tolerance: float
) -> Difference:
    """Compare an arm's data, and the tokens that it generated, with the reference's.

    Without a tolerance the generated tokens have to be the same, too.
    """
    same = next((i for i, (a, b) in enumerate(zip(expected, generated, strict=False)) if a != b), len(expected))
    count = min(same + 1, len(expected))  # up to there, the passes were given the same tokens
    if reference.keys() != data.keys() or (not tolerance and list(expected) != list(generated)):
        return Difference(count, math.nan, tolerance)
    differences = [_difference(reference[hook][:count], data[hook][:count]) for hook in reference]
    largest = math.nan if any(map(math.isnan, differences)) else max(differences, default=0.0)
    return Difference(count, largest, tolerance)


def worse(one: Difference | None, other: Difference) -> Difference:
    """Of two comparisons the one that speaks more against equality: fewer tokens, or values that differ more."""
    if one is None or math.isnan(other.largest):
        return other
    largest = one.largest if math.isnan(one.largest) else max(one.largest, other.largest)
    return Difference(min(one.tokens_compared, other.tokens_compared), largest, other.tolerance)


def _difference(expected: Any, found: Any) -> float:
    if isinstance(expected, list):
        if not isinstance(found, list) or len(expected) != len(found):
            return math.nan
        differences = [_difference(a, b) for a, b in zip(expected, found, strict=True)]
        return math.nan if any(map(math.isnan, differences)) else max(differences, default=0.0)
    # A model that computes NaN computes it in every arm.
    if expected == found or (math.isnan(expected) and math.isnan(found)):
        return 0.0
    return float(abs(expected - found))


def layers_of(model: torch.nn.Module, hooks: Sequence[Hook]) -> Mapping[Hook, torch.nn.Module]:
    """The modules that the hooks belong to, in `model`, which may be a copy of the one that they were chosen for."""
    named = dict(model.named_modules())
    return {hook: named[hook.layer] for hook in hooks}
