"""Fourteen ways around a second pair of eyes. Each gives its complaints: none when it was refused and had no effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from plumbline_operator.kube import refs
from plumbline_operator.kube.http import path_of
from plumbline_operator.model.meta import MANAGER, OWNER_NAME, REQUESTED_AT, STATUS_MANAGER, Manifest
from tests.rights.caller import APPLY, Answer
from tests.rights.ground import audit, soon
from tests.rights.neighbours import KINDS
from tests.rights.people import (
    ALICE,
    APPROVERS,
    BOB,
    BOT,
    CAROL,
    DAN,
    RBAC,
    TEAM,
    WAIT_SECONDS,
    Cast,
    bound,
    training,
    user,
)
from tests.rooms.data_objects import digest

Way = Callable[[Cast], Awaitable[list[str]]]
APPROVAL, VERSION, DEPLOYMENT = KINDS["Approval"], KINDS["ModelVersion"], KINDS["ModelDeployment"]
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
PAST = "2020-01-01T00:00:00Z"
CREDENTIAL = "authentication.kubernetes.io/credential-id"
TRUE = [
    {
        "type": kind,
        "status": "True",
        "reason": "Approved",
        "message": "By nobody.",
        "observedGeneration": 1,
        "lastTransitionTime": PAST,
    }
    for kind in ("Ready", "Approved", "GatesPassed")
]


def refused(answer: Answer, *words: str) -> list[str]:
    """A complaint when the API server took it, or refused it for another reason than these words say."""
    if not answer.ok and all(word in answer.text for word in words):
        return []
    return [f"taken: {answer.body}" if answer.ok else f"refused for another reason: {answer.text}"]


def taken(answer: Answer) -> list[str]:
    """A complaint when a step on the way, which anybody may take, was refused."""
    return [] if answer.ok else [f"refused although harmless: {answer.text}"]


async def self_approval(cast: Cast) -> list[str]:
    """The author approves, openly and under a false statement of who the author is."""
    open_ = await cast.alice.create(TEAM, cast.decision("own", ALICE))
    lie = cast.decision("own-lie", ALICE, author=BOB)
    bad = refused(open_, "the author of a version cannot decide on it")
    return bad + taken(await cast.alice.create(TEAM, lie)) + await cast.uncounted(lie, "AuthorMismatch")


async def forged_author(cast: Cast) -> list[str]:
    """The author trains in the name of somebody else, to approve it then."""
    answer = await cast.alice.create(TEAM, training(cast.named("forged"), BOB))
    return refused(answer, f"spec.author is {BOB} but you are {ALICE}")


async def forged_approver(cast: Cast) -> list[str]:
    """The author signs with an approver's name."""
    return refused(
        await cast.alice.create(TEAM, cast.decision("forged", BOB)), f"spec.approver is {BOB} but you are {ALICE}"
    )


async def group_not_held(cast: Cast) -> list[str]:
    """Somebody decides for a group they are not in, or for none where one is asked for."""
    answer = await cast.carol.create(TEAM, cast.decision("stranger", CAROL))
    groupless = cast.decision("groupless", CAROL, group="")
    bad = refused(answer, f"spec.group is {APPROVERS}, to which {CAROL} does not belong")
    return bad + taken(await cast.carol.create(TEAM, groupless)) + await cast.uncounted(groupless, "GroupNotAllowed")


async def service_account(cast: Cast) -> list[str]:
    """A machine of the author's namespace decides, in its own name and as a delegate; the author can get its token."""
    token = await cast.alice.ask("POST", f"{path_of(refs.SERVICE_ACCOUNTS, TEAM, 'bot')}/token", _token_request())
    bad = taken(token)
    bad += refused(await cast.bot.create(TEAM, cast.decision("bot", BOT, group="")), "a ServiceAccount cannot decide")
    bad += refused(
        await cast.bot.create(TEAM, cast.decision("bot-for", BOB)), f"spec.approver is {BOB} but you are {BOT}"
    )
    author = await cast.bot.create(TEAM, training(cast.named("bot-for"), BOB))
    return bad + refused(author, f"spec.author is {BOB} but you are {BOT}")


async def impersonated_approver(cast: Cast) -> list[str]:
    """Somebody who may impersonate acts as an approver, as a delegate, and makes up a credential."""
    bob = cast.mallory.acting_as(BOB, APPROVERS)
    bad = refused(await bob.create(TEAM, cast.decision("masked", BOB)), "carries no credential id")
    alice = cast.mallory.acting_as(ALICE)
    bad += refused(await alice.create(TEAM, training(cast.named("masked"))), "carries no credential id")
    machine = cast.alice.acting_as(BOT)  # who edits in a namespace may act as its ServiceAccounts
    bad += refused(await machine.create(TEAM, cast.decision("masked-bot", BOB)), "denied request")
    faked = cast.mallory.acting_as(BOB, APPROVERS, extra={CREDENTIAL: "X509SHA256=0"})
    answer = await faked.create(TEAM, cast.decision("faked", BOB))
    return bad + refused(answer, "cannot impersonate", CREDENTIAL)


