"""Findings held against counts."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from auditlint.diagnostics import Diagnostic, Hook, Location, Step
from auditlint.runtime.reconcile import reconcile
from auditlint.runtime.report import Environment, Reconciled, RuntimeHook, Site, SyncReport

ROOT = "/project"
HOOK = RuntimeHook("save", "/project/hooks.py", 1, "forward")
OTHER = RuntimeHook("watch", "/project/hooks.py", 20, "forward")


def finding(code: str, row: int, first: int, last: int, **changes: Any) -> Diagnostic:
    """A finding from one column up to another in one row."""
    hook = Hook("save", "hooks.py", 1, "register_forward_hook", Step("install", "hooks.py", 30))
    item = Diagnostic(
        code, "name", f"message of {code}", "hooks.py", Location(row, first), Location(row, last), "definite", hook
    )
    return item._replace(statement=(row, row))._replace(**changes)


def site(kind: str, row: int, first: int, last: int, count: int = 1, **changes: Any) -> Site:
    """A counted site from one column up to another in one row, in the hook `save`."""
    counted = Site(
        "hooks.py", row, first, row, last, f"Tensor.{kind}", kind, count, count * 2, None, "MainThread", HOOK
    )
    return counted._replace(**changes)


def held(
    findings: Sequence[Diagnostic],
    sites: Sequence[Site],
    executed: Collection[tuple[int, int]] = (),
    loaded: Collection[str] = ("/project/hooks.py",),
    potential: bool = False,
    **more: Any,
) -> list[tuple[int, str | None, str, int]]:
    """Row, code, status and count of every line."""
    lines = told(findings, sites, executed, loaded, potential, **more)
    return [(line.row, line.code, line.status, line.count) for line in lines]


def told(
    findings: Sequence[Diagnostic],
    sites: Sequence[Site],
    executed: Collection[tuple[int, int]] = (),
    loaded: Collection[str] = ("/project/hooks.py",),
    potential: bool = False,
    **more: Any,
) -> tuple[Reconciled, ...]:
    report = SyncReport("cpu", potential, Environment("cpu", "2.13.0", "", "3.11.7", "Linux"), tuple(sites), ())
    reached = {("/project/hooks.py", row, column) for row, column in executed}
    return reconcile(findings, report, executed=reached, loaded=loaded, root=ROOT, **more)


def test_each_finding_has_one_status_and_each_sync_that_none_names_is_missed() -> None:
    findings = [finding("AUD101", 2, 5, 11), finding("AUD102", 3, 5, 10), finding("AUD103", 4, 5, 13)]
    sites = [site("item", 2, 5, 11, 3), site("cast", 9, 1, 9, 4)]
    assert held(findings, sites, [(2, 5), (3, 5)]) == [
        (2, "AUD101", "confirmed", 3),
        (3, "AUD102", "executed-no-sync", 0),
        (4, "AUD103", "not-executed", 0),
        (9, "AUD104", "missed", 4),
    ]


def test_a_message_is_the_finding_s_or_says_what_was_missed() -> None:
    lines = told([finding("AUD101", 2, 5, 11)], [site("item", 2, 5, 11), site("unheard", 9, 1, 9)])
    assert [line.message for line in lines] == [
        "message of AUD101",
        "`Tensor.unheard` waited for the device in hook `save`, and no finding names it",
    ]
    assert (lines[1].filename, lines[1].row, lines[1].column, lines[1].code) == ("hooks.py", 9, 1, None)
    (line,) = told([], [site("item", 2, 5, 11)], potential=True)
    assert line.message == "`Tensor.item` would wait for the device in hook `save`, and no finding names it"


def test_counts_of_all_hooks_and_threads_add_up() -> None:
    sites = [
        site("item", 2, 5, 11, 3),
        site("item", 2, 5, 11, 4, hook=OTHER),
        site("item", 2, 5, 11, 5, hook=OTHER, thread="Thread-1"),
    ]
    assert held([finding("AUD101", 2, 5, 11)], sites) == [(2, "AUD101", "confirmed", 12)]
    (line,) = told([], sites)
    assert (line.count, line.message) == (
        12,
        "`Tensor.item` waited for the device in hooks `save`, `watch`, and no finding names it",
    )
    many = [site("item", 2, 5, 11, hook=HOOK._replace(name=f"h{number}")) for number in range(5)]
    (line,) = told([], many)
    assert "in hooks `h0`, `h1`, `h2` and 2 more, and" in line.message


def test_one_place_reached_from_several_hooks_is_one_finding() -> None:
    item = finding("AUD101", 2, 5, 11)
    assert item.hook is not None
    again = item._replace(hook=item.hook._replace(name="watch", row=20))
    assert held([item, again], [site("item", 2, 5, 11, 3)]) == [(2, "AUD101", "confirmed", 3)]


@pytest.mark.parametrize(
    ("sync", "row"),
    [
        (site("item", 2, 5, 11), 2),  # the very same place
        (site("truth", 2, 5, 11), 2),  # the same place, in other words
        (site("item", 2, 5, 12), 2),  # the same start
        (site("item", 3, 1, 20), 3),  # the same end
        (site("item", 3, 12, 15), 3),  # within it
        (site("cast", 3, 12, 15), 3),  # within it, of another kind
        (site("item", 5, 1, 4), 4),  # elsewhere in its statement
        (site("item", 2, 30, 40), 2),  # in the same row, which is its statement
    ],
)
def test_a_sync_belongs_to_the_finding_that_names_it_best(sync: Site, row: int) -> None:
    findings = [
        finding("AUD101", 2, 5, 11),
        finding("AUD101", 3, 10, 20),
        finding("AUD101", 4, 10, 20, statement=(4, 6)),
        finding("AUD102", 6, 1, 3, statement=(4, 6)),
    ]
    assert [line for line in held(findings, [sync]) if line[3]] == [(row, "AUD101", "confirmed", 1)]


@pytest.mark.parametrize(
    "sync",
    [
        site("cpu", 2, 30, 40),  # in the statement, but of another kind
        site("item", 3, 1, 9),  # in another statement
        site("item", 2, 5, 11, filename="other.py"),
        site("cpu", 2, 11, 20),  # right behind it
    ],
)
def test_a_sync_that_is_not_a_finding_s_is_missed(sync: Site) -> None:
    lines = held([finding("AUD101", 2, 5, 11)], [sync], [(2, 5)])
    assert sorted(status for _, _, status, _ in lines) == ["executed-no-sync", "missed"]


def test_of_two_findings_in_one_place_the_one_of_the_same_kind_is_meant() -> None:
    findings = [finding("AUD101", 2, 5, 11), finding("AUD201", 2, 5, 11)]
    assert held(findings, [site("truth", 2, 5, 11)], [(2, 5)]) == [
        (2, "AUD101", "executed-no-sync", 0),
        (2, "AUD201", "confirmed", 1),
    ]


def test_of_two_findings_around_a_sync_the_tighter_one_is_meant() -> None:
    findings = [finding("AUD101", 2, 1, 60), finding("AUD101", 2, 11, 21)]
    assert held(findings, [site("item", 2, 12, 20)]) == [
        (2, "AUD101", "not-executed", 0),
        (2, "AUD101", "confirmed", 1),
    ]


def test_syncs_outside_hooks_confirm_nothing_and_are_never_missed() -> None:
    outside = [site("item", 2, 5, 11, 7, hook=None), site("item", 9, 1, 4, hook=None)]
    (line,) = told([finding("AUD101", 2, 5, 11)], outside, [(2, 5)])
    assert (line.status, line.count, line.message) == (
        "not-executed",
        0,
        "message of AUD101 (outside hooks it waited 7 times)",
    )


@pytest.mark.parametrize("registrar", ["forward", "hot path"])
def test_a_finding_that_is_not_about_hooks_is_confirmed_anywhere(registrar: str) -> None:
    item = finding("AUD101", 2, 5, 11)
    assert item.hook is not None
    item = item._replace(hook=item.hook._replace(registrar=registrar))
    assert held([item], [site("item", 2, 5, 11, 7, hook=None)]) == [(2, "AUD101", "confirmed", 7)]


def test_accepted_syncs_are_not_missed_and_still_confirm() -> None:
    accepted = [site("item", 2, 5, 11, 3, allowed="why"), site("item", 9, 1, 4, allowed="why")]
    assert held([finding("AUD101", 2, 5, 11)], accepted) == [(2, "AUD101", "confirmed", 3)]


def test_other_findings_are_nothing_that_a_count_could_speak_about() -> None:
    findings = [finding("AUD301", 2, 5, 11), finding("AUD401", 2, 5, 11), finding("AUD901", 2, 5, 11)]
    assert held(findings, []) == []


def test_what_the_backend_cannot_see_is_no_false_alarm() -> None:
    findings = [finding("AUD206", 2, 5, 11), finding("AUD107", 3, 5, 11), finding("AUD101", 4, 5, 11)]
    executed = [(2, 5), (3, 5), (4, 5)]
    lines = told(findings, [], executed, unseen_kinds=frozenset({"h2d", "synchronize"}))
    assert [line.status for line in lines] == ["executed-no-sync"] * 3
    assert [line.message for line in lines] == [
        "message of AUD206 (this backend cannot see it: copies from the host to the device)",
        "message of AUD107 (this backend cannot see it: waits that the program asks for)",
        "message of AUD101",
    ]


def test_of_a_file_that_nobody_watched_only_counts_are_known() -> None:
    findings = [finding("AUD101", 2, 5, 11), finding("AUD101", 3, 5, 11)]
    lines = told(findings, [site("item", 2, 5, 11)], uncertain=["/project/hooks.py"])
    assert [line.status for line in lines] == ["confirmed", "not-executed"]
    assert lines[1].message == ("message of AUD101 (whether it was executed is not known: its file was not watched)")


def test_a_file_in_which_something_waited_was_loaded() -> None:
    lines = told([finding("AUD101", 3, 5, 11)], [site("item", 9, 5, 11)], loaded=[])
    assert [(line.status, line.loaded) for line in lines] == [("not-executed", True), ("missed", True)]
    assert "not known" in lines[0].message


def test_findings_in_files_that_were_never_loaded_are_counted() -> None:
    findings = [finding("AUD101", 2, 5, 11), finding("AUD101", 2, 5, 11, filename="unused.py")]
    lines = told(findings, [])
    assert [(line.filename, line.status) for line in lines] == [
        ("hooks.py", "not-executed"),
        ("unused.py", "not-executed"),
    ]
    assert [line.loaded for line in lines] == [True, False]


def test_findings_of_other_packages_are_told_only_if_they_matter() -> None:
    def package(row: int, **changes: Any) -> Diagnostic:
        return finding("AUD101", row, 5, 11, filename="/site/pkg/hooks.py", **changes)

    foreign = Hook("collect", "/site/pkg/hooks.py", 40, "register_forward_hook", Step("f", "/site/pkg/hooks.py", 50))
    findings = [package(2), package(3), package(4), package(5, hook=foreign)]
    report = [site("item", 2, 5, 11, filename="/site/pkg/hooks.py")]
    lines = reconcile(
        findings,
        SyncReport("cpu", True, Environment("cpu", "", "", "", ""), tuple(report), ()),
        executed={("/site/pkg/hooks.py", 3, 5)},
        loaded={"/site/pkg/hooks.py"},
        root=ROOT,
        project=lambda path: path.startswith(ROOT),
        registered={("/site/pkg/hooks.py", 40)},
    )
    assert [(line.row, line.status) for line in lines] == [
        (2, "confirmed"),
        (3, "executed-no-sync"),
        (5, "not-executed"),
    ]
    assert all(line.loaded for line in lines)


def test_files_are_the_same_however_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "hooks.py").write_text("")
    os.symlink(tmp_path / "real", tmp_path / "link")
    lines = reconcile(
        [finding("AUD101", 2, 5, 11, filename="link/hooks.py"), finding("AUD101", 3, 5, 11, filename="link/hooks.py")],
        SyncReport(
            "cpu",
            True,
            Environment("cpu", "", "", "", ""),
            (site("item", 2, 5, 11, filename=str(tmp_path / "real" / "hooks.py")),),
            (),
        ),
        executed={(str(tmp_path / "real" / "hooks.py"), 3, 5)},
        loaded={str(tmp_path / "link" / "hooks.py")},
        root=str(tmp_path),
    )
    assert [(line.filename, line.status) for line in lines] == [
        ("link/hooks.py", "confirmed"),
        ("link/hooks.py", "executed-no-sync"),
    ]
    assert all(line.loaded for line in lines)


def test_the_order_is_by_place_whatever_the_order_of_what_is_given() -> None:
    findings = [
        finding("AUD101", 9, 5, 11),
        finding("AUD102", 2, 15, 21),
        finding("AUD101", 2, 5, 11),
        finding("AUD101", 1, 1, 2, filename="a.py"),
    ]
    sites = [site("item", 4, 1, 2), site("cast", 3, 8, 9), site("item", 3, 1, 2), site("item", 2, 5, 11)]
    forwards, backwards = told(findings, sites), told(findings[::-1], sites[::-1])
    assert forwards == backwards
    assert [(line.filename, line.row, line.column) for line in forwards] == [
        ("a.py", 1, 1),
        ("hooks.py", 2, 5),
        ("hooks.py", 2, 15),
        ("hooks.py", 3, 1),
        ("hooks.py", 3, 8),
        ("hooks.py", 4, 1),
        ("hooks.py", 9, 5),
    ]
