"""How long auditlint takes, as ratios to other tools on the same files in the same session.

    python benchmarks/lint_speed.py --download              fetch and unpack the wheels named below, then measure
    python benchmarks/lint_speed.py FOLDER                  measure on a folder of unpacked wheels
    python benchmarks/lint_speed.py FOLDER --with-flake8    flake8 with and without the plugin as well; takes long

Commands that are compared run by turns, in an order that is reversed each time, so that a machine that grows slower
or faster meets all of them. A ratio is one of medians; the range behind it is that of the ratios of single rounds.
Everything is run once before it is measured: files are then read from memory, byte code is compiled, and the warm
cache is filled. What is not installed is left out, and said to be.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

WHEELS = ("transformers==5.23.0", "accelerate==1.15.0", "captum==0.9.0")
FLAKE8_ONLY = Path(__file__).with_name("flake8_only.py")
FLAKE8_OWN = "flake8,pycodestyle,pyflakes,mccabe"
# What `ru_maxrss` counts in.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Unusable(Exception):
    """A command that cannot be measured; the message says why."""


class Run(NamedTuple):
    """One run of a command: wall time in seconds, and the memory of its largest process in bytes."""

    seconds: float
    memory: int


class Runs(NamedTuple):
    """The runs of one command, one for each round."""

    all: tuple[Run, ...]

    @property
    def median(self) -> float:
        return statistics.median(run.seconds for run in self.all)

    @property
    def memory(self) -> int:
        return max(run.memory for run in self.all)


def main() -> int:
    args = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="auditlint-bench-") as scratch:
        try:
            tree = _tree(args.tree, args.download, Path(scratch))
            tools = Tools(args, Path(scratch))
            for line in _report(tree, tools, args):
                print(line, flush=True)
        except Unusable as error:
            print(f"lint_speed: error: {error}", file=sys.stderr)
            return 2
    return 0


class Tools:
    """The commands to compare, and how each is asked to lint a folder."""

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self.python: list[str] = shlex.split(args.python)
        self.auditlint = _command(args.auditlint, "auditlint") or [*self.python, "-m", "auditlint"]
        self.ruff = _command(args.ruff, "ruff")
        self.torchfix = _command(args.torchfix, "torchfix")
        self.verbose: bool = args.verbose
        # Where a variable names the place of caches, the cache of these runs is thrown away with them.
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(scratch), "LOCALAPPDATA": str(scratch)}

    def cold(self, folder: Path) -> list[str]:
        return [*self.auditlint, "--isolated", "--no-cache", str(folder)]

    def warm(self, folder: Path) -> list[str]:
        return [*self.auditlint, "--isolated", str(folder)]

    def ruff_pyflakes(self, folder: Path) -> list[str]:
        return [*self.ruff, "check", "--no-cache", "--isolated", "--select", "F", str(folder)]

    def flake8(self, plugins: str, folder: Path) -> list[str]:
        command = [*self.python, str(FLAKE8_ONLY), plugins, "--", "--isolated", "--exit-zero", str(folder)]
        return [*command, "--auditlint-isolated", "--auditlint-no-cache"] if "auditlint" in plugins else command

    def measure(self, commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Runs]:
        """The runs of each command, interleaved, after one round that is not counted."""
        for command in commands.values():
            _try(command, self.environment)
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for number in range(rounds):
            order = list(commands)[:: -1 if number % 2 else 1]
            for name in order:
                run = _run(commands[name], self.environment)
                runs[name].append(run)
                if self.verbose:
                    print(f"  {name}: {run.seconds:.3f} s, {_megabytes(run.memory)}", file=sys.stderr, flush=True)
        return {name: Runs(tuple(found)) for name, found in runs.items()}


def _report(tree: Path, tools: Tools, args: argparse.Namespace) -> Iterator[str]:
    files = sum(1 for _ in tree.rglob("*.py"))
    versions = [_version(tools.auditlint), _version(tools.ruff), _version(tools.torchfix), _version(tools.python)]
    yield f"{', '.join(filter(None, versions))}; {platform.system()}, {os.cpu_count()} cores"
    yield f"{files:,} Python files; medians of {args.runs} interleaved rounds ({args.slow_runs} for the slow ones)"
    yield ""
    yield from _whole_tree(tree, tools, args.runs)
    yield from _start(tools, args.runs)
    package = tree if tree.name == args.package else tree / args.package
    yield from _torchfix(package, tools, args.slow_runs)
    if args.with_flake8:
        yield from _flake8(tree, tools, args.slow_runs)


def _whole_tree(tree: Path, tools: Tools, rounds: int) -> Iterator[str]:
    commands = {"auditlint": tools.cold(tree), "auditlint, warm": tools.warm(tree)}
    if tools.ruff:
        commands["ruff"] = tools.ruff_pyflakes(tree)
    runs = tools.measure(commands, rounds)
    if "ruff" in runs:
        yield _ratio("auditlint without cache / ruff --select F", runs["auditlint"], runs["ruff"])
    else:
        yield _left_out("auditlint without cache / ruff --select F", "ruff is not installed")
    yield _ratio("auditlint with a warm cache / without cache", runs["auditlint, warm"], runs["auditlint"])
    if runs["auditlint"].memory:
        yield f"{'peak memory without cache, largest process':<48}{_megabytes(runs['auditlint'].memory):>9}"
    else:
        yield _left_out("peak memory without cache", "this system does not tell")


def _start(tools: Tools, rounds: int) -> Iterator[str]:
    commands = {"version": [*tools.auditlint, "--version"], "pass": [*tools.python, "-c", "pass"]}
    # These take so little that a few rounds say nothing.
    runs = tools.measure(commands, max(rounds, 20))
    yield _ratio("auditlint --version / python -c pass", runs["version"], runs["pass"])


def _torchfix(folder: Path, tools: Tools, rounds: int) -> Iterator[str]:
    label = f"torchfix / auditlint without cache, on {folder.name}"
    if not tools.torchfix:
        yield _left_out(label, "torchfix is not installed")
    elif not folder.is_dir():
        yield _left_out(label, f"there is no {folder.name} in the folder")
    else:
        runs = tools.measure({"torchfix": [*tools.torchfix, str(folder)], "auditlint": tools.cold(folder)}, rounds)
        yield _ratio(label, runs["torchfix"], runs["auditlint"])


def _flake8(tree: Path, tools: Tools, rounds: int) -> Iterator[str]:
    with_plugin = tools.flake8(f"{FLAKE8_OWN},auditlint", tree)
    runs = tools.measure({"with": with_plugin, "without": tools.flake8(FLAKE8_OWN, tree)}, rounds)
    yield _ratio("flake8 with the plugin, no cache / without it", runs["with"], runs["without"])


def _ratio(label: str, one: Runs, other: Runs) -> str:
    rounds = [mine.seconds / theirs.seconds for mine, theirs in zip(one.all, other.all, strict=True)]
    return f"{label:<48}{_number(one.median / other.median):>9}  ({_number(min(rounds))} to {_number(max(rounds))})"


def _number(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def _left_out(label: str, why: str) -> str:
    return f"{label:<48}{'-':>9}  ({why})"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a command, its output thrown away. Raises Unusable when it cannot be started or fails."""
    started = time.perf_counter()
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    except OSError as error:
        raise Unusable(f"{shlex.join(command)}: {error.strerror}") from None
    memory = _wait(process)
    seconds = time.perf_counter() - started
    if process.returncode not in (0, 1):
        raise Unusable(f"{shlex.join(command)} ended with status {process.returncode}")
    return Run(seconds, memory)


