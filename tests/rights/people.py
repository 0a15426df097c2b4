"""Who is there when a version waits for approval: its author, approvers, and people with rights they should not use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from plumbline_operator.model.meta import GROUP, Manifest
from tests.apiserver.installation import apply
from tests.apiserver.test_admission import role
from tests.rights.caller import Caller, caller, person
from tests.rights.ground import soon
from tests.rights.neighbours import KINDS
from tests.rooms import data_objects as data
from tests.rooms import registry_objects as registry
from tests.support.cluster import Cluster
from tests.support.worlds import ready_of

TEAM, APPROVERS = "team", "ml-approvers"
NAMES = ("alice", "adam", "bob", "dan", "carol", "dave", "eve", "mallory")
RBAC = "rbac.authorization.k8s.io"
WAIT_SECONDS = 60.0


def user(name: str) -> str:
    """The name in somebody's certificate."""
    return f"{name}@example.com"


ALICE, BOB, DAN, CAROL = (user(name) for name in ("alice", "bob", "dan", "carol"))
BOT = f"system:serviceaccount:{TEAM}:bot"
MEMBERS = frozenset({"alice", "bob", "dan"})  # of the approvers' group


@dataclass(slots=True)
class Cast:
    """Everybody's connection.

    alice trains, administers the namespace, and approves what others train; adam administers only; bob, dan and carol
    approve, carol without the group; dave may patch everything of ours, even statuses; eve has no right at all;
    mallory may impersonate; bot is a ServiceAccount of the namespace that approves and acts for others.
    """

    admin: Caller
    bot: Caller
    people: dict[str, Caller]
    cluster: Cluster
    watched: bool = False  # whether an operator runs
    version: Manifest = field(default_factory=dict)  # the one that waits, by alice
    turn: str = ""

    def __getattr__(self, name: str) -> Caller:
        """Somebody by name."""
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None

    def named(self, title: str) -> str:
        """A name for an object that no other turn has."""
        return f"{title}-{self.turn}"

    def decision(self, title: str, approver: str, *, group: str = APPROVERS, **changes: object) -> Manifest:
        """A decision on the version that waits, as it is; `changes` of the subject or the spec."""
        spec = self.version["spec"]
        about = {"name": self.version["metadata"]["name"], "manifest": spec["manifest"], "author": spec["author"]}
        subject = {k: changes.pop(k) for k in tuple(changes) if k in about}
        return registry.approval(self.named(title), approver, version=about | subject, group=group, **changes)

    async def uncounted(self, approval: Manifest, reason: str) -> list[str]:
        """Complaints when an Approval that lies there is counted, or refused for another reason."""
        name = approval["metadata"]["name"]
        if not self.watched:
            live = await self.admin.look(KINDS["Approval"], TEAM, name)
            return [] if ready_of(live)[0] != "True" else [f"{name} is Ready with no operator there"]

        async def judged() -> bool:
            return ready_of(await self.admin.look(KINDS["Approval"], TEAM, name)) != ("", "")

        await soon(f"{name} is judged", judged, WAIT_SECONDS)
        found = ready_of(await self.admin.look(KINDS["Approval"], TEAM, name))
        return [] if found == ("False", reason) else [f"{name} is {found}, not {reason}"]


@asynccontextmanager
async def cast(cluster: Cluster) -> AsyncIterator[Cast]:
    """Everybody, with their rights in place."""
    await asyncio.to_thread(apply, cluster, *rights())
    kubeconfig = await asyncio.to_thread(cluster.service_account_kubeconfig, TEAM, "bot")
    async with AsyncExitStack() as stack:
        people = {}
        for name in NAMES:
            groups = [APPROVERS] if name in MEMBERS else []
            people[name] = await stack.enter_async_context(person(cluster, user(name), *groups))
        admin = await stack.enter_async_context(caller(cluster.kubeconfig))
        yield Cast(admin, await stack.enter_async_context(caller(kubeconfig)), people, cluster)


def rights() -> list[Manifest]:
    """Roles and bindings of everybody."""
    everything = ("approvals", "modelversions", "modeldeployments", "trainingruns", "registeredmodels")
    statuses = tuple(f"{one}/status" for one in everything)
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot", "namespace": TEAM}},
        role("fiddler", (GROUP, (*everything, *statuses), ("get", "list", "patch", "update", "create"))),
        role("delegate", (GROUP, ("trainingruns", "approvals"), ("create", "get", "delete", "onbehalf"))),
        role("impersonator", ("", ("users", "groups", "serviceaccounts"), ("impersonate",))),
        bound("impersonator", user("mallory"), cluster=True),
        *(bound("admin", user(name)) for name in ("alice", "adam")),
        *(bound("plumbline-approver", user(name)) for name in ("alice", "bob", "dan", "carol")),
        bound("fiddler", user("dave")),
        *(bound(name, BOT) for name in ("plumbline-approver", "delegate")),
    ]


def bound(name: str, to: str, *, cluster: bool = False) -> Manifest:
    """Binds a ClusterRole to somebody, in the namespace or in the whole cluster."""
    meta: Manifest = {"name": f"{name}-{to.replace('@', '-').replace(':', '-')}"}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding" if cluster else "RoleBinding",
        "metadata": meta if cluster else meta | {"namespace": TEAM},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": to}],
    }


def training(name: str, author: str = ALICE) -> Manifest:
    """A run that says who its author is."""
    return data.run(name, author=author, parameters={"depth": name})
