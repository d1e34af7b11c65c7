"""`derive`: values computed on the host from values that are still on a device, once, when somebody wants them."""

from __future__ import annotations

import collections
import copy
import dataclasses
import gc
import json
import math
import operator
import os
import pickle
import statistics
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")
np = pytest.importorskip("numpy", reason="derived values are given to numpy")

from auditlint.defer import (  # noqa: E402
    AuditLog,
    AuditLogFull,
    Deferred,
    defer,
    defer_call,
    derive,
    finalize,
    flush,
    json_default,
    outside_graph,
)
from auditlint.defer.pending import pending, send_all  # noqa: E402
from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.simulation import device as sim  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()
pytestmark = pytest.mark.usefixtures("nothing_pending")


class Spent:
    """Waits and copies that were counted in a `with` block on the simulated device."""

    def __enter__(self) -> Spent:
        self._before = CLOCK.counts()
        return self

    def __exit__(self, *exception: object) -> None:
        after = CLOCK.counts()
        self.counts = after.waits - self._before.waits, after.copies - self._before.copies


class Calls:
    """A function that notes its calls."""

    def __init__(self, function: Any = lambda value: value) -> None:
        self.function = function
        self.made: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.made.append((args, kwargs) if kwargs else args)
        return self.function(*args, **kwargs)


def tensor(value: Any = 1.0) -> torch.Tensor:
    return torch.tensor(value, device="sim")


def number(value: float = 1.0) -> Any:
    return defer(tensor(value))


def lost(*args: Any) -> Any:
    raise ZeroDivisionError("no such share")


# Once, after one flush


@pytest.mark.parametrize("read", [float, lambda value: flush(), finalize, lambda value: finalize([value])])
def test_a_function_runs_once_after_one_transfer(read: Any) -> None:
    share = Calls(lambda norm, n: round(norm / n, 4))
    norm, other = tensor(2.0), number(5.0)
    with Spent() as capturing:
        value = derive(share, defer(norm, fresh=True), 3)
    assert capturing.counts == (0, 0) and share.made == [] and not value.ready and pending() == 3
    with Spent() as reading:
        read(value)
    assert reading.counts == (1, 1) and share.made == [(2.0, 3)] and value.ready and other.ready
    with Spent() as again:
        assert value == 0.6667 and value.value == 0.6667
        flush()
    assert again.counts == (0, 0) and len(share.made) == 1 and pending() == 0


def test_reading_anything_computes_what_is_derived() -> None:
    seen = Calls()
    first, value = number(2.0), derive(seen, number(3.0))
    assert first == 2.0 and seen.made == [(3.0,)] and value.ready


def test_what_nobody_holds_is_not_computed() -> None:
    seen = Calls()
    derive(seen, number(1.0))
    kept = derive(Calls(), number(2.0))
    flush()
    assert seen.made == [] and kept.ready


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


def test_arguments_are_taken_when_it_is_derived() -> None:
    seen = Calls(lambda *args, **kwargs: None)
    x, entries, marker = tensor([1.0, 2.0]), {"a": [tensor(1.0), number(2.0)], "b": "text"}, object()
    value = derive(seen, tensor(7), x, entries, (number(3.0), {tensor(4.0)}), Pair(number(5.0), 6), marker, key=x[0])
    x.zero_()
    entries["a"].append(3)
    assert value.value is None
    (scalar, vector, taken, pair, instance, same), named = seen.made[0]
    assert scalar == 7 and type(scalar) is int and vector.tolist() == [1.0, 2.0] and not vector.is_inference()
    assert taken == {"a": [1.0, 2.0], "b": "text"} and type(taken["a"][1]) is float
    assert pair == (3.0, {4.0}) and instance == Pair(5.0, 6) and type(instance.left) is float
    assert same is marker and named == {"key": 1.0}


def test_a_view_is_let_go_of_and_a_graph_too() -> None:
    x = torch.ones(1000, device="sim", requires_grad=True)
    activation = x * 2
    reference = weakref.ref(activation)
    value = derive(operator.neg, activation[0])
    del activation
    gc.collect()
    assert reference() is None and value == -2.0


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_functions_run_without_gradients_outside_inference_mode(guard: Any) -> None:
    modes = Calls(lambda x: (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), (x + 1).is_inference()))
    with guard():
        assert derive(modes, torch.ones(2, device="sim")) == (False, False, False)


# Chains


