"""What hooks keep, held against what the project does with it: the questions behind AUD301 to AUD307, one at a time."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from auditlint.diagnostics import Diagnostic
from auditlint.facts.deferral import GIVES, READING_CALLS, READING_METHODS
from auditlint.linter import Options, lint

RECORDER = """
import torch


class Recorder:
    def __init__(self, model):
        self.kept = []
        model.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        {capture}

    def {name}(self):
        {reading}
"""


def found(folder: Path, **files: str) -> list[Diagnostic]:
    """The findings in a project of these files; names are without their suffix."""
    (folder / "pyproject.toml").write_text('[project]\nname = "case"\nversion = "0"\n')
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text.lstrip())
    result = lint([str(folder)], options=Options(jobs=1, cache=False))
    assert not result.errors
    return result.diagnostics


def codes(folder: Path, **files: str) -> list[str]:
    return [item.code for item in found(folder, **files)]


def recorder(capture: str, reading: str = "self.kept.clear()", name: str = "read") -> str:
    return RECORDER.format(capture=capture, reading=reading, name=name)


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ("self.kept.append(output.norm())", ["AUD301"]),
        ("self.kept.append({'norm': output.norm(), 'rows': len(output)})", ["AUD301"]),
        ("self.kept.append((module, output.float().mean()))", ["AUD301"]),
        ("self.kept += [output.abs().max()]", ["AUD301"]),
        ("norm = output.norm()\n        self.kept.append(norm / output.numel())", ["AUD301"]),
        ("self.kept.append(output.detach().norm())", []),
        ("self.kept.append(output.norm().detach())", []),
        ("self.kept.append(output.data.norm())", []),
        ("hidden = output.detach()\n        self.kept.append(hidden.norm())", []),
        ("output = output.detach()\n        self.kept.append(output.norm())", []),
        ("with torch.no_grad():\n            self.kept.append(output.norm())", []),
        ("with torch.no_grad():\n            norm = output.norm()\n        self.kept.append(norm)", []),
        ("self.kept.append(output.argmax())", []),
        ("self.kept.append((output > 0).any())", []),
        ("self.kept.append(torch.zeros_like(output).sum())", []),
        # Whoever keeps whole activations may want their gradient.
        ("self.kept.append(output)", []),
        ("self.aux_loss = output.mean()", []),
    ],
)
def test_a_number_for_a_log_needs_no_graph(capture: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, case=recorder(capture)) == expected


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ("return [kept.detach() for kept in self.kept], self.kept.clear()", ["AUD301"]),
        ("return torch.stack(self.kept).cpu(), self.kept.clear()", ["AUD301"]),
        ("sum(kept.sum() for kept in self.kept).backward(), self.kept.clear()", []),
        ("loss = sum(kept.sum() for kept in self.kept)\n        self.kept.clear()\n        return loss", []),
        ("return self.kept, self.kept.clear()", []),
    ],
)
def test_whole_activations_need_no_graph_where_they_are_only_read(
    reading: str, expected: list[str], tmp_path: Path
) -> None:
    assert codes(tmp_path, case=recorder("self.kept.append(output)", reading)) == expected


def test_a_model_that_runs_without_autograd_leaves_no_graph(tmp_path: Path) -> None:
    text = recorder("self.kept.append(output.norm())")
    assert codes(tmp_path, case=text + "\n\n@torch.inference_mode()\ndef run(model, batch):\n    model(batch)\n") == []


def test_gradients_carry_no_graph(tmp_path: Path) -> None:
    text = recorder("self.kept.append(output[0].norm())").replace("forward_hook", "full_backward_hook")
    assert codes(tmp_path, case=text) == []


def test_the_graph_is_followed_through_functions_of_the_project(tmp_path: Path) -> None:
    text = recorder("self.note(measure(output))") + "\n    def note(self, value):\n        self.kept.append(value)\n"
    helper = "\n\ndef measure(hidden):\n    return hidden{}.norm()\n"
    assert codes(tmp_path, case=text + helper.format("")) == ["AUD301"]
    assert codes(tmp_path, case=text + helper.format(".detach()")) == []


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ("self.last = output.detach()\n        output.add_(1)", ["AUD302"]),
        ("self.last = output[:, -1].detach()\n        output[:, 0] = 0", ["AUD302"]),
        ("hidden = args[0]\n        self.last = hidden.view(-1)\n        hidden *= 2", ["AUD302"]),
        ("self.last = output.detach().clone()\n        output.add_(1)", []),
        ("output.add_(1)\n        self.last = output.detach()", []),
        ("self.last = output.detach()\n        output = output + 1\n        output += 1", []),
        ("self.last = output.detach()\n        other = output.clone()\n        other += 1", []),
        ("self.last = output.detach()\n        output.requires_grad_()", []),
        ("self.last = output.detach().sum()\n        output.add_(1)", []),
    ],
)
def test_memory_that_is_written_to_later_is_copied(capture: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, case=recorder(capture)) == expected


@pytest.mark.parametrize(
    ("name", "reading", "expected"),
    [
        ("mean", "return torch.stack(self.kept).mean()", ["AUD303"]),
        ("mean", "return torch.stack(self.kept).mean(), self.kept.clear()", []),
        ("mean", "self.kept = []", []),
        ("mean", "del self.kept[:10]", []),
        ("mean", "self.kept[:] = []", []),
        ("mean", "return self.kept.pop()", []),
        ("mean", "for kept in (self.kept,):\n            kept.clear()", []),
        ("finalize", "return torch.stack(self.kept).mean()", []),
        ("mean", "return write_and_reset(self.kept)", []),
        ("mean", "if len(self.kept) > 3:\n            raise RuntimeError", []),
        ("__exit__", "pass", []),
    ],
)
def test_a_container_that_somebody_empties_is_bounded(
    name: str, reading: str, expected: list[str], tmp_path: Path
) -> None:
    assert codes(tmp_path, case=recorder("self.kept.append(output.detach().norm())", reading, name)) == expected


def test_another_file_may_empty_it(tmp_path: Path) -> None:
    text = recorder("self.kept.append(output.detach().norm())", "pass")
    assert codes(tmp_path, case=text) == ["AUD303"]
    assert codes(tmp_path, case=text, loop="def step(recorder):\n    recorder.kept.clear()\n") == []


def test_a_script_that_uses_its_own_list_ends_with_it(tmp_path: Path) -> None:
    text = """
