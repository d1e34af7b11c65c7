"""The page computes what the command computes, shows it, and needs nothing from elsewhere."""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from auditlint.bench.probe_cost import page
from auditlint.bench.probe_cost.cost import ONE_LAYER, SCOPES, Question, cost, texts
from auditlint.bench.probe_cost.latency import ILLUSTRATION, MEASURED, Band, Bands, Latencies, labels, nearest
from auditlint.bench.probe_cost.presets import DEFAULT, DTYPES, LIMITS, PRESETS, PROBE_DTYPES, Model

ASSETS = Path(page.__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NODE = shutil.which("node")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

OPENING = Question(PRESETS[DEFAULT], 1, ONE_LAYER, "bfloat16", "bfloat16")
EXTREMES = [
    Model(f"{params} {width} {layers}", params, params, width, layers, "a test")
    for params, width, layers in itertools.product(*(LIMITS[name] for name in ("params", "d_model", "layers")))
]
COUNTS = (1, 7, 320, 1000, 123_456, LIMITS["probes"][1])
# Bands that were measured, around every threshold, and faster than without probes by chance.
MEASUREMENTS = [
    Bands(Band(naive, naive + 1, MEASURED, "a test"), Band(batched - 1, batched, MEASURED, "a test"))
    for naive, batched in itertools.product((-2.0, 0.0, 100 / 19, 12.0), (-0.5, 100 / 99, 3.0, 100 / 19, 100 / 9, 40.0))
]
# A study of probes: the bands differ by count and scope. Seven probes are as far from one as from 49.
STUDY = tuple(
    Latencies(
        Bands(Band(float(probes), 2.0 * probes, MEASURED, f"a test at {probes}", device), Band(0.5, 3.0, MEASURED, "")),
        probes,
        scope,
    )
    for probes, device in ((49, "a device"), (1, "cpu"), (1000, "a device"))
    for scope in SCOPES
)


def anywhere(bands: Bands) -> tuple[Latencies, ...]:
    return (Latencies(bands),)


def grid() -> Iterator[Question]:
    """Every preset with every count and scope, and the extremes with every dtype."""
    for model, count, scope in itertools.product(PRESETS.values(), COUNTS, SCOPES):
        yield Question(model, count, scope, "bfloat16", "bfloat16")
    dtypes = itertools.product(DTYPES, PROBE_DTYPES)
    for (dtype, probe_dtype), model, count, scope in itertools.product(dtypes, EXTREMES, COUNTS, SCOPES):
        yield Question(model, count, scope, dtype, probe_dtype)


def as_data(question: Question) -> dict[str, Any]:
    model = question.model
    size = {"active_params": model.active_params, "d_model": model.d_model, "layers": model.layers}
    return {**size, **{key: value for key, value in question._asdict().items() if key != "model"}}


@pytest.mark.skipif(NODE is None, reason="no node on the PATH")
@pytest.mark.parametrize(
    ("latencies", "step"),
    [(anywhere(ILLUSTRATION), 1), *((anywhere(bands), 97) for bands in MEASUREMENTS), (STUDY, 1)],
)
def test_the_script_computes_and_says_what_the_command_does(
    latencies: tuple[Latencies, ...], step: int, tmp_path: Path
) -> None:
    questions = list(grid())[::step]
    (tmp_path / "run.js").write_text(
        (ASSETS / "formulas.js").read_text(encoding="utf-8")
        + "const { questions, data } = JSON.parse(require('fs').readFileSync(0));"
        + "const answers = questions.map((question) => cost(question, data));"
        + "console.log(JSON.stringify(answers.map((answer) => [answer, texts(answer, data)])));",
        encoding="utf-8",
    )
    given = json.dumps({"questions": [as_data(of) for of in questions], "data": page.data(OPENING, latencies)})
    run = [str(NODE), str(tmp_path / "run.js")]
    done = subprocess.run(run, input=given, capture_output=True, text=True, encoding="utf-8", timeout=60, check=True)
    for question, (answer, words) in zip(questions, json.loads(done.stdout), strict=True):
        bands = nearest(latencies, question.probes, question.scope)
        expected = cost(question, bands)
        figures = expected.figures._asdict()
        assert answer["figures"].pop("orders") == pytest.approx(figures.pop("orders"), rel=1e-12, abs=1e-12)
        assert answer["figures"] == figures  # bit by bit
        assert answer["bands"] == {way: band._asdict() for way, band in expected.bands._asdict().items()}
        assert answer["labels"] == labels(bands)
        assert answer["verdict"] == expected.verdict._asdict()
        assert words == texts(expected), question


def in_chromium(path: Path, tmp_path: Path) -> str:
    """The document that Chromium has made of a page, after its scripts have run."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"]
    run = [str(CHROMIUM), *flags, "--dump-dom", path.as_uri()]
    return subprocess.run(run, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True).stdout


def outcome(text: str) -> Any:
    found = re.search(r'<pre id="outcome">(.*?)</pre>', text, re.DOTALL)
    assert found, text[-2000:]
    return json.loads(html.unescape(found[1]))


def driven(text: str, script: str, given: object, tmp_path: Path) -> Any:
    """What `script`, which runs in the page after the page's own, leaves in `outcomes`; it finds `given`."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    text = text.replace("</body>", f"<script>const given = {json.dumps(given)};{DRIVER.format(script)}</script></body>")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    return outcome(in_chromium(tmp_path / "page.html", tmp_path))


# Sets the page's own controls, as a person does.
DRIVER = """
const outcomes = [];
function set(id, value) {{
  element(id).value = value;
  element(id).dispatchEvent(new Event("input", {{ bubbles: true }}));
}}
{}
const pre = document.createElement("pre");
pre.id = "outcome";
pre.textContent = JSON.stringify(outcomes);
document.body.replaceChildren(pre);
"""

GRID = """
for (const [model, asked] of given) {
  if (model !== null) set("model", model);
  else {
    set("active_params", asked.active_params / 1e9);
    set("d_model", asked.d_model);
    set("layers", asked.layers);
  }
  set("probes", asked.probes);
  set("dtype", asked.dtype);
  set("probe_dtype", asked.probe_dtype);
  document.querySelector(`[value=${asked.scope}]`).click();
  const shown = {};
  for (const of of document.querySelectorAll("[data-text]")) {
    shown[of.dataset.text] = of.textContent.replaceAll("\\u00a0", " ");
  }
  outcomes.push([element("model").value, element("problem").textContent, shown, element("chart").ariaLabel]);
}
"""


@in_browser
def test_the_controls_of_the_page_show_what_the_command_prints(tmp_path: Path) -> None:
    keys: dict[Model, str] = {preset: key for key, preset in PRESETS.items()}
    questions = list(grid())
    own = len(PRESETS) * len(COUNTS) * len(SCOPES)
    questions = questions[:own:3] + questions[own::11]
    given = [(keys.get(of.model), as_data(of)) for of in questions]
    outcomes = driven(page.render(OPENING, anywhere(ILLUSTRATION)), GRID, given, tmp_path)
    for question, (model, problem, shown, chart) in zip(questions, outcomes, strict=True):
        words = texts(cost(question, ILLUSTRATION))
        assert (model, problem) == (keys.get(question.model, "other"), ""), question
        assert shown == {key: words[key] for key in shown}, question
        assert f"Computed floor: {words['floor']}, computed" in chart
    assert set(words) == set(shown)


# What stands in a control, and what the page says of it, after each of these.
CONTROLS = """
for (const [id, value] of given) {
  set(id, value);
  outcomes.push([
    element("model").value, element("probes").value, element("problem").textContent,
    element(id).ariaInvalid ?? "", element("figures").className, element("probe_dtype").value,
  ]);
}
"""


@in_browser
def test_controls_that_hold_no_number_are_named_and_those_that_belong_together_follow(tmp_path: Path) -> None:
    steps = [
        ("slider", 30),
        ("dtype", "float32"),
        ("probes", "0"),
        ("probes", "5"),
        ("layers", "1.5"),
        ("model", "gpt2"),
    ]
    steps += [("active_params", "1e-12"), ("active_params", "")]
    outcomes = driven(page.render(OPENING, anywhere(ILLUSTRATION)), CONTROLS, steps, tmp_path)
    parameters = "Parameters: a number from 1 to 1,000T."
    assert outcomes == [
        [DEFAULT, "1000", "", "", "", "bfloat16"],
        [DEFAULT, "1000", "", "", "", "float32"],
        [DEFAULT, "0", "Probes: a whole number from 1 to 1,000,000.", "true", "unknown", "float32"],
        [DEFAULT, "5", "", "false", "", "float32"],
        ["other", "5", "Layers: a whole number from 1 to 10,000.", "true", "unknown", "float32"],
        ["gpt2", "5", "", "", "", "float32"],
        ["other", "5", parameters, "true", "unknown", "float32"],
        ["other", "5", parameters, "true", "unknown", "float32"],
    ]


@in_browser
def test_of_a_study_of_probes_the_page_takes_the_nearest(tmp_path: Path) -> None:
    script = """
    for (const [probes, scope] of given) {{
      document.querySelector(`[name=scope][value=${{scope}}]`).click();
      set("probes", probes);
      const shown = (name) => document.querySelector(name).textContent;
      outcomes.push([shown("[data-text=naive]"), shown("[data-label=naive]"), shown("[data-text=verdict]")]);
    }}
    """.replace("{{", "{").replace("}}", "}")
    asked = [(1, "one-layer"), (40, "every-layer"), (900, "one-layer")]
    found = driven(page.render(OPENING, STUDY), script, asked, tmp_path)
    for (probes, scope), (naive, label, said) in zip(asked, found, strict=True):
        question = OPENING._replace(probes=probes, scope=scope)
        bands = nearest(STUDY, probes, scope)
        words = texts(cost(question, bands))
        assert naive.replace("\xa0", " ") == words["naive"]
        assert label.replace("\xa0", " ") == f"{labels(bands)['naive']}."
        assert said.replace("\xa0", " ") == words["verdict"]
    assert len({label for _, label, _ in found}) == 3


@in_browser
def test_a_scope_that_was_not_measured_cannot_be_chosen(tmp_path: Path) -> None:
    script = "outcomes.push(...[...document.querySelectorAll('[name=scope]')].map((radio) => radio.disabled));"
    assert driven(page.render(OPENING, STUDY[::2]), script, None, tmp_path) == [False, True]
    assert driven(page.render(OPENING, anywhere(ILLUSTRATION)), script, None, tmp_path) == [False, False]


@in_browser
def test_a_measurement_that_is_below_zero_is_drawn_at_the_left_end(tmp_path: Path) -> None:
    bands = Bands(Band(-1.0, -0.5, MEASURED, "a test"), Band(-2.0, 30.0, MEASURED, "a test"))
    places = "outcomes.push(...['naive', 'batched'].map((kind) => ['x', 'width'].map((name) =>"
    places += " Number(document.querySelector(`#chart .${kind}`).getAttribute(name)))));"
    (left, narrow), (start, wide) = driven(page.render(OPENING, anywhere(bands)), places, None, tmp_path)
    assert left == start == 8
    assert 0 < narrow < wide


@in_browser
def test_the_page_runs_under_its_own_policy_and_opens_with_what_was_asked(tmp_path: Path) -> None:
    own = Model("mine </script><b>", 7 * 10**9, 7 * 10**9, 4096, 32, "a test & more")
    question = Question(own, 1000, "every-layer", "int4", "float32")
    (tmp_path / "page.html").write_text(page.render(question, anywhere(ILLUSTRATION)), encoding="utf-8")
    text = in_chromium(tmp_path / "page.html", tmp_path)
    words = texts(cost(question, ILLUSTRATION))
    shown = {key: html.unescape(value) for key, value in re.findall(r'data-text="(\w+)">([^<]*)<', text)}
    shown = {key: value.replace("\N{NO-BREAK SPACE}", " ") for key, value in shown.items()}
    assert shown == {key: words[key] for key in shown} and shown
    assert "mine &lt;/script&gt;&lt;b&gt;</option>" in text
    assert "Size: a test &amp; more." in text


@in_browser
@pytest.mark.parametrize("width", [320, 390, 1000])
def test_nothing_sticks_out_of_a_narrow_frame(tmp_path: Path, width: int) -> None:
    question = OPENING._replace(model=PRESETS["deepseek-v3"], probes=LIMITS["probes"][1], scope="every-layer")
    source = html.escape(page.render(question, anywhere(ILLUSTRATION)), quote=True)
    measure = (
        "const inner = document.querySelector('iframe').contentDocument.documentElement;"
        "const pre = document.createElement('pre'); pre.id = 'outcome';"
        "pre.textContent = JSON.stringify([inner.clientWidth, inner.scrollWidth]); document.body.append(pre);"
    )
    frame = f'<iframe srcdoc="{source}" style="border:0;width:{width}px;height:900px" onload="{measure}"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{frame}</body>", encoding="utf-8")
    inner, needed = outcome(in_chromium(tmp_path / "frame.html", tmp_path))
    assert needed <= inner <= width


class Controls(HTMLParser):
    """The names of the controls, those that are within a label, and everything that a tag refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.labels = 0
        self.controls: list[str] = []
        self.labelled: list[str] = []
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.labels += tag == "label"
        self.references += [attributes[name] for name in ("src", "href", "action", "poster") if name in attributes]
        if tag in ("select", "input"):
            name = attributes.get("id") or f"{attributes['name']}={attributes['value']}"
            self.controls.append(name)
            self.labelled += [name] if self.labels else []

    def handle_endtag(self, tag: str) -> None:
        self.labels -= tag == "label"


def test_every_control_has_a_label() -> None:
    controls = Controls(page.render(OPENING, anywhere(ILLUSTRATION)))
    assert controls.labelled == controls.controls
    assert {"model", "active_params", "d_model", "layers", "probes", "dtype", "scope=one-layer"} <= {*controls.controls}


def test_the_page_refers_to_nothing_elsewhere() -> None:
    text = page.render(OPENING, anywhere(ILLUSTRATION))
    assert Controls(text).references == []
    assert "default-src 'none'" in text
    assert re.findall(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", text) == []
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_every_text_that_the_page_asks_for_is_there() -> None:
    words = texts(cost(OPENING, ILLUSTRATION))
    assert set(re.findall(r'data-text="(\w+)"', (ASSETS / "page.html").read_text(encoding="utf-8"))) == set(words)


def test_latencies_carry_what_they_are() -> None:
    def told(bands: Bands) -> list[str]:
        [latencies] = json.loads(json.dumps(page.data(OPENING, anywhere(bands))))["latencies"]
        return list(latencies["labels"].values())

    assert all("illustrative, not measured (Mitra, " in label for label in told(ILLUSTRATION))
    band = Band(1.0, 2.0, MEASURED, "arm `packed` of x.json", "a device", "2026-11-28")
    assert "measured, a device, 2026-11-28 (arm `packed` of x.json)" in told(Bands(band, band))[0]
