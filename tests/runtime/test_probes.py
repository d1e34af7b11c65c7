"""Files that are loaded under probes: what was executed, and that nothing else about loading them changes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from auditlint.config import Config, ConfigError
from auditlint.diagnostics import Diagnostic, Location
from auditlint.linter import ByFile, Configs, Options, lint
from auditlint.runtime.instrument import Probe
from auditlint.runtime.probes import FindingsFor, Probes

Write = Callable[[Mapping[str, str | bytes]], Path]

SOURCE = '"""Doc."""\n\n\ndef ran(x):\n    return abs(x)\n\n\ndef idle(x):\n    return abs(x)\n'
PLACES = ((5, 12, 18), (9, 12, 18))


def found(path: str, places: Sequence[tuple[int, int, int]] = PLACES) -> list[Diagnostic]:
    """A finding at each row, from one column up to another."""
    return [
        Diagnostic("AUD101", "item-in-hook", "message", path, Location(row, first), Location(row, last))
        for row, first, last in places
    ]


@pytest.fixture
def undo(write: Write, monkeypatch: pytest.MonkeyPatch) -> Iterator[contextlib.ExitStack]:
    """Undoes what a test installs; modules of the test's folder can be imported, and are forgotten afterwards."""
    root = write({})
    monkeypatch.syspath_prepend(str(root))
    before = dict(sys.modules)
    with contextlib.ExitStack() as stack:
        yield stack
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(root)):
            del sys.modules[name]


def installed(undo: contextlib.ExitStack, findings_for: FindingsFor) -> Probes:
    probes = Probes(findings_for)
    probes.install(undo)
    return probes


def test_what_an_imported_file_executes_is_noted(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"watched.py": SOURCE}) / "watched.py")
    probes = installed(undo, lambda each: found(each) if each == path else [])
    assert path not in probes.loaded
    module = importlib.import_module("watched")
    assert (path in probes.loaded, path in probes.uncertain, probes.executed) == (True, False, set())
    assert module.ran(-3) == 3
    assert probes.executed == {(path, 5, 12)}
    module.idle(1)
    assert probes.executed == {(path, 5, 12), (path, 9, 12)}


def test_an_imported_file_is_the_module_that_it_was(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"watched.py": SOURCE}) / "watched.py")
    installed(undo, found)
    module = importlib.import_module("watched")
    spec = module.__spec__
    assert spec is not None
    assert (type(spec.loader), module.__loader__, module.__file__) == (SourceFileLoader, spec.loader, path)
    assert module.__cached__ == importlib.util.cache_from_source(path)
    assert not Path(module.__cached__).exists()
    assert module.__doc__ == "Doc."
    assert inspect.getsource(module.ran) == "def ran(x):\n    return abs(x)\n"
    assert sorted(vars(module)) == sorted(
        [*vars(ModuleType("m")), "__builtins__", "__cached__", "__file__", "idle", "ran"]
    )


def test_a_compiled_file_from_before_is_neither_used_nor_replaced(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"watched.py": SOURCE}) / "watched.py")
    importlib.import_module("watched")
    compiled = Path(importlib.util.cache_from_source(path))
    assert compiled.exists() or sys.dont_write_bytecode
    before = compiled.read_bytes() if compiled.exists() else b""
    del sys.modules["watched"]
    probes = installed(undo, found)
    importlib.import_module("watched").ran(1)
    assert probes.executed == {(path, 5, 12)}
    assert (compiled.read_bytes() if compiled.exists() else b"") == before


def test_files_without_findings_are_loaded_by_nobody_else(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"other.py": SOURCE}) / "other.py")
    probes = installed(undo, lambda path: [])
    module = importlib.import_module("other")
    assert module.__spec__ is not None
    assert "get_code" not in vars(module.__spec__.loader)
    assert (path in probes.loaded, path in probes.uncertain) == (True, False)


def test_findings_that_no_count_can_confirm_need_no_probes(write: Write, undo: contextlib.ExitStack) -> None:
    write({"other.py": SOURCE})
    installed(undo, lambda path: [item._replace(code="AUD301") for item in found(path)])
    module = importlib.import_module("other")
    assert module.__spec__ is not None
    assert "get_code" not in vars(module.__spec__.loader)


