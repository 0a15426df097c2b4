"""What a room declares about its kind; the CRD, the reference page and the RBAC list are generated from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import Field

from plumbline_operator.model.meta import GROUP, VERSION, Meta, Model, Ref

SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", bound="Status")


class ConditionModel(Model):
    """A condition, as Kubernetes defines it."""

    type: str = Field(description="What the condition is about, for example Ready.")
    status: str = Field(description="True, False or Unknown.", pattern="^(True|False|Unknown)$")
    reason: str = Field(description="One word for why, listed in the reference with cause and fix.")
    message: str = Field(description="What is the case and what to do next.")
    observed_generation: int = Field(default=0, description="The metadata.generation this condition speaks about.")
    last_transition_time: str = Field(
        description="When the status last changed (RFC 3339, UTC).", json_schema_extra={"format": "date-time"}
    )


class Status(Model):
    """The part of a status every kind has."""

    observed_generation: int = Field(default=0, description="The metadata.generation this status speaks about.")
    conditions: tuple[ConditionModel, ...] = Field(
        default=(), description="Ready, and Reconciling or Stalled while true; more where the kind says so."
    )


class Resource(Model, Generic[SpecT, StatusT]):
    """An object of one of our kinds, as read from the API server."""

    metadata: Meta
    spec: SpecT
    status: StatusT


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of `kubectl get`."""

    name: str
    path: str  # JSONPath below the object, starting with a dot
    type: str = "string"
    priority: int = 0  # 1: only with -o wide
    description: str = ""


READY_COLUMN = Column(
    "Ready", '.status.conditions[?(@.type=="Ready")].status', description="Whether it can be relied on."
)
REASON_COLUMN = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', description="Why, in one word.")
AGE_COLUMN = Column("Age", ".metadata.creationTimestamp", "date", description="Since when it exists.")
MESSAGE_COLUMN = Column(
    "Message", '.status.conditions[?(@.type=="Ready")].message', priority=1, description="Why, in a sentence."
)


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a reason appears and what to do about it, for the reference page."""

    cause: str
    fix: str


class Rule(NamedTuple):
    """A CEL rule for the whole object. `field`: the path that a refusal names, starting with a dot."""

    rule: str
    message: str
    field: str


@dataclass(frozen=True, slots=True)
class Kind:
    """Everything generated files need to know of one kind.

    columns: shown between READY/REASON and AGE. rules: CEL for the whole object. paused: reasons of waiting for what
    somebody has to decide, not for work under way. alarms: condition types that are bad news although the object is
    Ready.
    """

    kind: str
    plural: str
    short: str
    description: str
    resource: type[Resource[Any, Any]]
    spec: type[Model]
    status: type[Status]
    reasons: Mapping[StrEnum, Explained]
    columns: tuple[Column, ...] = ()
    rules: tuple[Rule, ...] = ()
    paused: tuple[StrEnum, ...] = ()
    alarms: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """Where the API server serves it."""
        return Ref(GROUP, VERSION, self.plural, self.kind)
