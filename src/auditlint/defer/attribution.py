"""Per-token attribution for a uniform mixture of specialists: who gave a token which log-probability.

The mixture gives token t the probability `mean over s of p_s(t)`, so its log-probability is the log-sum-exp of the
specialists' minus log N. How far a joint distribution is from that, token by token, is the reconciliation residual.
Nothing here waits for the device but `Attribution.read`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Attribution(NamedTuple):
    """For each token: what each specialist gave it, what the mixture gave it, and how far these are apart.

    All float32: `specialists` (specialists, tokens) and `joint` (tokens,) are natural log-probabilities of the token
    that was chosen, `residual` (tokens,) is `joint - (logsumexp(specialists) - log N)`. Where there are several axes of
    tokens, each of these has them all.
    """

    specialists: torch.Tensor
    joint: torch.Tensor
    residual: torch.Tensor

    def read(self) -> Attribution:
        """The same on the host, in one transfer."""
        tokens = tuple(self.joint.shape)
        rows = torch.cat([self.specialists, self.joint.unsqueeze(0), self.residual.unsqueeze(0)]).detach().cpu()
        return Attribution(rows[:-2], rows[-2].reshape(tokens), rows[-1].reshape(tokens))

    def max_residual(self) -> torch.Tensor:
        """The largest absolute residual, without dimensions and still on the device; zero when there are no tokens."""
        if not self.residual.numel():
            return torch.zeros((), dtype=torch.float32, device=self.residual.device)
        return self.residual.abs().max()


def attribute(logits: torch.Tensor, tokens: torch.Tensor, joint: torch.Tensor | None = None) -> Attribution:
    """Attribute each token to the specialists of a uniform mixture.

    `logits` (specialists, tokens, vocab) in any floating dtype; `tokens` (tokens,) int64, the token chosen at each
    position; further axes of tokens may stand between, alike in both. `joint` are the log-probabilities that the
    program's own combiner used, (tokens,) or (tokens, vocab): then the residual says whether it is the mixture it
    claims to be. Without it, the joint is that mixture over the whole vocabulary, normalised again, and the residual
    is the rounding error of float32.

    Everything is computed in float32, whatever autocast says, and carries no gradients. An exact mixture has a residual
    below 1e-5 as long as its log-probabilities are above -64, from where on float32 is spaced by 7.6e-6. A token that
    no specialist can produce has -inf everywhere, and residual 0 if the joint says so too.

    Tokens that are no index into the vocabulary, such as padding by -100, have to be replaced before: they are torch's
    IndexError or RuntimeError on the CPU, and end the context of a CUDA device.

    Raises:
        ValueError: shapes that do not belong together, logits that are not floating-point, tokens that are no indices.
    """
    log_probs = _log_softmax(logits.detach())
    specialists = _chosen(log_probs, tokens)
    joint = None if joint is None else joint.detach()
    if joint is None:
        joint = mixture_log_probs(log_probs)
        # Normalised by itself: were it the same expression as the residual's, nothing would be compared.
        joint = _chosen((joint - torch.logsumexp(joint, dim=-1, keepdim=True)).unsqueeze(0), tokens)[0]
    elif joint.shape == logits.shape[1:]:
        joint = _chosen(joint.float().unsqueeze(0), tokens)[0]
    return Attribution(specialists, joint.float(), reconciliation_residual(joint, specialists))


def specialist_log_probs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The log-probability that each specialist gives to each chosen token: (specialists, tokens) float32.

    Shapes and errors are those of `attribute`.
    """
    return _chosen(_log_softmax(logits), tokens)


def mixture_log_probs(log_probs: torch.Tensor) -> torch.Tensor:
    """The log-probabilities of the uniform mixture, `logsumexp over specialists - log N`, in float32.

    `log_probs` (specialists, ...) gives (...). The largest is taken out before exponentiating, so none underflow.

    Raises:
        ValueError: there is no specialist.
    """
    if not log_probs.dim() or not log_probs.shape[0]:
        raise ValueError(f"log-probabilities of shape {tuple(log_probs.shape)} are of no specialist")
    return torch.logsumexp(log_probs.float(), dim=0) - math.log(log_probs.shape[0])


def reconciliation_residual(joint: torch.Tensor, specialists: torch.Tensor) -> torch.Tensor:
    """`joint - (logsumexp(specialists) - log N)` in float32, for `joint` (tokens,) and `specialists` (specialists,
    tokens): (tokens,), zero where both are -inf.

    Raises:
        ValueError: shapes that do not belong together.
    """
    if joint.shape != specialists.shape[1:]:
        raise ValueError(f"a joint of shape {tuple(joint.shape)} for specialists of shape {tuple(specialists.shape)}")
    joint, mixture = joint.float(), mixture_log_probs(specialists)
    return torch.where(joint == mixture, torch.zeros_like(joint), joint - mixture)


def _log_softmax(logits: torch.Tensor) -> torch.Tensor:
    if logits.dim() < 2 or not logits.is_floating_point():
        raise ValueError(f"logits are (specialists, tokens, vocab) in a floating dtype, not {_described(logits)}")
    return torch.log_softmax(logits, dim=-1, dtype=torch.float32)


def _chosen(log_probs: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(specialists, tokens, vocab) at the chosen tokens: (specialists, tokens)."""
    if tokens.shape != log_probs.shape[1:-1]:
        raise ValueError(f"tokens {_described(tokens)} for logits of shape {tuple(log_probs.shape)}")
    if tokens.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise ValueError(f"tokens are indices into the vocabulary, not {_described(tokens)}")
    index = tokens.to(torch.int64).unsqueeze(-1).expand(*log_probs.shape[:-1], 1)
    return log_probs.gather(-1, index).squeeze(-1)


def _described(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {tensor.dtype}"
