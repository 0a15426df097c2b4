"""Independent computations and small readers for the end-to-end tests; nothing of the product computes here."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import scipy.stats

from examples.flights.replay import requests
from plumbline_contract import layout
from tests.support.demo.data import BUCKET, client_of, prepared
from tests.support.demo.traffic import Request

if TYPE_CHECKING:
    from tests.e2e.conftest import Told

FLOOR = 1e-4  # smallest share inside the logarithm, as the product documents it
TRAINED_UNTIL = datetime.fromisoformat("2013-07-01T00:00:00+00:00")


def departures() -> Callable[[], Iterator[Request]]:
    """Requests from the held-out months, without end."""
    rows = pl.read_parquet(prepared() / "features" / "departures.parquet")
    return lambda: itertools.chain.from_iterable(
        requests(rows, "2013-09-01", "2014-01-01", seed=n) for n in itertools.count()
    )


def titles(chain: dict[str, Any]) -> set[str]:
    """Every kind of link in an explained chain."""
    return {chain["what"]} | {title for below in chain["restsOn"] for title in titles(below)}


def link(chain: dict[str, Any], what: str) -> dict[str, Any]:
    """The first link of this kind."""
    if chain["what"] == what:
        return chain
    for below in chain["restsOn"]:
        if what in titles(below):
            return link(below, what)
    raise AssertionError(f"the chain has no {what}")


def psi_of_temp(told: Told, window: dict[str, Any]) -> float:
    """PSI of `temp`: the training rows against the logged rows of a window, over the snapshot's stored edges.

    The symmetric sum of two relative entropies (scipy), which equals the textbook sum of (q - p) ln(q / p).
    """
    s3 = client_of(told.cluster.s3)
    edges = _edges(told, s3)
    trained = pl.read_parquet(prepared() / "features" / "departures.parquet").filter(
        pl.col("event_time") < TRAINED_UNTIL
    )["temp"]
    logged = _logged(told, s3, datetime.fromisoformat(window["since"]), datetime.fromisoformat(window["until"]))
    # The model takes float32, so the log holds float32; a training value on an edge must round the same way.
    bins = np.concatenate(([-np.inf], edges[:-1], [np.nextafter(edges[-1], np.float32(np.inf)), np.inf]))
    shares = [
        np.histogram(values.astype(np.float32).astype(float), bins=bins.astype(float))[0] / len(values)
        for values in (trained.to_numpy(), logged)
    ]
    p, q = (np.maximum(share, FLOOR) for share in shares)
    return float(sum(scipy.special.rel_entr(a, b).sum() for a, b in ((p, q), (q, p))))


def _edges(told: Told, s3: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    snapshot = told.admin.get("dataset", "departures")["status"]["latestSnapshot"]
    profile = json.loads(_blob(s3, snapshot["profile"]))
    column = next(c for c in profile["columns"] if c["name"] == "temp")
    return np.array(column["edges"], dtype=np.float32)


def _blob(s3: Any, digest: str) -> bytes:
    body: bytes = s3.get_object(Bucket=BUCKET, Key=layout.blob("store/flights", digest))["Body"].read()
    return body


def _logged(told: Told, s3: Any, since: datetime, until: datetime) -> np.ndarray[Any, np.dtype[np.float64]]:
    """`in.temp` of the primary's records of the variant that served in the window."""
    release = told.facts["drift"]["after"]
    prefix = layout.predictions("store/flights", "flights", "late-arrival")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    variant = told.facts["rollback"]["from"]
    frames = []
    for key in keys:
        if f"/{variant}/" not in key:
            continue
        table = pq.read_table(io.BytesIO(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()))
        frames.append(pl.from_arrow(table.select(["time", "role", "in.temp"])))
    rows = pl.concat(frames).filter(
        (pl.col("role") == "primary") & (pl.col("time") >= since) & (pl.col("time") < until)
    )
    assert len(rows) == release["rows"], f"the monitor read {release['rows']} rows, the log holds {len(rows)}"
    return rows["in.temp"].to_numpy()
