"""The formats that programs read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]

from auditlint.diagnostics import Diagnostic, Edit, Fix, Hook, Location, Step
from auditlint.reporters import FORMATS, render
from auditlint.rules import RULES, page, url

SOURCE = b"def summarise(values):\n    return float(values.mean().item())\n"


def shown(format: str, found: Sequence[Diagnostic], source: bytes = SOURCE) -> str:
    return render(format, found, read=lambda name: source, color=False, width=80)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        shown("xml", [])


class TestJson:
    def test_fields(self, finding: Diagnostic) -> None:
        assert json.loads(shown("json", [finding])) == [
            {
                "code": "AUD101",
                "name": "item-in-hook",
                "message": "`.item()` makes the host wait",
                "filename": "pkg/stats.py",
                "location": {"row": 2, "column": 32},
                "end_location": {"row": 2, "column": 38},
                "confidence": "definite",
                "hook": {
                    "name": "Probe.hook",
                    "filename": "pkg/probe.py",
                    "row": 18,
                    "registrar": "register_forward_hook",
                    "registered": {"name": "Probe.attach", "filename": "pkg/probe.py", "row": 12},
                },
                "path": [
                    {"name": "Probe.hook", "filename": "pkg/probe.py", "row": 21},
                    {"name": "summarise", "filename": "pkg/stats.py", "row": 2},
                ],
                "noqa_row": 2,
                "url": url("AUD101"),
                "fix": {
                    "applicability": "safe",
                    "message": "keep it on the device",
                    "edits": [
                        {
                            "content": "detach()",
                            "location": {"row": 2, "column": 32},
                            "end_location": {"row": 2, "column": 38},
                        }
                    ],
                },
                "unfixed": None,
            }
        ]

    def test_what_is_missing_is_null(self, finding: Diagnostic) -> None:
        (entry,) = json.loads(shown("json", [finding._replace(hook=None, path=(), fix=None)]))
        assert (entry["hook"], entry["path"], entry["fix"], entry["unfixed"]) == (None, [], None, None)

    def test_why_there_is_no_fix(self, finding: Diagnostic) -> None:
        (entry,) = json.loads(shown("json", [finding._replace(fix=None, unfixed="read again in the hook")]))
        assert (entry["fix"], entry["unfixed"]) == (None, "read again in the hook")

    def test_an_edit_of_another_file_names_it(self, finding: Diagnostic) -> None:
        place = Location(1, 1)
        edits = (Edit("a\n", place, place), Edit("b\n", place, place, "main.py"))
        (entry,) = json.loads(shown("json", [finding._replace(fix=Fix("unsafe", "defer it", edits))]))
        assert [(edit["content"], edit.get("filename")) for edit in entry["fix"]["edits"]] == [
            ("a\n", None),
            ("b\n", "main.py"),
        ]

    def test_no_findings_are_an_empty_array(self) -> None:
        assert shown("json", []) == "[]\n"


class TestGithub:
    def test_a_command_carries_place_and_text(self, finding: Diagnostic) -> None:
        assert shown("github", [finding]) == (
            "::error title=AUD101 item-in-hook,file=pkg/stats.py,line=2,endLine=2,col=32,endColumn=38::"
            "pkg/stats.py:2:32: AUD101 `.item()` makes the host wait"
            "%0Ain hook Probe.hook, registered by register_forward_hook at pkg/probe.py:12"
            "%0Apath: Probe.hook (pkg/probe.py:21) -> summarise (pkg/stats.py:2)\n"
        )

    def test_a_possible_finding_is_a_warning(self, finding: Diagnostic) -> None:
        assert shown("github", [finding._replace(confidence="possible")]).startswith("::warning ")

    def test_columns_are_left_out_when_rows_differ(self, finding: Diagnostic) -> None:
        assert ",line=2,endLine=3::" in shown("github", [finding._replace(end_location=Location(3, 1))])

    def test_special_characters_are_escaped(self, finding: Diagnostic) -> None:
        hostile = finding._replace(filename="a,b:c%d\r\n::e.py", message="50% ::warning::\r\nx", hook=None, path=())
        (line,) = shown("github", [hostile]).splitlines()
        assert "file=a%2Cb%3Ac%25d%0D%0A%3A%3Ae.py,line=" in line
        assert line.endswith("AUD101 50%25 ::warning::%0D%0Ax")


class TestGitlab:
    def entries(self, found: Sequence[Diagnostic], source: bytes = SOURCE) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(shown("gitlab", found, source))
        return entries

    def test_fields(self, finding: Diagnostic) -> None:
        (entry,) = self.entries([finding])
        assert re.fullmatch("[0-9a-f]{64}", entry.pop("fingerprint"))
        assert entry == {
            "description": "AUD101: `.item()` makes the host wait",
            "check_name": "AUD101",
            "severity": "major",
            "location": {
                "path": "pkg/stats.py",
                "positions": {"begin": {"line": 2, "column": 32}, "end": {"line": 2, "column": 38}},
            },
        }

    def test_fingerprints_stay_when_code_moves(self, finding: Diagnostic) -> None:
        (before,) = self.entries([finding])
        moved = finding._replace(location=Location(4, 32), end_location=Location(4, 38), statement=(4, 4))
        (after,) = self.entries([moved], b"#\n\n" + SOURCE)
        assert after["fingerprint"] == before["fingerprint"]

    def test_fingerprints_are_distinct(self, finding: Diagnostic) -> None:
        found = [finding, finding, finding._replace(code="AUD102"), finding._replace(filename="b.py")]
        assert len({entry["fingerprint"] for entry in self.entries(found)}) == 4

    def test_paths_are_relative_to_the_checkout(
        self, finding: Diagnostic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))
        assert self.entries([finding])[0]["location"]["path"] == "sub/pkg/stats.py"


class TestSarif:
    validator = Draft202012Validator(
        json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
    )

    def log(self, found: Sequence[Diagnostic]) -> dict[str, Any]:
        log: dict[str, Any] = json.loads(shown("sarif", found))
        assert [error.message for error in self.validator.iter_errors(log)] == []
        return log

    def test_the_schema_refuses_what_is_no_log(self) -> None:
        log = self.log([])
        del log["runs"][0]["tool"]
        assert not self.validator.is_valid(log)

    def test_rules_carry_their_pages(self) -> None:
        rules = self.log([])["runs"][0]["tool"]["driver"]["rules"]
        assert [rule["id"] for rule in rules] == sorted(RULES)
        assert all(rule["help"]["markdown"] == page(rule["id"]) for rule in rules)

    def test_a_result_leads_from_the_hook_to_the_site(self, finding: Diagnostic) -> None:
        run = self.log([finding])["runs"][0]
        (result,) = run["results"]
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "AUD101"
        assert result["level"] == "error"
        site = {
            "artifactLocation": {"uri": "pkg/stats.py", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": 2, "startColumn": 32, "endLine": 2, "endColumn": 38},
        }
        assert result["locations"] == [{"physicalLocation": site}]
        flow = [step["location"] for step in result["codeFlows"][0]["threadFlows"][0]["locations"]]
        assert [step["message"]["text"] for step in flow] == ["Probe.hook calls on", "in summarise"]
        assert flow[0]["physicalLocation"]["region"] == {"startLine": 21}
        assert flow[1]["physicalLocation"] == site
        related = [(item["message"]["text"], item["physicalLocation"]["region"]) for item in result["relatedLocations"]]
        assert related == [
            ("hook Probe.hook", {"startLine": 18}),
            ("registered by register_forward_hook", {"startLine": 12}),
        ]
        (change,) = result["fixes"][0]["artifactChanges"]
        assert change["replacements"][0]["insertedContent"] == {"text": "detach()"}

    def test_a_fix_has_a_change_for_each_file(self, finding: Diagnostic) -> None:
        place = Location(1, 1)
        edits = (Edit("a", *finding[4:6]), Edit("b\n", place, place, "main.py"), Edit("c\n", place, place))
        (result,) = self.log([finding._replace(fix=Fix("unsafe", "defer it", edits))])["runs"][0]["results"]
        (fix,) = result["fixes"]
        assert fix["description"] == {"text": "defer it"}
        assert fix["properties"] == {"applicability": "unsafe"}
        changes = {change["artifactLocation"]["uri"]: change["replacements"] for change in fix["artifactChanges"]}
        assert [item["insertedContent"]["text"] for item in changes["pkg/stats.py"]] == ["a", "c\n"]
        assert changes["main.py"] == [
            {
                "deletedRegion": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
                "insertedContent": {"text": "b\n"},
            }
        ]

    def test_why_there_is_no_fix_is_a_property(self, finding: Diagnostic) -> None:
        (result,) = self.log([finding._replace(fix=None, unfixed="read again")])["runs"][0]["results"]
        assert "fixes" not in result
        assert result["properties"] == {"confidence": "definite", "unfixed": "read again"}

    def test_levels(self, finding: Diagnostic) -> None:
        found = [finding._replace(confidence="possible"), finding._replace(code="AUD901", hook=None, path=(), fix=None)]
        assert [result["level"] for result in self.log(found)["runs"][0]["results"]] == ["warning", "note"]

    def test_an_unknown_code_and_a_finding_without_a_place_are_valid(self, finding: Diagnostic) -> None:
        nowhere = Location(0, 0)
        self.log([finding._replace(code="AUD999", location=nowhere, end_location=nowhere, fix=Fix("safe", "", ()))])

    @pytest.mark.parametrize(
        ("filename", "uri"),
        [("a b/ü#?.py", "a%20b/%C3%BC%23%3F.py"), (os.path.abspath("/x/y z.py"), "file:///x/y%20z.py")],
    )
    def test_paths_are_uris(self, finding: Diagnostic, filename: str, uri: str) -> None:
        run = self.log([finding._replace(filename=filename)])["runs"][0]
        assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


class TestJunit:
    def test_a_suite_a_file_and_a_case_a_finding(self, finding: Diagnostic) -> None:
        root = ElementTree.fromstring(shown("junit", [finding, finding, finding._replace(filename="b.py")]))
        assert (root.tag, root.attrib) == (
            "testsuites",
            {"name": "auditlint", "tests": "3", "failures": "3", "errors": "0"},
        )
        assert [(suite.get("name"), suite.get("tests"), len(suite)) for suite in root] == [
            ("pkg/stats.py", "2", 2),
            ("b.py", "1", 1),
        ]
        case = root[0][0]
        assert case.attrib == {
            "name": "AUD101 item-in-hook 2:32",
            "classname": "pkg/stats",
            "file": "pkg/stats.py",
            "line": "2",
        }
        assert case[0].attrib == {"type": "AUD101", "message": "`.item()` makes the host wait"}
        assert (case[0].text or "").splitlines() == [
            "pkg/stats.py:2:32: AUD101 `.item()` makes the host wait",
            "hook Probe.hook, registered by register_forward_hook at pkg/probe.py:12",
            "path Probe.hook pkg/probe.py:21",
            "path summarise pkg/stats.py:2",
        ]

    def test_no_findings_are_one_test_that_passed(self) -> None:
        root = ElementTree.fromstring(shown("junit", []))
        assert root.get("tests") == "1"
        assert [len(case) for case in root.iter("testcase")] == [0]

    def test_characters_that_xml_forbids_are_replaced(self, finding: Diagnostic) -> None:
        hostile = "a\x00\x0b\x1b\ufffe\ud800]]><&\"'\n"
        root = ElementTree.fromstring(shown("junit", [finding._replace(message=hostile, filename=hostile)]))
        assert root[0].get("name") == "a\ufffd\ufffd\ufffd\ufffd\ufffd]]><&\"'\n"


words = st.text(max_size=30)
places = st.builds(Location, st.integers(0, 5), st.integers(0, 60))
steps = st.builds(Step, words, words, st.integers(0, 9))
findings = st.builds(
    Diagnostic,
    st.sampled_from(["AUD101", "AUD901", "AUD999"]),
    words,
    words,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30),
    places,
    places,
    st.sampled_from(["definite", "possible"]),
    st.none()
    | st.builds(
        Hook,
        words,
        st.just("h.py"),
        st.integers(0, 9),
        words,
        st.builds(Step, words, st.just("r.py"), st.integers(0, 9)),
    ),
    st.lists(st.builds(Step, words, st.just("p.py"), st.integers(0, 9)), max_size=3).map(tuple),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(0, 9),
    st.none()
    | st.builds(
        Fix,
        st.just("unsafe"),
        words,
        st.lists(st.builds(Edit, words, places, places, st.sampled_from(["", "b.py"])), max_size=3).map(tuple),
    ),
    words,
)


@given(st.lists(findings, max_size=3), st.binary(max_size=100))
def test_no_finding_breaks_a_format(found: list[Diagnostic], source: bytes) -> None:
    reports = {format: shown(format, found, source) for format in FORMATS}
    assert len(json.loads(reports["json"])) == len(json.loads(reports["gitlab"])) == len(found)
    assert TestSarif.validator.is_valid(json.loads(reports["sarif"]))
    assert len(list(ElementTree.fromstring(reports["junit"]).iter("failure"))) == len(found)
    assert reports["github"].count("\n") == reports["concise"].count("\n") == len(found)
    assert all(report == "" or report.endswith("\n") for report in reports.values())
