"""Requests and limits in a spec: written as users write them, checked by the API server."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from plumbline_operator.model.meta import Model

QUANTITY = r"^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
SCALES = {
    "m": 1e-3,
    "": 1.0,
    **{unit: 1000.0**power for power, unit in enumerate("kMGTP", 1)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTP", 1)},
}
# What pods know: the standard resources, and those of devices as <domain>/<name>.
RESOURCE_NAME = (
    r"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMGTP]i|"
    r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$"
)
ResourceName = Annotated[str, Field(pattern=RESOURCE_NAME, max_length=253)]


def _is_amount(quantity: str | int) -> str | int:
    number(quantity)
    return quantity


Quantity = Annotated[
    str | int,
    AfterValidator(_is_amount),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "description": "A Kubernetes quantity, such as 2, 500m or 4Gi.",
            "pattern": QUANTITY,
            "minimum": 0,
            "maxLength": 32,
        }
    ),
]


class ResourceAmounts(Model):
    """What a container asks for and may use at most."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.requests.all(name, !(name in self.limits) || quantity(string(self.requests[name]))"
                    ".compareTo(quantity(string(self.limits[name]))) <= 0)",
                    "message": "no request may be above its limit",
                },
                {
                    # Pods with anything else are refused, and that would be told only when the next Job starts.
                    "rule": "self.requests.all(name, !(name.contains('/') || name.startsWith('hugepages-')) || "
                    "(name in self.limits && quantity(string(self.requests[name]))"
                    ".compareTo(quantity(string(self.limits[name]))) == 0))",
                    "message": "devices and huge pages cannot be overcommitted: their requests must equal their "
                    "limits, or be left out",
                },
            ]
        }
    )

    requests: Mapping[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="What the scheduler sets aside; absent: as the limits say."
    )
    limits: Mapping[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="What may be used at most; GPUs go here, as nvidia.com/gpu."
    )


def texts(amounts: Mapping[str, str | int]) -> dict[str, str]:
    """The amounts as a pod has them."""
    return {name: str(amount) for name, amount in amounts.items()}


def number(quantity: str | int) -> float:
    """A quantity as a number of its base unit: cores, bytes, pieces. Raises ValueError when it is none."""
    found = re.match(r"^([0-9.]+)([A-Za-z]*)$", str(quantity))
    if found is None or found[2] not in SCALES:
        raise ValueError(f"{quantity!r} is not a quantity; expected for example 2, 500m or 4Gi")
    return float(found[1]) * SCALES[found[2]]


def larger(one: str | int, other: str | int) -> str:
    """The larger of two quantities, as it was written."""
    return str(max(one, other, key=number))