@pytest.mark.parametrize("finish", [float, lambda value: flush(), lambda value: finalize([value])])
def test_a_long_chain_needs_no_recursion(finish: Any) -> None:
    total: Any = 0
    for step in range(5000):
        total = derive(lambda total, x: total + x, total, defer(torch.tensor(step), fresh=True))
    assert pending() == 10_000
    finish(total)
    assert total == sum(range(5000)) and pending() == 0


def test_a_long_chain_that_nobody_wants_goes_at_once() -> None:
    total: Any = 0
    for _ in range(50_000):
        total = derive(operator.add, total, 1)
    del total
    assert pending() == 0


def test_a_flush_in_the_loop_lets_go_of_what_was_added() -> None:
    total: Any = 0
    parents = []
    for step in range(10):
        total = derive(lambda total, x: total + x, total, defer(torch.tensor(step)))
        parents.append(weakref.ref(total))
        flush()
        gc.collect()
        assert sum(parent() is not None for parent in parents) == 1 and pending() == 0
    assert total == 45


def test_the_time_of_a_chain_grows_with_its_length_and_not_faster() -> None:
    def reads(length: int) -> int:
        """Steps of the interpreter, which is what is the same on every machine."""
        total: Any = 0
        for _ in range(length):
            total = derive(operator.add, total, 1)
        steps = 0

        def count(frame: Any, event: str, argument: Any) -> Any:
            nonlocal steps
            steps += 1
            return count

        sys.settrace(count)
        try:
            assert total == length
        finally:
            sys.settrace(None)
        return steps

    before = sys.gettrace()
    try:
        assert reads(800) < 9 * reads(100)
    finally:
        sys.settrace(before)


def test_what_is_needed_comes_first_whatever_the_order_in_the_queue() -> None:
    from auditlint.defer import capture

    first = derive(operator.neg, number(2.0))
    second = derive(operator.add, first, number(3.0))
    third = derive(operator.add, second, first)
    capture.queue.reverse()
    assert third == -1.0 and first == -2.0 and second == 1.0


def test_derived_values_are_made_of_one_another() -> None:
    base = number(2.0)
    shared = Calls(lambda value: value * 10)
    ten = derive(shared, base)
    found = [derive(operator.add, ten, 1), derive(operator.sub, ten, base), derive(max, [ten, base, 7])]
    assert found == [21.0, 18.0, 20.0] and shared.made == [(2.0,)]


# What it stands for


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x > 1, True),
        (int, 2),
        (str, "2.5"),
        (lambda x: None, None),
        (lambda x: [x, {"k": (x, "s")}], [2.5, {"k": (2.5, "s")}]),
        (lambda x: {"a": x}, {"a": 2.5}),
    ],
)
def test_it_reads_as_what_the_function_returned(function: Any, expected: Any) -> None:
    def value() -> Any:
        return derive(function, number(2.5))

    assert value() == expected and f"{value()}" == f"{expected}" and repr(value()) == repr(expected)
    assert bool(value()) is bool(expected) and type(value().value) is type(expected)
    loaded = pickle.loads(pickle.dumps(value()))
    assert loaded == expected and type(loaded) is type(expected)
    assert json.dumps([value()], default=json_default) == json.dumps([expected])
    assert copy.deepcopy([value()]) == [expected] and copy.copy(value()) == expected
    holder = {"value": value()}
    finalize(holder)
    assert type(holder["value"]) is type(expected) and holder == {"value": expected}


def test_strings_lists_and_dicts_have_what_they_have() -> None:
    text, listed = derive("{:.1f}!".format, number(2.5)), derive(lambda x: [x, 1.0], number(2.5))
    table = derive(lambda x: {"a": x}, number(2.5))
    assert text + "?" == "2.5!?" and len(text) == 4 and text.upper() == "2.5!" and "!" in text and text[0] == "2"
    assert list(listed) == [2.5, 1.0] and sorted(listed) == [1.0, 2.5] and listed[1] == 1.0 and [*reversed(listed)]
    assert dict(table.items()) == {"a": 2.5} and table["a"] == 2.5 and list(table) == ["a"]
    with pytest.raises(TypeError, match="not iterable"):
        iter(derive(float, number()))
    with pytest.raises(TypeError, match="no len"):
        len(derive(float, number()))


def test_copies_do_not_wait_and_are_apart() -> None:
    value = derive(lambda x: [x], number(1.0))
    with Spent() as spent:
        apart = [copy.copy(value), copy.deepcopy({"v": value})["v"]]
    assert spent.counts == (0, 0) and not value.ready
    apart[0].append(2)
    assert (value, apart[0], apart[1]) == ([1.0], [1.0, 2], [1.0])
    late = copy.deepcopy(value)
    late.append(3)
    assert value == [1.0]


