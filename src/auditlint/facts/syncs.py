"""Which torch operations make the host wait for the device, when, and how that is known.

`SYNCS` maps an operation to its ways of waiting. Names are canonical: "Tensor.item" is the method of a tensor,
"torch.nonzero" the function, "torch.linalg.inv" and so on; "Event.synchronize", "Stream.synchronize" and
"GradScaler.get_scale" are methods of the objects that `returns.py` calls "event", "stream" and "scaler";
"Tensor.__getitem__[mask]" is indexing with what the brackets name. What Python itself does with a tensor
(`float(t)`, `max(a, b)`, `print(t)`) is in `host.py`.

`when` is one condition, or several joined by " and ". A position counts the tensor that a method is called on as 0, so
that `torch.f(x, a)` and `x.f(a)` are described alike; NAME is the keyword.

    always                 whenever the operation works on a device tensor (or at all, for kind "synchronize")
    one_argument           only one positional argument and no keyword that matters
    missing:NAME@POS,...   none of these arguments is given (a position of "-" is keyword only)
    true:NAME@POS          the argument is given and is not literally False
    tensor:NAME@POS        the argument is a device tensor; for "serialise" also a module or container that holds some
    tensor:NAME@POS+       that positional argument, any later one, or an element of one that is a tuple or list
    contains:NAME@POS      the argument is a list or tuple that holds device tensors
    host:NAME@POS          the argument is a number, list, array or host tensor
    device:NAME@POS        the same, and a device that is not the host is named
    to_cpu                 the destination is the host, and the copy is not told non_blocking=True
    to_device              the tensor is on the host, the destination is not, and not non_blocking=True
    host_destination       the tensor written to is on the host, the source is not, and not non_blocking=True
    host_source            the tensor written to is on a device, the source is on the host, and not non_blocking=True

`cuda` and `mps` say on which backend that holds. The linter goes by `reported`: what holds on MPS alone is there for
the runtime check and for readers, unless the operation names MPS (`torch.mps.synchronize`).

Evidence: "exp" was counted on torch 2.13.0+cpu as reads of one element by the host (`aten::_local_scalar_dense`) or as
calls of an operator with a data-dependent shape, and the tests count again; "bin" is read off the call sites of the
waiting functions in the official 2.13.0 binaries (CUDA 13 Linux, macOS arm64); "doc" is stated in torch's
documentation; "src" is read in torch's 2.13.0 source.
"""

from __future__ import annotations

from typing import NamedTuple


class Sync(NamedTuple):
    """One way in which an operation makes the host wait; `named` says that the operation names MPS itself."""

    kind: str
    when: str
    cuda: bool
    mps: bool
    evidence: str
    named: bool = False

    @property
    def reported(self) -> bool:
        """Whether the linter reports it: it waits on CUDA, or whoever wrote it asked for MPS by name."""
        return self.cuda or self.named


def row(kind: str, when: str, backends: str, evidence: str, names: str) -> tuple[Sync, str]:
    """One fact that holds for several operations; `backends` is "cuda", "mps", "cuda mps" or "named mps"."""
    return Sync(kind, when, "cuda" in backends, "mps" in backends, evidence, "named" in backends), names


BOTH = "cuda mps"
SCALAR = "exp: one read by aten::_local_scalar_dense; bin: which copies and waits on CUDA and MPS"
ARGUMENT = "exp: torch's argument parser reads a tensor given for a number, by aten::_local_scalar_dense"
CHECKED = "doc: synchronises with the CPU on CUDA; exp: reads the factorisation's status"
COPY = "bin: a blocking copy between host and device waits in copy_kernel_cuda and in mps_copy_"
DISTRIBUTION = "exp: validate_args (the default) tests each parameter with `if not valid.all()`"

