"""The chart's admission policies alone, with no operator running: people are who they say they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from plumbline_operator.model.meta import GROUP, VERSION, Manifest
from tests.apiserver.installation import apply, installed
from tests.rooms.data_objects import RESULT, digest, run, snapshot
from tests.rooms.registry_objects import version
from tests.support.cluster import Cluster, ClusterError
from tests.support.cluster.progress import wait_until

pytestmark = pytest.mark.apiserver

NAMESPACE, ELSEWHERE = "team", "gitops"
APPROVERS = "ml-approvers"
ALICE, BOB, CAROL, MALLORY = (f"{name}@example.com" for name in ("alice", "bob", "carol", "mallory"))
PIPELINE = f"system:serviceaccount:{ELSEWHERE}:pipeline"
OPERATOR = "system:serviceaccount:plumbline-system:plumbline"
LOCAL = f"system:serviceaccount:{NAMESPACE}:pipeline"  # whoever edits in the namespace can make a token for it
ACTIVE_SECONDS = 60  # the API server notices policies by watching; it takes a second or two


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a kubeconfig; `acts_as` are kubectl's options of impersonation."""

    cluster: Cluster
    name: str
    kubeconfig: Path
    acts_as: tuple[str, ...] = field(default=())

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """A kubectl command with this person's rights. Raises ClusterError with the server's words."""
        options = ("--kubeconfig", str(self.kubeconfig), "-n", NAMESPACE, *self.acts_as)
        return self.cluster.kubectl(*options, *arguments, stdin=stdin)

    def create(self, obj: Manifest, *options: str) -> None:
        """Create an object of ours."""
        sent = {k: v for k, v in obj.items() if k != "status"} | {"metadata": {"name": obj["metadata"]["name"]}}
        self.kubectl("create", "-f", "-", *options, stdin=yaml.safe_dump(sent))

    def refusal(self, obj: Manifest, *options: str) -> str:
        """Why the object is refused; empty when it is not."""
        try:
            self.create(obj, *options)
        except ClusterError as error:
            return str(error)
        return ""

    def removal(self, name: str) -> str:
        """Why the Approval is not deleted; empty when it is."""
        try:
            self.kubectl("delete", "approval", name, "--wait=false")
        except ClusterError as error:
            return str(error)
        return ""

    def acting_as(self, name: str, *groups: str) -> Person:
        """The same person, impersonating somebody."""
        options = (f"--as={name}", *(f"--as-group={group}" for group in groups))
        return Person(self.cluster, self.name, self.kubeconfig, options)


def approval(name: str, approver: str, *, author: str = ALICE, group: str = "", decision: str = "Approve") -> Manifest:
    """A decision on a version by `author`."""
    subject = {"name": "delays-1", "manifest": RESULT, "author": author}
    spec = {"approver": approver, "group": group, "version": subject, "decision": decision}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Approval", "metadata": {"name": name}, "spec": spec}


def role(name: str, *rules: tuple[str, tuple[str, ...], tuple[str, ...]]) -> Manifest:
    """A ClusterRole of (group, resources, verbs)."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{"apiGroups": [g], "resources": list(r), "verbs": list(v)} for g, r, v in rules],
    }


def binding(name: str, subject_kind: str, subject: str, *, cluster: bool = False) -> Manifest:
    """Binds a ClusterRole of that name to somebody, in the namespace or in the cluster."""
    meta = {"name": "-".join([name, *re.findall(r"[a-z]+", subject)])}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding" if cluster else "RoleBinding",
        "metadata": meta if cluster else {**meta, "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": subject_kind, "name": subject}],
    }


PEOPLE = (
    role("writer", (GROUP, ("datasetsnapshots", "modelversions"), ("create", "get"))),
    role("editor", (GROUP, ("trainingruns", "approvals", "approvals/status"), ("get", "patch", "update"))),
    role("delegate", (GROUP, ("trainingruns", "approvals"), ("create", "get", "delete", "onbehalf"))),
    role("restorer", (GROUP, ("datasetsnapshots",), ("create", "onbehalf"))),
    role("impersonator", ("", ("users", "groups", "serviceaccounts"), ("impersonate",))),
    *(binding("plumbline-experimenter", "User", name) for name in (ALICE, BOB, MALLORY)),
    *(binding("plumbline-approver", "User", name) for name in (ALICE, CAROL, MALLORY)),
    binding("plumbline-approver", "Group", APPROVERS),
    *(binding("writer", "User", name) for name in (ALICE, MALLORY)),
    binding("editor", "User", CAROL),
    *(binding(name, "User", to) for name in ("delegate", "restorer") for to in (PIPELINE, LOCAL)),
    binding("impersonator", "User", MALLORY, cluster=True),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody. alice trains; bob belongs to the approvers; carol may decide but belongs to no group.

    pipeline and local may act for others; local lives in the very namespace.
    """

    cluster: Cluster
    alice: Person
    bob: Person
    carol: Person
    mallory: Person
    pipeline: Person
    local: Person


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    """An API server on which every policy is in force."""
    with installed("admission") as cluster:
        for namespace in (NAMESPACE, ELSEWHERE):
            cluster.kubectl("create", "namespace", namespace)
            cluster.kubectl("-n", namespace, "create", "serviceaccount", "pipeline")
        apply(cluster, *PEOPLE)
        people = {
            name.split("@")[0]: Person(cluster, name, cluster.user_kubeconfig(name, groups))
            for name, groups in ((ALICE, [APPROVERS]), (BOB, [APPROVERS]), (CAROL, []), (MALLORY, []))
        }
        pipeline = Person(cluster, PIPELINE, cluster.service_account_kubeconfig(ELSEWHERE, "pipeline"))
        local = Person(cluster, LOCAL, cluster.service_account_kubeconfig(NAMESPACE, "pipeline"))
        found = Cast(cluster, pipeline=pipeline, local=local, **people)
        _until_in_force(found)
        yield found


