"""A check with one hook that synced in two files, one sync outside, and a finding of each status."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditlint.runtime.report import Check, Environment, Reconciled, RuntimeHook, Site, SyncReport

FILES = {
    "pkg/probe.py": b"""\
class Probe:
    def hook(self, module, args, output):
        value = output.mean().item()
        return summarise(value, output)


rest = 1
""",
    "pkg/stats.py": b"def summarise(value, output):\n    return float(output.max())\n",
}

HOOK = RuntimeHook("Probe.hook", "pkg/probe.py", 2, "forward")
SITES = (
    Site("pkg/stats.py", 2, 12, 2, 31, "float", "cast", 2, 4, None, "pt_autograd_0", HOOK),
    Site("pkg/probe.py", 3, 31, 3, 37, "Tensor.item", "item", 12, 12, 1234.5, "MainThread", HOOK),
    Site("train.py", 9, 7, 9, 13, "Tensor.item", "item", 3, 3, 10.0, "MainThread", None),
)


@pytest.fixture
def read() -> Callable[[str], bytes]:
    """Gives the files that the check names; train.py is gone."""
    return lambda filename: FILES.get(filename, b"")


@pytest.fixture
def check() -> Check:
    """15 synced calls in all, counted on a device."""
    environment = Environment("GPU 1", "2.13.0", "580", "3.11.7", "Linux")
    report = SyncReport(
        "cuda", False, environment, SITES, ("Extensions are not seen.",), ("Worker 7 was not counted.",)
    )
    reconciliation = (
        Reconciled("pkg/probe.py", 3, 31, "AUD101", "confirmed", 12, "`.item()` makes the host wait"),
        Reconciled("pkg/stats.py", 2, 12, None, "missed", 2, "`float` synced"),
        Reconciled("pkg/stats.py", 1, 5, "AUD105", "executed-no-sync", 0, "`print` formats a tensor"),
        Reconciled("pkg/never.py", 8, 1, "AUD101", "not-executed", 0, "`.item()` makes the host wait", False),
    )
    return Check("train.py", 0, report, reconciliation)


@pytest.fixture
def nothing() -> Check:
    """A run on a machine without a device in which nothing synced."""
    return Check("m", 0, SyncReport("cpu", True, Environment("cpu", "2.13.0", "", "3.11.7", "Linux"), (), ()), ())
