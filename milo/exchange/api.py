"""The REST door without its socket: routes, weights, security, errors (layer 1).

A request comes in as bytes and leaves as an `Answer`; nothing here waits for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import msgspec

from milo.exchange import rest_account as account
from milo.exchange import rest_market as market
from milo.exchange import rest_trade as trade
from milo.exchange.access import Doorman, KeyPair, ListenKeys, Security, read_params
from milo.exchange.params import Params
from milo.exchange.quota import Instant, Quota
from milo.exchange.refusals import ApiRefusal
from milo.exchange.rest_market import by_symbol, kline_weight
from milo.exchange.venue import Venue

Handler = Callable[[Venue, Params], Any]
Weight = int | Callable[[Params], int]

_FUNDING_PATHS = frozenset({"/fapi/v1/fundingRate", "/fapi/v1/fundingInfo"})


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: what it needs, what it costs, who answers."""

    handler: Handler
    weight: Weight = 1
    security: Security = Security.NONE
    is_order: bool = False
    """True where it counts on the ORDERS limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it came in: query and body are the very bytes, for they are signed."""

    method: str
    path: str
    query: bytes
    body: bytes
    api_key: str | None
    at: Instant

    @classmethod
    def of_target(
        cls, method: str, target: str, *, body: bytes, api_key: str | None, at: Instant
    ) -> Call:
        """Take a request apart; `target` is path and query as the request line has them."""
        path, _, query = target.partition("?")
        return cls(
            method=method,
            path=unquote(path),
            query=query.encode("utf-8", "surrogateescape"),
            body=body,
            api_key=api_key,
            at=at,
        )

    def params(self) -> Params:
        """Return the parameters; ApiRefusal -1100 where they are garbled."""
        return read_params(self.query, self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer: JSON body, status, extra headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def _signed(handler: Handler, weight: Weight = 1, *, is_order: bool = False) -> Route:
    return Route(handler, weight, Security.SIGNED, is_order)


_ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route(market.ping),
    ("GET", "/fapi/v1/time"): Route(market.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Route(market.exchange_info),
    ("GET", "/fapi/v1/klines"): Route(market.klines, kline_weight),
    ("GET", "/fapi/v1/continuousKlines"): Route(market.continuous_klines, kline_weight),
    ("GET", "/fapi/v1/premiumIndex"): Route(market.premium_index_of, by_symbol(1, 10)),
    ("GET", "/fapi/v1/fundingRate"): Route(market.funding_rate, 0),
    ("GET", "/fapi/v1/fundingInfo"): Route(market.funding_info, 0),
    ("GET", "/fapi/v1/ticker/24hr"): Route(market.ticker_24hr, by_symbol(1, 40)),
    ("GET", "/fapi/v1/ticker/price"): Route(market.ticker_price, by_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Route(market.ticker_price, by_symbol(1, 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(market.ticker_book, by_symbol(2, 5)),
    ("POST", "/fapi/v1/order"): _signed(trade.post_order, 0, is_order=True),
    ("POST", "/fapi/v1/order/test"): _signed(trade.test_order, 0),
    ("GET", "/fapi/v1/order"): _signed(trade.get_order),
    ("DELETE", "/fapi/v1/order"): _signed(trade.delete_order),
    ("GET", "/fapi/v1/openOrder"): _signed(trade.get_open_order),
    ("GET", "/fapi/v1/openOrders"): _signed(trade.open_orders, by_symbol(1, 40)),
    ("GET", "/fapi/v1/allOrders"): _signed(trade.all_orders, 5),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(trade.delete_all_orders),
    ("GET", "/fapi/v1/userTrades"): _signed(trade.user_trades, 5),
    ("POST", "/fapi/v1/algoOrder"): _signed(trade.post_algo, 0, is_order=True),
    ("GET", "/fapi/v1/algoOrder"): _signed(trade.get_algo),
    ("DELETE", "/fapi/v1/algoOrder"): _signed(trade.delete_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): _signed(trade.open_algos, by_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): _signed(trade.all_algos, 5),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(trade.delete_all_algos),
    ("POST", "/fapi/v1/leverage"): _signed(trade.post_leverage),
    ("POST", "/fapi/v1/marginType"): _signed(trade.post_margin_type),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(trade.get_position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(trade.post_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(trade.get_multi_assets, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(trade.post_multi_assets),
    ("GET", "/fapi/v3/account"): _signed(account.account_v3, 5),
    ("GET", "/fapi/v2/account"): _signed(account.account_v2, 5),
    ("GET", "/fapi/v3/balance"): _signed(account.balance, 5),
    ("GET", "/fapi/v2/balance"): _signed(account.balance, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(account.position_risk_v3, 5),
    ("GET", "/fapi/v2/positionRisk"): _signed(account.position_risk_v2, 5),
    ("GET", "/fapi/v1/symbolConfig"): _signed(account.symbol_configs, 5),
    ("GET", "/fapi/v1/accountConfig"): _signed(account.account_configuration, 5),
    ("GET", "/fapi/v1/leverageBracket"): _signed(account.leverage_bracket),
    ("GET", "/fapi/v1/commissionRate"): _signed(account.commission, 20),
    ("GET", "/fapi/v1/income"): _signed(account.income, 30),
    ("GET", "/fapi/v1/rateLimit/order"): _signed(account.order_limits),
}

_LISTEN_KEY_PATH = "/fapi/v1/listenKey"
_PATHS = frozenset(path for _, path in _ROUTES) | {_LISTEN_KEY_PATH}


class Api:
    """Answers REST requests, one at a time."""

    def __init__(self, venue: Venue, keys: KeyPair, listen_keys: ListenKeys) -> None:
        self._venue = venue
        self._doorman = Doorman(keys)
        self._listen_keys = listen_keys
        self._quota = Quota()
        listen_route = Route(lambda venue, params: {}, 1, Security.KEY)
        self._routes = _ROUTES | {
            (method, _LISTEN_KEY_PATH): listen_route for method in ("POST", "PUT", "DELETE")
        }

    def answer(self, call: Call) -> Answer:
        """Answer a request; errors come out as the exchange's own error answers."""
        headers: dict[str, str] = {}
        try:
            route = self._routes.get((call.method, call.path))
            self._quota.charge(_weight_of(route, call), call.at)
            headers |= self._quota.weight_header(call.at)
            if route is None:
                raise _unknown_route(call)
            payload = self._carry_out(route, call)
            if route.is_order:
                headers |= self._quota.order_headers(call.at)
            return Answer(status=200, body=msgspec.json.encode(payload), headers=headers)
        except ApiRefusal as error:
            if error.retry_after_s:
                headers["Retry-After"] = str(error.retry_after_s)
            body = msgspec.json.encode({"code": error.code, "msg": str(error)})
            return Answer(status=error.status, body=body, headers=headers)

    def _carry_out(self, route: Route, call: Call) -> Any:
        """Return the JSON of a request whose route is known. Raises ApiRefusal."""
        if route.security is not Security.NONE:
            self._doorman.check_key(call.api_key)
        params = call.params()
        if route.security is Security.SIGNED:
            params.need_integer("timestamp")
            self._doorman.check_signature(call.query, call.body)
            self._doorman.check_time(params, self._shown_time(call.at))
        if call.path in _FUNDING_PATHS:
            self._quota.charge_funding(call.at)
        if route.is_order:
            self._quota.charge_order(call.at)
        if call.path == _LISTEN_KEY_PATH:
            return self._listen_key(call.method, call.at)
        return route.handler(self._venue, params)

    def _shown_time(self, at: Instant) -> Instant:
        """Return the time by which timestamps are judged."""
        skew_ms = self._venue.skew_ms
        if not skew_ms:
            return at
        return replace(at, now_ms=at.now_ms + skew_ms, due_ms=at.due_ms + skew_ms)

    def _listen_key(self, method: str, at: Instant) -> Any:
        keys, counters = self._listen_keys, self._venue.state.counters
        self._venue.state.changes.has_meta = True
        if method == "PUT":
            return {"listenKey": keys.keep(at.safety_ms)}
        if method == "DELETE":
            keys.close()
            return {}
        before = keys.current
        listen_key = keys.open(counters.listen_key, at.safety_ms)
        if listen_key != before:
            counters.listen_key += 1
        return {"listenKey": listen_key}


def _weight_of(route: Route | None, call: Call) -> int:
    if route is None:
        return 1
    if isinstance(route.weight, int):
        return route.weight
    try:
        return route.weight(call.params())
    except ApiRefusal:  # the handler will say what is wrong
        return 1


def _unknown_route(call: Call) -> ApiRefusal:
    if call.path in _PATHS:
        text = f"This operation is not supported: {call.method} {call.path}"
        return ApiRefusal(-1020, text, status=405)
    text = f"Path {call.path}, Method {call.method} is invalid"
    return ApiRefusal(-5000, text, status=404)
