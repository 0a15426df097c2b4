"""Builds the three-step pod of a training run: fetch, train, collect.

    init fetch (ours)      code and data, digests verified      writes /plumbline/in, /plumbline/code
    init train (theirs)    the user's image and command          reads them, writes /plumbline/out
    container collect      hash, upload, manifest, answer         reads /plumbline/out

Init containers run one after the other, so the order needs no helper; the train step has neither credentials nor an
API token, and cannot change what fetch has verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from plumbline_contract.runspec import Collect, Fetch
from plumbline_operator.build.job import (
    Credentials,
    Resources,
    container,
    container_security,
    job_of,
    pod_spec,
    scratch,
)
from plumbline_operator.model.amounts import larger
from plumbline_operator.model.meta import Manifest

VERB = "train"
IN, CODE, OUT = "/plumbline/in", "/plumbline/code", "/plumbline/out"
LAUNCH = f"{IN}/.plumbline/launch"  # written by fetch: notes packages and hardware, then becomes the command
TRAIN = "train"
OURS = Resources({"cpu": "250m", "memory": "512Mi"}, {"memory": "4Gi"})
TRAINING = Resources({"cpu": "500m", "memory": "1Gi"}, {"memory": "4Gi"})  # where the spec says nothing
SHARED_MEMORY = "8Gi"  # /dev/shm: the runtime's 64 MiB break data loaders of several processes; counts as memory


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that decides one attempt's pod. `resources`: of the train container."""

    fetch: Fetch
    collect: Collect
    jobs_image: str
    pull_policy: str
    credentials: Credentials
    image: str
    command: tuple[str, ...]
    parameters: Mapping[str, str]
    seeds: Mapping[str, int]
    resources: Resources
    deadline_seconds: int


def training_job(name: str, training: Training) -> Manifest:
    """The Job of one attempt."""
    pod = pod_spec(
        init=[_ours("fetch", training, training.fetch), _train(training)],
        containers=[_ours("collect", training, training.collect)],
        volumes=[
            _empty("in", "100Gi"),
            _empty("code", "10Gi"),
            _empty("out", "100Gi"),
            _empty("tmp", "20Gi"),
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
            scratch(),
        ],
    )
    return job_of(name, pod, training.deadline_seconds, verb=VERB)


def image_digest(pods: tuple[Manifest, ...]) -> str:
    """The digest of the training image as the node resolved it, from a run's pods; empty while it is not known."""
    for pod in pods:
        for one in pod.get("status", {}).get("initContainerStatuses", ()):
            # docker.io/library/train@sha256:…, or only sha256:… for an image that was imported without a registry
            _, found, digest = str(one.get("imageID", "")).rpartition("sha256:")
            if one["name"] == TRAIN and found:
                return f"sha256:{digest}"
    return ""


def _ours(name: str, training: Training, document: Fetch | Collect) -> Manifest:
    # Steps run one after the other, so memory that training may use costs nothing extra while data is fetched.
    memory = larger(OURS.limits["memory"], training.resources.limits.get("memory", "0"))
    resources = Resources(OURS.requests, {"memory": memory})
    made = container(name, training.jobs_image, document, [training.credentials], resources, training.pull_policy)
    made["volumeMounts"] += [
        {"name": "in", "mountPath": IN, "readOnly": name != "fetch"},
        {"name": "code", "mountPath": CODE, "readOnly": name != "fetch"},
        {"name": "out", "mountPath": OUT, "readOnly": name == "fetch"},
    ]
    return made


def _train(training: Training) -> Manifest:
    settings = {f"PLUMBLINE_PARAM_{name.upper()}": value for name, value in training.parameters.items()}
    seeds = {f"PLUMBLINE_SEED_{name.upper()}": str(value) for name, value in training.seeds.items()}
    fixed = {"PLUMBLINE_IN": IN, "PLUMBLINE_OUT": OUT, "HOME": "/tmp", "TMPDIR": "/tmp"}
    made: Manifest = {
        "name": TRAIN,
        "image": training.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [LAUNCH, *training.command],
        "env": [{"name": name, "value": value} for name, value in sorted((fixed | settings | seeds).items())],
        "resources": {"requests": dict(training.resources.requests), "limits": dict(training.resources.limits)},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "in", "mountPath": IN, "readOnly": True},
            {"name": "code", "mountPath": CODE},
            {"name": "out", "mountPath": OUT},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    if training.fetch.code is not None:
        made["workingDir"] = "/".join(part for part in (CODE, training.fetch.code.path) if part)
    return made


def _empty(name: str, size: str) -> Manifest:
    return {"name": name, "emptyDir": {"sizeLimit": size}}
