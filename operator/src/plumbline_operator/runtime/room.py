"""A room: one kind, from what it reads to what it decides."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plumbline_operator.kube.protocol import Reader
from plumbline_operator.model.kind import Kind
from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.model.plan import Plan
from plumbline_operator.signals.port import Signals


@dataclass(frozen=True, slots=True)
class Images:
    """The images of the pods the operator makes."""

    jobs: str
    serving: str
    router: str
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True, slots=True)
class Sight:
    """What `observe` may look through: the API server, the measured numbers, and the installation's images."""

    kube: Reader
    signals: Signals
    images: Images


def _wakes_nobody(raw: Manifest) -> tuple[Key, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Room:
    """One kind's reconcile, in parts.

    observe: live reads only; returns whatever the plan needs (a frozen dataclass).
    plan: pure function of what was observed and the time.
    dependencies: the keys whose change must wake this object, read from its raw form.
    wakes: the keys that this object's own change, creation and deletion must wake, for links that only this end
    names: an Approval names its version, and the version cannot name its approvals.
    status_tells: whether a change of this object's status alone wakes those and its owner too.
    """

    kind: Kind
    observe: Callable[[Any, Sight], Awaitable[Any]]
    plan: Callable[[Any, datetime], Plan]
    dependencies: Callable[[Manifest], tuple[Key, ...]]
    wakes: Callable[[Manifest], tuple[Key, ...]] = _wakes_nobody
    status_tells: bool = True
