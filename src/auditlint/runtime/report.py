"""The words of the runtime companion: what was counted, where, in which hook, and what the linter had said about it.

Imports nothing but the standard library: reports are read, merged and rendered where torch is not installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

CONFIRMED = "confirmed"
NOT_EXECUTED = "not-executed"
EXECUTED_NO_SYNC = "executed-no-sync"
MISSED = "missed"
# What the counting backends are called.
BACKENDS = ("cuda", "mps", "cpu", "simulated")
STATUSES = (CONFIRMED, NOT_EXECUTED, EXECUTED_NO_SYNC, MISSED)


class RuntimeHook(NamedTuple):
    """A hook that ran: its name, where it is defined, and its kind as `facts.registrars` names it.

    `kind` is "decorated" for `@audit_hook`. `row` is the row of its `def` or `lambda`.
    """

    name: str
    filename: str
    row: int
    kind: str


class Site(NamedTuple):
    """Syncs of one operation at one place, from one thread and in one hook (None: outside hooks).

    `row`, `column`, `end_row` and `end_column` are 1-based, columns count code points, the end is exclusive; they mark
    what the linter would mark: a method's name and arguments, else the whole expression. `op` is named as in the facts
    ("Tensor.item", "float", "torch.linalg.inv"), `kind` is one of the facts' kinds ("item", "cpu", "cast", ...).
    `count` are calls in the user's code, `raw` are waits of the device under them. `waited_us` is how long the host
    waited in microseconds, None where the backend cannot tell. `allowed` is the reason for which these syncs are
    accepted (by a comment or by `allow_sync`), None where they are not. `modules` are the modules that the hook ran
    for, by their names in the outermost module ("layers.0"; its class for the outermost), with the calls of each; empty
    for hooks of anything but modules.
    """

    filename: str
    row: int
    column: int
    end_row: int
    end_column: int
    op: str
    kind: str
    count: int  # type: ignore[assignment]  # the word of the reports; nobody searches a site as a tuple
    raw: int
    waited_us: float | None
    thread: str
    hook: RuntimeHook | None
    allowed: str | None = None
    modules: tuple[tuple[str, int], ...] = ()


class Environment(NamedTuple):
    """Where the counting took place. `driver` is "" where there is none, `torch` and `python` are versions."""

    device: str
    torch: str
    driver: str
    python: str
    platform: str


class Totals(NamedTuple):
    """Calls that synced in hooks and outside them, waits of the device under all of them, and accepted calls.

    Calls that a comment or `allow_sync` accepts count in `allowed` and in `raw`, and nowhere else.
    """

    in_hooks: int
    outside: int
    raw: int
    allowed: int


def total(sites: Iterable[Site]) -> Totals:
    """The sums over `sites`."""
    in_hooks = outside = raw = allowed = 0
    for site in sites:
        raw += site.raw
        if site.allowed is not None:
            allowed += site.count
        elif site.hook is not None:
            in_hooks += site.count
        else:
            outside += site.count
    return Totals(in_hooks, outside, raw, allowed)


class SyncReport(NamedTuple):
    """What one backend counted.

    `potential` says that these are reads that would wait on a device, counted on a machine without one. `notes` are
    things that a reader must know about this run, such as a process that was not counted. `doubt` says why the counts
    mean nothing, "" where they mean something.
    """

    backend: str
    potential: bool
    environment: Environment
    sites: tuple[Site, ...]
    blind_spots: tuple[str, ...]
    notes: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def totals(self) -> Totals:
        """The sums over all sites."""
        return total(self.sites)


class Reconciled(NamedTuple):
    """A finding held against the counts, or a counted sync in a hook that no finding names ("missed").

    `code` is the finding's; for a missed sync, the code of the rule that should have found it (None: no rule speaks of
    it). `count` are calls that synced there. `message` is the finding's, or says what was missed. `loaded` is False for
    a finding in a file that the run never loaded.
    """

    filename: str
    row: int
    column: int
    code: str | None
    status: str
    count: int  # type: ignore[assignment]  # as in Site
    message: str
    loaded: bool = True


class Check(NamedTuple):
    """The outcome of one runtime check of a program.

    `script` is the program as it was named, `status` the exit status that it ended with by itself.
    """

    script: str
    status: int
    report: SyncReport
    reconciliation: tuple[Reconciled, ...]
