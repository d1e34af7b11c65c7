"""`auditlint bench probes`."""

from __future__ import annotations

import argparse
import sys

from auditlint.bench import audited, command, models, probes, records, tables, trials
from auditlint.bench.probe_arms import PROBE_ARMS
from auditlint.console import UsageError

MOST = 1000
COUNTS = [1, 10, 100, 1000]


def run(arguments: list[str]) -> int:
    """Run the study; returns the exit status.

    Raises:
        UsageError: see `auditlint.bench.command.main`.
    """
    args = _parser().parse_args(arguments)
    command.check_places(args)
    names = command.known("arm", ["none", *args.arms] if args.arms else list(PROBE_ARMS), PROBE_ARMS)
    scopes = command.known("scope", args.scope or list(probes.SCOPES), probes.SCOPES)
    points = [probes.Point(count, scope) for scope in scopes for count in sorted(set(args.probes or COUNTS))]
    plan = probes.Plan(args.tokens, min(args.flush_every, args.tokens), args.trials)
    with command.device_of(args) as device:
        model, about = command.built(args, device, args.tokens)
        models.check_generates(about["model"], model, device.torch_device)
        layers = [hook.layer for hook in audited.chosen(model, args.layers or ()) if hook.what == "norm"]
        with trials.progress(len(points) * len(names) * (args.trials + 2), sys.stderr.isatty()) as tick:
            study = probes.study(model, device, layers, points, names, plan, tick)
        config = {
            **about,
            **command.clock_of(device),
            "tokens": plan.tokens,
            "trials": plan.trials,
            "flush_every": plan.every,
            "arms": names,
            "probes": [*dict.fromkeys(point.probes for point in points)],
            "scopes": scopes,
            "layers": layers,
        }
        record = records.probes(study, device, arguments, config, plan)
    if not record["points"]:
        if study.interrupted:
            return command.nothing_finished()
        raise UsageError("; ".join(f"{name}: {why}" for name, why in study.left_out.items()))

    def draw(path: str) -> None:
        from auditlint.bench import pictures

        pictures.probes(record, path)

    return command.finish(record, args, tables.probes, draw)


def _parser() -> argparse.ArgumentParser:
    parser = command.new_study("probes", "What linear probes cost a token, by their number, and by how they are read.")
    add = parser.add_argument
    add("--tokens", type=command.number, default=50, metavar="N", help="tokens to generate a trial (default: 50)")
    add("--trials", type=command.number, default=5, metavar="N", help="trials of each arm (default: 5)")
    add("--flush-every", type=command.number, default=10, metavar="N", help="tokens between flushes (default: 10)")
    add("--arms", type=command.names, action="extend", metavar="NAMES", help=f"some of {', '.join(PROBE_ARMS)}")
    add("--probes", type=_counts, action="extend", metavar="COUNTS", help="probes a layer (default: 1,10,100,1000)")
    add("--scope", type=command.names, action="extend", metavar="NAMES", help="one-layer, every-layer (default: both)")
    return parser


def _counts(text: str) -> list[int]:
    return [command.limited(MOST)(name) for name in command.names(text)]
