"""The pipeline: the same findings however a file is named, fresh or from the cache; errors that spoil nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from auditlint import cache, examine
from auditlint.analysis import engine
from auditlint.config import Config, ConfigError, Overrides
from auditlint.diagnostics import Diagnostic, Edit, Fix, Hook, Location, Step
from auditlint.linter import ByFile, Configs, Options, Result, Stdin, files, lint

Write = Callable[..., Path]

HELPER = """\
def total(value):
    return value.sum().item()
"""
HOOK = """\
import torch

from helper import total


def hook(module, args, output):
    return total(output)


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)
"""
PROJECT = {"pyproject.toml": "", "helper.py": HELPER, "main.py": HOOK}
FOUND = [("helper.py", 2, "AUD101")]


def _places(result: Result) -> list[tuple[str, int, str]]:
    return [(item.filename, item.location.row, item.code) for item in result.diagnostics]


def _settle(root: Path) -> None:
    """Give every file a time long past, so that the cache may trust it."""
    for path in root.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roots that were analysed, in order."""
    roots: list[str] = []
    original = engine.analyse_all

    def analyse_all(tasks: Sequence[engine.Task], *rest: Any) -> list[engine.Outcome]:
        roots.extend(task.root for task in tasks)
        return original(tasks, *rest)

    monkeypatch.setattr(engine, "analyse_all", analyse_all)
    return roots


@pytest.mark.parametrize("paths", [["."], ["helper.py"], ["main.py", "helper.py"], ["helper.py", "."]])
def test_a_finding_does_not_depend_on_what_else_is_named(write: Write, paths: list[str]) -> None:
    write(PROJECT)
    assert _places(lint(paths)) == FOUND


def test_findings_in_files_that_were_not_named_are_not_shown(write: Write) -> None:
    write(PROJECT)
    assert _places(lint(["main.py"])) == []


def test_every_file_name_is_relative_to_the_working_directory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({f"p/{name}": text for name, text in PROJECT.items()})
    (finding,) = lint(["p"]).diagnostics
    assert finding.hook is not None
    assert (finding.filename, finding.hook.filename) == ("p/helper.py", "p/main.py")
    assert (finding.hook.registered.filename, finding.path[-1].filename) == ("p/main.py", "p/helper.py")
    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    result = lint(["../p"])
    assert result.diagnostics[0].filename == str(root / "p" / "helper.py")
    assert result.read(result.diagnostics[0].filename) == HELPER.encode()


def test_a_package_without_a_project_around_it_imports_itself_by_name(write: Write) -> None:
    write({"pkg/__init__.py": "", "pkg/helper.py": HELPER, "pkg/main.py": HOOK.replace("helper", "pkg.helper")})
    assert _places(lint(["pkg/helper.py"])) == [("pkg/helper.py", 2, "AUD101")]


def test_selection_of_codes(write: Write) -> None:
    write({**PROJECT, "pyproject.toml": "[tool.auditlint]\nignore = ['AUD101']"})
    assert _places(lint(["."])) == []
    assert _places(lint(["."], isolated=True)) == FOUND
    assert _places(lint(["."], config=Config())) == FOUND
    assert _places(lint(["."], overrides=Overrides(select=("AUD1",)))) == FOUND
    assert _places(lint(["."], isolated=True, overrides=Overrides(ignore=("AUD1",)))) == []


def test_per_file_ignores(write: Write) -> None:
    write({**PROJECT, "pyproject.toml": "[tool.auditlint.per-file-ignores]\n'helper.py' = ['AUD101']"})
    assert _places(lint(["."])) == []


def test_each_project_has_its_own_configuration(write: Write) -> None:
    quiet = {f"quiet/{name}": text for name, text in PROJECT.items()}
    loud = {f"loud/{name}": text for name, text in PROJECT.items()}
    write({**loud, **quiet, "quiet/pyproject.toml": "[tool.auditlint]\nignore = ['AUD']"})
    assert _places(lint(["."])) == [("loud/helper.py", 2, "AUD101")]


def test_a_broken_configuration_spoils_its_own_project_only(write: Write) -> None:
    bad = {f"bad/{name}": text for name, text in PROJECT.items()}
    good = {f"good/{name}": text for name, text in PROJECT.items()}
    root = write({**bad, **good, "bad/pyproject.toml": "[tool.auditlint]\nselct = []"})
    result = lint(["."])
    assert _places(result) == [("good/helper.py", 2, "AUD101")]
    (error,) = result.errors
    assert (error.path, error.message) == (
        "",
        f"{root}/bad/pyproject.toml: unknown key `selct` (did you mean `select`?)",
    )
    assert result.files == ["good/helper.py", "good/main.py"]


def test_a_configuration_that_was_asked_for_is_an_error_at_once(write: Write) -> None:
    write(PROJECT)
    with pytest.raises(ConfigError, match=r"none\.toml"):
        lint(["."], config_file="none.toml")
    with pytest.raises(ConfigError, match="AUD7"):
        lint(["."], overrides=Overrides(select=("AUD7",)))


