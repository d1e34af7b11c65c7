"""Counting on CUDA, on a machine without one: torch's own warnings and trace callbacks, made by stand-ins.

The stand-ins warn as torch does (`PyErr_WarnEx`, from C, with the innermost Python frame as the place) and fire the
registries that torch's C++ fires. What only a device can show is in `test_cuda_device.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import pickle
import threading
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the runtime companion needs torch")

from auditlint.runtime import count_syncs, entries, policy  # noqa: E402
from auditlint.runtime.backends import Unavailable, copies, cuda, warned  # noqa: E402
from auditlint.runtime.patches import Patches  # noqa: E402
from auditlint.runtime.watch import Recording, Watch  # noqa: E402

TEXT = "called a synchronizing CUDA operation (Triggered internally at /pytorch/c10/cuda/CUDAFunctions.cpp:153.)"
ARMING = "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"


def warn_from_c(text: str = TEXT, category: type[Warning] = UserWarning) -> None:
    """Warn as torch's bindings do."""
    function = ctypes.pythonapi.PyErr_WarnEx
    function.argtypes = (ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)
    function(category, text.encode(), 1)


class Device:
    """A stand-in for the parts of torch that know of CUDA; `traces` says whether it fires the GPU trace."""

    def __init__(self) -> None:
        self.mode = 0
        self.traces = True
        self.armed_with: list[int] = []

    def set_mode(self, mode: int | str) -> None:
        self.mode = {"default": 0, "warn": 1, "error": 2}.get(mode, mode)  # type: ignore[arg-type, assignment]
        self.armed_with.append(self.mode)
        warn_from_c(ARMING)

    def fire(self, registry: str, *args: int) -> None:
        if self.traces:
            getattr(torch.cuda._gpu_trace, registry).fire_callbacks(*args)

    def stream_wait(self, times: int = 1) -> None:
        """An operator that waits, called through a binding: its warnings come out when it returns."""
        for _ in range(times):
            self.fire("StreamSynchronizationCallbacks", 7)
        for _ in range(times if self.mode == 1 else 0):
            warn_from_c()

    def operator(self) -> None:
        """The same through `torch.ops`: C++ prints the warning."""
        self.fire("StreamSynchronizationCallbacks", 7)

    def synchronize(self, device: Any = None) -> None:
        self.fire("DeviceSynchronizationCallbacks")

    def event_synchronize(self, event: Any = None) -> None:
        self.fire("EventSynchronizationCallbacks", 9)


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    import torch.cuda._gpu_trace

    fake = Device()
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", fake.set_mode)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: fake.mode)
    monkeypatch.setattr(torch.cuda, "synchronize", fake.synchronize)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda.Event, "synchronize", lambda self: fake.event_synchronize())
    monkeypatch.setattr(torch.cuda.Stream, "synchronize", lambda self: fake.stream_wait())
    # Irreversible, and of no effect on a build without CUDA.
    monkeypatch.setattr(torch._C, "_activate_gpu_trace", lambda: None)
    return fake


class Counted:
    def __init__(self, recording: Recording, backend: cuda.Cuda) -> None:
        self.recording = recording
        self.backend = backend

    @property
    def calls(self) -> int:
        return sum(tally.count for tally in self.recording.tallies.values())

    @property
    def raw(self) -> int:
        return sum(tally.raw for tally in self.recording.tallies.values())

    @property
    def ops(self) -> list[tuple[str, str, int, int]]:
        return sorted((event.op, event.kind, tally.count, tally.raw) for event, tally in self.recording.tallies.items())


@contextlib.contextmanager
def counting() -> Iterator[Counted]:
    watch, recording, backend = Watch(), Recording(), cuda.Cuda()
    for stand_in in (warn_from_c, *(it for it in vars(Device).values() if callable(it))):
        watch.frames._known[id(stand_in.__code__)] = False  # C++ in truth, not the user's code
    with contextlib.ExitStack() as undo:
        patches = Patches(undo)
        backend.install(watch, patches, undo)
        entries.install(watch, patches, (torch.Tensor,))
        watch.recordings = (recording,)
        try:
            yield Counted(recording, backend)
        finally:
            watch.forget_thread()


@pytest.fixture(params=[True, False], ids=["trace", "no-trace"])
def traces(request: pytest.FixtureRequest, device: Device) -> bool:
    device.traces = bool(request.param)
    return device.traces


# ------------------------------------------------------------------------------------------------ warnings are heard


def test_each_wait_counts_once(device: Device, traces: bool) -> None:
    with counting() as counted:
        device.stream_wait()
        device.stream_wait()
    assert counted.calls == counted.raw == 2
    assert counted.ops[0][:2] == ("cudaStreamSynchronize", "")


