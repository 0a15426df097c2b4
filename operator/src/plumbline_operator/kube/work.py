"""Sees an owner's Jobs and their pods, by label."""

from plumbline_operator.kube.protocol import Reader
from plumbline_operator.kube.refs import JOBS, PODS
from plumbline_operator.model.attempts import JOB_LABEL, VERB_LABEL, SeenJob
from plumbline_operator.model.meta import OWNER_KIND, OWNER_NAME, Key
from plumbline_operator.model.names import label_value


async def see_jobs(kube: Reader, owner: Key, verb: str) -> tuple[SeenJob, ...]:
    """The owner's Jobs that do `verb`, sorted by name, each with its pods; two live LISTs, whatever their number."""
    labels = {OWNER_KIND: owner.kind, OWNER_NAME: label_value(owner.name)}
    jobs = await kube.list(JOBS, owner.namespace, {**labels, VERB_LABEL: verb})
    if not jobs:
        return ()
    pods = await kube.list(PODS, owner.namespace, labels)
    return tuple(
        SeenJob(job, tuple(pod for pod in pods if pod["metadata"].get("labels", {}).get(JOB_LABEL) == name))
        for name, job in sorted((job["metadata"]["name"], job) for job in jobs)
    )
