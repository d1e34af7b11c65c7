"""`AuditLog`: entries of forward passes, without a wait in any hook."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

from auditlint.defer import AuditLog, AuditLogFull, defer, defer_call, flush, outside_graph  # noqa: E402
from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.simulation import device as sim  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402

register()
pytestmark = pytest.mark.usefixtures("nothing_pending")


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.Linear(4, 4)
        self.gate = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.gate(x)
        return x + self.attention(x)


class Model(torch.nn.Module):
    """Two blocks; calls itself `nested` times, and raises in the second block when told."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Linear(4, 4)
        self.blocks = torch.nn.ModuleList([Block(), Block()])

    def forward(self, x: torch.Tensor, nested: int = 0, broken: BaseException | None = None) -> torch.Tensor:
        x = self.embed(x)
        if nested:
            x = self(x, nested - 1)
        for number, block in enumerate(self.blocks):
            if number == 1 and broken is not None:
                raise broken
            x = block(x)
        return x


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model()


def batch(device: str = "cpu") -> torch.Tensor:
    return torch.linspace(-1, 1, 8).reshape(2, 4).to(device)


def hooks(model: torch.nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._forward_hooks_always_called)
        for module in model.modules()
    )


def summary(entries: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(entry["token"], entry["layer"], entry["module"]) for entry in entries]


# Same values, no waits


def test_values_are_those_of_the_naive_log_and_no_hook_waits(model: Model) -> None:
    naive: list[float] = []
    with count_syncs("simulated") as counter:
        model = model.cuda()
        x = batch("cuda")
        handles = [
            block.register_forward_hook(lambda module, args, output: naive.append(output.norm().item()))
            for block in model.blocks
        ]
        model(x)
        model(x)
        assert counter.totals.in_hooks == 4
        for handle in handles:
            handle.remove()
        with AuditLog.attach(model) as log:
            before = CLOCK.counts()
            model(x)
            model(x)
            during = CLOCK.counts()
            entries = log.finalize()
            after = CLOCK.counts()
        assert counter.totals.in_hooks == 4  # none were added
        assert (during.waits - before.waits, during.copies - before.copies) == (0, 0)
        assert (after.waits - during.waits, after.copies - during.copies, after.d2h - during.d2h) == (1, 1, 16)
    assert [entry["norm"] for entry in entries] == naive
    assert entries[0] == {"token": 0, "layer": 0, "module": "blocks.0", "norm": naive[0]}
    assert summary(entries) == [(0, 0, "blocks.0"), (0, 1, "blocks.1"), (1, 0, "blocks.0"), (1, 1, "blocks.1")]


def test_the_cpu_backend_sees_no_sync_in_its_hooks_either(model: Model) -> None:
    with count_syncs("cpu") as counter, AuditLog.attach(model) as log, AuditLog.attach(model, "router") as routers:
        model.embed.register_forward_hook(lambda module, args, output: log.append({"row": output[0]}))
        model(batch())
        model(batch())
        assert counter.totals.in_hooks == 0
    assert len(list(log)) == 6 and len(list(routers)) == 4


def test_an_own_hook_appends(model: Model) -> None:
    with count_syncs("simulated") as counter:
        model = model.cuda()
        with AuditLog.attach(model, layers=lambda name, module: name == "embed") as log:
            model.blocks[1].register_forward_hook(
                lambda module, args, output: log.append(
                    {"layer": 1, "norm": output.norm(), "row": output[0], "text": "x", "top": output.topk(2)}
                )
            )
            model(batch("cuda"))
        log.append({"note": "after"})
        assert counter.totals.in_hooks == 0
        first, own, last = log
    assert summary([first, own, last]) == [(0, 0, "embed"), (0, 1, None), (None, None, None)]
    assert type(own["norm"]) is float and len(own["row"]) == 4 and own["text"] == "x" and last["note"] == "after"
    assert type(own["top"][0]) is list and own["top"].indices == own["top"][1]


@pytest.mark.parametrize("device", ["cpu", "sim"])
def test_routers_and_specialists(model: Model, device: str) -> None:
    model = model.to(device)
    x = batch(device)
    with (
        AuditLog.attach(model, "router") as routers,
        AuditLog.attach(model, "log_probs", layers="embed") as specialists,
    ):
        model(x)
    logits = model.embed(x)
    expected = torch.log_softmax(logits.float(), dim=-1).tolist()
    assert specialists.finalize() == [{"token": 0, "layer": 0, "module": "embed", "log_probs": expected}]
    entries = routers.finalize()
    assert [entry["module"] for entry in entries] == ["blocks.0.gate", "blocks.1.gate"]
    assert entries[0]["probabilities"] == torch.softmax(model.blocks[0].gate(logits), dim=-1).tolist()


