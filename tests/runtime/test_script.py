"""A program is run as Python runs it: what it sees, what it prints, how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures" / "scripts" / "runner"
SOURCE = Path(__file__).parents[2] / "src"


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def _process(*command: str, folder: Path = FIXTURES, stdin: str = "", joined: bool = False) -> Ended:
    errors = subprocess.STDOUT if joined else subprocess.PIPE
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=_environment(),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        timeout=60,
    )
    return Ended(done.returncode, *(re.sub(r" at 0x\w+", " at 0x0", text or "") for text in (done.stdout, done.stderr)))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def _driven(*command: str, folder: Path = FIXTURES, stdin: str = "", joined: bool = False, flags: str = "") -> Ended:
    drive = [*([flags] if flags else []), str(FIXTURES / "drive.py")]
    return _process(*drive, *command, folder=folder, stdin=stdin, joined=joined)


PROGRAMS = [
    *(f"exits.py {end}" for end in ("bare", "none", "zero", "three", "true", "big", "negative")),
    *(f"exits.py {end}" for end in ("text", "empty", "tuple", "coded")),
    "environment.py a --b -- c",
    "./environment.py",
    "../runner/environment.py",
    "-m environment x",
    "chained.py",
    "-m chained",
    "pickled.py",
    "ending.py",
    "asked.py",
    "warned.py",
    "hooked.py",
    "hooked.py fails",
    "hooked.py exits",
    "hooked.py missing",
    "unparsable.py",
    "-m unparsable",
    "latin.py",
    "marked.py",
    "-m package one two",
    "-m package.sibling",
    "-m package.torn",
    "-m package.inner.leaf",
    "-m failing",
    "folder x",
    "folder/ x",
    pytest.param("forked.py", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")),
    pytest.param("forked.py fails", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")),
]


@pytest.mark.parametrize("command", PROGRAMS)
def test_program_ends_as_under_python(command: str) -> None:
    stdin = "you\nand me\n"
    words = command.split()
    assert _driven(*words, stdin=stdin) == _process(*words, stdin=stdin)


@pytest.mark.parametrize("command", ["chained.py", "-m chained", "exits.py text", "ending.py"])
def test_output_and_errors_come_in_the_same_order(command: str) -> None:
    words = command.split()
    assert _driven(*words, joined=True) == _process(*words, joined=True)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing_from_the_program(method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    driven, plain = _driven("children.py", method), _process("children.py", method)
    assert (driven.status, driven.out) == (plain.status, plain.out)
    assert driven.err.splitlines()[-1] == plain.err.splitlines()[-1] == "ValueError: in a child"


def test_status_too_large_for_python_is_255() -> None:
    assert _driven("exits.py", "huge").status == _process("exits.py", "huge").status == 255


def test_what_the_program_leaves_open_is_written(tmp_path: Path) -> None:
    assert _driven("ending.py", str(tmp_path / "left")).status == 0
    assert (tmp_path / "left").read_text() == "not flushed by the program"


def test_archive_is_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        for name in ("__main__.py", "beside.py"):
            archive.write(FIXTURES / "folder" / name, name)
    plain = _process("app.pyz", "a", folder=tmp_path)
    assert _driven("app.pyz", "a", folder=tmp_path) == plain
    assert "RuntimeError: beside" in plain.err


def test_compiled_file_is_run(tmp_path: Path) -> None:
    import py_compile

    py_compile.compile(str(FIXTURES / "broken.py"), str(tmp_path / "broken.pyc"))
    (tmp_path / "show.py").write_text("print(__name__, type(__loader__).__name__, __file__)\n1 / 0\n")
    py_compile.compile(str(tmp_path / "show.py"), str(tmp_path / "show.pyc"))
    plain = _process("show.pyc", folder=tmp_path)
    assert _driven("show.pyc", folder=tmp_path) == plain
    assert "SourcelessFileLoader" in plain.out


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_first_path_is_the_folder_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "linked.py").symlink_to(FIXTURES / "environment.py")
    assert _driven("linked.py", folder=tmp_path) == _process("linked.py", folder=tmp_path)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P came with Python 3.11")
@pytest.mark.parametrize("command", ["environment.py", "folder"])
def test_safe_path_is_respected(command: str) -> None:
    driven = _driven(command, flags="-P")
    assert driven == _process("-P", command)


@pytest.mark.parametrize(
    "command, words",
    [
        ("absent.py", "absent.py: No such file or directory"),
        ("hollow", "can't find '__main__' module in "),
        ("-m absent", "No module named absent"),
        ("-m hollow", "No module named hollow.__main__"),
        ("-m package.inner", "No module named package.inner.__main__"),
        ("-m package.absent", "No module named package.absent"),
        ("-m broken.py", "Try using 'broken' instead of 'broken.py' as the module name."),
    ],
)
def test_what_cannot_be_started_is_one_line(command: str, words: str) -> None:
    driven = _driven(*command.split())
    assert driven.status == 2
    assert driven.err.startswith("error: ") and words in driven.err
    assert driven.err.count("\n") == 1


def test_lost_output_is_python_s_status() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no full device here")
    command = [str(FIXTURES / "exits.py"), "zero"]
    ends = []
    for driver in ([], [str(FIXTURES / "drive.py")]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, *driver, *command], stdout=full, stderr=subprocess.PIPE, env=_environment(), timeout=60
            )
        ends.append((done.returncode, done.stderr))
    assert ends[0] == ends[1]
    assert ends[0][0] == 120


def _signalled(signum: int, *command: str) -> Ended:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=FIXTURES,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    time.sleep(0.2)  # for the program to reach its next line
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, ready + out, err)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
class TestSignals:
    def test_interrupt_shows_its_traceback(self) -> None:
        driven = _signalled(signal.SIGINT, "drive.py", "endless.py")
        plain = _signalled(signal.SIGINT, "endless.py")
        assert driven == plain._replace(status=130)
        assert driven.err.endswith("KeyboardInterrupt\n")

    def test_termination_unwinds_the_program_and_calls_no_exit_functions(self) -> None:
        assert _signalled(signal.SIGTERM, "drive.py", "endless.py") == Ended(143, "ready\nfinally\n", "")

    def test_the_program_s_own_handler_is_its_own(self) -> None:
        driven = _signalled(signal.SIGTERM, "drive.py", "endless.py", "handles")
        assert driven == _signalled(signal.SIGTERM, "endless.py", "handles")
        assert driven.status == 11

    def test_signals_pass_while_the_report_is_written(self, tmp_path: Path) -> None:
        driver = tmp_path / "driver.py"
        driver.write_text(
            "import os, signal, time\n"
            "from auditlint.runtime.script import Program, run\n"
            f"status = run(Program({str(FIXTURES / 'exits.py')!r}, False, ('three',)))\n"
            "for signum in (signal.SIGINT, signal.SIGTERM):\n"
            "    os.kill(os.getpid(), signum)\n"
            "    time.sleep(0.05)\n"
            "print('the report', flush=True)\n"
            "os.kill(os.getpid(), signal.SIGINT)\n"
            "time.sleep(5)\n"
        )
        ended = _process(str(driver))
        assert ended == Ended(130, "before the end\nthe report\n", "")


def test_code_is_made_by_the_compiler_that_is_given(tmp_path: Path) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys\n"
        "from auditlint.runtime.script import Program, run\n"
        "def compiled(path, source):\n"
        "    return compile(source.replace(b'original', b'exchanged'), path, 'exec')\n"
        "sys.exit(run(Program(sys.argv[2], sys.argv[1] == '-m', ()), compiled=compiled))\n"
    )
    (tmp_path / "program.py").write_text("print('original')\n1 / 0  # original\n")
    for command in (["--", "program.py"], ["-m", "program"]):
        ended = _process(str(driver), *command, folder=tmp_path)
        assert ended.out == "exchanged\n"
        assert ended.err.endswith("ZeroDivisionError: division by zero\n") and "driver" not in ended.err
