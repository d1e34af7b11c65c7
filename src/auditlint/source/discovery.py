"""Which files to lint, and which universe of files each of them is analysed in.

Everything here is a function of paths, the file system and the configuration alone, never of which files were named
together: that is what makes a file's findings the same alone and in company.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from auditlint.config import DEFAULT_EXCLUDES, Config
from auditlint.source.patterns import GitIgnore, path_matcher, read_gitignore

MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
INSTALLED = ("site-packages", "dist-packages")


class FileError(NamedTuple):
    """A path that could not be linted, and why, in words that follow the path."""

    path: str
    message: str


class Walk(NamedTuple):
    """What lies beneath a root: names are relative, with slashes, sorted.

    `files` maps each Python file to the numbers that change when its content does; `aside` holds those that a pattern
    excludes by their own name; `folders` are the folders that were entered ("" is the root).
    """

    files: dict[str, str]
    aside: dict[str, str]
    folders: frozenset[str]
    errors: tuple[FileError, ...]


class Universe(NamedTuple):
    """The files that one analysis sees: those of a walk, and perhaps one more.

    `everything` adds the files that the walk set aside. `extra` is a file that no walk finds: a script without the
    `.py` suffix, or one that does not exist yet. `alone` leaves only `extra`.
    """

    root: str
    everything: bool = False
    extra: str = ""
    alone: bool = False


class Target(NamedTuple):
    """A file to lint: its absolute path, its universe, its name there, and whether it was named or only its folder.

    `prefix` goes before `name` to give the name that the analysis and its findings know it by (see `Tree.base`).
    """

    path: str
    universe: Universe
    name: str
    named: bool
    prefix: str = ""

    @property
    def seen_as(self) -> str:
        return self.prefix + self.name


class Tree:
    """The file system during one run: each folder is looked at once."""

    def __init__(self, config_of: Callable[[str], Config]) -> None:
        self.config_of = config_of
        self._walks: dict[str, Walk] = {}
        self._roots: dict[tuple[str, str], str] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self._packages: dict[str, bool] = {}
        self._marks: dict[str, bool] = {}

    def project_root(self, folder: str, boundary: str = "") -> str:
        """The root of the project that the files in `folder` (absolute) belong to.

        From the top of the package around the folder, the nearest folder upward with a project marker. Where an
        installation folder such as `site-packages`, or the folder `boundary`, comes first: the package's top, or the
        folder itself when it lies in no package. (A folder without `__init__.py` inside a package counts as in it.)
        """
        known = self._roots.get((folder, boundary))
        if known is None:
            top = self._package_top(folder, boundary)
            if top and top != folder:
                known = self.project_root(top, boundary)
            else:
                around = self._marked_above(folder, boundary) or self._enclosing_package(folder, boundary)
                known = around or top or folder
            self._roots[folder, boundary] = known
        return known

    def walk(self, root: str) -> Walk:
        """The Python files beneath `root`, by the exclude rules of the configuration that holds there.

        A root that is neither a project nor a package (a folder of scripts) is not searched beyond what an import
        from it can reach by a regular package: its own files and the packages in it.
        """
        if root not in self._walks:
            self._walks[root] = _walk(root, self.config_of(root), self._is_flat(root))
        return self._walks[root]

    def files(self, universe: Universe) -> dict[str, str]:
        """Name to stamp of every file in `universe`; the extra one has an empty stamp."""
        if universe.alone:
            return {universe.extra: ""}
        walk = self.walk(universe.root)
        files = {**walk.files, **walk.aside} if universe.everything else walk.files
        return {**files, universe.extra: ""} if universe.extra else files

    def base(self, universe: Universe) -> tuple[str, str]:
        """The folder that module names start from, and the name of the universe's root below it ("" or with a slash).

        A root that is itself a package is seen from the folder above it, so that its modules carry its name.
        """
        if self._is_package(universe.root) and not universe.alone:
            above, name = os.path.split(universe.root)
            return above, name + "/"
        return universe.root, ""

    def target(self, path: str) -> Target:
        """The target for a file named by its absolute path; the file need not exist."""
        folder, base = os.path.split(path)
        root, inside = self._locate(folder)
        name = inside + base
        walk = self.walk(root)
        if name in walk.files:
            universe = Universe(root)
        elif name in walk.aside:
            universe = Universe(root, everything=True)
        else:
            universe = Universe(root, extra=name)
        return Target(path, universe, name, True, self.base(universe)[1])

    def targets_below(self, folder: str, errors: list[FileError]) -> Iterator[Target]:
        """The Python files beneath the absolute path `folder`, each with the universe it belongs to."""
        root, inside = self._locate(folder)
        if self._is_flat(root):
            yield from self._targets_in_flat(folder, errors)
            return
        walk = self.walk(root)
        within = os.path.join(folder, "")
        errors.extend(error for error in walk.errors if os.path.join(error.path, "").startswith(within))
        own_roots: dict[str, str] = {}
        universe = Universe(root)
        prefix = self.base(universe)[1]
        start = os.path.join(root, "")
        for name in walk.files:
            if not name.startswith(inside):
                continue
            below = name[: max(name.rfind("/"), 0)]
            own = own_roots.get(below)
            if own is None:
                own = own_roots[below] = self.project_root(start + below if below else root)
            if own == root:
                yield Target(start + name, universe, name, False, prefix)
                continue
            # A project inside the project has a universe, and exclude rules, of its own.
            target = self.target(start + name)
            if target.universe == Universe(own) or not own.startswith(start):
                yield target._replace(named=False)

    def _targets_in_flat(self, folder: str, errors: list[FileError]) -> Iterator[Target]:
        """A folder that is no project: its own files form a universe, its subfolders answer for themselves."""
        rules = _rules(self.config_of(folder), folder)
        try:
            inner, python, _ = _scan(folder)
        except OSError as error:
            errors.append(FileError(folder, _why(error)))
            return
        if python:
            walk = self.walk(folder)
            errors.extend(error for error in walk.errors if os.path.dirname(error.path) == folder)
            universe = Universe(folder)
            for name in walk.files:
                if "/" not in name:
                    yield Target(os.path.join(folder, name), universe, name, False)
        for entry in inner:
            if not rules.excludes(entry.path, entry.name):
                yield from self.targets_below(entry.path, errors)

    def _locate(self, folder: str) -> tuple[str, str]:
        """The root for files in `folder`, and the folder's name below it ("" or ending in "/").

        Where the walk of the root does not enter the folder, because a rule excludes it or a link leads there, the
        project ends at the first folder not entered: that part is then analysed for itself.
        """
        boundary = ""
        while folder not in self._places:
            root = self.project_root(folder, boundary)
            inside = folder[len(root) :].strip(os.sep).replace(os.sep, "/")
            entered = self.walk(root).folders if inside else frozenset(("",))
            if inside in entered:
                self._places[folder] = root, inside + "/" if inside else ""
                break
            parts = inside.split("/")
            depth = next(n for n in range(1, len(parts) + 1) if "/".join(parts[:n]) not in entered)
            boundary = os.path.join(root, *parts[:depth])
        return self._places[folder]

    def _is_flat(self, root: str) -> bool:
        return not self._is_package(root) and not self._is_marked(root)

    def _is_package(self, folder: str) -> bool:
        if folder not in self._packages:
            self._packages[folder] = os.path.isfile(os.path.join(folder, "__init__.py"))
        return self._packages[folder]

    def _is_marked(self, folder: str) -> bool:
        if folder not in self._marks:
            self._marks[folder] = has_marker(folder)
        return self._marks[folder]

    def _package_top(self, folder: str, boundary: str) -> str:
        """The outermost of the packages that `folder` lies in without a gap, "" where it is no package."""
        top = ""
        while self._is_package(folder) and os.path.dirname(folder) != folder:
            top = folder
            if folder == boundary:
                break
            folder = os.path.dirname(folder)
        return top

    def _enclosing_package(self, folder: str, boundary: str) -> str:
        """The root of the nearest package above `folder`, "" where there is none."""
        stops = (boundary, os.path.expanduser("~"))
        while folder not in stops and os.path.basename(folder) not in INSTALLED:
            above = os.path.dirname(folder)
            if above == folder:
                break
            folder = above
            if self._is_package(folder):
                return self.project_root(folder, boundary)
        return ""

    def _marked_above(self, folder: str, boundary: str) -> str:
        while os.path.basename(folder) not in INSTALLED:
            if self._is_marked(folder):
                return folder
            above = os.path.dirname(folder)
            if folder == boundary or above == folder:
                break
            folder = above
        return ""


def has_marker(folder: str) -> bool:
    """Whether `folder` holds a file that makes it a project; a home folder under version control is none."""
    for marker in MARKERS:
        if os.path.exists(os.path.join(folder, marker)):
            return marker != ".git" or folder != os.path.expanduser("~")
    return False


class _Rules(NamedTuple):
    """What a walk leaves out, beside what `.gitignore` files say."""

    names: frozenset[str]
    # Names such as `build` that the defaults exclude: a package may be called so.
    soft: frozenset[str]
    patterns: Callable[[str], bool] | None

    def excludes(self, path: str, name: str) -> bool:
        if name in self.names:
            return name not in self.soft or not os.path.isfile(os.path.join(path, "__init__.py"))
        return self.patterns is not None and self.patterns(path)


def _rules(config: Config, root: str) -> _Rules:
    defaults = frozenset(DEFAULT_EXCLUDES.split())
    asked = (*config.exclude, *config.extend_exclude)
    names = frozenset(pattern for pattern in asked if not set(pattern) & set("/*?["))
    others = [pattern for pattern in asked if pattern not in names]
    given = config.exclude if frozenset(config.exclude) != defaults else ()
    soft = frozenset(name for name in defaults - set(given) - set(config.extend_exclude) if name[0] != ".")
    return _Rules(names, soft, path_matcher(others, config.root or root) if others else None)


def _walk(root: str, config: Config, flat: bool) -> Walk:
    rules = _rules(config, root)
    above = _gitignores_above(root) if config.respect_gitignore else ()
    files: list[tuple[str, str]] = []
    aside: list[tuple[str, str]] = []
    folders: list[str] = []
    errors: list[FileError] = []
    pending: list[tuple[str, str, tuple[GitIgnore, ...]]] = [("", root, above)]
    while pending:
        prefix, path, ignores = pending.pop()
        try:
            inner, python, has_gitignore = _scan(path)
        except OSError as error:
            errors.append(FileError(path, _why(error)))
            continue
        folders.append(prefix[:-1])
        if has_gitignore and config.respect_gitignore:
            found = read_gitignore(os.path.join(path, ".gitignore"), prefix)
            ignores = (*ignores, found) if found else ignores
        for entry in python:
            stamp = _stamp(entry, errors)
            if stamp:
                relative = prefix + entry.name
                excluded = rules.excludes(entry.path, entry.name) or _ignored(ignores, relative, entry.name)
                (aside if excluded else files).append((relative, stamp))
        for entry in inner:
            relative = prefix + entry.name + "/"
            excluded = rules.excludes(entry.path, entry.name) or _ignored(ignores, relative, entry.name)
            if not excluded and not (flat and not prefix and not _has_init(entry.path)):
                pending.append((relative, entry.path, ignores))
    return Walk(dict(sorted(files)), dict(sorted(aside)), frozenset(folders), tuple(sorted(errors)))


def _scan(folder: str) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]], bool]:
    """The folders and the Python files directly in `folder`, and whether a `.gitignore` lies there. Raises OSError."""
    inner: list[os.DirEntry[str]] = []
    python: list[os.DirEntry[str]] = []
    has_gitignore = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):  # links to folders are not followed: they may lead in circles
                inner.append(entry)
            elif entry.name.endswith(".py"):
                python.append(entry)
            elif entry.name == ".gitignore":
                has_gitignore = True
    return inner, python, has_gitignore


def _stamp(entry: os.DirEntry[str], errors: list[FileError]) -> str:
    """The numbers that change with the content, "" for what is not a file to read."""
    try:
        status = entry.stat()
        if stat.S_ISREG(status.st_mode):
            return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_size}"
    except OSError as error:
        if not entry.name.startswith(".#"):  # an editor's lock is a link to nowhere
            errors.append(FileError(entry.path, "is a link that leads nowhere" if entry.is_symlink() else _why(error)))
    return ""


def _has_init(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def _ignored(ignores: tuple[GitIgnore, ...], path: str, name: str) -> bool:
    for ignore in reversed(ignores):  # the nearest file that has an opinion decides, as in git
        verdict = ignore.verdict(path, name)
        if verdict is not None:
            return verdict
    return False


def _gitignores_above(root: str) -> tuple[GitIgnore, ...]:
    """The `.gitignore` files between the repository's top and `root`; none if they ignore `root` itself."""
    folder, found = root, []
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return ()
        folder = above
        ignore = read_gitignore(os.path.join(folder, ".gitignore"), "", root[len(folder) :].strip(os.sep) + "/")
        if ignore is not None:
            if ignore.spec.match_file(ignore.above):
                return ()  # whoever names an ignored folder wants it linted
            found.append(ignore)
    return tuple(reversed(found))


def _why(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def find_targets(paths: Iterable[str], tree: Tree) -> tuple[list[Target], list[FileError]]:
    """The files that `paths` name, without repetition, sorted by path; and what is wrong with some of the paths.

    A file named itself is taken whatever it is called and whatever excludes it; a folder gives its Python files.
    """
    found: dict[str, Target] = {}
    errors: list[FileError] = []
    for given in paths:
        path = os.path.abspath(given)
        if os.path.isdir(path):
            for target in tree.targets_below(path, errors):
                found.setdefault(target.path, target)
        elif os.path.exists(path):
            found[path] = tree.target(path)
        else:
            message = "is a link that leads nowhere" if os.path.islink(path) else "no such file or folder"
            errors.append(FileError(given, message))
    return [found[path] for path in sorted(found)], list(dict.fromkeys(errors))