ROWS: tuple[tuple[Sync, str], ...] = (
    # One value.
    row("item", "always", BOTH, SCALAR, "Tensor.item"),
    row("cast", "always", BOTH, SCALAR, "Tensor.__float__ Tensor.__int__ Tensor.__complex__ Tensor.__index__"),
    row("truth", "always", BOTH, SCALAR, "Tensor.__bool__ Tensor.__contains__"),
    row("truth", "tensor:condition@0", BOTH, "exp: runs `assert condition`", "torch._assert"),
    row(
        "item", "always", "cuda mps", "doc: get_scale incurs a CPU-GPU sync; src: scale.item()", "GradScaler.get_scale"
    ),
    row("item", "always", BOTH, "src: calls get_scale", "GradScaler.state_dict"),
    row("item", "always", BOTH, "src: found_inf.item() for each device, except fused optimizers", "GradScaler.step"),
    # Whole tensors to the host.
    row("cpu", "always", BOTH, COPY, "Tensor.cpu"),
    row("cpu", "to_cpu", BOTH, COPY, "Tensor.to"),
    row("cpu", "host_destination", BOTH, COPY, "Tensor.copy_ torch._foreach_copy_"),
    row(
        "cpu",
        "to_cpu",
        BOTH,
        "src: accelerate 1.15 utils/operations.py calls tensor.to(device), non_blocking=False unless told",
        "accelerate.utils.send_to_device accelerate.utils.operations.send_to_device",
    ),
    row(
        "tolist",
        "always",
        BOTH,
        "bin: tolist of a device tensor is a blocking copy to the host",
        "Tensor.tolist",
    ),
    row(
        "numpy",
        "always",
        BOTH,
        "src: numpy() of a device tensor raises TypeError, so the host copy that it asks for is the sync",
        "Tensor.numpy Tensor.__array__",
    ),
    row("format", "always", BOTH, "exp: 8 reads for one element, more for more", "Tensor.__repr__ Tensor.__str__"),
    row("format", "always", BOTH, "exp: one read for a tensor without dimensions, else as repr", "Tensor.__format__"),
    row("serialise", "tensor:obj@0", BOTH, "src: torch/serialization.py copies each storage to the host", "torch.save"),
    row("serialise", "always", BOTH, "src: a storage is pickled through torch.save", "Tensor.__reduce_ex__"),
    # Told to wait.
    row(
        "synchronize",
        "always",
        "cuda",
        "doc: waits for all kernels of the device",
        "torch.cuda.synchronize torch.xpu.synchronize",
    ),
    row("synchronize", "always", "named mps", "bin: MPSStream::synchronize", "torch.mps.synchronize"),
    row("synchronize", "always", BOTH, "doc: waits for the current device", "torch.accelerator.synchronize"),
    row(
        "synchronize",
        "always",
        BOTH,
        "doc: blocks the host until the work is done",
        "Stream.synchronize Event.synchronize",
    ),
    row("synchronize", "always", "mps", "bin: waits on MPS; on CUDA it does not wait", "Event.elapsed_time"),
    row(
        "synchronize",
        "always",
        BOTH,
        "bin: frees cached blocks, which waits (cudaFree; release_cached_buffers)",
        "torch.cuda.empty_cache torch.mps.empty_cache torch.accelerator.empty_cache torch.xpu.empty_cache",
    ),
    row(
        "synchronize",
        "always",
        "cuda",
        "doc: the NCCL group blocks the CPU thread until the barrier completes",
        "torch.distributed.barrier torch.distributed.monitored_barrier",
    ),
    row(
        "serialise",
        "always",
        "cuda",
        "src: distributed_c10d.py sends the pickled sizes through tensors and reads them with item()",
        "torch.distributed.all_gather_object torch.distributed.gather_object torch.distributed.broadcast_object_list "
        "torch.distributed.scatter_object_list torch.distributed.recv_object_list torch.distributed.send_object_list",
    ),
    # The shape of the result depends on the values.
    row(
        "dynamic",
        "always",
        BOTH,
        "doc: nonzero synchronises host and device; exp: reached; bin: memcpy_and_sync, MPS item",
        "torch.nonzero Tensor.nonzero torch.argwhere Tensor.argwhere torch.masked_select Tensor.masked_select "
        "torch.nn.utils.rnn.unpad_sequence Tensor.__getitem__[mask] Tensor.__setitem__[mask,tensor] "
        "Tensor.to_sparse Tensor.to_sparse_coo torch.linalg.matrix_exp torch.matrix_exp Tensor.matrix_exp",
    ),
    row("dynamic", "one_argument", BOTH, "exp: is nonzero", "torch.where"),
    row("dynamic", "always", BOTH, "exp: reaches nonzero up to torch 2.13; from 2.14 on no wait", "torch.combinations"),
    row("dynamic", "always", "mps", "src: on CUDA a number becomes masked_fill", "Tensor.__setitem__[mask,number]"),
    row(
        "dynamic",
        "always",
        "mps",
        "bin: through nonzero",
        "Tensor.masked_scatter Tensor.masked_scatter_ torch.masked_scatter",
    ),
    row(
        "dynamic",
        "always",
        BOTH,
        "exp: an operator whose result's size depends on the data; bin: reads it on the host on CUDA and MPS",
        "torch.unique Tensor.unique torch.unique_consecutive Tensor.unique_consecutive torch.bincount Tensor.bincount",
    ),
    row(
        "dynamic",
        "missing:min@2,max@3",
        "cuda",
        "exp: reads the range when none is given; bin: CUDA likewise",
        "torch.histc Tensor.histc",
    ),
    row(
        "dynamic",
        "tensor:repeats@1 and missing:output_size@-",
        BOTH,
        "doc: output_size avoids the synchronisation; exp; bin",
        "torch.repeat_interleave Tensor.repeat_interleave",
    ),
    row(
        "dynamic",
        "one_argument and missing:output_size@-",
        BOTH,
        "exp: torch.repeat_interleave(repeats) sums the repeats on the host",
        "torch.repeat_interleave",
    ),
    row(
        "dynamic",
        "missing:num_classes@1",
        BOTH,
        "src: Onehot.cpp reads max() when num_classes is not given, and on a device only then",
        "torch.nn.functional.one_hot",
    ),
    row("dynamic", "always", "cuda", "bin: counts the distinct entries with thrust, which waits", "Tensor.coalesce"),
    row("dynamic", "always", "cuda", "bin: mode waits in memcpy_and_sync", "torch.mode Tensor.mode"),
    row("dynamic", "tensor:sorter@-", "cuda", "exp: reads the sorter's bounds; bin", "torch.searchsorted"),
    row(
        "dynamic",
        "always",
        BOTH,
        "exp: a check in the shared code calls aten::equal, which bin shows reading on CUDA and MPS",
        "torch.cov Tensor.cov torch.corrcoef Tensor.corrcoef torch.istft Tensor.istft",
    ),
    row("dynamic", "tensor:std@1", BOTH, "doc: synchronises when std is a CUDA tensor; exp: 2 reads", "torch.normal"),
    # The status of a factorisation is read on the host.
    row(
        "dynamic",
        "always",
        BOTH,
        CHECKED,
        "torch.linalg.cholesky torch.linalg.cond torch.linalg.eig torch.linalg.eigh torch.linalg.eigvals "
        "torch.linalg.eigvalsh torch.linalg.inv torch.linalg.ldl_factor torch.linalg.lu_factor "
        "torch.linalg.matrix_rank torch.linalg.pinv torch.linalg.solve torch.linalg.svd torch.linalg.svdvals "
        "torch.cholesky Tensor.cholesky torch.inverse Tensor.inverse torch.pinverse Tensor.pinverse torch.svd "
        "Tensor.svd",
    ),
    row(
        "dynamic",
        "always",
        BOTH,
        "exp: calls one of the checked torch.linalg functions or reads their status",
        "torch.linalg.lstsq torch.linalg.tensorinv torch.linalg.tensorsolve torch.cholesky_inverse "
        "Tensor.cholesky_inverse torch.svd_lowrank torch.pca_lowrank torch.lobpcg",
    ),
    row(
        "dynamic",
        "true:check_errors@1",
        BOTH,
        "doc: synchronises only with check_errors=True; exp",
        "torch.linalg.inv_ex torch.linalg.lu_factor_ex torch.linalg.ldl_factor_ex torch.linalg.cholesky_ex",
    ),
    row(
        "dynamic", "true:check_errors@-", BOTH, "doc: synchronises only with check_errors=True", "torch.linalg.solve_ex"
    ),
    row(
        "dynamic",
        "true:error_if_nonfinite@3",
        BOTH,
        "exp: `if error_if_nonfinite and ...`",
        "torch.nn.utils.clip_grad_norm_",
    ),
    row("dynamic", "true:error_if_nonfinite@2", BOTH, "exp", "torch.nn.utils.get_total_norm"),
    row(
        "dynamic",
        "missing:validate_args@-",
        BOTH,
        DISTRIBUTION,
        "torch.distributions.Bernoulli torch.distributions.Beta torch.distributions.Categorical "
        "torch.distributions.Cauchy torch.distributions.Dirichlet torch.distributions.Exponential "
        "torch.distributions.Gamma torch.distributions.Geometric torch.distributions.Laplace "
        "torch.distributions.LogNormal torch.distributions.Multinomial torch.distributions.MultivariateNormal "
        "torch.distributions.Normal torch.distributions.OneHotCategorical torch.distributions.Poisson "
        "torch.distributions.Uniform",
    ),
    # The answer is a Python bool.
    row("compare", "always", BOTH, "exp: aten::equal; bin: item inside it", "torch.equal Tensor.equal"),
    row("compare", "always", BOTH, SCALAR, "torch.allclose Tensor.allclose torch.is_nonzero Tensor.is_nonzero"),
    row("compare", "always", BOTH, "exp: compares with all() and tests the result", "torch.testing.assert_close"),
    # A tensor where a number is wanted.
    row(
        "cast",
        "tensor:value@2",
        BOTH,
        "exp: value.item(); bin: CUDA and MPS likewise",
        "torch.masked_fill Tensor.masked_fill Tensor.masked_fill_ torch.index_fill Tensor.index_fill "
        "Tensor.index_fill_",
    ),
    row("cast", "tensor:start@0", BOTH, "exp: start and end are read", "torch.linspace torch.logspace"),
    row("cast", "tensor:end@1", BOTH, "exp: start and end are read", "torch.linspace torch.logspace"),
    row("cast", "tensor:start@0+", BOTH, ARGUMENT, "torch.arange torch.range"),
    row(
        "cast",
        "tensor:size@0+",
        BOTH,
        ARGUMENT,
        "torch.zeros torch.ones torch.empty torch.rand torch.randn torch.randint torch.randperm torch.eye torch.full "
        "torch.tril_indices torch.triu_indices",
    ),
    row("cast", "tensor:fill_value@1", BOTH, ARGUMENT, "torch.full torch.full_like"),
    row("cast", "tensor:fill_value@2", BOTH, ARGUMENT, "Tensor.new_full"),
    row(
        "cast",
        "tensor:size@1+",
        BOTH,
        ARGUMENT,
        "Tensor.new_zeros Tensor.new_ones Tensor.new_empty Tensor.view Tensor.reshape torch.reshape Tensor.expand "
        "Tensor.repeat Tensor.roll torch.roll Tensor.topk torch.topk Tensor.kthvalue torch.kthvalue Tensor.split "
        "torch.split Tensor.chunk torch.chunk torch.nn.functional.pad Tensor.select torch.select Tensor.narrow "
        "torch.narrow",
    ),
    row(
        "cast",
        "tensor:alpha@-",
        BOTH,
        ARGUMENT,
        "torch.add Tensor.add Tensor.add_ torch.sub Tensor.sub Tensor.sub_ Tensor.index_add Tensor.index_add_ "
        "torch.index_add",
    ),
    row(
        "cast",
        "tensor:value@-",
        BOTH,
        ARGUMENT,
        "torch.addcmul Tensor.addcmul Tensor.addcmul_ torch.addcdiv Tensor.addcdiv",
    ),
    row("cast", "tensor:max_norm@1", BOTH, "exp: float(max_norm)", "torch.nn.utils.clip_grad_norm_"),
    row("cast", "tensor:p@1", BOTH, "exp: `if p < 0.0 or p > 1.0`", "torch.nn.functional.dropout"),
    row("cast", "tensor:p@1", "mps", "bin: MPS reads the probability", "Tensor.bernoulli_"),
    row("cast", "contains:data@0", BOTH, "exp: one read for each tensor in the list", "torch.tensor torch.as_tensor"),
    row("cast", "contains:data@1", BOTH, "exp: one read for each tensor in the list", "Tensor.new_tensor"),
    row(
        "index", "always", BOTH, "exp: a tensor without dimensions is read as an integer", "Tensor.__getitem__[scalar]"
    ),
    row("index", "always", BOTH, "exp: a slice bound is read through __index__", "Tensor.__getitem__[slice]"),
    # Host data to the device.
    row("h2d", "device:data@0", BOTH, COPY, "torch.tensor torch.as_tensor torch.asarray"),
    row("h2d", "host:data@1", BOTH, COPY, "Tensor.new_tensor"),
    row("h2d", "to_device", BOTH, COPY, "Tensor.to"),
    row("h2d", "host:self@0 and missing:non_blocking@2", BOTH, COPY, "Tensor.cuda Tensor.xpu"),
    row("h2d", "host_source", BOTH, COPY, "Tensor.copy_"),
    row("h2d", "always", BOTH, "src: a list or range index becomes a host tensor; " + COPY, "Tensor.__getitem__[list]"),
)