def test_a_result_that_is_deferred_is_its_value_and_tensors_stay() -> None:
    assert derive(lambda x: defer(torch.tensor(x + 1)), number(1.0)) == 2.0
    assert derive(lambda x: derive(operator.neg, x), number(1.0)) == -1.0
    vector = derive(lambda x: x + 1, defer(torch.ones(2, device="sim"), as_="cpu"))
    assert isinstance(vector.value, torch.Tensor) and (torch.ones(2) + vector).tolist() == [3.0, 3.0]
    assert np.asarray(vector).tolist() == [2.0, 2.0] and vector.shape == (2,)
    log = [derive(lambda x: {"tensor": x, "late": defer(x[0])}, torch.ones(2, device="sim"))]
    finalize(log)
    assert type(log[0]["late"]) is float and type(log[0]["tensor"]) is torch.Tensor


# What a program does with numbers


def numbers(kind: str) -> list[Any]:
    found = [number(value) for value in (3.0, 1.0, 2.0)]
    return found if kind == "deferred" else [derive(lambda x: x, value) for value in found]


@pytest.mark.parametrize("kind", ["deferred", "derived"])
def test_programs_use_them_as_numbers(kind: str) -> None:
    found = numbers(kind)
    assert sum(found) == 6.0 and max(found) == 3.0 and min(found) == 1.0 and math.fsum(found) == 6.0
    assert sorted(found) == [1.0, 2.0, 3.0] and sorted(found, reverse=True) == [3.0, 2.0, 1.0]
    assert np.mean(found) == 2.0 and np.array(found, dtype=np.float32).tolist() == [3.0, 1.0, 2.0]
    assert np.percentile(found, 50) == 2.0 and int(np.argmax(found)) == 0
    assert statistics.mean(found) == statistics.fmean(found) == statistics.median(found) == 2.0
    assert statistics.stdev(found) == 1.0 and statistics.variance(found) == 1.0
    assert f"{statistics.mean(found):.2f}" == "2.00" and round(statistics.mean(found), 1) == 2.0
    formats = "{:.3f}", "%.1f %d %s"
    assert formats[0].format(found[0]) == "3.000" and formats[1] % (found[0], found[1], found[2]) == "3.0 1 2.0"
    assert {found[0]: "a"}[3.0] == "a" and {3.0: "a"}[found[0]] == "a" and collections.Counter(found)[1.0] == 1
    assert math.sqrt(found[1]) == 1.0 and math.isclose(found[0], 3.0) and found[0] == found[0] and found[0] != found[1]
    assert torch.tensor([float(value) for value in found]).tolist() == [3.0, 1.0, 2.0]
    assert json.dumps({"a": found}, default=json_default) == '{"a": [3.0, 1.0, 2.0]}'
    assert not isinstance(found[0], float) and isinstance(found[0], Deferred)
    with pytest.raises(TypeError, match="coerce"):
        statistics.mean([*found, 1.0])
    assert statistics.mean([*finalize(found), 1.0]) == 1.75


def test_the_mean_of_whole_numbers() -> None:
    assert statistics.mean([defer(torch.tensor(1)), defer(torch.tensor(2))]) == 1.5
    assert statistics.mean([defer(torch.tensor(1)), defer(torch.tensor(3))]) == 2


# Failures


def test_what_a_function_raises_is_raised_by_each_read_of_its_value() -> None:
    failed, good = derive(lost, number(1.0)), derive(operator.neg, number(2.0))
    for read in (float, str, hash, lambda value: value + 1, lambda value: +copy.copy(value), pickle.dumps):
        with pytest.raises(ZeroDivisionError, match="no such share"):
            read(failed)
    assert good == -2.0 and not failed.ready and pending() == 0


def test_finalize_raises_after_the_others_are_in_place() -> None:
    log = [number(1.0), derive(lost, number(1.0)), derive(operator.neg, number(2.0))]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            finalize(log)
    assert [type(value).__name__ for value in log] == ["float", "Derived", "float"]


def test_flush_raises_what_it_met_once() -> None:
    failed = derive(lost, number(1.0))
    with pytest.raises(ZeroDivisionError):
        flush()
    flush()
    with pytest.raises(ZeroDivisionError):
        float(failed)


