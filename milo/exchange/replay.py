"""A recorded market, played again: one symbol's candles from a file.

The first part of the file is history, the rest is played. Where the file has a gap nothing
happens: no points, no candle; a longer candle that is partly missing sums what is there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from milo.clock import iso_minute
from milo.errors import ConfigError
from milo.exchange.feed import (
    BaseCandle,
    KlineTuple,
    can_build,
    ceil_open,
    intervals_of,
    kline_tuples,
    summed,
)
from milo.exchange.funding import FundingSchedule
from milo.exchange.instruments import DataFacts
from milo.exchange.market_file import read_candles, read_funding
from milo.intervals import DAY_MS, INTERVAL_MS, close_ms_of, open_of

_HISTORY_SHARE = 5
"""The first fifth of the file is history."""
_MOST_HISTORY = 5_000
_CHUNK_ROWS = 1_024
_LONGEST_MONTH_MS = 31 * DAY_MS


class ReplayFeed:
    """A Feed (see milo.exchange.feed) over one file of candles of one symbol."""

    def __init__(
        self,
        path: Path,
        symbol: str,
        timeframe: str | None = None,
        start_ms: int | None = None,
        funding_path: Path | None = None,
    ) -> None:
        """Read and check the files; `timeframe` None is the file's own interval.

        Raises ConfigError where a file is not what it should be, where the timeframe cannot be
        built from it, and where `start_ms` lies outside it.
        """
        recorded = read_candles(path)
        columns = recorded.columns
        self.base_interval = recorded.interval
        self.symbols = (symbol,)
        self.title = f"replay of {path.name}"
        self.end_ms = int(columns.open_ms[-1]) + INTERVAL_MS[recorded.interval] - 1
        self.price_tick_e8 = recorded.price_tick_e8
        self.notes: tuple[str, ...] = ()
        """What a user should know about these files, one line each."""
        self._path = path
        self._columns = columns
        self._funding = FundingSchedule()
        self._chunk: dict[int, BaseCandle] = {}
        digest = hashlib.sha256(recorded.content + b"\0" + symbol.encode())
        if funding_path is not None:
            digest.update(b"\0" + self._load_funding(funding_path))
        self.identity = f"market-{digest.hexdigest()[:12]}"
        frame = self.base_interval if timeframe is None else timeframe
        if not can_build(self.base_interval, frame):
            raise ConfigError(
                f"{path} holds {self.base_interval} candles: {frame} cannot be built from them "
                f"(possible: {', '.join(intervals_of(self.base_interval))})"
            )
        self.default_start_ms = (
            self._start_after_history(frame)
            if start_ms is None
            else self._start_at(start_ms, frame)
        )

    @property
    def facts(self) -> DataFacts:
        """What the prices say about the instrument."""
        columns = self._columns
        return DataFacts(
            price_tick_e8=self.price_tick_e8,
            low_e8=int(columns.low.min()),
            high_e8=int(columns.high.max()),
            last_e8=int(columns.close[-1]),
        )

    def first_open_ms(self, symbol: str) -> int:
        """Return the open time of the file's first candle."""
        self._check(symbol)
        return int(self._columns.open_ms[0])

    def base_candle(self, symbol: str, open_ms: int) -> BaseCandle | None:
        """Return the file's candle that opens at `open_ms`; None in a gap and outside the file."""
        self._check(symbol)
        candle = self._chunk.get(open_ms)
        if candle is not None:
            return candle
        row = int(np.searchsorted(self._columns.open_ms, open_ms))
        if row == len(self._columns) or int(self._columns.open_ms[row]) != open_ms:
            return None
        first = row - row % _CHUNK_ROWS
        candles = self._columns.part(first, first + _CHUNK_ROWS).candles()
        self._chunk = {candle.open_ms: candle for candle in candles}
        return self._chunk[open_ms]

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
        """See Feed.klines."""
        self._check(symbol)
        if limit < 1 or not can_build(self.base_interval, interval):
            return []
        last_ms = now_ms
        if end_ms is not None:
            last_ms = min(close_ms_of(open_of(end_ms, interval), interval), now_ms)
        first_ms = self._first_whole(interval)
        if start_ms is not None:
            first_ms = max(first_ms, ceil_open(start_ms, interval))
        first = int(np.searchsorted(self._columns.open_ms, first_ms))
        end = int(np.searchsorted(self._columns.open_ms, last_ms, side="right"))
        # No candle sums more rows than this; what is cut off at the far side is dropped below.
        longest = _LONGEST_MONTH_MS if interval == "1M" else INTERVAL_MS[interval]
        rows = limit * (longest // INTERVAL_MS[self.base_interval])
        if start_ms is None:
            first = max(first, end - rows)
        else:
            end = min(end, first + rows)
        if end <= first:
            return []
        part = self._columns.part(first, end).until(now_ms, self.base_interval)
        candles = kline_tuples(summed(part, interval), interval)
        return candles[-limit:] if start_ms is None else candles[:limit]

    def funding_rate(self, symbol: str, time_ms: int) -> int:
        """Return the rate of the file, or 0.0001 (e8); see Feed.funding_rate."""
        return self._funding.rate_at(time_ms)

    def funding_times(self, symbol: str, after_ms: int, until_ms: int) -> list[int]:
        """Return the file's settlements, or every 00, 08 and 16 UTC, in (after_ms, until_ms]."""
        return self._funding.between(after_ms, until_ms)

    def _first_whole(self, interval: str) -> int:
        """Return where the first candle opens whose beginning the file has."""
        return ceil_open(int(self._columns.open_ms[0]), interval)

    def _start_after_history(self, timeframe: str) -> int:
        """Return the open of the first candle after the history: a fifth, at most 5,000 candles."""
        open_ms = self._columns.open_ms
        cut_ms = open_of(int(open_ms[len(open_ms) // _HISTORY_SHARE]), timeframe)
        first_ms = self._first_whole(timeframe)
        history = summed(self._columns.between(first_ms, cut_ms), timeframe)
        if len(history) > _MOST_HISTORY:
            return int(history.open_ms[_MOST_HISTORY])
        start_ms = max(cut_ms, first_ms)
        if close_ms_of(start_ms, timeframe) > self.end_ms:
            raise ConfigError(
                f"{self._path}: too short: no whole {timeframe} candle is left to play"
            )
        return start_ms

    def _start_at(self, wanted_ms: int, timeframe: str) -> int:
        start_ms = ceil_open(wanted_ms, timeframe)
        first_ms, last_ms = self._first_whole(timeframe), int(self._columns.open_ms[-1])
        if not first_ms <= start_ms <= last_ms:
            raise ConfigError(
                f"{self._path}: a start at {iso_minute(wanted_ms)} is not possible: its "
                f"{timeframe} candles go from {iso_minute(first_ms)} to {iso_minute(last_ms)} UTC"
            )
        return start_ms

    def _load_funding(self, path: Path) -> bytes:
        """Take the settlements of the file; they must concern the time of the candles."""
        self._funding, content = read_funding(path)
        first_ms, last_ms = int(self._columns.open_ms[0]), self.end_ms
        if not self._funding.between(first_ms - 1, last_ms):
            raise ConfigError(
                f"{path}: none of its funding times lies in the time of the candles, "
                f"{iso_minute(first_ms)} to {iso_minute(last_ms)} UTC"
            )
        known_ms = self._funding.times_ms[-1]
        if known_ms + DAY_MS < last_ms:
            self.notes += (
                f"{path.name} ends at {iso_minute(known_ms)} UTC: no funding is settled after it",
            )
        return content

    def _check(self, symbol: str) -> None:
        if symbol != self.symbols[0]:
            raise KeyError(symbol)
