"""`defer` and `Deferred`: reads as the value the naive hook would have got, and waits for nothing before that."""

from __future__ import annotations

import copy
import functools
import gc
import json
import math
import operator
import pickle

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")
np = pytest.importorskip("numpy", reason="one of the forms is an array")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from auditlint.defer import Deferred, defer, flush, json_default  # noqa: E402
from auditlint.defer.capture import SWEPT, queue  # noqa: E402
from auditlint.defer.pending import pending  # noqa: E402
from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK, Counts  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()
pytestmark = pytest.mark.usefixtures("nothing_pending")
DEVICES = ["cpu", "sim"]


class Spent:
    """What was counted in a `with` block on the simulated device."""

    def __enter__(self) -> Spent:
        self._before = CLOCK.counts()
        return self

    def __exit__(self, *exception: object) -> None:
        self.counts = Counts(*(new - old for new, old in zip(CLOCK.counts(), self._before, strict=True)))

    @property
    def waits(self) -> int:
        return self.counts.waits

    @property
    def copies(self) -> int:
        return self.counts.copies


# One transfer


def test_a_thousand_captures_are_one_transfer_and_the_first_read_makes_it() -> None:
    x = torch.arange(1000.0, device="sim")
    with Spent() as capturing:
        found = [defer(x[number]) for number in range(1000)]
    assert (capturing.waits, capturing.copies) == (0, 0)
    with Spent() as reading:
        assert found[500] == 500.0
    assert (reading.waits, reading.copies, reading.counts.d2h) == (1, 1, 4000)
    with Spent() as again:
        assert [float(value) for value in found] == list(map(float, range(1000)))
    assert (again.waits, again.copies) == (0, 0)


def naive(store, x):
    store["item"] = x.norm().item()
    store["int"] = x.argmax().item()
    store["flag"] = (x > 0).all().item()
    store["list"] = x.tolist()
    store["numpy"] = x.detach().cpu().numpy()
    store["cpu"] = x.detach().cpu()


def deferred(store, x):
    store["item"] = defer(x.norm(), fresh=True)
    store["int"] = defer(x.argmax())
    store["flag"] = defer((x > 0).all())
    store["list"] = defer(x, as_="list")
    store["numpy"] = defer(x, as_="numpy")
    store["cpu"] = defer(x, as_="cpu")


def test_hooks_lose_their_syncs_and_keep_their_values() -> None:
    torch.manual_seed(0)
    stores = {}
    counters = {}
    model = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(3)])
    batch = torch.randn(2, 4)
    for capture in (naive, deferred):
        with count_syncs("simulated") as counter:
            on_device = copy.deepcopy(model).cuda()
            store = stores[capture] = [{} for _ in on_device]
            for layer, values in zip(on_device, store, strict=True):
                layer.register_forward_hook(functools.partial(lambda use, into, m, i, o: use(into, o), capture, values))
            x = batch.cuda()
            with Spent() as spent:
                on_device(x)
            counters[capture] = counter.totals.in_hooks, spent.waits
            if capture is deferred:
                with Spent() as read:
                    flush()
                assert (read.waits, read.copies) == (1, 1)
                assert counter.totals.in_hooks == 0
    assert counters == {naive: (18, 18), deferred: (0, 0)}
    for before, after in zip(stores[naive], stores[deferred], strict=True):
        for name, value in before.items():
            found = after[name].value
            assert type(found) is type(value)
            if name in ("numpy", "cpu"):
                assert found.dtype == value.dtype and found.tolist() == value.tolist()
            else:
                assert found == value


def test_memory_that_cannot_be_pinned_is_one_blocking_copy() -> None:
    # Outside of a count, the simulated device has no pinned memory.
    value = defer(torch.ones(3, device="sim"), as_="list")
    with Spent() as spent:
        assert value == [1.0, 1.0, 1.0]
    assert (spent.waits, spent.copies) == (1, 1)


