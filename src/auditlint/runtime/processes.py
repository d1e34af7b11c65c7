"""Counts in the processes that a program starts, and names those that could not be counted.

A child that `multiprocessing` starts (a worker of a `DataLoader`, a pool, `torch.multiprocessing.spawn`), or that
`os.fork` starts and that ends as the program's own process does, counts for itself and leaves its report in a folder
that the first process reads at the end. Every child is announced in that folder when it starts, so that one that never
reports (it left by `os._exit`, was killed, or still runs) is known. Programs started by `subprocess` are not followed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing.process
import multiprocessing.spawn
import multiprocessing.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from auditlint.runtime import script
from auditlint.runtime.merge import from_json, merge, to_json
from auditlint.runtime.report import SyncReport

COUNTER = "auditlint.runtime.check:count_in_child"


class Counter(NamedTuple):
    """How a process counts: `begin` starts from nothing, whatever a fork has copied; `collect` is what came since.

    `begin` is called in a process that has just been forked, in which other threads are gone and their locks may be
    held for ever: it must replace every lock that `collect` takes.
    """

    begin: Callable[[], None]
    collect: Callable[[], SyncReport]


class _Family(NamedTuple):
    """What each process of one run knows. `spawned` names a function, "module:function", that gives a spawned child
    its `Counter` for `backend`."""

    spool: Path
    counter: Counter
    spawned: str
    backend: str


class Children:
    """The processes that have been started since `counted`, seen from the first one."""

    def __init__(self, family: _Family) -> None:
        self._family = family
        self._owner = os.getpid()

    @property
    def spool(self) -> Path:
        """The folder through which reports travel; it is gone when the region is left."""
        return self._family.spool

    def leave(self, status: int) -> None:
        """End this process with `status` if it is a fork of the first one that has come to the program's end.

        Such a child leaves its report for the first process; it must not print one.
        """
        if os.getpid() != self._owner:
            _hand_in()
            os._exit(status)

    def merged(self, report: SyncReport) -> SyncReport:
        """`report`, the first process's own, with those of all children, and a note on the ones that are missing."""
        labels, reports = [""], [report]
        lost: dict[str, int] = {}
        for path in sorted(self._family.spool.glob("*.child"), key=lambda path: path.name):
            child = _child(path)
            if child.report is None:
                lost[child.label] = lost.get(child.label, 0) + 1
            else:
                labels.append(child.label)
                reports.append(child.report)
        whole = merge(reports, labels)
        return whole._replace(notes=(*whole.notes, _missing(lost))) if lost else whole


class _Child(NamedTuple):
    label: str
    report: SyncReport | None


@contextlib.contextmanager
def counted(counter: Counter, backend: str, spawned: str = COUNTER) -> Iterator[Children]:
    """Follow the processes that are started in this region. One region at a time.

    A spawned child imports `spawned` and calls it with `backend` before it imports the program; it returns a `Counter`
    that counts already.
    """
    spool = Path(tempfile.mkdtemp(prefix="auditlint-"))  # for this user only
    family = _Family(spool, counter, spawned, backend)
    children = Children(family)
    try:
        with _following(family):
            yield children
    finally:
        if os.getpid() == children._owner:
            shutil.rmtree(spool, ignore_errors=True)


_family: _Family | None = None
_announced: Path | None = None  # this process's own entry in the spool; None in the first process, and once it is done
_registered = False


@contextlib.contextmanager
def _following(family: _Family) -> Iterator[None]:
    global _family
    prepared = multiprocessing.spawn.get_preparation_data
    _follow(family)
    try:
        yield
    finally:
        _family = None
        multiprocessing.spawn.get_preparation_data = prepared


def _follow(family: _Family) -> None:
    """Take notice of children from here on, in the first process or in a spawned one."""
    global _family, _registered
    _family = family
    prepared = multiprocessing.spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = prepared(name)
        if _family is not None and name != "ignore":  # so it is called for the fork server itself
            data["auditlint"] = _Arrival(_family, _announce(_family, f"worker {name}"))
        return data

    multiprocessing.spawn.get_preparation_data = get_preparation_data
    if not _registered:  # neither can be taken back: they do nothing while no region is open
        _registered = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forked)
        multiprocessing.util.register_after_fork(_enrol, _enrol)


def _announce(family: _Family, label: str) -> Path:
    """Enter a child in the spool; its name there tells when it was started, and is no other child's."""
    path = family.spool / f"{time.time_ns():020d}-{os.getpid()}-{threading.get_ident()}.child"
    with contextlib.suppress(OSError):  # the first process has ended, and nobody waits for this child
        path.write_text(json.dumps({"label": label}))
    return path


