"""The simulated market: seeded, endless, the same for everyone, at random access.

Pure. Each symbol moves with the common market (its beta) and by itself; `milo.exchange.factor` has
the movements. A day of 1,440 one-minute candles is made from (seed, symbol, day) alone, so any time
can be had without what came before it, and every interval is the exact sum of those minutes.
It resembles a market; it is none, and says so in its title.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

import numpy as np

from milo.exchange.factor import (
    FIRST_DAY,
    PIN_DAY,
    Factor,
    Floats,
    MinutePath,
    clusters,
    exp_of,
)
from milo.exchange.feed import (
    BaseCandle,
    Columns,
    KlineTuple,
    can_build,
    ceil_open,
    joined,
    kline_tuples,
    summed,
)
from milo.exchange.funding import FundingSchedule
from milo.exchange.instruments import SymbolSpec, own_table
from milo.exchange.synthetic_candles import MARKET_VOL, Market, make_candles, market_of
from milo.intervals import DAY_MS, HOUR_MS, INTERVAL_MS, MINUTE_MS, back_from, close_ms_of, open_of
from milo.money import plain

_MARKET_REVERSION_DAYS = 320.0

_BLOCK_DAYS = 32
_PIECE_MS = 4 * HOUR_MS
_KEPT_MINUTE_DAYS = 256
_KEPT_PIECES = 240
_KEPT_HOUR_BLOCKS = 700
_KEPT_DAY_BLOCKS = 4096
_KEPT_MARKET_PATHS = 20

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Kept(Generic[Key, Value]):
    """The values used last, at most `size`; others are made again when asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        value = self._values.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        else:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)


