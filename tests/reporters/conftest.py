"""One finding with everything in it, and the file that it is about."""

from __future__ import annotations

import pytest

from auditlint.diagnostics import Diagnostic, Edit, Fix, Hook, Location, Step

SOURCE = """\
def summarise(values):
    return float(values.mean().item())
"""


@pytest.fixture
def finding() -> Diagnostic:
    """A finding in the second row of SOURCE, under the carets of `item()`."""
    return Diagnostic(
        code="AUD101",
        name="item-in-hook",
        message="`.item()` makes the host wait",
        filename="pkg/stats.py",
        location=Location(2, 32),
        end_location=Location(2, 38),
        hook=Hook("Probe.hook", "pkg/probe.py", 18, "register_forward_hook", Step("Probe.attach", "pkg/probe.py", 12)),
        path=(Step("Probe.hook", "pkg/probe.py", 21), Step("summarise", "pkg/stats.py", 2)),
        statement=(2, 2),
        noqa_row=2,
        fix=Fix("safe", "keep it on the device", (Edit("detach()", Location(2, 32), Location(2, 38)),)),
    )
