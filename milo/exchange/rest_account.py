"""REST handlers of the account: balances, positions, statement, settings (layer 1)."""

from __future__ import annotations

from typing import Any

from milo.exchange.instruments import brackets_json
from milo.exchange.params import Params
from milo.exchange.payloads import (
    AccountPage,
    account_config,
    commission_rate,
    income_report,
    symbol_config,
)
from milo.exchange.quota import ORDERS_PER_10S, ORDERS_PER_MINUTE
from milo.exchange.rest_market import symbol_rules
from milo.exchange.venue import Venue
from milo.intervals import DAY_MS

Json = Any

_WEEK_MS = 7 * DAY_MS


def account_v3(venue: Venue, params: Params) -> Json:
    """GET v3/account: totals, assets, and what has a position or an open order."""
    return _page(venue).account()


def account_v2(venue: Venue, params: Params) -> Json:
    """GET v2/account: the same with leverage, margin type and entry price."""
    return _page(venue).account(is_v2=True)


def balance(venue: Venue, params: Params) -> Json:
    """GET balance: the one asset."""
    return _page(venue).balance()


def position_risk_v3(venue: Venue, params: Params) -> Json:
    """GET v3/positionRisk: only what has a position or an open order."""
    name = params.text("symbol")
    symbol = venue.rules_for(name).symbol if name is not None else None
    return _page(venue).position_risk(symbol)


def position_risk_v2(venue: Venue, params: Params) -> Json:
    """GET v2/positionRisk: the symbol asked for, or all of them, held or not."""
    name = params.text("symbol")
    symbols = list(venue.rules) if name is None else [venue.rules_for(name).symbol]
    for symbol in symbols:
        venue.prepare(symbol)
    return _page(venue).position_risk_v2(symbols)


def symbol_configs(venue: Venue, params: Params) -> Json:
    """GET symbolConfig: leverage and margin type of one symbol, or of all."""
    name = params.text("symbol")
    symbols = list(venue.rules) if name is None else [venue.rules_for(name).symbol]
    return [symbol_config(symbol, venue.state, venue.rules[symbol]) for symbol in symbols]


def account_configuration(venue: Venue, params: Params) -> Json:
    """GET accountConfig: the account's modes."""
    return account_config()


def leverage_bracket(venue: Venue, params: Params) -> Json:
    """GET leverageBracket: a list in both cases, as the real one answers."""
    name = params.text("symbol")
    if name is None:
        return brackets_json(venue.specs)
    symbol = venue.rules_for(name).symbol
    return brackets_json({symbol: venue.specs[symbol]})


def commission(venue: Venue, params: Params) -> Json:
    """GET commissionRate: maker and taker fractions."""
    return commission_rate(symbol_rules(venue, params).symbol)


def income(venue: Venue, params: Params) -> Json:
    """GET income: lines of the statement, oldest first; without times the newest week."""
    name, kind = params.text("symbol"), params.text("incomeType")
    symbol = venue.rules_for(name).symbol if name is not None else None
    limit = params.limit(default=100, highest=1000)
    start_ms, end_ms = params.time_range()
    last_ms = venue.now_ms if end_ms is None else end_ms
    first_ms = last_ms - _WEEK_MS if start_ms is None else start_ms
    lines = [
        line
        for line in venue.state.incomes
        if first_ms <= line.time_ms <= last_ms
        and symbol in (None, line.symbol)
        and kind in (None, line.kind)
    ]
    found = lines[-limit:] if start_ms is None else lines[:limit]
    return [income_report(line) for line in found]


def order_limits(venue: Venue, params: Params) -> Json:
    """GET rateLimit/order: the account's order limits."""
    return [
        {
            "rateLimitType": "ORDERS",
            "interval": interval,
            "intervalNum": count,
            "limit": limit,
        }
        for interval, count, limit in (
            ("SECOND", 10, ORDERS_PER_10S),
            ("MINUTE", 1, ORDERS_PER_MINUTE),
        )
    ]


def _page(venue: Venue) -> AccountPage:
    return AccountPage(venue.clearing, venue.now_ms)
