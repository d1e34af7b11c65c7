"""Device buffers: what is written is read back exactly, nothing waits before that, nothing is dropped silently."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import threading
import warnings
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend

from auditlint.defer.buffer import QUEUEING, BufferFull, DeviceBuffer, flush_all
from auditlint.defer.layer_buffers import attach
from auditlint.runtime import count_syncs
from auditlint.runtime.simulation.clock import CLOCK, Counts

SIM = "sim:0"
DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
)
BACKENDS = [
    "eager",
    "aot_eager",
    pytest.param(
        "inductor",
        marks=pytest.mark.skipif(
            not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="inductor needs a C++ compiler"
        ),
    ),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")


def two_layers() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


def norm(output: torch.Tensor) -> torch.Tensor:
    return output.norm()


def norms(model: torch.nn.Module, batches: list[torch.Tensor]) -> dict[str, list[float]]:
    """What naive hooks read."""
    found: dict[str, list[float]] = {"0": [], "2": []}
    with contextlib.ExitStack() as undo:
        for name, values in found.items():
            layer = model.get_submodule(name)
            hook = layer.register_forward_hook(lambda m, a, output, values=values: values.append(output.norm().item()))
            undo.callback(hook.remove)
        for batch in batches:
            model(batch)
    return found


def since(before: Counts) -> Counts:
    now = CLOCK.counts()
    return Counts(*(after - then for after, then in zip(now, before, strict=True)))


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def bits(tensor: torch.Tensor) -> list[int]:
    values: list[int] = tensor.contiguous().reshape(-1).view(torch.uint8).tolist()
    return values


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 4))
def test_rows_come_back_bit_by_bit(data: st.DataObject, dtype: torch.dtype, width: int) -> None:
    buffer = DeviceBuffer([f"c{i}" for i in range(width)], 12, dtype=dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    for _ in range(data.draw(st.integers(1, 3))):
        written = []
        for count in data.draw(st.lists(st.integers(0, 4), max_size=3)):
            top = 1 if dtype is torch.bool else 255
            raw = data.draw(st.lists(st.integers(0, top), min_size=count * width * size, max_size=count * width * size))
            rows = torch.tensor(raw, dtype=torch.uint8).view(dtype).reshape(count, width)
            if count == 1:
                buffer.append(*rows[0])
            else:
                buffer.extend(rows)
            written.append(rows)
        expected = torch.cat(written) if written else torch.empty(0, width, dtype=dtype)
        assert bits(buffer.read().values) == bits(expected)
        found = buffer.flush()
        assert found.values.dtype == dtype
        assert found.values.shape == expected.shape
        assert bits(found.values) == bits(expected)
        assert len(buffer.read()) == 0


def test_columns_have_names() -> None:
    buffer = DeviceBuffer(("layer", "norm"), 4, dtype=torch.float64)
    buffer.append(3, torch.tensor(0.1, dtype=torch.float64))
    buffer.append(torch.tensor([4.0, 0.2]).double())
    rows = buffer.flush()
    assert rows.columns == ("layer", "norm")
    assert rows.column("layer").tolist() == [3.0, 4.0]
    assert rows.to_dicts()[0] == {"layer": 3.0, "norm": 0.1}
    with pytest.raises(KeyError, match="no column 'token'; there are: layer, norm"):
        rows.column("token")


def test_rows_keep_no_more_memory_than_they_need() -> None:
    buffer = DeviceBuffer("n", 1000)
    buffer.append(1)
    assert buffer.flush().values.untyped_storage().nbytes() == 4


def test_large_integers_are_exact_where_the_dtype_is() -> None:
    buffer = DeviceBuffer("id", 2, dtype=torch.int64)
    buffer.append(2**53 + 1)
    buffer.append(torch.tensor(-(2**63)))
    assert buffer.flush().to_dicts() == [{"id": 2**53 + 1}, {"id": -(2**63)}]


def test_what_is_written_is_detached_and_copied() -> None:
    buffer = DeviceBuffer("value", 4)
    weight = torch.ones((), requires_grad=True)
    buffer.append(weight * 2)
    state = torch.full((), 5.0)
    buffer.append(state)
    state.zero_()
    found = buffer.flush()
    assert found.column("value").tolist() == [2.0, 5.0]
    assert not found.values.requires_grad
    buffer.append(1.0)
    buffer.flush()
    assert found.column("value").tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", 0), "at least one row"),
        (((), 1), "needs columns"),
        ((("x", "x"), 1), "another name"),
        (("x", 1, "wrap"), '"error" or "flush"'),
    ],
)
def test_a_buffer_that_makes_no_sense_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    columns, capacity, *on_full = arguments
    with pytest.raises(ValueError, match=message):
        DeviceBuffer(columns, capacity, **({"on_full": on_full[0]} if on_full else {}))


def test_values_that_do_not_fit_are_refused() -> None:
    buffer = DeviceBuffer(("a", "b"), 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="1 values for the 2 columns a, b"):
        buffer.append(1)
    with pytest.raises(ValueError, match="a: a tensor of 3 elements"):
        buffer.append(torch.ones(3, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"rows of shape \(3,\)"):
        buffer.extend(torch.ones(3, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"b: float does not become torch\.int64"):
        buffer.append(1, 0.5)
    with pytest.raises(TypeError, match=r"rows: torch\.float32 does not become torch\.int64"):
        buffer.extend(torch.ones(2, 2))
    with pytest.raises(TypeError, match="Decimal is neither a tensor nor a number"):
        DeviceBuffer("x", 1).append(Decimal(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"complex does not become torch\.float32"):
        DeviceBuffer("x", 1).append(1j)
    with count_syncs("simulated"), pytest.raises(ValueError, match="on sim:0, and the buffer is on cpu"):
        buffer.append(1, torch.ones((), dtype=torch.int64, device=SIM))
    assert len(buffer.flush()) == 0


# Overflow


def test_rows_that_do_not_fit_are_counted_and_nothing_is_overwritten() -> None:
    buffer = DeviceBuffer("n", 3, dtype=torch.int64)
    for n in range(5):
        buffer.append(n)
    with pytest.raises(BufferFull, match=r"2 of 5 rows did not fit \(capacity: 3\)") as raised:
        buffer.read()
    assert raised.value.lost == 2
    with pytest.raises(BufferFull) as raised:
        buffer.flush()
    assert (raised.value.lost, raised.value.kept.lost) == (2, 2)
    assert raised.value.kept.column("n").tolist() == [0, 1, 2]
    buffer.append(9)
    assert buffer.flush().column("n").tolist() == [9]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=5))
def test_kept_and_lost_are_what_was_written(capacity: int, batches: list[int]) -> None:
    buffer = DeviceBuffer("n", capacity, dtype=torch.int64)
    written = torch.arange(sum(batches)).unsqueeze(1)
    for rows in written.split(batches) if batches else ():
        buffer.extend(rows)
    try:
        found = buffer.flush()
    except BufferFull as full:
        found = full.kept
    assert found.values[:, 0].tolist() == list(range(min(len(written), capacity)))
    assert len(found) + found.lost == len(written)


def test_reserve_refuses_before_anything_is_lost() -> None:
    buffer = DeviceBuffer("n", 4)
    buffer.reserve(3)
    with pytest.raises(BufferFull, match="3 of 4 rows are reserved, 2 more do not fit") as raised:
        buffer.reserve(2)
    assert (raised.value.lost, raised.value.kept) == (0, None)
    buffer.flush()
    buffer.reserve(4)
    with pytest.raises(ValueError, match="5 rows never fit into a buffer of 4"):
        buffer.reserve(5)


def test_reserve_moves_rows_to_the_host() -> None:
    buffer = DeviceBuffer("n", 4, dtype=torch.int64, on_full="flush")
    for step in range(5):
        buffer.reserve(3)
        buffer.extend(torch.arange(3 * step, 3 * step + 3).unsqueeze(1))
    assert buffer.read().column("n").tolist() == list(range(15))
    assert buffer.flush().column("n").tolist() == list(range(15))
    assert len(buffer.flush()) == 0


def test_rows_beyond_what_was_reserved_are_not_lost_silently() -> None:
    buffer = DeviceBuffer("n", 2, on_full="flush")
    buffer.reserve(1)
    for n in range(5):
        buffer.append(n)
    buffer.reserve(2)
    buffer.append(7)
    with pytest.raises(BufferFull, match="3 of 6") as raised:
        buffer.flush()
    assert raised.value.kept.column("n").tolist() == [0.0, 1.0, 7.0]


def test_reset_forgets() -> None:
    buffer = DeviceBuffer("n", 2, on_full="flush")
    for n in range(5):
        buffer.reserve(1)
        buffer.append(n)
    buffer.reset()
    assert len(buffer.read()) == 0
    buffer.append(7)
    assert buffer.flush().column("n").tolist() == [7.0]


def test_a_row_written_in_the_middle_of_a_flush_is_noticed() -> None:
    """As compiled code on another thread may do, which takes no lock."""
    buffer = DeviceBuffer("n", 8)
    buffer.append(1)
    counters, _ = buffer.snapshot()
    buffer.append(2)
    buffer.forget(counters)
    buffer.append(3)
    with pytest.raises(BufferFull) as raised:
        buffer.flush()
    assert raised.value.lost == 1
    assert buffer.flush().lost == 0


# What it costs


def test_writing_waits_for_nothing_and_a_flush_is_one_transfer() -> None:
    with count_syncs("simulated"):
        buffer = DeviceBuffer(("norm", "mean", "layer"), 10, device=SIM)
        output = torch.randn(5, 5, device=SIM)
        value = output.norm()
        before = CLOCK.counts()
        for _ in range(4):
            buffer.append(value, value, 3)
        buffer.extend(output[:2, :3])
        buffer.reserve(10)
        assert since(before)[1:] == (0, 0, 0.0, 0, 0)
        before = CLOCK.counts()
        assert len(buffer.read()) == 6
        spent = since(before)
        assert (spent.copies, spent.waits, spent.h2d) == (1, 1, 0)
        assert spent.d2h == 10 * 3 * 4 + 3 * 8
        before = CLOCK.counts()
        assert len(buffer.flush()) == 6
        spent = since(before)
        assert (spent.copies, spent.waits) == (1, 1)
        before = CLOCK.counts()
        buffer.reset()
        assert (since(before).waits, since(before).copies) == (0, 0)


def test_one_row_of_one_value_costs_four_kernels() -> None:
    with count_syncs("simulated"):
        buffer = DeviceBuffer("norm", 10, device=SIM)
        value = torch.ones((), device=SIM)
        before = CLOCK.counts()
        buffer.append(value)
        assert since(before).kernels == 4  # stack, clamp, index_copy_, add_


def test_several_buffers_of_a_device_are_one_transfer() -> None:
    with count_syncs("simulated"):
        here = DeviceBuffer("n", 4, dtype=torch.int64)
        there = [DeviceBuffer("n", 3, dtype=dtype, device=SIM) for dtype in (torch.bool, torch.float64, torch.float16)]
        for number, buffer in enumerate((*there, here)):
            buffer.append(bool(number))
        before = CLOCK.counts()
        found = flush_all([there[0], here, *there[1:]])
        spent = since(before)
        assert (spent.copies, spent.waits, spent.d2h) == (1, 1, 3 * (3 * 8) + 3 * 1 + 3 * 8 + 3 * 2)
        assert [rows.values.item() for rows in found] == [False, 1, 1.0, 1.0]


def test_hooks_do_not_sync() -> None:
    with count_syncs("simulated") as counter:
        model = two_layers().to(SIM)
        batches = [torch.randn(2, 4, device=SIM) for _ in range(3)]
        with attach(model, ("0", "2"), norm, capacity=8) as layers:
            before = CLOCK.counts()
            for batch in batches:
                model(batch)
            assert since(before).waits == 0
            found = layers.flush()
            spent = since(before)
            assert (spent.waits, spent.copies, spent.d2h) == (1, 1, 2 * (8 * 4 + 3 * 8))
        assert counter.in_hooks == 0
        expected = norms(model, batches)
        assert counter.in_hooks == 6
        assert {name: rows.column("value").tolist() for name, rows in found.items()} == expected


def test_addresses_stay() -> None:
    """What a CUDA graph has captured is written to for ever."""
    buffer = DeviceBuffer("n", 2, on_full="flush")
    before = [memory.data_ptr() for memory in buffer.snapshot()[1:]], buffer.written.data_ptr()
    for _ in range(3):
        buffer.reserve(2)
        buffer.append(1)
    buffer.flush()
    buffer.reset()
    assert ([memory.data_ptr() for memory in buffer.snapshot()[1:]], buffer.written.data_ptr()) == before


# Hooks


def test_layers_are_chosen_by_name_or_pattern() -> None:
    model = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([two_layers(), two_layers()]), "head": two_layers()})
    with attach(model, ["blocks.*.0", "head"], norm, capacity=1) as layers:
        assert list(layers) == ["blocks.0.0", "blocks.1.0", "head"]
        assert len(layers) == 3
    with pytest.raises(ValueError, match=r"no layer is called 'blocks.2.0'; did you mean 'blocks.[01].0'\?"):
        attach(model, ["head", "blocks.2.0"], norm, capacity=1).__enter__()
    assert not model["head"]._forward_hooks


def test_a_statistic_may_have_several_columns() -> None:
    model = two_layers()
    with attach(
        model, "2", lambda out: (out.min(), out.max(), 7), columns=("low", "high", "layer"), capacity=2
    ) as layers:
        out = model(torch.ones(2, 4))
    rows = layers.flush()["2"]
    assert rows.to_dicts() == [{"low": out.min().item(), "high": out.max().item(), "layer": 7.0}]


def test_the_first_tensor_of_several_is_taken() -> None:
    model = torch.nn.LSTM(2, 3)
    with attach(model, "", norm, capacity=2) as layers:
        output, _ = model(torch.ones(4, 2))
    assert layers.flush()[""].values.item() == output.norm().item()
    with (
        attach(model, "", lambda out: out, capacity=1),
        pytest.raises(ValueError, match="value: a tensor of 12 elements"),
    ):
        model(torch.ones(4, 2))


class Returns(torch.nn.Module):
    """Returns what it is told, whatever it is given."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor) -> Any:
        return self.output


