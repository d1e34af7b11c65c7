"""Timing arms in turns: each round runs every arm once, in an order that turns, and what was finished is kept."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from auditlint.console import width_of

T = TypeVar("T")
Tick = Callable[[str], None]


def turned(items: Sequence[T], turn: int) -> list[T]:
    """The items, beginning with another one each turn."""
    if not items:
        return []
    start = turn % len(items)
    return [*items[start:], *items[:start]]


@contextmanager
def collected() -> Iterator[None]:
    """Collect garbage before the block and not in it: what is young, since walking over all of torch takes long."""
    gc.collect(1)
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def progress(total: int, shown: bool) -> Iterator[Tick]:
    """A bar on standard error, if it is to be shown and tqdm is there; called with what was done, it moves on."""
    if not shown:
        yield lambda done: None
        return
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield lambda done: None
        return
    with tqdm(total=total, file=sys.stderr, leave=False, ncols=width_of(sys.stderr), unit="run") as bar:

        def tick(done: str) -> None:
            bar.set_description(done)
            bar.update()

        yield tick
