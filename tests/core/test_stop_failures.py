"""No position without a stop: refused, late, lost, vanished and doubtful stops."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import Cancel, Enter, LookUp, NoteKind, Place, ReadAccount, WatchStop
from milo.events import AlgoEvent, OrderEvent
from milo.inbox import Absent, Accepted, CoreEvent, Failed, Failure, StopOverdue
from milo.model import ExitReason, NewOrder, OrderStatus, OrderType, Side
from milo.orders.ids import Leg, leg_of
from tests.order_desk import HOUR_MS, SYMBOL, Desk, of_type, orders_in
from tests.paper_venue import PaperVenue

ENTRY = "long(1%risk@10x,sl=2%,rr=3)"


def filled(desk: Desk, action: str = ENTRY, *, candle: int = 1) -> Place:
    """Let an entry fill; return the stop that is about to be placed."""
    enter = desk.signal(action, candle=candle)[0]
    desk.due.clear()
    commands = desk.deliver(*desk.carry_out(enter))
    desk.due.clear()
    return of_type(Place, commands)[0]


def watch_of(desk: Desk) -> str:
    watch = desk.trade.stop_watch
    assert watch is not None
    return watch


def failed(place: Place, failure: Failure, code: int = -1) -> Failed:
    return Failed(
        symbol=SYMBOL,
        client_id=place.order.client_id,
        failure=failure,
        code=code,
        text=f"refused ({code})",
    )


def legs(desk: Desk) -> list[Leg | None]:
    """Return what each order ever sent was for."""
    return [leg_of(order.client_id) for order in orders_in(desk.log)]


# --- the deadline -------------------------------------------------------------------------------


def test_the_deadline_runs_from_the_first_fill() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]

    commands = desk.deliver(*desk.carry_out(enter))

    assert [watch.after_s for watch in of_type(WatchStop, commands)] == [2.2]


def test_a_stop_that_is_not_confirmed_in_time_closes_the_position() -> None:
    desk = Desk()
    filled(desk)

    desk.overdue(watch_of(desk))
    desk.settle()

    assert desk.venue.qty == 0
    assert desk.rows()[0].reason is ExitReason.STOP
    assert "not confirmed within 2.2 s" in desk.notes(NoteKind.PROBLEM)[0]
    assert "stop 49,000.0 (-2.00 %) not confirmed" in desk.notes(NoteKind.ENTRY)[0]


def test_a_deadline_after_the_confirmation_does_nothing() -> None:
    desk = Desk()
    stop = filled(desk)
    watch = watch_of(desk)
    desk.deliver(*desk.carry_out(stop))

    assert desk.overdue(watch) == []


def test_a_deadline_of_an_earlier_position_does_nothing_to_a_later_one() -> None:
    desk = Desk()
    filled(desk, candle=1)
    old = watch_of(desk)
    desk.deliver(*desk.venue.liquidate())
    filled(desk, candle=2)

    assert desk.overdue(old) == []
    assert not desk.trade.is_closing


def test_a_confirmation_that_comes_just_after_the_deadline_does_no_harm() -> None:
    desk = Desk()
    stop = filled(desk)

    desk.overdue(watch_of(desk))
    close = of_type(Place, desk.due)[0]
    desk.due.clear()
    desk.deliver(*desk.carry_out(stop))
    desk.deliver(*desk.carry_out(close))
    desk.settle()

    assert desk.venue.qty == 0
    assert list(desk.venue.live()) == []
    assert legs(desk).count(Leg.TARGET) == 0


def test_attempts_do_not_prolong_the_deadline() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.deliver(failed(stop, Failure.UNKNOWN))

    again = desk.deliver(Absent(symbol=SYMBOL, client_id=stop.order.client_id))

    assert legs(desk).count(Leg.STOP) == 2
    assert of_type(WatchStop, again) == []
    assert desk.overdue(watch_of(desk)) != []


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-2021, -1111, -2019, -4045])
def test_a_refused_stop_closes_the_position(code: int) -> None:
    desk = Desk()
    stop = filled(desk)

    closing = orders_in(desk.deliver(failed(stop, Failure.REFUSED, code)))
    desk.settle()

    assert [leg_of(order.client_id) for order in closing] == [Leg.CLOSE]
    assert desk.venue.qty == 0
    assert desk.rows()[0].reason is ExitReason.STOP


def test_a_stop_that_the_price_has_passed_closes_the_position() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.venue.move_to(Decimal(48_900))

    desk.deliver(*desk.carry_out(stop))
    desk.settle()

    assert desk.venue.qty == 0
    assert desk.profit() == desk.earned()


def test_a_stop_refused_because_the_position_is_gone_waits_for_its_executions() -> None:
    desk = Desk()
    stop = filled(desk)
    gone = desk.venue.liquidate()

    refused = desk.deliver(*desk.carry_out(stop))
    desk.settle()

    assert of_type(ReadAccount, refused)
    assert desk.state.trade is None
    assert desk.deliver(*gone) == []
    assert desk.profit() == desk.earned()


def test_a_stop_refused_because_no_position_is_seen_yet_is_tried_again() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.deliver(failed(stop, Failure.REFUSED, -4509))

    desk.settle()

    assert desk.venue.is_protected
    assert desk.trade.is_stop_confirmed
    assert desk.trade.attempts == 2


def test_after_three_such_refusals_the_position_is_closed() -> None:
    desk = Desk()
    stop = filled(desk)
    for _ in range(3):
        desk.deliver(failed(stop, Failure.REFUSED, -4509))
        desk.due.clear()
        stops = orders_in(desk.deliver(desk.venue.account_read()))
        stop = Place(order=stops[-1]) if stops else stop

    assert legs(desk).count(Leg.STOP) == 3
    assert legs(desk).count(Leg.CLOSE) == 1


def test_a_stop_that_stands_already_is_taken_as_the_stop() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.carry_out(stop)
    desk.deliver(
        failed(stop, Failure.UNKNOWN), Absent(symbol=SYMBOL, client_id=stop.order.client_id)
    )

    # The second one is refused with -4130: the first was there all along.
    desk.settle()

    assert desk.trade.stop_id == stop.order.client_id
    assert desk.trade.is_stop_confirmed
    assert desk.venue.is_protected
    assert legs(desk).count(Leg.CLOSE) == 0


def test_a_foreign_stop_in_the_way_closes_the_position_in_the_end() -> None:
    desk = Desk()
    stop = filled(desk)
    theirs = Place(order=_renamed(stop, "web_1"))
    desk.carry_out(theirs)

    desk.deliver(*desk.carry_out(stop))
    desk.settle()

    assert desk.venue.qty == 0


def _renamed(place: Place, name: str) -> NewOrder:
    return dataclasses.replace(place.order, client_id=name)


# --- unknown ------------------------------------------------------------------------------------


def test_a_stop_of_unknown_outcome_is_looked_up() -> None:
    desk = Desk()
    stop = filled(desk)

    commands = desk.deliver(failed(stop, Failure.UNKNOWN))

    assert of_type(LookUp, commands) == [
        LookUp(
            symbol=SYMBOL,
            client_id=stop.order.client_id,
            is_conditional=True,
            is_protective=True,
        )
    ]


def test_a_stop_found_by_the_look_up_is_confirmed() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.carry_out(stop)

    desk.deliver(failed(stop, Failure.UNKNOWN))
    desk.settle()

    assert desk.trade.is_stop_confirmed
    assert desk.trade.attempts == 1


def test_an_absent_stop_is_placed_again_under_another_name() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.deliver(failed(stop, Failure.UNKNOWN))
    desk.due.clear()

    again = orders_in(desk.deliver(Absent(symbol=SYMBOL, client_id=stop.order.client_id)))

    assert [order.type for order in again] == [OrderType.STOP_MARKET]
    assert again[0].client_id != stop.order.client_id
    assert again[0].trigger_price == stop.order.trigger_price


def test_a_failure_told_after_the_stream_had_confirmed_the_stop_means_nothing() -> None:
    desk = Desk()
    stop = filled(desk)
    events = desk.carry_out(stop)
    desk.deliver(*(event for event in events if isinstance(event, AlgoEvent)))

    assert desk.deliver(failed(stop, Failure.UNKNOWN)) == []


@pytest.mark.parametrize("is_answer_first", [True, False])
def test_answer_and_event_confirm_in_any_order_and_once(is_answer_first: bool) -> None:
    desk = Desk()
    stop = filled(desk)
    events: list[CoreEvent] = desk.carry_out(stop)

    commands = desk.deliver(*(reversed(events) if is_answer_first else events))

    assert [leg_of(order.client_id) for order in orders_in(commands)] == [Leg.TARGET]


# --- vanished -----------------------------------------------------------------------------------


def test_a_stop_cancelled_by_another_hand_is_replaced() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    stop_id = desk.trade.stop_id
    assert stop_id is not None

    desk.deliver(*desk.venue.cancel_by_hand(stop_id))
    assert not desk.trade.is_stop_confirmed
    desk.settle()

    assert desk.venue.is_protected
    assert desk.trade.stop_id != stop_id
    assert desk.trade.stop_price == 49_000
    assert "the stop is gone" in desk.notes(NoteKind.PROBLEM)[0]


def test_a_vanished_stop_that_cannot_be_replaced_in_time_closes_the_position() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    assert desk.trade.stop_id is not None

    commands = desk.deliver(*desk.venue.cancel_by_hand(desk.trade.stop_id))
    watch = of_type(WatchStop, commands)[0]
    closing = orders_in(desk.overdue(watch.client_id))

    assert watch.after_s == 2.2
    assert [leg_of(order.client_id) for order in closing] == [Leg.CLOSE]


@pytest.mark.parametrize("has_algo_service", [True, False])
def test_a_stop_missing_from_a_snapshot_is_asked_about_and_sent_again_where_that_is_safe(
    has_algo_service: bool,
) -> None:
    desk = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=has_algo_service))
    desk.enter(ENTRY)
    stop_id = desk.trade.stop_id
    assert stop_id is not None
    desk.venue.cancel_by_hand(stop_id)

    commands = desk.deliver(desk.venue.account_read())

    assert [look_up.client_id for look_up in of_type(LookUp, commands)] == [stop_id]
    assert len(orders_in(commands)) == has_algo_service


def test_a_stop_that_is_only_missing_from_the_list_is_kept() -> None:
    desk = Desk()
    stop_id = desk.enter(ENTRY).stop_id
    blind = dataclasses.replace(desk.venue.account_read(), orders=())

    desk.deliver(blind)
    desk.settle()

    assert desk.trade.stop_id == stop_id
    assert desk.trade.is_stop_confirmed
    assert [o.client_id for o in desk.venue.live() if o.type is OrderType.STOP_MARKET] == [stop_id]


def test_a_stop_that_two_sources_do_not_know_is_replaced() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    stop_id = desk.trade.stop_id
    assert stop_id is not None
    del desk.venue.orders[stop_id]

    desk.deliver(desk.venue.account_read())
    desk.settle()

    assert desk.venue.is_protected
    assert desk.trade.stop_id != stop_id


def test_word_that_a_stop_is_absent_means_nothing_once_it_was_seen() -> None:
    desk = Desk()
    stop = filled(desk)
    desk.deliver(*desk.carry_out(stop))

    assert desk.deliver(Absent(symbol=SYMBOL, client_id=stop.order.client_id)) == []
    assert desk.trade.is_stop_confirmed


def test_a_doubted_stop_that_is_found_again_is_not_doubted_any_more() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    stop_id = desk.trade.stop_id
    assert stop_id is not None
    desk.deliver(dataclasses.replace(desk.venue.account_read(), orders=()))
    desk.settle()

    assert desk.deliver(Absent(symbol=SYMBOL, client_id=stop_id)) == []
    assert desk.trade.stop_id == stop_id


def test_a_stop_that_has_executed_is_not_replaced_while_its_executions_are_on_the_way() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    before = desk.venue.account_read()
    events = desk.venue.move_to(Decimal(49_000))
    desk.deliver(*(event for event in events if isinstance(event, AlgoEvent)))

    commands = desk.deliver(before)

    assert orders_in(commands) == []


def test_a_read_only_run_does_not_say_that_it_replaces_a_stop() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    assert desk.trade.stop_id is not None
    desk.config = dataclasses.replace(desk.config, may_trade=False)
    desk.deliver(*desk.venue.cancel_by_hand(desk.trade.stop_id))

    desk.settle()

    assert desk.notes(NoteKind.PROBLEM) == []


def test_a_stop_that_fills_in_part_only_is_replaced_for_the_rest() -> None:
    desk = Desk()
    desk.enter("long(1%risk@10x,sl=2%)")
    stop_id = desk.trade.stop_id
    desk.venue.parts, desk.venue.is_dry = [Decimal("0.03")], True

    desk.deliver(*desk.venue.move_to(Decimal(49_000)))
    desk.venue.price, desk.venue.is_dry = Decimal(49_100), False
    desk.settle()

    assert [row.qty for row in desk.rows()] == [Decimal("0.03")]
    assert desk.trade.qty == desk.venue.qty == Decimal("0.065")
    assert desk.venue.is_protected
    assert desk.trade.stop_id != stop_id


def test_a_triggered_stop_that_was_cancelled_in_the_engine_is_replaced() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    stop_id = desk.trade.stop_id
    assert stop_id is not None
    resting = desk.venue.orders[stop_id]
    resting.status = OrderStatus.FINISHED
    report = resting.report(desk.venue.now_ms)

    desk.deliver(AlgoEvent(report=report, reject_reason="", event_ms=desk.venue.now_ms))
    desk.settle()

    assert desk.venue.is_protected
    assert desk.trade.stop_id != stop_id


def test_the_rest_of_an_entry_whose_first_part_was_closed_is_protected() -> None:
    desk = Desk()
    enter = of_type(Enter, desk.signal(ENTRY))[0]
    desk.due.clear()
    desk.venue.parts = [Decimal("0.035")]
    first, second = [
        event
        for event in desk.carry_out(enter)
        if isinstance(event, OrderEvent) and event.fill is not None
    ]
    desk.deliver(first)
    place = of_type(Place, desk.overdue(enter.order.client_id))[0]
    desk.deliver(*desk.carry_out(place))
    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal("0.035")))

    desk.deliver(second)
    desk.settle()

    assert desk.trade.qty == Decimal("0.06")
    assert desk.trade.is_stop_confirmed
    assert desk.venue.is_protected


# --- the price beyond ---------------------------------------------------------------------------


def test_a_fill_beyond_the_stop_that_was_asked_for_closes_at_once() -> None:
    desk = Desk()
    enter = desk.signal("long(1%risk@10x,sl=49500)")[0]
    desk.due.clear()
    desk.venue.price = Decimal(49_400)

    commands = desk.deliver(*desk.carry_out(enter))

    assert [leg_of(order.client_id) for order in orders_in(commands)] == [Leg.CLOSE]
    assert "stop 49500 must lie below" in desk.notes(NoteKind.PROBLEM)[0]


def test_a_position_closed_at_once_is_closed_to_its_last_fill() -> None:
    desk = Desk()
    enter = of_type(Enter, desk.signal("long(1%risk@10x,sl=49500)"))[0]
    desk.due.clear()
    desk.venue.price = Decimal(49_400)
    desk.venue.parts = [Decimal("0.05")]
    events = desk.carry_out(enter)
    desk.deliver(*events[:4])
    desk.due.clear()

    desk.overdue(enter.order.client_id)
    desk.deliver(*events[4:])
    desk.settle()

    assert desk.venue.qty == 0
    assert desk.state.trade is None
    assert desk.profit() == desk.earned()


# --- the target ---------------------------------------------------------------------------------


def test_a_target_that_the_price_has_passed_closes_as_target() -> None:
    desk = Desk()
    stop = filled(desk)
    target = of_type(Place, desk.deliver(*desk.carry_out(stop)))[0]
    desk.due.clear()
    desk.venue.price = Decimal(53_100)

    desk.deliver(*desk.carry_out(target))
    desk.settle()

    assert desk.rows()[0].reason is ExitReason.TARGET
    assert desk.venue.qty == 0


def test_a_refused_target_leaves_the_stop_and_is_told() -> None:
    desk = Desk()
    stop = filled(desk)
    target = of_type(Place, desk.deliver(*desk.carry_out(stop)))[0]
    desk.due.clear()

    desk.deliver(failed(target, Failure.REFUSED, -1111))

    assert desk.venue.is_protected
    assert desk.trade.target_price is None
    assert "target refused, the stop stays" in desk.notes(NoteKind.PROBLEM)[0]
    assert len(desk.notes(NoteKind.ENTRY)) == 1


def test_a_target_cancelled_by_another_hand_is_placed_again_but_not_for_ever() -> None:
    desk = Desk()
    desk.enter(ENTRY)

    for _ in range(3):
        assert desk.trade.target_id is not None
        desk.deliver(*desk.venue.cancel_by_hand(desk.trade.target_id))
        desk.settle()

    assert legs(desk).count(Leg.TARGET) == 3
    assert desk.trade.target_price is None
    assert desk.venue.is_protected


def test_the_fill_of_a_second_stop_is_not_taken_for_one_of_the_first() -> None:
    venue = PaperVenue(SYMBOL, Decimal(50_000), names_triggered_orders=False)
    desk = Desk(venue=venue)
    stop = filled(desk)
    desk.deliver(failed(stop, Failure.UNKNOWN))
    desk.deliver(Absent(symbol=SYMBOL, client_id=stop.order.client_id))
    desk.settle()
    second = desk.trade.stop_id

    events = venue.move_to(Decimal(49_000))
    told_late = sorted(events, key=lambda event: isinstance(event, AlgoEvent))
    desk.deliver(*told_late)

    assert second is not None
    assert desk.state.orders[second].seen_qty == Decimal("0.095")
    assert desk.state.orders[stop.order.client_id].seen_qty == 0


# --- leftovers ----------------------------------------------------------------------------------


def test_a_stop_that_arrives_after_its_position_is_gone_is_cancelled() -> None:
    desk = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=False))
    stop = filled(desk)
    desk.deliver(*desk.venue.liquidate())
    desk.settle()

    commands = desk.deliver(*desk.carry_out(stop))
    desk.settle()

    assert of_type(Cancel, commands)
    assert list(desk.venue.live()) == []


def test_a_stop_of_unknown_outcome_is_looked_for_though_its_position_is_gone() -> None:
    desk = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=False))
    stop = filled(desk)
    desk.carry_out(stop)
    desk.deliver(*desk.venue.liquidate())
    desk.due.clear()

    desk.deliver(failed(stop, Failure.UNKNOWN))
    desk.settle()

    assert list(desk.venue.live()) == []


def test_an_old_word_of_a_dead_stop_does_not_make_it_the_stop_again() -> None:
    desk = Desk()
    stop = filled(desk)
    events = desk.carry_out(stop)
    desk.deliver(*events)
    desk.deliver(*desk.venue.cancel_by_hand(stop.order.client_id))
    desk.deliver(desk.venue.account_read())
    second = of_type(Place, desk.due)[-1]

    desk.deliver(*events)

    assert desk.trade.stop_id == second.order.client_id
    assert not desk.trade.is_stop_confirmed


def test_a_deadline_for_an_unknown_order_or_symbol_does_nothing() -> None:
    desk = Desk()

    assert desk.overdue("milo-other-run-s") == []
    assert desk.deliver(StopOverdue(symbol="ETHUSDT", client_id="x")) == []


def test_an_answer_to_an_order_nobody_knows_does_nothing() -> None:
    desk = Desk()
    stop = filled(desk)
    report = desk.carry_out(Place(order=_renamed(stop, "web_2")))[-1]
    assert isinstance(report, Accepted)

    assert desk.deliver(report) == []


def test_hours_later_the_stop_still_stands() -> None:
    desk = Desk()
    desk.enter(ENTRY, candle=1)

    for candle in range(2, 30):
        desk.venue.now_ms = candle * HOUR_MS
        desk.signal(ENTRY, candle=candle)

    assert desk.venue.is_protected
    assert legs(desk).count(Leg.STOP) == 1
