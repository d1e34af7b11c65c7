"""Which kernels of a device read something back by themselves, as data.

Only kernels that a device implements as a whole: what torch's shared code reads (allclose, one_hot, cov, the backward
of prod, ...) passes `aten::_local_scalar_dense` or one of these, and is seen there. CUDA is the model.
Evidence is that of facts/syncs.py: the call sites in the official binaries and torch's documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from auditlint.runtime.simulation.tensor import SimTensor, by_mask

Arguments = dict[str, Any]  # by the schema's names, defaults included


class Wait(NamedTuple):
    """A kernel waits `count(arguments)` times; `kind` is one of the facts' kinds."""

    kind: str
    count: Callable[[Arguments], int]
    op: str = ""  # "": the kernel's own name


def always(arguments: Arguments) -> int:
    return 1


def given(*names: str) -> Callable[[Arguments], int]:
    """One wait for each of these arguments that is a device tensor."""
    return lambda arguments: sum(isinstance(arguments.get(name), SimTensor) for name in names)


def masks(arguments: Arguments) -> int:
    """One wait for each mask among the indices, unless a host number is written through a single mask."""
    indices = [index for index in arguments["indices"] if index is not None]
    found = sum(by_mask(index) and isinstance(index, SimTensor) for index in indices)
    value = arguments.get("values")
    filled = value is not None and not isinstance(value, SimTensor) and value.numel() == 1
    return 0 if filled and found == len(indices) == 1 and not arguments["accumulate"] else found


def checked(arguments: Arguments) -> int:
    return int(bool(arguments["check_errors"]))


def two_unless(name: str) -> Callable[[Arguments], int]:
    return lambda arguments: 0 if arguments[name] is not None else 2


WAITS: dict[str, Wait] = {
    "index": Wait("dynamic", masks, "aten::nonzero"),
    "index_put": Wait("dynamic", masks, "aten::nonzero"),
    "index_put_": Wait("dynamic", masks, "aten::nonzero"),
    "_index_put_impl_": Wait("dynamic", masks, "aten::nonzero"),
    "_unsafe_index": Wait("dynamic", masks, "aten::nonzero"),
    "_unsafe_index_put": Wait("dynamic", masks, "aten::nonzero"),
    "repeat_interleave.Tensor": Wait("dynamic", two_unless("output_size")),
    "histc": Wait("dynamic", lambda arguments: 2 * (arguments["min"] == arguments["max"])),
    "searchsorted": Wait("dynamic", lambda arguments: 2 * (arguments["sorter"] is not None)),
    "normal.Tensor_Tensor": Wait("dynamic", lambda arguments: 2),
    "normal.float_Tensor": Wait("dynamic", lambda arguments: 2),
    "bincount": Wait("dynamic", lambda arguments: 2),
    "masked_fill_.Tensor": Wait("cast", given("value")),
    "index_fill_.int_Tensor": Wait("cast", given("value")),
    "equal": Wait("compare", always),
    "_linalg_check_errors": Wait("dynamic", always),
}
_ALWAYS = (
    "nonzero masked_select _unique _unique2 unique_dim unique_consecutive unique_dim_consecutive mode linalg_eig "
    "linalg_eigvals _linalg_eigvals _linalg_eigh _linalg_svd linalg_lstsq linalg_matrix_exp cholesky cholesky_inverse "
    "_coalesce _to_sparse _ctc_loss.Tensor"
)
_CHECKED = "linalg_inv_ex linalg_cholesky_ex linalg_lu_factor_ex linalg_ldl_factor_ex _linalg_solve_ex"
WAITS.update(dict.fromkeys(_ALWAYS.split(), Wait("dynamic", always)))
WAITS.update(dict.fromkeys(_CHECKED.split(), Wait("dynamic", checked)))
