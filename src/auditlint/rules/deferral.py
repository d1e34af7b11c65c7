"""AUD304 and AUD305: what hooks kept is read too early, or piece by piece."""

from __future__ import annotations

from auditlint.rules.rule import Rule

UNSYNCHRONISED = Rule(
    code="AUD304",
    name="unsynchronised-copy-read",
    kind="unsynchronised",
    summary="A copy to the host that did not wait is read without waiting",
    what=(
        '`.to("cpu", non_blocking=True)`, or `buffer.copy_(x, non_blocking=True)` into host memory, in a hook, whose '
        "result is read (`.item()`, `.tolist()`, `.numpy()`, `float()`, printing, numpy) in the same function with "
        "no `synchronize()`, `wait()` or `query()` in between, or by a function around it in files in which "
        "nothing ever waits."
    ),
    why=(
        "`non_blocking=True` returns before the data have arrived: torch makes the destination in pinned memory and "
        "only queues the copy. The host then reads whatever was there before, and no error says so. torch's own "
        "tutorial on pinned memory calls that read wrong."
    ),
    safety=(
        "Not rewritten: where the wait belongs depends on the program. Record an event behind the copy and call its "
        '`synchronize()` before the first read, after the pass; or let `defer(x, as_="cpu")` do both.'
    ),
    backends=(
        "CUDA: the copy is asynchronous, the read races with it. MPS: torch's tutorial advises against "
        "`non_blocking` there. CPU: the copy is done at once, so tests pass."
    ),
    does="is read before the copy has arrived",
    instead="synchronize an event behind the copy before the first read, after the pass",
    before="""
host = output.detach().to("cpu", non_blocking=True)  # AUD304
kept["mean"] = float(host.mean())
""",
    after="""
kept["host"] = output.detach().to("cpu", non_blocking=True)
kept["copied"] = torch.cuda.Event()
kept["copied"].record()
""",
    invalid=(
        'values = output.to("cpu", non_blocking=True).numpy()  # AUD304',
        "host = torch.empty(8)\nhost.copy_(output, non_blocking=True)  # AUD304\nprint(host.tolist())",
        """
import torch


class Recorder:
    def __init__(self, model):
        self.last = None
        model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        self.last = output.detach().to("cpu", non_blocking=True)  # AUD304

    def array(self):
        return self.last.numpy()
""".lstrip(),
    ),
    valid=(
        'kept["host"] = output.detach().to("cpu", non_blocking=True)',
        """
import torch


class Recorder:
    def __init__(self, model):
        self.last, self.copied = None, torch.cuda.Event()
        model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        self.last = output.detach().to("cpu", non_blocking=True)
        self.copied.record()

    def array(self):
        self.copied.synchronize()
        return self.last.numpy()
""".lstrip(),
        'moved = output.to("cuda", non_blocking=True)',
    ),
)

ENTRY = Rule(
    code="AUD305",
    name="per-entry-read",
    kind="entry",
    summary="What hooks kept is read one entry at a time: a transfer for each",
    what=(
        "`.item()`, `.tolist()`, `float()` or printing of a device tensor in a loop or comprehension over a container "
        "that hooks filled, in code that runs after the pass; `.cpu()` and `.numpy()` where the entries are single "
        "numbers. Whole activations that are copied one by one, and what is stacked before it is read, are not "
        "reported. The finding names the hook that fills the container. Looked at are the functions and methods in the "
        "files of the hook, of its registration and of the container."
    ),
    why=(
        "The pass is over, so nothing is held up by the first read. But each further one is a transfer and a wait "
        "of its own, and a log has an entry for each layer of each token. One stacked tensor, or `finalize(log)`, "
        "is one transfer for all of them."
    ),
    safety=(
        "Safe for comprehensions, and for loops that only put values into containers: each read is deferred, and "
        "all are finalized at once, `finalize([defer(norm, fresh=True) for norm in norms])`, with the same numbers "
        "in every dtype. Unsafe for `float(entry)`, which takes numbers as well. Other loops look at what they "
        "read, and are not rewritten. By hand, `torch.stack(values).tolist()` gives the same numbers when all have "
        "one shape and dtype; with several dtypes it converts, which loses integers above 2**24 in float32."
    ),
    backends="A transfer and a wait for each entry on CUDA and on MPS. On the CPU the cost is small, and tests pass.",
    does="is a transfer of its own for each entry",
    instead="read all in one: torch.stack(...).tolist(), or defer in the hook and finalize afterwards",
    before="""import torch

norms = []


def hook(module, args, output):
    norms.append(output.detach().norm())


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def drain():
    found = [norm.item() for norm in norms]  # AUD305
    norms.clear()
    return found
""",
    after="""import torch

norms = []


def hook(module, args, output):
    norms.append(output.detach().norm())


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def drain():
    found = torch.stack(norms).tolist()
    norms.clear()
    return found
""",
    invalid=(
        """
import torch

audit_log = []


def hook(module, args, output):
    audit_log.append({"layer": module.layer_idx, "norm_tensor": output.detach().norm()})


def install(model):
    model.register_forward_hook(hook)


def finalize_audit_log():
    for entry in audit_log:
        entry["norm"] = entry["norm_tensor"].item()  # AUD305
        del entry["norm_tensor"]
""".lstrip(),
        """
import torch


class Recorder:
    def __init__(self, model):
        self.means = {}
        for name, module in model.named_modules():
            module.register_forward_hook(self.hook(name))

    def hook(self, name):
        def record(module, args, output):
            self.means[name] = output.detach().mean()

        return record

    def report(self):
        for name, mean in sorted(self.means.items()):
            print(f"{name}: {mean:.3f}")  # AUD305
""".lstrip(),
        """
import torch


def norms_of(model, batch):
    norms = []
    handle = model.register_forward_hook(lambda module, args, output: norms.append(output.detach().norm()))
    model(batch)
    handle.remove()
    return [float(norm) for norm in norms]  # AUD305
""".lstrip(),
    ),
    valid=(
        """
import torch
from auditlint.defer import defer, finalize

log = []


def hook(module, args, output):
    log.append({"norm": defer(output.norm(), fresh=True)})


def install(model):
    model.register_forward_hook(hook)


def report():
    finalize(log)
    for entry in log:
        print(f"{entry['norm']:.3f}")
""".lstrip(),
        """
import torch

norms = []


def hook(module, args, output):
    norms.append(output.detach().norm())


def install(model):
    model.register_forward_hook(hook)


def report():
    for norm in torch.stack(norms).tolist():
        print(f"{norm:.3f}")
    norms.clear()
""".lstrip(),
        """
import torch

shapes = {}


def hook(module, args, output):
    shapes[module] = output.detach()


def install(model):
    model.register_forward_hook(hook)


def report():
    for module, kept in shapes.items():
        print(f"{module}: {tuple(kept.shape)}")
""".lstrip(),
    ),
)
