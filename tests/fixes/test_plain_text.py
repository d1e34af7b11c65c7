"""The functions that plain fixes write into a file: run as they would stand there, they give what `.item()` gives."""

from __future__ import annotations

import ast
import collections
import dataclasses
import itertools
import struct
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import pytest

from auditlint.fixes.plain_text import Name, plain_function

torch = pytest.importorskip("torch", reason="the generated functions are for torch")

from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()
DEVICES = ["cpu", "sim"]
DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32),
    *(torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
]


def written(name: Name) -> Callable[..., Any]:
    """The function, defined in a module that has nothing else but its imports."""
    found = plain_function(name)
    module = types.ModuleType("written")
    exec("".join(f"import {one}\n" for one in found.imports) + found.source, vars(module))
    function: Callable[..., Any] = getattr(module, found.name)
    return function


reads = written("finalize_reads")
copies = written("finalize_copies")


def spent(work: Callable[[], Any]) -> tuple[int, int]:
    """Waits and copies of the simulated device."""
    before = CLOCK.counts()
    work()
    after = CLOCK.counts()
    return after.waits - before.waits, after.copies - before.copies


def some(dtype: torch.dtype) -> list[torch.Tensor]:
    """Tensors without dimensions, on the CPU: ordinary values, and the bytes that a conversion would lose."""
    if dtype is torch.bool:
        return [torch.tensor(True), torch.tensor(False)]
    if dtype.is_complex:
        return [torch.tensor(complex(0.1, -0.0), dtype=dtype), torch.tensor(complex(float("nan"), 3), dtype=dtype)]
    if dtype.is_floating_point:
        numbers = (0.1, -0.0, float("nan")) if dtype.itemsize == 1 else (0.1, -0.0, float("inf"), float("nan"), 5e-8)
        return [torch.tensor(number).to(dtype) for number in numbers]
    return [torch.tensor(number, dtype=dtype) for number in (0, torch.iinfo(dtype).max, torch.iinfo(dtype).min)]


def bits(number: Any) -> tuple[type, bytes]:
    if isinstance(number, complex):
        return complex, struct.pack("dd", number.real, number.imag)
    return type(number), struct.pack("d", number) if isinstance(number, float) else repr(number).encode()


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass(frozen=True)
class Entry:
    layer: int
    norm: Any


class Hook:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def scalar(number: float, device: str = "sim") -> torch.Tensor:
    return torch.tensor(number, device=device)


# Values


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reads_are_those_of_item_bit_by_bit(device: str, dtype: torch.dtype) -> None:
    tensors = some(dtype)
    log = reads([tensor.to(device) for tensor in tensors])
    assert [bits(number) for number in log] == [bits(tensor.item()) for tensor in tensors]


@pytest.mark.parametrize("device", DEVICES)
def test_all_dtypes_are_one_transfer(device: str) -> None:
    tensors = [tensor for dtype in DTYPES for tensor in some(dtype)]
    log = [tensor.to(device) for tensor in tensors]
    assert spent(lambda: reads(log)) == ((1, 1) if device == "sim" else (0, 0))
    assert [bits(number) for number in log] == [bits(tensor.item()) for tensor in tensors]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)], ids=str)
def test_copies_are_those_of_cpu_bit_by_bit(device: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    numel = torch.Size(shape).numel()
    tensor = torch.zeros(numel, dtype=dtype)
    for position, value in zip(range(numel), itertools.cycle(some(dtype)), strict=False):
        tensor[position : position + 1] = value
    tensor = tensor.reshape(shape)
    copy = copies([tensor.to(device)])[0]
    assert (copy.device.type, copy.dtype, copy.shape) == ("cpu", dtype, tensor.shape)
    assert copy.reshape(-1).view(torch.uint8).tolist() == tensor.reshape(-1).view(torch.uint8).tolist()


def test_views_and_graphs_and_lazy_conjugates() -> None:
    x = torch.tensor([1 + 2j, 3 - 4j])
    lazy = [x.conj()[0], x.conj().imag[1], torch.ones(2, requires_grad=True).sum()]
    assert lazy[0].is_conj() and lazy[1].is_neg()
    assert reads(list(lazy)) == [1 - 2j, 4.0, 2.0]
    base = torch.arange(6.0, device="sim", requires_grad=True).reshape(2, 3)
    turned, column = copies([base.t(), base[:, 1]])
    assert turned.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] and column.tolist() == [1.0, 4.0]
    assert not turned.requires_grad
    assert copies([base[:1, 1], base[::2, 1:2]])[1].tolist() == [[1.0]]


# Where they look


@pytest.mark.parametrize("function", [reads, copies])
def test_every_kind_of_container(function: Callable[..., Any]) -> None:
    log = [scalar(0.0), {"a": scalar(1.0), "b": [scalar(2.0)]}, (scalar(3.0), "x"), Pair(scalar(4.0), [scalar(5.0)])]
    others = {
        "ordered": OrderedDict(z=scalar(6.0), a=None),
        "default": defaultdict(list, k=[scalar(7.0)]),
        "deque": deque([scalar(8.0)], maxlen=2),
        "counter": collections.Counter({"a": scalar(9.0)}),
        "entry": Entry(3, scalar(10.0)),
    }
    kept = [id(one) for one in others.values()]
    assert spent(lambda: function(log, others)) == (1, 1)
    assert log == [0.0, {"a": 1.0, "b": [2.0]}, (3.0, "x"), Pair(4.0, [5.0])] and type(log[3]) is Pair
    assert list(others["ordered"]) == ["z", "a"] and others["default"]["k"] == [7.0] and others["deque"][0] == 8.0
    assert others["counter"]["a"] == 9.0 and others["entry"] == Entry(3, 10.0)
    assert [id(one) for one in others.values()] == kept
    expected = float if function is reads else torch.Tensor
    assert type(log[0]) is type(log[3].right[0]) is type(others["entry"].norm) is expected


