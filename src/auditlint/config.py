"""`[tool.auditlint]` to one frozen Config; every default lives here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# Folders that hold no code of the project's own: the list that users know from Ruff, and our cache.
DEFAULT_EXCLUDES = (
    ".auditlint_cache .bzr .direnv .eggs .git .git-rewrite .hg .ipynb_checkpoints .mypy_cache .nox .pants.d .pyenv "
    ".pytest_cache .pytype .ruff_cache .svn .tox .venv .vscode __pycache__ __pypackages__ _build buck-out build dist "
    "node_modules site-packages venv"
)

CONFIG_FILES = ("auditlint.toml", "pyproject.toml")

FIX_STYLES = ("library", "plain")


class ConfigError(Exception):
    """A configuration that cannot be used; the message is one line that names the file and the key."""


class HotPath(NamedTuple):
    """Files or functions that the configuration declares hot: whatever they do counts as inside a hook."""

    files: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ("finalize*", "finalise*")


class Config(NamedTuple):
    """Everything a run can be told; `root` is the folder of the file that it was read from, or None."""

    root: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = tuple(DEFAULT_EXCLUDES.split())
    extend_exclude: tuple[str, ...] = ()
    respect_gitignore: bool = True
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    # Names (last part or dotted) of decorators that mark a hook.
    decorators: tuple[str, ...] = ("audit_hook",)
    # Dotted names (module.function, module.Class.method; fnmatch patterns) of functions to treat as hooks.
    hooks: tuple[str, ...] = ()
    # Extra registrars: name of the callable -> kind of hook as in facts.registrars ("forward", "tensor", ...).
    registrars: tuple[tuple[str, str], ...] = ()
    # Scopes beyond hooks.
    check_forward: bool = False
    hot_paths: HotPath = HotPath()
    # What fixes write: calls of auditlint.defer ("library"), or torch alone ("plain").
    fix_style: str = "library"


class Overrides(NamedTuple):
    """What a command line says on top of the configuration; None leaves the configuration's word."""

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] | None = None
    decorators: tuple[str, ...] | None = None
    hooks: tuple[str, ...] | None = None
    check_forward: bool | None = None


def apply_overrides(config: Config, overrides: Overrides, *, source: str = "command line") -> Config:
    """`config` with `overrides` on top.

    `select` starts the selection afresh, as in Ruff: the configuration's `ignore` and `extend-select` fall with its
    `select`. The other lists add to the configuration's.

    Raises:
        ConfigError: for a code that no rule has.
    """
    for key, codes in (("--select", overrides.select), ("--ignore", overrides.ignore)):
        _check_codes(source, key, codes or ())
    _check_codes(source, "--extend-select", overrides.extend_select or ())
    if overrides.select is not None:
        config = config._replace(select=overrides.select, ignore=(), extend_select=())
    if overrides.extend_select:
        # Asked for on the command line beats ignored in a file.
        kept = tuple(code for code in config.ignore if not code.startswith(overrides.extend_select))
        config = config._replace(extend_select=config.extend_select + overrides.extend_select, ignore=kept)
    config = config._replace(
        ignore=config.ignore + (overrides.ignore or ()),
        decorators=config.decorators + (overrides.decorators or ()),
        hooks=config.hooks + (overrides.hooks or ()),
    )
    if overrides.check_forward is not None:
        config = config._replace(check_forward=overrides.check_forward)
    return config


def find_config(folder: str) -> Config:
    """The configuration of the nearest folder, from `folder` upward, that has one; the defaults where none has.

    `auditlint.toml` comes before the `pyproject.toml` beside it. The search does not leave a `site-packages` folder:
    an installed package is not part of the project that its environment lies in.
    """
    while True:
        for name in CONFIG_FILES:
            config = _read(os.path.join(folder, name), required=False)
            if config is not None:
                return config
        above = os.path.dirname(folder)
        if above == folder or os.path.basename(folder) in ("site-packages", "dist-packages"):
            return Config()
        folder = above


def load_config(path: str) -> Config:
    """The configuration in the file `path`: a `pyproject.toml`, or any other TOML file with our keys at its top.

    Raises:
        ConfigError: when it is missing, is no TOML, or holds an unknown key, a value of the wrong type or an
            unknown code.
    """
    config = _read(os.path.abspath(path), required=True)
    return config if config is not None else Config(root=os.path.dirname(os.path.abspath(path)))


