"""A bar on the terminal for runs that take long."""

from __future__ import annotations

import sys
import time

# Seconds before a run counts as long, and between two drawings.
PATIENCE = 1.5
PAUSE = 0.1
WIDTH = 30


class Progress:
    """Counts files that are done; draws on standard error once the run has taken long."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._drawn = 0.0
        self._total = 0
        self._done = 0

    def expect(self, files: int) -> None:
        """More files are to be worked on."""
        self._total += files

    def step(self) -> None:
        """One file is done."""
        self._done += 1
        now = time.monotonic()
        if now - self._started < PATIENCE or now - self._drawn < PAUSE:
            return
        self._drawn = now
        share = min(1.0, self._done / max(1, self._total))
        filled = round(WIDTH * share)
        sys.stderr.write(f"\rauditlint [{'#' * filled}{' ' * (WIDTH - filled)}] {share:4.0%}")
        sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
