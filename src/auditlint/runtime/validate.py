"""`auditlint validate-rules`: run a small case for every operation in the facts, and hold the counts against them."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import itertools
import json
import linecache
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from auditlint.facts import cases, host_cases, innocent_cases
from auditlint.facts.cases import SETUP, Case
from auditlint.facts.host import HOST_CALLS, HOST_METHODS, HOST_MODULES
from auditlint.facts.syncs import SYNCS

if TYPE_CHECKING:
    from auditlint.runtime import SyncCounter
    from auditlint.runtime.backends import Backend
    from auditlint.runtime.report import Environment, Site

CASES: tuple[Case, ...] = (
    *cases.WAITS,
    *host_cases.WAITS,
    *innocent_cases.INNOCENT,
    *host_cases.INNOCENT,
)

NAMES = {"cuda": "CUDA", "mps": "MPS", "cpu": "the CPU", "simulated": "the simulated device"}
# What tensors are told to be on, where it is not the backend's name: the simulated device poses as CUDA.
DEVICES = {"simulated": "cuda"}
WIDTH = 80
HEADER = "  table  calls    waits  operation"

# What a backend cannot tell, beside its unseen kinds: backend -> a case's code -> why.
BLIND_SPOTS: dict[str, dict[str, str]] = {
    "cpu": {
        "torch._foreach_copy_([host], [x])": "on the CPU this is no copy between host and device",
        "sparse.coalesce()": "it is the device's own kernel that waits",
        "safetensors.torch.save({'x': x})": "it copies only tensors that are not on the CPU",
        "safetensors.torch.save_file({'x': x}, folder.name + '/x')": "it copies only tensors that are not on the CPU",
        "accelerate.utils.send_to_device(x, 'cpu')": "accelerate has the device in a variable",
        "accelerate.utils.operations.send_to_device(x, 'cpu')": "accelerate has the device in a variable",
        "F.one_hot(v, 6)": "on the CPU it reads the values to check them",
    },
    "simulated": {
        "safetensors.torch.save({'x': x})": "safetensors wants the address of the data",
        "safetensors.torch.save_file({'x': x}, folder.name + '/x')": "safetensors wants the address of the data",
    },
}

AGREES = "agrees"
NOT_COUNTED = "not-counted"
COUNTED = "counted"
NOT_RUN = "not-run"


class Verdict(NamedTuple):
    """What the table says of a case, and what was counted.

    `waits` is what the table says for this backend. `calls` are calls that synced (one for each case, usually), `raw`
    the waits of the device under them, `counted_as` the operations that the counter named. `refused` says that torch
    or Python refused the tensor with a TypeError, as the case expects. `verdict` is one of "agrees", "not-counted"
    (the table says sync, none was counted), "counted" (the table says none, some were counted) and "not-run", for
    which `reason` says why.
    """

    case: Case
    waits: bool
    calls: int
    raw: int
    counted_as: tuple[str, ...]
    refused: bool
    verdict: str
    reason: str


class Validation(NamedTuple):
    """The verdicts of one backend, in the order of the table."""

    backend: str
    environment: Environment
    blind_spots: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    def having(self, *verdicts: str) -> list[Verdict]:
        """The verdicts of these kinds."""
        return [verdict for verdict in self.verdicts if verdict.verdict in verdicts]

    @property
    def disagreements(self) -> list[Verdict]:
        """Where the counts contradict the table."""
        return self.having(NOT_COUNTED, COUNTED)


def validate(backend_name: str = "auto") -> Validation:
    """Run every case on the device of the backend of that name, and count.

    Raises:
        Unavailable: the backend cannot count here.
        ValueError: there is no such backend.
    """
    from auditlint.runtime import count_syncs
    from auditlint.runtime.backends import choose

    backend = choose(backend_name)
    with count_syncs(backend) as counter, _quiet(), _sources() as source:
        verdicts = tuple(_judged(case, source(case), counter, backend) for case in CASES)
        report = counter.report()
    return Validation(backend.name, report.environment, report.blind_spots, verdicts)


def kind(case: Case) -> str:
    """The kind of sync that the table speaks of, for an innocent case the one that it resembles ("" if none)."""
    if case.op in SYNCS:
        return next((sync.kind for sync in SYNCS[case.op] if sync.when == case.when), SYNCS[case.op][0].kind)
    call = HOST_CALLS.get(case.op) or HOST_METHODS.get(case.op) or HOST_MODULES.get(case.op.partition(".")[0])
    return call.kind if call else ""


def waits(case: Case, mps: bool) -> bool:
    """Whether the table says that the case waits: on MPS, or on CUDA and what counts as CUDA would."""
    if not case.when:
        return False
    facts = [sync for sync in SYNCS.get(case.op, ()) if sync.when == case.when]
    if not facts:
        call = HOST_CALLS.get(case.op) or HOST_METHODS.get(case.op) or HOST_MODULES[case.op.partition(".")[0]]
        facts = list(SYNCS[call.reaches])
    return any(sync.mps if mps else sync.cuda for sync in facts)


def _judged(case: Case, filename: str, counter: SyncCounter, backend: Backend) -> Verdict:
    expected = waits(case, backend.name == "mps")
    if (elsewhere := _elsewhere(case, backend.name)) is not None:
        return Verdict(case, expected, 0, 0, (), False, NOT_RUN, elsewhere)
    error, sites = _run(case, filename, counter, backend.name)
    calls, raw = sum(site.count for site in sites), sum(site.raw for site in sites)
    counted = Verdict(case, expected, calls, raw, tuple(sorted({site.op for site in sites})), False, AGREES, "")
    refused = case.refused == "any" or (case.refused == "device" and backend.name != "cpu")
    if refused and isinstance(error, TypeError) and not calls:
        # Nobody waits for a tensor that is refused; the copy that the message asks for would.
        return counted._replace(refused=True)
    if error is None and expected == (calls > 0):
        return counted
    if isinstance(error, ModuleNotFoundError):
        return counted._replace(verdict=NOT_RUN, reason=f"{error.name} is not installed")
    if blind := _unseen(case, expected, backend):
        return counted._replace(verdict=NOT_RUN, reason=blind)
    if error is not None:
        return counted._replace(verdict=NOT_RUN, reason=_why(error))
    return counted._replace(verdict=NOT_COUNTED if expected else COUNTED)


def _elsewhere(case: Case, backend: str) -> str | None:
    """Why the case cannot run on this backend, as far as its data says."""
    if case.cannot:
        return case.cannot
    if case.on and backend not in case.on:
        *others, last = (NAMES[name] for name in case.on)
        return f"works only on {', '.join(others)} and {last}" if others else f"works only on {last}"
    return None


def _run(case: Case, filename: str, counter: SyncCounter, backend: str) -> tuple[Exception | None, tuple[Site, ...]]:
    """What went wrong, if something did, and the syncs that the case's code made (not those of its setup)."""
    names: dict[str, Any] = {"device": DEVICES.get(backend, backend)}
    sites: tuple[Site, ...] = ()
    code = ast.parse(case.code, filename)
    ast.increment_lineno(code, _before(case).count("\n"))
    try:
        exec(_before(case), names)
        try:
            counter.reset()
            exec(compile(code, filename, "exec"), names)
        finally:
            sites = counter.report().sites
            exec(case.after, names)
    except Exception as error:  # whatever a library raises where it cannot work
        return error, sites
    return None, sites


