"""What the market shows at an instant: prices, 24-hour figures, funding, as answers show them.

Pure (layer 1). Shapes: exchange-api.md section 2.1. Mark and index price are the last price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from milo.exchange.feed import E8, KlineTuple, can_build
from milo.exchange.fixed import cut, money, show
from milo.exchange.rules import SymbolRules
from milo.exchange.tape import Tape
from milo.exchange.venue import Venue
from milo.intervals import DAY_MS, HOUR_MS, INTERVAL_MS

Json = dict[str, Any]

_BOOK_DEPTH = 1_000_000 * E8
"""Shown at the best prices, in quote units; fills know no limit."""
_FUNDING_INTERVAL = "8h"
_FUNDING_LOOK_BACK_MS = 100 * DAY_MS
_UNASKED_FUNDING_ROWS = 200
_SPREAD_INTERVAL = "1h"


def kline_row(row: KlineTuple, rules: SymbolRules) -> list[int | str]:
    """Return one row of GET klines."""
    open_ms, first, high, low, close, volume, close_ms, quote, trades, taker, taker_quote = row
    price, qty = rules.price_places, rules.qty_places
    money_places = min(8, price + qty)
    return [
        open_ms,
        show(first, price),
        show(high, price),
        show(low, price),
        show(close, price),
        show(volume, qty),
        close_ms,
        show(quote, money_places),
        trades,
        show(taker, qty),
        show(taker_quote, money_places),
        "0",
    ]


def premium_index(venue: Venue, symbol: str) -> Json:
    """Return one entry of GET premiumIndex; the rate is that of the last settlement."""
    price = venue.price(symbol)
    return {
        "symbol": symbol,
        "markPrice": money(price),
        "indexPrice": money(price),
        "estimatedSettlePrice": money(price),
        "lastFundingRate": money(venue.feed.funding_rate(symbol, venue.now_ms)),
        "interestRate": "0.00010000",
        "nextFundingTime": venue.next_funding_ms(symbol) or 0,
        "time": venue.now_ms,
    }


def funding_history(
    venue: Venue, symbol: str, *, start_ms: int | None, end_ms: int | None, limit: int | None
) -> list[Json]:
    """Return rows of GET fundingRate, oldest first; without times the newest 200."""
    until_ms = venue.now_ms if end_ms is None else min(end_ms, venue.now_ms)
    if start_ms is None:
        times = venue.feed.funding_times(symbol, until_ms - _FUNDING_LOOK_BACK_MS, until_ms)
        times = times[-(limit or _UNASKED_FUNDING_ROWS) :]
    else:
        after_ms = max(start_ms, venue.feed.first_open_ms(symbol)) - 1
        times = venue.feed.funding_times(symbol, after_ms, until_ms)[: limit or 100]
    first_ms = venue.feed.first_open_ms(symbol)
    times = [time_ms for time_ms in times if time_ms >= first_ms]
    prices = _prices_at(venue, symbol, times)
    return [
        {
            "symbol": symbol,
            "fundingTime": time_ms,
            "fundingRate": money(venue.feed.funding_rate(symbol, time_ms)),
            "markPrice": money(prices[time_ms]),
            "rateType": "Regular",
        }
        for time_ms in times
    ]


def _prices_at(venue: Venue, symbol: str, times: list[int]) -> dict[int, int]:
    """Return the price at each time; most settlements open an eight-hour candle."""
    if not times:
        return {}
    rows = venue.feed.klines(
        symbol,
        _FUNDING_INTERVAL,
        start_ms=times[0],
        end_ms=times[-1],
        limit=(times[-1] - times[0]) // INTERVAL_MS[_FUNDING_INTERVAL] + 1,
        now_ms=venue.now_ms,
    )
    opens = {row[0]: row[1] for row in rows}
    return {
        time_ms: opens.get(time_ms) or Tape(venue.feed, symbol, time_ms).price or 0
        for time_ms in times
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """The last 24 hours, the running hour included; e8."""

    open_ms: int
    open: int
    high: int
    low: int
    last: int
    volume: int
    quote_volume: int
    trades: int

    @property
    def change(self) -> int:
        return self.last - self.open

    @property
    def change_percent(self) -> int:
        """In 1e-8 of one per cent."""
        return cut(self.change * 100 * E8, self.open)

    @property
    def average(self) -> int:
        """The price weighted by volume; the last price where nothing was traded."""
        return cut(self.quote_volume * E8, self.volume) if self.volume else self.last


def day_figures(venue: Venue, symbol: str) -> DayFigures:
    """Return the figures of 24 hour candles (of base candles where those are longer)."""
    base = venue.feed.base_interval
    interval = _SPREAD_INTERVAL if can_build(base, _SPREAD_INTERVAL) else base
    count = max(1, 24 * HOUR_MS // INTERVAL_MS[interval])
    rows = venue.feed.klines(
        symbol, interval, start_ms=None, end_ms=None, limit=count, now_ms=venue.now_ms
    )
    last = venue.price(symbol)
    if not rows:  # in the first hour of a recording
        rows = [(venue.now_ms, last, last, last, last, 0, venue.now_ms, 0, 0, 0, 0)]
    return DayFigures(
        open_ms=rows[0][0],
        open=rows[0][1],
        high=max(row[2] for row in rows),
        low=min(row[3] for row in rows),
        last=last,
        volume=sum(row[5] for row in rows),
        quote_volume=sum(row[7] for row in rows),
        trades=sum(row[8] for row in rows),
    )


def ticker_24h(venue: Venue, symbol: str) -> Json:
    """Return one entry of GET ticker/24hr."""
    rules, day = venue.rules[symbol], day_figures(venue, symbol)
    price, qty = rules.price_places, rules.qty_places
    return {
        "symbol": symbol,
        "priceChange": show(day.change, price),
        "priceChangePercent": _percent(day.change_percent),
        "weightedAvgPrice": show(day.average, price),
        "lastPrice": show(day.last, price),
        "lastQty": show(rules.lot.min_qty, qty),
        "openPrice": show(day.open, price),
        "highPrice": show(day.high, price),
        "lowPrice": show(day.low, price),
        "volume": show(day.volume, qty),
        "quoteVolume": show(day.quote_volume, 2),
        "openTime": day.open_ms,
        "closeTime": venue.now_ms,
        "firstId": day.open_ms,
        "lastId": day.open_ms + max(0, day.trades - 1),
        "count": day.trades,
    }


def price_ticker(venue: Venue, symbol: str) -> Json:
    """Return one entry of GET ticker/price."""
    return {
        "symbol": symbol,
        "price": show(venue.price(symbol), venue.rules[symbol].price_places),
        "time": venue.now_ms,
    }


def book_ticker(venue: Venue, symbol: str) -> Json:
    """Return one entry of GET ticker/bookTicker: one tick either side of the last price."""
    rules, price = venue.rules[symbol], venue.price(symbol)
    qty = show(shown_depth(rules, price), rules.qty_places)
    return {
        "symbol": symbol,
        "bidPrice": show(price - rules.shown_tick, rules.price_places),
        "bidQty": qty,
        "askPrice": show(price + rules.shown_tick, rules.price_places),
        "askQty": qty,
        "time": venue.now_ms,
    }


def shown_depth(rules: SymbolRules, price: int) -> int:
    """Return the quantity shown at the best prices: a million's worth, in whole steps."""
    step = rules.lot.step or 1
    return max(step, _BOOK_DEPTH * E8 // price // step * step)


def _percent(value_e8: int) -> str:
    return show(cut(value_e8, 100_000) * 100_000, 3)
