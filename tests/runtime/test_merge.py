"""Reports of several processes as one, and a report's way through JSON."""

from __future__ import annotations

import pytest

from auditlint.runtime.merge import from_json, merge, to_json
from auditlint.runtime.report import Environment, RuntimeHook, Site, SyncReport

HOOK = RuntimeHook("watch", "hooks.py", 3, "forward")
READ = Site("hooks.py", 4, 5, 4, 11, "Tensor.item", "item", 2, 3, 1.5, "MainThread", HOOK)
PRINT = Site("caf\udce9.py", 9, 1, 9, 9, "print", "print", 1, 2005, None, "Thread-1", None, "wanted")


def report(*sites: Site, device: str = "cpu", blind: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> SyncReport:
    return SyncReport("cpu", True, Environment(device, "2.13.0", "", "3.11", "linux"), sites, blind, notes)


@pytest.mark.parametrize("sites", [(), (READ, PRINT), (READ._replace(waited_us=0.1 + 0.2),)])
def test_report_comes_back_as_it_was(sites: tuple[Site, ...]) -> None:
    original = report(*sites, blind=("a", "b"), notes=("n",))
    returned = from_json(to_json(original))
    assert returned == original
    assert repr(returned) == repr(original)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1, 2]", b"null", to_json(report(READ))[:-9], b"[1,2,3,4,5,6]"])
def test_what_is_no_report_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        from_json(data)


def test_equal_sites_of_one_process_are_added_and_processes_stay_apart() -> None:
    merged = merge([report(READ, PRINT), report(READ), report(READ), report(PRINT)], ["", "w", "w", "rank 1"])
    assert merged.sites == (
        READ,
        PRINT,
        READ._replace(thread="w: MainThread", count=4, raw=6, waited_us=3.0),
        PRINT._replace(thread="rank 1: Thread-1"),
    )
    assert merged.totals == (6, 0, 3 + 2005 + 6 + 2005, 2)


def test_unknown_waiting_adds_nothing() -> None:
    merged = merge([report(PRINT), report(PRINT._replace(waited_us=2.0)), report(PRINT)], ["", "", ""])
    assert [site.waited_us for site in merged.sites] == [2.0]


def test_sites_that_differ_in_hook_or_allowance_are_not_added() -> None:
    others = (READ._replace(hook=None), READ._replace(allowed="known"), READ._replace(column=6))
    assert merge([report(READ), report(*others)], ["", ""]).sites == (READ, *others)


def test_texts_are_united_in_order() -> None:
    merged = merge([report(blind=("a", "b"), notes=("x",)), report(blind=("c", "a"), notes=("x", "y"))], ["", "w"])
    assert (merged.blind_spots, merged.notes) == (("a", "b", "c"), ("x", "y"))


def test_other_device_is_noted() -> None:
    merged = merge([report(), report(device="GPU 1")], ["rank 0", "rank 1"])
    assert merged.environment.device == "cpu"
    assert merged.notes == ("rank 1 counted with the cpu backend on GPU 1",)


def test_nothing_to_merge_is_an_error() -> None:
    with pytest.raises(ValueError, match="no report"):
        merge([], [])