def _try(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command once. Raises Unusable when it fails: status 1 means findings, but only where some are printed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            status = subprocess.run(command, stdout=output, stderr=errors, env=environment).returncode
        except OSError as error:
            raise Unusable(f"{shlex.join(command)}: {error.strerror}") from None
        if status == 0 or (status == 1 and output.tell()):
            return
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()
    raise Unusable(f"{shlex.join(command)} ended with status {status}\n{said[-2000:]}")


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; the peak memory, in bytes, of the largest one among it and its children, 0 if unknown."""
    if not hasattr(os, "wait4"):
        process.wait()
        return 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return int(usage.ru_maxrss) * RSS_UNIT


def _command(given: str | None, name: str) -> list[str]:
    """The command as given; else the one beside this Python, else the one on the path; empty when there is none."""
    if given is not None:
        return shlex.split(given)
    folder = os.path.dirname(sys.executable)
    found = shutil.which(name, path=folder) or shutil.which(name)
    return [found] if found else []


def _version(command: Sequence[str]) -> str:
    if not command:
        return ""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    except OSError as error:
        raise Unusable(f"{shlex.join(command)}: {error.strerror}") from None
    words = (done.stdout or done.stderr).split()
    # Some tools give their name and their version, others the version alone.
    return " ".join(words[:2]) if words and words[0].isalpha() else f"{Path(command[0]).name} {''.join(words[:1])}"


def _tree(given: str | None, download: bool, scratch: Path) -> Path:
    """The folder to measure on, fetched first where asked for. Raises Unusable when there is none."""
    if not download:
        if given is None:
            raise Unusable("name a folder of unpacked wheels, or ask for --download")
        if not Path(given).is_dir():
            raise Unusable(f"{given}: no such folder")
        return Path(given).resolve()
    tree = Path(given).resolve() if given is not None else scratch / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    if any(tree.iterdir()):
        raise Unusable(f"{tree} is not empty; --download unpacks into a new folder")
    wheels = scratch / "wheels"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    if subprocess.run([*fetch, "--dest", str(wheels), *WHEELS]).returncode:
        raise Unusable("the wheels could not be downloaded")
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tree)
    return tree


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lint_speed", description="auditlint's speed, as ratios to other tools.")
    add = parser.add_argument
    add("tree", nargs="?", metavar="FOLDER", help="a folder of unpacked wheels")
    add("--download", action="store_true", help=f"fetch {', '.join(WHEELS)} and unpack them, into FOLDER where given")
    add("--runs", type=_positive, default=7, metavar="N", help="rounds for each comparison (default: 7)")
    add("--slow-runs", type=_positive, default=3, metavar="N", help="rounds with torchfix and flake8 (default: 3)")
    add("--package", default="captum", metavar="NAME", help="the part of the folder for torchfix (default: captum)")
    add("--with-flake8", action="store_true", help="measure flake8 with and without the plugin")
    add("--python", default=shlex.quote(sys.executable), metavar="COMMAND", help="default: the one that runs this")
    for name in ("auditlint", "ruff", "torchfix"):
        add(f"--{name}", metavar="COMMAND", help="default: the one beside the Python, or on the path")
    add("--verbose", "-v", action="store_true", help="also print the time and memory of each run, to standard error")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of rounds: {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
