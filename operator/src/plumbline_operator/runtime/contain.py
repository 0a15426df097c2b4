"""Whether a live object already holds everything we want of it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

QUANTITIES = frozenset({"requests", "limits", "sizeLimit", "storage", "averageValue"})
# Fields of children that the API server merges as one value: what is added to them changes what they mean.
WHOLE = frozenset({"selector", "matchLabels", "subjects", "rules", "metrics"})
SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("MGTPE", start=2)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
EMPTY: tuple[Any, ...] = ({}, [], "", None)


def contains(live: Any, desired: Any, *, quantity: bool = False) -> bool:
    """Whether every field of `desired` is in `live` with the same meaning; what else `live` holds does not matter.

    Lists of things with a uid, name or type are compared by that key, as the API server merges them; other lists
    element by element. Fields that have no parts for the API server, such as a Service's selector and the subjects of
    a RoleBinding, hold nothing else. Quantities are compared by value, because the API server rewrites `1000m` to `1`.
    An empty desired value is contained in a missing one, because the API server drops empties.
    """
    if isinstance(desired, Mapping):
        if not desired:
            return live in (None, {}) or isinstance(live, Mapping)
        return isinstance(live, Mapping) and all(
            contains(live.get(name), value, quantity=quantity or name in QUANTITIES)
            and (name not in WHOLE or _is_whole(live.get(name), value))
            for name, value in desired.items()
        )
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return _contains_items(live or [], desired, quantity)
    if live == desired or (live in EMPTY and desired in EMPTY):
        return isinstance(live, bool) == isinstance(desired, bool)  # for Python, True equals 1
    return quantity and same_quantity(live, desired)


def same_quantity(left: Any, right: Any) -> bool:
    """Whether two Kubernetes quantities are the same amount, `0.5` and `500m` for example."""
    one, other = amount(left), amount(right)
    return one is not None and one == other


def amount(quantity: Any) -> Decimal | None:
    """A quantity as a number in its base unit (cores, bytes), or None when it is none."""
    text = str(quantity)
    digits = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(digits) * SUFFIXES[text[len(digits) :]]
    except (InvalidOperation, KeyError):
        return None


def _is_whole(live: Any, desired: Any) -> bool:
    """Whether `live`, which contains `desired`, has nothing more at this level."""
    return len(live or ()) == len(desired or ())


def _contains_items(live: Any, desired: Sequence[Any], quantity: bool) -> bool:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return False
    key = _merge_key(desired)
    if key is None or _merge_key(live) != key:
        return len(live) == len(desired) and all(
            contains(one, other, quantity=quantity) for one, other in zip(live, desired, strict=True)
        )
    present = {one[key]: one for one in live}
    return all(contains(present.get(one[key]), one, quantity=quantity) for one in desired)


def _merge_key(items: Sequence[Any]) -> str | None:
    if not items or not all(isinstance(one, Mapping) for one in items):
        return None
    return next((key for key in ("uid", "name", "type") if all(key in one for one in items)), None)
