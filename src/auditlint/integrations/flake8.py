"""The flake8 plugin: the command line's findings, file by file.

A project is analysed once in each process, when flake8 hands over its first file; every further file is a look-up.
`--select` and the like are flake8's business; `# noqa`, `# auditlint: allow-sync` and the configuration of auditlint
hold here as they do on the command line. A file that does not parse is flake8's E999.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from auditlint import __version__

if TYPE_CHECKING:
    from flake8.options.manager import OptionManager

    from auditlint.linter import ByFile


class Plugin:
    """Created by flake8 for each file; what its options say is set once in each process."""

    name = "auditlint"
    version = __version__

    # The options, until the first file asks for the linter that they make.
    options: ClassVar[argparse.Namespace | None] = None
    linter: ClassVar[ByFile | None] = None

    def __init__(self, tree: ast.AST, filename: str, lines: list[str]) -> None:
        self.filename = filename
        self.lines = lines

    @staticmethod
    def add_options(manager: OptionManager) -> None:
        """Tell flake8 our options; all of them may also stand in its configuration file."""
        add = manager.add_option
        add("--auditlint-config", metavar="FILE", parse_from_config=True, help="auditlint's configuration file to use")
        add(
            "--auditlint-isolated",
            action="store_true",
            default=False,
            parse_from_config=True,
            help="ignore auditlint's configuration files",
        )
        lists = (
            ("--auditlint-extend-select", "codes of opt-in rules to report as well"),
            ("--auditlint-decorators", "names of decorators that mark a hook"),
            ("--auditlint-hooks", "dotted names of functions to treat as hooks"),
        )
        for flag, words in lists:
            add(flag, default="", comma_separated_list=True, parse_from_config=True, metavar="LIST", help=words)
        add(
            "--auditlint-check-forward",
            action="store_true",
            default=False,
            parse_from_config=True,
            help="look into every nn.Module.forward as well",
        )
        add(
            "--auditlint-no-cache",
            action="store_true",
            default=False,
            parse_from_config=True,
            help="neither read nor write auditlint's cache",
        )

    @classmethod
    def parse_options(cls, options: argparse.Namespace) -> None:
        """Take flake8's options. Raises ExecutionError for those that cannot be used."""
        cls.options = options
        with _told_by_flake8():
            cls.linter = _linter(options)

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """The findings in this file: row, 0-based column, code and message.

        Raises ExecutionError when the configuration that holds for the file cannot be used.
        """
        linter, options = Plugin.linter, Plugin.options
        if linter is None or options is None:  # used without flake8's options, as some test tools do
            options = argparse.Namespace()
            linter = Plugin.linter = _linter(options)
        with _told_by_flake8():
            found = linter.findings(*self._source(options))
        for item in found:
            yield item.location.row, item.location.column - 1, f"{item.code} {item.message}", type(self)

    def _source(self, options: argparse.Namespace) -> tuple[str | None, bytes | None]:
        """The path and, for standard input, the bytes that stand in for the file; no path where it is no file."""
        if "-" not in getattr(options, "filenames", ()):
            return os.path.abspath(self.filename), None
        from auditlint.source.source_file import encode_text

        named = self.filename not in ("-", "stdin")
        return os.path.abspath(self.filename) if named else None, encode_text("".join(self.lines))


@contextlib.contextmanager
def _told_by_flake8() -> Iterator[None]:
    """Turns a ConfigError into the exception that flake8 shows as a plain message."""
    from auditlint.config import ConfigError

    try:
        yield
    except ConfigError as error:
        from flake8.exceptions import ExecutionError

        raise ExecutionError(f"auditlint: {error}") from None


def _linter(options: argparse.Namespace) -> ByFile:
    from auditlint.config import Overrides
    from auditlint.linter import ByFile, Configs, Options

    def words(name: str) -> tuple[str, ...]:
        return tuple(getattr(options, f"auditlint_{name}", None) or ())

    def flag(name: str) -> bool:
        return bool(getattr(options, f"auditlint_{name}", False))

    overrides = Overrides(
        extend_select=words("extend_select"),
        decorators=words("decorators"),
        hooks=words("hooks"),
        check_forward=True if flag("check_forward") else None,
    )
    config_file = getattr(options, "auditlint_config", None)
    configs = Configs(None, config_file or None, flag("isolated"), overrides)
    # flake8 runs us in processes of its own, which may have no children. It obeys `noqa` on one row of a statement,
    # we on all of its rows, as on the command line.
    heeds = not getattr(options, "disable_noqa", False)
    return ByFile(configs, Options(jobs=1, cache=not flag("no_cache"), honour_noqa=heeds))
