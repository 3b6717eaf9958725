"""What the project knows about an indicator: for scripts' names, documents and listings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from milo.ta.arguments import number, whole


class Returns(StrEnum):
    """The form of an indicator's answer."""

    SERIES = "series"
    """One array, as long as the candles."""
    TUPLE = "tuple"
    """A tuple of such arrays, one for each of `outputs`."""
    LAST = "last"
    """An array, of which scripts get the last value as a float."""
    POINTS = "points"
    """A ZigZag; scripts get its points."""
    ITEMS = "items"
    """A list of mappings."""
    ITEM = "item"
    """One mapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument after the data. `default` None with `is_required` False means "may be None"."""

    name: str
    default: float | None = None
    minimum: float = 1
    is_whole: bool = True
    is_required: bool = False
    typical: float | None = None
    """What a listing uses where the caller must choose and nobody did."""

    def checked(self, value: Any) -> Any:
        """Return the value as the indicator takes it; raise ValueError where it does not."""
        if value is None and not self.is_required and self.default is None:
            return None
        if self.is_whole:
            return whole(value, self.name, int(self.minimum))
        return number(value, self.name, self.minimum)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorSpec:
    """One indicator: `function(*columns, *parameters)`."""

    name: str
    """The name that scripts call, `calculate_rsi`."""
    function: Callable[..., Any]
    takes: tuple[str, ...]
    """Columns of Candles in the order of the function's arguments where scripts pass `data`;
    ("values",) or other names that are no columns where scripts pass series or points."""
    parameters: tuple[Parameter, ...] = ()
    returns: Returns = Returns.SERIES
    outputs: tuple[str, ...]
    description: str
    source: str = "TradingView"
    step: Callable[..., Any] | None = None
    """`step(*columns, *parameters)`: the state after these columns (a `milo.ta.running.Step`), from
    which the indicator goes on; None, or milo.ta.running.TooShort, where it cannot."""
    search: Callable[..., Any] | None = None
    """`search(*parameters).items(*takes, final_rows)` answers like the function, and remembers what
    is final about the same first argument."""

    @property
    def takes_candles(self) -> bool:
        """True where the script's first argument is `data` and the columns come from it."""
        return set(self.takes) <= COLUMNS

    def typical_arguments(self) -> tuple[float | None, ...]:
        """Return a value for every parameter: its default, or the typical one."""
        return tuple(p.typical if p.is_required else p.default for p in self.parameters)


COLUMNS = frozenset({"open", "high", "low", "close", "volume"})
