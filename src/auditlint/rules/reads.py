"""AUD101 to AUD104 and AUD106: a tensor's values are read on the host."""

from __future__ import annotations

from auditlint.rules.rule import Rule

WHY = (
    "Kernels are queued and run while Python goes on. Whoever asks for a value has to wait until everything queued "
    "before it has run, and the device then idles until Python has queued more. In a hook that happens once for each "
    "layer of each pass, so a read that is harmless after the pass costs the overlap of host and device inside it."
)
DEFER = (
    "`--fix` keeps the tensor with `auditlint.defer` and finalizes it after the pass, where the value is stored and "
    "nothing in the pass depends on it. A number stays a number, or a `Deferred` that reads as one until it is "
    "finalized: that is the safe fix. It is unsafe where output moves, where what is computed or called is not known, "
    "or where the place to finalize is a guess; the fix says which. There is none where the value decides what the "
    "hook does or returns. By hand: keep `t.detach()` of a reduction, or `t.detach().clone()` of anything that is a "
    "view or is changed in place later, and read it after the pass."
)
COPY = (
    "`--unsafe-fixes` keeps a clone on the device with `auditlint.defer` and copies it after the pass. It is unsafe, "
    "since a whole activation takes device memory until then, and what is stored is a `Deferred`, not a tensor, until "
    "it is finalized. On the CPU `t.cpu()` is `t` itself, and changes with it; the fixed program keeps what it was."
)

ITEM = Rule(
    code="AUD101",
    name="item-in-hook",
    kind="item",
    summary="A hook reads one value with `.item()`",
    what="`t.item()` on a tensor, and methods that read one value inside, such as `GradScaler.get_scale()`.",
    why=WHY,
    safety=DEFER,
    does="makes the host wait for the device",
    instead="keep the tensor and read it after the pass",
    before="""
norms.append(output.norm().item())  # AUD101
""",
    after="""
norms.append(output.detach().norm())
""",
    invalid=(
        "value = args[0].abs().max().item()  # AUD101",
        "x = output[0] if isinstance(output, tuple) else output\nstats[module] = x.mean().item()  # AUD101",
        "for tensor in args:\n    seen.append(tensor.sum().item())  # AUD101",
        "count = (output > 0).sum().item() / output.numel()  # AUD101",
    ),
    valid=(
        "rows = output.shape[0]",
        "seen.append(output.detach().mean())",
        "total = torch.ones(3).sum().item()",
        "size = output.numel() * output.element_size()",
    ),
)

CPU = Rule(
    code="AUD102",
    name="cpu-copy-in-hook",
    kind="cpu",
    summary="A hook copies a tensor to the host and waits for the copy",
    what=(
        '`t.cpu()`, `t.to("cpu")` and a blocking `copy_` of device data into a host tensor. What is done with the copy '
        "afterwards is host work and is not reported again: `t.detach().cpu().numpy()` is one finding."
    ),
    why=WHY,
    safety=COPY
    + " A copy with `non_blocking=True` into pinned memory does not wait, but must not be read before an event.",
    does="copies to the host and waits for the device",
    instead="keep a detached clone on the device and copy after the pass",
    before="""
activations.append(output.detach().cpu())  # AUD102
""",
    after="""
activations.append(output.detach().clone())
""",
    invalid=(
        'kept = output.to("cpu")  # AUD102',
        "kept = output.detach().cpu().numpy()  # AUD102",
        'where = torch.device("cpu")\nkept = output.to(where)  # AUD102',
        "buffer = torch.empty(4)\nbuffer.copy_(output)  # AUD102",
    ),
    valid=(
        "kept = output.detach().clone()",
        'kept = output.to("cpu", non_blocking=True)',
        "kept = output.to(torch.float16)",
        "kept = torch.zeros(4).cpu()",
    ),
)

TOLIST = Rule(
    code="AUD103",
    name="tolist-in-hook",
    kind="tolist",
    summary="A hook turns a tensor into a Python list",
    what="`t.tolist()` on a tensor.",
    why=WHY,
    safety=DEFER + " A list is deferred safely when its length stands in the code, as in `p.topk(2).indices.tolist()`.",
    does="copies every element to the host and waits for the device",
    instead="keep the tensor and convert it after the pass",
    before="""
histories.append(output.mean(0).tolist())  # AUD103
""",
    after="""
histories.append(output.detach().mean(0))
""",
    invalid=("shape = output.argmax(-1).tolist()  # AUD103", "values = [t.tolist() for t in args]  # AUD103"),
    valid=("shape = list(output.shape)", "steps = torch.arange(3).tolist()", "kept = output.detach().mean(0)"),
)

CAST = Rule(
    code="AUD104",
    name="scalar-cast-in-hook",
    kind="cast",
    summary="A hook makes a Python number of a tensor",
    what=(
        "`float(t)`, `int(t)`, `bool(t)`, `complex(t)`, a function of `math` or `operator.index`, a tensor where "
        "torch wants a number (`torch.full((2,), t)`, `x.masked_fill(mask, t)`), and a list of tensors given to "
        "`torch.tensor`. (`round(t)` and `math.trunc(t)` raise `TypeError`.)"
    ),
    why=WHY,
    safety=DEFER,
    does="reads the tensor's value and makes the host wait for the device",
    instead="keep it a tensor and convert it after the pass",
    instances=(
        ("math.", "use the function of torch with that name and keep the tensor"),
        ("masked_fill", "use torch.where, which takes a tensor"),
        ("torch.tensor", "use torch.stack, which stays on the device"),
        ("as_tensor", "use torch.stack, which stays on the device"),
        ("new_tensor", "use torch.stack, which stays on the device"),
    ),
    before="""
losses.append(float(output.pow(2).mean()))  # AUD104
""",
    after="""
losses.append(output.detach().pow(2).mean())
""",
    invalid=(
        "count = int((output > 0).sum())  # AUD104",
        "healthy = bool(output.isfinite().all())  # AUD104",
        (
            "import math\n\n\ndef hook(grad):\n    size = math.sqrt(grad.pow(2).sum())  # AUD104\n\n\n"
            "def install(weight):\n    weight.register_hook(hook)\n"
        ),
        "both = torch.tensor([output.min(), output.max()])  # AUD104",
    ),
    valid=(
        "rows = int(output.shape[0])",
        'limit = float("inf")',
        "both = torch.stack([output.min(), output.max()])",
        "width = float(module.in_features)",
    ),
)

NUMPY = Rule(
    code="AUD106",
    name="numpy-in-hook",
    kind="numpy",
    summary="A hook makes a numpy array of a tensor",
    what=(
        "`t.numpy()`, `np.asarray(t)` and numpy functions called on a tensor. A device tensor refuses with `TypeError` "
        "until it is copied to the host, so such a hook either fails on a device or already waits at `.cpu()`, "
        "which is then the finding."
    ),
    why=WHY,
    safety=COPY,
    does="needs the tensor on the host, so that the host waits for the device",
    instead="use torch's function, or keep the tensor and convert it after the pass",
    before="""
arrays.append(output.detach().numpy())  # AUD106
""",
    after="""
arrays.append(output.detach().clone())
""",
    invalid=(
        (
            "import numpy as np\n\n\ndef hook(module, args, output):\n    kept = np.asarray(output.detach())  # "
            "AUD106\n\n\ndef install(model):\n    model.register_forward_hook(hook)\n"
        ),
        "kept = args[0].numpy(force=True)  # AUD106",
    ),
    valid=(
        "kept = output.detach().cpu  # not called",
        "kept = torch.zeros(2).numpy()",
        "kept = output.detach().sqrt()",
    ),
)
