"""Builds the Job that does one piece of work outside the operator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from plumbline_contract.base import Document, canonical_json
from plumbline_contract.runspec import RUNSPEC_VARIABLE, RunSpec
from plumbline_operator.model.amounts import ResourceAmounts, texts
from plumbline_operator.model.attempts import JOB_LABEL, VERB_LABEL
from plumbline_operator.model.meta import Manifest
from plumbline_operator.model.plan import Impossible

USER = 65532  # uid and gid of our images: "nonroot" by convention of distroless images
SCRATCH = "/scratch"
DEADLINE_SECONDS = 3600
VARIABLE_LIMIT = 128 * 1024  # bytes of name=value and a closing zero; Linux starts nothing with a longer variable
ADVICE = "Shorten the longest lists and texts of the spec, and apply again."


@dataclass(frozen=True, slots=True)
class Credentials:
    """Which Secret feeds which credential variables of a pod."""

    secret: str
    prefix: str = "AWS"


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits of a container, as Kubernetes quantities."""

    requests: dict[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "256Mi"})
    limits: dict[str, str] = field(default_factory=lambda: {"memory": "2Gi"})


def job(
    name: str,
    document: RunSpec,
    image: str,
    *,
    credentials: Sequence[Credentials] = (),
    resources: Resources | None = None,
    pull_policy: str = "IfNotPresent",
    deadline_seconds: int = DEADLINE_SECONDS,
    advice: str = ADVICE,
) -> Manifest:
    """A one-container Job that carries out `document`; never retried by Kubernetes, never removed by a TTL.

    The operator counts attempts itself (each has its own name), and removes the Job after its answer is stored.
    Raises Impossible, with the advice, when the document fits into no container.
    """
    main = container("main", image, document, credentials, resources or Resources(), pull_policy, advice)
    pod = pod_spec(containers=[main], volumes=[scratch()])
    return job_of(name, pod, deadline_seconds, verb=document.verb)


def job_of(name: str, pod: Manifest, deadline_seconds: int, *, verb: str) -> Manifest:
    """A Job around a pod spec. `verb` labels it, so that its owner finds it again (`kube.work.see_jobs`)."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {JOB_LABEL: name, VERB_LABEL: verb}},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline_seconds,
            "template": {"metadata": {"labels": {JOB_LABEL: name}}, "spec": pod},
        },
    }


def resources_of(amounts: ResourceAmounts, default: Resources) -> Resources:
    """What the spec asks for, or the default when it asks for nothing at all; never a mixture that cannot be met."""
    if not amounts.requests and not amounts.limits:
        return default
    return Resources(texts(amounts.requests), texts(amounts.limits))


def pod_spec(*, containers: list[Manifest], volumes: list[Manifest], init: Sequence[Manifest] = ()) -> Manifest:
    """A pod that passes Pod Security `restricted` and carries no API token."""
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": containers,
        "volumes": volumes,
    }
    if init:
        spec["initContainers"] = list(init)
    return spec


def container(
    name: str,
    image: str,
    document: Document,
    credentials: Sequence[Credentials],
    resources: Resources,
    pull_policy: str = "IfNotPresent",
    advice: str = ADVICE,
) -> Manifest:
    """A container of ours, told what to do by `document`. Raises Impossible, with the advice, if it cannot be."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "env": [
            variable(RUNSPEC_VARIABLE, document, advice),
            {"name": "TMPDIR", "value": SCRATCH},
            *credential_variables(credentials),
        ],
        "resources": {"requests": dict(resources.requests), "limits": dict(resources.limits)},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}],
    }


def variable(name: str, document: BaseModel, advice: str) -> Manifest:
    """The environment variable that tells a container a document. Raises Impossible, with the advice, when none can."""
    text = text_of(document)
    size, limit = len(text.encode()), VARIABLE_LIMIT - len(name) - 2
    if size > limit:
        raise Impossible(f"The document in {name} would take {size:,} bytes, and at most {limit:,} fit. {advice}")
    return {"name": name, "value": text}


def text_of(document: BaseModel) -> str:
    """The document as it stands in a container's environment."""
    return canonical_json(brief(document)).decode()


def brief(document: BaseModel) -> dict[str, Any]:
    """The document without what the other side fills in by itself: a wide table's declaration must fit a variable.

    Fields that tell variants apart stay, whatever their default.
    """
    fields = type(document).model_fields
    return {
        name: _brief(value)
        for name, value in document
        if value is not None and (_tells_apart(fields[name]) or value != fields[name].get_default())
    }


def _tells_apart(field: FieldInfo) -> bool:
    """Whether the field has one possible value, by which readers know what they read."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _brief(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return brief(value)
    if isinstance(value, dict):
        return {name: _brief(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_brief(one) for one in value]
    return to_jsonable_python(value)


def credential_variables(credentials: Sequence[Credentials]) -> list[Manifest]:
    """Environment variables fed from Secrets; the operator itself never reads a Secret."""
    return [
        {
            "name": f"{c.prefix}_{part}",
            "valueFrom": {"secretKeyRef": {"name": c.secret, "key": f"AWS_{part}"}},
        }
        for c in credentials
        for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    ]


def scratch(size: str = "20Gi") -> Manifest:
    """The writable volume of a pod with a read-only root."""
    return {"name": "scratch", "emptyDir": {"sizeLimit": size}}


def pod_security(user: int | None = USER) -> dict[str, Any]:
    """The pod's security context under `restricted`. `user` None leaves the image's own non-root user."""
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": USER}
    if user is not None:
        context |= {"runAsUser": user, "runAsGroup": user}
    return context


def container_security() -> dict[str, Any]:
    """A container's security context under `restricted`, with a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
