"""Probe banks: readouts are separate dot products, cost one product a layer, and reach the host in one transfer."""

from __future__ import annotations

import copy
import io
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend

from auditlint.defer import probe_export
from auditlint.defer.buffer import BufferFull
from auditlint.defer.probe_bank import Positions, ProbeBank
from auditlint.runtime import count_syncs
from auditlint.runtime.simulation.clock import CLOCK, Counts

SIM = "sim:0"
WIDTH = 6
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


def two_layers() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH))


def vector(seed: int, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def filled(bank: ProbeBank) -> ProbeBank:
    bank.add("0", "a", vector(1))
    bank.add("2", "b", vector(2), 1.5)
    bank.add("2", "c", vector(3), torch.tensor(-0.5))
    return bank


def naive(model: torch.nn.Sequential, bank: ProbeBank, batches: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Separate dot products at every token."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in bank.probes}
    with torch.no_grad():
        for hidden in batches:
            for name, layer in model.named_children():
                hidden = layer.forward(hidden)  # without hooks
                for probe in bank.probes.values():
                    if probe.layer == name:
                        found[probe.name] += [row @ probe.weight + probe.bias for row in hidden.reshape(-1, WIDTH)]
    return {name: torch.stack(values) for name, values in found.items()}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], msg=lambda text, name=name: f"{name}: {text}")


