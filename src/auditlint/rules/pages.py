"""The page of a rule: `auditlint rule CODE`, the help text in SARIF, and `docs/rules/`.

`python -m auditlint.rules.pages [FOLDER]` writes one Markdown file a rule (default: docs/rules).
"""

from __future__ import annotations

import sys
from pathlib import Path

from auditlint.facts.host import HOST_CALLS, HOST_METHODS, HOST_MODULES
from auditlint.facts.syncs import ROWS, Sync
from auditlint.rules.rule import Rule, module

# How the conditions of facts/syncs.py read to a person.
WORDS = {
    "always": "",
    "one_argument": "with one argument",
    "missing": "without {}",
    "true": "with `{}=True`",
    "tensor": "when {} is a tensor on the device",
    "contains": "when {} holds tensors on the device",
    "host": "when {} is on the host",
    "device": "when {} is on the host and `device` is not",
    "to_cpu": "to the host, unless `non_blocking=True`",
    "to_device": "of a host tensor, unless `non_blocking=True`",
    "host_destination": "into a host tensor, unless `non_blocking=True`",
    "host_source": "from a host tensor, unless `non_blocking=True`",
}

SOURCES = (
    "How it is known: exp, counted on torch 2.13.0 on the CPU; bin, read off the official 2.13.0 binaries; doc, "
    "stated in torch's documentation; src, read in torch's source."
)


def page(rule: Rule) -> str:
    """The whole page as Markdown, ending in a newline."""
    off = " It is off unless selected." if rule.opt_in else ""
    parts = [
        f"# {rule.code}: {rule.name}",
        f"{rule.summary}.{off}",
        f"## What it finds\n\n{rule.what}",
        f"## Why\n\n{rule.why}",
        f"## Example\n\n{code(rule.before, rule.code)}\n\nInstead:\n\n{code(rule.after, rule.code)}",
        f"## Fix safety\n\n{rule.safety}",
    ]
    if rule.kind:
        parts.append(f"## Backends\n\n{rule.backends or backends(rule.kind)}")
        parts.append(
            "## When it is wanted\n\n"
            f"Say so, with the reason: `# auditlint: allow-sync[{rule.code}] reason` or `# noqa: {rule.code}`, anywhere"
            " in the statement's lines."
        )
    return "\n\n".join(parts) + "\n"


def code(body: str, rule: str) -> str:
    """A fenced block; the marker that the tests read is left out."""
    text = module(body).replace(f"  # {rule}\n", "\n").strip("\n")
    return f"```python\n{text}\n```"


def backends(kind: str) -> str:
    """A table of the operations of this kind, from the facts."""
    lines = ["| operation | CUDA | MPS | evidence |", "|---|---|---|---|"]
    for sync, names in ROWS:
        if sync.kind == kind:
            listed = ", ".join(f"`{name}`" for name in names.split())
            lines.append(
                f"| {listed} {condition(sync)} | {mark(sync.cuda)} | {mark(sync.mps)} | {escaped(sync.evidence)} |"
            )
    calls = sorted({name for name, call in (HOST_CALLS | HOST_METHODS).items() if call.kind == kind})
    calls += [f"{name}.*" for name, call in HOST_MODULES.items() if call.kind == kind]
    parts = [SOURCES + "\n\n" + "\n".join(lines)] if len(lines) > 2 else []
    if calls:
        parts.append(
            "Outside torch, these read the tensor through its methods: "
            + ", ".join(f"`{name}`" for name in calls)
            + "."
        )
    if kind in {"truth", "index", "builtin"}:
        parts.append(
            "Python's own syntax calls `Tensor.__bool__` or `Tensor.__index__`, which wait on CUDA and on MPS."
        )
    return "\n\n".join(parts)


def condition(sync: Sync) -> str:
    return " and ".join(words for words in map(phrase, sync.when.split(" and ")) if words)


def phrase(when: str) -> str:
    """ "missing:min@2,max@3" as "without `min`, `max`"."""
    name, _, rest = when.partition(":")
    arguments = [part.partition("@")[0] for part in rest.split(",")]
    if name == "true":
        return WORDS[name].format(arguments[0])
    return WORDS[name].format(", ".join(f"`{argument}`" for argument in arguments))


def mark(waits: bool) -> str:
    return "waits" if waits else "no"


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the pages into the folder that is named, or docs/rules."""
    from auditlint.rules import RULES

    folder = Path(arguments[0]) if arguments else Path("docs/rules")
    folder.mkdir(parents=True, exist_ok=True)
    for rule in RULES.values():
        (folder / f"{rule.code}.md").write_text(page(rule), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
