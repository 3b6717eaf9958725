"""The embedded exchange's WebSockets: paths, subscriptions, user events, slow clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType

from milo.exchange.connections import Connection, Delivery
from milo.exchange.process import Settings

from .exchange_client import Client, frame_of, frames_until, running

SPEED = 600.0


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of an exchange that plays ten minutes a second."""
    async with running(Settings(state_dir=tmp_path / "x", speed=SPEED)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "is_combined", "event"),
    [
        ("/market/ws/btcusdt@kline_1m", False, "kline"),
        ("/market/stream?streams=btcusdt@kline_1m", True, "kline"),
        ("/market/ws/btcusdt@markPrice", False, "markPriceUpdate"),
        ("/market/ws/btcusdt_perpetual@continuousKline_1m", False, "continuous_kline"),
        ("/public/ws/btcusdt@bookTicker", False, "bookTicker"),
        ("/public/stream?streams=btcusdt@bookTicker", True, "bookTicker"),
        ("/ws/btcusdt@bookTicker", False, "bookTicker"),
        ("/stream?streams=btcusdt@bookTicker", True, "bookTicker"),
    ],
)
async def test_every_path_style_carries_its_streams(
    client: Client, path: str, is_combined: bool, event: str
) -> None:
    socket = await client.stream(path)

    frame = await frame_of(socket)

    if is_combined:
        assert frame["stream"].startswith("btcusdt@")
        frame = frame["data"]
    assert frame["e"] == event


@pytest.mark.parametrize(
    "path",
    [
        "/ws/btcusdt@kline_1m",
        "/stream?streams=btcusdt@markPrice",
        "/public/ws/btcusdt@kline_1m",
        "/market/ws/btcusdt@bookTicker",
        "/private/ws/btcusdt@kline_1m",
    ],
)
async def test_a_stream_on_the_wrong_path_connects_and_stays_silent(
    client: Client, path: str
) -> None:
    socket = await client.stream(path)
    control = await client.stream("/market/ws/btcusdt@kline_1m")
    for _ in range(3):
        await frame_of(control)

    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})

    assert (await frame_of(socket))["id"] == 1


async def test_frames_subscribe_list_and_unsubscribe(client: Client) -> None:
    socket = await client.stream("/market/ws")
    await socket.send_json({"method": "SUBSCRIBE", "params": ["ethusdt@kline_5m"], "id": 7})
    subscribed = await frame_of(socket)
    frame = await frame_of(socket)
    await socket.send_json({"method": "UNSUBSCRIBE", "params": ["ethusdt@kline_5m"], "id": 8})
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 9})

    replies = [f for f in [await frame_of(socket) for _ in range(2)] if "id" in f]
    while len(replies) < 2:
        replies += [f for f in [await frame_of(socket)] if "id" in f]

    assert subscribed == {"result": None, "id": 7}
    assert (frame["e"], frame["k"]["s"], frame["k"]["i"]) == ("kline", "ETHUSDT", "5m")
    assert replies == [{"result": None, "id": 8}, {"result": [], "id": 9}]


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", '{"method":"FLY","id":1}',
     '{"method":"SUBSCRIBE","params":["x"],"id":"one"}',
     '{"method":"SUBSCRIBE","params":"btcusdt@kline_1m","id":1}'],
)  # fmt: skip
async def test_a_wrong_frame_is_answered_and_the_socket_lives(client: Client, text: str) -> None:
    socket = await client.stream("/market/ws")
    await socket.send_str(text)
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 5})

    error, reply = await frame_of(socket), await frame_of(socket)

    assert error["error"]["code"] in (2, 3)
    assert reply["id"] == 5


async def test_too_many_frames_a_second_end_the_socket(client: Client) -> None:
    socket = await client.stream("/market/ws")
    for number in range(25):
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})

    message = await socket.receive(timeout=5)
    while message.type is WSMsgType.TEXT:
        message = await socket.receive(timeout=5)

    assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1008)


@pytest.mark.parametrize(
    "path",
    ["/private/ws/{key}", "/private/ws?listenKey={key}", "/private/stream?streams={key}",
     "/private/stream?listenKey={key}&events=ORDER_TRADE_UPDATE", "/ws/{key}"],
)  # fmt: skip
async def test_the_account_is_heard_on_every_private_path(client: Client, path: str) -> None:
    key = await client.listen_key()
    socket = await client.stream(path.format(key=key))

    order = await client.signed(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.002"
    )

    frame = await frame_of(socket)
    body = frame.get("data", frame)
    assert frame.get("stream", key) == key
    assert (body["e"], body["o"]["i"]) == ("ORDER_TRADE_UPDATE", order["orderId"])