def since(before: Counts) -> Counts:
    return Counts(*(after - then for after, then in zip(CLOCK.counts(), before, strict=True)))


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# Values


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 200)),
    st.integers(1, 20),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["last", "all"]),
    st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_readouts_have_the_error_of_a_dot_product(
    seed: int,
    shape: tuple[int, int, int],
    count: int,
    dtype: torch.dtype,
    computed: torch.dtype,
    positions: Positions,
    scale: float,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = (torch.randn(shape, generator=generator) * scale).to(dtype)
    bank = ProbeBank(64, positions=positions, dtype=computed)
    bank.add_all("", {f"p{i}": (torch.randn(shape[-1], generator=generator), float(i)) for i in range(count)})
    model = torch.nn.Identity()
    with bank.attach(model):
        model(hidden)
    found = bank.export().result()
    rows = (hidden if positions == "all" else hidden[:, -1]).reshape(-1, shape[-1]).double()
    unit = torch.finfo(computed).eps / 2
    for name, probe in bank.probes.items():
        weight, bias = probe.weight.double(), probe.bias.double()
        assert found[name].dtype == computed
        assert found[name].shape == (len(rows),)
        bound = (shape[-1] + 1) * unit * ((rows * weight).abs().sum(-1) + bias.abs()) * 1.01
        reference = (rows * weight).sum(-1) + bias
        # The reference itself is rounded in float64.
        slack = (shape[-1] + 1) * 2.0**-53 * ((rows * weight).abs().sum(-1) + bias.abs())
        assert ((found[name].double() - reference).abs() <= bound + slack).all()


def test_a_half_bank_rounds_to_half() -> None:
    bank, hidden = ProbeBank(8, dtype=torch.bfloat16), torch.randn(3, 2, 64)
    bank.add("", "a", vector(1, 64))
    model = torch.nn.Identity()
    with bank.attach(model):
        model(hidden)
    found = bank.export().result()["a"]
    exact = (hidden[:, -1].double() * vector(1, 64).double()).sum(-1)
    size = (hidden[:, -1].double() * vector(1, 64).double()).abs().sum(-1)
    assert found.dtype == torch.bfloat16
    assert ((found.double() - exact).abs() <= 4 * 2.0**-8 * size).all()


def test_probes_of_several_layers_by_name() -> None:
    model, bank = two_layers(), filled(ProbeBank(64, positions="all"))
    batches = [torch.randn(2, 3, 4), torch.randn(1, 5, 4)]
    with bank.attach(model):
        for batch in batches:
            model(batch)
    export = bank.export()
    found = export.result()
    assert_same(found, naive(model, bank, batches))
    assert export.result() is found


def test_the_last_token_is_that_of_each_sequence() -> None:
    bank, model = ProbeBank(64), torch.nn.Identity()
    bank.add("", "a", torch.eye(4)[0])
    with bank.attach(model):
        model(torch.arange(24.0).reshape(2, 3, 4))
        model(torch.arange(24.0).reshape(6, 4) + 100)
        with pytest.raises(ValueError, match=r"an output of shape \(4,\) has no tokens"):
            model(torch.ones(4))
    assert bank.export().result()["a"].tolist() == [8.0, 20.0, 120.0]


def test_positions_may_be_a_function() -> None:
    lengths = torch.tensor([1, 3])

    def last_real(hidden: torch.Tensor) -> torch.Tensor:
        return hidden[torch.arange(2), lengths - 1]

    bank, model = ProbeBank(64, positions=last_real), torch.nn.Identity()
    bank.add("", "a", torch.eye(4)[0])
    with bank.attach(model):
        model(torch.arange(24.0).reshape(2, 3, 4))
    assert bank.export().result()["a"].tolist() == [0.0, 20.0]


def test_weights_are_copied_and_readouts_carry_no_graph() -> None:
    weight = torch.ones(WIDTH, requires_grad=True)
    model, bank = two_layers(), ProbeBank(8)
    bank.add("2", "a", weight)
    with torch.no_grad():
        weight.zero_()
    with bank.attach(model):
        out = model(torch.ones(1, 4))
        out.sum().backward()
    found = bank.export().result()["a"]
    torch.testing.assert_close(found, out.detach().sum(-1))
    assert not found.requires_grad


@pytest.mark.parametrize("inside", [False, True])
def test_inference_mode(inside: bool) -> None:
    model = two_layers()
    with torch.inference_mode(inside):
        bank = filled(ProbeBank(8))
        attached = bank.attach(model)
        attached.__enter__()
    with torch.inference_mode():
        model(torch.ones(1, 4))
        bank.add("2", "d", vector(4))
    model(torch.ones(1, 4))
    bank.remove("d")
    with torch.inference_mode(not inside):
        found = bank.export().result()
    attached.__exit__(None, None, None)
    assert {name: len(values) for name, values in found.items()} == {"a": 2, "b": 2, "c": 2, "d": 1}


def test_autocast_does_not_lower_the_products() -> None:
    bank, model = ProbeBank(8), torch.nn.Identity()
    bank.add("", "a", vector(1))
    hidden = torch.randn(1, WIDTH)
    with bank.attach(model):
        model(hidden)
        with torch.autocast("cpu", torch.bfloat16):
            model(hidden)
    first, second = bank.export().result()["a"]
    assert first == second


# Adding, removing, moving


def test_probes_come_and_go_between_passes() -> None:
    model, bank = two_layers(), filled(ProbeBank(64, positions="all"))
    batches = [torch.randn(2, 4) for _ in range(4)]
    with bank.attach(model):
        model(batches[0])
        bank.add("2", "d", vector(4))
        model(batches[1])
        whole = naive(model, bank, batches)
        bank.remove("b", "d")
        model(batches[2])
        bank.add("2", "b", vector(5))
        again = naive(model, bank, [batches[3]])["b"]
        model(batches[3])
        found = bank.export().result()
        model(batches[0])
        after = bank.export().result()
    torch.testing.assert_close(found["d"], whole["d"][2:4])
    torch.testing.assert_close(found["c"], whole["c"])
    torch.testing.assert_close(found["b"], torch.cat([whole["b"][:4], again]))
    assert {name: len(values) for name, values in after.items()} == {"a": 2, "c": 2, "b": 2}
    assert_same(after, naive(model, bank, [batches[0]]))


def test_a_slot_that_was_left_is_not_given_away_before_the_export() -> None:
    bank, model = ProbeBank(64), torch.nn.Identity()
    bank.add("", "keeps", torch.ones(1))
    expected = {"keeps": [float(n) for n in range(30)]}
    with bank.attach(model):
        for n in range(30):
            if n:
                bank.remove(f"p{n - 1}")
            bank.add("", f"p{n}", torch.full((1,), 2.0))
            model(torch.full((1, 1), float(n)))
            expected[f"p{n}"] = [2.0 * n]
    found = bank.export().result()
    assert {name: values.tolist() for name, values in found.items()} == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["add", "many", "remove", "pass", "export"]), max_size=25))