def _read(path: str, *, required: bool) -> Config | None:
    """The Config in `path`, None when the file is not there or says nothing about auditlint."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        if required or not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        return None
    embedded = os.path.basename(path) == "pyproject.toml"
    if embedded and b"auditlint" not in data:
        return None  # spares nearly every project the TOML parser
    table = _parse(path, data)
    if not embedded:
        return _config(path, table)
    tool = table.get("tool", {})
    if not isinstance(tool, dict) or "auditlint" not in tool:
        return None
    return _config(path, _typed(path, "tool.auditlint", tool["auditlint"], dict, "a table"))


def _parse(path: str, data: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None


def _config(path: str, table: Mapping[str, Any]) -> Config:
    values: dict[str, Any] = {}
    for key, value in table.items():
        convert = _KEYS.get(key)
        if convert is None:
            raise ConfigError(f"{path}: unknown key `{key}`{_nearest(key, _KEYS)}")
        values[key.replace("-", "_")] = convert(path, key, value)
    return Config(root=os.path.dirname(path), **values)


def _nearest(word: str, known: Mapping[str, object]) -> str:
    import difflib

    close = difflib.get_close_matches(word.replace("_", "-").lower(), known, n=1, cutoff=0.5)
    return f" (did you mean `{close[0]}`?)" if close else f" (known: {', '.join(sorted(known))})"


def _typed(path: str, key: str, value: Any, kind: type, words: str) -> Any:
    # TOML has booleans apart from integers, Python has not; nothing here is an integer, so `type` is the honest test.
    if type(value) is not kind:
        raise ConfigError(f"{path}: `{key}` must be {words}, not {_toml_type(value)}")
    return value


def _toml_type(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a float", list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")


def _strings(path: str, key: str, value: Any) -> tuple[str, ...]:
    items = _typed(path, key, value, list, "an array of strings")
    return tuple(_typed(path, f"{key}[{index}]", item, str, "a string") for index, item in enumerate(items))


def _flag(path: str, key: str, value: Any) -> bool:
    return bool(_typed(path, key, value, bool, "true or false"))


def _codes(path: str, key: str, value: Any) -> tuple[str, ...]:
    codes = _strings(path, key, value)
    _check_codes(path, key, codes)
    return codes


def _codes_by_file(path: str, key: str, value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    table = _typed(path, key, value, dict, "a table of arrays of codes")
    return tuple((pattern, _codes(path, f"{key}.{pattern!r}", codes)) for pattern, codes in table.items())


def _registrars(path: str, key: str, value: Any) -> tuple[tuple[str, str], ...]:
    from auditlint.facts.registrars import KINDS

    table = _typed(path, key, value, dict, "a table of strings")
    for name, kind in table.items():
        if _typed(path, f"{key}.{name}", kind, str, "a string") not in KINDS:
            known = dict.fromkeys(KINDS)
            raise ConfigError(f"{path}: `{key}.{name}`: unknown kind of hook `{kind}`{_nearest(kind, known)}")
    return tuple(table.items())


def _hot_paths(path: str, key: str, value: Any) -> HotPath:
    table = _typed(path, key, value, dict, "a table")
    known = dict.fromkeys(HotPath._fields, _strings)
    for name in table:
        if name not in known:
            raise ConfigError(f"{path}: unknown key `{key}.{name}`{_nearest(name, known)}")
    return HotPath(**{name: _strings(path, f"{key}.{name}", patterns) for name, patterns in table.items()})


def _fix_style(path: str, key: str, value: Any) -> str:
    style: str = _typed(path, key, value, str, "a string")
    if style not in FIX_STYLES:
        raise ConfigError(f"{path}: `{key}`: unknown style `{style}`{_nearest(style, dict.fromkeys(FIX_STYLES))}")
    return style


_KEYS: dict[str, Callable[[str, str, Any], Any]] = {
    "select": _codes,
    "ignore": _codes,
    "extend-select": _codes,
    "exclude": _strings,
    "extend-exclude": _strings,
    "respect-gitignore": _flag,
    "per-file-ignores": _codes_by_file,
    "decorators": _strings,
    "hooks": _strings,
    "registrars": _registrars,
    "check-forward": _flag,
    "hot-paths": _hot_paths,
    "fix-style": _fix_style,
}


def _check_codes(source: str, key: str, codes: tuple[str, ...]) -> None:
    """Raises ConfigError unless each of `codes` is `ALL` or the beginning of a rule's code."""
    if not codes:
        return
    from auditlint.rules import RULES

    def begins(text: str) -> bool:
        return bool(text) and any(known.startswith(text) for known in RULES)

    for code in codes:
        if code == "ALL" or begins(code):
            continue
        import difflib

        upper = code.upper()
        close = [upper] if begins(upper) else difflib.get_close_matches(upper, RULES, n=1, cutoff=0.5)
        hint = f" (did you mean `{close[0]}`?)" if close else " (`auditlint rule --all` lists them)"
        raise ConfigError(f"{source}: unknown rule code `{code}` in `{key}`{hint}")
