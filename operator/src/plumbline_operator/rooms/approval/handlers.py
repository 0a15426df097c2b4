"""Wires the Approval room."""

from plumbline_operator.model.meta import Key, Manifest
from plumbline_operator.rooms.approval.api import KIND, Approval
from plumbline_operator.rooms.approval.plan import Seen, plan
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from plumbline_operator.rooms.modelversion.api import read_spec as version_spec
from plumbline_operator.rooms.registeredmodel.api import KIND as MODEL
from plumbline_operator.rooms.registeredmodel.api import read_spec as model_spec
from plumbline_operator.runtime.room import Room, Sight


async def observe(approval: Approval, sight: Sight) -> Seen:
    """The version it names and that version's model, live."""
    namespace = approval.metadata.namespace
    version = version_spec(await sight.kube.get(VERSION.ref, namespace, approval.spec.version.name))
    if version is None:
        return Seen(approval, None, None)
    raw = await sight.kube.get(MODEL.ref, namespace, version.model_ref.name)
    return Seen(approval, version, model_spec(raw))


def needs(raw: Manifest) -> tuple[Key, ...]:
    """The version, and the model that was seen to rule over it."""
    model = raw.get("status", {}).get("model")
    ruler = (Key(MODEL.kind, raw["metadata"]["namespace"], model),) if model else ()
    return (*subject(raw), *ruler)


def subject(raw: Manifest) -> tuple[Key, ...]:
    """The version it decides on: each wakes the other."""
    name = raw.get("spec", {}).get("version", {}).get("name")
    return (Key(VERSION.kind, raw["metadata"]["namespace"], name),) if name else ()


ROOM = Room(kind=KIND, observe=observe, plan=plan, dependencies=needs, wakes=subject)
