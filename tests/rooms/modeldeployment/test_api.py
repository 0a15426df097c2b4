"""The spec: defaults, and what is refused with a sentence."""

from typing import Any

import pytest
from pydantic import ValidationError

from plumbline_operator.model.meta import plain
from plumbline_operator.rooms.modeldeployment.api import ModelDeploymentSpec, Strategy
from tests.rooms.release_objects import CANARY, HALF, SHADOW

LEAST = {"modelRef": {"name": "flights"}, "versionRef": {"name": "v1"}}


def test_the_least_spec_has_defaults_that_serve_one_pod_without_steps() -> None:
    spec = ModelDeploymentSpec.model_validate(LEAST)
    assert (spec.real_time.replicas.min, spec.real_time.replicas.max) == (1, 1)
    assert spec.real_time.target_cpu_percent == 70
    assert spec.strategy.steps == ()
    assert spec.warm_versions == 1
    assert spec.node_port is None


def test_the_wire_has_the_documented_names() -> None:
    spec = ModelDeploymentSpec.model_validate(LEAST | {"realTime": {"targetCPUPercent": 50}})
    assert spec.real_time.target_cpu_percent == 50
    assert plain(spec)["realTime"]["targetCPUPercent"] == 50
    assert ModelDeploymentSpec.model_validate(plain(spec)) == spec


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"name": "x"}], "exactly one of shadow and canary"),
        ([SHADOW | {"canary": {"weight": 5}}], "exactly one of shadow and canary"),
        ([HALF, CANARY], "weights must rise"),
        ([CANARY, CANARY | {"name": "again"}], "weights must rise"),
        ([CANARY, SHADOW], "shadows come first"),
        ([{"name": "x", "canary": {"weight": 100}}], "less than or equal to 99"),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps: list[Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Strategy.model_validate({"steps": steps})