async def another_digest(cast: Cast) -> list[str]:
    """A good approval of other bytes, and of a version that does not exist."""
    other = cast.decision("other-digest", BOB, manifest=digest("9"))
    unknown = cast.decision("other-name", BOB, name="nobody-knows")
    bad = taken(await cast.bob.create(TEAM, other)) + await cast.uncounted(other, "DigestMismatch")
    return bad + taken(await cast.bob.create(TEAM, unknown)) + await cast.uncounted(unknown, "VersionNotFound")


async def expired(cast: Cast) -> list[str]:
    """An approval whose time is over."""
    old = cast.decision("expired", BOB, expiresAt=PAST)
    return taken(await cast.bob.create(TEAM, old)) + await cast.uncounted(old, "Expired")


async def edited(cast: Cast) -> list[str]:
    """An approval that did not count is changed into one that does."""
    old = cast.decision("edited", BOB, expiresAt=PAST)
    bad = taken(await cast.bob.create(TEAM, old))
    name = old["metadata"]["name"]
    for change in ({"expiresAt": None}, {"approver": CAROL}, {"version": {"manifest": digest("9")}}):
        for one in (cast.dave, cast.admin):
            bad += refused(await one.patch(APPROVAL, TEAM, name, {"spec": change}), "a decision never changes")
    bad += refused(await cast.alice.patch(APPROVAL, TEAM, name, {"spec": {"expiresAt": None}}), "cannot patch")
    return bad + await cast.uncounted(old, "Expired")


