"""AUD105, AUD107 and AUD108: text and files made of tensors, and plain waiting."""

from __future__ import annotations

from auditlint.rules.reads import WHY
from auditlint.rules.rule import Rule

PRINT = Rule(
    code="AUD105",
    name="print-in-hook",
    kind="format",
    summary="A hook formats a tensor as text or hands it to a logger",
    what=(
        "`print(t)`, an f-string, `%` or `.format` with a tensor, `str(t)` and `repr(t)`, the arguments of logging "
        "calls, and of writers such as `add_scalar`. Logging with `%s` formats only when the level is on, but then "
        "once a call."
    ),
    why=WHY + " Printing is worse than one read: torch reads a value several times to choose the number format.",
    safety=(
        "`--unsafe-fixes` defers the call with `defer_call`: what it needs is captured now, and it runs after the "
        "pass, in order with other deferred calls. It is unsafe because the output moves. A writer's `add_scalar` "
        "with an explicit step is deferred safely, with the time of the call as `walltime`. A text that is stored "
        "becomes a `Deferred` until it is finalized."
    ),
    does="formats a tensor, which makes the host wait for the device",
    instead="keep the tensor and write it after the pass",
    before="""
print(f"norm {output.norm():.3f}")  # AUD105
""",
    after="""
norms.append(output.detach().norm())
""",
    invalid=(
        'print("output", output)  # AUD105',
        'text = "%.2f" % output.mean()  # AUD105',
        'text = "{:.2f}".format(output.mean())  # AUD105',
        "text = str(output.max())  # AUD105",
        (
            "import logging\n\nlogger = logging.getLogger(__name__)\n\n\ndef hook(module, args, output):\n"
            '    logger.info("mean %s", output.mean())  # AUD105\n\n\n'
            "def install(model):\n    model.register_forward_hook(hook)\n"
        ),
    ),
    valid=(
        'print("shape", output.shape)',
        'print(f"{type(output).__name__} on {output.device}")',
        'text = "%d rows" % len(output)',
        "text = repr(output.dtype)",
    ),
)

SYNCHRONIZE = Rule(
    code="AUD107",
    name="synchronize-in-hook",
    kind="synchronize",
    summary="A hook waits for the device outright",
    what=(
        "`torch.cuda.synchronize()` and its MPS, XPU and accelerator twins, `Stream.synchronize()`, "
        "`Event.synchronize()`, `empty_cache()` (which frees memory and waits for that) and "
        "`torch.distributed.barrier()`."
    ),
    why=(
        "Nothing that runs on the device needs the host to wait: work on one stream runs in order, and `wait_stream` "
        "or `wait_event` order two streams without the host. In a hook the wait comes once for each layer of each "
        "pass."
    ),
    safety=(
        "`--unsafe-fixes` removes `empty_cache()` where the hook calls it itself, and a wait for the whole device "
        "in front of `memory_allocated()` and its like, which torch counts on the host; other waits are not "
        "rewritten. Removing a wait is safe when only device work follows it. It is not when the host reads "
        "memory next that a `non_blocking` copy fills, or when a clock is read around it: record events then and "
        "read their `elapsed_time` after the pass."
    ),
    does="makes the host wait for all work queued before it",
    instead="move it out of the pass",
    instances=(
        ("empty_cache", "call it after the pass, if at all: the allocator reuses cached blocks by itself"),
        ("Event", "wait for the event after the pass, or let a stream wait for it with wait_event"),
        ("Stream", "let streams wait for each other with wait_stream, or wait after the pass"),
        ("barrier", "move it out of the pass; collectives already wait for each other on the device"),
    ),
    before="""
torch.cuda.synchronize()  # AUD107
marks.append(time.perf_counter())
""",
    after="""
event = torch.cuda.Event(enable_timing=True)
event.record()
marks.append(event)
""",
    invalid=(
        "torch.cuda.empty_cache()  # AUD107",
        "torch.cuda.current_stream().synchronize()  # AUD107",
        "torch.mps.synchronize()  # AUD107",
        "event = torch.cuda.Event()\nevent.record()\nevent.synchronize()  # AUD107",
    ),
    valid=(
        "used = torch.cuda.memory_allocated()",
        "stream = torch.cuda.Stream()\nstream.wait_stream(torch.cuda.current_stream())",
        "event = torch.cuda.Event()\nevent.record()\nready = event.query()",
    ),
)

SERIALISE = Rule(
    code="AUD108",
    name="serialise-in-hook",
    kind="serialise",
    summary="A hook writes tensors to a file, a byte string or another process",
    what=(
        "`torch.save`, `pickle.dump` and `pickle.dumps` of tensors, `json.dumps` with a `default` or `cls` that "
        "encodes them, and `torch.distributed.all_gather_object` and its relatives."
    ),
    why=WHY + " Here the whole tensor is copied, and the file is written while the device has nothing to do.",
    safety=(
        "`--unsafe-fixes` defers the call with `defer_call`: tensors are captured now, the file is written after the "
        "pass. There is no fix where the hook opens the file itself, or goes on with the bytes."
    ),
    does="copies tensors to the host and waits for the device",
    instead="keep detached clones and write them after the pass",
    before="""
torch.save(output, "activation.pt")  # AUD108
""",
    after="""
kept["activation"] = output.detach().clone()
""",
    invalid=(
        'torch.save({"output": output}, "activation.pt")  # AUD108',
        (
            "import pickle\n\n\ndef hook(module, args, output):\n    kept = pickle.dumps(output)  # AUD108\n\n\n"
            "def install(model):\n    model.register_forward_hook(hook)\n"
        ),
    ),
    valid=(
        (
            "import copy\n\n\ndef hook(module, args, output):\n    kept = copy.deepcopy(output.detach())\n\n\n"
            "def install(model):\n    model.register_forward_hook(hook)\n"
        ),
        (
            "import json\n\n\ndef hook(module, args, output):\n    text = json.dumps(list(output.shape))\n\n\n"
            "def install(model):\n    model.register_forward_hook(hook)\n"
        ),
    ),
)
