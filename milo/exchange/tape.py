"""A symbol's tape: its base candles, played point by point. Pure."""

from __future__ import annotations

from typing import NamedTuple

from milo.exchange.feed import POINTS, BaseCandle, Feed, played, points_of
from milo.intervals import INTERVAL_MS, open_of


class Move(NamedTuple):
    """The price has gone to `price`; `is_jump` from one candle's close to the next open."""

    time_ms: int
    price: int
    is_jump: bool


class Tape:
    """Where one symbol stands in its market: the candle in play and the points played of it."""

    def __init__(self, feed: Feed, symbol: str, now_ms: int) -> None:
        self._feed = feed
        self.symbol = symbol
        self._length_ms = INTERVAL_MS[feed.base_interval]
        self.candle: BaseCandle | None = None
        """The candle in play, or the last one played; None before the first."""
        self.price: int | None = None
        """The last price; None before the market's first point."""
        self._points: tuple[tuple[int, int], ...] = ()
        self._played = 0
        self.next_ms: int | None = None
        """When the next point is played; None at the end of the market."""
        self._wind_to(now_ms)

    def part(self) -> BaseCandle:
        """Return the candle in play as far as it has been played."""
        assert self.candle is not None
        if self._played == POINTS:
            return self.candle
        time_ms = self._points[self._played - 1][0]
        part = played(self.candle, self._feed.base_interval, time_ms)
        assert part is not None
        return part

    def play(self) -> Move:
        """Play the next point; `next_ms` must not be None."""
        if self._played == POINTS or self.candle is None:
            self._load(self._following())
        time_ms, price = self._points[self._played]
        is_jump = self._played == 0
        self._played += 1
        self.price = price
        self._look_ahead()
        return Move(time_ms, price, is_jump)

    def _wind_to(self, now_ms: int) -> None:
        """Find the candle in play at `now_ms` and count what has been played of it."""
        first_ms = self._feed.first_open_ms(self.symbol)
        open_ms = open_of(now_ms, self._feed.base_interval)
        if self._feed.end_ms is not None:
            open_ms = min(open_ms, open_of(self._feed.end_ms, self._feed.base_interval))
        while open_ms >= first_ms:
            candle = self._feed.base_candle(self.symbol, open_ms)
            if candle is not None:
                self._load(candle)
                self._played = sum(1 for time_ms, _ in self._points if time_ms <= now_ms)
                break
            open_ms -= self._length_ms  # a gap in the recording: the price stands still in it
        if self._played:
            self.price = self._points[self._played - 1][1]
        self._look_ahead()

    def _load(self, candle: BaseCandle) -> None:
        self.candle = candle
        self._points = points_of(candle, self._feed.base_interval)
        self._played = 0

    def _look_ahead(self) -> None:
        if self.candle is not None and self._played < POINTS:
            self.next_ms = self._points[self._played][0]
            return
        following = self._find_following()
        self.next_ms = following.open_ms if following is not None else None

    def _following(self) -> BaseCandle:
        following = self._find_following()
        assert following is not None  # next_ms has said so
        return following

    def _find_following(self) -> BaseCandle | None:
        """Return the next candle there is, over a gap where there is one."""
        feed, symbol = self._feed, self.symbol
        if self.candle is None:
            return feed.base_candle(symbol, feed.first_open_ms(symbol))
        open_ms = self.candle.open_ms + self._length_ms
        candle = feed.base_candle(symbol, open_ms)
        while candle is None and feed.end_ms is not None and open_ms <= feed.end_ms:
            open_ms += self._length_ms
            candle = feed.base_candle(symbol, open_ms)
        return candle
