"""AUD301 to AUD303: what a hook keeps holds more than it should, or not what it seems to."""

from __future__ import annotations

from auditlint.rules.rule import Rule

EVERYWHERE = "The same on every backend, the CPU included: nothing here waits for a device."

GRAPH = Rule(
    code="AUD301",
    name="graph-kept-alive",
    kind="graph",
    summary="A hook keeps a tensor with its autograd graph, and the project only reads its value",
    what=(
        "A tensor computed from a hook's arguments that is stored without `.detach()`: appended to a list, put "
        "into a dict or an attribute. It is reported where the project shows that only the value matters: a number "
        "for a whole tensor (`.norm()`, `.mean()`, `.max()`) that is appended to a log, or a container that the "
        "code around it reads with `.item()`, `.tolist()`, `.cpu()`, `.numpy()`, `.detach()` or `float()`.\n\n"
        "Keeping activations *for* their gradient is a normal thing to do. So a tensor that nobody is seen reading is "
        "not reported, unless it is such a number; nor are containers on which the project calls `backward()`, names "
        "that speak of a loss, a penalty or a gradient, integers and booleans, and hooks that are handed gradients. "
        "Where a function in these files runs under `no_grad` or `inference_mode`, or parameters are frozen, what "
        "hooks keep is taken to have no graph."
    ),
    why=(
        "A tensor that requires grad holds on to the graph that made it, and the graph to every tensor that was "
        "saved for its backward. A log of four-byte norms keeps the activations of each pass alive, until memory "
        "runs out; `.item()` had dropped the graph, so the bug comes in when a read is deferred by hand."
    ),
    safety=(
        "`--unsafe-fixes` adds `.detach()`, which gives the same values. It is safe when nobody calls `backward()` "
        "through what is kept, which is what the rule looks for. `defer(x)` detaches by itself."
    ),
    backends=EVERYWHERE,
    does="keeps the graph of the whole pass alive",
    instead="keep `.detach()` of it",
    before="""import torch

audit_log = []


def hook(module, args, output):
    audit_log.append({"norm": output.norm()})  # AUD301


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def finalize_log():
    return torch.stack([entry["norm"] for entry in audit_log]).tolist()
""",
    after="""import torch

audit_log = []


def hook(module, args, output):
    audit_log.append({"norm": output.detach().norm()})


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def finalize_log():
    return torch.stack([entry["norm"] for entry in audit_log]).tolist()
""",
    invalid=(
        """
import torch


class Recorder:
    def __init__(self, model):
        self.outputs = {}
        for name, module in model.named_modules():
            module.register_forward_hook(self.hook(name))

    def hook(self, name):
        def record(module, args, output):
            self.outputs[name] = output  # AUD301

        return record

    def means(self):
        return {name: output.mean(-1).detach() for name, output in self.outputs.items()}
""".lstrip(),
        """
import torch

norms = []


def hook(module, args, output):
    hidden = output[0] if isinstance(output, tuple) else output
    norms.append(hidden.norm())  # AUD301


def install(model):
    model.register_forward_hook(hook)


def finalize_norms():
    found = torch.stack(norms).tolist()
    norms.clear()
    return found
""".lstrip(),
    ),
    valid=(
        # Kept for its gradient.
        """
import torch


class Perceptual(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.features = {}
        model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        self.features["last"] = output

    def forward(self, target):
        return torch.nn.functional.mse_loss(self.features["last"], target)
""".lstrip(),
        # A penalty is made to be differentiated.
        """
import torch


def sparsity_loss(model, batch):
    penalties = []
    model.register_forward_hook(lambda module, args, output: penalties.append(output.abs().mean()))
    model(batch)
    return sum(penalties)
""".lstrip(),
        # No graph is recorded.
        """
import torch


def record(model, batch):
    kept = []
    handle = model.register_forward_hook(lambda module, args, output: kept.append(output.norm()))
    with torch.no_grad():
        model(batch)
    handle.remove()
    return torch.stack(kept).tolist()
""".lstrip(),
        'kept["choice"] = output.argmax(-1)\nkept["plain"] = output.detach()\nkept["mask"] = output > 0',
    ),
)