def test_what_is_derived_from_a_failure_fails_with_it_and_a_chain_adds_nothing_to_its_traceback() -> None:
    total: Any = derive(lost, number(1.0))
    for _ in range(3000):
        total = derive(operator.add, total, 1)
    with pytest.raises(ZeroDivisionError) as caught:
        float(total)
    assert len(caught.traceback) < 20


def test_an_error_of_the_device_is_the_error_of_what_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Calls()
    with count_syncs("simulated"):
        value = derive(ran, defer(torch.tensor(1.0, device="cuda")), 2)
        chained, host = derive(ran, value), derive(ran, torch.tensor(4.0))

        def broken(self: Any) -> None:
            raise RuntimeError("device-side assert triggered")

        with monkeypatch.context() as patched:
            patched.setattr(sim.Event, "synchronize", broken)
            with pytest.raises(RuntimeError, match="device-side assert"):
                flush()
    for one in (value, chained):
        with pytest.raises(RuntimeError, match="device-side assert"):
            float(one)
    assert host == 4.0 and ran.made == [(4.0,)]


@pytest.mark.parametrize("read", [lambda value: flush(), float])
def test_an_interrupt_loses_nothing(read: Any) -> None:
    interrupts = [KeyboardInterrupt()]

    def once(value: float) -> float:
        if interrupts:
            raise interrupts.pop()
        return value

    first, second, third = (derive(function, number(1.0)) for function in (operator.neg, once, operator.neg))
    with pytest.raises(KeyboardInterrupt):
        read(second)
    assert pending() == 2
    assert (first, second, third) == (-1.0, 1.0, -1.0)


def test_too_little_memory_in_the_flush_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    value = derive(operator.neg, number(1.0))

    def refuse(*args: Any) -> Any:
        raise torch.OutOfMemoryError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr("auditlint.defer.transfer.gather", refuse)
        with pytest.raises(torch.OutOfMemoryError):
            flush()
    assert value == -1.0


def test_a_function_may_not_read_its_own_value() -> None:
    values: list[Any] = []
    values.append(derive(lambda x: values[0] + x, number(1.0)))
    values.append(derive(operator.neg, number(2.0)))
    with pytest.raises(RuntimeError, match="read while its own function runs"):
        float(values[0])
    assert values[1] == -2.0


def test_functions_may_read_capture_and_flush() -> None:
    outer = number(2.0)
    later: list[Any] = []

    def curious(x: float) -> float:
        flush()
        return x + float(outer) + float(later[0]) + float(number(4.0)) + float(derive(operator.neg, number(1.0)))

    value = derive(curious, number(1.0))
    later.append(derive(operator.neg, number(8.0)))
    assert value == 1.0 + 2.0 - 8.0 + 4.0 - 1.0
    assert pending() == 0


def test_it_refuses_what_defer_refuses() -> None:
    with pytest.raises(TypeError, match="a meta tensor has no values"):
        derive(float, torch.ones((), device="meta"))


# With the rest of the library


def test_deferred_calls_get_values_and_derived_ones_before_them() -> None:
    ran: list[Any] = []
    share = derive(lambda a, b: a / b, number(1.0), number(4.0))
    defer_call(lambda *args: ran.append(args), share, [derive(operator.neg, share)])
    del share
    flush()
    assert ran == [(0.25, [-0.25])]


def test_an_audit_log_has_them_as_values() -> None:
    log = AuditLog()
    for step in range(3):
        log.append({"step": step, "share": derive(lambda x, n: x / n, number(float(step)), 2)})
    with Spent() as spent:
        entries = log.finalize()
    assert spent.counts == (1, 1)
    assert [(entry["share"], type(entry["share"])) for entry in entries] == [(0.0, float), (0.5, float), (1.0, float)]


def test_a_capture_function_may_derive() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2)).to("sim")

    def capture(module: Any, args: Any, output: Any) -> Any:
        return derive(lambda norm, n: norm / n, defer(output.norm(), fresh=True), output.numel())

    with AuditLog.attach(model, capture=capture) as log:
        output = model(torch.ones(1, 2, device="sim"))
    assert log.finalize()[0]["value"] == output.detach().norm().item() / 2


def test_an_entry_that_fails_keeps_no_other_from_being_finished(tmp_path: Any) -> None:
    log = AuditLog()
    for function in (operator.neg, lost, operator.neg):
        log.append({"value": derive(function, number(1.0))})
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            log.finalize()
        assert [entry["value"] for entry in log.finished] == [-1.0, -1.0] and len(log) == 3


