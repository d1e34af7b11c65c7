"""The command line: exit statuses, one-line errors, reports for people and for machines."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import auditlint
from auditlint import cli

Write = Callable[..., Path]

HOOK = """\
import torch


def hook(module, args, output):
    print(output.sum().item())


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)
"""
PROJECT = {"pyproject.toml": "", "main.py": HOOK}


class Run(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Runs a command line in this process."""

    def run(*arguments: str) -> Run:
        status = cli.main(list(arguments))
        return Run(status, *capsys.readouterr())

    return run


def _process(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auditlint", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **settings)  # type: ignore[call-overload, no-any-return]


def _is_error(result: Run, *words: str) -> None:
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("auditlint: error: ")
    assert result.err.count("\n") == 1, result.err
    assert [word for word in words if word not in result.err] == [], result.err


def test_findings_are_status_1_and_counted(write: Write, run: Callable[..., Run]) -> None:
    write(PROJECT)
    result = run()
    assert (result.status, result.err) == (1, "")
    assert result.out.startswith("main.py:5:24 AUD101 ")
    assert result.out.endswith("\n\nFound 1 sync in 1 hook.\n")
    assert run("check", ".") == run(".") == result


def test_a_clean_tree_is_status_0(write: Write, run: Callable[..., Run]) -> None:
    write({"main.py": "x = 1\n"})
    assert run() == Run(0, "All checks passed!\n", "")
    assert run("-q") == Run(0, "", "")


def test_exit_zero(write: Write, run: Callable[..., Run]) -> None:
    write(PROJECT)
    assert run("--exit-zero").status == 0
    assert run("--exit-zero", "none.py").status == 2


def test_other_findings_are_not_called_syncs(write: Write, run: Callable[..., Run]) -> None:
    write({**PROJECT, "idle.py": "x = 1  # noqa: AUD101\n"})
    assert run("-q", "idle.py").out.count("AUD901") >= 1
    assert run("idle.py").out.endswith("Found 1 finding.\n")
    assert run().out.endswith("Found 1 sync in 1 hook and 1 other finding.\n")


def test_an_error_is_told_and_the_other_files_are_linted(write: Write, run: Callable[..., Run]) -> None:
    write(PROJECT)
    result = run("none.py", "main.py", "--output-format", "concise")
    assert (result.status, result.err) == (2, "auditlint: error: none.py: no such file or folder\n")
    assert result.out.startswith("main.py:5:24: AUD101")


def test_no_python_files_is_worth_a_warning(write: Write, run: Callable[..., Run]) -> None:
    write({"a.txt": ""})
    assert run() == Run(0, "All checks passed!\n", "auditlint: warning: no Python files found under the given paths\n")


@pytest.mark.parametrize("flag", ["--backend", "--html", "--max-syncs"])
def test_flags_of_the_runtime_check_say_whose_they_are(run: Callable[..., Run], flag: str) -> None:
    _is_error(run(flag, "1", "script.py"), f"{flag} goes with --runtime-check")


@pytest.mark.parametrize("command", ["server"])
def test_commands_that_are_not_there_yet_say_so(run: Callable[..., Run], command: str) -> None:
    _is_error(run(command), f"`{command}` is not available in this version")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.py"], ["none.py: no such file or folder"]),
        (["--selct", "AUD"], ["unrecognized arguments: --selct"]),
        (["--select", "AUD999"], ["unknown rule code `AUD999` in `--select`"]),
        (["--output-format", "xml"], ["invalid choice: 'xml'"]),
        (["--jobs", "0"], ["not a number of processes: '0'"]),
        (["--config", "none.toml"], ["none.toml: cannot be read"]),
        (["--config"], ["expected one argument"]),
        (["--output-file", "none/report"], ["none/report: cannot be written"]),
        (["--add-noqa", "-"], ["standard input cannot be changed"]),
        (["--baseline", "main.py"], ["main.py is not a baseline"]),
        (["--baseline", "none/base.json"], ["none/base.json: No such file"]),
        (["rule"], ["takes the code of one rule, or --all"]),
        (["rule", "AUD101", "--all"], ["takes the code of one rule, or --all"]),
        (["rule", "AUD1O1"], ["no rule `AUD1O1`; did you mean `AUD101`?"]),
        (["rule", "zzzz"], ["no rule `zzzz`", "--all"]),
    ],
)
def test_every_mistake_is_one_line(
    write: Write,
    run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    words: Sequence[str],
) -> None:
    write({**PROJECT, "clean.py": ""})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    result = run(*arguments)
    _is_error(result._replace(out="" if "--output-file" not in arguments else result.out), *words)


def test_a_broken_configuration_is_one_line(write: Write, run: Callable[..., Run]) -> None:
    write({**PROJECT, "pyproject.toml": "[tool.auditlint]\nselct = ['AUD']"})
    _is_error(run(), "pyproject.toml: unknown key `selct` (did you mean `select`?)")
    assert run("--isolated").status == 1


