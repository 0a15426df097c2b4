"""Builds what serves one version: pods, their addresses, and how many of them there are.

Deployment <variant>   pods that load one model by digest and answer Open Inference Protocol v2 on 8080
Service <variant>      headless: a router balances over the ready pods itself
HorizontalPodAutoscaler, PodDisruptionBudget   only where they mean something
"""

from collections.abc import Mapping
from dataclasses import dataclass

from plumbline_contract.routes import SERVING_PORT, SERVING_VARIABLE, ServingSettings
from plumbline_operator.build.job import (
    SCRATCH,
    Credentials,
    Resources,
    container_security,
    credential_variables,
    pod_security,
    scratch,
    variable,
)
from plumbline_operator.model.meta import GROUP, Manifest

VARIANT_LABEL = f"{GROUP}/variant"  # on everything that belongs to a variant: the variant's name
GRACE_SECONDS = 60  # on SIGTERM the server drains for 8 s, finishes answers for 10 s, writes its log for at most 30 s
SCRATCH_SIZE = "10Gi"
ADVICE = "Serve a version that was trained on fewer columns of personal data, or on columns with shorter names."


@dataclass(frozen=True, slots=True)
class Variant:
    """One version as it is served."""

    name: str
    image: str
    pull_policy: str
    settings: ServingSettings
    credentials: Credentials
    resources: Resources
    minimum: int
    maximum: int
    target_cpu_percent: int
    present: int = 0  # replicas its Deployment has now; 0: it does not exist

    @property
    def replicas(self) -> int:
        """How many to ask for: what the autoscaler last decided, within its bounds.

        Leaving the field to the autoscaler would have the API server default it to 1, when a variant is made and
        again when autoscaling is switched on.
        """
        return max(self.minimum, min(self.present, self.maximum))


def variant_children(variant: Variant) -> tuple[Manifest, ...]:
    """Everything that serves one version. Raises Impossible when its settings do not fit into a container."""
    children = [deployment(variant), headless_service(variant.name)]
    if variant.maximum > variant.minimum:
        children.append(autoscaler(variant))
    if variant.minimum > 1:
        children.append(disruption_budget(variant.name, selector(variant.name)))
    return tuple(children)


def selector(variant: str) -> dict[str, str]:
    """The label by which a variant's pods, and whatever else belongs to it, are found."""
    return {VARIANT_LABEL: variant}


def deployment(variant: Variant) -> Manifest:
    """The pods."""
    labels = selector(variant.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": variant.name, "labels": labels},
        "spec": {
            "replicas": variant.replicas,
            "selector": {"matchLabels": labels},
            "strategy": rolling(),
            "template": {"metadata": {"labels": labels}, "spec": _pod(variant)},
        },
    }


def rolling() -> Manifest:
    """Replace pods one by one, never with fewer ready than before."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def headless_service(name: str) -> Manifest:
    """The addresses of a variant's pods, ready or not: Envoy asks each one itself, every second.

    A pod that is told to go answers for some seconds more. Were it left out, a variant of one pod would have no address
    at all until its successor is ready, and requests would fail.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": selector(name)},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(name),
            "ports": [{"name": "http", "port": SERVING_PORT, "targetPort": SERVING_PORT, "protocol": "TCP"}],
        },
    }


def autoscaler(variant: Variant) -> Manifest:
    """More pods under load, by CPU use."""
    utilization = {"type": "Utilization", "averageUtilization": variant.target_cpu_percent}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": variant.name, "labels": selector(variant.name)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": variant.name},
            "minReplicas": variant.minimum,
            "maxReplicas": variant.maximum,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
        },
    }


def disruption_budget(name: str, labels: Mapping[str, str]) -> Manifest:
    """A node that is drained takes one of these pods at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(labels)}},
    }


def _pod(variant: Variant) -> Manifest:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "containers": [_server(variant)],
        "volumes": [scratch(SCRATCH_SIZE)],
    }


def _server(variant: Variant) -> Manifest:
    return {
        "name": "server",
        "image": variant.image,
        "imagePullPolicy": variant.pull_policy,
        "env": [
            variable(SERVING_VARIABLE, variant.settings, ADVICE),
            {"name": "TMPDIR", "value": SCRATCH},
            *credential_variables([variant.credentials]),
        ],
        "ports": [{"name": "http", "containerPort": SERVING_PORT, "protocol": "TCP"}],
        "resources": {"requests": dict(variant.resources.requests), "limits": dict(variant.resources.limits)},
        # The port is bound only after the model was fetched, verified and warmed up, so starting may take minutes.
        "startupProbe": probe("/v2/health/live", SERVING_PORT, period=1, failures=600),
        "livenessProbe": probe("/v2/health/live", SERVING_PORT, period=10, failures=6),
        "readinessProbe": probe("/v2/health/ready", SERVING_PORT, period=2, failures=3),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}],
    }


def probe(path: str, port: int, *, period: int, failures: int) -> Manifest:
    """An HTTP probe every `period` seconds that gives up after `failures` of them."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }
