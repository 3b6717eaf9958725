"""The chart's live socket, its history, and its locks, on the real server."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chart_handler import ChartHandler
from milo.charts.snapshot import LogKind
from milo.clock import monotonic_s
from milo.errors import ConfigError, StoreError
from milo.web.pushing import MOST_PAGES, Question, parse_watch
from milo.web.sessions import MOST_TRIES, Sessions
from tests.chart_market import ChartMarket, line

WATCH = {"watch": {"symbol": "BTCUSDT", "interval": "1h"}}


@pytest.fixture
async def locked(market: ChartMarket) -> AsyncIterator[tuple[ChartHandler, Sessions]]:
    sessions = Sessions(password="open sesame")
    handler = ChartHandler(market, port=0, sessions=sessions)
    await handler.start()
    yield handler, sessions
    await handler.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


def base(chart: ChartHandler) -> str:
    return f"http://127.0.0.1:{chart.port}"


def origin(chart: ChartHandler) -> dict[str, str]:
    return {"Origin": base(chart)}


async def joined(client: aiohttp.ClientSession, chart: ChartHandler, **watch: Any) -> Any:
    """Return a socket that watches, and its first message."""
    page = await client.ws_connect(f"{base(chart)}/live", headers=origin(chart))
    await page.send_json({"watch": WATCH["watch"] | watch})
    return page, await page.receive_json(timeout=5)


async def until(page: Any, member: str) -> Any:
    """Return the next message that has this member."""
    async with asyncio.timeout(5):
        while True:
            message = await page.receive_json()
            if member in message:
                return message


async def test_page_hears_of_each_change(
    client: aiohttp.ClientSession, chart: ChartHandler, market: ChartMarket
) -> None:
    page, first = await joined(client, chart)
    assert (first["seq"], first["reload"], first["total"]) == (1, True, 120)
    assert first["meta"]["symbol"] == "BTCUSDT"

    market.form_candle(30_100.0)
    assert (await until(page, "live"))["live"][4] == 30_100.0
    market.close_candle(31_000.0)
    closed = await until(page, "rows")
    market.change(log=(line("hello", LogKind.EVENT),))
    logged = await until(page, "log")

    assert [row[4] for row in closed["rows"]] == [31_000.0]
    assert closed["total"] == 121
    assert logged["log"][-1]["text"] == "hello"
    assert "meta" not in logged
    await page.close()


async def test_history_fits_the_messages(
    client: aiohttp.ClientSession, chart: ChartHandler
) -> None:
    page, first = await joined(client, chart)
    async with client.get(f"{base(chart)}/history?count=20&overview=50") as response:
        body = await response.read()

    header = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
    assert response.content_type == "application/octet-stream"
    assert header["series"] == first["series"]
    assert (header["first"], header["count"], header["total"]) == (100, 20, 120)
    await page.close()

    again, next_ = await joined(client, chart, series=header["series"], total=header["total"])
    assert "reload" not in next_
    await again.close()


@pytest.mark.parametrize(
    "query", ["end=-1", "count=x", "count=9999999", "overview=5001", "end=1e3"]
)
async def test_history_that_cannot_be_is_a_400(
    client: aiohttp.ClientSession, chart: ChartHandler, query: str
) -> None:
    async with client.get(f"{base(chart)}/history?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]


async def test_unknown_symbol_and_failures_are_told_and_the_socket_stays(
    client: aiohttp.ClientSession, chart: ChartHandler, market: ChartMarket
) -> None:
    page, unknown = await joined(client, chart, symbol="NOPE")
    assert "unknown symbol" in unknown["error"]

    market.failure = StoreError("market.db is locked")
    await page.send_json(WATCH)
    assert (await page.receive_json(timeout=5))["error"] == "market.db is locked"
    market.failure = None
    assert (await until(page, "reload"))["seq"] == 1
    await page.close()


async def test_hidden_page_hears_nothing_and_then_all_at_once(
    client: aiohttp.ClientSession, chart: ChartHandler, market: ChartMarket
) -> None:
    page, _ = await joined(client, chart)
    await page.send_json({"hidden": True})
    await asyncio.sleep(0.2)
    while True:
        try:
            await page.receive(timeout=0.05)
        except TimeoutError:
            break
    asked = market.asked
    for price in (31_000.0, 31_010.0, 31_020.0):
        market.close_candle(price)
    await asyncio.sleep(0.3)
    assert market.asked == asked

    await page.send_json({"hidden": False})
    rows = (await until(page, "rows"))["rows"]

    assert [row[4] for row in rows] == [31_000.0, 31_010.0, 31_020.0]
    await page.close()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"watch": 1}', '{"watch": {"symbol": 5}}', '{"watch": {"total": -1}}',
     '{"watch": {"total": true}}', '{"watch": {"series": "' + "x" * 65 + '"}}', "[" * 4_000,
     '{"watch": {"interval": ""}}'],
)  # fmt: skip
async def test_a_page_that_sends_nonsense_is_closed(
    client: aiohttp.ClientSession, chart: ChartHandler, text: str
) -> None:
    with pytest.raises(Question):
        parse_watch(text)

    page = await client.ws_connect(f"{base(chart)}/live", headers=origin(chart))
    await page.send_str(text)
    message = await page.receive(timeout=5)

    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert page.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_questions_larger_than_any_are_not_read(
    client: aiohttp.ClientSession, chart: ChartHandler
) -> None:
    page = await client.ws_connect(f"{base(chart)}/live", headers=origin(chart))
    await page.send_str("x" * 10_000)
    await page.receive(timeout=5)

    assert page.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize("sender", ["http://evil.test", "null", "http://127.0.0.1:1", None])
async def test_sockets_of_other_pages_are_refused(
    client: aiohttp.ClientSession, chart: ChartHandler, market: ChartMarket, sender: str | None
) -> None:
    headers = {} if sender is None else {"Origin": sender}

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(f"{base(chart)}/live", headers=headers)

    assert refused.value.status == 403
    assert market.asked == 0


async def test_too_many_pages_are_refused(
    client: aiohttp.ClientSession, chart: ChartHandler
) -> None:
    pages = [
        await client.ws_connect(f"{base(chart)}/live", headers=origin(chart))
        for _ in range(MOST_PAGES)
    ]

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(f"{base(chart)}/live", headers=origin(chart))

    assert refused.value.status == 503
    for page in pages:
        await page.close()


async def test_a_page_that_does_not_read_delays_nobody_and_is_cut(
    client: aiohttp.ClientSession, chart: ChartHandler, market: ChartMarket
) -> None:
    market.change(log=tuple(line("x" * 1_900) for _ in range(200)))
    stalled = socket.create_connection(("127.0.0.1", chart.port))
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stalled.sendall(handshake(chart) + masked(json.dumps(WATCH).encode()))
    page, _ = await joined(client, chart)

    waits = []
    for step in range(40):
        text = f"{step} " + "y" * 1_800
        market.change(log=tuple(line(text) for _ in range(200)))
        started = monotonic_s()
        message = await until(page, "log")
        while not message["log"][-1]["text"].startswith(f"{step} "):
            message = await until(page, "log")
        waits.append(monotonic_s() - started)
    await asyncio.sleep(2.5)

    assert sorted(waits)[len(waits) // 2] < 1.0
    assert len(chart._pages) == 1
    stalled.close()
    await page.close()


def handshake(chart: ChartHandler) -> bytes:
    return (
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{chart.port}\r\nOrigin: {base(chart)}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


def masked(text: bytes) -> bytes:
    """Return a client's text frame whose mask is zero."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


