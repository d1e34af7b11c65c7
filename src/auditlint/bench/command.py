"""`auditlint bench`: arguments to one study, and what is written of it."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from auditlint.console import CLEAN, FOUND, INTERRUPTED, UsageError, failed, new_parser, warned, write
from auditlint.runtime.command import place
from auditlint.runtime.report import BACKENDS

if TYPE_CHECKING:
    from auditlint.bench.devices import Device
    from auditlint.runtime.simulation.clock import Latency

_USAGE = """auditlint bench overhead [OPTIONS]
       auditlint bench probes [OPTIONS]"""
PICTURES = (".png", ".svg")


def main(arguments: list[str]) -> int:
    """`auditlint bench overhead | probes`: 0, or 1 where the arms' data differ, or 130 after Ctrl-C.

    Raises:
        UsageError: wrong arguments, no such device, a model that cannot generate, or a file that cannot be written.
    """
    study, *rest = arguments or [""]
    if study in ("-h", "--help"):
        print(f"usage: {_USAGE}\n\nMeasure what audits and probes cost; each study has a --help of its own.")
        return CLEAN
    if study not in ("overhead", "probes"):
        named = f"no study `{study}`" if study else "`auditlint bench` takes a study"
        raise UsageError(f"{named}; there are overhead and probes")
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("the benches need torch: pip install 'auditlint[bench]'") from None
    if study == "overhead":
        from auditlint.bench.overhead_command import run
    else:
        from auditlint.bench.probes_command import run
    return run(rest)


def new_study(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the flags that all studies have."""
    parser = new_parser(
        prog=f"auditlint bench {name}",
        description=description,
        epilog="Exit status: 0 done, 1 the arms' data differ, 2 usage, 130 interrupted (finished trials are written).",
    )
    add = parser.add_argument
    backends = ("auto", *BACKENDS)
    add("--backend", choices=backends, default="auto", metavar="NAME", help=", ".join(backends))
    add("--model", metavar="MODULE:FACTORY", help="measure what this factory returns, a torch.nn.Module")
    add("--layers", type=names, action="extend", metavar="NAMES", help="layers to hook, by names or patterns")
    add("--threads", type=limited(1024), default=1, metavar="N", help="threads of torch's CPU kernels (default: 1)")
    add(
        "--latency",
        type=latency,
        metavar="NAME=VALUE,...",
        help="simulated device: launch, kernel, copy, sync (us), bandwidth (GB/s)",
    )
    add("--output", "-o", metavar="FILE", help="write JSON there")
    add("--plot", metavar="FILE", help="draw a picture, .png or .svg (needs matplotlib)")
    add("--verbose", "-v", action="store_true", help=argparse.SUPPRESS)
    sizes = parser.add_argument_group("the built-in mixture-of-experts transformer")
    for flag, default in SIZES.items():
        sizes.add_argument(f"--{flag}", type=number, metavar="N", help=f"(default: {default})")
    return parser


# The flags that set the built-in model's dimensions; see `auditlint.bench.mixture.Sizes`.
SIZES = {"blocks": 4, "width": 256, "heads": 4, "experts": 8, "chosen": 2, "hidden": 1536, "vocabulary": 8192}


# Tokens that are generated before a study, to see that a model can, and to warm up for a CUDA graph.
MOST_UNTIMED = 4


def limited(most: int) -> Callable[[str], int]:
    """What reads a flag's number, from 1 to `most`."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 20 or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"not a number from 1 to {most:,}: {text!r}")
        return int(text)

    return read


number = limited(1_000_000)


def names(text: str) -> list[str]:
    """A flag's names, parted by commas."""
    found = [name for name in text.replace(",", " ").split() if name]
    if not found:
        raise argparse.ArgumentTypeError("no name is given")
    return found


def known(what: str, given: Sequence[str], there: Iterable[str]) -> list[str]:
    """The given names, each once, in the order of those that there are.

    Raises:
        UsageError: there is none of such a name.
    """
    choices = list(there)
    for name in given:
        if name not in choices:
            close = difflib.get_close_matches(name, choices, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(choices)}"
            raise UsageError(f"no {what} `{name}`; {hint}")
    return [name for name in choices if name in given]


