"""Why a ModelDeployment is ready or not, each reason with its cause and fix."""

from enum import StrEnum

from plumbline_operator.model.kind import Explained
from plumbline_operator.model.reasons import explained


class Reason(StrEnum):
    """Why a ModelDeployment is ready or not."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    PINNED = "Pinned"
    SHADOW_RUNNING = "ShadowRunning"
    CANARY_PROGRESSING = "CanaryProgressing"
    HOLDING_NO_MEASUREMENT = "HoldingNoMeasurement"
    HOLDING_INSUFFICIENT_REQUESTS = "HoldingInsufficientRequests"
    COMPARING = "Comparing"
    SHADOW_DISAGREES = "ShadowDisagrees"
    CANARY_FAILING = "CanaryFailing"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_NOT_READY = "ModelNotReady"
    VERSION_NOT_FOUND = "VersionNotFound"
    VERSION_OF_OTHER_MODEL = "VersionOfOtherModel"
    VERSION_NOT_APPROVED = "VersionNotApproved"
    AWAITING_APPROVAL = "AwaitingApproval"
    VERSION_NOT_READY = "VersionNotReady"
    SNAPSHOT_NOT_FOUND = "SnapshotNotFound"
    CONNECTION_NOT_READY = "ConnectionNotReady"
    ROUTER_NOT_READY = "RouterNotReady"
    SERVING = "Serving"
    GIT_DIVERGED = "GitDiverged"
    DATA_UNAVAILABLE = "DataUnavailable"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
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
    Reason.PROMOTED: Explained("The version in spec.versionRef answers all requests.", "Nothing."),
    Reason.ROLLED_BACK: Explained(
        "spec.versionRef was changed back to a version that had served before; it answers all requests.", "Nothing."
    ),
    Reason.PINNED: Explained(
        "A ReleasePin is in force; the version it names answers all requests, whatever spec.versionRef says.",
        "When the incident is over, set spec.versionRef as it should be and delete the ReleasePin.",
    ),
    Reason.SHADOW_RUNNING: Explained(
        "The target gets copies of requests. Callers never see its answers.", "Nothing; it goes on by itself."
    ),
    Reason.CANARY_PROGRESSING: Explained(
        "The target answers a part of the requests, and the step has not lasted long enough yet.",
        "Nothing; it goes on by itself. Set spec.versionRef back to stop it.",
    ),
    Reason.HOLDING_NO_MEASUREMENT: Explained(
        "A router pod does not say what it counted, or does not serve the step's weights yet. The weight stays.",
        "Look at the router's pods. The operator must reach their port 9902.",
    ),
    Reason.HOLDING_INSUFFICIENT_REQUESTS: Explained(
        "The step has lasted long enough, but fewer requests or pairs of predictions were seen than it asks for.",
        "Wait for traffic, send some, or lower minRequests in that step.",
    ),
    Reason.COMPARING: Explained(
        "A Job pairs the predictions of both versions on the copied requests.",
        "Nothing; it goes on by itself. The message names the Job whose log can be read.",
    ),
    Reason.SHADOW_DISAGREES: Explained(
        "The target's predictions agree less often with the stable version's than the shadow step demands. "
        "The target gets no requests.",
        "Look at why they differ. Name another version, or lower minAgreement if the difference is wanted.",
    ),
    Reason.CANARY_FAILING: Explained(
        "More of the target's answers failed than the canary step allows. The target gets no requests; it still "
        "runs, so that its log can be read.",
        "Read its pods' logs. Name another version, or change the step to try again.",
    ),
    Reason.MODEL_NOT_FOUND: Explained(
        "The RegisteredModel in spec.modelRef does not exist.", "Create it, or correct the name."
    ),
    Reason.MODEL_NOT_READY: Explained(
        "The spec of the RegisteredModel in spec.modelRef cannot be used, so nobody says whose approvals count. "
        "What served before goes on serving.",
        "Look at the RegisteredModel's own message; it goes on by itself once that is mended.",
    ),
    Reason.VERSION_NOT_FOUND: Explained(
        "The ModelVersion in spec.versionRef does not exist (any more). What served before goes on serving.",
        "Correct the name, or wait for the TrainingRun that makes it.",
    ),
    Reason.VERSION_OF_OTHER_MODEL: Explained(
        "The ModelVersion in spec.versionRef belongs to another RegisteredModel.",
        "Name a version of the model in spec.modelRef.",
    ),
    Reason.VERSION_NOT_APPROVED: Explained(
        "The version is still evaluated, a gate failed, or somebody denied it. It is neither brought in nor back.",
        "Look at the ModelVersion's own message; it goes on by itself once the version is Ready.",
    ),
    Reason.AWAITING_APPROVAL: Explained(
        "The version has passed its gates, but fewer people have approved it than its RegisteredModel requires, or an "
        "approval has expired. It gets no requests.",
        "Somebody other than its author approves it: kubectl plumbline approve. It goes on by itself.",
    ),
    Reason.VERSION_NOT_READY: Explained(
        "No pod of the version is ready to answer.",
        "The message says what its pods say. It goes on by itself once they are ready.",
    ),
    Reason.SNAPSHOT_NOT_FOUND: Explained(
        "A DatasetSnapshot the version was trained on is gone, so nobody knows which inputs must not be logged.",
        "Restore the DatasetSnapshot, or train again.",
    ),
    Reason.CONNECTION_NOT_READY: Explained(
        "The Connection to the bucket with the version is missing or not Ready.",
        "Look at that Connection's own message; it goes on by itself.",
    ),
    Reason.ROUTER_NOT_READY: Explained(
        "No router pod is ready.", "Look at the pods of the Deployment named like this one, with -router behind."
    ),
    Reason.SERVING: Explained("Requests are answered (condition Available).", "Nothing."),
    Reason.GIT_DIVERGED: Explained(
        "A ReleasePin names another version than spec.versionRef (condition GitDiverged).",
        "Set spec.versionRef to the version that should serve, then delete the ReleasePin.",
    ),
    **explained(Reason),
}
