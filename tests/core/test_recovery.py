"""A run that follows a dead one goes on from its book, and finds out what it cannot know."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import Command, LookUp, Place, WatchStop
from milo.inbox import ReconcileDue
from milo.model import ExitReason, OrderType, Side
from milo.orders.ids import Leg, leg_of
from milo.orders.machine import OrderState
from milo.orders.recover import book_to_resume
from tests.order_desk import SYMBOL, Desk, of_type, orders_in
from tests.paper_venue import PaperVenue

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"
NEXT = "1run1run"


def resume(desk: Desk) -> None:
    """Let the engine die and come back; what its start asks for is carried out."""
    desk.deliver(*desk.die_and_resume(NEXT))
    desk.settle()


def test_an_entry_that_was_written_down_and_never_sent_is_given_up() -> None:
    desk = Desk()
    desk.signal(ENTRY)

    resume(desk)

    assert desk.state.trade is None
    assert desk.venue.qty == 0
    assert [own.state for own in desk.state.orders.values() if own.leg is Leg.ENTRY] == [
        OrderState.ABSENT
    ]


def test_an_entry_that_filled_as_the_engine_died_is_found_and_protected_as_asked_for() -> None:
    desk = Desk()
    desk.carry_out(desk.signal(ENTRY)[0])

    resume(desk)

    assert desk.trade.stop_price == 49_000
    assert desk.trade.target_price == 53_000
    assert desk.trade.is_stop_confirmed
    assert desk.venue.is_protected
    assert desk.profit() == desk.earned()


def test_the_first_thing_sent_for_an_entry_in_doubt_is_its_stop() -> None:
    desk = Desk()
    desk.carry_out(desk.signal(ENTRY)[0])

    before = len(desk.log)
    desk.die_and_resume(NEXT)

    sent = orders_in(desk.log[before:])
    assert [order.type for order in sent] == [OrderType.STOP_MARKET]
    assert sent[0].client_id.startswith(f"milo-{NEXT}-")


def test_a_stop_that_stood_is_kept() -> None:
    desk = Desk()
    stop_id = desk.enter(ENTRY).stop_id

    resume(desk)

    assert desk.trade.stop_id == stop_id
    assert [o.client_id for o in desk.venue.live() if leg_of(o.client_id) is Leg.STOP] == [stop_id]


@pytest.mark.parametrize("has_algo_service", [True, False])
def test_a_stop_that_was_written_down_and_never_sent_is_sent(has_algo_service: bool) -> None:
    desk = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=has_algo_service))
    events = desk.carry_out(desk.signal(ENTRY)[0])
    desk.deliver(*events)
    assert any(order.type is OrderType.STOP_MARKET for order in orders_in(desk.due))

    resume(desk)

    assert desk.trade.is_stop_confirmed
    assert desk.venue.is_protected


def test_a_stop_that_filled_while_the_engine_was_dead_gets_its_row() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.move_to(desk.venue.price * 97 / 100)
    assert desk.venue.qty == 0

    resume(desk)

    assert desk.state.trade is None
    assert len(desk.rows()) == 1
    assert desk.profit() == desk.earned()


def test_a_candle_that_was_acted_upon_before_is_not_acted_upon_again() -> None:
    desk = Desk()
    desk.enter(ENTRY, candle=5)
    desk.signal("close", candle=5)
    desk.settle()

    resume(desk)
    again = desk.signal(ENTRY, candle=5)

    assert orders_in(again) == []


def test_lost_deadlines_run_again() -> None:
    desk = Desk()
    events = desk.carry_out(desk.signal(ENTRY)[0])
    desk.deliver(*events)
    assert not desk.trade.is_stop_confirmed
    before = len(desk.log)

    desk.die_and_resume(NEXT)

    watches = of_type(WatchStop, desk.log[before:])
    assert desk.trade.stop_watch in [watch.client_id for watch in watches]


def test_symbols_with_nothing_open_are_forgotten_unless_they_are_traded_on() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.move_to("48000")

    assert book_to_resume(desk.book, run_id=NEXT, symbols=[]).symbols == {}
    assert list(book_to_resume(desk.book, run_id=NEXT, symbols=[SYMBOL]).symbols) == [SYMBOL]


def test_a_position_of_a_symbol_that_no_script_trades_any_more_is_kept() -> None:
    desk = Desk()
    desk.enter(ENTRY)

    assert list(book_to_resume(desk.book, run_id=NEXT, symbols=[]).symbols) == [SYMBOL]


def test_brackets_that_went_with_their_position_are_not_asked_about() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.move_to(desk.venue.price * 97 / 100)
    resume(desk)
    before = len(desk.log)

    desk.die_and_resume("2run2run")

    assert of_type(LookUp, desk.log[before:]) == []
    assert of_type(Place, desk.log[before:]) == []


def test_a_close_that_never_arrived_does_not_leave_the_rest_of_a_stop_bare() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    closing = orders_in(desk.signal("close", candle=1))[0]
    desk.venue.parts, desk.venue.is_dry = [Decimal("0.03")], True
    desk.venue.move_to(Decimal(48_990))
    assert desk.venue.qty > 0

    read = desk.die_and_resume(NEXT)
    desk.due = [command for command in desk.due if not _is_look_up(command, closing.client_id)]
    desk.deliver(*read)
    desk.settle()
    watches = [watch.client_id for watch in of_type(WatchStop, desk.log)]
    assert closing.client_id in watches
    desk.overdue(closing.client_id)
    desk.settle()

    assert desk.venue.qty == 0
    assert desk.profit() == desk.earned()


def test_what_happened_while_the_clock_was_wrong_is_not_overlooked() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    ahead_ms = desk.venue.now_ms + 500_000
    read = dataclasses.replace(desk.venue.account_read(), began_ms=ahead_ms, has_funding=True)
    desk.deliver(read)
    desk.venue.fund(Decimal("0.0001"))
    desk.venue.now_ms += 200_000
    desk.venue.trade_by_hand(Side.SELL, desk.trade.qty)

    resume(desk)

    assert desk.state.trade is None
    assert [row.reason for row in desk.rows()] == [ExitReason.CLOSE]
    assert desk.profit() == desk.earned()


def test_an_end_that_lies_before_what_was_read_is_looked_for_from_the_entry_on() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.move_to(Decimal(48_990), later_ms=1_000)
    desk.venue.now_ms += 900_000
    # As if a reading that should have told of it had not.
    desk.deliver(dataclasses.replace(desk.venue.account_read(), began_ms=desk.venue.now_ms))

    desk.deliver(ReconcileDue())
    desk.settle()

    assert [row.reason for row in desk.rows()] == [ExitReason.STOP]
    assert desk.profit() == desk.earned()


def _is_look_up(command: Command, client_id: str) -> bool:
    return isinstance(command, LookUp) and command.client_id == client_id