def _forked() -> None:
    """In a child that has just been forked, by whatever: count from nothing, and be known to the first process."""
    global _announced
    _announced = None
    if _family is None or sys._getframe(1).f_globals.get("__name__") == "subprocess":  # about to be another program
        return
    with contextlib.suppress(Exception):
        _announced = _announce(_family, f"process {os.getpid()}")
        _family.counter.begin()


def _enrol(_: object) -> None:
    """In a forked child of `multiprocessing`, before its target runs: be called by its name, and report at its end.

    Called where `multiprocessing` sets such a child up, after it has dropped the parent's finalizers. Older Pythons do
    the same in a spawned child, whose finalizer of `arrive` they drop.
    """
    if _family is None or _announced is None:
        return
    with contextlib.suppress(OSError):
        if _announced.exists():
            label = f"worker {multiprocessing.process.current_process().name}"
            _announced.write_text(json.dumps({"label": label}))
    _report_at_end()


def _report_at_end() -> None:
    """Have a child of `multiprocessing` report when it ends, be it by SIGTERM."""
    multiprocessing.util.Finalize(None, _hand_in, exitpriority=-1000)  # after the queues' and everyone else's
    if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, script.unwind):
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, _report_and_die)


def _report_and_die(signum: int, frame: FrameType | None) -> None:
    """SIGTERM's handler in a child of `multiprocessing`: leaving a pool's `with` block ends its workers like this.

    The report is made by a thread, which can be given up: this handler has interrupted the program anywhere, possibly
    where it holds what the report needs. If it has interrupted the report itself, that is finished first.
    """
    global _ended_by
    if _handing_in:
        _ended_by = signum
        return
    writer = threading.Thread(target=_hand_in, daemon=True)
    writer.start()
    writer.join(timeout=2)
    _die(signum)


def _die(signum: int) -> None:
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


_handing_in = False
_ended_by = 0


def _hand_in() -> None:
    """Leave this child's report in the spool, whole or not at all. Never fails: the child must end as it would have."""
    global _announced, _handing_in
    path, family = _announced, _family
    if path is None or family is None:
        return
    _handing_in = True
    _announced = None
    with contextlib.suppress(Exception):
        label = json.loads(path.read_text())["label"]
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"label": label, "report": to_json(family.counter.collect()).decode("ascii")}))
        os.replace(draft, path)
    _handing_in = False
    if _ended_by and threading.current_thread() is threading.main_thread():
        _die(_ended_by)


def _child(path: Path) -> _Child:
    """What a child has left in the spool; without a report if it has left none that can be read."""
    try:
        entry = json.loads(path.read_text())
        label = str(entry["label"])
    except (OSError, ValueError, KeyError, TypeError):
        return _Child("a process", None)
    try:
        return _Child(label, from_json(entry["report"].encode("ascii")))
    except (ValueError, KeyError):
        return _Child(label + (f" ({entry['error']})" if entry.get("error") else ""), None)


def _missing(lost: dict[str, int]) -> str:
    names = ", ".join(label if count == 1 else f"{label} ({count} times)" for label, count in lost.items())
    were = "was" if sum(lost.values()) == 1 else "were"
    return f"not counted: {names}, which {were} killed, left by os._exit, or had not ended"


class _Arrival:
    """Travels to a spawned child with the data that it is set up from, and starts counting when it is unpickled.

    That is before the child imports the program. It is unpickled as a call of `exec`, because the child may have to
    live without this package: a class of ours that it cannot import would keep it from starting.
    """

    def __init__(self, family: _Family, announced: Path) -> None:
        root = str(Path(__file__).parents[2])
        arguments = (str(family.spool), family.spawned, family.backend, str(announced))
        self._source = _ARRIVAL.format(root=root, arguments=arguments, announced=str(announced))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return exec, (self._source, {})


_ARRIVAL = """\
try:
    import sys
    path = list(sys.path)
    sys.path.append({root!r})
    try:
        from auditlint.runtime import processes
        processes.arrive(*{arguments!r})
    finally:
        sys.path[:] = path
except Exception as error:
    try:
        import json
        with open({announced!r}, "r+") as file:
            entry = json.load(file)
            file.seek(0)
            json.dump(dict(entry, error=type(error).__name__ + ": " + str(error)), file)
    except Exception:
        pass
"""


def arrive(spool: str, spawned: str, backend: str, announced: str) -> None:
    """Start counting in a spawned child; called by what it is set up from."""
    global _announced
    module, _, function = spawned.partition(":")
    counter: Counter = getattr(importlib.import_module(module), function)(backend)
    _announced = Path(announced)
    _follow(_Family(Path(spool), counter, spawned, backend))
    _report_at_end()
