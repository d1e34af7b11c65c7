"""One project in, sites out: which files matter, each file's hooks, and wrappers until no new one is found."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from auditlint.analysis import hooks, hygiene, reach, roots
from auditlint.analysis.naming import Naming
from auditlint.analysis.progress import Progress
from auditlint.analysis.session import Session, Takes, Wrappers
from auditlint.analysis.sites import Site
from auditlint.config import Config
from auditlint.project.project import Broken, Project

if TYPE_CHECKING:
    from auditlint.analysis.workers import Crew

# Abstract interpretation recurses a few Python frames for each level of nesting in the code it reads.
RECURSION_LIMIT = 6000
# A wrapper whose name stands in more files than this is too common a word to search for.
MAX_FILES = 300
MAX_ROUNDS = 6
# A code of ours, as a suppression comment names it.
CODE = re.compile(rb"AUD\d")


class Outcome(NamedTuple):
    """What the analysis of a project came to; filenames are posix, relative to its root."""

    sites: list[Site]
    broken: list[Broken]
    marked: list[str]


class Task(NamedTuple):
    """A project to analyse: posix names of its files relative to `root`; `overlays` holds unsaved contents."""

    root: str
    files: Sequence[str]
    config: Config
    overlays: Mapping[str, bytes]


class Scan(NamedTuple):
    """What a search through files found: those that name a registrar (with their size), and those with suppressions."""

    relevant: list[tuple[str, int]]
    marked: list[str]


class Found(NamedTuple):
    """Functions and hook classes of the project that turned out to be registrars."""

    wrappers: list[tuple[str, Takes]]
    classes: list[str]


class Share:
    """The part of a project that one process analyses. Each file's hooks are a session of their own."""

    def __init__(self, project: Project, config: Config, files: Sequence[str]) -> None:
        self.project = project
        self.config = config
        self.files = files
        self.sessions: dict[str, Session] = {}
        self.progress: Progress | None = None
        self.hooked: list[str] = []

    def scan(self) -> Scan:
        """Read every file once; search for registrars and for suppression comments."""
        relevant: list[tuple[str, int]] = []
        marked: list[str] = []
        naming = Naming(self.config)
        everything = reads_everything(self.config)
        for filename, source, size in self._sources(self.files):
            if everything or naming.may_occur(source, size):
                self.hooked.append(filename)
                if everything or naming.occurs(source, size):
                    relevant.append((filename, size))
            if source.find(b"auditlint:", 0, size) >= 0 or CODE.search(source, 0, size) is not None:
                marked.append(filename)
        return Scan(relevant, marked)

    def search(self, names: Sequence[str]) -> list[tuple[str, int]]:
        """Files in which one of these names occurs, with their sizes."""
        found: dict[str, int] = {}
        # A name with "hook" in it occurs only where "hook" does.
        hooked = [name.encode() for name in names if "hook" in name]
        others = [name.encode() for name in names if "hook" not in name]
        for files, words in ((self.hooked, hooked), (self.files, others)):
            if words:
                for filename, source, size in self._sources(files):
                    if any(source.find(word, 0, size) >= 0 for word in words):
                        found[filename] = size
        return sorted(found.items())

    def _sources(self, files: Sequence[str]) -> Iterator[tuple[str, bytearray, int]]:
        """Each file with its contents in a buffer that the next one overwrites, and their size."""
        buffer = bytearray(1 << 20)
        for filename in files:
            try:
                size = self.project.read_into(filename, buffer)
            except OSError as error:
                reason = f"cannot be read: {error.strerror or error}"
                self.project.broken.setdefault(filename, Broken(filename, 1, 1, reason))
                continue
            yield filename, buffer, size

    def start(self, files: Sequence[str], relevant: Sequence[str], wrappers: Wrappers, classes: Sequence[str]) -> Found:
        """Run what names a registrar in these files; hooks themselves wait until all wrappers are known.

        `relevant` are the files of the project in which callers are looked for.
        """
        self._expect(len(files))
        for filename in files:
            self._step()
            module = self.project.module(filename)
            if module is None:
                continue
            session = self.sessions[filename] = Session(self.project, self.config, dict(wrappers), classes, relevant)
            roots.start(session, module, session.rows(module))
            roots.configured(session, module)
            roots.run_pending(session)
        return self._found(files)

    def finish(self) -> list[Site]:
        """Run the hooks of every file and list what they reach."""
        sites: list[Site] = []
        self._expect(len(self.sessions))
        for filename in sorted(self.sessions):
            self._step()
            session = self.sessions.pop(filename)
            module = self.project.module(filename)
            assert module is not None
            done = 0
            while done < len(session.registrations):
                registration = list(session.registrations.values())[done]
                done += 1
                sites.extend(reach.sites_of(session, module, registration))
                roots.run_pending(session)
            try:
                # Last: what they kept is held against code that runs after the pass.
                sites.extend(hygiene.sites_of(session))
            except RecursionError:
                session.too_nested(module.body())
        return unique(sites)

    def _expect(self, files: int) -> None:
        if self.progress is not None:
            self.progress.expect(files)

    def _step(self) -> None:
        if self.progress is not None:
            self.progress.step()

    def broken(self) -> list[Broken]:
        return list(self.project.broken.values())

    def _found(self, files: Sequence[str]) -> Found:
        sessions = [self.sessions[filename] for filename in files if filename in self.sessions]
        takes = [
            (wrapper.name, hooks.wrapper_takes(wrapper))
            for session in sessions
            for wrapper in session.wrappers.values()
            if not wrapper.name.startswith(("<", "__")) and wrapper.function.parent is None
        ]
        return Found(takes, sorted({name for session in sessions for name in session.hook_classes}))


