"""Small models, and studies run as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SMALL = ["--blocks", "2", "--width", "16", "--heads", "2", "--experts", "4", "--hidden", "16", "--vocabulary", "61"]


class Run(NamedTuple):
    status: int
    out: str
    err: str
    record: Any


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Runs `auditlint bench ...` on a small model and reads the record that it has written, if it has."""
    pytest.importorskip("torch", reason="the benches run a model")
    from auditlint.cli import main

    monkeypatch.chdir(tmp_path)

    def run(study: str, *arguments: str) -> Run:
        sizes = [] if "--model" in arguments else SMALL
        status = main(["bench", study, *sizes, "--output", "record.json", *arguments])
        path = tmp_path / "record.json"
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        return Run(status, *capsys.readouterr(), record)

    return run
