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
    width_of,
    write,
)

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself takes longer to import than a version to print
if TYPE_CHECKING:
    import argparse

    from auditlint.diagnostics import Diagnostic
    from auditlint.linter import Result

FORMATS = ("full", "concise", "json", "github", "gitlab", "sarif", "junit")

_NOT_YET = ("bench", "probe-cost", "server")
_NOT_YET_FLAGS = ("--fix", "--unsafe-fixes", "--diff")
_RUNTIME = "--runtime-check"
_RUNTIME_FLAGS = ("--backend", "--html", "--max-syncs")

_USAGE = """auditlint [check] [OPTIONS] [PATHS ...]
       auditlint --runtime-check [OPTIONS] SCRIPT [ARGS ...]
       auditlint rule CODE | --all
       auditlint validate-rules [OPTIONS]"""


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
        return _crashed(error, verbose="-v" in arguments or "--verbose" in arguments)


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
    for flag in _NOT_YET_FLAGS:
        if flag in arguments:
            raise UsageError(f"{flag} is not available in this version")
    for flag in _RUNTIME_FLAGS:
        if flag in arguments:
            raise UsageError(f"{flag} goes with {_RUNTIME}")
    args = _check_parser().parse_args(arguments)
    if args.show_files:
        return _show_files(args)
    result = _lint(args)
    for path, message in result.errors:
        failed(f"{path}: {message}" if path else message)
    if args.add_noqa:
        return _add_noqa(result)
    diagnostics = result.diagnostics
    if args.baseline:
        diagnostics = _against_baseline(args.baseline, result)
    write(_report(args, diagnostics, result), args.output_file, sys.stdout)
    if result.errors:
        return FAILED
    return FOUND if diagnostics and not args.exit_zero else CLEAN


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


def _lint(args: argparse.Namespace) -> Result:
    from auditlint.config import Overrides
    from auditlint.linter import Options, Stdin, lint

    paths = [path for path in args.paths if path != "-"]
    stdin = None
    if len(paths) < len(args.paths) or args.stdin_filename is not None:
        if args.add_noqa:
            raise UsageError("--add-noqa needs files: standard input cannot be changed")
        stdin = Stdin(sys.stdin.buffer.read(), args.stdin_filename)
    result = lint(
        paths if paths or stdin else ["."],
        config_file=args.config,
        isolated=args.isolated,
        overrides=Overrides(_tuple(args.select), _tuple(args.ignore), _tuple(args.extend_select)),
        stdin=stdin,
        options=Options(args.jobs, not args.no_cache, progress=sys.stderr.isatty() and not args.quiet),
    )
    if not result.files and not result.errors and not args.quiet:
        print("auditlint: warning: no Python files found under the given paths", file=sys.stderr)
    if args.verbose:
        files = "1 file" if len(result.files) == 1 else f"{len(result.files)} files"
        print(f"auditlint: {files} linted", file=sys.stderr)
    return result


def _report(args: argparse.Namespace, diagnostics: list[Diagnostic], result: Result) -> str:
    """The text of the report; for people, with a closing line."""
    from auditlint import reporters

    shown_to_people = args.output_format in FOR_PEOPLE
    if args.statistics:
        return reporters.statistics(diagnostics)
    text = reporters.render(
        args.output_format,
        diagnostics,
        read=result.read,
        color=shown_to_people and not args.output_file and wants_color(sys.stdout),
        width=width_of(sys.stdout),
    )
    if not shown_to_people or args.quiet or (result.errors and not diagnostics):
        return text
    # Findings in full are blocks parted by blank lines.
    return text + ("\n" if text and args.output_format == "full" else "") + _closing(diagnostics)


def _closing(diagnostics: list[Diagnostic]) -> str:
    if not diagnostics:
        return "All checks passed!\n"
    # Findings about files and comments (AUD9xx) are no syncs.
    syncs = [item for item in diagnostics if not item.code.startswith("AUD9")]
    hooks = {(item.hook.filename, item.hook.row, item.hook.name) for item in syncs if item.hook}
    others = len(diagnostics) - len(syncs)
    parts = []
    if syncs:
        parts.append(count(len(syncs), "sync") + (f" in {count(len(hooks), 'hook')}" if hooks else ""))
    if others:
        parts.append(count(others, "other finding" if syncs else "finding"))
    return f"Found {' and '.join(parts)}.\n"


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


def _against_baseline(path: str, result: Result) -> list[Diagnostic]:
    """The findings that are not in the baseline at `path`; where there is no such file, it is written."""
    from auditlint import baseline

    try:
        if os.path.exists(path):
            return baseline.filter(result.diagnostics, baseline.load(path), result.read)
        baseline.write(path, result.diagnostics, result.read)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"auditlint: wrote {count(len(result.diagnostics), 'finding')} to the new baseline {path}", file=sys.stderr)
    return []


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
