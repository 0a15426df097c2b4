"""Reads and creates objects with the user's own kubeconfig and rights."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes import config, dynamic
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

GROUP_VERSION = "plumbline.dev/v1alpha1"

Raw = dict[str, Any]


class Missing(Exception):
    """An object the answer needs does not exist; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace of one cluster, seen with the user's rights."""

    client: dynamic.DynamicClient
    namespace: str

    def get(self, kind: str, name: str, api_version: str = GROUP_VERSION) -> Raw:
        """One object. Raises Missing when there is none, or when the user may not read it."""
        resource = self.client.resources.get(api_version=api_version, kind=kind)
        try:
            return dict(resource.get(name=name, namespace=self.namespace).to_dict())
        except ApiException as error:
            raise Missing(f"{kind} {self.namespace}/{name}: {error.reason} ({error.status})") from error

    def list(self, kind: str) -> list[Raw]:
        """All objects of one of our kinds in the namespace."""
        resource = self.client.resources.get(api_version=GROUP_VERSION, kind=kind)
        return [dict(item) for item in resource.get(namespace=self.namespace).to_dict()["items"]]

    def create(self, kind: str, name: str, spec: Mapping[str, Any]) -> Raw:
        """Create an object of one of our kinds as the current user."""
        resource = self.client.resources.get(api_version=GROUP_VERSION, kind=kind)
        body = {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
        return dict(resource.create(body=body, namespace=self.namespace).to_dict())

    def annotate(self, kind: str, name: str, annotations: Mapping[str, str]) -> None:
        """Merge annotations into an object."""
        resource = self.client.resources.get(api_version=GROUP_VERSION, kind=kind)
        resource.patch(
            name=name,
            namespace=self.namespace,
            body={"metadata": {"annotations": dict(annotations)}},
            content_type="application/merge-patch+json",
        )

    def secret(self, name: str) -> dict[str, str]:
        """A Secret's decoded values, if the user may read it."""
        data = self.get("Secret", name, "v1").get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def user(self) -> str:
        """The name under which the API server knows the caller."""
        resource = self.client.resources.get(api_version="authentication.k8s.io/v1", kind="SelfSubjectReview")
        answer = resource.create(body={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
        return str(answer.to_dict()["status"]["userInfo"]["username"])


def connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> Cluster:
    """The cluster of a kubeconfig's context; the namespace is the context's own unless named."""
    client: ApiClient = config.new_client_from_config(config_file=kubeconfig, context=context)
    return Cluster(dynamic.DynamicClient(client), namespace or _default_namespace(kubeconfig, context))


def _default_namespace(kubeconfig: str | None, context: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)
    chosen = next((c for c in contexts if c["name"] == context), active)
    return str(chosen["context"].get("namespace", "default"))
