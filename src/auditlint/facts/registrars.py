"""Who makes a callable a hook: the registrars of torch and of the libraries that stand on it, as data.

Sources: torch 2.13 (`torch/nn/modules/module.py`, `torch/_tensor.py`, `torch/autograd/graph.py`,
`torch/optim/optimizer.py`,
`torch/nn/parallel/distributed.py`), TransformerLens 4 (`hook_points.py`), accelerate 1.15 (`hooks.py`).
"""

from __future__ import annotations

from typing import NamedTuple


class Registrar(NamedTuple):
    """A callable that takes a hook. `takes` lists (position, keyword, kind of hook) for each hook it takes."""

    takes: tuple[tuple[int, str, str], ...]


def _one(position: int, keyword: str, kind: str) -> Registrar:
    return Registrar(((position, keyword, kind),))


# By the last part of the name; the receiver of a method is not counted in positions.
REGISTRARS: dict[str, Registrar] = {
    "register_forward_hook": _one(0, "hook", "forward"),
    "register_forward_pre_hook": _one(0, "hook", "forward_pre"),
    "register_full_backward_hook": _one(0, "hook", "backward"),
    "register_full_backward_pre_hook": _one(0, "hook", "backward_pre"),
    "register_backward_hook": _one(0, "hook", "backward"),
    "register_module_forward_hook": _one(0, "hook", "forward"),
    "register_module_forward_pre_hook": _one(0, "hook", "forward_pre"),
    "register_module_full_backward_hook": _one(0, "hook", "backward"),
    "register_module_full_backward_pre_hook": _one(0, "hook", "backward_pre"),
    "register_module_backward_hook": _one(0, "hook", "backward"),
    "register_hook": _one(0, "hook", "tensor"),
    "register_prehook": _one(0, "fn", "node_pre"),
    "register_post_accumulate_grad_hook": _one(0, "hook", "parameter"),
    "register_multi_grad_hook": _one(1, "fn", "multi_grad"),
    "saved_tensors_hooks": Registrar(((0, "pack_hook", "pack"), (1, "unpack_hook", "unpack"))),
    "register_step_pre_hook": _one(0, "hook", "step"),
    "register_step_post_hook": _one(0, "hook", "step"),
    "register_optimizer_step_pre_hook": _one(0, "hook", "step"),
    "register_optimizer_step_post_hook": _one(0, "hook", "step"),
    "register_comm_hook": _one(1, "hook", "communication"),
    "queue_callback": _one(0, "callback", "callback"),
    # TransformerLens: model.add_hook(name, hook), hook_point.add_hook(hook).
    "add_hook": Registrar(((0, "hook", "activation"), (1, "hook", "activation"))),
    "add_perma_hook": Registrar(((0, "hook", "activation"), (1, "hook", "activation"))),
    "check_and_add_hook": _one(2, "hook", "activation"),
}

# Keywords that take lists of (name, hook), whatever the callable: `run_with_hooks(fwd_hooks=...)` and its like.
LIST_KEYWORDS: dict[str, str] = {"fwd_hooks": "activation", "bwd_hooks": "activation"}

# Names built at run time: `getattr(module, f"register_{kind}_hook")`.
DYNAMIC = r"register_\w*hook"

# Subclasses of these classes (by name) are hooks: method -> kind.
HOOK_CLASSES: dict[str, dict[str, str]] = {
    "ModelHook": {"pre_forward": "model_pre_forward", "post_forward": "model_post_forward"},
}

# The signature each kind of hook is called with. "kind+kwargs" is used with `with_kwargs=True`.
# module, tensor, tensors (a tuple of them), output (tensor, tuple or dict-like), kwargs, optimizer, unknown;
# a star takes whatever parameters are left.
SIGNATURES: dict[str, tuple[str, ...]] = {
    "forward": ("module", "tensors", "output"),
    "forward+kwargs": ("module", "tensors", "kwargs", "output"),
    "forward_pre": ("module", "tensors"),
    "forward_pre+kwargs": ("module", "tensors", "kwargs"),
    "backward": ("module", "tensors", "tensors"),
    "backward_pre": ("module", "tensors"),
    "tensor": ("tensor",),
    "node": ("tensors", "tensors"),
    "node_pre": ("tensors",),
    "parameter": ("tensor",),
    "multi_grad": ("tensors",),
    "pack": ("tensor",),
    "unpack": ("unknown",),
    "step": ("optimizer", "unknown", "unknown"),
    "communication": ("unknown", "bucket"),
    "callback": (),
    "activation": ("tensor", "unknown"),
    "model_pre_forward": ("module", "*tensors"),
    "model_post_forward": ("module", "output"),
}

# Kinds that the configuration may name for a project's own registrars.
KINDS = tuple(SIGNATURES)
