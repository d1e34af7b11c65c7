"""What the linter is asked about the files that a program loads."""

from __future__ import annotations

from pathlib import Path

from auditlint.runtime.findings import Findings, configs

HOOK = "import torch\ndef hook(module, args, output):\n    output.sum().item()\nm = torch.nn.Linear(1, 1)\n"
PACKAGE = f"{HOOK}m.register_forward_hook(hook)\n"


def findings() -> Findings:
    return Findings(configs(None, True), lambda hook: None)


def test_an_installed_module_without_a_package_is_a_project_of_its_own(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    (installed / "other").mkdir(parents=True)
    (installed / "other" / "__init__.py").write_text(PACKAGE)
    loose = installed / "loose.py"
    loose.write_text(PACKAGE)
    found = findings()
    [item] = found.of(str(loose))
    assert item.hook is not None
    assert (item.filename, item.hook.filename, item.code) == (str(loose), str(loose), "AUD101")
    assert found.all() == [item]
    assert not found.are_together(str(loose), str(installed / "other" / "__init__.py"))


def test_an_installed_package_is_asked_about_as_a_whole(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from package.hooks import hook\n")
    (package / "hooks.py").write_text(PACKAGE)
    found = findings()
    assert found.of(str(package / "__init__.py")) == []
    [item] = found.all()
    assert item.filename == str(package / "hooks.py")
    assert found.are_together(item.filename, str(package / "__init__.py"))
