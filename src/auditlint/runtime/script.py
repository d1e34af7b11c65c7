"""Runs a program in this process as `python script.py` or `python -m module` would, and tells how it ended.

A program is run once, as the last thing that a process does: its threads are joined and its exit functions are called
here, so that what they print and the syncs that they make come before the report. What Python takes apart after that
(open files, objects with `__del__`) is left to the interpreter's own end, to which `leave` leads: a process that left
by `os._exit` would lose what the program has not flushed.

Known differences: `sys.orig_argv` is the command line that was typed, and a program that looks below its own frames
(`traceback.print_stack`, a warning whose `stacklevel` leads out of the program) finds the frames of this package.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import io
import os
import pkgutil
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple, NoReturn

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
_NOT_FLUSHED = 120  # what Python ends with when it cannot write what is left in stdout

_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")

Compiler = Callable[[str, bytes], CodeType]


class Program(NamedTuple):
    """A program as it is named on a command line: a path or, with `-m`, a module, and what follows it."""

    name: str
    module: bool
    arguments: tuple[str, ...]


class ProgramError(Exception):
    """A program that cannot be started: there is no such file or module, or no `__main__` in it. One line."""


class Terminated(BaseException):
    """SIGTERM has arrived. It unwinds the program, whose report would be lost otherwise."""


def run(program: Program, *, compiled: Compiler | None = None) -> int:
    """Run `program` to its end and return the exit status that Python would have given it.

    `compiled` makes the main module's code from its path and its source. Tracebacks are printed as Python prints
    them. Raises `ProgramError` where there is nothing to run. SIGTERM unwinds the program unless it handles the signal
    itself; Python's status is then 143. From the end on, two Ctrl-C or SIGTERM are let pass: a report is being written.
    """
    gc.enable()  # the command line turns the collector off, and the program has not asked for that
    main = _main_module()
    start = _module(program, main, compiled) if program.module else _script(program, main, compiled)
    _unwind_on_sigterm()
    try:
        status = _outcome(start)
        if not program.module:
            # Python takes both away when a script ends, before threads are joined and exit functions are called.
            main.__dict__.pop("__file__", None)
            main.__dict__.pop("__cached__", None)
        return _shut_down(status)
    except Terminated:
        global _cut_short
        _cut_short = True
        return TERMINATED
    finally:
        _hold_signals()


_cut_short = False


def leave(status: int) -> NoReturn:
    """End the process with `status`, after `run` and when the report is written.

    The interpreter takes itself apart, as it does after any program. A process that was to end by SIGTERM just ends:
    Python would have joined no threads and called no exit functions, and neither may keep it now.
    """
    if _cut_short:
        _flushed(status)
        os._exit(status)
    sys.exit(status)


def _main_module() -> ModuleType:
    """Put an empty `__main__` in place, as an interpreter has it before it runs anything."""
    main = ModuleType("__main__")
    main.__dict__.update(__loader__=BuiltinImporter, __builtins__=builtins)
    if sys.version_info < (3, 14):  # 3.14 makes it when it is asked for
        main.__dict__.update(__annotations__={})
    sys.modules["__main__"] = main
    return main


def _script(program: Program, main: ModuleType, compiled: Compiler | None) -> Callable[[], object]:
    """A script, or a folder or archive that holds a `__main__`, ready to run."""
    if pkgutil.get_importer(program.name) is not None:
        sys.argv = [program.name, *program.arguments]
        _set_first_path(os.path.join(os.getcwd(), program.name), always=True)
        return _by_runpy("__main__", compiled, switch=False)
    path = _absolute(program.name)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except (OSError, ValueError) as error:
        raise ProgramError(f"{program.name}: {getattr(error, 'strerror', None) or error}") from None
    sys.argv = [program.name, *program.arguments]
    _set_first_path(os.path.dirname(os.path.realpath(program.name)))
    return lambda: _execute(path, source, main, compiled)


def _module(program: Program, main: ModuleType, compiled: Compiler | None) -> Callable[[], object]:
    """A module that is named by `-m`, ready to run."""
    sys.argv = ["-m", *program.arguments]
    _set_first_path(os.getcwd())
    return _by_runpy(program.name, compiled, switch=True)


def _absolute(name: str) -> str:
    """A script's `__file__`: Python puts the working directory before it, and changes nothing else on POSIX."""
    return os.path.abspath(name) if os.name == "nt" else os.path.join(os.getcwd(), name)