def test_the_linter_is_not_asked_about_torch_and_the_standard_library(
    write: Write, undo: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    root = write({"torch/__init__.py": SOURCE, "mine.py": "import colorsys, torch.sub\n", "torch/sub.py": SOURCE})
    for name in ("colorsys", "torch", "torch.sub"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    installed(undo, lambda path: asked.append(path) or [])  # type: ignore[func-returns-value]
    importlib.import_module("mine")
    assert asked == [str(root / "mine.py")]


def test_undo_leaves_the_import_system_as_it_was(write: Write, undo: contextlib.ExitStack) -> None:
    write({"watched.py": SOURCE})
    before = list(sys.meta_path), importlib.util.spec_from_file_location
    with contextlib.ExitStack() as inner:
        installed(inner, found)
        assert sys.meta_path != before[0]
        module = importlib.import_module("watched")
    assert (sys.meta_path, importlib.util.spec_from_file_location) == before
    assert all(now is then for now, then in zip(sys.meta_path, before[0], strict=True))
    assert module.__spec__ is not None
    assert "get_code" not in vars(module.__spec__.loader)
    assert module.ran(-1) == 1


def test_undo_after_an_exception_and_with_finders_that_came_later(write: Write, undo: contextlib.ExitStack) -> None:
    class Later:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None: ...

    later, before = Later(), list(sys.meta_path)
    with pytest.raises(KeyError), contextlib.ExitStack() as inner:
        installed(inner, found)
        sys.meta_path.insert(0, later)  # type: ignore[arg-type]
        raise KeyError
    assert sys.meta_path == [later, *before]
    sys.meta_path.remove(later)  # type: ignore[arg-type]


def test_a_file_that_is_reloaded_keeps_its_probes(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"watched.py": SOURCE}) / "watched.py")
    probes = installed(undo, found)
    module = importlib.reload(importlib.import_module("watched"))
    module.idle(1)
    assert probes.executed == {(path, 9, 12)}


def test_modules_that_were_there_before_are_uncertain(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"early.py": SOURCE}) / "early.py")
    importlib.import_module("early").ran(1)
    probes = installed(undo, found)
    assert (path in probes.uncertain, path in probes.loaded, probes.executed) == (True, True, set())


def test_a_file_that_cannot_be_instrumented_runs_and_is_uncertain(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"watched.py": SOURCE}) / "watched.py")
    probes = installed(undo, lambda path: found(path, [(99, 1, 2)]))
    assert importlib.import_module("watched").ran(-1) == 1
    assert (path in probes.uncertain, probes.executed) == (True, set())


def test_a_linter_that_fails_does_no_harm(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"watched.py": SOURCE}) / "watched.py")

    def fail(path: str) -> list[Diagnostic]:
        raise ConfigError("broken")

    probes = installed(undo, fail)
    assert importlib.import_module("watched").ran(-1) == 1
    assert path in probes.uncertain
    script = str(write({"script.py": SOURCE}) / "script.py")
    assert isinstance(probes.compile(script, SOURCE.encode()), CodeType)
    assert script in probes.uncertain


def test_errors_in_a_file_are_those_of_python(write: Write, undo: contextlib.ExitStack) -> None:
    write({"broken.py": "def f(:\n", "failing.py": "x = abs('a')\n"})
    installed(undo, lambda path: found(path, [(1, 5, 13)]))
    with pytest.raises(SyntaxError) as broken:
        importlib.import_module("broken")
    assert broken.value.lineno == 1
    with pytest.raises(TypeError) as failing:
        importlib.import_module("failing")
    assert [entry.name for entry in failing.traceback[1:] if "probes" in str(entry.path)] == []
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("missing_module")


def test_what_an_import_hook_makes_of_a_file_is_left_to_it(write: Write, undo: contextlib.ExitStack) -> None:
    class Rewriting(SourceFileLoader):
        def source_to_code(self, data: Any, path: Any, *, _optimization: int = -1) -> CodeType:  # type: ignore[override]
            return compile(data.replace(b"abs", b"str"), path, "exec", dont_inherit=True)

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            if name != "watched":
                return None
            return importlib.util.spec_from_file_location(name, file, loader=Rewriting(name, file))

    file = str(write({"watched.py": SOURCE}) / "watched.py")
    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
    undo.callback(lambda: sys.meta_path.pop(0))
    probes = installed(undo, found)
    assert importlib.import_module("watched").ran(-1) == "-1"
    assert file in probes.uncertain


