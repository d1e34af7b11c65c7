"""The methods of tensors through which Python code waits, whatever the backend.

Each becomes a call of its own: its name is that of the operation, and what the device is asked for under it belongs to
it. Most waits would be seen without; the names would not.
"""

from __future__ import annotations

from typing import Any

from auditlint.facts.syncs import SYNCS
from auditlint.runtime.patches import Patches
from auditlint.runtime.watch import Watch

# Called by name, in the user's code.
EXPLICIT = ("item", "tolist", "cpu", "to", "numpy", "is_nonzero", "copy_", "cuda")
# Called by Python, on behalf of an operator, a built-in function or a library.
IMPLICIT = (
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "__complex__",
    "__contains__",
    "__format__",
    "__repr__",
    "__reduce_ex__",
    "__array__",
    "__dlpack__",
)


def install(watch: Watch, patches: Patches, owners: tuple[type, ...]) -> None:
    """Make the methods of `owners` (`torch.Tensor`, and subclasses that define some of them anew) calls that wait."""
    for owner in owners:
        for name in (*EXPLICIT, *IMPLICIT):
            if owner is owners[0] or name in vars(owner):
                _enter(watch, patches, owner, name)


def _enter(watch: Watch, patches: Patches, owner: type, name: str) -> None:
    op = f"Tensor.{name}"
    # An operation with several kinds (copies go both ways) leaves it to the backend to say which it was.
    kinds = {sync.kind for sync in SYNCS.get(op, ())}
    kind = kinds.pop() if len(kinds) == 1 else ""

    def make(original: Any) -> Any:
        return watch.entry(original, op, kind, implicit=name in IMPLICIT)

    patches.replace(owner, name, make)
