"""One small piece of code for every operation that `syncs.py` calls innocent, and for syncs without their condition.

How to read them says `cases.py`.
"""

from __future__ import annotations

from auditlint.facts.cases import EVENTS, ON_CUDA, ON_DEVICES, SCALER, STREAMS, Case, innocent, same

# The operations that wait, without what makes them wait.
WITHOUT = innocent(
    (
        ("Tensor.to", "x.to('cpu', non_blocking=True)"),
        ("Tensor.to", "x.to(torch.float16)"),
        ("Tensor.copy_", "x.copy_(spd)"),
        ("torch.as_tensor", "torch.as_tensor(x)"),
        ("torch.tensor", "torch.tensor([1.0])"),
        ("torch.tensor", "torch.tensor(s)"),
        ("Tensor.new_tensor", "x.new_tensor(s)"),
        ("torch.where", "torch.where(m, x, x)"),
        ("torch.histc", "torch.histc(x, 5, 0, 1)"),
        ("Tensor.repeat_interleave", "v.repeat_interleave(2)"),
        ("Tensor.repeat_interleave", "v.repeat_interleave(v, output_size=10)"),
        ("torch.nn.functional.one_hot", "F.one_hot(v, 6)"),
        ("torch.normal", "torch.normal(x, 1.0)"),
        *same("torch.linalg", "cholesky_ex lu_factor_ex ldl_factor_ex", "L.%s(spd)").items(),
        ("torch.linalg.solve_ex", "L.solve_ex(spd, x)"),
        ("torch.nn.utils.get_total_norm", "U.get_total_norm([x])"),
        ("torch.nn.utils.clip_grad_norm_", "U.clip_grad_norm_([p], 1.0)"),
        ("torch.distributions.Normal", "D.Normal(s, s, validate_args=False)"),
        ("Tensor.masked_fill", "x.masked_fill(m, 0.0)"),
        ("Tensor.__setitem__", "x[0] = s"),
        ("Tensor.__getitem__", "x[1]"),
        ("Tensor.__getitem__", "x[one.view(1)]"),
        ("torch.tensor_split", "torch.tensor_split(x, 2)"),
        ("torch.zeros", "torch.zeros(2, 3)"),
        ("torch.full", "torch.full((2,), 1.0)"),
        ("Tensor.topk", "x.topk(2)"),
        ("torch.add", "torch.add(x, s)"),
        ("torch.linspace", "torch.linspace(0.0, 1.0, 5, device=device)"),
    )
)
PINNED = (
    Case("Tensor.to", "", "pinned.to(device, non_blocking=True)", "pinned = host.pin_memory()", on=ON_CUDA),
    Case("Tensor.cuda", "", "pinned.cuda(non_blocking=True)", "pinned = host.pin_memory()", on=ON_CUDA),
    Case("Tensor.copy_", "", "pinned.copy_(x, non_blocking=True)", "pinned = host.pin_memory()", on=ON_CUDA),
    Case("Tensor.copy_", "", "x.copy_(pinned, non_blocking=True)", "pinned = host.pin_memory()", on=ON_CUDA),
    Case("Tensor.cuda", "", "x.cuda()", on=ON_CUDA),
)

# The operations of NOT_SYNCS.
HARMLESS = (
    innocent(
        (
            *same(
                "Tensor",
                "detach clone numel size dim any all isnan isfinite count_nonzero argmax sort argsort median norm mean "
                "std var is_contiguous data_ptr",
                "x.%s()",
            ).items(),
            ("Tensor.where", "x.where(m, x)"),
            ("Tensor.index_select", "x.index_select(0, one.view(1))"),
            ("Tensor.gather", "x.gather(1, x.argsort(1))"),
            ("Tensor.scatter_add", "x.scatter_add(0, x.argsort(0), x)"),
            ("Tensor.cumsum", "x.cumsum(0)"),
            ("Tensor.fill_", "x.fill_(s)"),
            ("Tensor.clamp", "x.clamp(s)"),
            ("Tensor.pow", "x.pow(s)"),
            ("Tensor.__deepcopy__", "copy.deepcopy(x)"),
            ("Tensor.__hash__", "hash(x)"),
            ("Tensor.__len__", "len(x)"),
            ("Tensor.__iter__", "list(iter(x))"),
            ("Tensor.__eq__", "x == s"),
            ("torch.stack", "torch.stack([s, s])"),
            ("torch.cat", "torch.cat([x, x])"),
            ("torch.isclose", "torch.isclose(x, x)"),
            ("torch.isin", "torch.isin(x, x)"),
            ("torch.multinomial", "torch.multinomial(x, 1)"),
            ("torch.bernoulli", "torch.bernoulli(eye)"),
            ("torch.logdet", "torch.logdet(spd)"),
            *same("torch.linalg", "det slogdet qr norm inv_ex", "L.%s(spd)").items(),
            ("torch.linalg.solve_triangular", "L.solve_triangular(spd, x, upper=True)"),
            *same("torch.nn.functional", "cross_entropy nll_loss", "F.%s(x, sorter)").items(),
            ("torch.nn.utils.clip_grad_value_", "U.clip_grad_value_([p], 1.0)"),
            ("torch.nn.utils.parameters_to_vector", "U.parameters_to_vector([p])"),
            ("torch.nn.utils.rnn.pad_sequence", "U.rnn.pad_sequence([x, x])"),
            ("torch._assert_async", "torch._assert_async(s > 0)"),
            ("torch.manual_seed", "torch.manual_seed(0)"),
        )
    )
    + innocent(
        same(
            "torch.cuda",
            "memory_allocated max_memory_allocated memory_reserved max_memory_reserved reset_peak_memory_stats "
            "is_available current_device current_stream",
            "torch.cuda.%s()",
        ).items(),
        on=ON_CUDA,
    )
    + innocent((("GradScaler.scale", "scaler.scale(s)"), ("GradScaler.unscale_", "scaler.unscale_(optimizer)")), SCALER)
    + innocent((("GradScaler.update", "scaler.update()"),), SCALER + "scaler.step(optimizer)")
    + innocent((("Event.record", "second.record()"), ("Event.query", "second.query()")), EVENTS, on=ON_DEVICES)
    + innocent((("Event.wait", "second.wait()"),), EVENTS, on=ON_DEVICES)
    + innocent(
        (
            ("Stream.wait_stream", "stream.wait_stream(other)"),
            ("Stream.record_event", "stream.record_event()"),
            ("Stream.wait_event", "stream.wait_event(other.record_event())"),
            ("Stream.query", "stream.query()"),
        ),
        STREAMS,
        on=ON_CUDA,
    )
)

INNOCENT = (*WITHOUT, *PINNED, *HARMLESS)
