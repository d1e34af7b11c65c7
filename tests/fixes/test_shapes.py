"""Shapes of hooks, and what becomes of them: NAME.in.py, and beside it

NAME.txt        what is said of each finding: its row, its code, and its fix or why it has none
NAME.safe.py    after the safe fixes (no such file: they change nothing)
NAME.unsafe.py  after the unsafe ones too (no such file: they change nothing more)
NAME.plain.py   the same in the plain style (no such file: it changes nothing)

`python tests/fixes/test_shapes.py` writes these files anew, to be read before they are committed.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from auditlint import fixes
from auditlint.config import Config
from auditlint.fixes.applying import rounds
from auditlint.linter import Options, Result, Stdin, lint

SHAPES = Path(__file__).parents[2] / "fixtures" / "fixes" / "shapes"
NAMES = sorted(path.name.removesuffix(".in.py") for path in SHAPES.glob("*.in.py"))


def linted(data: bytes, folder: Path, style: str) -> Result:
    (folder / "pyproject.toml").touch()
    return lint(
        [],
        config=Config(fix_style=style),
        stdin=Stdin(data, str(folder / "shape.py")),
        options=Options(cache=False, jobs=1),
    )


def fixed(data: bytes, folder: Path, style: str, *, unsafe: bool) -> bytes:
    def again(overlays: dict[str, bytes]) -> Result:
        return linted(next(iter(overlays.values()), data), folder, style)

    done = rounds.fix(again, unsafe=unsafe)
    assert not done.refused
    assert not done.unfinished
    return next(iter(done.after.values()), data)


def said(data: bytes, folder: Path) -> str:
    lines = []
    for item in fixes.planned(linted(data, folder, "library"), edits=False).diagnostics:
        fix = f"{item.fix.applicability}: {item.fix.message}" if item.fix else f"none: {item.unfixed}"
        lines.append(f"{item.location.row} {item.code} {fix}\n")
    return "".join(lines)


def expected(name: str, kind: str, otherwise: bytes) -> bytes:
    path = SHAPES / f"{name}.{kind}.py"
    return path.read_bytes() if path.exists() else otherwise


def source(name: str) -> bytes:
    return (SHAPES / f"{name}.in.py").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_each_finding_says_what_its_fix_is(name: str, tmp_path: Path) -> None:
    assert said(source(name), tmp_path) == (SHAPES / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_safe_fixes(name: str, tmp_path: Path) -> None:
    data = source(name)
    assert fixed(data, tmp_path, "library", unsafe=False).decode() == expected(name, "safe", data).decode()


@pytest.mark.parametrize("name", NAMES)
def test_unsafe_fixes(name: str, tmp_path: Path) -> None:
    data = source(name)
    safe = expected(name, "safe", data)
    assert fixed(data, tmp_path, "library", unsafe=True).decode() == expected(name, "unsafe", safe).decode()
    steps = fixed(safe, tmp_path, "library", unsafe=True)
    left = fixes.planned(linted(steps, tmp_path, "library"), edits=False).diagnostics
    assert all(item.fix is None for item in left), "safe fixes first leave nothing undone"


@pytest.mark.parametrize("name", NAMES)
def test_plain_style(name: str, tmp_path: Path) -> None:
    data = source(name)
    plain = fixed(data, tmp_path, "plain", unsafe=True)
    assert plain.decode() == expected(name, "plain", data).decode()
    assert b"auditlint" not in plain


@pytest.mark.parametrize("style", ["library", "plain"])
@pytest.mark.parametrize("name", NAMES)
def test_fixed_files_parse_and_are_not_fixed_again(name: str, style: str, tmp_path: Path) -> None:
    once = fixed(source(name), tmp_path, style, unsafe=True)
    ast.parse(once)
    assert fixed(once, tmp_path, style, unsafe=True) == once
    left = fixes.planned(linted(once, tmp_path, style), edits=False).diagnostics
    assert all(item.fix is None for item in left)


def rewrite(folder: Path) -> None:
    for name in NAMES:
        data = source(name)
        safe, unsafe = (fixed(data, folder, "library", unsafe=unsafe) for unsafe in (False, True))
        results = {
            "safe": (data, safe),
            "unsafe": (safe, unsafe),
            "plain": (data, fixed(data, folder, "plain", unsafe=True)),
        }
        for kind, (before, after) in results.items():
            path = SHAPES / f"{name}.{kind}.py"
            path.unlink(missing_ok=True)
            if after != before:
                path.write_bytes(after)
        (SHAPES / f"{name}.txt").write_text(said(data, folder))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        rewrite(Path(name).resolve())
    sys.exit()
