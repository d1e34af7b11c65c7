"""`finalize`, `defer_call` and `flush`: where values are put, when calls run, and what is raised."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import subprocess
import sys
import threading
import types
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from auditlint.defer import Deferred, defer, defer_call, finalize, flush  # noqa: E402
from auditlint.defer.pending import pending  # noqa: E402
from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.simulation import device as sim  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()
pytestmark = pytest.mark.usefixtures("nothing_pending")


def number(value: float = 1.0) -> Any:
    return defer(torch.tensor(value, device="sim"))


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: Any


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    value: Any
    never: Any = dataclasses.field(default=None)


class Plain:
    shared = "class attribute"

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def costly(self) -> Any:
        raise AssertionError("finalize reads no properties")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AssertionError("finalize calls no __setattr__")
        super().__setattr__(name, value)


# Where values are put


def test_every_kind_of_container() -> None:
    log = [number(0.0), {"a": number(1.0), "b": [number(2.0)]}, (number(3.0), "x"), Pair(number(4.0), number(5.0))]
    objects = {
        "frozen": Frozen(number(6.0)),
        "slots": FrozenSlots([number(7.0)]),
        "plain": Plain((number(8.0),)),
        "deque": deque([number(9.0)], maxlen=3),
        "ordered": OrderedDict(z=number(10.0), a=1),
        "default": defaultdict(list, k=[number(11.0)]),
        "space": types.SimpleNamespace(value=number(12.0)),
    }
    kept = list(objects.values())
    before = CLOCK.counts()
    found = finalize(log, objects)
    after = CLOCK.counts()
    assert (after.waits - before.waits, after.copies - before.copies) == (1, 1)
    assert found[0] is log and found[1] is objects and list(objects.values()) == kept
    assert log == [0.0, {"a": 1.0, "b": [2.0]}, (3.0, "x"), Pair(4.0, 5.0)] and type(log[3]) is Pair
    assert objects["frozen"].value == 6.0 and objects["slots"].value == [7.0] and objects["plain"].value == (8.0,)
    assert list(objects["deque"]) == [9.0] and objects["deque"].maxlen == 3
    assert list(objects["ordered"]) == ["z", "a"] and objects["default"]["k"] == [11.0]
    assert not deferred_in([log, *vars(objects["space"]).values(), *map(vars_of, kept)])


def vars_of(value: Any) -> Any:
    return vars(value) if hasattr(value, "__dict__") else value


def deferred_in(value: Any) -> bool:
    if isinstance(value, Deferred):
        return True
    if isinstance(value, dict):
        return any(map(deferred_in, value.values())) or any(map(deferred_in, value))
    return isinstance(value, (list, tuple, set, frozenset, deque)) and any(map(deferred_in, value))


def test_objects_of_the_standard_library_are_not_entered_except_containers() -> None:
    holder = types.SimpleNamespace(value=number(1.0))
    thread = threading.Thread(name="kept")
    thread.value = number(2.0)  # type: ignore[attr-defined]
    finalize(holder, [thread])
    assert type(holder.value) is float
    assert isinstance(thread.value, Deferred) and thread.value == 2.0  # type: ignore[attr-defined]


def test_sets_keys_and_counters() -> None:
    numbers = {number(1.0), number(2.0)}
    keys = {number(1.0): "one", "x": 2, number(3.0): number(4.0)}
    frozen = [frozenset((number(5.0),))]
    counted = collections.Counter({"a": number(2.0)})
    finalize([numbers, keys, frozen, counted])
    assert numbers == {1.0, 2.0} and list(keys.items()) == [(1.0, "one"), ("x", 2), (3.0, 4.0)]
    assert frozen == [frozenset((5.0,))] and type(counted["a"]) is float
    assert not deferred_in([numbers, keys, frozen])


def test_objects_that_pretend_are_left_alone() -> None:
    class Unbound:
        """As a proxy that is bound to nothing."""

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("bound to nothing")

    class Lazy(collections.abc.MutableMapping):
        """As a mapping of files."""

        def __init__(self) -> None:
            self.kept = number(1.0)

        def __getitem__(self, key: str) -> Any:
            raise AssertionError("finalize reads no mapping that is not a dict")

        __setitem__ = __delitem__ = __iter__ = __len__ = __getitem__  # type: ignore[assignment]

    log = [Unbound(), Lazy(), collections.UserDict(a=number(2.0)), collections.UserList([number(3.0)])]
    finalize(log)
    assert type(vars(log[1])["kept"]) is float and type(log[2]["a"]) is float and type(log[3][0]) is float


def test_cycles_and_shared_parts() -> None:
    shared: list[Any] = [number(1.0)]
    log: list[Any] = [shared, (shared, number(2.0))]
    log.append(log)
    node = Plain(None)
    vars(node)["self"] = (node, number(3.0))
    log.append(node)
    twice = (number(4.0),)
    log += [twice, twice]
    assert finalize(log) is log
    assert shared == [1.0] and log[1][0] is shared and log[1][1] == 2.0 and log[2] is log
    assert vars(node)["self"] == (node, 3.0) and log[4] == (4.0,) and log[4] is log[5]


def test_a_model_whose_layers_keep_what_they_saw() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to("sim")
    for layer in model:
        layer.register_forward_hook(lambda module, args, output: setattr(module, "last", defer(output.norm())))
    model(torch.ones(1, 2, device="sim"))
    weights = [parameter.clone() for parameter in model.parameters()]
    finalize(model)
    assert all(type(layer.last) is float for layer in model)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


def test_what_it_returns() -> None:
    one = number(1.0)
    assert finalize() is None
    assert type(finalize(one)) is float
    assert finalize((one, "x")) == (1.0, "x") and type(finalize((one,))[0]) is float
    assert finalize([one], {"a": one}) == ([1.0], {"a": 1.0})


def test_doing_it_again_changes_nothing_and_costs_nothing() -> None:
    log = [{"norm": number(2.0)}]
    finalize(log)
    value = log[0]["norm"]
    before = CLOCK.counts()
    assert finalize(log) is log and log[0]["norm"] is value
    assert CLOCK.counts() == before


def test_deep_nesting_needs_no_recursion() -> None:
    log: Any = [number(1.0)]
    innermost = log
    for _ in range(20_000):
        log = [log]
    finalize(log)
    assert innermost == [1.0]
    while type(log[0]) is list:  # taken apart one by one: freeing it at once would recurse
        log = log[0]


trees = st.recursive(
    st.integers(0, 9),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), children, max_size=3),
        children.map(Frozen),
        st.tuples(children, children).map(lambda pair: Pair(*pair)),
    ),
    max_leaves=12,
)


def planted(tree: Any) -> Any:
    if isinstance(tree, int):
        return defer(torch.tensor(tree)) if tree % 2 else tree
    if isinstance(tree, Pair):
        return Pair(planted(tree.left), planted(tree.right))
    if isinstance(tree, Frozen):
        return Frozen(planted(tree.value))
    if isinstance(tree, dict):
        return {key: planted(item) for key, item in tree.items()}
    return type(tree)(planted(item) for item in tree)


@settings(max_examples=150, deadline=None)
@given(trees)
def test_any_nesting_becomes_what_it_stood_for(tree: Any) -> None:
    assert repr(finalize([planted(tree)])) == repr([tree])


def test_after_a_device_error_the_rest_is_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    log = [{"lost": number(1.0)}, {"kept": defer(torch.tensor(2.0))}]
    ran = []
    defer_call(ran.append, "ran")

    def broken(blocks: Any) -> None:
        raise RuntimeError("device lost")

    with monkeypatch.context() as patched:
        patched.setattr("auditlint.defer.transfer.as_bytes", broken)
        with pytest.raises(RuntimeError, match="device lost"):
            finalize(log)
    assert type(log[1]["kept"]) is float and ran == ["ran"]
    with pytest.raises(RuntimeError, match="device lost"):
        finalize(log)
    with pytest.raises(RuntimeError, match="device lost"):
        print(log[0]["lost"])


# Calls


def test_calls_run_in_order_with_values_and_not_before() -> None:
    with count_syncs("simulated") as counter:
        model = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(3)]).cuda()
        said: list[str] = []
        for index, layer in enumerate(model):
            layer.register_forward_hook(
                lambda module, args, output, index=index: defer_call(
                    lambda i, v: said.append(f"L{i} {v:.3f}"), index, output.norm()
                )
            )
        model(torch.ones(1, 2, device="cuda"))
        assert said == [] and counter.totals.in_hooks == 0
        before = CLOCK.counts()
        finalize()
        after = CLOCK.counts()
    assert (after.waits - before.waits, after.copies - before.copies) == (1, 1)
    assert [line[:2] for line in said] == ["L0", "L1", "L2"]


def test_tensors_anywhere_in_the_arguments_become_values() -> None:
    got: list[Any] = []
    x = torch.arange(3.0, device="sim")
    given_list = [x[0], {"n": x[1]}]
    defer_call(
        lambda *args, **kwargs: got.append((args, kwargs)),
        x,
        given_list,
        Pair(x[2], (x[0], "s")),
        {1, 2},
        asked=defer(x, as_="list"),
        device=x.device,
        step=7,
    )
    x.zero_()
    given_list.clear()
    flush()
    ((vector, listed, pair, numbers), kwargs) = got[0]
    assert vector.device.type == "cpu" and vector.tolist() == [0.0, 1.0, 2.0]
    assert listed == [0.0, {"n": 1.0}] and type(listed[0]) is float and type(listed[1]["n"]) is float
    assert pair == Pair(2.0, (0.0, "s")) and type(pair) is Pair and numbers == {1, 2}
    assert kwargs == {"asked": [0.0, 1.0, 2.0], "device": x.device, "step": 7} and type(kwargs["asked"]) is list


def test_subclasses_of_containers_and_dataclasses_in_arguments() -> None:
    got: list[Any] = []
    x = torch.arange(3.0, device="sim")
    counts = defaultdict(int, a=x[1])
    frozen, untouched, inner = Frozen(x[2]), Frozen("plain"), FrozenSlots([Frozen(x[1])])
    defer_call(lambda *args: got.extend(args), counts, OrderedDict(b=x[2]), frozen, untouched, inner)
    flush()
    assert got == [{"a": 1.0}, {"b": 2.0}, Frozen(2.0), Frozen("plain"), FrozenSlots([Frozen(1.0)])]
    assert type(got[0]) is defaultdict and type(got[0]["a"]) is float and got[3] is untouched
    assert frozen.value.device == x.device and counts["a"].device == x.device


class Window(deque):  # type: ignore[type-arg]
    """A deque whose `__init__` takes something else."""

    def __init__(self, name: str) -> None:
        super().__init__(maxlen=2)
        self.name = name


def test_containers_of_the_standard_library_are_taken_as_they_are_now() -> None:
    got: list[Any] = []
    x = torch.arange(4.0, device="sim")
    recent, window = deque([x[1], 5], maxlen=2), Window("w")
    window.append(x[2])
    listed, mapped, chained = UserList([x[3]]), UserDict(a=[x[1]]), ChainMap({"b": x[2]}, {"c": 1})
    data, space = bytearray(b"ab"), types.SimpleNamespace(value=x[1])
    around: deque[Any] = deque()
    around.append(around)
    arguments = [recent, window, listed, mapped, chained, data, space, around]
    defer_call(lambda *args: got.extend(args), *arguments)
    recent.append(6)
    window.clear()
    listed.append(7)
    mapped["a"].append(8)
    chained["b"] = chained.maps[1]["c"] = 9
    data[0] = 0
    space.value = 10
    flush()
    assert got[0] == deque([1.0, 5]) and got[0].maxlen == 2 and type(got[0][0]) is float
    assert list(got[1]) == [2.0] and type(got[1]) is Window and (got[1].name, got[1].maxlen) == ("w", 2)
    assert got[2] == [3.0] and type(got[2]) is UserList and got[3] == {"a": [1.0]} and type(got[3]) is UserDict
    assert got[4].maps == [{"b": 2.0}, {"c": 1}] and got[5] == b"ab" and got[6].value == 1.0
    assert got[7][0] is got[7] and got[7] is not around


def test_a_chain_of_dicts_gets_values_in_each_of_them() -> None:
    chained = ChainMap({"a": number(1.0)}, {"b": [number(2.0)]})
    finalize(chained)
    assert not deferred_in(chained.maps) and chained["a"] == 1.0 and chained["b"] == [2.0]


def test_a_set_of_tensors_and_a_list_that_contains_itself() -> None:
    got: list[Any] = []
    around: list[Any] = [torch.tensor(1)]
    around.append(around)
    within = Frozen([torch.tensor(2)])
    within.value.append(within.value)
    defer_call(lambda *args: got.extend(args), {torch.tensor(3)}, around, within)
    flush()
    assert got[0] == {3} and got[1][0] == 1 and got[1][1] is got[1]
    assert got[2].value[0] == 2 and got[2].value[1] is got[2].value


def test_reading_a_value_runs_no_calls() -> None:
    ran: list[int] = []
    defer_call(ran.append, 1)
    assert number(2.0) == 2.0 and ran == []
    flush()
    flush()
    assert ran == [1]


def test_a_call_may_defer_and_flush() -> None:
    ran: list[Any] = []

    def outer() -> None:
        ran.append("outer")
        defer_call(ran.append, "inner")
        flush()
        ran.append(float(number(2.0)))

    defer_call(outer)
    defer_call(ran.append, "second")
    flush()
    assert ran == ["outer", 2.0, "second", "inner"]


def fail(message: str) -> None:
    raise ValueError(message)


def test_one_that_fails_is_raised_as_it_is_after_the_others_ran() -> None:
    ran: list[int] = []
    log = [number(5.0)]
    defer_call(fail, "first")
    defer_call(ran.append, 1)
    with pytest.raises(ValueError, match="first"):
        finalize(log)
    assert ran == [1] and type(log[0]) is float
    flush()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no exception groups")
def test_several_that_fail_are_a_group() -> None:
    for message in ("first", "second"):
        defer_call(fail, message)
    with pytest.raises(ExceptionGroup) as caught:  # noqa: F821
        flush()
    assert [str(error) for error in caught.value.exceptions] == ["first", "second"]


def test_without_groups_the_first_is_raised_and_the_others_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for message in ("first", "second"):
        defer_call(fail, message)
    monkeypatch.setattr("auditlint.defer.calls.sys.version_info", (3, 10, 0))
    with (
        pytest.warns(RuntimeWarning, match="also failed: ValueError\\('second'\\)"),
        pytest.raises(ValueError) as caught,
    ):
        flush()
    assert str(caught.value) == "first" and caught.value.__notes__ == ["also failed: ValueError('second')"]


def test_an_interrupt_leaves_the_calls_that_did_not_run() -> None:
    ran: list[int] = []

    def stop() -> None:
        raise KeyboardInterrupt

    defer_call(stop)
    defer_call(ran.append, 1)
    with pytest.raises(KeyboardInterrupt):
        flush()
    assert ran == []
    flush()
    assert ran == [1]


def test_a_call_whose_value_is_lost_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    with monkeypatch.context() as patched, count_syncs("simulated"):
        defer_call(ran.append, torch.tensor(1.0, device="cuda"))
        defer_call(ran.append, "other")
        patched.setattr(sim.Event, "synchronize", lambda self: fail("device lost"))
        with pytest.raises(ValueError, match="device lost"):
            flush()
    assert ran == ["other"]


def test_calls_of_several_threads_keep_the_order_of_each() -> None:
    ran: list[tuple[int, int]] = []

    def work(thread: int) -> None:
        for step in range(50):
            defer_call(lambda i, n: ran.append((i, n)), thread, torch.tensor(step))
            if step % 7 == thread:
                flush()

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    flush()
    for thread in range(4):
        assert [step for one, step in ran if one == thread] == list(range(50))


def test_calls_that_nobody_flushed_run_when_the_process_ends() -> None:
    code = (
        "import torch; from auditlint.defer import defer_call; "
        "defer_call(print, 'late', torch.tensor(1.5)); defer_call(print, 'later'); print('end of script')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.stdout.splitlines() == ["end of script", "late 1.5", "later"], found.stderr


def test_pending_counts() -> None:
    values = [number(1.0), number(2.0)]
    assert pending() == 2
    finalize(values)
    assert pending() == 0