@pytest.mark.parametrize("output", [torch.full((1,), 3.0), (torch.full((1,), 3.0), 1), {"x": torch.full((1,), 3.0)}])
def test_the_first_tensor_of_an_output_is_recorded(output: Any) -> None:
    model = Returns(output)
    with attach(model, "", norm, capacity=1) as layers:
        model(torch.ones(1))
    assert layers.flush()[""].values.item() == 3.0


@pytest.mark.parametrize(("output", "said"), [("x", "str"), ((1, torch.ones(1)), "int"), ({}, "dict"), (None, "None")])
def test_an_output_without_a_tensor_says_so(output: Any, said: str) -> None:
    model = Returns(output)
    with attach(model, "", norm, capacity=1), pytest.raises(TypeError, match=f"a layer returned {said}"):
        model(torch.ones(1))


def test_a_layer_with_two_names_is_hooked_once() -> None:
    layer = torch.nn.Linear(4, 4)
    model = torch.nn.ModuleDict({"first": layer, "second": layer, "third": torch.nn.Linear(4, 4)})
    with attach(model, ["third", "*d", "first"], norm, capacity=2) as layers:
        assert list(layers) == ["first", "third"]
        model["second"](torch.ones(1, 4))
    assert len(layers.flush()["first"]) == 1