def test_an_internal_error_is_one_line_and_v_shows_where(
    write: Write, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(PROJECT)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("auditlint.linter.lint", fail)
    _is_error(run(), "internal error: ZeroDivisionError: two lines (-v shows the traceback)")
    verbose = run("-v")
    assert verbose.status == 2
    assert "Traceback" in verbose.err


def test_machine_formats_hold_nothing_but_the_report(write: Write, run: Callable[..., Run]) -> None:
    write(PROJECT)
    (finding,) = json.loads(run("--output-format", "json").out)
    assert (finding["code"], finding["filename"]) == ("AUD101", "main.py")
    for name in set(cli.FORMATS) - {"full", "concise"}:
        assert "Found 1 sync" not in run("--output-format", name).out


def test_the_formats_are_those_that_the_reporters_know() -> None:
    from auditlint import reporters

    assert tuple(reporters.FORMATS) == cli.FORMATS


def test_the_report_can_go_to_a_file(write: Write, run: Callable[..., Run]) -> None:
    root = write(PROJECT)
    assert run("--output-format", "concise", "--output-file", "report.txt") == Run(1, "", "")
    assert (root / "report.txt").read_text().startswith("main.py:5:24: AUD101")


def test_statistics(write: Write, run: Callable[..., Run]) -> None:
    write(PROJECT)
    assert run("--statistics") == Run(1, "1  AUD101  item-in-hook\n", "")


def test_show_files(write: Write, run: Callable[..., Run]) -> None:
    write({**PROJECT, "a/b.py": "", "build/c.py": ""})
    assert run("--show-files") == Run(0, "a/b.py\nmain.py\n", "")
    assert run("--show-files", "none.py").status == 2


def test_select_and_ignore(write: Write, run: Callable[..., Run]) -> None:
    write(PROJECT)
    assert run("--select", "AUD2,AUD105").status == 0
    assert run("--select", "AUD2", "--select", "AUD101").status == 1
    assert run("--ignore", "AUD101 , AUD102").status == 0
    assert run("--select", "AUD2", "--extend-select", "AUD101").status == 1


def test_standard_input(write: Write, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    write(PROJECT)
    for arguments, name in (
        (["-"], "<stdin>"),
        (["--stdin-filename", "b.py", "-"], "b.py"),
        (["--stdin-filename", "b.py"], "b.py"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(HOOK.encode())))
        result = run(*arguments, "--output-format", "concise", "-q")
        assert (result.status, result.out.split(" ")[0]) == (1, f"{name}:5:24:")


def test_add_noqa_silences_what_is_there(write: Write, run: Callable[..., Run]) -> None:
    root = write({**PROJECT, "idle.py": "x = 1  # noqa: AUD101\n"})
    assert run("--add-noqa") == Run(0, "Added `noqa` for 1 finding.\n", "")
    assert "print(output.sum().item())  # noqa: AUD101\n" in (root / "main.py").read_text()
    assert run("main.py") == Run(0, "All checks passed!\n", "")
    assert (root / "idle.py").read_text() == "x = 1  # noqa: AUD101\n"


def test_a_baseline_is_written_once_and_then_hides_what_it_holds(write: Write, run: Callable[..., Run]) -> None:
    root = write(PROJECT)
    assert run("--baseline", "base.json").status == 0
    assert run("--baseline", "base.json") == Run(0, "All checks passed!\n", "")
    (root / "main.py").write_text("\n\n" + HOOK.replace("    print", "    output.tolist()\n    print"))
    result = run("--baseline", "base.json", "--output-format", "concise")
    assert (result.status, result.out.count("AUD")) == (1, 1)
    assert "AUD103" in result.out


def test_rule_pages(run: Callable[..., Run]) -> None:
    from auditlint.rules import RULES

    page = run("rule", "AUD101")
    assert (page.status, page.err) == (0, "")
    assert run("rule", "item-in-hook") == run("rule", "aud101") == page
    everything = run("rule", "--all").out
    assert [code for code in RULES if code not in everything] == []
    assert page.out in everything


def test_color_is_for_terminals(write: Write, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Run]) -> None:
    write(PROJECT)
    assert "\x1b" not in run().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in run().out
    assert "\x1b" not in run("--output-format", "json").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run().out


def test_version_is_told_without_the_linter() -> None:
    code = (
        "import sys; before = set(sys.modules); from auditlint import cli; cli.main(['--version']); "
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('auditlint')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"auditlint {auditlint.__version__}", "['__future__']"], done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(auditlint.__file__).parent.parent)}


def test_linting_imports_neither_torch_nor_libcst(write: Write) -> None:
    write(PROJECT)
    code = (
        "import sys; from auditlint import cli; import auditlint.integrations.flake8; cli.main(['--no-cache', '-q']); "
        "print([name for name in ('torch', 'libcst', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_reader_that_leaves_early_is_no_error(write: Write) -> None:
    write({"pyproject.toml": "", **{f"m{number}.py": HOOK for number in range(60)}})
    process = subprocess.Popen(
        [sys.executable, "-m", "auditlint", "--no-cache"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_an_interrupt_ends_the_run_quietly(write: Write) -> None:
    root = write(PROJECT)
    (root / "sitecustomize.py").write_text(
        "from auditlint.analysis import engine\nimport time\n"
        "def wait(*_, **__):\n    open('started', 'w').close()\n    time.sleep(60)\nengine.analyse_all = wait\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), *_environment()["PYTHONPATH"].split(os.pathsep)]),
    }
    command = [sys.executable, "-m", "auditlint", "--no-cache", "main.py"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 30
    while not (root / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_output_that_the_terminal_cannot_show_is_no_crash(write: Write) -> None:
    write({"pyproject.toml": "", "naïve.py": HOOK.replace("output.sum()", "'日本', output.sum()")})
    result = _process("naïve.py", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (result.returncode, result.stderr) == (1, "")
    assert "\\u65e5\\u672c" in result.stdout