def _until_in_force(cast: Cast) -> None:
    """Each policy takes effect on its own; a server-side dry run asks it without leaving anything behind."""
    disguised = cast.mallory.acting_as(ALICE, "system:authenticated")
    asked: dict[str, Callable[[], str]] = {
        "spec.author is": lambda: cast.mallory.refusal(run("probe", author=ALICE), "--dry-run=server"),
        "spec.approver is": lambda: cast.mallory.refusal(approval("probe", BOB), "--dry-run=server"),
        "can take this denial back": lambda: _said(cast.mallory, "delete", "approval", "probed", "--dry-run=server"),
        "are records": lambda: cast.mallory.refusal(snapshot("probe"), "--dry-run=server"),
        "is what Plumbline reports": lambda: _said(
            *(cast.carol, "patch", "approval", "probed", "--subresource=status", "--type=merge", "--dry-run=server"),
            *("-p", json.dumps({"status": {"model": "made-up"}})),
        ),
        "carries no credential id": lambda: disguised.refusal(run("probe", author=ALICE), "--dry-run=server"),
    }
    cast.bob.create(approval("probed", BOB, decision="Deny"))
    for words, ask in asked.items():
        wait_until(f"the policy that says {words!r}", lambda a=ask, w=words: w in a(), seconds=ACTIVE_SECONDS)


def _said(person: Person, *arguments: str, stdin: str | None = None) -> str:
    """Why a kubectl command is refused; empty when it is not."""
    try:
        person.kubectl(*arguments, stdin=stdin)
    except ClusterError as error:
        return str(error)
    return ""


def test_an_honest_author_is_accepted(cast: Cast) -> None:
    cast.alice.create(run("honest", author=ALICE))


def test_a_forged_author_is_refused_and_both_names_are_told(cast: Cast) -> None:
    refusal = cast.mallory.refusal(run("forged", author=ALICE))
    assert f"spec.author is {ALICE} but you are {MALLORY}" in refusal
    assert "onbehalf" in refusal


def test_an_honest_approver_of_a_group_is_accepted(cast: Cast) -> None:
    cast.bob.create(approval("honest", BOB, group=APPROVERS))


def test_an_honest_approver_of_no_group_is_accepted(cast: Cast) -> None:
    cast.carol.create(approval("groupless", CAROL))


def test_a_forged_approver_is_refused_and_both_names_are_told(cast: Cast) -> None:
    refusal = cast.mallory.refusal(approval("forged", BOB))
    assert f"spec.approver is {BOB} but you are {MALLORY}" in refusal


def test_a_group_that_the_approver_does_not_belong_to_is_refused(cast: Cast) -> None:
    refusal = cast.carol.refusal(approval("stranger", CAROL, group=APPROVERS))
    assert f"spec.group is {APPROVERS}, to which {CAROL} does not belong" in refusal


def test_an_author_cannot_approve_what_is_theirs(cast: Cast) -> None:
    assert "the author of a version cannot decide on it" in cast.alice.refusal(approval("own", ALICE, group=APPROVERS))


def test_not_even_a_delegate_can_make_an_author_approve_what_is_theirs(cast: Cast) -> None:
    assert "the author of a version cannot decide on it" in cast.pipeline.refusal(approval("made", ALICE))


def test_a_delegate_acts_for_authors_and_approvers(cast: Cast) -> None:
    cast.pipeline.create(run("delegated", author=ALICE))
    cast.pipeline.create(approval("delegated", BOB, group=APPROVERS))