def _set_first_path(folder: str, *, always: bool = False) -> None:
    """Put `folder` where Python has put the folder of the command that started this process.

    With `-P` or `-I` Python puts none there. `always`: an archive's or a folder's own path, which it adds even then.
    """
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[:1] = [folder]
    elif always:
        sys.path.insert(0, folder)


def _execute(path: str, source: bytes, main: ModuleType, compiled: Compiler | None) -> None:
    """Run a script's source, or its compiled form, in `main`."""
    main.__dict__.update(__file__=path, __cached__=None)
    if path.endswith(".pyc"):
        main.__dict__["__loader__"] = loader = SourcelessFileLoader("__main__", path)
        code = loader.get_code("__main__")
        assert code is not None
    else:
        main.__dict__["__loader__"] = SourceFileLoader("__main__", path)
        try:
            code = compiled(path, source) if compiled else compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise error.with_traceback(None) from None  # Python shows no frames: no code has run yet
    try:
        exec(code, main.__dict__)
    finally:
        # Python flushes here, before it shows how the script ended; what fails is tried again at the end.
        for stream in (sys.stderr, sys.stdout):
            with contextlib.suppress(Exception):
                stream.flush()


def _by_runpy(name: str, compiled: Compiler | None, *, switch: bool) -> Callable[[], object]:
    """A module run by the function that `python -m` calls, so that its frames and errors are those that Python shows.

    Between finding the module and running it, its code may be exchanged and a module that cannot be run is told apart
    from a program that fails: `_get_module_details` is the one step between them, and it does both here, once.
    """
    runner: Any = runpy
    details = runner._get_module_details
    ready = False

    def found(module: str, *error: type[Exception]) -> tuple[str, Any, CodeType]:
        nonlocal ready
        runner._get_module_details = details
        actual, spec, code = details(module, *error)
        ready = True
        return actual, spec, _recompiled(spec, code, compiled)

    def start() -> None:
        runner._get_module_details = found
        try:
            runner._run_module_as_main(name, switch)
        except SystemExit as end:
            if not ready and isinstance(end.__context__, runner._Error):
                raise ProgramError(" ".join(str(end.__context__).split())) from None
            raise
        finally:
            runner._get_module_details = details

    return start


def _recompiled(spec: Any, code: CodeType, compiled: Compiler | None) -> CodeType:
    """The code that `compiled` makes of a module's source; its own where the loader has no source to give."""
    get_data = getattr(spec.loader, "get_data", None)
    if compiled is None or get_data is None or not spec.has_location or str(spec.origin).endswith(".pyc"):
        return code
    try:
        source = get_data(spec.origin)
    except OSError:
        return code
    return compiled(spec.origin, source)


def _outcome(start: Callable[[], object]) -> int:
    """Run the program and do with what it raises what Python does; the status so far."""
    try:
        start()
        return 0
    except (ProgramError, Terminated):
        raise
    except BaseException as error:
        raised = error
    # No exception is being handled from here on, as none is when Python calls `sys.excepthook`.
    raised.__traceback__ = _without_our_frames(raised.__traceback__)
    return _exit_status(raised) if isinstance(raised, SystemExit) else _reported(raised)


def _exit_status(end: SystemExit) -> int:
    """The status of a program that has called `sys.exit`, or raised a `SystemExit` of its own making."""
    code: object = end.code
    if sys.version_info < (3, 12) and isinstance(code, BaseException) and hasattr(code, "code"):
        code = code.code
    if code is None:
        return 0
    if isinstance(code, int):
        # What does not fit a C long is -1 to Python; POSIX then keeps the low eight bits.
        fits = -(1 << 63) <= code < 1 << 63
        return (code if fits else -1) & (0xFFFFFFFF if os.name == "nt" else 0xFF)
    with contextlib.suppress(Exception):
        print(code, file=sys.stderr)
    return FAILED