def test_any_order_of_edits_and_passes(steps: list[str]) -> None:
    bank, model = ProbeBank(100), torch.nn.Identity()
    bank.add("", "p0", torch.ones(1))
    present, made = ["p0"], 1
    expected: dict[str, list[float]] = {}
    total: dict[str, list[float]] = {}
    passes = 0

    def export() -> None:
        for name, values in bank.export().result().items():
            total.setdefault(name, []).extend(values.tolist())

    with bank.attach(model):
        model(torch.zeros(1, 1))
        expected["p0"] = [0.0]
        for step in (*steps, "pass", "export"):
            if step in ("add", "many"):
                new = {f"p{made + i}": torch.full((1,), float(made + i + 1)) for i in range(9 if step == "many" else 1)}
                bank.add_all("", new)
                present += new
                made += len(new)
            elif step == "remove" and present:
                bank.remove(present.pop(0))
            elif step == "pass":
                passes += 1
                model(torch.full((1, 1), float(passes)))
                for name in present:
                    expected.setdefault(name, []).append(passes * (float(name[1:]) + 1))
            elif step == "export":
                export()
    assert {name: values for name, values in total.items() if values} == expected


def test_edits_that_make_no_sense_are_refused_and_change_nothing() -> None:
    model, bank = two_layers(), filled(ProbeBank(8))
    with pytest.raises(ValueError, match="there is a probe 'a' already, on layer '0'"):
        bank.add("2", "a", vector(1))
    with pytest.raises(ValueError, match="layer '2': probes of 5 and 6 weights"):
        bank.add("2", "d", vector(1, 5))
    with pytest.raises(ValueError, match=r"probe 'd': a weight of shape \(1, 6\)"):
        bank.add("2", "d", vector(1).unsqueeze(0))
    with pytest.raises(ValueError, match=r"probe 'd': a bias of shape \(6,\)"):
        bank.add("2", "d", vector(1), vector(1))
    with pytest.raises(KeyError, match="there is no probe 'z'"):
        bank.remove("a", "z")
    with bank.attach(model), pytest.raises(RuntimeError, match="layer '1' has no hook"):
        bank.add("1", "d", vector(1))
    bank.add_all("2", {})
    assert list(bank.probes) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"capacity": 0}, "at least one readout"),
        ({"positions": "first"}, '"last", "all" or a function'),
        ({"dtype": torch.int64}, "floating-point dtype"),
        ({"on_full": "wrap"}, '"error" or "flush"'),
    ],
)
def test_a_bank_that_makes_no_sense_is_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProbeBank(**settings_)
    if settings_ == {"dtype": torch.int64}:
        with pytest.raises(ValueError, match=message):
            ProbeBank().to(dtype=torch.int64)


def test_another_dtype_in_the_middle() -> None:
    model, bank = two_layers(), filled(ProbeBank(8))
    batch = torch.randn(1, 4)
    with bank.attach(model):
        model(batch)
        assert bank.to(dtype=torch.float64) is bank
        model(batch)
    found = bank.export().result()
    assert {values.dtype for values in found.values()} == {torch.float64}
    for name, probe in bank.probes.items():
        assert probe.weight.dtype == torch.float64
        torch.testing.assert_close(found[name][0], found[name][1], rtol=0, atol=1e-5)


def test_a_bank_follows_its_model_to_a_device() -> None:
    with count_syncs("simulated"):
        model, bank = two_layers(), filled(ProbeBank(8))
        batch = torch.randn(1, 4)
        with bank.attach(model):
            model(batch)
            model.to(SIM)
            with pytest.raises(ValueError, match=r"activations on sim:0, and the probes are on cpu: move them with to"):
                model(batch.to(SIM))
            bank.to(SIM)
            model(batch.to(SIM))
        found = bank.export().result()
        for name in ("a", "b", "c"):
            torch.testing.assert_close(found[name][0], found[name][1])
        model.to("cpu")
        bank.to("cpu")
        with bank.attach(model):
            model(batch)
        torch.testing.assert_close(bank.export().result()["b"], found["b"][:1])


def test_a_bank_that_was_attached_follows_at_the_next_block() -> None:
    with count_syncs("simulated"):
        model, bank = two_layers(), filled(ProbeBank(8))
        for device in ("cpu", SIM, "cpu"):
            model.to(device)
            with bank.attach(model):
                model(torch.ones(1, 4, device=device))
        found = bank.export().result()
        assert [len(values) for values in found.values()] == [3, 3, 3]


