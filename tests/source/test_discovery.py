"""Discovery: which files are linted, and which project each belongs to; both by their paths alone."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from auditlint.config import Config, find_config
from auditlint.source.discovery import FileError, Target, Tree, Universe, find_targets

Write = Callable[..., Path]

MARKED = {"pyproject.toml": ""}


def _found(root: Path, paths: Iterable[str], config: Config | None = None) -> list[str]:
    targets, errors = find_targets(paths, Tree(lambda _: config or Config()))
    assert errors == []
    return [os.path.relpath(target.path, root).replace(os.sep, "/") for target in targets]


def _target(path: Path, config: Config | None = None) -> Target:
    targets, errors = find_targets([str(path)], Tree(lambda _: config or Config()))
    assert (len(targets), errors) == (1, [])
    return targets[0]


def _names(root: Path) -> dict[str, str]:
    """Project root of each Python file beneath `root`, both relative to it."""
    tree = Tree(lambda folder: Config())
    return {
        path.relative_to(root).as_posix(): os.path.relpath(tree.project_root(str(path.parent)), root)
        for path in sorted(root.rglob("*.py"))
    }


def test_a_folder_gives_its_python_files_sorted(write: Write) -> None:
    root = write({**MARKED, "b.py": "", "a/z.py": "", "a/b/c.py": "", "a.txt": "", "a/x.pyi": "", "c.PY": ""})
    assert _found(root, ["."]) == ["a/b/c.py", "a/z.py", "b.py"]
    assert _found(root, ["a"]) == ["a/b/c.py", "a/z.py"]


def test_a_name_that_only_begins_like_the_folder_is_not_in_it(write: Write) -> None:
    root = write({**MARKED, "a/x.py": "", "ab/x.py": ""})
    assert _found(root, ["a"]) == ["a/x.py"]


def test_a_named_file_is_taken_whatever_it_is_called_and_once(write: Write) -> None:
    root = write({**MARKED, "script": "", "a.py": ""})
    assert _found(root, ["a.py", "script", "./a.py", str(root / "a.py"), "."]) == ["a.py", "script"]


def test_a_missing_path_is_an_error_and_the_others_are_found(write: Write) -> None:
    write({**MARKED, "a.py": ""})
    targets, errors = find_targets(["none.py", "a.py", "nowhere"], Tree(lambda _: Config()))
    assert [target.name for target in targets] == ["a.py"]
    assert errors == [FileError(name, "no such file or folder") for name in ("none.py", "nowhere")]


def test_default_excludes(write: Write) -> None:
    write({**MARKED, ".venv/a.py": "", "node_modules/b.py": "", "build/lib/c.py": "", "ok/d.py": ""})
    assert _found(Path.cwd(), ["."]) == ["ok/d.py"]


def test_a_package_that_is_called_build_is_a_package(write: Write) -> None:
    root = write({**MARKED, "pkg/__init__.py": "", "pkg/build/__init__.py": "", "pkg/build/x.py": ""})
    assert "pkg/build/x.py" in _found(root, ["."])
    assert "pkg/build/x.py" not in _found(root, ["."], Config(extend_exclude=("build",)))


def test_an_excluded_folder_is_linted_when_it_is_named(write: Write) -> None:
    root = write({**MARKED, "build/lib/pkg/__init__.py": "", "build/lib/pkg/a.py": "", "b.py": ""})
    assert _found(root, ["build"]) == ["build/lib/pkg/__init__.py", "build/lib/pkg/a.py"]
    assert _found(root, ["build/lib/pkg/a.py"]) == ["build/lib/pkg/a.py"]


def test_site_packages_are_linted_when_they_are_named(write: Write) -> None:
    files = {"lib/site-packages/one/__init__.py": "", "lib/site-packages/one/a.py": "", "lib/site-packages/two.py": ""}
    root = write({**MARKED, **{f"venv/{name}": text for name, text in files.items()}})
    assert _found(root, ["."]) == []
    assert _found(root, ["venv/lib/site-packages"]) == [f"venv/{name}" for name in sorted(files)]


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("gen", ["a/b.py", "b.py"]),
        ("gen/", ["a/b.py", "b.py"]),
        ("*_pb2.py", ["a/b.py", "b.py", "gen/c.py"]),
        ("a/b.py", ["b.py", "gen/c.py", "gen/d_pb2.py"]),
        ("a/*", ["b.py", "gen/c.py", "gen/d_pb2.py"]),
        ("g*", ["a/b.py", "b.py"]),
    ],
)
def test_configured_excludes(write: Write, pattern: str, kept: list[str]) -> None:
    root = write({**MARKED, "a/b.py": "", "b.py": "", "gen/c.py": "", "gen/d_pb2.py": ""})
    assert _found(root, ["."], Config(root=str(root), extend_exclude=(pattern,))) == kept
    assert _found(root, ["."], Config(root=str(root), exclude=(pattern,))) == kept


def test_gitignore(write: Write) -> None:
    root = write(
        {
            ".git/HEAD": "",
            ".gitignore": "# generated\n*_gen.py\n/top.py\nout/\n!keep_gen.py\n",
            "a_gen.py": "",
            "keep_gen.py": "",
            "top.py": "",
            "pkg/top.py": "",
            "pkg/out/x.py": "",
            "pkg/.gitignore": "local.py\n!b_gen.py\nsub/*.py\n",
            "pkg/local.py": "",
            "pkg/b_gen.py": "",
            "pkg/sub/y.py": "",
            "pkg/sub/deep/z.py": "",
            "local.py": "",
        }
    )
    kept = ["keep_gen.py", "local.py", "pkg/b_gen.py", "pkg/sub/deep/z.py", "pkg/top.py"]
    assert _found(root, ["."]) == kept
    assert _found(root, ["pkg"]) == [name for name in kept if name.startswith("pkg/")]
    everything = _found(root, ["."], Config(respect_gitignore=False))
    assert set(everything) == {name.relative_to(root).as_posix() for name in root.rglob("*.py")}


def test_gitignore_agrees_with_git_on_its_own_examples(write: Write) -> None:
    """The patterns of gitignore(5), with what its text says of them."""
    root = write(
        {
            ".git/HEAD": "",
            ".gitignore": "/*\n!/foo\n/foo/*\n!/foo/bar\nhello.*\n\\#odd.py\n**/logs/*.py\na/**/b.py\n",
            "x.py": "",
            "foo/y.py": "",
            "foo/bar/z.py": "",
            "foo/bar/hello.py": "",
            "foo/bar/#odd.py": "",
            "foo/bar/logs/l.py": "",
            "foo/bar/logs/deep/l.py": "",
        }
    )
    assert _found(root, ["."]) == ["foo/bar/logs/deep/l.py", "foo/bar/z.py"]


def test_a_gitignore_above_the_project_counts_within_its_repository(write: Write) -> None:
    root = write(
        {
            ".git/HEAD": "",
            ".gitignore": "sub/gen.py\nskip.py\n",
            "sub/pyproject.toml": "",
            "sub/gen.py": "",
            "sub/a.py": "",
        }
    )
    assert _found(root, ["sub"]) == ["sub/a.py"]


def test_a_gitignore_that_ignores_the_named_folder_does_not_empty_it(write: Write) -> None:
    root = write({".git/HEAD": "", ".gitignore": "sub/\n", "sub/pyproject.toml": "", "sub/a.py": ""})
    assert _found(root, ["."]) == []
    assert _found(root, ["sub"]) == ["sub/a.py"]


def test_a_gitignore_that_is_no_text_is_no_obstacle(write: Write) -> None:
    root = write({".git/HEAD": "", ".gitignore": b"\xff\xfe[\n\0\n", "a.py": ""})
    assert _found(root, ["."]) == ["a.py"]


def test_project_roots(write: Write) -> None:
    root = write(
        {
            "one/pyproject.toml": "",
            "one/src/pkg/__init__.py": "",
            "one/src/pkg/sub/__init__.py": "",
            "one/tests/test_a.py": "",
            "one/plugin/setup.py": "",
            "one/plugin/p.py": "",
            "tree/pkg/__init__.py": "",
            "tree/pkg/sub/__init__.py": "",
            "tree/pkg/data/x.py": "",
            "tree/pkg/data/inner/__init__.py": "",
            "tree/loose.py": "",
            "one/lib/site-packages/dep/__init__.py": "",
            "one/lib/site-packages/dep/a.py": "",
            "one/lib/site-packages/single.py": "",
        }
    )
    assert _names(root) == {
        "one/src/pkg/__init__.py": "one",
        "one/src/pkg/sub/__init__.py": "one",
        "one/tests/test_a.py": "one",
        "one/plugin/setup.py": "one/plugin",
        "one/plugin/p.py": "one/plugin",
        "tree/pkg/__init__.py": "tree/pkg",
        "tree/pkg/sub/__init__.py": "tree/pkg",
        "tree/pkg/data/x.py": "tree/pkg",
        "tree/pkg/data/inner/__init__.py": "tree/pkg",
        "tree/loose.py": "tree",
        "one/lib/site-packages/dep/__init__.py": "one/lib/site-packages/dep",
        "one/lib/site-packages/dep/a.py": "one/lib/site-packages/dep",
        "one/lib/site-packages/single.py": "one/lib/site-packages",
    }


def test_a_home_folder_under_version_control_is_no_project(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({".git/HEAD": "", "scripts/a.py": ""})
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("USERPROFILE", str(root))
    assert Tree(lambda _: Config()).project_root(str(root / "scripts")) == str(root / "scripts")


def test_a_package_is_seen_from_the_folder_above_it(write: Write) -> None:
    root = write({"pkg/__init__.py": "", "pkg/a.py": ""})
    target = _target(root / "pkg" / "a.py")
    assert target.seen_as == "pkg/a.py"
    assert Tree(lambda _: Config()).base(target.universe) == (str(root), "pkg/")


def test_a_folder_of_scripts_sees_what_an_import_from_it_reaches(write: Write) -> None:
    root = write({"run.py": "", "helpers/__init__.py": "", "helpers/a.py": "", "other/x.py": "", "other/deep/y.py": ""})
    tree = Tree(lambda _: Config())
    universe = tree.target(str(root / "run.py")).universe
    assert sorted(tree.files(universe)) == ["helpers/__init__.py", "helpers/a.py", "run.py"]
    assert len(_found(root, ["."])) == 5


def test_an_excluded_file_sees_the_project_and_the_other_excluded_files(write: Write) -> None:
    root = write({**MARKED, "a.py": "", "x_pb2.py": "", "y_pb2.py": ""})
    config = Config(root=str(root), extend_exclude=("*_pb2.py",))
    tree = Tree(lambda _: config)
    universe = tree.target(str(root / "x_pb2.py")).universe
    assert universe == Universe(str(root), everything=True)
    assert sorted(tree.files(universe)) == ["a.py", "x_pb2.py", "y_pb2.py"]
    assert sorted(tree.files(Universe(str(root)))) == ["a.py"]


def test_an_odd_file_sees_the_project_and_itself_alone(write: Write) -> None:
    root = write({**MARKED, "a.py": "", "one": "", "two": ""})
    tree = Tree(lambda _: Config())
    assert sorted(tree.files(tree.target(str(root / "one")).universe)) == ["a.py", "one"]


def test_a_file_in_an_excluded_folder_is_a_project_apart(write: Write) -> None:
    root = write({**MARKED, "a.py": "", "build/lib/pkg/__init__.py": "", "build/lib/pkg/b.py": ""})
    assert _target(root / "build" / "lib" / "pkg" / "b.py").universe.root == str(root / "build" / "lib" / "pkg")


def test_a_project_inside_the_project_has_its_own_excludes(write: Write) -> None:
    root = write(
        {
            **MARKED,
            "a.py": "",
            "inner/pyproject.toml": "[tool.auditlint]\nexclude = ['gen']",
            "inner/b.py": "",
            "inner/gen/c.py": "",
        }
    )
    targets, _ = find_targets(["."], Tree(find_config))
    assert [(target.name, target.universe.root) for target in targets] == [
        ("a.py", str(root)),
        ("b.py", str(root / "inner")),
    ]


def test_the_universe_does_not_depend_on_how_a_file_was_named(write: Write) -> None:
    root = write(
        {
            **MARKED,
            ".gitignore": "ignored.py\n",
            "a.py": "",
            "pkg/__init__.py": "",
            "pkg/b.py": "",
            "inner/setup.py": "",
            "inner/c.py": "",
            "ignored.py": "",
            "build/d.py": "",
            "scripts/e.py": "",
        }
    )
    ways = [
        ["."],
        [str(path) for path in sorted(root.rglob("*.py"))],
        ["pkg", "inner", "build", "scripts", "ignored.py", "."],
    ]
    seen: dict[str, set[Universe]] = {}
    for paths in itertools.chain(ways, ([str(path)] for path in root.rglob("*.py"))):
        for target in find_targets(paths, Tree(lambda _: Config()))[0]:
            seen.setdefault(target.path, set()).add(target.universe)
    assert len(seen) == len(list(root.rglob("*.py")))
    assert [path for path, universes in seen.items() if len(universes) > 1] == []


needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


@needs_links
def test_links_in_circles_end(write: Write) -> None:
    root = write({**MARKED, "a/b.py": ""})
    (root / "a" / "loop").symlink_to(root)
    assert _found(root, ["."]) == ["a/b.py"]
    assert _found(root, ["a/loop/a/b.py"]) == ["a/loop/a/b.py"]


@needs_links
def test_a_link_that_leads_nowhere_is_told_and_an_editors_lock_is_not(write: Write) -> None:
    root = write({**MARKED, "a.py": "", "sub/b.py": ""})
    (root / "gone.py").symlink_to("nothing.py")
    (root / "self.py").symlink_to("self.py")
    (root / ".#a.py").symlink_to("user@host.1234")
    targets, errors = find_targets(["."], Tree(lambda _: Config()))
    assert [target.name for target in targets] == ["a.py", "sub/b.py"]
    assert errors == [FileError(str(root / name), "is a link that leads nowhere") for name in ("gone.py", "self.py")]
    assert find_targets(["sub"], Tree(lambda _: Config()))[1] == []
    assert find_targets(["gone.py"], Tree(lambda _: Config()))[1] == [
        FileError("gone.py", "is a link that leads nowhere")
    ]


@needs_links
def test_a_linked_file_is_linted_under_its_own_name(write: Write) -> None:
    root = write({**MARKED, "a.py": "", "pkg/x.txt": ""})
    (root / "pkg" / "link.py").symlink_to(root / "a.py")
    assert _found(root, ["."]) == ["a.py", "pkg/link.py"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs permissions that bind")
def test_an_unreadable_folder_is_told(write: Write) -> None:
    root = write({**MARKED, "a.py": "", "closed/b.py": ""})
    (root / "closed").chmod(0)
    try:
        targets, errors = find_targets(["."], Tree(lambda _: Config()))
    finally:
        (root / "closed").chmod(0o755)
    assert [target.name for target in targets] == ["a.py"]
    assert errors == [FileError(str(root / "closed"), "cannot be read: Permission denied")]


def test_an_unreadable_folder_is_told_whoever_asks(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({**MARKED, "a.py": "", "closed/b.py": ""})
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path == str(root / "closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    targets, errors = find_targets(["."], Tree(lambda _: Config()))
    assert [target.name for target in targets] == ["a.py"]
    assert errors == [FileError(str(root / "closed"), "cannot be read: Permission denied")]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_file_names_that_are_no_text(write: Write) -> None:
    root = write(MARKED)
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.py")).write_bytes(b"")
    assert [os.fsencode(target.name) for target in find_targets(["."], Tree(lambda _: Config()))[0]] == [b"caf\xe9.py"]
