"""What the names of `auditlint.defer` give, and which of them wait for the device. Data for the analysis.

Each row follows from auditlint.defer itself: `Deferred` reads on first use and flushes all that is pending, `finalize`
and `flush` transfer, buffers and exports transfer when they are read.
"""

from __future__ import annotations

PACKAGE = "auditlint.defer."
DEFERRED = PACKAGE + "Deferred"

# Functions, by the last part of their name -> the class of what they give ("" for nothing).
GIVES: dict[str, str] = {
    "defer": "Deferred",
    "derive": "Deferred",
    "defer_call": "",
    "DeviceBuffer": "DeviceBuffer",
    "AuditLog": "AuditLog",
    "AuditLog.attach": "AuditLog",
    "attach": "LayerBuffers",
    "ProbeBank": "ProbeBank",
    "ProbeBank.from_state_dict": "ProbeBank",
    "attribute": "Attribution",
    "outside_graph": "",
}

# Functions that read what is pending.
READING_CALLS = frozenset({"finalize", "flush", "flush_all"})

# Methods that read, by the class.
READING_METHODS: dict[str, frozenset[str]] = {
    "Deferred": frozenset({"item", "tolist", "numpy", "cpu", "value", "to", "float", "int"}),
    "AuditLog": frozenset({"finalize", "drain", "to_json", "to_jsonl", "to_parquet"}),
    "DeviceBuffer": frozenset({"read", "flush"}),
    "LayerBuffers": frozenset({"flush"}),
    "Export": frozenset({"result"}),
    "Attribution": frozenset({"read"}),
}

# What makes text or numbers of its argument, and so reads a Deferred.
READING_BUILTINS = frozenset(
    {"float", "int", "bool", "complex", "round", "str", "repr", "format", "print", "abs", "min", "max", "sum", "hash"}
)