def test_removing_all_probes_of_a_layer_and_adding_wider_ones() -> None:
    bank, model = ProbeBank(8), torch.nn.Identity()
    bank.add("", "a", vector(1, 2))
    with bank.attach(model):
        model(torch.ones(1, 2))
        bank.remove("a")
        model(torch.ones(1, 2))
        bank.to(dtype=torch.float64)
        model(torch.ones(1, 2))
        bank.add("", "b", vector(2, 3))
        model(torch.ones(1, 3))
        with pytest.raises(ValueError, match="activations of width 2 for probes of 3 weights"):
            model(torch.ones(1, 2))
    found = bank.export().result()
    assert {name: len(values) for name, values in found.items()} == {"b": 1, "a": 1}


def test_saved_and_loaded() -> None:
    model, bank = two_layers(), filled(ProbeBank(16, positions="all", dtype=torch.float64, on_full="flush"))
    file = io.BytesIO()
    torch.save(bank.state_dict(), file)
    file.seek(0)
    loaded = ProbeBank.from_state_dict(torch.load(file, weights_only=True))
    assert (loaded.capacity, loaded.positions, loaded.dtype, loaded.on_full) == (16, "all", torch.float64, "flush")
    batch = torch.randn(3, 4)
    results = []
    for one in (bank, loaded):
        with one.attach(model):
            model(batch)
        results.append(one.export().result())
    assert list(results[0]) == list(results[1])
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_positions_that_are_a_function_are_not_saved() -> None:
    state = ProbeBank(positions=lambda hidden: hidden).state_dict()
    with pytest.raises(ValueError, match="the saved positions were a function"):
        ProbeBank.from_state_dict(state)
    assert ProbeBank.from_state_dict(state, positions="last").positions == "last"


# Attaching


def test_hooks_are_removed_after_an_exception_and_readouts_stay() -> None:
    model, bank = two_layers(), filled(ProbeBank(8))

    def fail(module: torch.nn.Module, args: Any, output: Any) -> None:
        raise ValueError("in the middle")

    handle = model[1].register_forward_hook(fail)
    with pytest.raises(ValueError, match="in the middle"), bank.attach(model):
        model(torch.ones(1, 4))
    handle.remove()
    assert not any(module._forward_hooks for module in model.modules())
    model(torch.ones(1, 4))
    assert {name: len(values) for name, values in bank.export().result().items()} == {"a": 1, "b": 0, "c": 0}


def test_where_a_bank_cannot_be_attached() -> None:
    model, bank = two_layers(), ProbeBank(8)
    with pytest.raises(ValueError, match="no probes"), bank.attach(model):
        pass
    bank.add("layers", "a", vector(1))
    with pytest.raises(ValueError, match="no layer is called 'layers'"), bank.attach(model):
        pass
    bank.remove("a")
    filled(bank)
    with bank.attach(model):
        with pytest.raises(RuntimeError, match="attached to a model already"), bank.attach(model):
            pass
        model(torch.ones(1, 4))
    assert len(bank.export().result()["a"]) == 1


def test_two_models_have_two_banks() -> None:
    models = [two_layers(), two_layers()]
    banks = [filled(ProbeBank(8)) for _ in models]
    with banks[0].attach(models[0]), banks[1].attach(models[1]):
        for number, model in enumerate(models):
            for _ in range(number + 1):
                model(torch.ones(1, 4))
    assert [len(bank.export().result()["b"]) for bank in banks] == [1, 2]


def test_a_copied_model_reads_here_until_the_end_of_the_block() -> None:
    model, bank = two_layers(), filled(ProbeBank(8))
    with bank.attach(model):
        other = copy.deepcopy(model)
        other(torch.ones(1, 4))
    other(torch.ones(1, 4))
    assert len(bank.export().result()["a"]) == 1


def test_silence_since_the_beginning_is_told() -> None:
    bank = filled(ProbeBank(8))
    with bank.attach(two_layers()):
        export = bank.export()
        with pytest.warns(RuntimeWarning, match="no attached layer has recorded anything"):
            assert [len(values) for values in export.result().values()] == [0, 0, 0]


def test_threads() -> None:
    bank, model = ProbeBank(10_000), torch.nn.Identity()
    bank.add("", "one", torch.ones(1))
    names = [f"p{n}" for n in range(40)]
    exports = []

    def run() -> None:
        for _ in range(300):
            model(torch.ones(1, 1))

    with bank.attach(model):
        model(torch.ones(1, 1))
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for name in names:
            bank.add("", name, torch.full((1,), 2.0))
            exports.append(bank.export())
        for thread in threads:
            thread.join()
        exports.append(bank.export())
    results = [export.result() for export in reversed(exports)]  # in any order
    assert sum(len(result["one"]) for result in results) == 901
    for name in names:  # nothing was read before the probe was there
        assert all((result[name] == 2.0).all() for result in results if name in result)