def latency(text: str) -> Latency:
    """The simulated device's latency model, with some of its numbers replaced."""
    from auditlint.bench.devices import LATENCY

    given: dict[str, float] = {}
    for part in names(text):
        name, _, value = part.partition("=")
        if name not in LATENCY._fields:
            raise argparse.ArgumentTypeError(f"no latency `{name}`; there are {', '.join(LATENCY._fields)}")
        try:
            given[name] = float(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"not a number: {part!r}") from None
        if not 0.0 <= given[name] < float("inf"):
            raise argparse.ArgumentTypeError(f"not a latency: {part!r}")
    if given.get("launch") == 0.0:
        raise argparse.ArgumentTypeError("a launch that costs nothing leaves no time to measure")
    return LATENCY._replace(**given)


def check_places(args: argparse.Namespace) -> None:
    """Make sure, before anything runs for minutes, that what was asked for can be written.

    Raises:
        UsageError: it cannot.
    """
    for name in filter(None, (args.output, args.plot)):
        place(name)
    if args.output and args.plot and os.path.abspath(args.output) == os.path.abspath(args.plot):
        raise UsageError(f"{args.plot}: --output and --plot name the same file")
    if not args.plot:
        return
    if os.path.splitext(args.plot)[1].lower() not in PICTURES:
        raise UsageError(f"{args.plot}: a picture is {' or '.join(PICTURES)}")
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("--plot needs matplotlib: pip install 'auditlint[bench]'") from None


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch's CPU kernels use so many threads in the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def built(args: argparse.Namespace, device: Device, positions: int) -> tuple[Any, dict[str, Any]]:
    """The model to measure, on the device, and what the record says of it.

    Raises:
        UsageError: there is no such model, it cannot be built or moved there, or its dimensions do not go together.
    """
    from auditlint.bench import factories, mixture, models

    given = {flag: value for flag in SIZES if (value := getattr(args, flag)) is not None}
    if args.model and given:
        raise UsageError(f"--{next(iter(given))} does not go with --model")
    if args.model:
        model: Any = factories.made(args.model).eval()
        about: dict[str, Any] = {"model": args.model}
    else:
        sizes = mixture.Sizes(*{**SIZES, **given}.values())
        if sizes.width % sizes.heads or sizes.width % 2:
            raise UsageError(f"--width {sizes.width} is no even multiple of --heads {sizes.heads}")
        if sizes.chosen > sizes.experts:
            raise UsageError(f"--chosen {sizes.chosen} of --experts {sizes.experts} cannot be chosen")
        try:
            model = mixture.mixture(sizes, max(positions, MOST_UNTIMED))
        except (RuntimeError, MemoryError) as error:
            raise UsageError(f"the model cannot be built: {factories.one_line(error)}") from None
        about = {"model": "built-in mixture of experts", "sizes": sizes._asdict(), "seed": 0}
    try:
        model = model.to(device.torch_device)
    except Exception as error:
        raise UsageError(f"the model cannot be moved to {device.torch_device}: {factories.one_line(error)}") from None
    return model, {**about, "parameters": models.parameter_count(model), "threads": args.threads}


@contextlib.contextmanager
def device_of(args: argparse.Namespace) -> Iterator[Device]:
    """The device that a study is to run on.

    Raises:
        UsageError: there is no such device, or its clock is not a virtual one and was to be set.
    """
    from auditlint.bench import devices

    with threads(args.threads), devices.opened(args.backend, args.latency or devices.LATENCY) as device:
        if args.latency and not device.simulated:
            raise UsageError(f"--latency sets the clock of the simulated device, and this is {device.backend}")
        yield device


def clock_of(device: Device) -> dict[str, Any]:
    """What the record says of the clock: the latency model of the simulated device, else None."""
    from auditlint.runtime.simulation.clock import CLOCK

    return {"latency_model": CLOCK.latency._asdict() if device.simulated else None}


def finish(
    record: Mapping[str, Any],
    args: argparse.Namespace,
    table: Callable[[Mapping[str, Any]], str],
    draw: Callable[[str], None],
) -> int:
    """Print the table, write the files, and return the exit status."""
    sys.stdout.write(table(record))
    sys.stdout.flush()
    if args.output:
        write(json.dumps(record, indent=1, allow_nan=False) + "\n", args.output, sys.stdout)
    if args.plot:
        try:
            draw(args.plot)
        except OSError as error:
            raise UsageError(f"{args.plot}: cannot be written: {error.strerror}") from None
    if record["interrupted"]:
        warned("interrupted: what is shown and written is of the trials that were finished")
        return INTERRUPTED
    if record["audit_data_equal"] is False:
        failed("the arms recorded different data, so their times cannot be compared")
        return FOUND
    return CLEAN


def nothing_finished() -> int:
    """Say that there is nothing to write; returns the exit status."""
    warned("interrupted before a trial was finished: nothing is written")
    return INTERRUPTED
