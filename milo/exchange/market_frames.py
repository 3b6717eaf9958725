"""The frames of the market streams (layer 1). Keys: exchange-api.md section 8.

A source belongs to one stream name. It is asked for frames after each move of its symbol, keeps
what it needs between them, and writes its JSON by hand: candles are most of what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from milo.exchange.feed import BaseCandle, KlineTuple, RunningCandle, can_build
from milo.exchange.fixed import cut, money, show
from milo.exchange.quotes import day_figures, shown_depth
from milo.exchange.tape import Tape
from milo.exchange.venue import Venue

PUBLIC = "public"
MARKET = "market"

_price = lru_cache(maxsize=4096)(show)
"""Three of a candle's four prices are mostly those of the frame before."""


class MarketFrame(NamedTuple):
    """One frame; only what is not final may be replaced by a newer frame of its stream."""

    text: str
    is_final: bool


class Source(Protocol):
    """What makes the frames of one stream."""

    name: str
    symbol: str
    root: str
    """The entry point that carries the stream: `public` or `market`."""

    def frames(self, time_ms: int) -> list[MarketFrame]:
        """Return what the symbol's newest point means for this stream."""


class KlineSource:
    """`<symbol>@kline_<interval>` and `<pair>_perpetual@continuousKline_<interval>`."""

    root = MARKET

    def __init__(self, venue: Venue, name: str, symbol: str, interval: str, *, pair: bool) -> None:
        self.name = name
        self.symbol = symbol
        self._venue = venue
        self._interval = interval
        self._is_pair = pair
        self._rules = venue.rules[symbol]
        self._running = RunningCandle(interval)
        self._tape: Tape | None = None
        self._base: BaseCandle | None = None
        """The base candle in play; those before it are in the running sum."""
        self._row: KlineTuple | None = None
        """The last row sent."""
        self._is_closed = False
        """True once that row was sent as final."""

    def frames(self, time_ms: int) -> list[MarketFrame]:
        """Return the forming candle; before it a last frame of one that a gap cut short.

        A candle is closed once only: asked again after that, there is nothing to say.
        """
        row = self._next_row()
        if row is None:
            return []
        frames = []
        last, was_closed = self._row, self._is_closed
        if last is not None and last[0] == row[0] and was_closed:
            return []
        if last is not None and last[0] != row[0] and not was_closed:
            frames.append(self._frame(last, time_ms, is_final=True))
        self._row, self._is_closed = row, time_ms >= row[6]
        frames.append(self._frame(row, time_ms, is_final=self._is_closed))
        return frames

    def _next_row(self) -> KlineTuple | None:
        tape = self._venue.tapes.get(self.symbol)
        if tape is None or tape.candle is None:
            return None
        if tape is not self._tape:
            self._tape, self._base = tape, None
        if self._base is None:
            self._running.prime(self._venue.feed, self.symbol, tape.candle.open_ms)
        elif self._base.open_ms != tape.candle.open_ms:
            self._running.add(self._base)
        self._base = tape.candle
        return self._running.row(tape.part())

    def _frame(self, row: KlineTuple, time_ms: int, *, is_final: bool) -> MarketFrame:
        open_ms, first, high, low, close, volume, close_ms, quote, trades, taker, tquote = row
        price, qty = self._rules.price_places, self._rules.qty_places
        places = min(8, price + qty)
        last_id = open_ms + trades - 1 if trades else -1
        head = (
            f'"e":"continuous_kline","E":{time_ms},"ps":"{self.symbol}","ct":"PERPETUAL"'
            if self._is_pair
            else f'"e":"kline","E":{time_ms},"s":"{self.symbol}"'
        )
        name = "" if self._is_pair else f'"s":"{self.symbol}",'
        text = (
            f'{{{head},"k":{{"t":{open_ms},"T":{close_ms},{name}"i":"{self._interval}",'
            f'"f":{open_ms if trades else -1},"L":{last_id},'
            f'"o":"{_price(first, price)}","c":"{_price(close, price)}",'
            f'"h":"{_price(high, price)}","l":"{_price(low, price)}",'
            f'"v":"{show(volume, qty)}","n":{trades},"x":{"true" if is_final else "false"},'
            f'"q":"{show(quote, places)}","V":"{show(taker, qty)}",'
            f'"Q":"{show(tquote, places)}","B":"0"}}}}'
        )
        return MarketFrame(text, is_final)


