"""The benchmark command runs, says what it left out, and does not pass off a failure as a measurement."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
PROJECT = {"pkg/__init__.py": "", "pkg/hook.py": "import torch\n"}


def _speed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "lint_speed.py"), "--runs", "1", "--slow-runs", "1"]
    return subprocess.run(
        [*command, "--auditlint", f"{sys.executable} -m auditlint", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_prints_ratios_and_says_what_is_missing(write: Write) -> None:
    done = _speed(str(write(PROJECT)), "--package", "pkg", "--torchfix", "", "--with-flake8")
    assert (done.returncode, done.stderr) == (0, "")
    head, rows = done.stdout.split("\n\n")
    assert "2 Python files" in head
    shown = [row[:48].strip() for row in rows.splitlines()]
    assert shown == [
        "auditlint without cache / ruff --select F",
        "auditlint with a warm cache / without cache",
        "peak memory without cache, largest process",
        "auditlint --version / python -c pass",
        "torchfix / auditlint without cache, on pkg",
        "flake8 with the plugin, no cache / without it",
    ]
    values = [row[48:].split()[0] for row in rows.splitlines()]
    assert values[4] == "-"
    assert all(float(value) > 0 for index, value in enumerate(values) if index != 4)


@pytest.mark.parametrize("command", ["no-such-command", f"{sys.executable} -m no_such_module"])
def test_a_command_that_fails_is_named_and_not_measured(write: Write, command: str) -> None:
    done = _speed(str(write(PROJECT)), "--ruff", command)
    assert done.returncode == 2
    assert f"lint_speed: error: {command}" in done.stderr
    assert "ruff --select F" not in done.stdout


@pytest.mark.parametrize("arguments", [(), ("nowhere",)])
def test_it_wants_a_folder(arguments: tuple[str, ...]) -> None:
    done = _speed(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("kept", "listed"), [("flake8,pyflakes,auditlint", True), ("flake8,pyflakes", False)])
def test_flake8_is_given_the_named_plugins_only(kept: str, listed: bool) -> None:
    command = [sys.executable, str(BENCHMARKS / "flake8_only.py"), kept, "--", "--version"]
    version = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert "pyflakes" in version
    assert ("auditlint" in version) is listed
    assert "mccabe" not in version