def test_an_exception_in_the_pass_keeps_what_was_written_and_removes_the_hooks() -> None:
    class Fails(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("in the middle")

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), Fails(), torch.nn.Linear(4, 4))
    with pytest.raises(RuntimeError, match="in the middle"), attach(model, "*", norm, capacity=4) as layers:
        model(torch.ones(1, 4))
    assert all(not module._forward_hooks for module in model.modules())
    assert {name: len(rows) for name, rows in layers.flush().items()} == {"": 0, "0": 1, "1": 0, "2": 0}


def test_nested_passes_are_written_in_the_order_of_the_calls() -> None:
    model = two_layers()
    outer, inner = torch.ones(2, 4), torch.full((2, 4), 2.0)
    expected = [model(batch).norm().item() for batch in (inner, outer)]
    depth: list[int] = []

    def nested(module: torch.nn.Module, args: Any, output: Any) -> None:
        if not depth:
            depth.append(1)
            model(inner)

    with attach(model, "2", norm, capacity=4) as layers:
        handle = model[0].register_forward_hook(nested)
        model(outer)
        handle.remove()
    assert layers.flush()["2"].column("value").tolist() == expected


def test_a_layer_that_runs_twice_in_a_pass_writes_twice() -> None:
    layer = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(layer, layer)
    with attach(model, "0", norm, capacity=4) as layers:
        out = model(torch.ones(1, 4))
    assert layers.flush()["0"].column("value")[1].item() == out.norm().item()


