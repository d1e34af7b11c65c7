"""Path patterns: those of the configuration, and those of `.gitignore` files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import re

    import pathspec

_GLOB = frozenset("*?[")


def path_matcher(patterns: Iterable[str], root: str) -> Callable[[str], bool]:
    """A test of absolute paths against `patterns`.

    A pattern without a slash is held against the last part of the path. One with a slash is held against the whole
    path, and is taken from `root` unless it is absolute; `*` and `**` alike cross slashes, and a pattern that names a
    folder covers everything beneath it.
    """
    names: set[str] = set()
    expressions: list[str] = []
    for pattern in patterns:
        pattern = pattern.replace(os.sep, "/")
        bare = pattern.rstrip("/")
        if "/" not in bare and not _GLOB & set(bare):
            names.add(bare)
        elif bare:
            expressions.append(_expression(bare, root.replace(os.sep, "/").rstrip("/")))
    search = _compile(expressions).match if expressions else None

    def matches(path: str) -> bool:
        path = path.replace(os.sep, "/") if os.sep != "/" else path
        return path[path.rfind("/") + 1 :] in names or (search is not None and search(path) is not None)

    return matches


def _expression(pattern: str, root: str) -> str:
    import fnmatch
    import re

    if "/" not in pattern:
        return "(?:.*/)?" + _body(fnmatch.translate(pattern), "[^/]*") + r"\Z"
    if os.path.isabs(pattern):
        start = ""
    else:
        start = re.escape(root) + "/"
        pattern = pattern.removeprefix("./")
        if pattern.startswith("**/"):
            start, pattern = start + "(?:.*/)?", pattern[3:]
    # `a/**/b` also means `a/b`.
    parts = [_body(fnmatch.translate(part), ".*") for part in pattern.split("/**/")]
    return start + "/(?:.*/)?".join(parts) + r"(?:/.*)?\Z"


def _body(translated: str, star: str) -> str:
    # fnmatch wraps its expression as `(?s:...)\Z`, spelt a little differently from version to version.
    end = translated.rindex(")")
    body = translated[translated.index(":") + 1 : end]
    return body.replace(".*", star) if star != ".*" else body


def _compile(expressions: list[str]) -> re.Pattern[str]:
    import re

    return re.compile("|".join(f"(?:{expression})" for expression in expressions), re.DOTALL)


class GitIgnore(NamedTuple):
    """One `.gitignore` file and where it lies.

    `prefix` is its folder relative to the walked root, `above` the walked root relative to its folder, for a file above
    the root; both are "" or end in "/".

    `names`, `endings` and `rest` are a necessary condition on a path's last part, far cheaper than asking the patterns
    one by one: a walk asks about each folder on the way down, so a pattern that decides matches the last part itself.
    """

    prefix: str
    above: str
    spec: pathspec.GitIgnoreSpec
    names: frozenset[str]
    endings: tuple[str, ...]
    rest: pathspec.GitIgnoreSpec | None

    def verdict(self, path: str, name: str) -> bool | None:
        """True: ignored, False: kept by a `!` pattern, None: no pattern speaks of it. A folder's path ends in "/"."""
        below = self.above + path[len(self.prefix) :]
        if name in self.names or name.endswith(self.endings) or (self.rest and self.rest.match_file(below)):
            return self.spec.check_file(below).include
        return None


def read_gitignore(path: str, prefix: str, above: str = "") -> GitIgnore | None:
    """The patterns of the file `path`, None when it cannot be read or holds none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line for line in file.read().splitlines() if line.strip() and not line.startswith("#")]
    except OSError:
        return None
    if not lines:
        return None
    import pathspec

    names: set[str] = set()
    endings: set[str] = set()
    rest: list[str] = []
    for line in lines:
        last = line.strip().lstrip("!").rstrip("/").rpartition("/")[2]
        if not (_GLOB | {"\\"}) & set(last):
            names.add(last)
        elif last.startswith("*.") and not (_GLOB | {"\\"}) & set(last[1:]):
            endings.add(last[1:])
        else:
            rest.append(line.lstrip("!"))
    try:
        spec = pathspec.GitIgnoreSpec.from_lines(lines)
        others = pathspec.GitIgnoreSpec.from_lines(rest) if rest else None
    except ValueError:  # a pattern that git itself would not take
        return None
    return GitIgnore(prefix, above, spec, frozenset(names), tuple(endings), others)
