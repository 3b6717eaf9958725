"""Stream frames become events; what we do not use is ignored, what does not fit is an error."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.errors import ProtocolError
from milo.events import (
    AccountEvent,
    AlgoEvent,
    BookTickerEvent,
    IgnoredEvent,
    KlineEvent,
    LeverageEvent,
    ListenKeyExpired,
    MarkPriceEvent,
    OrderEvent,
)
from milo.model import Candle, OrderStatus, OrderType, Side
from milo.wire.dialects import ASTER, BINANCE
from milo.wire.streams import (
    book_ticker_stream,
    kline_stream,
    mark_price_stream,
    market_paths,
    read_frame,
    user_path,
)

KLINE: dict[str, Any] = {
    "e": "kline", "E": 1638747660000, "s": "BTCUSDT",
    "k": {
        "t": 1638747600000, "T": 1638747659999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200,
        "o": "60010.1", "c": "60020.5", "h": "60030.9", "l": "60000.0", "v": "1000.25", "n": 100,
        "x": True, "q": "1.0", "V": "500", "Q": "0.5", "B": "123456",
    },
}  # fmt: skip

ORDER: dict[str, Any] = {
    "s": "BTCUSDT", "c": "m1-e", "S": "SELL", "o": "MARKET", "f": "GTC", "q": "0.010", "p": "0",
    "ap": "60000.5", "sp": "0", "x": "TRADE", "X": "FILLED", "i": 8886774, "l": "0.004",
    "z": "0.010", "L": "60001.0", "n": "0.12000200", "N": "USDT", "T": 1568879465651,
    "t": 12345, "b": "0", "a": "9.91", "m": False, "R": True, "wt": "CONTRACT_PRICE",
    "ot": "MARKET", "ps": "BOTH", "cp": False, "rp": "-3.25", "pP": False, "V": "EXPIRE_MAKER",
    "pm": "NONE", "gtd": 0, "er": "0",
}  # fmt: skip

ALGO: dict[str, Any] = {
    "caid": "m1-s", "aid": 2148719, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT",
    "S": "SELL", "ps": "BOTH", "f": "GTE_GTC", "q": "0", "X": "NEW", "ai": "", "ap": "0.00000",
    "aq": "0.00000", "act": "0", "tp": "57000", "p": "0", "V": "NONE", "wt": "CONTRACT_PRICE",
    "pm": "NONE", "cp": True, "pP": False, "R": True, "tt": 0, "gtd": 0, "rm": "", "ia": False,
}  # fmt: skip


def text_of(value: object) -> bytes:
    return json.dumps(value).encode()


def order_frame(**changes: Any) -> bytes:
    order = {key: value for key, value in (ORDER | changes).items() if value is not ...}
    return text_of({"e": "ORDER_TRADE_UPDATE", "E": 9, "T": 8, "o": order})


def algo_frame(**changes: Any) -> bytes:
    return text_of({"e": "ALGO_UPDATE", "T": 8, "E": 9, "o": ALGO | changes})


# --- market data


def test_a_kline_frame_becomes_a_candle() -> None:
    assert read_frame(text_of(KLINE)) == KlineEvent(
        symbol="BTCUSDT",
        interval="1m",
        candle=Candle(1638747600000, 60010.1, 60030.9, 60000.0, 60020.5, 1000.25),
        is_closed=True,
        event_ms=1638747660000,
    )


def test_plain_wrapped_and_decoded_frames_are_the_same_event() -> None:
    wrapped = text_of({"stream": "btcusdt@kline_1m", "data": KLINE})

    assert read_frame(wrapped) == read_frame(text_of(KLINE)) == read_frame(json.dumps(KLINE))


def test_a_symbol_in_chinese_script_is_read() -> None:
    event = read_frame(json.dumps(KLINE | {"s": "币安人生USDT"}, ensure_ascii=False).encode())

    assert isinstance(event, KlineEvent)
    assert event.symbol == "币安人生USDT"


def test_a_mark_price_frame_is_read_with_and_without_funding() -> None:
    frame = {
        "e": "markPriceUpdate", "E": 1562305380000, "s": "BTCUSDT", "p": "11794.15000000",
        "ap": "1", "i": "11784.62659091", "P": "11784.25", "r": "0.00038167", "T": 1562306400000,
        "st": 1,
    }  # fmt: skip

    assert read_frame(text_of(frame)) == MarkPriceEvent(
        symbol="BTCUSDT",
        mark=Decimal("11794.15"),
        index=Decimal("11784.62659091"),
        funding_rate=Decimal("0.00038167"),
        next_funding_ms=1562306400000,
        event_ms=1562305380000,
    )
    without = read_frame(text_of(frame | {"r": ""}))
    assert isinstance(without, MarkPriceEvent)
    assert without.funding_rate == 0


def test_a_book_ticker_frame_is_read() -> None:
    frame = {
        "e": "bookTicker", "u": 400900217, "E": 1568014460893, "T": 1568014460891,
        "s": "BNBUSDT", "b": "25.35190000", "B": "31.21", "a": "25.3652", "A": "40.66", "ps": "x",
    }  # fmt: skip

    assert read_frame(text_of(frame)) == BookTickerEvent(
        symbol="BNBUSDT",
        bid=Decimal("25.3519"),
        bid_qty=Decimal("31.21"),
        ask=Decimal("25.3652"),
        ask_qty=Decimal("40.66"),
        event_ms=1568014460893,
    )


def test_recorded_frames_of_the_exchange_are_read_without_error(shared_data: Path) -> None:
    path = shared_data / "market" / "BTCUSDT_ws_combined_20240808_first20k.jsonl.gz"
    kinds: Counter[str] = Counter()

    for line in gzip.decompress(path.read_bytes()).splitlines():
        event = read_frame(line.split(b" ", 1)[1])
        kinds[event.name if isinstance(event, IgnoredEvent) else type(event).__name__] += 1

    assert kinds == {"BookTickerEvent": 15_377, "depthUpdate": 1_598, "trade": 3_024, "reply": 1}


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (b'{"result":null,"id":1}', "reply"),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', "reply"),
        (b'{"e":"aggTrade","E":1}', "aggTrade"),
        (b'{"e":"TRADE_LITE","E":1,"s":"BTCUSDT"}', "TRADE_LITE"),
        (b'{"e":"MARGIN_CALL"}', "MARGIN_CALL"),
        (b'{"stream":"!ticker@arr","data":[{"e":"24hrTicker"}]}', "!ticker@arr"),
        (b'[{"e":"24hrTicker"}]', "list"),
        (b"{}", "reply"),
    ],
)
def test_what_we_have_no_use_for_is_ignored_by_name(frame: bytes, name: str) -> None:
    assert read_frame(frame) == IgnoredEvent(name=name)


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"junk", b"{", b"[1,", b'"text"', b"1", b"null", b"\xff\xfe", b'{"e":5}',
        b'{"e":"kline"}',
        text_of(KLINE | {"k": KLINE["k"] | {"c": "NaN"}}),
        text_of(KLINE | {"k": KLINE["k"] | {"c": 5}}),
        text_of(KLINE | {"k": {key: KLINE["k"][key] for key in "toclhvi"}}),
        b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1}}',
    ],
)  # fmt: skip
def test_frames_that_do_not_fit_are_protocol_errors(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_frame(frame)


@settings(deadline=None)
@given(st.binary())
def test_no_frame_makes_the_reader_fail_in_another_way(frame: bytes) -> None:
    with suppress(ProtocolError):
        read_frame(frame)


# --- the account's events


def test_an_execution_carries_its_fill() -> None:
    event = read_frame(order_frame())

    assert isinstance(event, OrderEvent)
    assert (event.execution, event.is_liquidation, event.event_ms) == ("TRADE", False, 9)
    assert event.report.avg_price == Decimal("60000.5")
    assert event.report.status is OrderStatus.FILLED
    assert event.report.is_reduce_only
    assert event.fill is not None
    assert (event.fill.trade_id, event.fill.venue_id) == (12345, 8886774)
    assert (event.fill.qty, event.fill.price) == (Decimal("0.004"), Decimal("60001"))
    assert (event.fill.fee, event.fill.realized) == (Decimal("0.12000200"), Decimal("-3.25"))
    assert (event.fill.side, event.fill.is_maker) == (Side.SELL, False)


def test_a_fill_without_fee_fields_cost_nothing() -> None:
    event = read_frame(order_frame(n=..., N=..., rp=...))

    assert isinstance(event, OrderEvent)
    assert event.fill is not None
    assert (event.fill.fee, event.fill.fee_asset, event.fill.realized) == (0, "USDT", 0)


@pytest.mark.parametrize(
    ("execution", "status"),
    [
        ("NEW", "NEW"),
        ("CANCELED", "CANCELED"),
        ("EXPIRED", "EXPIRED"),
        ("EXPIRED", "EXPIRED_IN_MATCH"),
        ("AMENDMENT", "NEW"),
    ],
)
def test_other_order_events_carry_no_fill(execution: str, status: str) -> None:
    event = read_frame(order_frame(x=execution, X=status, l="0", L="0", t=0, z="0", ap="0"))

    assert isinstance(event, OrderEvent)
    assert event.fill is None
    assert event.report.avg_price is None
    assert event.report.status == status


@pytest.mark.parametrize(
    "client_id", ["autoclose-1591702613943", "adl_autoclose", "settlement_autoclose-77"]
)
def test_orders_that_the_exchange_forced_are_marked(client_id: str) -> None:
    event = read_frame(order_frame(c=client_id))

    assert isinstance(event, OrderEvent)
    assert event.is_liquidation


def test_a_liquidation_order_is_read_although_nobody_can_send_its_type() -> None:
    event = read_frame(order_frame(c="autoclose-1", o="LIQUIDATION", x="CALCULATED", X="FILLED"))

    assert isinstance(event, OrderEvent)
    assert event.is_liquidation
    assert event.report.type is OrderType.MARKET
    assert event.fill is not None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"X": "HALTED"}, "OrderStatus 'HALTED'"),
        ({"o": "ICEBERG"}, "OrderType 'ICEBERG'"),
        ({"x": "TELEPORT"}, "execution type 'TELEPORT'"),
        ({"S": "HOLD"}, "HOLD"),
        ({"q": "NaN"}, "number"),
        ({"i": ...}, "`i`"),
    ],
)
def test_an_unknown_word_in_an_order_event_is_a_named_error(
    changes: dict[str, Any], word: str
) -> None:
    with pytest.raises(ProtocolError, match=word):
        read_frame(order_frame(**changes))


def test_a_new_conditional_order_is_read() -> None:
    event = read_frame(algo_frame())

    assert isinstance(event, AlgoEvent)
    assert event.report.is_conditional
    assert (event.report.client_id, event.report.venue_id) == ("m1-s", 2148719)
    assert (event.report.status, event.report.trigger_price) == (OrderStatus.NEW, Decimal(57000))
    assert (event.report.is_close_position, event.report.triggered_venue_id) == (True, None)


@pytest.mark.parametrize("sent", ["8886774", 8886774])
def test_a_triggered_conditional_order_names_the_order_it_became(sent: str | int) -> None:
    event = read_frame(algo_frame(X="FINISHED", ai=sent, aq="0.010", ap="56990.5"))

    assert isinstance(event, AlgoEvent)
    assert event.report.triggered_venue_id == 8886774
    assert event.report.filled_qty == Decimal("0.010")
    assert event.report.avg_price == Decimal("56990.5")


def test_a_rejected_conditional_order_says_why() -> None:
    event = read_frame(algo_frame(X="REJECTED", rm="Margin is insufficient."))

    assert isinstance(event, AlgoEvent)
    assert event.report.status is OrderStatus.REJECTED
    assert event.reject_reason == "Margin is insufficient."


@pytest.mark.parametrize(
    "status",
    ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "CANCELED", "EXPIRED", "REJECTED"],
)
def test_every_state_of_the_algo_service_is_known(status: str) -> None:
    event = read_frame(algo_frame(X=status))

    assert isinstance(event, AlgoEvent)
    assert event.report.status == status


def test_an_account_update_carries_wallet_and_changed_positions() -> None:
    frame = {
        "e": "ACCOUNT_UPDATE", "E": 9, "T": 8,
        "a": {
            "m": "ORDER",
            "B": [
                {"a": "BNB", "wb": "1", "cw": "1", "bc": "0"},
                {"a": "USDT", "wb": "122624.12345678", "cw": "100.12", "bc": "50.5"},
            ],
            "P": [
                {"s": "BTCUSDT", "pa": "-0.5", "ep": "60000", "bep": "59970", "cr": "200",
                 "up": "-1.25", "mt": "isolated", "iw": "3000.5", "ps": "BOTH"},
            ],
        },
    }  # fmt: skip

    event = read_frame(text_of(frame))

    assert isinstance(event, AccountEvent)
    assert (event.reason, event.wallet, event.change) == (
        "ORDER",
        Decimal("122624.12345678"),
        Decimal("50.5"),
    )
    (position,) = event.positions
    assert (position.symbol, position.qty) == ("BTCUSDT", Decimal("-0.5"))
    assert (position.unrealized, position.isolated_wallet) == (Decimal("-1.25"), Decimal("3000.5"))


def test_an_account_update_without_usdt_or_positions_says_nothing_about_them() -> None:
    frame = {
        "e": "ACCOUNT_UPDATE", "E": 9, "T": 8,
        "a": {"m": "FUNDING_FEE", "B": [{"a": "BNB", "wb": "1", "bc": "-1"}], "S": "BTCUSDT"},
    }  # fmt: skip

    event = read_frame(text_of(frame))

    assert isinstance(event, AccountEvent)
    assert (event.wallet, event.change, event.positions) == (None, 0, ())
    assert event.funding_symbol == "BTCUSDT"


def test_a_leverage_change_is_read_and_other_settings_are_ignored() -> None:
    leverage = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 9, "T": 8, "ac": {"s": "BTCUSDT", "l": 25}}
    mode = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 9, "T": 8, "ai": {"j": True, "d": False}}

    assert read_frame(text_of(leverage)) == LeverageEvent(symbol="BTCUSDT", leverage=25, event_ms=9)
    assert read_frame(text_of(mode)) == IgnoredEvent(name="ACCOUNT_CONFIG_UPDATE")


@pytest.mark.parametrize("sent", [1736996475556, "1736996475556"])
def test_the_end_of_a_listen_key_is_recognised_in_both_forms(sent: int | str) -> None:
    frame = {"stream": "abc", "data": {"e": "listenKeyExpired", "E": sent, "listenKey": "abc"}}

    assert read_frame(text_of(frame)) == ListenKeyExpired(listen_key="abc", event_ms=1736996475556)


# --- names and addresses


def test_stream_names_are_lower_case() -> None:
    assert kline_stream("BTCUSDT", "1M") == "btcusdt@kline_1M"
    assert mark_price_stream("BTCUSDT") == "btcusdt@markPrice@1s"
    assert book_ticker_stream("BTCUSDT") == "btcusdt@bookTicker"


def test_binance_routes_candles_and_best_prices_to_different_connections() -> None:
    streams = [kline_stream("BTCUSDT", "1m"), book_ticker_stream("BTCUSDT"), "ethusdt@depth5"]

    assert market_paths(BINANCE, streams) == [
        "/market/stream?streams=btcusdt@kline_1m",
        "/public/stream?streams=btcusdt@bookTicker/ethusdt@depth5",
    ]


def test_aster_carries_all_streams_unrouted() -> None:
    streams = [kline_stream("BTCUSDT", "1m"), book_ticker_stream("BTCUSDT")]

    assert market_paths(ASTER, streams) == ["/stream?streams=btcusdt@kline_1m/btcusdt@bookTicker"]


def test_streams_beyond_what_a_connection_carries_go_to_another_and_none_goes_twice() -> None:
    streams = [f"s{number}usdt@kline_1m" for number in range(450)]

    paths = market_paths(ASTER, streams + streams)

    assert [path.count("@kline_1m") for path in paths] == [200, 200, 50]


def test_symbols_in_chinese_script_are_encoded_in_addresses() -> None:
    (path,) = market_paths(BINANCE, [kline_stream("币安USDT", "1m")])

    assert path == "/market/stream?streams=%E5%B8%81%E5%AE%89usdt@kline_1m"


def test_the_user_stream_is_addressed_by_its_key() -> None:
    assert user_path(BINANCE, "abc") == "/private/ws/abc"
    assert user_path(ASTER, "abc") == "/ws/abc"
