"""Sizing's word against the embedded exchange's own books: a stop never costs more than was asked.

The exchange knows nothing of Milo's trading core; it fills at the prices of the candles and takes
its own fees: what is missing in the wallet afterwards is the loss.
"""

from __future__ import annotations

import functools
import tempfile
from decimal import Decimal
from pathlib import Path

import msgspec
from exchange_market import Exchange, Minute, e8, flat
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from milo.exchange.instruments import brackets_json
from milo.model import (
    AmountKind,
    CommissionRate,
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    Instrument,
    LeverageBracket,
)
from milo.money import plain
from milo.orders.protection import Unprotectable
from milo.orders.sizing import EntryRefused, Sized, SizingInput, size_entry
from milo.wire.account import read_leverage_brackets
from milo.wire.market import read_exchange_info

SYMBOL = "BTCUSDT"
FEES = CommissionRate(maker=Decimal("0.0002"), taker=Decimal("0.0005"))
UNIT = Decimal("0.00000001")


@functools.cache
def rules() -> tuple[Instrument, tuple[LeverageBracket, ...]]:
    """Return the symbol as the exchange itself tells it."""
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(Path(folder), flat("50000.0", 2))
        info = read_exchange_info(exchange.call("GET", "/fapi/v1/exchangeInfo").body)
        brackets = read_leverage_brackets(msgspec.json.encode(brackets_json(exchange.venue.specs)))
    return info.instruments[SYMBOL], brackets[SYMBOL]


def sized(intent: EntryIntent, *, price: Decimal, balance: Decimal) -> Sized:
    instrument, brackets = rules()
    given_now = SizingInput(
        price=price,
        atr=None,
        equity=balance,
        available=balance,
        instrument=instrument,
        brackets=brackets,
        fees=FEES,
    )
    return size_entry(intent, given_now)


def wallet_after(sized: Sized, direction: Direction, end: Decimal, balance: Decimal) -> Decimal:
    """Let the exchange carry out entry and brackets, while the price goes to `end`."""
    start, last = plain(sized.price), plain(end)
    moving: Minute = (start, max(start, last, key=Decimal), min(start, last, key=Decimal), last)
    with tempfile.TemporaryDirectory() as folder:
        exchange = Exchange(Path(folder), [*flat(start), moving, *flat(last)], balance=f"{balance}")
        exchange.leverage(sized.leverage)
        exchange.order(side=str(direction.entry_side), type="MARKET", quantity=plain(sized.qty))
        side = str(direction.exit_side)
        stop = plain(sized.protection.stop_price)
        exchange.algo(side, "STOP_MARKET", triggerPrice=stop, closePosition="true")
        target = sized.protection.target_price
        if target is not None:
            at = plain(target)
            exchange.algo(side, "TAKE_PROFIT_MARKET", triggerPrice=at, closePosition="true")
        exchange.play()
        assert not exchange.state.position(SYMBOL).is_open
        assert len(exchange.state.trades) == 2
        return Decimal(exchange.state.wallet) / e8("1")


INTENTS = st.builds(
    EntryIntent,
    direction=st.sampled_from(Direction),
    amount=st.decimals(Decimal("0.1"), 30, places=1),
    amount_kind=st.just(AmountKind.RISK),
    leverage=st.sampled_from((1, 3, 10, 25, 50, 125)).map(Decimal),
    stop=st.decimals(Decimal("0.1"), 20, places=2).map(
        lambda percent: Distance(percent, DistanceKind.PERCENT)
    ),
    reward_ratio=st.decimals(Decimal("0.2"), 3, places=1),
)
PRICES = st.integers(10_000_0, 90_000_0).map(lambda tenths: Decimal(tenths) / 10)
BALANCES = st.integers(200, 1_000_000).map(Decimal)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(intent=INTENTS, price=PRICES, balance=BALANCES)
def test_a_stop_costs_what_was_said_and_never_more_than_was_asked(
    intent: EntryIntent, price: Decimal, balance: Decimal
) -> None:
    try:
        entry = sized(intent, price=price, balance=balance)
    except (EntryRefused, Unprotectable):
        assume(False)
    beyond = entry.protection.stop_price - intent.direction.sign * price / 100

    left = wallet_after(entry, intent.direction, _on_tick(beyond), balance)

    lost = balance - left
    # The wallet keeps eight decimals, and each of the two trades rounds once or twice.
    assert abs(lost - entry.loss_at_stop) <= 4 * UNIT
    assert lost <= balance * intent.amount / 100 + 4 * UNIT


@settings(max_examples=75, suppress_health_check=list(HealthCheck))
@given(intent=INTENTS, price=PRICES, balance=BALANCES)
def test_a_target_earns_what_was_said(
    intent: EntryIntent, price: Decimal, balance: Decimal
) -> None:
    try:
        entry = sized(intent, price=price, balance=balance)
    except (EntryRefused, Unprotectable):
        assume(False)
    target = entry.protection.target_price
    assert target is not None
    assert entry.profit_at_target is not None
    beyond = target + intent.direction.sign * price / 100

    left = wallet_after(entry, intent.direction, _on_tick(beyond), balance)

    assert abs(left - balance - entry.profit_at_target) <= 4 * UNIT


def _on_tick(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.1"))
