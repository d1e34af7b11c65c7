"""Transfers: on which stream they run, what they wait for, what is raised when they fail, and who may share them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

from auditlint.defer import defer, flush, transfer  # noqa: E402
from auditlint.defer.pending import pending, send_all  # noqa: E402
from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.simulation import device as sim  # noqa: E402
from auditlint.runtime.simulation.clock import CLOCK, Counts  # noqa: E402
from auditlint.runtime.simulation.registration import register  # noqa: E402
from auditlint.runtime.simulation.tensor import SimTensor  # noqa: E402

register()
pytestmark = pytest.mark.usefixtures("nothing_pending")


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


# Streams


class Told(list):
    """What the simulated device's streams and events were told, in order."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()

    def tell(owner: type, name: str, words: Any) -> None:
        original = getattr(owner, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            told.append(words(self, *args))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, method)

    tell(sim.Stream, "wait_stream", lambda self, other: ("wait for", other))
    tell(sim.Event, "record", lambda self, stream=None: ("record on", stream))
    tell(sim.Event, "synchronize", lambda self: "synchronize")
    original = transfer.as_bytes
    monkeypatch.setattr(transfer, "as_bytes", lambda blocks: told.append("pack") or original(blocks))
    return told


def test_a_transfer_runs_behind_the_streams_that_made_its_tensors(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, unused = sim.Stream(), sim.Stream(), sim.Stream()
    with count_syncs("simulated"):
        values = []
        for stream in (first, second, first):
            current = staticmethod(lambda device=None, stream=stream: stream)
            monkeypatch.setattr(type(torch.sim), "current_stream", current)
            values.append(defer(torch.ones((), device="cuda")))
        told.clear()
        assert values == [1.0, 1.0, 1.0]
    side = transfer._sides[torch.device("sim", 0)]
    assert side not in (first, second, unused)
    assert told == [("wait for", first), ("wait for", second), "pack", ("record on", side), "synchronize"]


def test_an_asynchronous_copy_is_not_read_before_its_event(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = transfer.from_bytes
    monkeypatch.setattr(transfer, "from_bytes", lambda *args: seen.append(list(told)) or original(*args))
    with count_syncs("simulated"):
        value = defer(torch.ones((), device="cuda"))
        told.clear()
        assert value == 1.0
    assert [words[-1] for words in seen] == ["synchronize"]


def test_where_copies_may_not_be_asynchronous_one_blocking_copy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MPS."""
    monkeypatch.setattr(transfer, "has_streams", lambda device: False)
    asked: list[Any] = []
    original = SimTensor.cpu
    monkeypatch.setattr(SimTensor, "cpu", lambda self, *args, **kwargs: asked.append(kwargs) or original(self))
    values = [defer(torch.full((2,), float(number), device="sim"), as_="list") for number in range(3)]
    assert not values[0]._stream
    with Spent() as spent:
        assert values == [[0.0] * 2, [1.0] * 2, [2.0] * 2]
    assert (spent.waits, spent.copies, asked) == (1, 1, [{}])
    sent = defer(torch.ones(2, device="sim"), as_="list")
    with Spent() as spent:
        assert send_all() == []
    assert (spent.waits, spent.copies) == (1, 1) and sent == [1.0, 1.0]


def test_mps_and_the_host_have_no_streams() -> None:
    assert [transfer.has_streams(torch.device(name)) for name in ("cpu", "mps", "sim:0")] == [False, False, True]


def test_host_memory_is_used_again_and_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "KEPT", 1 << 18)
    transfer._free.clear()
    device = torch.device("sim", 0)
    with count_syncs("simulated"):
        addresses = []
        for size in (10, 20, 30_000, 30):
            assert sum(defer(torch.ones(size, device="cuda"), as_="list")) == size
            addresses.append({memory.data_ptr(): memory.numel() for memory in transfer._free[device]})
        assert addresses[0] == addresses[1] and len(addresses[2]) == transfer.PIECES
        assert addresses[2] == addresses[3] and max(addresses[3].values()) >= 120_000
        large = defer(torch.ones(transfer.KEPT // 4 + 1, device="cuda"), as_="cpu")
        assert large.eq(1).all() and large.nbytes > transfer.KEPT
        assert max(memory.numel() for memory in transfer._free[device]) <= transfer.KEPT


# Errors of the device


def test_a_device_error_is_raised_by_every_read(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = defer(torch.tensor(1.0, device="sim")), defer(torch.ones(2, device="sim"), as_="list")
    host = defer(torch.tensor(3.0))

    def broken(self) -> None:
        raise RuntimeError("device-side assert triggered")

    with monkeypatch.context() as patched:
        patched.setattr(sim.Event, "synchronize", broken)
        with pytest.raises(RuntimeError, match="device-side assert"):
            float(first)
    for read in (lambda: second[0], lambda: f"{first}", lambda: first == 1.0, lambda: hash(first), lambda: first.real):
        with pytest.raises(RuntimeError, match="device-side assert"):
            read()
    assert host == 3.0 and not first.ready
    assert defer(torch.tensor(4.0, device="sim")) == 4.0  # what is captured later is another matter


def test_a_failure_of_one_does_not_show_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    host, device = defer(torch.tensor(3.0)), defer(torch.tensor(1.0, device="sim"))
    with monkeypatch.context() as patched:
        patched.setattr("auditlint.defer.transfer.as_bytes", lambda blocks: (_ for _ in ()).throw(RuntimeError("lost")))
        assert host == 3.0
    with pytest.raises(RuntimeError, match="lost"):
        float(device)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), KeyboardInterrupt()])
def test_an_interrupt_or_too_little_memory_loses_nothing(monkeypatch: pytest.MonkeyPatch, error) -> None:
    values = [defer(torch.tensor(float(number), device="sim")) for number in range(3)]

    def refuse(*args, **kwargs):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("auditlint.defer.transfer.gather", refuse)
        with pytest.raises(type(error)):
            flush()
    with Spent() as spent:
        assert values == [0.0, 1.0, 2.0]
    assert spent.copies == 1


# Sending without waiting


def test_sending_waits_for_nothing_and_lets_go_of_the_device() -> None:
    with count_syncs("simulated"):
        values = [defer(torch.full((4,), float(number), device="cuda"), as_="list") for number in range(3)]
        with Spent() as sent:
            assert send_all() == []
        assert (sent.waits, sent.copies) == (0, 1)
        assert not any(isinstance(value._held, torch.Tensor) for value in values) and pending() == 3
        later = defer(torch.tensor(9.0, device="cuda"))
        with Spent() as read:
            assert later == 9.0 and values[2] == [2.0] * 4
        assert (read.waits, read.copies) == (2, 1)


def test_a_flush_inside_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finaliser that reads, while a transfer is being waited for."""
    with count_syncs("simulated"):
        first, second = defer(torch.tensor(1.0, device="cuda")), defer(torch.tensor(2.0, device="cuda"))
        send_all()
        third = defer(torch.tensor(3.0, device="cuda"))
        inside: list[Any] = []
        original = sim.Event.synchronize

        def synchronize(self: Any) -> None:
            original(self)
            if not inside:
                inside.append(None)
                inside[:] = [second + 0, third + 0, defer(torch.tensor(4.0, device="cuda")) + 0]

        monkeypatch.setattr(sim.Event, "synchronize", synchronize)
        assert first == 1.0 and inside == [2.0, 3.0, 4.0] and (second, third) == (2.0, 3.0)
    assert pending() == 0


def test_an_interrupt_while_waiting_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with count_syncs("simulated"):
        sent, kept = defer(torch.tensor(1.0, device="cuda")), defer(torch.tensor(3.0))
        send_all()
        late = defer(torch.tensor(2.0, device="cuda"))

        def interrupt(self: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(sim.Event, "synchronize", interrupt)
            for read in (lambda: float(sent), lambda: float(late)):
                with pytest.raises(KeyboardInterrupt):
                    read()
        assert (sent, late, kept) == (1.0, 2.0, 3.0)


# Threads and processes


def test_threads_capture_and_read_at_the_same_time() -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            start.wait()
            for step in range(60):
                mine = [defer(torch.tensor(number * 1000 + step + part, device="sim")) for part in range(5)]
                if step % 3 == number % 3:
                    flush()
                assert [int(value) for value in mine] == [number * 1000 + step + part for part in range(5)]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and pending() == 0


def test_one_thread_captures_and_another_reads() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(defer(torch.tensor(5.0, device="sim"))))
    thread.start()
    thread.join()
    assert found == [5.0]


def test_hooks_of_a_backward_pass() -> None:
    norms = []
    layer = torch.nn.Linear(3, 3).to("sim")
    layer.register_full_backward_hook(lambda m, i, o: norms.append(defer(o[0].norm())))
    with count_syncs("simulated") as counter:
        layer(torch.ones(2, 3, device="sim", requires_grad=True)).sum().backward()
        assert counter.totals.in_hooks == 0 and len(norms) == 1
    assert norms[0] == torch.ones(2, 3).norm().item()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_the_device_is_out_of_reach_and_the_host_is_not() -> None:
    code = """if True:
        import os, torch
        from auditlint.defer import defer, defer_call, flush
        from auditlint.runtime.simulation.registration import register
        register()
        host, device = defer(torch.tensor(1.5)), defer(torch.tensor(2.5, device="sim"))
        defer_call(print, "called once", flush=True)
        child = os.fork()
        if child == 0:
            flush()
            try:
                float(device)
            except RuntimeError as error:
                print("child", float(host), "before this process was forked" in str(error), flush=True)
            print("child", float(defer(torch.tensor(3.5, device="sim"))), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        flush()
        print("parent", float(host), float(device))
    """
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    expected = ["child 1.5 True", "child 3.5", "called once", "parent 1.5 2.5"]
    assert (found.stdout.splitlines(), found.returncode) == (expected, 0), found.stderr


def test_importing_starts_neither_a_device_nor_the_compiler() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import auditlint.defer; "
        "print([name for name in sys.modules if name not in before and not name.startswith('auditlint')], "
        "torch.cuda.is_initialized(), 'torch._dynamo' in sys.modules, "
        "[name for name in sys.modules if name.startswith('auditlint.') and not name.startswith('auditlint.defer')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[] False False []", found.stderr


# On a real device


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_values_are_exact_and_one_event_is_waited_for() -> None:
    other = torch.cuda.Stream()
    with count_syncs("cuda") as counter:
        x = torch.randn(1 << 20, device="cuda")
        values = [defer(x[number]) for number in range(1000)]
        with torch.cuda.stream(other):
            other.wait_stream(torch.cuda.default_stream())
            late = defer((x.double() @ x.double()).reshape(1))
        before = counter.totals.raw
        flush()
        assert counter.totals.raw - before == 1
    assert [float(value) for value in values] == x[:1000].tolist()
    assert late == pytest.approx((x.double() @ x.double()).item())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_capture_into_a_cuda_graph_is_refused() -> None:
    x = torch.ones(4, device="cuda")
    with (
        pytest.raises(RuntimeError, match="DeviceBuffer"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        defer(x.sum(), fresh=True)
