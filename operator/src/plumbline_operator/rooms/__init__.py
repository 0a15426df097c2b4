"""The rooms, one per kind, in the order of a model's life.

Each room's author adds one import and one entry; everything else (watches, CRDs, RBAC, reference) follows from it.
"""

from plumbline_operator.rooms.approval.handlers import ROOM as APPROVAL
from plumbline_operator.rooms.connection.handlers import ROOM as CONNECTION
from plumbline_operator.rooms.dataset.handlers import ROOM as DATASET
from plumbline_operator.rooms.datasetsnapshot.handlers import ROOM as DATASET_SNAPSHOT
from plumbline_operator.rooms.driftmonitor.handlers import ROOM as DRIFT_MONITOR
from plumbline_operator.rooms.modeldeployment.handlers import ROOM as MODEL_DEPLOYMENT
from plumbline_operator.rooms.modelversion.handlers import ROOM as MODEL_VERSION
from plumbline_operator.rooms.registeredmodel.handlers import ROOM as REGISTERED_MODEL
from plumbline_operator.rooms.releasepin.handlers import ROOM as RELEASE_PIN
from plumbline_operator.rooms.trainingrun.handlers import ROOM as TRAINING_RUN
from plumbline_operator.runtime.room import Room

ROOMS: tuple[Room, ...] = (
    CONNECTION,
    DATASET,
    DATASET_SNAPSHOT,
    TRAINING_RUN,
    REGISTERED_MODEL,
    MODEL_VERSION,
    APPROVAL,
    MODEL_DEPLOYMENT,
    RELEASE_PIN,
    DRIFT_MONITOR,
)
