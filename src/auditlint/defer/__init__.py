"""Audit data at nearly no cost: keep tensors during the pass, read them all at once afterwards. Needs torch only.

`defer`, `derive` and `defer_call` keep, `finalize` and `flush` read, `AuditLog` records a model's layers. For compiled
models and CUDA graphs `DeviceBuffer` and `attach` keep values on the device; `ProbeBank` reads many linear probes out
of a layer at once; `attribute` says which specialist gave a token which log-probability.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auditlint.defer.calls import defer_call, flush
from auditlint.defer.compiling import outside_graph
from auditlint.defer.deferred import Deferred, defer, json_default
from auditlint.defer.derived import derive
from auditlint.defer.finalizing import finalize

if TYPE_CHECKING:
    from auditlint.defer.attribution import Attribution as Attribution
    from auditlint.defer.attribution import attribute as attribute
    from auditlint.defer.attribution import mixture_log_probs as mixture_log_probs
    from auditlint.defer.attribution import reconciliation_residual as reconciliation_residual
    from auditlint.defer.attribution import specialist_log_probs as specialist_log_probs
    from auditlint.defer.audit_log import AuditLog as AuditLog
    from auditlint.defer.audit_log import AuditLogFull as AuditLogFull
    from auditlint.defer.buffer import BufferFull as BufferFull
    from auditlint.defer.buffer import DeviceBuffer as DeviceBuffer
    from auditlint.defer.buffer import Rows as Rows
    from auditlint.defer.buffer import flush_all as flush_all
    from auditlint.defer.buffer import reserve_all as reserve_all
    from auditlint.defer.layer_buffers import LayerBuffers as LayerBuffers
    from auditlint.defer.layer_buffers import attach as attach
    from auditlint.defer.probe_bank import ProbeBank as ProbeBank
    from auditlint.defer.probe_export import Export as Export

__all__ = [
    "Attribution",
    "AuditLog",
    "AuditLogFull",
    "BufferFull",
    "Deferred",
    "DeviceBuffer",
    "Export",
    "LayerBuffers",
    "ProbeBank",
    "Rows",
    "attach",
    "attribute",
    "defer",
    "defer_call",
    "derive",
    "finalize",
    "flush",
    "flush_all",
    "json_default",
    "mixture_log_probs",
    "outside_graph",
    "reconciliation_residual",
    "reserve_all",
    "specialist_log_probs",
]

_HOMES = {
    "Attribution": "attribution",
    "AuditLog": "audit_log",
    "AuditLogFull": "audit_log",
    "BufferFull": "buffer",
    "DeviceBuffer": "buffer",
    "Export": "probe_export",
    "LayerBuffers": "layer_buffers",
    "ProbeBank": "probe_bank",
    "Rows": "buffer",
    "attach": "layer_buffers",
    "attribute": "attribution",
    "flush_all": "buffer",
    "mixture_log_probs": "attribution",
    "reconciliation_residual": "attribution",
    "reserve_all": "buffer",
    "specialist_log_probs": "attribution",
}


def __getattr__(name: str) -> Any:
    # Looked up late: `import auditlint.defer` costs no more than what nearly everybody uses.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"auditlint.defer.{_HOMES[name]}"), name)
