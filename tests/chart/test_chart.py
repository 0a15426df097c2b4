"""The chart as it renders: least rights, restricted pods, switches that work, and values that are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plumbline_operator.rights import needed
from plumbline_operator.rooms import ROOMS
from tests.support.cluster import ClusterError
from tests.support.render import BASE, base, documents

Document = dict[str, Any]
PEOPLE = ("view", "experimenter", "approver", "releaser", "admin")
READ = {"get", "list", "watch"}


def of_kind(found: list[Document], kind: str, name: str | None = None) -> list[Document]:
    return [d for d in found if d["kind"] == kind and name in (None, d["metadata"]["name"])]


@pytest.fixture(scope="module")
def rendered() -> list[Document]:
    return documents()


def operator_rules(found: list[Document]) -> list[Document]:
    rules: list[Document] = of_kind(found, "ClusterRole", "plumbline-operator")[0]["rules"]
    return rules


def test_the_operator_has_exactly_the_rights_it_uses(rendered: list[Document]) -> None:
    granted = {
        (verb, group, resource)
        for rule in operator_rules(rendered)
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    used = {
        (verb, ref.group, f"{ref.plural}/{subresource}" if subresource else ref.plural)
        for verb, ref, subresource in needed(ROOMS)
    }
    listener = {(verb, "apiextensions.k8s.io", "customresourcedefinitions") for verb in ("list", "watch")}
    owned = {(verb, group, resource) for verb, group, resource in granted if resource.endswith("/finalizers")}
    assert used <= granted
    assert granted - used - listener - owned == set()


def test_no_role_has_a_wildcard_a_secret_or_a_way_up(rendered: list[Document]) -> None:
    for role in of_kind(rendered, "ClusterRole") + of_kind(rendered, "Role"):
        for rule in role["rules"]:
            everything = [*rule["verbs"], *rule["apiGroups"], *rule["resources"]]
            assert not {"*", "secrets", "escalate", "bind", "impersonate", "pods/exec"} & set(everything)


def verbs(found: list[Document], role: str) -> dict[str, set[str]]:
    """Resource → what somebody with this role may do to it."""
    allowed: dict[str, set[str]] = {}
    for rule in of_kind(found, "ClusterRole", role)[0]["rules"]:
        for resource in rule["resources"]:
            allowed.setdefault(resource, set()).update(rule["verbs"])
    return allowed


def test_everybody_may_look_at_every_kind(rendered: list[Document]) -> None:
    kinds = {room.kind.plural for room in ROOMS}
    assert verbs(rendered, "plumbline-view") == dict.fromkeys(kinds, READ)
    for role in ("experimenter", "releaser", "admin"):
        assert {p for p, allowed in verbs(rendered, f"plumbline-{role}").items() if allowed >= READ} == kinds


@pytest.mark.parametrize("role", PEOPLE)
def test_no_person_writes_reports_or_records_or_acts_for_others(rendered: list[Document], role: str) -> None:
    allowed = verbs(rendered, f"plumbline-{role}")
    assert [resource for resource in allowed if "/" in resource] == []
    assert "onbehalf" not in set().union(*allowed.values())
    for record in ("datasetsnapshots", "modelversions"):
        assert not {"create", "update", "patch"} & allowed.get(record, set())


def test_the_right_to_approve_comes_with_no_other_role(rendered: list[Document]) -> None:
    deciding = [role for role in PEOPLE if "create" in verbs(rendered, f"plumbline-{role}").get("approvals", set())]
    assert deciding == ["approver"]
    labels = of_kind(rendered, "ClusterRole", "plumbline-approver")[0]["metadata"]["labels"]
    assert [label for label in labels if "aggregate-to" in label] == []


def test_the_operators_pod_is_restricted(rendered: list[Document]) -> None:
    pod = of_kind(rendered, "Deployment")[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_crds_come_with_the_chart_and_are_kept(rendered: list[Document]) -> None:
    crds = of_kind(rendered, "CustomResourceDefinition")
    assert {c["spec"]["names"]["kind"] for c in crds} == {room.kind.kind for room in ROOMS}
    assert {c["metadata"]["annotations"]["helm.sh/resource-policy"] for c in crds} == {"keep"}
    assert of_kind(documents("--set=crds.enabled=false"), "CustomResourceDefinition") == []


def test_named_namespaces_need_no_cluster_wide_rights() -> None:
    found = documents("--set=watchNamespaces={a,b}")
    assert of_kind(found, "ClusterRole", "plumbline-operator") == []
    assert {r["metadata"]["namespace"] for r in of_kind(found, "Role", "plumbline-operator")} == {"a", "b"}


def test_every_policy_is_bound_and_denies(rendered: list[Document]) -> None:
    policies = {p["metadata"]["name"] for p in of_kind(rendered, "ValidatingAdmissionPolicy")}
    bindings = of_kind(rendered, "ValidatingAdmissionPolicyBinding")
    assert {b["spec"]["policyName"] for b in bindings} == policies
    assert all(b["spec"]["validationActions"] == ["Deny"] for b in bindings)
    assert all(p["spec"]["failurePolicy"] == "Fail" for p in of_kind(rendered, "ValidatingAdmissionPolicy"))


def test_credential_ids_are_asked_for_unless_the_cluster_gives_none(rendered: list[Document]) -> None:
    def asking(found: list[Document]) -> set[str]:
        policies = of_kind(found, "ValidatingAdmissionPolicy")
        return {p["metadata"]["name"] for p in policies if "credential-id" in str(p["spec"]["validations"])}

    every = ("author", "approver", "denial", "records", "reports")
    assert asking(rendered) == {f"plumbline-{name}" for name in every}
    assert asking(documents("--set=admission.refuseImpersonation=false")) == set()


def test_a_digest_wins_over_a_tag() -> None:
    digest = "sha256:" + "a" * 64
    pod = of_kind(documents(f"--set=images.operator.digest={digest}"), "Deployment")[0]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"plumbline/operator@{digest}"


@pytest.mark.parametrize(
    ("switch", "kind"), [("podMonitor.enabled=true", "PodMonitor"), ("networkPolicy.enabled=true", "NetworkPolicy")]
)
def test_switches_add_what_they_say(rendered: list[Document], switch: str, kind: str) -> None:
    assert of_kind(rendered, kind) == []
    assert len(of_kind(documents(f"--set={switch}"), kind)) == 1


@pytest.mark.parametrize("wrong", ["operator.replicas=-1", "imagePullPolicy=Sometimes", "surprise=1"])
def test_a_wrong_value_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ClusterError, match=wrong.split("=")[0].split(".")[-1]):
        documents(f"--set={wrong}")


def test_the_kustomize_base_is_what_the_chart_renders() -> None:
    assert BASE.read_text() == base(), "run python -m tests.support.render"


def test_the_kustomize_base_lists_every_crd() -> None:
    listed = yaml.safe_load(Path("crds/kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in Path("crds").glob("plumbline.dev_*.yaml"))
