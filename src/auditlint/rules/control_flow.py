"""AUD201 to AUD206: Python's control flow, comparisons, indices and data meet a tensor."""

from __future__ import annotations

from auditlint.rules.reads import WHY
from auditlint.rules.rule import Rule

BRANCH = (
    "`--unsafe-fixes` defers a test whose body only prints or logs. Others are not rewritten. A check that only "
    "counts or reports can be computed on the device and read after the pass. A branch that decides what the hook "
    "returns has to become arithmetic (`torch.where`, a product with the mask), which computes both sides: the same "
    "values, but not the same exceptions and side effects."
)

TRUTH = Rule(
    code="AUD201",
    name="truth-of-tensor",
    kind="truth",
    summary="A hook decides by the truth of a tensor",
    what=(
        "A tensor as the condition of `if`, `while`, `assert`, a conditional expression or a comprehension, as an "
        "operand of `and`, `or` and `not`, between the parts of a chained comparison (`a < t < b`), and on the right "
        "of `in`."
    ),
    why=WHY + " The device cannot run ahead of a branch that Python has not taken yet.",
    safety=BRANCH,
    does="asks a tensor for its truth, so that the host waits for the device",
    instead="compute the flag on the device, with torch.where or logical operators, and read it after the pass",
    instances=(
        ("assert", "use torch._assert_async, or keep the flag and check it after the pass"),
        ("not", "use torch.logical_not and keep the tensor"),
    ),
    before="""
if output.isnan().any():  # AUD201
    bad.append(module)
""",
    after="""
flags.append(output.detach().isnan().any())
""",
    invalid=(
        "assert torch.isfinite(output).all()  # AUD201",
        "while output.max() > 1:  # AUD201\n    output = output / 2",
        "scale = 2 if output.mean() > 0 else 1  # AUD201",
        "flag = not output.any()  # AUD201",
        "ok = 0 < output.max() < 1  # AUD201",
    ),
    valid=(
        "if output is None:\n    return",
        "if isinstance(output, tuple) and len(output) > 1:\n    output = output[0]",
        "if output.shape[0] > 1 or output.requires_grad:\n    seen.append(module)",
        "output = torch.where(output.mean() > 0, output, -output)",
        "if args:\n    seen.append(module)",
    ),
)

BUILTIN = Rule(
    code="AUD202",
    name="builtin-comparison",
    kind="builtin",
    summary="A hook lets a Python builtin compare tensors",
    what=(
        "`min`, `max`, `sorted`, `any` and `all` over tensors, `t in [..]`, and methods of lists that compare their "
        "elements. `sum` adds on the device and is not reported, nor is anything with a `key` function."
    ),
    why=WHY + " Each comparison is one such read, so `max` over n tensors waits n - 1 times.",
    safety=BRANCH,
    does="compares tensors on the host, with one wait for each comparison",
    instead="compare with torch and keep the tensor",
    instances=(
        ("min", "use torch.minimum, or .min() of the stacked tensors"),
        ("max", "use torch.maximum, or .max() of the stacked tensors"),
        ("sorted", "use torch.sort of the stacked tensors"),
        ("any", "use .any() of the stacked tensors"),
        ("all", "use .all() of the stacked tensors"),
        ("in", "use (a == b).any(), or compare with `is`"),
    ),
    before="""
largest = max(output.max(), args[0].max())  # AUD202
""",
    after="""
largest = torch.maximum(output.max(), args[0].max())
""",
    invalid=(
        "order = sorted([output.mean(), output.std()])  # AUD202",
        "bad = any(t.isnan().any() for t in args)  # AUD202",
        "known = output.sum() in [args[0].sum(), args[0].mean()]  # AUD202",
    ),
    valid=(
        "total = sum([output.mean(), output.std()])",
        "widest = max(args, key=len)",
        "rows = max(output.shape[0], 1)",
        "known = id(module) in seen",
        "found = any(t is output for t in args)",
    ),
)

DYNAMIC = Rule(
    code="AUD203",
    name="data-dependent-shape",
    kind="dynamic",
    summary="A hook calls an operation that reads the data on the host to go on",
    what=(
        "Operations whose result has a size that only the data decides (`nonzero`, `masked_select`, `x[mask]`, "
        "`unique`, one-argument `where`, `bincount`, `repeat_interleave` without `output_size`), and operations that "
        "check a status on the host (`torch.linalg.inv`, `solve`, `svd`). `x[mask] = number` is not one of them on "
        "CUDA."
    ),
    why=WHY + " Here torch itself asks: it cannot allocate the result, or return, before the device has answered.",
    safety=(
        "Not rewritten. A masked reduction gives the same value as a reduction of the selected "
        "elements (`(x * mask).sum()` for `x[mask].sum()`) unless the rest holds NaN or infinity; use `torch.where` "
        "then. The `_ex` functions of `torch.linalg` return the status instead of raising."
    ),
    does="reads the device's data on the host to go on",
    instead="use a form with a fixed shape, such as torch.where or a masked reduction",
    instances=(
        ("repeat_interleave", "pass output_size"),
        ("one_hot", "pass num_classes"),
        ("histc", "pass min and max"),
        ("bincount", "use scatter_add_ into a tensor of known size"),
        ("linalg.inv", "use torch.linalg.inv_ex, which leaves the check to you"),
        ("linalg.solve", "use torch.linalg.solve_ex, which leaves the check to you"),
        ("linalg.cholesky", "use torch.linalg.cholesky_ex, which leaves the check to you"),
        ("linalg.lu_factor", "use torch.linalg.lu_factor_ex, which leaves the check to you"),
        ("linalg.ldl_factor", "use torch.linalg.ldl_factor_ex, which leaves the check to you"),
        ("linalg", "keep its input and call it after the pass"),
        ("inverse", "use torch.linalg.inv_ex, which leaves the check to you"),
        ("svd", "keep its input and call it after the pass"),
        ("distributions", "pass validate_args=False"),
        ("clip_grad_norm_", "leave error_if_nonfinite out and keep the norm that it returns"),
    ),
    before="""
active.append(output[output > 0].sum())  # AUD203
""",
    after="""
active.append(torch.where(output > 0, output, 0).sum())
""",
    invalid=(
        "rows = torch.nonzero(output)  # AUD203",
        "rows = (output > 0).nonzero(as_tuple=True)  # AUD203",
        "rows = torch.where(output > 0)  # AUD203",
        "kept = output.masked_select(output > 0)  # AUD203",
        "ids = output.argmax(-1).unique()  # AUD203",
        "inverse = torch.linalg.inv(output)  # AUD203",
    ),
    valid=(
        "kept = torch.where(output > 0, output, 0)",
        "output[output < 0] = 0.0",
        "kept = output.masked_fill(output < 0, 0.0)",
        "twice = output.repeat_interleave(2)",
        "inverse, info = torch.linalg.inv_ex(output)",
        "steps = torch.arange(4).nonzero()",
    ),
)

