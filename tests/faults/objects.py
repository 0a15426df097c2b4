"""What users write on the golden path: from a bucket to a served and watched model, and on to the next one and back."""

from __future__ import annotations

from typing import Any

from plumbline_operator.model.meta import Manifest
from tests.rooms import data_objects as data
from tests.rooms import registry_objects as registry
from tests.rooms import release_objects as release

RUN, SECOND, MODEL = "delays-1", "delays-2", "delays"
SHADOW = {"name": "shadow", "shadow": {"percent": 50}, "holdSeconds": 1, "minRequests": 10, "minAgreement": 0.9}
CANARY = {"name": "canary", "canary": {"weight": 5}, "holdSeconds": 1, "minRequests": 100, "maxFailurePercent": 2}
DAY = 86_400  # seconds: no second window begins while a case runs, but for one at midnight


def manifests() -> list[Manifest]:
    """Everything that can be written before anything has happened, as users write it."""
    serving = {"modelRef": {"name": MODEL}, "versionRef": {"name": RUN}}
    written = [
        data.connection(),
        data.connection("lake"),
        data.repository(),
        data.dataset(),
        _golden(),
        data.model(MODEL),
        data.run(RUN),
        release.deployment(RUN, **serving),
        release.monitor(intervalSeconds=DAY, windowSeconds=DAY),
    ]
    return [_by_user(one) for one in written]


def second_run() -> Manifest:
    """Training once more, with other parameters, and so another model."""
    return _by_user(data.run(SECOND, parameters={"depth": "7"}))


def release_of_the_second() -> Manifest:
    """What changes in the deployment's spec: the second version comes in by a shadow and a canary."""
    return {"versionRef": {"name": SECOND}, "strategy": {"steps": [SHADOW, CANARY]}}


def pin() -> Manifest:
    """Back to the first version, in an incident."""
    return _by_user(release.pin("incident", RUN))


def approval(version: Manifest, name: str = "consent") -> Manifest:
    """The consent of somebody who did not train this ModelVersion."""
    spec = version["spec"]
    about = {"name": version["metadata"]["name"], "manifest": spec["manifest"], "author": spec["author"]}
    return _by_user(registry.approval(name, version=about))


def _golden() -> Manifest:
    columns: list[dict[str, Any]] = [{"name": "late", "type": "Int64"}, {"name": "distance", "type": "Int64"}]
    raw = registry.dataset()
    return raw | {"spec": raw["spec"] | {"columns": columns}}


def _by_user(obj: Manifest) -> Manifest:
    kept = {part: value for part, value in obj.items() if part in ("apiVersion", "kind", "spec")}
    return kept | {"metadata": {"name": obj["metadata"]["name"]}}