def test_log_probs_take_the_last_position() -> None:
    head = torch.nn.Identity()
    model = torch.nn.Sequential(head)
    logits = torch.randn(2, 5, 7)
    with AuditLog.attach(model, "log_probs") as log:
        model(logits)
    (entry,) = log
    assert entry["log_probs"] == torch.log_softmax(logits[:, -1], dim=-1).tolist()


def test_a_function_of_ones_own(model: Model) -> None:
    def capture(module, args, output):
        assert not torch.is_grad_enabled()
        if module is model.blocks[1]:
            return None
        return {"in": args[0].mean(), "out": output[0], "array": defer(output, as_="numpy"), "fixed": 3}

    with AuditLog.attach(model, capture) as log, torch.enable_grad():
        model(batch())
    (entry,) = log
    assert entry["fixed"] == 3 and type(entry["in"]) is float and type(entry["out"]) is list
    assert type(entry["array"]).__name__ == "ndarray"
    with AuditLog.attach(model, lambda module, args, output: output.sum(), layers="embed") as log:
        model(batch())
    assert next(iter(log))["value"] == model.embed(batch()).sum().item()
    with (
        AuditLog.attach(model, lambda module, args, output: {"token": 1}),
        pytest.raises(ValueError, match="a capture cannot set token"),
    ):
        model(batch())


# Layers