def test_layers_on_several_devices() -> None:
    with count_syncs("simulated"):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, device=SIM))
        with attach(model, ["0", "1"], norm, capacity=2) as layers:
            model[1](model[0](torch.ones(1, 2)).to(SIM))
            assert [str(buffer.device) for buffer in layers.values()] == ["cpu", SIM]
            before = CLOCK.counts()
            found = layers.flush()
            assert since(before).copies == 1
        assert [len(rows) for rows in found.values()] == [1, 1]


def test_lost_rows_are_told_by_layer() -> None:
    model = two_layers()
    with attach(model, ["0", "2"], norm, capacity=2) as layers:
        for _ in range(3):
            model(torch.ones(1, 4))
        with pytest.raises(BufferFull, match="2 of 6") as raised:
            layers.flush()
        assert {name: (len(rows), rows.lost) for name, rows in raised.value.kept.items()} == {"0": (2, 1), "2": (2, 1)}
        layers.reserve(2)
        with pytest.raises(BufferFull, match="reserved"):
            layers.reserve(1)


def test_a_copied_model_records_here_until_the_end_of_the_block() -> None:
    model = two_layers()
    with attach(model, "2", norm, capacity=8) as layers:
        other = copy.deepcopy(model)
        model(torch.ones(1, 4))
        other(torch.ones(1, 4))
        assert len(layers.flush()["2"]) == 2
    other(torch.ones(1, 4))
    assert len(layers.flush()["2"]) == 0


