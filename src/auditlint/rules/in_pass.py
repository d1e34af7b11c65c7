"""AUD306 and AUD307: what a hook does in the pass that belongs after it, or on the device."""

from __future__ import annotations

from auditlint.rules.rule import Rule

FINALIZE = Rule(
    code="AUD306",
    name="finalize-in-hook",
    kind="finalize",
    summary="A hook reads what was deferred, in the pass",
    what=(
        "`finalize(...)`, `flush()`, `flush_all()`, `AuditLog.finalize()` and `drain()`, reading or flushing a "
        "`DeviceBuffer`, the `result()` of an export, in a hook or in what it calls. And reading a deferred value "
        "there: `float(d)`, arithmetic, a comparison, an f-string. (These are no AUD101 to AUD105: the value is no "
        "tensor, and reading it reads everything else that is pending, too.)"
    ),
    why=(
        "Deferring moves the wait out of the pass; this brings it back. The first read makes values of everything "
        "that is pending, so a hook that reads on each call waits once a layer, as `.item()` did."
    ),
    safety=(
        "Not rewritten. Move it behind the model's call, or to the end of a step. What is computed from deferred "
        "values can be deferred itself: `derive(function, d)`; what is printed: `defer_call(print, d)`."
    ),
    backends="Waits on CUDA and on MPS. On the CPU there is nothing to wait for.",
    does="makes the host wait for all that is pending",
    instead="read it after the pass, or derive() and defer_call() what needs it",
    before="""import torch
from auditlint.defer import defer, finalize

log = []


def hook(module, args, output):
    log.append({"norm": defer(output.norm(), fresh=True)})
    finalize(log)  # AUD306


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)
""",
    after="""import torch
from auditlint.defer import defer, finalize

log = []


def hook(module, args, output):
    log.append({"norm": defer(output.norm(), fresh=True)})


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def run(model: torch.nn.Module, batch: torch.Tensor) -> None:
    model(batch)
    finalize(log)
""",
    invalid=(
        """
from auditlint.defer import defer


def hook(module, args, output):
    norm = defer(output.norm(), fresh=True)
    print(f"norm {norm:.3f}")  # AUD306
    if norm > 10:  # AUD306
        module.large = True


def install(model):
    model.register_forward_hook(hook)
""".lstrip(),
        """
from auditlint.defer import AuditLog, DeviceBuffer

buffer = DeviceBuffer("norm", capacity=16)
audit = AuditLog()


def hook(module, args, output):
    buffer.append(output.norm())
    rows = buffer.flush()  # AUD306
    audit.append({"norm": output.norm()})
    entries = audit.drain()  # AUD306


def install(model):
    model.register_forward_hook(hook)
""".lstrip(),
    ),
    valid=(
        """
from auditlint.defer import defer, defer_call, derive

log = []


def hook(module, args, output):
    norm = defer(output.norm(), fresh=True)
    log.append(derive(lambda value, count: value / count, norm, output.numel()))
    defer_call(lambda value: print(f"norm {value:.3f}"), output.norm())


def install(model):
    model.register_forward_hook(hook)
""".lstrip(),
        """
from auditlint.defer import AuditLog, DeviceBuffer

buffer = DeviceBuffer("norm", capacity=16)


def run(model, batch):
    model.register_forward_hook(lambda module, args, output: buffer.append(output.norm()))
    with AuditLog.attach(model, "norm") as audit:
        model(batch)
        entries = audit.finalize()
    return entries, buffer.flush()
""".lstrip(),
    ),
)

PYTHON_STATE = Rule(
    code="AUD307",
    name="python-state-in-compiled-hook",
    kind="python_state",
    summary="A hook of a compiled model grows a list or advances a counter in Python",
    what=(
        "`.append()` and its like, and `counter += 1`, in a forward hook, or in what it calls in the same file, of "
        "a model that the same function, class or file compiles: `torch.compile(model)`, `model.compile()`, or a "
        "`@torch.compile` function that uses it. Not reported for `DeviceBuffer`, `attach` and `ProbeBank`, for a "
        "function marked `@outside_graph` or `@torch.compiler.disable`, where the hook asks `is_compiling()`, and "
        "where the hooks are removed before the model is compiled."
    ),
    why=(
        "The compiler guards on what it saw: the length of the list, the value of the counter. The next call has "
        "another one and is compiled anew. Counted with torch 2.13: eight compilations, then `fullgraph=True` "
        "fails at the ninth call, and without it the compiler gives up on the model. Replaying a CUDA graph runs "
        "no Python at all, so the counter stands still and the list stays as it is. A dict with fixed keys is "
        "compiled twice, and a buffer on the device once."
    ),
    safety=(
        "`--unsafe-fixes` marks the hook with `@outside_graph`. `DeviceBuffer` keeps rows and their count on the "
        "device, and is compiled once; `auditlint.defer.attach` puts one on each layer. `@outside_graph` leaves the "
        "hook to Python, at the price of a graph break at each call; CUDA graphs do not replay it."
    ),
    backends="A matter of torch.compile and of CUDA graphs, whatever the backend.",
    does="is Python state: the compiled model is compiled anew on each call until torch gives up",
    instead="record into a DeviceBuffer, or mark the hook with outside_graph",
    before="""import torch


def audited(model: torch.nn.Module, norms: list):
    kept = []

    def hook(module, args, output):
        kept.append(output.detach().norm())  # AUD307

    model.register_forward_hook(hook)
    return torch.compile(model), kept
""",
    after="""import torch
from auditlint.defer import DeviceBuffer


def audited(model: torch.nn.Module):
    kept = DeviceBuffer("norm", capacity=1000)

    def hook(module, args, output):
        kept.append(output.norm())

    model.register_forward_hook(hook)
    return torch.compile(model), kept
""",
    invalid=(
        """
import torch


class Counted:
    def __init__(self, model):
        self.calls = 0
        self.model = model
        self.model.register_forward_hook(self.hook)
        self.model.compile()

    def hook(self, module, args, output):
        self.calls += 1  # AUD307
""".lstrip(),
        """
import torch


def attach(model, kept):
    for layer in model.layers:
        layer.register_forward_hook(lambda module, args, output: kept.append(output.detach()))  # AUD307


kept = []
model = torch.nn.Module()
attach(model, kept)
model = torch.compile(model)
""".lstrip(),
    ),
    valid=(
        """
import torch
from auditlint.defer import outside_graph


def audited(model):
    kept = []

    @outside_graph
    def hook(module, args, output):
        kept.append(output.detach().norm())

    model.register_forward_hook(hook)
    return torch.compile(model), kept
""".lstrip(),
        """
import torch


def calibrated(model, batch):
    seen = []
    handle = model.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    model(batch)
    handle.remove()
    return torch.compile(model), seen
""".lstrip(),
        """
import torch


def audited(model):
    kept = {}

    def hook(module, args, output):
        kept["last"] = output.detach().norm()

    model.register_forward_hook(hook)
    return torch.compile(model), kept
""".lstrip(),
    ),
)
