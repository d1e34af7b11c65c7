"""The page: it holds everything, needs nothing from elsewhere, and nothing in it can become markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from auditlint.runtime.report import Check, Reconciled, RuntimeHook, Site
from auditlint.runtime.reports import html

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Every tag with its attributes, the text of each element by tag and class, and whether tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[tuple[str, str, int]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes.get("class", ""), len(self.text)))

    def handle_endtag(self, tag: str) -> None:
        name, kind, start = self.open.pop()
        assert name == tag
        self.texts.append((f"{tag}.{kind}", self.text[start:]))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] not in ("script", "style"):
            self.text += data

    def of(self, name: str) -> list[str]:
        return [text for tag, text in self.texts if tag == name]


def page(check: Check, read: Callable[[str], bytes] = lambda name: b"") -> Page:
    return Page(html.render(check, read))


def one_site(check: Check, site: Site) -> Check:
    return check._replace(report=check.report._replace(sites=(site,)), reconciliation=())


def test_the_page_holds_the_check(check: Check, read: Callable[[str], bytes]) -> None:
    shown = page(check, read)
    assert shown.of("p.verdict bad") == ["14 syncs in 1 hook; 3 outside."]
    assert shown.of("dd.") == ["14", "3", "19", "1.24 ms", "GPU 1", "580", "2.13.0", "3.11.7", "Linux"]
    for text in (
        "Extensions are not seen.",
        "Worker 7 was not counted.",
        "1 finding in files that this run never loaded.",
    ):
        assert text in shown.text
    for item in check.reconciliation[:3]:
        assert item.message in shown.text
    for site in check.report.sites:
        assert f"{site.filename}:{site.row}:{site.column}" in shown.of("span.place")
    assert shown.of("span.status missed") == ["missed"]


def test_rows_that_synced_are_marked_with_their_counts(check: Check, read: Callable[[str], bytes]) -> None:
    shown = page(check, read)
    assert shown.of("li.hit") == [
        "\xd7123        value = output.mean().item()",
        "\xd722    return float(output.max())",
    ]
    assert shown.of("mark.") == ["item()", "float(output.max())"]
    assert shown.of("li.told") == [
        "12 calls of Tensor.item, 12 waits, 1.23 ms waited",
        "2 calls of float, 4 waits, thread pt_autograd_0",
    ]
    # The hook's own file comes first, then the files that it reached.
    assert shown.of("figcaption.place") == ["pkg/probe.py", "pkg/stats.py"]


def test_the_whole_of_a_short_hook_is_shown(check: Check) -> None:
    source = b"".join(b"x = %d\n" % row for row in range(20)) + b"def hook(a):\n    b = 1\n" + b"    b += 1\n" * 20
    source += b"    a.item()\n\n\ndef other():\n    pass\n" + b"y = 1\n" * 10
    site = check.report.sites[1]._replace(row=43, column=7, end_row=43, end_column=13)
    site = site._replace(hook=RuntimeHook("hook", "pkg/probe.py", 21, "forward"))
    rows = [int(row) for row in page(one_site(check, site), lambda name: source).of("span.row")]
    assert rows == list(range(21, 47))


def test_of_a_long_hook_the_rows_around_its_syncs_are_shown(check: Check) -> None:
    source = b"def hook(a):\n" + b"    b = 1\n" * 98 + b"    a.item()\n"
    site = check.report.sites[1]._replace(row=100, column=7, end_row=100, end_column=13)
    site = site._replace(hook=RuntimeHook("hook", "pkg/probe.py", 1, "forward"))
    shown = page(one_site(check, site), lambda name: source)
    assert shown.of("span.row") == ["1", "97", "98", "99", "100"]
    assert shown.of("li.gap") == ["..."]


def test_bars_compare_hooks(check: Check, read: Callable[[str], bytes]) -> None:
    one, two, _ = check.report.sites
    other = RuntimeHook("other", "a.py", 1, "tensor")
    report = check.report._replace(sites=(one._replace(hook=other, count=3), two, two._replace(hook=other, count=0)))
    shown = page(check._replace(report=report), read)
    bars = [attributes["style"] for tag, attributes in shown.tags if tag == "i"]
    assert bars == ["--share:1.0000", "--share:1.0000", "--share:0.2500", "--share:1.0000"]
    assert shown.of("div.bar count") == ["12 calls", "3 calls"]
    assert shown.of("div.bar time") == ["1.23 ms waited"] * 2


def test_links_lead_to_places_in_the_page(check: Check, read: Callable[[str], bytes]) -> None:
    shown = page(check, read)
    names = {attributes["id"] for _, attributes in shown.tags if "id" in attributes}
    links = [attributes["href"] for tag, attributes in shown.tags if tag == "a"]
    assert links
    assert {link.removeprefix("#") for link in links} <= names


def test_the_page_is_self_contained(check: Check, read: Callable[[str], bytes]) -> None:
    text = html.render(check, read)
    shown = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"url\(|@import|\bimport\(|fetch\(|XMLHttpRequest", text)
    assert all("src" not in attributes for _, attributes in shown.tags)
    assert all(attributes["href"].startswith("#") for _, attributes in shown.tags if "href" in attributes)
    assert "link" not in {tag for tag, _ in shown.tags}


def test_only_the_script_of_the_page_may_run(check: Check, read: Callable[[str], bytes]) -> None:
    text = html.render(check, read)
    (policy,) = (tag[1]["content"] for tag in Page(text).tags if "http-equiv" in tag[1])
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")


HOSTILE = '</script><script>alert(\'x\')</script><!--" onload="y" &amp; {hash} \ud800\x00\u202e'


def test_nothing_in_a_check_becomes_markup(check: Check, read: Callable[[str], bytes]) -> None:
    hook = RuntimeHook(HOSTILE, HOSTILE, 1, HOSTILE)
    site = Site(HOSTILE, 1, 3, 1, 20, HOSTILE, HOSTILE, 1, 1, 1.0, HOSTILE, hook, HOSTILE)
    environment = check.report.environment._replace(device=HOSTILE, torch=HOSTILE, platform=HOSTILE)
    report = check.report._replace(sites=(site, site._replace(hook=None, allowed=None), site._replace(row=99)))
    report = report._replace(
        backend=HOSTILE, environment=environment, blind_spots=(HOSTILE,), notes=(HOSTILE,), potential=True
    )
    items = (Reconciled(HOSTILE, 1, 1, HOSTILE, "missed", 1, HOSTILE),)
    source = f"{HOSTILE}\n".encode("utf-8", "surrogatepass")
    text = html.render(Check(HOSTILE, 1, report, items), lambda name: source)
    shown = Page(text)
    tame = {tag for tag, _ in page(check, read).tags}
    assert {tag for tag, _ in shown.tags} <= tame | {"ul", "p"}
    assert [tag for tag, _ in shown.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
    assert "alert('x')" in shown.text
    assert not re.search("[\x00\ud800\u202e]", text)
    text.encode("utf-8")


def test_a_hook_without_a_readable_source_keeps_its_sites(check: Check) -> None:
    shown = page(check)
    assert "No source can be shown for these in pkg/probe.py:" in shown.text
    assert "row 3: 12 calls of Tensor.item, 12 waits, 1.23 ms waited" in shown.of("li.")


def test_a_very_long_line_is_cut(check: Check) -> None:
    site = check.report.sites[1]._replace(row=1)
    text = html.render(one_site(check, site), lambda name: b"x" * 1_000_000)
    assert len(text) < 100_000


def test_allowed_syncs_are_marked_quietly(check: Check, read: Callable[[str], bytes]) -> None:
    shown = page(one_site(check, check.report.sites[1]._replace(allowed="it is needed")), read)
    assert shown.of("p.verdict") == ["No sync in a hook; 12 allowed."]
    assert len(shown.of("li.hit quiet")) == 1
    assert "allowed: it is needed" in shown.text
    one, two = check.report.sites[1], check.report.sites[1]._replace(op="float", count=5, allowed="it is needed")
    shown = page(check._replace(report=check.report._replace(sites=(one, two))), read)
    assert [text[:3] for text in shown.of("li.hit")] == ["\xd712"]


@pytest.mark.parametrize("status", [0, 130])
def test_an_empty_check_is_a_page(nothing: Check, status: int) -> None:
    shown = page(nothing._replace(status=status))
    assert shown.of("p.verdict") == ["No potential sync in a hook."]
    assert "Potential syncs: counted on the CPU, they would wait on a device." in shown.text
    assert (f"The program ended with status {status}." in shown.text) == (status != 0)
    assert "table" not in {tag for tag, _ in shown.tags}
