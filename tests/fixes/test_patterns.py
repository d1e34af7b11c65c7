"""Hooks of real packages, written anew: linted, fixed, and run before and after on the CPU and the simulated device.

Each line with a finding in fixtures/fixes/patterns says what becomes of it: `# safe` (fixed by `--fix`), `# unsafe`
(by `--unsafe-fixes` only) or `# none`. Each program has a `run()` that returns all that it has captured, printed and
written.

As a program, `python test_patterns.py BACKEND OUTCOME FILE...` runs the files and writes what they gave as JSON.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import dataclasses
import difflib
import importlib.util
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PATTERNS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "fixtures/fixes/patterns").glob("*.py"))}
FLAGS = {
    "naive": [],
    "safe": ["--fix"],
    "unsafe": ["--fix", "--unsafe-fixes"],
    "plain": ["--fix", "--unsafe-fixes"],
}
FIXED_BY = {"naive": set(), "safe": {"safe"}, "unsafe": {"safe", "unsafe"}}
DEVICES = {"cpu": "cpu", "simulated": "cuda"}
# A vector that was moved to the device on every call is moved on the first one.
FIRST_CALLS = {"steering_vector": 1}
# How the CPU backend marks a tensor that is a copy on the host.
HOST_TENSOR = "auditlint.runtime.backends.cpu.HostTensor"
DEFERRED = "auditlint.defer.deferred.Deferred"
# Where the container has no name at the place to finalize, values are read but stay wrapped: the fix says so.
WRAPPED = {"gradient_score", "hashed_inputs", "largest_on_module", "saved_outputs"}
# After the pass these read elements of a host copy, which the CPU backend cannot tell from a tensor on a device.
HOST_READS = {("lengths_as_lists", "cpu")}
MARK = re.compile(r"# (safe|unsafe|none)$")
SOURCE = re.compile(r'"""([\w-]+) (\d[\w.]*), ([^:]+): .+')

every_pattern = pytest.mark.parametrize("name", PATTERNS)
each_fix = pytest.mark.parametrize("fix", ["safe", "unsafe"])
each_backend = pytest.mark.parametrize("backend", DEVICES)

Findings = dict[str, list[dict[str, Any]]]


def marks(name: str) -> dict[int, str]:
    """Row -> what is expected of the findings there."""
    lines = enumerate(PATTERNS[name].read_text(encoding="utf-8").splitlines(), start=1)
    return {row: found.group(1) for row, line in lines if (found := MARK.search(line))}


def auditlint(folder: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "auditlint", *flags, "--no-cache", "--jobs", "1", "--exit-zero", "."]
    return process(command, cwd=folder)


class Variant(NamedTuple):
    """The programs of one folder: naive ones, or fixed ones; `again` are their texts after a second `--fix`."""

    folder: Path
    texts: dict[str, str]
    findings: Findings
    again: dict[str, str]

    def path(self, name: str) -> Path:
        return self.folder / name / f"{name}.py"

    def left(self, name: str, codes: tuple[str, ...]) -> Counter[tuple[str, str]]:
        """The findings with these codes, by the text of their lines."""
        lines = self.texts[name].splitlines()
        found = [(lines[each["location"]["row"] - 1].strip(), each["code"]) for each in self.findings[name]]
        return Counter(each for each in found if each[1].startswith(codes))


Get = Callable[[str], Variant]
Run = Callable[[str, str, str], "Outcome"]


@pytest.fixture(scope="session")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Get:
    """Gives the programs as they are ("naive"), or fixed."""
    return once(lambda kind: _made(kind, tmp_path_factory.mktemp(kind)))


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Remembers what `make` returned, or why it failed: nobody waits for the same failure a hundred times."""
    made: dict[tuple[str, ...], Any] = {}
    failed: dict[tuple[str, ...], str] = {}

    def get(*key: str) -> Any:
        if key not in made and key not in failed:
            try:
                made[key] = make(*key)
            except Failed as error:
                failed[key] = str(error)
        if key in failed:
            pytest.fail(failed[key], pytrace=False)
        return made[key]

    return get


class Failed(Exception):
    """A process that was to prepare something ended with this text."""


def process(command: list[str], **options: Any) -> str:
    """What a command writes to standard output; `Failed` if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)
    if done.returncode:
        raise Failed(f"{' '.join(command[:6])} ...: {done.stderr}")
    return done.stdout


