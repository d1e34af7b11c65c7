"""A file's findings are its own: the same alone, in any order, with any `--jobs`, cold or warm, and in flake8."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlint.diagnostics import Diagnostic
from auditlint.linter import Options, lint

PROJECTS = Path(__file__).resolve().parent.parent / "fixtures" / "projects"
# Projects whose findings lie in another file than their registration, and one that has none.
NAMES = (
    "wrapper_of_wrapper",
    "wrapper_stored_callable",
    "hooks_returned_as_list",
    "reexport_chain",
    "abstract_base_hook",
    "recursive_helpers",
    "dispatch_table",
    "value_device_argument",
    "value_several_findings",
    "accelerate_hook_subclass_chain",
    "configured_decorator",
    "lookalike_event_bus",
)

Findings = dict[str, list[Diagnostic]]


def _by_file(diagnostics: Iterable[Diagnostic]) -> Findings:
    found = defaultdict(list)
    for diagnostic in diagnostics:
        found[os.path.realpath(diagnostic.filename)].append(diagnostic)
    return dict(found)


def _lint(paths: Iterable[Path | str], *, jobs: int = 1, cache: bool = False) -> Findings:
    result = lint([str(path) for path in paths], options=Options(jobs=jobs, cache=cache))
    assert not result.errors, result.errors
    return _by_file(result.diagnostics)


def _copy(target: Path) -> list[str]:
    """The projects under `target`; returns the real path of each Python file."""
    for name in NAMES:
        shutil.copytree(PROJECTS / name, target / name)
    return sorted(os.path.realpath(path) for path in target.rglob("*.py"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The files of several projects; the working directory is above them."""
    root = tmp_path_factory.mktemp("tree")
    before = os.getcwd()
    files = _copy(root)
    os.chdir(root)
    yield files
    os.chdir(before)


@pytest.fixture(scope="module")
def reference(tree: list[str]) -> Findings:
    found = _lint(["."])
    assert sum(map(len, found.values())) >= 12, "the projects have findings"
    return found


def test_a_file_alone_has_the_findings_that_it_has_among_all(tree: list[str], reference: Findings) -> None:
    for file in tree:
        assert _lint([file]) == ({file: reference[file]} if file in reference else {})


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_files_in_any_order(tree: list[str], reference: Findings, data: st.DataObject) -> None:
    files = data.draw(st.lists(st.sampled_from(tree), min_size=1, max_size=8))
    assert _lint(files) == {file: reference[file] for file in set(files) if file in reference}


@given(files=st.data(), jobs=st.sampled_from([1, 2]), cache=st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_jobs_with_and_without_cache(
    tree: list[str], reference: Findings, files: st.DataObject, jobs: int, cache: bool
) -> None:
    chosen = files.draw(st.lists(st.sampled_from(tree), min_size=6, max_size=20, unique=True))
    assert _lint(chosen, jobs=jobs, cache=cache) == {file: reference[file] for file in chosen if file in reference}


def test_a_folder_gives_its_findings_sorted(tree: list[str]) -> None:
    for jobs in (1, 2):
        result = lint(["."], options=Options(jobs=jobs, cache=False))
        keys = [(found.filename, found.location, found.code) for found in result.diagnostics]
        assert keys == sorted(keys)


def test_naming_a_file_twice_reports_it_once(tree: list[str], reference: Findings) -> None:
    file = next(iter(reference))
    assert _lint([file, file, os.path.dirname(file), os.path.relpath(file)])[file] == reference[file]


def test_a_warm_cache_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    without = _lint(["."], cache=False)
    for _ in range(3):
        assert _lint(["."], cache=True) == without


def test_a_warm_cache_notices_what_another_file_says_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    audit = tmp_path / "wrapper_of_wrapper" / "app" / "router_audit.py"
    low = tmp_path / "wrapper_of_wrapper" / "instrument" / "low.py"
    text = low.read_text()
    assert [found.code for found in _lint([audit], cache=True)[str(audit)]] == ["AUD303", "AUD203"]
    low.write_text(text.replace("return module.register_forward_hook(callback)", "return (module, callback)"))
    assert _lint([audit], cache=True) == {}
    low.write_text(text)
    assert [found.code for found in _lint([audit], cache=True)[str(audit)]] == ["AUD303", "AUD203"]


def test_a_warm_cache_notices_a_new_and_a_removed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    spectral = tmp_path / "reexport_chain" / "toolbox" / "measure" / "spectral.py"
    hook = tmp_path / "reexport_chain" / "toolbox" / "hooks.py"
    source = hook.read_text()
    assert _lint([spectral], cache=True)
    hook.unlink()
    assert _lint([spectral], cache=True) == {}
    hook.write_text(source)
    assert _lint([spectral], cache=True)


def test_a_warm_cache_notices_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "configured_decorator"
    assert _lint([project], cache=True)
    (project / "pyproject.toml").write_text("[tool.auditlint]\ndecorators = []\n")
    assert _lint([project], cache=True) == {}


def test_a_torn_cache_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _copy(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = _lint(["."], cache=True)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path not in before]
    assert written, "the cache lies beside the project"
    for spoil in (lambda data: data[: len(data) // 2], lambda data: b"", lambda data: os.urandom(len(data))):
        for path in written:
            if path.is_file() and path.name not in (".gitignore", "CACHEDIR.TAG"):
                path.write_bytes(spoil(path.read_bytes()))
        assert _lint(["."], cache=True) == found


def test_flake8_and_the_command_line_agree(tree: list[str]) -> None:
    command = subprocess.run(
        [sys.executable, "-m", "auditlint", "--output-format", "json", "--no-cache", "--exit-zero", "."],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {
        (os.path.realpath(item["filename"]), item["location"]["row"], item["location"]["column"], item["code"])
        for item in json.loads(command.stdout)
    }
    flake8 = subprocess.run(
        [sys.executable, "-m", "flake8", "--select", "AUD", "--exit-zero", "-j", "1", "."],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = {
        (os.path.realpath(file), int(row), int(column), code)
        for file, row, column, code in re.findall(r"^(.+?):(\d+):(\d+): (AUD\d+)", flake8.stdout, re.MULTILINE)
    }
    assert ours
    assert theirs == ours
