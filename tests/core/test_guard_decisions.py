"""What the guard decides: cases one by one, and a model of an exchange that fails as it likes."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.guard import decide
from milo.guard.decide import (
    Action,
    Answer,
    CancelStop,
    Counts,
    Flatten,
    PlaceStop,
    Result,
    Stop,
    Watched,
)
from milo.guard.words import Plan
from milo.model import (
    Direction,
    NewOrder,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    Side,
)
from milo.orders.ids import Leg, is_ours, leg_of

ZERO = Decimal(0)
PLAN = Plan(
    symbol="BTCUSDT",
    direction=Direction.LONG,
    run_id="0run0run",
    key="0123456789",
    entry_id="milo-0run0run-0123456789-e",
    qty=Decimal("0.5"),
    stop_price=Decimal("49000.0"),
    is_entry_open=False,
    tick=Decimal("0.1"),
    step=Decimal("0.001"),
    max_qty=Decimal(120),
)
LONGEST_UNSAFE_S = 2.5
"""Wall seconds, with answers that take up to half a second."""
TAKEN = Answer(result=Result.TAKEN, status=OrderStatus.NEW)
UNKNOWN = Answer(result=Result.UNKNOWN)


def refused(code: int) -> Answer:
    return Answer(result=Result.REFUSED, code=code)


def taken_over(plan: Plan = PLAN, *, is_exclusive: bool = True) -> Watched:
    return decide.take_over(plan, Counts(), 0.0, is_exclusive=is_exclusive)


def position(qty: str, symbol: str = "BTCUSDT") -> PositionReport:
    return PositionReport(
        symbol=symbol,
        qty=Decimal(qty),
        entry_price=Decimal(50_000),
        mark_price=Decimal(50_000),
        unrealized=ZERO,
        liquidation_price=ZERO,
        isolated_margin=ZERO,
    )


def stop_order(
    *,
    client_id: str = "somebody",
    status: OrderStatus = OrderStatus.NEW,
    side: Side = Side.SELL,
    is_close_position: bool = True,
    type: OrderType = OrderType.STOP_MARKET,
) -> OrderReport:
    return OrderReport(
        symbol="BTCUSDT",
        client_id=client_id,
        venue_id=1,
        side=side,
        type=type,
        status=status,
        qty=ZERO,
        filled_qty=ZERO,
        avg_price=None,
        price=ZERO,
        trigger_price=Decimal(49_000),
        is_reduce_only=False,
        is_close_position=is_close_position,
        is_conditional=True,
        update_ms=0,
    )


def kinds(watched: Watched, now_s: float) -> list[type[Action]]:
    return [type(action) for action in decide.due(watched, now_s)]


def after_stop(watched: Watched, answer: Answer, now_s: float = 0.1) -> Watched:
    [action] = decide.due(watched, now_s)
    assert isinstance(action, PlaceStop)
    return decide.on_stop_answer(decide.sent(watched, action, now_s), answer, now_s)


def test_a_stop_that_is_not_known_as_confirmed_is_placed_without_waiting_for_readings() -> None:
    [action] = decide.due(taken_over(), 0.0)

    assert isinstance(action, PlaceStop)
    assert action.order == NewOrder(
        symbol="BTCUSDT",
        side=Side.SELL,
        type=OrderType.STOP_MARKET,
        client_id="milo-0run0run-0123456789-s90",
        trigger_price=Decimal(49_000),
        is_close_position=True,
    )


def test_a_short_is_stopped_by_buying() -> None:
    [action] = decide.due(taken_over(dataclasses.replace(PLAN, direction=Direction.SHORT)), 0.0)

    assert isinstance(action, PlaceStop)
    assert action.order.side is Side.BUY


def test_a_confirmed_stop_is_left_alone_until_a_reading_misses_it() -> None:
    watched = taken_over(dataclasses.replace(PLAN, is_stop_confirmed=True))

    before = kinds(watched, 0.0)
    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.1, now_s=0.2)
    watched = decide.on_stops_read(watched, [], asked_s=0.1, now_s=0.2)

    assert before == []
    assert kinds(watched, 0.2) == [PlaceStop]


def test_nothing_more_is_sent_while_an_answer_is_awaited() -> None:
    watched = taken_over()
    [action] = decide.due(watched, 0.0)

    assert kinds(decide.sent(watched, action, 0.0), 1.0) == []


@pytest.mark.parametrize(
    ("answer", "stop", "is_crossed", "is_exposed"),
    [
        (TAKEN, Stop.STANDS, False, False),
        (refused(-4130), Stop.STANDS, False, False),
        (refused(-4509), Stop.NONE, False, False),
        (refused(-2021), Stop.UNKNOWN, True, True),
        (refused(-4142), Stop.UNKNOWN, True, True),
        (refused(-1111), Stop.UNKNOWN, False, True),
        (UNKNOWN, Stop.UNKNOWN, False, True),
        (Answer(result=Result.NOT_SENT), Stop.UNKNOWN, False, True),
        (Answer(result=Result.TAKEN, status=OrderStatus.EXPIRED), Stop.NONE, False, True),
        (Answer(result=Result.TAKEN, status=OrderStatus.TRIGGERING), Stop.TRIGGERING, False, True),
    ],
)
def test_what_an_answer_to_a_stop_means(
    answer: Answer, stop: Stop, is_crossed: bool, is_exposed: bool
) -> None:
    watched = after_stop(taken_over(), answer)

    assert watched.stop is stop
    assert watched.is_crossed is is_crossed
    assert (watched.exposed_s is not None) is is_exposed


def test_a_refusal_that_says_flat_is_believed_once_a_reading_says_so_too() -> None:
    refusal = after_stop(taken_over(), refused(-4509))

    reading = decide.on_position_read(refusal, [], asked_s=0.2, now_s=0.2)

    assert not decide.is_settled(refusal, 0.2)
    assert kinds(refusal, 1.0) == []
    assert kinds(refusal, 1.1) == [PlaceStop]
    assert decide.is_settled(reading, 0.2)
    assert kinds(reading, 10.0) == []


def test_an_entry_that_may_still_fill_is_tried_again_every_300_ms_for_a_minute() -> None:
    plan = dataclasses.replace(PLAN, is_entry_open=True)

    watched = after_stop(taken_over(plan), refused(-4509))

    assert not decide.is_settled(watched, 0.2)
    assert kinds(watched, 0.3) == []
    assert kinds(watched, 0.4) == [PlaceStop]
    assert kinds(watched, 59.0) == [PlaceStop]
    read = decide.on_position_read(watched, [], asked_s=59.0, now_s=59.0)
    assert kinds(read, 59.0) == [PlaceStop]
    assert kinds(read, 60.0) == []


def test_a_final_entry_is_watched_no_more_but_what_it_filled_is_read_again() -> None:
    plan = dataclasses.replace(PLAN, is_entry_open=True)
    watched = after_stop(taken_over(plan), refused(-4509))
    report = dataclasses.replace(
        stop_order(type=OrderType.MARKET), status=OrderStatus.FILLED, filled_qty=Decimal("0.5")
    )

    watched = decide.on_entry_read(watched, report)

    assert watched.is_entry_final
    assert watched.qty is None
    assert kinds(watched, 0.5) == [PlaceStop]


def test_a_price_beyond_the_stop_closes_the_position_at_once_and_again() -> None:
    watched = after_stop(taken_over(), refused(-2021))

    [action] = decide.due(watched, 0.1)
    sent = decide.sent(watched, action, 0.1)
    again = decide.on_close_answer(sent, UNKNOWN, 0.3)

    assert isinstance(action, Flatten)
    assert action.order.is_reduce_only
    assert action.order.side is Side.SELL
    assert action.order.qty == Decimal("0.5")
    assert action.order.client_id == "milo-0run0run-0123456789-c90"
    assert kinds(again, 0.4) == []
    assert kinds(again, 0.5) == [Flatten]


def test_a_position_without_a_stop_for_1500_ms_is_closed() -> None:
    watched = after_stop(taken_over(), UNKNOWN, 1.45)

    assert kinds(watched, 1.49) == []
    assert kinds(watched, 1.5) == [Flatten]
    assert kinds(watched, 1.8) == [Flatten, PlaceStop]


def test_a_close_is_not_repeated_once_nothing_is_left_to_reduce() -> None:
    watched = after_stop(taken_over(), refused(-2021))
    [action] = decide.due(watched, 0.1)

    watched = decide.on_close_answer(decide.sent(watched, action, 0.1), refused(-2022), 0.2)

    assert Flatten not in kinds(watched, 5.0)


def test_a_large_position_is_closed_in_parts_that_the_exchange_takes() -> None:
    watched = taken_over(dataclasses.replace(PLAN, max_qty=Decimal("0.3")))
    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.0, now_s=0.0)
    watched = after_stop(watched, refused(-2021))

    [action] = decide.due(watched, 0.1)
    assert isinstance(action, Flatten)
    done = Answer(result=Result.TAKEN, status=OrderStatus.FILLED, filled_qty=Decimal("0.3"))
    watched = decide.on_close_answer(decide.sent(watched, action, 0.1), done, 0.2)

    assert action.order.qty == Decimal("0.3")
    assert watched.qty == Decimal("0.2")


def test_a_stop_that_is_stuck_being_triggered_does_not_count() -> None:
    watched = taken_over(dataclasses.replace(PLAN, is_stop_confirmed=True))
    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.0, now_s=0.0)
    stuck = stop_order(status=OrderStatus.TRIGGERING)

    watched = decide.on_stops_read(watched, [stuck], asked_s=0.0, now_s=0.1)
    watched = after_stop(watched, refused(-4130), 0.2)

    assert watched.stop is Stop.TRIGGERING
    assert Flatten in kinds(watched, 1.6)


def test_a_stop_just_taken_is_believed_though_the_list_does_not_show_it_yet() -> None:
    watched = after_stop(taken_over(), TAKEN)
    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.2, now_s=0.2)

    early = decide.on_stops_read(watched, [], asked_s=1.0, now_s=1.0)
    late = decide.on_stops_read(watched, [], asked_s=6.0, now_s=6.0)

    assert early.stop is Stop.STANDS
    assert late.stop is Stop.NONE


def test_a_stop_that_only_a_refusal_tells_of_and_no_list_shows_is_placed_again() -> None:
    watched = after_stop(taken_over(), refused(-4130))
    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.2, now_s=0.2)
    assert watched.stop is Stop.STANDS
    watched = decide.on_stops_read(watched, [], asked_s=0.3, now_s=0.3)
    # It may stand all the same: nothing is closed.
    assert kinds(watched, 0.5) == [PlaceStop]
    assert kinds(watched, 5.0) == [PlaceStop]

    again = after_stop(watched, refused(-4130), 0.5)
    taken = after_stop(watched, TAKEN, 0.5)

    assert again.stop is taken.stop is Stop.STANDS
    assert decide.on_stops_read(taken, [], asked_s=1.0, now_s=1.0).stop is Stop.STANDS
    assert decide.on_stops_read(again, [stop_order()], asked_s=1.0, now_s=1.0).stop is Stop.STANDS
    assert decide.on_stops_read(again, [], asked_s=1.0, now_s=1.0).stop is Stop.UNKNOWN


def test_a_reading_older_than_the_refusal_that_tells_of_a_stop_says_nothing() -> None:
    watched = after_stop(taken_over(), refused(-4130), 0.1)

    assert decide.on_stops_read(watched, [], asked_s=0.05, now_s=0.2).stop is Stop.STANDS


@pytest.mark.parametrize(
    "order",
    [
        stop_order(side=Side.BUY),
        stop_order(is_close_position=False),
        stop_order(type=OrderType.TAKE_PROFIT_MARKET),
        stop_order(status=OrderStatus.EXPIRED),
    ],
)
def test_only_a_live_stop_of_the_whole_position_protects(order: OrderReport) -> None:
    watched = decide.on_position_read(taken_over(), [position("0.5")], asked_s=0.0, now_s=0.0)

    assert decide.on_stops_read(watched, [order], asked_s=0.0, now_s=0.0).stop is Stop.NONE


@pytest.mark.parametrize("other", [position("-0.5"), position("0.5", "ETHUSDT")])
def test_only_a_position_in_the_plans_direction_and_symbol_counts(other: PositionReport) -> None:
    watched = decide.on_position_read(taken_over(), [other], asked_s=0.0, now_s=0.0)

    assert watched.qty == 0


def test_a_reading_older_than_a_close_is_not_believed() -> None:
    watched = after_stop(taken_over(), refused(-2021))
    [action] = decide.due(watched, 0.1)
    watched = decide.on_close_answer(decide.sent(watched, action, 0.1), refused(-2022), 0.5)

    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.4, now_s=0.6)

    assert watched.qty == 0


def test_where_stops_do_not_exclude_each_other_readings_come_first() -> None:
    watched = taken_over(is_exclusive=False)
    unread = kinds(watched, 0.0)
    watched = decide.on_position_read(watched, [position("0.5")], asked_s=0.0, now_s=0.1)
    half_read = kinds(watched, 0.1)

    watched = decide.on_stops_read(watched, [], asked_s=0.0, now_s=0.1)

    assert unread == half_read == []
    assert kinds(watched, 0.1) == [PlaceStop]


def test_own_stops_without_a_position_are_cancelled_where_the_exchange_does_not() -> None:
    ours = stop_order(client_id="milo-0run0run-0123456789-s90")
    engines = stop_order(client_id="milo-0run0run-0123456789-s2")
    watched = decide.on_position_read(taken_over(is_exclusive=False), [], asked_s=0.0, now_s=0.0)

    watched = decide.on_stops_read(watched, [ours, engines], asked_s=0.1, now_s=0.1)

    assert kinds(watched, 1.0) == []
    assert decide.due(watched, 2.0) == (CancelStop(symbol="BTCUSDT", client_id=ours.client_id),)


@pytest.mark.parametrize(
    ("client_id", "is_guards"),
    [
        ("milo-0run0run-0123456789-s90", True),
        ("milo-0run0run-0123456789-c917", True),
        ("milo-0run0run-0123456789-s9", False),
        ("milo-0run0run-0123456789-s", False),
        ("other-0run0run-0123456789-s90", False),
    ],
)
def test_the_guards_orders_are_known_by_their_names(client_id: str, is_guards: bool) -> None:
    assert decide.is_guards(client_id) is is_guards


class Exchange:
    """A model of the exchange: it fails as it is told to until `bad_until_s`, then no more."""

    def __init__(self, qty: Decimal, price_is_beyond: bool, faults: list[str]) -> None:
        self.qty = qty
        self.has_stop = False
        self.price_is_beyond = price_is_beyond
        self.faults = faults
        self.names: list[str] = []

    def take(self, order: NewOrder) -> Answer:
        """Take an order of the guard's; it must be one that only closes."""
        assert order.side is Side.SELL
        assert order.is_reduce_only != order.is_close_position
        assert order.client_id not in self.names
        assert is_ours(order.client_id)
        assert len(order.client_id) <= 36
        self.names.append(order.client_id)
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "lost":
            return UNKNOWN
        if fault == "refused":
            return refused(-1111)
        if fault == "lie":
            return refused(-2022 if order.is_reduce_only else -4509)
        if fault == "busy":
            return Answer(result=Result.NOT_SENT, code=-1008)
        answer = self._execute(order)
        return UNKNOWN if fault == "answer lost" else answer

    def _execute(self, order: NewOrder) -> Answer:
        if order.is_reduce_only:
            assert leg_of(order.client_id) is Leg.CLOSE
            assert order.qty is not None
            if not self.qty:
                return refused(-2022)
            done = min(order.qty, self.qty)
            self.qty -= done
            self.has_stop = self.has_stop and bool(self.qty)
            return Answer(result=Result.TAKEN, status=OrderStatus.FILLED, filled_qty=done)
        assert leg_of(order.client_id) is Leg.STOP
        if self.price_is_beyond:
            return refused(-2021)
        if not self.qty:
            return refused(-4509)
        if self.has_stop:
            return refused(-4130)
        self.has_stop = True
        return TAKEN

    @property
    def is_safe(self) -> bool:
        return not self.qty or self.has_stop