# Overflow


def test_readouts_that_do_not_fit_are_counted() -> None:
    bank, model = ProbeBank(3), torch.nn.Identity()
    bank.add("", "a", torch.ones(1))
    with bank.attach(model):
        for n in range(5):
            model(torch.full((1, 1), float(n)))
        export = bank.export()
        model(torch.full((1, 1), 7.0))
    for _ in range(2):
        with pytest.raises(BufferFull, match="2 rows of readouts did not fit") as raised:
            export.result()
        assert raised.value.lost == 2
        assert raised.value.kept["a"].tolist() == [0.0, 1.0, 2.0]
    assert bank.export().result()["a"].tolist() == [7.0]


def test_reserve() -> None:
    model = torch.nn.Identity()
    bank = ProbeBank(4)
    bank.add("", "a", torch.ones(1))
    bank.reserve(3)
    with pytest.raises(BufferFull, match="3 of 4 are reserved, 2 more do not fit"):
        bank.reserve(2)
    with pytest.raises(ValueError, match="5 readouts never fit into a bank of 4"):
        bank.reserve(5)
    bank = ProbeBank(4, on_full="flush")
    bank.add("", "a", torch.ones(1))
    with bank.attach(model):
        for n in range(9):
            bank.reserve(2)
            model(torch.tensor([[[2.0 * n]], [[2.0 * n + 1]]]))
    assert bank.export().result()["a"].tolist() == [float(n) for n in range(18)]


# What it costs


def test_a_pass_waits_for_nothing_and_an_export_is_one_transfer() -> None:
    with count_syncs("simulated") as counter:
        model, bank = two_layers().to(SIM), filled(ProbeBank(16))
        batch = torch.randn(2, 3, 4, device=SIM)
        with bank.attach(model):
            before = CLOCK.counts()
            for _ in range(4):
                bank.reserve(2)
                model(batch)
            assert since(before)[1:] == (0, 0, 0.0, 0, 0)
            before = CLOCK.counts()
            export = bank.export()
            assert since(before)[1:] == (0, 0, 0.0, 0, 0)
            assert not export.done()
            found = export.result()
            assert export.done()
            spent = since(before)
            export.result()
            assert since(before) == spent
        assert (spent.waits, spent.copies, spent.h2d) == (1, 1, 0)
        # Two layers of eight slots: readouts, three counters, and where each slot begins and ends.
        assert spent.d2h == 2 * (16 * 8 * 4 + 3 * 8 + 2 * 8 * 8)
        assert counter.in_hooks == 0
    assert [values.shape for values in found.values()] == [(8,)] * 3


@pytest.mark.parametrize("count", [1, 7, 200])
def test_kernels_do_not_depend_on_the_number_of_probes(count: int) -> None:
    with count_syncs("simulated"):
        model, bank = torch.nn.Identity(), ProbeBank(16)
        bank.to(SIM)
        bank.add_all("", {str(n): vector(n) for n in range(count)})
        hidden = torch.randn(1, 2, WIDTH, device=SIM)
        with bank.attach(model):
            before = CLOCK.counts()
            model(hidden)
            spent = since(before)
        assert (spent.kernels, spent.waits) == (4, 0)  # addmm, clamp, index_copy_, add_