import torch

kept = []
model = torch.nn.Linear(2, 2)
model.register_forward_hook(lambda module, args, output: kept.append(output.detach().norm()))
model(torch.zeros(1, 2))
"""
    assert codes(tmp_path, case=text) == ["AUD303"]
    assert codes(tmp_path, case=text + "print(torch.stack(kept).tolist())\n") == []


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ('host = output.to("cpu", non_blocking=True)\n        self.last = host.tolist()', ["AUD304"]),
        ('host = output.to("cpu", non_blocking=True)\n        self.last = f"{host.mean()}"', ["AUD304"]),
        (
            'host = output.to("cpu", non_blocking=True)\n        self.stream.wait()\n        self.last = host.tolist()',
            [],
        ),
        ('host = output.to("cpu", non_blocking=True)\n        self.last = host.shape', []),
        ('host = output.to("cuda", non_blocking=True)\n        self.last = host', []),
    ],
)
def test_a_copy_that_did_not_wait_is_read_behind_a_wait(capture: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, case=recorder(capture)) == expected


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        ("return [kept.item() for kept in self.kept]", ["AUD305"]),
        ("return {n: float(kept) for n, kept in enumerate(self.kept)}", ["AUD305"]),
        ("log = self.kept\n        for kept in reversed(log):\n            print(kept.tolist())", ["AUD305"]),
        ("for kept in self.kept:\n            value = kept * 2\n            print(f'{value:.2f}')", ["AUD305"]),
        ("return torch.stack(self.kept).tolist()", []),
        ("return [value for value in torch.stack(self.kept).tolist()]", []),
        ("return self.kept[-1].item()", []),
        ("host = torch.stack(self.kept).cpu()\n        return [row.item() for row in host]", []),
        ("return [kept.shape for kept in self.kept]", []),
        ("return [kept.norm() for kept in self.kept]", []),
    ],
)
def test_what_was_kept_is_read_in_one_transfer(reading: str, expected: list[str], tmp_path: Path) -> None:
    text = (
        recorder("self.kept.append(output.detach().norm())", reading)
        + "\n    def reset(self):\n        self.kept = []\n"
    )
    assert codes(tmp_path, case=text) == expected


def test_a_host_tensor_is_read_where_it_is(tmp_path: Path) -> None:
    text = recorder("self.kept.append(output.norm().cpu())", "return [kept.item() for kept in self.kept]")
    assert "AUD305" not in codes(tmp_path, case=text)


def test_a_read_after_the_pass_names_the_hook_and_leads_through_its_capture(tmp_path: Path) -> None:
    text = recorder(
        "self.kept.append(output.detach().norm())", "return [kept.item() for kept in self.kept]", "finalize"
    )
    (item,) = found(tmp_path, case=text)
    assert item.code == "AUD305"
    assert item.hook is not None
    assert item.hook.name == "Recorder.hook"
    assert [step.name for step in item.path] == ["Recorder.hook", "Recorder.finalize"]
    assert item.path[-1].row == item.location.row


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ("self.kept.append(defer(output.norm(), fresh=True))", []),
        ("self.kept.append(derive(lambda n: n / 2, defer(output.norm(), fresh=True)))", []),
        ("defer_call(lambda value: print(value.item()), output.norm())", []),
        ("self.last = defer(output, as_='cpu')", []),
        ("norm = defer(output.norm())\n        self.last = norm if norm is not None else 0", []),
        ("self.last = float(defer(output.norm()))", ["AUD306"]),
        ("self.last = defer(output.norm()) * 2", ["AUD306"]),
        ("flush()", ["AUD306"]),
        ("finalize(self.kept)", ["AUD306"]),
    ],
)
def test_deferred_values_are_kept_and_not_read_in_the_pass(capture: str, expected: list[str], tmp_path: Path) -> None:
    head = "from auditlint.defer import defer, defer_call, derive, finalize, flush\n"
    assert codes(tmp_path, case=head + recorder(capture)) == expected


def test_a_hot_loop_may_finalize(tmp_path: Path) -> None:
    (tmp_path / "auditlint.toml").write_text('[hot-paths]\nfunctions = ["decode"]\n')
    text = "from auditlint.defer import finalize\n\n\ndef decode(model, batch, log):\n    finalize(log)\n"
    assert codes(tmp_path, case=text) == []


COMPILED = """
import torch


