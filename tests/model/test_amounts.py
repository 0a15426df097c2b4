"""Quantities as numbers."""

import pytest

from plumbline_operator.model.amounts import larger, number


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("500m", 0.5), (2, 2.0), ("1.5", 1.5), ("4Gi", 4 * 1024**3), ("4G", 4e9), ("2k", 2000.0), ("1Ki", 1024.0)],
)
def test_a_quantity_is_a_number(quantity: str | int, value: float) -> None:
    assert number(quantity) == pytest.approx(value)


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="4 apples"):
        number("4 apples")


def test_the_larger_one_stays_as_it_was_written() -> None:
    assert larger("4Gi", "4G") == "4Gi"
    assert larger(1, "1500m") == "1500m"
