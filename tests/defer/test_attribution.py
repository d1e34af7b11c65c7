"""Attribution: each specialist's log-probability of each token, the mixture's, and a residual that means something."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlint.defer.attribution import (
    Attribution,
    attribute,
    mixture_log_probs,
    reconciliation_residual,
    specialist_log_probs,
)
from auditlint.runtime import count_syncs
from auditlint.runtime.simulation.clock import CLOCK

SIM = "sim:0"


def drawn(shape: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * scale
    return logits, torch.randint(shape[-1], shape[1:-1], generator=generator)


def by_hand(logits: torch.Tensor, tokens: torch.Tensor) -> tuple[list[list[float]], list[float]]:
    """In Python numbers: (specialists, tokens) and (tokens,)."""
    specialists = []
    for specialist in logits.double().tolist():
        row = []
        for values, token in zip(specialist, tokens.tolist(), strict=True):
            top = max(values)
            row.append(values[token] - top - math.log(math.fsum(math.exp(value - top) for value in values)))
        specialists.append(row)
    joint = [math.log(math.fsum(math.exp(one) for one in column) / len(column)) for column in zip(*specialists)]  # noqa: B905
    return specialists, joint


def test_a_mixture_of_two_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)]], [[0.0, 0.0]]])
    found = attribute(logits, torch.tensor([1]))
    torch.testing.assert_close(found.specialists, torch.tensor([[0.75], [0.5]]).log())
    torch.testing.assert_close(found.joint, torch.tensor([0.625]).log())
    assert found.residual.abs().item() < 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(1, 50),
    st.sampled_from([0.1, 1.0, 5.0]),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_attribution_is_what_the_formulas_say(
    seed: int, specialists: int, tokens: int, vocab: int, scale: float, dtype: torch.dtype
) -> None:
    logits, chosen = drawn((specialists, tokens, vocab), seed, scale)
    logits = logits.to(dtype)
    found = attribute(logits, chosen)
    expected, joint = by_hand(logits, chosen)
    torch.testing.assert_close(found.specialists, torch.tensor(expected), rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(found.joint, torch.tensor(joint), rtol=1e-6, atol=4e-6)
    assert all(part.dtype == torch.float32 for part in found)
    assert torch.equal(specialist_log_probs(logits, chosen), found.specialists)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 16),
    st.sampled_from([2, 100, 20_000]),
    st.sampled_from([0.0, 1.0, 6.0]),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
def test_the_residual_of_an_exact_mixture_is_below_a_hundred_thousandth(
    seed: int, specialists: int, vocab: int, scale: float, dtype: torch.dtype
) -> None:
    logits, chosen = drawn((specialists, 4, vocab), seed, scale)
    found = attribute(logits.to(dtype), chosen)
    assert found.joint.min() > -64
    assert found.max_residual() < 1e-5


def test_the_residual_is_of_the_joint_that_the_program_used() -> None:
    logits, chosen = drawn((3, 5, 7))
    log_probs = logits.log_softmax(-1)
    exact = mixture_log_probs(log_probs)
    of_tokens = exact.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    for joint in (exact, of_tokens, exact.double()):
        found = attribute(logits, chosen, joint)
        assert torch.equal(found.joint, of_tokens)
        assert found.max_residual() < 1e-6
    # The mean of log-probabilities is the usual mistake.
    wrong = attribute(logits, chosen, log_probs.mean(0))
    assert wrong.max_residual() > 0.01
    torch.testing.assert_close(wrong.residual, wrong.joint - of_tokens)
    not_divided = attribute(logits, chosen, of_tokens + math.log(3))
    torch.testing.assert_close(not_divided.residual, torch.full((5,), math.log(3)))


def test_extreme_logits_are_stable() -> None:
    for dtype, large in ((torch.float16, 6e4), (torch.bfloat16, 1e30), (torch.float32, 1e30)):
        logits = torch.tensor([[[large, 0.0]], [[0.0, 0.0]]], dtype=dtype)
        found = attribute(logits, torch.tensor([0]))
        assert found.specialists[:, 0].tolist() == pytest.approx([0.0, math.log(0.5)])
        assert found.joint.item() == pytest.approx(math.log(0.75))
        unlikely = attribute(logits, torch.tensor([1]))
        assert unlikely.joint.item() == pytest.approx(math.log(0.25))


def test_a_token_that_nobody_can_produce_has_no_residual() -> None:
    logits = torch.zeros(2, 2, 3)
    logits[:, 0, 1] = -math.inf
    found = attribute(logits, torch.tensor([1, 1]))
    assert found.specialists[:, 0].tolist() == [-math.inf, -math.inf]
    assert found.joint[0].item() == -math.inf
    assert found.residual[0].item() == 0.0
    claimed = attribute(logits, torch.tensor([1, 1]), torch.tensor([-1.0, math.log(1 / 3)]))
    assert claimed.residual[0].item() == math.inf


def test_several_axes_of_tokens() -> None:
    logits, chosen = drawn((3, 2, 5, 7))
    found = attribute(logits, chosen)
    flat = attribute(logits.flatten(1, 2), chosen.flatten())
    assert found.specialists.shape == (3, 2, 5)
    assert torch.equal(found.specialists.flatten(1), flat.specialists)
    assert torch.equal(found.residual.flatten(), flat.residual)
    read = found.read()
    assert [part.shape for part in read] == [(3, 2, 5), (2, 5), (2, 5)]
    assert all(torch.equal(*pair) for pair in zip(read, found, strict=True))


def test_no_tokens() -> None:
    found = attribute(torch.zeros(3, 0, 7), torch.zeros(0, dtype=torch.int64))
    assert found.joint.shape == (0,)
    assert found.max_residual().item() == 0.0
    assert found.read().specialists.shape == (3, 0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_tokens_may_be_any_integers(dtype: torch.dtype) -> None:
    logits, chosen = drawn((3, 5, 7))
    assert torch.equal(attribute(logits, chosen.to(dtype)).joint, attribute(logits, chosen).joint)


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    logits, chosen = drawn((3, 5, 7))
    with pytest.raises(ValueError, match=r"tokens \(4,\) torch\.int64 for logits of shape \(3, 5, 7\)"):
        attribute(logits, chosen[:4])
    with pytest.raises(ValueError, match=r"indices into the vocabulary, not \(5,\) torch\.float32"):
        attribute(logits, chosen.float())
    with pytest.raises(ValueError, match=r"in a floating dtype, not \(3, 5, 7\) torch\.int64"):
        attribute(logits.long(), chosen)
    with pytest.raises(ValueError, match=r"a joint of shape \(4,\) for specialists of shape \(3, 5\)"):
        attribute(logits, chosen, torch.zeros(4))
    with pytest.raises(ValueError, match="of no specialist"):
        mixture_log_probs(torch.zeros(0, 5))
    with pytest.raises(ValueError, match="of no specialist"):
        mixture_log_probs(torch.zeros(()))


def test_autocast_changes_nothing() -> None:
    logits, chosen = drawn((3, 5, 7))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = attribute(logits, chosen)
    assert all(torch.equal(*pair) for pair in zip(lowered, attribute(logits, chosen), strict=True))


def test_the_halves_are_not_computed_in_half() -> None:
    logits, chosen = drawn((3, 5, 700), scale=4.0)
    half = logits.to(torch.bfloat16)
    assert torch.equal(attribute(half, chosen).specialists, attribute(half.float(), chosen).specialists)


def test_everything_stays_on_the_device_until_one_read() -> None:
    logits, chosen = drawn((3, 5, 7))
    with count_syncs("simulated") as counter:
        there, tokens = logits.to(SIM).half(), chosen.to(SIM)
        joint = mixture_log_probs(there.float().log_softmax(-1))
        before = CLOCK.counts()
        found = attribute(there, tokens)
        attribute(there, tokens, joint)
        largest = found.max_residual()
        after = CLOCK.counts()
        assert (after.waits, after.copies) == (before.waits, before.copies)
        read = found.read()
        spent = CLOCK.counts()
        assert (spent.waits - after.waits, spent.copies - after.copies) == (1, 1)
        assert spent.d2h - after.d2h == (3 + 2) * 5 * 4
        assert isinstance(read, Attribution)
        assert {str(part.device) for part in read} == {"cpu"}
        assert largest.item() == read.max_residual().item()
        assert counter.in_hooks == 0
    torch.testing.assert_close(read.specialists, attribute(logits.half(), chosen).specialists)


def test_what_is_kept_carries_no_graph() -> None:
    logits, chosen = drawn((3, 5, 7))
    logits.requires_grad_()
    joint = mixture_log_probs(logits.log_softmax(-1))
    assert joint.requires_grad
    assert not any(part.requires_grad for part in (*attribute(logits, chosen), *attribute(logits, chosen, joint)))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(backend: str) -> None:
    logits, chosen = drawn((3, 5, 7))
    torch.compiler.reset()
    compiled = torch.compile(attribute, backend=backend, fullgraph=True)
    for found, expected in zip(compiled(logits, chosen), attribute(logits, chosen), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    torch.compiler.reset()


def test_the_residual_alone() -> None:
    specialists = torch.tensor([[-1.0, -2.0], [-3.0, -math.inf]])
    joint = mixture_log_probs(specialists)
    assert reconciliation_residual(joint, specialists).tolist() == [0.0, 0.0]
    assert reconciliation_residual(joint + 0.5, specialists).tolist() == pytest.approx([0.5, 0.5])
