"""The command line: arguments to one call each.

Nothing is imported up here that takes time: `auditlint --version` is asked by editors and by pre-commit.
"""

from __future__ import annotations

import os
import sys

from auditlint import __version__
from auditlint.console import (
    CLEAN,
    FAILED,
    FOR_PEOPLE,
    FOUND,
    INTERRUPTED,
    UsageError,
    count,
    failed,
    new_parser,
    wants_color,
    warned,
    width_of,
    write,
    write_bytes,
)

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself takes longer to import than a version to print
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from auditlint.diagnostics import Diagnostic
    from auditlint.linter import Result, Stdin

FORMATS = ("full", "concise", "json", "github", "gitlab", "sarif", "junit")

# Formats for programs that tell what a fix does, edit by edit.
WITH_FIXES = ("json", "sarif")

_NOT_YET = ("server",)
_RUNTIME = "--runtime-check"
_RUNTIME_FLAGS = ("--backend", "--html", "--max-syncs")

_USAGE = """auditlint [check] [OPTIONS] [PATHS ...]
       auditlint --runtime-check [OPTIONS] SCRIPT [ARGS ...]
       auditlint rule CODE | --all
       auditlint validate-rules [OPTIONS]
       auditlint bench overhead | probes [OPTIONS]
       auditlint probe-cost [OPTIONS]"""


def run() -> None:
    """Be the process: run the command line, and end without taking apart what the analysis built.

    A run allocates trees by the million and no cycles worth finding: neither the collector nor the interpreter's
    orderly end has anything to do that the operating system does not do at once.
    """
    if _RUNTIME in sys.argv:
        status = main()
        if "auditlint.runtime.script" in sys.modules:
            # The process is the user's program, and the interpreter's own end is part of it.
            sys.modules["auditlint.runtime.script"].leave(status)
        sys.exit(status)
    import gc

    gc.disable()
    status = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["--version"], ["-V"]):
        print(f"auditlint {__version__}")
        return CLEAN
    _open_closed_streams()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the report has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND
    except UsageError as error:
        return failed(str(error))
    except Exception as error:
        if isinstance(error, OSError) and _is_of_output(error):
            return failed(f"standard output cannot be written: {error.strerror}")
        return _crashed(error, verbose="-v" in arguments or "--verbose" in arguments)


def _is_of_output(error: OSError) -> bool:
    """Whether a stream could not be written: what goes wrong with a file names it."""
    import errno

    return error.filename is None and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EIO)


