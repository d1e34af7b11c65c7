"""Edits of one file: expressions as text, statements put in and taken out, names."""

from __future__ import annotations

import ast
import itertools
import sys

import pytest

from auditlint.diagnostics import Diagnostic, Edit, Fix, Location
from auditlint.fixes.applying.apply import apply
from auditlint.fixes.rewriting.expressions import movable
from auditlint.fixes.rewriting.layout import Unwritable
from auditlint.fixes.rewriting.rewriter import Rewriter
from auditlint.source.source_file import parse_source


def rewriter(data: bytes) -> tuple[Rewriter, ast.Module]:
    tree = ast.parse(data)
    return Rewriter(parse_source(data), tree), tree


def edited(data: bytes, *edits: Edit) -> bytes:
    finding = Diagnostic("AUD101", "", "", "a.py", Location(1, 1), Location(1, 1), fix=Fix("safe", "", edits))
    result = apply([finding], lambda _: data)
    assert result.refused == []
    return result.contents["a.py"]


def expression(tree: ast.Module, text: str) -> ast.expr:
    return next(node for node in ast.walk(tree) if isinstance(node, ast.expr) and ast.unparse(node) == text)


def statement(tree: ast.Module, text: str) -> ast.stmt:
    """The statement whose unparsed text begins so; "elif", "else" and the like are not part of one."""
    return next(node for node in ast.walk(tree) if isinstance(node, ast.stmt) and ast.unparse(node).startswith(text))


def replaced(source: str, old: str, new: str) -> str:
    made, tree = rewriter(source.encode())
    return edited(source.encode(), made.replace(expression(tree, old), new)).decode()


CODE = [
    ("y = (x.item())", "x.item()", {}, "x.item()"),
    ("y = (x.item()) / (n)", "x.item() / n", {"x.item()": "norm"}, "norm / (n)"),
    ("y = x.item() ** 2", "x.item() ** 2", {"x.item()": "-a"}, "(-a) ** 2"),
    ("y = (x.item() + 1) * 2", "(x.item() + 1) * 2", {"x.item() + 1": "a"}, "a * 2"),
    ("y = (x.item() + 1) * 2", "(x.item() + 1) * 2", {"x.item() + 1": "a + b"}, "(a + b) * 2"),
    ("y = 2 - (x.item())", "2 - x.item()", {"x.item()": "a - b"}, "2 - (a - b)"),
    ("y = f(i for i in x)", "f((i for i in x))", {"(i for i in x)": "a"}, "f(a)"),
    ("y = f(i for i in x)", "(i for i in x)", {}, "(i for i in x)"),
    (
        "y = f(*x.tolist(), k=x.item())",
        "f(*x.tolist(), k=x.item())",
        {"x.tolist()": "a", "x.item()": "b"},
        "f(*a, k=b)",
    ),
    (
        "y = f(x.item(), x.tolist())",
        "f(x.item(), x.tolist())",
        {"x.item()": "a if b else c"},
        "f(a if b else c, x.tolist())",
    ),
    ("y = x.item()if t else 0", "x.item() if t else 0", {"x.item()": "a"}, "a if t else 0"),
    ("y = 0 if(x.item())else 1", "0 if x.item() else 1", {"x.item()": "a"}, "0 if a else 1"),
    ("y = not(x.item())", "not x.item()", {"x.item()": "(a, b)"}, "not(a, b)"),
    ("y = (x.item()).real", "x.item().real", {"x.item()": "1"}, "(1).real"),
    ("y = d[x.item(), 1]", "d[x.item(), 1]", {"x.item()": "a"}, "d[a, 1]"),
    ("y = f(x.item()).g(x)", "f(x.item()).g(x)", {"f(x.item())": "a", "x.item()": "b"}, "a.g(x)"),
    ("y = (x.item()  # why\n     + 1)", "x.item() + 1", {"x.item()": "a"}, "a  # why\n     + 1"),
    (
        "y = f(\n    (  # kept\n        x.item()\n    )\n)",
        "f(x.item())",
        {"x.item()": "a"},
        "f(\n    (  # kept\n        a\n    )\n)",
    ),
    ("y = 'ä€😀' + x.item()", "'ä€😀' + x.item()", {"x.item()": "a"}, "'ä€😀' + a"),
    ('s = f"é {x.item():.3f} {x.item()!r:>{w}}"', "w", {}, "w"),
    ("s = f\"é {x.item():.3f} {n}\" 'b'", "f'é {x.item():.3f} {n}b'", {"x.item()": "v"}, "f\"é {v:.3f} {n}\" 'b'"),
    ('s = f"{x:{w.item()}}"', "f'{x:{w.item()}}'", {"w.item()": "v"}, 'f"{x:{v}}"'),
    ("s = f\"{f'{x.item()}'}\"", "x.item()", {}, "x.item()"),
    ('s = f"{x.item(), n}"', "(x.item(), n)", {"x.item()": "v"}, "v, n"),
    ('s = f"""{\n  x.item()\n}"""', "x.item()", {}, "x.item()"),
    ('s = rf"\\d{x.item()}"', "x.item()", {}, "x.item()"),
]


