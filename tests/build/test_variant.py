"""What serves one version, and the router before it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from plumbline_contract.routes import Backend, Routes, ServingSettings
from plumbline_operator.build.job import Credentials, Resources
from plumbline_operator.build.router import Router, router_children, router_name, routes_map, routes_name
from plumbline_operator.build.variant import Variant, variant_children
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Impossible

SETTINGS = ServingSettings(
    namespace="team",
    deployment="late",
    variant="late-v-1",
    model_name="flights",
    manifest="sha256:" + "1" * 64,
    bucket="models",
    redact={"tail": "Hash"},
)
VARIANT = Variant(
    name="late-v-1",
    image="plumbline/serving:test",
    pull_policy="IfNotPresent",
    settings=SETTINGS,
    credentials=Credentials("keys"),
    resources=Resources({"cpu": "1"}, {"nvidia.com/gpu": "1"}),
    minimum=1,
    maximum=1,
    target_cpu_percent=70,
)
ROUTER = Router("late", "team", "plumbline/router:test", "IfNotPresent")


def kinds(children: tuple[Manifest, ...]) -> list[str]:
    return [one["kind"] for one in children]


def pod_of(children: tuple[Manifest, ...]) -> Any:
    return next(one for one in children if one["kind"] == "Deployment")["spec"]["template"]["spec"]


def assert_restricted(pod: Any) -> None:
    """Pod Security `restricted`: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} == {"emptyDir"}
    for one in pod["containers"]:
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected"),
    [
        (1, 1, ["Deployment", "Service"]),
        (1, 3, ["Deployment", "Service", "HorizontalPodAutoscaler"]),
        (2, 2, ["Deployment", "Service", "PodDisruptionBudget"]),
        (2, 3, ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]),
    ],
)
def test_a_variant_has_what_its_size_needs(minimum: int, maximum: int, expected: list[str]) -> None:
    children = variant_children(replace(VARIANT, minimum=minimum, maximum=maximum))
    assert kinds(children) == expected


@pytest.mark.parametrize(("present", "expected"), [(0, 2), (1, 2), (3, 3), (5, 4)])
def test_a_deployment_keeps_what_the_autoscaler_decided_within_its_bounds(present: int, expected: int) -> None:
    children = variant_children(replace(VARIANT, minimum=2, maximum=4, present=present))
    assert children[0]["spec"]["replicas"] == expected


def test_everything_of_a_variant_is_found_by_one_label() -> None:
    children = variant_children(replace(VARIANT, minimum=2, maximum=3))
    assert {one["metadata"]["labels"]["plumbline.dev/variant"] for one in children} == {"late-v-1"}
    assert {one["metadata"]["name"] for one in children} == {"late-v-1"}


def test_a_server_is_restricted_and_carries_no_token() -> None:
    pod = pod_of(variant_children(VARIANT))
    assert_restricted(pod)
    assert pod["automountServiceAccountToken"] is False


def test_a_server_is_told_everything_in_one_document() -> None:
    server = pod_of(variant_children(VARIANT))["containers"][0]
    env = {one["name"]: one for one in server["env"]}
    assert ServingSettings.model_validate_json(env["PLUMBLINE_SERVING"]["value"]) == SETTINGS
    assert env["AWS_ACCESS_KEY_ID"]["valueFrom"] == {"secretKeyRef": {"name": "keys", "key": "AWS_ACCESS_KEY_ID"}}
    assert server["resources"] == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    assert server["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"


def test_settings_that_no_server_can_be_given_are_refused_before_there_is_a_pod() -> None:
    personal = {f"{number:0>256}": "Drop" for number in range(2000)}
    with pytest.raises(Impossible, match=r"PLUMBLINE_SERVING would take .* fewer columns of personal data"):
        variant_children(replace(VARIANT, settings=SETTINGS.model_copy(update={"redact": personal})))


def test_a_variants_pods_are_never_fewer_while_they_are_replaced() -> None:
    rollout = variant_children(VARIANT)[0]["spec"]["strategy"]["rollingUpdate"]
    assert rollout == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_variants_service_keeps_the_addresses_of_pods_that_are_leaving() -> None:
    spec = variant_children(VARIANT)[1]["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True


def test_a_router_may_read_its_routes_and_nothing_else() -> None:
    children = router_children(ROUTER)
    role = next(one for one in children if one["kind"] == "Role")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["late-routes"],
            "verbs": ["get", "watch"],
        }
    ]
    binding = next(one for one in children if one["kind"] == "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "late-router", "namespace": "team"}]
    pod = pod_of(children)
    assert_restricted(pod)
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("late-router", True)


def test_rights_come_before_the_pods_that_use_them() -> None:
    order = kinds(router_children(ROUTER))
    assert order.index("RoleBinding") < order.index("Deployment")


def test_callers_reach_the_router_under_the_deployments_name() -> None:
    service = next(one for one in router_children(ROUTER) if one["kind"] == "Service")
    assert service["metadata"]["name"] == "late"
    assert service["spec"]["type"] == "ClusterIP"
    assert [(one["port"], one["targetPort"]) for one in service["spec"]["ports"]] == [(80, 8080)]
    outside = next(one for one in router_children(replace(ROUTER, node_port=30080)) if one["kind"] == "Service")
    assert (outside["spec"]["type"], outside["spec"]["ports"][0]["nodePort"]) == ("NodePort", 30080)


def test_several_routers_are_drained_one_at_a_time() -> None:
    assert "PodDisruptionBudget" not in kinds(router_children(replace(ROUTER, replicas=1)))
    assert "PodDisruptionBudget" in kinds(router_children(ROUTER))
    (apart,) = pod_of(router_children(ROUTER))["topologySpreadConstraints"]
    assert (apart["topologyKey"], apart["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")


def test_an_agent_that_is_begun_again_keeps_its_pod_among_the_services_addresses() -> None:
    router = pod_of(router_children(ROUTER))["containers"][0]
    ready, live = router["readinessProbe"], router["livenessProbe"]
    seconds = ready["periodSeconds"] * ready["failureThreshold"]
    assert 10 <= seconds < live["periodSeconds"] * live["failureThreshold"]


def test_routes_lie_in_one_document_that_reads_back() -> None:
    routes = Routes(generation=3, deployment="late", backends=(Backend(variant="a", host="a.team.svc", weight=100),))
    manifest = routes_map(routes)
    assert manifest["metadata"]["name"] == routes_name("late")
    assert Routes.model_validate(json.loads(manifest["data"]["routes.json"])) == routes


def test_names_fit_however_long_the_deployment_is_named() -> None:
    longest = "a" * 48
    assert max(len(router_name(longest)), len(routes_name(longest))) <= 63
