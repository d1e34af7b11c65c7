"""Run flake8 with the plugins of the named distributions only: `python flake8_only.py flake8,pyflakes -- ARGS...`.

flake8 runs every plugin that is installed beside it; `--ignore` only hides what a plugin says. So the distributions
that are not named are hidden from it. This happens at the top of the file, where it also holds in those of flake8's
processes that do not begin as copies of this one.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from typing import Any

_kept = sys.argv[1].split(",") if len(sys.argv) > 1 else []
_installed = importlib.metadata.distributions


def _distributions(**context: Any) -> Iterator[importlib.metadata.Distribution]:
    return (distribution for distribution in _installed(**context) if distribution.metadata["Name"] in _kept)


importlib.metadata.distributions = _distributions

if __name__ == "__main__":
    from flake8.main.cli import main

    raise SystemExit(main(sys.argv[3:]))