def audited(model, kept):
    def hook(module, args, output):
        kept.append(output.detach().norm())

    handle = model.register_forward_hook(hook)
    {rest}
"""


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("return torch.compile(model)", ["AUD307"]),
        ("model = torch.compile(model, fullgraph=True)\n    return model", ["AUD307"]),
        ("model.compile()", ["AUD307"]),
        ("return handle", []),
        ("return torch.compile(other)", []),
        ("handle.remove()\n    return torch.compile(model)", []),
        ("return re.compile('a')", []),
    ],
)
def test_only_hooks_of_compiled_models_may_not_count(rest: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, case=COMPILED.format(rest=rest)) == expected


def test_the_finding_stands_where_the_copy_belongs(tmp_path: Path) -> None:
    capture = (
        "self.kept.append({'rows': len(output),\n            'norm': output.norm(),\n            'whole': output})"
    )
    (item,) = found(tmp_path, case=recorder(capture))
    assert (tmp_path / "case.py").read_text().splitlines()[item.location.row - 1][
        item.location.column - 1 :
    ] == "norm(),"


def test_the_library_has_the_names_that_the_facts_speak_of() -> None:
    folder = Path(__file__).resolve().parents[2] / "src" / "auditlint" / "defer"
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    names = {name.partition(".")[0] for name in (*GIVES, *READING_CALLS, *READING_METHODS)}
    methods = {name.partition(".")[2] for name in GIVES if "." in name}
    methods |= {name for cls, found in READING_METHODS.items() if cls != "Deferred" for name in found}
    for name in names:
        assert re.search(rf"^(?:def|class) {name}\b", text, re.MULTILINE), name
    for name in methods:
        assert re.search(rf"^    def {name}\b", text, re.MULTILINE), name


def test_a_suppression_silences_them_like_any_other(tmp_path: Path) -> None:
    text = recorder("self.kept.append(output.norm())  # noqa: AUD301")
    assert codes(tmp_path, case=text) == []


def test_files_and_their_order_change_nothing(tmp_path: Path) -> None:
    fixtures = Path(__file__).resolve().parents[2] / "fixtures" / "rules"
    for path in fixtures.glob("AUD30*.py"):
        (tmp_path / path.name.lower()).write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "case"\nversion = "0"\n')
    files = sorted(str(path) for path in tmp_path.glob("aud*.py"))
    whole = lint([str(tmp_path)], options=Options(jobs=2, cache=False)).diagnostics
    assert {item.code for item in whole} >= {f"AUD30{last}" for last in range(1, 8)}
    order = random.Random(7)
    for _ in range(2):
        order.shuffle(files)
        assert lint(files, options=Options(jobs=1, cache=False)).diagnostics == whole
    for file in files:
        alone = lint([file], options=Options(jobs=1, cache=False)).diagnostics
        assert alone == [item for item in whole if Path(item.filename).name == Path(file).name]


def test_a_message_says_what_to_write(tmp_path: Path) -> None:
    (item,) = found(tmp_path, case=recorder("self.kept.append(output.norm())"))
    assert re.fullmatch(r"`\.append\(\)` keeps the graph .*; keep `\.detach\(\)` of it", item.message)