def test_silence_since_the_beginning_is_told() -> None:
    with (
        attach(two_layers(), "2", norm, capacity=8) as layers,
        pytest.warns(RuntimeWarning, match="has recorded anyth"),
    ):
        layers.flush()


@pytest.mark.parametrize("inside", [False, True])
def test_inference_mode(inside: bool) -> None:
    model = two_layers()
    with torch.inference_mode(inside):
        attached = attach(model, "2", norm, capacity=4)
        layers = attached.__enter__()
    with torch.inference_mode():
        model(torch.ones(1, 4))
    model(torch.ones(1, 4))
    with torch.inference_mode(not inside):
        values = layers.flush()["2"].column("value")
    attached.__exit__(None, None, None)
    assert values.shape == (2,)
    assert values[0] == values[1]


def test_autocast_lowers_what_is_computed_and_not_what_is_kept() -> None:
    model = two_layers()
    with attach(model, "2", lambda out: out.max(), capacity=4) as layers, torch.autocast("cpu", torch.bfloat16):
        out = model(torch.ones(1, 4))
    values = layers.flush()["2"].values
    assert out.dtype == torch.bfloat16
    assert values.dtype == torch.float32
    assert values.item() == out.max().item()


def test_gradients_flow_as_if_there_were_no_hooks() -> None:
    model = two_layers()
    model(torch.ones(1, 4)).sum().backward()
    expected = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    with attach(model, "*", norm, capacity=4) as layers:
        model(torch.ones(1, 4)).sum().backward()
    assert all(torch.equal(weight.grad, grad) for weight, grad in zip(model.parameters(), expected, strict=True))
    assert not layers["0"].flush().values.requires_grad


# Threads


def test_threads_lose_and_mix_nothing() -> None:
    buffer = DeviceBuffer(("thread", "n"), 4000, dtype=torch.int64)
    found: list[list[int]] = []
    done = threading.Event()

    def write(thread: int) -> None:
        for n in range(200):
            buffer.append(thread, n)

    def read() -> None:
        while not done.is_set():
            found.extend(buffer.flush().values.tolist())

    writers = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    found.extend(buffer.flush().values.tolist())
    assert [[n for thread, n in found if thread == one] for one in range(4)] == [list(range(200))] * 4


