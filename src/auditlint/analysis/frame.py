"""One run of one function: its variables, where it stands, and what it records."""

from __future__ import annotations

import ast

from auditlint.analysis.session import Session, SiteRecord, Summary
from auditlint.analysis.values import Env, Value
from auditlint.diagnostics import Step
from auditlint.project.modules import FunctionInfo, Module


class Frame:
    """One run of one function. `lazy` runs look for registrations only: calls wait until somebody needs them."""

    __slots__ = (
        "env", "globals", "info", "jumps", "lazy", "module", "nonlocals", "returns", "session", "statement", "summary",
        "yields",
    )  # fmt: skip

    def __init__(self, session: Session, info: FunctionInfo, env: Env, summary: Summary, lazy: bool) -> None:
        self.session = session
        self.info = info
        self.module: Module = info.module
        self.env = env
        self.summary = summary
        self.lazy = lazy
        self.statement = info.statement
        self.returns: list[Value] = []
        self.yields: list[Value] = []
        # What `break` and `continue` carry to the end of the innermost loop.
        self.jumps: list[dict[str, Value]] = []
        self.nonlocals: set[str] = set()
        self.globals: set[str] = set()

    def site(self, kind: str, operation: str, node: ast.expr, evidence: str = "", definite: bool = True) -> None:
        """Record that evaluating `node` makes the host wait."""
        if self.lazy:
            return
        key = (node, kind)
        held = self.summary.sites.get(key)
        if held is None or (definite and not held.definite):
            self.summary.sites[key] = SiteRecord(kind, operation, evidence, definite, node, self.statement)

    def step(self, node: ast.AST) -> Step:
        return Step(self.info.qualname, self.module.filename, getattr(node, "lineno", self.info.row))
