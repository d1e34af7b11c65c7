"""The reports for people at a terminal: what they show, and that it fits."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable

import pytest

from auditlint.reporters.style import width_of
from auditlint.runtime.report import Check, RuntimeHook, Site
from auditlint.runtime.reports import render
from auditlint.runtime.reports.full import elided
from auditlint.runtime.reports.outline import duration, number, verdict

ESCAPES = re.compile("\x1b\\[[0-9;]*m")
HOSTILE = "x\x1b[2J\u202e\u2066\x9b\x00\r\n\ud800 y"


def shown(check: Check, format: str = "full", color: bool = False, width: int = 80) -> str:
    return render(format, check, read=lambda name: b"", color=color, width=width)


def with_sites(check: Check, *sites: Site) -> Check:
    return check._replace(report=check.report._replace(sites=sites))


def test_full(check: Check) -> None:
    assert shown(check) == textwrap.dedent(
        """\
        auditlint runtime check of train.py: cuda, GPU 1, torch 2.13.0
        14 syncs in 1 hook; 3 outside.
        19 waits of the device, 1.24 ms waited

        In hooks                          calls  waits   waited
        Probe.hook (forward) pkg/probe.py:2
          pkg/probe.py:3:31  Tensor.item     12     12  1.23 ms
          pkg/stats.py:2:12  float            2      4        -
            thread pt_autograd_0

        Outside hooks                     calls  waits   waited
          train.py:9:7       Tensor.item      3      3  10.0 \xb5s

        Findings held against the counts
          missed (1): a sync in a hook that no finding names
            pkg/stats.py:2:12 x2 `float` synced
          executed-no-sync (1): a finding whose line ran and did not sync
            pkg/stats.py:1:5 AUD105 `print` formats a tensor
          confirmed (1): a finding, and a sync counted there
            pkg/probe.py:3:31 AUD101 x12 `.item()` makes the host wait
          1 finding in files that this run never loaded

        Blind spots
          - Extensions are not seen.

        Notes
          - Worker 7 was not counted.

        Environment
          device    GPU 1
          driver    580
          torch     2.13.0
          Python    3.11.7
          platform  Linux

        14 syncs in 1 hook; 3 outside.
        """
    )


def test_full_of_a_run_without_syncs_says_what_was_counted(nothing: Check) -> None:
    assert shown(nothing).splitlines()[:4] == [
        "auditlint runtime check of m: cpu, torch 2.13.0",
        "potential syncs: counted on the CPU, they would wait on a device",
        "No potential sync in a hook.",
        "",
    ]
    assert shown(nothing).endswith("\n\nNo potential sync in a hook.\n")


def test_full_says_that_the_program_failed(check: Check) -> None:
    assert "the program ended with status 3\n" in shown(check._replace(status=3))
    assert "ended with status" not in shown(check)


def test_full_leaves_out_the_time_where_none_was_measured(check: Check) -> None:
    report = shown(with_sites(check, *(site._replace(waited_us=None) for site in check.report.sites)))
    assert "waited" not in report
    assert "19 waits of the device\n" in report


def test_full_shows_why_a_sync_is_allowed_and_does_not_count_it(check: Check) -> None:
    one, two, three = check.report.sites
    report = shown(with_sites(check, one._replace(allowed="it is needed"), two._replace(allowed=""), three))
    assert "    thread pt_autograd_0; allowed: it is needed\n" in report
    assert "    allowed: no reason given\n" in report
    assert report.endswith("\nNo sync in a hook; 3 outside; 14 allowed.\n")


def test_full_shows_ten_sites_outside_hooks(check: Check) -> None:
    outside = [check.report.sites[2]._replace(row=row, count=row) for row in range(1, 14)]
    report = shown(with_sites(check, *outside))
    assert re.findall(r"train\.py:(\d+):7", report) == [str(row) for row in range(13, 3, -1)]
    assert "  and 3 more with 6 calls\n" in report


def test_hooks_and_sites_with_the_most_calls_come_first(check: Check) -> None:
    rare = RuntimeHook("rare", "a.py", 1, "tensor")
    sites = (check.report.sites[0]._replace(hook=rare, filename="a.py"), *check.report.sites)
    report = shown(with_sites(check, *sites))
    order = [report.index(text) for text in ("Probe.hook (", "pkg/probe.py:3:31", "pkg/stats.py:2:12", "rare (tensor)")]
    assert order == sorted(order)


@pytest.mark.parametrize("width", [70, 80, 120])
def test_long_names_stay_within_the_width(check: Check, width: int) -> None:
    folder = "src/" + "a_folder/" * 15
    hook = RuntimeHook("Factory.make_hook.<locals>." * 6, f"{folder}h.py", 10**6, "decorated")
    long = Site(
        f"{folder}a.py",
        10**5,
        300,
        10**5,
        301,
        "torch.op" * 20,
        "item",
        10**30,
        10**30,
        1e300,
        "T" * 200,
        hook,
        "w" * 300,
    )
    items = tuple(item._replace(filename=f"{folder}b.py", message="m " * 200) for item in check.reconciliation)
    full = with_sites(check, long, long._replace(hook=None, filename="b.py"), *check.report.sites)
    full = full._replace(script="s" * 300, reconciliation=items)
    full = full._replace(report=full.report._replace(blind_spots=("b" * 300, "b " * 300), notes=("n " * 300,)))
    lines = shown(full, width=width).splitlines()
    assert max(map(width_of, lines)) <= width
    # What a place ends with tells the most.
    assert any(line.endswith("/a.py:100000:300") for line in lines)
    assert any(line.endswith("/h.py:1000000") for line in lines)


def test_a_long_text_loses_its_middle() -> None:
    assert elided("abcdefghij", 10) == "abcdefghij"
    assert elided("abcdefghijk", 10) == "ab...ghijk"
    assert width_of(elided("日本語" * 10, 10)) <= 10


@pytest.mark.parametrize("format", ["full", "concise"])
def test_color_changes_nothing_but_color(check: Check, format: str) -> None:
    assert "\x1b" not in shown(check, format)
    assert shown(check, format, color=True) != shown(check, format)
    assert ESCAPES.sub("", shown(check, format, color=True)) == shown(check, format)


@pytest.mark.parametrize("format", ["full", "concise"])
def test_nothing_in_a_check_can_steer_the_terminal(check: Check, format: str) -> None:
    hook = RuntimeHook(HOSTILE, HOSTILE, 1, HOSTILE)
    sites = (
        Site(HOSTILE, 1, 1, 1, 2, HOSTILE, HOSTILE, 1, 1, 1.0, HOSTILE, hook, HOSTILE),
        Site(HOSTILE, 1, 1, 1, 2, HOSTILE, HOSTILE, 1, 1, 1.0, HOSTILE, None),
    )
    report = check.report._replace(sites=sites, blind_spots=(HOSTILE,), notes=(HOSTILE,), backend=HOSTILE)
    report = report._replace(environment=report.environment._replace(device=HOSTILE, torch=HOSTILE))
    items = tuple(item._replace(filename=HOSTILE, message=HOSTILE) for item in check.reconciliation)
    text = shown(Check(HOSTILE, 0, report, items), format)
    assert {unicodedata.category(c) for c in text if c != "\n"}.isdisjoint({"Cc", "Cf", "Cs"})


def test_concise(check: Check) -> None:
    assert shown(check, "concise") == textwrap.dedent(
        """\
        pkg/probe.py:3:31: Tensor.item 12 calls (raw 12) in hook Probe.hook
        pkg/stats.py:2:12: float 2 calls (raw 4) in hook Probe.hook (pt_autograd_0)
        note: Worker 7 was not counted.
        pkg/stats.py:2:12: missed `float` synced
        pkg/stats.py:1:5: executed-no-sync AUD105 `print` formats a tensor
        pkg/probe.py:3:31: confirmed AUD101 `.item()` makes the host wait
        14 syncs in 1 hook; 3 outside. 1 finding in files that this run never loaded.
        """
    )


def test_concise_says_what_is_allowed_and_what_is_potential(check: Check, nothing: Check) -> None:
    site = check.report.sites[0]._replace(count=1, allowed="why not")
    lines = shown(with_sites(nothing, site), "concise").splitlines()
    assert lines == [
        "pkg/stats.py:2:12: float 1 call (raw 4) in hook Probe.hook, allowed: why not (pt_autograd_0)",
        "No potential sync in a hook; 1 allowed. Potential syncs: counted on the CPU, they would wait on a device.",
    ]


def test_the_verdict_counts_hooks_with_syncs_that_are_not_allowed(check: Check) -> None:
    one, two, three = check.report.sites
    other = RuntimeHook("other", "a.py", 1, "tensor")
    assert verdict(check.report) == "14 syncs in 1 hook; 3 outside."
    assert verdict(check.report._replace(sites=(one._replace(hook=other), two))) == "14 syncs in 2 hooks."
    assert verdict(check.report._replace(sites=(one._replace(hook=other, allowed="x"), two))) == (
        "12 syncs in 1 hook; 2 allowed."
    )
    assert verdict(check.report._replace(sites=(three,))) == "No sync in a hook; 3 outside."
    assert (
        verdict(check.report._replace(sites=(two._replace(count=1),), potential=True)) == "1 potential sync in 1 hook."
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (1_000, "1,000"),
        (9_999_999, "9,999,999"),
        (10_000_000, "10.0M"),
        (1_999_999_999, "1.9G"),
        (10**18, "1.0E"),
        (10**40, ">999E"),
    ],
)
def test_large_counts_are_shortened(count: int, text: str) -> None:
    assert number(count) == text


@pytest.mark.parametrize(
    ("waited", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
        (0.0, "0.00 \xb5s"),
        (9.996, "10.0 \xb5s"),
        (999.4, "999 \xb5s"),
        (999.6, "1.00 ms"),
        (12_345.0, "12.3 ms"),
        (3_200_000.0, "3.20 s"),
        (4e9, "4,000 s"),
    ],
)
def test_durations_have_three_digits(waited: float | None, text: str) -> None:
    assert duration(waited) == text


def test_an_unknown_format_is_refused(check: Check, read: Callable[[str], bytes]) -> None:
    with pytest.raises(ValueError, match="no such output format: xml"):
        render("xml", check, read=read, color=False, width=80)
