"""The flake8 plugin: the command line's findings at the command line's places, under flake8's own options."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]

HELPER = """\
def total(value):
    été = value.sum().item(); return été
"""
HOOK = """\
import torch

from pkg.helper import total


def hook(module, args, output):
    return total(output)


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)
"""
PROJECT = {"pyproject.toml": "", "pkg/__init__.py": "", "pkg/helper.py": HELPER, "pkg/main.py": HOOK}
FOUND = "pkg/helper.py:2:23: AUD101"


def _flake8(*arguments: str, text: str | None = None) -> tuple[list[str], str]:
    """`path:row:column: code` of each finding, and what went to standard error."""
    command = [sys.executable, "-m", "flake8", "--select", "AUD,E9", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, input=text, encoding="utf-8")
    lines = [" ".join(line.split(" ", 2)[:2]).removeprefix("./") for line in done.stdout.splitlines()]
    return lines, done.stderr


def _auditlint(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "auditlint", "--output-format", "json", "--no-cache", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return [
        f"{item['filename']}:{item['location']['row']}:{item['location']['column']}: {item['code']}"
        for item in json.loads(done.stdout)
    ]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_findings_and_places_are_those_of_the_command_line(write: Write, jobs: str) -> None:
    copies = {f"pkg/copy{number}.py": HOOK.replace("total(output)", "output.tolist()") for number in range(6)}
    write({**PROJECT, **copies})
    found, errors = _flake8("-j", jobs, ".")
    assert (sorted(found), errors) == (sorted(_auditlint(".")), "")
    assert FOUND in found
    assert len(found) == 7


def test_a_file_alone_has_the_same_findings(write: Write) -> None:
    write(PROJECT)
    assert _flake8("pkg/helper.py")[0] == [FOUND]


def test_flake8s_own_words_count(write: Write) -> None:
    root = write(PROJECT)
    assert _flake8("--extend-ignore", "AUD101", ".")[0] == []
    assert _flake8("--per-file-ignores", "pkg/helper.py:AUD1", ".")[0] == []
    (root / "pkg" / "helper.py").write_text(
        HELPER.replace("return été", "return été  # noqa: AUD101"), encoding="utf-8"
    )
    assert _flake8(".")[0] == []
    assert _flake8("--disable-noqa", ".")[0] == [FOUND]


def test_our_own_comments_and_configuration_count(write: Write) -> None:
    root = write(PROJECT)
    allowed = HELPER.replace("return été", "return été  # auditlint: allow-sync[AUD101] read once")
    (root / "pkg" / "helper.py").write_text(allowed, encoding="utf-8")
    assert _flake8(".")[0] == []
    (root / "pkg" / "helper.py").write_text(HELPER, encoding="utf-8")
    (root / "pyproject.toml").write_text("[tool.auditlint]\nignore = ['AUD101']\n")
    assert _flake8(".")[0] == []
    assert _flake8("--auditlint-isolated", ".")[0] == [FOUND]


def test_idle_suppressions_are_told(write: Write) -> None:
    write({"pyproject.toml": "", "a.py": "x = 1  # noqa: AUD101\ny = 2  # auditlint: allow-sync[AUD102] z\n"})
    assert sorted(_flake8(".")[0]) == sorted(_auditlint(".")) != []


def test_opt_in_rules_stay_off_until_they_are_asked_for(write: Write) -> None:
    write({**PROJECT, "pkg/helper.py": HELPER.replace("return été", "return été  # auditlint: allow-sync[AUD101]")})
    assert _flake8(".")[0] == []
    assert [line.split()[1] for line in _flake8("--auditlint-extend-select", "AUD902", ".")[0]] == ["AUD902"]


@pytest.mark.parametrize(
    ("option", "source"),
    [
        ("--auditlint-decorators=probe", "from x import probe\n\n\n@probe\ndef seen(out):\n    return out.item()\n"),
        ("--auditlint-hooks=pkg.main.seen", "def seen(out):\n    return out.item()\n"),
        (
            "--auditlint-check-forward",
            "import torch\n\n\nclass Net(torch.nn.Module):\n"
            "    def forward(self, x: torch.Tensor):\n        return x.item()\n",
        ),
    ],
)
def test_options_widen_what_counts_as_a_hook(write: Write, option: str, source: str) -> None:
    root = write({"pyproject.toml": "", "pkg/__init__.py": "", "pkg/main.py": source})
    assert _flake8(".")[0] == []
    (found,) = _flake8(option, ".")[0]
    assert found.endswith("AUD101")
    name, _, value = option.removeprefix("--").partition("=")
    (root / "setup.cfg").write_text(f"[flake8]\n{name} = {value or 'true'}\n")
    assert _flake8(".")[0] == [found]


def test_standard_input_is_read_in_place_of_its_file(write: Write) -> None:
    write(PROJECT)
    shifted = "\n\n" + HELPER
    found, _ = _flake8("--stdin-display-name", "pkg/helper.py", "-", text=shifted)
    assert found == ["pkg/helper.py:4:23: AUD101"]
    alone = HOOK.replace("from pkg.helper import total", "").replace("total(output)", "output.item()")
    assert _flake8("-", text=alone)[0] == ["stdin:7:19: AUD101"]


def test_a_file_that_does_not_parse_is_flake8s_own(write: Write) -> None:
    write({**PROJECT, "pkg/broken.py": HOOK + "def f(:\n"})
    found, errors = _flake8(".")
    assert [line for line in found if "broken" in line and "AUD" in line] == []
    assert [line for line in found if "E999" in line] != []
    assert (FOUND in found, errors) == (True, "")


@pytest.mark.parametrize("arguments", [["--auditlint-config", "none.toml"], ["--auditlint-extend-select", "AUD999"]])
def test_a_wrong_option_is_told_without_a_traceback(write: Write, arguments: list[str]) -> None:
    write(PROJECT)
    done = subprocess.run([sys.executable, "-m", "flake8", *arguments, "."], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.search(r"auditlint: .*(none\.toml: cannot be read|unknown rule code `AUD999`)", done.stdout + done.stderr)
    assert "Traceback" not in done.stderr


def test_a_broken_configuration_is_told(write: Write) -> None:
    write({**PROJECT, "pyproject.toml": "[tool.auditlint]\nselct = []\n"})
    done = subprocess.run([sys.executable, "-m", "flake8", "-j1", "."], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "unknown key `selct` (did you mean `select`?)" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_noqa_counts_on_every_row_of_a_statement(write: Write) -> None:
    hook = "def f(module, args, output):\n    print(\n        output,\n    )  # noqa: AUD105\n"
    write({"pyproject.toml": "", "a.py": hook + "\n\nm.register_forward_hook(f)\n"})
    assert _flake8("a.py")[0] == []
    assert _flake8("--disable-noqa", "a.py")[0] == ["a.py:2:5: AUD105"]