@pytest.mark.parametrize("source, whole, holes, expected", CODE)
def test_code_is_the_source_with_parts_exchanged(source: str, whole: str, holes: dict[str, str], expected: str) -> None:
    made, tree = rewriter(source.encode())
    assert made.code(expression(tree, whole), {expression(tree, old): new for old, new in holes.items()}) == expected


REPLACE = [
    ("y = (x.item())\n", "x.item()", "defer(x)", "y = defer(x)\n"),
    ("y = (\n    x.item()\n)  # c\n", "x.item()", "defer(x)", "y = defer(x)  # c\n"),
    ("y = (\n    x.item()  # c\n)\n", "x.item()", "defer(x)", "y = (\n    defer(x)  # c\n)\n"),
    ("def f():\n    return(x.item())\n", "x.item()", "defer(x)", "def f():\n    return defer(x)\n"),
    ("def f():\n    return-x.item()\n", "-x.item()", "defer(x)", "def f():\n    return defer(x)\n"),
    ("f(x.item())\n", "x.item()", "a, b", "f((a, b))\n"),
    ("f(x.item())\n", "x.item()", "i for i in x", "f((i for i in x))\n"),
    ("f(i for i in x)\n", "(i for i in x)", "a", "f(a)\n"),
    ("y = x.item()\n", "x.item()", "a\n + b", "y = (a\n + b)\n"),
    ("y = 1 + x.item()\n", "x.item()", "a\n * b", "y = 1 + (a\n * b)\n"),
    ("y = x.item()\n", "x.item()", "n := 1", "y = (n := 1)\n"),
    ("y = 2 * x.item()\n", "x.item()", "lambda: 1", "y = 2 * (lambda: 1)\n"),
    ("y = x.item() or z\n", "x.item()", "a if b else c", "y = (a if b else c) or z\n"),
    ("y = b[1]if x.item()else 2\n", "x.item()", "a", "y = b[1]if a else 2\n"),
    ("class A(x.item()): pass\n", "x.item()", "B", "class A(B): pass\n"),
    ("class A((x.item())): pass\n", "x.item()", "B", "class A(B): pass\n"),
    ("@d(x.item())\ndef f(a=(x.tolist())): pass\n", "x.tolist()", "b", "@d(x.item())\ndef f(a=b): pass\n"),
    ("with (x.item()) as a, b: pass\n", "x.item()", "c", "with c as a, b: pass\n"),
    ("if(x.item()):\n  pass\n", "x.item()", "c", "if c:\n  pass\n"),
    ("print(a,  # see (\n  x.item()  )\n", "x.item()", "c", "print(a,  # see (\n  c  )\n"),
    ("y = a + \\\n    x.item()\n", "x.item()", "c", "y = a + \\\n    c\n"),
    ("s = 'äöü€😀'; y = x.item()\n", "x.item()", "c", "s = 'äöü€😀'; y = c\n"),
    ("match x:\n  case 1 if (x.item()): pass\n", "x.item()", "c", "match x:\n  case 1 if c: pass\n"),
    ("try: pass\nexcept (x.item()): pass\n", "x.item()", "E", "try: pass\nexcept E: pass\n"),
    ("for (x.y) in (x.item()): pass\n", "x.item()", "c", "for (x.y) in c: pass\n"),
    ('s = f"a{x.item():.3f}"\n', "x.item()", "defer(x)", 's = f"a{defer(x):.3f}"\n'),
    ('s = f"a{x.item():.3f}"\n', "x.item()", 'd["k"]', "s = f\"a{d['k']:.3f}\"\n"),
    ("s = f'a{x.item():.3f}'\n", "x.item()", "d['k']", "s = f'a{d[\"k\"]:.3f}'\n"),
    ('s = f"""{x.item()}"""\n', "x.item()", "d['k'] + \"v\"", 's = f"""{d[\'k\'] + "v"}"""\n'),
    ('s = f"{x.item()}"\n', "x.item()", "{1: 2}", 's = f"{ {1: 2}}"\n'),
    ('s = f"{x.item()}"\n', "x.item()", "lambda: 1", 's = f"{(lambda: 1)}"\n'),
    ('s = f"{(x.item())}"\n', "x.item()", "v", 's = f"{v}"\n'),
    ('s = f"{2 * (x.item())}"\n', "x.item()", "a + b", 's = f"{2 * (a + b)}"\n'),
    ('s = f"{x.item()!r:>{w.item()}}" "z"\n', "w.item()", "v", 's = f"{x.item()!r:>{v}}" "z"\n'),
    ("s = f\"{f'{x.item()}'}\"\n", "x.item()", "v", "s = f\"{f'{v}'}\"\n"),
    ("s = ('é' f'{a}'\n     f'{x.item()}')\n", "x.item()", "v", "s = ('é' f'{a}'\n     f'{v}')\n"),
]


