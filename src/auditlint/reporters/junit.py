"""JUnit XML: a test suite a file, a failed test case a finding."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from auditlint.diagnostics import Diagnostic

# Everything outside the Char production of XML 1.0; no escape may stand for it either.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """Return the document; without findings it holds one test that passed, as readers refuse an empty one."""
    files: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        files.setdefault(diagnostic.filename, []).append(diagnostic)
    count = len(diagnostics)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="auditlint" tests="{count or 1}" failures="{count}" errors="0">',
    ]
    if not files:
        lines += ['  <testsuite name="auditlint" tests="1" failures="0" errors="0">']
        lines += ['    <testcase name="no findings" classname="auditlint"/>', "  </testsuite>"]
    for filename, found in files.items():
        lines.append(
            f'  <testsuite name={_attribute(filename)} tests="{len(found)}" failures="{len(found)}" errors="0">'
        )
        for diagnostic in found:
            lines += _case(diagnostic)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _case(diagnostic: Diagnostic) -> list[str]:
    row, column = diagnostic.location
    name = f"{diagnostic.code} {diagnostic.name} {row}:{column}"
    classname = os.path.splitext(diagnostic.filename)[0].replace(os.sep, "/")
    text = [f"{diagnostic.filename}:{row}:{column}: {diagnostic.code} {diagnostic.message}"]
    if hook := diagnostic.hook:
        at = hook.registered
        text.append(f"hook {hook.name}, registered by {hook.registrar} at {at.filename}:{at.row}")
    text += [f"path {step.name} {step.filename}:{step.row}" for step in diagnostic.path]
    details = escape(_allowed("\n".join(text)))
    place = f'file={_attribute(diagnostic.filename)} line="{row}"'
    return [
        f"    <testcase name={_attribute(name)} classname={_attribute(classname)} {place}>",
        f"      <failure type={_attribute(diagnostic.code)} message={_attribute(diagnostic.message)}>"
        f"{details}</failure>",
        "    </testcase>",
    ]


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _attribute(text: str) -> str:
    return quoteattr(_allowed(text))
