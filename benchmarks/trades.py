"""Which trades are right, and where another program's trades differ from them.

`right_trades` is as slow and plain as it can be: one loop, a candle at a time, prices as whole
ticks. Its rules are those of the benchmark:

- Long when the MACD line (12, 26) crosses above its signal line (9) at a close, and no position
  is open at that close. EMAs begin with the mean of their first values.
- The entry fills at the open of the next candle.
- Stop 2 % below and target 6 % above that fill, rounded to the tick towards the entry. Both work
  from the entry's candle on; a touch is a hit.
- An open beyond a level fills at that open. Stop and target within one candle: the stop.
- A trade that is still open at the end is none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

STOP_PERCENT = 2
TARGET_PERCENT = 6
WARM_UP = 500
"""Candles until an average's beginning is forgotten, for programs that begin it otherwise."""

Row = Sequence[float]
"""Open time (ms UTC), open, high, low, close, then anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTrade:
    """A long trade; times are the open times of the candles in which it filled, ms UTC."""

    entry_ms: int
    entry_price: float
    exit_ms: int
    exit_price: float
    is_ambiguous: bool = False
    """Stop and target lay both within the candle of the exit; the rule chose the stop."""

    @property
    def is_within_one_candle(self) -> bool:
        return self.entry_ms == self.exit_ms


class Reason(StrEnum):
    """Why a trade is not the right one, as far as the trades themselves tell."""

    WARM_UP = "warm-up of the averages"
    AMBIGUOUS = "target first in an ambiguous candle"
    ENTRY_CANDLE = "exit in the entry's candle"
    ENTRY_PRICE = "entry price"
    EXIT_PRICE = "exit price"
    EXIT_TIME = "exit candle"
    FOLLOWS = "in another trade after a difference"
    MISSING = "missing"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One trade of either side that the other does not have as it is."""

    reason: Reason
    right: BenchTrade | None
    found: BenchTrade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the found trades compare with the right ones."""

    right: int
    found: int
    equal: int
    """Same candles, prices within a tick."""
    same_candles: int
    """Same candles, whatever the prices; the equal ones among them."""
    differences: tuple[Difference, ...]

    @property
    def reasons(self) -> Counter[Reason]:
        return Counter(difference.reason for difference in self.differences)


def crossings(closes: Sequence[float]) -> list[bool]:
    """Return for each close whether the MACD line crosses above its signal line there."""
    fast, slow = _ema(closes, 12), _ema(closes, 26)
    line = [f - s for f, s in zip(fast, slow, strict=True)]
    signal = _ema(line, 9)
    crossed = [False] * len(closes)
    for i in range(1, len(closes)):
        crossed[i] = line[i - 1] <= signal[i - 1] and line[i] > signal[i]
    return crossed


def _ema(values: Sequence[float], period: int) -> list[float]:
    """Return the average, NaN until defined; NaNs at the beginning of the values are skipped."""
    averages = [math.nan] * len(values)
    first = next((i for i, value in enumerate(values) if not math.isnan(value)), len(values))
    begin = first + period - 1
    if begin >= len(values):
        return averages
    averages[begin] = sum(values[first : begin + 1]) / period
    for i in range(begin + 1, len(values)):
        averages[i] = averages[i - 1] + (values[i] - averages[i - 1]) * 2 / (period + 1)
    return averages


def right_trades(rows: Sequence[Row], tick: float) -> list[BenchTrade]:
    """Return the trades of the rules above."""
    return trades_of(rows, crossings([row[4] for row in rows]), tick)


def trades_of(rows: Sequence[Row], wants_long: Sequence[bool], tick: float) -> list[BenchTrade]:
    """Return the trades of given signals, one for each close."""
    trades: list[BenchTrade] = []
    entered_ms = entry = stop = target = 0
    is_open = False
    for i, row in enumerate(rows):
        open_ms = int(row[0])
        opened, high, low = (round(price / tick) for price in row[1:4])
        if not is_open and i > 0 and wants_long[i - 1]:
            is_open, entered_ms, entry = True, open_ms, opened
            stop = -(-entry * (100 - STOP_PERCENT) // 100)
            target = entry * (100 + TARGET_PERCENT) // 100
        if not is_open:
            continue
        if low <= stop or high >= target:
            left = min(opened, stop) if low <= stop and opened < target else max(opened, target)
            trades.append(
                BenchTrade(
                    entry_ms=entered_ms,
                    entry_price=entry * tick,
                    exit_ms=open_ms,
                    exit_price=left * tick,
                    is_ambiguous=low <= stop < opened < target <= high,
                )
            )
            is_open = False
    return trades


def compare(
    right: Sequence[BenchTrade], found: Iterable[BenchTrade], *, tick: float, warm_until_ms: int
) -> Comparison:
    """Compare trades, paired by the candle of their entry.

    An entry before `warm_until_ms` that one side has alone is put down to the beginning of the
    averages.
    """
    theirs = {trade.entry_ms: trade for trade in found}
    ours = {trade.entry_ms: trade for trade in right}
    differences: list[Difference] = []
    same_candles = 0
    for entry_ms in sorted(ours | theirs):
        one, other = ours.get(entry_ms), theirs.get(entry_ms)
        if one is not None and other is not None:
            same_candles += one.exit_ms == other.exit_ms
            reason = _reason_of_pair(one, other, tick)
        else:
            is_early = entry_ms < warm_until_ms
            reason = Reason.WARM_UP if is_early else _reason_of_single(one, other, differences)
        if reason is not None:
            differences.append(Difference(reason=reason, right=one, found=other))
    unpaired = sum(difference.right is not None for difference in differences)
    return Comparison(
        right=len(ours),
        found=len(theirs),
        equal=len(ours) - unpaired,
        same_candles=same_candles,
        differences=tuple(differences),
    )


def _reason_of_pair(right: BenchTrade, found: BenchTrade, tick: float) -> Reason | None:
    """Return why two trades that were entered in one candle differ; None where they do not."""
    # More than any rounding of the floats of a price, less than a second tick.
    slack = tick * 1.01
    is_same_exit = right.exit_ms == found.exit_ms
    if abs(right.entry_price - found.entry_price) > slack and is_same_exit:
        return Reason.ENTRY_PRICE
    if is_same_exit and abs(right.exit_price - found.exit_price) <= slack:
        return None
    if right.is_ambiguous and found.exit_price > found.entry_price:
        return Reason.AMBIGUOUS
    if right.is_within_one_candle or found.is_within_one_candle:
        return Reason.ENTRY_CANDLE
    return Reason.EXIT_PRICE if is_same_exit else Reason.EXIT_TIME


def _reason_of_single(
    right: BenchTrade | None, found: BenchTrade | None, before: Sequence[Difference]
) -> Reason:
    """Return why one side has a trade alone: often the other side is still in an earlier one."""
    mine = right or found
    assert mine is not None
    for difference in reversed(before[-20:]):
        earlier = difference.found if right is not None else difference.right
        if earlier is not None and earlier.exit_ms >= mine.entry_ms:
            return Reason.FOLLOWS
    return Reason.MISSING if right is not None else Reason.EXTRA
