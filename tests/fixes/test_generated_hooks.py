"""Programs with hooks, put together at random: what `--fix` makes of them computes the same and waits no more often.

A program is made of a value that is read, what the hook does with it, where it is kept, who else looks at it, and how
the model is run. The seed of a program is in its name; `python test_generated_hooks.py SEED` prints it.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAMS = int(os.environ.get("GENERATED_HOOKS", "100"))
FIRST = int(os.environ.get("GENERATED_FIRST", "0"))
PATTERNS = Path(os.environ.get("PATTERNS_TEST", str(Path(__file__).with_name("test_patterns.py"))))

HEAD = """\
import collections
import dataclasses
import json
import math
import os
import random

import torch
from torch import nn

DEVICE = os.environ.get("AUDIT_DEVICE", "cpu")
"""
# What the hook reads.
READS = (
    "o.norm().item()",
    "float(o.detach().sum())",
    "int((o > 0).sum())",
    "o.abs().max().item()",
    "bool((o > 1).any())",
    "o.flatten()[0].item()",
    "o.argmax().item()",
    "float(o.max())",
    "o.flatten().topk(2).values.tolist()",
    "o.detach().mean(0)[1].item()",
    "stat(o)",
    "(o * scale).norm().item()",
)
NUMBERS = (
    "{read}",
    "{read} / o.numel()",
    "round({read}, 3)",
    "{read} / count",
    "math.sqrt(abs({read}))",
    "max({read}, o.min().item())",
    "{read} - o.mean().item() * {read}",
    "{read} * random.random() + random.random()",
    "({read} if o.dim() else 0.0)",
    "{read} > limit",
    "-{read} + scale ** 2",
    "sum(row.norm().item() for row in list(o))",
    "sorted([{read}, o.min().item()], key=lambda one: one * scale)",
    "[{read} * each for each in (1, scale)]",
    "f'{{{read}:.4f}} of {{count}}'",
    "max(*spare, {read})",
)
LISTS = ("{read}", "sorted({read})", "sum({read})", "{read}[0]", "{read}[-1] + scale", "len({read})")
# Lines of the hook; VALUE is what it computes, ROWS where it is kept.
KEEPS: dict[str, tuple[str, ...]] = {
    "list": (
        "ROWS.append(VALUE)",
        "ROWS.append((name, VALUE))",
        "ROWS.append({'name': name, 'value': VALUE})",
        "ROWS.extend([VALUE, count])",
        "ROWS.insert(0, VALUE)",
        "ROWS += [VALUE]",
        "value = VALUE\nROWS.append(value)",
        "value = VALUE; ROWS.append(value)",
        "value = VALUE\nif count % 2:\n    value = 0.0\nROWS.append(value)",
        "entry = {'name': name}\nentry['value'] = VALUE\nROWS.append(entry)",
        "ROWS.append(VALUE)\ndel ROWS[:-4]",
        "ROWS.append([VALUE])\nROWS[-1].append(name)",
        "try:\n    ROWS.append(VALUE)\nexcept (ZeroDivisionError, ValueError):\n    ROWS.append(None)",
        "ROWS.append(Row(name, VALUE))",
        "if len(ROWS) < 5: ROWS.append(VALUE)",
        "ROWS.append(VALUE)\nROWS.append(ROWS.pop())",
        "ROWS.append((name, VALUE))\nROWS.reverse()",
    ),
    "dict": (
        "ROWS[name] = VALUE",
        "ROWS[name] = {'value': VALUE, 'count': count}",
        "ROWS.setdefault(name, []).append(VALUE)",
        "ROWS.update({name: VALUE})",
        "ROWS[name, count] = VALUE",
        "value = VALUE\nROWS[name] = value, count",
        "ROWS[name] = ROWS[name + 'last'] = VALUE",
        "if name not in ROWS:\n    ROWS[name] = []\nROWS[name].append(VALUE)",
        "ROWS.setdefault(name, VALUE)",
        "ROWS[name] = VALUE\nROWS[count] = dict(ROWS)",
    ),
    "default": ("ROWS[name].append(VALUE)", "ROWS[name].append({'value': VALUE})", "ROWS[name] += [VALUE]"),
    "deque": (
        "ROWS.append(VALUE)",
        "ROWS.appendleft((name, VALUE))",
        "ROWS.append(VALUE)\nif len(ROWS) > 3:\n    ROWS.popleft()",
    ),
}
MADE = {
    "list": "[]",
    "dict": "{}",
    "default": "collections.defaultdict(list)",
    "deque": "collections.deque(maxlen=5)",
}
# What the hook changes after the value is kept: what was computed with has to be as it was.
AFTERWARDS = ("", "", "", "o.data.mul_(2)", "o.data.zero_()", "scale = 0")
# Between passes; `look()` gives the container's text to somebody who takes plain values only.
RUNS = (
    "model(batch(0))",
    "for n in range(3):\n    model(batch(n))",
    "for n in range(3): model(batch(n))",
    "for n in range(3):\n    model(batch(n))\n    seen.append(len(ROWS))",
    "for n in range(3):\n    model(batch(n))\n    seen.append(repr(ROWS))",
    "for n in range(3):\n    model(batch(n))\n    look()",
    "model(batch(0))\nlook()\nmodel(batch(1))",
    "model(batch(0))\nbefore = list(ROWS)\nmodel(batch(1))\nseen.append(before)",
    "model(batch(0)); model(batch(1))",
    "with torch.no_grad():\n    model(batch(0))\nmodel(batch(1))",
    "n = 0\nwhile True:\n    model(batch(n))\n    n += 1\n    if n > 2:\n        break",
    "go = lambda n: model(batch(n))\ngo(0)\ngo(1)",
    "outputs = [model(batch(n)) for n in range(2)]",
    "try:\n    model(batch(0))\nfinally:\n    seen.append('done')",
    "if seen == []: model(batch(0))",
    "def once(n):\n    return model(batch(n))\nonce(0)\nlook()\nonce(1)",
    "view = ROWS\nfor n in range(2):\n    model(batch(n))\n    json.dumps(list(view), default=str)",
)
# A second hook, on the whole model, that looks at the container in the pass.
WATCHES = ("", "", "", "seen.append(len(ROWS))", "look()", "seen.append(type(last(ROWS)).__name__)")
REMOVALS = ("", "for handle in handles:\n    handle.remove()", "while handles: handles.pop().remove()")
PLACES = ("closure", "class", "global", "conditional")


class Program(NamedTuple):
    name: str
    text: str


def program(seed: int) -> Program:
    draw = random.Random(seed)
    place = draw.choice(PLACES)
    kind = draw.choice([*KEEPS])
    rows = {"closure": "rows", "class": "self.rows", "global": "rows", "conditional": "self.rows"}[place]
    method = place in ("class", "conditional")
    parts: dict[str, str] = {
        "body": _hook(draw, kind, rows, method),
        "watch": draw.choice(WATCHES).replace("ROWS", rows),
        "run": draw.choice(RUNS).replace("ROWS", "probe.rows" if method else "rows"),
        "removal": draw.choice(REMOVALS),
        "made": MADE[kind],
    }
    return Program(f"generated_{seed}", HEAD + _COMMON + _SHAPES[place](parts))


def _hook(draw: random.Random, kind: str, rows: str, method: bool) -> str:
    read = draw.choice(READS)
    value = draw.choice(LISTS if "tolist" in read else NUMBERS).format(read=read)
    keep = draw.choice(KEEPS[kind])
    if not keep.startswith("try"):
        value = value.replace("/ count", "/ (count + 1)")
    keep = keep.replace("VALUE", value).replace("ROWS", rows)
    lines = [
        "name = type(m).__name__",
        f"count = len({rows})",
        "scale, limit, spare = " + ("self.scale" if method else "2.0") + ", 1.5, [0.5, 1.0]",
        keep,
        draw.choice(AFTERWARDS),
    ]
    return "\n".join(line for line in lines if line)


_COMMON = """