def test_layers_by_name_pattern_and_predicate(model: Model) -> None:
    def modules(**options: Any) -> list[str]:
        with AuditLog.attach(model, **options) as log:
            model(batch())
        return [entry["module"] for entry in sorted(log, key=lambda entry: entry["layer"])]

    assert modules() == ["blocks.0", "blocks.1"]
    assert modules(layers="*.attention") == ["blocks.0.attention", "blocks.1.attention"]
    assert modules(layers=["blocks.1", "embed"]) == ["embed", "blocks.1"]
    assert modules(layers=lambda name, module: isinstance(module, Block)) == ["blocks.0", "blocks.1"]
    flat = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.Linear(4, 4)))
    with AuditLog.attach(flat) as log:
        flat(batch())
    assert [entry["module"] for entry in log] == ["0", "1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "block.*"}, "no layer is called 'block.\\*'"),
        ({"layers": lambda name, module: False}, "no layer of Model is selected; its layers are embed, blocks"),
        ({"capture": "norms"}, "capture is 'norm', 'router', 'log_probs' or a function, not 'norms'"),
        ({"every": 0}, "every and max_bytes are at least 1"),
        ({"max_bytes": 0}, "every and max_bytes are at least 1"),
        ({"on_full": "drop"}, "on_full is 'flush' or 'error', not 'drop'"),
        ({"tokens": "auto"}, "tokens is 'forward' or 'manual', not 'auto'"),
    ],
)
def test_arguments_that_mean_nothing(model: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AuditLog.attach(model, **options)
    assert hooks(model) == 0


# Tokens


def test_a_pass_inside_a_pass_is_part_of_it(model: Model) -> None:
    with AuditLog.attach(model, layers="embed") as log:
        model(batch(), nested=2)
        model(batch())
    assert [entry["token"] for entry in log] == [0, 0, 0, 1]


def test_every_nth_pass(model: Model) -> None:
    with AuditLog.attach(model, layers="embed", every=3) as log:
        recorded = []
        model.blocks[0].register_forward_hook(lambda *args: recorded.append((log.token, log.recording)))
        for _ in range(7):
            model(batch())
    assert [entry["token"] for entry in log] == [0, 3, 6]
    assert recorded == [(token, token % 3 == 0) for token in range(7)]


def test_tokens_counted_by_hand(model: Model) -> None:
    with AuditLog.attach(model, layers="embed", tokens="manual") as log:
        model(batch())
        assert log.next_token() == 0
        model(batch())
        model(batch())
        assert log.next_token() == 1
        model(batch())
    assert [entry["token"] for entry in log] == [None, 0, 0, 1]
    with AuditLog.attach(model) as log, pytest.raises(RuntimeError, match="tokens='manual'"):
        log.next_token()


def test_layers_called_outside_a_pass_have_no_token(model: Model) -> None:
    with AuditLog.attach(model, layers="embed", every=2) as log:
        model.embed(batch())
        model(batch())
        model.embed(batch())
    assert [entry["token"] for entry in log] == [None, 0, None]


# Exceptions


def test_an_exception_in_the_middle_of_a_pass(model: Model) -> None:
    with AuditLog.attach(model) as log:
        with pytest.raises(ValueError, match="in the pass"):
            model(batch(), broken=ValueError("in the pass"))
        model(batch())
        assert log.token is None
    assert summary(list(log)) == [(0, 0, "blocks.0"), (1, 0, "blocks.0"), (1, 1, "blocks.1")]
    assert log.interrupted == (0,) and hooks(model) == 0


def test_an_interrupt_does_not_make_the_next_pass_a_part_of_it(model: Model) -> None:
    with AuditLog.attach(model) as log:
        with pytest.raises(KeyboardInterrupt):
            model(batch(), broken=KeyboardInterrupt())
        model(batch(), nested=1)
    assert [entry["token"] for entry in log] == [0, 1, 1, 1, 1]


def test_a_pass_while_an_exception_is_handled_is_not_interrupted(model: Model) -> None:
    with AuditLog.attach(model) as log:
        try:
            raise KeyError
        except KeyError:
            model(batch())
    assert log.interrupted == ()


def test_hooks_are_removed_after_an_exception_and_after_a_failed_attach(model: Model) -> None:
    with pytest.raises(RuntimeError, match="elsewhere"), AuditLog.attach(model) as log:
        assert hooks(model) > 0
        raise RuntimeError("elsewhere")
    assert hooks(model) == 0
    log.close()
    model(batch())
    assert len(log) == 0


def test_a_capture_that_raises_leaves_no_half_entry(model: Model) -> None:
    with AuditLog.attach(model, lambda module, args, output: {"a": output.sum(), "b": defer(output)}) as log:
        with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
            model(batch())
        assert len(log) == 0 and log.interrupted == (0,)


def test_after_a_device_error_what_was_finished_stays(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with count_syncs("simulated"):
        model = model.cuda()
        log = AuditLog.attach(model)
        model(batch("cuda"))
        good = log.finalize()
        model(batch("cuda"))
        with monkeypatch.context() as patched:

            def broken(self) -> None:
                raise RuntimeError("device-side assert triggered")

            patched.setattr(sim.Event, "synchronize", broken)
            with pytest.raises(RuntimeError, match="device-side assert"):
                log.finalize()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="device-side assert"):
                log.finalize()
        assert log.finished == good and len(log) == 4
        log.close()


# Memory


def test_more_than_max_bytes_leaves_the_device_without_a_wait(model: Model) -> None:
    with count_syncs("simulated") as counter:
        model = model.cuda()
        x = batch("cuda")
        with AuditLog.attach(model, lambda module, args, output: {"all": output}, max_bytes=100) as log:
            before = CLOCK.counts()
            model(x)
            model(x)  # a batch is 32 bytes: the fourth entry is one too many
            full = CLOCK.counts()
            assert (full.waits - before.waits, full.d2h - before.d2h) == (0, 128)
            model(x)
            assert counter.totals.in_hooks == 0
            entries = log.finalize()
            after = CLOCK.counts()
            assert (after.waits - full.waits, after.d2h - full.d2h) == (2, 64)
        assert len(entries) == 6 and [len(entry["all"]) for entry in entries] == [2] * 6


def test_full_is_an_error_when_asked_for(model: Model) -> None:
    with AuditLog.attach(model, lambda module, args, output: output, max_bytes=100, on_full="error") as log:
        model(batch())
        with pytest.raises(
            AuditLogFull, match="96 bytes are captured and not read; 32 more would exceed max_bytes=100"
        ):
            model(batch())
        assert len(log) == 3
        log.finalize()
        model(batch())
        flush()  # read by somebody else
        model(batch())
        assert len(log) == 7 and log.interrupted == (1,)


def test_draining_forgets_what_it_returns(model: Model) -> None:
    with AuditLog.attach(model, layers="embed") as log:
        model(batch())
        first = log.drain()
        model(batch())
        second = log.drain()
    assert [entry["token"] for entry in first + second] == [0, 1]
    assert len(log) == 0 and log.finalize() == []


def test_finalizing_again_is_free(model: Model) -> None:
    with AuditLog.attach(model.to("sim")) as log:
        model(batch("sim"))
        first = log.finalize()
        before = CLOCK.counts()
        assert log.finalize() == first and list(log) == first
        assert CLOCK.counts() == before


def test_finalizing_runs_deferred_calls(model: Model) -> None:
    ran: list[float] = []
    with AuditLog.attach(model) as log:
        model.embed.register_forward_hook(lambda module, args, output: defer_call(ran.append, output.sum()))
        model(batch())
    log.finalize()
    assert ran == [model.embed(batch()).sum().item()]
    flush()


# Several of them


def test_several_models_have_their_own_entries_and_share_a_transfer(model: Model) -> None:
    other = Model().to("sim")
    model = model.to("sim")
    with AuditLog.attach(model) as first, AuditLog.attach(other, every=2) as second:
        for _ in range(2):
            model(batch("sim"))
            other(batch("sim"))
        before = CLOCK.counts()
        entries = first.finalize(), second.finalize()
        after = CLOCK.counts()
    assert (after.waits - before.waits, after.copies - before.copies) == (1, 1)
    assert [len(found) for found in entries] == [4, 2]
    assert [entry["token"] for entry in entries[1]] == [0, 0]


def test_two_logs_on_one_model(model: Model) -> None:
    with AuditLog.attach(model) as outer, AuditLog.attach(model, layers="embed") as inner:
        model(batch())
    assert summary(list(outer)) == [(0, 0, "blocks.0"), (0, 1, "blocks.1")]
    assert summary(list(inner)) == [(0, 0, "embed")]


def test_threads_run_passes_of_one_model(model: Model) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                model(batch(), nested=1)
        except BaseException as error:
            errors.append(error)

    with AuditLog.attach(model) as log:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        entries = []
        while any(thread.is_alive() for thread in threads):
            entries += log.drain()
        entries += log.drain()
    assert errors == []
    tokens = [entry["token"] for entry in entries]
    assert sorted(set(tokens)) == list(range(80)) and all(tokens.count(token) == 4 for token in range(80))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_modes(model: Model, mode: Any) -> None:
    with AuditLog.attach(model) as log:
        with mode():
            model(batch())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(batch())
    entries = list(log)
    assert [type(entry["norm"]) for entry in entries] == [float] * 4


def test_a_copy_of_the_model_records_in_the_same_log(model: Model) -> None:
    with AuditLog.attach(model) as log:
        twin = copy.deepcopy(model)
        twin(batch())
    twin(batch())
    assert summary(list(log)) == [(0, 0, "blocks.0"), (0, 1, "blocks.1")]


def test_training_is_not_disturbed(model: Model) -> None:
    plain = copy.deepcopy(model)
    with AuditLog.attach(model) as log:
        model(batch()).square().mean().backward()
    plain(batch()).square().mean().backward()
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert all(a.grad is b.grad is None or torch.equal(a.grad, b.grad) for a, b in pairs)
    assert len(log) == 2


# Compiled models


def test_a_compiled_model_is_logged_with_graph_breaks_and_without_recompiling(model: Model) -> None:
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    with AuditLog.attach(model) as log:
        run = torch.compile(model, backend=backend)
        for step in range(12):
            run(batch())
            if step == 0:
                first = len(graphs)
        assert len(graphs) == first > 0
    expected = [model.blocks[0](model.embed(batch())).norm().item(), model(batch()).norm().item()]
    entries = list(log)
    assert summary(entries) == [(step, layer, f"blocks.{layer}") for step in range(12) for layer in range(2)]
    assert [entry["norm"] for entry in entries] == pytest.approx(expected * 12)


def test_attached_to_the_compiled_model(model: Model) -> None:
    torch._dynamo.reset()
    run = torch.compile(model, backend="eager")
    with AuditLog.attach(run, layers="blocks.1") as log:
        for _ in range(3):
            run(batch())
    assert summary(list(log)) == [(token, 0, "blocks.1") for token in range(3)]


def test_an_own_compiled_hook_that_appends_is_not_compiled_anew(model: Model) -> None:
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    log = AuditLog()
    model.embed.register_forward_hook(lambda module, args, output: log.append({"norm": output.norm()}))
    run = torch.compile(model, backend=backend)
    for step in range(12):
        run(batch())
        if step == 0:
            first = len(graphs)
    assert len(log) == 12 and len(graphs) == first
    assert [entry["norm"] for entry in log] == [model.embed(batch()).norm().item()] * 12


def test_fullgraph_is_refused_with_what_to_use_instead(model: Model) -> None:
    torch._dynamo.reset()
    with (
        AuditLog.attach(model),
        pytest.raises(torch._dynamo.exc.Unsupported, match=r"auditlint\.defer\.DeviceBuffer"),
    ):
        torch.compile(model, backend="eager", fullgraph=True)(batch())


def test_marking_keeps_the_function_as_it_is() -> None:
    def hook(module, args, output):
        return 7

    assert outside_graph(hook) is hook and hook(None, None, None) == 7
