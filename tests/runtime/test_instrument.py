"""Code with probes: says what was executed, and does what the code without them does."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import dis
import inspect
import io
import linecache
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from auditlint.config import Config
from auditlint.diagnostics import Diagnostic, Location
from auditlint.linter import lint
from auditlint.rules import Columns
from auditlint.runtime.instrument import Probe, instrument

FIXTURES = Path(__file__).parents[2] / "fixtures"

# Every shape of Python that an expression can stand in; prints what happens, in order.
SHAPES = '''
"""The module's docstring."""
FUTURE
import contextlib, dataclasses, typing

log = []

class Truth:
    """Notes each time that somebody asks whether it is true."""
    def __init__(self, name, value): self.name, self.value = name, value
    def __bool__(self): log.append(f"bool {self.name}"); return self.value
    def __lt__(self, other):
        log.append(f"{self.name} < {other.name}")
        return Truth(f"({self.name}<{other.name})", self.value)
    def __format__(self, spec): return f"<{self.name}:{spec}>"
    def __repr__(self): return f"Truth({self.name})"
    def __getitem__(self, key): log.append(f"get {key}"); return self
    def __setitem__(self, key, value): log.append(f"set {key}")
    def __delitem__(self, key): log.append(f"del {key}")
    def __iadd__(self, other): log.append("iadd"); return self
    def item(self, *args, **kwargs): log.append(f"item {self.name}"); return self.value

yes, no = Truth("yes", True), Truth("no", False)

def note(value, *rest):
    log.append(value)
    return value

def branches(a, b, c):
    """A docstring."""
    if a and b: log.append("both")
    if not a or not (b and c): log.append("some")
    if a < b < c: log.append("chained")
    elif a.item(): log.append("elif")
    else: log.append("else")
    x = (a and b) or c
    y = a if (b or c) else no
    while a and not b: log.append("loop"); break
    try: assert a or b, note("message")
    except AssertionError as error: note(error.args)
    z = [t for t in (a, b, c) if t and t.item()]
    return x.name, y.name, [t.name for t in z], (a or b < c) if c else not c

def stores(x, mask):
    x[mask] = note(1)
    x[mask], x[note(2)] = 3, 4
    x[1:note(5)] = 0
    x[mask] += note(6)
    x.field = note(7)
    x.field += 1
    del x[note(8)], x.field
    for x[note(9)] in [1]: pass
    with contextlib.nullcontext(1) as x[mask]: pass
    first, *rest = *[1, note(2)], note(3)
    return [first, *rest], x[1:2, ::note(1)], (y := note(10)), y

def numbers(n):
    while True:
        got = yield note(n)
        if got and got.item(): n = yield from inner(n)
        n += 1
        if n > 3: return note(n)

def inner(n):
    yield note(n * 10)
    return n

def texts(x, width):
    return f"{x} {x!r:.3} {x:{width}} {f'{x}' + 'a'} {width=}" "b" f"{x:>{note(4)}}", "%s" % width, "%s" % (width,), \
        "{}".format(x.item())

def matched(x):
    match x:
        case {"a": [1, *rest], **more} if note(rest): return "mapping", rest, more
        case typing.Any | dataclasses.MISSING: return "dotted"
        case str(text) if note(text): return "text"
        case [note_, _]: return "two"
        case _: return "other"

def decorated(value):
    def decorate(function): function.value = value; return function
    return decorate

@decorated(note("decorator"))
def defaults(a: note("annotation") = note("default"), *, b=note("keyword"), c: "int" = 1) -> note("returns"):
    local: note("never") = note("local")
    return (lambda q=note(a): (q, a, b, local))()

class Base:
    def __init_subclass__(cls, **given): log.append(given); super().__init_subclass__()
    def hidden(self): return "hidden"

class Shape(Base, word=note("keyword of a class")):
    """The docstring of a class."""
    field: note("class annotation") = note("field")
    __private = [note(i) for i in range(2)]
    size: int
    def hidden(self): return super().hidden(), __class__.__name__, self.__private, super(Shape, self).hidden()
    @property
    def prop(self): return note("prop")

