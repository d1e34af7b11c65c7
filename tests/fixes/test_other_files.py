"""Hooks whose model is run in another file: what is finalized there, and that such programs print the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from auditlint.cli import main

AUDIT = """
audit_log = []


def hook(module, args, output):
    audit_log.append(output.norm().item())


def attach(model):
    for layer in model:
        layer.register_forward_hook(hook)


def report():
    return f"{len(audit_log)}: {audit_log[-1]:.4f}"
"""
RECORDER = """
class Recorder:
    def __init__(self):
        self.rows = []

    def hook(self, module, args, output):
        self.rows.append({"norm": output.norm().item()})

    def attach(self, model):
        for layer in model:
            layer.register_forward_hook(self.hook)
"""
MODEL = """
import torch


def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
"""
TRAIN = """
import torch
{imports}


def train():
    model = build()
    {attach}
    x = torch.ones(1, 4)
    for step in range(4):
        x = model(x){inside}
    print({shown})


if __name__ == "__main__":
    train()
"""


def train(imports: str, attach: str, shown: str, inside: str = "") -> str:
    return TRAIN.format(imports=imports, attach=attach, shown=shown, inside=inside)


FROM = train("from audit import attach, audit_log\nfrom model import build", "attach(model)", "audit_log[-1]")
PROGRAMS = {
    "names that are imported": ({"audit.py": AUDIT, "train.py": FROM}, ["train.py"]),
    "names of the module": (
        {
            "audit.py": AUDIT,
            "train.py": train("import audit as a\nfrom model import build", "a.attach(model)", "a.audit_log[-1]"),
        },
        ["train.py"],
    ),
    "an instance": (
        {
            "recorder.py": RECORDER,
            "train.py": train(
                "from recorder import Recorder\nfrom model import build",
                "recorder = Recorder(); recorder.attach(model)",
                "recorder.rows[-1]",
            ),
        },
        ["train.py"],
    ),
    "a reader in the loop": (
        {
            "audit.py": AUDIT,
            "train.py": train(
                "from audit import attach, audit_log, report\nfrom model import build",
                "attach(model)",
                "audit_log[-1]",
                "\n        print(report())",
            ),
        },
        ["train.py"],
    ),
    "a file between them": (
        {
            "audit.py": AUDIT,
            "setup.py": "from audit import attach\n\n\ndef prepare(model):\n    attach(model)\n",
            "train.py": train(
                "from audit import audit_log\nfrom model import build\nfrom setup import prepare",
                "prepare(model)",
                "audit_log[-1]",
            ),
        },
        ["train.py"],
    ),
    "two files that run models": (
        {"audit.py": AUDIT, "train.py": FROM, "check.py": FROM.replace("train()", "check()")},
        ["check.py", "train.py"],
    ),
    "names that a package hands on": (
        {
            "kit/__init__.py": "from .audit import attach, audit_log as log\n",
            "kit/audit.py": AUDIT,
            "train.py": train("from kit import attach, log\nfrom model import build", "attach(model)", "log[-1]"),
            "check.py": train("import kit\nfrom model import build", "kit.attach(model)", "kit.log[-1]"),
            "again.py": train(
                "from kit import audit\nfrom model import build", "audit.attach(model)", "audit.audit_log[-1]"
            ),
        },
        ["again.py", "check.py", "train.py"],
    ),
    "modules of the same name": (
        {
            "one/__init__.py": "",
            "two/__init__.py": "",
            "one/audit.py": AUDIT,
            "two/audit.py": AUDIT.replace(".norm().item()", ".shape[0]"),
            "train.py": train(
                "from one.audit import attach, audit_log\nfrom model import build", "attach(model)", "audit_log[-1]"
            ),
            "check.py": train(
                "from two.audit import attach, audit_log\nfrom model import build", "attach(model)", "audit_log[-1]"
            ),
        },
        ["train.py"],
    ),
    "imports in a function": (
        {
            "audit.py": AUDIT,
            "train.py": train(
                "from model import build", "from audit import attach, audit_log; attach(model)", "audit_log[-1]"
            ),
        },
        ["train.py"],
    ),
    "the container has a name for its reader only": (
        {
            "audit.py": AUDIT,
            "train.py": train("from audit import attach, report\nfrom model import build", "attach(model)", "report()"),
        },
        ["audit.py"],
    ),
}


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in {"pyproject.toml": "", "model.py": MODEL, **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def printed(folder: Path, program: str) -> str:
    pytest.importorskip("torch", reason="runs the program")
    return subprocess.run(
        [sys.executable, program], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    ).stdout


@pytest.mark.parametrize(("files", "finalized"), PROGRAMS.values(), ids=PROGRAMS)
def test_the_program_prints_the_same(tmp_path, monkeypatch, capsys, files, finalized):
    written(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    programs = [name for name in files if name in ("train.py", "check.py", "again.py")]
    before = [printed(tmp_path, name) for name in programs]
    assert main(["--fix", "--no-cache", "."]) == 1, "what other files do with it is not all known"
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in files} == files
    assert main(["--fix", "--no-cache", "--unsafe-fixes", "."]) == 0, capsys.readouterr().out
    after = {name: (tmp_path / name).read_text(encoding="utf-8") for name in files}
    assert [name for name, text in sorted(after.items()) if "    finalize(" in text] == finalized
    assert [printed(tmp_path, name) for name in programs] == before
    assert main(["--fix", "--no-cache", "--unsafe-fixes", "."]) == 0
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in files} == after


def test_what_the_fix_does_elsewhere_is_said(tmp_path, monkeypatch, capsys):
    written(tmp_path, {"audit.py": AUDIT, "train.py": FROM})
    monkeypatch.chdir(tmp_path)
    assert main(["--no-cache", "audit.py"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "unsafe: defer the read, finalize after `model(x)` in line 12 of train.py; train.py uses it too" in said


@pytest.mark.parametrize(
    "other",
    [
        "def train(model, x):\n    model(x)\n",  # another model, as far as can be seen
        "from audit import attach\n\n\ndef prepare(model):\n    attach(model)\n",
    ],
)
def test_a_model_that_nobody_is_seen_to_run_is_left_alone(tmp_path, monkeypatch, capsys, other):
    bare = AUDIT[: AUDIT.index("def report")]
    written(tmp_path, {"audit.py": bare, "other.py": other})
    monkeypatch.chdir(tmp_path)
    assert main(["--fix", "--unsafe-fixes", "--no-cache", "."]) == 1
    assert "no call of the model is in sight" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "audit.py").read_text(encoding="utf-8") == bare


def test_a_helper_that_too_many_files_use_is_left_alone(tmp_path, monkeypatch, capsys):
    written(tmp_path, {"audit.py": AUDIT[: AUDIT.index("def report")], **{f"train{n}.py": FROM for n in range(9)}})
    monkeypatch.chdir(tmp_path)
    assert main(["--fix", "--no-cache", "."]) == 1
    assert "no call of the model is in sight" in " ".join(capsys.readouterr().out.split())


HOME = (
    AUDIT
    + """

