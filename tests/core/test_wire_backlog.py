"""The backlog of stream events: what gives way, what never does, and what is counted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.events import (
    AccountEvent,
    IgnoredEvent,
    KlineEvent,
    MarkPriceEvent,
    StreamEvent,
    StreamReset,
)
from milo.model import Candle
from milo.wire.backlog import Backlog, StreamItem


def kline(number: int, *, symbol: str = "BTCUSDT", is_closed: bool = False) -> KlineEvent:
    return KlineEvent(
        symbol=symbol,
        interval="1m",
        candle=Candle(0, 1.0, 1.0, 1.0, 1.0, float(number)),
        is_closed=is_closed,
        event_ms=number,
    )


def account(number: int) -> AccountEvent:
    return AccountEvent(
        reason="ORDER",
        wallet=None,
        change=Decimal(0),
        positions=(),
        funding_symbol=None,
        event_ms=number,
    )


def item(event: StreamEvent, connection: str = "a") -> StreamItem:
    return StreamItem(connection=connection, event=event)


def drained(backlog: Backlog) -> list[StreamEvent]:
    events = []
    while (found := backlog.take()) is not None:
        events.append(found.event)
    return events


@pytest.fixture
def backlog() -> Backlog:
    backlog = Backlog(3)
    backlog.open("a", "market")
    backlog.open("u", "user")
    return backlog


def test_items_come_out_in_the_order_of_arrival(backlog: Backlog) -> None:
    events: list[StreamEvent] = [kline(1), account(2), kline(3, is_closed=True)]
    for event in events:
        backlog.put(item(event))

    assert len(backlog) == 3
    assert drained(backlog) == events
    assert len(backlog) == 0


def test_the_oldest_forming_candle_of_the_same_stream_gives_way(backlog: Backlog) -> None:
    for event in (kline(1, symbol="ETHUSDT"), kline(2), kline(3), kline(4)):
        backlog.put(item(event))

    assert drained(backlog) == [kline(1, symbol="ETHUSDT"), kline(3), kline(4)]
    assert backlog.dropped == 1


def test_another_streams_oldest_gives_way_where_the_same_stream_has_none(
    backlog: Backlog,
) -> None:
    for event in (kline(1), kline(2), account(3), account(4)):
        backlog.put(item(event))

    assert drained(backlog) == [kline(2), account(3), account(4)]


def test_a_newer_forming_candle_never_overtakes_a_closed_one(backlog: Backlog) -> None:
    for event in (kline(1), kline(2, is_closed=True), kline(3), kline(4)):
        backlog.put(item(event))

    assert drained(backlog) == [kline(2, is_closed=True), kline(3), kline(4)]


def test_account_events_and_closed_candles_are_kept_beyond_the_bound(backlog: Backlog) -> None:
    kept: list[StreamEvent] = [account(1), kline(2, is_closed=True), account(3), account(4)]
    for event in kept:
        backlog.put(item(event, "u"))

    events = drained(backlog)

    assert events == [*kept, StreamReset(route="user", reason="the consumer fell behind")]
    assert backlog.dropped == 0


def test_falling_behind_is_announced_once_until_the_consumer_has_caught_up(
    backlog: Backlog,
) -> None:
    for number in range(10):
        backlog.put(item(account(number), "u"))
    first = drained(backlog)
    for number in range(10):
        backlog.put(item(account(number), "u"))
    second = drained(backlog)

    for events in (first, second):
        assert sum(isinstance(event, StreamReset) for event in events) == 1
        assert sum(isinstance(event, AccountEvent) for event in events) == 10


def test_a_price_that_finds_no_room_is_dropped_itself(backlog: Backlog) -> None:
    for number in range(3):
        backlog.put(item(account(number)))
    price = MarkPriceEvent(
        symbol="BTCUSDT",
        mark=Decimal(1),
        index=Decimal(1),
        funding_rate=Decimal(0),
        next_funding_ms=0,
        event_ms=9,
    )

    backlog.put(item(price))

    assert drained(backlog) == [account(0), account(1), account(2)]
    assert backlog.dropped == 1


def test_dropped_frames_count_as_consumed(backlog: Backlog) -> None:
    for number in range(5):
        backlog.put(item(kline(number)))

    assert backlog.arrived() == {"a": 5, "u": 0}
    assert backlog.consumed() == {"a": 2, "u": 0}


def test_items_that_no_frame_brought_are_not_counted(backlog: Backlog) -> None:
    reset = StreamItem(
        connection="a", event=StreamReset(route="market", reason="x"), is_frame=False
    )

    backlog.put(reset)
    backlog.consume(reset)

    assert (backlog.arrived()["a"], backlog.consumed()["a"]) == (0, 0)


def test_a_connection_that_is_gone_is_not_counted_any_more(backlog: Backlog) -> None:
    late = item(kline(1))
    backlog.put(late)

    backlog.close("a")
    backlog.consume(late)

    assert backlog.arrived() == backlog.consumed() == {"u": 0}
    assert backlog.take() == late


def test_a_backlog_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Backlog(0)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.builds(kline, st.integers(0, 9), symbol=st.sampled_from(["A", "B"])),
            st.builds(kline, st.integers(0, 9), is_closed=st.just(True)),
            st.builds(account, st.integers(0, 9)),
            st.builds(IgnoredEvent, name=st.just("x")),
        ),
        max_size=60,
    ),
    st.integers(1, 5),
)
def test_nothing_that_matters_is_lost_and_every_frame_is_accounted_for(
    steps: list[StreamEvent | None], size: int
) -> None:
    backlog = Backlog(size)
    backlog.open("a", "user")
    taken: list[StreamEvent] = []
    put: list[StreamEvent] = []
    for event in steps:
        if event is not None:
            put.append(event)
            backlog.put(item(event))
        elif (found := backlog.take()) is not None:
            backlog.consume(found)
            taken.append(found.event)
    while (found := backlog.take()) is not None:
        backlog.consume(found)
        taken.append(found.event)

    def matters(event: StreamEvent) -> bool:
        return isinstance(event, AccountEvent) or (
            isinstance(event, KlineEvent) and event.is_closed
        )

    assert [event for event in taken if matters(event)] == [e for e in put if matters(e)]
    assert backlog.consumed() == backlog.arrived() == {"a": len(put)}
    forming = [event for event in taken if isinstance(event, KlineEvent) and not event.is_closed]
    assert len(put) - backlog.dropped == len([e for e in taken if not isinstance(e, StreamReset)])
    assert all(event in put for event in forming)
