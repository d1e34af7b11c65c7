"""Counting on MPS, as far as a machine without MPS allows.

The scalar read is overridden on the CPU's key, which has a kernel to go on to; "meta" stands for the device where
data is copied to it. Whether Metal waits is not tested here, and the backend says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the runtime companion needs torch")

from auditlint.runtime import entries  # noqa: E402
from auditlint.runtime.backends import Unavailable, mps  # noqa: E402
from auditlint.runtime.patches import Patches  # noqa: E402
from auditlint.runtime.watch import Recording, Watch  # noqa: E402

Installer = Callable[[Watch, Patches, contextlib.ExitStack], None]


class Counted:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    @property
    def ops(self) -> list[tuple[str, str, int, int]]:
        return sorted((event.op, event.kind, tally.count, tally.raw) for event, tally in self.recording.tallies.items())


@contextlib.contextmanager
def counting(install: Installer, named: bool = False) -> Iterator[Counted]:
    watch, recording = Watch(), Recording()
    with contextlib.ExitStack() as undo:
        patches = Patches(undo)
        install(watch, patches, undo)
        if named:
            entries.install(watch, patches, (torch.Tensor,))
        watch.recordings = (recording,)
        try:
            yield Counted(recording)
        finally:
            watch.forget_thread()


# ------------------------------------------------------------------------------------------------------- scalar reads


def on_the_cpu(watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
    mps.override_scalar_read(watch, "CPU", undo)


def test_the_override_reports_and_goes_on_reading() -> None:
    x = torch.tensor([1.5, 2.5])
    with counting(on_the_cpu) as counted:
        assert x[1].item() == 2.5
        assert float(x[0]) == 1.5
        assert torch.equal(x, x)
        assert torch.ops.aten._local_scalar_dense(x[0]) == 1.5
    assert counted.ops == [(mps.SCALAR_READ, "", 1, 1)] * 3


@pytest.mark.parametrize("value", [True, 7, 2**62, 0.1, 1 + 2j])
def test_values_of_every_type_pass_through(value: complex) -> None:
    tensor = torch.tensor(value)
    expected = tensor.item()
    with counting(on_the_cpu) as counted:
        read = tensor.item()
    assert (type(read), read) == (type(expected), expected)
    assert len(counted.ops) == 1


def test_numbers_that_are_wrapped_are_no_reads() -> None:
    with counting(on_the_cpu) as counted:
        result = torch.where(torch.tensor([True, False]), 1.0, 2.0) * 3 + torch.full((2,), 0.5)
    assert result.tolist() == [3.5, 6.5]
    assert all(op == mps.SCALAR_READ for op, *_ in counted.ops)


def test_with_names_the_call_is_one_event() -> None:
    with counting(on_the_cpu, named=True) as counted:
        torch.ones(()).item()
        str(torch.ones(3))
    assert [op[:3] for op in counted.ops] == [("Tensor.__repr__", "format", 1), ("Tensor.item", "item", 1)]
    assert counted.ops[0][3] > 1


def test_the_kernel_is_put_back() -> None:
    def registered() -> str:
        return str(torch._C._dispatch_dump("aten::_local_scalar_dense"))

    before = registered()
    with pytest.raises(ZeroDivisionError), counting(on_the_cpu):
        assert registered() != before
        _ = 1 / 0
    assert registered() == before


def test_overriding_says_nothing_to_the_user(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with counting(on_the_cpu):
            pass
    assert shown == []
    assert capfd.readouterr().err == ""


def test_registering_on_the_real_key_succeeds_and_is_undone() -> None:
    def registered() -> str:
        return str(torch._C._dispatch_dump("aten::_local_scalar_dense"))

    library = torch.library.Library("aten", "IMPL")
    before = registered()
    try:
        library.impl("_local_scalar_dense", lambda keys, tensor: None, "MPS", with_keyset=True)
        assert "MPS" in registered()
    finally:
        library._destroy()
    assert registered() == before


# ------------------------------------------------------------------------------------------------------------- copies


def to_meta(watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
    mps.watch_copies(watch, patches, mps.blocking("meta"))
    mps.watch_hidden_copies(watch, patches, "meta")


def test_both_directions_wait_unless_told_not_to() -> None:
    def on(where: str) -> Any:
        return SimpleNamespace(device=SimpleNamespace(type=where))

    waits = mps.blocking("mps")
    assert waits(on("cpu"), on("mps"), False)
    assert waits(on("mps"), on("cpu"), False)
    assert not waits(on("cpu"), on("mps"), True)
    assert not waits(on("mps"), on("cpu"), True)
    assert not waits(on("mps"), on("meta"), False)


def test_copies_to_the_device() -> None:
    host, there = torch.ones(2), torch.empty(2, device="meta")
    with counting(to_meta, named=True) as counted:
        host.to("meta")
        host.to("meta", non_blocking=True)
        there.copy_(host)
        there.to(torch.float16)
        torch._foreach_copy_([there], [host])
        torch.nn.Linear(2, 2).to("meta")
    assert counted.ops == [
        ("Tensor.copy_", "h2d", 1, 1),
        ("Tensor.to", "h2d", 1, 1),
        ("Tensor.to", "h2d", 1, 2),
        ("torch._foreach_copy_", "h2d", 1, 1),
    ]


def test_tensors_made_of_host_data() -> None:
    there = torch.empty(2, device="meta")
    with counting(to_meta, named=True) as counted:
        torch.tensor([1.0, 2.0], device="meta")
        torch.tensor([1.0, 2.0])
        torch.as_tensor(torch.ones(2), device="meta")
        torch.as_tensor(there)
        torch.asarray(obj=[1.0], device="meta")
        there.new_tensor([3.0])
        there.new_zeros(3)
    assert [op for op, kind, *_ in counted.ops if kind == "h2d"] == [
        "Tensor.new_tensor",
        "torch.as_tensor",
        "torch.asarray",
        "torch.tensor",
    ]
    assert len(counted.ops) == 4


def test_lists_and_storages_copy_to_the_host() -> None:
    """The wrappers look at the device, so the CPU can stand for it here."""

    def from_the_cpu(watch: Watch, patches: Patches, undo: contextlib.ExitStack) -> None:
        mps.watch_hidden_copies(watch, patches, "cpu")

    x = torch.ones(3)
    with counting(from_the_cpu, named=True) as counted:
        assert x.tolist() == [1.0, 1.0, 1.0]
        x.untyped_storage().cpu()
    assert counted.ops == [("Tensor.tolist", "tolist", 1, 1), ("UntypedStorage.cpu", "serialise", 1, 1)]


# ------------------------------------------------------------------------------------------------ the backend at large


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> mps.Mps:
    """The backend, on a torch that has MPS by its own account; its scalar reads are the CPU's."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: None)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.mps.event.Event, "synchronize", lambda self: None)
    monkeypatch.setattr(torch.mps.event.Event, "elapsed_time", lambda self, end_event: 1.0)
    original = mps.override_scalar_read
    monkeypatch.setattr(mps, "override_scalar_read", lambda watch, key, undo: original(watch, "CPU", undo))
    return mps.Mps()