def test_an_export_on_a_side_stream_waits_for_its_event_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of CUDA, on the simulated device: pinned memory, a side stream, an event."""
    monkeypatch.setattr(probe_export, "ASYNCHRONOUS", frozenset(("sim",)))
    with count_syncs("simulated") as counter:
        model, bank = two_layers().to(SIM), filled(ProbeBank(16, positions="all"))
        batches = [torch.randn(2, 4, device=SIM) for _ in range(3)]
        exports = []
        with bank.attach(model):
            counter.reset()
            before = CLOCK.counts()
            for batch in batches:
                model(batch)
                exports.append(bank.export())
            spent = since(before)
            assert (spent.waits, spent.copies) == (0, 3)
            assert not exports[-1].done()
        before = CLOCK.counts()
        results = [export.result() for export in exports]
        assert (since(before).waits, since(before).copies) == (3, 0)
        assert exports[-1].done()
        assert {site.op for site in counter.report().sites} == {"Event.synchronize"}
    cpu = two_layers()
    for batch, result in zip(batches, results, strict=True):
        assert_same(result, naive(cpu, bank, [batch.cpu()]))


# Compiled


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_with_edits_in_between_is_one_graph(backend: str, fresh_compiler: None) -> None:
    model, counter = two_layers(), CompileCounterWithBackend(backend)
    bank = filled(ProbeBank(256, positions="all"))
    batches = [torch.randn(2, 3, 4) for _ in range(12)]
    with bank.attach(model):
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        for number, batch in enumerate(batches):
            if number == 6:
                bank.add("2", "d", vector(4), 2.0)
            compiled(batch).sum().backward()
        whole = naive(model, bank, batches)
        bank.remove("b")
        found = bank.export().result()
    assert counter.frame_count == 1
    whole["d"] = whole["d"][6 * 6 :]
    assert_same(found, {name: whole[name] for name in found})


def test_sequences_of_any_length_are_two_graphs(fresh_compiler: None) -> None:
    model, counter, bank = two_layers(), CompileCounterWithBackend("aot_eager"), filled(ProbeBank(256, positions="all"))
    batches = [torch.randn(2, length, 4) for length in (3, 5, 9, 4, 7)]
    with bank.attach(model):
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        for batch in batches:
            compiled(batch)
    assert counter.frame_count == 2  # one for the first length, one for all others
    assert_same(bank.export().result(), naive(model, bank, batches))


def test_growing_compiles_once_more(fresh_compiler: None) -> None:
    model, counter, bank = two_layers(), CompileCounterWithBackend("eager"), filled(ProbeBank(64, positions="all"))
    batch = torch.randn(1, 4)
    with bank.attach(model):
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        compiled(batch)
        bank.add_all("2", {f"n{n}": vector(n) for n in range(10)})
        for _ in range(3):
            compiled(batch)
        found = bank.export().result()
        expected = naive(model, bank, [batch] * 4)
    assert counter.frame_count == 2
    assert_same(found, {name: values[:3] if name.startswith("n") else values for name, values in expected.items()})


def test_compiled_under_autocast_computes_in_the_banks_dtype(fresh_compiler: None) -> None:
    bank, model = ProbeBank(8), torch.nn.Sequential(torch.nn.Identity())
    bank.add("0", "a", vector(1))
    hidden = torch.randn(1, WIDTH)
    with bank.attach(model):
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        with torch.autocast("cpu", torch.bfloat16):
            compiled(hidden)
        model(hidden)
    first, second = bank.export().result()["a"]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_compiled_code_stops_reading_at_the_end_of_the_block(fresh_compiler: None) -> None:
    model, bank = two_layers(), filled(ProbeBank(8))
    with bank.attach(model):
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        compiled(torch.ones(1, 4))
    compiled(torch.ones(1, 4))
    assert len(bank.export().result()["a"]) == 1


# On a device


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="asynchronous export needs a CUDA device")
def test_an_export_on_cuda_does_not_wait() -> None:
    model, bank = two_layers().cuda(), filled(ProbeBank(64, positions="all"))
    batches = [torch.randn(2, 4, device="cuda") for _ in range(3)]
    with bank.attach(model), torch.no_grad():
        model(batches[0])
        bank.export().result()  # allocates pinned memory
        torch.cuda._sleep(500_000_000)
        exports = []
        for batch in batches:
            model(batch)
            exports.append(bank.export())
        assert not exports[-1].done()
        results = [export.result() for export in exports]
    for batch, result in zip(batches, results, strict=True):
        cpu = two_layers()
        assert_same(result, naive(cpu, bank, [batch.cpu()]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
def test_cuda_graphs_read_probes_that_were_added_after_the_capture() -> None:
    model, bank = two_layers().cuda(), filled(ProbeBank(64, positions="all"))
    batch = torch.randn(2, 4, device="cuda")
    with bank.attach(model), torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            model(batch)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(batch)
        bank.export().result()
        graph.replay()
        bank.add("2", "d", vector(4))
        graph.replay()
        found = bank.export().result()
    expected = naive(two_layers(), bank, [batch.cpu()] * 2)
    expected["d"] = expected["d"][:2]
    assert_same(found, expected)
