"""An opposite entry closes the open position, then opens the new one."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from milo.commands import Enter, NoteKind, Place
from milo.events import AccountEvent, OrderEvent, StreamReset
from milo.inbox import CoreEvent, Failed, Failure
from milo.model import Direction, ExitReason, Side
from milo.orders.ids import Leg, leg_of
from tests.order_desk import HOUR_MS, SYMBOL, Desk, of_type, orders_in

LONG = "long(1%risk@10x,sl=2%,rr=3)"
SHORT = "short(1%risk@10x,sl=2%,rr=3)"


def reversing() -> tuple[Desk, list[CoreEvent]]:
    """Return a desk whose long is being reversed, and what the close will bring."""
    desk = Desk()
    desk.enter(LONG, candle=1)
    desk.venue.now_ms = 2 * HOUR_MS
    place = desk.signal(SHORT, candle=2)[0]
    desk.due.clear()
    return desk, desk.carry_out(place)


def told(events: list[CoreEvent], kind: type[CoreEvent]) -> list[CoreEvent]:
    return [event for event in events if isinstance(event, kind)]


def test_the_open_position_is_closed_first() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)

    orders = orders_in(desk.signal(SHORT, candle=2))

    assert [leg_of(order.client_id) for order in orders] == [Leg.REVERSE]
    assert orders[0].is_reduce_only


def test_the_new_position_stands_with_its_own_stop_and_target() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)

    desk.signal(SHORT, candle=2)
    desk.settle()

    assert desk.trade.direction is Direction.SHORT
    assert desk.trade.is_stop_confirmed
    assert desk.venue.is_protected
    assert [row.reason for row in desk.rows()] == [ExitReason.REVERSE]
    assert desk.profit() == desk.earned()


def test_the_entry_waits_for_fills_and_account_to_agree_on_flat() -> None:
    desk, events = reversing()

    after_fill = desk.deliver(*told(events, OrderEvent))
    after_account = desk.deliver(*told(events, AccountEvent))

    assert of_type(Enter, after_fill) == []
    assert len(of_type(Enter, after_account)) == 1


def test_the_account_may_be_told_before_the_fill() -> None:
    desk, events = reversing()

    after_account = desk.deliver(*told(events, AccountEvent))
    after_fill = desk.deliver(*told(events, OrderEvent))

    assert of_type(Enter, after_account) == []
    assert len(of_type(Enter, after_fill)) == 1


def test_the_new_entry_is_sized_with_what_the_account_then_has() -> None:
    desk, events = reversing()

    desk.deliver(*events)
    entry = of_type(Enter, desk.due)[0].order

    assert desk.book.account is not None
    assert desk.book.account.wallet == desk.venue.wallet < 10_000
    assert entry.side is Side.SELL


def test_the_second_leg_can_be_refused_and_then_the_account_is_flat() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)
    desk.venue.refusals["e"] = -2019

    desk.signal(SHORT, candle=2)
    desk.settle()

    assert desk.state.trade is None
    assert desk.venue.qty == 0
    assert list(desk.venue.live()) == []
    assert "refused (-2019)" in desk.notes(NoteKind.REFUSED)[0]


def test_a_second_leg_that_can_no_longer_be_sized_is_told() -> None:
    desk, events = reversing()
    poor = dataclasses.replace(told(events, AccountEvent)[0], wallet=Decimal(5))

    desk.deliver(poor, *told(events, OrderEvent))

    assert of_type(Enter, desk.due) == []
    assert "not sent after the close" in desk.notes(NoteKind.REFUSED)[0]
    assert desk.state.queued is None


def test_an_opposite_entry_that_cannot_be_sent_closes_nothing() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)

    commands = desk.signal("short(0.001%risk@10x,sl=5%)", candle=2)

    assert orders_in(commands) == []
    assert not desk.trade.is_closing


def test_signals_while_the_reversal_is_under_way_do_nothing() -> None:
    desk, _ = reversing()

    assert desk.signal(LONG, candle=2) == []
    assert desk.signal(SHORT, candle=2) == []


def test_signals_while_the_new_entry_waits_for_the_account_do_nothing() -> None:
    desk, events = reversing()
    desk.deliver(*told(events, OrderEvent))

    assert desk.state.trade is None
    assert desk.signal(LONG, candle=3) == []
    assert desk.state.queued is not None


def test_a_close_while_the_reversal_is_under_way_calls_the_new_entry_off() -> None:
    desk, events = reversing()

    desk.signal("close", candle=2)
    desk.deliver(*events)

    assert of_type(Enter, desk.due) == []
    assert desk.state.trade is None


def test_a_refused_close_calls_the_new_entry_off_and_says_so() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)
    desk.venue.refusals["r"] = -4131

    desk.signal(SHORT, candle=2)
    desk.settle()

    assert desk.trade.direction is Direction.LONG
    assert desk.venue.is_protected
    assert "the close before it failed" in desk.notes(NoteKind.REFUSED)[0]


def test_the_stop_may_be_faster_than_the_close() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)
    place = desk.signal(SHORT, candle=2)[0]
    desk.due.clear()
    stopped = desk.venue.move_to(Decimal(49_000), later_ms=0)

    refused = desk.carry_out(place)
    desk.deliver(*told(stopped, AccountEvent), *refused)
    desk.deliver(*(event for event in stopped if not isinstance(event, AccountEvent)))
    desk.settle()

    assert [row.reason for row in desk.rows()] == [ExitReason.STOP]
    assert desk.trade.direction is Direction.SHORT
    assert desk.venue.is_protected


def test_a_reversal_that_comes_through_too_late_is_not_carried_out() -> None:
    desk, events = reversing()

    desk.venue.now_ms = 4 * HOUR_MS
    desk.deliver(*events)

    assert of_type(Enter, desk.due) == []
    assert "has closed already" in desk.notes(NoteKind.REFUSED)[0]


def test_the_new_entry_waits_while_the_account_is_stale() -> None:
    desk, events = reversing()
    desk.deliver(StreamReset(route="user", reason="was silent"))

    at_once = desk.deliver(*events)
    desk.settle()

    assert of_type(Enter, at_once) == []
    assert desk.trade.direction is Direction.SHORT


def test_a_reversal_counts_as_the_entry_of_its_candle() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)
    desk.signal(SHORT, candle=2)
    desk.settle()
    desk.signal(LONG, candle=2)
    desk.settle()

    assert desk.trade.direction is Direction.LONG
    assert desk.signal(SHORT, candle=2) == []


def test_a_close_of_unknown_outcome_is_looked_up_before_anything_else() -> None:
    desk = Desk()
    desk.enter(LONG, candle=1)
    place = desk.signal(SHORT, candle=2)[0]
    assert isinstance(place, Place)
    desk.carry_out(place)
    desk.due.clear()

    desk.deliver(
        Failed(
            symbol=SYMBOL,
            client_id=place.order.client_id,
            failure=Failure.UNKNOWN,
            code=0,
            text="no answer",
        )
    )
    desk.settle()

    sold = [fill for fill in desk.venue.fills if fill.side is Side.SELL]
    assert sum(fill.qty for fill in sold) == Decimal("0.095")
    assert desk.rows()[0].reason is ExitReason.REVERSE
