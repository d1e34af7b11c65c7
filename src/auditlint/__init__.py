"""Find host-device synchronisation inside code that runs in a model's forward or backward pass."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself takes longer to import than a version to print
if TYPE_CHECKING:
    from typing import Any

    from auditlint.config import Config as Config
    from auditlint.config import ConfigError as ConfigError
    from auditlint.diagnostics import Diagnostic as Diagnostic
    from auditlint.linter import Result as Result
    from auditlint.linter import lint as lint
    from auditlint.marks import audit_hook as audit_hook

__version__ = "0.1.0"

__all__ = ["Config", "ConfigError", "Diagnostic", "Result", "__version__", "audit_hook", "lint"]

_HOMES = {
    "Config": "auditlint.config",
    "ConfigError": "auditlint.config",
    "Diagnostic": "auditlint.diagnostics",
    "Result": "auditlint.linter",
    "audit_hook": "auditlint.marks",
    "lint": "auditlint.linter",
}


def __getattr__(name: str) -> Any:
    # Looked up late: `auditlint --version` and `import auditlint.defer` pay for none of the linter.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