async def deleted_denial(cast: Cast) -> list[str]:
    """The author removes a denial: by name, all at once, and by letting it go with an owner. It stays."""
    denial = cast.decision("denial", BOB, decision="Deny")
    name = denial["metadata"]["name"]
    bad = taken(await cast.bob.create(TEAM, denial))
    for one in (cast.alice, cast.carol):
        bad += refused(await one.delete(APPROVAL, TEAM, name), f"only {BOB} can take this denial back")
    every = await cast.alice.ask("DELETE", path_of(APPROVAL, TEAM))
    bad += [] if not every.ok else ["all approvals of the namespace were deleted"]
    pretext = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": cast.named("pretext")}}
    bad += taken(await cast.alice.create(TEAM, pretext))
    owner = await cast.admin.look(refs.CONFIG_MAPS, TEAM, cast.named("pretext"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
    adopt = {"metadata": {"ownerReferences": [reference | {"uid": owner["metadata"]["uid"]}]}}
    bad += taken(await cast.dave.patch(APPROVAL, TEAM, name, adopt))
    bad += taken(await cast.alice.delete(refs.CONFIG_MAPS, TEAM, cast.named("pretext")))
    await soon("the garbage collector has tried", collector_tried(cast, name), WAIT_SECONDS)
    bad += [] if await cast.admin.look(APPROVAL, TEAM, name) else ["the garbage collector removed the denial"]
    return bad + taken(await cast.bob.delete(APPROVAL, TEAM, name))


def collector_tried(cast: Cast, name: str) -> Callable[[], Awaitable[bool]]:
    """Whether the garbage collector has asked to delete this Approval."""

    async def fact() -> bool:
        lines = await asyncio.to_thread(audit, cast.cluster, COLLECTOR)
        return any(line["verb"] == "delete" and line["objectRef"].get("name") == name for line in lines)

    return fact


async def own_role_binding(cast: Cast) -> list[str]:
    """Whoever administers the namespace gives the right to approve to themselves, a machine or a friend."""
    bad = refused(await cast.adam.create(TEAM, bound("plumbline-approver", user("adam"))), "forbidden")
    rule = {"apiGroups": ["plumbline.dev"], "resources": ["approvals"], "verbs": ["create", "onbehalf"]}
    own = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": cast.named("own")}, "rules": [rule]}
    bad += refused(await cast.adam.create(TEAM, own), "forbidden")
    bad += refused(await cast.alice.create(TEAM, own), "forbidden")  # who may approve may still not act for others
    friend = bound("plumbline-approver", user("eve")) | {"metadata": {"name": cast.named("friend")}}
    bad += taken(await cast.alice.create(TEAM, friend))
    await soon("the friend's right counts", may_approve(cast), WAIT_SECONDS)
    bad += refused(await cast.eve.create(TEAM, cast.decision("friend", user("eve"))), "does not belong")
    alone = cast.decision("friend-alone", user("eve"), group="")
    return bad + taken(await cast.eve.create(TEAM, alone)) + await cast.uncounted(alone, "GroupNotAllowed")


def may_approve(cast: Cast) -> Callable[[], Awaitable[bool]]:
    """Whether eve has the right to create Approvals; roles are noticed a moment after they are given."""

    async def fact() -> bool:
        trial = await cast.eve.create(TEAM, cast.decision("trial", user("eve"), group=""), dryRun="All")
        return "cannot create resource" not in trial.text

    return fact


async def forged_status(cast: Cast) -> list[str]:
    """The status says approved: written by the author, and by somebody with the right to write statuses."""
    name = cast.version["metadata"]["name"]
    change = {"status": {"conditions": TRUE, "observedGeneration": 1}}
    bad = refused(await cast.alice.patch(VERSION, TEAM, name, change, "status"), "cannot patch")
    bad += refused(await cast.dave.patch(VERSION, TEAM, name, change, "status"), "is what Plumbline reports")
    whole = await cast.admin.look(VERSION, TEAM, name) | change
    bad += refused(
        await cast.dave.ask("PUT", path_of(VERSION, TEAM, name, "status"), whole), "is what Plumbline reports"
    )
    serves = {"status": {"stable": {"version": name, "manifest": cast.version["spec"]["manifest"], "variant": "x"}}}
    answer = await cast.dave.patch(DEPLOYMENT, TEAM, "late", serves, "status")
    return bad + refused(answer, "is what Plumbline reports")


async def unapproved_release(cast: Cast) -> list[str]:
    """A deployment, a fresh one and a pin name the version as if it were approved."""
    name = cast.version["metadata"]["name"]
    bad = taken(await cast.alice.patch(DEPLOYMENT, TEAM, "late", {"spec": {"versionRef": {"name": name}}}))
    serving = {"modelRef": {"name": "delays"}, "versionRef": {"name": name}}
    about = {"apiVersion": "plumbline.dev/v1alpha1", "metadata": {"name": cast.named("fresh")}}
    bad += taken(await cast.alice.create(TEAM, about | {"kind": "ModelDeployment", "spec": serving}))
    pin = {"deploymentRef": {"name": "late"}, "versionRef": {"name": name}, "reason": "Because I can."}
    return bad + taken(await cast.alice.create(TEAM, about | {"kind": "ReleasePin", "spec": pin}))


async def marks_and_managers(cast: Cast) -> list[str]:
    """Labels, annotations, a preset status and the operator's own field managers."""
    name = cast.version["metadata"]["name"]
    marks = {
        "labels": {OWNER_NAME: "approved"},
        "annotations": {REQUESTED_AT: cast.turn, "plumbline.dev/approved": "yes"},
    }
    bad = taken(await cast.dave.patch(VERSION, TEAM, name, {"metadata": marks}))
    bad += taken(await cast.dave.patch(VERSION, TEAM, name, {"metadata": {"managedFields": [{}]}}))
    preset = cast.decision("preset", DAN, manifest=digest("9")) | {"status": {"conditions": TRUE}}
    answer = await cast.dan.ask("POST", path_of(APPROVAL, TEAM), _whole(preset))
    bad += taken(answer) + [
        f"kept a status: {answer.body}" for _ in answer.body.get("status", {}).get("conditions", ())
    ]
    about = {"apiVersion": "plumbline.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": name}}
    for manager in (MANAGER, STATUS_MANAGER):
        query = {"fieldManager": manager, "force": "true"}
        other = about | {"spec": cast.version["spec"] | {"manifest": digest("9")}}
        path = path_of(VERSION, TEAM, name)
        bad += refused(await cast.dave.ask("PATCH", path, other, query=query, kind=APPLY), "never changes")
        forged = about | {"status": {"conditions": TRUE}}
        answer = await cast.dave.ask("PATCH", f"{path}/status", forged, query=query, kind=APPLY)
        bad += refused(answer, "is what Plumbline reports")
    return bad + await cast.uncounted(preset, "DigestMismatch")


WAYS: tuple[Way, ...] = (
    self_approval,
    forged_author,
    forged_approver,
    group_not_held,
    service_account,
    impersonated_approver,
    another_digest,
    expired,
    edited,
    deleted_denial,
    own_role_binding,
    forged_status,
    unapproved_release,
    marks_and_managers,
)


def _whole(obj: Manifest) -> Manifest:
    return obj | {"metadata": {"name": obj["metadata"]["name"], "namespace": TEAM}}


def _token_request() -> Manifest:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
