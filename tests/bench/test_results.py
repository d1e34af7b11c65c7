"""The results that are kept in the repository, and what the documentation shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the records are made by modules that need torch")
jsonschema = pytest.importorskip("jsonschema", reason="holds the records against their schema")

from auditlint.bench import tables  # noqa: E402
from auditlint.bench.records import schema  # noqa: E402

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
RESULTS = sorted((DOCS / "results").glob("*.json"))
TABLES = {"overhead": tables.overhead, "probes": tables.probes}


def _record(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_follow_their_schema_and_are_shown_as_they_are(path):
    record = _record(path)
    jsonschema.validate(record, schema(record["study"]))
    assert record["audit_data_equal"] is True and not record["interrupted"]
    assert str(path.relative_to(DOCS.parent)) in record["command"]
    guide = (DOCS / "bench.md").read_text(encoding="utf-8")
    assert " ".join(record["command"]) in guide
    table = TABLES[record["study"]](record)
    # Of the probe study the guide shows the last point: it would be pages.
    shown = table if record["study"] == "overhead" else table.split("\n\n")[-2]
    assert shown in guide


def test_the_readme_shows_the_simulated_result():
    record = _record(DOCS / "results" / "overhead-simulated.json")
    table = tables.overhead(record).split("\n\n")
    assert "\n\n".join(table[:3]) in (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert record["environment"]["times"] == "simulated"
