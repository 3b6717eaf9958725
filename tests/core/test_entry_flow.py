"""From a signal to a protected position: entry, then stop, then target, each confirmed."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import Enter, LookUp, Note, NoteKind, Place, ReadAccount, Verdict, WatchStop
from milo.events import OrderEvent
from milo.inbox import Absent, Accepted, Failed, Failure, FillFound
from milo.model import Direction, OrderStatus, OrderType, Side
from milo.orders.book import CoreConfig
from milo.orders.machine import OrderState
from tests.order_desk import BTC, SYMBOL, Desk, of_type, orders_in, ready
from tests.paper_venue import PaperVenue

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"


def unknown(client_id: str) -> Failed:
    return Failed(
        symbol=SYMBOL, client_id=client_id, failure=Failure.UNKNOWN, code=0, text="no answer"
    )


# --- the order of things ------------------------------------------------------------------------


def test_a_signal_sends_one_market_order_and_nothing_else() -> None:
    desk = Desk()

    commands = desk.signal(ENTRY)

    assert [type(command) for command in commands] == [Enter, WatchStop, Verdict]
    order = orders_in(commands)[0]
    assert (order.type, order.side, order.qty) == (OrderType.MARKET, Side.BUY, Decimal("0.095"))


def test_the_fill_brings_the_stop_and_its_confirmation_the_target() -> None:
    desk = Desk()
    entry = desk.signal(ENTRY)[0]

    placed = orders_in(desk.deliver(*desk.carry_out(entry)))
    stop_events = desk.carry_out(Place(order=placed[0]))
    then = orders_in(desk.deliver(*stop_events))

    assert [order.type for order in placed] == [OrderType.STOP_MARKET]
    assert [order.type for order in then] == [OrderType.TAKE_PROFIT_MARKET]
    assert (placed[0].trigger_price, then[0].trigger_price) == (49_000, 53_000)
    assert all(order.is_close_position for order in (*placed, *then))


def test_the_target_waits_while_the_stop_is_not_confirmed() -> None:
    desk = Desk()
    desk.deliver(*desk.carry_out(desk.signal(ENTRY)[0]))

    assert desk.trade.stop_id is not None
    assert desk.trade.target_id is None
    assert not desk.trade.is_stop_confirmed


def test_the_result_is_told_in_one_line() -> None:
    desk = Desk()

    desk.enter(ENTRY)

    assert desk.notes(NoteKind.ENTRY) == [
        "long 0.095 @ 50,000.0 (10x, margin 475.00 USDT)  "
        "stop 49,000.0 (-2.00 %) confirmed  target 53,000.0 (+6.00 %)"
    ]


def test_without_target_the_line_comes_with_the_stop() -> None:
    desk = Desk()

    desk.enter("short(1%risk@10x,sl=2%)")

    assert len(desk.notes(NoteKind.ENTRY)) == 1
    assert desk.trade.direction is Direction.SHORT
    assert desk.trade.target_id is None


def test_stop_and_target_are_measured_from_the_fill() -> None:
    desk = Desk()
    commands = desk.signal(ENTRY)
    desk.venue.price = Decimal("50100")

    desk.deliver(*desk.carry_out(commands[0]))
    desk.settle()

    assert desk.trade.entry_price == 50_100
    assert desk.trade.stop_price == 49_098
    assert desk.trade.target_price == 53_106


# --- settings before the order ------------------------------------------------------------------


def test_leverage_and_margin_type_are_set_only_where_they_differ() -> None:
    same = Desk().signal("long(1%margin@20x)")[0]
    other = Desk(is_isolated=False).signal("long(1%margin@5x)")[0]

    assert isinstance(same, Enter)
    assert (same.leverage, same.must_set_isolated) == (None, False)
    assert isinstance(other, Enter)
    assert (other.leverage, other.must_set_isolated) == (5, True)


def test_once_set_they_are_not_set_again() -> None:
    desk = Desk(is_isolated=False)
    desk.enter("long(1%margin@5x)", candle=1)
    desk.signal("close", candle=2)
    desk.settle()

    again = desk.signal("long(1%margin@5x)", candle=3)[0]

    assert isinstance(again, Enter)
    assert (again.leverage, again.must_set_isolated) == (None, False)


def test_what_was_lowered_is_said() -> None:
    desk = Desk()

    desk.signal("long(90%margin@100x)")

    assert any("leverage lowered" in text for text in desk.notes(NoteKind.ADJUSTED))


# --- at most once -------------------------------------------------------------------------------


def test_a_repeated_signal_while_the_position_is_open_does_nothing() -> None:
    desk = Desk()
    desk.enter(ENTRY, candle=1)

    assert desk.signal(ENTRY, candle=2) == []


def test_a_signal_while_an_entry_is_under_way_does_nothing() -> None:
    desk = Desk()
    desk.signal(ENTRY, candle=1)

    assert desk.signal(ENTRY, candle=2) == []
    assert desk.signal("short(1%risk@10x,sl=2%)", candle=2) == []


def test_one_entry_for_a_side_and_candle_whatever_came_of_it() -> None:
    desk = Desk()
    desk.enter(ENTRY, candle=1)
    desk.move_to("48900")

    assert desk.state.trade is None
    assert desk.signal(ENTRY, candle=1, is_forming=True) == []
    assert len(orders_in(desk.signal(ENTRY, candle=2))) == 1


def test_an_entry_that_the_exchange_refused_is_not_tried_again_on_its_candle() -> None:
    desk = Desk()
    desk.venue.refusals["e"] = -2019
    desk.signal(ENTRY, candle=1)
    desk.settle()

    assert desk.notes(NoteKind.REFUSED) == ["entry refused by the exchange: refused (-2019)"]
    assert desk.signal(ENTRY, candle=1) == []
    assert len(orders_in(desk.signal(ENTRY, candle=2))) == 1


def test_a_local_refusal_is_told_once_and_does_not_use_up_the_candle() -> None:
    desk = Desk()
    tiny = "long(0.001%risk@1x,sl=50%)"

    first, second = desk.signal(tiny, candle=1), desk.signal(tiny, candle=1)
    then = desk.signal(ENTRY, candle=1)

    assert len(of_type(Note, first)) == 1
    assert second == []
    assert len(orders_in(then)) == 1


@pytest.mark.parametrize(
    "action", ["long(1%risk@10x,sl=51000)", "long(1%risk@50x,sl=5%)", "long(1%risk@126x,sl=1%)"]
)
def test_an_impossible_entry_sends_nothing_and_says_why(action: str) -> None:
    desk = Desk()

    commands = desk.signal(action)

    assert orders_in(commands) == []
    assert action in desk.notes(NoteKind.REFUSED)[0]


# --- fills in parts -----------------------------------------------------------------------------


def enter_in_parts(desk: Desk, *parts: str) -> list[OrderEvent]:
    """Carry out an entry that fills in parts; return the events of its executions."""
    desk.venue.parts = [Decimal(part) for part in parts]
    events = desk.carry_out(desk.signal(ENTRY)[0])
    desk.due.clear()
    return [event for event in events if isinstance(event, OrderEvent) and event.fill is not None]


def at_price(event: OrderEvent, price: str) -> OrderEvent:
    assert event.fill is not None
    return dataclasses.replace(event, fill=dataclasses.replace(event.fill, price=Decimal(price)))


def test_the_stop_of_an_entry_in_parts_is_measured_from_the_average() -> None:
    desk = Desk()
    first, second = enter_in_parts(desk, "0.035", "0.06")

    waiting = desk.deliver(first)
    placed = orders_in(desk.deliver(at_price(second, "50095")))

    assert orders_in(waiting) == []
    assert desk.trade.entry_price == Decimal("50060")
    assert [order.trigger_price for order in placed] == [Decimal("49058.8")]


def test_the_stop_does_not_wait_long_for_the_rest_of_an_entry() -> None:
    desk = Desk()
    first, _ = enter_in_parts(desk, "0.035", "0.06")

    desk.deliver(first)
    placed = orders_in(desk.overdue(of_type(WatchStop, desk.log)[0].client_id))

    assert [order.type for order in placed] == [OrderType.STOP_MARKET]


def test_more_fills_after_the_stop_was_sent_leave_it_and_move_the_target() -> None:
    desk = Desk()
    first, second = enter_in_parts(desk, "0.035", "0.06")
    desk.deliver(first)
    desk.overdue(of_type(WatchStop, desk.log)[0].client_id)

    desk.deliver(at_price(second, "50095"))
    desk.settle()

    assert desk.trade.qty == Decimal("0.095")
    assert desk.trade.stop_price == 49_000
    # Three times the distance of a stop that 50,060 would have had.
    assert desk.trade.target_price == Decimal("53063.6")
    assert desk.venue.is_protected


# --- lost and late ------------------------------------------------------------------------------


def test_an_unknown_outcome_is_looked_up_and_never_sent_again() -> None:
    desk = Desk()
    order = orders_in(desk.signal(ENTRY))[0]

    commands = desk.deliver(unknown(order.client_id))

    assert of_type(LookUp, commands) == [
        LookUp(symbol=SYMBOL, client_id=order.client_id, is_conditional=False, is_protective=False)
    ]
    assert [sent.type for sent in orders_in(commands)] == [OrderType.STOP_MARKET]


def test_an_entry_that_was_executed_unseen_is_found_and_protected() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    desk.carry_out(enter)
    desk.due.clear()
    order = orders_in([enter])[0]

    desk.deliver(unknown(order.client_id))
    desk.settle()

    assert desk.trade.qty == Decimal("0.095")
    assert desk.venue.is_protected


def test_an_entry_that_never_arrived_is_told_and_forgotten() -> None:
    desk = Desk()
    order = orders_in(desk.signal(ENTRY, candle=1))[0]
    desk.deliver(unknown(order.client_id))

    desk.deliver(Absent(symbol=SYMBOL, client_id=order.client_id))

    assert desk.state.trade is None
    assert "never reached" in desk.notes(NoteKind.REFUSED)[0]
    assert len(orders_in(desk.signal(ENTRY, candle=2))) == 1


def test_an_entry_given_up_for_lost_is_protected_when_it_fills_after_all() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    order = orders_in([enter])[0]
    stop = of_type(Place, desk.deliver(unknown(order.client_id)))[0]
    desk.deliver(*desk.carry_out(stop), Absent(symbol=SYMBOL, client_id=order.client_id))
    desk.due.clear()

    desk.deliver(*desk.carry_out(enter))
    desk.settle()

    assert desk.state.orders[order.client_id].state is OrderState.FILLED
    assert desk.trade.intent is not None
    assert desk.trade.stop_price == 49_000
    assert desk.venue.is_protected


def test_a_filled_entry_whose_executions_do_not_come_is_asked_about() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    answer = desk.carry_out(enter)[-1]
    assert isinstance(answer, Accepted)
    desk.due.clear()

    desk.deliver(answer)
    asked = desk.overdue(answer.report.client_id)
    desk.settle()

    assert of_type(LookUp, asked)[0].is_protective
    assert desk.venue.is_protected


def test_no_second_entry_while_the_executions_of_the_first_are_missing() -> None:
    desk = Desk()
    desk.deliver(desk.carry_out(desk.signal(ENTRY, candle=1)[0])[-1])

    assert desk.signal(ENTRY, candle=2) == []


def test_an_entry_that_ends_unfilled_is_told() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    answer = desk.carry_out(enter)[-1]
    assert isinstance(answer, Accepted)
    expired = dataclasses.replace(answer.report, status=OrderStatus.EXPIRED, filled_qty=Decimal(0))

    desk.deliver(Accepted(report=expired))

    assert desk.notes(NoteKind.REFUSED) == ["the entry ended as expired, unfilled"]
    assert not desk.state.is_entering


def test_a_position_that_only_the_list_of_executions_tells_is_read_up() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    answer = desk.carry_out(enter)[-1]
    desk.deliver(answer)

    commands = desk.deliver(FillFound(fill=desk.venue.fills[0]))

    assert of_type(ReadAccount, commands)
    assert [order.type for order in orders_in(commands)] == [OrderType.STOP_MARKET]


# --- gates --------------------------------------------------------------------------------------


def test_a_read_only_run_shows_signals_and_sends_nothing() -> None:
    desk = Desk(config=CoreConfig(may_trade=False))

    commands = desk.signal(ENTRY)

    assert orders_in(commands) == []
    assert "real orders need --live" in desk.notes(NoteKind.REFUSED)[0]


def test_nothing_is_entered_on_a_symbol_that_is_halted() -> None:
    halted = dataclasses.replace(BTC, status="TRADING_HALT")
    desk = Desk(instrument=halted)

    assert orders_in(desk.signal(ENTRY)) == []
    assert "TRADING_HALT" in desk.notes(NoteKind.REFUSED)[0]


def test_a_signal_for_an_unknown_symbol_does_nothing() -> None:
    desk = Desk(instrument=dataclasses.replace(BTC, symbol="ETHUSDT"))

    assert desk.signal(ENTRY) == []


def test_fees_in_another_asset_are_said_and_not_counted() -> None:
    desk = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000), fee_asset="BNB"))

    desk.enter(ENTRY)

    assert desk.trade.fees == 0
    assert any("BNB is not part" in text for text in desk.notes(NoteKind.INFO))
    assert desk.profit() == desk.earned() == 0


def test_the_venues_rules_can_be_refreshed_under_an_open_position() -> None:
    desk = Desk()
    trade = desk.enter(ENTRY)

    desk.deliver(ready(dataclasses.replace(BTC, tick=Decimal("0.5")), leverage=10))

    assert desk.trade == trade
    assert desk.state.ready.instrument.tick == Decimal("0.5")
