"""How positions end: by stop, target, script, liquidation or another hand, wholly or in part."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import Cancel, NoteKind, ReadAccount, WatchStop
from milo.events import AlgoEvent, OrderEvent
from milo.inbox import Absent, CoreEvent, Failed, Failure, FillFound
from milo.model import ExitReason, OrderStatus, OrderType, Side
from milo.orders.ids import Leg, leg_of
from tests.order_desk import BTC, SYMBOL, Desk, of_type, orders_in
from tests.paper_venue import PaperVenue

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"


def open_desk(action: str = ENTRY, **venue: object) -> Desk:
    desk = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000), **venue))  # type: ignore[arg-type]
    desk.enter(action)
    return desk


def assert_flat(desk: Desk) -> None:
    assert desk.state.trade is None
    assert desk.venue.qty == 0
    assert list(desk.venue.live()) == []
    assert desk.profit() == desk.earned()


# --- stop, target, liquidation ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "price", "reason"),
    [
        (ENTRY, "49000", ExitReason.STOP),
        (ENTRY, "53000", ExitReason.TARGET),
        ("short(1%risk@10x,sl=2%,rr=3)", "51000", ExitReason.STOP),
        ("short(1%risk@10x,sl=2%,rr=3)", "47000", ExitReason.TARGET),
    ],
)
def test_a_level_that_is_met_ends_the_position_with_its_reason(
    action: str, price: str, reason: ExitReason
) -> None:
    desk = open_desk(action)

    desk.move_to(price)

    assert_flat(desk)
    assert [row.reason for row in desk.rows()] == [reason]
    assert desk.rows()[0].exit_price == Decimal(price)


def test_the_loss_at_the_stop_is_the_risk_that_was_asked_for() -> None:
    desk = open_desk()

    desk.move_to("49000")

    assert Decimal(-100) <= desk.rows()[0].profit < Decimal("-98.9")


def test_the_end_is_told_in_one_line() -> None:
    desk = open_desk()

    desk.move_to("53000")

    assert desk.notes(NoteKind.EXIT) == [
        "long 0.095 closed @ 53,000.0 by target: +280.11 USDT (fees 4.89)"
    ]


def test_a_liquidation_is_told_as_one() -> None:
    desk = open_desk()

    desk.deliver(*desk.venue.liquidate())

    assert_flat(desk)
    assert desk.rows()[0].reason is ExitReason.LIQUIDATION


def test_a_stop_whose_order_has_a_name_of_the_exchange_is_still_the_stop() -> None:
    desk = open_desk(names_triggered_orders=False)

    desk.move_to("49000")

    assert_flat(desk)
    assert desk.rows()[0].reason is ExitReason.STOP


def test_the_fill_may_be_told_before_the_trigger() -> None:
    desk = open_desk(names_triggered_orders=False)
    events = desk.venue.move_to(Decimal(49_000))

    desk.deliver(*sorted(events, key=lambda event: isinstance(event, AlgoEvent)))

    assert_flat(desk)
    assert desk.rows()[0].reason is ExitReason.STOP


def test_a_stop_that_slipped_to_a_better_price_is_still_the_stop() -> None:
    desk = open_desk(names_triggered_orders=False)
    events = desk.venue.move_to(Decimal(49_000))
    fill_event = next(event for event in events if _is_fill(event))
    assert isinstance(fill_event, OrderEvent)
    assert fill_event.fill is not None
    better = dataclasses.replace(fill_event.fill, price=Decimal(49_020))

    desk.deliver(dataclasses.replace(fill_event, fill=better))

    assert desk.rows()[0].reason is ExitReason.STOP


def test_an_execution_known_by_number_is_credited_to_the_stop_that_turns_out_to_be_it() -> None:
    desk = open_desk()
    events = desk.venue.move_to(Decimal(49_000))
    stop_id = desk.trade.stop_id
    assert stop_id is not None

    desk.deliver(FillFound(fill=desk.venue.fills_since(0)[-1]))
    commands = desk.deliver(*(event for event in events if isinstance(event, AlgoEvent)))

    assert desk.state.orders[stop_id].is_complete
    assert of_type(WatchStop, commands) == []


@pytest.mark.parametrize("has_algo_service", [True, False])
def test_the_end_of_the_brackets_may_be_told_before_the_fill(has_algo_service: bool) -> None:
    desk = open_desk(has_algo_service=has_algo_service)
    events = desk.venue.move_to(Decimal(49_000))

    desk.deliver(*sorted(events, key=_is_fill))
    desk.settle()

    assert_flat(desk)
    assert len(desk.rows()) == 1


def _is_fill(event: CoreEvent) -> bool:
    return isinstance(event, OrderEvent) and event.fill is not None


def test_events_told_twice_change_nothing() -> None:
    desk = open_desk()
    events = desk.venue.move_to(Decimal(49_000))
    desk.deliver(*events)
    rows, book = desk.rows(), desk.book

    again = desk.deliver(*events)

    assert desk.rows() == rows
    assert desk.book.symbols[SYMBOL].trade is None
    assert desk.book.account == book.account
    assert orders_in(again) == []


def test_where_the_venue_keeps_brackets_of_a_gone_position_they_are_cancelled() -> None:
    desk = open_desk(has_algo_service=False)
    target_id = desk.trade.target_id

    desk.deliver(*desk.venue.move_to(Decimal(49_000)))
    cancels = of_type(Cancel, desk.due)
    desk.settle()

    assert [cancel.client_id for cancel in cancels] == [target_id]
    assert_flat(desk)


def test_where_the_venue_ends_them_itself_nothing_is_cancelled() -> None:
    desk = open_desk()

    desk.move_to("49000")

    assert of_type(Cancel, desk.log) == []


# --- by the script ------------------------------------------------------------------------------


def test_close_sends_a_reducing_market_order_for_all() -> None:
    desk = open_desk()

    order = orders_in(desk.signal("close", candle=1))[0]
    desk.settle()

    assert (order.type, order.side, order.qty) == (OrderType.MARKET, Side.SELL, Decimal("0.095"))
    assert order.is_reduce_only
    assert_flat(desk)
    assert desk.rows()[0].reason is ExitReason.CLOSE


def test_close_without_a_position_does_nothing() -> None:
    assert Desk().signal("close") == []


def test_one_exit_for_a_side_and_candle() -> None:
    desk = open_desk()

    first = desk.signal("close(10%)", candle=1)
    desk.settle()

    assert len(orders_in(first)) == 1
    assert desk.signal("close(10%)", candle=1) == []
    assert desk.signal("close", candle=1) == []
    assert len(orders_in(desk.signal("close", candle=2))) == 1


def test_a_part_is_closed_down_to_the_step_and_is_a_row_of_its_own() -> None:
    desk = open_desk()

    desk.signal("close(50%)", candle=1)
    desk.settle()
    desk.move_to("49000")

    assert [(row.qty, row.reason) for row in desk.rows()] == [
        (Decimal("0.047"), ExitReason.CLOSE),
        (Decimal("0.048"), ExitReason.STOP),
    ]
    assert_flat(desk)


def test_a_part_keeps_the_rest_protected() -> None:
    desk = open_desk()

    desk.signal("close(50%)", candle=1)
    desk.settle()

    assert desk.trade.qty == Decimal("0.048")
    assert desk.trade.is_stop_confirmed
    assert desk.venue.is_protected


def test_a_part_below_the_minimum_is_refused_and_told_once() -> None:
    desk = open_desk("long(0.6%margin@1x)")
    assert desk.trade.qty == Decimal("0.001")

    commands = [*desk.signal("close(50%)", candle=1), *desk.signal("close(50%)", candle=1)]

    assert orders_in(commands) == []
    assert len(desk.notes(NoteKind.REFUSED)) == 1
    assert "rounds down to 0" in desk.notes(NoteKind.REFUSED)[0]


def test_a_close_in_parts_is_one_row_with_the_average_price() -> None:
    desk = open_desk()
    desk.venue.parts = [Decimal("0.03"), Decimal("0.05")]

    desk.signal("close", candle=1)
    desk.settle()

    assert [row.qty for row in desk.rows()] == [Decimal("0.095")]
    assert_flat(desk)


def test_a_position_larger_than_one_market_order_is_closed_by_several() -> None:
    small = dataclasses.replace(BTC, market_max_qty=Decimal("0.05"))
    desk = Desk(instrument=small)
    desk.enter("long(20%margin@1x)")
    desk.venue.trade_by_hand(Side.BUY, Decimal("0.001"))
    smaller = dataclasses.replace(BTC, market_max_qty=Decimal("0.015"))
    desk.deliver(dataclasses.replace(desk.state.ready, instrument=smaller))

    desk.signal("close", candle=1)
    desk.settle()

    sent = [order.qty for order in orders_in(desk.log) if order.is_reduce_only]
    assert sent == [Decimal("0.015"), Decimal("0.015"), Decimal("0.01")]
    assert desk.state.trade is None


# --- a closing order that fails -----------------------------------------------------------------


def failed(client_id: str, failure: Failure) -> Failed:
    return Failed(symbol=SYMBOL, client_id=client_id, failure=failure, code=-1, text="no")


def test_a_refused_close_leaves_the_stop_and_reads_the_account() -> None:
    desk = open_desk()
    order = orders_in(desk.signal("close", candle=1))[0]
    desk.due.clear()

    commands = desk.deliver(failed(order.client_id, Failure.REFUSED))

    assert of_type(ReadAccount, commands)
    assert not desk.trade.is_closing
    assert desk.venue.is_protected
    assert "closing order refused" in desk.notes(NoteKind.PROBLEM)[0]


def test_a_refused_close_does_not_hinder_the_next_candles() -> None:
    desk = open_desk()
    desk.venue.refusals["c"] = -4131
    desk.signal("close", candle=1)
    desk.settle()

    desk.signal("close", candle=2)
    desk.settle()

    assert_flat(desk)


def test_a_close_that_was_executed_unseen_is_found() -> None:
    desk = open_desk()
    place = desk.signal("close", candle=1)[0]
    order = orders_in([place])[0]
    desk.carry_out(place)
    desk.due.clear()

    desk.deliver(failed(order.client_id, Failure.UNKNOWN))
    desk.settle()

    assert desk.state.trade is None
    assert desk.rows()[0].reason is ExitReason.CLOSE
    assert desk.profit() == desk.earned()


def test_a_close_that_never_arrived_is_told_and_the_position_read() -> None:
    desk = open_desk()
    order = orders_in(desk.signal("close", candle=1))[0]
    desk.due.clear()
    desk.deliver(failed(order.client_id, Failure.UNKNOWN))

    commands = desk.deliver(Absent(symbol=SYMBOL, client_id=order.client_id))

    assert of_type(ReadAccount, commands)
    assert not desk.trade.is_closing


def test_a_close_of_unknown_outcome_is_sent_again_once_the_stop_ends_half_way() -> None:
    desk = open_desk()
    closing = orders_in(desk.signal("close", candle=1))[0]
    desk.due.clear()
    desk.deliver(failed(closing.client_id, Failure.UNKNOWN))
    desk.due.clear()
    # The stop stands: nothing more is sent yet.
    assert orders_in(desk.overdue(closing.client_id)) == []

    desk.venue.parts, desk.venue.is_dry = [Decimal("0.03")], True
    told = desk.deliver(*desk.venue.move_to(Decimal(48_990)))
    assert desk.venue.qty > 0
    assert closing.client_id in [watch.client_id for watch in of_type(WatchStop, told)]
    desk.due.clear()
    desk.overdue(closing.client_id)
    desk.settle()

    assert_flat(desk)


def test_a_close_of_unknown_outcome_is_sent_again_where_the_stop_hangs_in_its_trigger() -> None:
    desk = open_desk()
    closing = orders_in(desk.signal("close", candle=1))[0]
    desk.due.clear()
    desk.deliver(failed(closing.client_id, Failure.UNKNOWN))
    desk.due.clear()
    triggered = next(
        event
        for event in desk.venue.move_to(Decimal(48_990))
        if isinstance(event, AlgoEvent) and event.report.status is OrderStatus.TRIGGERED
    )
    desk.deliver(triggered)

    sent = orders_in(desk.overdue(closing.client_id))

    assert [leg_of(order.client_id) for order in sent] == [Leg.STOP]


def test_a_close_that_expires_half_way_writes_its_row_and_frees_the_position() -> None:
    desk = open_desk()
    place = desk.signal("close", candle=1)[0]
    desk.due.clear()
    desk.venue.parts, desk.venue.is_dry = [Decimal("0.03")], True

    desk.deliver(*desk.carry_out(place))

    assert [row.qty for row in desk.rows()] == [Decimal("0.03")]
    assert desk.trade.qty == Decimal("0.065")
    assert not desk.trade.is_closing
    assert desk.venue.is_protected
    assert "0.03 of 0.095 closed" in desk.notes(NoteKind.PROBLEM)[0]


def test_refused_closes_are_repeated_with_growing_pauses() -> None:
    desk = open_desk()
    pauses = []
    for candle in range(1, 5):
        order = orders_in(desk.signal("close", candle=candle))[0]
        commands = desk.deliver(failed(order.client_id, Failure.REFUSED))
        pauses += [watch.after_s for watch in of_type(WatchStop, commands)]

    assert pauses == [0.25, 0.5, 1.0, 1.0]


def test_after_the_pause_a_refused_close_is_sent_again() -> None:
    desk = open_desk()
    order = orders_in(desk.signal("close", candle=1))[0]
    desk.deliver(failed(order.client_id, Failure.REFUSED), desk.venue.account_read())
    desk.due.clear()

    commands = desk.overdue(order.client_id)

    assert [leg_of(order.client_id) for order in orders_in(commands)] == [Leg.CLOSE]


def test_orders_of_the_past_are_forgotten_in_the_end() -> None:
    desk = Desk()
    for candle in range(1, 60):
        desk.enter(ENTRY, candle=candle)
        desk.signal("close", candle=candle)
        desk.settle()

    assert 100 <= len(desk.state.orders) <= 105


# --- by others ----------------------------------------------------------------------------------


def test_a_position_closed_by_hand_is_closed_in_the_book() -> None:
    desk = open_desk()

    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal("0.095")))

    assert_flat(desk)
    assert desk.rows()[0].reason is ExitReason.CLOSE


def test_a_part_closed_by_hand_is_a_row() -> None:
    desk = open_desk()

    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal("0.005")))

    assert [row.qty for row in desk.rows()] == [Decimal("0.005")]
    assert desk.trade.qty == Decimal("0.09")


def test_what_others_add_to_the_position_is_told_and_closed_with_it_by_the_stop() -> None:
    desk = open_desk()

    desk.deliver(*desk.venue.trade_by_hand(Side.BUY, Decimal("0.005")))
    desk.settle()
    desk.move_to("49000")

    assert desk.venue.qty == 0
    assert desk.state.trade is None
    assert desk.state.foreign_qty == 0
    assert "not ordered by Milo" in desk.notes(NoteKind.PROBLEM)[0]


def test_when_others_turn_the_position_over_only_ours_is_taken_as_closed() -> None:
    desk = open_desk()

    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal("0.1")))

    assert [row.qty for row in desk.rows()] == [Decimal("0.095")]
    assert desk.state.foreign_qty == Decimal("-0.005")
    assert orders_in(desk.signal(ENTRY, candle=5)) == []
