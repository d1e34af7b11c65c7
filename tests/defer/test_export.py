"""Entries as JSON, JSON lines and Parquet: every value as it was, each file whole or not at all."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the deferral library needs torch")

from auditlint.defer import AuditLog, defer  # noqa: E402
from auditlint.defer.export import write_json, write_jsonl, write_parquet  # noqa: E402

ENTRIES: list[dict[str, Any]] = [
    {"token": 0, "layer": 0, "module": "blocks.0", "norm": 0.1, "ids": [2**53 + 1, -1]},
    {"token": None, "layer": None, "module": None, "note": 'a "quoted" ✓ line\n', "flag": True},
]


def logged() -> AuditLog:
    log = AuditLog()
    for entry in ENTRIES:
        log.append(entry)
    return log


def test_json_is_an_array_of_the_entries(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    logged().to_json(path)
    assert json.loads(path.read_bytes()) == ENTRIES
    assert len(path.read_text(encoding="utf-8").splitlines()) == 4  # the brackets, and one entry a line


def test_json_lines_are_one_entry_each(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    logged().to_jsonl(str(path))
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == ENTRIES


@pytest.mark.parametrize("write", [write_json, write_jsonl])
def test_no_entries(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "log", [])
    assert (tmp_path / "log").read_text().split() == (["[", "]"] if write is write_json else [])


def test_what_json_has_no_words_for(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    value = [math.nan, -math.inf, math.inf, -0.0, 1e300, 2 - 1j, (1, 2), {1: {2}}]
    tensors = {"t": torch.tensor([1.5, math.nan]), "a": torch.ones(2).numpy(), "n": torch.ones(1).numpy()[0]}
    write_json(path, [{"value": value, **tensors}])

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    (entry,) = json.loads(path.read_bytes(), parse_constant=refuse)
    expected = ["NaN", "-Infinity", "Infinity", -0.0, 1e300, {"re": 2.0, "im": -1.0}, [1, 2], {"1": [2]}]
    assert entry == {"value": expected, "t": [1.5, "NaN"], "a": [1.0, 1.0], "n": 1.0}
    assert math.copysign(1, entry["value"][3]) == -1


@pytest.mark.parametrize("write", [write_json, write_jsonl])
def test_a_value_that_cannot_be_written_is_named_and_the_old_file_stays(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "log"
    path.write_text("before")
    with pytest.raises(TypeError, match="entry 1, 'bad': JSON has no object"):
        write(path, [ENTRIES[0], {"bad": [object()]}])
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["log"]


def test_an_existing_file_is_replaced_and_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("before")
    link.symlink_to(target)
    write_json(link, ENTRIES)
    assert link.is_symlink() and json.loads(target.read_bytes()) == ENTRIES
    assert sorted(os.listdir(tmp_path)) == ["link.json", "target.json"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_json(tmp_path / "missing" / "log.json", ENTRIES)


def test_an_error_of_the_device_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog()
    log.append({"value": defer(torch.tensor(1.0))})

    def lost(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr("auditlint.defer.audit_log.values", lost)
    with pytest.raises(RuntimeError, match="device lost"):
        log.to_jsonl(tmp_path / "log.jsonl")
    assert os.listdir(tmp_path) == []


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"Parquet needs pyarrow: pip install 'auditlint\[parquet\]'"):
        logged().to_parquet(tmp_path / "log.parquet")
    assert os.listdir(tmp_path) == []


def test_parquet_has_a_column_for_each_key(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is written by pyarrow")
    path = tmp_path / "log.parquet"
    logged().to_parquet(path)
    table = parquet.read_table(path)
    names = ["token", "layer", "module", "norm", "ids", "note", "flag"]
    assert table.column_names == names
    assert [str(table.schema.field(name).type) for name in names[:3]] == ["int64", "int32", "string"]
    assert table.to_pylist() == [{name: entry.get(name) for name in names} for entry in ENTRIES]


def test_parquet_of_special_values_and_of_nothing(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is written by pyarrow")
    path = tmp_path / "log.parquet"
    write_parquet(path, [{"n": math.inf, "z": 1 + 2j, "t": torch.ones(2)}, {"n": 3, "z": 0j, "t": [1.0]}])
    rows = parquet.read_table(path).select(["n", "z", "t"]).to_pylist()
    assert rows == [
        {"n": math.inf, "z": {"re": 1.0, "im": 2.0}, "t": [1.0, 1.0]},
        {"n": 3.0, "z": {"re": 0.0, "im": 0.0}, "t": [1.0]},
    ]
    write_parquet(path, [])
    assert parquet.read_table(path).column_names == ["token", "layer", "module"]


def test_parquet_names_a_column_without_a_type(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet is written by pyarrow")
    with pytest.raises(ValueError, match="the values of 'mixed' have no common type"):
        write_parquet(tmp_path / "log.parquet", [{"mixed": 1.5}, {"mixed": "x"}])
    assert os.listdir(tmp_path) == []
