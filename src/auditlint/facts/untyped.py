"""Return kinds that torch's stubs leave open, kept by hand from its documentation; only the generator reads this.

The value is a kind as in `returns.py`. A name listed here wins over the stubs, so a wrong or vague stub is mended here.
"""

from __future__ import annotations

# Tensor methods without a return annotation in the stub or in the class itself.
TENSOR_METHODS = {
    "tensor": "__deepcopy__ __getitem__ __iadd__ __idiv__ __ifloordiv__ __imod__ __imul__ __ipow__ __isub__ "
    "__itruediv__ __neg__ __pos__ __reversed__ __eq__ __ne__ cdouble cfloat index ipu mtia module_load norm resize "
    "resize_as share_memory_ stft to_sparse_coo detach clone contiguous to cpu cuda xpu",
    "tensors": "__iter__ lu lstsq eig symeig solve",
    "tensor|tensors": "unique unique_consecutive nonzero",
    # `t.type()` is a string, `t.type(dtype)` a tensor.
    "scalar|tensor": "type",
    "array": "__array__",
    "tensor|array": "__array_wrap__",
    "scalar": "__format__ __hash__ __len__ __repr__ __str__ __sizeof__ __dlpack_device__ const_data_ptr dim_order "
    "is_shared qscheme",
    "none": "__delitem__ __setitem__ __setstate__ backward reinforce",
    "list": "__dir__ tolist",
    "other": "__dlpack__ __reduce__ __reduce_ex__ __getstate__ register_hook register_post_accumulate_grad_hook "
    "storage untyped_storage record_stream",
}

# Attributes that only the running class has.
TENSOR_ATTRIBUTES = {
    "scalar": "is_xla name names volatile __cuda_array_interface__",
    "other": "grad_fn",
}

# torch.* functions written in Python or C without a stub.
TORCH = {
    "tensor": "block_diag cartesian_prod cdist chain_matmul einsum from_dlpack get_rng_state norm stft istft tensordot",
    "tensors": "broadcast_tensors eig lobpcg lstsq lu meshgrid pca_lowrank solve split split_copy "
    "split_with_sizes_copy svd_lowrank symeig unbind_copy unravel_index",
    "tensor|tensors": "atleast_1d atleast_2d atleast_3d unique unique_consecutive nonzero where",
    "scalar": "are_deterministic_algorithms_enabled broadcast_shapes compiled_with_cxx11_abi get_autocast_cpu_dtype "
    "get_autocast_dtype get_autocast_gpu_dtype get_default_device get_default_dtype get_device "
    "get_deterministic_debug_mode get_float32_matmul_precision get_num_threads get_num_interop_threads initial_seed "
    "is_anomaly_check_nan_enabled is_anomaly_enabled is_autocast_cache_enabled is_autocast_cpu_enabled "
    "is_autocast_enabled is_deterministic_algorithms_warn_only_enabled is_storage is_tensor is_warn_always_enabled "
    "seed sym_float sym_int sym_max sym_min sym_not sym_sqrt sym_sum sym_ite typename finfo iinfo device dtype Size",
    "none": "clear_autocast_cache save set_anomaly_enabled set_autocast_cache_enabled set_autocast_dtype "
    "set_autocast_enabled set_default_device set_default_dtype set_default_tensor_type set_deterministic_debug_mode "
    "set_float32_matmul_precision set_printoptions set_rng_state set_warn_always set_num_threads "
    "use_deterministic_algorithms",
    "other": "compile cond fork load manual_seed to_dlpack vmap wait while_loop Generator",
}

# torch.nn.functional names that are re-exported C functions or one of two implementations.
FUNCTIONAL = {
    "tensor": "adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear celu_ channel_shuffle conv1d conv2d "
    "conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity elu_ gelu hardshrink "
    "hardtanh_ leaky_relu_ linear logsigmoid native_channel_shuffle one_hot pad pairwise_distance pdist pixel_shuffle "
    "pixel_unshuffle prelu relu_ rrelu_ scaled_dot_product_attention scaled_grouped_mm scaled_mm grouped_mm selu_ "
    "softplus softshrink threshold_ interpolate upsample grid_sample affine_grid embedding embedding_bag ctc_loss "
    "fold unfold",
    "tensors": "multi_head_attention_forward",
    "tensor|tensors": "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d "
    "fractional_max_pool3d max_pool1d max_pool2d max_pool3d",
    "tensors ": "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices "
    "fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices max_pool1d_with_indices "
    "max_pool2d_with_indices max_pool3d_with_indices",
}