def test_several_waits_of_one_call_are_one_event(device: Device, traces: bool) -> None:
    with counting() as counted:
        device.stream_wait(3)
    assert (counted.calls, counted.raw) == (1, 3)


def test_repeated_at_one_place_under_the_default_filter(device: Device, traces: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with counting() as counted:
            for _ in range(5):
                device.stream_wait()
    assert (counted.calls, counted.raw) == (5, 5)


def test_a_place_that_has_warned_before_is_heard(device: Device) -> None:
    device.traces = False
    device.mode = 1

    def wait() -> None:
        device.stream_wait()

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        wait()
        device.mode = 0
        with counting() as counted:
            wait()
    assert len(shown) == 1
    assert counted.calls == 1


def test_under_ignore_and_reset_and_record(device: Device, traces: bool) -> None:
    with counting() as counted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            device.stream_wait()
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            device.stream_wait()
            warnings.resetwarnings()
            device.stream_wait()
            warnings.simplefilter("error")
            device.stream_wait()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="called a synchronizing")
            device.stream_wait()
    assert counted.calls == 5
    assert shown == []


def test_under_filters_of_an_outer_block_that_ends_first(device: Device, traces: bool) -> None:
    """As under pytest, which puts the old list back between a fixture's set-up and the test."""
    with contextlib.ExitStack() as stack:
        outer = warnings.catch_warnings()
        before = warnings.filters
        outer.__enter__()
        warnings.simplefilter("ignore")
        counted = stack.enter_context(counting())
        device.stream_wait()
        outer.__exit__(None, None, None)
        device.stream_wait()
    assert counted.calls == 2
    assert warnings.filters is before
    assert not any(isinstance(entry[1], warned.Listener) for entry in warnings.filters)


@pytest.fixture
def begun_in_set_up(device: Device) -> Iterator[Counted]:
    with counting() as counted:
        yield counted


def test_a_fixture_counts_in_the_test(begun_in_set_up: Counted, device: Device, traces: bool) -> None:
    for _ in range(2):
        device.stream_wait()
    assert begun_in_set_up.calls == 2


def test_on_other_threads(device: Device, traces: bool) -> None:
    def work() -> None:
        for _ in range(50):
            with warnings.catch_warnings() if threading.current_thread().name == "quiet" else contextlib.nullcontext():
                device.stream_wait()

    with counting() as counted:
        threads = [threading.Thread(target=work, name=name) for name in ("one", "two", "quiet")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counted.raw == 150
    assert {event.thread for event in counted.recording.tallies} == {"one", "two", "quiet"}


@pytest.mark.parametrize("text", ["called a synchronizing operation", "called a synchronizing HIP operation (x)"])
def test_other_wordings(device: Device, text: str) -> None:
    with counting() as counted:
        warn_from_c(text)
    assert counted.calls == 1


def test_nothing_reaches_the_user(device: Device, traces: bool) -> None:
    with warnings.catch_warnings(record=True) as shown, contextlib.redirect_stderr(io.StringIO()) as stderr:
        warnings.simplefilter("always")
        with counting() as counted:
            device.stream_wait()
    assert shown == []
    assert stderr.getvalue() == ""
    assert counted.calls == 1
    assert device.armed_with == [1, 0]


def test_the_mode_that_the_program_has_turned_on_goes_on_warning(device: Device, traces: bool) -> None:
    device.mode = 1
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with counting() as counted:
            device.stream_wait()
    assert [str(it.message) for it in shown] == [TEXT]
    assert counted.calls == 1
    assert device.mode == 1


# -------------------------------------------------------------------------------------- other warnings are untouched


def test_other_warnings_go_on_as_before(device: Device) -> None:
    def run() -> list[str]:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("default")
            warnings.filterwarnings("ignore", message="hidden")
            for text in ("seen", "seen", "hidden", ARMING):
                for _ in range(2):
                    warn_from_c(text)
            warnings.warn("from Python", DeprecationWarning, stacklevel=1)
        return [str(it.message) for it in shown]

    before = run()
    globals().pop("__warningregistry__", None)
    with counting() as counted:
        assert run() == before
    assert before == ["seen", ARMING, "from Python"]
    assert counted.calls == 0


def test_errors_by_filter_stay_errors(device: Device) -> None:
    with counting(), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="mine"):
            warn_from_c("mine")


def test_filters_can_be_sent_to_a_worker(device: Device) -> None:
    with counting():
        sent = pickle.loads(pickle.dumps(warnings.filters))
    assert not any(entry[1] and entry[1].match(TEXT) for entry in sent[:1])


# ------------------------------------------------------------------------------------------------ everything put back


