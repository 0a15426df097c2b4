"""What the operator must be allowed to do, checked at the start: a missing right would look like a hang."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from plumbline_operator.kube.errors import Unreachable
from plumbline_operator.kube.protocol import Kube
from plumbline_operator.kube.refs import CHILDREN, EVENTS, LEASES, PODS
from plumbline_operator.model.meta import Ref
from plumbline_operator.runtime.room import Room

READ = ("get", "list", "watch")
OWN = ("create", "patch", "delete")
MADE = frozenset({"DatasetSnapshot", "ModelVersion"})  # of our kinds, those that the operator writes itself
TRIES = 8  # to ask for one right: at 30 % of calls failing, one start in a hundred still gives up
AGAIN_SECONDS = 1.0  # between two tries

log = logging.getLogger(__name__)

Right = tuple[str, Ref, str]


def needed(rooms: Iterable[Room]) -> list[Right]:
    """Every (verb, resource, subresource) that the operator uses."""
    rights: list[Right] = []
    for room in rooms:
        ref = room.kind.ref
        rights += [(verb, ref, "") for verb in READ] + [("patch", ref, "status")]
        if room.kind.kind in MADE:
            rights += [(verb, ref, "") for verb in ("create", "patch")]
    for ref in CHILDREN:
        rights += [(verb, ref, "") for verb in (*READ, *OWN)]
    rights += [(verb, PODS, "") for verb in ("list", "watch")]
    rights += [(verb, EVENTS, "") for verb in ("create", "patch")]
    return rights


async def missing(kube: Kube, rooms: Iterable[Room], namespaces: Sequence[str], lease: tuple[str, str]) -> list[str]:
    """The needed rights that the operator lacks, in words.

    namespaces: empty means the whole cluster. lease: namespace and name; the right to create one cannot be had by name.
    Raises Unreachable when the API server cannot be used for a while.
    """
    wanted = [(right, namespace, "") for right in needed(rooms) for namespace in namespaces or (None,)]
    wanted += [((verb, LEASES, ""), lease[0], lease[1]) for verb in ("get", "update")]
    wanted += [(("create", LEASES, ""), lease[0], "")]
    lacking = []
    for (verb, ref, subresource), namespace, name in wanted:
        if not await _may(kube, (verb, ref, subresource), namespace, name):
            where = f"in namespace {namespace}" if namespace else "in the cluster"
            what = f"{ref.plural}.{ref.group}".rstrip(".") + (f"/{subresource}" if subresource else "")
            lacking.append(f"{verb} {what}{f' {name}' if name else ''} {where}")
    return lacking


async def _may(kube: Kube, right: Right, namespace: str | None, name: str) -> bool:
    """The API server's answer, asked for a few times: its own trouble says nothing about our rights."""
    verb, ref, subresource = right
    for _ in range(TRIES - 1):
        try:
            return await kube.may(verb, ref, namespace, subresource, name)
        except Unreachable as error:
            log.warning("a right cannot be asked for yet: %s", error)
            await asyncio.sleep(error.retry_after or AGAIN_SECONDS)
    return await kube.may(verb, ref, namespace, subresource, name)
