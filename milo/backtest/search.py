"""Which inputs of a script a search tries: ranges, grids, random samples (layer 1)."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from milo.model import ScriptInput
from milo.script.inputs import is_within

ALL: Final = "all"
MOST_COMBINATIONS: Final = 20_000
"""A grid may not be larger: try some of it instead."""
_GRID_VALUES: Final = 10
_RANDOM_VALUES: Final = 1_001
"""Of an input whose step is not given."""
_ROUND: Final = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
_MOST_VALUES: Final = 10_000

Combination = tuple[int | float, ...]
"""A value for each searched input, in the order of the ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRange:
    """The values of one input that are tried, ascending and distinct."""

    name: str
    values: tuple[float, ...]


def ranges_of(
    text: str,
    declared: Sequence[ScriptInput],
    *,
    is_random: bool = False,
    held: Collection[str] = (),
) -> tuple[InputRange, ...]:
    """Return what `--sweep` asks for.

    `all`: each input that has a lowest and a highest value. Else ranges by comma:
    `fast=5:20:5` (lowest:highest:step), `fast=5:20` or `fast=5/8/13` (also with |).
    Where no step is given it is a round one that makes few values, and many for a random search.
    `held` are inputs that are not to be searched. Raises ValueError with what is wrong.
    """
    known = {item.name: item for item in declared}
    if text.strip() == ALL:
        found = [
            _usual(item, is_random)
            for item in declared
            if item.low is not None and item.high is not None and item.name not in held
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
            raise ValueError(f"{part.strip()!r}: use name=lowest:highest:step, name=1/2/3, or all")
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"the script has no input '{name}'; its inputs: {listed}")
        if name in held:
            raise ValueError(f"'{name}' is held by --set and cannot be searched as well")
        if name in ranges:
            raise ValueError(f"'{name}' is given twice")
        ranges[name] = InputRange(name=name, values=_values(known[name], values, is_random))
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


def _usual(item: ScriptInput, is_random: bool) -> InputRange:
    assert item.low is not None
    assert item.high is not None
    values = _spaced(item, item.low, item.high, None, is_random)
    return InputRange(name=item.name, values=_fitting(item, values))


def _values(item: ScriptInput, text: str, is_random: bool) -> tuple[float, ...]:
    is_list = ":" not in text
    try:
        parts = [float(part) for part in re.split("[|/]" if is_list else ":", text)]
    except ValueError:
        raise ValueError(f"{item.name}={text}: numbers are needed") from None
    if is_list:
        return _fitting(item, parts)
    if len(parts) not in (2, 3) or not all(map(math.isfinite, parts)):
        raise ValueError(f"{item.name}={text}: use lowest:highest:step")
    low, high = parts[:2]
    step = parts[2] if len(parts) == 3 else None
    if high < low or (step is not None and step <= 0):
        raise ValueError(f"{item.name}={text}: the step must be above 0, the highest not below")
    return _fitting(item, _spaced(item, low, high, step, is_random))


def _spaced(
    item: ScriptInput, low: float, high: float, step: float | None, is_random: bool
) -> list[float]:
    """Return the values from the lowest on; ValueError where they are too many."""
    first, span = Decimal(str(low)), Decimal(str(high)) - Decimal(str(low))
    is_whole = isinstance(item.default, int)
    width = Decimal(str(step)) if step else _round_step(span, is_whole, is_random)
    count = int(span / width) + 1
    if count > _MOST_VALUES:
        raise ValueError(f"{item.name}: {count:,} values, more than {_MOST_VALUES:,}")
    # Decimals, each from the lowest on: floats would gather rounding errors.
    return [float(first + width * number) for number in range(count)]


def _round_step(span: Decimal, is_whole: bool, is_random: bool) -> Decimal:
    """Return the least of 1, 2, 2.5 and 5 times a power of ten that makes few enough values."""
    most = _RANDOM_VALUES if is_random else _GRID_VALUES
    least = max(span / (most - 1), Decimal(1) if is_whole else Decimal(0))
    if not least:
        return Decimal(1)
    unit = Decimal(1).scaleb(least.adjusted())
    steps = [unit * factor for factor in _ROUND if unit * factor >= least]
    return next(step for step in steps if not is_whole or step == step.to_integral_value())


def _fitting(item: ScriptInput, values: Sequence[float]) -> tuple[float, ...]:
    """Return values as the input takes them; ValueError where one lies outside of its range."""
    found = []
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{item.name}: {value} is not a finite number")
        if isinstance(item.default, int) and value != round(value):
            raise ValueError(f"{item.name} takes whole numbers, not {value:g}")
        fitting = round(value) if isinstance(item.default, int) else value
        if not is_within(item, fitting):
            raise ValueError(f"{item.name}={fitting:g} lies outside of its own range")
        found.append(fitting)
    return tuple(sorted(set(found)))
