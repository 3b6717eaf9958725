"""How much an entry buys or sells, by the rules of the script language."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.model import (
    AmountKind,
    CommissionRate,
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    ExitIntent,
    Instrument,
    LeverageBracket,
)
from milo.orders.margin import bracket_of
from milo.orders.protection import Unprotectable
from milo.orders.sizing import EntryRefused, ExitRefused, Sized, SizingInput, size_entry, size_exit
from milo.script.actions import parse_action
from tests.order_desk import BRACKETS, BTC, FEES, bracket_table


def sized(
    action: str,
    *,
    price: str = "50000",
    equity: str = "10000",
    available: str | None = None,
    atr: str | None = None,
    instrument: Instrument = BTC,
    brackets: Sequence[LeverageBracket] = BRACKETS,
) -> Sized:
    intent = parse_action(action)
    assert isinstance(intent, EntryIntent)
    return size_entry(
        intent,
        SizingInput(
            price=Decimal(price),
            atr=None if atr is None else Decimal(atr),
            equity=Decimal(equity),
            available=Decimal(equity if available is None else available),
            instrument=instrument,
            brackets=brackets,
            fees=FEES,
        ),
    )


def changed(**changes: Any) -> Instrument:
    return dataclasses.replace(BTC, **{name: Decimal(value) for name, value in changes.items()})


# --- amounts ------------------------------------------------------------------------------------


def test_risk_with_a_stop_is_the_loss_at_the_stop_with_the_fees_of_both_sides() -> None:
    entry = sized("long(1%risk@10x,sl=2%)")

    # 1,000 to the stop, 25 to enter at 50,000 and 24.5 to leave at 49,000, for each coin.
    assert entry.qty == Decimal("0.095")
    assert entry.loss_at_stop == Decimal("0.095") * Decimal("1049.5")
    assert entry.loss_at_stop <= 100
    assert entry.notes == ()


def test_risk_without_a_stop_is_the_isolated_margin() -> None:
    entry = sized("short(1%risk@10x)")

    assert entry.qty == Decimal("0.020")
    assert entry.margin == 100


def test_margin_is_the_isolated_margin_whatever_the_stop() -> None:
    amounts = {sized(f"long(5%margin@4x{stop})").margin for stop in ("", ",sl=1%", ",sl=9%")}

    assert amounts == {Decimal(500)}


def test_a_stop_in_atr_is_measured_from_the_price() -> None:
    entry = sized("long(1%risk@10x,sl=2atr)", atr="500")

    assert entry.protection.stop_price == 49_000
    assert entry.qty == sized("long(1%risk@10x,sl=2%)").qty


def test_the_equity_decides_and_not_what_is_available() -> None:
    assert sized("long(1%margin@10x)", available="500").qty == sized("long(1%margin@10x)").qty


# --- what is lowered ----------------------------------------------------------------------------


def test_leverage_is_lowered_to_what_the_bracket_of_the_notional_allows() -> None:
    entry = sized("long(10%margin@100x)", equity="100000")

    # 10,000 x 100 would be 1,000,000, where at most 75x is allowed.
    assert entry.leverage == 75
    assert entry.notional == 750_000
    assert "leverage lowered from 100x to 75x" in entry.notes[0]


def test_with_a_stop_the_quantity_stays_when_leverage_is_lowered() -> None:
    low, high = (sized(f"long(1%risk@{x}x,sl=0.5%)", equity="1000000") for x in (20, 125))

    assert high.leverage == 75
    assert high.qty == low.qty


def test_a_fraction_of_leverage_is_cut_off() -> None:
    entry = sized("long(1%margin@2.9x)")

    assert entry.leverage == 2
    assert "2.9x lowered to 2x" in entry.notes[0]


def test_the_quantity_is_reduced_to_what_is_available_with_headroom() -> None:
    entry = sized("long(50%margin@10x)", available="1000")

    cost = entry.margin + entry.notional * FEES.taker
    assert cost * Decimal("1.01") <= 1000
    assert (entry.qty + BTC.step) * 50_000 * Decimal("0.1005") * Decimal("1.01") > 1000
    assert "quantity reduced" in entry.notes[0]
    assert "1,000.00 USDT" in entry.notes[0]


def test_the_quantity_is_reduced_to_the_largest_market_order() -> None:
    small = changed(market_max_qty="0.05")

    entry = sized("long(50%margin@10x)", instrument=small)

    assert entry.qty == Decimal("0.05")
    assert "largest market order" in entry.notes[0]


def test_the_notional_is_reduced_to_the_exchanges_cap() -> None:
    brackets = bracket_table((10_000, 20, "0.01"), (40_000, 5, "0.05"))

    entry = sized("long(90%margin@5x)", equity="100000", brackets=brackets)

    assert entry.notional <= 40_000
    assert any("the exchange's cap" in text for text in entry.notes)


def test_limits_of_zero_are_no_limits() -> None:
    open_ended = changed(max_qty="0", market_max_qty="0", market_step="0", market_min_qty="0")

    assert sized("long(50%margin@10x)", instrument=open_ended).qty == Decimal("1")


# --- what is refused ----------------------------------------------------------------------------


def test_a_quantity_below_the_minimum_is_never_rounded_up() -> None:
    with pytest.raises(EntryRefused, match=r"rounds down to 0, below the exchange's minimum 0.001"):
        sized("long(0.01%risk@1x,sl=50%)")


def test_a_notional_below_the_minimum_is_refused_with_the_numbers() -> None:
    with pytest.raises(EntryRefused, match=r"notional 49.50 USDT .* minimum 50 USDT"):
        sized("long(1%margin@1x)", price="16500", equity="5500")


@pytest.mark.parametrize("leverage", ["126", "1000"])
def test_leverage_above_the_symbols_maximum_is_refused(leverage: str) -> None:
    with pytest.raises(EntryRefused, match=f"leverage {leverage}x is outside 1x to 125x"):
        sized(f"long(1%risk@{leverage}x,sl=1%)")


def test_leverage_below_one_is_refused() -> None:
    intent = EntryIntent(
        direction=Direction.LONG,
        amount=Decimal(1),
        amount_kind=AmountKind.MARGIN,
        leverage=Decimal("0.5"),
    )
    given_input = SizingInput(
        price=Decimal(100),
        atr=None,
        equity=Decimal(1000),
        available=Decimal(1000),
        instrument=BTC,
        brackets=BRACKETS,
        fees=FEES,
    )

    with pytest.raises(EntryRefused, match=r"leverage 0\.5x"):
        size_entry(intent, given_input)


@pytest.mark.parametrize(("price", "equity"), [("0", "100"), ("100", "0"), ("100", "-5")])
def test_nothing_is_sized_without_price_or_equity(price: str, equity: str) -> None:
    with pytest.raises(EntryRefused, match="nothing to size with"):
        sized("long(1%margin@1x)", price=price, equity=equity)


def test_nothing_available_is_refused() -> None:
    with pytest.raises(EntryRefused, match="rounds down to 0"):
        sized("long(1%margin@10x)", available="-3")


def test_a_stop_beyond_the_liquidation_price_is_refused() -> None:
    with pytest.raises(Unprotectable, match=r"stop 48500 lies beyond the liquidation price"):
        sized("long(1%risk@50x,sl=3%)")


def test_atr_without_history_is_refused() -> None:
    with pytest.raises(Unprotectable, match="14 closed candles"):
        sized("long(1%risk@5x,sl=2atr)")


# --- properties ---------------------------------------------------------------------------------


@st.composite
def instruments(draw: st.DrawFn) -> tuple[Instrument, Decimal]:
    """Return an instrument and a price on its ticks, from a whole coin to a ten-millionth."""
    tick = Decimal(draw(st.sampled_from((1, 2, 5)))).scaleb(draw(st.integers(-8, 1)))
    price = tick * draw(st.integers(20, 2_000_000))
    # A step is worth from some cents to some ten USDT, as on the exchange.
    step = Decimal(1).scaleb(draw(st.integers(-1, 1)) - price.adjusted())
    coarser = step * draw(st.sampled_from((1, 10)))
    instrument = dataclasses.replace(
        BTC,
        tick=tick,
        min_price=tick,
        max_price=tick * 10**9,
        step=step,
        min_qty=step,
        max_qty=step * 10**7,
        market_step=coarser,
        market_min_qty=coarser,
        market_max_qty=step * draw(st.integers(10, 10**6)),
        min_notional=Decimal(draw(st.sampled_from((0, 1, 5, 100)))),
    )
    return instrument, price


@st.composite
def bracket_tables(draw: st.DrawFn) -> tuple[LeverageBracket, ...]:
    count = draw(st.integers(1, 6))
    caps = sorted(draw(st.sets(st.integers(10**3, 10**8), min_size=count, max_size=count)))
    tops = sorted(draw(st.lists(st.integers(1, 125), min_size=count, max_size=count)), reverse=True)
    # As on the exchange, maintenance is at most half of the initial margin.
    rows = [(cap, top, str(Decimal(1) / (2 * top))) for cap, top in zip(caps, tops, strict=True)]
    return bracket_table(*rows)


DISTANCES = st.one_of(
    st.builds(
        Distance,
        st.decimals(Decimal("0.01"), 20, places=2),
        st.sampled_from((DistanceKind.PERCENT, DistanceKind.ATR)),
    ),
)
INTENTS = st.builds(
    EntryIntent,
    direction=st.sampled_from(Direction),
    amount=st.decimals(Decimal("0.01"), 100, places=2),
    amount_kind=st.sampled_from(AmountKind),
    leverage=st.sampled_from((1, 2, 3, 5, 10, 20, 50, 125)).map(Decimal),
    stop=st.none() | DISTANCES,
)


@settings(deadline=None, derandomize=True, max_examples=1000)
@given(
    intent=INTENTS,
    market=instruments(),
    brackets=bracket_tables(),
    equity=st.decimals(100, 10**7, places=2),
    share=st.decimals(Decimal("0.01"), 1, places=2),
    taker=st.sampled_from(("0", "0.0002", "0.0005", "0.01")),
    atr_ticks=st.integers(0, 1000),
    level=st.none() | st.decimals(Decimal("0.8"), Decimal("1.2"), places=3),
)
def test_sizing_never_exceeds_what_was_asked_what_is_there_and_what_is_allowed(
    intent: EntryIntent,
    market: tuple[Instrument, Decimal],
    brackets: tuple[LeverageBracket, ...],
    equity: Decimal,
    share: Decimal,
    taker: str,
    atr_ticks: int,
    level: Decimal | None,
) -> None:
    instrument, price = market
    if level is not None:
        stop_at = Distance(price * level, DistanceKind.PRICE)
        intent = dataclasses.replace(intent, stop=stop_at)
    fees = CommissionRate(maker=Decimal(0), taker=Decimal(taker))
    available = equity * share
    try:
        entry = size_entry(
            intent,
            SizingInput(
                price=price,
                atr=instrument.tick * atr_ticks,
                equity=equity,
                available=available,
                instrument=instrument,
                brackets=brackets,
                fees=fees,
            ),
        )
    except (EntryRefused, Unprotectable):
        return

    # Exact arithmetic, and a hair for the 28 digits of a Decimal.
    hair = 1 + Fraction(1, 10**24)
    qty, at = Fraction(entry.qty), Fraction(price)
    stop = Fraction(entry.protection.stop_price)
    asked = Fraction(equity) * Fraction(intent.amount) / 100
    if intent.amount_kind is AmountKind.RISK and intent.stop is not None:
        assert qty * (abs(at - stop) + Fraction(fees.taker) * (at + stop)) <= asked * hair
    else:
        assert qty * at / entry.leverage <= asked * hair
    assert qty * at * (Fraction(1, entry.leverage) + Fraction(fees.taker)) <= Fraction(available)
    assert qty % Fraction(instrument.step) == 0
    assert qty % Fraction(instrument.market_step) == 0
    assert instrument.market_min_qty <= entry.qty <= instrument.market_max_qty
    assert qty * at >= instrument.min_notional
    assert 1 <= entry.leverage <= intent.leverage
    assert entry.leverage <= bracket_of(brackets, entry.qty * price).max_leverage
    assert stop % Fraction(instrument.tick) == 0
    assert (at - stop) * intent.direction.sign > 0
    liquidation = entry.protection.liquidation
    if liquidation is not None:
        assert (stop - Fraction(liquidation)) * intent.direction.sign > 0


# --- what it earns, and exits --------------------------------------------------------------------


def test_profit_at_the_target_is_what_is_left_after_the_fees_of_both_sides() -> None:
    entry = sized("long(1%risk@10x,sl=2%,rr=3)")

    # 3,000 to the target, 25 to enter at 50,000 and 26.5 to leave at 53,000, for each coin.
    assert entry.profit_at_target == Decimal("0.095") * Decimal("2948.5")
    assert sized("long(1%risk@10x,sl=2%)").profit_at_target is None


def test_a_short_earns_where_the_price_falls() -> None:
    entry = sized("short(1%risk@10x,sl=2%,tp=6%)")

    assert entry.profit_at_target == entry.qty * Decimal("2951.5")


def test_a_whole_exit_closes_what_no_step_divides_and_a_part_is_rounded_down() -> None:
    held = Decimal("0.0157")

    assert size_exit(ExitIntent(), held, BTC) == held
    assert size_exit(ExitIntent(percent=Decimal(50)), held, BTC) == Decimal("0.007")


def test_a_part_below_the_smallest_order_is_refused() -> None:
    with pytest.raises(ExitRefused, match=r"rounds down to 0, below the exchange's minimum 0\.001"):
        size_exit(ExitIntent(percent=Decimal(5)), Decimal("0.015"), BTC)