def _open_closed_streams() -> None:
    """A program that is started without an output has nobody to tell, and is no failure."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    from auditlint.config import ConfigError

    if _RUNTIME in arguments:  # what follows the script is the script's, and so are the streams
        return _runtime_check(arguments)
    for stream in (sys.stdout, sys.stderr):
        # File names may hold bytes, and source lines letters, that the terminal's encoding has no place for.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    command = arguments[0] if arguments else ""
    if command in _NOT_YET:
        raise UsageError(f"`{command}` is not available in this version")
    try:
        if command == "rule":
            return rule(arguments[1:])
        if command == "validate-rules":
            from auditlint.runtime.validate import main as validate_rules

            return validate_rules(arguments[1:])
        if command == "probe-cost":
            from auditlint.bench.probe_cost.command import main as probe_cost

            return probe_cost(arguments[1:])
        if command == "bench":
            from auditlint.bench.command import main as bench

            return bench(arguments[1:])
        return check(arguments[1:] if command == "check" else arguments)
    except ConfigError as error:
        return failed(str(error))


def _runtime_check(arguments: list[str]) -> int:
    from auditlint.config import ConfigError
    from auditlint.runtime import command

    try:
        return command.main(arguments)
    except ConfigError as error:
        return failed(str(error))


def check(arguments: list[str]) -> int:
    """`auditlint [check] [PATHS...]`."""
    for flag in _RUNTIME_FLAGS:
        if flag in arguments:
            raise UsageError(f"{flag} goes with {_RUNTIME}")
    args = _check_parser().parse_args(arguments)
    _refuse_what_does_not_go_together(args)
    if args.show_files:
        return _show_files(args)
    stdin = _stdin(args)
    lint = _linter(args, stdin)
    if args.fix or args.diff:
        return _fix(args, lint, stdin)
    result = lint({})
    _tell(args, result)
    if args.add_noqa:
        return _add_noqa(result)
    if args.baseline:
        result = _against_baseline(args.baseline, result)
    write(_report(args, result, sys.stdout), args.output_file, sys.stdout)
    return _status(args, result)


def rule(arguments: list[str]) -> int:
    """`auditlint rule CODE | --all`."""
    import argparse

    parser = new_parser(prog="auditlint rule", description="Explain a rule.", usage="auditlint rule CODE | --all")
    parser.add_argument("code", nargs="?", help="the rule's code or name, such as AUD101")
    parser.add_argument("--all", action="store_true", help="explain every rule")
    parser.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.all == bool(args.code):
        raise UsageError("`auditlint rule` takes the code of one rule, or --all")
    from auditlint.rules import RULES, page

    names = {known.name: code for code, known in RULES.items()}
    codes = list(RULES) if args.all else [names.get(args.code, args.code.upper())]
    if codes[0] not in RULES:
        import difflib

        close = difflib.get_close_matches(args.code, [*RULES, *names], n=1, cutoff=0.5)
        hint = f"; did you mean `{close[0]}`?" if close else "; `auditlint rule --all` lists them"
        raise UsageError(f"no rule `{args.code}`{hint}")
    sys.stdout.write("\n".join(page(code).rstrip("\n") + "\n" for code in codes))
    return CLEAN


def _refuse_what_does_not_go_together(args: argparse.Namespace) -> None:
    fixing = "--diff" if args.diff else "--fix" if args.fix else ""
    if fixing and (args.add_noqa or args.show_files):
        raise UsageError(f"{fixing} does not go with {'--add-noqa' if args.add_noqa else '--show-files'}")
    if args.diff and args.statistics:
        raise UsageError("--diff does not go with --statistics")
    if fixing and args.baseline and not os.path.exists(args.baseline):
        raise UsageError(f"{args.baseline}: no such file; write the baseline first, without {fixing}")
    if _reads_stdin(args):
        if args.add_noqa:
            raise UsageError("--add-noqa needs files: standard input cannot be changed")
        if fixing and set(args.paths) - {"-"}:
            raise UsageError(f"{fixing} takes either standard input or paths")


def _reads_stdin(args: argparse.Namespace) -> bool:
    return "-" in args.paths or args.stdin_filename is not None


def _stdin(args: argparse.Namespace) -> Stdin | None:
    if not _reads_stdin(args):
        return None
    from auditlint.linter import Stdin

    return Stdin(sys.stdin.buffer.read(), args.stdin_filename)


def _linter(args: argparse.Namespace, stdin: Stdin | None) -> Callable[[Mapping[str, bytes]], Result]:
    """What lints as the command line says, with bytes that stand in for those of files, by name."""
    from auditlint.config import Overrides
    from auditlint.linter import Options, lint

    paths = [path for path in args.paths if path != "-"]
    return lambda overlays: lint(
        paths if paths or stdin else ["."],
        config_file=args.config,
        isolated=args.isolated,
        overrides=Overrides(_tuple(args.select), _tuple(args.ignore), _tuple(args.extend_select)),
        stdin=stdin,
        overlays=overlays,
        options=Options(args.jobs, not args.no_cache, progress=sys.stderr.isatty() and not args.quiet),
    )


def _tell(args: argparse.Namespace, result: Result) -> None:
    """Say what is wrong with the paths."""
    if not result.files and not result.errors and not args.quiet:
        warned("no Python files found under the given paths")
    if args.verbose:
        print(f"auditlint: {count(len(result.files), 'file')} linted", file=sys.stderr)
    for path, message in result.errors:
        failed(f"{path}: {message}" if path else message)


def _status(args: argparse.Namespace, result: Result) -> int:
    if result.errors:
        return FAILED
    return FOUND if result.diagnostics and not args.exit_zero else CLEAN


def _report(args: argparse.Namespace, result: Result, stream: TextIO, found: list[Diagnostic] | None = None) -> str:
    """The text of the report, with a closing line for people.

    `found` is what there was before fixes were made; the result then says what could still be fixed.
    """
    from auditlint import reporters
    from auditlint.reporters.closing import closing, closing_after_fixes

    shown_to_people = args.output_format in FOR_PEOPLE
    if args.statistics:
        return reporters.statistics(result.diagnostics)
    if args.output_format in WITH_FIXES or (shown_to_people and found is None):
        from auditlint import fixes

        result = fixes.planned(result, edits=not shown_to_people)
    text = reporters.render(
        args.output_format,
        result.diagnostics,
        read=result.read,
        color=shown_to_people and not args.output_file and wants_color(stream),
        width=width_of(stream),
        unsafe_fixes=args.unsafe_fixes,
    )
    if not shown_to_people or args.quiet or (result.errors and not result.diagnostics and not found):
        return text
    # Findings in full are blocks parted by blank lines.
    text += "\n" if text and args.output_format == "full" else ""
    if found is not None:
        return text + closing_after_fixes(found, result.diagnostics, unsafe_fixes=args.unsafe_fixes)
    return text + closing(result.diagnostics, unsafe_fixes=args.unsafe_fixes)


def _fix(args: argparse.Namespace, lint: Callable[[Mapping[str, bytes]], Result], stdin: Stdin | None) -> int:
    from auditlint.fixes.applying import command

    def narrowed(overlays: Mapping[str, bytes]) -> Result:
        result = lint(overlays)
        return _against_baseline(args.baseline, result) if args.baseline else result

    fixed = command.fix(narrowed, args.unsafe_fixes, stdin)
    _tell(args, fixed.left)
    if args.diff:
        write_bytes(command.difference(fixed), args.output_file, sys.stdout)
        command.tell_unreadable(fixed)
        if not args.quiet:
            print(command.would_fix(fixed), file=sys.stderr)
        return FAILED if fixed.left.errors else FOUND if fixed.after and not args.exit_zero else CLEAN
    if stdin is None:
        result, stream = command.written(fixed, narrowed), sys.stdout
    else:
        result, stream = fixed.left, sys.stderr
        write_bytes(next(iter(fixed.after.values()), stdin.data), None, sys.stdout)
    write(_report(args, result, stream, fixed.found), args.output_file, stream)
    return _status(args, result)


def _show_files(args: argparse.Namespace) -> int:
    from auditlint.linter import files

    names, errors = files(args.paths or ["."], config_file=args.config, isolated=args.isolated)
    for path, message in errors:
        failed(f"{path}: {message}" if path else message)
    sys.stdout.write("".join(f"{name}\n" for name in names))
    return FAILED if errors else CLEAN


def _add_noqa(result: Result) -> int:
    from auditlint.source.atomic import write_atomically
    from auditlint.source.suppressions import add_noqa

    # A comment that suppresses nothing is to be removed, not to be suppressed itself.
    found = [item for item in result.diagnostics if not item.code.startswith("AUD9")]
    try:
        added = add_noqa(found, result.read, write_atomically)
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be written: {error.strerror}") from None
    print(f"Added `noqa` for {count(added, 'finding')}.")
    return FAILED if result.errors else CLEAN


def _against_baseline(path: str, result: Result) -> Result:
    """The result without what is in the baseline at `path`; where there is no such file, it is written."""
    from auditlint import baseline

    try:
        if os.path.exists(path):
            known = baseline.load(path)
            return result._replace(diagnostics=baseline.filter(result.diagnostics, known, result.read))
        baseline.write(path, result.diagnostics, result.read)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"auditlint: wrote {count(len(result.diagnostics), 'finding')} to the new baseline {path}", file=sys.stderr)
    return result._replace(diagnostics=[])


def _crashed(error: Exception, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exc()
    summary = " ".join(f"{type(error).__name__}: {error}".split())
    return failed(f"internal error: {summary}" + ("" if verbose else " (-v shows the traceback)"))


def _tuple(codes: list[str] | None) -> tuple[str, ...] | None:
    return None if codes is None else tuple(codes)


def _check_parser() -> argparse.ArgumentParser:
    def codes(text: str) -> list[str]:
        return [code for code in text.replace(",", " ").split() if code]

    parser = new_parser(
        prog="auditlint",
        usage=_USAGE,
        description="Find host-device synchronisation inside code that runs in a model's forward or backward pass.",
        epilog="Exit status: 0 clean, 1 findings, 2 usage, configuration or internal error.",
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATHS", help="files or folders (default: the working directory); - for stdin")
    add("--select", type=codes, action="extend", metavar="CODES", help="codes or their beginnings, by commas")
    add("--ignore", type=codes, action="extend", metavar="CODES", help="codes not to report")
    add("--extend-select", type=codes, action="extend", metavar="CODES", help="codes to report as well")
    add("--fix", action="store_true", help="make the safe fixes")
    add("--unsafe-fixes", action="store_true", help="with --fix and --diff: the unsafe fixes too")
    add("--diff", action="store_true", help="show what --fix would do; exit 1 if that is anything")
    add("--output-format", choices=FORMATS, default="full", metavar="FORMAT", help=", ".join(FORMATS))
    add("--output-file", "-o", metavar="FILE", help="write the report there")
    add("--statistics", action="store_true", help="counts by code instead of findings")
    add("--show-files", action="store_true", help="the files that would be linted")
    add("--exit-zero", "-e", action="store_true", help="exit 0 even with findings")
    add("--config", metavar="FILE", help="the configuration file to use")
    add("--isolated", action="store_true", help="ignore configuration files")
    add("--no-cache", "-n", action="store_true", help="neither read nor write the cache")
    add("--jobs", "-j", type=_jobs, default=0, metavar="N", help="processes (default: as many as help)")
    add("--stdin-filename", metavar="FILE", help="the file that standard input stands for")
    add("--add-noqa", action="store_true", help="add a noqa comment to every finding's line")
    add("--baseline", metavar="FILE", help="report only findings that FILE does not hold; write it if it is missing")
    add("--quiet", "-q", action="store_true", help="findings only")
    add("--verbose", "-v", action="store_true", help="say more; show the traceback of an internal error")
    add("--version", "-V", action="version", version=f"auditlint {__version__}")
    return parser


def _jobs(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of processes: {text!r}")
    return int(text)