FAULTS = st.lists(
    st.sampled_from(["none", "lost", "answer lost", "refused", "lie", "busy"]), max_size=6
)


@settings(max_examples=400)
@given(
    qty=st.sampled_from(["0", "0.001", "0.5", "120"]),
    is_beyond=st.booleans(),
    is_entry_open=st.booleans(),
    fills_late_s=st.none() | st.floats(0, 20),
    latency_s=st.sampled_from([0.01, 0.1, 0.5]),
    can_read=st.booleans(),
    faults=FAULTS,
)
def test_every_position_has_a_stop_or_is_flat_soon_after_the_last_fault(
    qty: str,
    is_beyond: bool,
    is_entry_open: bool,
    fills_late_s: float | None,
    latency_s: float,
    can_read: bool,
    faults: list[str],
) -> None:
    plan = dataclasses.replace(PLAN, qty=Decimal("120.5"), is_entry_open=is_entry_open)
    venue = Exchange(Decimal(qty), is_beyond, faults)
    watched = taken_over(plan)
    pending: list[tuple[float, Action]] = []
    unsafe_s = 0.0
    for tick in range(600):
        now_s = tick * 0.05
        if is_entry_open and fills_late_s is not None and now_s >= fills_late_s:
            venue.qty, fills_late_s = venue.qty + Decimal("0.5"), None
        for item in [item for item in pending if item[0] <= now_s]:
            pending.remove(item)
            assert not isinstance(item[1], CancelStop)
            is_stop = isinstance(item[1], PlaceStop)
            take = decide.on_stop_answer if is_stop else decide.on_close_answer
            watched = take(watched, venue.take(item[1].order), now_s)
        if can_read and tick % 4 == 0:
            watched = _read(watched, venue, now_s)
        for action in decide.due(watched, now_s):
            watched = decide.sent(watched, action, now_s)
            pending.append((now_s + latency_s, action))
        if not venue.is_safe and not venue.faults:
            unsafe_s += 0.05

    assert venue.is_safe
    assert unsafe_s < LONGEST_UNSAFE_S


def _read(watched: Watched, venue: Exchange, now_s: float) -> Watched:
    positions = [position(str(venue.qty))] if venue.qty else []
    orders = [stop_order()] if venue.has_stop else []
    watched = decide.on_position_read(watched, positions, asked_s=now_s, now_s=now_s)
    return decide.on_stops_read(watched, orders, asked_s=now_s, now_s=now_s)
