"""ReleasePin: what is read, and who wakes whom."""

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.modeldeployment.api import ModelDeployment
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.releasepin.api import KIND, ReleasePin, is_refused, pins_of
from plumbline_operator.rooms.releasepin.plan import Observed, plan
from plumbline_operator.runtime.room import Room, Sight


async def observe(pin: ReleasePin, sight: Sight) -> Observed:
    """Its deployment, that one's pins, and the versions they name."""
    namespace, name = pin.metadata.namespace, pin.spec.deployment_ref.name
    raw = await sight.kube.get(DEPLOYMENT.ref, namespace, name)
    if raw is None:
        return Observed(pin, None)
    pins = pins_of(name, await sight.kube.list(KIND.ref, namespace))
    versions = {one.spec.version_ref.name for one in pins}
    found = [(version, await sight.kube.get(VERSION.ref, namespace, version)) for version in sorted(versions)]
    refused = frozenset(version for version, live in found if is_refused(live))
    return Observed(pin, ModelDeployment.model_validate(raw), pins, refused)


def dependencies(raw: Manifest) -> tuple[Key, ...]:
    """The deployment, and the version whose approval may end."""
    version = raw.get("spec", {}).get("versionRef", {}).get("name")
    return (*wakes(raw), *((Key(VERSION.kind, raw["metadata"]["namespace"], version),) if version else ()))


def wakes(raw: Manifest) -> tuple[Key, ...]:
    """The deployment, which cannot name its pins."""
    name = raw.get("spec", {}).get("deploymentRef", {}).get("name")
    return (Key(DEPLOYMENT.kind, raw["metadata"]["namespace"], name),) if name else ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=dependencies, wakes=wakes)
