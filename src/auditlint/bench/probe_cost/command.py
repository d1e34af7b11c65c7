"""`auditlint probe-cost`: what linear probes cost beside the forward pass that they ride on."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable

from auditlint.bench.probe_cost import report
from auditlint.bench.probe_cost.cost import ONE_LAYER, SCOPES, Question, cost
from auditlint.bench.probe_cost.latency import ILLUSTRATION, Latencies, measured, nearest
from auditlint.bench.probe_cost.numerals import amount
from auditlint.bench.probe_cost.presets import DEFAULT, DEFAULT_DTYPE, DTYPES, LIMITS, PRESETS, PROBE_DTYPES, Model
from auditlint.console import CLEAN, UsageError, new_parser, width_of

_USAGE = """auditlint probe-cost [OPTIONS] [--preset NAME]
       auditlint probe-cost [OPTIONS] --params N --d-model N --layers N
       auditlint probe-cost [OPTIONS] --model MODULE:FACTORY"""

_SUFFIXES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def main(arguments: list[str]) -> int:
    """Print what the probes cost, and write the page that `--html` names; returns the exit status.

    Raises:
        UsageError: the arguments cannot be obeyed.
    """
    args = _parser().parse_args(arguments)
    if args.list_presets:
        sys.stdout.write(report.presets())
        return CLEAN
    model = _model(args)
    dtype = args.dtype or model.dtype or DEFAULT_DTYPE
    question = Question(model, args.probes, args.scope, dtype, args.probe_dtype or DTYPES[dtype].activations)
    latencies = measured(args.measured) if args.measured else (Latencies(ILLUSTRATION),)
    answer = cost(question, nearest(latencies, args.probes, args.scope))
    if args.html:
        from auditlint.bench.probe_cost import page

        _write(args.html, page.render(question, latencies))
    if args.json:
        sys.stdout.write(report.as_json(question, answer, shlex.join(["auditlint", "probe-cost", *arguments])))
    else:
        sys.stdout.write(report.render(question, answer, width_of(sys.stdout)))
    return CLEAN


def _model(args: argparse.Namespace) -> Model:
    """The model that is asked about: read off, a preset, or given in numbers."""
    if args.model:
        _refuse_beside("--model", args, ("preset", "params"))
        from auditlint.bench.probe_cost import reading

        model = reading.read(args.model, reading.Given(args.active_params, args.d_model, args.layers))
        for name, value in (("params", model.params), ("d_model", model.d_model), ("layers", model.layers)):
            _check(f"--model {args.model}: {name}", value, LIMITS[name])
        return model
    sizes = ("params", "active_params", "d_model", "layers")
    if args.preset or all(getattr(args, name) is None for name in sizes):
        _refuse_beside("--preset", args, sizes)
        return _preset(args.preset or DEFAULT)
    for name in ("params", "d_model", "layers"):
        if getattr(args, name) is None:
            raise UsageError(f"{_flag(name)} is missing: a model is a preset, or --params, --d-model and --layers")
    active = args.active_params or args.params
    if active > args.params:
        raise UsageError(f"--active-params {active:,} is more than --params {args.params:,}")
    return Model("a model of your own", args.params, active, args.d_model, args.layers, "from the command line")


def _refuse_beside(flag: str, args: argparse.Namespace, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(args, name) is not None:
            raise UsageError(f"{_flag(name)} does not go with {flag}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _preset(name: str) -> Model:
    if name.lower() in PRESETS:
        return PRESETS[name.lower()]
    import difflib

    close = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.5)
    hint = f"; did you mean `{close[0]}`?" if close else "; --list-presets lists them"
    raise UsageError(f"no preset `{name}`{hint}")


def _check(what: str, value: int, limits: tuple[int, int]) -> None:
    least, most = limits
    if not least <= value <= most:
        raise UsageError(f"{what} is {value:,}, and must be from {least:,} to {most:,}")


def _number(limit: str) -> Callable[[str], int]:
    """What reads a number within these limits: 7e9, 7B, 7_000_000_000."""

    def read(text: str) -> int:
        digits, factor = text.replace("_", "").replace(",", ""), 1
        if digits[-1:].upper() in _SUFFIXES:
            digits, factor = digits[:-1], _SUFFIXES[digits[-1:].upper()]
        try:
            value = float(digits) * factor
            whole = round(value)
        except (ValueError, OverflowError):
            raise argparse.ArgumentTypeError(f"not a number: {text!r}") from None
        least, most = LIMITS[limit]
        if abs(value - whole) > 1e-6 or not least <= whole <= most:
            raise argparse.ArgumentTypeError(f"not a whole number from {least:,} to {amount(most)}: {text!r}")
        return whole

    return read


def _write(path: str, text: str) -> None:
    from auditlint.source.atomic import write_atomically

    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device is written to, not replaced
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        prog="auditlint probe-cost",
        usage=_USAGE,
        description="Say what linear probes cost a token: computed arithmetic and bytes, and bands for the latency.",
        epilog="Latencies are illustrative unless --measured names a result of `auditlint bench`.",
    )
    add = parser.add_argument
    add("--preset", metavar="NAME", help=f"a known model (default: {DEFAULT})")
    add("--list-presets", action="store_true", help="the known models, and where their sizes are from")
    add("--model", metavar="MODULE:FACTORY", help="read the size off the nn.Module that this returns; needs torch")
    add("--params", type=_number("params"), metavar="N", help="parameters of the model: 7e9, 7B")
    add("--active-params", type=_number("params"), metavar="N", help="those at work for a token (default: all)")
    add("--d-model", type=_number("d_model"), metavar="N", help="width of the hidden state")
    add("--layers", type=_number("layers"), metavar="N", help="blocks of the model")
    add("--probes", type=_number("probes"), default=1, metavar="N", help="probes on each probed layer (default: 1)")
    add("--scope", choices=SCOPES, default=ONE_LAYER, help="the probed layers (default: one-layer)")
    add("--dtype", choices=tuple(DTYPES), help=f"of the model's weights (default: its own, or {DEFAULT_DTYPE})")
    add("--probe-dtype", choices=PROBE_DTYPES, help="of the probes (default: what the model computes in)")
    add("--measured", metavar="FILE", help="take latencies from a result file of `auditlint bench`")
    add("--json", action="store_true", help="print one JSON object")
    add("--html", metavar="FILE", help="write the instrument there, a page that computes the same")
    add("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)
    return parser