ALIAS = Rule(
    code="AUD302",
    name="alias-stored",
    kind="alias",
    summary="A hook keeps memory that is written to later, without a copy",
    what=(
        "A hook's argument, or a view of it, that is stored without `.clone()` and then written to: by the hook "
        "itself further down (`x += y`, `x[...] = y`, `x.mul_(y)`), by code that accumulates into the stored "
        "tensor in place (`sums[name] = output.detach()`, later `sums[name] += ...`), or by a module with "
        "`inplace=True` in the model that the same file builds and hooks. So is appending a module's parameter: "
        "each entry is the same memory.\n\n"
        "Storing an argument that nobody is seen writing to is not reported."
    ),
    why=(
        "`.detach()` and views share memory. What was -4 before an in-place ReLU reads as 0 afterwards (measured), "
        "and a parameter that was kept changes with the next `optimizer.step()`. Accumulating into what was stored "
        "writes to the model's own activations. A view also keeps the whole tensor that it looks at."
    ),
    safety=(
        "`--unsafe-fixes` adds `.detach().clone()`. At the capture it gives what the tensor held there. That may "
        "differ from what the program gives today, which is the point. `defer(x)` clones unless it is told "
        "`fresh=True`."
    ),
    backends=EVERYWHERE,
    does="keeps memory that is written to afterwards",
    instead="keep `.detach().clone()` of it",
    instances=(("of a parameter", "each entry is the same memory: append `.detach().clone()`"),),
    before="""
kept["before"] = output.detach()  # AUD302
output += 1.0
""",
    after="""
kept["before"] = output.detach().clone()
output += 1.0
""",
    invalid=(
        """
import torch

sums = {}


def hook(module, args, output):
    if "mean" in sums:
        sums["mean"] += output.detach()
    else:
        sums["mean"] = output.detach()  # AUD302


def install(model):
    model.register_forward_hook(hook)
""".lstrip(),
        """
import torch
from torch import nn

kept = {}


def hook(module, args, output):
    kept[module] = output.detach()  # AUD302


def build():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True))
    model[0].register_forward_hook(hook)
    return model
""".lstrip(),
        """
import torch

weights = []


def hook(module, args, output):
    weights.append(module.weight.detach())  # AUD302


def install(model):
    model.register_forward_hook(hook)


def drain():
    weights.clear()
""".lstrip(),
        "hidden = output[0]\nkept['residual'] = hidden.detach()  # AUD302\nhidden[..., 0] = 0.0",
    ),
    valid=(
        "kept['plain'] = output.detach()",
        "output.mul_(2.0)\nkept['after'] = output.detach()",
        "kept['norm'] = output.detach().norm()\noutput.mul_(2.0)",
        "kept['before'] = output.detach()\noutput = output + 1.0",
    ),
)

GROWTH = Rule(
    code="AUD303",
    name="unbounded-growth",
    kind="growth",
    summary="Hooks append tensors to a container that nothing in the project ever empties",
    what=(
        "A list, set or deque at module level, or in an attribute of the object whose method is the hook, that a "
        "hook makes longer by a tensor each pass. It is not reported when anything in the project clears, pops, "
        "drains, finalizes, slices or rebinds it; when a function that is named so (`finalize_log`, `reset`, "
        "`drain`) uses it; when its length is compared or it has a `maxlen`; when the class removes its hooks; "
        "when a script uses it in its own top-level code; or when it is a local variable, which ends with its "
        "function."
    ),
    why=(
        "Each entry keeps a tensor of the device's memory. One entry a layer and token is nothing in a test, and an "
        "out-of-memory error in a service that runs for days, far from the line that caused it."
    ),
    safety=(
        "Where the entries are to be read, and how many are kept, is a decision: read and `clear()` after each "
        "pass or step, bound the container with `deque(maxlen=...)`, or use `AuditLog`, which has a limit and an "
        "overflow policy."
    ),
    backends=EVERYWHERE,
    does="only ever grows",
    instead="read and clear it after the pass, or bound it",
    before="""import torch

norms = []


def hook(module, args, output):
    norms.append(output.detach().norm())  # AUD303


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def latest():
    return norms[-1]
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
class Monitor:
    def __init__(self, model):
        self.history = []
        model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        self.history.append(output.detach())  # AUD303

    def mean(self):
        return sum(self.history) / len(self.history)
""".lstrip().replace("class Monitor", "# A monitor for as long as the model lives.\nclass Monitor", 1),
    ),
    valid=(
        """
from collections import deque


class Monitor:
    def __init__(self, model):
        self.history = deque(maxlen=100)
        model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        self.history.append(output.detach().norm())
""".lstrip(),
        """
import torch


class Monitor:
    def __init__(self, model):
        self.history = []
        self.handle = model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        self.history.append(output.detach().norm())

    def close(self):
        self.handle.remove()
""".lstrip(),
        """
import torch


def norms_of(model, batch):
    norms = []
    handle = model.register_forward_hook(lambda module, args, output: norms.append(output.detach().norm()))
    model(batch)
    handle.remove()
    return torch.stack(norms).tolist()
""".lstrip(),
    ),
)