def test_who_may_only_create_is_no_delegate_of_the_other_kind(cast: Cast) -> None:
    """The verb is asked for per resource: acting for approvers needs it on approvals."""
    apply(cast.cluster, role("halfway", (GROUP, ("trainingruns",), ("create", "onbehalf"))))
    apply(cast.cluster, role("other-half", (GROUP, ("approvals",), ("create",))))
    apply(cast.cluster, *(binding(name, "User", "half@example.com") for name in ("halfway", "other-half")))
    half = Person(cast.cluster, "half@example.com", cast.cluster.user_kubeconfig("half@example.com"))
    half.create(run("half", author=ALICE))
    assert "spec.approver is" in half.refusal(approval("half", BOB))


@pytest.mark.parametrize("record", [snapshot("handmade"), version("handmade")], ids=lambda one: one["kind"])
def test_a_record_written_by_a_person_is_refused(cast: Cast, record: Manifest) -> None:
    plural = f"{record['kind'].lower()}s"
    assert f"{plural} are records that Plumbline writes" in cast.mallory.refusal(record)


@pytest.mark.parametrize("record", [snapshot("machine-made"), version("machine-made")], ids=lambda one: one["kind"])
def test_a_record_written_by_the_operator_is_accepted(cast: Cast, record: Manifest) -> None:
    config = cast.cluster.service_account_kubeconfig("plumbline-system", "plumbline")
    Person(cast.cluster, "the operator", config).create(record)


def test_a_delegate_restores_a_record(cast: Cast) -> None:
    cast.pipeline.create(snapshot("restored"))


def test_somebody_else_may_annotate_a_run_but_not_change_its_author(cast: Cast) -> None:
    cast.alice.create(run("kept", author=ALICE))
    cast.carol.kubectl("annotate", "trun", "kept", "example.com/seen=yes")
    with pytest.raises(ClusterError, match="a run is immutable"):
        cast.carol.kubectl("patch", "trun", "kept", "--type=merge", "-p", json.dumps({"spec": {"author": CAROL}}))


def test_somebody_else_may_annotate_an_approval_but_not_change_the_decision(cast: Cast) -> None:
    cast.bob.create(approval("decided", BOB, group=APPROVERS))
    cast.carol.kubectl("annotate", "approval", "decided", "example.com/seen=yes")
    for change in ({"decision": "Deny"}, {"approver": CAROL}, {"version": {"manifest": digest("0")}}):
        with pytest.raises(ClusterError, match="a decision never changes"):
            cast.carol.kubectl("patch", "approval", "decided", "--type=merge", "-p", json.dumps({"spec": change}))


def test_an_author_cannot_remove_the_denial_of_what_is_theirs(cast: Cast) -> None:
    cast.bob.create(approval("denied", BOB, group=APPROVERS, decision="Deny"))
    assert f"only {BOB} can take this denial back; you are {ALICE}" in cast.alice.removal("denied")
    assert f"you are {MALLORY}" in cast.mallory.removal("denied")


def test_who_empties_a_namespace_is_told_which_denials_stay_and_removes_the_rest(cast: Cast) -> None:
    cast.bob.create(approval("a-denial", BOB, group=APPROVERS, decision="Deny"))
    for name in ("a-consent", "b-consent"):
        cast.bob.create(approval(name, BOB, group=APPROVERS))
    with pytest.raises(ClusterError, match=r"(?s)a-denial.*can take this denial back"):
        cast.alice.kubectl("delete", "approvals", "--all", "--wait=false")
    left = cast.bob.kubectl("get", "approvals", "-o", "name")
    assert "approval.plumbline.dev/a-denial" in left
    assert "consent" not in left
    assert cast.pipeline.kubectl("delete", "approval", "a-denial", "--wait=false")


def test_who_denied_takes_it_back(cast: Cast) -> None:
    cast.bob.create(approval("reconsidered", BOB, group=APPROVERS, decision="Deny"))
    assert cast.bob.removal("reconsidered") == ""


def test_a_service_account_of_the_same_namespace_is_no_delegate(cast: Cast) -> None:
    assert f"spec.author is {ALICE} but you are {LOCAL}" in cast.local.refusal(run("local", author=ALICE))
    assert f"spec.approver is {BOB} but you are {LOCAL}" in cast.local.refusal(approval("local", BOB))
    cast.bob.create(approval("guarded", BOB, group=APPROVERS, decision="Deny"))
    assert f"you are {LOCAL}" in cast.local.removal("guarded")
    assert "are records that Plumbline writes" in cast.local.refusal(snapshot("local"))


def test_a_service_account_does_not_decide(cast: Cast) -> None:
    assert "a ServiceAccount cannot decide" in cast.pipeline.refusal(approval("machine", PIPELINE))
    assert "a ServiceAccount cannot decide" in cast.local.refusal(approval("machine", LOCAL))