def table(rows: tuple[tuple[Sync, str], ...]) -> dict[str, tuple[Sync, ...]]:
    """Operation -> all its ways of waiting, in the order of the rows."""
    found: dict[str, tuple[Sync, ...]] = {}
    for sync, names in rows:
        for name in names.split():
            found[name] = (*found.get(name, ()), sync)
    return found


SYNCS = table(ROWS)

# Looked at, and no wait: on a device these queue work, or answer from what the host knows already.
# The tests count those that run on the CPU; the CPU reads values in a few where a device does not ("std").
HARMLESS = (
    "Tensor.detach Tensor.clone Tensor.numel Tensor.size Tensor.dim Tensor.any Tensor.all Tensor.isnan "
    "Tensor.isfinite Tensor.count_nonzero Tensor.masked_fill Tensor.where Tensor.index_select Tensor.gather "
    "Tensor.scatter_add Tensor.argmax Tensor.sort Tensor.argsort Tensor.cumsum Tensor.median Tensor.norm Tensor.mean "
    "Tensor.std Tensor.var Tensor.is_contiguous Tensor.data_ptr Tensor.fill_ Tensor.clamp Tensor.pow "
    "Tensor.__deepcopy__ Tensor.__hash__ Tensor.__len__ Tensor.__iter__ Tensor.__eq__ torch.stack torch.cat "
    "torch.isclose torch.isin torch.multinomial torch.bernoulli torch.logdet torch.linalg.det torch.linalg.slogdet "
    "torch.linalg.qr torch.linalg.norm torch.linalg.inv_ex torch.linalg.solve_triangular "
    "torch.nn.functional.cross_entropy torch.nn.functional.nll_loss torch.nn.utils.clip_grad_value_ "
    "torch.nn.utils.parameters_to_vector torch.nn.utils.rnn.pad_sequence torch._assert_async "
    "torch.cuda.memory_allocated torch.cuda.max_memory_allocated torch.cuda.memory_reserved "
    "torch.cuda.max_memory_reserved torch.cuda.reset_peak_memory_stats torch.cuda.is_available "
    "torch.cuda.current_device torch.cuda.current_stream torch.manual_seed GradScaler.scale GradScaler.update "
    "GradScaler.unscale_ Event.record Event.query Event.wait Stream.wait_stream Stream.wait_event Stream.record_event "
    "Stream.query"
)
NOT_SYNCS = frozenset(HARMLESS.split())
