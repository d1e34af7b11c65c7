"""One project in, sites out: which files matter, each file's hooks, and wrappers until no new one is found."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from auditlint.analysis import hooks, reach, roots
from auditlint.analysis.session import Session, Wrappers, matching_rows, registering_pattern
from auditlint.analysis.sites import Site
from auditlint.config import Config
from auditlint.project.project import Broken, Project

# Abstract interpretation recurses a few Python frames for each level of nesting in the code it reads.
RECURSION_LIMIT = 6000
# A wrapper whose name stands in more files than this is too common a word to search for.
MAX_FILES = 300
MAX_ROUNDS = 6


class Outcome(NamedTuple):
    """What the analysis of a project came to; filenames are posix, relative to its root."""

    sites: list[Site]
    broken: list[Broken]
    marked: list[str]


class FileResult(NamedTuple):
    """What the hooks registered in one file reach, and which functions of the project turned out to be registrars."""

    sites: list[Site]
    wrappers: list[tuple[str, tuple[int, str, str]]]
    classes: list[str]


def analyse(
    root: str, files: Sequence[str], config: Config, overlays: Mapping[str, bytes] | None = None, jobs: int = 0
) -> Outcome:
    """Every site that a hook of the project reaches. Never raises for what the files contain."""
    previous = sys.getrecursionlimit()
    sys.setrecursionlimit(max(previous, RECURSION_LIMIT))
    try:
        return _analyse(Project(root, files, overlays), config)
    finally:
        sys.setrecursionlimit(previous)


def _analyse(project: Project, config: Config) -> Outcome:
    wrappers: Wrappers = {}
    classes: set[str] = set()
    results: dict[str, FileResult] = {}
    registering, marked = scan(project, config, (), mark=True)
    relevant = registering
    for _ in range(MAX_ROUNDS):
        for filename in relevant:
            results[filename] = analyse_file(project, config, filename, wrappers, classes, registering)
        found = _new_names(results.values(), wrappers, classes)
        if not found:
            break
        relevant, _ = scan(project, config, found, mark=False)
        if len(relevant) > MAX_FILES:
            relevant = []
    sites = [site for name in sorted(results) for site in results[name].sites]
    return Outcome(unique(sites), [project.broken[name] for name in sorted(project.broken)], marked)


def _new_names(results: Iterable[FileResult], wrappers: Wrappers, classes: set[str]) -> set[str]:
    """Merge the wrappers of all files into `wrappers`; the names that are new."""
    found: set[str] = set()
    for result in results:
        for name, takes in result.wrappers:
            held = wrappers.get(name, ())
            if takes not in held:
                if not held:
                    found.add(name)
                wrappers[name] = tuple(sorted({*held, takes}))
        for name in result.classes:
            if name not in classes:
                classes.add(name)
                found.add(name)
    return found


def scan(project: Project, config: Config, names: Iterable[str], mark: bool) -> tuple[list[str], list[str]]:
    """(files that name a registrar or one of `names`, files that may hold suppression comments)."""
    relevant, marked = [], []
    everything = mark and bool(
        config.hooks or config.hot_paths.files or config.hot_paths.functions or config.check_forward
    )
    pattern = registering_pattern(config, names)
    # A plain search for these decides at the speed of memory which files the pattern is worth trying on.
    words = sorted({b"hook", b"queue_callback", *(name.encode() for name in plain_names(config, names))})
    for filename in project.files:
        try:
            source = project.read(filename)
        except OSError as error:
            project.broken[filename] = Broken(filename, 1, 1, f"cannot be read: {error.strerror or error}")
            continue
        if everything or (any(word in source for word in words) and pattern.search(source) is not None):
            relevant.append(filename)
        if mark and (b"AUD" in source or b"auditlint:" in source):
            marked.append(filename)
    return relevant, marked


def plain_names(config: Config, names: Iterable[str]) -> set[str]:
    """Names to look for that do not contain "hook"."""
    wanted = {*names, *(name for name, _ in config.registrars), *config.decorators, "ModelHook"}
    return {name for name in (full.rpartition(".")[2] for full in wanted) if "hook" not in name}


def analyse_file(
    project: Project,
    config: Config,
    filename: str,
    wrappers: Wrappers,
    classes: Iterable[str],
    relevant: Sequence[str] = (),
) -> FileResult:
    """Run the hooks that one file registers, in a session of their own."""
    module = project.module(filename)
    if module is None:
        return FileResult([], [], [])
    session = Session(project, config, wrappers, classes, relevant)
    rows = matching_rows(session.pattern, module.source)
    roots.start(session, module, rows)
    roots.configured(session, module)
    roots.run_pending(session)
    sites: list[Site] = []
    done = 0
    while done < len(session.registrations):
        registration = list(session.registrations.values())[done]
        done += 1
        sites.extend(reach.sites_of(session, module, registration))
        roots.run_pending(session)
    takes = [
        (wrapper.name, hooks.wrapper_takes(wrapper))
        for wrapper in session.wrappers.values()
        if searchable(wrapper.name) and wrapper.function.parent is None
    ]
    return FileResult(unique(sites), takes, sorted(session.hook_classes))


def searchable(name: str) -> bool:
    return not name.startswith(("<", "__"))


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
