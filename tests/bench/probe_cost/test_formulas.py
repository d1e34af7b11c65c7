"""The arithmetic, and numbers as people read them."""

from __future__ import annotations

import pytest

from auditlint.bench.probe_cost.cost import EVERY_LAYER, ONE_LAYER, Question, cost, texts
from auditlint.bench.probe_cost.formulas import Load, figures, latency_overhead, throughput_loss
from auditlint.bench.probe_cost.latency import ILLUSTRATION
from auditlint.bench.probe_cost.numerals import amount, flops, significant, size, span
from auditlint.bench.probe_cost.presets import Model

SEVEN = Model("7B", 7 * 10**9, 7 * 10**9, 4096, 32, "a test")


def asked(probes: int, scope: str = ONE_LAYER, dtype: str = "bfloat16", probe_dtype: str = "bfloat16") -> Question:
    return Question(SEVEN, probes, scope, dtype, probe_dtype)


def test_one_readout_of_a_7b_model_is_six_orders_of_magnitude_below_its_forward_pass() -> None:
    words = texts(cost(asked(1), ILLUSTRATION))
    assert words["arithmetic"] == "5.9e-5 %"
    assert words["orders"] == "6.2 orders of magnitude below the forward pass"
    assert figures(asked(1).load).arithmetic_overhead == pytest.approx(100 * 4096 / 7e9)


def test_a_thousand_readouts_are_8_megabytes_beside_14_gigabytes() -> None:
    words = texts(cost(asked(1000), ILLUSTRATION))
    assert words["weights"] == "8.2 MB of probe weights beside 14 GB at work"
    assert figures(asked(1000).load)[6:8] == (14e9, 8.192e6)


def test_probes_on_every_layer_cost_as_many_times_more_as_there_are_layers() -> None:
    one, every = figures(asked(10).load), figures(asked(10, EVERY_LAYER).load)
    assert (one.readouts, every.readouts, every.layers_read) == (10, 320, 32)
    for name in ("readout_flops", "probe_bytes", "packed_state_bytes", "single_state_bytes", "export_bytes"):
        assert getattr(every, name) == 32 * getattr(one, name), name
    assert every.forward_flops == one.forward_flops == 14e9


def test_bytes_follow_the_dtypes_of_the_model_and_of_the_probes() -> None:
    four_bits = figures(asked(1000, dtype="int4", probe_dtype="float32").load)
    assert (four_bits.model_bytes, four_bits.probe_bytes) == (3.5e9, 16.384e6)
    assert four_bits.bytes_overhead == pytest.approx(8 * four_bits.arithmetic_overhead)
    assert four_bits.floor == four_bits.bytes_overhead
    assert four_bits.packed_state_bytes == 4096 * 2  # a quantised model computes in bfloat16
    wide = figures(asked(1000, dtype="float32", probe_dtype="bfloat16").load)
    assert wide.floor == wide.arithmetic_overhead == pytest.approx(2 * wide.bytes_overhead)


def test_experts_that_rest_are_neither_computed_nor_read() -> None:
    mixture = SEVEN._replace(params=70 * 10**9)
    assert figures(Question(mixture, 1, ONE_LAYER, "bfloat16", "bfloat16").load) == figures(asked(1).load)


def test_an_overhead_beyond_the_forward_pass_is_said_to_be_above_it() -> None:
    tiny = Model("tiny", 1000, 1000, 100, 1, "a test")
    words = texts(cost(Question(tiny, 50, ONE_LAYER, "float32", "float32"), ILLUSTRATION))
    assert (words["arithmetic"], words["orders"]) == ("500 %", "0.70 orders of magnitude above the forward pass")


def test_numbers_of_any_size_are_computed_without_an_error() -> None:
    for params, width, layers, probes in ((1, 1, 1, 1), (10**15, 10**6, 10**4, 10**6), (1, 10**6, 10**4, 10**6)):
        assert all(value == value for value in figures(Load(params, width, layers, probes, True, 0.5, 8, 8)))


def test_latency_and_throughput_are_two_sides_of_one_number() -> None:
    assert throughput_loss(300) == 75
    assert latency_overhead(40) == pytest.approx(66.67, abs=0.01)  # measured on an M1 Max, MPS: 85 tokens/s of 142
    for loss in (-3.0, 0.0, 0.6, 40.0, 99.9):
        assert throughput_loss(latency_overhead(loss)) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (5.851e-5, "5.9e-5"),
        (0.00099, "9.9e-4"),
        (0.00995, "0.010"),
        (0.0995, "0.10"),
        (9.96, "10"),
        (12.5, "13"),  # in the middle, as JavaScript does; Python's own formatting says 12
        (-3.21, "-3.2"),
        (1234567.0, "1,200,000"),
        (999999999.0, "1.0e9"),
    ],
)
def test_two_figures_are_shown(value: float, text: str) -> None:
    assert significant(value) == text


def test_units_follow_the_rounded_number() -> None:
    assert [size(value) for value in (0.5, 1, 2, 512, 999, 8192, 999_999, 14.48e9)] == (
        ["0.50 B", "1 B", "2 B", "510 B", "1.0 kB", "8.2 kB", "1.0 MB", "14 GB"]
    )
    assert [amount(value) for value in (12, 124_439_808, 7_241_732_096, 671_026_404_352)] == (
        ["12", "124M", "7.24B", "671B"]
    )
    assert flops(14e9) == "14 GFLOP"
    assert (span(300, 900), span(1.01, 1.02)) == ("300 % to 900 %", "1.0 %")
