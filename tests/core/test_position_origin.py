"""Which script opened a position, read from what the journal has of a run."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import msgspec

from milo.commands import Enter
from milo.events import AccountEvent, OrderEvent, PositionChange
from milo.inbox import Accepted, AccountRead, Signal
from milo.model import (
    Balance,
    Direction,
    NewOrder,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    Side,
)
from milo.orders.ids import Leg, client_id, key_of, signal_key
from milo.orders.origin import KINDS, Origin, script_of
from milo.script.actions import parse_action

RUN = "0run0run"
HOUR_MS = 3_600_000
Entry = tuple[str, str]

_encoder = msgspec.json.Encoder(decimal_format="string")


def entry(item: object, *, is_command: bool = False) -> Entry:
    """Write an item as the journal does."""
    kind = "command" if is_command else "event"
    return f"{kind}.{type(item).__name__}", _encoder.encode(item).decode()


def signal(script: str, *, symbol: str = "BTCUSDT", at: int = 1, action: str = "") -> Entry:
    text = action or "long(1%risk@10x,sl=2%)"
    intent = parse_action(text)
    assert intent is not None
    return entry(
        Signal(
            script=script,
            symbol=symbol,
            timeframe="1h",
            candle_open_ms=at * HOUR_MS,
            is_forming=False,
            action=text,
            intent=intent,
            price=Decimal(50000),
            atr=None,
        )
    )


def order_id(script: str, *, symbol: str = "BTCUSDT", at: int = 1, side: str = "long") -> str:
    return client_id(RUN, signal_key(script, symbol, at * HOUR_MS, f"entry-{side}"), Leg.ENTRY)


def enter(name: str, *, symbol: str = "BTCUSDT", side: Side = Side.BUY) -> Entry:
    order = NewOrder(
        symbol=symbol, side=side, type=OrderType.MARKET, client_id=name, qty=Decimal("0.1")
    )
    return entry(Enter(order=order, leverage=None, must_set_isolated=False), is_command=True)


def report(name: str, *, symbol: str = "BTCUSDT", filled: str = "0.1") -> OrderReport:
    return OrderReport(
        symbol=symbol,
        client_id=name,
        venue_id=1,
        side=Side.BUY,
        type=OrderType.MARKET,
        status=OrderStatus.FILLED,
        qty=Decimal("0.1"),
        filled_qty=Decimal(filled),
        avg_price=None,
        price=Decimal(0),
        trigger_price=Decimal(0),
        is_reduce_only=False,
        is_close_position=False,
        is_conditional=False,
        update_ms=1,
    )


def filled(name: str, *, symbol: str = "BTCUSDT") -> Entry:
    return entry(
        OrderEvent(
            report=report(name, symbol=symbol),
            execution="TRADE",
            fill=None,
            is_liquidation=False,
            event_ms=1,
        )
    )


def account(qty: str, *, symbol: str = "BTCUSDT") -> Entry:
    change = PositionChange(
        symbol=symbol,
        qty=Decimal(qty),
        entry_price=Decimal(50000),
        unrealized=Decimal(0),
        isolated_wallet=Decimal(0),
    )
    return entry(
        AccountEvent(
            reason="ORDER",
            wallet=None,
            change=Decimal(0),
            positions=(change,),
            funding_symbol=None,
            event_ms=1,
        )
    )


def read(*held: str) -> Entry:
    positions = tuple(
        PositionReport(
            symbol=symbol,
            qty=Decimal("0.1"),
            entry_price=Decimal(50000),
            mark_price=Decimal(50000),
            unrealized=Decimal(0),
            liquidation_price=Decimal(0),
            isolated_margin=Decimal(0),
        )
        for symbol in held
    )
    balance = Balance(wallet=Decimal(1), available=Decimal(1), unrealized=Decimal(0))
    return entry(AccountRead(balance=balance, positions=positions, orders=()))


def of_btc(*entries: Entry, direction: Direction = Direction.LONG) -> Origin | None:
    return script_of("BTCUSDT", direction, entries)


def test_the_script_whose_signal_fits_the_filled_entry_opened_it() -> None:
    name = order_id("trend")

    found = of_btc(read(), signal("trend"), enter(name), account("0.1"), filled(name))

    assert found == Origin("trend")


def test_an_answer_that_tells_the_fill_is_enough() -> None:
    name = order_id("trend")

    found = of_btc(signal("trend"), enter(name), entry(Accepted(report=report(name))))

    assert found == Origin("trend")


def test_a_position_from_before_the_run_is_not_told_of() -> None:
    assert of_btc(read("BTCUSDT")) is None
    assert of_btc() is None


def test_an_entry_that_never_filled_opened_nothing() -> None:
    name = order_id("trend")
    empty = entry(Accepted(report=report(name, filled="0")))

    assert of_btc(read("BTCUSDT"), signal("trend"), enter(name), empty) is None


def test_after_the_symbol_was_flat_the_position_is_nobodys() -> None:
    name = order_id("trend")

    found = of_btc(signal("trend"), enter(name), filled(name), account("0"))

    assert found == Origin(None)


def test_a_reading_without_the_symbol_says_flat_only_before_anything_was_entered() -> None:
    name = order_id("trend")

    late = of_btc(read(), signal("trend"), enter(name), filled(name), read())

    assert of_btc(read("ETHUSDT")) == Origin(None)
    assert late == Origin("trend")


def test_the_newest_entry_counts_and_other_symbols_do_not() -> None:
    first, second = order_id("trend"), order_id("swing", at=9)
    other = order_id("other", symbol="ETHUSDT")

    found = of_btc(
        signal("trend"), enter(first), filled(first), account("0"),
        signal("swing", at=9), enter(second), filled(second),
        signal("other", symbol="ETHUSDT"), enter(other, symbol="ETHUSDT"),
        filled(other, symbol="ETHUSDT"), account("0", symbol="ETHUSDT"),
    )  # fmt: skip

    assert found == Origin("swing")


def test_a_reversal_belongs_to_the_signal_that_asked_for_it() -> None:
    first, second = order_id("trend"), order_id("trend", at=2, side="short")

    found = of_btc(
        signal("trend"), enter(first), filled(first),
        signal("trend", at=2, action="short(1%risk@10x,sl=2%)"), account("0"),
        signal("trend", at=3, action="close"), enter(second, side=Side.SELL), filled(second),
        direction=Direction.SHORT,
    )  # fmt: skip

    assert found == Origin("trend")


def test_a_name_that_fits_no_signal_is_nobodys() -> None:
    name = order_id("trend")

    found = of_btc(signal("swing"), enter(name), filled(name))

    assert found == Origin(None)


def test_every_kind_that_is_looked_at_is_one_of_the_kinds_to_read() -> None:
    name = order_id("trend")
    entries = [read(), signal("trend"), enter(name), account("0.1"), filled(name),
               entry(Accepted(report=report(name)))]  # fmt: skip

    assert {kind for kind, _ in entries} == set(KINDS)


def test_the_key_is_found_in_ids_of_ours_only() -> None:
    assert key_of("milo-0run0run-0123456789-s2") == "0123456789"
    assert key_of("web_0run0run-0123456789-s2") is None
    assert key_of("milo-odd") is None


def test_reports_are_read_whatever_else_they_hold() -> None:
    name = order_id("trend")
    odd = dataclasses.replace(report(name), avg_price=Decimal(1), triggered_venue_id=5)

    found = of_btc(signal("trend"), enter(name), entry(Accepted(report=odd)))

    assert found == Origin("trend")