@pytest.mark.parametrize("source, old, new, expected", REPLACE)
def test_a_replaced_expression_has_the_parentheses_it_needs(source: str, old: str, new: str, expected: str) -> None:
    assert replaced(source, old, new) == expected


@pytest.mark.parametrize(
    "source, new, reason",
    [
        ('s = f"{x.item()=}"\n', "v", "shows the expression's text"),
        ('s = f"{x.item()}"\n', '"\\n"', "backslash"),
        ('s = f"{x.item()}"\n', "a['#']", "number sign"),
        ('s = f"{x.item()}"\n', "f(a,\n b)", "line break"),
        ('s = f"{x.item()}"\n', 'a["it\'s"]', "quotes"),
        ("s = f\"{f'{x.item()}'}\"\n", "a['k']", "quotes"),
    ],
)
def test_what_no_f_string_can_hold_before_3_12_is_refused(source: str, new: str, reason: str) -> None:
    with pytest.raises(Unwritable, match=reason):
        replaced(source, "x.item()", new)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="template strings are new in Python 3.14")
def test_template_strings_are_left_alone() -> None:
    with pytest.raises(Unwritable, match="template strings"):
        replaced('s = t"{x.item()}"\n', "x.item()", "v")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a + b.c(1)", True),
        ("[i for i in x if i]", True),
        ("lambda: (yield)", True),
        ("lambda a=(yield): a", False),
        ("f(await x)", False),
        ("(yield)", False),
        ("[i async for i in x]", False),
        ("f(n := 1)", False),
        ("super().forward(x)", False),
        ("super(A, self).forward(x)", True),
        ("locals()['x']", False),
        ("f(*x)", True),
    ],
)
def test_what_means_something_else_in_a_lambda_is_not_movable(text: str, expected: bool) -> None:
    function = ast.parse(f"async def f():\n    {text}\n").body[0]
    assert isinstance(function, ast.AsyncFunctionDef) and isinstance(function.body[0], ast.Expr)
    assert movable(function.body[0].value) is expected


def test_a_star_is_no_body_of_a_lambda() -> None:
    assert not movable(expression(ast.parse("f(*x)"), "*x"))


IF = "if c:\n    b()"

