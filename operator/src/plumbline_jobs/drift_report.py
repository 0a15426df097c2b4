"""The drift report: one HTML page that needs nothing else. No script, no address, every value escaped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from plumbline_contract.runspec import Drift
from plumbline_jobs.histograms import Bins, Comparison, worst_first
from plumbline_jobs.snapshot import written

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 100  # features with a histogram; all are in the table
WIDTH, HEIGHT = 640, 160  # of a histogram, in pixels
LABEL_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: its name, rows and share of both distributions, and the rectangles (x, y, width, height) in pixels."""

    label: str
    training: int
    window: int
    training_share: float
    window_share: float
    left: tuple[float, float, float, float]
    right: tuple[float, float, float, float]


def page(spec: Drift, rows: int, found: Sequence[Comparison]) -> str:
    """The report as HTML. The same inputs give the same text."""
    listed = worst_first(found)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("drift.html.j2").render(
        spec=spec,
        rows=rows,
        since=written(spec.since),
        until=written(spec.until),
        training=_training(spec),
        found=listed,
        drawn=[(one, list(bars(one))) for one in listed[:SHOWN] if one.training],
        width=WIDTH,
        height=HEIGHT,
    )


def bars(one: Comparison) -> Iterator[Bar]:
    """The bins of one feature, drawn side by side: training left, window right, heights by share."""
    totals = max(sum(one.training), 1), max(sum(one.window), 1)
    shares = [(t / totals[0], w / totals[1]) for t, w in zip(one.training, one.window, strict=True)]
    tallest = max((max(pair) for pair in shares), default=0.0) or 1.0
    step = WIDTH / max(len(shares), 1)
    for place, (label, (training, window)) in enumerate(zip(labels(one.bins), shares, strict=True)):
        x, wide = place * step + 0.1 * step, 0.4 * step
        yield Bar(
            label=label,
            training=one.training[place],
            window=one.window[place],
            training_share=training,
            window_share=window,
            left=_rectangle(x, wide, training / tallest),
            right=_rectangle(x + wide, wide, window / tallest),
        )


def labels(bins: Bins) -> list[str]:
    """The name of each bin: an interval, or a category."""
    if not bins.edges:
        return [*(category[:LABEL_LENGTH] for category in bins.categories), "(any other value)"]
    edges = [f"{edge:.6g}" for edge in bins.edges]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"below {edges[0]}", *inner, f"above {edges[-1]}"]


def _rectangle(x: float, wide: float, part: float) -> tuple[float, float, float, float]:
    tall = part * HEIGHT
    return round(x, 2), round(HEIGHT - tall, 2), round(wide, 2), round(tall, 2)


def _training(spec: Drift) -> str:
    window = spec.training_window
    if window is None or (window.since is None and window.until is None):
        return "all rows"
    since = "the beginning" if window.since is None else written(window.since)
    until = "the end" if window.until is None else written(window.until)
    return f"event time from {since} until {until}"