def demo(model, x):
    attach(model)
    model(x)
    return audit_log
"""
)


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ("from audit import attach, audit_log\n\n\ndef run(model, x):\n    attach(model)\n    model(x)\n", "unsafe"),
        ("import audit\n\n\ndef show():\n    print(audit.audit_log)\n", "unsafe"),
        ("from audit import *\n\nprint(audit_log)\n", "unsafe"),
        ("def demo(audit_log):\n    import json\n\n    return json.dumps(audit_log)\n", "safe"),  # its own
        ("from torch.utils import audit\n\naudit_log = audit\n", "safe"),
    ],
)
def test_what_other_files_use_is_not_safe(tmp_path, monkeypatch, capsys, other, kind):
    written(tmp_path, {"audit.py": HOME, "other.py": other})
    monkeypatch.chdir(tmp_path)
    main(["--no-cache", "audit.py"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"= fix {kind}: defer the read, finalize after `model(x)`" in said
    assert ("other.py uses it too" in said) is (kind == "unsafe")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("go(model, x)", "unsafe"),
        ("go([model])", "unsafe"),
        ("go(model=model[0])", "unsafe"),
        ("list(map(go, [model]))", "unsafe"),
        ("Runner(model).run()", "unsafe"),
        ("log_model(model)", "unsafe"),
        ("print(model)", "safe"),
        ("torch.save(model, 'model.pt')", "safe"),
        ("go(x)", "safe"),
    ],
)
def test_what_another_file_may_do_with_the_model_is_not_safe(tmp_path, monkeypatch, capsys, call, kind):
    program = AUDIT + train(
        "from model import build\nfrom elsewhere import Runner, go, log_model", "attach(model)", "audit_log[-1]"
    ).replace("    print(", f"    {call}\n    print(")
    written(tmp_path, {"train.py": program})
    monkeypatch.chdir(tmp_path)
    main(["--no-cache", "train.py"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"= fix {kind}: defer the read, finalize after `model(x)`" in said
    assert ("may run it as well" in said) is (kind == "unsafe")
