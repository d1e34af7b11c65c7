"""One small piece of code for every operation that `syncs.py` calls a sync, under each of its conditions.

The tests run these on the CPU, and `auditlint validate-rules` on the device at hand, to hold the table against counts.
The operations that wait are here, innocent ones in `innocent_cases.py`, and what Python itself does with a tensor is in
`host_cases.py`.

Pure data. The code is Python that runs after `SETUP`, in a namespace where `device` names the device; every tensor that
`SETUP` makes is there, except `host`, which is a copy of `x` on the host. What a case needs beside it, it makes in its
own `setup`, so that the code itself does nothing but the operation in question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

ON_DEVICES = ("cuda", "mps", "simulated")
ON_CUDA = ("cuda", "simulated")


class Case(NamedTuple):
    """A piece of code that uses one operation.

    `op` and `when` are the operation and the condition of the table; `when` is "" where the table says that nothing
    waits: the operation is innocent, or its condition is not met. `setup` runs before the code, uncounted, and `after`
    when it has run. `on` are the backends on which the code can run (empty: all of them), and `cannot` is why it can
    run on none. `refused` says who is refused with a TypeError instead of an answer: a "device" tensor (where torch
    asks for a copy on the host first), or "any" tensor.
    """

    op: str
    when: str
    code: str
    setup: str = ""
    after: str = ""
    on: tuple[str, ...] = ()
    cannot: str = ""
    refused: str = ""


SETUP = """
import bisect, cmath, collections, copy, functools, heapq, io, itertools, json, logging, math, operator, pickle, pprint
import random, struct, warnings, weakref
import torch, torch.distributions as D, torch.linalg as L, torch.nn.functional as F, torch.nn.utils as U
eye = torch.eye(3, device=device)
x = torch.rand(3, 3, device=device) + 3 * eye
spd = x @ x.T + eye
host = x.cpu()
row = x[0]
s, half = torch.tensor(1.5, device=device), torch.tensor(0.5, device=device)
zero, one, i = (torch.tensor(number, device=device) for number in (0, 1, 2))
v, sorter, lengths = (torch.tensor(numbers, device=device) for numbers in ([1, 2, 2, 5], [0, 1, 2], [3, 2, 1]))
m = x > 3
p = torch.nn.Parameter(torch.ones(3, device=device))
p.grad = torch.ones(3, device=device)
"""


def each(when: str, codes: Mapping[str, str], setup: str = "") -> tuple[Case, ...]:
    """A case for each operation of `codes`, which maps it to its code."""
    return tuple(Case(op, when, code, setup) for op, code in codes.items())


def same(prefix: str, names: str, call: str) -> dict[str, str]:
    """Operations that are called alike; in `call`, "%s" stands for the name."""
    return {f"{prefix}.{name}": call % name for name in names.split()}


def innocent(pairs: Iterable[tuple[str, str]], setup: str = "", on: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """Cases in which nothing waits; an operation may have several."""
    return tuple(Case(op, "", code, setup=setup, on=on) for op, code in pairs)


# Whenever it works on a device tensor.
ALWAYS = each(
    "always",
    {
        "Tensor.item": "s.item()",
        "Tensor.__float__": "float(s)",
        "Tensor.__int__": "int(i)",
        "Tensor.__complex__": "complex(s)",
        "Tensor.__index__": "[1, 2, 3][i]",
        "Tensor.__bool__": "bool(s)",
        "Tensor.__contains__": "s in x",
        "Tensor.cpu": "x.cpu()",
        "Tensor.tolist": "x.tolist()",
        "Tensor.__repr__": "repr(s)",
        "Tensor.__str__": "str(s)",
        "Tensor.__format__": "f'{s:.2f}'",
        "Tensor.__reduce_ex__": "pickle.dumps(x)",
        "torch.nonzero": "torch.nonzero(x)",
        "Tensor.nonzero": "x.nonzero()",
        "torch.argwhere": "torch.argwhere(x)",
        "Tensor.argwhere": "x.argwhere()",
        "torch.masked_select": "torch.masked_select(x, m)",
        "Tensor.masked_select": "x.masked_select(m)",
        "torch.combinations": "torch.combinations(v)",
        "torch.nn.utils.rnn.unpad_sequence": "U.rnn.unpad_sequence(x, lengths)",
        "Tensor.__getitem__[mask]": "x[m]",
        "Tensor.__getitem__[scalar]": "x[i]",
        "Tensor.__getitem__[slice]": "x[:i]",
        "Tensor.__getitem__[list]": "x[[0, 1]]",
        "Tensor.__setitem__[mask,number]": "x[m] = 1.0",
        "Tensor.to_sparse": "x.to_sparse()",
        "Tensor.to_sparse_coo": "x.to_sparse_coo()",
        "Tensor.masked_scatter": "x.masked_scatter(m, x)",
        "Tensor.masked_scatter_": "x.masked_scatter_(m, spd)",
        "torch.masked_scatter": "torch.masked_scatter(x, m, x)",
        "torch.unique": "torch.unique(v)",
        "Tensor.unique": "v.unique()",
        "torch.unique_consecutive": "torch.unique_consecutive(v)",
        "Tensor.unique_consecutive": "v.unique_consecutive()",
        "torch.bincount": "torch.bincount(v)",
        "Tensor.bincount": "v.bincount()",
        "torch.mode": "torch.mode(x)",
        "Tensor.mode": "x.mode()",
        "torch.cov": "torch.cov(x)",
        "Tensor.cov": "x.cov()",
        "torch.corrcoef": "torch.corrcoef(x)",
        "Tensor.corrcoef": "x.corrcoef()",
        "torch.equal": "torch.equal(x, x)",
        "Tensor.equal": "x.equal(x)",
        "torch.allclose": "torch.allclose(x, x)",
        "Tensor.allclose": "x.allclose(x)",
        "torch.is_nonzero": "torch.is_nonzero(s)",
        "Tensor.is_nonzero": "s.is_nonzero()",
        "torch.testing.assert_close": "torch.testing.assert_close(x, x + 1e-9)",
    },
)

CHECKED = each(
    "always",
    {
        **same(
            "torch.linalg",
            "cholesky cond eig eigh eigvals eigvalsh inv ldl_factor lu_factor matrix_exp matrix_rank pinv svd svdvals",
            "L.%s(spd)",
        ),
        **same("torch", "cholesky inverse pinverse svd matrix_exp", "torch.%s(spd)"),
        **same("Tensor", "cholesky inverse pinverse svd matrix_exp", "spd.%s()"),
        "torch.linalg.solve": "L.solve(spd, x)",
        "torch.linalg.lstsq": "L.lstsq(spd, x)",
        "torch.linalg.tensorsolve": "L.tensorsolve(spd, row)",
        "torch.cholesky_inverse": "torch.cholesky_inverse(eye)",
        "Tensor.cholesky_inverse": "eye.cholesky_inverse()",
        "torch.svd_lowrank": "torch.svd_lowrank(spd, 2)",
        "torch.pca_lowrank": "torch.pca_lowrank(spd, 2)",
    },
)
SHAPED = (
    Case(
        "torch.linalg.tensorinv", "always", "L.tensorinv(six, ind=2)", "six = torch.eye(6, device=device).view(2, 3, 6)"
    ),
    Case("torch.lobpcg", "always", "torch.lobpcg(nine, k=1)", "nine = torch.eye(9, device=device)"),
)

# Only under a condition: condition -> operation -> code.
CONDITIONAL: dict[str, dict[str, str]] = {
    "tensor:condition@0": {"torch._assert": "torch._assert(s > 0, '')"},
    "to_cpu": {"Tensor.to": "x.to('cpu')"},
    "to_device": {"Tensor.to": "host.to(device)"},
    "host_destination": {"Tensor.copy_": "host.copy_(x)", "torch._foreach_copy_": "torch._foreach_copy_([host], [x])"},
    "host_source": {"Tensor.copy_": "x.copy_(host)"},
    "device:data@0": {
        "torch.tensor": "torch.tensor([1.0], device=device)",
        "torch.as_tensor": "torch.as_tensor([1.0], device=device)",
        "torch.asarray": "torch.asarray([1.0], device=device)",
    },
    "host:data@1": {"Tensor.new_tensor": "x.new_tensor([1.0])"},
    "contains:data@0": {"torch.tensor": "torch.tensor([s, s])", "torch.as_tensor": "torch.as_tensor([s, s])"},
    "contains:data@1": {"Tensor.new_tensor": "x.new_tensor([s, s])"},
    "tensor:obj@0": {"torch.save": "torch.save(x, io.BytesIO())"},
    "one_argument": {"torch.where": "torch.where(m)"},
    "one_argument and missing:output_size@-": {"torch.repeat_interleave": "torch.repeat_interleave(v)"},
    "tensor:repeats@1 and missing:output_size@-": {
        "torch.repeat_interleave": "torch.repeat_interleave(v, v)",
        "Tensor.repeat_interleave": "v.repeat_interleave(v)",
    },
    "missing:min@2,max@3": {"torch.histc": "torch.histc(x, 5)", "Tensor.histc": "x.histc(5)"},
    "missing:num_classes@1": {"torch.nn.functional.one_hot": "F.one_hot(v)"},
    "tensor:sorter@-": {"torch.searchsorted": "torch.searchsorted(row, x, sorter=sorter)"},
    "tensor:std@1": {"torch.normal": "torch.normal(0.0, x)"},
    "true:check_errors@1": same(
        "torch.linalg", "inv_ex lu_factor_ex ldl_factor_ex cholesky_ex", "L.%s(spd, check_errors=True)"
    ),
    "true:check_errors@-": {"torch.linalg.solve_ex": "L.solve_ex(spd, x, check_errors=True)"},
    "true:error_if_nonfinite@3": {
        "torch.nn.utils.clip_grad_norm_": "U.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)"
    },
    "true:error_if_nonfinite@2": {"torch.nn.utils.get_total_norm": "U.get_total_norm([x], error_if_nonfinite=True)"},
    "missing:validate_args@-": {
        **same("torch.distributions", "Bernoulli Exponential Geometric Poisson", "D.%s(half.expand(3))"),
        **same(
            "torch.distributions",
            "Beta Cauchy Gamma Laplace LogNormal Normal Uniform",
            "D.%s(half.expand(3), s.expand(3))",
        ),
        **same("torch.distributions", "Categorical Dirichlet OneHotCategorical", "D.%s(x)"),
        "torch.distributions.Multinomial": "D.Multinomial(3, x)",
        "torch.distributions.MultivariateNormal": "D.MultivariateNormal(row, eye)",
    },
    "tensor:value@2": {
        "torch.masked_fill": "torch.masked_fill(x, m, s)",
        "Tensor.masked_fill": "x.masked_fill(m, s)",
        "Tensor.masked_fill_": "x.masked_fill_(m, s)",
        "torch.index_fill": "torch.index_fill(x, 0, one.view(1), s)",
        "Tensor.index_fill": "x.index_fill(0, one.view(1), s)",
        "Tensor.index_fill_": "x.index_fill_(0, one.view(1), s)",
    },
    "tensor:start@0": same("torch", "linspace logspace", "torch.%s(s, 2.0, 5)"),
    "tensor:end@1": same("torch", "linspace logspace", "torch.%s(0.0, s, 5)"),
    "tensor:start@0+": {"torch.arange": "torch.arange(i)", "torch.range": "torch.range(0, i)"},
    "tensor:size@0+": {
        **same("torch", "zeros ones empty rand randn eye tril_indices triu_indices", "torch.%s(i, 3)"),
        "torch.randint": "torch.randint(i, (2,))",
        "torch.randperm": "torch.randperm(i)",
        "torch.full": "torch.full((i,), 1.0)",
    },
    "tensor:fill_value@1": {"torch.full": "torch.full((2,), s)", "torch.full_like": "torch.full_like(x, s)"},
    "tensor:fill_value@2": {"Tensor.new_full": "x.new_full((2,), s)"},
    "tensor:size@1+": {
        "Tensor.new_zeros": "x.new_zeros(i)",
        "Tensor.new_ones": "x.new_ones((i, 2))",
        "Tensor.new_empty": "x.new_empty(i)",
        "Tensor.view": "x.view(one, 9)",
        "Tensor.reshape": "x.reshape(one, 9)",
        "torch.reshape": "torch.reshape(x, (one, 9))",
        "Tensor.expand": "s.expand(i)",
        "Tensor.repeat": "x.repeat(i, 1)",
        **same("Tensor", "roll topk kthvalue split chunk", "x.%s(i)"),
        **same("torch", "roll topk kthvalue split chunk", "torch.%s(x, i)"),
        "torch.nn.functional.pad": "F.pad(x, (i, 0))",
        "Tensor.select": "x.select(0, i)",
        "torch.select": "torch.select(x, 0, i)",
        "Tensor.narrow": "x.narrow(0, zero, 1)",
        "torch.narrow": "torch.narrow(x, 0, 0, i)",
    },
    "tensor:alpha@-": {
        **same("torch", "add sub", "torch.%s(x, x, alpha=s)"),
        **same("Tensor", "add add_ sub sub_", "x.%s(x, alpha=s)"),
        **same("Tensor", "index_add index_add_", "x.%s(0, one.view(1), eye[:1], alpha=s)"),
        "torch.index_add": "torch.index_add(x, 0, one.view(1), eye[:1], alpha=s)",
    },
    "tensor:value@-": {
        **same("torch", "addcmul addcdiv", "torch.%s(x, x, x, value=s)"),
        **same("Tensor", "addcmul addcmul_ addcdiv", "x.%s(x, x, value=s)"),
    },
    "tensor:max_norm@1": {"torch.nn.utils.clip_grad_norm_": "U.clip_grad_norm_([p], s)"},
    "tensor:p@1": {"torch.nn.functional.dropout": "F.dropout(x, half)", "Tensor.bernoulli_": "x.bernoulli_(eye)"},
}

TRANSFORM = "window = torch.hann_window(16, device=device)\nspectrum = torch.stft(torch.rand(100, device=device), 16,"
TRANSFORM += " window=window, return_complex=True)"
SPARSE = "at = torch.zeros(1, 2, dtype=torch.long, device=device)\nsparse = torch.sparse_coo_tensor(at, row[:2], (3,))"
SCALER = """
scaler = torch.amp.GradScaler(torch.device(device).type)
optimizer = torch.optim.SGD([p], lr=0.1)
scaler.scale(p.sum()).backward()
"""
EVENTS = """
module = torch.get_device_module(device)
first, second = module.Event(enable_timing=True), module.Event(enable_timing=True)
first.record()
x @ x
second.record()
"""
STREAMS = "module = torch.get_device_module(device)\nstream, other = module.Stream(), module.Stream()"
GROUP = """
group = 'gloo' if device == 'cpu' else 'nccl'
torch.distributed.init_process_group(group, store=torch.distributed.HashStore(), rank=0, world_size=1)
"""
UNGROUP = "torch.distributed.destroy_process_group()"

# Cases with tensors of their own, objects that only devices have, other libraries or several processes.
ELABORATE = (
    Case("Tensor.numpy", "always", "x.numpy()", refused="device"),
    Case("Tensor.__array__", "always", "x.__array__()", refused="device"),
    Case("Tensor.__setitem__[mask,tensor]", "always", "x[m] = chosen", "chosen = x[m]"),
    Case("torch.istft", "always", "torch.istft(spectrum, 16, window=window)", TRANSFORM),
    Case("Tensor.istft", "always", "spectrum.istft(16, window=window)", TRANSFORM),
    Case("Tensor.coalesce", "always", "sparse.coalesce()", SPARSE),
    *each(
        "always",
        {
            "GradScaler.get_scale": "scaler.get_scale()",
            "GradScaler.state_dict": "scaler.state_dict()",
            "GradScaler.step": "scaler.step(optimizer)",
        },
        setup=SCALER,
    ),
    Case("accelerate.utils.send_to_device", "to_cpu", "accelerate.utils.send_to_device(x, 'cpu')", "import accelerate"),
    Case(
        "accelerate.utils.operations.send_to_device",
        "to_cpu",
        "accelerate.utils.operations.send_to_device(x, 'cpu')",
        "import accelerate",
    ),
    Case("Tensor.cuda", "host:self@0 and missing:non_blocking@2", "host.cuda()", on=ON_CUDA),
    Case("Tensor.xpu", "host:self@0 and missing:non_blocking@2", "host.xpu()", cannot="needs an Intel GPU"),
    Case("torch.cuda.synchronize", "always", "torch.cuda.synchronize()", on=ON_CUDA),
    Case("torch.xpu.synchronize", "always", "torch.xpu.synchronize()", cannot="needs an Intel GPU"),
    Case("torch.mps.synchronize", "always", "torch.mps.synchronize()", on=("mps",)),
    Case("torch.accelerator.synchronize", "always", "torch.accelerator.synchronize()", on=ON_DEVICES),
    Case("torch.cuda.empty_cache", "always", "torch.cuda.empty_cache()", on=ON_CUDA),
    Case("torch.mps.empty_cache", "always", "torch.mps.empty_cache()", on=("mps",)),
    Case("torch.accelerator.empty_cache", "always", "torch.accelerator.empty_cache()", on=ON_DEVICES),
    Case("torch.xpu.empty_cache", "always", "torch.xpu.empty_cache()", cannot="needs an Intel GPU"),
    Case("Event.synchronize", "always", "second.synchronize()", EVENTS, on=ON_DEVICES),
    Case("Event.elapsed_time", "always", "first.elapsed_time(second)", EVENTS + "second.synchronize()", on=ON_DEVICES),
    Case("Stream.synchronize", "always", "stream.synchronize()", STREAMS, on=ON_CUDA),
    *(
        Case(f"torch.distributed.{name}", "always", f"torch.distributed.{name}{given}", GROUP, UNGROUP, on=on)
        for name, given, on in (
            ("barrier", "()", ("cuda",)),
            ("all_gather_object", "([None], {})", ("cuda", "cpu")),
            ("gather_object", "({}, [None])", ("cuda", "cpu")),
            ("broadcast_object_list", "([{}])", ("cuda",)),  # only receivers read
            ("scatter_object_list", "([None], [{}])", ("cuda", "cpu")),
        )
    ),
    Case(
        "torch.distributed.monitored_barrier",
        "always",
        "torch.distributed.monitored_barrier()",
        cannot="needs a gloo group of several processes",
    ),
    Case("torch.distributed.send_object_list", "always", "", cannot="needs two processes"),
    Case("torch.distributed.recv_object_list", "always", "", cannot="needs two processes"),
)

WAITS = (
    *ALWAYS,
    *CHECKED,
    *SHAPED,
    *(case for when, codes in CONDITIONAL.items() for case in each(when, codes)),
    *ELABORATE,
)
