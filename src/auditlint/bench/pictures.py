"""Studies as pictures, PNG or SVG by the file's suffix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, NullLocator

from auditlint.bench.tables import percent, size, verdict
from auditlint.bench.timeline import Timeline
from auditlint.console import count

# Of M. Okabe and K. Ito's palette, whose colours the colour-blind can tell apart.
BLUE, SKY, VERMILION, GREEN, ORANGE, GREY = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#E69F00", "#666666"
COLOURS = {"launch": SKY, "wait": VERMILION, "kernel": BLUE, "copy": ORANGE}
WORDS = {
    "launch": "host queues a kernel",
    "wait": "host waits",
    "kernel": "device works",
    "copy": "copy to the host",
}


def overhead(record: Mapping[str, Any], timelines: Sequence[Timeline], path: str) -> None:
    """Tokens per second by arm, with 95 % intervals, and host and device during one token.

    Raises:
        OSError: the file cannot be written.
    """
    arms = record["configurations"]
    heights = [0.45 * len(arms) + 0.9, *([2.6] if timelines else [])]
    figure = Figure(figsize=(8.6, sum(heights) + 1.5), layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _speeds(axes[0], record)
    if timelines:
        _timelines(axes[1], timelines)
    without = "" if timelines else "\nNo timeline: only the simulated device's clock can tell it."
    _save(figure, record, f"What an audit costs{_model(record)}", path, without)


MARKS = {
    "none": (GREY, "o"),
    "no-op": ("black", "x"),
    "item": (VERMILION, "s"),
    "cpu": (ORANGE, "D"),
    "deferred": (SKY, "^"),
    "bank": (BLUE, "v"),
    "bank-compiled": (GREEN, "P"),
}


def probes(record: Mapping[str, Any], path: str) -> None:
    """Time of a token by the number of probes, one panel a scope: medians as lines, up to the 99th percentile a bar.

    Raises:
        OSError: the file cannot be written.
    """
    scopes = list(dict.fromkeys(point["scope"] for point in record["points"]))
    figure = Figure(figsize=(2.4 + 4.4 * len(scopes), 5.4), layout="constrained")
    panels: Any = figure.subplots(1, len(scopes), sharey=True, squeeze=False)[0]
    names: list[str] = []
    for axes, scope in zip(panels, scopes, strict=True):
        points = [point for point in record["points"] if point["scope"] == scope]
        names = list(dict.fromkeys([*names, *(name for point in points for name in point["configurations"])]))
        _by_count(axes, points, names)
        layers = 1 if scope == "one-layer" else len(record["config"]["layers"])
        axes.set_title(f"{scope.replace('-', ' ')} ({layers})", fontsize=10)
        axes.set_xlabel("probes a layer")
    panels[0].set_ylabel("microseconds a token: median, and up to p99")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside right upper")
    _save(figure, record, f"What probes cost: {size(record['config']['parameters'])} parameters", path)


class _Whole(LogFormatter):
    """Numbers of a logarithmic axis without exponents."""

    def __call__(self, value: float, position: int | None = None) -> str:
        return f"{value:,.0f}" if super().__call__(value, position) else ""


def _by_count(axes: Any, points: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        found = [
            (point["probes"], point["configurations"][name]) for point in points if name in point["configurations"]
        ]
        # A little apart, so that arms that cost the same can all be seen.
        counts = [count * 1.06 ** (place - len(names) / 2) for count, _ in found]
        middles = [arm["p50_us"] for _, arm in found]
        above = [arm["p99_us"] - arm["p50_us"] for _, arm in found]
        colour, mark = MARKS[name]
        axes.errorbar(
            counts,
            middles,
            yerr=[[0.0] * len(found), above],
            color=colour,
            marker=mark,
            markersize=5,
            linewidth=1.2,
            capsize=2,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({point["probes"] for point in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    # Numbers between the powers of ten, too: what differs little is all within one.
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter(_Whole(minor_thresholds=(2, 0.6)))
    axes.grid(color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)


def _speeds(axes: Any, record: Mapping[str, Any]) -> None:
    arms = record["configurations"]
    names = list(arms)
    for row, arm in enumerate(arms.values()):
        median = arm["median"]
        low, high = arm["median_ci95"] or (median, median)
        colour = GREY if arm["overhead"] is None else SKY
        axes.barh(row, arm["pass_median"], height=0.62, color=colour, alpha=0.35, zorder=2)
        axes.barh(row, median, height=0.62, color=colour, zorder=2)
        axes.errorbar(median, row, xerr=[[median - low], [high - median]], color="black", capsize=4, zorder=3)
        said = "baseline" if arm["overhead"] is None else f"{percent(arm['overhead'])}  {verdict(record, arm)}"
        axes.annotate(
            f"{median:.4g}   {said}",
            (max(median, high, arm["pass_median"]), row),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(max(arm["spread"]) for arm in arms.values()) * 1.42)
    axes.set_xlabel(
        "tokens per second, median and 95 % interval; overhead and verdict beside it\n"
        "pale: without the reading of the log"
    )
    _plain(axes)


def _timelines(axes: Any, timelines: Sequence[Timeline]) -> None:
    labels = []
    for row, timeline in enumerate(timelines):
        for lane, where in enumerate(("host", "device")):
            top = row * 2.6 + lane
            labels.append((top + 0.4, f"{timeline.arm}: {where}"))
            for what in COLOURS:
                bars = [
                    (span.start, span.end - span.start)
                    for span in timeline.spans
                    if (span.where, span.what) == (where, what)
                ]
                axes.broken_barh(bars, (top, 0.8), facecolors=COLOURS[what], linewidth=0)
        end = max(span.end for span in timeline.spans)
        axes.annotate(
            f"{end:.0f} us", (end, row * 2.6 + 1.4), (5, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks([place for place, _ in labels], [label for _, label in labels])
    axes.invert_yaxis()
    axes.set_xlim(0, max(span.end for timeline in timelines for span in timeline.spans) * 1.12)
    axes.set_xlabel("one token from an idle device, virtual microseconds")
    axes.legend(
        handles=[Patch(color=COLOURS[what], label=WORDS[what]) for what in COLOURS],
        ncols=4,
        fontsize=8,
        loc="upper center",
        bbox_to_anchor=(0.45, -0.24),
        frameon=False,
    )
    _plain(axes)


def _model(record: Mapping[str, Any]) -> str:
    config = record["config"]
    return f": {size(config['parameters'])} parameters, {count(config['tokens'], 'token')} a trial"


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", zorder=0)
    axes.set_axisbelow(True)


def _save(figure: Figure, record: Mapping[str, Any], title: str, path: str, note: str = "") -> None:
    """Write the picture, which says where its numbers come from."""
    environment = record["environment"]
    stopped = " Interrupted: finished trials only." if record["interrupted"] else ""
    figure.suptitle(title, fontsize=12)
    colour = VERMILION if environment["times"] == "simulated" else GREY
    label = environment["label"].replace(": an invented", ":\nan invented")
    figure.supxlabel(f"{label}.{stopped} torch {environment['torch']}{note}", fontsize=8, color=colour)
    with matplotlib.rc_context({"svg.hashsalt": "auditlint"}):
        figure.savefig(path, dpi=150)