# Other namespaces, by full name.
FUNCTIONS = {
    "tensor": "torch.nn.Parameter torch.nn.Buffer torch.nn.parameter.Parameter torch.nn.parameter.Buffer "
    "torch.utils.dlpack.from_dlpack torch.sparse.addmm torch.sparse.log_softmax torch.sparse.mm "
    "torch.sparse.sampled_addmm torch.sparse.softmax torch.sparse.spdiags torch.sparse.spsolve "
    "torch.nested.to_padded_tensor torch.autograd.Variable torch.autograd.variable torch.Tensor",
    "tensors": "torch.autograd.grad torch.autograd.functional.hvp torch.autograd.functional.jvp "
    "torch.autograd.functional.vhp torch.autograd.functional.vjp torch.nn.utils.rnn.pack_padded_sequence "
    "torch.nn.utils.rnn.pack_sequence torch.nn.utils.rnn.pad_packed_sequence torch.nn.utils.rnn.PackedSequence",
    "tensor|tensors": "torch.autograd.functional.hessian torch.autograd.functional.jacobian",
    "scalar": "torch.cuda.is_bf16_supported torch.cuda.is_initialized torch.cuda.current_blas_handle "
    "torch.cuda.current_solver_handle torch.autograd.is_multithreading_enabled torch.distributed.get_debug_level "
    "torch.accelerator.current_accelerator",
    # Objects whose methods wait: see syncs.py.
    "event": "torch.Event torch.cuda.Event torch.cuda.ExternalEvent torch.mps.Event torch.mps.event.Event "
    "torch.xpu.Event",
    "stream": "torch.Stream torch.cuda.Stream torch.cuda.ExternalStream torch.xpu.Stream "
    "torch.accelerator.current_stream torch.cuda.current_stream torch.cuda.default_stream torch.xpu.current_stream "
    "torch.cuda.get_stream_from_external torch.xpu.get_stream_from_external",
    "scaler": "torch.GradScaler torch.amp.GradScaler torch.amp.grad_scaler.GradScaler torch.cuda.amp.GradScaler",
    "module": "torch.nn.utils.skip_init torch.nn.parallel.DistributedDataParallel torch.nn.DataParallel",
    # Collectives work in place and hand back a handle (or nothing); only the object variants read on the host.
    "other": "torch.distributed.all_gather torch.distributed.all_gather_coalesced "
    "torch.distributed.all_gather_into_tensor torch.distributed.all_reduce torch.distributed.all_reduce_coalesced "
    "torch.distributed.all_to_all torch.distributed.all_to_all_single torch.distributed.broadcast "
    "torch.distributed.gather torch.distributed.reduce torch.distributed.reduce_scatter "
    "torch.distributed.reduce_scatter_tensor torch.distributed.scatter torch.distributed.new_group "
    "torch.utils.checkpoint.checkpoint torch.utils.checkpoint.checkpoint_sequential torch.utils.dlpack.to_dlpack",
    "none": "torch.distributed.all_gather_object torch.distributed.barrier torch.distributed.broadcast_object_list "
    "torch.distributed.destroy_process_group torch.distributed.gather_object torch.distributed.monitored_barrier "
    "torch.distributed.recv_object_list torch.distributed.scatter_object_list torch.distributed.send_object_list "
    "torch.cuda.init torch.cuda.ipc_collect torch.cuda.set_stream torch.cuda.caching_allocator_delete "
    "torch.distributed.breakpoint torch.distributed.set_debug_level torch.distributed.set_debug_level_from_env",
}

# What calling an instance gives, where it is not one tensor.
MODULE_CALLS = {
    "tensors": "AdaptiveLogSoftmaxWithLoss GRU GRUBase LSTM LSTMCell MultiheadAttention RNN RNNBase",
    "tensor|tensors": "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d FractionalMaxPool2d FractionalMaxPool3d "
    "MaxPool1d MaxPool2d MaxPool3d Module Sequential DataParallel Container",
    # These hold modules (or parameters) and cannot be called.
    "other": "ModuleDict ModuleList ParameterDict ParameterList BufferDict",
}

MODULE_METHODS = {
    "tensor": "get_buffer get_parameter",
    "tensors": "buffers parameters",
    "named_tensors": "named_buffers named_parameters",
    "tensor_dict": "state_dict",
    "modules": "children modules",
    "named_modules": "named_children named_modules",
    "module": "apply bfloat16 cpu cuda double eval float get_submodule half ipu mtia requires_grad_ share_memory "
    "to to_empty train type xpu",
    "tensor|tensors": "__call__ forward",
    "scalar": "__repr__ extra_repr _get_name",
    "none": "add_module compile register_buffer register_module register_parameter set_extra_state set_submodule "
    "zero_grad __delattr__ __setattr__ __setstate__",
    "other": "__dir__ __getattr__ get_extra_state load_state_dict",
}

# Attributes that are set without a class annotation.
MODULE_ATTRIBUTES = {
    "tensor": "in_proj_bias in_proj_weight k_proj_weight num_batches_tracked q_proj_weight running_mean running_var "
    "v_proj_weight",
    "scalar": "training",
    "other": "_backward_hooks _backward_pre_hooks _forward_hooks _forward_pre_hooks _state_dict_hooks",
    "tensor_dict": "_buffers _parameters",
    "module_dict": "_modules",
}

# Annotated in a torch.nn class, but a submodule, a tensor or a method just as often in classes of other projects.
AMBIGUOUS_ATTRIBUTES = frozenset(
    ("alpha", "beta", "forward", "full", "head", "k", "mode", "name", "norm", "p", "size", "tail", "threshold", "value")
)
