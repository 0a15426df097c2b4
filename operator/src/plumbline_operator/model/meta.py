"""Names, references and keys: how an object is named and found."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "plumbline.dev"
VERSION = "v1alpha1"
MANAGER = "plumbline-operator"  # field manager of children
STATUS_MANAGER = "plumbline-operator-status"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_VALUE = "plumbline"
OWNER_KIND = (
    f"{GROUP}/owner-kind"  # label: kind of the owner, so that a child can wake it even without its owner reference
)
OWNER_NAME = f"{GROUP}/owner-name"  # label: name of the owner, shortened by names.label_value
REQUESTED_AT = (
    f"{GROUP}/requested-at"  # annotation a user sets to any new value to ask for the work to be done again now
)
# DNS-1123 subdomain, which API servers demand of names; a reference to anything else could never be met
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
FIRST_YEAR, LAST_YEAR = 1900, 9000  # years that no time zone can push out of what Python can hold, 1 to 9999

Manifest = dict[str, Any]


def _in_calendar(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return moment


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_in_calendar),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"self >= timestamp('{FIRST_YEAR}-01-02T00:00:00Z') && "
                    f"self < timestamp('{LAST_YEAR - 1}-12-31T00:00:00Z')",
                    "message": f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}",
                }
            ]
        }
    ),
]
"""A time in a spec, with its zone."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A resource type of the API server."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or only the version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object of one of our kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Model(BaseModel):
    """Base of everything in a spec or status: camelCase on the wire, frozen in memory.

    Unknown fields are ignored here because the API server has pruned them already (kubectl refuses them before).
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Name(Model):
    """A reference to another object in the same namespace."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
        description="Name of the object, in the same namespace.",
    )


class Meta(Model):
    """The part of an object's metadata that decisions use."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


def controller(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference of the object that controls this one; None when none does."""
    references = raw["metadata"].get("ownerReferences", ())
    return next((one for one in references if one.get("controller")), None)


def controller_uid(raw: Mapping[str, Any]) -> str:
    """The uid of the object that controls this one; empty when none does."""
    found = controller(raw)
    return str(found["uid"]) if found else ""


def plain(model: BaseModel) -> Manifest:
    """A spec or status as the API server wants it: camelCase, no nulls."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
