"""Stream frames: keys and values of the account's events and of the market's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchange_market import START_MS, Exchange, e8, flat

from milo.exchange.feed import E8
from milo.exchange.market import Recording, open_market
from milo.exchange.market_frames import combined, source_of
from milo.exchange.user_frames import frames_of
from milo.exchange.venue import Venue
from milo.intervals import close_ms_of

ORDER_KEYS = {
    "s", "c", "S", "o", "f", "q", "p", "ap", "sp", "x", "X", "i", "l", "z", "L", "T", "t", "b",
    "a", "m", "R", "wt", "ot", "ps", "cp", "pP", "si", "ss", "rp", "V", "pm", "gtd", "er",
}  # fmt: skip
ALGO_KEYS = {
    "caid", "aid", "at", "o", "s", "S", "ps", "f", "q", "X", "ai", "ap", "aq", "act", "tp", "p",
    "V", "wt", "pm", "cp", "pP", "R", "tt", "gtd", "rm",
}  # fmt: skip
KLINE_KEYS = {
    "t", "T", "s", "i", "f", "L", "o", "c", "h", "l", "v", "n", "x", "q", "V", "Q", "B",
}  # fmt: skip

SWING = [
    *flat("60000.0", 2),
    ("60000.0", "60400.0", "59900.0", "60100.0"),
    ("60150.0", "60200.0", "59500.0", "59600.0"),
    *flat("59600.0", 8),
]


def _told(exchange: Exchange) -> list[dict[str, Any]]:
    frames = frames_of(exchange.take_notices(), exchange.venue.rules)
    return [json.loads(frame.text) for frame in frames]


def test_a_fill_is_told_as_order_account_and_trade(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, flat("60000.0", 2))
    exchange.leverage(10)
    exchange.buy("0.1")

    config, new, account, lite, trade = _told(exchange)

    assert config["ac"] == {"s": "BTCUSDT", "l": 10}
    assert new["o"].keys() == ORDER_KEYS
    assert (new["o"]["x"], new["o"]["X"], new["o"]["t"]) == ("NEW", "NEW", 0)
    assert lite["e"] == "TRADE_LITE"
    assert trade["o"].keys() == ORDER_KEYS | {"N", "n"}
    assert (trade["o"]["n"], trade["o"]["rp"], trade["o"]["ap"]) == (
        "3.00000000", "0.00000000", "60000.00",
    )  # fmt: skip
    assert account["a"]["B"] == [
        {"a": "USDT", "wb": "9997.00000000", "cw": "9397.00000000", "bc": "0.00000000"}
    ]
    (position,) = account["a"]["P"]
    assert (position["pa"], position["ep"], position["iw"], position["mt"]) == (
        "0.100", "60000.00", "600.00000000", "isolated",
    )  # fmt: skip


def test_a_conditional_order_tells_its_whole_life(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, SWING)
    exchange.buy("0.1")
    exchange.bracket("SELL", "59700.0", "63000.0")
    exchange.play()

    told = [frame["o"] for frame in _told(exchange) if frame["e"] == "ALGO_UPDATE"]

    stop = [o for o in told if o["o"] == "STOP_MARKET"]
    assert all(o.keys() == ALGO_KEYS for o in told)
    assert [o["X"] for o in stop] == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert [bool(o["ai"]) for o in stop] == [False, False, True, True]
    assert (stop[-1]["aq"], stop[-1]["ap"], stop[-1]["act"]) == ("0.100", "59700.00", "MARKET")
    assert (stop[0]["f"], stop[0]["R"], stop[0]["cp"], stop[0]["q"]) == (
        "GTE_GTC", True, True, "0.000",
    )  # fmt: skip
    assert told[-1]["X"] == "EXPIRED"


def test_funding_names_its_symbol_and_its_amount(tmp_path: Path) -> None:
    start_ms = 1_767_225_600_000 + 8 * 3_600_000 - 60_000
    exchange = Exchange(tmp_path, flat("60000.0", 3), start_ms=start_ms)
    exchange.buy("0.1")
    exchange.take_notices()
    exchange.play()

    (frame,) = _told(exchange)

    assert (frame["a"]["m"], frame["a"]["S"]) == ("FUNDING_FEE", "BTCUSDT")
    assert frame["a"]["B"][0]["bc"] == "-0.60000000"
    assert frame["E"] == start_ms + 60_000


@pytest.mark.parametrize("interval", ["1m", "3m", "5m"])
def test_kline_frames_are_the_candles_of_rest_at_every_point(tmp_path: Path, interval: str) -> None:
    exchange = Exchange(tmp_path, SWING)
    venue = exchange.venue
    source = source_of(venue, f"btcusdt@kline_{interval}")
    assert source is not None
    venue.watch(["BTCUSDT"])
    finals = []

    while (next_ms := venue.next_ms()) is not None:
        venue.play_next(next_ms)
        (frame,) = source.frames(next_ms)
        body = json.loads(frame.text)
        kline = body["k"]
        (row,) = venue.feed.klines(
            "BTCUSDT", interval, start_ms=None, end_ms=None, limit=1, now_ms=next_ms
        )
        shown = [kline["t"], *(e8(kline[key]) for key in "ohlcv"), kline["T"], e8(kline["q"])]
        assert kline.keys() == KLINE_KEYS
        assert shown == [*row[:6], row[6], row[7]]
        assert (kline["n"], e8(kline["V"]), e8(kline["Q"])) == row[8:]
        assert kline["x"] is frame.is_final is (next_ms == close_ms_of(kline["t"], interval))
        finals += [kline["t"]] if kline["x"] else []

    assert len(finals) == len(SWING) * 60_000 // (close_ms_of(0, interval) + 1)


def test_a_candle_that_a_gap_cuts_short_is_closed_before_the_next(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, flat("60000.0", 12))
    path = next(tmp_path.glob("*.csv"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], *lines[8:]]) + "\n")
    _reopen(exchange, path)
    source = source_of(exchange.venue, "btcusdt@kline_5m")
    assert source is not None
    exchange.venue.watch(["BTCUSDT"])
    told = []

    while (next_ms := exchange.venue.next_ms()) is not None:
        exchange.venue.play_next(next_ms)
        told += [json.loads(frame.text)["k"] for frame in source.frames(next_ms)]

    closed = [kline["t"] for kline in told if kline["x"]]
    assert closed == sorted({kline["t"] for kline in told})[: len(closed)]
    assert len(closed) == 2


def _reopen(exchange: Exchange, path: Path) -> None:
    market = open_market(recording=Recording(path=path, symbol="BTCUSDT", start_ms=START_MS))
    exchange.venue = Venue(market.feed, market.table, exchange.state, START_MS)


def test_the_other_market_streams_show_the_last_price(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, SWING)
    venue = exchange.venue
    names = [
        "btcusdt@markPrice", "btcusdt@markPrice@1s", "btcusdt@bookTicker", "btcusdt@ticker",
        "btcusdt@miniTicker", "btcusdt_perpetual@continuousKline_1m",
    ]  # fmt: skip
    sources = [source_of(venue, name) for name in names]
    exchange.play(3)

    told = []
    for source in sources:
        assert source is not None
        told += [json.loads(frame.text) for frame in source.frames(venue.now_ms)]

    mark, mark_1s, book, ticker, mini, kline = told
    last = exchange.venue.price("BTCUSDT")
    assert mark == mark_1s
    assert mark.keys() >= {"e", "E", "s", "p", "ap", "i", "P", "r", "T", "st"}
    assert e8(mark["p"]) == last
    assert (e8(book["a"]) - e8(book["b"])) == 2 * E8 // 10
    assert (e8(ticker["c"]), e8(mini["c"])) == (last, last)
    assert ticker.keys() >= set("epPwcQohlvqOCFLnEs")
    assert (kline["e"], kline["ps"], kline["ct"]) == ("continuous_kline", "BTCUSDT", "PERPETUAL")


@pytest.mark.parametrize(
    "name",
    ["btcusdt@kline_7m", "BTCUSDT@kline_1m", "nopeusdt@kline_1m", "btcusdt@nothing", "x", "", "@"],
)
def test_a_stream_that_does_not_exist_has_no_source(tmp_path: Path, name: str) -> None:
    exchange = Exchange(tmp_path, flat("60000.0", 2))

    assert source_of(exchange.venue, name) is None


def test_combined_streams_name_the_stream() -> None:
    assert json.loads(combined("a@b", '{"x":1}')) == {"stream": "a@b", "data": {"x": 1}}
