"""Which codes a configuration wants, in general and for one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from auditlint.config import Config
from auditlint.source.patterns import path_matcher


def selected_codes(config: Config, known: Collection[str], opt_in: Collection[str]) -> frozenset[str]:
    """The codes of `known` that `config` wants.

    Each code is decided by the longest prefix that names it, and by `ignore` where two are equally long.
    Codes in `opt_in` need a prefix that means their family: neither `AUD` nor `ALL` is enough.
    """
    return frozenset(code for code in known if _wanted(code, config, code in opt_in))


def _wanted(code: str, config: Config, opt_in: bool) -> bool:
    asked = config.select + config.extend_select
    least = len("AUD") + 1 if opt_in else 0
    chosen = max((size for size in map(_reach(code), asked) if size >= least), default=-1)
    if not config.select and not opt_in:
        chosen = max(chosen, 0)  # the default selection: every rule that is not opt-in
    return chosen > max(map(_reach(code), config.ignore), default=-1)


def _reach(code: str) -> Callable[[str], int]:
    """How much of `code` a prefix spells; -1 for a prefix of something else."""

    def reach(prefix: str) -> int:
        if prefix == "ALL":
            return 0
        return len(prefix) if code.startswith(prefix) else -1

    return reach


def ignored_in_file(config: Config) -> Callable[[str, str], bool]:
    """A test (absolute path, code): does `per-file-ignores` silence that code in that file?"""
    if not config.per_file_ignores:
        return lambda path, code: False
    root = config.root or os.getcwd()
    rules = [
        (path_matcher((pattern + "**" if pattern.endswith("/") else pattern,), root), codes)
        for pattern, codes in config.per_file_ignores
    ]

    def ignored(path: str, code: str) -> bool:
        return any((code.startswith(codes) or "ALL" in codes) and matches(path) for matches, codes in rules)

    return ignored
