"""Instruments, leverage brackets and funding rates survive the store exactly."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from milo.errors import StoreError
from milo.model import FundingRate, Instrument, LeverageBracket
from milo.store import funding, instruments
from milo.store.connections import open_writer
from milo.store.migrations import MARKET

BTC = Instrument(
    symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    status="TRADING",
    tick=Decimal("0.10"),
    min_price=Decimal("556.80"),
    max_price=Decimal(4529764),
    step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    market_step=Decimal("0.001"),
    market_min_qty=Decimal("0.001"),
    market_max_qty=Decimal(120),
    min_notional=Decimal(100),
    liquidation_fee=Decimal("0.012500"),
    onboard_ms=1_569_398_400_000,
)
STEPS = (
    LeverageBracket(
        floor=Decimal(0),
        cap=Decimal(50_000),
        max_leverage=125,
        maint_ratio=Decimal("0.004"),
        cum=Decimal("0.0"),
    ),
    LeverageBracket(
        floor=Decimal(50_000),
        cap=Decimal("9223372036854775807"),
        max_leverage=1,
        maint_ratio=Decimal("0.5"),
        cum=Decimal("386940.00000001"),
    ),
)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_writer(tmp_path / "market.db", MARKET, is_durable=False)
    yield opened
    opened.close()


def test_instruments_come_back_equal_to_the_last_digit(conn: sqlite3.Connection) -> None:
    chinese = dataclasses.replace(BTC, symbol="币安人生USDT")

    instruments.save_instruments(conn, [BTC, chinese], refreshed_ms=7)

    loaded = instruments.load_instruments(conn)
    assert loaded == {"BTCUSDT": BTC, "币安人生USDT": chinese}
    assert str(loaded["BTCUSDT"].liquidation_fee) == "0.012500"
    assert instruments.instruments_refreshed_ms(conn) == 7


def test_a_refresh_replaces_the_whole_set(conn: sqlite3.Connection) -> None:
    instruments.save_instruments(conn, [BTC], refreshed_ms=7)
    eth = dataclasses.replace(BTC, symbol="ETHUSDT")

    instruments.save_instruments(conn, [eth], refreshed_ms=9)

    assert instruments.load_instruments(conn) == {"ETHUSDT": eth}
    assert instruments.instruments_refreshed_ms(conn) == 9


def test_an_empty_refresh_is_refused_and_changes_nothing(conn: sqlite3.Connection) -> None:
    instruments.save_instruments(conn, [BTC], refreshed_ms=7)

    with pytest.raises(StoreError, match="nothing was changed"):
        instruments.save_instruments(conn, [], refreshed_ms=9)
    with pytest.raises(StoreError, match="nothing was changed"):
        instruments.save_brackets(conn, {}, refreshed_ms=9)

    assert list(instruments.load_instruments(conn)) == ["BTCUSDT"]


def test_never_saved_is_empty_and_has_no_time(conn: sqlite3.Connection) -> None:
    assert instruments.load_instruments(conn) == {}
    assert instruments.load_brackets(conn) == {}
    assert instruments.instruments_refreshed_ms(conn) is None
    assert instruments.brackets_refreshed_ms(conn) is None


def test_brackets_come_back_equal(conn: sqlite3.Connection) -> None:
    instruments.save_brackets(conn, {"BTCUSDT": STEPS, "XUSDT": STEPS[:1]}, refreshed_ms=8)

    assert instruments.load_brackets(conn) == {"BTCUSDT": STEPS, "XUSDT": STEPS[:1]}
    assert instruments.brackets_refreshed_ms(conn) == 8


def test_a_stored_value_of_another_form_says_so(conn: sqlite3.Connection) -> None:
    conn.execute("INSERT INTO instruments VALUES ('BTCUSDT', '{\"symbol\":1}', 1)")

    with pytest.raises(StoreError, match=r"stored instrument BTCUSDT cannot be read.*refresh"):
        instruments.load_instruments(conn)


def rate(time_ms: int, text: str, symbol: str = "BTCUSDT") -> FundingRate:
    return FundingRate(symbol=symbol, time_ms=time_ms, rate=Decimal(text))


def test_funding_rates_come_back_sorted_and_exact(conn: sqlite3.Connection) -> None:
    rates = [rate(30, "-0.00012345"), rate(10, "0.0001"), rate(20, "0.00000001")]
    assert funding.upsert_funding(conn, [*rates, rate(15, "0.5", "ETHUSDT")]) == 4

    assert funding.load_funding(conn, "BTCUSDT") == [rates[1], rates[2], rates[0]]
    assert funding.load_funding(conn, "BTCUSDT", start_ms=20, before_ms=30) == [rates[2]]


def test_gaps_of_funding_are_the_head_the_holes_and_what_came_since(
    conn: sqlite3.Connection,
) -> None:
    hour = 3_600_000
    hours = [30, 38, 42, 46, 54, 70, 78]
    funding.upsert_funding(conn, [rate(at * hour + at % 7, "0.0001") for at in hours])

    def gaps(start: int, end: int) -> list[tuple[int, int]]:
        found = funding.find_funding_gaps(conn, "BTCUSDT", start_ms=start * hour, end_ms=end * hour)
        return [(first // hour, -(-last // hour)) for first, last in found]

    assert gaps(0, 80) == [(0, 31), (54, 70), (78, 80)]
    assert gaps(10, 53) == [(46, 53)]
    assert gaps(200, 300) == [(200, 300)]
    assert funding.find_funding_gaps(conn, "XUSDT", start_ms=5, end_ms=9) == [(5, 9)]


def test_funding_upsert_counts_what_differed(conn: sqlite3.Connection) -> None:
    funding.upsert_funding(conn, [rate(10, "0.0001"), rate(20, "0.0001")])

    assert funding.upsert_funding(conn, [rate(10, "0.00010"), rate(20, "0.0002")]) == 1


def test_a_funding_rate_that_is_no_number_is_refused(conn: sqlite3.Connection) -> None:
    with pytest.raises(StoreError, match="not a funding rate"):
        funding.upsert_funding(conn, [rate(10, "NaN")])
