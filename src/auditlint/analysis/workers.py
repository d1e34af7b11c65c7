"""Several processes over one project: each has its share of the files, and keeps what it has parsed."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from auditlint.analysis.engine import Found, Scan, Share
from auditlint.analysis.session import Wrappers
from auditlint.analysis.sites import Site
from auditlint.config import Config
from auditlint.project.project import Broken, Project

# Below this many files one process is done before a second has started.
WORTH_A_PROCESS = 150
MAX_PROCESSES = 8


class Worker(NamedTuple):
    """A forked process that answers calls of its Share's methods, one at a time."""

    pid: int
    requests: int
    answers: int


class Crew:
    """The processes that analyse a project, this one included. Results come in the order of the shares."""

    def __init__(self, project: Project, config: Config, jobs: int) -> None:
        count = _processes(len(project.files), jobs)
        self.shares = [Share(project, config, project.files[i::count]) for i in range(count)]
        self.own = self.shares[0]
        self.workers: list[Worker] = []
        self._load = [0] * count
        self._home: dict[str, int] = {}

    def __enter__(self) -> Crew:
        for share in self.shares[1:]:
            self.workers.append(_fork(share, self.workers))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self.workers:
            os.close(worker.requests)
            os.close(worker.answers)
            if kind is not None:
                os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)

    def scan(self) -> list[Scan]:
        return self._all("scan", [()] * len(self.shares))

    def search(self, names: Sequence[str]) -> list[list[tuple[str, int]]]:
        return self._all("search", [(names,)] * len(self.shares))

    def start(
        self, files: Sequence[tuple[str, int]], relevant: Sequence[str], wrappers: Wrappers, classes: Sequence[str]
    ) -> list[Found]:
        """Start these files, each in the process that has had it before, or else in the one with least to do."""
        parts: list[list[str]] = [[] for _ in self.shares]
        for filename, size in sorted(files, key=lambda file: (-file[1], file[0])):
            home = self._home.get(filename)
            if home is None:
                home = self._home[filename] = self._load.index(min(self._load))
                self._load[home] += size
            parts[home].append(filename)
        return self._all("start", [(sorted(part), relevant, wrappers, classes) for part in parts])

    def finish(self) -> list[list[Site]]:
        return self._all("finish", [()] * len(self.shares))

    def broken(self) -> list[list[Broken]]:
        return self._all("broken", [()] * len(self.shares))

    def _all(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        for worker, given in zip(self.workers, arguments[1:], strict=True):
            _send(worker.requests, (method, given))
        results = [getattr(self.own, method)(*arguments[0])]
        for worker in self.workers:
            failed, value = _receive(worker.answers)
            if failed:
                raise RuntimeError(value)
            results.append(value)
        return results


def _processes(files: int, jobs: int) -> int:
    """How many processes to use. Forking a process that has threads is not safe, so then there is one."""
    if not hasattr(os, "fork") or threading.active_count() > 1 or sys.platform == "darwin":
        return 1
    if jobs <= 0:
        jobs = min(MAX_PROCESSES, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        jobs = min(jobs, files // WORTH_A_PROCESS)
    return max(1, min(jobs, files))


def _fork(share: Share, others: Sequence[Worker]) -> Worker:
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
        _serve(share, requests_out, answers_in)
        status = 0
    finally:
        os._exit(status)


def _serve(share: Share, requests: int, answers: int) -> None:
    """Answer calls until the other end is closed."""
    while True:
        try:
            method, given = _receive(requests)
        except EOFError:
            return
        call: Callable[..., object] = getattr(share, method)
        try:
            answer = (False, call(*given))
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
