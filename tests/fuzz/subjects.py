"""The kinds under test: a good spec of each, what else they need, and the changes made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from plumbline_operator.model.kind import Kind
from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms import ROOMS
from tests.fuzz import goods, scripts
from tests.fuzz.goods import Spec, World, named
from tests.fuzz.scripts import Script

KINDS: Mapping[str, Kind] = {room.kind.kind: room.kind for room in ROOMS}
FEW_PODS = {"replicas.min": 2, "replicas.max": 3, "routerReplicas": 2}  # a thousand pods would only measure the bed


@dataclass(frozen=True, slots=True)
class Subject:
    """One kind. `good`: the spec of chain so-and-so; `beside`: what its chain needs besides the world.

    frozen: nothing of it changes once it exists, so that each change is another object. unread: references that are
    only recorded. most: the largest drawn value of some fields.
    """

    kind: Kind
    good: Callable[[World, int], Spec]
    scripts: Callable[[int], tuple[Script, ...]]
    frozen: bool = False
    unread: frozenset[str] = frozenset()
    most: Mapping[str, int] = field(default_factory=dict)
    beside: Callable[[int], list[Manifest]] = lambda _: []


def _always(found: tuple[Script, ...]) -> Callable[[int], tuple[Script, ...]]:
    return lambda _: found


def _is_repository(chain: int) -> bool:
    return chain % 3 == 2


def _pinned(chain: int) -> str:
    return f"pinned-{chain}"


def subjects() -> dict[str, Subject]:
    """Every kind there is. Raises KeyError for a kind nobody has written a good spec for."""
    found = {one.kind.kind: one for one in _written()}
    return {name: found[name] for name in KINDS}


def _written() -> tuple[Subject, ...]:
    records = frozenset({"datasetRef", "storageRef", "runRef"})
    return (
        Subject(
            KINDS["Connection"],
            lambda _, chain: goods.repository() if _is_repository(chain) else goods.bucket(),
            lambda chain: scripts.REPOSITORY if _is_repository(chain) else scripts.CONNECTION,
        ),
        Subject(KINDS["Dataset"], lambda *_: goods.dataset(), _always(scripts.DATASET)),
        Subject(
            KINDS["DatasetSnapshot"],
            lambda *_: goods.snapshot(),
            _always(scripts.SNAPSHOT),
            frozen=True,
            unread=records,
        ),
        Subject(KINDS["RegisteredModel"], lambda *_: goods.model(), _always(scripts.MODEL)),
        Subject(KINDS["TrainingRun"], lambda *_: goods.run(), _always(scripts.RUN), frozen=True),
        Subject(
            KINDS["ModelVersion"],
            lambda world, _: goods.version(world),
            _always(scripts.RECORD),
            frozen=True,
            unread=frozenset({"runRef"}),
        ),
        Subject(KINDS["Approval"], lambda world, _: goods.approval(world), _always(scripts.APPROVAL), frozen=True),
        Subject(KINDS["ModelDeployment"], lambda *_: goods.deployment(), _always(scripts.DEPLOYMENT), most=FEW_PODS),
        Subject(
            KINDS["ReleasePin"],
            lambda _, chain: goods.pin(_pinned(chain)),
            _always(scripts.PIN),
            beside=lambda chain: [named("ModelDeployment", _pinned(chain), goods.deployment())],
        ),
        Subject(KINDS["DriftMonitor"], lambda *_: goods.monitor(), _always(scripts.MONITOR)),
    )
