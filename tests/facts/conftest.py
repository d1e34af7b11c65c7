"""A counter of what torch's CPU build reads on the host, as a fixture."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
def counted() -> Callable[[str, str], Counter[str]]:
    """Runs the statements, then counts what the expression reads: `counted("import torch", "torch.ones(1).item()")`."""
    pytest.importorskip("torch", reason="counts what torch does")

    def run(statements: str, expression: str) -> Counter[str]:
        names: dict[str, object] = {}
        eval(compile(statements, "<names>", "exec"), names)
        with reads() as counter:
            eval(expression, names)
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