def state() -> dict[str, Any]:
    trace = torch.cuda._gpu_trace
    owned = [(torch.cuda, ("synchronize", "empty_cache", "set_sync_debug_mode")), (torch.cuda.Event, ("synchronize",))]
    owned += [(torch.cuda.Stream, ("synchronize",)), (torch.Tensor, ("to", "cpu", "cuda", "copy_", "item"))]
    owned += [(torch.accelerator, ("synchronize", "empty_cache")), (torch, ("_foreach_copy_",))]
    owned += [(warnings, ("showwarning", "_showwarnmsg_impl", "filters"))]
    found = {(str(owner), name): vars(owner).get(name) for owner, names in owned for name in names}
    found["type", ""] = type(warnings)
    for registry in ("Stream", "Event", "Device"):
        found["trace", registry] = list(getattr(trace, f"{registry}SynchronizationCallbacks").callback_list)
    return found


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_everything_is_put_back(device: Device, fails: bool, mode: int) -> None:
    device.mode = mode
    warnings.simplefilter("ignore")  # pytest puts the filters back after each test
    before, filters = state(), list(warnings.filters)
    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(), counting():
        device.stream_wait()
        if fails:
            _ = 1 / 0
    after = state()
    assert [key for key in before if before[key] is not after[key] and before[key] != after[key]] == []
    assert after[str(warnings), "filters"] is before[str(warnings), "filters"]
    assert warnings.filters == filters
    assert device.mode == mode


def test_filters_that_the_program_adds_meanwhile_stay(device: Device) -> None:
    with warnings.catch_warnings():
        with counting():
            warnings.filterwarnings("ignore", message="theirs")
            device.stream_wait()
            warnings.simplefilter("always", append=True)
        messages = [entry[1].pattern if hasattr(entry[1], "pattern") else entry[1] for entry in warnings.filters]
    assert messages[0] == "theirs"
    assert warned.NOTHING not in messages


