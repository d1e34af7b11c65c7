"""All findings of one universe of files, from the cache or from the analysis."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from auditlint import cache
from auditlint.config import Config
from auditlint.diagnostics import Diagnostic, Edit, Fix, Hook, Location, Step
from auditlint.source.discovery import FileError, Target, Tree, Universe

if TYPE_CHECKING:
    from auditlint.project.project import Broken

# A file changed within this many nanoseconds before a run may change again without its time showing it.
_SETTLED = 50_000_000


class Options(NamedTuple):
    """How to lint, whatever the files are: processes (0: as many as help), cache on disk, `# noqa` obeyed, a bar."""

    jobs: int = 0
    cache: bool = True
    honour_noqa: bool = True
    progress: bool = False


class Examined(NamedTuple):
    """The findings in a universe, with file names relative to `folder`; errors name absolute paths."""

    folder: str
    diagnostics: list[Diagnostic]
    errors: list[FileError]


class _Record(NamedTuple):
    """What is kept of a universe.

    A file that no hook leads to is never parsed, so whether it parses is known only where somebody named the file:
    `parsed` maps such files to what is wrong with them, most often nothing.
    """

    diagnostics: list[Diagnostic]
    parsed: dict[str, list[Diagnostic]]


class Request(NamedTuple):
    """A universe to examine, with the configuration that holds there.

    `targets` are the files that were asked for; `overlays` maps names in the universe to contents that replace those on
    disk.
    """

    universe: Universe
    config: Config
    targets: list[Target]
    overlays: Mapping[str, bytes]


class _Work(NamedTuple):
    """A request with what has been looked up for it: its files and, where the cache had one, its record."""

    request: Request
    folder: str
    files: dict[str, str]
    source: _Source
    path: str
    key: str
    record: _Record | None


def examine(requests: list[Request], tree: Tree, options: Options) -> list[Examined]:
    """The findings in each universe, suppression comments applied, codes not yet selected.

    A target that was named itself and does not parse has an AUD900, even if nothing leads to it.
    """
    started = time.time_ns()
    works = [_looked_up(request, tree, options) for request in requests]
    fresh = [work for work in works if work.record is None]
    records = dict(zip(map(id, fresh), _analysed(fresh, options), strict=True)) if fresh else {}
    return [_examined(work, work.record or records[id(work)], options, started) for work in works]


def _looked_up(request: Request, tree: Tree, options: Options) -> _Work:
    folder, prefix = tree.base(request.universe)
    files = {prefix + name: stamp for name, stamp in tree.files(request.universe).items()}
    source = _Source(folder, {prefix + name: data for name, data in request.overlays.items()})
    cached = options.cache and not request.overlays
    path, key = _cache_entry(request.universe, request.config, options, files) if cached else ("", "")
    return _Work(request, folder, files, source, path, key, _revived(cache.load(path, key)) if path else None)


def _examined(work: _Work, record: _Record, options: Options, started: int) -> Examined:
    source, targets = work.source, work.request.targets
    known = len(record.parsed)
    diagnostics = list(record.diagnostics)
    broken = {item.filename for item in diagnostics if item.code == "AUD900"}
    for target in targets:
        name = target.seen_as
        if target.named and name not in broken and name not in source.unreadable:
            diagnostics += _parsed(name, record, source, options)
    changed = work.record is None or len(record.parsed) > known
    if work.path and changed and not source.unreadable and _settled(work.files, started):
        cache.store(work.path, work.key, record)
    wanted = {target.seen_as for target in targets}
    unreadable = sorted(source.unreadable.items())
    errors = [FileError(os.path.join(work.folder, name), why) for name, why in unreadable if name in wanted]
    return Examined(work.folder, [item for item in diagnostics if item.filename not in source.unreadable], errors)


class _Source:
    """Reads the files of a universe, and remembers which could not be read."""

    def __init__(self, folder: str, overlays: Mapping[str, bytes]) -> None:
        self.folder = folder
        self.overlays = overlays
        self.unreadable: dict[str, str] = {}

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises OSError."""
        held = self.overlays.get(name)
        if held is not None:
            return held
        try:
            with open(os.path.join(self.folder, name), "rb") as file:
                return file.read()
        except OSError as error:
            self.unreadable[name] = f"cannot be read: {error.strerror or error}"
            raise


