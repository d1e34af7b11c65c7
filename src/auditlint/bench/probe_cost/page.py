"""The instrument as one page: it needs no network, and computes in the browser what the command computes here."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from string import Template

from auditlint import __version__
from auditlint.bench.probe_cost.cost import Question
from auditlint.bench.probe_cost.latency import Latencies, labels
from auditlint.bench.probe_cost.presets import DTYPES, LIMITS, PRESETS, PROBE_DTYPES, Model
from auditlint.bench.probe_cost.verdict import CONTRASTS, HEADLINES
from auditlint.bench.verdicts import THRESHOLDS

OWN = "own"  # the key of a model that is no preset


def render(question: Question, latencies: tuple[Latencies, ...]) -> str:
    """Return the page; it opens with `question`, and has `latencies` to choose from."""
    script = _asset("formulas.js") + _asset("page.js")
    return Template(_asset("page.html")).substitute(
        style=_asset("page.css"),
        script=script,
        hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        # Nothing in a model's or a file's name may end the element that the data stand in.
        data=json.dumps(data(question, latencies)).replace("<", "\\u003c"),
        version=__version__,
    )


def data(question: Question, latencies: tuple[Latencies, ...]) -> dict[str, object]:
    """Return what the page's script works with; everything that is not a formula comes from here."""
    key, models = _models(question.model)
    return {
        "models": {name: model._asdict() for name, model in models.items()},
        "dtypes": {name: dtype._asdict() for name, dtype in DTYPES.items()},
        "probe_dtypes": PROBE_DTYPES,
        "limits": LIMITS,
        "latencies": [
            {
                "probes": one.probes,
                "scope": one.scope,
                "bands": {way: band._asdict() for way, band in one.bands._asdict().items()},
                "labels": labels(one.bands),
                "caveat": one.bands.caveat,
            }
            for one in latencies
        ],
        "thresholds": THRESHOLDS,
        "headlines": HEADLINES,
        "contrasts": CONTRASTS,
        "initial": {
            "model": key,
            "probes": question.probes,
            "scope": question.scope,
            "dtype": question.dtype,
            "probe_dtype": question.probe_dtype,
        },
    }


def _models(model: Model) -> tuple[str, dict[str, Model]]:
    """The key of the model that is asked for, and all that can be chosen."""
    for key, preset in PRESETS.items():
        if preset == model:
            return key, PRESETS
    return OWN, {OWN: model, **PRESETS}


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