def test_installation_that_fails_is_undone(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(mode: Any) -> None:
        if mode == "warn":
            raise RuntimeError("no driver")

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", broken)
    before = state()
    with pytest.raises(RuntimeError, match="no driver"), counting():
        raise AssertionError("not reached")
    assert state() == before


def test_after_the_block_nothing_is_heard(device: Device) -> None:
    with counting() as counted:
        pass
    device.operator()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        warn_from_c()
    assert len(shown) == 1
    assert counted.raw == 0


# ------------------------------------------------------------------------------------------------------ the GPU trace


def test_operators_without_a_warning_are_traced(device: Device) -> None:
    with counting() as counted:
        device.operator()
        device.stream_wait()
        device.operator()
    assert counted.raw == 3


def test_warnings_replayed_on_another_thread_do_not_count_again(device: Device) -> None:
    """What C++ nodes of a backward pass wait for is traced on the engine's thread, and warned of on the caller's."""
    with counting() as counted:
        thread = threading.Thread(target=device.operator, name="engine")
        thread.start()
        thread.join()
        warn_from_c()
    assert counted.raw == 1
    assert [event.thread for event in counted.recording.tallies] == ["engine"]


def test_a_wait_for_an_event_or_device_in_c_plus_plus(device: Device) -> None:
    with counting() as counted:
        device.event_synchronize()
        device.synchronize()
    assert counted.ops == [("Event.synchronize", "synchronize", 1, 1), ("torch.cuda.synchronize", "synchronize", 1, 1)]


def test_without_the_trace_the_report_says_so(device: Device, traces: bool) -> None:
    with counting() as counted:
        device.stream_wait()
        assert (cuda.NO_TRACE in counted.backend.blind_spots) is not traces


def test_without_the_private_interface_of_the_trace(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.traces = False
    monkeypatch.delattr(torch._C, "_activate_gpu_trace")
    with counting() as counted:
        device.stream_wait()
    assert counted.calls == 1
    assert cuda.NO_TRACE in counted.backend.blind_spots


def test_what_is_forbidden_raises_at_the_call_that_waited(device: Device, traces: bool) -> None:
    with (
        counting() as counted,
        policy.holding(policy.Policy(forbidden=True)),
        pytest.raises(policy.SyncForbiddenError, match=r"test_cuda\.py"),
    ):
        device.stream_wait()
    assert counted.raw == 1


# ------------------------------------------------------------------------------------------------------ told to wait


def test_explicit_calls_are_one_event_each(device: Device, traces: bool) -> None:
    event = stream = None  # Without a device there are none; the classes' methods are what is replaced.
    with counting() as counted:
        torch.cuda.synchronize()
        torch.cuda.Event.synchronize(event)
        torch.cuda.Stream.synchronize(stream)
        torch.cuda.empty_cache()
    assert [op[:3] for op in counted.ops] == [
        ("Event.synchronize", "synchronize", 1),
        ("Stream.synchronize", "synchronize", 1),
        ("torch.cuda.empty_cache", "synchronize", 1),
        ("torch.cuda.synchronize", "synchronize", 1),
    ]
    assert counted.raw == 4


def test_time_is_measured(device: Device) -> None:
    with counting() as counted:
        torch.cuda.synchronize()
    (tally,) = counted.recording.tallies.values()
    assert tally.waited is not None and tally.waited > 0


# ---------------------------------------------------------------------------------------------------------- pageable


def placed(where: str, pinned: bool = False, nbytes: int = 1 << 20, layout: Any = torch.strided) -> Any:
    return SimpleNamespace(
        device=SimpleNamespace(type=where),
        is_cuda=where == "cuda",
        nbytes=nbytes,
        layout=layout,
        is_pinned=lambda: pinned,
    )


@pytest.mark.parametrize(
    ("source", "target", "non_blocking", "expected"),
    [
        (placed("cpu"), placed("cuda"), True, True),
        (placed("cpu"), placed("cuda"), False, False),  # blocking: the mode sees it
        (placed("cpu", pinned=True), placed("cuda"), True, False),
        (placed("cpu", nbytes=65536), placed("cuda"), True, False),
        (placed("cpu", nbytes=65537), placed("cuda"), True, True),
        (placed("cuda"), placed("cpu"), True, True),
        (placed("cuda"), placed("cpu", pinned=True), True, False),  # as `.to("cpu", non_blocking=True)` makes it
        (placed("cuda"), placed("cuda"), True, False),
        (placed("cpu"), placed("cpu"), True, False),
        (placed("cpu", layout=torch.sparse_coo), placed("cuda"), True, False),
    ],
)
def test_pageable_copies(source: Any, target: Any, non_blocking: bool, expected: bool) -> None:
    assert cuda.may_wait_unseen(source, target, non_blocking) is expected


@pytest.fixture
def copied() -> Iterator[tuple[list[tuple[str, str, bool]], Recording]]:
    """All copies between devices wait, and "meta" is the device."""
    asked: list[tuple[str, str, bool]] = []
    watch, recording = Watch(), Recording()

    def waits(source: Any, target: Any, non_blocking: bool) -> bool:
        asked.append((source.device.type, target.device.type, non_blocking))
        return True

    with contextlib.ExitStack() as undo:
        patches = Patches(undo)
        copies.watch_copies(watch, patches, waits)
        entries.install(watch, patches, (torch.Tensor,))
        watch.recordings = (recording,)
        yield asked, recording
        watch.forget_thread()


def test_copies_are_told_by_where_the_data_was_and_went(copied: Any) -> None:
    asked, recording = copied
    host, there = torch.ones(2), torch.empty(2, device="meta")
    host.to(torch.float64)
    host.to("cpu")
    host.cpu()
    there.to("meta", torch.float16)
    host.copy_(torch.zeros(2), True)
    assert asked == []
    host.to("meta", non_blocking=True)
    host.to("meta", torch.float64, True)
    host.to(there, non_blocking=False)
    host.to(device="meta", copy=True)
    there.copy_(host, non_blocking=True)
    there.copy_(other=host)
    torch._foreach_copy_([there, torch.empty(1)], [host, torch.ones(1)], non_blocking=True)
    assert asked == [("cpu", "meta", asynchronous) for asynchronous in (True, True, False, False, True, False, True)]
    found = sorted((event.op, event.kind, tally.count) for event, tally in recording.tallies.items())
    assert found == [
        *[("Tensor.copy_", "h2d", 1)] * 2,
        *[("Tensor.to", "h2d", 1)] * 4,
        ("torch._foreach_copy_", "h2d", 1),
    ]


def test_a_copy_that_torch_sees_by_itself_is_not_counted_twice(device: Device) -> None:
    with counting() as counted:
        torch.ones(2).to("meta")
        torch.ones(100_000).to("meta", non_blocking=True)
    assert counted.raw == 0


def test_a_whole_report(device: Device, traces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.Cuda, "plant", lambda self: device.stream_wait())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a device")
    before = state()
    with count_syncs("cuda") as counter:
        torch.cuda.synchronize()
    report = counter.report()
    assert (report.backend, report.potential, report.environment.device) == ("cuda", False, "a device")
    assert [(site.op, site.kind, site.count, site.raw) for site in report.sites] == [
        ("torch.cuda.synchronize", "synchronize", 1, 1)
    ]
    assert (cuda.NO_TRACE in report.blind_spots) is not traces
    assert state() == before


def test_a_counter_that_sees_nothing_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.Cuda, "plant", lambda self: None)
    before = state()
    with pytest.raises(Unavailable, match="planted"), count_syncs("cuda"):
        raise AssertionError("not reached")
    assert state() == before


# ------------------------------------------------------------------------------------------------ where there is none


def test_unavailable_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="finds no CUDA device"):
        cuda.Cuda()
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(Unavailable, match=r"torch 2\S* is built without CUDA"):
        cuda.Cuda()