# The method, the statement it is asked for, the new text.
STATEMENTS = [
    # after
    ("a()\nm(x)  # c\nb()\n", "after", "m(x)", "t()", "a()\nm(x)  # c\nt()\nb()\n"),
    ("m(x)", "after", "m(x)", "t()", "m(x)\nt()"),
    ("a(); m(x); b()\n", "after", "m(x)", "t()", "a(); m(x); t(); b()\n"),
    ("a(); m(x);  # c\n", "after", "m(x)", "t()", "a(); m(x);  # c\nt()\n"),
    ("a(); m(x); b()  # c\n", "after", "m(x)", IF, "a()\nm(x)\nif c:\n    b()\nb()  # c\n"),
    ("for x in y: m(x)  # c\n", "after", "m(x)", "t()\nu()", "for x in y: m(x); t(); u()  # c\n"),
    ("for x in y: m(x)  # c\n", "after", "m(x)", IF, "for x in y:\n    m(x)\n    if c:\n        b()  # c\n"),
    ("if a: m(x);\nelse: b()\n", "after", "m(x)", "t()", "if a: m(x); t();\nelse: b()\n"),
    ("if a: b()\nelse: m(x)\nc()\n", "after", "m(x)", "t()", "if a: b()\nelse: m(x); t()\nc()\n"),
    ("try: m(x)\nfinally: n()\n", "after", "m(x)", "t()", "try: m(x); t()\nfinally: n()\n"),
    ("try: m(x)\nfinally: n()\n", "after", "n()", "t()", "try: m(x)\nfinally: n(); t()\n"),
    ("if a: \\\n  m(x)\nb()\n", "after", "m(x)", "t()", "if a: \\\n  m(x); t()\nb()\n"),
    ("if a:  # c \\\n  m(x)\nb()\n", "after", "m(x)", "t()", "if a:  # c \\\n  m(x)\n  t()\nb()\n"),
    ("if a:\n    \\\n  m(x)\n", "after", "m(x)", "t()", "if a:\n    \\\n  m(x)\n    t()\n"),
    ("m(x) \\\n\nb()\n", "after", "m(x)", "t()", "m(x) \\\n\nt()\nb()\n"),
    ("if a:\n\tm(x)\n", "after", "m(x)", "t()", "if a:\n\tm(x)\n\tt()\n"),
    ("if a:\n\f    m(x)\n", "after", "m(x)", "t()", "if a:\n\f    m(x)\n    t()\n"),
    ("m(\n  x,  # c\n)\n# d\n", "after", "m(x)", "t()", "m(\n  x,  # c\n)\nt()\n# d\n"),
    (
        "for x in y:\n    m(x)\n    # in it\n\n# not\nb()\n",
        "after",
        "for x",
        "t()",
        "for x in y:\n    m(x)\n    # in it\nt()\n\n# not\nb()\n",
    ),
    ("for x in y: m(x)\nb()\n", "after", "for x", "t()", "for x in y: m(x)\nt()\nb()\n"),
    ("def f():\n    pass\n\n\nb()\n", "after", "def f", "t()", "def f():\n    pass\n\n\nt()\n\n\nb()\n"),
    ("a()\nb()\n", "after", "a()", "def g():\n    pass", "a()\n\n\ndef g():\n    pass\n\n\nb()\n"),
    ("if a:\n    m(x)\n", "after", "m(x)", 't("""\nq\n""",\n  1)', 'if a:\n    m(x)\n    t("""\nq\n""",\n      1)\n'),
    # before
    ("a()\n# b\nb()  # c\n", "before", "b()", "t()", "a()\nt()\n# b\nb()  # c\n"),
    ("a()\n# no\n\nb()\n", "before", "b()", "t()", "a()\n# no\n\nt()\nb()\n"),
    ("#!python\nb()\n", "before", "b()", "t()", "#!python\nt()\nb()\n"),
    ("a()\n\n# %% cell\nb()\n", "before", "b()", "t()", "a()\n\n# %% cell\nt()\nb()\n"),
    ("if a:\n    b()\n    # deep\nc()\n", "before", "c()", "t()", "if a:\n    b()\n    # deep\nt()\nc()\n"),
    ("x = '''\n# '''\nb()\n", "before", "b()", "t()", "x = '''\n# '''\nt()\nb()\n"),
    (
        "a()\n\n\n# f\n@d\n@(e)\ndef f(): pass\n",
        "before",
        "@d",
        "t()",
        "a()\n\n\nt()\n\n\n# f\n@d\n@(e)\ndef f(): pass\n",
    ),
    ("a(); b()\n", "before", "b()", "t()", "a(); t(); b()\n"),
    ("a(); b()\n", "before", "a()", "t()", "t()\na(); b()\n"),
    ("if a: b()\n", "before", "b()", "t()", "if a: t(); b()\n"),
    ("if a: b()\n", "before", "b()", IF, "if a:\n    if c:\n        b()\n    b()\n"),
    ("class A: x = 1\n", "before", "x = 1", "t()", "class A: t(); x = 1\n"),
    # first and last
    ('def f():\n    "doc"\n\n    a()\n', "first", "def f", "t()", 'def f():\n    "doc"\n\n    t()\n    a()\n'),
    ('def f():\n    "doc"  # c\n', "first", "def f", "t()", 'def f():\n    "doc"  # c\n    t()\n'),
    ('def f(): "doc"; return 1\n', "first", "def f", "t()", 'def f(): "doc"; t(); return 1\n'),
    ("def f():\n    global a\n    a = 1\n", "first", "def f", "t()", "def f():\n    global a\n    t()\n    a = 1\n"),
    ("def f():\n    # a\n    a = 1\n", "first", "def f", "t()", "def f():\n    t()\n    # a\n    a = 1\n"),
    ("def f(): return 1\n", "first", "def f", "t()", "def f(): t(); return 1\n"),
    ("def f():\n    def g(): pass\n", "first", "def f", "t()", "def f():\n    t()\n\n    def g(): pass\n"),
    ('for x in y:\n    "a"\n', "first", "for x", "t()", 'for x in y:\n    t()\n    "a"\n'),
    (
        "for x in y:\n    m(x)\n    # in\n\n    # too\n  # not\nb()\n",
        "last",
        "for x",
        "t()",
        "for x in y:\n    m(x)\n    # in\n\n    # too\n    t()\n  # not\nb()\n",
    ),
    (
        "for x in y:\n    if a: m(x)\n        # deep\n# not\n",
        "last",
        "for x",
        "t()",
        "for x in y:\n    if a: m(x)\n        # deep\n    t()\n# not\n",
    ),
    ("for x in y: m(x)\nelse: b()\n", "last", "for x", "t()", "for x in y: m(x); t()\nelse: b()\n"),
    ("with a:\n    m(x); n(x)\n", "last", "with a", "t()", "with a:\n    m(x); n(x)\n    t()\n"),
    # replace
    ("if a:\n    m(x)  # c\n", "replace_statement", "m(x)", "t()", "if a:\n    t()  # c\n"),
    (
        "if a:\n    m(x)\n",
        "replace_statement",
        "m(x)",
        "if b:\n    s = '''\nq'''",
        "if a:\n    if b:\n        s = '''\nq'''\n",
    ),
    ("if a: m(x); b()\n", "replace_statement", "m(x)", "t()\nu()", "if a: t(); u(); b()\n"),
    ("if a: m(x); b()  # c\n", "replace_statement", "m(x)", IF, "if a:\n    if c:\n        b()\n    b()  # c\n"),
    ("if a: m(x)\n", "replace_statement", "m(x)", "# why\nt()", "if a:\n    # why\n    t()\n"),
    ("a()\n@d\ndef f():\n    pass\nb()\n", "replace_statement", "@d", "t()", "a()\nt()\nb()\n"),
    # delete
    ("a()\nm(x)  # c\nb()\n", "delete_statement", "m(x)", None, "a()\nb()\n"),
    ("a()\nm(\n  x)", "delete_statement", "m(x)", None, "a()"),
    ("if a:\n    m(x)  # c\n", "delete_statement", "m(x)", None, "if a:\n    pass  # c\n"),
    ("if a: m(x)\nelse: b()\n", "delete_statement", "m(x)", None, "if a: pass\nelse: b()\n"),
    ("a(); m(x); b()\n", "delete_statement", "m(x)", None, "a(); b()\n"),
    ("a(); m(x);\n", "delete_statement", "m(x)", None, "a();\n"),
    ("if a: m(x); b()\n", "delete_statement", "m(x)", None, "if a: b()\n"),
    ("a()\n@d\ndef f():\n    m(x)\nb()\n", "delete_statement", "@d", None, "a()\nb()\n"),
    # module level
    (
        "import a\n\ndef f():\n    m(x)\n",
        "module_level",
        "m(x)",
        "def g():\n    pass",
        "import a\n\n\ndef g():\n    pass\n\n\ndef f():\n    m(x)\n",
    ),
    (
        "import a\n\n\n# f\n@d\ndef f():\n    m(x)\n",
        "module_level",
        "m(x)",
        "def g(): pass",
        "import a\n\n\ndef g(): pass\n\n\n# f\n@d\ndef f():\n    m(x)\n",
    ),
    (
        "# head\nif T:\n    import a\nelse:\n    m(x)\n",
        "module_level",
        "m(x)",
        "def g(): pass",
        "# head\n\n\ndef g(): pass\n\n\nif T:\n    import a\nelse:\n    m(x)\n",
    ),
    ("m(x)\n", "module_level", "m(x)", "def g(): pass", "def g(): pass\n\n\nm(x)\n"),
    ("a(); m(x)\n", "module_level", "m(x)", "def g(): pass", "def g(): pass\n\n\na(); m(x)\n"),
    (
        "try:\n    pass\nexcept E:\n    m(x)\n",
        "module_level",
        "m(x)",
        "def g(): pass",
        "def g(): pass\n\n\ntry:\n    pass\nexcept E:\n    m(x)\n",
    ),
]


