"""What a run can be asked for, and which columns that means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from contract import InputError

SCHEDULE = ("carrier", "origin", "dest", "sched_minute", "day_of_week", "distance", "sched_elapsed")
WEATHER = ("temp", "humid", "wind_speed", "precip_3h", "visib")
TRAFFIC = (
    "origin_delay_1h", "origin_waiting_1h", "origin_carrier_delay_3h", "origin_carrier_wait_3h", "dest_delay_3h",
    "all_delay_3h", "dest_arr_delay_4h", "dest_enroute_4h", "all_enroute_4h",
)  # fmt: skip
GROUPS = {"schedule": SCHEDULE, "weather": WEATHER, "traffic": TRAFFIC}
INPUTS = (*SCHEDULE, *WEATHER, *TRAFFIC)
TEXTS = ("carrier", "origin", "dest")

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of a run. `features` are groups; the graph takes every input, and uses those of these groups."""

    model: str = "boosted"
    features: str = "schedule,weather,traffic"
    max_iter: int = 200
    learning_rate: float = 0.06
    max_leaf_nodes: int = 31

    @property
    def columns(self) -> list[str]:
        """The columns that the model uses, in the order of `INPUTS`."""
        chosen = self.features.split(",")
        return [name for group, names in GROUPS.items() if group in chosen for name in names]


_OF_BOOSTING = ("learning_rate", "max_leaf_nodes")


def settings_from(parameters: Mapping[str, str]) -> Settings:
    """The settings that the parameters ask for.

    Raises InputError for an unknown name, a value out of range, or a parameter that this model would ignore.
    """
    unknown = sorted(set(parameters) - {field.name for field in fields(Settings)})
    if unknown:
        raise InputError(f"unknown parameters {unknown}; known are {[field.name for field in fields(Settings)]}")
    model = parameters.get("model", Settings().model)
    if model not in ("logistic", "boosted"):
        raise InputError(f"parameter model is {model!r}; give 'logistic' or 'boosted'")
    ignored = [name for name in _OF_BOOSTING if name in parameters and model == "logistic"]
    if ignored:
        raise InputError(f"parameters {ignored} mean nothing to model 'logistic'; remove them")
    return Settings(
        model=model,
        features=_groups(parameters.get("features", Settings().features)),
        max_iter=_positive(parameters, "max_iter", int, Settings().max_iter),
        learning_rate=_positive(parameters, "learning_rate", float, Settings().learning_rate),
        max_leaf_nodes=_positive(parameters, "max_leaf_nodes", int, Settings().max_leaf_nodes, at_least=2),
    )


def _groups(text: str) -> str:
    groups = [group.strip() for group in text.split(",")]
    if not set(groups) <= set(GROUPS) or len(set(groups)) != len(groups):
        raise InputError(f"parameter features is {text!r}; give some of {','.join(GROUPS)}, each once")
    return ",".join(groups)


def _positive(
    parameters: Mapping[str, str],
    name: str,
    kind: Callable[[str], Number],
    default: Number,
    at_least: Number | None = None,
) -> Number:
    text = parameters.get(name)
    if text is None:
        return default
    try:
        value = kind(text)
    except ValueError as problem:
        raise InputError(f"parameter {name} is {text!r}; give a number") from problem
    if not 0 < value < 10_000 or (at_least is not None and value < at_least):
        raise InputError(f"parameter {name} is {text}; give a number above 0 (leaves: 2 or more) and below 10000")
    return value
