"""The account as read: positions adopted or left alone, balances, and snapshots that lag."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.commands import Cancel, LookUp, NoteKind, Place, ReadAccount
from milo.events import AccountEvent, StreamReset
from milo.inbox import Absent, AccountRead, CoreEvent, Failed, Failure, FillFound
from milo.model import Direction, ExitReason, NewOrder, OrderType, PositionReport, Side
from milo.orders.book import Book, CoreConfig
from milo.orders.ledger import open_rows
from tests.order_desk import SYMBOL, Desk, of_type, orders_in, ready
from tests.paper_venue import PaperVenue

OLD_STOP = "milo-oldrun00-0123456789-s"
OLD_TARGET = "milo-oldrun00-0123456789-t"
ENTRY = "long(1%risk@10x,sl=2%,rr=3)"


def bracket(name: str, trigger: str, *, side: Side = Side.SELL) -> NewOrder:
    is_stop = name.endswith("s")
    return NewOrder(
        symbol=SYMBOL,
        side=side,
        type=OrderType.STOP_MARKET if is_stop else OrderType.TAKE_PROFIT_MARKET,
        client_id=name,
        trigger_price=Decimal(trigger),
        is_close_position=True,
    )


def held(*orders: NewOrder, qty: str = "0.1", has_algo_service: bool = True) -> PaperVenue:
    """Return a venue with a position of an earlier run, and the orders that protect it."""
    venue = PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=has_algo_service)
    side = Side.BUY if Decimal(qty) > 0 else Side.SELL
    venue.trade_by_hand(side, abs(Decimal(qty)))
    for order in orders:
        venue.place(order)
    return venue


# --- positions ----------------------------------------------------------------------------------


def test_a_position_with_a_stop_of_ours_is_adopted() -> None:
    desk = Desk(venue=held(bracket(OLD_STOP, "48000"), bracket(OLD_TARGET, "55000")))

    assert desk.trade.direction is Direction.LONG
    assert desk.trade.qty == Decimal("0.1")
    assert (desk.trade.stop_price, desk.trade.target_price) == (48_000, 55_000)
    assert desk.trade.is_stop_confirmed
    assert orders_in(desk.log) == []
    assert desk.notes(NoteKind.INFO) == ["adopted long 0.1 @ 50000, stop 48000, target 55000"]


def test_an_adopted_position_ends_like_any_other() -> None:
    desk = Desk(venue=held(bracket(OLD_STOP, "48000")))

    desk.move_to("47900")

    assert desk.state.trade is None
    assert desk.rows()[0].reason is ExitReason.STOP
    assert desk.profit() == desk.earned()


def test_an_adopted_position_can_be_closed_by_the_script() -> None:
    desk = Desk(venue=held(bracket(OLD_STOP, "52000", side=Side.BUY), qty="-0.1"))

    desk.signal("close", candle=1)
    desk.settle()

    assert desk.venue.qty == 0
    assert desk.profit() == desk.earned()


def test_an_adopted_position_without_a_stop_gets_one_near_its_liquidation_price() -> None:
    venue = held(bracket(OLD_TARGET, "55000"))
    desk = Desk(venue=venue)

    desk.settle()

    stop = next(order for order in venue.live() if order.type is OrderType.STOP_MARKET)
    assert stop.trigger_price == Decimal("47921.7")
    assert desk.trade.is_stop_confirmed
    assert desk.trade.target_id == OLD_TARGET
    assert desk.trade.target_price == 55_000


def test_the_venues_own_liquidation_price_decides_where_it_gives_one() -> None:
    desk = Desk(venue=held(bracket(OLD_TARGET, "55000")))
    read = desk.venue.account_read()
    position = dataclasses.replace(read.positions[0], liquidation_price=Decimal(40_000))
    fresh = Desk(venue=PaperVenue(SYMBOL, Decimal(50_000)))

    stop = orders_in(fresh.deliver(dataclasses.replace(read, positions=(position,))))[0]

    assert stop.trigger_price == 41_000


def test_what_executed_before_the_adoption_is_part_of_the_position() -> None:
    desk = Desk(venue=held(bracket(OLD_STOP, "48000")))

    commands = desk.deliver(*(FillFound(fill=fill) for fill in desk.venue.fills_since(0)))

    assert commands == []
    assert desk.trade.qty == Decimal("0.1")
    assert desk.state.foreign_qty == 0


def test_a_position_without_any_order_of_ours_is_left_alone_and_told_once() -> None:
    desk = Desk(venue=held(bracket("web_1s", "48000")))

    again = desk.deliver(desk.venue.account_read())

    assert desk.state.trade is None
    assert orders_in(desk.log) == []
    assert len(desk.notes(NoteKind.PROBLEM)) == 1
    assert again == []


def test_beside_a_foreign_position_nothing_is_entered() -> None:
    desk = Desk(venue=held())

    assert orders_in(desk.signal(ENTRY)) == []
    assert "did not open is there; close it first" in desk.notes(NoteKind.REFUSED)[0]


def test_once_the_foreign_position_is_gone_entries_go_on() -> None:
    desk = Desk(venue=held())
    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal("0.1")))

    assert desk.state.foreign_qty == 0
    assert len(orders_in(desk.signal(ENTRY))) == 1


def test_a_stop_for_the_other_side_does_not_make_a_position_ours() -> None:
    venue = held(has_algo_service=False)
    venue.place(bracket(OLD_STOP, "52000", side=Side.BUY))

    desk = Desk(venue=venue)

    assert desk.state.trade is None
    assert desk.state.foreign_qty == Decimal("0.1")


def test_of_several_stops_the_nearest_is_taken() -> None:
    venue = held(has_algo_service=False)
    venue.place(bracket(OLD_STOP, "47000"))
    venue.place(bracket("milo-oldrun00-0123456789-2s", "48500"))

    desk = Desk(venue=venue)

    assert desk.trade.stop_price == 48_500


def test_orders_of_ours_without_a_position_are_cancelled() -> None:
    venue = PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=False)
    venue.place(bracket(OLD_STOP, "48000"))
    venue.place(bracket("web_1s", "47000"))
    desk = Desk(venue=venue)

    desk.settle()

    assert [order.client_id for order in venue.live()] == ["web_1s"]


def test_a_read_only_run_adopts_without_touching_anything() -> None:
    venue = held(bracket(OLD_TARGET, "55000"))
    desk = Desk(venue=venue, config=CoreConfig(may_trade=False))

    desk.deliver(desk.venue.account_read())

    assert desk.trade.qty == Decimal("0.1")
    assert orders_in(desk.log) == []
    assert of_type(Cancel, desk.log) == []
    assert "no stop, and this run is read only" in desk.notes(NoteKind.PROBLEM)[0]


def test_an_open_position_is_not_adopted_again() -> None:
    desk = Desk()
    trade = desk.enter(ENTRY)

    assert desk.deliver(desk.venue.account_read()) == []
    assert desk.trade == trade


def test_a_snapshot_without_the_position_never_drops_a_trade() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    read = desk.venue.account_read()

    desk.deliver(dataclasses.replace(read, positions=()))

    assert desk.trade.qty == Decimal("0.095")


def test_a_trade_that_ended_unseen_ends_by_its_executions() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.move_to(Decimal(49_000))

    desk.deliver(StreamReset(route="user", reason="was silent"))
    desk.settle()

    assert desk.state.trade is None
    assert desk.rows()[0].reason is ExitReason.STOP
    assert desk.profit() == desk.earned()


# --- snapshots that lag -------------------------------------------------------------------------


def test_a_snapshot_from_before_the_close_brings_no_position_back() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    before = desk.venue.account_read()
    desk.move_to("49000")

    commands = desk.deliver(before)
    desk.settle()

    assert of_type(ReadAccount, commands)
    assert desk.state.trade is None
    assert desk.state.foreign_qty == 0


def test_a_snapshot_overtaken_by_account_events_does_not_change_the_wallet() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    assert desk.trade.stop_id is not None
    desk.deliver(*desk.venue.cancel_by_hand(desk.trade.stop_id))
    before = desk.venue.account_read()
    desk.deliver(*desk.venue.fund(Decimal("0.0001")))

    desk.deliver(before)

    assert desk.book.account is not None
    assert desk.book.account.wallet == desk.venue.wallet


def test_one_reading_is_under_way_at_a_time_and_another_follows_new_doubt() -> None:
    desk = Desk()

    first = desk.deliver(StreamReset(route="user", reason="was silent"))
    second = desk.deliver(StreamReset(route="user", reason="was silent again"))
    third = desk.deliver(desk.venue.account_read())

    assert len(of_type(ReadAccount, first)) == 1
    assert of_type(ReadAccount, second) == []
    assert [read.why for read in of_type(ReadAccount, third)] == ["user stream: was silent again"]


def test_a_lost_market_stream_says_nothing_of_the_account() -> None:
    desk = Desk()

    assert desk.deliver(StreamReset(route="market", reason="was silent")) == []
    assert not desk.book.is_account_stale


def test_nothing_is_entered_between_a_gap_and_the_next_reading() -> None:
    desk = Desk()
    desk.deliver(StreamReset(route="user", reason="was silent"))

    assert orders_in(desk.signal(ENTRY)) == []
    desk.settle()
    assert len(orders_in(desk.signal(ENTRY))) == 1


def test_nothing_is_entered_while_the_account_shows_what_no_execution_explains() -> None:
    desk = Desk()
    events = desk.venue.trade_by_hand(Side.BUY, Decimal("0.1"))
    desk.deliver(*(event for event in events if isinstance(event, AccountEvent)))

    commands = desk.signal(ENTRY)

    assert orders_in(commands) == []
    assert of_type(ReadAccount, commands)
    assert "executions are not known yet" in desk.notes(NoteKind.REFUSED)[0]


def lost_entry() -> tuple[Desk, list[CoreEvent], NewOrder]:
    """Return a desk that gave an entry up for lost, and what its execution will tell, late."""
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    order = orders_in([enter])[0]
    unknown = Failed(
        symbol=SYMBOL, client_id=order.client_id, failure=Failure.UNKNOWN, code=0, text="?"
    )
    stop = next(c for c in desk.deliver(unknown) if isinstance(c, Place))
    desk.deliver(*desk.carry_out(stop), Absent(symbol=SYMBOL, client_id=order.client_id))
    desk.due.clear()
    return desk, desk.carry_out(enter)[:-1], order


def test_after_a_gap_an_entry_given_up_for_lost_is_asked_about_again() -> None:
    desk, _, _ = lost_entry()

    desk.deliver(StreamReset(route="user", reason="was silent"))
    desk.settle()

    assert of_type(LookUp, desk.log)
    assert desk.trade.qty == Decimal("0.095")
    assert desk.venue.is_protected


def test_an_unexplained_position_is_not_called_foreign_while_an_entry_may_have_opened_it() -> None:
    desk, _, order = lost_entry()

    commands = desk.deliver(desk.venue.account_read())

    assert [look_up.client_id for look_up in of_type(LookUp, commands)] == [order.client_id]
    assert desk.state.foreign_qty == 0


def test_an_entry_told_when_its_position_was_already_called_foreign_makes_it_ours() -> None:
    desk, told, order = lost_entry()
    read = desk.venue.account_read()
    desk.deliver(read, Absent(symbol=SYMBOL, client_id=order.client_id), read)
    assert desk.state.foreign_qty == Decimal("0.095")
    desk.due[:] = of_type(Place, desk.due)

    desk.deliver(*told)
    desk.settle()

    assert desk.state.foreign_qty == 0
    assert desk.trade.qty == Decimal("0.095")
    assert desk.venue.is_protected


def test_an_execution_taken_for_somebody_elses_is_ours_once_its_order_has_a_name() -> None:
    desk, told, order = lost_entry()
    desk.deliver(Absent(symbol=SYMBOL, client_id=order.client_id))
    desk.deliver(FillFound(fill=desk.venue.fills_since(0)[0]))
    assert desk.state.foreign_qty == Decimal("0.095")

    desk.deliver(*told)
    desk.settle()

    assert desk.state.foreign_qty == 0
    assert desk.trade.qty == Decimal("0.095")
    assert desk.venue.is_protected
    assert desk.profit() == desk.earned()


def test_an_entry_told_after_the_close_that_ended_it_leaves_nothing_open() -> None:
    desk, told, _ = lost_entry()
    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal("0.095")))

    desk.deliver(*told)
    desk.settle()

    assert desk.state.trade is None
    assert desk.state.foreign_qty == 0
    assert list(desk.venue.live()) == []
    assert desk.profit() == desk.earned()


def test_an_execution_known_by_number_only_waits_until_no_order_can_claim_it() -> None:
    desk, told, order = lost_entry()

    commands = desk.deliver(FillFound(fill=desk.venue.fills_since(0)[0]))
    assert [look_up.client_id for look_up in of_type(LookUp, commands)] == [order.client_id]
    assert desk.state.foreign_qty == 0
    desk.settle()

    assert desk.trade.qty == Decimal("0.095")
    assert desk.deliver(*told) == []


# --- balances -----------------------------------------------------------------------------------


def test_before_the_first_reading_nothing_is_known_and_nothing_entered() -> None:
    desk = Desk()
    desk.book = Book(run_id="run")
    desk.deliver(ready())

    assert desk.book.account is None
    assert orders_in(desk.signal(ENTRY)) == []
    assert "not known yet" in desk.notes(NoteKind.REFUSED)[0]


def test_the_isolated_wallet_does_not_move_with_the_price() -> None:
    venue = held(bracket(OLD_STOP, "48000"))
    venue.move_to(Decimal(53_000))

    desk = Desk(venue=venue)

    assert desk.book.account is not None
    assert desk.book.account.locked == {SYMBOL: venue.isolated}
    assert desk.book.account.available == venue.wallet - venue.isolated


def test_what_others_hold_of_the_account_is_not_available() -> None:
    desk = Desk()
    read = desk.venue.account_read()
    balance = dataclasses.replace(read.balance, available=Decimal(400))

    desk.deliver(dataclasses.replace(read, balance=balance))
    entry = orders_in(desk.signal("long(50%margin@10x)"))[0]

    assert entry.qty == Decimal("0.078")
    assert any("quantity reduced" in text for text in desk.notes(NoteKind.ADJUSTED))


def test_positions_of_others_count_in_the_equity() -> None:
    desk = Desk()
    read = desk.venue.account_read()
    other = PositionReport(
        symbol="ETHUSDT",
        qty=Decimal(1),
        entry_price=Decimal(2000),
        mark_price=Decimal(2500),
        unrealized=Decimal(500),
        liquidation_price=Decimal(0),
        isolated_margin=Decimal(1000),
    )

    desk.deliver(dataclasses.replace(read, positions=(other,)))

    assert desk.book.unrealized({}) == 500
    assert desk.book.account is not None
    assert desk.book.account.locked == {"ETHUSDT": Decimal(500)}


def test_an_older_account_event_does_not_overwrite_a_newer_one() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    first = desk.venue.fund(Decimal("0.0001"))
    second = desk.venue.fund(Decimal("0.0001"))

    desk.deliver(*second, *first)

    assert desk.book.account is not None
    assert desk.book.account.wallet == desk.venue.wallet


@pytest.mark.parametrize("count", [0, 1])
def test_open_rows_tell_what_is_open(count: int) -> None:
    desk = Desk()
    if count:
        desk.enter(ENTRY)

    rows = open_rows(desk.book)

    assert len(rows) == count
    assert all(row.exit_ms is None and row.reason is None for row in rows)


def test_an_empty_reading_is_fine() -> None:
    desk = Desk()
    balance = desk.venue.account_read().balance

    assert desk.deliver(AccountRead(balance=balance, positions=(), orders=())) == []
