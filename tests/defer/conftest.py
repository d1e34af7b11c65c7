"""What tests of the deferral library share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def nothing_pending() -> Iterator[None]:
    """Begins and ends a test with an empty queue."""
    from auditlint.defer import flush

    flush()
    yield
    gc.collect()
    flush()
