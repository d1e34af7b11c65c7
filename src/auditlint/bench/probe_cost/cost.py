"""From a question to its answer, as numbers and as the words that the report and the page share."""

from __future__ import annotations

from typing import NamedTuple

from auditlint.bench.probe_cost.formulas import Figures, Load, figures, throughput_loss
from auditlint.bench.probe_cost.latency import Band, Bands
from auditlint.bench.probe_cost.numerals import flops, percent, significant, size, span
from auditlint.bench.probe_cost.presets import DTYPES, Model
from auditlint.bench.probe_cost.verdict import Verdict, verdict

ONE_LAYER, EVERY_LAYER = "one-layer", "every-layer"
SCOPES = (ONE_LAYER, EVERY_LAYER)


class Question(NamedTuple):
    """What is asked: so many probes on one layer, or on every layer, of a model with weights in `dtype`."""

    model: Model
    probes: int
    scope: str
    dtype: str
    probe_dtype: str

    @property
    def load(self) -> Load:
        """The numbers that the formulas take."""
        return Load(
            params=self.model.active_params,
            d_model=self.model.d_model,
            layers=self.model.layers,
            probes=self.probes,
            every_layer=self.scope == EVERY_LAYER,
            weight_size=DTYPES[self.dtype].size,
            probe_size=DTYPES[self.probe_dtype].size,
            state_size=DTYPES[DTYPES[self.dtype].activations].size,
        )


class Cost(NamedTuple):
    """The answer. An illustrative band is never below the floor; what was measured stays what it is."""

    figures: Figures
    bands: Bands
    verdict: Verdict


def cost(question: Question, bands: Bands) -> Cost:
    """Return what `question` comes to, with `bands` for the latency."""
    computed = figures(question.load)
    raised = Bands(*(band.above(computed.floor) for band in bands))
    return Cost(computed, raised, verdict(computed.floor, raised))


def texts(answer: Cost) -> dict[str, str]:
    """Return the words for an answer: key -> text. `formulas.js` has the same, for the same keys."""
    of, bands, judged = answer
    direction = "below" if of.orders >= 0 else "above"
    return {
        "readouts": f"{of.readouts:,.0f}",
        "flops": f"{flops(of.readout_flops)} beside the forward pass's {flops(of.forward_flops)}",
        "arithmetic": percent(of.arithmetic_overhead),
        "orders": f"{significant(abs(of.orders))} orders of magnitude {direction} the forward pass",
        "bytes": percent(of.bytes_overhead),
        "weights": f"{size(of.probe_bytes)} of probe weights beside {size(of.model_bytes)} at work",
        "states_packed": size(of.packed_state_bytes),
        "states_single": size(of.single_state_bytes),
        "export": size(of.export_bytes),
        "floor": percent(of.floor),
        "naive": span(bands.naive.low, bands.naive.high),
        "naive_loss": _loss(bands.naive),
        "batched": span(bands.batched.low, bands.batched.high),
        "batched_loss": _loss(bands.batched),
        "floor_grade": judged.floor,
        "naive_grade": judged.naive,
        "batched_grade": judged.batched,
        "verdict": judged.sentence,
    }


def _loss(band: Band) -> str:
    """The share of the tokens per second that is lost."""
    return span(throughput_loss(band.low), throughput_loss(band.high))
