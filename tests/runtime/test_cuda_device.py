"""Counting on a real CUDA device: what is planted is counted, exactly, whatever the program does to its warnings."""

from __future__ import annotations

import threading
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the runtime companion needs torch")

from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.backends import cuda  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def counted(run, *, times: int = 1) -> dict[str, tuple[int, int]]:
    """Operation -> calls and waits, of `run(tensor)`; the device and torch's lazily loaded parts are warm."""
    x = torch.arange(8.0, device="cuda")
    run(x)
    torch.cuda.synchronize()
    with count_syncs("cuda") as counter:
        for _ in range(times):
            run(x)
    found: dict[str, tuple[int, int]] = {}
    for site in counter.report().sites:
        calls, raw = found.get(site.op, (0, 0))
        found[site.op] = (calls + site.count, raw + site.raw)
    return found


@pytest.mark.parametrize(
    ("run", "op"),
    [
        (lambda x: x[0].item(), "Tensor.item"),
        (lambda x: x.cpu(), "Tensor.cpu"),
        (lambda x: x.to("cpu"), "Tensor.to"),
        (lambda x: x.tolist(), "Tensor.tolist"),
        (lambda x: torch.nonzero(x), "torch.nonzero"),
        (lambda x: torch.ones(8).to(x.device), "Tensor.to"),
        (lambda x: torch.cuda.synchronize(), "torch.cuda.synchronize"),
        (lambda x: torch.cuda.current_stream().synchronize(), "Stream.synchronize"),
        (lambda x: torch.cuda.empty_cache(), "torch.cuda.empty_cache"),
    ],
)
def test_each_is_one_call(run, op: str) -> None:
    found = counted(run, times=3)
    assert {name: calls for name, (calls, _) in found.items()} == {op: 3}
    assert found[op][1] >= 3


def test_one_wait_is_one_read() -> None:
    """The warning and the trace's callback of one wait are not two."""
    assert counted(lambda x: x[0].item(), times=5) == {"Tensor.item": (5, 5)}


def test_event() -> None:
    def run(x: torch.Tensor) -> None:
        event = torch.cuda.Event()
        event.record()
        event.synchronize()

    assert counted(run) == {"Event.synchronize": (1, 1)}


@pytest.mark.parametrize(
    "run", [lambda x: x + 1, lambda x: x.sum(), lambda x: x.to("cpu", non_blocking=True), lambda x: x.size()]
)
def test_look_alikes_are_none(run) -> None:
    assert counted(run) == {}


def test_operators_called_as_torch_ops() -> None:
    found = counted(lambda x: torch.ops.aten.nonzero(x))
    assert sum(calls for calls, _ in found.values()) == 1


def test_under_filters() -> None:
    def run(x: torch.Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x[0].item()
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("error")
            x[0].item()
        assert shown == []

    assert counted(run) == {"Tensor.item": (2, 2)}


def test_on_other_threads() -> None:
    def run(x: torch.Tensor) -> None:
        threads = [threading.Thread(target=lambda: x[0].item()) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert counted(run) == {"Tensor.item": (4, 4)}


def test_what_c_plus_plus_nodes_wait_for_counts_once() -> None:
    """The copy's backward node copies the gradient from the host to the device, on the engine's thread."""
    x = torch.ones(8, device="cuda", requires_grad=True)
    x.cpu().sum().backward()
    with count_syncs("cuda") as counter:
        loss = x.cpu().sum()
        loss.backward()
    assert counter.totals.raw == 2


def test_pageable_copies() -> None:
    big = torch.ones(1 << 20)
    found = counted(lambda x: big.to("cuda", non_blocking=True))
    assert found == {"Tensor.to": (1, 1)}
    pinned = big.pin_memory()
    assert counted(lambda x: pinned.to("cuda", non_blocking=True)) == {}


def test_mode_and_filters_are_put_back_and_time_is_measured() -> None:
    torch.cuda.set_sync_debug_mode(0)
    filters, contents = warnings.filters, list(warnings.filters)
    x = torch.ones(1 << 24, device="cuda")
    with count_syncs("cuda") as counter:
        x.cpu()
    assert torch.cuda.get_sync_debug_mode() == 0
    assert warnings.filters is filters
    assert filters == contents
    (site,) = counter.report().sites
    assert site.waited_us is not None and site.waited_us > 0


def test_the_trace_works_and_the_environment_is_named() -> None:
    with count_syncs("cuda") as counter:
        torch.ones((), device="cuda").item()
    report = counter.report()
    assert cuda.NO_TRACE not in report.blind_spots
    assert report.environment.device == torch.cuda.get_device_name()
    assert report.environment.driver
