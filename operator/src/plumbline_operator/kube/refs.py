"""Resource types of Kubernetes that the operator touches."""

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