def _reported(error: BaseException) -> int:
    """Hand an exception that nothing has caught to `sys.excepthook`; the status that follows."""
    last: Any = sys
    last.last_type, last.last_value, last.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        last.last_exc = error
    hook = getattr(sys, "excepthook", None)
    second: BaseException | None = None
    if hook is None:
        _complain("sys.excepthook is missing")
        sys.__excepthook__(type(error), error, error.__traceback__)
    else:
        try:
            hook(type(error), error, error.__traceback__)
        except Terminated:
            raise
        except BaseException as failure:
            second = failure
    if isinstance(second, SystemExit):
        return _exit_status(second)
    if second is not None:
        _complain("Error in sys.excepthook:")
        second.__traceback__ = _without_our_frames(second.__traceback__)
        sys.__excepthook__(type(second), second, second.__traceback__)
        _complain("\nOriginal exception was:")
        sys.__excepthook__(type(error), error, error.__traceback__)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """`trace` without frames of this package, which stand where Python itself has none."""
    entries = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OURS):
            entries.append(trace)
        trace = trace.tb_next
    for entry in reversed(entries):
        entry.tb_next, trace = trace, entry
    return trace


def _shut_down(status: int) -> int:
    """Do what Python does when a program has ended: join its threads, call its exit functions, flush its output."""
    threads: Any = threading
    try:
        threads._shutdown()
    except Terminated:
        raise
    except BaseException as error:
        _ignored(error, f"in: {threading!r}")
    exits: Any = atexit
    exits._run_exitfuncs()  # it reports what these functions raise, and forgets them
    return _flushed(status)


def _flushed(status: int) -> int:
    """Write out what is left in the standard streams; the status of a program whose output got lost is 120."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None or getattr(stream, "closed", False):
            continue
        try:
            stream.flush()
        except Exception as error:
            status = _NOT_FLUSHED
            if stream is sys.stdout:
                _ignored(error.with_traceback(None), _flushing(stream))
            with contextlib.suppress(Exception):  # the interpreter flushes once more, and would complain again
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def _flushing(stream: object) -> str:
    """What this Python calls the place where stdout could not be flushed."""
    if sys.version_info < (3, 13):
        return f"in: {stream!r}"
    return "on flushing sys.stdout:" if sys.version_info < (3, 14) else "while flushing sys.stdout:"


def _ignored(error: BaseException, place: str) -> None:
    """Show an exception that the interpreter's end passes over."""
    _complain(f"Exception ignored {place}")
    trace = _without_our_frames(error.__traceback__)
    if trace is not None:
        _complain("Traceback (most recent call last):\n" + "".join(traceback.format_tb(trace)).rstrip("\n"))
    _complain(f"{type(error).__name__}: {error}")


def _complain(line: str) -> None:
    with contextlib.suppress(Exception):
        print(line, file=sys.stderr)


def unwind(signum: int, frame: FrameType | None) -> None:
    """SIGTERM's handler while a program runs."""
    raise Terminated


def _unwind_on_sigterm() -> None:
    """Take SIGTERM's default away, here and not in forked children: those must end as whoever signals them expects."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    signal.signal(signal.SIGTERM, unwind)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_die_of_sigterm)


_forking = threading.local()


def _hold_back() -> None:
    """Keep SIGTERM waiting while a process forks: Python forgets what reaches a child before the child has set up."""
    _forking.mask = None
    if signal.getsignal(signal.SIGTERM) is unwind:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_through() -> None:
    if _forking.mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _die_of_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is unwind:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_through()


_PATIENCE = 2


def _hold_signals() -> None:
    """From now on let Ctrl-C and SIGTERM pass, but for a third one: whoever sends that wants no report any more."""
    if threading.current_thread() is not threading.main_thread():
        return
    arrived = 0

    def hold(signum: int, frame: FrameType | None) -> None:
        nonlocal arrived
        arrived += 1
        if arrived > _PATIENCE:
            os._exit(128 + signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, hold)
