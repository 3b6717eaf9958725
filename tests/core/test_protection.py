"""Where stop and target of a position lie, and which of them cannot stand."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.model import (
    AmountKind,
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    Instrument,
)
from milo.orders.protection import Protection, Unprotectable, default_stop, plan_protection
from milo.script.actions import parse_action
from tests.order_desk import BRACKETS, BTC


def planned(
    action: str,
    *,
    entry: str = "50000",
    qty: str = "0.1",
    leverage: int = 10,
    atr: str | None = None,
    tick: str = "0.1",
) -> Protection:
    intent = parse_action(action)
    assert isinstance(intent, EntryIntent)
    return plan_protection(
        intent,
        entry_price=Decimal(entry),
        qty=Decimal(qty),
        leverage=leverage,
        atr=None if atr is None else Decimal(atr),
        instrument=with_tick(tick),
        brackets=BRACKETS,
    )


def with_tick(tick: str) -> Instrument:
    return dataclasses.replace(BTC, tick=Decimal(tick), min_price=Decimal(tick))


# --- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "stop", "target"),
    [
        ("long(1%risk@10x,sl=2%,tp=5%)", "49000", "52500"),
        ("short(1%risk@10x,sl=2%,tp=5%)", "51000", "47500"),
        ("long(1%risk@10x,sl=49500,tp=51234.5)", "49500", "51234.5"),
        ("short(1%risk@10x,sl=50500,tp=48765.4)", "50500", "48765.4"),
        ("long(1%risk@10x,sl=1.5atr,tp=3atr)", "49400", "51200"),
        ("short(1%risk@10x,sl=1.5atr,tp=3atr)", "50600", "48800"),
        ("long(1%risk@10x,sl=2%,rr=3)", "49000", "53000"),
        ("short(1%risk@10x,sl=2%,rr=0.5)", "51000", "49500"),
    ],
)
def test_stop_and_target_are_measured_from_the_entry(action: str, stop: str, target: str) -> None:
    plan = planned(action, atr="400")

    assert plan.stop_price == Decimal(stop)
    assert plan.target_price == Decimal(target)
    assert not plan.is_default_stop


def test_without_a_stop_the_reward_is_measured_in_the_margins_distance() -> None:
    assert planned("long(1%risk@10x,rr=2)").target_price == 60_000
    assert planned("short(1%risk@10x,rr=2)").target_price == 40_000


def test_without_target_there_is_none() -> None:
    assert planned("long(1%risk@10x,sl=2%)").target_price is None


@pytest.mark.parametrize(
    ("action", "stop", "target"),
    [
        # 33.3 x 0.985 = 32.8005 and x 1.015 = 33.7995, with ticks of 0.01.
        ("long(1%risk@2x,sl=1.5%,tp=1.5%)", "32.81", "33.79"),
        ("short(1%risk@2x,sl=1.5%,tp=1.5%)", "33.79", "32.81"),
    ],
)
def test_both_are_rounded_toward_the_entry(action: str, stop: str, target: str) -> None:
    plan = planned(action, entry="33.3", leverage=2, tick="0.01")

    assert plan.stop_price == Decimal(stop)
    assert plan.target_price == Decimal(target)


# --- the engine's own stop ----------------------------------------------------------------------


@pytest.mark.parametrize("side", ["long", "short"])
def test_the_default_stop_lies_nine_tenths_of_the_way_to_liquidation(side: str) -> None:
    plan = planned(f"{side}(1%risk@10x)")

    assert plan.is_default_stop
    assert plan.liquidation is not None
    wanted = 50_000 + (plan.liquidation - 50_000) * Decimal("0.9")
    assert abs(plan.stop_price - wanted) < Decimal("0.1")


def test_a_long_without_liquidation_price_is_stopped_at_a_tenth_of_its_entry() -> None:
    plan = planned("long(1%risk@1x)", leverage=1)

    assert plan.liquidation is None
    assert plan.stop_price == 5000


def test_a_short_without_leverage_is_stopped_before_it_doubles() -> None:
    plan = planned("short(1%risk@1x)", leverage=1)

    assert 90_000 < plan.stop_price < 95_000


def test_a_tick_too_coarse_for_the_leverage_is_refused() -> None:
    # At 125x the stop would lie 0.36 % away: less than one tick.
    with pytest.raises(Unprotectable, match=r"stop 0.0123 must lie below the price 0.0123"):
        planned("long(1%margin@125x)", entry="0.0123", leverage=125, tick="0.0001")


def test_an_adopted_long_without_liquidation_price_gets_the_same() -> None:
    stop = default_stop(Direction.LONG, Decimal(100), None, Decimal("0.01"))

    assert stop == 10


# --- what cannot stand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("long(1%risk@10x,sl=50000)", "stop 50000 must lie below the price 50000 of a long"),
        ("long(1%risk@10x,sl=51000)", "stop 51000 must lie below"),
        ("short(1%risk@10x,sl=49000)", "stop 49000 must lie above the price 50000 of a short"),
        ("long(1%risk@10x,sl=120%)", "stop -10000 must lie below"),
        ("long(1%risk@10x,sl=0.0001%)", "stop 50000 must lie below"),
        ("long(1%risk@10x,sl=2%,tp=49000)", "target 49000 must lie above the price 50000"),
        ("short(1%risk@10x,sl=2%,tp=51000)", "target 51000 must lie between 0 and"),
        ("short(1%risk@10x,sl=2%,rr=60)", "target -10000 must lie between 0 and"),
        ("short(1%risk@1x,rr=1)", "target 0 must lie between 0 and"),
        ("long(1%risk@10x,sl=2%,tp=0.0001%)", "target 50000 must lie above"),
        ("long(1%risk@10x,sl=10%)", "stop 45000 lies beyond the liquidation price 45180"),
        ("short(1%risk@10x,sl=10%)", "stop 55000 lies beyond the liquidation price 54780"),
        ("long(1%risk@10x,sl=2atr)", "stop in ATR needs 14 closed candles"),
        ("long(1%risk@10x,tp=2atr)", "target in ATR needs 14 closed candles"),
        ("long(1%risk@10x,sl=2%,tp=9000000)", "target 9000000 lies outside the exchange's prices"),
    ],
)
def test_what_cannot_stand_is_refused_with_the_numbers(action: str, reason: str) -> None:
    leverage = 1 if "@1x" in action else 10

    with pytest.raises(Unprotectable) as caught:
        planned(action, leverage=leverage)

    assert reason in str(caught.value)


def test_an_atr_of_zero_gives_no_distance() -> None:
    with pytest.raises(Unprotectable, match="must lie below"):
        planned("long(1%risk@10x,sl=2atr)", atr="0")


def test_a_slip_through_the_stop_leaves_none() -> None:
    # The action named a price, and the fill came beyond it.
    with pytest.raises(Unprotectable, match="stop 49500 must lie below the price 49400"):
        planned("long(1%risk@10x,sl=49500)", entry="49400")


# --- properties ---------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    direction=st.sampled_from(Direction),
    percent=st.none() | st.decimals(Decimal("0.01"), 99, places=2),
    ratio=st.none() | st.decimals(Decimal("0.01"), 20, places=2),
    leverage=st.integers(1, 125),
    ticks=st.integers(10, 10**6),
    places=st.integers(0, 8),
    digit=st.sampled_from((1, 2, 5)),
    qty=st.integers(1, 10**5),
)
def test_a_plan_is_on_ticks_on_its_sides_and_before_liquidation(
    direction: Direction,
    percent: Decimal | None,
    ratio: Decimal | None,
    leverage: int,
    ticks: int,
    places: int,
    digit: int,
    qty: int,
) -> None:
    tick = Decimal(digit).scaleb(-places)
    entry = tick * ticks
    intent = EntryIntent(
        direction=direction,
        amount=Decimal(1),
        amount_kind=AmountKind.RISK,
        leverage=Decimal(leverage),
        stop=None if percent is None else Distance(percent, DistanceKind.PERCENT),
        reward_ratio=ratio,
    )
    try:
        plan = plan_protection(
            intent,
            entry_price=entry,
            qty=Decimal(qty) / 1000,
            leverage=leverage,
            atr=None,
            instrument=dataclasses.replace(BTC, tick=tick, min_price=tick, max_price=Decimal(0)),
            brackets=BRACKETS,
        )
    except Unprotectable:
        return

    sign = direction.sign
    assert Fraction(plan.stop_price) % Fraction(tick) == 0
    assert plan.stop_price > 0
    assert (entry - plan.stop_price) * sign > 0
    if plan.liquidation is not None:
        assert (plan.stop_price - plan.liquidation) * sign > 0
    if percent is not None:
        # Never further away than asked for.
        assert abs(entry - plan.stop_price) <= entry * percent / 100
    if plan.target_price is not None:
        assert Fraction(plan.target_price) % Fraction(tick) == 0
        assert (plan.target_price - entry) * sign > 0