def test_host_tensors_need_no_transfer() -> None:
    values = [defer(torch.tensor(1.5)), defer(torch.ones(2), as_="cpu")]
    with Spent() as spent:
        assert values[0] == 1.5 and values[1].tolist() == [1.0, 1.0]
    assert spent.counts == Counts(0, 0, 0, 0.0, 0, 0)


def test_several_devices_are_one_flush() -> None:
    host, device = defer(torch.tensor(1)), defer(torch.tensor(2, device="sim"))
    with Spent() as spent:
        assert host + device == 3
    assert (spent.waits, spent.copies) == (1, 1)
    assert pending() == 0


def test_what_nobody_holds_is_not_transferred() -> None:
    kept = defer(torch.ones(8, device="sim"), as_="list")
    for _ in range(5):
        defer(torch.ones(1000, device="sim"), as_="list")
    gc.collect()
    assert pending() == 1
    with Spent() as spent:
        flush()
    assert spent.counts.d2h == 32 and len(kept) == 8


def test_the_queue_does_not_grow_with_captures_that_are_gone() -> None:
    kept = defer(torch.tensor(7.0))
    for _ in range(3 * SWEPT):
        defer(torch.tensor(0.0), fresh=True)
    assert len(queue) <= 2 * SWEPT
    assert kept == 7.0


# Captured as it was


@pytest.mark.parametrize("device", DEVICES)
def test_later_writes_do_not_show(device: str) -> None:
    x = torch.full((3,), -4.0, device=device)
    values = [defer(x[0]), defer(x, as_="list"), defer(x[1:], as_="cpu")]
    x.relu_()
    assert values[0] == -4.0 and values[1] == [-4.0] * 3 and values[2].tolist() == [-4.0, -4.0]


def test_a_fresh_tensor_is_not_cloned() -> None:
    x = torch.ones(3, device="sim")
    total = x.sum()
    with Spent() as spent:
        value = defer(total, fresh=True)
    assert spent.counts.kernels == 0 and value._held is total
    with Spent() as spent:
        kept = defer(total)
    assert spent.counts.kernels == 1 and kept == value


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fresh", [True, False])
def test_the_graph_is_let_go_of(device: str, fresh: bool) -> None:
    x = torch.ones(3, device=device, requires_grad=True)
    value = defer((x * 2).sum(), fresh=fresh)
    assert value._held.grad_fn is None and not value._held.requires_grad
    parameter = defer(torch.nn.Parameter(torch.ones(2, device=device)), as_="cpu")
    assert type(parameter.value) is torch.Tensor and not parameter.requires_grad


@pytest.mark.parametrize("device", DEVICES)
def test_inference_mode_and_no_grad_and_autocast(device: str) -> None:
    x = torch.ones(2, 2, device=device)
    with torch.inference_mode():
        inside = defer(x + 1, as_="cpu")
        early = defer((x + 1).sum())
        assert early == 8.0  # a flush in inference mode
        late = defer(x.sum())
    with torch.no_grad():
        quiet = defer(x.mean())
    with torch.autocast(device, dtype=torch.bfloat16):
        product = x @ x
        low = defer(product, as_="cpu")
        assert low.value.dtype is torch.bfloat16
    assert (late, quiet) == (4.0, 1.0)
    assert not inside.value.is_inference() and inside.value.add_(1).tolist() == [[3.0, 3.0], [3.0, 3.0]]


