"""Builds what stands in front of the variants of one deployment.

    caller ─► Service <name>:80 ─► router pods:8080 ─┬─► variant a (headless Service)
                                     │ agent         └─► variant b, and copies to a shadow
                                     └─ watches ConfigMap <name>-routes through the API

The agent reads its routes through the API because a mounted ConfigMap arrives up to a minute late. That is why these
pods, alone among all, carry a token: it may read this one ConfigMap and nothing else.
"""

from dataclasses import dataclass

from plumbline_contract.routes import MEASURE_PORT, ROUTER_PORT, ROUTES_KEY, Routes
from plumbline_operator.build.job import SCRATCH, container_security, pod_security, scratch
from plumbline_operator.build.variant import disruption_budget, probe, rolling
from plumbline_operator.model.meta import GROUP, Manifest
from plumbline_operator.model.names import child_name, label_value

ROUTER_LABEL = f"{GROUP}/router"  # on router pods: name of the deployment they stand in front of
SERVICE_PORT = 80
GRACE_SECONDS = 45  # the agent drains for 5 s on SIGTERM, then open requests get 30 s
REQUESTS = {"cpu": "100m", "memory": "128Mi"}
LIMITS = {"memory": "512Mi"}
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Router:
    """The router of one deployment."""

    deployment: str
    namespace: str
    image: str
    pull_policy: str
    replicas: int = 2
    node_port: int | None = None


def router_name(deployment: str) -> str:
    """Name of the router's Deployment, ServiceAccount, Role and RoleBinding."""
    return child_name(deployment, "router")


def routes_name(deployment: str) -> str:
    """Name of the ConfigMap that holds the routes."""
    return child_name(deployment, "routes")


def router_labels(deployment: str) -> dict[str, str]:
    """The label by which router pods are found."""
    return {ROUTER_LABEL: label_value(deployment)}


def routes_map(routes: Routes, as_read: str = "") -> Manifest:
    """The ConfigMap whose one write moves the traffic.

    as_read: the resourceVersion that these routes follow upon; they are not written over anything newer.
    """
    version = {"resourceVersion": as_read} if as_read else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": routes_name(routes.deployment)} | version,
        "data": {ROUTES_KEY: routes.canonical().decode()},
    }


def router_children(router: Router) -> tuple[Manifest, ...]:
    """Everything the router needs besides its routes; rights first, so that its first call succeeds."""
    children = [*_rights(router), _deployment(router), _service(router)]
    if router.replicas > 1:
        children.append(disruption_budget(router_name(router.deployment), router_labels(router.deployment)))
    return tuple(children)


def _rights(router: Router) -> tuple[Manifest, ...]:
    name = router_name(router.deployment)
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [routes_name(router.deployment)],
        "verbs": ["get", "watch"],
    }
    subject = {"kind": "ServiceAccount", "name": name, "namespace": router.namespace}
    return (
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name},
            "automountServiceAccountToken": False,
        },
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    )


def _deployment(router: Router) -> Manifest:
    name, labels = router_name(router.deployment), router_labels(router.deployment)
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "topologySpreadConstraints": [_apart(labels)],
        "containers": [_container(router)],
        "volumes": [scratch("1Gi")],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": router.replicas,
            "selector": {"matchLabels": labels},
            "strategy": rolling(),
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _apart(labels: Manifest) -> Manifest:
    """Not on one node, where there is a choice: a node takes all its pods along."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }


def _container(router: Router) -> Manifest:
    return {
        "name": "router",
        "image": router.image,
        "imagePullPolicy": router.pull_policy,
        "env": [
            {"name": "PLUMBLINE_ROUTES_NAMESPACE", "value": router.namespace},
            {"name": "PLUMBLINE_ROUTES_NAME", "value": routes_name(router.deployment)},
            {"name": "TMPDIR", "value": SCRATCH},
        ],
        "ports": [
            {"name": "http", "containerPort": ROUTER_PORT, "protocol": "TCP"},
            {"name": "measure", "containerPort": MEASURE_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": dict(REQUESTS), "limits": dict(LIMITS)},
        "startupProbe": probe("/healthz", MEASURE_PORT, period=1, failures=60),
        # Envoy itself answers this one: an agent that is away must not take Envoy along.
        "livenessProbe": probe("/router/live", ROUTER_PORT, period=10, failures=6),
        # The agent answers it, and may be away for a moment while Envoy goes on: were all pods unready for that reason,
        # nobody could connect. A pod that is told to go leaves the Service's addresses without this.
        "readinessProbe": probe("/ready", MEASURE_PORT, period=1, failures=30),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}],
    }


def _service(router: Router) -> Manifest:
    port: Manifest = {"name": "http", "port": SERVICE_PORT, "targetPort": ROUTER_PORT, "protocol": "TCP"}
    if router.node_port is not None:
        port["nodePort"] = router.node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": router.deployment, "labels": router_labels(router.deployment)},
        "spec": {
            "type": "ClusterIP" if router.node_port is None else "NodePort",
            "selector": router_labels(router.deployment),
            "ports": [port],
        },
    }
