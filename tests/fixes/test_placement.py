"""Where `finalize` and `flush` go: small programs in which the expected statements are marked."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auditlint.diagnostics import Step
from auditlint.fixes.placement.place import Function, Nowhere, Placement, Point, place

PROGRAMS = Path(__file__).parent / "placement"


class Sources:
    """Files held in memory."""

    def __init__(self, **texts: str) -> None:
        self.trees = {name + ".py": ast.parse(text) for name, text in texts.items()}

    def tree(self, filename: str) -> ast.Module | None:
        return self.trees.get(filename)

    def users(self, name: str, home: str) -> list[str]:
        return [each for each in self.trees if each != home and f"{name!r}" in ast.dump(self.trees[each])]


def programs() -> list[object]:
    """Each block of the files, under its title."""
    found = []
    for path in sorted(PROGRAMS.glob("*.txt")):
        for block in path.read_text().split("=== ")[1:]:
            title, _, text = block.partition("\n")
            found.append(pytest.param(title, text.strip("\n") + "\n", id=f"{path.stem}: {title}"))
    return found


@pytest.mark.parametrize(("title", "text"), programs())
def test_statements_go_where_the_program_marks_them(title: str, text: str) -> None:
    expected = title.rpartition(" -> ")[2]
    source = "".join(line for line in text.splitlines(keepends=True) if not line.strip().startswith("#>"))
    found = placed(source)
    assert verdict(found) == expected
    points = found.points if isinstance(found, Placement) else ()
    assert put(source, points) == text.replace("#> ", "")
    if any(point.where == "return" for point in points):
        return  # the statement itself is taken apart there, by the rewriter
    again = placed(put(source, points))
    if isinstance(found, Placement):
        assert isinstance(again, Placement)
        assert again.points == (), "what stands is not put again"


def verdict(found: Placement | Nowhere) -> str:
    if isinstance(found, Nowhere):
        return f"nowhere: {found.reason}"
    return f"{found.kind} {'safe' if found.safe else 'unsafe'}"


def placed(source: str) -> Placement | Nowhere:
    files = Sources(program=source)
    tree = files.trees["program.py"]
    rows = source.splitlines()
    hook = function_at(tree, marked(rows, "# hook"))
    registered = marked(rows, "# registers")
    stored = marked(rows, "# stores")
    inside = function_around(tree, stored) if stored else hook
    target = target_at(inside, stored) if stored else None
    here = Function("program.py", hook)
    return place(files, here, Function("program.py", inside), target, Step("f", "program.py", registered))


def marked(rows: list[str], mark: str) -> int:
    return next((number for number, row in enumerate(rows, 1) if row.partition("#")[1:] and mark in row), 0)


def function_at(tree: ast.Module, row: int) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and node.lineno == row:
            return node
    raise LookupError(row)


def function_around(tree: ast.Module, row: int) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda:
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        and node.lineno <= row <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: (node.lineno, node.col_offset))


def target_at(function: ast.AST, row: int) -> ast.expr:
    """What a statement stores in: the receiver of `append`, or the target of an assignment without its subscripts."""
    targets: list[ast.expr] = []
    for node in ast.walk(function):
        if getattr(node, "lineno", 0) != row:
            continue
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AugAssign):
            targets.append(node.target)
        elif isinstance(node, ast.Attribute) and node.attr in ("append", "add", "update", "extend"):
            targets.append(node.value)
    target = targets[0]
    while isinstance(target, ast.Subscript):
        target = target.value
    return target


def put(source: str, points: tuple[Point, ...]) -> str:
    """The source with the points' statements in it, each on a line of its own."""
    rows = source.splitlines(keepends=True)
    added: dict[int, list[str]] = {}
    for point in sorted(points, key=lambda point: -spot(point)[1]):  # where several blocks end, inner ones first
        row, column = spot(point)
        code = f"[return] {point.code}" if point.where == "return" else point.code
        added.setdefault(row, []).append(" " * column + code + "\n")
    for row in sorted(added, reverse=True):
        rows[row:row] = added[row]
    return "".join(rows)


def spot(point: Point) -> tuple[int, int]:
    """After which row a point's statement goes, and how far it is indented."""
    node = point.node
    if point.where in ("after", "return"):
        return node.end_lineno or 0, node.col_offset
    if point.where == "before":
        return node.lineno - 1, node.col_offset
    body = node.body  # type: ignore[attr-defined]
    if point.where == "last":
        return body[-1].end_lineno, body[0].col_offset
    docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return (body[0].end_lineno if docstring else body[0].lineno - 1), body[0].col_offset


def found_in(registered: tuple[str, int], **texts: str) -> Placement | Nowhere:
    """The placement for the function `hook` of `hooks.py`, which stores in what its last statement appends to."""
    files = Sources(**{name: textwrap.dedent(text) for name, text in texts.items()})
    tree = files.trees["hooks.py"]
    hook = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "hook")
    append = next(node for node in ast.walk(hook) if isinstance(node, ast.Attribute) and node.attr == "append")
    here = Function("hooks.py", hook)
    return place(files, here, here, append.value, Step("f", *registered))


def spots(found: Placement | Nowhere) -> list[tuple[str, str, int, str]]:
    assert isinstance(found, Placement), found
    return [(point.filename, point.where, point.node.lineno, point.code) for point in found.points]


