"""WebSocketManager in its ordinary course, and with a consumer that is too slow."""

from __future__ import annotations

import asyncio
import statistics

from aiohttp import web

from milo.clock import VenueClock, monotonic_s
from milo.events import (
    IgnoredEvent,
    KlineEvent,
    LeverageEvent,
    StreamEvent,
    StreamReset,
)
from milo.wire.dialects import ASTER
from tests.stream_server import (
    STREAM,
    Make,
    Server,
    count_up,
    kline_frame,
    leverage_frame,
    numbers,
    taken,
    until,
)


async def test_frames_become_events_in_the_order_of_arrival(
    server: Server, manager_of: Make
) -> None:
    server.script = count_up
    manager = manager_of(server.url)

    manager.open_market([STREAM])
    items = await taken(manager, 10)

    assert numbers(items) == list(range(100, 110))
    assert server.paths == ["/market/stream?streams=btcusdt@kline_1m"]
    assert manager.is_drained


async def test_frames_are_counted_by_live_connection(server: Server, manager_of: Make) -> None:
    server.script = count_up
    manager = manager_of(server.url, labelled=True)
    manager.open_market([STREAM])
    await taken(manager, 4)
    await until(lambda: list(manager.arrived_counts().values()) == [10])

    assert manager.consumed_counts() == {server.labels[0]: 4}
    assert not manager.is_drained


async def test_replies_and_unknown_messages_are_counted_too(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    await server.say('{"result":null,"id":1}', '{"e":"somethingNew","E":1}')
    items = await taken(manager, 2)

    assert [item.event for item in items] == [
        IgnoredEvent(name="reply"),
        IgnoredEvent(name="somethingNew"),
    ]
    assert list(manager.consumed_counts().values()) == [2]


async def test_labels_are_fresh_for_each_connection_and_absent_unless_asked_for(
    server: Server, manager_of: Make
) -> None:
    labelled = manager_of(server.url, labelled=True)
    labelled.open_market([STREAM])
    labelled.open_user("key")
    await labelled.wait_open(5)
    plain = manager_of(server.url)
    plain.open_market([STREAM])
    await plain.wait_open(5)
    await until(lambda: len(server.live) == 3)

    assert len(set(server.labels[:2])) == 2
    assert None not in server.labels[:2]
    assert server.labels[2] is None
    assert server.origins == [None, None, None]


async def test_the_venue_clock_follows_the_events_of_a_stepped_venue(
    server: Server, manager_of: Make
) -> None:
    server.script = count_up
    clock = VenueClock(speed=0.0)
    clock.sync(50)
    manager = manager_of(server.url, clock=clock)
    manager.open_market([STREAM])

    await taken(manager, 1)
    first_ms = clock.now_ms()
    await taken(manager, 9)

    assert (first_ms, clock.now_ms()) == (100, 109)


async def test_best_prices_are_asked_for_on_their_own_route(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)

    manager.open_market([STREAM, "btcusdt@bookTicker"])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 2)

    assert sorted(server.paths) == [
        "/market/stream?streams=btcusdt@kline_1m",
        "/public/stream?streams=btcusdt@bookTicker",
    ]


async def test_aster_is_asked_without_routes(server: Server, manager_of: Make) -> None:
    manager = manager_of(server.url, dialect=ASTER)

    manager.open_market([STREAM, "btcusdt@bookTicker"])
    manager.open_user("key")
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 2)

    assert sorted(server.paths) == [
        "/stream?streams=btcusdt@kline_1m/btcusdt@bookTicker",
        "/ws/key",
    ]


async def test_more_streams_get_a_connection_of_their_own(server: Server, manager_of: Make) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    manager.open_market([STREAM, "ethusdt@kline_1m"])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 2)

    assert server.paths[1:] == ["/market/stream?streams=ethusdt@kline_1m"]
    assert manager.is_drained


async def test_long_and_fragmented_frames_arrive_whole(server: Server, manager_of: Make) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)
    frame = kline_frame(7)
    padded = frame[:-1] + ',"padding":"' + "x" * 200_000 + '"}'

    await server.say(padded)
    writer = server.live[-1]._writer
    assert writer is not None
    transport = writer.transport
    half = len(frame) // 2
    for is_last, opcode, part in ((0, 1, frame[:half]), (1, 0, frame[half:])):
        header = bytes([is_last << 7 | opcode, 126]) + len(part).to_bytes(2, "big")
        transport.write(header + part.encode())

    assert numbers(await taken(manager, 2)) == [7, 7]


async def test_pings_of_the_venue_are_answered(server: Server, manager_of: Make) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)

    await server.live[-1].ping(b"123")

    await until(lambda: server.pongs == 1)


# --- a slow consumer


async def test_a_slow_consumer_gets_the_newest_forming_candle_and_every_closed_one(
    server: Server, manager_of: Make
) -> None:
    async def flood(ws: web.WebSocketResponse, _: Server) -> None:
        for number in range(300):
            await ws.send_str(kline_frame(number, is_closed=number % 100 == 0))

    server.script = flood
    manager = manager_of(server.url, queue_size=10)
    manager.open_market([STREAM])
    await until(lambda: list(manager.arrived_counts().values()) == [300])

    items = await taken(manager, 10)

    events = [item.event for item in items]
    assert [event.event_ms for event in closed(events)] == [0, 100, 200]
    assert numbers(items)[-1] == 299
    assert manager.dropped == 290
    assert manager.consumed_counts() == manager.arrived_counts()


async def test_account_events_survive_an_overflow_and_a_gap_is_announced(
    server: Server, manager_of: Make
) -> None:
    async def flood(ws: web.WebSocketResponse, _: Server) -> None:
        for number in range(50):
            await ws.send_str(leverage_frame(number))

    server.script = flood
    manager = manager_of(server.url, queue_size=10)
    manager.open_user("key")
    await until(lambda: list(manager.arrived_counts().values()) == [50])

    items = await taken(manager, 51)

    changes = [item.event.event_ms for item in items if isinstance(item.event, LeverageEvent)]
    resets = [item.event for item in items if isinstance(item.event, StreamReset)]
    assert changes == list(range(50))
    assert resets == [StreamReset(route="user", reason="the consumer fell behind")]


async def test_a_flood_of_events_leaves_room_for_other_tasks(
    server: Server, manager_of: Make
) -> None:
    async def flood(ws: web.WebSocketResponse, _: Server) -> None:
        for number in range(1_000):
            await ws.send_str(kline_frame(number, is_closed=True))

    server.script = flood
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await until(lambda: list(manager.arrived_counts().values()) == [1_000])
    turns = 0

    async def other_task() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(other_task())
    await taken(manager, 1_000)
    other.cancel()

    assert turns >= 10


def closed(events: list[StreamEvent]) -> list[KlineEvent]:
    return [event for event in events if isinstance(event, KlineEvent) and event.is_closed]


# --- speed


async def test_a_frame_reaches_the_consumer_in_a_fraction_of_a_millisecond(
    server: Server, manager_of: Make
) -> None:
    manager = manager_of(server.url)
    manager.open_market([STREAM])
    await manager.wait_open(5)
    await until(lambda: len(server.live) == 1)
    waits_s = []
    for number in range(200):
        waiting = asyncio.ensure_future(manager.next())
        await asyncio.sleep(0.001)
        sent_s = monotonic_s()
        await server.say(kline_frame(number))
        await waiting
        waits_s.append(monotonic_s() - sent_s)

    # From the server's send to the consumer; the median is far lower on a quiet machine.
    assert min(waits_s) < 0.001
    assert statistics.median(waits_s) < 0.010
