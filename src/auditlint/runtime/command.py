"""`auditlint --runtime-check`: arguments to one call, and an exit status."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from auditlint.runtime.check import Outcome

from auditlint.console import CLEAN, FOR_PEOPLE, FOUND, UsageError, failed, new_parser, wants_color, width_of, write
from auditlint.runtime import reports
from auditlint.runtime.report import BACKENDS, Check

_USAGE = """auditlint --runtime-check [OPTIONS] SCRIPT [ARGS ...]
       auditlint --runtime-check [OPTIONS] -m MODULE [ARGS ...]"""
_BACKENDS = ("auto", *BACKENDS)


def main(arguments: list[str]) -> int:
    """Run a program and report its syncs.

    Returns the program's own status if it failed; else 1 if more than `--max-syncs` calls in hooks synced, else 0.

    Raises:
        UsageError: there is nothing to run, no way to count, or no place for the report.
        ConfigError: the project's configuration cannot be used.
    """
    args = _parsed(arguments)
    # The program may change its folder, and what stands in place of the standard streams.
    args.output_file, args.html = place(args.output_file), place(args.html)
    folder, stream = os.getcwd(), _kept(sys.stderr)

    def tell(outcome: Outcome) -> int:
        check = outcome.check
        if check is not None:
            _report(check, args, folder, stream)
        if check is None or outcome.status:
            return outcome.status
        if check.report.doubt:
            return failed(check.report.doubt)
        return FOUND if check.report.totals.in_hooks > args.max_syncs else CLEAN

    return _checked(args, tell)


def _kept(stream: TextIO) -> TextIO:
    """`stream` on a descriptor of its own: a program that closes its standard error does not close the report's."""
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError, AttributeError):  # not a file, such as a buffer in a test
        return stream
    if hasattr(os, "register_at_fork"):
        # A child that outlives the program would keep a pipe open that somebody reads to its end.
        os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    return open(descriptor, "w", encoding=stream.encoding, errors="backslashreplace", closefd=False)


def _checked(args: argparse.Namespace, tell: Callable[[Outcome], int]) -> int:
    try:
        from auditlint.runtime.backends import Unavailable
        from auditlint.runtime.check import Settings, check
        from auditlint.runtime.script import Program, ProgramError
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "torch":
            raise UsageError("the runtime check needs torch: pip install 'auditlint[runtime]'") from None
        raise
    name, *rest = args.module or args.program
    program = Program(name, bool(args.module), tuple(rest))
    try:
        return check(program, Settings(args.backend, args.config, args.isolated), tell)
    except (Unavailable, ProgramError) as error:
        raise UsageError(str(error)) from None


def _report(check: Check, args: argparse.Namespace, folder: str, stream: TextIO) -> None:
    def read(filename: str) -> bytes:
        try:
            with open(os.path.join(folder, filename), "rb") as file:
                return file.read()
        except (OSError, ValueError):
            return b""

    people = args.output_format in FOR_PEOPLE
    text = reports.render(
        args.output_format,
        check,
        read=read,
        color=people and args.output_file is None and wants_color(stream),
        width=width_of(stream),
    )
    if args.html:
        from auditlint.runtime.reports import html

        write(html.render(check, read), args.html, stream)
    write(text, args.output_file, stream)
    stream.flush()


def place(filename: str | None) -> str | None:
    """The absolute name of a file to write; a program that runs for hours must not end in "cannot be written".

    Leaves nothing behind. Under torchrun, every rank tries the same name at the same time.
    """
    if filename is None:
        return None
    path = os.path.abspath(filename)
    try:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):  # another rank's try, gone again
                os.close(os.open(path, os.O_WRONLY))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    except OSError as error:
        raise UsageError(f"{filename}: cannot be written: {error.strerror}") from None
    return path


def _parsed(arguments: list[str]) -> argparse.Namespace:
    args = _parser().parse_args(arguments)
    if args.program[:1] == ["--"]:
        del args.program[0]
    if not (args.module or args.program):
        raise UsageError("--runtime-check takes a script, or -m and a module (see `auditlint --runtime-check --help`)")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        prog="auditlint --runtime-check",
        usage=_USAGE,
        description="Run a program, count the syncs that really happen, and hold the linter's findings against them.",
        epilog="Exit status: the program's own if it failed, 1 if hooks synced, 0 if not, 2 for usage.",
    )
    add = parser.add_argument
    add("--runtime-check", action="store_true", help=argparse.SUPPRESS)
    add("--backend", choices=_BACKENDS, default="auto", metavar="NAME", help=f"{', '.join(_BACKENDS)} (default: auto)")
    add("--output-format", choices=reports.FORMATS, default="full", metavar="FORMAT", help=", ".join(reports.FORMATS))
    add("--output-file", "-o", metavar="FILE", help="write the report there (default: standard error)")
    add("--html", metavar="FILE", help="write a page with each hook's source there, as well")
    add("--max-syncs", type=_number, default=0, metavar="N", help="calls in hooks that may sync (default: 0)")
    add("--config", metavar="FILE", help="the linter's configuration file")
    add("--isolated", action="store_true", help="ignore configuration files")
    add("--verbose", "-v", action="store_true", help="show the traceback of an internal error")
    add("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE [ARGS ...]", help="run a module")
    add("program", nargs=argparse.REMAINDER, metavar="SCRIPT [ARGS ...]", help="the script, and what it is given")
    return parser


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number of calls: {text!r}")
    return int(text)
