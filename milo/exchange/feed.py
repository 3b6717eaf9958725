"""What a market is to the embedded exchange: base candles, and every interval summed from them.

Pure. Prices, quantities and money are ints in units of 1e-8 ("e8"); times are ms UTC. A feed has
one base interval (a minute for the simulated market, the file's own for a replay). A base candle
is played as four points; everything that the exchange shows at an instant is built from the points
played until then, so that no one can see a price before the market has been there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from milo.intervals import DAY_MS, INTERVAL_MS, INTERVALS, close_ms_of, open_of
from milo.resampling import grouped

E8 = 100_000_000
DEFAULT_FUNDING_E8 = 10_000
"""0.0001 = 0.01 % for eight hours: the rate that perpetuals pay when nothing pulls them."""

POINTS = 4

_LOW_BITS = 32
_INT64_LIMIT = 2**63 - 1

Column = NDArray[np.int64] | NDArray[np.object_]
"""int64; ints as objects where a sum is too large (a day of 1000PEPE has 1e19 e8 contracts)."""

KlineTuple = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""open_ms, open, high, low, close, volume, close_ms, quote_volume, trades, taker_volume,
taker_quote_volume: the order of the exchange's own kline rows, as e8 ints."""


class BaseCandle(NamedTuple):
    """One candle of the base interval; all e8 except `open_ms` and `trades`.

    A named tuple rather than a dataclass: the exchange makes one for each simulated minute of each
    active symbol, and this costs a fifth.
    """

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_volume: int
    taker_quote_volume: int


class Feed(Protocol):
    """A market: what the embedded exchange plays, and its history."""

    @property
    def identity(self) -> str:
        """`seed-1` or `market-<12 hex digits>`: names the venue's folder; part of its identity."""

    @property
    def title(self) -> str:
        """What people are shown: `simulated market (seed 1)` or `replay of FILE`."""

    @property
    def base_interval(self) -> str: ...

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def end_ms(self) -> int | None:
        """The last ms of the last candle; None where the market has no end."""

    @property
    def default_start_ms(self) -> int:
        """Where the clock of a fresh run starts."""

    def first_open_ms(self, symbol: str) -> int:
        """Return the open time of the first base candle."""

    def base_candle(self, symbol: str, open_ms: int) -> BaseCandle | None:
        """Return the whole base candle that opens at `open_ms`, None where there is none."""

    def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        now_ms: int,
    ) -> list[KlineTuple]:
        """Return candles as of `now_ms`, oldest first, the forming one included.

        As the exchange does: with `start_ms` the first `limit` whose open time lies in
        [start_ms, end_ms], without it the last `limit`. An interval that the base interval does
        not divide gives []. A first candle whose beginning the market lacks is left out.
        """

    def funding_rate(self, symbol: str, time_ms: int) -> int:
        """Return the rate (e8) of the last settlement at or before `time_ms`."""

    def funding_times(self, symbol: str, after_ms: int, until_ms: int) -> list[int]:
        """Return the settlement times in (after_ms, until_ms], oldest first."""


def point_times(open_ms: int, interval: str) -> tuple[int, int, int, int]:
    """Return when the four points of a candle are played: at 0, 1/3, 2/3 and its last ms."""
    length = INTERVAL_MS[interval]
    return open_ms, open_ms + length // 3, open_ms + 2 * length // 3, open_ms + length - 1


def points_of(candle: BaseCandle, interval: str) -> tuple[tuple[int, int], ...]:
    """Return the four (time_ms, price_e8): open, nearer extreme, other extreme, close.

    The nearer extreme is the one nearer to the open; a tie plays the low first.
    """
    first, second = candle.low, candle.high
    if candle.high - candle.open < candle.open - candle.low:
        first, second = second, first
    times = point_times(candle.open_ms, interval)
    prices = (candle.open, first, second, candle.close)
    return tuple(zip(times, prices, strict=True))


