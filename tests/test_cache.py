"""The cache: what it keeps is trusted only whole, and under the very key that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auditlint import cache

Write = Callable[..., Path]


def test_what_was_stored_is_loaded_under_the_same_key_only(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "record.json")
    value = [["é", 1, None, {"a": []}]]
    cache.store(path, "key\nwith lines\udce9", value)
    assert cache.load(path, "key\nwith lines\udce9") == value
    assert cache.load(path, "key\nwith lines") is None
    assert cache.load(str(tmp_path / "other"), "key\nwith lines") is None


def test_a_torn_record_is_ignored_wherever_it_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    cache.store(str(path), "key", [1, 2, 3])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.load(str(path), "key") is None, length
    path.write_bytes(whole)
    assert cache.load(str(path), "key") == [1, 2, 3]


def test_a_changed_record_is_ignored_wherever_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    cache.store(str(path), "key", [1, 2, 3])
    whole = path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert cache.load(str(path), "key") is None, index


def test_a_process_killed_while_it_writes_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "record.json")
    cache.store(path, "key", "old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.store(path, "key", "new")
    assert cache.load(path, "key") == "old"


def test_the_folder_tells_tools_to_pass_it_over(tmp_path: Path) -> None:
    folder = tmp_path / cache.FOLDER
    cache.store(str(folder / "record.json"), "key", [])
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_the_folder_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_RECORDS", 4)
    for number in range(12):
        path = tmp_path / f"{number}.json"
        cache.store(str(path), "key", number)
        os.utime(path, (number, number))
    left = list(tmp_path.glob("*.json"))
    assert len(left) <= 5
    assert tmp_path / "11.json" in left


def test_the_folder_is_in_the_repository_or_else_in_the_project(write: Write) -> None:
    root = write(
        {"repo/.git/HEAD": "", "repo/sub/pyproject.toml": "", "bare/setup.cfg": "", "tree/pkg/__init__.py": ""}
    )
    assert cache.cache_folder(str(root / "repo")) == str(root / "repo" / cache.FOLDER)
    assert cache.cache_folder(str(root / "repo" / "sub")) == str(root / "repo" / cache.FOLDER)
    assert cache.cache_folder(str(root / "bare")) == str(root / "bare" / cache.FOLDER)


@pytest.mark.skipif(sys.platform == "darwin", reason="the user's cache folder cannot be chosen there")
def test_what_is_no_project_of_the_users_is_not_written_to(write: Write) -> None:
    root = write({"repo/.git/HEAD": "", "repo/venv/site-packages/pkg/__init__.py": "", "scripts/a.py": ""})
    user = Path(os.environ["LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"]) / "auditlint"
    assert cache.cache_folder(str(root / "repo" / "venv" / "site-packages" / "pkg")) == str(user)
    assert cache.cache_folder(str(root / "scripts")) == str(user)


def test_a_project_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "record.json")
    cache.store(path, "key", [])
    assert cache.load(path, "key") is None


def test_two_ways_to_analyse_a_project_do_not_share_a_record() -> None:
    assert cache.record_path("/p", "one") != cache.record_path("/p", "two")
    assert cache.record_path("/p/a", "one") != cache.record_path("/q/a", "one")
