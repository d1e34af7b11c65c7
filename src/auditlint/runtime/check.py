"""The runtime check: run a program, count its syncs, hold the linter's findings against them."""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from auditlint.runtime import processes, ranks
from auditlint.runtime.backends import Backend, choose
from auditlint.runtime.counting import count_syncs, current_watch
from auditlint.runtime.findings import Findings, configs
from auditlint.runtime.probes import Probes
from auditlint.runtime.reconcile import reconcile
from auditlint.runtime.report import Check, Reconciled, SyncReport
from auditlint.runtime.script import Program, run
from auditlint.runtime.summary import shown
from auditlint.runtime.watch import Watch

# What makes a program choose a device for its tensors: `.cuda()`, `torch.accelerator`, "cuda:0", a variable `device`.
_PLACES = frozenset({"cuda", "mps", "xpu", "accelerator"})
_DEVICE = re.compile(r"(cuda|mps|xpu)(:\d+)?")
_EVERYWHERE = "simulated, by default"
# Holds what counts in a spawned process; it is never closed, and must not be collected.
_to_the_end = contextlib.ExitStack()


class Settings(NamedTuple):
    """How to check: the backend's name, and the configuration that the linter reads."""

    backend: str = "auto"
    config_file: str | None = None
    isolated: bool = False


class Outcome(NamedTuple):
    """The program's own exit status, and the check; None in a process that has handed its counts to another one."""

    status: int
    check: Check | None


def check(program: Program, settings: Settings, tell: Callable[[Outcome], int]) -> int:
    """Run `program` in this process, as the last thing that the process does, and `tell` what came of it.

    Returns the exit status that `tell` decides on. A program that leaves by `os._exit` is told of, too, and leaves with
    that status.

    Raises:
        Unavailable: the backend cannot count here.
        ValueError: there is no such backend.
        ProgramError: there is nothing to run.
        ConfigError: the configuration of the program's project cannot be used.
        OSError: the ranks of a group cannot meet.
    """
    folder = os.getcwd()
    main = _main_file(program)
    backend = _backend(settings.backend, main)
    rank = ranks.here()
    if rank is not None:
        ranks.enter(rank)
    with contextlib.ExitStack() as undo:
        counter = undo.enter_context(count_syncs(backend))
        watch = _watch()
        found = Findings(configs(settings.config_file, settings.isolated), watch.hooks.declare)
        if main:
            found.of(main)
        probes = Probes(found.of)
        probes.install(undo)
        children = undo.enter_context(
            processes.counted(processes.Counter(watch.begin_again, counter.report), _spawned_name(backend))
        )

        def outcome(status: int) -> Outcome:
            report = children.merged(counter.report())
            if rank is not None and not rank.merges:
                ranks.hand_in(rank, report)
                return Outcome(status, None)
            if rank is not None:
                report = ranks.gather(rank, report)
            held = () if backend.doubt else _held_against(report, main, found, probes, watch, backend, folder)
            return Outcome(status, Check(program.name, status, report, held))

        undo.enter_context(_told_at_once(lambda status: tell(outcome(status))))
        status = run(program, compiled=probes.compile)
        children.leave(status)
        last = outcome(status)
    return tell(last)


@contextlib.contextmanager
def _told_at_once(status_of: Callable[[int], int]) -> Iterator[None]:
    """In the block, `os._exit` in this process first does what is done at the end of a program."""
    leave, owner = os._exit, os.getpid()

    def told(status: int) -> None:
        if os.getpid() == owner:
            os._exit = leave  # whoever leaves meanwhile does it at once
            status = status_of(status)
        leave(status)

    os._exit = told  # type: ignore[assignment]  # it does not return either
    try:
        yield
    finally:
        os._exit = leave


def _held_against(
    report: SyncReport,
    main: str,
    found: Findings,
    probes: Probes,
    watch: Watch,
    backend: Backend,
    folder: str,
) -> tuple[Reconciled, ...]:
    reconciliation = reconcile(
        found.all(),
        report,
        executed=probes.executed,
        loaded=probes.loaded,
        uncertain=probes.uncertain,
        root=folder,
        project=lambda path: found.are_together(path, main),
        registered={(hook.filename, hook.row) for hook in watch.hooks.known()},
        unseen_kinds=backend.unseen_kinds,
    )
    return tuple(item._replace(filename=shown(item.filename, folder)) for item in reconciliation)


def count_in_child(backend: str) -> processes.Counter:
    """Count in a spawned process from now on, to its end; named by `processes.COUNTER`."""
    counter = _to_the_end.enter_context(count_syncs(_everywhere() if backend == _EVERYWHERE else backend))
    return processes.Counter(_watch().begin_again, counter.report)


def _watch() -> Watch:
    watch = current_watch()
    assert watch is not None, "only called while counting"
    return watch


def _backend(name: str, main: str) -> Backend:
    return _everywhere() if name == "simulated" and main and not _names_a_device(main) else choose(name)


def _names_a_device(path: str) -> bool:
    """Whether the source chooses a device for its tensors; all of one that does not can be on the simulated device.

    To ask for a copy on the host (`.to("cpu")`) or on another tensor's device is no such choice.
    """
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return True  # the program itself will say what is wrong
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _PLACES:
                return True
            case ast.Name(id="device") | ast.Call(func=ast.Attribute(attr="device")):
                return True
            case ast.keyword(arg="device", value=ast.Constant()):
                return True
            case ast.Constant(value=str(text)) if _DEVICE.fullmatch(text):
                return True
    return False


def _everywhere() -> Backend:
    """The simulated device, for a program that names no device: all its tensors go there."""
    from auditlint.runtime.backends.simulated import Simulated

    return Simulated(default=True)


def _spawned_name(backend: Backend) -> str:
    return _EVERYWHERE if getattr(backend, "default", False) else backend.name


def _main_file(program: Program) -> str:
    """The file that holds the program's first line, "" where it is none."""
    if not program.module:
        path = os.path.join(os.getcwd(), program.name)
        return os.path.join(path, "__main__.py") if os.path.isdir(path) else path
    # Without importing anything: only the outermost package can be looked for so.
    spec = importlib.machinery.PathFinder.find_spec(program.name.partition(".")[0], [os.getcwd(), *sys.path])
    return spec.origin if spec is not None and spec.origin and spec.has_location else ""
