"""Under which rules a backtest trades a symbol."""

from __future__ import annotations

from decimal import Decimal

import pytest

from milo.backtest.contract import contract_of, rules_for
from milo.candles import Candles
from milo.exchange.feed import E8
from milo.exchange.instruments import own_table
from tests.backtest_markets import candles_of


def test_a_known_symbol_has_the_filters_and_brackets_of_the_table() -> None:
    known = own_table()["BTCUSDT"]

    contract = rules_for("BTCUSDT", candles_of([(50_000.1,) * 4]))

    assert contract.instrument == known.instrument
    assert contract.brackets == known.brackets
    assert contract.rules.tick == E8 // 10


def test_a_tick_too_coarse_for_the_candles_gives_way_to_theirs() -> None:
    contract = rules_for("BTCUSDT", candles_of([(8_000.12,) * 4]))

    assert contract.instrument.tick == Decimal("0.01")
    assert "to fit the recorded prices" in contract.note


def test_an_unknown_symbol_is_a_small_altcoin_with_the_tick_of_its_prices() -> None:
    contract = rules_for("WAGMIUSDT", candles_of([(0.0123, 0.0125, 0.012, 0.0121)]))

    assert contract.instrument.tick == Decimal("0.0001")
    assert contract.instrument.quote_asset == "USDT"
    assert "which no table knows" in contract.note


def test_a_stored_instrument_gives_the_same_rules_as_the_table_that_it_came_from() -> None:
    spec = own_table()["ETHUSDT"]

    stored = contract_of(spec.instrument, spec.brackets)

    from_table = rules_for("ETHUSDT", candles_of([(2_000.01,) * 4])).rules
    for name in ("tick", "lot", "market_lot", "min_notional", "liquidation_fee", "brackets"):
        assert getattr(stored.rules, name) == getattr(from_table, name)


def test_without_candles_or_brackets_there_are_no_rules() -> None:
    with pytest.raises(ValueError, match="no candles"):
        rules_for("BTCUSDT", Candles.empty())
    with pytest.raises(ValueError, match="no leverage brackets"):
        contract_of(own_table()["BTCUSDT"].instrument, ())
