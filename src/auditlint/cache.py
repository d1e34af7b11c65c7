"""What was found in a universe of files, kept on disk until one of them changes.

A record is trusted only when the key written in it is the very key asked for: the versions, the configuration, and
the name, times and size of every file of the universe. It is replaced whole, and carries a checksum, so that a file
torn by a killed process, or put there by someone else, is ignored.
"""

from __future__ import annotations

import os
import sys
import zlib
from typing import Any

from auditlint.source.discovery import has_marker

FOLDER = ".auditlint_cache"
_MAGIC = b"auditlint cache 1\n"
# A folder keeps this many records: configurations come and go.
_MOST_RECORDS = 200
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of auditlint; it can be deleted.\n"


def cache_folder(root: str) -> str:
    """Where results for the project at `root` are kept; the folder need not exist.

    In the repository around the project, else in the project. In the user's cache folder for what is no project of the
    user's (an installed package, a folder of scripts) or cannot be written to.
    """
    if not has_marker(root):
        return _user_cache()
    home, folder = os.path.expanduser("~"), root
    while not os.path.exists(os.path.join(folder, ".git")) or folder == home:
        above = os.path.dirname(folder)
        if above == folder or folder == home:
            folder = root
            break
        folder = above
    return os.path.join(folder, FOLDER) if os.access(folder, os.W_OK) else _user_cache()


def record_path(root: str, variant: str) -> str:
    """The file that holds the record for `root`, analysed in the way that the text `variant` describes."""
    name = f"{os.path.basename(root) or 'root'}-{_checksum(os.fsencode(root)):08x}{_checksum(os.fsencode(variant)):08x}"
    return os.path.join(cache_folder(root), f"{name}.json")


def own_stamp() -> str:
    """The version of auditlint and of Python, and the state of auditlint's own files: all that a result rests on."""
    from auditlint import __version__

    folder = os.path.dirname(os.path.abspath(__file__))
    newest, total, pending = 0, 0, [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    newest, total = max(newest, status.st_mtime_ns), total + status.st_size
                elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                    pending.append(entry.path)
    return f"{__version__} {sys.version} {newest} {total}"


def load(path: str, key: str) -> Any | None:
    """The value stored at `path` under `key`, None when there is none that can be trusted."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return None
    head, _, body = data.partition(b"\n\n")
    stored = os.fsencode(key)
    expected = b"%s%d %08x\n%s" % (_MAGIC, len(body), _checksum(body), stored)
    if head != expected:
        return None
    import json

    try:
        return json.loads(body)
    except ValueError:
        return None


def store(path: str, key: str, value: Any) -> None:
    """Keep `value` (lists, dicts, strings, numbers) at `path` under `key`; where that cannot be done, do nothing."""
    import json

    from auditlint.source.atomic import write_atomically

    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    head = b"%s%d %08x\n%s" % (_MAGIC, len(body), _checksum(body), os.fsencode(key))
    folder = os.path.dirname(path)
    try:
        _prepare(folder)
        write_atomically(path, head + b"\n\n" + body)
        _prune(folder)
    except OSError:
        pass  # a read-only project, a full disk: the next run is slower, that is all


def _prepare(folder: str) -> None:
    if os.path.isdir(folder):
        return
    os.makedirs(folder, exist_ok=True)
    for name, content in (("CACHEDIR.TAG", _TAG), (".gitignore", b"*\n")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def _prune(folder: str) -> None:
    with os.scandir(folder) as entries:
        records = [entry for entry in entries if entry.name.endswith(".json") or entry.name.startswith(".auditlint-")]
    if len(records) > _MOST_RECORDS:
        for entry in sorted(records, key=lambda entry: entry.stat().st_mtime_ns)[: -_MOST_RECORDS // 2]:
            os.unlink(entry.path)


def _user_cache() -> str:
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "auditlint")


def _checksum(data: bytes) -> int:
    return zlib.crc32(data)
