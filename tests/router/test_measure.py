"""Counters that only grow, by variant, shadows apart."""

from plumbline_router.measure import Meter
from tests.router.processes import backend, routes

ROUTES = routes(7, backend("a", 1, 90), backend("b", 2, 10), shadow=backend("c", 3, 100))


def counters(completed: int) -> dict[str, object]:
    return {"cluster.serve-a.upstream_rq_completed": completed}


def test_counts_are_by_variant_and_shadows_are_apart() -> None:
    meter = Meter()
    meter.take(
        {
            "cluster.serve-a.upstream_rq_completed": 90,
            "cluster.serve-a.upstream_rq_5xx": 2,
            "cluster.serve-a.upstream_rq_total": 95,
            "cluster.shadow-c.upstream_rq_completed": 80,
            "cluster.shadow-c.upstream_rq_total": 85,
            "cluster.shadow-c.upstream_rq_pending_overflow": 5,
            "cluster.shadow-c.upstream_cx_none_healthy": 3,
        }
    )
    found = meter.measured("router-0", ROUTES)
    assert (found.pod, found.generation) == ("router-0", 7)
    assert found.requests == {"a": 90, "b": 0}
    assert found.failures == {"a": 2, "b": 0}
    assert found.mirrored == {"c": 85}
    assert found.mirror_dropped == {"c": 8}


def test_a_variant_that_comes_back_counts_on() -> None:
    meter = Meter()
    for value in (10, 40, 0, 5, 7, 3):
        meter.take(counters(value))
    assert meter.measured("router-0", ROUTES).requests["a"] == 40 + 7 + 3


def test_without_routes_the_generation_is_zero_and_nothing_is_claimed() -> None:
    found = Meter().measured("router-0", None)
    assert found.generation == 0
    assert found.requests == {}
