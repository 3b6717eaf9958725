"""The isolated liquidation price: the exchange's own examples, and brackets that change on the way.

Source of the two large vectors: the worked example of the exchange's liquidation-price FAQ, with
the whole wallet taken as the position's own.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.model import Direction, LeverageBracket
from milo.orders.margin import bracket_of, liquidation_price, max_leverage, max_notional
from tests.order_desk import BRACKETS

quick = settings(deadline=None, derandomize=True, max_examples=150)
LONG, SHORT = Direction.LONG, Direction.SHORT


def price_of(
    direction: Direction,
    qty: str,
    entry: str,
    wallet: str,
    brackets: tuple[LeverageBracket, ...] = BRACKETS,
) -> Decimal | None:
    return liquidation_price(
        direction,
        qty=Decimal(qty),
        entry_price=Decimal(entry),
        isolated_wallet=Decimal(wallet),
        brackets=brackets,
    )


@pytest.mark.parametrize(
    ("qty", "entry", "ratio", "cum", "expected"),
    [
        pytest.param("109.488", "32481.980", "0.025", 16_300, "18778.73", id="BTCUSDT"),
        pytest.param("3683.979", "1456.84", "0.10", 135_365, "1114.78", id="ETHUSDT"),
    ],
)
def test_the_example_of_the_exchange_is_met_to_the_cent(
    qty: str, entry: str, ratio: str, cum: int, expected: str
) -> None:
    only = LeverageBracket(
        floor=Decimal(0),
        cap=Decimal(10**12),
        max_leverage=20,
        maint_ratio=Decimal(ratio),
        cum=Decimal(cum),
    )

    price = price_of(LONG, qty, entry, "1535443.01", (only,))

    assert price is not None
    assert price.quantize(Decimal("0.01")) == Decimal(expected)


@pytest.mark.parametrize(
    ("direction", "qty", "wallet", "expected"),
    [
        pytest.param(LONG, "0.1", "600", "54216.8675", id="small long"),
        pytest.param(SHORT, "0.1", "600", "65737.0518", id="small short"),
        pytest.param(LONG, "10", "30000", "57281.4070", id="second bracket"),
    ],
)
def test_positions_at_60000_are_liquidated_where_the_formula_says(
    direction: Direction, qty: str, wallet: str, expected: str
) -> None:
    price = price_of(direction, qty, "60000", wallet)

    assert price is not None
    assert price.quantize(Decimal("0.0001")) == Decimal(expected)


def test_a_long_that_shrinks_into_a_lower_bracket_is_liquidated_by_that_one() -> None:
    # 60,000 USDT at entry is in the second bracket, the 30,120 at liquidation in the first.
    price = price_of(LONG, "1", "60000", "30000")

    assert price == (Decimal(60_000) - 30_000) / (1 - Decimal("0.004"))


def test_a_short_that_grows_into_a_higher_bracket_is_liquidated_by_that_one() -> None:
    # 48,000 USDT at entry is in the first bracket, the 95,572 at liquidation in the second.
    price = price_of(SHORT, "0.8", "60000", "48000")

    assert price is not None
    expected = (Decimal(48_000) + 50 + 48_000) / (Decimal("0.8") * Decimal("1.005"))
    assert price == pytest.approx(expected, abs=Decimal("1E-18"))


@pytest.mark.parametrize("wallet", ["6000", "9000"])
def test_a_long_that_is_fully_paid_has_no_liquidation_price(wallet: str) -> None:
    assert price_of(LONG, "0.1", "60000", wallet) is None


def test_a_short_always_has_a_liquidation_price() -> None:
    assert price_of(SHORT, "0.1", "60000", "60000") is not None


@quick
@given(
    direction=st.sampled_from(Direction),
    lots=st.integers(min_value=1, max_value=3_000_000),
    entry=st.integers(min_value=1_000, max_value=2_000_000),
    leverage=st.integers(min_value=1, max_value=125),
)
def test_at_the_liquidation_price_exactly_the_maintenance_margin_is_left(
    direction: Direction, lots: int, entry: int, leverage: int
) -> None:
    qty, entry_price = Decimal(lots) / 1000, Decimal(entry) / 10
    notional = qty * entry_price
    leverage = min(leverage, bracket_of(BRACKETS, notional).max_leverage)
    wallet = notional / leverage

    price = liquidation_price(
        direction, qty=qty, entry_price=entry_price, isolated_wallet=wallet, brackets=BRACKETS
    )

    if price is None:
        assert direction is LONG
        assert leverage == 1
        return
    there = bracket_of(BRACKETS, qty * price)
    left = wallet + direction.sign * qty * (price - entry_price)
    assert left == pytest.approx(
        qty * price * there.maint_ratio - there.cum, abs=notional * Decimal("1E-20")
    )
    assert (price < entry_price) if direction is LONG else (price > entry_price)


def test_the_brackets_of_these_tests_are_continuous_as_the_exchanges_own() -> None:
    assert [bracket.cum for bracket in BRACKETS[:5]] == [0, 50, 950, 11_450, 131_450]


def test_a_notional_at_a_cap_still_belongs_to_the_bracket_below() -> None:
    assert bracket_of(BRACKETS, Decimal(50_000)) is BRACKETS[0]
    assert bracket_of(BRACKETS, Decimal("50000.01")) is BRACKETS[1]


def test_a_notional_beyond_the_table_belongs_to_the_last_bracket() -> None:
    assert bracket_of(BRACKETS, Decimal(10**9)) is BRACKETS[-1]


def test_the_table_tells_the_highest_leverage_and_the_largest_notional_of_each() -> None:
    assert max_leverage(BRACKETS) == 125
    assert max_notional(BRACKETS, 125) == 50_000
    assert max_notional(BRACKETS, 76) == 600_000
    assert max_notional(BRACKETS, 1) == 230_000_000
    assert max_notional(BRACKETS, 126) == 0
