"""What the README and the guides say is what the tool does: their commands, files, tables and flags."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from auditlint import __version__
from auditlint.config import Config, load_config
from auditlint.facts.registrars import KINDS
from auditlint.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ANALYSIS = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
RUNTIME = (ROOT / "docs" / "runtime.md").read_text(encoding="utf-8")
DEFERRAL = (ROOT / "docs" / "deferral.md").read_text(encoding="utf-8")
BUFFERS = (ROOT / "docs" / "defer-buffers.md").read_text(encoding="utf-8")
FIXING = (ROOT / "docs" / "fixing.md").read_text(encoding="utf-8")
BENCH = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
VALIDATION = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
PROBE_COST = (ROOT / "docs" / "probe-cost.md").read_text(encoding="utf-8")
GUIDES = {
    "README.md": README,
    "docs/configuration.md": CONFIGURATION,
    "docs/analysis.md": ANALYSIS,
    "docs/runtime.md": RUNTIME,
    "docs/validation.md": VALIDATION,
    "docs/deferral.md": DEFERRAL,
    "docs/defer-buffers.md": BUFFERS,
    "docs/fixing.md": FIXING,
    "docs/bench.md": BENCH,
    "docs/probe-cost.md": PROBE_COST,
}


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def _rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first heading is `heading`."""
    start = text.index(f"\n| {heading} |")
    rows = []
    for line in text[start + 1 :].splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


# Each example begins with its name in a comment.
FILES = {
    name[1]: block for block in _blocks(README, "python") if (name := re.match(r"# (\w+\.py)\n", block)) is not None
}
SHOWN = [block.partition("\n") for block in _blocks(README, "console")]
CONSOLE = [shown for shown in SHOWN if "--runtime-check" not in shown[0]]
COUNTED = [shown for shown in SHOWN if "--runtime-check" in shown[0]]


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's examples, which becomes the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def _auditlint(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auditlint", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)


@pytest.mark.parametrize(("command", "output"), [(command, output) for command, _, output in CONSOLE])
def test_a_command_prints_what_the_readme_shows(examples: Path, command: str, output: str) -> None:
    program, *arguments = shlex.split(command.removeprefix("$ "))
    done = _auditlint(*arguments)
    assert (program, done.stdout, done.stderr) == ("auditlint", output, "")
    assert all(len(line) <= 80 for line in output.splitlines())


@pytest.mark.parametrize(("command", "output"), [(command, output) for command, _, output in COUNTED])
def test_a_runtime_check_reports_what_the_readme_shows(examples: Path, command: str, output: str) -> None:
    torch = pytest.importorskip("torch", reason="runs the README's examples")
    (examples / "pyproject.toml").touch()
    done = _auditlint(*shlex.split(command)[2:])
    printed, _, shown = re.sub(r"torch \S+", f"torch {torch.__version__}", output).partition("\n")
    # Another processor may round the last digits differently.
    assert (done.returncode, done.stderr[: len(shown)]) == (1, shown)
    assert re.sub(r"0\.\d+", "#", done.stdout) == re.sub(r"0\.\d+", "#", printed) + "\n"
    assert all(len(line) <= 80 for line in output.splitlines())


def test_every_example_is_shown_with_its_output() -> None:
    shown = {command.rpartition(" ")[2] for command, _, _ in SHOWN}
    assert {name for name in shown if name.endswith(".py")} == set(FILES)


@pytest.mark.parametrize(("name", "status"), [("audit.py", 1), ("guarded.py", 0)])
def test_only_the_example_that_waits_has_findings(examples: Path, name: str, status: int) -> None:
    assert _auditlint(name).returncode == status


def test_the_example_that_is_silenced_has_a_finding_and_a_reason(examples: Path) -> None:
    bare = FILES["guarded.py"].replace("# auditlint:", "# ")
    (examples / "guarded.py").write_text(bare, encoding="utf-8")
    assert " AUD201 " in _auditlint("guarded.py").stdout
    (examples / "guarded.py").write_text(FILES["guarded.py"], encoding="utf-8")
    assert _auditlint("--extend-select", "AUD902", "guarded.py").returncode == 0


def test_the_fixed_example_prints_the_same_and_no_hook_waits(examples: Path) -> None:
    pytest.importorskip("torch", reason="runs the README's example")
    (examples / "pyproject.toml").touch()

    def printed() -> str:
        run = [sys.executable, "audit.py"]
        return subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout

    def waits() -> int:
        counted = _auditlint("--runtime-check", "--backend", "simulated", "--output-format", "json", "audit.py")
        return int(json.loads(counted.stderr)["totals"]["in_hooks"])

    before = printed(), waits()
    assert _auditlint("--fix", "audit.py").stdout == "Found 1 sync in 1 hook (1 fixed, 0 left).\n"
    assert _auditlint("audit.py").returncode == 0
    after = printed(), waits()
    assert before[0] == after[0]
    assert (before[1], after[1]) == (40, 0)
    assert re.findall(r"\| (40|none) \|", README) == ["40", "none"]


def test_the_first_command_finds_what_the_fixtures_hold() -> None:
    first, _ = _blocks(README, "sh")[:2]
    *_, lint = first.strip().split(" && ")
    program, *arguments = shlex.split(lint)
    assert program == "auditlint"
    assert _auditlint("--no-cache", *(str(ROOT / argument) for argument in arguments)).returncode == 1


