"""The pipeline: paths, universes, findings of each universe, selection, names as the user knows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from auditlint.config import Config, ConfigError, Overrides, apply_overrides, find_config, load_config
from auditlint.diagnostics import Diagnostic, Step
from auditlint.examine import Options, Request, examine
from auditlint.selection import ignored_in_file, selected_codes
from auditlint.source.discovery import FileError, Target, Tree, Universe, find_targets

__all__ = ["ByFile", "Configs", "Options", "Result", "Stdin", "files", "lint"]

NO_FILE = "<stdin>"


class Stdin(NamedTuple):
    """Source text that stands in for a file: its bytes, and the file's name (None: it is no file)."""

    data: bytes
    filename: str | None = None


class Result(NamedTuple):
    """What a run found.

    `diagnostics` are sorted by file, row, column and code; file names in them, and in `files`, are relative to the
    working directory where they lie beneath it, else absolute. `errors` are paths that could not be linted.
    `read` gives the bytes of a file that a finding names (none when the file has gone), `fix_style` what the
    configuration that holds for it wants fixes to write. `project` names all files that were analysed together with
    those in `files`.
    """

    diagnostics: list[Diagnostic]
    files: list[str]
    errors: list[FileError]
    read: Callable[[str], bytes]
    fix_style: Callable[[str], str] = lambda filename: Config().fix_style
    project: Callable[[], list[str]] = list


def lint(
    paths: Iterable[str],
    *,
    config: Config | None = None,
    config_file: str | None = None,
    isolated: bool = False,
    overrides: Overrides = Overrides(),
    stdin: Stdin | None = None,
    overlays: Mapping[str, bytes] | None = None,
    options: Options = Options(),
) -> Result:
    """Lint the files and folders in `paths`, and `stdin` where given.

    `overlays` are bytes that stand in for those of files, by the files' names as results give them; they come before
    what `stdin` holds.

    The configuration is `config`, or read from `config_file`, or the defaults (`isolated`), or for each project the
    one found at or above its root. One that is found so and cannot be used is an error of that project alone.

    Raises:
        ConfigError: when `config_file` or `overrides` cannot be used.
    """
    configs = Configs(config, config_file, isolated, overrides)
    tree = Tree(configs.of)
    targets, errors = find_targets(paths, tree)
    held: dict[str, bytes] = {}
    if stdin is not None:
        target = stdin_target(stdin.filename, tree)
        held[target.path] = stdin.data
        targets = [*(other for other in targets if other.path != target.path), target]
    held |= {os.path.abspath(name): data for name, data in (overlays or {}).items()}
    shown = Shown()
    diagnostics: set[Diagnostic] = set()
    requests = [
        Request(universe, configs.of(universe.root), group, _held_in(universe, held, tree))
        for universe, group in _by_universe(targets)
    ]
    requests = [request for request in requests if request.universe.root not in configs.unusable]
    for request, found in zip(requests, examine(requests, tree, options), strict=True):
        errors += found.errors
        selected = select(found.diagnostics, request.targets, request.config)
        diagnostics.update(shown.diagnostic(found.folder, item) for item in selected)
    return Result(
        sorted(diagnostics, key=_place),
        [shown.path(target.path) for target in targets if target.universe.root not in configs.unusable],
        [*configs.errors, *(error._replace(path=shown.path(error.path)) for error in dict.fromkeys(errors))],
        _reader({shown.path(path): data for path, data in held.items()}),
        _fix_style(targets, configs, tree),
        lambda: [
            shown.path(os.path.join(universe.root, name))
            for universe in dict.fromkeys(target.universe for target in targets)
            for name in tree.files(universe)
        ],
    )


class ByFile:
    """Findings for one file at a time, for callers that hand files over one by one: what is known is kept."""

    def __init__(self, configs: Configs, options: Options) -> None:
        self._configs = configs
        self._options = options
        self._tree = Tree(configs.of)
        self._known: dict[Universe, dict[str, list[Diagnostic]]] = {}

    def findings(self, path: str | None, data: bytes | None = None) -> list[Diagnostic]:
        """The findings in the file at the absolute `path`, or in `data` that stands in for it (or is no file).

        File names in them are relative to the analysed folder. A file that does not parse has none.

        Raises:
            ConfigError: when the configuration that holds for the file cannot be used.
        """
        target = stdin_target(path, self._tree)._replace(named=False)
        config = self._config(target)
        found = self._found(target, config, data)
        return select(found.get(target.seen_as, []), [target], config)

    def universe(self, path: str) -> Universe:
        """The files that are analysed together with the one at the absolute `path`."""
        return self._tree.target(path).universe

    def project(self, path: str) -> tuple[str, list[Diagnostic]]:
        """The findings in all files that are analysed with the one at `path`, and the folder their names start from.

        Raises:
            ConfigError: when the configuration that holds there cannot be used.
        """
        target = self._tree.target(path)._replace(named=False)
        config = self._config(target)
        folder, prefix = self._tree.base(target.universe)
        targets = [
            Target(os.path.join(target.universe.root, name), target.universe, name, False, prefix)
            for name in self._tree.files(target.universe)
        ]
        known = self._found(target, config, None)
        return folder, select([item for found in known.values() for item in found], targets, config)

    def _config(self, target: Target) -> Config:
        config = self._configs.of(target.universe.root)
        if target.universe.root in self._configs.unusable:
            raise ConfigError("; ".join(error.message for error in self._configs.errors))
        return config

    def _found(self, target: Target, config: Config, data: bytes | None) -> dict[str, list[Diagnostic]]:
        """File name -> findings, for the universe of `target`; kept unless `data` stands in for the file."""
        if data is None and target.universe in self._known:
            return self._known[target.universe]
        overlays = {} if data is None else {target.name: data}
        [examined] = examine([Request(target.universe, config, [target], overlays)], self._tree, self._options)
        found: dict[str, list[Diagnostic]] = {}
        for item in examined.diagnostics:
            found.setdefault(item.filename, []).append(item)
        if data is None:
            self._known[target.universe] = found
        return found