@pytest.mark.parametrize("source, method, where, text, expected", STATEMENTS)
@pytest.mark.parametrize("newline, bom", [*itertools.product(["\n", "\r\n"], [b"", b"\xef\xbb\xbf"])])
def test_statements_go_where_a_person_puts_them(
    source: str, method: str, where: str, text: str | None, expected: str, newline: str, bom: bytes
) -> None:
    data = bom + source.replace("\n", newline).encode()
    made, tree = rewriter(data)
    given = () if text is None else (text,)
    result = edited(data, getattr(made, method)(statement(tree, where), *given))
    # A text of one line has no line ending of its own: what is added to it ends its lines in the usual way.
    assert result == bom + expected.replace("\n", newline if "\n" in source else "\n").encode()


def test_an_elif_takes_no_statement_beside_it() -> None:
    made, tree = rewriter(b"if a:\n    b()\nelif c:\n    d()\n")
    inner = statement(tree, "if c")
    for edit in (
        lambda: made.before(inner, "t()"),
        lambda: made.after(inner, "t()"),
        lambda: made.delete_statement(inner),
    ):
        with pytest.raises(Unwritable, match="elif"):
            edit()


def test_names_that_occur_anywhere_are_taken() -> None:
    source = b"""
import a.b, c as d
from e import f as g
def h(i, *j, k=l, **m):
    global n
    try: (o := 1)
    except P as q: pass
    match r:
        case [s, *t]: pass
        case {"u": v, **w}: pass
    return x.attribute(keyword=lambda y: [z for z in aa])
class B:
    def method(self): self.other_method()
"""
    made, _ = rewriter(source)
    wanted = "self a d g h i j k l m n o P q r s t v w x y z aa B"
    assert made.taken() == frozenset(wanted.split())


