"""What every indicator checks about its arguments, in the words that a user reads."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def series_of(values: ArrayLike, name: str = "values") -> Floats:
    """Return a series as contiguous float64, not copied where it is that already.

    Raises ValueError where it is not one sequence of numbers.
    """
    try:
        column = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be a sequence of numbers") from error
    if column.ndim != 1 or column.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be a sequence of numbers")
    return np.ascontiguousarray(column, dtype=np.float64)


def same_length(**columns: Floats) -> int:
    """Return the common length of the columns; raise ValueError where there is none."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"the columns differ in length: {told}")
    return next(iter(lengths.values()))


def whole(value: Any, name: str, minimum: int = 1) -> int:
    """Return a whole number of candles; raise ValueError for anything else.

    Integral floats (14.0) and booleans are refused, as Python's own `range` refuses the former.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")
    return int(value)


def number(value: Any, name: str, minimum: float = 0.0) -> float:
    """Return a finite number, at least `minimum`; raise ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{name} must be a number, not {value!r}")
    if not isfinite(value) or value < minimum:
        raise ValueError(f"{name} must be a number of at least {minimum:g}, not {value}")
    return float(value)


def undefined(length: int) -> Floats:
    """Return a series of NaN."""
    return np.full(length, nan)


def first_defined(series: Floats) -> int:
    """Return the index of the first value that is not NaN; the length where there is none."""
    start, width = 0, 64
    while start < len(series):
        # Small looks first: most series begin with a few NaNs at most.
        is_defined = ~np.isnan(series[start : start + width])
        index = int(is_defined.argmax())
        if is_defined[index]:
            return start + index
        start, width = start + width, width * 4
    return len(series)