COMPARE = Rule(
    code="AUD204",
    name="host-comparison",
    kind="compare",
    summary="A hook asks torch for a Python answer about tensors",
    what="`torch.equal`, `torch.allclose`, `is_nonzero` and `torch.testing.assert_close`: the result is a Python bool.",
    why=WHY,
    safety=BRANCH,
    does="returns a Python bool, for which the host waits for the device",
    instead="compare on the device and keep the tensor",
    instances=(
        ("equal", "use (a == b).all() and keep the tensor"),
        ("allclose", "use torch.isclose(a, b).all() and keep the tensor"),
        ("is_nonzero", "use `t != 0` and keep the tensor"),
        ("assert_close", "keep both tensors and compare them after the pass"),
    ),
    before="""
same = torch.equal(output, args[0])  # AUD204
""",
    after="""
same = (output == args[0]).all()
""",
    invalid=("close = torch.allclose(output, args[0])  # AUD204", "close = output.allclose(args[0])  # AUD204"),
    valid=("close = torch.isclose(output, args[0]).all()", "same = output.shape == args[0].shape"),
)

INDEX = Rule(
    code="AUD205",
    name="host-index",
    kind="index",
    summary="A hook uses a tensor where Python wants an integer",
    what=(
        "A list or tuple indexed by a tensor, a slice with a tensor as its bound, `range(t)`, and a tensor indexed by "
        "one without dimensions (which torch reads as an integer)."
    ),
    why=WHY,
    safety="Not rewritten: what is indexed or looped over has to be known in the pass.",
    does="needs an integer, so that the host reads the tensor and waits for the device",
    instead="index on the device, with index_select, gather or a mask",
    instances=(("range", "loop over a size that the host knows, and mask the rest"),),
    before="""
last = output[: args[1].sum()]  # AUD205
""",
    after="""
positions = torch.arange(output.shape[0], device=output.device)
last = torch.where((positions < args[1].sum())[:, None], output, 0)
""",
    invalid=(
        "for row in range(output.argmax()):  # AUD205\n    seen.append(row)",
        "name = names_of(module)\nchosen = [1, 2, 3][output.argmax()]  # AUD205",
    ),
    valid=(
        "rows = [row for row in range(output.shape[0])]",
        "first = output[0, : output.shape[1] // 2]",
        "best = output.gather(-1, output.argmax(-1, keepdim=True))",
    ),
)

H2D = Rule(
    code="AUD206",
    name="host-to-device-copy",
    kind="h2d",
    summary="A hook copies host data to the device and waits for the copy",
    what=(
        "`torch.tensor(data, device=...)`, `t.new_tensor(data)`, a list as an index, and `.to(device)` or `.cuda()` "
        "of a tensor that is known to be on the host, without `non_blocking=True` from pinned memory."
    ),
    why=WHY + " A blocking copy to the device waits for the copy, which waits for what was queued before it.",
    safety=(
        "`--fix` moves a tensor of the function around the hook once for each device, as in `vector_to = "
        "functools.cache(vector.to)`, where nothing changes it in place. Others are not rewritten. A constant can be "
        "made once, outside the pass, and kept as a buffer of the module; that is safe when neither its device nor "
        "its values change between passes."
    ),
    does="copies host data to the device and waits for the copy",
    instead="make the tensor once outside the pass, or fill it on the device",
    instances=(
        ("tensor", "make it once outside the pass, or fill it on the device with torch.full"),
        ("to", "move it once outside the pass, or pin it and copy with non_blocking=True"),
        ("cuda", "move it once outside the pass, or pin it and copy with non_blocking=True"),
    ),
    before="""
weights = torch.tensor([0.2, 0.8], device=output.device)  # AUD206
""",
    after="""
weights = module.mixing_weights
""",
    invalid=(
        "offset = torch.zeros(3).to(output.device)  # AUD206",
        "scale = output.new_tensor([1.0, 2.0])  # AUD206",
    ),
    valid=(
        "offset = torch.zeros(3, device=output.device)",
        "offset = output.new_zeros(3)",
        "offset = torch.zeros_like(output)",
        "scale = torch.full((3,), 2.0, device=output.device)",
    ),
)
