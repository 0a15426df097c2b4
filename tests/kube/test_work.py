"""An owner's Jobs are seen with their own pods."""

from __future__ import annotations

from plumbline_operator.kube.work import see_jobs
from plumbline_operator.model.attempts import JOB_LABEL, VERB_LABEL
from plumbline_operator.model.meta import OWNER_KIND, OWNER_NAME, Key, Manifest
from tests.support.fake_kube import FakeKube
from tests.support.worlds import thing

OWNER = {OWNER_KIND: "Dataset", OWNER_NAME: "flights"}


def pod(name: str, job: str, uid: str) -> Manifest:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": True}
    return thing("v1", "Pod", name, labels=OWNER | {JOB_LABEL: job}, ownerReferences=[owner])


async def test_a_pod_of_an_earlier_job_of_the_same_name_is_not_seen() -> None:
    job = thing("batch/v1", "Job", "a", labels=OWNER | {VERB_LABEL: "ingest"})
    uid = job["metadata"]["uid"]
    kube = FakeKube(job, pod("now", "a", uid), pod("before", "a", "older"), pod("other", "b", "b"))
    (seen,) = await see_jobs(kube, Key("Dataset", "team", "flights"), "ingest")
    assert [one["metadata"]["name"] for one in seen.pods] == ["now"]