async def test_stop_says_goodbye_to_pages(
    client: aiohttp.ClientSession, market: ChartMarket
) -> None:
    handler = ChartHandler(market, port=0)
    await handler.start()
    page, _ = await joined(client, handler)

    async def listens() -> None:
        while not page.closed:
            await page.receive()

    listening = asyncio.create_task(listens())
    started = monotonic_s()
    await handler.stop()

    assert monotonic_s() - started < 1.0
    await asyncio.wait_for(listening, 5)
    assert page.close_code == aiohttp.WSCloseCode.GOING_AWAY


# --- locked: a real venue's account, or another address ---------------------------------------


async def test_without_the_link_nothing_but_the_page_is_seen(
    client: aiohttp.ClientSession, locked: tuple[ChartHandler, Sessions], market: ChartMarket
) -> None:
    chart, _ = locked
    for path in ("/data", "/history", "/live"):
        async with client.get(base(chart) + path) as response:
            assert response.status == 401
            assert (await response.json())["hasPassword"] is True
    async with client.get(base(chart)) as page:
        assert page.status == 200

    assert market.asked == 0


async def test_link_lets_one_browser_in_and_leaves_the_address(
    client: aiohttp.ClientSession, locked: tuple[ChartHandler, Sessions]
) -> None:
    chart, _ = locked
    link = chart.url.replace("localhost", "127.0.0.1")
    assert "token=" in link

    async with client.get(link, allow_redirects=False) as response:
        cookie = response.headers["Set-Cookie"]
        assert (response.status, response.headers["Location"]) == (303, "/")
    async with client.get(f"{base(chart)}/data") as data:
        assert data.status == 200
    page, _ = await joined(client, chart)
    await page.close()

    assert cookie.startswith(f"milo_{chart.port}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "token=" not in chart.url
    async with aiohttp.ClientSession() as other:
        async with other.get(link) as spent:
            assert spent.status == 200
        async with other.get(f"{base(chart)}/data") as refused:
            assert refused.status == 401


async def test_bearer_token_lets_programs_in(
    client: aiohttp.ClientSession, locked: tuple[ChartHandler, Sessions]
) -> None:
    chart, sessions = locked
    for token, status in ((sessions.bearer, 200), ("x" * 43, 401)):
        headers = {"Authorization": f"Bearer {token}"}
        async with client.get(f"{base(chart)}/data", headers=headers) as response:
            assert response.status == status


async def test_password_lets_in_and_wrong_ones_have_to_wait(
    client: aiohttp.ClientSession, locked: tuple[ChartHandler, Sessions]
) -> None:
    chart, _ = locked
    url = f"{base(chart)}/login"
    async with client.post(url, json={"password": "open sesame"}) as without_origin:
        assert without_origin.status == 403
    async with client.post(url, data={"password": "open sesame"}, headers=origin(chart)) as form:
        assert form.status == 415
    async with client.post(url, json={"password": "open sesame"}, headers=origin(chart)) as right:
        assert right.status == 200
    async with client.get(f"{base(chart)}/data") as data:
        assert data.status == 200

    statuses = []
    for _ in range(MOST_TRIES + 1):
        async with client.post(url, json={"password": "x"}, headers=origin(chart)) as wrong:
            statuses.append(wrong.status)
    assert statuses == [403] * (MOST_TRIES - 1) + [429] * 2


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"password": 5}', "[" * 50_000])
async def test_login_that_is_no_login_is_a_400(
    client: aiohttp.ClientSession, locked: tuple[ChartHandler, Sessions], body: str
) -> None:
    chart, _ = locked
    headers = origin(chart) | {"Content-Type": "application/json"}
    async with client.post(f"{base(chart)}/login", data=body, headers=headers) as response:
        assert response.status == 400


@pytest.mark.parametrize("sessions", [None, Sessions()])
def test_another_address_needs_a_password(
    market: ChartMarket, sessions: Sessions | None, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="password"):
        ChartHandler(market, host="192.0.2.1", sessions=sessions)