def test_nobody_holds_the_lock_while_the_host_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = DeviceBuffer("n", 2)
    copied: list[bool] = []
    real = torch.Tensor.cpu

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        writer = threading.Thread(target=buffer.append, args=(1,))
        writer.start()
        writer.join(timeout=10)
        copied.append(not writer.is_alive())
        return real(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    assert len(buffer.flush()) == 0
    monkeypatch.undo()
    assert copied == [True]
    assert len(buffer.flush()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking needs a POSIX system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_finds_the_lock_free() -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with QUEUEING:
            held.set()
            free.wait(timeout=0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        waiting: list[bool] = []
        other = threading.Thread(target=lambda: waiting.append(QUEUEING.acquire(timeout=5)))
        other.start()
        other.join()
        os._exit(0 if waiting == [True] else 1)
    free.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_an_error_of_the_device_is_raised_and_not_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = DeviceBuffer("n", 2)
    buffer.append(1)

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    with pytest.raises(RuntimeError, match="device-side assert"):
        buffer.flush()
    assert QUEUEING.acquire(timeout=1)
    QUEUEING.release()


# Compiled


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_hooks_are_one_graph_and_record_the_same(backend: str, fresh_compiler: None) -> None:
    model, counter = two_layers(), CompileCounterWithBackend(backend)
    batches = [torch.randn(3, 4) for _ in range(12)]
    expected = norms(model, batches)
    with attach(model, ["0", "2"], norm, capacity=16) as layers:
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        for batch in batches:
            compiled(batch).sum().backward()  # in training mode
        found = layers.flush()
    assert counter.frame_count == 1
    for name, rows in found.items():
        torch.testing.assert_close(rows.column("value"), torch.tensor(expected[name]))


def test_a_hook_of_ones_own_compiles_and_overflow_is_counted(fresh_compiler: None) -> None:
    model, counter = two_layers(), CompileCounterWithBackend("aot_eager")
    buffer = DeviceBuffer(("layer", "norm"), 3)
    for number, layer in enumerate((model[0], model[2])):
        layer.register_forward_hook(lambda m, a, out, number=number: buffer.append(number, out.norm()))
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for _ in range(10):
        compiled(torch.ones(1, 4))
    with pytest.raises(BufferFull) as raised:
        buffer.flush()
    assert raised.value.lost == 17
    assert raised.value.kept.column("layer").tolist() == [0.0, 1.0, 0.0]
    compiled(torch.ones(1, 4))
    assert len(buffer.flush()) == 2
    assert counter.frame_count == 1


def test_flushing_in_compiled_code_is_refused(fresh_compiler: None) -> None:
    buffer = DeviceBuffer("n", 3)

    @torch.compile(backend="eager", fullgraph=True)
    def step(x: torch.Tensor) -> torch.Tensor:
        buffer.append(x)
        buffer.flush()
        return x

    with pytest.raises(Exception, match="a buffer is read after the pass"):
        step(torch.ones(()))


def test_compiled_code_stops_recording_at_the_end_of_the_block(fresh_compiler: None) -> None:
    model = two_layers()
    with attach(model, "2", norm, capacity=4) as layers:
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        compiled(torch.ones(1, 4))
    compiled(torch.ones(1, 4))
    assert len(layers.flush()["2"]) == 1


def test_layers_of_a_compiled_model_keep_their_names_and_late_hooks_are_not_lost_silently(fresh_compiler: None) -> None:
    compiled = torch.compile(two_layers(), backend="eager", fullgraph=True)
    compiled(torch.ones(1, 4))
    with attach(compiled, "2", norm, capacity=4) as layers:
        compiled(torch.ones(1, 4))
        with pytest.warns(RuntimeWarning, match=r"torch.compile had compiled it before"):
            layers.flush()
        torch.compiler.reset()
        compiled(torch.ones(1, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(layers.flush()["2"]) == 1


def test_torch_takes_the_memory_to_stay_where_it_is(fresh_compiler: None) -> None:
    """Else Inductor leaves out CUDA graphs, since inputs are mutated."""
    buffer = DeviceBuffer("n", 3)

    @torch.compile(backend="eager", fullgraph=True)
    def step(x: torch.Tensor) -> torch.Tensor:
        buffer.append(x)
        return x

    step(torch.ones(()))
    _, rows = buffer.snapshot()
    kept = [getattr(memory, "_dynamo_static_input_type", None) for memory in (rows._base, buffer.written._base)]
    assert kept == ["unguarded", "unguarded"]


def test_the_examples_of_the_documentation_run() -> None:
    page = Path(__file__).parents[2] / "docs" / "defer-buffers.md"
    examples = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(examples) >= 4
    names: dict[str, Any] = {}
    for example in examples:
        exec(example, names)


# On a device


@pytest.mark.gpu
@needs_cuda
def test_cuda_graphs_go_on_recording() -> None:
    model, batch = two_layers().cuda(), torch.randn(3, 4, device="cuda")
    with attach(model, "2", norm, capacity=64) as layers, torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            model(batch)
        torch.cuda.current_stream().wait_stream(side)
        layers["2"].reset()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(batch)
        expected = []
        for _ in range(10):
            batch.normal_()
            graph.replay()
            expected.append(model[2](model[1](model[0](batch))).norm())
        rows = layers["2"].flush().column("value")
        torch.testing.assert_close(rows[::2], torch.stack(expected).cpu())


@pytest.mark.gpu
@needs_cuda
def test_reduce_overhead_keeps_its_cuda_graphs(fresh_compiler: None) -> None:
    model = two_layers().cuda()
    batches = [torch.randn(3, 4, device="cuda") for _ in range(10)]
    expected = norms(model, batches)
    with attach(model, ["0", "2"], norm, capacity=64) as layers, torch.no_grad():
        compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
        for batch in batches:
            compiled(batch)
        found = layers.flush()
    for name, rows in found.items():
        torch.testing.assert_close(rows.column("value"), torch.tensor(expected[name]))
