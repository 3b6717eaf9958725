"""The exchange's instruments: our own table, recorded files, and specs that fit a recording."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from milo.errors import ConfigError
from milo.exchange.brackets import tier_brackets
from milo.exchange.instrument_table import BRACKETS, PROFILES, TABLE
from milo.exchange.instruments import (
    DataFacts,
    brackets_json,
    exchange_info_json,
    own_table,
    spec_for_data,
)
from milo.exchange.market import load_table
from milo.exchange.recorded_file import load_brackets, load_exchange_info
from milo.model import LeverageBracket

NOW = 1_767_225_600_000
WANTED = (
    "BTC", "ETH", "SOL", "1000PEPE", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "LTC", "BCH",
    "TRX", "DOT", "ATOM", "NEAR", "APT", "ARB", "OP", "SUI", "FIL",
)  # fmt: skip


def facts(tick_e8: int, low: str, high: str) -> DataFacts:
    low_e8, high_e8 = (int(Decimal(price) * 10**8) for price in (low, high))
    return DataFacts(price_tick_e8=tick_e8, low_e8=low_e8, high_e8=high_e8, last_e8=low_e8)


def assert_consistent(symbol: str, brackets: tuple[LeverageBracket, ...]) -> None:
    floor = ratio = cum = Decimal(0)
    for bracket in brackets:
        cum += bracket.floor * (bracket.maint_ratio - ratio)
        assert bracket.floor == floor, symbol
        assert bracket.cap > floor, symbol
        assert abs(bracket.cum - cum) < Decimal("0.5"), symbol
        assert bracket.maint_ratio > ratio, symbol
        assert bracket.maint_ratio * bracket.max_leverage < 1, symbol
        floor, ratio = bracket.cap, bracket.maint_ratio
    leverages = [bracket.max_leverage for bracket in brackets]
    assert leverages == sorted(leverages, reverse=True), symbol


def test_our_table_has_the_symbols_people_ask_for() -> None:
    table = own_table()

    assert {asset + "USDT" for asset in WANTED} <= set(table)
    assert all(spec.instrument.is_trading for spec in table.values())
    assert {row.base_asset for row in TABLE} == set(PROFILES)


def test_bitcoin_has_the_filters_of_the_real_contract() -> None:
    spec = own_table()["BTCUSDT"]

    assert (spec.tick_e8, spec.step_e8) == (10_000_000, 100_000)
    assert spec.instrument.min_notional == 50
    assert spec.max_leverage == 150
    assert spec.brackets[-1].max_leverage == 1
    assert spec.price_precision == 2  # finer than the tick, as on the real exchange


@pytest.mark.parametrize("tier", BRACKETS)
def test_our_brackets_join_without_a_jump_in_margin(tier: str) -> None:
    brackets = tier_brackets(tier)

    assert_consistent(tier, brackets)
    assert brackets[-1].max_leverage == 1
    for before, after in pairwise(brackets):
        at = before.cap
        assert at * before.maint_ratio - before.cum == at * after.maint_ratio - after.cum


def test_every_price_filter_leaves_room_around_the_price() -> None:
    for spec in own_table().values():
        instrument = spec.instrument
        price = Decimal(str(PROFILES[instrument.base_asset].price))
        assert instrument.min_price * 10 < price < instrument.max_price / 10, spec.symbol
        assert instrument.min_price % instrument.tick == 0, spec.symbol
        assert price / instrument.tick > 1000, spec.symbol
        assert price * instrument.step < 100, spec.symbol


def test_exchange_info_has_the_shape_of_the_recorded_one(shared_data: Path) -> None:
    path = shared_data / "exchange" / "exchangeInfo_usdm_testnet_2025-11-26.json.gz"
    recorded = json.loads(gzip.decompress(path.read_bytes()))
    ours: dict[str, Any] = json.loads(json.dumps(exchange_info_json(own_table(), NOW)))

    theirs = {entry["symbol"]: entry for entry in recorded["symbols"]}
    assert ours.keys() == recorded.keys()
    assert ours["serverTime"] == NOW
    assert [limit["limit"] for limit in ours["rateLimits"]] == [2400, 1200, 300]
    assert ours["rateLimits"][0].keys() == recorded["rateLimits"][0].keys()
    for entry in ours["symbols"]:
        model = theirs["BTCUSDT"]
        assert entry.keys() == model.keys()
        assert {k: type(v) for k, v in entry.items()} == {k: type(v) for k, v in model.items()}
        filters = {f["filterType"]: f for f in model["filters"]}
        for own_filter in entry["filters"]:
            other = filters[own_filter["filterType"]]
            assert {k: type(v) for k, v in own_filter.items()} == {
                k: type(v) for k, v in other.items()
            }


def test_brackets_have_the_shape_of_the_recorded_ones(shared_data: Path) -> None:
    path = shared_data / "exchange" / "leverageBracket_usdm_freqtrade-2026.9.json.gz"
    recorded = json.loads(gzip.decompress(path.read_bytes()))
    ours = json.loads(json.dumps(brackets_json(own_table())))

    assert ours[0].keys() == recorded[0].keys()
    for bracket in ours[0]["brackets"]:
        assert {k: type(v) for k, v in bracket.items()} == {
            k: type(v) for k, v in recorded[0]["brackets"][0].items()
        }
    assert [b["bracket"] for b in ours[0]["brackets"]] == list(range(1, 13))


def test_a_recorded_exchange_is_served_as_it_was(shared_data: Path) -> None:
    folder = shared_data / "exchange"
    path = folder / "exchangeInfo_usdm_testnet_2025-11-26.json.gz"
    recorded = json.loads(gzip.decompress(path.read_bytes()))

    table = load_table(path, folder / "leverageBracket_usdm_freqtrade-2026.9.json.gz")

    assert len(table) == 647
    assert exchange_info_json(table, NOW)["symbols"] == recorded["symbols"]
    assert table["币安人生USDT"].instrument.base_asset == "币安人生"
    assert table["SOLUSDT"].instrument.step == 1
    assert "leverageBracket" in table["SOLUSDT"].brackets_origin
    assert table["测试测试USDT"].brackets_origin == "Milo's brackets for a small altcoin"
    served = {entry["symbol"]: entry["brackets"] for entry in brackets_json(table)}
    original = json.loads(
        gzip.decompress((folder / "leverageBracket_usdm_freqtrade-2026.9.json.gz").read_bytes())
    )
    known = {entry["symbol"]: entry["brackets"] for entry in original}
    assert all(served[name] == known[name] for name in table if name in known)


def test_recorded_brackets_are_consistent(shared_data: Path) -> None:
    brackets = load_brackets(
        shared_data / "exchange" / "leverageBracket_usdm_freqtrade-2026.9.json.gz"
    )

    assert len(brackets) == 907
    assert brackets["BTCUSDT"][1].maint_ratio == Decimal("0.005")
    for symbol, rows in brackets.items():
        assert rows[0].floor == 0, symbol
        assert rows[0].max_leverage >= rows[-1].max_leverage, symbol


def test_the_other_exchange_of_the_family_is_read_too(shared_data: Path) -> None:
    table = load_exchange_info(
        shared_data / "exchange" / "exchangeInfo_asterdex_2025-12-23.json.gz"
    )

    assert len(table) == 261
    assert table["BTCUSDT"].instrument.min_notional == 5


def spoiled(change: str) -> str:
    """Return an exchangeInfo of one symbol with one thing wrong."""
    body: dict[str, Any] = json.loads(json.dumps(exchange_info_json(own_table(), NOW)))
    entry = body["symbols"][0]
    body["symbols"] = [entry]
    match change:
        case "no tick":
            del entry["filters"][0]["tickSize"]
        case "no filter":
            del entry["filters"][1]
        case "bad number":
            entry["filters"][0]["tickSize"] = "a lot"
        case "negative":
            entry["filters"][1]["minQty"] = "-1"
        case "not finite":
            entry["liquidationFee"] = "NaN"
        case "no name":
            del entry["symbol"]
        case "no status":
            entry["status"] = None
        case "filters of text":
            entry["filters"] = "none"
        case "no symbols":
            del body["symbols"]
        case "empty":
            body["symbols"] = []
    return json.dumps(body)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("no tick", "BTCUSDT: it has no tickSize"),
        ("no filter", "BTCUSDT: it has no filter LOT_SIZE"),
        ("bad number", "BTCUSDT: a number in it cannot be read"),
        ("negative", "BTCUSDT: minQty is no amount: '-1'"),
        ("not finite", "BTCUSDT: liquidationFee is no amount: 'NaN'"),
        ("no name", "an entry of symbols has no name"),
        ("no status", "BTCUSDT: status is no text: None"),
        ("filters of text", "BTCUSDT: "),
        ("no symbols", "not an exchangeInfo"),
        ("empty", "holds no symbol"),
    ],
)
def test_a_corrupt_exchange_info_is_named_with_its_reason(
    tmp_path: Path, change: str, reason: str
) -> None:
    path = tmp_path / "info.json"
    path.write_text(spoiled(change))

    with pytest.raises(ConfigError) as caught:
        load_exchange_info(path)

    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2", b"\xff\xfe\xfd", gzip.compress(b"{}")[:-9], b'"text"']
)
def test_files_that_are_no_json_are_config_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)

    for load in (load_exchange_info, load_brackets):
        with pytest.raises(ConfigError, match=r"file\.json"):
            load(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"notionalFloor": 5}, "do not join at a notional of 0"),
        ({"notionalCap": 0}, "do not join at a notional of 0"),
        ({"initialLeverage": 0}, "no usable leverage and margin ratio"),
        ({"maintMarginRatio": 1.5}, "no usable leverage and margin ratio"),
        ({"cum": "x"}, "a number in it cannot be read"),
        ({"cum": None}, "BTCUSDT: "),
    ],
)
def test_corrupt_brackets_are_named_with_their_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    body = json.loads(json.dumps(brackets_json(own_table())))
    body[0]["brackets"][0] |= change
    path = tmp_path / "brackets.json"
    path.write_text(json.dumps(body))

    with pytest.raises(ConfigError) as caught:
        load_brackets(path)

    assert "BTCUSDT" in str(caught.value)
    assert reason in str(caught.value)


def test_a_spec_that_fits_the_recording_is_left_alone() -> None:
    known = own_table()["BTCUSDT"]

    assert spec_for_data(known, "BTCUSDT", facts(10_000_000, "20000", "120000")) is known
    assert spec_for_data(known, "BTCUSDT", facts(100_000_000, "20000", "120000")) is known


def test_a_tick_that_is_too_coarse_for_the_recording_is_made_finer() -> None:
    known = own_table()["BTCUSDT"]

    spec = spec_for_data(known, "BTCUSDT", facts(1_000_000, "20000", "120000"))

    assert spec.instrument.tick == Decimal("0.01")
    assert spec.raw["filters"][0]["tickSize"] == "0.01"
    assert known.raw["filters"][0]["tickSize"] == "0.10"
    assert spec.brackets == known.brackets
    assert "tick 0.01 instead of 0.1" in spec.origin


def test_price_limits_that_the_recording_leaves_are_widened() -> None:
    known = own_table()["BTCUSDT"]

    spec = spec_for_data(known, "BTCUSDT", facts(10_000_000, "3.3", "120000"))

    assert spec.instrument.min_price <= Decimal("3.3")
    assert "wider price limits" in spec.origin


@pytest.mark.parametrize(
    ("symbol", "tick_e8", "price", "base", "quote", "step"),
    [
        ("NEWUSDT", 100, "0.5", "NEW", "USDT", "1"),
        ("NEWUSDC", 1_000_000, "25", "NEW", "USDC", "0.1"),
        ("X", 10_000_000, "50000", "X", "USDT", "0.001"),
        ("币安人生USDT", 1, "0.15", "币安人生", "USDT", "1"),
    ],
)
def test_an_unknown_symbol_gets_a_spec_from_its_prices(
    symbol: str, tick_e8: int, price: str, base: str, quote: str, step: str
) -> None:
    spec = spec_for_data(None, symbol, facts(tick_e8, price, price))

    assert spec.symbol == spec.raw["symbol"] == symbol
    assert (spec.instrument.base_asset, spec.instrument.quote_asset) == (base, quote)
    assert spec.tick_e8 == tick_e8
    assert spec.instrument.step == Decimal(step)
    assert spec.instrument.min_notional == 5
    assert spec.max_leverage == 50
    assert "which no table knows" in spec.origin
    assert spec.instrument.min_price <= Decimal(price) <= spec.instrument.max_price
