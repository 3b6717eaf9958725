"""Market and account requests: what is asked, and how answers become typed values."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.errors import ProtocolError
from milo.intervals import INTERVALS, back_from
from milo.wire import account, market
from milo.wire.dialects import ASTER, BINANCE, DIALECTS, VENUES, Dialect, dialect_named
from milo.wire.limits import LimitKind
from milo.wire.rest import Request, Security, timed

EARLIEST = 1_546_300_800_000
SYMBOL: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "contractType": "PERPETUAL",
    "status": "TRADING",
    "onboardDate": 1569398400000,
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "liquidationFee": "0.012500",
    "filters": [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": "261.10",
            "maxPrice": "809484",
            "tickSize": "0.10",
        },
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "120"},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
        {"filterType": "PERCENT_PRICE", "multiplierDown": "0.95", "multiplierUp": "1.05"},
    ],
}


def body_of(value: object) -> bytes:
    return json.dumps(value).encode()


def params_of(request: Request[Any] | None) -> dict[str, str]:
    assert request is not None
    return dict(request.params)


# --- exchangeInfo


def test_an_instrument_keeps_the_exact_decimals_of_its_filters() -> None:
    info = market.read_exchange_info(body_of({"symbols": [SYMBOL]}))

    instrument = info.instruments["BTCUSDT"]
    assert instrument.tick == Decimal("0.10")
    assert instrument.market_max_qty == Decimal("120")
    assert instrument.min_notional == Decimal("50")
    assert instrument.liquidation_fee == Decimal("0.012500")
    assert instrument.is_trading


@pytest.mark.parametrize(
    "name",
    ["", "BTC\nUSDT", "\x1b[31mUSDT", "<img src=x>", "../../etc", "A B", "\u202eUSDT", "X" * 65],
)
def test_a_symbol_with_an_impossible_name_is_left_out(name: str) -> None:
    body = body_of({"symbols": [SYMBOL | {"symbol": name}, SYMBOL]})

    info = market.read_exchange_info(body)

    assert list(info.instruments) == ["BTCUSDT"]
    assert info.skipped == (name,)


@pytest.mark.parametrize("name", ["1000SHIBUSDT", "币安人生USDT", "BTCUSDT_250926", "비트USDT"])
def test_symbols_are_of_letters_of_any_script(name: str) -> None:
    info = market.read_exchange_info(body_of({"symbols": [SYMBOL | {"symbol": name}]}))

    assert list(info.instruments) == [name]


def test_an_unknown_status_is_kept_and_is_not_trading() -> None:
    body = body_of({"symbols": [SYMBOL | {"status": "TRADING_HALT"}]})

    instrument = market.read_exchange_info(body).instruments["BTCUSDT"]

    assert instrument.status == "TRADING_HALT"
    assert not instrument.is_trading


def test_a_market_filter_that_is_switched_off_leaves_the_ordinary_one() -> None:
    off = {"filterType": "MARKET_LOT_SIZE", "stepSize": "0", "minQty": "0", "maxQty": "0"}
    filters = [off if row["filterType"] == "MARKET_LOT_SIZE" else row for row in SYMBOL["filters"]]

    info = market.read_exchange_info(body_of({"symbols": [SYMBOL | {"filters": filters}]}))

    instrument = info.instruments["BTCUSDT"]
    assert instrument.market_step == Decimal("0.001")
    assert instrument.market_max_qty == Decimal("1000")


@pytest.mark.parametrize("missing", ["PRICE_FILTER", "LOT_SIZE"])
def test_a_symbol_without_its_rules_is_left_out_and_named(missing: str) -> None:
    filters = [row for row in SYMBOL["filters"] if row["filterType"] != missing]
    body = body_of({"symbols": [SYMBOL | {"filters": filters, "symbol": "ODDUSDT"}, SYMBOL]})

    info = market.read_exchange_info(body)

    assert set(info.instruments) == {"BTCUSDT"}
    assert info.skipped == ("ODDUSDT",)


def test_quarterly_contracts_are_no_instruments_of_ours() -> None:
    body = body_of({"symbols": [SYMBOL | {"contractType": "CURRENT_QUARTER"}]})

    info = market.read_exchange_info(body)

    assert (info.instruments, info.skipped) == ({}, ())


def test_limits_are_learned_and_unknown_kinds_are_left_to_the_venue() -> None:
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "CONNECTIONS", "interval": "MINUTE", "intervalNum": 5, "limit": 300},
        {"rateLimitType": "ORDERS", "interval": "FORTNIGHT", "intervalNum": 1, "limit": 1},
    ]

    info = market.read_exchange_info(body_of({"symbols": [], "rateLimits": limits}))

    assert [(limit.kind, limit.window_s, limit.cap) for limit in info.limits] == [
        (LimitKind.WEIGHT, 60, 6000),
        (LimitKind.ORDERS, 10, 300),
    ]


@pytest.mark.parametrize(
    ("name", "symbols", "chinese"),
    [
        ("exchangeInfo_usdm_testnet_2025-11-26.json.gz", 639, 2),
        ("exchangeInfo_asterdex_2025-12-23.json.gz", 256, 0),
    ],
)
def test_recorded_exchange_infos_parse_whole(
    shared_data: Path, name: str, symbols: int, chinese: int
) -> None:
    info = market.read_exchange_info(
        gzip.decompress((shared_data / "exchange" / name).read_bytes())
    )

    assert len(info.instruments) == symbols
    assert sum(not symbol.isascii() for symbol in info.instruments) == chinese
    assert info.skipped == ()
    assert len(info.limits) == 3
    trading = [row for row in info.instruments.values() if row.is_trading]
    assert all(row.tick > 0 and row.step > 0 for row in trading)


# --- candles


def kline(open_ms: int, close: str = "101.5") -> list[object]:
    prices = ["100.0", "102.0", "99.5", close]
    return [open_ms, *prices, "12.5", open_ms + 59_999, "1250.0", 42, "6.0", "600.0", "0"]


def test_candles_become_rows_of_numbers() -> None:
    rows = market.read_klines(body_of([kline(0), kline(60_000)]))

    assert rows == [
        (0, 100.0, 102.0, 99.5, 101.5, 12.5, 59_999),
        (60_000, 100.0, 102.0, 99.5, 101.5, 12.5, 119_999),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [kline(0, close="NaN")],
        [kline(0, close="inf")],
        [kline(0, close="")],
        [kline(60_000), kline(0)],
        [kline(0), kline(0)],
        [[0, "1"]],
        {"code": 1},
    ],
)
def test_what_is_not_a_page_of_candles_is_an_error(rows: object) -> None:
    with pytest.raises(ProtocolError, match=r"candle|klines"):
        market.read_klines(body_of(rows))


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)],
)
def test_a_page_of_candles_weighs_by_its_limit(limit: int, weight: int) -> None:
    request = market.klines("BTCUSDT", "1h", limit=limit)

    assert request is not None
    assert request.cost.weight == weight


def test_candles_before_2019_are_not_asked_for() -> None:
    clamped = market.klines("BTCUSDT", "1h", start_ms=0, end_ms=EARLIEST + 3_600_000)
    unclamped = market.klines("BTCUSDT", "1h", start_ms=EARLIEST + 1)

    assert params_of(clamped)["startTime"] == str(EARLIEST)
    assert params_of(unclamped)["startTime"] == str(EARLIEST + 1)
    assert market.klines("BTCUSDT", "1h", end_ms=EARLIEST - 1) is None


@settings(deadline=None)
@given(
    st.sampled_from(INTERVALS),
    st.integers(min_value=EARLIEST, max_value=EARLIEST + 10**12),
    st.integers(min_value=1, max_value=1500),
)
def test_a_page_that_ends_at_a_time_never_reaches_before_2019(
    interval: str, end_ms: int, limit: int
) -> None:
    params = params_of(market.klines("BTCUSDT", interval, end_ms=end_ms, limit=limit))

    reaches_back = back_from(end_ms, interval, limit) < EARLIEST
    assert params.get("startTime") == (str(EARLIEST) if reaches_back else None)
    assert params["endTime"] == str(end_ms)


@pytest.mark.parametrize("limit", [0, 1501, -1])
def test_a_limit_that_the_venue_refuses_is_refused_here(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        market.klines("BTCUSDT", "1h", limit=limit)


@pytest.mark.parametrize("interval", ["1s", "1H", "", "7m"])
def test_an_unknown_interval_is_refused_here(interval: str) -> None:
    with pytest.raises(ValueError, match="interval"):
        market.klines("BTCUSDT", interval)


# --- mark price and funding


def test_a_mark_price_without_funding_rate_pays_none() -> None:
    row = {
        "symbol": "BTCUSDT_260327", "markPrice": "60000.1", "indexPrice": "60000",
        "lastFundingRate": "", "nextFundingTime": 0, "time": 5, "interestRate": "",
    }  # fmt: skip

    event = market.mark_price("BTCUSDT_260327").parse(body_of(row))

    assert event.mark == Decimal("60000.1")
    assert event.funding_rate == 0


def test_funding_rates_keep_their_order_and_ignore_unknown_keys() -> None:
    rows = [
        {"symbol": "BTCUSDT", "fundingRate": "0.00010000", "fundingTime": 1, "rateType": "Regular"},
        {"symbol": "BTCUSDT", "fundingRate": "-0.00020000", "fundingTime": 2, "markPrice": ""},
    ]

    request = market.funding_rates("BTCUSDT")

    assert [rate.rate for rate in request.parse(body_of(rows))] == [
        Decimal("0.0001"),
        Decimal("-0.0002"),
    ]
    assert (request.cost.weight, request.cost.funding) == (0, 1)


# --- account


ACCOUNT = {
    "totalWalletBalance": "126.72", "totalUnrealizedProfit": "1.5", "availableBalance": "100.25",
    "assets": [
        {"asset": "BNB", "walletBalance": "9", "unrealizedProfit": "0", "availableBalance": "9"},
        {"asset": "USDT", "walletBalance": "23.72469206", "unrealizedProfit": "-0.5",
         "availableBalance": "20.1"},
    ],
    "positions": [],
}  # fmt: skip


def test_the_balance_is_the_usdt_row() -> None:
    found = account.balance(BINANCE).parse(body_of(ACCOUNT))

    assert (found.wallet, found.available, found.unrealized) == (
        Decimal("23.72469206"),
        Decimal("20.1"),
        Decimal("-0.5"),
    )


def test_the_balance_is_the_total_where_no_asset_is_listed() -> None:
    found = account.balance(BINANCE).parse(body_of(ACCOUNT | {"assets": []}))

    assert (found.wallet, found.unrealized) == (Decimal("126.72"), Decimal("1.5"))


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e999999", "", "x"])
def test_absurd_numbers_are_errors(bad: str) -> None:
    with pytest.raises(ProtocolError, match="account"):
        account.balance(BINANCE).parse(body_of(ACCOUNT | {"totalWalletBalance": bad}))


def test_positions_are_signed_and_flat_rows_are_left_out() -> None:
    row = {
        "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.100",
        "entryPrice": "60000.0", "breakEvenPrice": "59970", "markPrice": "60100.5",
        "unRealizedProfit": "-10.05", "liquidationPrice": "65737.05", "isolatedMargin": "589.95",
        "notional": "-6010.05", "updateTime": 77, "adl": 2,
    }  # fmt: skip
    flat = row | {"symbol": "ETHUSDT", "positionAmt": "0.000"}

    found = account.positions(BINANCE).parse(body_of([flat, row]))

    (position,) = found
    assert position.qty == Decimal("-0.1")
    assert position.unrealized == Decimal("-10.05")
    assert position.liquidation_price == Decimal("65737.05")
    assert position.update_ms == 77


@pytest.mark.parametrize(
    ("dialect", "row"),
    [
        (BINANCE, {"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 21}),
        (
            ASTER,
            {
                "symbol": "BTCUSDT", "marginType": "isolated", "leverage": "21",
                "positionAmt": "0", "entryPrice": "0", "markPrice": "1", "unRealizedProfit": "0",
                "liquidationPrice": "0",
            },
        ),
    ],
)  # fmt: skip
def test_a_symbols_settings_come_from_where_the_dialect_keeps_them(
    dialect: Dialect, row: dict[str, object]
) -> None:
    config = account.symbol_config(dialect, "BTCUSDT").parse(body_of([row]))

    assert (config.leverage, config.is_isolated) == (21, True)


@pytest.mark.parametrize(
    "rows",
    [
        [{"symbol": "BTCUSDT", "marginType": "PORTFOLIO", "leverage": 5}],
        [{"symbol": "ETHUSDT", "marginType": "ISOLATED", "leverage": 5}],
        [],
    ],
)
def test_settings_that_are_unknown_or_missing_are_errors(rows: list[object]) -> None:
    with pytest.raises(ProtocolError, match="BTCUSDT"):
        account.symbol_config(BINANCE, "BTCUSDT").parse(body_of(rows))


def test_brackets_are_exact_although_the_venue_sends_json_numbers() -> None:
    body = (
        b'[{"symbol":"0GUSDT","brackets":['
        b'{"bracket":2,"initialLeverage":25,"notionalCap":10000,"notionalFloor":5000,'
        b'"maintMarginRatio":0.02,"cum":25.0},'
        b'{"bracket":1,"initialLeverage":50,"notionalCap":5000,"notionalFloor":0,'
        b'"maintMarginRatio":0.015,"cum":0.0}]}]'
    )

    table = account.read_leverage_brackets(body)["0GUSDT"]

    assert [step.maint_ratio for step in table] == [Decimal("0.015"), Decimal("0.02")]
    assert [step.max_leverage for step in table] == [50, 25]


def test_recorded_brackets_parse_whole_and_without_holes(shared_data: Path) -> None:
    path = shared_data / "exchange" / "leverageBracket_usdm_freqtrade-2026.9.json.gz"

    tables = account.read_leverage_brackets(gzip.decompress(path.read_bytes()))

    assert len(tables) == 907
    for table in tables.values():
        assert table[0].floor == 0
        assert [step.cap for step in table[:-1]] == [step.floor for step in table[1:]]


@pytest.mark.parametrize(
    ("request_", "method", "path", "params", "weight"),
    [
        (account.set_leverage("BTCUSDT", 7), "POST", "/fapi/v1/leverage",
         {"symbol": "BTCUSDT", "leverage": "7"}, 1),
        (account.set_isolated("BTCUSDT", True), "POST", "/fapi/v1/marginType",
         {"symbol": "BTCUSDT", "marginType": "ISOLATED"}, 1),
        (account.set_isolated("BTCUSDT", False), "POST", "/fapi/v1/marginType",
         {"symbol": "BTCUSDT", "marginType": "CROSSED"}, 1),
        (account.set_hedge_mode(False), "POST", "/fapi/v1/positionSide/dual",
         {"dualSidePosition": "false"}, 1),
        (account.is_hedge_mode(), "GET", "/fapi/v1/positionSide/dual", {}, 30),
        (account.commission_rate("BTCUSDT"), "GET", "/fapi/v1/commissionRate",
         {"symbol": "BTCUSDT"}, 20),
        (account.leverage_brackets(), "GET", "/fapi/v1/leverageBracket", {}, 1),
        (account.balance(BINANCE), "GET", "/fapi/v3/account", {}, 5),
        (account.positions(BINANCE), "GET", "/fapi/v3/positionRisk", {}, 5),
        (account.balance(ASTER), "GET", "/fapi/v4/account", {}, 10),
        (account.positions(ASTER), "GET", "/fapi/v2/positionRisk", {}, 10),
    ],
)  # fmt: skip
def test_account_requests_are_signed_and_weighed(
    request_: Request[Any], method: str, path: str, params: dict[str, str], weight: int
) -> None:
    assert (request_.method, request_.path, params_of(request_)) == (method, path, params)
    assert request_.security is Security.SIGNED
    assert request_.cost.weight == weight


def test_listen_key_requests_carry_the_key_header_only() -> None:
    requests = (
        account.new_listen_key(), account.keep_listen_key("k"), account.close_listen_key("k")
    )  # fmt: skip

    assert [request.method for request in requests] == ["POST", "PUT", "DELETE"]
    assert {request.security for request in requests} == {Security.KEY}
    assert requests[0].parse(b'{"listenKey":"abc"}') == "abc"


def test_a_signed_request_ends_with_window_and_timestamp() -> None:
    assert timed((("symbol", "X"),), 1_700_000_000_000) == (
        ("symbol", "X"),
        ("recvWindow", "5000"),
        ("timestamp", "1700000000000"),
    )


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ProtocolError, match="serverTime"):
        market.server_time().parse(b"{}")


# --- dialects


def test_dialects_are_found_by_name_and_unknown_ones_name_the_known() -> None:
    assert [dialect_named(dialect.name) for dialect in DIALECTS] == list(DIALECTS)
    with pytest.raises(ValueError, match="binance, aster"):
        dialect_named("kraken")


def test_the_demo_venue_is_not_real_and_the_others_are() -> None:
    assert {name: venue.is_real for name, venue in VENUES.items()} == {
        "binance": True,
        "binance-demo": False,
        "aster": True,
    }
    assert all(venue.rest_url.startswith("https://") for venue in VENUES.values())
    assert all(venue.ws_url.startswith("wss://") for venue in VENUES.values())
