"""The REST door without a socket: signatures, timestamps, limits, routes, shapes."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from exchange_market import KEYS, START_MS, Exchange, flat

from milo.exchange.access import Doorman, ListenKeys, split_signature
from milo.exchange.api import Answer, Api, Call
from milo.exchange.instruments import own_table
from milo.exchange.market import open_market
from milo.exchange.market_frames import source_of
from milo.exchange.quota import Instant
from milo.exchange.refusals import ApiRefusal
from milo.exchange.state import ExchangeState
from milo.exchange.venue import Venue

VECTOR = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
    "&recvWindow=5000&timestamp=1591702613943"
)
VECTOR_SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
MIXED_QUERY = b"symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
MIXED_BODY = b"quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
MIXED_SIGNATURE = "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path, flat("60000.0", 600))


def _signed(params: str, *, timestamp_ms: int = START_MS) -> str:
    payload = f"{params}&timestamp={timestamp_ms}" if params else f"timestamp={timestamp_ms}"
    signature = hmac.new(KEYS.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    return f"{payload}&signature={signature}"


def _ask(exchange: Exchange, method: str, path: str, params: str = "") -> Any:
    answer = exchange.call(method, f"{path}?{_signed(params, timestamp_ms=exchange.venue.now_ms)}")
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def _refused(answer: Answer) -> tuple[int, int]:
    return answer.status, json.loads(answer.body)["code"]


# --- signatures -----------------------------------------------------------------------------------


def test_the_official_signature_is_accepted() -> None:
    query = f"{VECTOR}&signature={VECTOR_SIGNATURE}".encode()

    Doorman(KEYS).check_signature(query, b"")


def test_query_and_body_are_signed_as_one_without_a_separator() -> None:
    body = MIXED_BODY + b"&signature=" + MIXED_SIGNATURE.encode()

    Doorman(KEYS).check_signature(MIXED_QUERY, body)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (VECTOR, -1102),
        (f"{VECTOR}&signature={'0' * 64}", -1022),
        (f"{VECTOR}&signature=ä", -1022),
        (f"signature={VECTOR_SIGNATURE}&{VECTOR}", -1022),
        (f"{VECTOR.replace('GTC', 'IOC')}&signature={VECTOR_SIGNATURE}", -1022),
    ],
)
def test_anything_else_is_no_signature(query: str, code: int) -> None:
    with pytest.raises(ApiRefusal) as caught:
        Doorman(KEYS).check_signature(query.encode(), b"")

    assert caught.value.code == code


def test_the_signature_is_the_last_parameter_only() -> None:
    assert split_signature(b"a=1&signature=ff") == (b"a=1", "ff")
    assert split_signature(b"a=1&mysignature=ff") == (b"a=1&mysignature=ff", None)
    assert split_signature(b"signature=ff") == (b"", "ff")


def test_the_very_bytes_are_signed_also_of_symbols_in_chinese_script(exchange: Exchange) -> None:
    symbol = quote("币安人生USDT")

    answer = exchange.call("GET", f"/fapi/v1/order?{_signed(f'symbol={symbol}&orderId=1')}")

    assert _refused(answer) == (400, -1121)


def test_a_signed_form_body_is_read(exchange: Exchange) -> None:
    body = _signed("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01").encode()

    answer = exchange.call("POST", "/fapi/v1/order", body=body)

    assert answer.status == 200


def test_the_query_wins_over_the_body(exchange: Exchange) -> None:
    query = "symbol=BTCUSDT&leverage=7"
    body = f"leverage=9&timestamp={START_MS}"
    signature = hmac.new(
        KEYS.api_secret.encode(), (query + body).encode(), hashlib.sha256
    ).hexdigest()

    answer = exchange.call(
        "POST", f"/fapi/v1/leverage?{query}", body=f"{body}&signature={signature}".encode()
    )

    assert json.loads(answer.body)["leverage"] == 7


# --- keys and time --------------------------------------------------------------------------------


def test_a_request_without_key_or_with_another_key_is_unauthorized(exchange: Exchange) -> None:
    target = f"/fapi/v3/balance?{_signed('')}"

    assert _refused(exchange.call("GET", target, key=False)) == (401, -2014)
    exchange.api._doorman._keys = KEYS.__class__(api_key="a" * 64, api_secret=KEYS.api_secret)
    assert _refused(exchange.call("GET", target)) == (401, -2015)


@pytest.mark.parametrize(
    ("offset_ms", "window", "speed", "expected"),
    [
        (0, None, 1.0, 200),
        (999, None, 1.0, 200),
        (1000, None, 1.0, -1021),
        (-5000, None, 1.0, 200),
        (-5001, None, 1.0, -1021),
        (-9000, 10_000, 1.0, 200),
        (0, 60_001, 1.0, -1131),
        (59_000, None, 60.0, 200),
        (60_000, None, 60.0, -1021),
        (-300_000, None, 60.0, 200),
        (-300_001, None, 60.0, -1021),
        (9_999_999, None, 0.0, 200),
    ],
)
def test_timestamps_are_judged_in_safety_time(
    exchange: Exchange, offset_ms: int, window: int | None, speed: float, expected: int
) -> None:
    params = "" if window is None else f"recvWindow={window}"
    query = _signed(params, timestamp_ms=START_MS + offset_ms)

    answer = exchange.call("GET", f"/fapi/v3/balance?{query}", at=exchange.instant(speed=speed))

    found = 200 if answer.status == 200 else json.loads(answer.body)["code"]
    assert found == expected


def test_a_missing_timestamp_is_named(exchange: Exchange) -> None:
    answer = exchange.call("GET", "/fapi/v3/balance?signature=00")

    assert _refused(answer) == (400, -1102)
    assert "timestamp" in json.loads(answer.body)["msg"]


# --- limits ---------------------------------------------------------------------------------------


def _ping(exchange: Exchange, safety_ms: int) -> Answer:
    at = exchange.instant(safety_ms=safety_ms)
    return exchange.call("GET", "/fapi/v1/ticker/24hr", at=at)


def test_weight_is_counted_in_the_header_and_ends_with_the_minute(exchange: Exchange) -> None:
    used = [_ping(exchange, START_MS + s * 1000).headers["X-MBX-USED-WEIGHT-1M"] for s in (0, 1)]
    later = _ping(exchange, START_MS + 60_000).headers["X-MBX-USED-WEIGHT-1M"]

    assert used == ["40", "80"]
    assert later == "40"


def test_too_much_weight_is_429_then_418_and_the_ban_ends(exchange: Exchange) -> None:
    for _ in range(60):
        assert _ping(exchange, START_MS).status == 200

    first = _ping(exchange, START_MS + 20_000)
    statuses = [_ping(exchange, START_MS + 20_000).status for _ in range(10)]
    banned = _ping(exchange, START_MS + 100_000)
    after = _ping(exchange, START_MS + 20_000 + 120_000)

    assert _refused(first) == (429, -1003)
    assert first.headers["Retry-After"] == "40"
    assert statuses == [429] * 9 + [418]
    assert banned.status == 418
    assert f"banned until {START_MS + 40_000}" in json.loads(banned.body)["msg"]
    assert after.status == 200


def test_orders_are_limited_by_ten_seconds_and_minute(exchange: Exchange) -> None:
    def place(second: int) -> Answer:
        params = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001"
        at = exchange.instant(safety_ms=START_MS + second * 1000)
        return exchange.call("POST", f"/fapi/v1/order?{_signed(params)}", at=at)

    for number in range(1, 301):
        answer = place(0)
        assert answer.headers["X-MBX-ORDER-COUNT-10S"] == str(number)

    assert _refused(place(9)) == (429, -1015)
    assert place(10).headers["X-MBX-ORDER-COUNT-1M"] == "301"


@pytest.mark.parametrize(
    ("limit", "weight"), [("99", 1), ("100", 2), ("499", 2), ("500", 5), ("1000", 5), ("1001", 10)]
)
def test_klines_weigh_by_their_limit(exchange: Exchange, limit: str, weight: int) -> None:
    answer = exchange.call("GET", f"/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit={limit}")

    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


# --- routes ---------------------------------------------------------------------------------------


def test_an_unknown_path_is_404_and_a_wrong_method_405(exchange: Exchange) -> None:
    assert exchange.call("GET", "/fapi/v1/nothing").status == 404
    assert exchange.call("PATCH", "/fapi/v1/order").status == 405


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/fapi/v1/klines?interval=1m", -1102),
        ("/fapi/v1/klines?symbol=NOPEUSDT&interval=1m", -1121),
        ("/fapi/v1/klines?symbol=btcusdt&interval=1m", -1121),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=7m", -1120),
        ("/fapi/v1/klines?symbol=BTCUSDT", -1102),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1501", -1130),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=x", -1130),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=9&endTime=1", -1130),
        ("/fapi/v1/klines?symbol=%FF&interval=1m", -1100),
        ("/fapi/v1/fundingRate?limit=1001", -1130),
    ],
)
def test_wrong_market_requests_are_refused_with_the_exchanges_code(
    exchange: Exchange, target: str, code: int
) -> None:
    assert _refused(exchange.call("GET", target)) == (400, code)


@pytest.mark.parametrize(
    ("method", "target", "params", "code"),
    [
        ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=0", -4028),
        ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=151", -4028),
        ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=ten", -1130),
        ("POST", "/fapi/v1/marginType", "symbol=BTCUSDT&marginType=ISOLATED", -4046),
        ("POST", "/fapi/v1/marginType", "symbol=BTCUSDT&marginType=CROSSED", -4084),
        ("POST", "/fapi/v1/positionSide/dual", "dualSidePosition=false", -4059),
        ("POST", "/fapi/v1/positionSide/dual", "dualSidePosition=true", -4084),
        ("POST", "/fapi/v1/multiAssetsMargin", "multiAssetsMargin=false", -4171),
        ("GET", "/fapi/v1/order", "symbol=BTCUSDT", -1102),
        ("GET", "/fapi/v1/order", "symbol=BTCUSDT&orderId=5", -2013),
        ("DELETE", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=none", -2011),
        ("GET", "/fapi/v1/algoOrder", "clientAlgoId=none", -2013),
        ("DELETE", "/fapi/v1/algoOrder", "algoId=5", -2011),
        ("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT&fromId=1&startTime=5", -1128),
        ("PUT", "/fapi/v1/listenKey", "", -1125),
    ],
)
def test_wrong_account_requests_are_refused_with_the_exchanges_code(
    exchange: Exchange, method: str, target: str, params: str, code: int
) -> None:
    assert _refused(exchange.call(method, f"{target}?{_signed(params)}")) == (400, code)


def test_margin_type_names_what_is_in_the_way(exchange: Exchange) -> None:
    crossed = f"/fapi/v1/marginType?{_signed('symbol=BTCUSDT&marginType=CROSSED')}"
    order = exchange.limit("BUY", "0.1", "59000")

    with_order = exchange.call("POST", crossed)
    exchange.venue.orders.cancel("BTCUSDT", order.order_id, None)
    exchange.buy("0.1")
    with_position = exchange.call("POST", crossed)

    assert _refused(with_order) == (400, -4047)
    assert _refused(with_position) == (400, -4048)


def test_leverage_is_not_lowered_under_a_position_and_reports_what_it_allows(
    exchange: Exchange,
) -> None:
    exchange.buy("0.1")

    lower = exchange.call("POST", f"/fapi/v1/leverage?{_signed('symbol=BTCUSDT&leverage=5')}")
    higher = _ask(exchange, "POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=50")

    most = exchange.venue.rules["BTCUSDT"].max_notional(50) // 10**8
    assert _refused(lower) == (400, -4161)
    assert higher == {"symbol": "BTCUSDT", "leverage": 50, "maxNotionalValue": str(most)}


def test_a_listen_key_lives_an_hour_of_safety_time_and_is_renewed(exchange: Exchange) -> None:
    def call(method: str, minute: int) -> Answer:
        at = exchange.instant(safety_ms=START_MS + minute * 60_000)
        return exchange.call(method, "/fapi/v1/listenKey", at=at)

    key = json.loads(call("POST", 0).body)["listenKey"]
    same = json.loads(call("POST", 30).body)["listenKey"]
    kept = call("PUT", 80)
    lost = call("PUT", 141)
    other = json.loads(call("POST", 142).body)["listenKey"]

    assert len(key) == 64
    assert same == key
    assert kept.status == 200
    assert _refused(lost) == (400, -1125)
    assert other != key


# --- shapes ---------------------------------------------------------------------------------------

ORDER_KEYS = {
    "orderId", "symbol", "status", "clientOrderId", "price", "origQty", "executedQty", "cumQty",
    "timeInForce", "type", "reduceOnly", "closePosition", "side", "positionSide", "stopPrice",
    "workingType", "priceProtect", "origType", "priceMatch", "selfTradePreventionMode",
    "goodTillDate", "updateTime",
}  # fmt: skip
ALGO_KEYS = {
    "algoId", "clientAlgoId", "algoType", "orderType", "symbol", "side", "positionSide",
    "timeInForce", "quantity", "algoStatus", "triggerPrice", "price", "icebergQuantity",
    "selfTradePreventionMode", "workingType", "priceMatch", "closePosition", "priceProtect",
    "reduceOnly", "activatePrice", "callbackRate", "createTime", "updateTime", "triggerTime",
    "goodTillDate",
}  # fmt: skip
ACCOUNT_KEYS = {
    "totalInitialMargin", "totalMaintMargin", "totalWalletBalance", "totalUnrealizedProfit",
    "totalMarginBalance", "totalPositionInitialMargin", "totalOpenOrderInitialMargin",
    "totalCrossWalletBalance", "totalCrossUnPnl", "availableBalance", "maxWithdrawAmount",
    "assets", "positions",
}  # fmt: skip
POSITION_KEYS = {
    "symbol", "positionSide", "positionAmt", "unrealizedProfit", "isolatedMargin", "notional",
    "isolatedWallet", "initialMargin", "maintMargin", "updateTime",
}  # fmt: skip
RISK_KEYS = {
    "symbol", "positionSide", "positionAmt", "entryPrice", "breakEvenPrice", "markPrice",
    "unRealizedProfit", "liquidationPrice", "isolatedMargin", "notional", "marginAsset",
    "isolatedWallet", "initialMargin", "maintMargin", "positionInitialMargin",
    "openOrderInitialMargin", "adl", "bidNotional", "askNotional", "updateTime",
}  # fmt: skip
TRADE_KEYS = {
    "buyer", "commission", "commissionAsset", "id", "maker", "orderId", "price", "qty", "quoteQty",
    "realizedPnl", "side", "positionSide", "symbol", "time",
}  # fmt: skip


def test_order_replies_have_no_average_price_and_queries_have(exchange: Exchange) -> None:
    params = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&newOrderRespType=RESULT"
    placed = _ask(exchange, "POST", "/fapi/v1/order", params)
    queried = _ask(exchange, "GET", "/fapi/v1/order", f"symbol=BTCUSDT&orderId={placed['orderId']}")

    assert placed.keys() == ORDER_KEYS
    assert queried.keys() == ORDER_KEYS - {"cumQty"} | {"avgPrice", "cumQuote", "time"}
    assert (placed["status"], placed["executedQty"]) == ("FILLED", "0.010")
    assert (queried["avgPrice"], queried["cumQuote"]) == ("60000.00", "600")


def test_an_ack_tells_nothing_of_the_fill(exchange: Exchange) -> None:
    params = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010"

    placed = _ask(exchange, "POST", "/fapi/v1/order", params)

    assert (placed["status"], placed["executedQty"]) == ("NEW", "0.000")


def test_a_conditional_order_has_the_shapes_of_the_algo_service(exchange: Exchange) -> None:
    exchange.buy("0.1")
    params = (
        "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=59000"
        "&closePosition=true&clientAlgoId=stop-1"
    )
    placed = _ask(exchange, "POST", "/fapi/v1/algoOrder", params)
    queried = _ask(exchange, "GET", "/fapi/v1/algoOrder", "clientAlgoId=stop-1")
    listed = _ask(exchange, "GET", "/fapi/v1/openAlgoOrders", "symbol=BTCUSDT")
    plain = _ask(exchange, "GET", "/fapi/v1/openOrders")
    cancelled = _ask(exchange, "DELETE", "/fapi/v1/algoOrder", "clientAlgoId=stop-1")

    assert placed.keys() == ALGO_KEYS
    assert queried.keys() == ALGO_KEYS | {
        "actualOrderId", "actualPrice", "actualQty", "actualType", "tpTriggerPrice", "tpPrice",
        "slTriggerPrice", "slPrice", "tpOrderType",
    }  # fmt: skip
    assert (placed["timeInForce"], placed["closePosition"], placed["reduceOnly"]) == (
        "GTE_GTC", True, True,
    )  # fmt: skip
    assert (listed, plain) == ([queried], [])
    assert cancelled["code"] == "200"


def test_account_and_positions_have_the_shapes_of_v3(exchange: Exchange) -> None:
    exchange.leverage(10)
    exchange.buy("0.1")

    account = _ask(exchange, "GET", "/fapi/v3/account")
    (risk,) = _ask(exchange, "GET", "/fapi/v3/positionRisk")
    (balance,) = _ask(exchange, "GET", "/fapi/v3/balance")
    (trade,) = _ask(exchange, "GET", "/fapi/v1/userTrades", "symbol=BTCUSDT")

    assert account.keys() == ACCOUNT_KEYS
    assert account["positions"][0].keys() == POSITION_KEYS
    assert risk.keys() == RISK_KEYS
    assert trade.keys() == TRADE_KEYS
    assert account["totalWalletBalance"] == balance["balance"] == "9997.00000000"
    assert account["availableBalance"] == balance["availableBalance"] == "9397.00000000"
    assert (risk["positionAmt"], risk["entryPrice"], risk["breakEvenPrice"]) == (
        "0.100", "60000.00", "60030.00",
    )  # fmt: skip
    assert risk["liquidationPrice"].startswith("54216.86")
    assert (trade["quoteQty"], trade["commission"]) == ("6000.00000", "3.00000000")


def test_the_older_account_versions_say_leverage_and_margin_type(exchange: Exchange) -> None:
    exchange.buy("0.1")

    account = _ask(exchange, "GET", "/fapi/v2/account")
    (risk,) = _ask(exchange, "GET", "/fapi/v2/positionRisk", "symbol=BTCUSDT")
    (config,) = _ask(exchange, "GET", "/fapi/v1/symbolConfig", "symbol=BTCUSDT")

    assert account["positions"][0]["leverage"] == risk["leverage"] == "20"
    assert risk["marginType"] == "isolated"
    assert (config["marginType"], config["leverage"]) == ("ISOLATED", 20)


def test_what_nobody_holds_is_not_in_position_risk(exchange: Exchange) -> None:
    assert _ask(exchange, "GET", "/fapi/v3/positionRisk", "symbol=BTCUSDT") == []


def test_the_statement_adds_up_to_the_wallet(exchange: Exchange) -> None:
    exchange.buy("0.1")
    exchange.sell("0.1")

    lines = _ask(exchange, "GET", "/fapi/v1/income")

    assert [line["incomeType"] for line in lines] == ["TRANSFER", "COMMISSION", "COMMISSION"]
    assert sum(float(line["income"]) for line in lines) == 9994.0


def test_market_answers_have_the_real_shapes(exchange: Exchange) -> None:
    def get(path: str, query: str = "symbol=BTCUSDT") -> Any:
        return json.loads(exchange.call("GET", f"/fapi/v1/{path}?{query}").body)

    exchange.play(5)
    rows = get("klines", "symbol=BTCUSDT&interval=1m&limit=3")
    index, day, book = get("premiumIndex"), get("ticker/24hr"), get("ticker/bookTicker")
    info = get("exchangeInfo", "")

    assert [len(row) for row in rows] == [12, 12, 12]
    assert rows[0][1] == "60000.00"
    assert rows[-1][6] > exchange.venue.now_ms
    assert index["markPrice"] == "60000.00000000"
    assert index["nextFundingTime"] == START_MS + 8 * 3_600_000
    assert (day["lastPrice"], day["priceChangePercent"]) == ("60000.00", "0.000")
    assert (book["bidPrice"], book["askPrice"]) == ("59999.90", "60000.10")
    assert {limit["rateLimitType"] for limit in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}
    assert get("time", "")["serverTime"] == exchange.venue.now_ms


def test_the_ban_names_the_exchanges_own_time_at_any_speed() -> None:
    at = Instant(now_ms=1_000_000, due_ms=1_000_000, safety_ms=50_000, speed=60.0)

    assert at.exchange_ms(50_000 + 1_000) == 1_000_000 + 60_000


def test_a_symbol_in_chinese_script_trades(tmp_path: Path) -> None:
    symbol = "币安人生USDT"
    raw = copy.deepcopy(dict(own_table()["DOGEUSDT"].raw)) | {"symbol": symbol, "pair": symbol}
    info = tmp_path / "info.json"
    info.write_text(json.dumps({"symbols": [raw]}, ensure_ascii=False), encoding="utf-8")
    market = open_market(exchange_info=info)
    state = ExchangeState()
    state.open_account(10_000 * 10**8, START_MS)
    venue = Venue(market.feed, market.table, state, START_MS)
    params = f"symbol={quote(symbol)}&side=BUY&type=MARKET&quantity=1000&timestamp={START_MS}"
    signature = hmac.new(KEYS.api_secret.encode(), params.encode(), hashlib.sha256).hexdigest()
    call = Call.of_target(
        "POST",
        f"/fapi/v1/order?{params}&signature={signature}",
        body=b"",
        api_key=KEYS.api_key,
        at=Instant(now_ms=START_MS, due_ms=START_MS, safety_ms=START_MS, speed=1.0),
    )

    answer = Api(venue, KEYS, ListenKeys(KEYS)).answer(call)

    assert answer.status == 200, answer.body
    assert state.position(symbol).qty == 1000 * 10**8
    assert source_of(venue, f"{symbol.lower()}@kline_1m") is not None


def test_the_statement_can_be_asked_for_by_kind_and_time(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, flat("60000", 30))
    exchange.buy("0.1")
    first_ms = exchange.venue.now_ms
    exchange.play(2)
    exchange.sell("0.1")
    second_ms = exchange.venue.now_ms

    def kinds(query: str) -> list[tuple[str, int]]:
        lines = _ask(exchange, "GET", "/fapi/v1/income", query)
        return [(line["incomeType"], line["time"]) for line in lines]

    paid, again = ("COMMISSION", first_ms), ("COMMISSION", second_ms)
    assert kinds("incomeType=COMMISSION") == [paid, again]
    assert kinds(f"startTime={second_ms}") == [again]
    assert kinds(f"incomeType=COMMISSION&endTime={second_ms - 1}") == [paid]
    assert kinds(f"incomeType=FUNDING_FEE&startTime={first_ms}") == []
    assert kinds(f"startTime={first_ms + 1}&endTime={second_ms - 1}") == []
