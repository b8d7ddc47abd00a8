"""What values mean: ids and metadata."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from debater_search.coerce import id_text, plain


@pytest.mark.parametrize(
    ("value", "id"),
    [
        (7, "7"),
        (7.0, "7"),
        (np.int64(7), "7"),
        (np.float32(7), "7"),
        (Decimal("7.0"), "7"),
        (7.5, "7.5"),
        (" a ", "a"),
        ("7.0", "7.0"),
        (True, None),
        (math.nan, None),
        (math.inf, None),
        (None, None),
        (" ", None),
        (["a"], None),
        (10**30, "1" + "0" * 30),
    ],
)
def test_ids_are_strings_and_whole_numbers(value: Any, id: str | None) -> None:
    assert id_text(value) == id


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2020, 5, 1, 12, tzinfo=UTC), "2020-05-01T12:00:00+00:00"),
        (date(2020, 5, 1), "2020-05-01"),
        (Decimal("5"), 5),
        (Decimal("5.25"), 5.25),
        (Decimal("NaN"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        ({"a": (1, math.inf)}, {"a": [1, None]}),
        (b"\xff\0x", "\\xffx"),
        (10**400, 10**400),
    ],
)
def test_metadata_comes_out_as_what_it_is(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)
