"""Totals of what was known before an instant: the one place where the future could leak in.

An event counts for a row if it became known strictly before the row's instant. With whole minutes that loses at
most what happened in the same minute, and a flight never counts for itself by happening exactly on time. Events
known in the same minute are added up before they are accumulated, so no order among them can change a total;
values are integers, so neither can the order of a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def totals_between(
    rows: pl.DataFrame, events: pl.DataFrame, keys: Sequence[str], values: Sequence[str], minutes: int
) -> pl.DataFrame:
    """Sums of `values` over events with the row's keys that became known in [due - minutes, due).

    rows: columns `row` (0..n-1, ascending), `due` and the keys. events: `known`, the keys, integer `values`.
    Returns shape (n, len(values)), in the rows' order; no event gives 0.
    """
    totals = running_totals(events, keys, values)
    return totals_before(rows, totals, keys, values) - totals_before(rows, totals, keys, values, minutes)


def running_totals(events: pl.DataFrame, keys: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """Totals of `values` up to and including each minute `known` at which an event of the same keys became known."""
    return (
        events.group_by([*keys, "known"])
        .agg(pl.col(values).sum())
        .sort("known", *keys)
        .with_columns(pl.col(values).cum_sum().over(keys) if keys else pl.col(values).cum_sum())
    )


def totals_before(
    rows: pl.DataFrame, totals: pl.DataFrame, keys: Sequence[str], values: Sequence[str], minutes_ago: int = 0
) -> pl.DataFrame:
    """The running totals as they stood just before `due - minutes_ago`, in the rows' order; nothing known gives 0."""
    asked = rows.select("row", *keys, asked=pl.col("due") - minutes_ago).sort("asked", "row")
    # Both sides are sorted two lines above and in `running_totals`; polars cannot check that within keys.
    found = asked.join_asof(
        totals,
        left_on="asked",
        right_on="known",
        by=list(keys) or None,
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return found.sort("row").select(pl.col(values).fill_null(0))
