"""Several processes over one project: each has its share of the files, and keeps what it has parsed."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeAlias

from auditlint.analysis.engine import Found, Share
from auditlint.analysis.progress import Progress
from auditlint.analysis.session import Wrappers
from auditlint.config import Config
from auditlint.project.project import Project

# Below this many files one process is done before a second has started.
WORTH_A_PROCESS = 150
MAX_PROCESSES = 8


# A method of a Share, the number of its project, and the arguments.
Call: TypeAlias = tuple[str, int, tuple[Any, ...]]


class State(Protocol):
    """What a start needs to know of a project."""

    relevant: list[tuple[str, int]]
    names: list[str]
    wrappers: Wrappers
    classes: set[str]


class Worker(NamedTuple):
    """A forked process that answers calls of its Share's methods, one at a time."""

    pid: int
    requests: int
    answers: int


class Crew:
    """The processes that analyse some projects, this one included. Each has a share of every project."""

    def __init__(self, projects: Sequence[tuple[Project, Config]], jobs: int, progress: Progress | None = None) -> None:
        count = _processes(sum(len(project.files) for project, _ in projects), jobs)
        self._shares = [
            [Share(project, config, project.files[i::count]) for project, config in projects] for i in range(count)
        ]
        # One process is as good a sample as any: this one shows how far the run is.
        for share in self._shares[0]:
            share.progress = progress
        self._workers: list[Worker] = []
        self._load = [0] * count
        self._home: dict[tuple[int, str], int] = {}

    def __enter__(self) -> Crew:
        for shares in self._shares[1:]:
            self._workers.append(_fork(shares, self._workers))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            os.close(worker.requests)
            os.close(worker.answers)
            if kind is not None:
                os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)

    def ask(
        self, method: str, projects: Iterable[int], given: Mapping[int, tuple[Any, ...]] | None = None
    ) -> dict[int, list[Any]]:
        """What each process answers for each of the projects, by project, in the order of the processes."""
        calls = [(method, i, given[i] if given is not None else ()) for i in projects]
        return self._gathered([calls] * len(self._shares))

    def start(self, states: Mapping[int, State]) -> dict[int, list[Found]]:
        """Start the relevant files, each in the process that has had it before, or else in the one with least to do."""
        parts: list[dict[int, list[str]]] = [{i: [] for i in states} for _ in self._shares]
        files = [(size, i, filename) for i, state in states.items() for filename, size in state.relevant]
        for size, i, filename in sorted(files, key=lambda file: (-file[0], file[1], file[2])):
            home = self._home.get((i, filename))
            if home is None:
                home = self._home[i, filename] = self._load.index(min(self._load))
                self._load[home] += size
            parts[home][i].append(filename)
        return self._gathered(
            [
                [
                    ("start", i, (sorted(part[i]), state.names, state.wrappers, sorted(state.classes)))
                    for i, state in states.items()
                ]
                for part in parts
            ]
        )

    def _gathered(self, calls: Sequence[Sequence[Call]]) -> dict[int, list[Any]]:
        for worker, wanted in zip(self._workers, calls[1:], strict=True):
            _send(worker.requests, wanted)
        answers = [_answers(self._shares[0], calls[0])]
        for worker in self._workers:
            failed, value = _receive(worker.answers)
            if failed:
                raise RuntimeError(value)
            answers.append(value)
        return {i: [answer[at] for answer in answers] for at, (_, i, _) in enumerate(calls[0])}


def _answers(shares: Sequence[Share], calls: Sequence[Call]) -> list[Any]:
    return [getattr(shares[i], method)(*given) for method, i, given in calls]


def _processes(files: int, jobs: int) -> int:
    """How many processes to use. Forking a process that has threads is not safe, so then there is one."""
    if not hasattr(os, "fork") or threading.active_count() > 1 or sys.platform == "darwin":
        return 1
    if jobs <= 0:
        jobs = min(
            MAX_PROCESSES, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        jobs = min(jobs, files // WORTH_A_PROCESS)
    return max(1, min(jobs, files))


def _fork(shares: Sequence[Share], others: Sequence[Worker]) -> Worker:
    requests_out, requests_in = os.pipe()
    answers_out, answers_in = os.pipe()
    pid = os.fork()
    if pid:
        os.close(requests_out)
        os.close(answers_in)
        return Worker(pid, requests_in, answers_out)
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for other in others:
            os.close(other.requests)
            os.close(other.answers)
        os.close(requests_in)
        os.close(answers_out)
        _serve(shares, requests_out, answers_in)
        status = 0
    finally:
        os._exit(status)


def _serve(shares: Sequence[Share], requests: int, answers: int) -> None:
    """Answer calls until the other end is closed."""
    while True:
        try:
            calls = _receive(requests)
        except EOFError:
            return
        try:
            answer: tuple[bool, object] = (False, _answers(shares, calls))
        except Exception:
            import traceback

            answer = (True, traceback.format_exc())
        _send(answers, answer)


def _send(pipe: int, value: object) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    message = memoryview(len(data).to_bytes(8, "big") + data)
    while message:
        message = message[os.write(pipe, message) :]


def _receive(pipe: int) -> Any:
    return pickle.loads(_read(pipe, int.from_bytes(_read(pipe, 8), "big")))


def _read(pipe: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(pipe, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
