"""Reasons that many kinds share, each with its cause and fix, said once."""

from enum import StrEnum

from plumbline_operator.model.jobs import Fault
from plumbline_operator.model.kind import Explained


class Common(StrEnum):
    """Reasons every kind has; the loop itself sets them."""

    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"


EXPLAINED: dict[str, Explained] = {
    Common.INVALID_SPEC: Explained(
        "The spec passed the API server's schema but is not usable, for example after an upgrade tightened a rule.",
        "The message names the field and the value. Correct it and apply again.",
    ),
    Common.NAME_TAKEN: Explained(
        "An object that has to be created has the name of one that belongs to somebody else; nothing was overwritten.",
        "Rename this object, or remove the other one that the message names.",
    ),
    Common.REFUSED: Explained(
        "The API server refused an object that has to be created: a quota, an admission policy or missing rights.",
        "The message is the server's own. Lift the quota or grant the right; it is tried again every five minutes.",
    ),
    Fault.OOM_KILLED: Explained(
        "A container used more memory than its limit and was killed.",
        "Raise the memory limit, or read and train on less at a time.",
    ),
    Fault.IMAGE_NOT_FOUND: Explained(
        "The node cannot pull a container's image.",
        "Check the image's name, tag or digest, that the node reaches the registry, and the pull secret.",
    ),
    Fault.UNSCHEDULABLE: Explained(
        "No node has what the pod asks for; the message names the resource, as the scheduler does.",
        "Add nodes with that resource, free some, or ask for less. It starts by itself once a node fits.",
    ),
    Fault.SECRET_NOT_FOUND: Explained(
        "A Secret with credentials, or a key in it, does not exist in the namespace.",
        "Create the Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    ),
    Fault.DEADLINE: Explained(
        "The work ran past its time limit and was stopped.",
        "Allow more time where the spec has a deadline, or make the work smaller; then ask for it again.",
    ),
    Fault.POD_LOST: Explained(
        "The pod disappeared with its node, was evicted or preempted before it had answered.",
        "Nothing: it is tried again. When it happens every time, look at the node's memory and disk.",
    ),
    Fault.JOB_FAILED: Explained(
        "The work's container ended with an error and gave no reason of its own.",
        "The message has the last lines of its log. If they point at Plumbline itself, please report them.",
    ),
    "EndpointUnreachable": Explained(
        "A store or git server did not answer: its name does not resolve, or nothing listens there in time.",
        "It is tried again with growing pauses. Then check the Connection's URL, DNS and NetworkPolicies.",
    ),
    "BucketNotFound": Explained(
        "The store answers but has no bucket of that name for these credentials.",
        "Create the bucket or correct the Connection, then set the annotation plumbline.dev/requested-at.",
    ),
    "AccessDenied": Explained(
        "A store or git server refuses these credentials what is needed.",
        "Correct the Secret or the bucket's policy, then set the annotation plumbline.dev/requested-at.",
    ),
    "RepositoryNotFound": Explained(
        "The host answers, but has no git repository at that URL for somebody without a login.",
        "Correct the Connection's URL, then set the annotation plumbline.dev/requested-at.",
    ),
    "DataUnavailable": Explained(
        "Data or code that was named by digest or commit is not where it has to be, or its bytes are other ones.",
        "The message names it. Restore it, or push the commit, and ask for the work again.",
    ),
}


def explained(reasons: type[StrEnum]) -> dict[StrEnum, Explained]:
    """Cause and fix of those of a kind's reasons that are shared; the kind adds its own."""
    return {reason: EXPLAINED[reason.value] for reason in reasons if reason.value in EXPLAINED}
