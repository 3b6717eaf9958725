"""The operator's caps on every entry: what it may lose, its leverage, its symbol."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.commands import Enter, NoteKind, Verdict
from milo.orders.book import CoreConfig, OpenTrade
from milo.orders.codec import CONFIG, decoded, encoded
from milo.orders.step import step
from tests.order_desk import FEES, HOUR_MS, SYMBOL, Desk, of_type, orders_in, signal

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"


def capped(*, price: str = "50000", **caps: object) -> Desk:
    return Desk(price=price, config=CoreConfig(**caps))  # type: ignore[arg-type]


def loss_at_stop(trade: OpenTrade) -> Decimal:
    """What the position loses if its stop fills at its price, fees of both sides included."""
    assert trade.stop_price is not None
    distance = abs(trade.entry_price - trade.stop_price)
    return trade.qty * (distance + FEES.taker * (trade.entry_price + trade.stop_price))


REFUSED = [
    pytest.param("long(30%risk@10x,sl=2%)", "the limit is 20.00% (--max-risk)", id="risk"),
    pytest.param("short(50%margin@10x,sl=8%)", "fees included, 40", id="margin with a stop"),
    pytest.param("long(50%margin@3x)", "the limit is 20.00% (--max-risk)", id="margin alone"),
    pytest.param("long(30%risk@3x)", "of the equity of 10,000.00 USDT", id="risk without a stop"),
    pytest.param(
        "long(1%risk@60x,sl=0.3%)", "leverage 60x is above the limit of 50x", id="leverage"
    ),
    pytest.param(
        "short(1%risk@50.01x,sl=0.3%)", "leverage 50.01x is above the limit", id="by a little"
    ),
]


@pytest.mark.parametrize(("action", "why"), REFUSED)
def test_entry_above_a_cap_is_refused_with_the_numbers(action: str, why: str) -> None:
    desk = capped(max_entry_risk=Decimal("0.2"), max_leverage=50)

    commands = desk.signal(action)

    assert orders_in(commands) == []
    assert why in desk.notes(NoteKind.REFUSED)[-1]
    (verdict,) = of_type(Verdict, commands)
    assert not verdict.is_taken
    assert why in verdict.reason


@pytest.mark.parametrize("action", [row.values[0] for row in REFUSED])
def test_without_caps_the_same_entries_are_sent(action: str) -> None:
    assert len(orders_in(Desk().signal(action))) == 1


@pytest.mark.parametrize(
    "action", ["long(20%risk@10x,sl=2%)", "long(1%risk@50x,sl=0.3%)", "short(20%margin@5x)"]
)
def test_entry_at_a_cap_is_sent(action: str) -> None:
    desk = capped(max_entry_risk=Decimal("0.2"), max_leverage=50, allowed_symbols=(SYMBOL,))

    assert len(orders_in(desk.signal(action))) == 1


def test_symbol_that_is_not_on_the_list_is_not_entered() -> None:
    desk = capped(allowed_symbols=("ETHUSDT", "SOLUSDT"))

    commands = desk.signal(ENTRY)

    assert orders_in(commands) == []
    assert desk.notes(NoteKind.REFUSED) == [
        "BTCUSDT is not among the allowed symbols ETHUSDT, SOLUSDT (--symbols)"
    ]


def test_exit_is_never_held_back_by_a_cap() -> None:
    desk = capped()
    desk.enter("long(30%risk@60x,sl=0.5%)")
    desk.config = CoreConfig(
        max_entry_risk=Decimal("0.001"), max_leverage=1, allowed_symbols=("ETHUSDT",)
    )

    desk.signal("close", candle=1)
    desk.settle()

    assert desk.venue.qty == 0


def test_opposite_entry_above_a_cap_leaves_the_open_position_alone() -> None:
    desk = capped(max_entry_risk=Decimal("0.2"))
    desk.enter(ENTRY, candle=1)

    commands = desk.signal("short(30%risk@10x,sl=2%)", candle=2)

    assert orders_in(commands) == []
    assert desk.trade.closes == 0


def test_entry_that_waits_for_a_reversal_is_held_to_the_caps_again() -> None:
    desk = capped(max_entry_risk=Decimal("0.1"))
    desk.enter(ENTRY, candle=1)
    desk.signal("short(9.9%risk@10x,sl=2%)", candle=2)
    desk.config = dataclasses.replace(desk.config, max_entry_risk=Decimal("0.05"))

    desk.settle()

    assert desk.state.trade is None
    assert desk.venue.qty == 0
    assert "(--max-risk)" in desk.notes(NoteKind.REFUSED)[-1]


def test_caps_are_on_record_and_a_record_without_them_has_none() -> None:
    config = CoreConfig(
        max_entry_risk=Decimal("0.2"), max_leverage=50, allowed_symbols=(SYMBOL, "ETHUSDT")
    )

    assert decoded(CONFIG, encoded(config)) == config
    old = decoded(CONFIG, '{"stop_deadline_s":2.2}')
    assert (old.max_entry_risk, old.max_leverage, old.allowed_symbols) == (0, 0, ())


def test_a_recorded_refusal_is_given_again() -> None:
    desk = capped(max_leverage=5)
    before = desk.book

    first = desk.signal(ENTRY)
    _, again = step(
        before,
        signal(ENTRY, price=desk.venue.price),
        desk.venue.now_ms,
        decoded(CONFIG, encoded(desk.config)),
    )

    assert [encoded(command) for command in again] == [encoded(command) for command in first]


# --- no entry goes out above the caps, whatever a script asks for --------------------------------

amounts = st.tuples(st.decimals("0.01", "100", places=2), st.sampled_from(["risk", "margin"])).map(
    lambda part: f"{part[0]}%{part[1]}"
)
leverages = st.one_of(st.integers(1, 125).map(str), st.decimals("1", "125", places=2).map(str))
distances = st.one_of(
    st.decimals("0.01", "60", places=2).map(lambda value: f"{value}%"),
    st.decimals("0.1", "20", places=1).map(lambda value: f"{value}atr"),
    st.integers(1, 100_000).map(str),
)
options = st.one_of(
    st.just(""),
    distances.map(lambda text: f",sl={text}"),
    distances.map(lambda text: f",tp={text}"),
    st.tuples(distances, st.decimals("0.1", "9", places=1)).map(
        lambda part: f",sl={part[0]},rr={part[1]}"
    ),
)
actions = st.builds(
    lambda side, amount, leverage, option: f"{side}({amount}@{leverage}x{option})",
    st.sampled_from(["long", "short"]), amounts, leverages, options,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    action=actions,
    price=st.sampled_from(["50000", "1234.5", "90000"]),
    risk=st.decimals("0.001", "0.5", places=3),
    leverage=st.integers(1, 125),
    is_reversal=st.booleans(),
)
def test_no_entry_goes_out_above_the_caps(
    action: str, price: str, risk: Decimal, leverage: int, is_reversal: bool
) -> None:
    desk = capped(price=price, max_entry_risk=Decimal(0))
    if is_reversal:
        opposite = "short" if action.startswith("long") else "long"
        desk.enter(f"{opposite}(2%margin@2x)", candle=1)
    already = len(of_type(Enter, desk.log))
    desk.config = CoreConfig(max_entry_risk=risk, max_leverage=leverage)
    equity = desk.venue.wallet
    desk.venue.now_ms += HOUR_MS

    desk.signal(action, candle=2, atr=str(Decimal(price) / 100))
    desk.settle()

    entered = of_type(Enter, desk.log)[already:]
    assert len(entered) <= 1
    if entered:
        trade = desk.trade
        assert desk.venue.leverage <= leverage
        # The stop is measured from the fill, here at the price for sizing.
        assert loss_at_stop(trade) <= risk * equity
