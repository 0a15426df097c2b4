"""Resource types of Kubernetes that the operator touches."""

from collections.abc import Mapping
from typing import Any

from plumbline_operator.model.meta import Ref

JOBS = Ref("batch", "v1", "jobs", "Job")
PODS = Ref("", "v1", "pods", "Pod")
SERVICES = Ref("", "v1", "services", "Service")
CONFIG_MAPS = Ref("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = Ref("", "v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENTS = Ref("apps", "v1", "deployments", "Deployment")
AUTOSCALERS = Ref("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
DISRUPTION_BUDGETS = Ref("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
ROLES = Ref("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Ref("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
EVENTS = Ref("events.k8s.io", "v1", "events", "Event")
LEASES = Ref("coordination.k8s.io", "v1", "leases", "Lease")

# What the operator makes besides objects of its own kinds: all of it is watched, so that a stranger's hand is seen.
CHILDREN = (
    JOBS,
    DEPLOYMENTS,
    SERVICES,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    AUTOSCALERS,
    DISRUPTION_BUDGETS,
    ROLES,
    ROLE_BINDINGS,
)
KNOWN = (*CHILDREN, PODS, EVENTS, LEASES)
_BY_KIND = {(ref.api_version, ref.kind): ref for ref in KNOWN}


def ref_of(manifest: Mapping[str, Any]) -> Ref:
    """The resource type of a manifest, from its apiVersion and kind.

    Plurals that are not listed above, and those of our own kinds, are the lower-case kind with an `s`.
    """
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    known = _BY_KIND.get((api_version, kind))
    if known is not None:
        return known
    group, _, version = api_version.rpartition("/")
    return Ref(group, version, f"{kind.lower()}s", kind)
