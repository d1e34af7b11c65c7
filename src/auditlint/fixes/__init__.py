"""The fixer: what each finding's fix is, and whether it is safe; its edits, where somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from auditlint.diagnostics import Diagnostic, Edit, Fix

if TYPE_CHECKING:
    from auditlint.fixes.plan import Plan
    from auditlint.linter import Result


def planned(result: Result, edits: bool, together: Callable[[Diagnostic], bool] = lambda item: False) -> Result:
    """`result` with a `fix`, or the reason why there is none, in each diagnostic.

    Without `edits` the fixes have none, and nothing is imported to make them. Each fix is whole in itself; those of the
    findings that `together` picks (by their `fix`) share their imports and finalizers, to be made in one go.
    """
    from auditlint.fixes.flow.tree import Trees
    from auditlint.fixes.joining import joined
    from auditlint.fixes.plan import Plan, plans

    trees = Trees(result.read, result.project)
    styles = [result.fix_style(item.filename) for item in result.diagnostics]
    found = joined(plans(trees, result.diagnostics, styles), result.diagnostics)
    diagnostics = [_with(item, plan, ()) for item, plan in zip(result.diagnostics, found, strict=True)]
    if edits:
        from auditlint.fixes.edits import edits_of

        every = [plan for plan in found if isinstance(plan, Plan)]
        joint = [
            plan for item, plan in zip(diagnostics, found, strict=True) if isinstance(plan, Plan) and together(item)
        ]
        written = iter(edits_of(every, trees, joint))
        diagnostics = [
            _with(item, plan, next(written) if isinstance(plan, Plan) else ())
            for item, plan in zip(result.diagnostics, found, strict=True)
        ]
    return result._replace(diagnostics=diagnostics)


def _with(item: Diagnostic, plan: Plan | str, edits: tuple[Edit, ...] | str) -> Diagnostic:
    if isinstance(plan, str) or isinstance(edits, str):
        return item._replace(fix=None, unfixed=plan if isinstance(plan, str) else str(edits))
    words = plan.words if plan.safe else f"{plan.words}; {plan.doubts[0]}"
    return item._replace(fix=Fix("safe" if plan.safe else "unsafe", words, edits), unfixed="")
