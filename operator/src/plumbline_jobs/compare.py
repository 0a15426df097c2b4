"""Joins what a primary and its shadow said of the same rows, and counts how often they agree.

A mirrored request keeps its request id, so (request id, row) pairs the two. Both logs are read once; memory holds
three columns of each.
"""

from collections.abc import Iterator

import polars as pl

from plumbline_contract.prediction import OUTPUT_PREFIX
from plumbline_contract.report import Outcome, Report
from plumbline_contract.runspec import Compare
from plumbline_jobs import places
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused
from plumbline_jobs.io.store import Store
from plumbline_jobs.log import log
from plumbline_jobs.predictions import PredictionLog, Role, Span, between

PAIR = ["request_id", "row"]


def run(spec: Compare) -> Answer:
    """Numbers pairs, and, when there are any, agreement (share of pairs) and meanDifference (shadow minus primary).

    Raises Refused, reason DataUnavailable, when predictions were logged without the output that is compared.
    """
    with places.scratch() as folder:
        logged = PredictionLog(Store.connect(spec.storage), spec.owner, spec.deployment, folder)
        primary = _predictions(logged, spec, "primary")
        # The copy may be answered in the hour after the original's.
        shadow = _predictions(logged, spec, "shadow")
    pairs = primary.join(shadow, on=PAIR, suffix="_shadow")
    numbers = compared(pairs["value"], pairs["value_shadow"], spec.tolerance)
    details = {"primaryRows": primary.height, "shadowRows": shadow.height}
    log("predictions compared", pairs=pairs.height, primary=primary.height, shadow=shadow.height)
    return Answer(Report(outcome=Outcome.DONE, numbers=numbers), details)


def compared(primary: pl.Series, shadow: pl.Series, tolerance: float) -> dict[str, float]:
    """Numbers of paired predictions, both of shape (pairs,).

    Numbers agree when they differ by at most `tolerance`; texts agree when they are equal. What is NaN or missing
    agrees with nothing, and has no part in the mean difference.
    """
    numbers = {"pairs": float(len(primary))}
    if not len(primary):
        return numbers
    if pl.String in (primary.dtype, shadow.dtype):
        agree = primary.cast(pl.String) == shadow.cast(pl.String)
        return numbers | {"agreement": _share(agree)}
    difference = shadow.cast(pl.Float64) - primary.cast(pl.Float64)
    finite = difference.filter(difference.is_finite().fill_null(value=False))
    numbers["agreement"] = _share((difference.abs() <= tolerance) & difference.is_finite())
    if len(finite):
        numbers["meanDifference"] = float(finite.sum()) / len(finite)
    return numbers


def _share(agree: pl.Series) -> float:
    return float(agree.fill_null(value=False).sum()) / len(agree)


def _predictions(logged: PredictionLog, spec: Compare, role: Role) -> pl.DataFrame:
    """Request id, row and value. A request id that a caller used twice pairs nothing: which was which is unknown."""
    frames = list(_frames(logged, spec, role))
    if not frames:
        return pl.DataFrame(schema={"request_id": pl.String, "row": pl.Int32, "value": pl.Float64})
    return pl.concat(frames, how="vertical_relaxed").unique(subset=PAIR, keep="none", maintain_order=True)


def _frames(logged: PredictionLog, spec: Compare, role: Role) -> Iterator[pl.DataFrame]:
    column = OUTPUT_PREFIX + spec.output
    span = Span(spec.since, spec.until, late=0 if role == "primary" else 1)
    variant = spec.primary if role == "primary" else spec.shadow
    for frame in logged.frames(variant, role, span, [*PAIR, column]):
        inside = between(frame, span) if role == "primary" else frame
        if not inside.height:
            continue
        if column not in inside.columns:
            known = f"spec.agreement.output is `{spec.output}`"
            raise Refused("DataUnavailable", f"variant {variant} logs no output `{spec.output}`; {known}: correct it")
        yield inside.select(*PAIR, one_number(inside[column]).alias("value"))


def one_number(values: pl.Series) -> pl.Series:
    """The prediction of each row: the value itself, or of a list (probabilities of two classes) the last."""
    return values.list.last() if isinstance(values.dtype, pl.List) else values
