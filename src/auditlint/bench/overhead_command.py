"""`auditlint bench overhead`."""

from __future__ import annotations

import sys

from auditlint.bench import command, models, overhead, records, tables, trials
from auditlint.bench.audit_arms import ARMS
from auditlint.console import UsageError


def run(arguments: list[str]) -> int:
    """Run the study; returns the exit status.

    Raises:
        UsageError: see `auditlint.bench.command.main`.
    """
    parser = command.new_study("overhead", "What an audit costs, by the way in which it reads what its hooks capture.")
    add = parser.add_argument
    add("--tokens", type=command.number, default=1000, metavar="N", help="tokens to generate a trial (default: 1000)")
    add("--trials", type=command.number, default=5, metavar="N", help="trials of each arm (default: 5)")
    add("--arms", type=command.names, action="extend", metavar="NAMES", help=f"some of {', '.join(ARMS)}")
    args = parser.parse_args(arguments)
    command.check_places(args)
    names = overhead.with_bases(command.known("arm", args.arms or list(ARMS), ARMS))
    with command.device_of(args) as device:
        model, about = command.built(args, device, args.tokens)
        models.check_generates(about["model"], model, device.torch_device)
        with trials.progress(len(names) * (args.trials + 2), sys.stderr.isatty()) as tick:
            study = overhead.study(
                model,
                device,
                names,
                tokens=args.tokens,
                trial_count=args.trials,
                layers=args.layers or (),
                tick=tick,
            )
        if not any(outcome.trials for outcome in study.outcomes.values()):
            if study.interrupted:
                return command.nothing_finished()
            raise UsageError("; ".join(f"{name}: {why}" for name, why in study.left_out.items()))
        config = {
            **about,
            **command.clock_of(device),
            "tokens": args.tokens,
            "trials": args.trials,
            "arms": names,
            "hooks": len(study.hooks),
        }
        record = records.overhead(study, device, arguments, config)

        def draw(path: str) -> None:
            from auditlint.bench import pictures, timeline

            pictures.overhead(record, timeline.of_one_token(model, study.hooks, device), path)

        return command.finish(record, args, tables.overhead, draw)