def _made(kind: str, folder: Path) -> Variant:
    for name, path in PATTERNS.items():
        # A project of its own for each: nothing that one of them is called may matter to another.
        (folder / name).mkdir()
        project = f'[project]\nname = "{name.replace("_", "-")}"\nversion = "0"\n'
        style = '[tool.auditlint]\nfix-style = "plain"\n' if kind == "plain" else ""
        (folder / name / "pyproject.toml").write_text(project + style)
        (folder / name / path.name).write_bytes(path.read_bytes())
    if FLAGS[kind]:
        auditlint(folder, *FLAGS[kind])
    texts = _texts(folder)
    findings: Findings = {name: [] for name in PATTERNS}
    for finding in json.loads(auditlint(folder, "--output-format", "json")):
        findings[Path(finding["filename"]).stem].append(finding)
    if FLAGS[kind]:
        auditlint(folder, *FLAGS[kind])
    return Variant(folder, texts, findings, _texts(folder))


def _texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name / f"{name}.py").read_bytes().decode() for name in PATTERNS}


# What the linter finds and the fixer writes


def test_there_are_enough_hooks_of_enough_packages() -> None:
    sources = []
    for name, path in PATTERNS.items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        found = SOURCE.match(first)
        assert found, f"{name} does not say where its pattern comes from"
        sources.append(found.groups())
    assert len({(package, hook) for package, _, hook in sources}) >= 36
    assert len({package for package, *_ in sources}) >= 20
    expected = Counter(mark for name in PATTERNS for mark in marks(name).values())
    assert min(expected["safe"], expected["unsafe"], expected["none"]) >= 20


@every_pattern
def test_the_marked_lines_are_the_ones_with_findings(name: str, variant: Get) -> None:
    rows = {each["location"]["row"] for each in variant("naive").findings[name] if each["code"] < "AUD3"}
    assert rows == set(marks(name))
    ast.parse(PATTERNS[name].read_text(encoding="utf-8"), feature_version=(3, 10))


@each_fix
@every_pattern
def test_a_fix_removes_the_findings_that_it_should(name: str, fix: str, variant: Get) -> None:
    naive, fixed = variant("naive"), variant(fix)
    compile(fixed.texts[name], str(fixed.path(name)), "exec")
    ast.parse(fixed.texts[name], feature_version=(3, 10))
    kept = {line: mark for line, mark in _marked_lines(name) if mark not in FIXED_BY[fix]}
    before = naive.left(name, ("AUD1", "AUD2"))
    expected = Counter({key: count for key, count in before.items() if key[0] in kept})
    assert fixed.left(name, ("AUD1", "AUD2")) == expected
    # Deferring must not be done wrong in its turn.
    assert fixed.left(name, ("AUD3", "AUD9")) <= naive.left(name, ("AUD3", "AUD9"))


def _marked_lines(name: str) -> Iterator[tuple[str, str]]:
    lines = PATTERNS[name].read_text(encoding="utf-8").splitlines()
    yield from ((lines[row - 1].strip(), mark) for row, mark in marks(name).items())


@each_fix
@every_pattern
def test_fixing_again_changes_nothing(name: str, fix: str, variant: Get) -> None:
    assert variant(fix).again[name] == variant(fix).texts[name]


@each_fix
@every_pattern
def test_changes_stay_where_they_belong(name: str, fix: str, variant: Get) -> None:
    if not FIXED_BY[fix] & set(marks(name).values()):
        assert variant(fix).texts[name] == variant("naive").texts[name]
    assert not strayed(variant("naive").texts[name], variant(fix).texts[name], variant("naive").findings[name])
    assert comments(variant("naive").texts[name]) <= comments(variant(fix).texts[name])


