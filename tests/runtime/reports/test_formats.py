"""The reports that programs read, and that no check breaks any report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]

from auditlint.rules import BY_KIND, RULES
from auditlint.runtime.report import STATUSES, Check, Environment, Reconciled, RuntimeHook, Site, SyncReport
from auditlint.runtime.reports import FORMATS, html, render

INTEGER, TEXT, NUMBER = {"type": "integer"}, {"type": "string"}, {"type": ["number", "null"]}


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


SHAPE = record(
    backend=TEXT,
    device=TEXT,
    torch=TEXT,
    script=TEXT,
    script_status=INTEGER,
    totals=record(in_hooks=INTEGER, outside=INTEGER, raw=INTEGER, allowed=INTEGER),
    sites=array(
        record(
            filename=TEXT,
            row=INTEGER,
            column=INTEGER,
            op=TEXT,
            kind=TEXT,
            count=INTEGER,
            raw=INTEGER,
            waited_us=NUMBER,
            thread=TEXT,
            hook={"anyOf": [{"type": "null"}, record(name=TEXT, filename=TEXT, row=INTEGER, kind=TEXT)]},
            allowed={"type": ["string", "null"]},
        )
    ),
    reconciliation=array(
        record(
            filename=TEXT,
            row=INTEGER,
            column=INTEGER,
            code={"type": ["string", "null"]},
            status={"enum": ["confirmed", "not-executed", "executed-no-sync", "missed"]},
            count=INTEGER,
            message=TEXT,
            loaded={"type": "boolean"},
        )
    ),
    blind_spots=array(TEXT),
    notes=array(TEXT),
    doubt=TEXT,
    environment=record(device=TEXT, torch=TEXT, driver=TEXT, python=TEXT, platform=TEXT),
    potential={"type": "boolean"},
)
JSON = Draft202012Validator(SHAPE)
SARIF = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "reporters/sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
)


def shown(format: str, check: Check) -> str:
    return render(format, check, read=lambda name: b"", color=False, width=80)


class TestJson:
    def test_fields(self, check: Check) -> None:
        document = json.loads(shown("json", check))
        assert [error.message for error in JSON.iter_errors(document)] == []
        assert document["totals"] == {"in_hooks": 14, "outside": 3, "raw": 19, "allowed": 0}
        assert (document["backend"], document["device"], document["torch"]) == ("cuda", "GPU 1", "2.13.0")
        assert (document["script"], document["script_status"]) == ("train.py", 0)
        assert document["sites"][0] == {
            "filename": "pkg/probe.py",
            "row": 3,
            "column": 31,
            "end_row": 3,
            "end_column": 37,
            "op": "Tensor.item",
            "kind": "item",
            "count": 12,
            "raw": 12,
            "waited_us": 1234.5,
            "thread": "MainThread",
            "hook": {"name": "Probe.hook", "filename": "pkg/probe.py", "row": 2, "kind": "forward"},
            "allowed": None,
            "modules": {},
        }
        assert document["sites"][2]["hook"] is None
        assert document["reconciliation"][-1] == {
            "filename": "pkg/stats.py",
            "row": 2,
            "column": 12,
            "code": None,
            "status": "missed",
            "count": 2,
            "message": "`float` synced",
            "loaded": True,
        }
        assert document["blind_spots"] == ["Extensions are not seen."]

    def test_the_order_of_the_input_does_not_matter(self, check: Check) -> None:
        report = check.report._replace(sites=check.report.sites[::-1])
        turned = check._replace(report=report, reconciliation=check.reconciliation[::-1])
        for format in FORMATS:
            assert shown(format, turned) == shown(format, check)

    def test_it_ends_with_a_newline_and_is_ascii(self, nothing: Check) -> None:
        text = shown("json", nothing._replace(script="\u00fc\ud800.py"))
        assert text.endswith("}\n")
        assert text.isascii()
        assert json.loads(text)["script"] == "\u00fc\ud800.py"

    def test_what_is_no_number_is_null(self, check: Check) -> None:
        site = check.report.sites[0]._replace(waited_us=float("nan"))
        (entry,) = json.loads(shown("json", check._replace(report=check.report._replace(sites=(site,)))))["sites"]
        assert entry["waited_us"] is None


class TestGithub:
    def test_commands(self, check: Check) -> None:
        assert shown("github", check) == (
            "::error title=sync in hook,file=pkg/probe.py,line=3,col=31::pkg/probe.py:3:31: Tensor.item: 12 calls, "
            "12 waits of the device, 1.23 ms waited%0Ain hook Probe.hook (forward), pkg/probe.py:2\n"
            "::error title=sync in hook,file=pkg/stats.py,line=2,col=12::pkg/stats.py:2:12: float: 2 calls, "
            "4 waits of the device%0Ain hook Probe.hook (forward), pkg/probe.py:2\n"
            "::warning title=missed,file=pkg/stats.py,line=2,col=12::pkg/stats.py:2:12: `float` synced\n"
            "::notice title=executed%2C no sync%3A AUD105,file=pkg/stats.py,line=1,col=5::"
            "pkg/stats.py:1:5: `print` formats a tensor\n"
        )

    def test_an_allowed_sync_is_no_error(self, check: Check) -> None:
        sites = tuple(site._replace(allowed="why not") for site in check.report.sites)
        report = shown("github", check._replace(report=check.report._replace(sites=sites)))
        assert [line.split()[0] for line in report.splitlines()] == ["::warning", "::notice"]

    def test_nothing_is_no_command(self, nothing: Check) -> None:
        assert shown("github", nothing) == ""

    def test_special_characters_are_escaped(self, check: Check) -> None:
        hook = RuntimeHook("h\r\n::error::", "h.py", 1, "50%")
        site = check.report.sites[0]._replace(filename="a,b:c%d\r\n::e.py", op="x\n::warning::", hook=hook)
        report = check.report._replace(sites=(site,))
        (line,) = shown("github", Check("s", 0, report, ())).splitlines()
        assert "file=a%2Cb%3Ac%25d%0D%0A%3A%3Ae.py,line=2,col=12::" in line
        assert ": x%0A::warning::: 2 calls" in line
        assert line.endswith("in hook h%0D%0A::error:: (50%25), h.py:1")

    def test_an_unknown_place_has_the_first_line(self, check: Check) -> None:
        site = check.report.sites[0]._replace(row=0, column=0)
        assert ",line=1,col=1::" in shown("github", check._replace(report=check.report._replace(sites=(site,))))


class TestSarif:
    def run(self, check: Check) -> dict[str, Any]:
        log = json.loads(shown("sarif", check))
        assert [error.message for error in SARIF.iter_errors(log)] == []
        run: dict[str, Any] = log["runs"][0]
        rules = run["tool"]["driver"]["rules"]
        assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
        return run

    def test_results(self, check: Check) -> None:
        item, cast, silent = self.run(check)["results"]
        assert [result["ruleId"] for result in (item, cast, silent)] == ["AUD101", BY_KIND["cast"].code, "AUD105"]
        assert [result["level"] for result in (item, cast, silent)] == ["error", "error", "note"]
        assert item["message"]["text"] == (
            "`Tensor.item`: sync in hook Probe.hook: 12 calls, 12 waits of the device, 1.23 ms waited"
        )
        assert item["locations"][0]["physicalLocation"] == {
            "artifactLocation": {"uri": "pkg/probe.py", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 3, "startColumn": 31, "endLine": 3, "endColumn": 37},
        }
        (related,) = item["relatedLocations"]
        assert related["message"]["text"] == "hook Probe.hook"
        assert related["physicalLocation"]["region"] == {"startLine": 2}
        properties = item["properties"]
        assert (properties["count"], properties["raw"], properties["waited_us"]) == (12, 12, 1234.5)
        assert (properties["reconciliation"], cast["properties"]["reconciliation"]) == ("confirmed", None)
        assert silent["properties"] == {"reconciliation": "executed-no-sync"}

    def test_the_run_carries_totals_and_the_whole_reconciliation(self, check: Check) -> None:
        properties = self.run(check)["properties"]
        assert properties["totals"]["in_hooks"] == 14
        assert sorted(item["status"] for item in properties["reconciliation"]) == sorted(STATUSES)
        assert properties["blind_spots"] == ["Extensions are not seen."]

    def test_the_code_is_that_of_the_finding_at_the_place(self, check: Check) -> None:
        site = check.report.sites[1]._replace(kind="no kind")
        report = check.report._replace(sites=(site,))
        assert self.run(check._replace(report=report))["results"][0]["ruleId"] == "AUD101"
        unknown = self.run(check._replace(report=report, reconciliation=()))
        assert unknown["results"][0]["ruleId"] == "sync"
        assert len(unknown["tool"]["driver"]["rules"]) == len(RULES) + 1

    def test_an_allowed_sync_is_suppressed_with_its_reason(self, check: Check) -> None:
        site = check.report.sites[0]._replace(allowed="it is needed")
        (result, _) = self.run(check._replace(report=check.report._replace(sites=(site,))))["results"]
        assert result["suppressions"] == [{"kind": "inSource", "justification": "it is needed"}]


words = st.text(max_size=20)
counts = st.integers(0, 20) | st.just(10**30)
rows = st.integers(-1, 12)
names = st.sampled_from(["a.py", "", "<string>", "\ud800", "\udcff.py", "a\0b", "C:\\x y.py", "../é#?%.py"]) | words
hooks = st.builds(RuntimeHook, words, names, rows, words)
times = st.none() | st.floats()
sites = st.builds(
    Site,
    names,
    rows,
    rows,
    rows,
    rows,
    words,
    st.sampled_from(sorted(BY_KIND)) | words,
    counts,
    counts,
    times,
    words,
    st.none() | hooks,
    st.none() | words,
)
items = st.builds(
    Reconciled,
    names,
    rows,
    rows,
    st.none() | st.just("AUD101") | words,
    st.sampled_from(STATUSES),
    counts,
    words,
    st.booleans(),
)
reports = st.builds(
    SyncReport,
    words,
    st.booleans(),
    st.builds(Environment, words, words, words, words, words),
    st.lists(sites, max_size=4).map(tuple),
    st.lists(words, max_size=2).map(tuple),
    st.lists(words, max_size=2).map(tuple),
)
checks = st.builds(Check, names, st.integers(-15, 255), reports, st.lists(items, max_size=4).map(tuple))


@given(checks, st.binary(max_size=200), st.integers(-5, 130))
def test_no_check_breaks_a_report(check: Check, source: bytes, width: int) -> None:
    shown = {format: render(format, check, read=lambda _: source, color=False, width=width) for format in FORMATS}
    assert JSON.is_valid(json.loads(shown["json"]))
    assert SARIF.is_valid(json.loads(shown["sarif"]))
    assert all(line.startswith("::") for line in shown["github"].split("\n")[:-1])
    assert all(text == "" or text.endswith("\n") for text in shown.values())
    html.render(check, lambda _: source).encode("utf-8")


@pytest.mark.parametrize("error", [FileNotFoundError, ValueError])
def test_a_source_that_is_gone_does_not_hinder(
    check: Check, read: Callable[[str], bytes], error: type[Exception]
) -> None:
    def gone(name: str) -> bytes:
        raise error(name)

    for format in FORMATS:
        assert render(format, check, read=gone, color=False, width=80) == render(
            format, check, read=read, color=False, width=80
        )
    assert "No source can be shown" in html.render(check, gone)
