"""The chart's real server on loopback: routes, headers, bad input, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from chart_handler import STATIC_FOLDER, ChartHandler
from milo.clock import monotonic_s
from milo.errors import ConfigError, StoreError
from milo.web.static_files import load_static_files
from tests.chart_market import ChartMarket


@pytest.fixture
async def client(chart: ChartHandler) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{chart.port}") as session:
        yield session


async def test_page_and_each_of_its_files_are_served_with_their_type(
    client: aiohttp.ClientSession,
) -> None:
    async with client.get("/") as page:
        text = await page.text()
    assert page.status == 200
    assert page.content_type == "text/html"
    assert "<canvas" in text

    for name, file in load_static_files(STATIC_FOLDER).items():
        async with client.get(f"/static/{name}") as response:
            assert response.status == 200
            assert response.content_type == file.mime_type
            assert await response.read() == file.body


async def test_scripts_are_text_javascript(client: aiohttp.ClientSession) -> None:
    async with client.get("/static/chart.js") as response:
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"


async def test_unchanged_file_is_not_sent_again(client: aiohttp.ClientSession) -> None:
    async with client.get("/static/chart.js") as first:
        etag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "no-cache"

    async with client.get("/static/chart.js", headers={"If-None-Match": etag}) as second:
        assert second.status == 304
        assert await second.read() == b""


@pytest.mark.parametrize(
    "path",
    [
        "/static/../chart_handler.py",
        "/static/..%2fchart_handler.py",
        "/static/%2e%2e/keys.json",
        "/static//etc/passwd",
        "/static/chart",
        "/static/",
        "/chart_handler.py",
        "/keys.json",
        "/data/market.db",
        "/static/index.html%00.js",
    ],
)
async def test_nothing_but_the_listed_files_is_served(chart: ChartHandler, path: str) -> None:
    status, _ = await raw(chart, f"GET {path} HTTP/1.1\r\nHost: localhost:{chart.port}\r\n\r\n")

    assert status in (400, 404)


def test_links_and_hidden_and_unknown_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    (tmp_path / ".secret.js").write_text("hidden")
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "outside.js").symlink_to("/etc/hostname")

    assert list(load_static_files(tmp_path)) == ["index.html"]


def test_missing_page_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no index\.html in"):
        load_static_files(tmp_path)


async def test_data_answers_with_candles_and_increments(
    client: aiohttp.ClientSession, market: ChartMarket
) -> None:
    async with client.get("/data") as response:
        full = await response.json()
    market.close_candle(31_234.5)
    async with client.get("/data", params={"since": full["cursor"]}) as response:
        newer = await response.json()

    assert response.headers["Cache-Control"] == "no-store"
    assert len(full["historical"]) == 120
    assert [row["close"] for row in newer["historical"]] == [31_234.5]


async def test_symbol_and_interval_are_passed_on(client: aiohttp.ClientSession) -> None:
    async with client.get("/data", params={"symbol": "ETHUSDT", "interval": "4h"}) as response:
        meta = (await response.json())["meta"]

    assert (meta["symbol"], meta["interval"]) == ("ETHUSDT", "4h")


@pytest.mark.parametrize("query", ["symbol=NOPE", "interval=7m", f"symbol={'A' * 65}"])
async def test_unknown_symbol_or_interval_is_a_404_with_a_reason(
    client: aiohttp.ClientSession, query: str
) -> None:
    async with client.get(f"/data?{query}") as response:
        assert response.status == 404
        assert (await response.json())["error"]


async def test_engine_that_cannot_answer_is_a_503_with_its_reason(
    client: aiohttp.ClientSession, market: ChartMarket
) -> None:
    market.failure = StoreError("market.db is locked by another program")

    async with client.get("/data") as response:
        assert response.status == 503
        assert (await response.json())["error"] == "market.db is locked by another program"


async def test_every_answer_carries_the_security_headers(chart: ChartHandler) -> None:
    host = f"Host: localhost:{chart.port}"
    requests = [
        f"GET / HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET /data HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET /none HTTP/1.1\r\n{host}\r\n\r\n",
        f"POST / HTTP/1.1\r\n{host}\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    ]

    for request in requests:
        _, head = await raw(chart, request)
        assert "content-security-policy: default-src 'none'" in head
        assert "x-content-type-options: nosniff" in head
        assert "cross-origin-resource-policy: same-origin" in head
        assert "access-control-allow" not in head
        assert "server: milo\r\n" in head


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Host: evil.test:{port}", 421),
        ("Host: localhost:{port}\r\nOrigin: http://evil.test", 403),
        ("Host: localhost:{port}\r\nOrigin: null", 403),
        ("Host: localhost:{port}\r\nSec-Fetch-Site: cross-site", 403),
        ("Host: localhost:{port}\r\nSec-Fetch-Site: same-site", 403),
        ("Host: localhost:{port}\r\nOrigin: http://localhost:{port}", 200),
        ("Host: [::1]:{port}", 200),
    ],
)
async def test_requests_of_other_pages_are_refused(
    chart: ChartHandler, market: ChartMarket, header: str, status: int
) -> None:
    lines = header.format(port=chart.port)

    answered, _ = await raw(chart, f"GET /data HTTP/1.1\r\n{lines}\r\n\r\n")

    assert answered == status
    assert market.asked == (1 if status == 200 else 0)


async def test_writing_is_refused(client: aiohttp.ClientSession, chart: ChartHandler) -> None:
    origin = {"Origin": f"http://localhost:{chart.port}"}
    async with client.post("/data", json={}, headers=origin) as response:
        assert response.status == 405
    async with client.delete("/data", headers=origin) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, POST"


async def test_head_has_the_headers_alone(client: aiohttp.ClientSession) -> None:
    async with client.head("/") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_only_loopback_listens(chart: ChartHandler) -> None:
    with pytest.raises(OSError, match="refused"), socket.socket() as probe:
        # Another address of the loopback net: a server on all addresses would answer here.
        probe.connect(("127.0.0.2", chart.port))


def test_any_other_address_is_refused(market: ChartMarket) -> None:
    with pytest.raises(ConfigError, match=r"only behind a password"):
        ChartHandler(market, host="0.0.0.0")


async def test_port_in_use_names_the_port_and_the_option(
    chart: ChartHandler, market: ChartMarket
) -> None:
    second = ChartHandler(market, port=chart.port)

    with pytest.raises(ConfigError, match=rf"port {chart.port} is in use.*--port"):
        await second.start()
    await second.stop()


async def test_port_that_does_not_exist_is_said_clearly(market: ChartMarket) -> None:
    with pytest.raises(ConfigError, match="port 70000 does not exist"):
        await ChartHandler(market, port=70_000).start()


async def test_stop_ends_within_a_second_whoever_is_connected(market: ChartMarket) -> None:
    handler = ChartHandler(market, port=0)
    await handler.start()
    idle = await asyncio.open_connection("127.0.0.1", handler.port)
    market.blocker = asyncio.Event()
    waiting = await asyncio.open_connection("127.0.0.1", handler.port)
    waiting[1].write(f"GET /data HTTP/1.1\r\nHost: localhost:{handler.port}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        await market.was_asked.wait()

    started = monotonic_s()
    await handler.stop()

    assert monotonic_s() - started < 1.0
    for _, writer in (idle, waiting):
        await closed(writer)


async def test_stopping_twice_or_before_the_start_is_fine(market: ChartMarket) -> None:
    handler = ChartHandler(market, port=0)
    await handler.stop()
    await handler.start()
    await handler.stop()
    await handler.stop()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def raw(chart: ChartHandler, request: str) -> tuple[int, str]:
    """Send these bytes as they are; return status and headers in lower case."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", chart.port)
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await closed(writer)
    return int(head.split(" ", 2)[1]), head


async def test_files_are_packed_for_who_takes_gzip(chart: ChartHandler) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = f"http://127.0.0.1:{chart.port}/static/chart.js"
        async with session.get(url, headers={"Accept-Encoding": "gzip"}) as packed:
            body = await packed.read()
        async with session.get(url, headers={"Accept-Encoding": "identity"}) as plain:
            text = await plain.read()
        known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
        async with session.get(url, headers=known) as again:
            assert again.status == 304

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(body) == text
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == "Accept-Encoding"


def test_what_is_served_says_the_same_as_the_sources() -> None:
    """Every string and template of the sources is still there, every comment is gone."""
    files = load_static_files(STATIC_FOLDER)
    served = "".join(file.body.decode() for name, file in files.items() if name.endswith(".js"))
    sources = [path for path in STATIC_FOLDER.rglob("*.js") if "report" not in path.parts]

    assert not re.search(r"^\s*(//|/?\*)", served, re.MULTILINE)
    for path in sources:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        code = re.sub(r"(^|\s)//.*$", "", code, flags=re.MULTILINE)
        for text in re.findall(r'"(?:[^"\\\n]|\\.)*"', code):
            if not text.startswith('"./') and not text.startswith('"../'):
                assert text in served, (path.name, text)
