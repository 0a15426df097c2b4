"""What users do: bring a first model into service, and release a second one, from which an incident takes them back."""

from __future__ import annotations

from collections.abc import Callable

from plumbline_operator.model.meta import Manifest
from plumbline_operator.rooms.modeldeployment.api import KIND as DEPLOYMENT
from plumbline_operator.rooms.modelversion.api import KIND as VERSION
from tests.faults.lane import Lane, patiently
from tests.faults.objects import RUN, SECOND, approval, manifests, pin, release_of_the_second, second_run
from tests.rooms.release_objects import NAME
from tests.support.worlds import ready_of


async def first_service(one: Lane) -> None:
    """From nothing to a model that serves and is watched."""
    await one.write(*manifests())
    await consent(one, RUN, "consent")


async def whole_life(one: Lane) -> None:
    """That, and a second model that comes in by a shadow and a canary, and a pin that takes traffic back."""
    await first_service(one)
    await patiently("the first model serves", one.all_ready)
    await one.write(second_run())
    await consent(one, SECOND, "consent-2")
    await one.change(DEPLOYMENT.ref, NAME, release_of_the_second())
    await one.look(DEPLOYMENT.ref, NAME, serves(SECOND))
    await one.write(pin())
    await one.look(DEPLOYMENT.ref, NAME, serves(RUN))


async def consent(one: Lane, version: str, name: str) -> None:
    """Wait for a ModelVersion and approve it."""
    await one.write(approval(await one.look(VERSION.ref, version, lambda live: True), name))


def serves(version: str) -> Callable[[Manifest], bool]:
    """Whether a deployment says that this version answers, and all is well."""

    def fact(live: Manifest) -> bool:
        stable = live.get("status", {}).get("stable", {}).get("version")
        return stable == version and ready_of(live)[0] == "True"

    return fact
