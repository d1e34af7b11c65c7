"""Ranks on one machine meet in a folder of their own; rank 0 waits for those that can still come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from auditlint.runtime import ranks
from auditlint.runtime.report import Environment, Site, SyncReport

VARIABLES = {
    "RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
SITE = Site("a.py", 1, 1, 1, 5, "Tensor.item", "item", 2, 2, None, "MainThread", None)
REPORT = SyncReport("cpu", True, Environment("cpu", "", "", "", ""), (SITE,), ())


def _rank(folder: Path, number: int, world: int = 2, beside: range | None = None) -> ranks.Rank:
    return ranks.Rank(number, world, beside or range(world), folder / "meeting")


def _gone() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_no_rank_without_a_launcher_or_alone() -> None:
    assert ranks.here({}) is None
    assert ranks.here({**VARIABLES, "WORLD_SIZE": "1"}) is None
    assert ranks.here({**VARIABLES, "RANK": "first"}) is None
    assert ranks.here({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}) is None


def test_ranks_of_one_start_meet_and_others_do_not() -> None:
    first, second = ranks.here(VARIABLES), ranks.here({**VARIABLES, "RANK": "1", "LOCAL_RANK": "1"})
    assert first is not None and second is not None
    assert first.folder == second.folder
    assert (first.merges, second.merges) == (True, False)
    for change in ({"TORCHELASTIC_RESTART_COUNT": "1"}, {"MASTER_PORT": "1"}, {"TORCHELASTIC_RUN_ID": "x"}):
        other = ranks.here({**VARIABLES, **change})
        assert other is not None and other.folder != first.folder


def test_neighbours_are_those_on_this_machine() -> None:
    third = ranks.here({**VARIABLES, "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"})
    assert third is not None and third.neighbours == range(2, 4)


def test_reports_are_merged_and_nothing_stays(tmp_path: Path) -> None:
    first, second = _rank(tmp_path, 0), _rank(tmp_path, 1)
    ranks.enter(first)
    ranks.enter(second)
    timer = threading.Timer(0.2, ranks.hand_in, [second, REPORT])
    timer.start()
    merged = ranks.gather(first, REPORT, patience=20)
    timer.join()
    assert [(site.thread, site.count) for site in merged.sites] == [
        ("rank 0: MainThread", 2),
        ("rank 1: MainThread", 2),
    ]
    assert merged.notes == ()
    assert list(tmp_path.iterdir()) == []


def test_dead_rank_is_not_waited_for(tmp_path: Path) -> None:
    first = _rank(tmp_path, 0)
    ranks.enter(first)
    (first.folder / "rank-1.pid").write_text(str(_gone()))
    begin = time.monotonic()
    merged = ranks.gather(first, REPORT, patience=30)
    assert time.monotonic() - begin < 10
    assert merged.notes == ("not counted: rank 1, which ended without a report",)


def test_rank_that_reported_and_died_is_counted(tmp_path: Path) -> None:
    first, second = _rank(tmp_path, 0), _rank(tmp_path, 1)
    ranks.enter(first)
    ranks.hand_in(second, REPORT)
    (first.folder / "rank-1.pid").write_text(str(_gone()))
    merged = ranks.gather(first, REPORT, patience=30)
    assert (len(merged.sites), merged.notes) == (2, ())


def test_waiting_is_bounded_and_other_machines_are_named(tmp_path: Path) -> None:
    first = _rank(tmp_path, 0, world=4, beside=range(2))
    ranks.enter(first)
    ranks.enter(_rank(tmp_path, 1))
    assert ranks.gather(first, REPORT, patience=0.1).notes == (
        "not counted: rank 1, which had not ended 0.1 s after rank 0",
        "not counted: ranks 2, 3, which ran on another machine",
    )


def test_late_report_and_one_on_another_machine_leave_nothing(tmp_path: Path) -> None:
    ranks.hand_in(_rank(tmp_path, 1), REPORT)
    far = _rank(tmp_path, 2, world=4, beside=range(2, 4))
    ranks.enter(far)
    ranks.hand_in(far, REPORT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX")
def test_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    first = _rank(tmp_path, 0)
    first.folder.mkdir()
    first.folder.chmod(0o777)
    with pytest.raises(PermissionError):
        ranks.enter(first)
    first.folder.rmdir()
    first.folder.symlink_to(tmp_path)
    with pytest.raises(OSError):
        ranks.enter(first)
