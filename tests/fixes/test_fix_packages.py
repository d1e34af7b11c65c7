"""The command that fixes whole packages tells what has changed besides what fixes write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import auditlint

COMMAND = Path(__file__).parents[2] / "benchmarks" / "fix_packages.py"
SHAPES = Path(__file__).parents[2] / "fixtures" / "fixes" / "shapes"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the auditlint that is tested."""
    environment = {**os.environ, "PYTHONPATH": str(Path(auditlint.__file__).parents[1])}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python(str(COMMAND), *arguments)


def test_a_package_is_fixed_in_a_copy(tmp_path: Path) -> None:
    source = (SHAPES / "other_names.in.py").read_bytes()
    package = tmp_path / "package"
    package.mkdir()
    for name in ("__init__.py", "audit.py"):
        (package / name).write_bytes(source if name == "audit.py" else b"")
    done = run("--reasons", str(package))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == ["package", "2", "0", "2", "0", "1", "yes", "nothing", "nothing"]
    assert "2 of 2 definite findings have a fix (100%)" in done.stdout
    assert (package / "audit.py").read_bytes() == source


def test_changes_elsewhere_are_told() -> None:
    strange = (
        "import sys; sys.path.insert(0, sys.argv[1]); from fix_packages import strange\n"
        "before = b'def f(x):\\n    y = x.item()\\n    kept.append(y)\\n    return y\\n'\n"
        "fixed = b'def f(x):\\n    y = defer(x)\\n    kept.append(y)\\n    finalize(kept)\\n    return y\\n'\n"
        "other = fixed.replace(b'return y', b'return y + 1')\n"
        "kept = fixed.replace(b'finalize(kept)\\n    return y', b'out = y\\n    finalize(kept)\\n    return out')\n"
        "print(*([*strange(before, after, {'f'})] for after in (fixed, other, kept)))\n"
    )
    done = python("-c", strange, str(COMMAND.parent))
    assert done.stdout.strip() == "[] ['added: return y + 1'] []", done.stderr


def test_a_folder_that_is_not_there() -> None:
    done = run("nowhere")
    assert done.returncode == 2
    assert "nowhere: no such folder" in done.stderr
