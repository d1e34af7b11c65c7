"""`torch.autocast("sim")`: the operators that CUDA's autocast runs in lower precision, and those it runs in float32.

The lists are those of torch's documentation of autocast ("CUDA Ops that can autocast to float16 / to float32").
"""

from __future__ import annotations

from typing import Any

import torch

from auditlint.runtime.simulation.tensor import NAME, SimTensor

LOWER = (
    "_convolution _convolution.deprecated conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d.input "
    "conv_transpose3d.input convolution prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm "
    "bmm chain_matmul linalg_multi_dot _thnn_fused_lstm_cell _thnn_fused_gru_cell lstm_cell gru_cell rnn_tanh_cell "
    "rnn_relu_cell scaled_dot_product_attention"
)
FLOAT32 = (
    "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar "
    "pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm group_norm cosine_similarity poisson_nll_loss "
    "cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss "
    "margin_ranking_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss "
    "binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp prod prod.dim_int softmax.int log_softmax.int "
    "cumprod cumsum linalg_vector_norm linalg_matrix_norm sum sum.dim_IntList norm.Scalar norm.ScalarOpt_dim"
)


def register_autocast(library: torch.library.Library) -> None:
    """Register the conversions; everything else runs in the precision it is given."""
    lower = LOWER.split()
    for name in (*lower, *FLOAT32.split()):
        packet, _, overload = name.partition(".")
        func = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
        if func is not None:
            library.impl(name, _cast(func, name in lower), "AutocastPrivateUse1")


def _cast(func: Any, lower: bool) -> Any:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype(NAME) if lower else torch.float32
        with torch.autocast(NAME, enabled=False):
            return func(*(_to(arg, dtype) for arg in args), **{name: _to(arg, dtype) for name, arg in kwargs.items()})

    return kernel


def _to(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, SimTensor):
        convert = value.is_floating_point() and value.dtype not in (dtype, torch.float64)
        return value.to(dtype) if convert else value
    if isinstance(value, (list, tuple)):
        return type(value)(_to(item, dtype) for item in value)
    return value
