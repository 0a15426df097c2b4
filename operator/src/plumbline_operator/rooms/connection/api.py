"""Connection: what it says, what it answers, and how other rooms use it."""

from enum import StrEnum
from typing import Any, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from plumbline_contract.layout import join
from plumbline_contract.runspec import Bucket
from plumbline_operator.build.job import Credentials
from plumbline_operator.model.attempts import WorkStatus
from plumbline_operator.model.conditions import find, is_true
from plumbline_operator.model.kind import Column, Explained, Kind, Resource
from plumbline_operator.model.meta import Manifest, Model, Name
from plumbline_operator.model.reasons import explained

_PORT = "(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
_HOST = rf"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]){_PORT}"
ENDPOINT_PATTERN = f"^(https?://{_HOST}/?)?$"
GIT_PATTERN = f"^(https?|git)://{_HOST}(/[-A-Za-z0-9._~/%+]*)?$"

# Addresses at which clouds hand out the node's own credentials: link-local ones (AWS, GCP, Azure and most others) and
# what is written for them in IPv6, the IPv6 one of AWS, the wire server of Azure, those of Alibaba and Oracle, 6to4 of
# them, and their names. These are regular expressions and not CEL's url() and ip(): their results have no length that
# the cost estimate knows.
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
METADATA_PATTERN = (
    r"(?i)^[a-z]+://(169[.]254[.]|"
    r"\[(fe[89ab][0-9a-f]:|fd00:0?ec2:|[0:]*ffff:|[0:]*a9fe:|0*64:ff9b:|[0:]*\])|"
    r"\[2002:(a9fe|a83f:8110|6464:64c8|c000:0*c0):|"
    r"(0[.]0[.]0[.]0|168[.]63[.]129[.]16|100[.]100[.]100[.]200|192[.]0[.]0[.]192|"
    r"metadata([.]google[.]internal|[.]goog)?|instance-data([.]ec2[.]internal)?)(:|/|$))"
)
PLAIN_ADDRESS_PATTERN = rf"^[a-z]+://{_OCTET}([.]{_OCTET}){{3}}(:|/|$)"
# A host that ends in a number without being a plain address is one in disguise to most resolvers: 2852039166,
# 0xa9fea9fe, 169.16689662.
NUMERIC_PATTERN = r"(?i)^[a-z]+://([^/:]*[.])?(0x[0-9a-f]*|[0-9]+)(:|/|$)"


def _quoted(pattern: str) -> str:
    return "'" + pattern.replace("\\", "\\\\") + "'"


_NO_METADATA: list[JsonValue] = [
    {
        "rule": f"!self.matches({_quoted(METADATA_PATTERN)})",
        "message": "must not be a link-local address or a cloud's metadata service: nodes get their credentials there",
    },
    {
        "rule": f"!self.matches({_quoted(NUMERIC_PATTERN)}) || self.matches({_quoted(PLAIN_ADDRESS_PATTERN)})",
        "message": "must name its host, or write an IPv4 address as four decimal numbers",
    },
]


