"""What it costs to capture a value instead of reading it, in units of `list.append(tensor.detach())`.

    python benchmarks/capture_cost.py [--backend cpu] [--rounds 60] [--captures 2000] [--processes 9]

Arms are interleaved: each round times so many captures of each arm, in an order that turns. The figures are ratios of
medians over rounds, with the smallest and largest ratio of single rounds; the last column is the median time of one
capture. A scalar is float32; "with a graph" is one that autograd has made. Values are read outside of what is timed.

Then the transfers of a flush of 1,000 scalars are counted, and processes of their own time `import auditlint.defer`
after `import torch`. On `--backend simulated` the times are those of the simulation, whose kernels are Python; there
only the ratios and counts say something. Needs torch.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from auditlint.defer import AuditLog, DeviceBuffer, defer, derive, flush
from auditlint.runtime import Unavailable, count_syncs
from auditlint.runtime.simulation.clock import CLOCK
from auditlint.runtime.simulation.registration import register

DEVICES = {"cpu": "cpu", "simulated": "sim", "cuda": "cuda", "mps": "mps"}
WARM = 3  # rounds that are not counted
SCALARS = 1000
IMPORTS = """
import time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import auditlint.defer
print(middle - start, time.perf_counter() - middle)
"""


class Arm(NamedTuple):
    """One way to keep a tensor: `capture(tensor)` for a scalar, after `begin()`, which is not timed."""

    name: str
    capture: Callable[[torch.Tensor], Any]
    begin: Callable[[], Any] = flush


def main() -> int:
    """Time all arms, count transfers and time the import; 2 where the backend is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=DEVICES, default="cpu")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--captures", type=int, default=2000, help="captures of each arm a round")
    parser.add_argument("--processes", type=int, default=9, help="processes that time the import; 0 leaves it out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    gc.freeze()  # else single rounds pay for a walk over all of torch
    if args.backend == "simulated":
        register()
    try:
        with count_syncs(args.backend):
            pass
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    print(f"backend {args.backend}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    device = DEVICES[args.backend]
    plain = torch.ones(4, device=device).sum()
    graph = torch.ones(4, device=device, requires_grad=True).sum()
    for title, scalar in (("without a graph", plain), ("with a graph", graph)):
        print(f"\n{title:<48}times  range over rounds   one capture")
        report(times(arms(device, args.captures), scalar, args.rounds, args.captures), args.captures)
    print(f"\ntransfers in a flush of {SCALARS:,} scalars: {transfers(args.backend, device)}")
    if args.processes:
        report_imports(args.processes)
    return 0


def arms(device: str, captures: int) -> list[Arm]:
    """What is compared; the first is the unit."""
    kept: list[Any] = []
    log = AuditLog(max_bytes=None)
    buffer = DeviceBuffer("norm", capacity=captures, device=device)

    def fresh_list() -> None:
        kept.clear()
        flush()

    def share(norm: float, numel: int) -> float:
        return norm / numel

    return [
        Arm("kept.append(t.detach())", lambda t: kept.append(t.detach()), fresh_list),
        Arm("kept.append(t.detach().clone())", lambda t: kept.append(t.detach().clone()), fresh_list),
        Arm("kept.append(defer(t, fresh=True))", lambda t: kept.append(defer(t, fresh=True)), fresh_list),
        Arm("kept.append(defer(t))", lambda t: kept.append(defer(t)), fresh_list),
        Arm("kept.append(derive(f, defer(t, fresh=True), 4))", derived(kept, share), fresh_list),
        Arm(
            "log.append({'norm': defer(t, fresh=True)})",
            lambda t: log.append({"norm": defer(t, fresh=True)}),
            log.drain,
        ),
        Arm("buffer.append(t)", lambda t: buffer.append(t), buffer.reset),
        Arm("flush() when nothing is pending", lambda t: flush(), fresh_list),
    ]


def derived(kept: list[Any], function: Callable[..., Any]) -> Callable[[torch.Tensor], Any]:
    """Capture a scalar, and what is to be computed of it."""
    return lambda t: kept.append(derive(function, defer(t, fresh=True), 4))


def times(compared: list[Arm], scalar: torch.Tensor, rounds: int, captures: int) -> dict[str, list[float]]:
    """Seconds of each round, by arm."""
    seconds: dict[str, list[float]] = {arm.name: [] for arm in compared}
    for turn in range(rounds + WARM):
        start = turn % len(compared)
        for arm in compared[start:] + compared[:start]:
            arm.begin()
            took = timed(arm.capture, scalar, captures)
            if turn >= WARM:
                seconds[arm.name].append(took)
    for arm in compared:
        arm.begin()
    return seconds


def timed(capture: Callable[[torch.Tensor], Any], scalar: torch.Tensor, captures: int) -> float:
    """Seconds of the host's work for so many captures; what other processes take in between does not count."""
    repeated = [None] * captures
    start = time.thread_time()
    for _ in repeated:
        capture(scalar)
    return time.thread_time() - start


def report(seconds: dict[str, list[float]], captures: int) -> None:
    """A line for each arm."""
    unit = next(iter(seconds.values()))
    for name, took in seconds.items():
        ratios = [a / b for a, b in zip(took, unit, strict=True)]
        ratio = statistics.median(took) / statistics.median(unit)
        one = statistics.median(took) / captures * 1e6
        print(f"{name:<48}{ratio:5.2f}  {min(ratios):6.2f} to {max(ratios):6.2f}   {one:8.2f} us")


def transfers(backend: str, device: str) -> str:
    """How many transfers, or waits where transfers are not seen, a flush takes."""
    values = torch.arange(float(SCALARS), device=device).unbind()
    if backend == "cpu":
        found = [defer(value) for value in values]
        flush()
        count = "none, they are on the host"
    elif backend == "simulated":
        found = [defer(value) for value in values]
        before = CLOCK.counts()
        flush()
        after = CLOCK.counts()
        count = f"{after.copies - before.copies} transfer, {after.waits - before.waits} wait"
    else:
        with count_syncs(backend) as counter:
            found = [defer(value) for value in values]
            raw = counter.totals.raw
            flush()
            count = f"{counter.totals.raw - raw} wait"
    assert [float(value) for value in found] == list(map(float, range(SCALARS)))
    return count


def report_imports(processes: int) -> None:
    """Time both imports in processes of their own, of which the first only warms up."""
    found = []
    for _ in range(processes + 1):
        done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
        found.append([float(part) * 1e3 for part in done.stdout.split()])
    torch_ms, own_ms = zip(*found[1:], strict=True)
    print(
        f"import auditlint.defer after import torch: {statistics.median(own_ms):.1f} ms ({min(own_ms):.1f} to "
        f"{max(own_ms):.1f} over {processes} processes); import torch: {statistics.median(torch_ms):.0f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
