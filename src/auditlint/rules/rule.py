"""What a rule is: its code, its name, its words, and the code that it must and must not find."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from auditlint.analysis.sites import Site

HOOK = """import torch


def hook(module, args, output):
{body}


def install(model: torch.nn.Module) -> None:
    model.register_forward_hook(hook)
"""


class Rule(NamedTuple):
    """One rule.

    `kind` is the kind of site that it reports ("" for housekeeping). `summary` is one line, `what`, `why` and `safety`
    are Markdown paragraphs for the page. `does` ends the sentence "`operation` ..." and `instead` says what to write;
    `instances` replaces `instead` for operations whose name contains the key (the first that matches).

    `before` and `after` are the example on the page. They, `invalid` and `valid` are either whole modules or bodies
    of a forward hook that `module` completes; in `before` and `invalid` the lines that end in `# CODE` are found and
    no other.
    """

    code: str
    name: str
    kind: str
    summary: str
    what: str
    why: str
    safety: str
    before: str
    after: str
    does: str = ""
    instead: str = ""
    instances: tuple[tuple[str, str], ...] = ()
    invalid: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    # What differs between backends, where no table of operations says it.
    backends: str = ""
    opt_in: bool = False

    def message(self, site: Site) -> str:
        """What is wrong at `site` and what to write instead, in one line."""
        instead = next((text for key, text in self.instances if key in site.operation), self.instead)
        doubt = "" if site.definite else " if this is a device tensor"
        return f"`{site.operation}` {self.does}{doubt}; {instead}"


def module(body: str) -> str:
    """A whole module for `body`: itself if it is one, else a forward hook with that body, and its registration."""
    if body.startswith(("import ", "from ", "#")):
        return body
    lines = body.strip("\n").splitlines()
    return HOOK.format(body="\n".join("    " + line if line else "" for line in lines))
