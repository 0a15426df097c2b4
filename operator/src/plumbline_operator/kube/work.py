"""Sees an owner's Jobs and their pods, by label."""

from plumbline_operator.kube.protocol import Reader
from plumbline_operator.kube.refs import JOBS, PODS
from plumbline_operator.model.attempts import JOB_LABEL, VERB_LABEL, SeenJob
from plumbline_operator.model.meta import OWNER_KIND, OWNER_NAME, Key, Manifest, controller_uid
from plumbline_operator.model.names import label_value


async def see_jobs(kube: Reader, owner: Key, verb: str) -> tuple[SeenJob, ...]:
    """The owner's Jobs that do `verb`, sorted by name, each with its pods; two live LISTs, whatever their number."""
    labels = {OWNER_KIND: owner.kind, OWNER_NAME: label_value(owner.name)}
    jobs = await kube.list(JOBS, owner.namespace, {**labels, VERB_LABEL: verb})
    if not jobs:
        return ()
    pods = await kube.list(PODS, owner.namespace, labels)
    return tuple(
        SeenJob(job, tuple(pod for pod in pods if _is_of(pod, job)))
        for job in sorted(jobs, key=lambda one: str(one["metadata"]["name"]))
    )


def _is_of(pod: Manifest, job: Manifest) -> bool:
    """Whether a pod is this Job's, and not of one of the same name that was deleted before."""
    meta = job["metadata"]
    same = pod["metadata"].get("labels", {}).get(JOB_LABEL) == meta["name"]
    return same and controller_uid(pod) in ("", meta["uid"])
