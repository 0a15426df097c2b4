"""Missing rights are found at the start and named."""

from __future__ import annotations

from plumbline_operator.model.meta import Ref
from plumbline_operator.rights import missing, needed
from plumbline_operator.rooms import ROOMS
from tests.support.fake_kube import FakeKube

LEASE = ("system", "operator")


class Rights(FakeKube):
    """Remembers what was asked, where, and of which object."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, str | None, str]] = []

    async def may(self, verb: str, ref: Ref, namespace: str | None, subresource: str = "", name: str = "") -> bool:
        self.asked.append((verb, ref.plural, namespace, name))
        return await super().may(verb, ref, namespace, subresource, name)


async def test_who_may_do_everything_lacks_nothing() -> None:
    assert await missing(FakeKube(), ROOMS, (), LEASE) == []


async def test_a_missing_right_is_named_with_its_place() -> None:
    kube = FakeKube()
    kube.denied = {("patch", "datasets/status"), ("create", "jobs")}
    assert await missing(kube, ROOMS, ("team",), LEASE) == [
        "patch datasets.plumbline.dev/status in namespace team",
        "create jobs.batch in namespace team",
    ]


async def test_a_whole_cluster_is_asked_for_when_no_namespace_is_named() -> None:
    kube = FakeKube()
    kube.denied = {("list", "pods")}
    assert await missing(kube, ROOMS, (), LEASE) == ["list pods in the cluster"]


async def test_the_lease_is_asked_for_by_name_where_it_lies() -> None:
    kube = Rights()
    kube.denied = {("update", "leases")}
    found = await missing(kube, ROOMS, ("team",), LEASE)
    assert found == ["update leases.coordination.k8s.io operator in namespace system"]
    leases = {(verb, place, name) for verb, plural, place, name in kube.asked if plural == "leases"}
    # A right to create cannot be had for one name, so it is asked for without.
    assert leases == {("get", *LEASE), ("update", *LEASE), ("create", "system", "")}
    assert {place for _, plural, place, _ in kube.asked if plural != "leases"} == {"team"}


def test_no_right_to_secrets_or_to_change_a_users_spec_is_asked_for() -> None:
    rights = {(verb, ref.plural, sub) for verb, ref, sub in needed(ROOMS)}
    assert "secrets" not in {plural for _, plural, _ in rights}
    made_by_us = {"datasetsnapshots", "modelversions"}
    for room in ROOMS:
        plural = room.kind.plural
        assert ("patch", plural, "status") in rights
        assert (("patch", plural, "") in rights) is (plural in made_by_us)
        assert not {("update", plural, ""), ("delete", plural, "")} & rights
