"""What `auditlint --fix --unsafe-fixes` makes of whole packages, each in a copy.

    python benchmarks/fix_packages.py --download captum==0.9.0 inseq     fetch and unpack the wheels, then fix copies
    python benchmarks/fix_packages.py FOLDER FOLDER                      folders of packages that are at hand

For each package: its definite findings of the rules AUD101 to AUD108, how many of them have a safe fix, an unsafe one,
none; how many files change, and whether they still compile; whether statements changed elsewhere (see `strange`), and
whether a second run changes anything.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from auditlint import fixes
from auditlint.diagnostics import Diagnostic
from auditlint.linter import Options, lint

FIX = ("-m", "auditlint", "--isolated", "--no-cache", "--exit-zero", "--fix", "--unsafe-fixes")
# Names that fixes write, and the modules that they import.
WRITTEN = re.compile(
    r"\b(defer|derive|defer_call|finalize|flush|detach|clone|\w+_to)\(|functools\.cache\(|@.*outside_graph"
)
IMPORTED = ("auditlint.defer", "functools", "time")


class Unusable(Exception):
    """A package that cannot be fetched or read; the message says why."""


class Outcome(NamedTuple):
    """What fixing one package led to. `fixed` counts the definite findings by "safe", "unsafe" and "none"."""

    package: str
    fixed: Counter[str]
    changed: int
    broken: list[str]
    strange: list[str]
    stable: bool
    linting: float
    planning: float
    reasons: Counter[str]


def main() -> int:
    args = _parser().parse_args()
    outcomes: list[Outcome] = []
    print(f"{'package':<42}{'findings':>9}{'safe':>6}{'unsafe':>8}{'none':>6}{'files':>7}", end="  ")
    print(f"{'compiles':<10}{'elsewhere':<11}again")
    with tempfile.TemporaryDirectory(prefix="auditlint-fix-") as scratch:
        for number, package in enumerate(args.packages):
            copy = Path(scratch, str(number))
            try:
                name = _fetched(package, copy) if args.download else _copied(Path(package), copy)
            except Unusable as error:
                print(f"fix_packages: error: {error}", file=sys.stderr)
                return 2
            outcome = examined(name, copy)
            outcomes.append(outcome)
            print(_row(outcome), flush=True)
            for line in (*outcome.broken, *outcome.strange):
                print(f"    {line}")
            shutil.rmtree(copy)
    print(_summary(outcomes))
    if args.reasons:
        for reason, count in sum((one.reasons for one in outcomes), Counter[str]()).most_common():
            print(f"{count:>5}  {reason}")
    return int(any(one.broken or one.strange or not one.stable for one in outcomes))


def examined(name: str, tree: Path) -> Outcome:
    """Fix the package in `tree`, and look at what became of it."""
    started = time.perf_counter()
    result = lint([str(tree)], isolated=True, options=Options(cache=False))
    linted = time.perf_counter()
    fixes.planned(result, edits=False)
    planned = time.perf_counter()
    # Some fixes turn out to be impossible when their edits are made.
    found = [item for item in fixes.planned(result, edits=True).diagnostics if _counts(item)]
    before = {path: path.read_bytes() for path in sorted(tree.rglob("*.py"))}
    _fix(tree)
    after = {path: path.read_bytes() for path in before}
    changed = [path for path in before if before[path] != after[path]]
    steps = {(os.path.abspath(step.filename), step.name) for item in result.diagnostics for step in item.path}
    _fix(tree)
    return Outcome(
        name,
        Counter(item.fix.applicability if item.fix else "none" for item in found),
        len(changed),
        [f"{path.relative_to(tree)}: {error}" for path in changed if (error := _error(after[path], path))],
        [
            f"{path.relative_to(tree)}: {line}"
            for path in changed
            for line in strange(before[path], after[path], {name for file, name in steps if file == str(path)})
        ],
        all(path.read_bytes() == after[path] for path in before),
        linted - started,
        planned - linted,
        Counter(re.sub(r"`[^`]*`", "`...`", item.unfixed) for item in found if item.fix is None),
    )


def _counts(item: Diagnostic) -> bool:
    return item.code.startswith("AUD1") and item.confidence == "definite"


def _fix(tree: Path) -> None:
    subprocess.run([sys.executable, *FIX, str(tree)], check=True, stdout=subprocess.DEVNULL)


def _error(data: bytes, path: Path) -> str:
    try:
        compile(data, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""


def strange(before: bytes, after: bytes, functions: set[str]) -> Iterator[str]:
    """The statements that changed without need.

    A fix may write what defers and finalizes, import that, keep the value of a `return`, and take out what it writes
    that for. Everything else is found by comparing the statements one by one.
    """
    functions = {name.rpartition(".")[2] for name in functions}
    old, new = _statements(ast.parse(before)), _statements(ast.parse(after))
    compared = difflib.SequenceMatcher(None, [one.text for one in old], [one.text for one in new], autojunk=False)
    places = [place for place in compared.get_opcodes() if place[0] != "equal"]
    values = {one.text.removeprefix("return ") for place in places for one in old[place[1] : place[2]]}
    # `return model(x)` becomes an assignment, a finalizer and a return.
    names = {name for one in new for name, _, value in [one.text.partition(" = ")] if value in values}
    for _, first, last, start, end in places:
        removed, added = old[first:last], new[start:end]
        written = [one for one in added if _is_written(one.text) or _hands_on(one.text, values, names)]
        yield from (f"added: {one.text}" for one in added if one not in written and one.text != "pass")
        if len(removed) > len(written):
            # More than was exchanged for something that defers: calls that are left out, in functions with findings.
            yield from (f"removed: {one.text}" for one in removed if not set(one.functions) & functions)


def _hands_on(text: str, values: set[str], names: set[str]) -> bool:
    """Whether a statement binds what was returned to a name, or returns that name."""
    name, _, value = text.partition(" = ")
    return (name in names and value in values) or text.removeprefix("return ") in names


class _Statement(NamedTuple):
    """A simple statement or the head of a compound one, with the names of the functions around it."""

    text: str
    functions: tuple[str, ...]


def _statements(tree: ast.AST, around: tuple[str, ...] = ()) -> list[_Statement]:
    found: list[_Statement] = []
    for node in ast.iter_child_nodes(tree):
        functions = (*around, node.name) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else around
        if isinstance(node, ast.stmt):
            found.append(_Statement(_head(node), functions))
        if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            found += _statements(node, functions)
    return found


def _head(node: ast.stmt) -> str:
    text = ast.unparse(node)
    if not getattr(node, "body", None):
        return text
    return "\n".join(text.splitlines()[: 1 + len(getattr(node, "decorator_list", ()))])


def _is_written(text: str) -> bool:
    if text.startswith(("import ", "from ")):
        return any(module in text for module in IMPORTED)
    return WRITTEN.search(text) is not None


def _fetched(requirement: str, tree: Path) -> str:
    """Download and unpack a wheel; returns the package's name and version."""
    wheels = tree.with_suffix(".wheels")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    if subprocess.run([*fetch, "--dest", str(wheels), requirement]).returncode:
        raise Unusable(f"{requirement} could not be downloaded")
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree)
    return " ".join(wheel.name.split("-")[:2])