def _before(case: Case) -> str:
    return f"{SETUP}{case.setup}\n"


def _why(error: Exception) -> str:
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}"


def _unseen(case: Case, expected: bool, backend: Backend) -> str:
    """Why this backend cannot tell of the case what a device would do; "" if it should."""
    if expected and kind(case) in backend.unseen_kinds:
        return f"a blind spot of this backend: syncs of kind {kind(case)}"
    why = BLIND_SPOTS.get(backend.name, {}).get(case.code)
    return f"a blind spot of this backend: {why}" if why else ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what the cases print, log or warn of."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


# What is worked out of a file is remembered by its name, so that a name is never given twice.
_numbers = itertools.count(1)


@contextlib.contextmanager
def _sources() -> Iterator[Callable[[Case], str]]:
    """Gives each case a file name, under which its text can be looked up as that of a notebook's cell can."""
    names = []

    def source(case: Case) -> str:
        name = f"<case {next(_numbers)}>"
        names.append(name)
        text = _before(case) + case.code
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        return name

    try:
        yield source
    finally:
        for name in names:
            linecache.cache.pop(name, None)


def full(validation: Validation) -> str:
    """The verdicts as a table of 80 columns, what could not run, and what disagrees."""
    environment = validation.environment
    lines = [f"{environment.device}, torch {environment.torch}, Python {environment.python}", "", HEADER]
    lines += [_line(verdict) for verdict in validation.having(AGREES, NOT_COUNTED, COUNTED)]
    reasons: dict[str, list[str]] = {}
    for verdict in validation.having(NOT_RUN):
        reasons.setdefault(verdict.reason, []).append(verdict.case.op)
    if reasons:
        lines += ["", "Not run here, or not to be seen:"]
        for reason, ops in reasons.items():
            lines += textwrap.wrap(f"- {reason}: {', '.join(dict.fromkeys(ops))}", WIDTH, subsequent_indent="  ")
    if validation.blind_spots:
        lines += ["", "Blind spots of this backend:"]
        for spot in validation.blind_spots:
            lines += textwrap.wrap(f"- {spot}", WIDTH, subsequent_indent="  ")
    if validation.disagreements:
        lines += ["", "The counts contradict the table:"]
        for verdict in validation.disagreements:
            lines += textwrap.wrap(f"- {_contradiction(verdict)}", WIDTH, subsequent_indent="  ")
    agree, contradict = len(validation.having(AGREES)), len(validation.disagreements)
    total = len(validation.verdicts)
    lines += ["", f"{total} cases: {agree} agree, {contradict} disagree, {total - agree - contradict} not run."]
    return "\n".join(lines) + "\n"