@dataclasses.dataclass
class Row:
    name: str
    value: object


def stat(t):
    return t.norm().item()


def last(rows):
    return [*rows.values()][-1] if isinstance(rows, dict) else rows[-1]


def batch(n):
    return torch.randn(2, 4, generator=torch.Generator().manual_seed(n)).to(DEVICE)


def layers():
    torch.manual_seed(1)
    random.seed(1)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).to(DEVICE)


def text(rows):
    return json.dumps([*rows.items()] if isinstance(rows, dict) else [*rows], default=vars)

"""


def _closure(parts: Mapping[str, str], shared: bool = False) -> str:
    made = f"rows = {parts['made']}\nseen = []\n\n\n" if shared else ""
    inner = "rows.clear()\nseen.clear()\n" if shared else f"rows = {parts['made']}\nseen = []\n"
    hook = f"def hook(m, a, o):\n{_in(parts['body'])}\n"
    look = "def look():\n    seen.append(text(rows))\n"
    watch = f"def watch(m, a, o):\n{_in(parts['watch'])}\n" if parts["watch"] else ""
    attach = "model = layers()\nhandles = [layer.register_forward_hook(hook) for layer in model]\n"
    attach += "handles.append(model.register_forward_hook(watch))\n" if watch else ""
    run = f"{attach}{parts['run']}\n{parts['removal']}\nreturn rows, seen\n"
    if shared:
        body = f"global rows\n{inner}" if "ROWS +=" in parts["body"] else inner
        whole = f"{made}{hook}\n\n{look}\n\n{watch}\n\ndef run():\n{_in(body + run)}"
        return whole.replace("def hook(m, a, o):\n", "def hook(m, a, o):\n    global rows\n")
    hook = hook.replace("def hook(m, a, o):\n", "def hook(m, a, o):\n    nonlocal rows\n")
    return f"def run():\n{_in(inner + hook + look + watch + run)}"


def _class(parts: Mapping[str, str], conditional: bool = False) -> str:
    begin = f"self.scale = 2.0\nself.rows = {parts['made']}\nself.seen = seen\n"
    register = "self.handles = [layer.register_forward_hook(self.hook) for layer in model]\n"
    register += "self.handles.append(model.register_forward_hook(self.watch))\n" if parts["watch"] else ""
    if conditional:
        begin = f"self.scale = 2.0\nself.seen = seen\nself.handles = []\nif watched:\n{_in(begin + register)}"
    else:
        begin += register
    watch = parts["watch"].replace("seen.", "self.seen.").replace("look()", "self.look()")
    methods = [
        f"def __init__(self, model, seen, watched=True):\n{_in(begin)}",
        f"def hook(self, m, a, o):\n{_in(parts['body'])}",
        "def look(self):\n    self.seen.append(text(self.rows))",
        *([f"def watch(self, m, a, o):\n{_in(watch)}"] if watch else []),
        "def close(self):\n    for handle in self.handles:\n        handle.remove()",
    ]
    run = parts["run"].replace("look()", "probe.look()")
    close = "probe.close()\n" if parts["removal"] else ""
    body = f"model = layers()\nseen = []\nprobe = Probe(model, seen)\n{run}\n{close}return probe.rows, seen\n"
    more = ""
    if conditional:
        more = "\n\ndef unwatched():\n    model = layers()\n    probe = Probe(model, [], watched=False)\n"
        more += "    model(batch(0))\n    return sorted(vars(probe))\n"
        body = body.replace("return probe.rows, seen", "return probe.rows, seen, unwatched()")
    return "class Probe:\n" + "\n\n".join(_in(each) for each in methods) + f"\n{more}\n\ndef run():\n{_in(body)}"


def _in(text: str) -> str:
    return textwrap.indent(text, "    ")


_SHAPES: dict[str, Callable[[Mapping[str, str]], str]] = {
    "closure": _closure,
    "global": lambda parts: _closure(parts, shared=True),
    "class": _class,
    "conditional": lambda parts: _class(parts, conditional=True),
}


# What the fixer makes of them


def _patterns() -> Any:
    specification = importlib.util.spec_from_file_location("patterns_of_hooks", PATTERNS)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module
    specification.loader.exec_module(module)
    return module


FLAGS = {"naive": [], "safe": ["--fix"], "unsafe": ["--fix", "--unsafe-fixes"]}


class Made(NamedTuple):
    """All programs of one kind: their texts, those after a second fix, the findings, and what they gave."""

    texts: dict[str, str]
    again: dict[str, str]
    findings: dict[str, list[dict[str, Any]]]
    outcomes: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    pytest.importorskip("torch", reason="the programs run models")
    return {kind: _made(kind, tmp_path_factory.mktemp(kind)) for kind in FLAGS}


def _made(kind: str, folder: Path) -> Made:
    programs = [program(seed) for seed in range(FIRST, FIRST + PROGRAMS)]
    for each in programs:
        (folder / each.name).mkdir()
        (folder / each.name / "pyproject.toml").write_text(f'[project]\nname = "{each.name}"\nversion = "0"\n')
        (folder / each.name / f"{each.name}.py").write_text(each.text)
    paths = {each.name: folder / each.name / f"{each.name}.py" for each in programs}

    def texts() -> dict[str, str]:
        return {name: path.read_text() for name, path in paths.items()}

    def auditlint(*flags: str) -> str:
        command = [sys.executable, "-m", "auditlint", *flags, "--no-cache", "--jobs", "1", "--exit-zero", "."]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True).stdout

    if FLAGS[kind]:
        auditlint(*FLAGS[kind])
    first = texts()
    findings: dict[str, list[dict[str, Any]]] = {name: [] for name in paths}
    for finding in json.loads(auditlint("--output-format", "json")):
        findings[Path(finding["filename"]).stem].append(finding)
    if FLAGS[kind]:
        auditlint(*FLAGS[kind])
    report = folder / "outcomes.json"
    command = [sys.executable, "-W", "ignore", str(PATTERNS), "simulated", str(report), *map(str, paths.values())]
    done = subprocess.run(
        command, env={**os.environ, "AUDIT_DEVICE": "cuda"}, capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr
    names = ("data", "rows", "waits", "error")
    outcomes = {name: dict(zip(names, fields, strict=True)) for name, fields in json.loads(report.read_text()).items()}
    return Made(first, texts(), findings, outcomes)


every_program = pytest.mark.parametrize("name", [f"generated_{seed}" for seed in range(FIRST, FIRST + PROGRAMS)])


@every_program
def test_the_program_runs_as_it_is(name: str, made: dict[str, Made]) -> None:
    assert not made["naive"].outcomes[name]["error"]


@every_program
def test_a_safe_fix_changes_no_value(name: str, made: dict[str, Made]) -> None:
    ast.parse(made["safe"].texts[name], feature_version=(3, 10))
    naive, fixed = made["naive"].outcomes[name], made["safe"].outcomes[name]
    assert fixed["error"] == naive["error"]
    # Where nobody removes the hooks, a number may still be a `Deferred`, which reads as the number.
    assert not _patterns().difference(naive["data"], _patterns().read(fixed["data"]))
    # Each is a number of waiting calls; a fix of one read must not make two.
    assert sum(fixed["rows"].values()) <= sum(naive["rows"].values())
    assert fixed["waits"] <= naive["waits"]


@every_program
def test_a_safe_fix_removes_its_findings(name: str, made: dict[str, Made]) -> None:
    assert made["safe"].again[name] == made["safe"].texts[name]
    left = [one for one in made["safe"].findings[name] if (one.get("fix") or {}).get("applicability") == "safe"]
    assert not left
    safe = sum((one.get("fix") or {}).get("applicability") == "safe" for one in made["naive"].findings[name])
    assert len(made["safe"].findings[name]) <= len(made["naive"].findings[name]) - safe


@every_program
def test_an_unsafe_fix_gives_a_program_that_is_not_fixed_again(name: str, made: dict[str, Made]) -> None:
    ast.parse(made["unsafe"].texts[name], feature_version=(3, 10))
    assert made["unsafe"].again[name] == made["unsafe"].texts[name]


def test_a_good_part_of_the_programs_has_safe_fixes(made: dict[str, Made]) -> None:
    changed = [name for name, text in made["safe"].texts.items() if text != made["naive"].texts[name]]
    assert len(changed) >= PROGRAMS // 6


if __name__ == "__main__":
    print(program(int(sys.argv[1])).text)
