"""Configuration: where it is found, what it says, and what is wrong with it, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditlint.config import Config, ConfigError, HotPath, Overrides, apply_overrides, find_config, load_config

FULL = """
[tool.auditlint]
select = ["AUD1", "AUD201"]
ignore = ["AUD105"]
extend-select = ["AUD902"]
exclude = ["vendored"]
extend-exclude = ["*_pb2.py"]
respect-gitignore = false
per-file-ignores = { "tests/*" = ["AUD101"] }
decorators = ["probe"]
hooks = ["pkg.module.function"]
registrars = { observe = "forward" }
check-forward = true
hot-paths = { files = ["inference/*"], functions = ["pkg.step"], exempt = ["flush"] }
fix-style = "plain"
"""


def test_every_key_is_read(write: Callable[..., Path]) -> None:
    root = write({"pyproject.toml": FULL})
    assert find_config(str(root)) == Config(
        root=str(root),
        select=("AUD1", "AUD201"),
        ignore=("AUD105",),
        extend_select=("AUD902",),
        exclude=("vendored",),
        extend_exclude=("*_pb2.py",),
        respect_gitignore=False,
        per_file_ignores=(("tests/*", ("AUD101",)),),
        decorators=("probe",),
        hooks=("pkg.module.function",),
        registrars=(("observe", "forward"),),
        check_forward=True,
        hot_paths=HotPath(("inference/*",), ("pkg.step",), ("flush",)),
        fix_style="plain",
    )


def test_every_field_of_the_configuration_has_a_key() -> None:
    from auditlint.config import _KEYS

    assert {key.replace("-", "_") for key in _KEYS} == set(Config._fields) - {"root"}


def test_the_nearest_folder_upward_counts(write: Callable[..., Path]) -> None:
    root = write({"pyproject.toml": "[tool.auditlint]\nhooks = ['far']", "a/auditlint.toml": "hooks = ['near']"})
    (root / "a" / "b").mkdir()
    assert find_config(str(root / "a" / "b")).hooks == ("near",)
    assert find_config(str(root)).hooks == ("far",)


def test_a_pyproject_without_our_table_is_passed_over(write: Callable[..., Path]) -> None:
    files = {
        "auditlint.toml": "hooks = ['above']",
        "a/pyproject.toml": "[project]\nname = 'a'",
        "b/pyproject.toml": "[project]\nname = 'b'\ndependencies = ['auditlint']",
    }
    root = write(files)
    assert [find_config(str(root / name)).hooks for name in "ab"] == [("above",)] * 2


def test_a_pyproject_that_never_mentions_us_need_not_be_toml(write: Callable[..., Path]) -> None:
    root = write({"pyproject.toml": "[broken"})
    assert find_config(str(root)) == Config()


def test_an_installed_package_is_not_configured_by_the_project_around_it(write: Callable[..., Path]) -> None:
    root = write({"auditlint.toml": "hooks = ['x']", "env/site-packages/package/__init__.py": ""})
    assert find_config(str(root / "env" / "site-packages" / "package")) == Config()


def test_auditlint_toml_comes_before_pyproject(write: Callable[..., Path]) -> None:
    root = write({"pyproject.toml": "[tool.auditlint]\nhooks = ['p']", "auditlint.toml": "hooks = ['a']"})
    assert find_config(str(root)).hooks == ("a",)


def test_a_file_of_any_name_can_be_given(write: Callable[..., Path]) -> None:
    root = write({"ci/strict.toml": "check-forward = true"})
    config = load_config("ci/strict.toml")
    assert config.check_forward
    assert config.root == str(root / "ci")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extend_select = []", ["unknown key `extend_select`", "did you mean `extend-select`?"]),
        ("igonre = []", ["did you mean `ignore`?"]),
        ("zzz = 1", ["unknown key `zzz`", "known: check-forward, decorators"]),
        ("select = 'AUD101'", ["`select` must be an array of strings, not a string"]),
        ("exclude = ['a', 3]", ["`exclude[1]` must be a string, not an integer"]),
        ("check-forward = 'yes'", ["`check-forward` must be true or false, not a string"]),
        ("check-forward = 1", ["not an integer"]),
        ("select = ['aud1']", ["unknown rule code `aud1` in `select` (did you mean `AUD1`?)"]),
        ("select = ['AUD110']", ["unknown rule code `AUD110` in `select`", "did you mean `AUD1"]),
        ("ignore = ['E501']", ["unknown rule code `E501`"]),
        ("select = ['']", ["unknown rule code ``"]),
        ("per-file-ignores = { 'a.py' = ['AUD7'] }", ["unknown rule code `AUD7`", "a.py"]),
        ("per-file-ignores = { 'a.py' = 'AUD101' }", ["must be an array of strings"]),
        ("registrars = { observe = 'forwards' }", ["`registrars.observe`", "did you mean `forward`?"]),
        ("hot-paths = { file = [] }", ["unknown key `hot-paths.file`", "did you mean `files`?"]),
        ("hot-paths = []", ["`hot-paths` must be a table, not an array"]),
        ("fix-style = 'plane'", ["`fix-style`: unknown style `plane` (did you mean `plain`?)"]),
        ("fix-style = 'xyz'", ["`fix-style`: unknown style `xyz` (known: library, plain)"]),
        ("fix-style = true", ["`fix-style` must be a string, not a boolean"]),
        ("fix_style = 'plain'", ["unknown key `fix_style` (did you mean `fix-style`?)"]),
        ("select = [", ["not valid TOML"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(write: Callable[..., Path], text: str, words: list[str]) -> None:
    root = write({"auditlint.toml": text})
    with pytest.raises(ConfigError) as raised:
        find_config(str(root))
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(str(root / "auditlint.toml"))
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("name", ["missing.toml", "folder"])
def test_a_configuration_that_was_asked_for_has_to_be_there(write: Callable[..., Path], name: str) -> None:
    write({"folder/x": ""})
    with pytest.raises(ConfigError, match=f"{name}: cannot be read"):
        load_config(name)


def test_a_selection_on_the_command_line_starts_afresh() -> None:
    config = Config(select=("AUD2",), ignore=("AUD101",), extend_select=("AUD902",))
    changed = apply_overrides(config, Overrides(select=("AUD1",), ignore=("AUD105",)))
    assert (changed.select, changed.ignore, changed.extend_select) == (("AUD1",), ("AUD105",), ())


def test_what_the_command_line_adds_beats_what_the_file_ignores() -> None:
    config = Config(ignore=("AUD101", "AUD2"))
    changed = apply_overrides(config, Overrides(extend_select=("AUD1",)))
    assert (changed.ignore, changed.extend_select) == (("AUD2",), ("AUD1",))


def test_an_unknown_code_on_the_command_line_is_an_error() -> None:
    with pytest.raises(ConfigError, match="command line: unknown rule code `AUD999` in `--ignore`"):
        apply_overrides(Config(), Overrides(ignore=("AUD999",)))