@dataclasses.dataclass
class Data:
    a: int = note(1)
    b: list = dataclasses.field(default_factory=lambda: [note(2)])

def scopes():
    count = 0
    def add():
        nonlocal count
        global total
        count += note(1); total = count
        return locals()
    comprehensions = {k: v for k, v in zip("ab", [note(1), note(2)])}, {*[note(3)]}, list(note(x) for x in [1])
    return add(), sorted(locals()), count, comprehensions, [(a, b) for a in range(2) if note(a) for b in [note(a)]]

def raising(x):
    try:
        return x.missing.item()
    except (note(AttributeError), ValueError) as error:
        log.append(type(error).__name__)
        raise KeyError(note("k")) from error
    finally:
        note("finally")

async def coming(x):
    async def ticks():
        for i in range(2): yield note(i)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(note, "left")
        return [note(i) async for i in ticks()], await one(x) and x.item(), [await one(j) for j in (1, 2)]

async def one(x): return note(x)
'''

DRIVER = """
for a in (yes, no):
    for b in (yes, no):
        for c in (yes, no):
            note(branches(a, b, c))
note(stores(yes, 1) [0])
g = numbers(1); note([next(g), g.send(yes), g.send(None), list(g)])
note(texts(yes, 3))
note([matched(x) for x in ({"a": [1, 2], "b": 3}, typing.Any, dataclasses.MISSING, "t", [1, 2], 5)])
note(defaults()); note(defaults.value); note(sorted(defaults.__annotations__)); note(defaults.__kwdefaults__)
note(Shape().hidden()); note(Shape().prop); note(Shape.__doc__); note(Shape.__annotations__); note(Data().b)
note(scopes()); note(total)
try: raising(yes)
except KeyError as error: note((error.args, type(error.__cause__)))
import asyncio
note(asyncio.run(coming(yes)))
note([__doc__, branches.__doc__, note.__doc__, Truth.__doc__, Base.__doc__, sorted(globals())])
"""


def everything(source: bytes) -> list[Diagnostic]:
    """A finding at every expression."""
    columns = Columns(lambda _: source)
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant | ast.Starred | ast.Slice):
            row, column = node.lineno, node.col_offset
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                row, column = node.func.end_lineno or 0, (node.func.end_col_offset or 0) - len(node.func.attr.encode())
            end = columns.location("", node.end_lineno or 0, node.end_col_offset or 0)
            found.append(finding(columns.location("", row, column), end))
    return found


def finding(start: tuple[int, int], end: tuple[int, int]) -> Diagnostic:
    return Diagnostic("AUD101", "item-in-hook", "message", "m.py", Location(*start), Location(*end))


def at(source: str, *marked: str) -> list[Diagnostic]:
    """A finding at the only place of each text; `.` before a method's name is not part of what is marked."""
    found = []
    for text in marked:
        assert source.count(text) == 1, text
        first = source.index(text) + text.startswith(".")
        last = source.index(text) + len(text)
        start, end = (
            (source.count("\n", 0, index) + 1, index - source.rfind("\n", 0, index)) for index in (first, last)
        )
        found.append(finding(start, end))
    return found


def run(source: str, *marked: str, **given: Any) -> tuple[dict[str, bool], dict[str, Any]]:
    """Which of the marked texts were executed, and the namespace of the module."""
    findings = at(source, *marked)
    code, probes = instrument(source.encode(), "m.py", findings)
    namespace: dict[str, Any] = {"__name__": "m", **given}
    exec(code, namespace)
    reached = {place: any(probe.reached for probe in group) for place, group in probes.items()}
    return {text: reached[item.location] for text, item in zip(marked, findings, strict=True)}, namespace


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from codes(value)


def without_probes(code: CodeType) -> list[tuple[object, ...]]:
    """The instructions of `code` that are not a probe's; where jumps lead depends on them, so it is left out."""
    found: list[tuple[object, ...]] = []
    probing = False
    for it in dis.get_instructions(code):
        if it.opname == "LOAD_CONST" and isinstance(it.argval, Probe):
            probing = True
        elif probing:
            probing = "JUMP" not in it.opname and it.opname != "POP_TOP"
        else:
            plain = it.opcode not in dis.hasjrel and it.opcode not in dis.hasjabs
            argument = repr(it.argval) if plain and not isinstance(it.argval, CodeType) else ""
            # A jump raises nothing, so its place is never shown; the compiler may lose it where it makes jumps shorter.
            place = None if it.opname == "JUMP_FORWARD" else getattr(it, "positions", None)
            found.append((it.opname, argument, place))
    return found


def same(plain: CodeType, probed: CodeType) -> None:
    """Assert that both are one program: names, docstrings, flags, rows."""
    pairs = list(zip(codes(plain), codes(probed), strict=True))
    for one, other in pairs:
        for name in (
            "co_name", "co_qualname", "co_filename", "co_firstlineno", "co_flags", "co_argcount", "co_kwonlyargcount",
            "co_posonlyargcount", "co_varnames", "co_freevars", "co_cellvars",
        ):  # fmt: skip
            assert getattr(one, name, None) == getattr(other, name, None)
        assert set(other.co_names) - set(one.co_names) <= {"passed"}
        assert rows(one) <= rows(other)
        assert docstring(one) == docstring(other)


def rows(code: CodeType) -> set[int]:
    return {row for _, _, row in code.co_lines() if row is not None}


def docstring(code: CodeType) -> object:
    """What a function made of `code` would have as `__doc__`, up to Python 3.12."""
    function = code.co_flags & inspect.CO_NEWLOCALS and not code.co_name.startswith("<")
    return next((each for each in code.co_consts[:1] if function and isinstance(each, str)), None)


def printed(code: CodeType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    module = ModuleType("shapes")
    monkeypatch.setitem(sys.modules, "shapes", module)
    exec(code, vars(module))
    exec(compile(DRIVER, "driver", "exec", dont_inherit=True), vars(module))
    return [repr(line) for line in module.log]


@pytest.mark.parametrize("future", ["", "from __future__ import annotations"])
def test_a_program_with_a_probe_at_every_expression_does_the_same(future: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SHAPES.replace("FUTURE", future).encode()
    plain = compile(source, "shapes.py", "exec", dont_inherit=True)
    code, probes = instrument(source, "shapes.py", everything(source))
    expected = printed(plain, monkeypatch)
    assert len(expected) > 200
    assert printed(code, monkeypatch) == expected
    same(plain, code)
    reached = [probe.reached for group in probes.values() for probe in group]
    assert sum(reached) > 400


@pytest.mark.parametrize("name", ["argparse", "dataclasses", "contextlib", "asyncio.tasks", "enum", "ast", "typing"])
def test_real_modules_take_a_probe_at_every_expression(name: str) -> None:
    __import__(name)
    source = Path(inspect.getfile(sys.modules[name])).read_bytes()
    code, _ = instrument(source, "m.py", everything(source))
    same(compile(source, "m.py", "exec", dont_inherit=True), code)


def test_instructions_and_their_positions_stay_where_findings_are() -> None:
    found: dict[str, list[Diagnostic]] = {}
    for item in lint([str(FIXTURES)], config=Config(check_forward=True)).diagnostics:
        if item.code.startswith(("AUD1", "AUD2")):
            found.setdefault(item.filename, []).append(item)
    assert len(found) > 100
    for filename, items in found.items():
        source = Path(filename).read_bytes()
        try:
            plain = compile(source, filename, "exec", dont_inherit=True)
        except SyntaxError:
            continue
        code, probes = instrument(source, filename, items)
        assert set(probes) == {item.location for item in items}
        same(plain, code)
        assert [rows(each) for each in codes(plain)] == [rows(each) for each in codes(code)]
        if sys.version_info[:2] == (3, 11):  # later ones merge neighbours into one instruction, or do not
            for one, other in zip(codes(plain), codes(code), strict=True):
                assert set(without_probes(one)) == set(without_probes(other))


@pytest.mark.parametrize(
    ("source", "executed", "not_executed"),
    [
        ("x = 1 and abs(1)\ny = 0 and abs(2)\n", ["abs(1)"], ["abs(2)"]),
        (
            "if abs(0): abs(1)\nelif abs(2): abs(3)\nelif abs(4): 5\n",
            ["abs(0)", "abs(2)", "abs(3)"],
            ["abs(1)", "abs(4)"],
        ),
        ("def f(): return abs(1)\ndef g(a=abs(2)): return abs(3)\ng()\n", ["abs(2)", "abs(3)"], ["abs(1)"]),
        ("f = lambda: abs(1)\ng = lambda: abs(2)\ng()\n", ["abs(2)"], ["abs(1)"]),
        ("class A:\n    x = abs(1)\n    def m(self): return abs(2)\n", ["abs(1)"], ["abs(2)"]),
        ("[abs(1) for _ in [0] if abs(2)]\n[abs(3) for _ in []]\n", ["abs(1)", "abs(2)"], ["abs(3)"]),
        ("def g():\n    yield abs(1)\n    yield abs(2)\nnext(g())\n", ["abs(1)"], ["abs(2)"]),
        ("x = {}\nx[abs(1)] = 2\ndef f():\n    x[3] = 4\n", ["x[abs(1)]"], ["x[3]"]),
        ("x = {1: 1, 2: 2}\ndel x[1]\nif not x: del x[2]\n", ["x[1]"], ["x[2]"]),
        ("x = [1, 2]\nx[0] += 1\nif not x: x[1] += 1\n", ["x[0]"], ["x[1]"]),
        ("try: x = int(abs('a'))\nexcept TypeError: y = abs(2)\n", ["abs('a')", "int(abs('a'))", "abs(2)"], []),
        ("try: abs(1)\nexcept int(2): pass\n", ["abs(1)"], ["int(2)"]),
        ("x = 'é' + str(abs(1)); y = 0 and 'é' + str(int(2))\n", ["abs(1)", "str(abs(1))"], ["int(2)", "str(int(2))"]),
        ("x = (1)\\\n .bit_length(\n )\n", [".bit_length(\n )"], []),
        ("x = 1 if abs(1) else abs(2)\n", ["abs(1)"], ["abs(2)"]),
        ("x = (y := abs(1)) or (z := abs(2))\n", ["y := abs(1)"], ["z := abs(2)"]),
        ("x = 3 < abs(2) < int(1)\ny = 3 > abs(1) > int(0)\n", ["abs(2)", "abs(1)", "int(0)"], ["int(1)"]),
        ("assert abs(1), abs(2)\n", ["abs(1)"], ["abs(2)"]),
        ("def f():\n    try: return abs(1)\n    finally: abs(2)\n    abs(3)\nf()\n", ["abs(1)", "abs(2)"], ["abs(3)"]),
        ("a = 0\nx = f'{abs(a)}'\nif a: y = f'{a}'\n", ["f'{abs(a)}'"], ["f'{a}'"]),
    ],
)
def test_exactly_what_is_executed_is_noted(source: str, executed: list[str], not_executed: list[str]) -> None:
    noted, _ = run(source, *executed, *not_executed)
    assert [text for text in noted if noted[text]] == executed
    assert [text for text in noted if not noted[text]] == not_executed


def test_a_value_in_a_pattern_is_executed_when_its_case_is_tried() -> None:
    source = (
        "class C: one, two, three, four = 1, 2, 3, 4\n"
        "def f(x):\n    match x:\n        case C.one: return 'a'\n"
        "        case (C.two | C.three) as y if y: return 'b'\n"
        "        case [C.four]: return 'c'\n        case _: return 'd'\n"
    )
    for value, reached in [(1, [True, False, False]), (3, [True, True, False]), (9, [True, True, True])]:
        findings = at(source, "C.one", "C.three", "C.four")
        code, probes = instrument(source.encode(), "m.py", findings)
        namespace: dict[str, Any] = {}
        exec(code, namespace)
        assert namespace["f"](value) == {1: "a", 3: "b", 9: "d"}[value]
        assert [probes[item.location][0].reached for item in findings] == reached


def test_annotations_that_stay_text_stay_as_they_were_written() -> None:
    source = "from __future__ import annotations\ndef f(a: abs(1)) -> int(2): pass\nx: str(3) = 0\n"
    _, namespace = run(source, "abs(1)", "int(2)", "str(3)")
    assert namespace["f"].__annotations__ == {"a": "abs(1)", "return": "int(2)"}
    assert namespace["__annotations__"] == {"x": "str(3)"}


def test_a_value_is_asked_for_its_truth_once() -> None:
    class Truth:
        def __init__(self, name: str, asked: list[str]) -> None:
            self.name, self.asked = name, asked

        def __bool__(self) -> bool:
            self.asked.append(self.name)
            return False

    source = b"if a and b: 1\nif not b: 2\nx = b and a\nif a is b or (b and a) or not (a or b): 3\nwhile a or b: 4\n"
    plain: list[str] = []
    exec(source, {name: Truth(name, plain) for name in "ab"})
    probed: list[str] = []
    exec(instrument(source, "m.py", everything(source))[0], {name: Truth(name, probed) for name in "ab"})
    assert probed == plain == ["a", "b", "b", "b", "a", "b", "a", "b"]


def test_awaits_in_an_expression_and_tasks_side_by_side() -> None:
    source = (
        "import asyncio\nasync def f(n):\n    await asyncio.sleep(0)\n    return n\n"
        "async def g(n):\n    x = abs(await f(n))\n    if n > 2:\n        x += int(await f(n))\n    return x\n"
        "async def never():\n    return str(await f(1))\n"
        "async def main():\n    return await asyncio.gather(g(1), g(2), g(3))\n"
    )
    findings = at(source, "abs(await f(n))", "int(await f(n))", "str(await f(1))")
    code, probes = instrument(source.encode(), "m.py", findings)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert asyncio.run(namespace["main"]()) == [1, 2, 6]
    assert [probes[item.location][0].reached for item in findings] == [True, True, False]


def test_many_threads_reach_one_probe() -> None:
    source = "def f(n):\n    return [abs(i) for i in range(n)]\ndef g(): return int(1)\n"
    findings = at(source, "abs(i)", "int(1)")
    code, probes = instrument(source.encode(), "m.py", findings)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(namespace["f"](2000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(2000))] * 8
    assert [probes[item.location][0].reached for item in findings] == [True, False]


def test_tracebacks_show_what_they_showed(tmp_path: Path) -> None:
    source = "def f(x):\n    y = [x.value\n         .missing(1)]\n    return y\nf(1)\n"
    path = tmp_path / "m.py"
    path.write_text(source)
    shown = []
    code, _ = instrument(source.encode(), str(path), everything(source.encode()))
    for each in (compile(source, str(path), "exec", dont_inherit=True), code):
        linecache.clearcache()
        with pytest.raises(AttributeError) as raised:
            exec(each, {})
        text = io.StringIO()
        traceback.print_exception(raised.value, file=text)
        shown.append(text.getvalue().partition("m.py")[2])
    assert shown[0] == shown[1]
    assert "x.value" in shown[0]


def test_functions_have_their_source_and_their_constants_and_can_be_hashed() -> None:
    source = 'def f(x):\n    """Doc."""\n    return x.bit_length() + 1\n'
    _, namespace = run(source, ".bit_length()")
    function = namespace["f"]
    assert (function.__doc__, function(7)) == ("Doc.", 4)
    _, again = run(source, ".bit_length()")
    assert function.__code__ == function.__code__
    assert function.__code__ != again["f"].__code__
    assert len({function.__code__, again["f"].__code__}) == 2


def test_no_name_is_added_to_the_module_and_builtins_are_left_alone() -> None:
    import builtins

    before = set(vars(builtins))
    _, namespace = run("x = abs(-1)\ny = dir()\nz = sorted(globals())\n", "abs(-1)", "dir()")
    assert namespace["y"] == ["__builtins__", "__name__", "x"]
    assert set(namespace) == {"__builtins__", "__name__", "x", "y", "z"}
    assert set(vars(builtins)) == before


def test_a_probe_that_travels_to_another_process_stays_callable() -> None:
    probe = Probe()
    copy = pickle.loads(pickle.dumps(probe))
    assert isinstance(copy, Probe)
    assert copy.passed is None
    assert (copy.reached, probe.reached) == (True, False)


def test_two_findings_at_one_expression_and_one_inside_the_other() -> None:
    source = "x = int(abs(1)) or str(2)\n"
    inner, outer, never = at(source, "abs(1)", "int(abs(1))", "str(2)")
    again = outer._replace(code="AUD201")
    code, probes = instrument(source.encode(), "m.py", [inner, outer, again, never])
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert namespace["x"] == 1
    assert [[probe.reached for probe in probes[item.location]] for item in (inner, outer, never)] == [
        [True],
        [True],
        [False],
    ]


def test_a_span_that_is_no_expression_is_noted_at_its_statement() -> None:
    source = "def f(x):\n    a, b = x\n    return a\ndef g(x):\n    c = x\nf((1, 2))\n"
    noted, _ = run(source, "a, b = x", "c = x")
    assert noted == {"a, b = x": True, "c = x": False}


def test_a_place_without_code_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"m\.py:9:1"):
        instrument(b"x = 1\n", "m.py", [finding((9, 1), (9, 2))])


def test_future_imports_and_encodings_are_obeyed() -> None:
    source = "# coding: latin-1\nfrom __future__ import annotations\nx = 'é' + str(1)\ndef f(a: b): return a\n"
    data = source.encode("latin-1")
    code, probes = instrument(data, "m.py", [finding((3, 11), (3, 17))])
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert namespace["x"] == "é1"
    assert namespace["f"].__annotations__ == {"a": "b"}
    assert probes[Location(3, 11)][0].reached


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before Python 3.12 the parts of an f-string have no place")
def test_parts_of_an_f_string() -> None:
    noted, namespace = run("y = 3\nx = f'{abs(1):{int(y)}} {0 and str(2)}'\n", "abs(1)", "int(y)", "str(2)")
    assert namespace["x"] == "  1 0"
    assert noted == {"abs(1)": True, "int(y)": True, "str(2)": False}


def test_a_probe_costs_next_to_nothing() -> None:
    source = "def f():\n    for _ in range(200_000):\n        x = abs(1)\n"
    code, _ = instrument(source.encode(), "m.py", at(source, "abs(1)"))
    best = {}
    for name, each in (("plain", compile(source, "m.py", "exec", dont_inherit=True)), ("probed", code)):
        namespace: dict[str, Any] = {}
        exec(each, namespace)
        took = []
        for _ in range(5):
            started = time.perf_counter()
            namespace["f"]()
            took.append(time.perf_counter() - started)
        best[name] = min(took) / 200_000
    # About 30 ns on one machine; the bound leaves room for slow and busy ones.
    assert best["probed"] - best["plain"] < 1e-6


def test_the_interpreter_asks_nothing_of_a_probe_in_a_trace() -> None:
    source = (
        "def f(x):\n    y = x.bit_length()\n    if y.bit_count(): y += 1\n    return abs(\n        y\n    )\nf(5)\n"
    )
    code, _ = instrument(source.encode(), "m.py", at(source, ".bit_length()", ".bit_count()", "abs(\n        y\n    )"))
    seen = []
    for each in (compile(source, "m.py", "exec", dont_inherit=True), code):
        events: list[tuple[str, int]] = []

        def trace(frame: Any, event: str, argument: object, events: list[tuple[str, int]] = events) -> Any:
            if frame.f_code.co_filename == "m.py":
                events.append((event, frame.f_lineno))
            return trace

        before = sys.gettrace()
        with contextlib.ExitStack() as undo:
            undo.callback(sys.settrace, before)
            sys.settrace(trace)
            exec(each, {})
        seen.append(events)
    assert seen[0] == seen[1]
