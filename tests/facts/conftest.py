"""A counter of what torch's CPU build reads on the host, as a fixture."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from auditlint.facts.cases import SETUP, Case

# Reads of one value, and operators whose result has a size that only the data decides.
KERNELS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "bincount",
    "histc",
)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Counter[str]]:
    """Runs a case on the CPU and counts what its code reads; what it raises comes out."""
    torch = pytest.importorskip("torch", reason="counts what torch does")
    # torch's compiler, once used in a process, turns the validation of distributions off.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)

    def run(case: Case) -> Counter[str]:
        names: dict[str, object] = {"device": "cpu"}
        exec(SETUP + case.setup, names)
        try:
            with reads() as counter:
                exec(case.code, names)
        finally:
            exec(case.after, names)
        return counter

    return run


@contextlib.contextmanager
def reads() -> Iterator[Counter[str]]:
    """A counter that fills while the block runs; the kernels are put back afterwards."""
    import torch

    counter: Counter[str] = Counter()
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in KERNELS:
            kernel = torch.library.get_kernel(f"aten::{name}", "CPU")

            def count(keys: Any, *args: Any, _kernel: Any = kernel, _name: str = name, **kwargs: Any) -> Any:
                counter[_name] += 1
                # A Python number that torch wrapped arrives as that number.
                first, *rest = args
                if not isinstance(first, torch.Tensor):
                    first = torch.as_tensor(first)
                return _kernel.call_boxed(keys, first, *rest, **kwargs)

            library.impl(name, count, "CPU", with_keyset=True)
    try:
        yield counter
    finally:
        library._destroy()