def comments(text: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


def strayed(before: str, after: str, findings: list[dict[str, Any]]) -> list[str]:
    """Changed lines that are no import, no finalize point, in no statement of a finding and of no use of its value."""
    old, new = before.splitlines(), after.splitlines()
    tree = ast.parse(before)
    touched, bodies = _rows_of(tree, findings)
    wrong = []
    for what, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal" or re.search(r"\b(finalize|flush)\(", "\n".join(new[j1:j2])):
            continue
        wrong += [f"-{old[row]}" for row in range(i1, i2) if row + 1 not in touched and not _is_slight(old[row])]
        # Row i1 is the one before an insertion.
        if not {i1, i1 + 1} & (touched | bodies):
            wrong += [f"+{line}" for line in new[j1:j2] if not _is_slight(line)]
    return wrong


def _is_slight(line: str) -> bool:
    return not line.strip("()[]{}, ") or line.startswith(("import ", "from "))


def _rows_of(tree: ast.Module, findings: list[dict[str, Any]]) -> tuple[set[int], set[int]]:
    """The rows of statements that the findings' values pass through, and of the functions that those are in."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    statements = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    sites = {each["location"]["row"] for each in findings}
    sites |= {step["row"] for each in findings for step in each["path"]}
    around = [node for node in functions if any(row in _extent(node) for row in sites)]
    touched = {row for node in statements if (rows := _header(node)[0]) & sites for row in rows}
    names: set[str] = set()
    size = -1
    while size != len(touched) + len(names) + len(around):
        size = len(touched) + len(names) + len(around)
        for node in statements:
            rows, used = _header(node)
            if any(node.lineno in _extent(function) for function in around) and (rows & touched or used & names):
                touched |= rows
                names |= set(_stored(node))
                around += [each for each in _called(node, functions) if each not in around]
                names |= {
                    one.arg for each in _called(node, functions) for one in each.args.args[-2:] if one.arg != "self"
                }
    return touched, {row for function in around for row in _extent(function)}


def _stored(node: ast.stmt) -> Iterator[str]:
    """The variables, attributes and containers that a statement stores into."""
    for one in ast.walk(node):
        if isinstance(getattr(one, "ctx", None), ast.Store):
            yield ast.unparse(one.value if isinstance(one, ast.Subscript) else one)


def _called(node: ast.stmt, functions: list[Any]) -> list[ast.FunctionDef]:
    """The functions of the file that a statement calls by name."""
    called = {ast.unparse(one.func).rpartition(".")[2] for one in ast.walk(node) if isinstance(one, ast.Call)}
    return [each for each in functions if isinstance(each, ast.FunctionDef) and each.name in called]


def _header(node: ast.stmt) -> tuple[set[int], set[str]]:
    """The rows of a statement, of a compound one those of its header; and what a simple one reads."""
    body = getattr(node, "body", None)
    if body:
        return {*range(node.lineno, max(body[0].lineno, node.lineno + 1))}, set()
    used = {ast.unparse(one) for one in ast.walk(node) if isinstance(one, (ast.Name, ast.Attribute))}
    return {*_extent(node)}, used


def _extent(node: Any) -> range:
    return range(node.lineno, node.end_lineno + 1)


# What the programs compute, before and after


class Outcome(NamedTuple):
    """What one run of a program gave: its data in canonical form, waiting calls in hooks by row, and waits in all."""

    data: Any
    rows: dict[str, int]
    waits: int
    error: str

    @property
    def in_hooks(self) -> int:
        return sum(self.rows.values())


@pytest.fixture(scope="session")
def outcome(variant: Get, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Gives the outcome of a program of one variant on one backend; those of a variant and backend share a process."""
    pytest.importorskip("torch", reason="the programs run models")

    def run_all(backend: str, kind: str) -> dict[str, Outcome]:
        report = tmp_path_factory.mktemp("outcome") / "outcome.json"
        paths = [str(variant(kind).path(name)) for name in PATTERNS if kind == "naive" or changed(kind, name)]
        command = [sys.executable, "-W", "ignore", __file__, backend, str(report), *paths]
        process(command, env={**os.environ, "AUDIT_DEVICE": DEVICES[backend]})
        return {name: Outcome(*fields) for name, fields in json.loads(report.read_text()).items()}

    def changed(kind: str, name: str) -> bool:
        return bool(variant(kind).texts[name] != variant("naive").texts[name])

    outcomes = once(run_all)
    return lambda backend, kind, name: outcomes(backend, kind if changed(kind, name) else "naive")[name]


@each_backend
@every_pattern
def test_the_naive_program_waits_at_its_marked_lines(name: str, backend: str, outcome: Run) -> None:
    naive = outcome(backend, "naive", name)
    assert not naive.error
    if backend == "simulated":
        assert {str(row) for row in marks(name)} <= set(naive.rows)


@each_backend
@each_fix
@every_pattern
def test_the_fixed_program_computes_the_same(name: str, fix: str, backend: str, outcome: Run) -> None:
    naive, fixed = outcome(backend, "naive", name), outcome(backend, fix, name)
    assert not fixed.error
    wrapped = name in WRAPPED and fix == "unsafe"
    assert not difference(naive.data, read(fixed.data) if wrapped else fixed.data)
    assert bool(difference(naive.data, fixed.data)) == wrapped


@each_backend
@every_pattern
def test_the_program_fixed_in_plain_torch_computes_the_same_and_waits_less(
    name: str, backend: str, outcome: Run, variant: Get
) -> None:
    naive, fixed = outcome(backend, "naive", name), outcome(backend, "plain", name)
    assert not fixed.error
    assert not difference(naive.data, fixed.data)
    assert "auditlint" not in variant("plain").texts[name]
    assert variant("plain").again[name] == variant("plain").texts[name]
    if (name, backend) not in HOST_READS:
        assert fixed.waits <= naive.waits
    assert fixed.in_hooks <= naive.in_hooks


def test_the_plain_style_fixes_a_good_part_of_the_programs(variant: Get) -> None:
    changed = [name for name in PATTERNS if variant("plain").texts[name] != variant("naive").texts[name]]
    assert len(changed) >= 15


@each_backend
@each_fix
@every_pattern
def test_the_fixed_program_waits_less(name: str, fix: str, backend: str, outcome: Run) -> None:
    naive, fixed = outcome(backend, "naive", name), outcome(backend, fix, name)
    if (name, backend) not in HOST_READS:
        assert fixed.waits <= naive.waits
    assert fixed.in_hooks <= naive.in_hooks
    fixable = [row for row, mark in marks(name).items() if mark in FIXED_BY[fix]]
    removed = sum(naive.rows.get(str(row), 0) for row in fixable)
    assert fixed.in_hooks == naive.in_hooks - removed + min(removed, FIRST_CALLS.get(name, 0))
    if len(fixable) == len(marks(name)) and name not in FIRST_CALLS:
        assert fixed.in_hooks == 0


def test_the_comparison_tells_apart_what_is_not_the_same() -> None:
    torch = pytest.importorskip("torch", reason="compares tensors")
    numpy = pytest.importorskip("numpy")
    from auditlint.defer import defer

    value = {"a": [1.0, (2, "x")], "b": torch.ones(2, 1)}
    assert not difference(canonical(value), canonical({"a": [1.0, (2, "x")], "b": torch.ones(2, 1)}))
    others = [
        {"a": [1.0 + 2**-52, (2, "x")], "b": torch.ones(2, 1)},
        {"a": [1, (2, "x")], "b": torch.ones(2, 1)},
        {"a": [numpy.float64(1.0), (2, "x")], "b": torch.ones(2, 1)},
        {"a": [defer(torch.ones(())), (2, "x")], "b": torch.ones(2, 1)},
        {"a": [1.0, [2, "x"]], "b": torch.ones(2, 1)},
        {"a": [1.0, (2, "x")], "b": torch.ones(2)},
        {"a": [1.0, (2, "x")], "b": torch.ones(2, 1, dtype=torch.float64)},
        {"a": [1.0, (2, "x")], "b": numpy.ones((2, 1), dtype="float32")},
        {"a": [1.0, (2, "x")], "b": defer(torch.ones(2, 1), as_="cpu")},
        {"a": [1.0, (2, "x")], "b": torch.ones(2, 1, requires_grad=True)},
        {"b": torch.ones(2, 1), "a": [1.0, (2, "x")]},
        {"a": [1.0], "b": torch.ones(2, 1)},
    ]
    found = [difference(canonical(value), canonical(other)) for other in others]
    assert all(found)
    assert found[0] == "result/0/1/0: ['float', '3ff0000000000000'] is ['float', '3ff0000000000001']"
    assert not difference(canonical([float("nan"), -0.0]), canonical([float("nan"), -0.0]))
    assert difference(canonical([0.0]), canonical([-0.0]))
    assert not difference(canonical([1.0]), read(canonical([defer(torch.ones(()))])))
    assert difference(canonical([1.0]), read(canonical([defer(torch.zeros(()))])))


def difference(one: Any, other: Any, where: str = "result") -> str:
    """Where two canonical forms part, "" if nowhere. Forms are lists whose first element is the type's name."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and one[:1] == other[:1]:
        nested = [number for number, part in enumerate(one) if isinstance(part, list)]
        if nested and all(one[n] == other[n] for n in range(len(one)) if n not in nested):
            return next((text for n in nested if (text := difference(one[n], other[n], f"{where}/{n - 1}"))), "")
    return "" if one == other else f"{where}: {one} is {other}"


def canonical(value: Any) -> Any:
    """A value as lists and strings that JSON keeps: with exact types, and floats and arrays by their bytes.

    Nothing is read through: of a type that is not known there is only the name.
    """
    import numpy
    import torch

    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if kind is float:
        return [name, struct.pack(">d", value).hex()]
    if value is None or kind in (bool, int, str, bytes):
        return [name, repr(value)]
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return [name, value.dtype.str, repr(value.shape), value.tobytes().hex()]
    if name in ("torch.Tensor", HOST_TENSOR) and value.device.type == "cpu":
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes().hex()
        return ["torch.Tensor", str(value.dtype), repr(tuple(value.shape)), repr(value.requires_grad), data]
    if kind in (dict, collections.defaultdict, collections.OrderedDict):
        return [name, *([".pair", canonical(key), canonical(part)] for key, part in value.items())]
    if isinstance(value, (list, tuple, collections.deque)):
        return [name, *map(canonical, value)]
    if dataclasses.is_dataclass(value):
        return [name, *(canonical(getattr(value, field.name)) for field in dataclasses.fields(value))]
    if DEFERRED in [f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__]:
        return [DEFERRED, canonical(pickle.loads(pickle.dumps(value)))]
    return [name]


def read(form: Any) -> Any:
    """A canonical form with plain values in the place of deferred ones."""
    if not isinstance(form, list):
        return form
    return read(form[1]) if form[:1] == [DEFERRED] else [read(part) for part in form]


# What runs in a process of its own


def _run(backend: str, path: str) -> Outcome:
    from auditlint.runtime import count_syncs

    rows: Counter[str] = Counter()
    data, error = None, ""
    with count_syncs(backend) as counter:
        try:
            specification = importlib.util.spec_from_file_location(Path(path).stem, path)
            assert specification is not None and specification.loader is not None
            module = importlib.util.module_from_spec(specification)
            sys.modules[module.__name__] = module  # dataclasses look their module up
            specification.loader.exec_module(module)
            data = module.run()
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    for site in counter.report().sites:
        if site.hook is not None:
            rows[str(site.row)] += site.count
    return Outcome(canonical(data), dict(rows), counter.totals.raw, error)


def _work(backend: str, report: str, paths: Iterable[str]) -> None:
    import torch

    from auditlint.defer import flush

    torch.set_num_threads(1)
    outcomes = {}
    for path in paths:
        outcomes[Path(path).stem] = _run(backend, path)
        with contextlib.suppress(Exception):
            flush()  # what this program has forgotten is not for the next one
    Path(report).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    _work(*sys.argv[1:3], sys.argv[3:])