def test_the_second_command_is_the_one_that_the_checks_run() -> None:
    second = _blocks(README, "sh")[1].strip().split(" && ")
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert " && ".join(second[2:]) in checks


def test_the_flags_that_are_named_exist() -> None:
    known = set()
    helps = [["--help"], ["--runtime-check", "--help"], ["validate-rules", "--help"], ["probe-cost", "--help"]]
    if importlib.util.find_spec("torch"):  # else there is nothing to bench
        helps += [["bench", "overhead", "--help"], ["bench", "probes", "--help"]]
    else:
        known |= set(re.findall(r"--[a-z-]+", BENCH))
    for arguments in helps:
        known |= set(re.findall(r"--[a-z][a-z-]+", _auditlint(*arguments).stdout))
    known |= {"--sync-backend"}  # pytest's
    known |= {"--nproc-per-node"}  # torchrun's
    known |= {"--per-file-ignores"}  # flake8's
    known |= {"--download"}  # the benchmark's
    for name, text in GUIDES.items():
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known, name


def test_the_table_of_keys_holds_every_key_with_its_default(tmp_path: Path) -> None:
    shown = {key.strip("`"): default for key, default, _ in _rows(README, "key")}
    defaults = {name.replace("_", "-"): value for name, value in Config()._asdict().items() if name != "root"}
    assert set(shown) == set(defaults)
    for key, cell in shown.items():
        if key == "exclude":
            assert set(re.findall(r"`([^`]+)`", cell)) <= set(defaults[key])
            continue
        assert getattr(_read(tmp_path, f"{key} = {cell.strip('`')}"), key.replace("-", "_")) == defaults[key], key


def _read(folder: Path, text: str) -> Config:
    path = folder / "auditlint.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(str(path))


def test_the_guide_lists_what_is_excluded_by_default() -> None:
    start = CONFIGURATION.index("The default `exclude` holds")
    listed = CONFIGURATION[start : CONFIGURATION.index(". A package", start)]
    assert set(re.findall(r"`([^`]+)`", listed)) == {"exclude", *Config().exclude}


def test_the_guide_lists_the_kinds_of_hooks() -> None:
    assert sorted(kind.strip("`") for kind, _ in _rows(CONFIGURATION, "kind")) == sorted(KINDS)


@pytest.mark.parametrize("text", [README, CONFIGURATION], ids=["README", "configuration"])
def test_configurations_can_be_read(text: str, tmp_path: Path) -> None:
    blocks = [block for block in _blocks(text, "toml") if "[tool.auditlint" in block]
    assert blocks
    for block in blocks:
        (tmp_path / "pyproject.toml").write_text(block, encoding="utf-8")
        assert load_config(str(tmp_path / "pyproject.toml")) != Config(root=str(tmp_path))


def test_the_configured_scopes_are_read_as_they_are_meant(tmp_path: Path) -> None:
    block = next(block for block in _blocks(README, "toml") if "hot-paths" in block)
    (tmp_path / "pyproject.toml").write_text(block, encoding="utf-8")
    serving = tmp_path / "serving"
    (serving / "inference").mkdir(parents=True)
    reads = "def {}(x):\n    return x.item()\n"
    (serving / "__init__.py").touch()
    (serving / "sampling.py").write_text(reads.format("next_token") + reads.format("other"))
    (serving / "inference" / "decode.py").write_text(reads.format("step") + reads.format("finalize"))
    done = _auditlint("--output-format", "concise", "--no-cache", "-q", str(tmp_path))
    places = sorted(re.findall(r"(\w+\.py:\d+):", done.stdout))
    assert places == ["decode.py:2", "sampling.py:2"]


def test_the_table_of_rules_holds_every_rule() -> None:
    shown = {}
    for code, name, finds in _rows(README, "code"):
        link = re.fullmatch(r"\[(AUD\d+)\]\((docs/rules/\1\.md)\)", code)
        assert link is not None and (ROOT / link[2]).is_file(), code
        shown[link[1]] = (name, "(opt-in)" in finds)
    assert shown == {code: (rule.name, rule.opt_in) for code, rule in RULES.items()}


def test_the_flake8_section_works_as_it_stands(examples: Path) -> None:
    (examples / ".flake8").write_text(_blocks(README, "ini")[0], encoding="utf-8")
    run = [sys.executable, "-m", "flake8"]
    done = subprocess.run([*run, "audit.py"], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("audit.py:13:26: AUD101 "), done.stderr
    options = subprocess.run([*run, "--help"], capture_output=True, text=True, timeout=120).stdout
    for text in (README, CONFIGURATION):
        named = set(re.findall(r"`(auditlint-[a-z-]+)`", text)) - {"auditlint-fix"}
        assert named == set(re.findall(r"--(auditlint-[a-z-]+)", options))


def test_pre_commit_knows_the_ids_and_the_version() -> None:
    known = re.findall(r"^- id: (\S+)$", (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    used = re.findall(r"^ +- id: (\S+)$", README, re.MULTILINE)
    assert used and set(used) <= set(known)
    assert re.findall(r"^ +rev: v(\S+)$", README, re.MULTILINE) == [__version__]


@pytest.mark.parametrize("name", list(GUIDES))
def test_links_lead_somewhere(name: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", GUIDES[name], flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#:]+)\)", prose)
    assert links or name != "README.md"
    for link in links:
        assert ((ROOT / name).parent / link).exists(), link