async def test_only_the_events_asked_for_are_told(client: Client) -> None:
    key = await client.listen_key()
    path = f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE/ALGO_UPDATE"
    socket = await client.stream(path)

    for side in ("BUY", "SELL"):
        await client.signed(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side=side, type="MARKET", quantity="0.002"
        )

    assert [(await frame_of(socket))["e"] for _ in range(2)] == ["ACCOUNT_UPDATE"] * 2


async def test_an_unknown_listen_key_hears_nothing(client: Client) -> None:
    await client.listen_key()
    stranger = await client.stream("/private/ws/" + "0" * 64)
    mine = await client.user_stream()

    await client.signed(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.002"
    )

    await frames_until(mine, "TRADE_LITE")
    with pytest.raises(TimeoutError):
        await stranger.receive(timeout=0.05)


async def test_a_listen_key_that_ends_says_so_and_the_socket_stays_open_but_mute(
    client: Client,
) -> None:
    socket = await client.user_stream()
    key = client.server.listen_keys.current

    client.server.listen_keys.restore(key, -(10**13))
    frame = await frame_of(socket)

    assert (frame["e"], frame["listenKey"]) == ("listenKeyExpired", key)
    assert not socket.closed


async def test_a_stop_that_triggers_is_told_before_the_candle_that_triggered_it(
    client: Client,
) -> None:
    user = await client.user_stream()
    await client.signed(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.002"
    )
    price = float((await client.get("/fapi/v1/ticker/price", symbol="BTCUSDT"))["price"])
    for kind, factor in (("STOP_MARKET", 0.9995), ("TAKE_PROFIT_MARKET", 1.0005)):
        placed = await client.signed(
            "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL",
            type=kind, triggerPrice=f"{price * factor:.1f}", closePosition="true",
        )  # fmt: skip
        assert placed["algoStatus"] == "NEW", placed

    told = []
    while not told or told[-1]["X"] != "EXPIRED":
        told.append((await frames_until(user, "ALGO_UPDATE"))[-1]["o"])

    assert {o["X"] for o in told} == {"NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "EXPIRED"}
    assert (await client.signed("GET", "/fapi/v3/positionRisk")) == []


# --- slow clients ---------------------------------------------------------------------------------


class _Stalled:
    """A socket whose client takes nothing: what `Connection` asks of an aiohttp socket."""

    closed = False

    def __init__(self) -> None:
        self.close_code: int | None = None

    async def send_str(self, text: str) -> None:
        await asyncio.Event().wait()

    async def close(self, *, code: int, message: bytes, drain: bool) -> None:
        self.close_code = code


def _stalled() -> tuple[Connection, _Stalled]:
    socket = _Stalled()
    connection = Connection(socket, 1, root="market", label="", combined=False)  # type: ignore[arg-type]
    return connection, socket


async def test_behind_a_backlog_only_the_newest_unfinished_candle_waits() -> None:
    connection, _ = _stalled()

    for number in range(5_000):
        is_final = number % 1_000 == 999
        connection.push(Delivery(f"{number}", "btcusdt@kline_1m", is_final))

    waiting = [entry.text for entry in connection._queue]
    assert [text for text in waiting if int(text) % 1_000 == 999] == [
        "999", "1999", "2999", "3999", "4999",
    ]  # fmt: skip
    assert len(waiting) < 100
    assert [int(text) for text in waiting] == sorted(int(text) for text in waiting)


async def test_a_client_that_misses_ten_thousand_events_is_cut_off() -> None:
    connection, socket = _stalled()

    async with asyncio.TaskGroup() as group:
        group.create_task(connection.cut_off())
        for number in range(10_001):
            connection.push(Delivery(f"{number}", "", is_final=True))

    assert socket.close_code == 1008


async def test_a_client_that_does_not_read_stalls_nobody(client: Client) -> None:
    stalled = await client.stream("/market/ws/btcusdt@kline_1m")
    reading = await client.stream("/market/ws/btcusdt@kline_1m")

    seen = [(await frame_of(reading))["E"] for _ in range(40)]

    assert seen == sorted(seen)
    assert json.loads(await stalled.receive_str())["e"] == "kline"
