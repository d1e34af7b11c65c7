"""What counting costs: the forward pass of a 4-layer transformer, counted and not, in one run.

    python benchmarks/count_overhead.py [--backend cpu] [--width 128] [--rounds 40] [--passes 20]

Arms are interleaved: each round times so many passes of each arm, in turn. The figures are ratios of medians, counted
over not counted, with the smallest and largest ratio of single rounds: without hooks, and with four hooks that call
`.item()`. Needs torch.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from auditlint.runtime import Unavailable, count_syncs

DEVICES = {"cuda": "cuda", "mps": "mps", "cpu": "cpu"}


def main() -> int:
    """Time all arms and print two ratios; 2 where the backend cannot count here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=DEVICES, default="cpu")
    parser.add_argument("--width", type=int, default=128, help="width of the transformer (heads are 32 wide)")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--passes", type=int, default=20, help="passes of each arm a round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = DEVICES[args.backend]
    x = torch.randn(1, args.tokens, args.width, device=device)
    bare, hooked = transformer(args.width, device), transformer(args.width, device)
    for layer in hooked.layers:
        layer.register_forward_hook(reads_one_value)
    try:
        seconds = times(args, [(bare, x), (hooked, x)])
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    plain = statistics.median(seconds["bare"]) / args.passes * 1e3
    print(f"backend {args.backend}, torch {torch.__version__}, {plain:.2f} ms a pass without hooks and counting")
    report("no sync in hooks", seconds["bare counted"], seconds["bare"])
    report("four .item() hooks", seconds["hooked counted"], seconds["hooked"])
    return 0


def transformer(width: int, device: str) -> Any:
    """Four layers, in training mode so that the forward pass is the usual one."""
    layer = nn.TransformerEncoderLayer(width, max(width // 32, 1), 4 * width, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 4).to(device)


def reads_one_value(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
    """The hook that is not to be written."""
    output.detach().norm().item()


def times(args: argparse.Namespace, models: list[tuple[Any, torch.Tensor]]) -> dict[str, list[float]]:
    """Seconds of each round, by arm. Counting begins and ends outside of what is timed."""
    seconds: dict[str, list[float]] = {}
    for turn in range(args.rounds + 3):
        for (model, x), name in zip(models, ("bare", "hooked"), strict=True):
            for counted in (False, True) if turn % 2 else (True, False):
                with count_syncs(args.backend) if counted else contextlib.nullcontext():
                    took = timed(lambda: model(x), args.passes)  # noqa: B023 - it is called at once
                if turn >= 3:  # the first rounds warm up
                    seconds.setdefault(f"{name} counted" if counted else name, []).append(took)
    return seconds


def timed(work: Callable[[], Any], passes: int) -> float:
    """Seconds for so many calls, the device's work included."""
    work()
    start = time.perf_counter()
    for _ in range(passes):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def report(name: str, counted: list[float], plain: list[float]) -> None:
    """One line: the ratio of the medians, and the range over single rounds."""
    ratios = [a / b for a, b in zip(counted, plain, strict=True)]
    ratio = statistics.median(counted) / statistics.median(plain)
    print(f"{name}: {ratio:.2f} times ({min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} rounds)")


if __name__ == "__main__":
    sys.exit(main())
