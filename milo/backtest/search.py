"""Which inputs of a script a search tries: ranges, grids, random samples (layer 1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from milo.model import ScriptInput

ALL: Final = "all"
MOST_COMBINATIONS: Final = 20_000
"""A grid may not be larger: try some of it instead."""
_USUAL_STEPS: Final = 8
_MOST_VALUES: Final = 10_000

Combination = tuple[float, ...]
"""A value for each searched input, in the order of the ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRange:
    """The values of one input that are tried, ascending and distinct."""

    name: str
    values: tuple[float, ...]


def ranges_of(text: str, declared: Sequence[ScriptInput]) -> tuple[InputRange, ...]:
    """Return what `--sweep` asks for.

    `all`: each input that has a lowest and a highest value. Else ranges by comma:
    `fast=5:20:5` (lowest:highest:step), `fast=5:20` or `fast=5|8|13`. Raises ValueError with what
    is wrong.
    """
    known = {item.name: item for item in declared}
    if text.strip() == ALL:
        found = [
            _usual(item) for item in declared if item.low is not None and item.high is not None
        ]
        if not found:
            raise ValueError(
                "no input of the script has a range: declare param(name, default, lowest, "
                "highest), or give one, such as --sweep fast=5:20:5"
            )
        return tuple(found)
    ranges: dict[str, InputRange] = {}
    for part in text.split(","):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not values:
            raise ValueError(f"{part.strip()!r}: use name=lowest:highest:step, name=1|2|3, or all")
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"the script has no input '{name}'; its inputs: {listed}")
        if name in ranges:
            raise ValueError(f"'{name}' is given twice")
        ranges[name] = InputRange(name=name, values=_values(known[name], values))
    return tuple(ranges.values())


def combinations(
    ranges: Sequence[InputRange], *, trials: int | None, seed: int
) -> list[Combination]:
    """Return the grid in order, or `trials` distinct combinations of it, drawn at random.

    The same seed draws the same. Raises ValueError where the grid is too large to try it whole.
    """
    size = grid_size(ranges)
    if trials is None or trials >= size:
        if size > MOST_COMBINATIONS:
            raise ValueError(
                f"the grid has {size:,} combinations, more than {MOST_COMBINATIONS:,}: "
                "narrow it, or try some with --trials N"
            )
        return list(itertools.product(*(item.values for item in ranges)))
    if trials > MOST_COMBINATIONS:
        raise ValueError(f"--trials: at most {MOST_COMBINATIONS:,}")
    chance = np.random.default_rng(seed)
    lengths = [len(item.values) for item in ranges]
    drawn: dict[Combination, None] = {}
    while len(drawn) < trials:
        places = [int(chance.integers(length)) for length in lengths]
        values = (item.values[place] for item, place in zip(ranges, places, strict=True))
        drawn[tuple(values)] = None
    return list(drawn)


def grid_size(ranges: Sequence[InputRange]) -> int:
    """Return how many combinations there are."""
    return math.prod(len(item.values) for item in ranges)


def _usual(item: ScriptInput) -> InputRange:
    """Return some values between an input's ends, all of them where they are few whole numbers."""
    assert item.low is not None
    assert item.high is not None
    low, high = item.low, item.high
    if isinstance(item.default, int):
        count = min(_USUAL_STEPS, int(high - low) + 1)
    else:
        count = _USUAL_STEPS
    values = [low + (high - low) * step / max(1, count - 1) for step in range(count)]
    return InputRange(name=item.name, values=_fitting(item, values))


def _values(item: ScriptInput, text: str) -> tuple[float, ...]:
    is_list = "|" in text or ":" not in text
    try:
        parts = [float(part) for part in text.split("|" if is_list else ":")]
    except ValueError:
        raise ValueError(f"{item.name}={text}: numbers are needed") from None
    if is_list:
        return _fitting(item, parts)
    if len(parts) not in (2, 3) or not all(map(math.isfinite, parts)):
        raise ValueError(f"{item.name}={text}: use lowest:highest:step")
    low, high = parts[:2]
    step = parts[2] if len(parts) == 3 else 1.0
    if step <= 0 or high < low:
        raise ValueError(f"{item.name}={text}: the step must be above 0, the highest not below")
    count = math.floor((high - low) / step + 1e-9) + 1
    if count > _MOST_VALUES:
        raise ValueError(f"{item.name}={text}: more than {_MOST_VALUES:,} values")
    # Each from the lowest on: a running sum would gather rounding errors.
    return _fitting(item, [round(low + step * number, 12) for number in range(count)])


def _fitting(item: ScriptInput, values: Sequence[float]) -> tuple[float, ...]:
    """Return values as the input takes them; ValueError where one lies outside of its range."""
    found = []
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{item.name}: {value} is not a finite number")
        fitting = round(value) if isinstance(item.default, int) else value
        is_low = item.low is not None and fitting < item.low
        is_high = item.high is not None and fitting > item.high
        if is_low or is_high:
            raise ValueError(f"{item.name}={fitting:g} lies outside of its own range")
        found.append(fitting)
    return tuple(sorted(set(found)))
