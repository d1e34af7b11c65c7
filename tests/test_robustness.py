"""Whatever the input: no crash, no silence, and the file beside it keeps its findings."""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import io
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import auditlint
from auditlint.diagnostics import Diagnostic
from auditlint.linter import Options, lint

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

GOOD = """\
def attach(layer, sink):
    def hook(module, args, output):
        sink.append(output.mean().item())

    layer.register_forward_hook(hook)
"""
GOOD_FINDING = ("good.py", 3, "AUD101")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, also the working directory, with one good file in it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "robust"\nversion = "0"\n')
    (tmp_path / "good.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _keys(diagnostics: list[Diagnostic] | tuple[Diagnostic, ...]) -> list[tuple[str, int, str]]:
    return [(os.path.relpath(found.filename), found.location.row, found.code) for found in diagnostics]


def _run(*arguments: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own: a stack overflow there is a failed test here."""
    command = [sys.executable, "-m", "auditlint", "--output-format", "json", "--no-cache", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def _found(process: subprocess.CompletedProcess[str]) -> list[tuple[str, int, str]]:
    assert "Traceback" not in process.stderr, process.stderr
    assert process.stdout, process.stderr
    return [(item["filename"], item["location"]["row"], item["code"]) for item in json.loads(process.stdout)]


def _hook(*body: str, before: str = "") -> str:
    """A file whose hook is `body` and a sync in its last row."""
    lines = [before, "def attach(layer, sink):", "    def hook(module, args, output):"]
    lines += [f"        {line}" for line in body]
    lines += ["        sink.append(output.mean().item())", "", "    layer.register_forward_hook(hook)", ""]
    return "\n".join(lines)


def _nested_functions(depth: int) -> str:
    lines = [f"{' ' * level}def step_{level}(value):" for level in range(depth)]
    return "\n".join([*lines, f"{' ' * depth}return value", ""])


DEEP = {
    "parentheses": _hook(f"x = {'(' * 1000}output{')' * 1000}"),
    "brackets": _hook(f"x = {'[' * 190}output{']' * 190}"),
    "unary operators": _hook(f"x = {'-' * 3000}output"),
    "not": _hook(f"x = {'not ' * 3000}output"),
    "attribute chain": _hook(f"x = output{'.a' * 5000}"),
    "call chain": _hook(f"x = output{'.abs()' * 3000}"),
    "subscript chain": _hook(f"x = output{'[0]' * 3000}"),
    "binary operators": _hook(f"x = {'+'.join(['1'] * 10000)}"),
    "tensor operators": _hook(f"x = {' + '.join(['output'] * 3000)}"),
    "string sum": _hook(f"x = {' + '.join(['f' + chr(34) + '{output}' + chr(34)] * 2000)}"),
    "boolean operators": _hook(f"x = {' or '.join(['sink'] * 10000)}"),
    "comparisons": _hook(f"x = {' < '.join(['1'] * 10000)}"),
    "conditional expressions": _hook(f"x = {'1 if sink else ' * 1000}2"),
    "lambdas": _hook(f"x = {'lambda: ' * 1000}output"),
    "elif chain": _hook(
        "if sink == 0:", "    x = 0", *[f"elif sink == {n}:\n            x = {n}" for n in range(3000)]
    ),
    "nested if": _hook(*[f"{' ' * level}if sink:" for level in range(95)], " " * 95 + "pass"),
    "nested functions": _hook("x = 1", before=_nested_functions(95)),
    "nested calls": _hook(f"x = {'abs(' * 180}output{')' * 180}"),
    "assignments": _hook(*[f"x{n + 1} = x{n}" for n in range(3000)], before="x0 = 1"),
    "call graph": "\n".join(f"def f{n}(value):\n    return f{n + 1}(value)\n" for n in range(2000))
    + _hook("f0(output)", before="def f2000(value):\n    return value.tolist()\n"),
    "class hierarchy": "class C0:\n    pass\n"
    + "".join(f"class C{n + 1}(C{n}):\n    pass\n" for n in range(2000))
    + GOOD,
    "cyclic bases": "class A(B):\n    pass\n\n\nclass B(A):\n    def run(self, x):\n        return super().run(x)\n\n\n"
    + _hook("A().run(output)"),
    "self-referring values": _hook("x = [sink]", "x = [x, x]", "x.append(x)", "y = lambda: y()", "y()"),
    "doubling values": _hook("x = (output, output)", *["x = (x, x)"] * 60),
    "deep f-string": _hook(f"x = f{chr(34)}{'{output:' * 2}{'}' * 2}{chr(34)}"),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_nesting_gives_its_findings_or_one_aud900(folder: Path, name: str) -> None:
    (folder / "bad.py").write_text(DEEP[name])
    process = _run("--jobs", "1", ".")
    assert process.returncode == 1, process.stderr
    found = _found(process)
    assert GOOD_FINDING in found
    codes = [code for file, _, code in found if file == "bad.py"]
    assert codes == ["AUD900"] or ("AUD900" not in codes and "AUD101" in codes)


def _utf(encoding: str) -> bytes:
    return GOOD.encode(encoding)


# What Python reads, and on which row the finding is then.
READABLE = {
    "latin-1 cookie": (b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + GOOD.encode(), 5),
    "cp1252 cookie": (b"# vim: set fileencoding=cp1252 :\nname = '\x80'\n" + GOOD.encode(), 5),
    "shift-jis cookie": (("# coding: shift_jis\nname = '表'\n" + GOOD).encode("shift_jis"), 5),
    "utf-8 BOM": (b"\xef\xbb\xbf" + GOOD.encode(), 3),
    "utf-8 BOM and cookie": (b"\xef\xbb\xbf# coding: utf-8\n" + GOOD.encode(), 4),
    "CRLF": (GOOD.replace("\n", "\r\n").encode(), 3),
    "CR": (GOOD.replace("\n", "\r").encode(), 3),
    "mixed line endings": (b"x = 1\r\ny = 2\r" + GOOD.encode(), 5),
    "form feeds": (b"\x0cimport os\n\x0c\n" + GOOD.encode(), 5),
    "tabs": (GOOD.replace("    ", "\t").encode(), 3),
    "no newline at the end": (GOOD.rstrip("\n").encode(), 3),
    "line separators in strings": (("name = 'a\u2028b\x85c\x1cd'\n" + GOOD).encode(), 4),
    "continuation lines": (b"name = \\\n    1\n" + GOOD.encode(), 5),
    "10 MB string": (b'DATA = """' + b"0123456789abcde\n" * 655360 + b'"""\n' + GOOD.encode(), 655364),
    "10 MB comment line": (b"# " + b"x" * 10_000_000 + b"\n" + GOOD.encode(), 4),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_python_reads_is_linted(folder: Path, name: str) -> None:
    data, row = READABLE[name]
    (folder / "bad.py").write_bytes(data)
    result = lint(["."], options=Options(jobs=1, cache=False))
    assert not result.errors
    assert _keys(result.diagnostics) == [("bad.py", row, "AUD101"), GOOD_FINDING]


UNREADABLE = {
    "utf-16": _utf("utf-16") + b"# register_forward_hook",
    "utf-16 without BOM": _utf("utf-16-le") + b"# register_forward_hook",
    "utf-32": _utf("utf-32") + b"# register_forward_hook",
    "unknown cookie": b"# coding: klingon\n" + GOOD.encode(),
    "cookie that decodes no text": b"# coding: hex\n" + GOOD.encode(),
    "cookie against BOM": b"\xef\xbb\xbf# coding: latin-1\n" + GOOD.encode(),
    "latin-1 without cookie": b"name = 'caf\xe9'\n" + GOOD.encode(),
    "NUL in a line": GOOD.encode().replace(b"sink.append", b"sink\0.append"),
    "NUL at the end": GOOD.encode() + b"\0",
    "tabs and spaces mixed": GOOD.replace("        sink", "\tsink").encode() + b"        x = 1\n",
    "python 2": b"print 'register_forward_hook'\n" + GOOD.encode(),
    "merge conflict": b"<<<<<<< HEAD\n" + GOOD.encode() + b"=======\n>>>>>>> other\n",
    "open bracket": GOOD.encode() + b"x = (1,\n",
    "open string": GOOD.encode() + b'x = """\n',
    "deep indentation": "".join(f"{' ' * level}if 1:\n" for level in range(150)).encode() + GOOD.encode(),
    "huge integer": GOOD.encode() + b"x = " + b"9" * 10_000 + b"\n",
    "bytes of a pickle": b"\x80\x04register_forward_hook",
    "lone surrogate": GOOD.encode() + b"x = '\xed\xa0\x80'\n",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_python_does_not_read_is_one_aud900(folder: Path, name: str) -> None:
    (folder / "bad.py").write_bytes(UNREADABLE[name])
    result = lint(["."], options=Options(jobs=1, cache=False))
    assert not result.errors
    found = _keys(result.diagnostics)
    assert [code for file, _, code in found if file == "bad.py"] == ["AUD900"]
    assert GOOD_FINDING in found


def _may_be_unread(data: bytes) -> set[bool]:
    """Whether AUD900 is right for a file: must be, must not be, or either.

    Python's parser lets undecodable bytes in comments pass where its import system does not, so either is right there.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {True}
    try:
        data.decode(tokenize.detect_encoding(io.BytesIO(data).readline)[0])
    except (SyntaxError, UnicodeError):
        return {True, False}
    return {False}


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(folder: Path, data: bytes, first: bool) -> None:
    text = b"# register_forward_hook\n"
    data = data + b"\n" + text if first else text + data
    (folder / "bad.py").write_bytes(data)
    result = lint(["."], options=Options(jobs=1, cache=False))
    assert not result.errors
    found = _keys(result.diagnostics)
    codes = [code for file, _, code in found if file == "bad.py"]
    assert codes in ([], ["AUD900"])
    assert bool(codes) in _may_be_unread(data)
    assert GOOD_FINDING in found


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spoiled_programs(folder: Path, data: st.DataObject) -> None:
    """A byte lost, changed or doubled somewhere in a real file."""
    source = bytearray(data.draw(st.sampled_from(_fixture_sources())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(source) - 1))
        source[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    source += b"\n# register_forward_hook\n"
    (folder / "bad.py").write_bytes(source)
    result = lint(["."], options=Options(jobs=1, cache=False))
    assert not result.errors
    codes = [code for file, _, code in _keys(result.diagnostics) if file == "bad.py"]
    assert codes == ["AUD900"] or "AUD900" not in codes
    assert ("AUD900" in codes) in _may_be_unread(bytes(source))
    assert GOOD_FINDING in _keys(result.diagnostics)


@functools.cache
def _fixture_sources() -> list[bytes]:
    return [path.read_bytes() for path in sorted((FIXTURES / "projects").rglob("*.py")) if path.stat().st_size > 200]


class _Graft(ast.NodeTransformer):
    """Puts pieces of other programs where expressions and statements were."""

    def __init__(self, dice: random.Random, expressions: list[ast.expr], statements: list[ast.stmt]) -> None:
        self.dice = dice
        self.expressions = expressions
        self.statements = statements

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", None) or ast.Load(), ast.Load):
            return self.dice.choice(self.expressions) if self.dice.random() < 0.05 else node
        if isinstance(node, (ast.FunctionDef, ast.If, ast.For, ast.With)) and self.dice.random() < 0.3:
            node.body.insert(self.dice.randrange(len(node.body) + 1), self.dice.choice(self.statements))
        return node


@functools.cache
def _pieces() -> tuple[list[ast.Module], list[ast.expr], list[ast.stmt]]:
    trees = [ast.parse(source) for source in _fixture_sources()]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    loads = [
        node for node in nodes if isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    ]
    return trees, loads, [node for node in nodes if isinstance(node, ast.stmt)]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_programs_grafted_from_others(folder: Path, seed: int) -> None:
    """Programs that no one would write, made of pieces that people do write."""
    dice = random.Random(seed)
    trees, expressions, statements = _pieces()
    grafted = _Graft(dice, expressions, statements).visit(copy.deepcopy(dice.choice(trees)))
    try:
        source = ast.unparse(ast.fix_missing_locations(grafted)) + "\n# register_forward_hook\n"
    except (RecursionError, ValueError, TypeError, AttributeError):
        return
    (folder / "bad.py").write_text(source, encoding="utf-8", errors="surrogatepass")
    result = lint(["."], options=Options(jobs=1, cache=False))
    assert not result.errors
    assert GOOD_FINDING in _keys(result.diagnostics)
    lines = source.split("\n")
    for found in result.diagnostics:
        if os.path.basename(found.filename) == "bad.py":
            assert (found.code == "AUD900") in _may_be_unread(source.encode("utf-8", "surrogatepass"))
            assert 1 <= found.location.row <= found.end_location.row <= len(lines)
            assert 1 <= found.location.column <= len(lines[found.location.row - 1]) + 1
            assert found.location <= found.end_location


@pytest.mark.parametrize("package", ["json", "email", "asyncio", "unittest", "xml", "concurrent"])
def test_the_standard_library_as_a_hot_path(folder: Path, package: str) -> None:
    """Every function of it is interpreted, as though each were a hook."""
    (folder / "pyproject.toml").write_text('[tool.auditlint.hot-paths]\nfiles = ["**"]\n')
    library = Path(sysconfig.get_path("stdlib")) / package
    for path in library.rglob("*.py"):
        target = folder / package / path.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    found = _found(_run("."))
    assert "AUD900" not in {code for _, _, code in found}
    assert GOOD_FINDING in found


def test_the_linter_as_a_project(folder: Path) -> None:
    """It speaks of hooks and registrars on every page, and its functions call each other in circles."""
    shutil.copytree(Path(auditlint.__file__).parent, folder / "auditlint")
    assert _found(_run(".")) == [GOOD_FINDING]


def test_an_empty_file_and_an_empty_folder_are_clean(folder: Path) -> None:
    (folder / "good.py").unlink()
    (folder / "empty.py").write_bytes(b"")
    (folder / "nothing").mkdir()
    assert _run(".").returncode == 0
    assert _run("nothing").returncode == 0


def test_symlink_loops_end(folder: Path) -> None:
    (folder / "pkg").mkdir()
    (folder / "pkg" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "pkg" / "self").symlink_to(folder / "pkg", target_is_directory=True)
    (folder / "ring.py").symlink_to(folder / "ring.py")
    process = _run(".")
    assert GOOD_FINDING in _found(process)
    assert [key for key in _found(process) if key[0].endswith("good.py")] == [GOOD_FINDING]


def test_a_file_that_is_a_symlink_to_nothing_is_an_error_when_named(folder: Path) -> None:
    (folder / "gone.py").symlink_to(folder / "nowhere.py")
    process = _run("gone.py", "good.py")
    assert process.returncode == 2
    assert "gone.py" in process.stderr
    assert GOOD_FINDING in _found(process)


def test_a_missing_path_is_one_clear_error_and_the_rest_is_linted(folder: Path) -> None:
    process = _run("absent.py", "good.py")
    assert process.returncode == 2
    assert len([line for line in process.stderr.splitlines() if "absent.py" in line]) == 1
    assert _found(process) == [GOOD_FINDING]


def test_a_pipe_named_like_a_module_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    (folder / "package.py").mkdir()
    process = _run(".")
    assert GOOD_FINDING in _found(process)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_read_is_reported(folder: Path, what: str) -> None:
    locked = folder / "locked.py" if what == "file" else folder / "locked"
    if what == "file":
        locked.write_text(GOOD)
    else:
        locked.mkdir()
        (locked / "inner.py").write_text(GOOD)
    locked.chmod(0)
    try:
        process = _run(".")
    finally:
        locked.chmod(0o700)
    assert "locked" in process.stderr + process.stdout
    assert process.returncode in (1, 2)
    assert GOOD_FINDING in _found(process)


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, OSError])
def test_a_file_that_vanishes_or_fails_during_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    (folder / "vanishing.py").write_text(GOOD)
    opened: list[str] = []

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if str(path).endswith("vanishing.py"):
                opened.append(str(path))
                raise error(2, "it is gone", str(path))
            return function(path, *args, **kwargs)

        return call

    monkeypatch.setattr(builtins, "open", failing(builtins.open))
    monkeypatch.setattr(os, "open", failing(os.open))
    result = lint(["."], options=Options(jobs=1, cache=False))
    assert opened
    reported = [str(line) for line in result.errors if "vanishing.py" in str(line)]
    reported += [code for file, _, code in _keys(result.diagnostics) if file == "vanishing.py"]
    assert len(reported) == 1
    assert GOOD_FINDING in _keys(result.diagnostics)


BROKEN_CONFIGURATION = {
    "no TOML": ("[tool.auditlint\n", "pyproject.toml"),
    "unknown key": ("[tool.auditlint]\nselct = ['AUD']\n", "did you mean `select`"),
    "wrong type": ("[tool.auditlint]\nselect = 'AUD101'\n", "`select`"),
    "wrong item": ("[tool.auditlint]\nexclude = [1]\n", "exclude"),
    "unknown code": ("[tool.auditlint]\nselect = ['AUD999']\n", "AUD999"),
    "no table": ("[tool]\nauditlint = 3\n", "tool.auditlint"),
    "unknown nested key": ("[tool.auditlint.hot-paths]\nfile = ['x']\n", "did you mean `files`"),
    "unknown kind of registrar": ("[tool.auditlint.registrars]\nobserve = 'forwards'\n", "forwards"),
    "not UTF-8": ("[tool.auditlint]\n# \udce9\n", "pyproject.toml"),
}


@pytest.mark.parametrize("name", BROKEN_CONFIGURATION)
def test_a_broken_configuration_is_one_clear_line(folder: Path, name: str) -> None:
    text, expected = BROKEN_CONFIGURATION[name]
    (folder / "pyproject.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    process = _run(".")
    assert process.returncode == 2
    assert expected in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("name", ["a b.py", "naïve.py", "-dash.py", "new\nline.py", "%s{x}.py", "per[1].py"])
def test_odd_file_names(folder: Path, name: str) -> None:
    (folder / name).write_text(GOOD)
    assert (name, 3, "AUD101") in _found(_run("."))


def test_a_file_name_that_is_not_utf8(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/caf\xe9.py", "w") as file:
        file.write(GOOD)
    for output in ("json", "full", "concise", "github", "sarif", "junit", "gitlab"):
        process = subprocess.run(
            [sys.executable, "-m", "auditlint", "--no-cache", "--output-format", output, "."],
            capture_output=True,
            check=False,
        )
        assert process.returncode == 1, process.stderr
        assert b"Traceback" not in process.stderr
        assert b"good.py" in process.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no device that is always full")
@pytest.mark.parametrize("arguments", [["--no-cache", "."], ["rule", "--all"], ["probe-cost"]])
def test_an_output_that_cannot_be_written_is_one_line(folder: Path, arguments: list[str]) -> None:
    (folder / "a.py").write_text(GOOD)
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "auditlint", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert process.returncode == 2
    assert process.stderr == "auditlint: error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors as a POSIX shell does")
@pytest.mark.parametrize(("closed", "status"), [(">&-", 1), (">&- 2>&-", 1)])
def test_a_program_without_an_output_does_its_work(folder: Path, closed: str, status: int) -> None:
    (folder / "a.py").write_text(GOOD)
    command = f'"{sys.executable}" -m auditlint --no-cache --output-file report.txt --output-format concise . {closed}'
    process = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (status, "", "")
    assert "AUD101" in (folder / "report.txt").read_text()