def _line(verdict: Verdict) -> str:
    mark = " " if verdict.verdict == AGREES else "!"
    says = "waits" if verdict.waits else "no"
    raw = "refused" if verdict.refused else str(verdict.raw)
    start = f"{mark} {says:<5}  {verdict.calls:>5}  {raw:>7}  "
    code = " ".join(verdict.case.code.split())
    line = f"{start}{verdict.case.op:<24}  {code}"
    if len(line) > WIDTH:
        room = WIDTH - len(start) - 2
        shown = code if len(code) <= room else code[: room - 3] + "..."
        line = f"{start}{verdict.case.op}\n{' ' * (len(start) + 2)}{shown}"
    return line


def _contradiction(verdict: Verdict) -> str:
    says = "waits" if verdict.waits else "does not wait"
    named = f" ({', '.join(verdict.counted_as)})" if verdict.counted_as else ""
    when = f" [{verdict.case.when}]" if verdict.case.when else ""
    counted = f"{verdict.calls} counted{named}" if verdict.calls else "none counted"
    return f"{verdict.case.op}{when}: the table says it {says}; {counted} in `{verdict.case.code}`"


def as_json(validation: Validation) -> str:
    """One object: the backend, its environment and blind spots, the totals, and a list of all cases."""
    totals = Counter(verdict.verdict for verdict in validation.verdicts)
    content = {
        "backend": validation.backend,
        **validation.environment._asdict(),
        "blind_spots": list(validation.blind_spots),
        "totals": {verdict: totals[verdict] for verdict in (AGREES, NOT_COUNTED, COUNTED, NOT_RUN)},
        "cases": [
            {
                "op": verdict.case.op,
                "when": verdict.case.when or None,
                "code": verdict.case.code,
                "table": "waits" if verdict.waits else "no",
                "count": verdict.calls,
                "raw": verdict.raw,
                "counted_as": list(verdict.counted_as),
                "refused": verdict.refused,
                "verdict": verdict.verdict,
                "reason": verdict.reason or None,
            }
            for verdict in validation.verdicts
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """`auditlint validate-rules`: 0 where the counts agree with the table, 1 where some do not.

    Raises:
        UsageError: wrong arguments, or the backend cannot count here.
    """
    from auditlint.console import CLEAN, FOUND, UsageError, new_parser, write

    parser = new_parser(
        prog="auditlint validate-rules",
        description="Run a small case for every operation that the rules know, count its syncs, and compare.",
        epilog="Exit status: 0 all agree, 1 some disagree, 2 usage error or nothing to count on.",
    )
    add = parser.add_argument
    add("--backend", choices=("auto", *NAMES), default="auto", metavar="NAME", help="auto, " + ", ".join(NAMES))
    add("--output-format", choices=("full", "json"), default="full", metavar="FORMAT", help="full, json")
    add("--output-file", "-o", metavar="FILE", help="write the report there")
    add("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    try:
        from auditlint.runtime import Unavailable
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "torch":
            raise UsageError("validate-rules needs torch: pip install 'auditlint[runtime]'") from None
        raise
    try:
        validation = validate(args.backend)
    except Unavailable as error:
        raise UsageError(str(error)) from None
    write(as_json(validation) if args.output_format == "json" else full(validation), args.output_file, sys.stdout)
    return FOUND if validation.disagreements else CLEAN