class MarkPriceSource:
    """`<symbol>@markPrice` and `<symbol>@markPrice@1s`."""

    root = MARKET

    def __init__(self, venue: Venue, name: str, symbol: str) -> None:
        self.name = name
        self.symbol = symbol
        self._venue = venue
        self._next_funding_ms = 0
        self._rate = ""

    def frames(self, time_ms: int) -> list[MarketFrame]:
        """Return the mark price with the next funding time."""
        if time_ms >= self._next_funding_ms:
            self._next_funding_ms = self._venue.next_funding_ms(self.symbol) or 0
            self._rate = money(self._venue.feed.funding_rate(self.symbol, time_ms))
        price = money(self._venue.clearing.prices[self.symbol])
        text = (
            f'{{"e":"markPriceUpdate","E":{time_ms},"s":"{self.symbol}","p":"{price}",'
            f'"ap":"{price}","i":"{price}","P":"{price}","r":"{self._rate}",'
            f'"T":{self._next_funding_ms},"st":1}}'
        )
        return [MarketFrame(text, is_final=False)]


class BookTickerSource:
    """`<symbol>@bookTicker`."""

    root = PUBLIC

    def __init__(self, venue: Venue, name: str, symbol: str) -> None:
        self.name = name
        self.symbol = symbol
        self._venue = venue
        self._rules = venue.rules[symbol]

    def frames(self, time_ms: int) -> list[MarketFrame]:
        """Return the best prices: one tick either side of the last."""
        rules, price = self._rules, self._venue.clearing.prices[self.symbol]
        qty = show(shown_depth(rules, price), rules.qty_places)
        bid = show(price - rules.shown_tick, rules.price_places)
        ask = show(price + rules.shown_tick, rules.price_places)
        text = (
            f'{{"e":"bookTicker","u":{time_ms},"s":"{self.symbol}","ps":"{self.symbol}",'
            f'"b":"{bid}","B":"{qty}","a":"{ask}","A":"{qty}",'
            f'"T":{time_ms},"E":{time_ms},"st":1}}'
        )
        return [MarketFrame(text, is_final=False)]


class TickerSource:
    """`<symbol>@ticker` and `<symbol>@miniTicker`."""

    root = MARKET

    def __init__(self, venue: Venue, name: str, symbol: str, *, mini: bool) -> None:
        self.name = name
        self.symbol = symbol
        self._venue = venue
        self._is_mini = mini
        self._rules = venue.rules[symbol]

    def frames(self, time_ms: int) -> list[MarketFrame]:
        """Return the figures of the last 24 hours."""
        day = day_figures(self._venue, self.symbol)
        price, qty = self._rules.price_places, self._rules.qty_places
        shared = (
            f'"o":"{show(day.open, price)}","h":"{show(day.high, price)}",'
            f'"l":"{show(day.low, price)}","v":"{show(day.volume, qty)}",'
            f'"q":"{show(day.quote_volume, 2)}"'
        )
        head = f'"E":{time_ms},"s":"{self.symbol}","ps":"{self.symbol}","st":1'
        if self._is_mini:
            text = f'{{"e":"24hrMiniTicker",{head},"c":"{show(day.last, price)}",{shared}}}'
            return [MarketFrame(text, is_final=False)]
        percent = show(cut(day.change_percent, 1_000_000) * 1_000_000, 2)
        text = (
            f'{{"e":"24hrTicker",{head},"p":"{show(day.change, price)}","P":"{percent}",'
            f'"w":"{show(day.average, price)}","c":"{show(day.last, price)}",'
            f'"Q":"{show(self._rules.lot.min_qty, qty)}",{shared},"O":{day.open_ms},'
            f'"C":{time_ms},"F":{day.open_ms},"L":{day.open_ms + max(0, day.trades - 1)},'
            f'"n":{day.trades}}}'
        )
        return [MarketFrame(text, is_final=False)]


_PAIR_SUFFIX = "_perpetual"

_SIMPLE: dict[str, Callable[[Venue, str, str], Source]] = {
    "markPrice": MarkPriceSource,
    "markPrice@1s": MarkPriceSource,
    "bookTicker": BookTickerSource,
    "ticker": lambda venue, name, symbol: TickerSource(venue, name, symbol, mini=False),
    "miniTicker": lambda venue, name, symbol: TickerSource(venue, name, symbol, mini=True),
}


def source_of(venue: Venue, name: str) -> Source | None:
    """Return the source of a stream name; None for one that will never carry anything.

    The real exchange takes any name, too, and stays silent.
    """
    subject, _, kind = name.partition("@")
    if kind.startswith("continuousKline_") and subject.endswith(_PAIR_SUFFIX):
        subject = subject.removesuffix(_PAIR_SUFFIX)
    symbol = subject.upper()
    if symbol not in venue.rules or subject != subject.lower():
        return None
    for prefix, is_pair in (("kline_", False), ("continuousKline_", True)):
        if kind.startswith(prefix):
            interval = kind.removeprefix(prefix)
            if not can_build(venue.feed.base_interval, interval):
                return None
            return KlineSource(venue, name, symbol, interval, pair=is_pair)
    make = _SIMPLE.get(kind)
    return make(venue, name, symbol) if make is not None else None


def combined(name: str, text: str) -> str:
    """Return a frame as a combined stream (`/stream`) wraps it."""
    return f'{{"stream":"{name}","data":{text}}}'