@pytest.mark.parametrize("device", DEVICES)
def test_a_host_tensor_is_ones_own(device: str) -> None:
    x = torch.ones(2, device=device)
    first, second = defer(x, as_="cpu"), defer(x, as_="numpy")
    first.value.zero_()
    second.value[:] = 2
    assert first.tolist() == [0.0, 0.0] and second.tolist() == [2.0, 2.0] and x.tolist() == [1.0, 1.0]
    other = defer(torch.full((2,), 5.0, device=device), as_="cpu")
    flush()  # writes the memory that the transfer before used
    assert first.tolist() == [0.0, 0.0] and other.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**62 + 1, torch.int64),
        (0.1, torch.float64),
        (0.1, torch.float32),
        (0.1, torch.float16),
        (0.1, torch.bfloat16),
        (True, torch.bool),
        (1 - 2j, torch.complex64),
        (1 - 2j, torch.complex128),
        (200, torch.uint8),
        (-5, torch.int16),
    ],
)
def test_items_are_those_that_item_gives(device: str, value: object, dtype: torch.dtype) -> None:
    tensor = torch.tensor(value, dtype=dtype)
    found = [defer(tensor.to(device)).value, defer(tensor.to(device).reshape(1, 1)).value]
    assert found == [tensor.item()] * 2 and {type(one) for one in found} == {type(tensor.item())}
    assert defer(tensor.to(device), as_="list").value == tensor.tolist()
    assert defer(tensor.to(device).expand(2, 2), as_="list").value == tensor.expand(2, 2).tolist()


def test_not_a_number_and_signed_zeros() -> None:
    found = [defer(torch.tensor(number, device="sim")) for number in (math.nan, -0.0, math.inf)]
    assert math.isnan(found[0]) and math.copysign(1, found[1]) == -1.0 and found[2] == math.inf


# Reads as the value

NUMBERS = st.one_of(st.integers(-50, 50), st.floats(-50, 50, allow_nan=False), st.booleans())
OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, divmod),
    *(operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge, operator.and_, operator.or_),
    *(operator.xor, operator.lshift, operator.rshift, pow),
]
FUNCTIONS = [
    *(float, int, complex, bool, str, repr, hash, abs, round, math.floor, math.ceil, math.trunc, operator.index),
    *(operator.neg, operator.pos, operator.invert, json.dumps, "{:5.2f}".format, "%s".__mod__, math.sqrt, len, iter),
]


def outcome(function, *args):
    """The result of a call or the type of what it raises."""
    try:
        return function(*args)
    except Exception as error:
        return type(error)


@settings(max_examples=150, deadline=None)
@given(left=NUMBERS, right=NUMBERS, function=st.sampled_from(OPERATORS))
def test_operators_are_those_of_the_numbers(left, right, function) -> None:
    if function in (pow, operator.lshift) and not -5 < right < 5:
        right = 2
    a, b = (torch.tensor(number, dtype=torch.float64 if type(number) is float else None) for number in (left, right))
    expected = outcome(function, left, right)
    assert outcome(function, defer(a), right) == expected
    assert outcome(function, left, defer(b)) == expected
    assert outcome(function, defer(a), defer(b)) == expected


@settings(max_examples=150, deadline=None)
@given(number=NUMBERS, function=st.sampled_from(FUNCTIONS))
def test_functions_are_those_of_the_number(number, function) -> None:
    tensor = torch.tensor(number, dtype=torch.float64 if type(number) is float else None)
    given_default = function is json.dumps
    found = outcome(lambda x: json.dumps(x, default=json_default) if given_default else function(x), defer(tensor))
    assert found == outcome(function, number)


def test_a_list_is_a_list() -> None:
    value = defer(torch.tensor([[1, 2], [3, 4]], device="sim"), as_="list")
    assert isinstance(value, Deferred) and len(value) == 2 and list(value) == [[1, 2], [3, 4]]
    assert value[0] == [1, 2] and value[-1][0] == 3 and [3, 4] in value and value == [[1, 2], [3, 4]]
    assert list(reversed(value)) == [[3, 4], [1, 2]] and [*value, 5] == [[1, 2], [3, 4], 5]
    value[0] = 7
    del value[1]
    assert value.value == [7] and value.index(7) == 0
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)


