"""`--fix`, `--unsafe-fixes` and `--diff`: what they write, what they say, what they never do.

The planner is a stand-in here that takes `.item()` away, safely or not, so that each case says itself what is fixable.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from auditlint import cli, fixes
from auditlint.diagnostics import Diagnostic, Edit, Fix, Location
from auditlint.fixes.applying import rounds
from auditlint.fixes.applying.difference import unified_diff
from auditlint.linter import Result

Write = Callable[..., Path]
ROOT = Path(__file__).resolve().parent.parent.parent

HOOK = """\
import torch

log = []


def hook(module, args, output):
    total = output.sum().item()
    worst = output.max().item()  # unsafe


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)
"""
HOOK_AT_THE_END = """\
import torch


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)


def hook(module, args, output):
    total = output.sum().item()"""
SAFE = HOOK.replace("sum().item()", "sum()")
BOTH = SAFE.replace("max().item()", "max()")
PROJECT = {"pyproject.toml": "", "main.py": HOOK}


class Run(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Run]


def planned(result: Result, edits: bool, together: object = None) -> Result:
    """A comment in the row of a finding says what its fix is."""
    return result._replace(diagnostics=[_planned(item, result, edits) for item in result.diagnostics])


def _planned(item: Diagnostic, result: Result, edits: bool) -> Diagnostic:
    if item.code != "AUD101":
        return item
    row = result.read(item.filename).decode("utf-8-sig", "replace").splitlines()[item.location.row - 1]
    if "never" in row:
        return item._replace(unfixed="the value decides what is computed next")
    place = Location(item.location.row, item.location.column - 1)
    made = [Edit("(" if "broken" in row else "", place, item.end_location)]
    made += [Edit(f"# {word}\n", Location(1, 1), Location(1, 1)) for word in re.findall(r"above (\w+)", row)]
    made += [Edit("# with\n", Location(1, 1), Location(1, 1), name) for name in re.findall(r"with (\S+)", row)]
    applicability = "unsafe" if "unsafe" in row else "safe"
    return item._replace(fix=Fix(applicability, "keep the tensor", tuple(made) if edits else ()))


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixes, "planned", planned, raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in this process."""

    def run(*arguments: str) -> Run:
        status = cli.main(list(arguments))
        return Run(status, *capsys.readouterr())

    return run


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Puts bytes on standard input."""
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_without_fix_nothing_is_written_and_the_last_line_says_what_could_be(write: Write, run: Command) -> None:
    root = write(PROJECT)
    before = contents(root)
    result = run()
    assert (result.status, result.err) == (1, "")
    assert result.out.endswith("\nFound 2 syncs in 1 hook (1 fixable with --fix, 1 more with --unsafe-fixes).\n")
    assert result.out.count("\n  = fix         safe: keep the tensor\n") == 1
    assert result.out.count("\n  = fix         unsafe: keep the tensor\n") == 1
    result = run("--unsafe-fixes")
    assert (result.status, result.err) == (1, "")
    assert result.out.endswith("\nFound 2 syncs in 1 hook (2 fixable with --fix --unsafe-fixes).\n")
    assert contents(root) == before


def test_why_there_is_no_fix_is_said(write: Write, run: Command) -> None:
    write({**PROJECT, "main.py": HOOK.replace("# unsafe", "# never")})
    result = run()
    assert "\n  = fix         none: the value decides what is computed next\n" in result.out
    assert result.out.endswith("\nFound 2 syncs in 1 hook (1 fixable with --fix).\n")


def test_concise_marks_what_can_be_fixed(write: Write, run: Command) -> None:
    write(PROJECT)
    places = [line.split(" ")[:3] for line in run("--output-format", "concise").out.splitlines()]
    assert places[:2] == [["main.py:7:26:", "AUD101", "[*]"], ["main.py:8:26:", "AUD101", "`.item()`"]]
    assert run("--output-format", "concise", "--unsafe-fixes").out.count("[*]") == 2


def test_fix_makes_the_safe_fixes(write: Write, run: Command) -> None:
    root = write(PROJECT)
    result = run("--fix")
    assert (result.status, result.err) == (1, "")
    assert result.out.startswith("main.py:8:26 AUD101")
    assert result.out.endswith("\nFound 2 syncs in 1 hook (1 fixed, 1 left; 1 fixable with --unsafe-fixes).\n")
    assert (root / "main.py").read_text() == SAFE
    assert run("--fix").out.endswith("\nFound 1 sync in 1 hook (0 fixed, 1 left; 1 fixable with --unsafe-fixes).\n")
    assert (root / "main.py").read_text() == SAFE


def test_fix_with_unsafe_fixes_makes_all(write: Write, run: Command) -> None:
    root = write(PROJECT)
    assert run("--fix", "--unsafe-fixes") == Run(0, "Found 2 syncs in 1 hook (2 fixed, 0 left).\n", "")
    assert (root / "main.py").read_text() == BOTH
    before = contents(root)
    assert run("--fix", "--unsafe-fixes") == Run(0, "All checks passed!\n", "")
    assert contents(root) == before


def test_a_run_after_fixes_sees_the_new_text_with_and_without_the_cache(write: Write, run: Command) -> None:
    root = write(PROJECT)
    os.utime(root / "main.py", (1, 1))
    for _ in range(2):
        assert run("-q").status == 1  # the second time from the cache
    assert run("--fix", "--unsafe-fixes").status == 0
    for arguments in ([], ["--no-cache"], []):
        assert run(*arguments) == Run(0, "All checks passed!\n", "")


def test_a_file_that_nothing_is_fixed_in_is_not_touched(write: Write, run: Command) -> None:
    root = write({**PROJECT, "main.py": SAFE})
    os.utime(root / "main.py", (1, 1))
    before = (root / "main.py").stat()
    run("--fix")
    after = (root / "main.py").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_only_what_is_selected_is_fixed(write: Write, run: Command) -> None:
    root = write(PROJECT)
    assert run("--fix", "--select", "AUD102") == Run(0, "All checks passed!\n", "")
    assert run("--fix", "--ignore", "AUD101") == Run(0, "All checks passed!\n", "")
    assert (root / "main.py").read_text() == HOOK


def test_suppressed_findings_are_not_fixed(write: Write, run: Command) -> None:
    text = HOOK.replace("sum().item()", "sum().item()  # auditlint: allow-sync[AUD101] wanted")
    root = write({**PROJECT, "main.py": text})
    assert run("--fix", "--unsafe-fixes").status == 0
    assert (root / "main.py").read_text() == text.replace("max().item()", "max()")


def test_fixes_that_overlap_land_in_rounds(write: Write, run: Command) -> None:
    text = HOOK.replace("sum().item()", "sum().item()  # above first").replace("# unsafe", "# above second")
    root = write({**PROJECT, "main.py": text})
    # Both want to put another row on top.
    assert run("--fix") == Run(0, "Found 2 syncs in 1 hook (2 fixed, 0 left).\n", "")
    assert (root / "main.py").read_text() == "# second\n# first\n" + text.replace(".item()", "")


def test_rounds_end(write: Write, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(result: Result, edits: bool, together: object = None) -> Result:
        def grow(item: Diagnostic) -> Diagnostic:
            edit = Edit("#\n", Location(1, 1), Location(1, 1))
            return item._replace(fix=Fix("safe", "grow", (edit,) if edits else ()))

        return result._replace(diagnostics=[grow(item) for item in result.diagnostics])

    monkeypatch.setattr(fixes, "planned", endless)
    root = write(PROJECT)
    result = run("--fix", "-q")
    assert result.err == "auditlint: warning: fixes were still being made after 10 rounds; run it again for the rest\n"
    assert (root / "main.py").read_text() == "#\n" * 10 + HOOK
    assert rounds.MOST_ROUNDS == 10


def test_a_fix_that_would_break_the_file_is_dropped_and_the_others_are_made(write: Write, run: Command) -> None:
    root = write({**PROJECT, "main.py": HOOK.replace("# unsafe", "# broken")})
    result = run("--fix", "-q")
    assert result.status == 1
    reason = "AUD101 is not fixed: the result would not be valid Python"
    assert result.err == f"auditlint: warning: main.py:8:26: {reason}\n"
    assert (root / "main.py").read_text() == SAFE.replace("# unsafe", "# broken")


def test_the_bytes_around_a_fix_stay(write: Write, run: Command) -> None:
    text = HOOK.replace("\n", "\r\n").replace("import torch\r\n", "import torch  # naïve\n").rstrip("\r\n")
    root = write({**PROJECT, "main.py": b"\xef\xbb\xbf" + text.encode()})
    assert run("--fix", "--unsafe-fixes").status == 0
    assert (root / "main.py").read_bytes() == b"\xef\xbb\xbf" + text.replace(".item()", "").encode()


def test_mode_and_links_stay(write: Write, run: Command) -> None:
    root = write({"pyproject.toml": "", "real/code.txt": HOOK})
    (root / "main.py").symlink_to("real/code.txt")
    (root / "real" / "code.txt").chmod(0o750)
    assert run("--fix", "--unsafe-fixes").status == 0
    assert (root / "main.py").is_symlink()
    assert (root / "real" / "code.txt").read_text() == BOTH
    assert stat.S_IMODE((root / "real" / "code.txt").stat().st_mode) == 0o750
    assert os.listdir(root / "real") == ["code.txt"]


def test_a_file_with_two_names_is_fixed_once(write: Write, run: Command) -> None:
    root = write(PROJECT)
    (root / "link.py").symlink_to("main.py")
    result = run("--fix", "--unsafe-fixes")
    assert (result.status, result.err) == (0, "")
    assert (root / "main.py").read_text() == BOTH
    assert run("--diff", "--unsafe-fixes", "-q") == Run(0, "", "")


class TestOtherFiles:
    FILES: Mapping[str, str] = {
        **PROJECT,
        "main.py": HOOK.replace("sum().item()", "sum().item()  # with other.py"),
        "other.py": "x = 1\n",
    }

    def test_a_fix_may_change_a_second_file(self, write: Write, run: Command) -> None:
        root = write(self.FILES)
        assert run("--fix", "main.py").status == 1
        assert (root / "other.py").read_text() == "# with\nx = 1\n"
        assert "sum()  # with" in (root / "main.py").read_text()

    def test_json_names_it(self, write: Write, run: Command) -> None:
        write(self.FILES)
        edits = json.loads(run("--output-format", "json").out)[0]["fix"]["edits"]
        assert [edit.get("filename") for edit in edits] == [None, "other.py"]

    def test_what_changes_together_is_written_together(
        self, write: Write, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = write({**self.FILES, "alone.py": HOOK})
        (root / "other.py").chmod(0o444)
        result = run("--fix", "-q", "--output-format", "concise")
        assert result.status == 2
        assert result.err == (
            "auditlint: error: other.py: is read-only, and is left as it is\n"
            "auditlint: error: main.py: not fixed without other.py\n"
        )
        assert (root / "main.py").read_text() == self.FILES["main.py"]
        assert (root / "alone.py").read_text() == SAFE
        assert result.out.count("main.py:") == 2

    def test_standard_input_is_fixed_by_itself(self, write: Write, run: Command, give: Callable[[bytes], None]) -> None:
        root = write(self.FILES)
        give(self.FILES["main.py"].encode())
        result = run("--fix", "--unsafe-fixes", "--stdin-filename", "main.py", "-q", "--output-format", "concise")
        assert result.status == 1
        assert result.out == self.FILES["main.py"].replace("max().item()", "max()")
        assert result.err.startswith(
            "auditlint: warning: main.py:7:26: AUD101 is not fixed: it changes other files too\nmain.py:7:26: AUD101"
        )
        assert contents(root) == {name: text.encode() for name, text in self.FILES.items()}


class TestWriting:
    def _interfere(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
        """Does something between linting and writing."""
        real = rounds.fix

        def fix(*arguments: object, **named: object) -> rounds.Fixed:
            fixed = real(*arguments, **named)  # type: ignore[arg-type]
            act()
            return fixed

        monkeypatch.setattr(rounds, "fix", fix)

    def test_a_file_that_changed_meanwhile_is_left_alone(
        self, write: Write, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = write({**PROJECT, "other.py": HOOK})
        edited = HOOK + "# somebody's work\n"
        self._interfere(monkeypatch, lambda: (root / "main.py").write_text(edited))
        result = run("--fix", "--output-format", "concise")
        assert result.status == 2
        assert result.err == (
            "auditlint: error: main.py: was changed by someone else meanwhile, and is left as it is\n"
        )
        assert (root / "main.py").read_text() == edited
        assert (root / "other.py").read_text() == SAFE
        assert result.out.endswith("Found 4 syncs in 2 hooks (1 fixed, 3 left; 2 fixable with --unsafe-fixes).\n")

    def test_a_file_that_went_away_is_not_brought_back(
        self, write: Write, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = write(PROJECT)
        self._interfere(monkeypatch, (root / "main.py").unlink)
        result = run("--fix", "-q")
        assert (result.status, result.err) == (
            2,
            "auditlint: error: main.py: cannot be read: No such file or directory\n",
        )
        assert not (root / "main.py").exists()

    def test_a_text_that_changes_while_it_is_linted_is_not_fixed_by_old_findings(
        self, write: Write, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = write(PROJECT)
        # The old findings fit the new text as well, where they would take `.mean()` away.
        changed = HOOK.replace("output.sum()", "output.sum().mean()")
        from auditlint import linter

        real, calls = linter.lint, []

        def lint(*arguments: object, **named: object) -> Result:
            result = real(*arguments, **named)  # type: ignore[arg-type]
            if not calls:
                (root / "main.py").write_text(changed)
            calls.append(1)
            return result

        monkeypatch.setattr(linter, "lint", lint)
        assert run("--fix", "--unsafe-fixes").status == 0
        assert (root / "main.py").read_text() == changed.replace(".item()", "")

    def test_a_read_only_file_is_left_alone(self, write: Write, run: Command) -> None:
        root = write(PROJECT)
        (root / "main.py").chmod(0o444)
        result = run("--fix", "-q")
        assert result.status == 2
        assert result.err == "auditlint: error: main.py: is read-only, and is left as it is\n"
        assert (root / "main.py").read_text() == HOOK

    def test_a_folder_that_takes_no_files_is_one_line(
        self, write: Write, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = write(PROJECT)

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.mkstemp", refuse)
        result = run("--fix", "-q", "--no-cache")
        assert (result.status, result.err) == (2, "auditlint: error: main.py: cannot be written: Permission denied\n")
        assert (root / "main.py").read_text() == HOOK

    def test_an_interrupt_leaves_files_whole(self, write: Write, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        root = write({**PROJECT, "other.py": HOOK})
        real, done = os.replace, []

        def interrupted(source: str, target: str) -> None:
            if str(target).endswith(".py"):
                done.append(target)
                if len(done) == 2:
                    raise KeyboardInterrupt
            real(source, target)

        monkeypatch.setattr(os, "replace", interrupted)
        assert run("--fix", "--no-cache") == Run(130, "", "")
        assert {(root / name).read_text() for name in ("main.py", "other.py")} == {HOOK, SAFE}
        assert sorted(os.listdir(root)) == ["main.py", "other.py", "pyproject.toml"]


class TestDiff:
    def test_it_shows_what_fix_would_do_and_writes_nothing(self, write: Write, run: Command) -> None:
        root = write(PROJECT)
        before = contents(root)
        result = run("--diff")
        assert (result.status, result.err) == (1, "Would fix 1 of 2 findings.\n")
        assert result.out == (
            "--- a/main.py\n+++ b/main.py\n@@ -4,7 +4,7 @@\n \n \n def hook(module, args, output):\n"
            "-    total = output.sum().item()\n+    total = output.sum()\n"
            "     worst = output.max().item()  # unsafe\n \n \n"
        )
        assert contents(root) == before
        assert run("--diff", "--fix") == result

    def test_findings_that_cannot_be_fixed_do_not_count(self, write: Write, run: Command) -> None:
        write({**PROJECT, "main.py": SAFE})
        assert run("--diff") == Run(0, "", "Nothing to fix.\n")
        assert run("--diff", "--unsafe-fixes", "-q").status == 1
        assert run("--diff", "--unsafe-fixes", "-q", "--exit-zero").status == 0
        assert run("--diff", "-q", "none.py").status == 2

    @pytest.mark.parametrize("text", [HOOK, HOOK.replace("\n", "\r\n"), HOOK_AT_THE_END])
    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
    def test_git_applies_it(
        self, write: Write, text: str, encoding: str, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        declared = f"# coding: {encoding}\n" if encoding == "latin-1" else ""
        data = (declared + text.replace("import torch", "import torch  # é")).encode(encoding)
        root = write({"pyproject.toml": "", "sub dir/ma'in.py": data, "sub dir/__init__.py": ""})
        assert cli.main(["--diff", "--unsafe-fixes", "-q"]) == 1
        patch = capfdbinary.readouterr().out
        (root / "fix.patch").write_bytes(patch)
        assert cli.main(["--fix", "--unsafe-fixes", "-q"]) == 0
        fixed = (root / "sub dir" / "ma'in.py").read_bytes()
        (root / "sub dir" / "ma'in.py").write_bytes(data)
        subprocess.run(["git", "apply", "fix.patch"], cwd=root, check=True, timeout=60)
        assert (root / "sub dir" / "ma'in.py").read_bytes() == fixed != data

    @pytest.mark.parametrize("name", ["two words.py", 'quo"ted.py', "back\\slash.py", "tab\tbed.py", "new\nline.py"])
    def test_git_knows_the_file(self, write: Write, name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        root = write({"pyproject.toml": "", name: HOOK})
        assert cli.main(["--diff", "-q"]) == 1
        (root / "fix.patch").write_bytes(capfdbinary.readouterr().out)
        subprocess.run(["git", "apply", "fix.patch"], cwd=root, check=True, timeout=60)
        assert (root / name).read_text() == SAFE

    def test_a_name_with_blanks_ends_in_a_tab_as_git_writes_it(self) -> None:
        assert unified_diff("a b.py", b"1\n", b"2\n").startswith(b"--- a/a b.py\t\n+++ b/a b.py\t\n@@ ")

    def test_it_can_go_to_a_file(self, write: Write, run: Command) -> None:
        root = write(PROJECT)
        shown = run("--diff", "-q").out
        assert run("--diff", "-q", "--output-file", "fix.patch") == Run(1, "", "")
        assert (root / "fix.patch").read_text() == shown


class TestStandardInput:
    def test_the_text_goes_to_standard_output_and_the_report_to_standard_error(
        self, write: Write, run: Command, give: Callable[[bytes], None]
    ) -> None:
        root = write(PROJECT)
        for arguments in (["-"], ["--stdin-filename", "main.py", "-"], ["--stdin-filename", "main.py"]):
            give(HOOK.encode())
            result = run("--fix", *arguments)
            assert (result.status, result.out) == (1, SAFE)
            assert result.err.endswith("\nFound 2 syncs in 1 hook (1 fixed, 1 left; 1 fixable with --unsafe-fixes).\n")
        assert (root / "main.py").read_text() == HOOK

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"x = 1",
            b"x = (\r\n",
            b"# coding: latin-1\r\nx = '\xe9'\r",
            b"\xef\xbb\xbfx = 1\n",
            b"\xff\0",
        ],
    )
    def test_bytes_come_back_as_they_were_where_nothing_is_fixed(
        self, write: Write, give: Callable[[bytes], None], data: bytes, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        write({"pyproject.toml": ""})
        give(data)
        status = cli.main(["--fix", "-"])
        assert capfdbinary.readouterr().out == data
        assert status == (1 if data in (b"x = (\r\n", b"\xff\0") else 0)

    def test_the_encoding_stays(
        self, write: Write, give: Callable[[bytes], None], capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        write({"pyproject.toml": ""})
        data = ("# coding: latin-1\r\n" + HOOK.replace("log = []", "log = ['é']").replace("\n", "\r\n")).encode(
            "latin-1"
        )
        give(data)
        assert cli.main(["--fix", "--unsafe-fixes", "-q", "-"]) == 0
        assert capfdbinary.readouterr().out == data.replace(b".item()", b"")

    def test_the_diff_is_of_the_text(self, write: Write, run: Command, give: Callable[[bytes], None]) -> None:
        write({"pyproject.toml": "", "main.py": "x = 1\n"})
        give(HOOK.encode())
        result = run("--diff", "-q", "--stdin-filename", "main.py", "-")
        assert result.status == 1
        assert result.out.startswith("--- a/main.py\n+++ b/main.py\n@@ -4,7 +4,7 @@\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fix", "--add-noqa"], "--fix does not go with --add-noqa"),
        (["--diff", "--add-noqa"], "--diff does not go with --add-noqa"),
        (["--fix", "--show-files"], "--fix does not go with --show-files"),
        (["--diff", "--statistics"], "--diff does not go with --statistics"),
        (["--fix", "--baseline", "none.json"], "none.json: no such file; write the baseline first, without --fix"),
        (["--fix", "-", "main.py"], "--fix takes either standard input or paths"),
        (["--diff", "--output-file", "no/where"], "no/where: cannot be written: No such file or directory"),
    ],
)
def test_what_does_not_go_together_is_said(write: Write, run: Command, arguments: list[str], words: str) -> None:
    root = write(PROJECT)
    before = contents(root)
    result = run("-q", *arguments)
    assert (result.status, result.err) == (2, f"auditlint: error: {words}\n")
    assert contents(root) == before


def test_findings_of_the_baseline_are_not_fixed(write: Write, run: Command) -> None:
    root = write(PROJECT)
    run("--baseline", "base.json")
    more = HOOK.replace("    worst", "    middle = output.mean().item()\n    worst")
    (root / "main.py").write_text(more)
    assert run("--fix", "--baseline", "base.json") == Run(0, "Found 1 sync in 1 hook (1 fixed, 0 left).\n", "")
    assert (root / "main.py").read_text() == more.replace("mean().item()", "mean()")


def test_statistics_and_machine_formats_show_what_is_left(write: Write, run: Command) -> None:
    root = write(PROJECT)
    assert run("--fix", "--statistics") == Run(1, "1  AUD101  item-in-hook\n", "")
    (root / "main.py").write_text(HOOK)
    (entry,) = json.loads(run("--fix", "--output-format", "json").out)
    assert (entry["location"]["row"], entry["fix"]["applicability"]) == (8, "unsafe")
    assert len(entry["fix"]["edits"]) == 1
    assert run("--fix", "--exit-zero").status == 0
    assert run("--fix", "--exit-zero", "none.py").status == 2


def test_missing_paths_are_told_once_and_the_others_are_fixed(write: Write, run: Command) -> None:
    root = write(PROJECT)
    result = run("--fix", "-q", "none.py", "main.py")
    assert (result.status, result.err) == (2, "auditlint: error: none.py: no such file or folder\n")
    assert (root / "main.py").read_text() == SAFE


def test_a_diff_says_which_files_cannot_be_analysed(write: Write, run: Command) -> None:
    write({"broken.py": "def f(:\n"})
    result = run("--diff", "broken.py")
    assert result.status == 0
    assert "AUD900" in result.err
