"""Selection: the longest prefix decides, and opt-in rules have to be meant."""

from __future__ import annotations

import pytest

from auditlint.config import Config
from auditlint.selection import ignored_in_file, selected_codes

KNOWN = ("AUD101", "AUD102", "AUD201", "AUD902")


def _selected(**settings: tuple[str, ...]) -> str:
    return " ".join(sorted(selected_codes(Config(**settings), KNOWN, ["AUD902"])))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ({}, "AUD101 AUD102 AUD201"),
        ({"ignore": ("AUD1",)}, "AUD201"),
        ({"ignore": ("AUD",)}, ""),
        ({"select": ("AUD1",)}, "AUD101 AUD102"),
        ({"select": ("AUD1",), "ignore": ("AUD101",)}, "AUD102"),
        ({"select": ("AUD101",), "ignore": ("AUD1",)}, "AUD101"),
        ({"select": ("AUD101",), "ignore": ("AUD101",)}, ""),
        ({"select": ("ALL",), "ignore": ("AUD2",)}, "AUD101 AUD102"),
        ({"select": ("AUD",)}, "AUD101 AUD102 AUD201"),
        ({"select": ("AUD9",)}, "AUD902"),
        ({"extend_select": ("AUD902",)}, "AUD101 AUD102 AUD201 AUD902"),
        ({"extend_select": ("AUD902",), "select": ("AUD2",)}, "AUD201 AUD902"),
        ({"extend_select": ("AUD902",), "ignore": ("AUD902",)}, "AUD101 AUD102 AUD201"),
        ({"ignore": ("ALL",)}, ""),
    ],
)
def test_selection(settings: dict[str, tuple[str, ...]], codes: str) -> None:
    assert _selected(**settings) == codes


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("test_*.py", "/p/a/test_x.py", True),
        ("test_*.py", "/p/a/x.py", False),
        ("tests/*", "/p/tests/deep/x.py", True),
        ("tests/", "/p/tests/x.py", True),
        ("tests/*", "/p/a/tests/x.py", False),
        ("**/tests/*", "/p/a/tests/x.py", True),
        ("**/tests/*", "/p/tests/x.py", True),
        ("a/**/x.py", "/p/a/x.py", True),
        ("a/**/x.py", "/p/a/b/c/x.py", True),
        ("./a/x.py", "/p/a/x.py", True),
        ("/q/*.py", "/q/x.py", True),
        ("a/[xy].py", "/p/a/y.py", True),
        ("a/?.py", "/p/a/xy.py", False),
        ("x.py", "/p/x.pyx", False),
    ],
)
def test_per_file_ignores(pattern: str, path: str, expected: bool) -> None:
    ignored = ignored_in_file(Config(root="/p", per_file_ignores=((pattern, ("AUD1",)),)))
    assert ignored(path, "AUD101") is expected
    assert not ignored(path, "AUD201")


def test_all_in_per_file_ignores_means_every_code() -> None:
    ignored = ignored_in_file(Config(root="/p", per_file_ignores=(("x.py", ("ALL",)),)))
    assert ignored("/p/x.py", "AUD900")
