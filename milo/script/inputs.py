"""The inputs of a script: what a user may change without touching its text (layer 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from milo.model import ScriptInput


def input_values(declared: tuple[ScriptInput, ...], given: Mapping[str, float]) -> dict[str, float]:
    """Return the values of the inputs that a user changed, checked against the declarations.

    Raises ValueError with the name, the range or the declared names. An input whose default is a
    whole number takes whole numbers only.
    """
    known = {item.name: item for item in declared}
    values: dict[str, float] = {}
    for name, value in given.items():
        item = known.get(name)
        if item is None:
            listed = ", ".join(known) if known else "none"
            raise ValueError(f"the script has no input '{name}'; its inputs: {listed}")
        values[name] = _input_value(item, value)
    return values


def is_within(item: ScriptInput, value: float) -> bool:
    """Return whether a value lies between the lowest and the highest that an input declares."""
    is_low = item.low is not None and value < item.low
    is_high = item.high is not None and value > item.high
    return not (is_low or is_high)


def _input_value(item: ScriptInput, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"input '{item.name}': {value} is not a finite number")
    if isinstance(item.default, int):
        if value != int(value):
            raise ValueError(f"input '{item.name}' takes whole numbers, not {value:g}")
        value = int(value)
    if not is_within(item, value):
        raise ValueError(f"input '{item.name}': {value:g} is not within {_range(item)}")
    return value


def _range(item: ScriptInput) -> str:
    low = "-inf" if item.low is None else f"{item.low:g}"
    high = "inf" if item.high is None else f"{item.high:g}"
    return f"{low} .. {high}"
