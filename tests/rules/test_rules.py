"""Codes, names, pages, documentation, fixtures and cases are in step."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from auditlint.analysis.sites import Site
from auditlint.config import Overrides
from auditlint.facts.syncs import ROWS
from auditlint.linter import Options, lint
from auditlint.rules import BY_KIND, RULES, page, url
from auditlint.rules.rule import Rule, module

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "rules"
FIXTURES = ROOT / "fixtures" / "rules"
MARKER = re.compile(r"#\s*(AUD\d{3})\s*$")
KINDS = (
    "item cpu tolist cast format numpy synchronize serialise truth builtin dynamic compare index h2d "
    "graph alias growth unsynchronised entry finalize python_state"
)

CODES = pytest.mark.parametrize("code", RULES)


def cases(found: bool) -> list[Any]:
    """(code, module) for the cases in which the rule finds something, or in which nothing is found."""
    return [
        pytest.param(rule.code, module(body), id=f"{rule.code}-{'invalid' if found else 'valid'}-{number}")
        for rule in RULES.values()
        for number, body in enumerate((rule.before, *rule.invalid) if found else (rule.after, *rule.valid))
    ]


def linted(code: str, text: str, folder: Path) -> dict[int, str]:
    """Row -> code for what the linter finds in `text`; two findings on a row are joined by a comma."""
    file = folder / "case.py"
    file.write_text(text, encoding="utf-8")
    result = lint([str(file)], overrides=Overrides(extend_select=(code,)), options=Options(jobs=1, cache=False))
    assert not result.errors
    rows: dict[int, list[str]] = {}
    for diagnostic in result.diagnostics:
        rows.setdefault(diagnostic.location.row, []).append(diagnostic.code)
    return {row: ", ".join(codes) for row, codes in rows.items()}


def marked(text: str) -> dict[int, str]:
    rows = enumerate(text.splitlines(), start=1)
    return {row: marker.group(1) for row, line in rows if (marker := MARKER.search(line))}


@pytest.mark.parametrize(("code", "text"), cases(found=True))
def test_the_rule_finds_what_the_case_marks(code: str, text: str, tmp_path: Path) -> None:
    assert set(marked(text).values()) == {code}
    assert linted(code, text, tmp_path) == marked(text)


@pytest.mark.parametrize(("code", "text"), cases(found=False))
def test_no_rule_finds_anything_where_the_case_is_clean(code: str, text: str, tmp_path: Path) -> None:
    assert linted(code, text, tmp_path) == marked(text) == {}


@pytest.mark.parametrize(("code", "text"), cases(found=True) + cases(found=False))
def test_each_case_is_python(code: str, text: str) -> None:
    if code == "AUD900" and marked(text):
        with pytest.raises(SyntaxError):
            ast.parse(text)
    else:
        ast.parse(text)


def test_the_codes_are_in_order_and_the_names_differ() -> None:
    assert list(RULES) == sorted(RULES)
    assert all(re.fullmatch(r"AUD\d{3}", code) for code in RULES)
    names = [rule.name for rule in RULES.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)+", name) for name in names)


def test_each_kind_of_site_has_one_rule() -> None:
    assert sorted(rule.kind for rule in RULES.values() if rule.kind) == sorted(KINDS.split())
    assert {sync.kind for sync, _ in ROWS} <= set(BY_KIND)


@CODES
def test_the_summary_is_one_plain_line(code: str) -> None:
    summary = RULES[code].summary
    assert "\n" not in summary
    assert not summary.endswith(".")
    assert len(summary) <= 90


@CODES
def test_the_page_has_its_parts(code: str) -> None:
    text = page(code)
    assert text.startswith(f"# {code}: {RULES[code].name}\n")
    expected = ["What it finds", "Why", "Example", "Fix safety"]
    if RULES[code].kind:
        expected += ["Backends", "When it is wanted"]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == expected
    assert f"  # {code}\n" not in text, "the markers are for the tests"


@CODES
def test_the_documentation_is_the_page(code: str) -> None:
    assert (DOCS / f"{code}.md").read_text(encoding="utf-8") == page(code), "run python -m auditlint.rules.pages"
    assert url(code).endswith(f"/docs/rules/{code}.md")


def test_the_documentation_has_no_page_without_a_rule() -> None:
    assert {path.stem for path in DOCS.glob("AUD*.md")} == set(RULES)


@CODES
def test_each_rule_has_a_fixture_that_it_is_found_in(code: str) -> None:
    assert code in marked((FIXTURES / f"{code}.py").read_text(encoding="utf-8")).values()


def test_there_is_no_fixture_without_a_rule() -> None:
    assert {path.stem for path in FIXTURES.glob("*.py")} == set(RULES)


@CODES
def test_each_rule_has_cases_of_both_kinds(code: str) -> None:
    rule = RULES[code]
    assert code in rule.before
    assert rule.valid


def site(kind: str, operation: str, definite: bool = True) -> Site:
    return Site(kind, operation, "", definite, "a.py", 1, 0, 1, 1, 1, 0, (1, 1), "hook", None, ())


@pytest.mark.parametrize("rule", BY_KIND.values(), ids=lambda rule: rule.code)
def test_a_message_names_the_operation_and_says_what_to_do(rule: Rule) -> None:
    for operation in ("that()", *(key for key, _ in rule.instances)):
        message = rule.message(site(rule.kind, operation))
        assert message.startswith(f"`{operation}` {rule.does}; ")
        assert "\n" not in message
        assert len(message) <= 200


def test_a_message_follows_the_operation() -> None:
    assert "output_size" in RULES["AUD203"].message(site("dynamic", "torch.repeat_interleave"))
    assert "torch.where" in RULES["AUD203"].message(site("dynamic", "[mask]"))


def test_a_message_says_when_it_is_a_guess() -> None:
    assert "if this is a device tensor" in RULES["AUD101"].message(site("item", ".item()", definite=False))
    assert "if this is a device tensor" not in RULES["AUD101"].message(site("item", ".item()"))


def test_importing_the_rules_brings_in_nothing_heavy() -> None:
    program = "import sys, auditlint.rules; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "libcst", "tokenize", "auditlint.facts", "auditlint.facts.syncs"} & set(loaded)