def played(candle: BaseCandle, interval: str, now_ms: int) -> BaseCandle | None:
    """Return what of `candle` has been played at `now_ms`: None before its first point.

    Volumes grow by a quarter at each point (rounded down), and are whole at the last.
    """
    if now_ms >= candle.open_ms + INTERVAL_MS[interval] - 1:
        return candle
    prices = [price for time_ms, price in points_of(candle, interval) if time_ms <= now_ms]
    if not prices:
        return None
    count = len(prices)
    return BaseCandle(
        candle.open_ms,
        candle.open,
        max(prices),
        min(prices),
        prices[-1],
        *(total * count // POINTS for total in candle[5:]),
    )


def can_build(base_interval: str, interval: str) -> bool:
    """Return whether candles of `interval` are sums of whole candles of `base_interval`."""
    if interval not in INTERVAL_MS or base_interval not in INTERVAL_MS or base_interval == "1M":
        return False
    if interval == "1M":
        return DAY_MS % INTERVAL_MS[base_interval] == 0
    return INTERVAL_MS[interval] % INTERVAL_MS[base_interval] == 0


def intervals_of(base_interval: str) -> tuple[str, ...]:
    """Return the intervals that can be built, shortest first."""
    return tuple(name for name in INTERVALS if can_build(base_interval, name))


def ceil_open(time_ms: int, interval: str) -> int:
    """Return the first open time of `interval` at or after `time_ms`."""
    opened = open_of(time_ms, interval)
    return opened if opened == time_ms else close_ms_of(opened, interval) + 1


@dataclass(frozen=True, slots=True)
class Columns:
    """Candles as columns of one length, oldest first; units as in BaseCandle."""

    open_ms: NDArray[np.int64]
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    volume: Column
    quote_volume: Column
    trades: Column
    taker_volume: Column
    taker_quote_volume: Column

    def __len__(self) -> int:
        return len(self.open_ms)

    def all(self) -> tuple[Column, ...]:
        """Return the columns in the order of BaseCandle's fields."""
        return (
            self.open_ms, self.open, self.high, self.low, self.close, self.volume,
            self.quote_volume, self.trades, self.taker_volume, self.taker_quote_volume,
        )  # fmt: skip

    def part(self, first: int, end: int) -> Columns:
        """Return rows [first, end) as views."""
        return _columns([column[first:end] for column in self.all()])

    def between(self, from_ms: int, until_ms: int) -> Columns:
        """Return the rows that open in [from_ms, until_ms) as views."""
        first, end = np.searchsorted(self.open_ms, (from_ms, until_ms))
        return self.part(int(first), int(end))

    def candle(self, row: int) -> BaseCandle:
        return BaseCandle(*(int(column[row]) for column in self.all()))

    def candles(self) -> list[BaseCandle]:
        return list(map(BaseCandle._make, zip(*(c.tolist() for c in self.all()), strict=True)))

    def until(self, now_ms: int, interval: str) -> Columns:
        """Return what has been played at `now_ms`; the columns hold candles of `interval`."""
        count = int(np.searchsorted(self.open_ms, now_ms, side="right"))
        if not count or now_ms >= int(self.open_ms[count - 1]) + INTERVAL_MS[interval] - 1:
            return self.part(0, count)
        last = played(self.candle(count - 1), interval, now_ms)
        assert last is not None  # it opened at or before now_ms
        return joined([self.part(0, count - 1), columns_of([last])])


def columns_of(candles: Sequence[BaseCandle]) -> Columns:
    """Return the candles as columns."""
    fields: list[Sequence[int]] = list(zip(*candles, strict=True)) or [[]] * 10
    return _columns([column_of(field) for field in fields])


def column_of(values: Sequence[int]) -> Column:
    """Return ints as int64, or as objects where one does not fit."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return np.array(values, dtype=object)


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the parts one after the other; at least one part."""
    if len(parts) == 1:
        return parts[0]
    return _columns([np.concatenate(same) for same in zip(*(p.all() for p in parts), strict=True)])


def summed(columns: Columns, interval: str) -> Columns:
    """Return the candles of `interval` that the rows add up to; rows must open in ascending order.

    Sums are exact at any size. A candle of which rows are missing sums those that are there.
    """
    if not len(columns):
        return columns
    starts, opens = grouped(columns.open_ms, interval)
    ends = np.append(starts[1:], len(columns)) - 1
    return Columns(
        opens,
        columns.open[starts],
        np.maximum.reduceat(columns.high, starts),
        np.minimum.reduceat(columns.low, starts),
        columns.close[ends],
        _exact_sums(columns.volume, starts),
        _exact_sums(columns.quote_volume, starts),
        _exact_sums(columns.trades, starts),
        _exact_sums(columns.taker_volume, starts),
        _exact_sums(columns.taker_quote_volume, starts),
    )


def price_tick_e8(columns: Sequence[Column]) -> int:
    """Return the finest decimal place of prices (e8) as a power of ten; at most 1.0."""
    tick = E8
    for prices in columns:
        while tick > 1 and np.any(prices % tick):
            tick //= 10
    return tick


def kline_tuples(columns: Columns, interval: str) -> list[KlineTuple]:
    """Return candles of `interval` as rows in the order of the exchange's klines."""
    o_ms, *rest = (column.tolist() for column in columns.all())
    closes_ms = [close_ms_of(open_ms, interval) for open_ms in o_ms]
    rows = zip(o_ms, *rest[:5], closes_ms, *rest[5:], strict=True)
    return list(rows)


class RunningCandle:
    """The forming candle of one interval, fed with base candles in order: for the kline stream.

    It gives at each point the row that `Feed.klines` would give, without summing anew.
    """

    def __init__(self, interval: str) -> None:
        self.interval = interval
        self._sum: BaseCandle | None = None
        """The whole base candles since the interval's open."""

    def prime(self, feed: Feed, symbol: str, base_open_ms: int) -> None:
        """Take in what was played of the running candle before the base candle of that time."""
        opened = open_of(base_open_ms, self.interval)
        rows = feed.klines(
            symbol, self.interval, start_ms=opened, end_ms=opened, limit=1, now_ms=base_open_ms - 1
        )
        self._sum = None
        if rows:
            row = rows[0]
            self._sum = BaseCandle(*row[:6], *row[7:])

    def row(self, part: BaseCandle) -> KlineTuple:
        """Return the candle with `part`, the base candle in play as far as it was played."""
        total = self._with(part)
        close_ms = close_ms_of(total.open_ms, self.interval)
        return (*total[:6], close_ms, *total[6:])

    def add(self, candle: BaseCandle) -> None:
        """Keep a base candle that has been played whole."""
        self._sum = self._with(candle)

    def _with(self, part: BaseCandle) -> BaseCandle:
        opened = open_of(part.open_ms, self.interval)
        kept = self._sum
        if kept is None or kept.open_ms != opened:
            return part._replace(open_ms=opened)
        return BaseCandle(
            opened,
            kept.open,
            max(kept.high, part.high),
            min(kept.low, part.low),
            part.close,
            *(a + b for a, b in zip(kept[5:], part[5:], strict=True)),
        )


def _columns(fields: Sequence[Column]) -> Columns:
    return Columns(*fields)  # type: ignore[arg-type]  # only sums may be objects


def _exact_sums(values: Column, starts: NDArray[np.intp]) -> Column:
    """Sum groups of non-negative ints without overflow: in two halves where int64 might not do."""
    add: Callable[..., Column] = np.add.reduceat
    if values.dtype == object or int(values.max()) * len(values) <= _INT64_LIMIT:
        return add(values, starts)
    high = add(values >> _LOW_BITS, starts)
    low = add(values & (2**_LOW_BITS - 1), starts)
    totals = [(a << _LOW_BITS) + b for a, b in zip(high.tolist(), low.tolist(), strict=True)]
    return column_of(totals)
