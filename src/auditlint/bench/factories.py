"""What `--model module:factory` names: importing it, and calling it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from auditlint.console import UsageError


def made(name: str) -> Any:
    """The `torch.nn.Module` that the factory `name`, "module:factory", returns when it is called without arguments.

    Modules of the working directory can be named, as with `python -m`.

    Raises:
        UsageError: there is no such factory, it fails, or it returns something else; the message says which.
    """
    home, colon, factory = name.partition(":")
    if not (home and colon and factory):
        raise UsageError(f"--model {name}: not of the form module:factory")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(home)
    except (Exception, SystemExit) as error:
        raise UsageError(f"--model {name}: cannot import `{home}`: {one_line(error)}") from None
    for part in factory.split("."):
        if not hasattr(found, part):
            raise UsageError(f"--model {name}: `{home}` has no `{factory}`")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"--model {name}: `{factory}` cannot be called")
    try:
        model = found()
    except (Exception, SystemExit) as error:
        raise UsageError(f"--model {name}: `{factory}()` failed: {one_line(error)}") from None
    from torch.nn import Module

    if not isinstance(model, Module):
        raise UsageError(f"--model {name}: `{factory}()` returned {type(model).__name__}, not a torch.nn.Module")
    return model


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, and its message if it has one."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
