"""REST handlers of market data (layer 1): a request's parameters in, the answer's JSON out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from milo.exchange.feed import can_build
from milo.exchange.instruments import exchange_info_json
from milo.exchange.params import Params
from milo.exchange.quotes import (
    book_ticker,
    funding_history,
    kline_row,
    premium_index,
    price_ticker,
    ticker_24h,
)
from milo.exchange.refusals import invalid, refusal
from milo.exchange.rules import SymbolRules
from milo.exchange.venue import Venue
from milo.intervals import INTERVALS

Json = Any

MOST_KLINES = 1_500
DEFAULT_KLINES = 500
MOST_FUNDING_ROWS = 1_000


def symbol_rules(venue: Venue, params: Params) -> SymbolRules:
    """Return the rules of the symbol sent; -1102 without one, -1121 for an unknown one."""
    return venue.rules_for(params.need_text("symbol"))


def ping(venue: Venue, params: Params) -> Json:
    """GET ping: an empty answer."""
    return {}


def server_time(venue: Venue, params: Params) -> Json:
    """GET time: the exchange's clock."""
    return {"serverTime": venue.now_ms + venue.skew_ms}


def exchange_info(venue: Venue, params: Params) -> Json:
    """GET exchangeInfo: limits, assets and all symbols."""
    return exchange_info_json(venue.specs, venue.now_ms)


def klines(venue: Venue, params: Params) -> Json:
    """GET klines: oldest first, the forming candle last."""
    return _klines(venue, params, symbol_rules(venue, params))


def continuous_klines(venue: Venue, params: Params) -> Json:
    """GET continuousKlines: the perpetual of a pair is the symbol of the same name."""
    rules = venue.rules_for(params.need_text("pair"))
    if params.need_text("contractType") != "PERPETUAL":
        raise invalid("contractType")
    return _klines(venue, params, rules)


def _klines(venue: Venue, params: Params, rules: SymbolRules) -> Json:
    interval = params.need_text("interval")
    if interval not in INTERVALS:
        raise refusal(-1120)
    limit = params.limit(default=DEFAULT_KLINES, highest=MOST_KLINES)
    start_ms, end_ms = params.time_range()
    if not can_build(venue.feed.base_interval, interval):
        return []
    rows = venue.feed.klines(
        rules.symbol,
        interval,
        start_ms=start_ms,
        end_ms=end_ms,
        limit=limit,
        now_ms=venue.now_ms,
    )
    return [kline_row(row, rules) for row in rows]


def premium_index_of(venue: Venue, params: Params) -> Json:
    """GET premiumIndex: one symbol, or all of them."""
    return _one_or_all(venue, params, premium_index)


def funding_rate(venue: Venue, params: Params) -> Json:
    """GET fundingRate: past settlements, oldest first."""
    limit = params.integer("limit")
    if limit is not None and not 1 <= limit <= MOST_FUNDING_ROWS:
        raise invalid("limit")
    start_ms, end_ms = params.time_range()
    name = params.text("symbol")
    symbols = [venue.rules_for(name).symbol] if name else sorted(venue.rules)
    rows = [
        row
        for symbol in symbols
        for row in funding_history(venue, symbol, start_ms=start_ms, end_ms=end_ms, limit=limit)
    ]
    rows.sort(key=lambda row: row["fundingTime"])
    if name:
        return rows
    count = limit or 100
    return rows[-count:] if start_ms is None else rows[:count]


def funding_info(venue: Venue, params: Params) -> Json:
    """GET fundingInfo lists only symbols whose cap, floor or interval was adjusted: none here."""
    return []


def ticker_24hr(venue: Venue, params: Params) -> Json:
    """GET ticker/24hr: one symbol, or all of them."""
    return _one_or_all(venue, params, ticker_24h)


def ticker_price(venue: Venue, params: Params) -> Json:
    """GET ticker/price: one symbol, or all of them."""
    return _one_or_all(venue, params, price_ticker)


def ticker_book(venue: Venue, params: Params) -> Json:
    """GET ticker/bookTicker: one symbol, or all of them."""
    return _one_or_all(venue, params, book_ticker)


def kline_weight(params: Params) -> int:
    """Return the weight of a kline request by its limit."""
    limit = params.integer("limit") or DEFAULT_KLINES
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1000 else 10


def by_symbol(one: int, every: int) -> Callable[[Params], int]:
    """Return a weight that depends on whether a symbol was sent."""
    return lambda params: one if params.text("symbol") else every


def _one_or_all(venue: Venue, params: Params, make: Callable[[Venue, str], Json]) -> Json:
    name = params.text("symbol")
    if name is not None:
        return make(venue, venue.rules_for(name).symbol)
    return [make(venue, symbol) for symbol in venue.rules]
