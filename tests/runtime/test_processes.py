"""The processes that a program starts are counted, or named as not counted, and end as they would have."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures" / "scripts" / "runner"
SOURCE = Path(__file__).parents[2] / "src"
LEFT = "which was killed, left by os._exit, or had not ended"

fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def _family(*arguments: str, spawned: str = "in_child") -> list[str]:
    """What the program prints, then the counts by process, with "N" for each process id."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "drive_family.py", spawned, "family.py", *arguments],
        cwd=FIXTURES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "False\n")
    return re.sub(r"process \d+", "process N", done.stdout).splitlines()


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def method(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {name} here")
    return name


def test_children_are_counted_by_name_and_one_that_vanishes_is_named(method: str) -> None:
    assert _family("processes", method) == [
        *("0", "3", "0"),
        *("MainThread 2", "worker first: MainThread 2", "worker second: MainThread 1"),
        f"not counted: worker third, {LEFT}",
    ]


def test_workers_of_a_pool_are_counted_though_it_is_terminated(method: str) -> None:
    printed, main, worker = _family("pool", method)
    assert (printed, main) == ("[3, 4]", "MainThread 2")
    assert re.fullmatch(r"worker \w+PoolWorker-1: MainThread 7", worker)


def test_children_of_children_are_counted_once(method: str) -> None:
    assert _family("nested", method) == [
        *("0", "MainThread 2"),
        *("worker child: MainThread 1", "worker grandchild: MainThread 5"),
    ]


@fork_only
def test_terminated_child_ends_by_the_signal() -> None:
    assert _family("terminated", "fork") == ["-15", "MainThread 2"]


@fork_only
def test_forks_are_counted_if_they_reach_the_program_s_end() -> None:
    assert _family("fork") == [
        *("5", "-15", "MainThread 2", "process N: MainThread 6"),
        "not counted: process N, process N, which were killed, left by os._exit, or had not ended",
    ]


@fork_only
def test_another_program_is_no_child() -> None:
    assert _family("subprocess") == ["another program", "MainThread 2"]


def test_child_that_cannot_count_runs_all_the_same_and_is_named_with_the_reason() -> None:
    assert _family("nested", "spawn", spawned="failing_in_child") == [
        *("0", "MainThread 2"),
        f"not counted: worker child (RuntimeError: no cpu in children), {LEFT}",
    ]