def _copied(folder: Path, tree: Path) -> str:
    """Copy a folder's Python files; returns its name, and its version where it tells."""
    if not folder.is_dir():
        raise Unusable(f"{folder}: no such folder")
    home = tree / folder.name if (folder / "__init__.py").exists() else tree
    shutil.copytree(folder, home, ignore=_only_python)
    inside = next(folder.glob("*.dist-info"), None)
    return " ".join(inside.name.removesuffix(".dist-info").split("-")[:2]) if inside else folder.resolve().name


def _only_python(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if not name.endswith(".py") and not os.path.isdir(os.path.join(folder, name))]


def _row(one: Outcome) -> str:
    fixed = one.fixed
    return (
        f"{one.package:<42}{fixed.total():>9}{fixed['safe']:>6}{fixed['unsafe']:>8}{fixed['none']:>6}{one.changed:>7}  "
        f"{'no' if one.broken else 'yes':<10}{len(one.strange) or 'nothing':<11}"
        f"{'nothing' if one.stable else 'changes'}"
    )


def _summary(outcomes: Iterable[Outcome]) -> str:
    outcomes = list(outcomes)
    fixed = sum((one.fixed for one in outcomes), Counter[str]())
    have = fixed["safe"] + fixed["unsafe"]
    share = f" ({have / fixed.total():.0%})" if fixed.total() else ""
    planning, linting = sum(one.planning for one in outcomes), sum(one.linting for one in outcomes)
    half = sum(1 for one in outcomes if 2 * (one.fixed["safe"] + one.fixed["unsafe"]) >= one.fixed.total() > 0)
    with_any = sum(1 for one in outcomes if one.fixed.total())
    return (
        f"{len(outcomes)} packages: {have} of {fixed.total()} definite findings have a fix{share}; "
        f"at least half of them in {half} of {with_any} packages that have any\n"
        f"planning fixes took {planning / linting:.0%} of the time of linting"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fix_packages", description="What fixing makes of whole packages.")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="a folder; with --download a requirement")
    parser.add_argument("--download", action="store_true", help="fetch wheels with pip, and unpack them")
    parser.add_argument("--reasons", action="store_true", help="also print why findings have no fix, with counts")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
