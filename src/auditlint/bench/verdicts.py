"""What a measured overhead means: the criteria that the first study registered, and how sure the number is."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

STRICT, LENIENT, FAIL, CATASTROPHIC = "STRICT", "LENIENT", "FAIL", "CATASTROPHIC"

# Registered before the first study (audit hooks, M1 Max, MPS) was run: below the first an audit can be on for everyone,
# below the second where it is wanted, and above the last it cannot be afforded. STRICT was defined on MPS.
STRICT_BELOW = 0.01
LENIENT_BELOW = 0.05
CATASTROPHIC_ABOVE = 0.10
REGISTERED_ON = "mps"

# By the names of what is reached there.
THRESHOLDS = {STRICT: STRICT_BELOW, LENIENT: LENIENT_BELOW, CATASTROPHIC: CATASTROPHIC_ABOVE}

RESAMPLES = 2000


def verdict(overhead: float) -> str:
    """The criterion that an overhead, a fraction of the baseline's tokens per second, meets.

    Below 0.01 STRICT; from 0.01 and below 0.05 LENIENT; from 0.05 up to and with 0.10 FAIL; above 0.10 CATASTROPHIC.
    """
    if overhead < STRICT_BELOW:
        return STRICT
    if overhead < LENIENT_BELOW:
        return LENIENT
    return CATASTROPHIC if overhead > CATASTROPHIC_ABOVE else FAIL


def overhead(base: Sequence[float], arm: Sequence[float]) -> float:
    """`(base - arm) / base` of the medians of tokens per second; negative where the arm was faster."""
    return 1.0 - statistics.median(arm) / statistics.median(base)


def interval(base: Sequence[float], arm: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """A 95 % bootstrap interval of the overhead, by percentiles (B. Efron, The Annals of Statistics 7(1), 1979).

    Trials are drawn in pairs, one of the base and that of the arm in the same round, since they share what else the
    machine was doing. The same timings give the same interval. None for fewer than two rounds.
    """
    rounds = list(zip(base, arm, strict=False))
    if len(rounds) < 2:
        return None

    def drawn(choose: Callable[[], list[tuple[float, float]]]) -> float:
        bases, arms = zip(*choose(), strict=True)
        return overhead(bases, arms)

    source = random.Random(seed)
    found = sorted(drawn(lambda: source.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES))
    return found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]


def median_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """A 95 % bootstrap interval of the median of some values, by percentiles; None for fewer than two."""
    if len(values) < 2:
        return None
    source = random.Random(seed)
    found = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]


def registration(backend: str) -> str:
    """What has to be said of the criteria where they are applied to this backend; "" for the one they are made for."""
    if backend == REGISTERED_ON:
        return ""
    return f"STRICT was registered for MPS; on {backend} the same thresholds are applied, and were not registered."