def test_explicit_waits(backend: mps.Mps) -> None:
    event: Any = None
    with counting(backend.install) as counted:
        torch.mps.synchronize()
        torch.mps.empty_cache()
        torch.mps.event.Event.synchronize(event)
        assert torch.mps.event.Event.elapsed_time(event, event) == 1.0
    assert counted.ops == [
        ("Event.elapsed_time", "synchronize", 1, 1),
        ("Event.synchronize", "synchronize", 1, 1),
        ("torch.mps.empty_cache", "synchronize", 1, 1),
        ("torch.mps.synchronize", "synchronize", 1, 1),
    ]


def test_an_operator_that_falls_back_is_counted_and_still_warned_of(backend: mps.Mps) -> None:
    text = (
        "The operator 'aten::angle' is not currently supported on the MPS backend and will fall back to run on the CPU."
    )
    warn = ctypes.pythonapi.PyErr_WarnEx
    warn.argtypes = (ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with counting(backend.install) as counted:
            warn(UserWarning, text.encode(), 1)
    assert [str(it.message) for it in shown] == [text]
    assert counted.ops == [("aten::angle", "cpu", 1, 1)]


def test_everything_is_put_back(backend: mps.Mps) -> None:
    owned = [
        (torch.mps, "synchronize"),
        (torch.mps, "empty_cache"),
        (torch.mps.event.Event, "synchronize"),
        (torch.mps.event.Event, "elapsed_time"),
        (torch.accelerator, "synchronize"),
        (torch.storage._StorageBase, "cpu"),
        (torch, "tensor"),
        (torch, "as_tensor"),
        (torch, "asarray"),
        *((torch.Tensor, name) for name in ("to", "cpu", "cuda", "copy_", "tolist", "new_tensor")),
        (warnings, "filters"),
    ]
    before = [vars(owner).get(name) for owner, name in owned]
    filters = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), counting(backend.install):
        _ = 1 / 0
    changed = [name for (owner, name), was in zip(owned, before, strict=True) if vars(owner).get(name) is not was]
    assert changed == []
    assert warnings.filters == filters


def test_it_says_what_was_not_verified(backend: mps.Mps) -> None:
    assert any("not been verified on hardware" in sentence for sentence in backend.blind_spots)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is MPS here")
def test_unavailable_says_why() -> None:
    with pytest.raises(Unavailable, match=r"MPS.*torch 2"):
        mps.Mps()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs a Mac with MPS")
def test_on_the_device() -> None:
    from auditlint.runtime import count_syncs

    x = torch.arange(4.0, device="mps")
    with count_syncs("mps") as counter:
        x[0].item()
        x.cpu()
        x.tolist()
        torch.nonzero(x)
        torch.mps.synchronize()
    sites = {site.op: site.count for site in counter.report().sites}
    assert sites["Tensor.item"] == sites["Tensor.cpu"] == sites["Tensor.tolist"] == sites["torch.mps.synchronize"] == 1
    assert sum(sites.values()) == 5