def test_a_file_that_is_loaded_by_its_path(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"plugin.py": SOURCE}) / "plugin.py")
    probes = installed(undo, found)
    spec = importlib.util.spec_from_file_location("not_its_name", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ran(1)
    assert probes.executed == {(path, 5, 12)}
    assert path in probes.loaded


def test_a_module_that_is_run(write: Write, undo: contextlib.ExitStack) -> None:
    path = str(write({"pkg/__init__.py": "", "pkg/tool.py": SOURCE + "\n\nran(1)\n"}) / "pkg" / "tool.py")
    probes = installed(undo, lambda each: found(each) if each == path else [])
    assert runpy.run_module("pkg.tool", run_name="__main__")["__name__"] == "__main__"
    assert probes.executed == {(path, 5, 12)}


def test_a_script_is_compiled_under_the_name_that_it_was_given(write: Write, undo: contextlib.ExitStack) -> None:
    root = write({"script.py": SOURCE + "\n\nran(1)\n", "clean.py": SOURCE})
    probes = Probes(lambda path: found(path) if path.endswith("script.py") else [])
    code = probes.compile("script.py", (root / "script.py").read_bytes())
    assert code.co_filename == "script.py"
    exec(code, {"__name__": "__main__"})
    assert probes.executed == {(str(root / "script.py"), 5, 12)}
    probes.compile("clean.py", SOURCE.encode())
    assert {str(root / "script.py"), str(root / "clean.py")} <= probes.loaded
    assert not probes.uncertain & {str(root / "script.py"), str(root / "clean.py")}
    with pytest.raises(SyntaxError):
        probes.compile("script.py", b"def (")


def test_files_that_load_themselves_when_looked_at_are_not_looked_at(undo: contextlib.ExitStack) -> None:
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    sys.modules["lazy_for_probes"] = Lazy("lazy_for_probes")
    undo.callback(sys.modules.pop, "lazy_for_probes")
    assert installed(undo, found).executed == set()


def test_imports_of_the_linter_itself_are_not_asked_about(write: Write, undo: contextlib.ExitStack) -> None:
    root = write({"watched.py": SOURCE, "plugin_of_the_linter.py": SOURCE})
    asked: list[str] = []

    def findings_for(path: str) -> list[Diagnostic]:
        asked.append(path)
        importlib.import_module("plugin_of_the_linter")
        return found(path)

    probes = installed(undo, findings_for)
    importlib.import_module("watched").ran(1)
    assert asked == [str(root / "watched.py")]
    assert probes.executed == {(str(root / "watched.py"), 5, 12)}


HOOKS = """\
import torch

import helper


def first(module, args, output):
    if output.item() > 1:
        return helper.report(output)
    mask = output > 0
    output[mask] = output[mask]
    return f"{output}"


def second(module, args, output):
    return output.tolist()


def install(model: torch.nn.Module):
    model.register_forward_hook(first)
    model.register_forward_hook(second)
"""
HELPER = """\
def report(value):
    print(value.mean().cpu())
    return [float(v) for v in value.unbind()] if value.numel() > 9 else 0
"""


class FakeTensor:
    """Answers as a tensor would, without torch."""

    def __init__(self, value: float) -> None:
        self.value = value

    def item(self) -> float:
        return self.value

    def tolist(self) -> list[float]:
        return [self.value]

    def __gt__(self, other: object) -> FakeTensor:
        return self

    def __getitem__(self, key: object) -> FakeTensor:
        return self

    def __setitem__(self, key: object, value: object) -> None: ...

    def mean(self) -> FakeTensor:
        return self

    cpu = mean

    def numel(self) -> int:
        return 1


def test_a_project_is_linted_and_run(write: Write, undo: contextlib.ExitStack) -> None:
    root = write(
        {"pyproject.toml": "", "hooks.py": HOOKS, "helper.py": HELPER, "torch/__init__.py": "class nn: Module = None\n"}
    )
    linter = ByFile(Configs(Config(), None, False), Options(jobs=1, cache=False))
    probes = installed(undo, linter.findings)
    before = sys.modules.pop("torch", None)
    undo.callback(lambda: sys.modules.update({"torch": before} if before else {}))
    hooks = importlib.import_module("hooks")
    findings = {
        (item.filename, item.location.row, item.location.column, item.code)
        for item in lint(["."], options=Options(cache=False)).diagnostics
    }
    rows = {(filename, row, code) for filename, row, _, code in findings}
    assert {("hooks.py", 7, "AUD101"), ("hooks.py", 10, "AUD203"), ("helper.py", 2, "AUD102")} <= rows

    def executed() -> set[tuple[str, int]]:
        return {(Path(path).name, row) for path, row, _ in probes.executed}

    assert executed() == set()
    hooks.first(None, (), FakeTensor(0))
    assert executed() == {("hooks.py", 7), ("hooks.py", 10), ("hooks.py", 11)}
    hooks.first(None, (), FakeTensor(2))
    assert executed() == {("hooks.py", 7), ("hooks.py", 10), ("hooks.py", 11), ("helper.py", 2)}
    hooks.second(None, (), FakeTensor(2))
    assert ("hooks.py", 15) in executed()
    assert {(str(root / name), row, column) for name, row, column, _ in findings} - probes.executed == {
        (str(root / name), row, column) for name, row, column, _ in findings if (name, row) == ("helper.py", 3)
    }


COMPILED = """\
import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return x.cos().cpu() + 1


def reads(x):
    y = x.item() if x.dim() == 0 else 0
    return x + y
"""


def test_torch_traces_code_with_probes(write: Write, undo: contextlib.ExitStack) -> None:
    torch = pytest.importorskip("torch", reason="traces with torch's compiler")
    path = str(write({"compiled.py": COMPILED}) / "compiled.py")
    probes = installed(undo, lambda each: found(each, [(6, 24, 29), (10, 11, 17)]) if each == path else [])
    compiled = importlib.import_module("compiled")
    exported = torch.export.export(compiled.Model(), (torch.ones(2),), strict=True)
    assert torch.equal(exported.module()(torch.ones(2)), compiled.Model()(torch.ones(2)))
    run = torch.compile(compiled.reads, backend="eager", fullgraph=True)
    assert torch.equal(run(torch.ones(2)), torch.ones(2))
    assert probes.executed == {(path, 6, 24)}
    run = torch.compile(compiled.reads, backend="eager")
    assert run(torch.ones(())).item() == 2
    assert probes.executed == {(path, 6, 24), (path, 10, 11)}
    types = sys.modules["torch._dynamo.utils"].common_constant_types
    assert Probe in types
    undo.close()
    assert Probe not in types
