"""The pytest plugin, as a test suite meets it: in a pytest of its own."""

from __future__ import annotations

import importlib.metadata
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="counts what torch does")
pytest_plugins = ["pytester"]

HOOKED = """
import pytest
import torch

def reading(module, args, output):
    output.detach().sum().item()

@pytest.fixture
def model():
    layer = torch.nn.Linear(2, 2)
    layer.register_forward_hook(reading)
    return layer
"""


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def outcome(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a module of tests; the plugin comes from the installed package where there is one."""
    # Looked up as pytest does: `entry_points()` passes over an installation behind a folder of another one's metadata.
    entries = [entry for found in importlib.metadata.distributions() for entry in found.entry_points]
    installed = any(entry.group == "pytest11" and entry.name == "auditlint" for entry in entries)
    plugin = [] if installed else ["-p", "auditlint.integrations.pytest"]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess(*plugin, "--strict-markers", "-W", "error", *arguments)

    return run


def test_a_marked_test_fails_for_a_sync_in_a_hook_and_shows_it(outcome: Run) -> None:
    result = outcome(
        HOOKED
        + """
@pytest.mark.no_hook_syncs(backend="cpu")
def test_marked(model):
    model(torch.ones(1, 2))
    model(torch.ones(1, 2))
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*2 calls in hooks sync where none is allowed*", "*reading (forward)*", "*Tensor.item*2*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_marked_test_may_allow_some(outcome: Run) -> None:
    outcome(
        HOOKED
        + """
@pytest.mark.no_hook_syncs(max=1)
def test_within(model):
    model(torch.ones(1, 2))
    torch.ones(1).item()

@pytest.mark.no_hook_syncs(0)
def test_without(model):
    model[0] if False else None
"""
    ).assert_outcomes(passed=2)


def test_a_failure_of_the_test_itself_comes_first(outcome: Run) -> None:
    result = outcome(
        HOOKED
        + """
@pytest.mark.no_hook_syncs
def test_marked(model):
    model(torch.ones(1, 2))
    assert 1 + 1 == 3
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert (1 + 1) == 3*"])


def test_the_fixture_counts_and_its_table_is_shown_on_failure(outcome: Run) -> None:
    result = outcome(
        HOOKED
        + """
def test_counts(model, sync_counter):
    model(torch.ones(1, 2))
    assert sync_counter.in_hooks == 1
    sync_counter.reset()
    assert sync_counter.totals.in_hooks == 0

def test_fails(model, sync_counter):
    model(torch.ones(1, 2))
    assert sync_counter.in_hooks == 0
""",
        "--sync-backend",
        "cpu",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*-- syncs --*", "*reading (forward)*"])


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("max=-1", "no_hook_syncs takes max, a number of calls"),
        ("most=3", "no_hook_syncs takes max, a number of calls"),
        ("backend='tpu'", "no backend `tpu`"),
    ],
)
def test_a_wrong_marker_is_one_clear_line(outcome: Run, mark: str, words: str) -> None:
    result = outcome(f"import pytest\n@pytest.mark.no_hook_syncs({mark})\ndef test_marked():\n    pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{words}*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_warnings_that_pytest_captures_are_counted_apart(outcome: Run) -> None:
    outcome(
        HOOKED
        + """
import warnings

@pytest.mark.no_hook_syncs(max=1)
def test_warns(model):
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning)
        model(torch.ones(1, 2))
"""
    ).assert_outcomes(passed=1)


def test_each_worker_of_xdist_counts_for_itself(outcome: Run) -> None:
    pytest.importorskip("xdist", reason="runs two workers")
    outcome(
        HOOKED
        + """
@pytest.mark.no_hook_syncs(max=1)
@pytest.mark.parametrize("n", range(4))
def test_marked(model, n):
    model(torch.ones(1, 2))
""",
        "-n",
        "2",
    ).assert_outcomes(passed=4)


def test_a_suite_that_asks_for_nothing_does_not_import_torch(outcome: Run) -> None:
    outcome("import sys\ndef test_light():\n    assert 'torch' not in sys.modules\n").assert_outcomes(passed=1)


def test_beneath_an_old_pluggy_it_says_so_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def hookimpl(**options: Any) -> None:
        raise TypeError("HookimplMarker.__call__() got an unexpected keyword argument 'wrapper'")

    monkeypatch.setattr(pytest, "hookimpl", hookimpl)
    plugin = runpy.run_path(str(Path(__file__).parents[2] / "src" / "auditlint" / "integrations" / "pytest.py"))
    plugin["pytest_runtest_setup"](SimpleNamespace(get_closest_marker=lambda name: None))
    with pytest.raises(pytest.fail.Exception, match="no_hook_syncs needs pytest 8"):
        plugin["pytest_runtest_setup"](SimpleNamespace(get_closest_marker=lambda name: name))
