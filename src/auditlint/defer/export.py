"""Plain entries as files: JSON, JSON lines and Parquet, each written whole or not at all."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import torch

Entries = Sequence[dict[str, Any]]

_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


def write_json(path: str | os.PathLike[str], entries: Entries) -> None:
    """Write one JSON array, one entry a line, in UTF-8.

    Strict JSON has no NaN and no infinities: they become the strings "NaN", "Infinity" and "-Infinity", as in the JSON
    form of protocol buffers. Complex numbers become {"re": ..., "im": ...}, arrays and tensors lists. Raises TypeError
    for a value that JSON does not know, with the place where it is; then nothing is written.
    """
    with _atomic(path) as file:
        file.write(b"[")
        for number, line in enumerate(_lines(entries)):
            file.write((b",\n" if number else b"\n") + line)
        file.write(b"\n]\n")


def write_jsonl(path: str | os.PathLike[str], entries: Entries) -> None:
    """Write one JSON object a line, in UTF-8; values and errors as in `write_json`."""
    with _atomic(path) as file:
        for line in _lines(entries):
            file.write(line + b"\n")


def write_parquet(path: str | os.PathLike[str], entries: Entries) -> None:
    """Write a Parquet file: int64 `token`, int32 `layer`, string `module`, and a column for each other key.

    An entry without a key has null there. Types are those that pyarrow infers from a column's values; complex numbers
    are structs of `re` and `im`. Raises ImportError without pyarrow and ValueError for a column whose values have no
    common type; then nothing is written.
    """
    arrow, parquet = _pyarrow()
    known = {"token": arrow.int64(), "layer": arrow.int32(), "module": arrow.string()}
    names = dict.fromkeys([*known, *(key for entry in entries for key in entry)])
    columns = {}
    for name in names:
        values = [_arrow(entry.get(name)) for entry in entries]
        try:
            columns[str(name)] = arrow.array(values, type=known.get(name))
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, arrow.ArrowNotImplementedError) as error:
            raise ValueError(f"the values of {name!r} have no common type for Parquet: {error}") from error
    with _atomic(path) as file:
        parquet.write_table(arrow.table(columns), file)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'auditlint[parquet]'") from error


@contextlib.contextmanager
def _atomic(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block ends, and vanishes when it raises."""
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _lines(entries: Entries) -> Iterator[bytes]:
    for number, entry in enumerate(entries):
        plain = {str(key): _json(value, f"entry {number}, {key!r}") for key, value in entry.items()}
        yield json.dumps(plain, ensure_ascii=False, allow_nan=False).encode()


def _json(value: Any, place: str) -> Any:
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")
    if isinstance(value, complex):
        return {"re": _json(value.real, place), "im": _json(value.imag, place)}
    if isinstance(value, dict):
        return {str(key): _json(item, place) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json(item, place) for item in value]
    listed = _listed(value)
    if listed is value:
        raise TypeError(f"{place}: JSON has no {type(value).__name__}")
    return _json(listed, place)


def _listed(value: Any) -> Any:
    """The lists or numbers of an array or tensor; `value` itself if it is neither."""
    is_array = isinstance(value, torch.Tensor) or type(value).__module__ == "numpy"
    return value.tolist() if is_array else value


def _arrow(value: Any) -> Any:
    value = _listed(value)
    if isinstance(value, complex):
        return {"re": value.real, "im": value.imag}
    if isinstance(value, dict):
        return {str(key): _arrow(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_arrow(item) for item in value]
    return value
