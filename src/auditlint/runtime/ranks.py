"""One report of the ranks that `torchrun` has started: each counts, rank 0 merges.

Reports go through a folder that the ranks of one machine derive from what the launcher tells them all. torch's process
group is not used: at a program's end it may be destroyed, and after a failure it may hang.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from auditlint.runtime.merge import from_json, merge, to_json
from auditlint.runtime.report import SyncReport

PATIENCE = 60.0  # seconds for which rank 0 waits for ranks that still run
_POLL = 0.05


class Rank(NamedTuple):
    """This process among the ranks: its number, how many there are, and which of them are on this machine.

    `neighbours` includes this rank. `folder` is where the ranks of this machine meet.
    """

    number: int
    world: int
    neighbours: range
    folder: Path

    @property
    def merges(self) -> bool:
        """Whether this rank prints the report of all; the others print nothing."""
        return self.number == 0


def here(environ: Mapping[str, str] = os.environ) -> Rank | None:
    """This process's rank by the variables that `torchrun` sets; None for a process that is no rank, or the only one.

    The folder's name holds the launcher's process and when it was started, so that a run does not meet what an earlier
    one with the same id and port has left, nor a restart of the ranks what their first start has.
    """
    try:
        number, world = int(environ["RANK"]), int(environ["WORLD_SIZE"])
        local, beside = int(environ["LOCAL_RANK"]), int(environ["LOCAL_WORLD_SIZE"])
        run = environ["TORCHELASTIC_RUN_ID"]
    except (KeyError, ValueError):
        return None
    if world < 2:
        return None
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
    launcher = os.getppid()
    parts = [run, *(environ.get(name, "") for name in names), str(launcher), _started(launcher)]
    key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    first = number - local
    folder = Path(tempfile.gettempdir()) / f"auditlint-ranks-{_user()}-{key}"
    return Rank(number, world, range(first, first + beside), folder)


def enter(rank: Rank) -> None:
    """Let the ranks on this machine know that this one counts. Called before the program runs.

    Raises `OSError` where the folder cannot be made, or where it is not this user's alone.
    """
    rank.folder.mkdir(mode=0o700, exist_ok=True)
    found = os.lstat(rank.folder)
    private = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o077)
    if not stat.S_ISDIR(found.st_mode) or not private:
        raise PermissionError(f"{rank.folder}: not a folder of this user's own")
    _write(_presence(rank, rank.number), str(os.getpid()).encode("ascii"))


def hand_in(rank: Rank, report: SyncReport) -> None:
    """Leave a rank's report for rank 0; for nobody, and without an error, if rank 0 no longer waits.

    A rank on a machine other than rank 0's removes what it has left: nothing there is read.
    """
    with contextlib.suppress(OSError):
        if 0 in rank.neighbours:
            _write(_report(rank, rank.number), to_json(report))
        else:
            _presence(rank, rank.number).unlink()
            rank.folder.rmdir()  # fails for all but the last


def gather(rank: Rank, report: SyncReport, patience: float = PATIENCE) -> SyncReport:
    """`report`, rank 0's own, merged with those of the other ranks on its machine, and a note on the ones missing.

    Waits up to `patience` seconds for ranks that still run, and not at all for ranks that have died.
    """
    reports = {rank.number: report}
    waiting = [number for number in rank.neighbours if number != rank.number]
    lost: list[int] = []
    end = time.monotonic() + patience
    while waiting:
        lost += [number for number in waiting if not _alive(rank, number)]
        for number in waiting:  # after the look for life: a rank reports before it dies
            received = _received(rank, number)
            if received is not None:
                reports[number] = received
        waiting = [number for number in waiting if number not in reports and number not in lost]
        if time.monotonic() >= end:
            break
        if waiting:
            time.sleep(_POLL)
    shutil.rmtree(rank.folder, ignore_errors=True)
    whole = merge([reports[number] for number in sorted(reports)], [f"rank {number}" for number in sorted(reports)])
    lost = [number for number in lost if number not in reports]
    far = [number for number in range(rank.world) if number not in rank.neighbours]
    notes = (
        _note(lost, "ended without a report"),
        _note(waiting, f"had not ended {patience:g} s after rank 0"),
        _note(far, "ran on another machine"),
    )
    return whole._replace(notes=(*whole.notes, *(note for note in notes if note)))


def _note(numbers: list[int], why: str) -> str:
    if not numbers:
        return ""
    names = f"rank {numbers[0]}" if len(numbers) == 1 else f"ranks {', '.join(map(str, sorted(numbers)))}"
    return f"not counted: {names}, which {why}"


def _presence(rank: Rank, number: int) -> Path:
    return rank.folder / f"rank-{number}.pid"


def _report(rank: Rank, number: int) -> Path:
    return rank.folder / f"rank-{number}.json"


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    os.replace(draft, path)


def _received(rank: Rank, number: int) -> SyncReport | None:
    try:
        return from_json(_report(rank, number).read_bytes())
    except (OSError, ValueError):
        return None


def _alive(rank: Rank, number: int) -> bool:
    """Whether a rank on this machine may still report. One that has not even entered may: it is still importing."""
    try:
        pid = int(_presence(rank, number).read_bytes())
        if os.name == "nt":  # where signal 0 is not a question but Ctrl-C
            return True
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return _state(pid) != "Z"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


def _fields(pid: int) -> list[str]:
    """Linux's `/proc/PID/stat` from the third field on (the state); empty elsewhere."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    """The state letter of a process, "Z" for one that has ended and is not yet waited for; "" where unknown."""
    return (_fields(pid) or [""])[0]


def _started(pid: int) -> str:
    """When a process was started, in the system's ticks since boot; "" where unknown."""
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""
