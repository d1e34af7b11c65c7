"""`auditlint --fix` as a process, with the fixes that the planner makes: pre-commit, editors, interrupts, speed."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import auditlint

Write = Callable[..., Path]
ROOT = Path(__file__).resolve().parent.parent

NAIVE = """\
import torch


def audit(model: torch.nn.Module, batch: torch.Tensor) -> list[dict]:
    log = []

    def hook(module, args, output):
        log.append({"norm": output.norm().item()})  # read at once

    handles = [layer.register_forward_hook(hook) for layer in model]
    model(batch)
    for handle in handles:
        handle.remove()
    return log
"""
DEFERRED = """\
import torch
from auditlint.defer import defer, finalize


def audit(model: torch.nn.Module, batch: torch.Tensor) -> list[dict]:
    log = []

    def hook(module, args, output):
        log.append({"norm": defer(output.norm(), fresh=True)})  # read at once

    handles = [layer.register_forward_hook(hook) for layer in model]
    model(batch)
    finalize(log)
    for handle in handles:
        handle.remove()
    return log
"""


def _environment(*more: str) -> dict[str, str]:
    source = str(Path(auditlint.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*more, source])}


def _auditlint(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "auditlint", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env=_environment(), timeout=120)


def test_a_naive_file_becomes_its_deferred_form(write: Write) -> None:
    root = write({"pyproject.toml": "", "audit.py": NAIVE})
    done = _auditlint("--fix")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Found 1 sync in 1 hook (1 fixed, 0 left).\n", b"")
    assert (root / "audit.py").read_text() == DEFERRED
    again = _auditlint("--fix", "--unsafe-fixes")
    assert (again.returncode, again.stdout, again.stderr) == (0, b"All checks passed!\n", b"")
    assert (root / "audit.py").read_text() == DEFERRED


def test_an_editor_gets_the_fixed_buffer(write: Write) -> None:
    root = write({"pyproject.toml": "", "audit.py": "x = 1\n"})
    unsaved = NAIVE.replace("\n", "\r\n").encode()
    done = _auditlint("--fix", "--stdin-filename", "audit.py", "-", stdin=unsaved)
    assert (done.returncode, done.stdout) == (0, DEFERRED.replace("\n", "\r\n").encode())
    assert done.stderr == b"Found 1 sync in 1 hook (1 fixed, 0 left).\n"
    assert (root / "audit.py").read_text() == "x = 1\n"


def test_plain_torch_can_be_asked_for(write: Write) -> None:
    root = write({"pyproject.toml": "[tool.auditlint]\nfix-style = 'plain'\n", "audit.py": NAIVE})
    assert _auditlint("--fix", "--unsafe-fixes").returncode == 0
    fixed = (root / "audit.py").read_text()
    assert "auditlint" not in fixed
    (row,) = [row for row in fixed.splitlines() if "read at once" in row]
    assert "output.norm()" in row and ".item()" not in row
    assert _auditlint("--fix", "--unsafe-fixes").returncode == 0
    assert (root / "audit.py").read_text() == fixed


def test_the_guide_shows_what_happens(write: Write) -> None:
    guide = (ROOT / "docs" / "fixing.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n(.*?)^```$", guide, flags=re.DOTALL | re.MULTILINE)
    (shown,) = re.findall(r"^```console\n(.*?)^```$", guide, flags=re.DOTALL | re.MULTILINE)
    command, _, output = shown.partition("\n")
    write({"norms.py": source})
    done = _auditlint(*shlex.split(command.removeprefix("$ auditlint ")))
    assert (done.stdout.decode(), done.stderr) == (output, b"")
    assert all(len(line) <= 80 for line in shown.splitlines())


def _hook_entry(name: str) -> list[str]:
    """The command of a pre-commit id, run by this interpreter."""
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    (block,) = [block for block in text.split("- id: ")[1:] if block.splitlines()[0] == name]
    keys = dict(line.strip().split(": ", 1) for line in block.splitlines() if ": " in line)
    assert keys["require_serial"] == "true"
    entry = shlex.split(keys["entry"])
    assert entry[0] == "auditlint"
    return [sys.executable, "-m", *entry]


def test_the_pre_commit_hook_fixes_what_is_staged_and_passes_the_second_time(write: Write) -> None:
    root = write({"pyproject.toml": "", "audit.py": NAIVE, "clean.py": "x = 1\n", "old.py": NAIVE})
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=_environment(), timeout=120)
        return done

    for arguments in (["init", "-q"], ["add", "old.py", "pyproject.toml"], ["commit", "-q", "-m", "a"], ["add", "."]):
        assert run(*git, *arguments).returncode == 0

    def hook() -> tuple[int, str]:
        """As pre-commit does: with the names of staged files; what changes a file fails as well."""
        staged = run(*git, "diff", "--staged", "--name-only", "--diff-filter=d").stdout.split()
        assert staged == ["audit.py", "clean.py"]
        done = run(*_hook_entry("auditlint-fix"), *staged)
        assert done.stderr == ""
        return done.returncode, run(*git, "diff", "--name-only").stdout

    assert hook() == (0, "audit.py\n")
    assert (root / "audit.py").read_text() == DEFERRED
    assert run(*git, "add", "audit.py").returncode == 0
    assert hook() == (0, "")
    # What was not named was not touched.
    assert (root / "old.py").read_text() == NAIVE


def test_the_pre_commit_hook_fails_where_something_is_left(write: Write) -> None:
    write({"pyproject.toml": "", "audit.py": NAIVE.replace("log.append(", "if output.sum() > 1: print(")})
    done = subprocess.run([*_hook_entry("auditlint-fix"), "audit.py"], env=_environment(), capture_output=True)
    assert done.returncode == 1


def test_flake8_knows_no_fixes(write: Write) -> None:
    root = write({"pyproject.toml": "", "audit.py": NAIVE})
    command = [sys.executable, "-m", "flake8", "--select", "AUD", "--isolated", "audit.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=120)
    (line,) = done.stdout.splitlines()
    assert line.startswith("audit.py:8:") and "AUD101 `.item()`" in line
    assert (root / "audit.py").read_text() == NAIVE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL] if sys.platform != "win32" else [])
def test_whatever_ends_the_run_files_are_whole(write: Write, number: signal.Signals) -> None:
    names = [f"audit{index:02}.py" for index in range(12)]
    root = write({"pyproject.toml": "", **dict.fromkeys(names, NAIVE)})
    # The run is stopped in the middle of writing: with some files replaced, and one about to be.
    (root / "sitecustomize.py").write_text(
        "import os, time\nreal = os.replace\ndone = []\n"
        "def replace(source, target):\n"
        "    done.append(target)\n"
        "    if len(done) == 6:\n        open('reached', 'w').close()\n        time.sleep(60)\n"
        "    real(source, target)\nos.replace = replace\n"
    )
    command = [sys.executable, "-m", "auditlint", "--no-cache", "--fix", "-q", "--jobs", "1", *names]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(str(root)))
    deadline = time.monotonic() + 60
    while not (root / "reached").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (out, err) == (b"", b"")
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    texts = [(root / name).read_text() for name in names]
    assert (texts.count(DEFERRED), texts.count(NAIVE)) == (5, 7)
    (root / "sitecustomize.py").unlink()
    assert _auditlint("--fix", "-q", *names).returncode == 0
    assert {(root / name).read_text() for name in names} == {DEFERRED}


def test_a_second_run_imports_nothing_that_makes_edits(write: Write) -> None:
    write({"pyproject.toml": "", "audit.py": NAIVE})
    assert _auditlint("--fix").returncode == 0
    code = (
        "import sys; from auditlint import cli; status = cli.main(['--fix', '-q']); "
        "print(status, [name for name in ('torch', 'libcst', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert (done.stdout, done.stderr) == ("0 []\n", "")


def test_many_files_with_every_kind_of_finding_stay_programs(write: Write) -> None:
    """The fixtures of the rules, fixed as far as they can be: whatever is written is a program, and stays as it is."""
    sources = sorted((ROOT / "fixtures" / "rules").glob("*.py"))
    root = write({"pyproject.toml": "", **{path.name: path.read_bytes() for path in sources}})
    readable = [path for path in root.glob("*.py") if _is_program(path)]
    assert len(readable) > 5
    first = _auditlint("--fix", "--unsafe-fixes", "-q", "--no-cache")
    assert (first.returncode in (0, 1), first.stderr) == (True, b"")
    assert [path.name for path in readable if not _is_program(path)] == []
    fixed = {path.name: path.read_bytes() for path in root.glob("*.py")}
    assert any(fixed[path.name] != path.read_bytes() for path in sources)
    second = _auditlint("--diff", "--unsafe-fixes", "-q", "--no-cache")
    assert (second.returncode, second.stdout, second.stderr) == (0, b"", b"")


def _is_program(path: Path) -> bool:
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False
    return True