class S3(Model):
    """A bucket of an S3 store."""

    endpoint: str = Field(
        default="",
        max_length=512,
        pattern=ENDPOINT_PATTERN,
        description="URL of the store, http or https, without a path; empty: AWS itself.",
        json_schema_extra={"x-kubernetes-validations": _NO_METADATA},
    )
    region: str = Field(
        default="us-east-1", min_length=1, max_length=64, description="Region that requests are signed for."
    )
    bucket: str = Field(
        min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$", description="Name of the bucket."
    )
    prefix: str = Field(
        default="",
        max_length=512,
        pattern=r"^([A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*/?)?$",
        description="Folder in the bucket that everything of this connection lies under; empty: the bucket's root.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!self.matches('(^|/)[.]{1,2}(/|$)')",
                    "message": "must not climb: neither . nor .. is a folder",
                }
            ]
        },
    )
    path_style: bool = Field(
        default=True, description="Put the bucket's name into the path (most stores) and not into the host name (AWS)."
    )
    secret_ref: Name = Field(
        description="Secret in the same namespace with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    )


class Git(Model):
    """A git repository."""

    url: str = Field(
        min_length=1,
        max_length=1024,
        pattern=GIT_PATTERN,
        description="URL to clone from: https, http or git. Credentials do not belong into it.",
        json_schema_extra={"x-kubernetes-validations": _NO_METADATA},
    )


class ConnectionSpec(Model):
    """Exactly one endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "has(self.s3) != has(self.git)", "message": "set exactly one of s3 and git"}
            ]
        }
    )

    s3: S3 | None = Field(
        default=None, description="A bucket: data is read from it, or Plumbline keeps its things in it."
    )
    git: Git | None = Field(default=None, description="A git repository that training code is cloned from.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.s3 is None) == (self.git is None):
            raise ValueError("set exactly one of s3 and git")
        return self


class ConnectionStatus(WorkStatus):
    """Whether the endpoint answered."""

    verified_at: str = Field(default="", description="When the endpoint last answered as it should (RFC 3339, UTC).")
    endpoint: str = Field(default="", description="What was verified: the bucket's or the repository's address.")


class Reason(StrEnum):
    """Why a Connection is Ready, or is not."""

    VERIFIED = "Verified"
    VERIFYING = "Verifying"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    REPOSITORY_NOT_FOUND = "RepositoryNotFound"
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"
    OOM_KILLED = "OOMKilled"
    IMAGE_NOT_FOUND = "ImageNotFound"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_NOT_FOUND = "SecretNotFound"
    DEADLINE = "Deadline"
    POD_LOST = "PodLost"
    JOB_FAILED = "JobFailed"


REASONS: dict[StrEnum, Explained] = {
    Reason.VERIFIED: Explained("The endpoint answered, and the bucket or repository is there.", "Nothing."),
    Reason.VERIFYING: Explained("A Job is asking the endpoint.", "Nothing: it takes seconds."),
    **explained(Reason),
}


class ConnectionResource(Resource[ConnectionSpec, ConnectionStatus]):
    """A Connection as read."""


KIND = Kind(
    kind="Connection",
    plural="connections",
    short="conn",
    description="An endpoint and its credentials. Other kinds name a connection, never an endpoint or a secret.",
    resource=ConnectionResource,
    spec=ConnectionSpec,
    status=ConnectionStatus,
    reasons=REASONS,
    columns=(Column("Endpoint", ".status.endpoint", description="What was verified."),),
)


def read_spec(raw: Manifest) -> ConnectionSpec:
    """The spec of a Connection as read from the API server."""
    return ConnectionSpec.model_validate(raw["spec"])


def unusable(name: str, raw: Manifest | None, part: str = "s3", *, ready: bool = True) -> str:
    """Why this Connection cannot be used for a bucket (`s3`) or code (`git`) now; empty when it can.

    ready: also insist that it is verified, as whoever starts new work must.
    """
    if raw is None:
        return f"Connection {name} does not exist in this namespace. Create it, or name another one."
    if not raw.get("spec", {}).get(part):
        return f"Connection {name} has no spec.{part}, which is what it is used for here. Name another one."
    if not ready or is_true(raw):
        return ""
    condition: Any = find(raw.get("status", {}).get("conditions", ()), "Ready") or {}
    said = f"{condition['reason']}: {condition.get('message', '')}" if condition else "not looked at yet"
    return f"Connection {name} is not Ready ({said}). Going on as soon as it is."


def bucket_of(spec: ConnectionSpec, namespace: str = "", *, env: str = "AWS") -> Bucket:
    """The bucket as a Job's or server's document names it.

    namespace: of the objects for which it is the *storage*; what Plumbline keeps lies in a folder of that name, so
    that two namespaces never share one. A data source is read from the plain prefix: leave it out.
    env: prefix of the credential variables, for a second bucket in one pod.
    Raises ValueError for a Connection that is no bucket; ask `unusable` first.
    """
    s3 = _s3(spec)
    return Bucket(
        endpoint=s3.endpoint,
        region=s3.region,
        bucket=s3.bucket,
        prefix=join(s3.prefix, namespace),
        path_style=s3.path_style,
        env=env,
    )


def credentials_of(spec: ConnectionSpec, env: str = "AWS") -> Credentials:
    """Which Secret feeds the variables of `bucket_of(spec, env=env)`."""
    return Credentials(_s3(spec).secret_ref.name, env)


def _s3(spec: ConnectionSpec) -> S3:
    if spec.s3 is None:
        raise ValueError("spec.s3 is not set: this Connection is no bucket")
    return spec.s3