def test_what_derived_values_hold_on_the_device_counts_once() -> None:
    log = AuditLog(max_bytes=40, on_full="error")
    total: Any = 0
    for _ in range(10):
        total = derive(operator.add, total, defer(tensor(1.0)))
        log.append({"total": total})
    with pytest.raises(AuditLogFull, match="40 bytes"):
        log.append({"x": derive(operator.neg, derive(operator.neg, tensor(1.0)))})
    assert [entry["total"] for entry in log.finalize()] == list(range(1, 11))
    log.append({"x": derive(operator.neg, tensor(1.0))})
    small = AuditLog(max_bytes=8)
    for _ in range(5):
        small.append({"x": derive(operator.neg, derive(operator.neg, tensor(1.0)))})
    assert [entry["x"] for entry in small.finalize()] == [1.0] * 5


def test_sending_keeps_what_is_derived_for_later() -> None:
    with count_syncs("simulated"):
        value = derive(operator.neg, defer(torch.tensor(2.0, device="cuda")))
        with Spent() as sent:
            assert send_all() == []
        assert sent.counts == (0, 1) and not value.ready
        assert value == -2.0


# Threads, processes, compiled code


def test_threads_read_the_same_value_and_it_is_computed_once() -> None:
    start = threading.Barrier(4)
    seen = Calls(lambda value: value * 2)
    found: list[float] = []
    values = [derive(seen, number(float(step))) for step in range(50)]

    def work() -> None:
        start.wait()
        found.extend(float(value) for value in values)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen.made) == 50 and sorted(found) == sorted([2.0 * step for step in range(50)] * 4)


def test_threads_add_to_chains_of_their_own() -> None:
    results: dict[int, Any] = {}

    def work(name: int) -> None:
        total: Any = 0
        for step in range(300):
            total = derive(operator.add, total, defer(torch.tensor(step), fresh=True))
            if step % 50 == name:
                flush()
        results[name] = total

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[name] for name in range(4)] == [sum(range(300))] * 4 and pending() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_what_needs_the_device_is_lost_and_the_rest_is_computed() -> None:
    code = """if True:
        import os, torch
        from auditlint.defer import defer, derive, flush
        from auditlint.runtime.simulation.registration import register
        register()
        host = derive(lambda x: x + 1, defer(torch.tensor(1.5)))
        device = derive(lambda x: x + 1, defer(torch.tensor(2.5, device="sim")))
        child = os.fork()
        if child == 0:
            try:
                float(device)
            except RuntimeError as error:
                print("child", float(host), "before this process was forked" in str(error), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", float(host), float(device))
    """
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert (found.stdout.splitlines(), found.returncode) == (["child 2.5 True", "parent 2.5 3.5"], 0), found.stderr


@pytest.mark.parametrize("whole", [True, False])
def test_compiled_hooks_derive_with_a_graph_break_and_no_recompilation(whole: bool) -> None:
    torch._dynamo.reset()
    graphs = []
    norms = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    kept: dict[str, Any] = {}

    def hook(module: Any, args: Any, output: Any) -> None:
        kept["share"] = derive(lambda norm, n: norm / n, defer(output.norm(), fresh=True), output.numel())
        kept["tensor"] = output

    model = torch.nn.Sequential(torch.nn.Linear(3, 3))
    model[0].register_forward_hook(outside_graph(hook) if whole else hook)
    compiled = torch.compile(model, backend=backend)
    for step in range(12):
        compiled(torch.randn(2, 3))
        norms.append((kept["share"], kept["tensor"].norm().item() / 6))
        if step == 1:
            first = len(graphs)
    assert len(graphs) == first and all(value == expected for value, expected in norms)


def test_a_flush_with_nothing_pending_touches_no_device() -> None:
    with Spent() as spent:
        for _ in range(100):
            flush()
    assert spent.counts == (0, 0)


def test_arrays_are_taken_as_they_are_now() -> None:
    counts, nested, seen = np.zeros(2), {"rows": [np.ones(3)]}, []
    value = derive(lambda x, counts, nested: (x * counts, nested["rows"][0].sum()), torch.tensor(2.0), counts, nested)
    defer_call(seen.append, counts)
    counts += 1
    nested["rows"][0][:] = 0
    flush()
    assert value[0].tolist() == [0.0, 0.0]
    assert value[1] == 3.0
    assert [one.tolist() for one in seen] == [[0.0, 0.0]]
    assert seen[0] is not counts


def test_subclasses_of_arrays_stay_what_they_are() -> None:
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    total = derive(lambda x, masked: x + masked.sum(), torch.tensor(2.0), masked)
    masked.mask = np.ma.nomask
    assert total == 3.0