def files(
    paths: Iterable[str], *, config_file: str | None = None, isolated: bool = False
) -> tuple[list[str], list[FileError]]:
    """The files that `lint` would look at, and what is wrong with some of the paths."""
    configs = Configs(None, config_file, isolated)
    targets, errors = find_targets(paths, Tree(configs.of))
    shown = Shown()
    named = [shown.path(target.path) for target in targets]
    return named, [*configs.errors, *(error._replace(path=shown.path(error.path)) for error in errors)]


class Configs:
    """The configuration that holds for each project root, looked up once.

    `unusable` are the roots whose configuration is broken, `errors` says why; for them the defaults stand in.
    """

    def __init__(
        self, config: Config | None, config_file: str | None, isolated: bool, overrides: Overrides = Overrides()
    ) -> None:
        self.errors: list[FileError] = []
        self.unusable: set[str] = set()
        self._fixed = load_config(config_file) if config_file is not None else config
        if isolated and config_file is None and config is None:
            self._fixed = Config()
        self._overrides = overrides
        self._known: dict[str, Config] = {}
        apply_overrides(Config(), overrides)  # a wrong flag is told at once, not once for each project

    def of(self, root: str) -> Config:
        """The configuration for the project at `root`."""
        if root not in self._known:
            try:
                found = self._fixed if self._fixed is not None else find_config(root)
                self._known[root] = apply_overrides(found, self._overrides)
            except ConfigError as error:
                self.unusable.add(root)
                self._known[root] = Config()
                problem = FileError("", str(error))
                if problem not in self.errors:
                    self.errors.append(problem)
        return self._known[root]


def stdin_target(filename: str | None, tree: Tree) -> Target:
    """The target that text from standard input stands for."""
    if filename is None:
        here = os.getcwd()
        return Target(os.path.join(here, NO_FILE), Universe(here, extra=NO_FILE, alone=True), NO_FILE, True)
    return tree.target(os.path.abspath(filename))


def select(diagnostics: Iterable[Diagnostic], targets: Iterable[Target], config: Config) -> list[Diagnostic]:
    """Those of the findings that lie in one of `targets` and that the configuration wants."""
    from auditlint.rules import RULES

    paths = {target.seen_as: target.path for target in targets}
    codes = selected_codes(config, RULES, [code for code, rule in RULES.items() if rule.opt_in])
    ignored = ignored_in_file(config)
    return [
        item
        for item in diagnostics
        if item.code in codes and item.filename in paths and not ignored(paths[item.filename], item.code)
    ]


def _by_universe(targets: Iterable[Target]) -> list[tuple[Universe, list[Target]]]:
    groups: dict[Universe, list[Target]] = {}
    for target in targets:
        groups.setdefault(target.universe, []).append(target)
    return sorted(groups.items())


def _held_in(universe: Universe, held: Mapping[str, bytes], tree: Tree) -> dict[str, bytes]:
    """What stands in for files of `universe`, by their names there."""
    start = os.path.join(universe.root, "")
    names = {path: path.removeprefix(start).replace(os.sep, "/") for path in held if path.startswith(start)}
    known = tree.files(universe) if names else {}
    return {name: held[path] for path, name in names.items() if name in known}


def _fix_style(targets: Iterable[Target], configs: Configs, tree: Tree) -> Callable[[str], str]:
    roots = {target.path: target.universe.root for target in targets}

    def fix_style(filename: str) -> str:
        path = os.path.abspath(filename)
        return configs.of(roots[path] if path in roots else tree.target(path).universe.root).fix_style

    return fix_style


class Shown:
    """File names as the user knows them: relative to the working directory where they lie beneath it."""

    def __init__(self) -> None:
        self._here = os.path.join(os.getcwd(), "")

    def path(self, path: str) -> str:
        """The name to show for an absolute path."""
        return path.removeprefix(self._here) if path != self._here else path

    def diagnostic(self, folder: str, item: Diagnostic) -> Diagnostic:
        """`item`, whose file names are relative to `folder`, with names to show."""

        def step(it: Step) -> Step:
            return it._replace(filename=self.path(os.path.join(folder, it.filename)))

        hook = item.hook
        if hook is not None:
            hook = hook._replace(
                filename=self.path(os.path.join(folder, hook.filename)), registered=step(hook.registered)
            )
        path = tuple(step(it) for it in item.path)
        return item._replace(filename=self.path(os.path.join(folder, item.filename)), hook=hook, path=path)


def _place(item: Diagnostic) -> tuple[str, int, int, str, str]:
    return item.filename, item.location.row, item.location.column, item.code, item.message


def _reader(held: Mapping[str, bytes]) -> Callable[[str], bytes]:
    here = os.getcwd()

    def read(filename: str) -> bytes:
        if filename in held:
            return held[filename]
        try:
            with open(os.path.join(here, filename), "rb") as file:
                return file.read()
        except OSError:
            return b""

    return read