def analyse(
    root: str, files: Sequence[str], config: Config, overlays: Mapping[str, bytes] | None = None, jobs: int = 0
) -> Outcome:
    """Every site that a hook of one project reaches. Never raises for what the files contain."""
    return analyse_all([Task(root, files, config, overlays or {})], jobs)[0]


def analyse_all(tasks: Sequence[Task], jobs: int = 0, progress: bool = False) -> list[Outcome]:
    """The outcome of each project; they are worked on together, none sees the other.

    `jobs` is the number of processes, 0 for as many as there are processors and work for. With `progress`, a run that
    takes long shows a bar on standard error.
    """
    from auditlint.analysis.workers import Crew

    limit, collecting = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(limit, RECURSION_LIMIT))
    gc.disable()
    try:
        projects = [(Project(task.root, task.files, task.overlays), task.config) for task in tasks]
        bar = Progress() if progress else None
        try:
            with Crew(projects, jobs, bar) as crew:
                return _analyse(crew, len(projects))
        finally:
            if bar is not None:
                bar.close()
    finally:
        sys.setrecursionlimit(limit)
        if collecting:
            gc.enable()


class _State:
    """What is known of one project between the rounds of its analysis."""

    def __init__(self, scans: list[Scan]) -> None:
        self.relevant = sorted(file for scan in scans for file in scan.relevant)
        self.marked = sorted(name for scan in scans for name in scan.marked)
        self.names = [name for name, _ in self.relevant]
        self.wrappers: Wrappers = {}
        self.classes: set[str] = set()


def _analyse(crew: Crew, count: int) -> list[Outcome]:
    every = range(count)
    states = [_State(scans) for scans in crew.ask("scan", every).values()]
    active = list(every)
    for _ in range(MAX_ROUNDS):
        found = crew.start({i: states[i] for i in active})
        new = {i: sorted(_new_names(found[i], states[i].wrappers, states[i].classes)) for i in active}
        active = [i for i in active if new[i]]
        if not active:
            break
        for i, parts in crew.ask("search", active, {i: (new[i],) for i in active}).items():
            states[i].relevant = sorted(file for part in parts for file in part)
        active = [i for i in active if len(states[i].relevant) <= MAX_FILES]
    sites, broken = crew.ask("finish", every), crew.ask("broken", every)
    return [
        Outcome(
            unique(site for part in sites[i] for site in part),
            sorted({item.filename: item for part in broken[i] for item in part}.values()),
            states[i].marked,
        )
        for i in every
    ]


def _new_names(results: Iterable[Found], wrappers: Wrappers, classes: set[str]) -> set[str]:
    """Merge the wrappers of all files into `wrappers`; the names that are new."""
    new: set[str] = set()
    for result in results:
        for name, takes in result.wrappers:
            held = wrappers.get(name, ())
            if takes not in held:
                if not held:
                    new.add(name)
                wrappers[name] = tuple(sorted({*held, takes}))
        for name in result.classes:
            if name not in classes:
                classes.add(name)
                new.add(name)
    return new


def reads_everything(config: Config) -> bool:
    """Whether the configuration names scopes that any file may hold."""
    hot = config.hot_paths
    return bool(config.hooks or hot.files or hot.functions or config.check_forward)


def unique(sites: Iterable[Site]) -> list[Site]:
    """One site an expression and kind: the one with the shortest path, then the first hook."""
    best: dict[tuple[str, int, int, int, int, str, str], Site] = {}
    for site in sites:
        key = (site.filename, site.row, site.col, site.end_row, site.end_col, site.kind, site.scope)
        held = best.get(key)
        if held is None or _rank(site) < _rank(held):
            best[key] = site
    return [best[key] for key in sorted(best)]


def _rank(site: Site) -> tuple[object, ...]:
    return (not site.definite, len(site.path), site.hook or (), site.path)
