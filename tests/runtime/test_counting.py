"""Counting in code: what is counted, that blocks nest, that policies hold, and that nothing is left behind."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="counts what torch does")

from auditlint.runtime import (  # noqa: E402
    SyncForbiddenError,
    Unavailable,
    allow_sync,
    count_syncs,
    forbid_syncs,
    modules,
)
from auditlint.runtime.backends import cpu  # noqa: E402
from auditlint.runtime.report import Site  # noqa: E402

needs_columns = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not record columns")


def reading(module: Any, args: Any, output: Any) -> None:
    output.detach().sum().item()


@pytest.fixture
def model() -> Any:
    """One layer whose hook syncs once a pass."""
    layer = torch.nn.Linear(2, 2)
    layer.register_forward_hook(reading)
    return layer


def hooked(sites: tuple[Site, ...]) -> list[tuple[str, str, int]]:
    return [(site.hook.name, site.op, site.count) for site in sites if site.hook]


def test_a_hook_that_was_registered_before_is_known(model: Any) -> None:
    with count_syncs("cpu") as counter:
        model(torch.ones(1, 2))
        model(torch.ones(1, 2))
    assert hooked(counter.report().sites) == [("reading", "Tensor.item", 2)]
    assert counter.totals == (2, 0, 2, 0)


@needs_columns
def test_every_kind_of_hook_that_was_registered_before_is_known() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    kept = torch.nn.ParameterList([weight])
    weight.register_hook(lambda gradient: gradient.sum().item() and None)
    weight.register_post_accumulate_grad_hook(lambda parameter: parameter.grad.sum().tolist() and None)
    optimizer = torch.optim.SGD(kept.parameters(), lr=0.1)
    optimizer.register_step_post_hook(lambda *_: bool(weight.detach().sum() > 0) and None)
    with count_syncs("cpu") as counter:
        weight.sum().backward()
        optimizer.step()
    kinds = {(site.op, site.hook.kind) for site in counter.report().sites if site.hook}
    assert kinds == {("Tensor.item", "tensor"), ("Tensor.tolist", "parameter"), ("bool", "step")}


def test_calling_a_hook_is_no_hook_running(model: Any) -> None:
    with count_syncs("cpu") as counter:
        reading(None, None, torch.ones(2))
    assert counter.totals == (0, 1, 1, 0)


def test_nested_blocks_count_for_themselves(model: Any) -> None:
    with count_syncs("cpu") as outer:
        model(torch.ones(1, 2))
        with count_syncs() as inner:
            model(torch.ones(1, 2))
        model(torch.ones(1, 2))
    assert (outer.in_hooks, inner.in_hooks) == (3, 1)


def test_a_block_with_another_backend_is_refused() -> None:
    with count_syncs("cpu"), pytest.raises(ValueError, match="being counted on the cpu backend"), count_syncs("cuda"):
        pass


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="no backend `tpu`"), count_syncs("tpu"):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_backend_without_its_device_says_so() -> None:
    with pytest.raises(Unavailable, match="CUDA"), count_syncs("cuda"):
        pass


def test_a_counter_that_does_not_see_a_planted_sync_is_an_error() -> None:
    class Blind(cpu.Cpu):
        def plant(self) -> None:
            torch.ones(()).add(1)

    before = snapshot()
    with pytest.raises(Unavailable, match="does not see a sync that was planted"), count_syncs(Blind()):
        pass
    assert snapshot() == before


def test_allowed_syncs_count_apart(model: Any) -> None:
    with count_syncs("cpu") as counter, allow_sync("the log is flushed here"):
        model(torch.ones(1, 2))
    assert counter.totals == (0, 0, 1, 1)
    assert counter.report().sites[0].allowed == "the log is flushed here"


def test_a_reason_is_wanted() -> None:
    with pytest.raises(ValueError, match="wants a reason"):
        allow_sync(" ")


def test_a_forbidden_sync_raises_where_it_happens(model: Any) -> None:
    with forbid_syncs("cpu"):
        torch.ones(2).sum()
        with allow_sync("once"):
            model(torch.ones(1, 2))
        with pytest.raises(SyncForbiddenError, match=r"Tensor\.item waits .*test_counting\.py:\d+:\d+ in hook reading"):
            model(torch.ones(1, 2))


def test_threads_are_counted(model: Any) -> None:
    with count_syncs("cpu") as counter:
        thread = threading.Thread(target=model, args=(torch.ones(1, 2),), name="helper")
        thread.start()
        thread.join()
    assert [site.thread for site in counter.report().sites] == ["helper"]


@needs_columns
def test_loops_are_told_from_calls_that_read_several_times() -> None:
    values = [torch.tensor(float(n)) for n in range(4)]
    with count_syncs("cpu") as counter:
        for _ in range(3):
            max(values)
        print_to = [f"{value}" for value in values]
    counted = {(site.op, site.count, site.raw) for site in counter.report().sites}
    assert counted == {("max", 3, 9), ("Tensor.__format__", 4, 4)}
    assert len(print_to) == 4


@needs_columns
def test_under_a_debugger_each_read_is_a_call_of_its_own() -> None:
    values = [torch.tensor(float(n)) for n in range(4)]

    def trace(*_: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with count_syncs("cpu") as counter:
            max(values)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert [(site.op, site.count, site.raw) for site in counter.report().sites] == [("max", 3, 3)]


def test_reading_what_was_copied_to_the_host_is_free() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    with count_syncs("cpu") as counter:
        host = x.cpu()
        host.mean().item()
        (host * 2 + host[0].max()).tolist()
        host.numpy()
        repr(host)
        f"{host.sum():.1f}"
        host[host > 1].sum().item()
        (host.sum() * x).sum().item()  # with a tensor of the device it is the device's again
    assert [(site.op, site.count) for site in counter.report().sites] == [("Tensor.cpu", 1), ("Tensor.item", 1)]


def test_moving_a_module_leaves_its_parameters_what_they_are() -> None:
    layer = torch.nn.Linear(2, 2)
    with count_syncs("cpu") as counter:
        layer.cpu()
        layer.to("cpu")
    assert type(layer.weight) is torch.nn.Parameter
    assert counter.report().sites == ()


def test_an_optimizer_that_keeps_its_steps_on_the_host_does_not_sync() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    with count_syncs("cpu") as counter:
        optimizer.step()
    assert counter.report().sites == ()


def test_compiled_code_runs_eagerly_and_keeps_its_lines(model: Any) -> None:
    with count_syncs("cpu") as counter:
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        compiled(torch.ones(1, 2))
        compiled(torch.ones(1, 2))
    assert hooked(counter.report().sites) == [("reading", "Tensor.item", 2)]


def test_a_warning_names_the_line_that_caused_it() -> None:
    value = torch.ones(1, requires_grad=True)
    with count_syncs("cpu"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warn(value)
        warn(value)
    # torch warns of this once a process, so that an earlier test may have had it.
    assert {warning.filename for warning in caught} <= {__file__}


def warn(value: Any) -> None:
    torch._C._warn()
    float(value)


def test_a_scripted_function_still_compiles() -> None:
    with count_syncs("cpu"):

        @torch.jit.script
        def doubled(x: torch.Tensor) -> torch.Tensor:
            return torch.add(x, x).view(-1)

        assert doubled(torch.ones(2)).tolist() == [2.0, 2.0]


@needs_columns
def test_a_hook_is_told_apart_by_the_modules_it_runs_for() -> None:
    class Owner(torch.nn.Module):
        def method(self, module: Any, args: Any, output: Any) -> None:
            output.sum().item()

        def loose(self, *given: Any) -> None:
            given[2].sum().tolist()

    def named_self(self: Any, args: Any, output: Any) -> None:
        bool(output.sum() > 0)

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 2)))
    owner = Owner()
    for hook in (owner.method, owner.loose, named_self):
        model[1][0].register_forward_hook(hook)
    model.register_forward_hook(owner.method)
    with count_syncs("cpu") as counter, torch.no_grad():
        model(torch.ones(1, 2))
    modules = {site.op: dict(site.modules) for site in counter.report().sites}
    assert modules == {
        "Tensor.item": {"1.0": 1, "Sequential": 1},
        "Tensor.tolist": {"1.0": 1},
        "bool": {"1.0": 1},
    }


def test_compiled_code_is_compiled_again_after_the_block() -> None:
    with count_syncs("cpu"):
        held = torch.compile
        torch.compile(torch.nn.Linear(2, 2), backend="eager")
    from torch._dynamo import eval_frame

    assert eval_frame._stance.stance == "default"
    held(torch.nn.Linear(2, 2), backend="eager")
    assert eval_frame._stance.stance == "default"


def test_a_subclass_of_tensor_finds_methods_in_its_tables() -> None:
    class Image(torch.Tensor):
        kept = frozenset({torch.Tensor.to, torch.Tensor.cpu})

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = super().__torch_function__(func, types, args, kwargs or {})
            return result if func in cls.kept else result.as_subclass(torch.Tensor)

    image = torch.ones(2).as_subclass(Image)
    with count_syncs("cpu"):
        assert type(image.to(torch.float64)) is Image
        assert type(image.cpu()) is Image
        assert type(image.add(1)) is torch.Tensor


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a signal at any moment")
def test_a_signals_handler_may_sync() -> None:
    value = torch.ones(())
    before = signal.signal(signal.SIGALRM, lambda *_: value.item())
    try:
        with count_syncs("cpu") as counter:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            for _ in range(5000):
                value.item()
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert counter.totals.outside > 5000


def test_equal_code_in_two_files_is_two_hooks(tmp_path: Path) -> None:
    source = "def hook(module, args, output):\n    output.sum().item()\n"
    hooks = []
    for name in ("aa.py", "bb.py"):
        (tmp_path / name).write_text(source)
        names: dict[str, Any] = {}
        exec(compile(source, str(tmp_path / name), "exec"), names)
        hooks.append(names["hook"])
    assert hooks[0].__code__ == hooks[1].__code__
    layer = torch.nn.Linear(2, 2)
    with count_syncs("cpu") as counter:
        for hook in hooks:
            layer.register_forward_hook(hook)
        layer(torch.ones(1, 2))
    sites = counter.report().sites
    assert [Path(site.filename).name for site in sites] == ["aa.py", "bb.py"]
    assert [Path(site.hook.filename).name for site in sites if site.hook] == ["aa.py", "bb.py"]


def test_a_module_without_a_hash_may_have_hooks() -> None:
    class Odd(torch.nn.Linear):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    layer = Odd(2, 2)
    torch.nn.Module.register_forward_hook(layer, reading)
    with count_syncs("cpu") as counter:
        layer(torch.ones(1, 2))
    assert counter.report().sites[0].modules == (("Odd", 1),)


def test_modules_that_are_gone_have_the_names_that_they_had() -> None:
    models = []

    def run() -> None:
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 2)))
        models.append(weakref.ref(model))
        for layer in (model[0], model[1][0]):
            layer.register_forward_hook(reading)
        model(torch.ones(1, 2))

    with count_syncs("cpu") as counter, torch.no_grad():
        run()
        run()
    assert [model() for model in models] == [None, None]
    assert dict(counter.report().sites[0].modules) == {"0": 2, "1.0": 2}


def test_a_program_that_always_makes_modules_is_looked_at_some_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(modules.gc, "get_objects", lambda: looks.append(1) or [])
    with count_syncs("cpu") as counter:
        for _ in range(30):
            layer = torch.nn.Linear(2, 2)
            layer.register_forward_hook(reading)
            layer(torch.ones(1, 2))
            del layer
        assert 1 < len(looks) < 20
    assert dict(counter.report().sites[0].modules) == {"Linear": 16, "(a module that is gone)": 14}


def test_threads_that_nobody_named_are_one(model: Any) -> None:
    with count_syncs("cpu") as counter:
        for _ in range(5):
            thread = threading.Thread(target=model, args=(torch.ones(1, 2),))
            thread.start()
            thread.join()
    assert [site.count for site in counter.report().sites] == [5]


def test_no_frame_is_traced_once_it_has_moved_on() -> None:
    values = [torch.tensor(1.0), torch.tensor(2.0)]
    before = sys.gettrace()
    with count_syncs("cpu") as counter:
        max(values)
        assert sys.gettrace() is before
        [max(values) for _ in range(2)]
        assert sys.gettrace() is before
    assert sys._getframe().f_trace is None or before is not None
    assert counter.totals == (0, 3, 3, 0)


OWNERS = (
    "torch",
    "torch.cpu",
    "torch.cuda",
    "torch.mps",
    "torch.accelerator",
    "torch.nn.modules.module",
    "torch.optim.optimizer",
    "torch.autograd.graph",
    "warnings",
    "builtins",
    "sys",
)


def snapshot() -> dict[str, Any]:
    """Everything that a backend may touch: attributes by identity, kernels, warning filters, tracing."""
    found: dict[str, Any] = {}
    for owner in owners():
        for name, value in vars(owner).items():
            if name not in ("__warningregistry__", "last_exc", "last_value", "last_traceback", "last_type", "_"):
                found[f"{owner.__name__}.{name}"] = id(value)
    found["sys.modules"] = found["sys.path_importer_cache"] = None
    for kernel in (*cpu.READS, *cpu.QUIET):
        found[kernel] = torch._C._dispatch_dump(f"aten::{kernel}")
    found["filters"] = (id(warnings.filters), list(warnings.filters))
    found["trace"] = sys.gettrace()
    found["meta path"] = list(sys.meta_path)
    return found


def owners() -> Iterator[type | ModuleType]:
    for name in OWNERS:
        yield importlib.import_module(name)
    optimizer = importlib.import_module("torch.optim.optimizer")
    yield from (torch.Tensor, torch.nn.Module, optimizer.Optimizer, torch.autograd.graph.saved_tensors_hooks)
    yield torch.nn.parallel.DistributedDataParallel


def test_torch_is_left_as_it_was(model: Any) -> None:
    with count_syncs("cpu"):
        model(torch.ones(1, 2))
    before = snapshot()
    with count_syncs("cpu"):
        changed = snapshot()
        model(torch.ones(1, 2))
        print_nothing = str(torch.ones(2))
    assert changed != before, "a snapshot that sees no patch proves nothing"
    assert snapshot() == before
    with pytest.raises(ZeroDivisionError), count_syncs("cpu"):
        model(torch.ones(1, 2))
        raise ZeroDivisionError
    assert snapshot() == before
    assert print_nothing


def test_the_planted_sync_is_not_mixed_with_what_one_line_reads_afterwards():
    # The block is entered by machinery, so that for the counter one line of this test does it all.
    source = "def inside(x):\n    with count_syncs('cpu') as counter:\n        x.item()\n    return counter.totals.raw"
    names = {"count_syncs": count_syncs}
    exec(compile(source, torch.__file__, "exec"), names)
    assert names["inside"](torch.ones(())) == 1