def test_a_delegate_takes_a_denial_back_for_who_left(cast: Cast) -> None:
    cast.bob.create(approval("abandoned", BOB, group=APPROVERS, decision="Deny"))
    assert cast.pipeline.removal("abandoned") == ""


def test_an_approval_can_be_withdrawn_by_any_approver(cast: Cast) -> None:
    """That only takes consent away, which is the safe direction."""
    cast.bob.create(approval("withdrawn", BOB, group=APPROVERS))
    assert cast.carol.removal("withdrawn") == ""


def test_a_namespace_goes_with_the_denials_in_it(cast: Cast) -> None:
    cast.cluster.kubectl("create", "namespace", "leaving")
    denial = approval("denied", BOB, decision="Deny")
    apply(cast.cluster, denial | {"metadata": {"name": "denied", "namespace": "leaving"}})
    cast.cluster.kubectl("delete", "namespace", "leaving", "--timeout=60s")


def test_who_impersonates_a_person_does_not_act_for_them(cast: Cast) -> None:
    """Policies see the impersonated name and groups; what gives it away is that nobody's credential is among it."""
    cast.bob.create(approval("standing", BOB, group=APPROVERS, decision="Deny"))
    disguised = cast.mallory.acting_as(BOB, APPROVERS, "system:authenticated")
    assert "carries no credential id" in disguised.refusal(approval("disguised", BOB, group=APPROVERS))
    assert "carries no credential id" in disguised.removal("standing")
    alias = cast.mallory.acting_as(ALICE, "system:authenticated")
    assert "carries no credential id" in alias.refusal(run("disguised", author=ALICE))
    masked = cast.mallory.acting_as(PIPELINE, "system:serviceaccounts", "system:authenticated")
    assert "carries no credential id" in masked.refusal(approval("disguised", BOB))


@pytest.mark.parametrize("record", [snapshot("masked"), version("masked")], ids=lambda one: one["kind"])
def test_who_impersonates_the_operator_writes_no_records(cast: Cast, record: Manifest) -> None:
    masked = cast.mallory.acting_as(OPERATOR, "system:serviceaccounts", "system:authenticated")
    assert "carries no credential id" in masked.refusal(record, "--validate=false")


def test_who_impersonates_the_operator_reports_nothing(cast: Cast) -> None:
    """The operator's own token carries a credential id, so its reports are taken."""
    cast.alice.create(run("observed", author=ALICE))
    config = cast.cluster.service_account_kubeconfig("plumbline-system", "plumbline")
    masked = cast.mallory.acting_as(OPERATOR, "system:serviceaccounts", "system:authenticated")
    assert "carries no credential id" in _reported(masked, "observed")
    assert _reported(Person(cast.cluster, "the operator", config), "observed") == ""


def _reported(person: Person, name: str) -> str:
    """Why a status of a run, written as the operator writes it, is refused; empty when it is not."""
    report = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainingRun", "metadata": {"name": name}}
    options = ("apply", "--server-side", "--subresource=status", "--validate=false", "-f", "-")
    return _said(person, *options, stdin=json.dumps(report | {"status": {"manifest": RESULT}}))


def test_a_credential_id_cannot_be_made_up(cast: Cast) -> None:
    """Only the right to impersonate that very extra would do, and that belongs to cluster administrators."""
    faked = "--as-user-extra=authentication.kubernetes.io/credential-id=X509SHA256=0"
    disguised = cast.mallory.acting_as(BOB, APPROVERS, "system:authenticated")
    refusal = disguised.refusal(approval("faked", BOB, group=APPROVERS), faked, "--validate=false")
    assert 'cannot impersonate resource "userextras/authentication.kubernetes.io/credential-id"' in refusal


def test_a_right_to_write_a_status_is_not_enough(cast: Cast) -> None:
    apply(cast.cluster, role("reporter", (GROUP, ("trainingruns/status",), ("get", "update", "patch"))))
    apply(cast.cluster, binding("reporter", "User", MALLORY))
    cast.alice.create(run("reported", author=ALICE))
    forged = json.dumps({"status": {"manifest": RESULT}})
    with pytest.raises(ClusterError, match="the status of trainingruns is what Plumbline reports; you are mallory"):
        cast.mallory.kubectl("patch", "trun", "reported", "--subresource=status", "--type=merge", "-p", forged)


def test_who_may_not_impersonate_does_not(cast: Cast) -> None:
    refusal = cast.carol.acting_as(BOB, APPROVERS).refusal(
        approval("pretended", BOB, group=APPROVERS), "--validate=false"
    )
    assert f'User "{CAROL}" cannot impersonate resource' in refusal
