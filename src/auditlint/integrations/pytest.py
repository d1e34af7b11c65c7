"""The pytest plugin: `@pytest.mark.no_hook_syncs` and the fixture `sync_counter`.

pytest loads this in every run in an environment that has auditlint, so torch is imported only by tests that ask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from auditlint.runtime import SyncCounter

MARKER = "no_hook_syncs"
_HELP = (
    f"{MARKER}(max=0, backend=None): fail the test if more than `max` calls in hooks synchronise with the device; "
    "`backend` is auto, cuda, mps, cpu or simulated"
)
_COUNTER: pytest.StashKey[SyncCounter] = pytest.StashKey()
_WIDTH = 100

_Hook = Callable[..., Generator[None, Any, Any]]


def _wrapper(hook: _Hook) -> _Hook | None:
    """`hook`, around those of others; None beneath a pluggy before 1.2, where pytest has to run all the same."""
    try:
        wrap: Callable[[_Hook], _Hook] = pytest.hookimpl(wrapper=True)
    except TypeError:
        return None
    return wrap(hook)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The backend, as a flag and as a setting."""
    group = parser.getgroup("auditlint", "syncs in hooks, counted by auditlint")
    group.addoption("--sync-backend", metavar="NAME", help="auto, cuda, mps, cpu or simulated (default: the setting)")
    parser.addini("auditlint_sync_backend", "backend that counts syncs in tests (default: auto)", default="auto")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known to `--strict-markers`."""
    config.addinivalue_line("markers", _HELP)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say so where a marked test cannot be held to its mark."""
    if pytest_runtest_call is None and item.get_closest_marker(MARKER):
        pytest.fail(f"{MARKER} needs pytest 8, or pluggy 1.2", pytrace=False)


@_wrapper
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Count while a marked test runs, and fail it for what its hooks did."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return (yield)
    allowed, backend = _arguments(marker)
    with _counting(backend or _backend(item.config)) as counter:
        item.stash[_COUNTER] = counter
        result = yield
    if doubt := counter.report().doubt:
        pytest.fail(doubt, pytrace=False)
    found = counter.in_hooks
    if found > allowed:
        wanted = "none is" if not allowed else f"{allowed} are" if allowed > 1 else "1 is"
        calls = "1 call in a hook syncs" if found == 1 else f"{found} calls in hooks sync"
        pytest.fail(f"{calls} where {wanted} allowed\n\n{_table(counter)}", pytrace=False)
    return result


@pytest.fixture
def sync_counter(request: pytest.FixtureRequest) -> Iterator[SyncCounter]:
    """Counts the syncs of the test: `sync_counter.in_hooks`, `.totals`, `.report()`, `.reset()`.

    When the test fails, its table stands in the report.
    """
    with _counting(_backend(request.config)) as counter:
        request.node.stash[_COUNTER] = counter
        yield counter


@_wrapper
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show what was counted beside the failure of a test that used the fixture."""
    report = yield
    counter = item.stash.get(_COUNTER, None)
    if counter is not None and report.when == "call" and report.failed and not item.get_closest_marker(MARKER):
        report.sections.append(("syncs", _table(counter)))
    return report


def _arguments(marker: pytest.Mark) -> tuple[int, str | None]:
    """The marker's arguments, which may be given by position or by name."""
    given = dict(zip(("max", "backend"), marker.args, strict=False)) | dict(marker.kwargs)
    limit, backend = given.pop("max", 0), given.pop("backend", None)
    if given or len(marker.args) > 2 or not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        pytest.fail(
            f"{MARKER} takes max, a number of calls, and backend, a name: {marker.args} {marker.kwargs}", pytrace=False
        )
    return limit, backend


def _backend(config: pytest.Config) -> str:
    return config.getoption("--sync-backend") or str(config.getini("auditlint_sync_backend"))


@contextlib.contextmanager
def _counting(backend: str) -> Iterator[SyncCounter]:
    """Count in the block; where that is not possible, the test fails in one line."""
    try:
        from auditlint.runtime import Unavailable, count_syncs
    except ModuleNotFoundError as error:
        pytest.fail(f"counting syncs needs {error.name}: pip install 'auditlint[runtime]'", pytrace=False)
    with contextlib.ExitStack() as stack:
        problem = ""
        try:
            counter = stack.enter_context(count_syncs(backend))
        except (Unavailable, ValueError) as error:
            problem = str(error)
        if problem:  # not said while the error is handled: pytest would show both
            pytest.fail(problem, pytrace=False)
        yield counter


def _table(counter: SyncCounter) -> str:
    from auditlint.runtime.reports import table

    return table(counter.report(), width=_WIDTH)