def test_standard_input_stands_in_for_its_file(write: Write) -> None:
    write(PROJECT)
    clean = HELPER.replace(".item()", "").encode()
    assert _places(lint([], stdin=Stdin(clean, "helper.py"))) == []
    late = b"\n\n" + HELPER.encode()
    result = lint(["helper.py"], stdin=Stdin(late, "helper.py"))
    assert _places(result) == [("helper.py", 4, "AUD101")]
    assert (result.files, result.read("helper.py")) == (["helper.py"], late)


def test_standard_input_may_stand_for_a_new_file(write: Write) -> None:
    write(PROJECT)
    text = HOOK.replace("return total(output)", "return output.tolist()").encode()
    assert _places(lint([], stdin=Stdin(text, "new/folder/x.py"))) == [("new/folder/x.py", 7, "AUD103")]


def test_standard_input_that_is_no_file_stands_alone(write: Write) -> None:
    write({**PROJECT, "__init__.py": ""})
    text = HOOK.replace("return total(output)", "return output.tolist()").encode()
    result = lint([], stdin=Stdin(text))
    assert (_places(result), result.files) == ([("<stdin>", 7, "AUD103")], ["<stdin>"])


def test_bytes_can_stand_in_for_any_file_of_the_project(write: Write) -> None:
    root = write(PROJECT)
    clean, late = HELPER.replace(".item()", "").encode(), b"\n\n" + HELPER.encode()
    assert _places(lint(["helper.py"], overlays={"helper.py": clean})) == []
    assert _places(lint(["."], overlays={"helper.py": late, "none.py": b"x"})) == [("helper.py", 4, "AUD101")]
    # What is not named itself counts too: no hook is left that leads to the helper.
    assert _places(lint(["helper.py"], overlays={"main.py": b""})) == []
    assert lint(["helper.py"], overlays={str(root / "helper.py"): late}).read("helper.py") == late
    # They come before standard input, and leave nothing in the cache.
    assert _places(lint([], stdin=Stdin(clean, "helper.py"), overlays={"helper.py": late})) == [
        ("helper.py", 4, "AUD101")
    ]
    assert _places(lint(["."])) == FOUND


def test_the_style_of_fixes_is_that_of_the_file_s_project(write: Write) -> None:
    plain = {f"plain/{name}": text for name, text in PROJECT.items()}
    root = write({**plain, "plain/pyproject.toml": "[tool.auditlint]\nfix-style = 'plain'", **PROJECT})
    result = lint(["."])
    assert {name: result.fix_style(name) for name in result.files} == {
        "helper.py": "library",
        "main.py": "library",
        "plain/helper.py": "plain",
        "plain/main.py": "plain",
    }
    assert lint(["helper.py"]).fix_style(str(root / "plain" / "main.py")) == "plain"


@pytest.mark.parametrize("cached", [False, True])
def test_a_named_file_that_does_not_parse_is_told_though_no_hook_leads_there(write: Write, cached: bool) -> None:
    root = write({**PROJECT, "broken.py": "def f(:\n", "script": "x = = 1\n"})
    _settle(root)
    for _ in range(2):
        result = lint(["broken.py", "script", "helper.py"], options=Options(cache=cached))
        assert _places(result) == [("broken.py", 1, "AUD900"), *FOUND, ("script", 1, "AUD900")]
        assert _places(lint(["."], options=Options(cache=cached))) == FOUND
    assert _places(lint([], stdin=Stdin(b"x = = 1"))) == [("<stdin>", 1, "AUD900")]


def test_a_file_that_cannot_be_read_is_an_error_and_no_finding(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({**PROJECT, "closed.py": HOOK})
    _forbid(monkeypatch, root / "closed.py")
    for paths in (["."], ["closed.py", "helper.py"]):
        result = lint(paths)
        assert _places(result) == FOUND
        assert [tuple(error) for error in result.errors] == [("closed.py", "cannot be read: Permission denied")]
    assert lint(["helper.py"]).errors == []


def _forbid(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    import builtins

    original = open

    def guarded(file: Any, *args: Any, **kwargs: Any) -> Any:
        if os.fspath(file) == str(path):
            raise PermissionError(13, "Permission denied")
        return original(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", guarded)


def test_a_file_that_vanishes_during_the_run_is_an_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({**PROJECT, "fleeting.py": HOOK})
    original = engine.analyse_all

    def analyse_all(*args: Any, **kwargs: Any) -> list[engine.Outcome]:
        (root / "fleeting.py").unlink()
        return original(*args, **kwargs)

    monkeypatch.setattr(engine, "analyse_all", analyse_all)
    result = lint(["."])
    assert _places(result) == FOUND
    assert [tuple(error) for error in result.errors] == [("fleeting.py", "cannot be read: No such file or directory")]


def test_a_second_run_reads_the_cache_and_finds_the_same(write: Write, analysed: list[str]) -> None:
    root = write(PROJECT)
    _settle(root)
    cold = lint(["."])
    assert len(analysed) == 1
    warm = lint(["."])
    assert len(analysed) == 1
    assert warm.diagnostics == cold.diagnostics
    assert all(type(item) is Diagnostic and type(item.location) is Location for item in warm.diagnostics)
    assert _places(lint(["."], overrides=Overrides(ignore=("AUD101",)))) == []
    assert len(analysed) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "main.py").write_text(HOOK.replace("register_forward_hook", "register_forward_HOOK")),
        lambda root: (root / "helper.py").rename(root / "other.py"),
        lambda root: (root / "more.py").write_text(""),
        lambda root: (root / "pyproject.toml").write_text("[tool.auditlint]\ncheck-forward = true"),
        lambda root: (root / "pyproject.toml").write_text("[tool.auditlint]\nextend-exclude = ['main.py']"),
    ],
)
def test_a_change_is_noticed(write: Write, analysed: list[str], change: Callable[[Path], object]) -> None:
    root = write(PROJECT)
    _settle(root)
    lint(["."])
    change(root)
    assert _places(lint(["."])) == _places(lint(["."], options=Options(cache=False)))
    assert len(analysed) == 3


