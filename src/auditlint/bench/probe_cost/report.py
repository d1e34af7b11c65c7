"""The answer as text for people, and as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from auditlint.bench.probe_cost.cost import EVERY_LAYER, Cost, Question, texts
from auditlint.bench.probe_cost.formulas import throughput_loss
from auditlint.bench.probe_cost.latency import labels
from auditlint.bench.probe_cost.numerals import amount
from auditlint.bench.probe_cost.presets import PRESETS
from auditlint.bench.verdicts import THRESHOLDS
from auditlint.console import count


def render(question: Question, answer: Cost, width: int) -> str:
    """Return the report for people, in lines of at most `width` columns where its words allow it."""
    model, words = question.model, texts(answer)
    where = "on every layer" if question.scope == EVERY_LAYER else "on one layer"
    probes = "1 probe" if question.probes == 1 else f"{question.probes:,} probes"
    lines = [
        f"{probes} {where} of {model.title}, for a token of one sequence",
        *_wrapped(f"{_size(question)}; {model.source}", width),
        "",
        "Computed",
        _row("arithmetic overhead", words["arithmetic"], words["orders"]),
        _row("bytes overhead", words["bytes"], words["weights"]),
        _row("readouts", words["readouts"], words["flops"]),
        _row(
            "hidden states read", words["states_packed"], f"{words['states_single']} where each probe reads for itself"
        ),
        _row("waits in the pass", "0", f"{words['readouts']} in a naive hook"),
        _row("readouts exported", words["export"], f"in {question.probe_dtype}"),
        "",
        "Serving latency overhead",
        f"  batched async readout {words['batched']:>16}  loses {words['batched_loss']} of the tokens/s",
        f"  naive hook            {words['naive']:>16}  loses {words['naive_loss']} of the tokens/s",
        *(line for label in labels(answer.bands).values() for line in _wrapped(label, width)),
        "",
        *textwrap.wrap(f"Verdict: {words['verdict']}", width, subsequent_indent="  "),
        *_wrapped(
            f"floor {words['floor_grade']}, batched {words['batched_grade']} at its worst, "
            f"naive {words['naive_grade']} at its best",
            width,
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


def _row(name: str, value: str, note: str) -> str:
    return f"  {name:<19} {value:>8}  {note}"


def as_json(question: Question, answer: Cost, command: str) -> str:
    """Return the answer as one JSON object; overheads are in percent, `*_bytes` in bytes, all for one token."""
    model = question.model
    result = {
        "study": "probe-cost",
        "command": command,
        "model": {
            "name": model.title,
            "params": model.params,
            "active_params": model.active_params,
            "d_model": model.d_model,
            "layers": model.layers,
            "source": model.source,
        },
        "config": {
            "probes": question.probes,
            "scope": question.scope,
            "dtype": question.dtype,
            "probe_dtype": question.probe_dtype,
        },
        "computed": answer.figures._asdict(),
        "latency": {
            way: {
                "low": band.low,
                "high": band.high,
                "throughput_loss": [throughput_loss(band.low), throughput_loss(band.high)],
                "basis": band.basis,
                "source": band.source,
                "device": band.device or None,
                "date": band.date or None,
            }
            for way, band in answer.bands._asdict().items()
        },
        "verdict": {**answer.verdict._asdict(), "sentence": answer.verdict.sentence},
        "criteria": {name: 100.0 * share for name, share in THRESHOLDS.items()},
    }
    return json.dumps(result, indent=2) + "\n"


def presets() -> str:
    """Return the models that can be named, a line for each."""
    head = f"{'NAME':<15}{'PARAMS':>6}{'AT WORK':>9}{'WIDTH':>7}{'LAYERS':>8}  CONFIGURATION"
    rows = (
        f"{name:<15}{amount(model.params):>6}{amount(model.active_params):>9}{model.d_model:>7}{model.layers:>8}"
        f"  {model.source.rpartition(' ')[2]}"
        for name, model in PRESETS.items()
    )
    return "".join(f"{line}\n" for line in (head, *rows))


def _size(question: Question) -> str:
    model = question.model
    resting = "" if model.active_params == model.params else f" ({amount(model.active_params)} at work for a token)"
    return (
        f"{amount(model.params)} parameters{resting} in {question.dtype}, width {model.d_model:,}, "
        f"{count(model.layers, 'layer')}"
    )


def _wrapped(text: str, width: int) -> Iterator[str]:
    # The names of models and files have hyphens, and are to be copied.
    return iter(
        textwrap.wrap(
            text, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
    )