HOOKS = """
    acts = []

    def hook(module, args, output):
        acts.append(output.norm().item())
"""


def test_an_imported_container_is_finalized_under_its_name_there() -> None:
    main = """
        from hooks import acts as log, hook

        def main(model, x):
            model.layer.register_forward_hook(hook)
            model(x)
            print(log)
    """
    found = found_in(("main.py", 5), hooks=HOOKS, main=main)
    assert verdict(found) == "a safe"
    assert spots(found) == [("main.py", "after", 6, "finalize(log)")]


def test_a_container_without_a_name_where_the_model_runs_is_only_flushed() -> None:
    main = """
        from hooks import hook

        def main(model, x):
            model.layer.register_forward_hook(hook)
            model(x)
    """
    found = found_in(("main.py", 5), hooks=HOOKS, main=main)
    assert verdict(found) == "a unsafe"
    assert spots(found) == [("main.py", "after", 6, "flush()")]


def test_the_block_of_a_context_manager_from_another_file() -> None:
    context = """
        from contextlib import contextmanager

        @contextmanager
        def capture(module, fn):
            handle = module.register_forward_hook(fn)
            try:
                yield handle
            finally:
                handle.remove()
    """
    hooks = """
        from context import capture

        def lens(model, layer, tokens):
            words = []

            def hook(module, args, output):
                words.append(output.argmax(-1).tolist())

            with capture(layer, hook):
                final = model(tokens)
            return words

        def alone(model, tokens):
            words = []
            with capture(model, print):
                model(tokens)
    """
    found = found_in(("context.py", 6), hooks=hooks, context=context)
    assert verdict(found) == "a safe"
    assert spots(found) == [("hooks.py", "after", 11, "finalize(words)")]


def test_words_say_where_and_what_speaks_against_it() -> None:
    main = """
        import torch
        from hooks import acts, hook

        def main(model, x):
            model.layer.register_forward_hook(hook)
            torch.compile(model)
            model(x)
    """
    found = found_in(("main.py", 6), hooks=HOOKS, main=main)
    assert isinstance(found, Placement)
    assert found.words == "after `model(x)` in line 8 of main.py; `torch.compile` is used in main.py"
    assert not found.safe


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.txt")), ids=lambda path: path.stem)
def test_what_is_not_safe_says_why(path: Path) -> None:
    for block in path.read_text().split("=== ")[1:]:
        _, _, text = block.partition("\n")
        found = placed("".join(line for line in text.splitlines(keepends=True) if not line.strip().startswith("#>")))
        if isinstance(found, Placement):
            assert found.safe == (not found.words.partition("; ")[2]), found.words


def test_words_count_the_other_places() -> None:
    main = """
        from hooks import acts, hook

        def main(model, x):
            model.layer.register_forward_hook(hook)
            for row in x:
                if row:
                    model(row)
            print(acts)
            model(x)
            print(acts)
    """
    found = found_in(("main.py", 5), hooks=HOOKS, main=main)
    assert isinstance(found, Placement)
    assert found.words == "after `model(row)` in line 8 of main.py and in 1 other place"
    assert [where[1:] for where in spots(found)] == [
        ("last", 6, "flush()"),
        ("after", 6, "finalize(acts)"),
        ("after", 10, "finalize(acts)"),
    ]


def test_a_file_that_cannot_be_read_has_no_place() -> None:
    tree = ast.parse("def hook(m, a, o):\n    acts.append(o)\n")
    hook = tree.body[0]
    assert isinstance(hook, ast.FunctionDef)
    here = Function("gone.py", hook)
    assert place(Sources(), here, here, None, Step("f", "gone.py", 1)) == Nowhere("the file cannot be read")


def test_code_nested_too_deeply_has_no_place_and_raises_nothing() -> None:
    chain = "x" + ".a()" * 900
    found = found_in(("hooks.py", 6), hooks=textwrap.dedent(HOOKS) + f"{chain}.register_forward_hook(hook)\n")
    assert isinstance(found, (Placement, Nowhere))


def any_programs() -> list[Path]:
    here = Path(__file__).parents[2]
    return sorted([*here.glob("fixtures/projects/*/**/*.py"), *here.glob("src/auditlint/**/*.py")])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_function_target_and_row_give_an_answer_twice_the_same(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(any_programs()))
    tree = ast.parse(path.read_bytes())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assume(functions)
    hook, stored_in = data.draw(st.sampled_from(functions)), data.draw(st.sampled_from(functions))
    targets = [node for node in ast.walk(stored_in) if isinstance(node, ast.expr)]
    target = data.draw(st.none() | st.sampled_from(targets))
    calls = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call)] or [1]
    files = Sources()
    files.trees["program.py"] = tree
    given_ = (Function("program.py", hook), Function("program.py", stored_in), target)
    step = Step("f", "program.py", data.draw(st.sampled_from(calls)))
    found = place(files, *given_, step)
    assert found == place(files, *given_, step)
    if isinstance(found, Placement):
        assert all(each.where in ("after", "before", "first", "last", "return") for each in found.points)
        ast.parse(put(path.read_text(), found.points).replace("[return] ", ""))
