"""Says whether a connection can be used: the bucket is there and writable, or the repository can be listed."""

from secrets import token_hex

from plumbline_contract import layout
from plumbline_contract.base import short_hash
from plumbline_contract.report import Outcome, Report
from plumbline_contract.runspec import Bucket, VerifyConnection
from plumbline_jobs.answer import Answer
from plumbline_jobs.errors import Refused, Trouble
from plumbline_jobs.git import list_remote
from plumbline_jobs.io.store import NotThere, Store


def run(spec: VerifyConnection) -> Answer:
    """Reason Verified, or an error with EndpointUnreachable, BucketNotFound, AccessDenied or RepositoryNotFound."""
    if spec.s3 is not None:
        return _verified(verify_bucket(spec.s3, spec.owner.uid))
    if spec.git_url is not None:
        heads = list_remote(spec.git_url)
        return _verified(f"the repository answers and has {heads} branches and tags")
    raise Refused("JobFailed", "the connection names neither s3 nor git; set exactly one")


def verify_bucket(bucket: Bucket, uid: str) -> str:
    """What was found out about the bucket. A probe object is written, read back and removed.

    uid: of the connection, which names the probe, so that one that a killed Job left is removed by the next.
    """
    store = Store.connect(bucket)
    store.head_bucket()
    key = layout.join(bucket.prefix, f"plumbline-probe-{short_hash(uid)}")
    data = token_hex(32).encode()
    store.write(key, data)
    try:
        if store.read(key) != data:
            raise Trouble("EndpointUnreachable", f"the object {key} reads back other bytes than were written")
    except NotThere as error:
        raise Trouble("EndpointUnreachable", f"the object {key} is gone right after it was written") from error
    finally:
        store.delete(key)
    return f"the bucket {bucket.bucket} answers; an object was written, read back and removed"


def _verified(message: str) -> Answer:
    return Answer(Report(outcome=Outcome.DONE, reason="Verified", message=message))