def test_arrays_and_tensors_take_it() -> None:
    number, array = defer(torch.tensor(2.0, device="sim")), defer(torch.ones(2, device="sim"), as_="cpu")
    assert (torch.ones(2) * number).tolist() == [2.0, 2.0] and torch.add(array, number).tolist() == [3.0, 3.0]
    assert torch.stack([array, array]).shape == (2, 2)
    assert np.asarray(array).tolist() == [1.0, 1.0] and np.float64(3) * number == 6.0
    assert np.mean([number, number]) == 2.0 and array.mean().item() == 1.0 and array.shape == (2,)


def test_asking_for_protocols_costs_nothing() -> None:
    value = defer(torch.tensor(1.0, device="sim"))
    with Spent() as spent:
        assert not hasattr(value, "__array_interface__") and not hasattr(value, "_ipython_display_")
        assert isinstance(value, Deferred) and not value.ready
    assert spent.waits == 0
    assert value.is_integer() and value.ready


def test_pickle_gives_the_plain_value_without_auditlint() -> None:
    data = pickle.dumps([defer(torch.tensor(1.5, device="sim")), defer(torch.tensor([1, 2]), as_="list")])
    assert b"auditlint" not in data
    found = pickle.loads(data)
    assert found == [1.5, [1, 2]] and [type(one) for one in found] == [float, list]


def test_copies_do_not_wait_and_are_apart() -> None:
    entry = {"n": defer(torch.tensor(1.5, device="sim")), "v": defer(torch.ones(2, device="sim"), as_="cpu")}
    with Spent() as spent:
        copies = [copy.copy(entry), copy.deepcopy(entry), {name: copy.copy(one) for name, one in entry.items()}]
    assert spent.waits == 0
    copies[1]["v"].value.zero_()
    assert entry["v"].tolist() == [1.0, 1.0] and copies[2]["v"].tolist() == [1.0, 1.0]
    assert [one["n"] for one in copies] == [1.5] * 3
    after = copy.deepcopy(entry["v"])
    after.zero_()
    assert entry["v"].tolist() == [1.0, 1.0]


def test_json_default() -> None:
    entry = {"n": defer(torch.tensor(3)), "t": defer(torch.ones(2), as_="cpu"), "a": defer(torch.ones(1), as_="numpy")}
    assert json.dumps(entry, default=json_default) == '{"n": 3, "t": [1.0, 1.0], "a": [1.0]}'
    with pytest.raises(TypeError, match="Object of type object is not JSON serializable"):
        json.dumps(object(), default=json_default)
    with pytest.raises(TypeError, match="complex is not JSON"):
        json.dumps(defer(torch.tensor(1j)), default=json_default)


# What it refuses


def test_refusals_come_where_the_hook_is() -> None:
    with pytest.raises(RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"):
        defer(torch.ones(2))
    with pytest.raises(TypeError, match="defer takes a tensor, not float"):
        defer(1.0)
    with pytest.raises(ValueError, match="as_ is 'item', 'list', 'numpy' or 'cpu', not 'items'"):
        defer(torch.ones(()), as_="items")
    with pytest.raises(TypeError, match=r"numpy has no torch\.bfloat16"):
        defer(torch.ones(2, dtype=torch.bfloat16), as_="numpy")
    with pytest.raises(TypeError, match="dense tensors"):
        defer(torch.eye(2).to_sparse(), as_="cpu")
    with pytest.raises(TypeError, match="a meta tensor has no values"):
        defer(torch.ones((), device="meta"))
    with (
        torch._subclasses.FakeTensorMode(),
        pytest.raises(TypeError, match="FakeTensor has no values"),
    ):
        defer(torch.ones(()))


def test_transforms_of_functions() -> None:
    found = []

    def loss(x):
        total = (x * x).sum()
        found.append(defer(total))
        return total

    torch.func.grad(loss)(torch.tensor([1.0, 2.0]))
    assert found == [5.0]
    with pytest.raises(RuntimeError, match="under vmap"):
        torch.func.vmap(loss)(torch.ones(2, 3))