def _analysed(works: list[_Work], options: Options) -> list[_Record]:
    from auditlint.analysis.engine import Task, analyse_all
    from auditlint.rules import findings

    tasks = [Task(work.folder, list(work.files), work.request.config, work.source.overlays) for work in works]
    records = []
    for work, outcome in zip(works, analyse_all(tasks, options.jobs, options.progress), strict=True):
        read = work.source.read
        for item in outcome.broken:
            try:
                read(item.filename)  # which of them are not broken but out of reach?
            except OSError:
                continue
        records.append(_Record(_suppressed(findings(outcome, read), read, outcome.marked, options), {}))
    return records


def _parsed(name: str, record: _Record, source: _Source, options: Options) -> list[Diagnostic]:
    """What is wrong with a file that was named: nothing, or one AUD900."""
    if name not in record.parsed:
        from auditlint.project.project import Broken, parse

        try:
            tree = parse(name, source.read(name))
        except OSError:
            return []
        record.parsed[name] = _about_broken(tree, source, options) if isinstance(tree, Broken) else []
    return record.parsed[name]


def _about_broken(broken: Broken, source: _Source, options: Options) -> list[Diagnostic]:
    from auditlint.analysis.engine import Outcome
    from auditlint.rules import findings

    return _suppressed(findings(Outcome([], [broken], []), source.read), source.read, [], options)


def _suppressed(
    diagnostics: list[Diagnostic], read: Callable[[str], bytes], marked: list[str], options: Options
) -> list[Diagnostic]:
    from auditlint.source.suppressions import apply

    kept = apply(diagnostics, read, marked, honour_noqa=True, report_unused=True, require_reason=True)
    if options.honour_noqa:
        return kept
    # Somebody else obeys `noqa`; which of those comments are idle is still ours to say.
    about_comments = [item for item in kept if item.code in ("AUD901", "AUD902")]
    return apply(diagnostics, read, marked, honour_noqa=False, report_unused=False) + about_comments


def _cache_entry(universe: Universe, config: Config, options: Options, files: Mapping[str, str]) -> tuple[str, str]:
    """Where the record of a universe is kept, and the key it must have; ("", "") for one that is not kept."""
    if universe.extra:
        return "", ""
    # Selection and fixes come after the cache: they change no finding.
    told = config._replace(select=(), ignore=(), extend_select=(), per_file_ignores=(), fix_style="")
    variant = f"{universe!r} {told!r} {options.honour_noqa}"
    listing = "\n".join(f"{name} {stamp}" for name, stamp in files.items())
    return cache.record_path(universe.root, variant), f"{cache.own_stamp()}\n{variant}\n{listing}"


def _settled(files: Mapping[str, str], started: int) -> bool:
    now = time.time_ns()
    return not any(started - _SETTLED <= int(stamp.partition(" ")[0]) <= now for stamp in files.values())


def _revived(value: Any) -> _Record | None:
    """The record that was stored as lists and numbers, None where it has another shape."""
    try:
        diagnostics, parsed = value
        return _Record(
            [_diagnostic(*item) for item in diagnostics],
            {name: [_diagnostic(*item) for item in items] for name, items in parsed.items()},
        )
    except (TypeError, ValueError, AttributeError):
        return None


def _diagnostic(*fields: Any) -> Diagnostic:
    code, name, message, filename, location, end, confidence, hook, path, statement, noqa_row, fix, unfixed = fields
    if hook is not None:
        title, where, row, registrar, registered = hook
        hook = Hook(title, where, row, registrar, Step(*registered))
    if fix is not None:
        applicability, words, edits = fix
        changes = tuple(Edit(text, Location(*a), Location(*b), name) for text, a, b, name in edits)
        fix = Fix(applicability, words, changes)
    first, last = statement
    steps = tuple(Step(*step) for step in path)
    place, end_place = Location(*location), Location(*end)
    about = (code, name, message, filename, place, end_place, confidence, hook, steps, (first, last))
    return Diagnostic(*about, noqa_row, fix, unfixed)
