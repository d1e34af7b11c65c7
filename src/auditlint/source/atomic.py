"""Files are replaced whole: a reader, or a killed process, sees the old bytes or the new ones."""

from __future__ import annotations

import os


def write_atomically(path: str, data: bytes) -> None:
    """Replace the file at `path` by `data`, keeping its permissions; a symbolic link keeps pointing where it did."""
    import tempfile

    target = os.path.realpath(path)
    handle, temporary = tempfile.mkstemp(prefix=".auditlint-", dir=os.path.dirname(target))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        # Python reads the umask only by setting it.
        mask = os.umask(0o022)
        os.umask(mask)
        return 0o666 & ~mask
