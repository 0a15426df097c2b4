"""Quantities as numbers."""

import re

import pytest
from pydantic import ValidationError

from plumbline_operator.model.amounts import RESOURCE_NAME, ResourceAmounts, larger, number


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("500m", 0.5), (2, 2.0), ("1.5", 1.5), ("4Gi", 4 * 1024**3), ("4G", 4e9), ("2k", 2000.0), ("1Ki", 1024.0)],
)
def test_a_quantity_is_a_number(quantity: str | int, value: float) -> None:
    assert number(quantity) == pytest.approx(value)


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="4 apples"):
        number("4 apples")


@pytest.mark.parametrize("quantity", [-5, "-1", "many", "1GB", ""])
def test_amounts_that_no_pod_may_have_are_refused_as_a_spec(quantity: str | int) -> None:
    with pytest.raises(ValidationError, match="is not a quantity"):
        ResourceAmounts(limits={"memory": quantity})


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("cpu", True),
        ("hugepages-2Mi", True),
        ("nvidia.com/gpu", True),
        ("gpu", False),
        ("a/b/c", False),
        ("CPU", False),
    ],
)
def test_a_resource_is_a_standard_one_or_a_device_of_a_domain(name: str, known: bool) -> None:
    assert bool(re.search(RESOURCE_NAME, name)) is known


def test_the_larger_one_stays_as_it_was_written() -> None:
    assert larger("4Gi", "4G") == "4Gi"
    assert larger(1, "1500m") == "1500m"