@pytest.mark.parametrize(
    "source, module, name, expected",
    [
        ("from auditlint.defer import defer", "auditlint.defer", "defer", "defer"),
        ("from auditlint.defer import defer as d", "auditlint.defer", "defer", "d"),
        ("import auditlint.defer as d", "auditlint.defer", "defer", "d.defer"),
        ("import auditlint.defer", "auditlint.defer", "defer", "auditlint.defer.defer"),
        ("from auditlint import defer", "auditlint.defer", "defer", "defer.defer"),
        ("import auditlint", "auditlint.defer", "defer", None),
        ("from .auditlint.defer import defer", "auditlint.defer", "defer", None),
        (
            "try:\n    from auditlint.defer import defer\nexcept ImportError:\n    pass",
            "auditlint.defer",
            "defer",
            None,
        ),
        ("import auditlint.defer as d\nfrom auditlint.defer import defer", "auditlint.defer", "defer", "defer"),
        ("import time as clock", "time", "time", "clock.time"),
        ("import functools", "functools", "", "functools"),
        ("from time import time", "time", "time", "time"),
        ("import time\ntime = 5", "time", "time", None),
        ("import time\ndef f(time): return time", "time", "time", None),
        ("import time\ndef f():\n    import time\n    return time.time()", "time", "time", "time.time"),
        ("import time\nclass A:\n    def time(self): pass", "time", "time", "time.time"),
        ("import time\nfrom time import time", "time", "time", None),
        ("import auditlint.defer\nimport auditlint.rules", "auditlint.defer", "flush", "auditlint.defer.flush"),
        ("", "functools", "", None),
    ],
)
def test_what_the_file_calls_an_imported_name(source: str, module: str, name: str, expected: str | None) -> None:
    made, _ = rewriter(source.encode())
    assert made.bound_as(module, name) == expected
