"""`auditlint --runtime-check` as a process: what it reports, where, and with which status it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from auditlint.runtime.command import place

pytest.importorskip("torch", reason="runs programs that use torch")

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "fixtures/scripts"

needs_columns = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not record columns")

PROGRAM = """\
import sys
import torch


def hook(module, args, output):
    output.detach().sum().item()


def never(module, args, output):
    output.tolist()


layer = torch.nn.Linear(2, 2)
layer.register_forward_hook(hook)
if len(sys.argv) > 5:
    layer.register_forward_hook(never)
layer(torch.ones(1, 2))
print("argv", sys.argv[1:])
"""


def check(*arguments: str, cwd: Path = ROOT, **settings: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **settings.pop("env", {})}
    command = [sys.executable, "-m", "auditlint", "--runtime-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment, **settings)


def counted(*arguments: str, cwd: Path = ROOT, status: int | None = None) -> Any:
    done = check("--output-format", "json", *arguments, cwd=cwd)
    assert status is None or done.returncode == status, done.stderr
    return json.loads(done.stderr)


def statuses(report: Any, filename: str) -> dict[tuple[int, str], tuple[str, int]]:
    return {
        (item["row"], item["code"]): (item["status"], item["count"])
        for item in report["reconciliation"]
        if item["filename"] == filename
    }


def test_the_naive_script_shows_its_syncs_by_layer() -> None:
    report = counted("fixtures/scripts/naive_audit.py", status=1)
    assert report["totals"] == {"in_hooks": 40, "outside": 0, "raw": 40, "allowed": 0}
    [site] = report["sites"]
    assert (site["filename"], site["row"], site["op"]) == ("fixtures/scripts/naive_audit.py", 14, "Tensor.item")
    assert site["hook"]["name"] == "audit_hook"
    assert site["modules"] == {"0": 10, "1": 10, "2": 10, "3": 10}
    assert statuses(report, site["filename"]) == {(14, "AUD101"): ("confirmed", 40)}


def test_the_deferred_script_shows_none_in_hooks() -> None:
    report = counted("fixtures/scripts/deferred_audit.py", status=0)
    assert report["totals"] == {"in_hooks": 0, "outside": 1, "raw": 1, "allowed": 0}
    assert statuses(report, "fixtures/scripts/deferred_audit.py") == {}


def test_on_the_simulated_device_waiting_takes_time() -> None:
    report = counted("--backend", "simulated", "fixtures/scripts/naive_audit.py", status=1)
    assert report["backend"] == "simulated"
    assert report["totals"]["in_hooks"] == 40
    assert report["sites"][0]["waited_us"] > 0


def test_findings_are_confirmed_not_executed_and_contradicted(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "helpers.py").write_text(
        "def first(items):\n    return items[0].cpu()\n\n\ndef unused(t):\n    return t.item()\n"
    )
    (tmp_path / "main.py").write_text(
        "import torch\n"
        "from helpers import first, unused\n"
        "def hook(module, args, output):\n"
        "    first([output.detach()])\n"
        "    flag = getattr(module, 'scale')\n"
        "    print(flag.item())\n"
        "    getattr(output, 'tol' + 'ist')()\n"
        "def other(module, args, output):\n"
        "    unused(output)\n"
        "layer = torch.nn.Linear(2, 2)\n"
        "layer.scale = __import__('numpy').float32(1.0)\n"
        "layer.register_forward_hook(hook)\n"
        "if layer.in_features == 3:\n"
        "    layer.register_forward_hook(other)\n"
        "layer(torch.ones(1, 2))\n"
    )
    report = counted("main.py", cwd=tmp_path, status=1)
    found = {item["status"]: (item["filename"], item["row"], item["code"]) for item in report["reconciliation"]}
    assert found == {
        "confirmed": ("helpers.py", 2, "AUD102"),
        "not-executed": ("helpers.py", 6, "AUD101"),
        "executed-no-sync": ("main.py", 6, "AUD101"),
        "missed": ("main.py", 7, "AUD103"),
    }


@needs_columns
def test_the_program_keeps_its_output_and_the_report_goes_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    done = check("main.py", "--backend", "x", "-m", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "argv ['--backend', 'x', '-m']\n")
    assert done.stderr.startswith("auditlint runtime check of main.py: cpu, torch ")
    assert "main.py:6:27  Tensor.item" in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= 80


def test_a_module_is_run_by_name(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").touch()
    (tmp_path / "pkg/main.py").write_text("from . import part\nprint(__name__, part.__name__)\n")
    (tmp_path / "pkg/part.py").write_text(PROGRAM)
    done = check("-m", "pkg.main", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "argv ['a']\n__main__ pkg.part\n")
    assert "pkg/part.py:6:27" in done.stderr


@pytest.mark.parametrize(("limit", "status"), [("0", 1), ("1", 0)])
def test_some_syncs_may_be_allowed(tmp_path: Path, limit: str, status: int) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    assert check("--max-syncs", limit, "main.py", cwd=tmp_path).returncode == status


def test_a_comment_allows_a_sync(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM.replace(".item()", ".item()  # auditlint: allow-sync[AUD101] wanted"))
    report = counted("main.py", cwd=tmp_path, status=0)
    assert report["totals"] == {"in_hooks": 0, "outside": 0, "raw": 1, "allowed": 1}
    assert [site["allowed"] for site in report["sites"]] == ["wanted"]
    assert [item["status"] for item in report["reconciliation"] if item["status"] == "missed"] == []


def test_a_programs_failure_is_passed_on_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM + "raise ValueError('mine')\n")
    plain = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True, cwd=tmp_path)
    done = check("main.py", cwd=tmp_path)
    assert done.returncode == plain.returncode == 1
    assert plain.stderr in done.stderr
    assert "the program ended with status 1" in done.stderr
    (tmp_path / "main.py").write_text(PROGRAM + "sys.exit(7)\n")
    assert check("main.py", cwd=tmp_path).returncode == 7


def test_a_traceback_through_a_watched_method_names_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import torch\ntorch.ones(2).item()\n")
    plain = subprocess.run([sys.executable, "main.py"], capture_output=True, text=True, cwd=tmp_path)
    done = check("main.py", cwd=tmp_path)
    assert "RuntimeError" in plain.stderr
    assert plain.stderr in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_program_leaves_a_report(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "main.py").write_text(PROGRAM + "print('ready', flush=True)\nimport time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "auditlint", "--runtime-check", "main.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    while process.stdout.readline() not in ("ready\n", ""):
        pass
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "1 potential sync in 1 hook" in errors


@needs_columns
def test_reports_are_files_where_asked(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM + "import os\nos.chdir('/')\n")
    done = check("-o", "report.txt", "--html", "page.html", "--output-format", "concise", "main.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "main.py:6:27: Tensor.item" in (tmp_path / "report.txt").read_text()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "main.py:6" in page


@pytest.mark.parametrize("format", ["github", "sarif"])
def test_other_formats(tmp_path: Path, format: str) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    done = check("--output-format", format, "main.py", cwd=tmp_path)
    assert "main.py" in done.stderr
    if format == "sarif":
        assert json.loads(done.stderr)["runs"][0]["results"]
    else:
        assert done.stderr.startswith("::error ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "takes a script, or -m and a module"),
        (["-m"], "takes a script, or -m and a module"),
        (["missing.py"], "missing.py: No such file or directory"),
        (["-m", "missing_module"], "No module named"),
        (["--backend", "tpu", "main.py"], "invalid choice"),
        (["--max-syncs", "-1", "main.py"], "--max-syncs"),
        (["--output-file", "no/such/folder/f", "main.py"], "no/such/folder/f: cannot be written"),
        (["--html", "/", "main.py"], "/: cannot be written"),
        (["--config", "missing.toml", "main.py"], "missing.toml: cannot be read"),
        (["--backend", "mps", "main.py"], "MPS"),
    ],
)
def test_usage_errors_are_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "main.py").write_text("print('ran')\n")
    done = check(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("auditlint: error: ")
    assert words in line


def test_a_broken_configuration_is_told_before_the_program_runs(tmp_path: Path) -> None:
    (tmp_path / "auditlint.toml").write_text("selekt = []\n")
    (tmp_path / "main.py").write_text("print('ran')\n")
    done = check("main.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "selekt" in done.stderr
    assert check("--isolated", "main.py", cwd=tmp_path).stdout == "ran\n"


def test_without_torch_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('ran')\n")
    code = "import sys; sys.modules['torch'] = None; from auditlint.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--runtime-check", "main.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 2
    assert done.stderr == "auditlint: error: the runtime check needs torch: pip install 'auditlint[runtime]'\n"


def test_workers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import multiprocessing, torch\n"
        "def hook(module, args, output):\n"
        "    output.detach().sum().item()\n"
        "def work(n):\n"
        "    layer = torch.nn.Linear(2, 2)\n"
        "    layer.register_forward_hook(hook)\n"
        "    layer(torch.ones(n, 2))\n"
        "if __name__ == '__main__':\n"
        "    for method in ('fork', 'spawn'):\n"
        "        process = multiprocessing.get_context(method).Process(target=work, args=(2,), name=method)\n"
        "        process.start()\n"
        "        process.join()\n"
        "        assert process.exitcode == 0\n"
    )
    report = counted("main.py", cwd=tmp_path, status=1)
    assert {(site["thread"], site["count"]) for site in report["sites"]} == {
        ("worker fork: MainThread", 1),
        ("worker spawn: MainThread", 1),
    }


def test_a_program_that_leaves_at_once_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM + "import os\nsys.stdout.flush()\nos._exit(5)\n")
    done = check("main.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, "argv []\n")
    assert "1 potential sync in 1 hook." in done.stderr
    (tmp_path / "main.py").write_text(PROGRAM + "import os\nsys.stdout.flush()\nos._exit(0)\n")
    assert check("main.py", cwd=tmp_path).returncode == 1


def test_a_program_may_close_its_standard_error(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import sys\nsys.stderr.close()\n" + PROGRAM)
    done = check("--max-syncs", "1", "main.py", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("auditlint runtime check of main.py")
    assert done.stderr.endswith("1 potential sync in 1 hook.\n")


def test_nothing_on_the_simulated_device_is_no_clean_report(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM + "if torch.cuda.device_count() < 0:\n    layer.cuda()\n")
    done = check("--backend", "simulated", "main.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "executed-no-sync" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("auditlint: error: Nothing ran on the simulated device")


def test_to_ask_for_a_copy_on_the_host_is_not_to_choose_a_device(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM.replace(".sum().item()", '.to("cpu").sum()'))
    report = counted("--backend", "simulated", "main.py", cwd=tmp_path, status=1)
    assert [site["op"] for site in report["sites"]] == ["Tensor.to"]


def test_code_that_was_never_in_a_file_has_hooks_and_rows(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import torch\n"
        "layer = torch.nn.Linear(2, 2)\n"
        "source = 'def hook(module, args, output):\\n    output.sum().item()\\nlayer.register_forward_hook(hook)\\n'\n"
        "exec(compile(source, '<cell 1>', 'exec'))\n"
        "for _ in range(3):\n"
        "    layer(torch.ones(1, 2))\n"
    )
    [site] = counted("main.py", cwd=tmp_path, status=1)["sites"]
    assert (site["filename"], site["row"], site["op"], site["count"]) == ("<cell 1>", 2, "Tensor.item", 3)
    assert (site["hook"]["name"], site["hook"]["row"]) == ("hook", 1)


def test_two_dashes_part_options_from_the_script(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)
    assert check("--", "main.py", "-m", cwd=tmp_path).stdout == "argv ['-m']\n"


def test_ranks_that_start_at_once_may_name_one_report_file(tmp_path: Path) -> None:
    report = str(tmp_path / "report.json")
    with ThreadPoolExecutor(8) as ranks:
        assert set(ranks.map(place, [report] * 2000)) == {report}
    assert not os.path.exists(report)