def test_a_change_that_keeps_the_time_and_the_size_is_noticed(write: Write, analysed: list[str]) -> None:
    root = write(PROJECT)
    _settle(root)
    assert _places(lint(["."])) == FOUND
    (root / "helper.py").write_text(HELPER.replace(".item()", ".itex()"))
    _settle(root)
    assert _places(lint(["."])) == []


def test_a_file_that_was_written_a_moment_ago_is_not_trusted_yet(write: Write, analysed: list[str]) -> None:
    root = write(PROJECT)
    _settle(root)
    os.utime(root / "main.py")
    lint(["."])
    _settle(root)
    lint(["."])
    assert len(analysed) == 2


def test_without_the_cache_nothing_is_written(write: Write) -> None:
    root = write(PROJECT)
    _settle(root)
    lint(["."], options=Options(cache=False))
    assert sorted(path.name for path in root.iterdir()) == sorted(PROJECT)
    lint(["."])
    assert (root / ".auditlint_cache").is_dir()


@pytest.mark.parametrize("body", ["[]", "null", "[[], 3]", '[[["AUD101"]], {}]', '[[], {"a": [1]}]', "[[[]], {}]"])
def test_a_record_of_another_shape_is_ignored(write: Write, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    root = write(PROJECT)
    _settle(root)
    monkeypatch.setattr(cache, "load", lambda path, key: json.loads(body))
    assert _places(lint(["."])) == FOUND


def test_everything_in_a_finding_survives_the_cache(tmp_path: Path) -> None:
    step = Step("f", "a.py", 3)
    hook = Hook("h", "a.py", 1, "register_forward_hook", Step("g", "b.py", 2))
    fix = Fix("safe", "words", (Edit("x", Location(1, 2), Location(1, 3)),))
    places = (Location(1, 2), Location(3, 4))
    finding = Diagnostic("AUD101", "item-in-hook", "m", "a.py", *places, "possible", hook, (step, step), (1, 2), 3, fix)
    path = str(tmp_path / "record.json")
    for item in (finding, finding._replace(hook=None, path=(), fix=None)):
        cache.store(path, "key", examine._Record([item], {"b.py": [item], "c.py": []}))
        assert examine._revived(cache.load(path, "key")) == ([item], {"b.py": [item], "c.py": []})


def test_findings_file_by_file_analyse_a_project_once(write: Write, analysed: list[str]) -> None:
    root = write(PROJECT)
    by_file = ByFile(Configs(None, None, False), Options(cache=False))
    found = {name: by_file.findings(str(root / name)) for name in ("main.py", "helper.py")}
    assert [item.code for item in found["helper.py"]] == ["AUD101"]
    assert (found["main.py"], len(analysed)) == ([], 1)
    assert by_file.findings(str(root / "helper.py"), b"") == []


def test_comments_of_flake8_are_left_to_it_and_idle_ones_are_still_told(write: Write) -> None:
    root = write(
        {
            "pyproject.toml": "",
            "main.py": HOOK.replace("from helper import total", "n = 1  # noqa: AUD101").replace(
                "return total(output)", "return output.item()  # noqa: AUD101"
            ),
        }
    )
    by_file = ByFile(Configs(None, None, False), Options(cache=False, honour_noqa=False))
    assert sorted(item.code for item in by_file.findings(str(root / "main.py"))) == ["AUD101", "AUD901"]
    assert _places(lint(["."])) == [("main.py", 3, "AUD901")]


def test_the_files_that_would_be_linted(write: Write) -> None:
    write({**PROJECT, "build/x.py": ""})
    assert files(["."]) == (["helper.py", "main.py"], [])
    named, errors = files(["build", "none.py"])
    assert (named, [error.path for error in errors]) == (["build/x.py"], ["none.py"])