class SyntheticFeed:
    """A Feed (see milo.exchange.feed) of every symbol of the table, 2020-01-01 to no end.

    Prices lie on the spec's tick and quantities on its step. An asset has one movement: BTCUSDC
    follows BTCUSDT. Memory is bounded: some 150 MB after much use of twenty symbols.
    """

    base_interval = "1m"
    end_ms: int | None = None
    default_start_ms = PIN_DAY * DAY_MS

    def __init__(self, seed: int = 1, table: Mapping[str, SymbolSpec] | None = None) -> None:
        specs = own_table() if table is None else table
        self.identity = f"seed-{seed}{_grid_name(specs)}"
        self.title = f"simulated market (seed {seed})"
        self.symbols = tuple(specs)
        self._seed = seed
        self._specs = specs
        self._common = Factor(
            seed, "market", annual_vol=MARKET_VOL, reversion_days=_MARKET_REVERSION_DAYS
        )
        self._funding = FundingSchedule()
        self._markets: dict[str, Market] = {}
        self._now_playing: dict[str, tuple[int, list[BaseCandle]]] = {}
        self._pieces: _Kept[tuple[str, int], list[BaseCandle]] = _Kept(_KEPT_PIECES)
        self._minute_days: _Kept[tuple[str, int], Columns] = _Kept(_KEPT_MINUTE_DAYS)
        self._hours: _Kept[tuple[str, int], Columns] = _Kept(_KEPT_HOUR_BLOCKS)
        self._days: _Kept[tuple[str, int], Columns] = _Kept(_KEPT_DAY_BLOCKS)
        self._paths: _Kept[tuple[int, int], tuple[Floats, MinutePath]] = _Kept(_KEPT_MARKET_PATHS)

    def first_open_ms(self, symbol: str) -> int:
        """Return 2020-01-01, whatever the symbol's own listing date."""
        return FIRST_DAY * DAY_MS

    def base_candle(self, symbol: str, open_ms: int) -> BaseCandle | None:
        """Return the minute that opens at `open_ms`; None before 2020 or between minutes.

        Raises KeyError for a symbol that is not in the table.
        """
        piece, in_piece = divmod(open_ms, _PIECE_MS)
        minute, rest = divmod(in_piece, MINUTE_MS)
        if rest or open_ms < FIRST_DAY * DAY_MS:
            return None
        playing = self._now_playing.get(symbol)
        if playing is None or playing[0] != piece:
            playing = (piece, self._pieces.get((symbol, piece), lambda: self._cut(symbol, piece)))
            self._now_playing[symbol] = playing
        return playing[1][minute]

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
        """See Feed.klines. Raises KeyError for a symbol that is not in the table."""
        if limit < 1 or not can_build(self.base_interval, interval):
            return []
        first = ceil_open(self.first_open_ms(symbol), interval)
        last = open_of(now_ms if end_ms is None else min(end_ms, now_ms), interval)
        if start_ms is None:
            first = max(first, back_from(last, interval, limit - 1))
        else:
            first = max(first, ceil_open(start_ms, interval))
            last = min(last, back_from(first, interval, 1 - limit))
        if last < first:
            return []
        until_ms = min(close_ms_of(last, interval), now_ms) + 1
        rows = self._rows(symbol, interval, first, until_ms, now_ms)
        return kline_tuples(summed(rows, interval), interval)

    def funding_rate(self, symbol: str, time_ms: int) -> int:
        """Return 0.0001 (e8): the simulated market's rate never changes."""
        return self._funding.rate_at(time_ms)

    def funding_times(self, symbol: str, after_ms: int, until_ms: int) -> list[int]:
        """Return 00, 08 and 16 UTC of every day in (after_ms, until_ms]."""
        return self._funding.between(after_ms, until_ms)

    def _rows(
        self, symbol: str, interval: str, from_ms: int, until_ms: int, now_ms: int
    ) -> Columns:
        """Return minutes, hours or days that open in [from_ms, until_ms), played at `now_ms`.

        The coarsest that sum to the interval; the day that is now always as minutes.
        """
        today = now_ms // DAY_MS
        first_day, end_day = from_ms // DAY_MS, (until_ms - 1) // DAY_MS + 1
        past_end = min(end_day, today)
        parts: list[Columns] = []
        if INTERVAL_MS[interval] % HOUR_MS:
            parts += [self._minutes_of_day(symbol, day) for day in range(first_day, past_end)]
        else:
            kept = self._hours if INTERVAL_MS[interval] % DAY_MS else self._days
            blocks = range(first_day // _BLOCK_DAYS, (past_end - 1) // _BLOCK_DAYS + 1)
            parts += [self._block(symbol, block, kept) for block in blocks]
            parts = [part.between(0, past_end * DAY_MS) for part in parts]
        if end_day > today:
            parts.append(self._minutes_of_day(symbol, today).until(now_ms, "1m"))
        return joined(parts).between(from_ms, until_ms)

    def _block(self, symbol: str, block: int, kept: _Kept[tuple[str, int], Columns]) -> Columns:
        """Return 32 days as hours or as days, from the store given; both are made together."""

        def make() -> Columns:
            first_day = max(block * _BLOCK_DAYS, FIRST_DAY)
            minutes = self._make(symbol, first_day, (block + 1) * _BLOCK_DAYS - first_day)
            hours, days = summed(minutes, "1h"), summed(minutes, "1d")
            self._hours.put((symbol, block), hours)
            self._days.put((symbol, block), days)
            return hours if kept is self._hours else days

        return kept.get((symbol, block), make)

    def _cut(self, symbol: str, piece: int) -> list[BaseCandle]:
        """Return four hours of minutes as values: what is played now."""
        from_ms = piece * _PIECE_MS
        minutes = self._minutes_of_day(symbol, from_ms // DAY_MS)
        return minutes.between(from_ms, from_ms + _PIECE_MS).candles()

    def _minutes_of_day(self, symbol: str, day: int) -> Columns:
        return self._minute_days.get((symbol, day), lambda: self._make(symbol, day, 1))

    def _make(self, symbol: str, first_day: int, count: int) -> Columns:
        """Make the minutes of `count` days; equal for each day however many are made at once."""
        market = self._market(symbol)
        lively, common = self._paths.get(
            (first_day, count), lambda: self._common_path(first_day, count)
        )
        own = market.own.minutes(first_day, count, lively)
        beta = market.profile.beta
        starts = (
            beta * self._common.nodes(first_day, count).level[:-1]
            + market.own.nodes(first_day, count).level[:-1]
        )
        levels = np.concatenate([starts[:, None], beta * common.level + own.level], axis=1)
        vol = np.sqrt(beta * beta * common.vol * common.vol + own.vol * own.vol)
        prices = market.anchor * exp_of(levels)
        return make_candles(market, first_day, prices, vol)

    def _common_path(self, first_day: int, count: int) -> tuple[Floats, MinutePath]:
        lively = clusters(self._seed, first_day, count)
        return lively, self._common.minutes(first_day, count, lively)

    def _market(self, symbol: str) -> Market:
        market = self._markets.get(symbol)
        if market is None:
            market = self._markets[symbol] = market_of(self._specs[symbol], self._seed)
        return market


def _grid_name(table: Mapping[str, SymbolSpec]) -> str:
    """Name the ticks and steps that prices are rounded to, if they are not our own table's."""
    grid = _grid(table)
    if grid == _grid(own_table()):
        return ""
    return "-" + hashlib.sha256(repr(grid).encode()).hexdigest()[:8]


def _grid(table: Mapping[str, SymbolSpec]) -> list[tuple[str, ...]]:
    instruments = [spec.instrument for _, spec in sorted(table.items())]
    return [
        (i.symbol, plain(i.tick), plain(i.step), plain(i.min_price), plain(i.max_price))
        for i in instruments
    ]
