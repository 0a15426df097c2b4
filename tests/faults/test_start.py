"""An operator that starts while the API server is in trouble."""

from __future__ import annotations

import pytest

from plumbline_operator import rights
from plumbline_operator.kube.errors import Unreachable
from plumbline_operator.model.meta import Ref
from plumbline_operator.rooms import ROOMS
from tests.support.fake_kube import FakeKube

LEASE = ("system", "operator")


class Troubled(FakeKube):
    """Answers only one in `every` questions about rights."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every, self.asked = every, 0

    async def may(self, verb: str, ref: Ref, namespace: str | None, subresource: str = "", name: str = "") -> bool:
        self.asked += 1
        if self.asked % self.every:
            raise Unreachable("may", ref.plural, 503, "no etcd leader", 0.001)
        return await super().may(verb, ref, namespace, subresource, name)


async def test_a_right_is_asked_for_again_when_the_api_server_was_in_trouble() -> None:
    kube = Troubled(every=3)
    kube.denied = {("list", "pods")}
    assert await rights.missing(kube, ROOMS, (), LEASE) == ["list pods in the cluster"]


async def test_an_api_server_that_stays_in_trouble_is_given_up() -> None:
    kube = Troubled(every=rights.TRIES + 1)
    with pytest.raises(Unreachable, match="no etcd leader"):
        await rights.missing(kube, ROOMS, (), LEASE)
    assert kube.asked == rights.TRIES
