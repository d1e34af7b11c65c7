"""Which line, hook and operation a sync is put down to, where the stack alone would say something else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch", reason="syncs are counted in torch programs")

from auditlint.runtime import count_syncs  # noqa: E402
from auditlint.runtime.report import Site  # noqa: E402

HAS_COLUMNS = sys.version_info >= (3, 11)


def load(folder: Path, name: str, source: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sites(folder: Path, source: str, **modules: str) -> list[Site]:
    """What `run()` of the source counts; the module `name` of `modules` is `name` in its globals."""
    program = load(folder, "program", source)
    for name, text in modules.items():
        setattr(program, name, load(folder, name, text))
    with count_syncs("cpu") as counter:
        program.run()
    return [site for site in counter.report().sites if site.filename.endswith(".py")]


@pytest.mark.parametrize(
    ("statement", "expression"),
    [
        ("if x.any():\n        y = 1\n        y = 2", "any()"),
        ("if n is not None and x.any(): y = 1", "any()"),
        ("if n == 1 and x.all() or n == 1 and x.any(): y = 1", "all()"),
        ("assert x.all()", "all()"),
        ("y = 1 if x.any() else 2", "any()"),
        ("if not x.any(): y = 1", "any()"),
        ("y = x.any() and n", "any()"),
        ("y = not x.any()", "any()"),
        ("while x.any(): break", "any()"),
        ("y = [i for i in [x] if i.any()]", "any()"),
        ("if x.max() > 0: y = 1", "x.max() > 0"),
        ("if torch.any(x > 0): y = 1", "any(x > 0)"),
    ],
)
@pytest.mark.skipif(not HAS_COLUMNS, reason="Python 3.10 records no columns")
def test_a_truth_value_is_asked_of_the_operand_not_of_the_statement(
    tmp_path: Path, statement: str, expression: str
) -> None:
    line = f"    {statement}"
    source = f"import torch\nx, n = torch.ones(2), 1\ndef run():\n{line}\n"
    [site] = sites(tmp_path, source)
    first = line.split("\n")[0]
    text = first[site.column - 1 : site.end_column - 1]
    # A method call is marked from the method's name on.
    assert (site.row, site.end_row, text) == (4, 4, expression)
    assert (site.op, site.kind, site.count) == ("Tensor.__bool__", "truth", 1)


LIBRARY = """
class Point:
    def __init__(self, module):
        self.module = module

    def add(self, hook):
        def full_hook(module, args, output):
            return hook(output)
        self.module.register_forward_hook(full_hook)
"""


def test_a_hook_that_a_library_wraps_is_named_not_the_wrapper(tmp_path: Path) -> None:
    source = """
import functools, torch
def first(output):
    output.norm().item()
@torch.no_grad()
def second(output, scale):
    helper(output)
def helper(output):
    output.tolist()
def run():
    module = torch.nn.Linear(2, 2)
    library.Point(module).add(first)
    library.Point(module).add(functools.partial(second, scale=2))
    module(torch.ones(1, 2))
"""
    found = sites(tmp_path, source, library=LIBRARY)
    named = [(site.op, site.hook.name, site.hook.row, site.hook.kind) for site in found if site.hook is not None]
    assert named == [("Tensor.item", "first", 3, "forward"), ("Tensor.tolist", "second", 6, "forward")]


def test_a_wrapper_that_reads_by_itself_is_the_hook(tmp_path: Path) -> None:
    library = LIBRARY.replace("return hook(output)", "output.sum().item(); return hook(output)")
    source = """
import torch
def nothing(output):
    pass
def run():
    module = torch.nn.Linear(2, 2)
    library.Point(module).add(nothing)
    module(torch.ones(1, 2))
"""
    [site] = sites(tmp_path, source, library=library)
    assert site.hook is not None
    assert site.hook.name == "Point.add.<locals>.full_hook"


MODE = """
import torch
class Mode(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not record columns")
def test_a_mode_that_hands_an_operation_on_is_not_where_it_waits(tmp_path: Path) -> None:
    source = """
import torch
def run():
    x = torch.ones(3)
    with library.Mode():
        if torch.all(x == 1):
            x.nonzero()
        f"{x[0]}"
"""
    found = sites(tmp_path, source, library=MODE)
    assert [(Path(site.filename).name, site.row, site.op, site.count) for site in found] == [
        ("program.py", 6, "Tensor.__bool__", 1),
        ("program.py", 7, "Tensor.nonzero", 1),
        ("program.py", 8, "Tensor.__format__", 1),
    ]


def test_a_mode_that_reads_by_itself_is_where_it_waits(tmp_path: Path) -> None:
    library = MODE.replace("return func", "args[0].sum().item()\n        return func")
    source = """
import torch
def run():
    x = torch.ones(3)
    with library.Mode():
        x.abs()
"""
    [site] = sites(tmp_path, source, library=library)
    assert (Path(site.filename).name, site.row, site.op) == ("library.py", 5, "Tensor.item")


def test_a_copy_on_the_host_can_be_detached_in_place(tmp_path: Path) -> None:
    source = """
import torch
def run():
    copy = torch.ones(3).cpu()
    for tensor in (copy, copy * 2, copy.detach(), copy.max(dim=0, keepdim=True).values):
        tensor.detach_()
        assert tensor.sum().item() > 0
    rows = torch.zeros(2, 2).cpu()
    weight = torch.ones(2, requires_grad=True)
    rows[0].copy_(weight * 3)
    rows.sum().backward()
    assert weight.grad.numpy().tolist() == [3.0, 3.0]
"""
    found = sites(tmp_path, source)
    assert [(site.row, site.op) for site in found] == [
        (4, "Tensor.cpu"),
        (8, "Tensor.cpu"),
        (10, "Tensor.copy_"),
        (12, "Tensor.numpy"),
    ]


@pytest.mark.skipif(not HAS_COLUMNS, reason="Python 3.10 records no columns")
def test_an_operation_of_several_kinds_is_of_the_kind_that_was_seen() -> None:
    with count_syncs("simulated") as counter:
        torch.tensor([1.0, 2.0], device="cuda")
    assert [(site.op, site.kind) for site in counter.report().sites] == [("torch.tensor", "h2d")]


def test_a_function_that_the_deferral_library_calls_in_its_hook_is_the_hook() -> None:
    from auditlint.defer import AuditLog

    def largest(module: object, args: object, output: torch.Tensor) -> float:
        return output.detach().max().item()

    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with count_syncs("cpu") as counter, AuditLog.attach(model, largest) as log:
        model(torch.ones(1, 2))
        log.finalize()
    [site] = [site for site in counter.report().sites if site.hook]
    assert (site.op, site.hook and site.hook.name.rpartition(".")[2]) == ("Tensor.item", "largest")


def test_the_deferral_library_does_not_wait_in_hooks() -> None:
    from auditlint.defer import AuditLog

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    with count_syncs("cpu") as counter, AuditLog.attach(model, "norm") as log:
        model(torch.ones(1, 2))
        assert len(log.finalize()) == 2
    assert counter.in_hooks == 0