def test_an_object_that_is_given_and_no_other() -> None:
    inner = Hook(value=scalar(1.0))
    scale = torch.nn.Linear(1, 1).to("sim")
    scale.register_buffer("factor", scalar(2.0))
    hook = Hook(last=scalar(3.0), log=[{"n": scalar(4.0)}], inner=inner, layers=[scale], name="hook")
    assert reads(hook) is hook
    assert (hook.last, hook.log, hook.name) == (3.0, [{"n": 4.0}], "hook")
    assert isinstance(inner.value, torch.Tensor)
    reads(scale, [scale], {"layer": scale})
    copies(scale)
    assert isinstance(scale.factor, torch.Tensor) and scale.factor.device.type == "sim"


def test_only_what_has_no_dimensions_is_a_read() -> None:
    log = reads([scalar(1.0), torch.ones(1, device="sim"), torch.ones(2, 2)])
    assert type(log[0]) is float and [one.shape for one in log[1:]] == [(1,), (2, 2)]


def test_host_tensors_are_copies_already() -> None:
    tensor = torch.ones(2, requires_grad=True)
    log = [tensor]
    assert spent(lambda: copies(log)) == (0, 0) and log[0] is tensor


def test_what_is_shared_and_what_contains_itself() -> None:
    tensor, shared = scalar(1.5), [scalar(2.5)]
    log: list[Any] = [tensor, shared, {"same": tensor, "list": shared}]
    log.append(log)
    log.append((log,))
    reads(log)
    assert log[0] == 1.5 and log[1] is log[2]["list"] is shared == [2.5] and log[2]["same"] == 1.5
    assert log[3] is log and log[4][0] is log


# What they return, and again


def test_they_return_what_they_were_given() -> None:
    log, table = [scalar(1.0)], {"a": scalar(2.0)}
    assert reads(log) is log
    found = reads(log, table, scalar(3.0), (scalar(4.0),))
    assert found[0] is log and found[1] is table and found[2:] == [3.0, (4.0,)] and type(found[2]) is float
    assert reads() == [] and copies() == []
    copied = copies(scalar(5.0))
    assert copied.device.type == "cpu" and copied == 5.0


@pytest.mark.parametrize("function", [reads, copies])
def test_again_is_free(function: Callable[..., Any]) -> None:
    log = [{"n": scalar(float(number)), "t": (scalar(1.0),)} for number in range(3)]
    function(log)
    before = [(entry, entry["n"], entry["t"]) for entry in log]
    assert spent(lambda: function(log)) == (0, 0)
    for entry, (same, number, pair) in zip(log, before, strict=True):
        assert entry is same and entry["n"] is number and entry["t"] is pair
    log.append({"n": scalar(9.0)})
    assert spent(lambda: function(log)) == (1, 1) and log[-1]["n"] == 9.0
    for empty in ([], {}, (), deque(), Hook()):
        assert spent(lambda empty=empty: function(empty)) == (0, 0)


def test_each_device_is_one_transfer_and_what_is_large_goes_by_itself() -> None:
    log = [torch.full((3,), float(number), device="sim") for number in range(50)]
    assert spent(lambda: copies(log)) == (1, 1) and log[49].tolist() == [49.0] * 3
    log[0].zero_()
    assert log[1].tolist() == [1.0] * 3
    large = [torch.ones(1 << 18, device="sim"), torch.ones(2, device="sim"), torch.ones(3, device="sim")]
    assert spent(lambda: copies(large))[1] == 2 and [len(one) for one in large] == [1 << 18, 2, 3]
    mixed = [scalar(1.0), scalar(2.0, "cpu"), scalar(3.0)]
    assert spent(lambda: reads(mixed)) == (1, 1) and mixed == [1.0, 2.0, 3.0]


# The text


@pytest.mark.parametrize("name", get_args(Name))
def test_the_text_fits_any_file(name: Name) -> None:
    found = plain_function(name)
    assert found.imports == ("torch",) and found.source.endswith("\n") and "\n\n\n" not in found.source
    lines = found.source.splitlines()
    assert max(map(len, lines)) <= 120 and not any(line != line.rstrip() or "\t" in line for line in lines)
    (definition,) = ast.parse(found.source, feature_version=(3, 8)).body
    assert isinstance(definition, ast.FunctionDef) and definition.name == name and ast.get_docstring(definition)
    assert "auditlint" not in found.source


@pytest.mark.parametrize("name", get_args(Name))
def test_a_name_that_is_taken_gets_a_number(name: Name) -> None:
    assert plain_function(name, {"other"}).name == name
    found = plain_function(name, {name, f"{name}_2"})
    assert found.name == f"{name}_3"
    (definition,) = ast.parse(found.source).body
    assert isinstance(definition, ast.FunctionDef) and definition.name == found.name
    assert found.source == plain_function(name).source.replace(f"def {name}(", f"def {name}_3(")
