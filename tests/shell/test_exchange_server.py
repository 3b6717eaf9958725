"""The embedded exchange over real HTTP: signing on the wire, statuses, headers, time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from milo.errors import StoreError
from milo.exchange.process import Settings

from .exchange_client import MINUTE_MS, START_MS, Client, market_file, running

FLAT = ("60000.0", "60000.0", "60000.0", "60000.0")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a stepped exchange on the simulated market."""
    async with running(Settings(state_dir=tmp_path / "x", speed=0.0)) as client:
        yield client


async def test_a_request_signed_with_the_clients_own_encoding_is_accepted(client: Client) -> None:
    """aiohttp encodes what it is given; the exchange signs the bytes that arrive."""
    keys = client.server.secrets
    form = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&timestamp={client.now_ms}"
    signature = hmac.new(keys.api_secret.encode(), form.encode(), hashlib.sha256).hexdigest()
    async with client.session.post(
        client.rest_url + "/fapi/v1/order",
        data=f"{form}&signature={signature}",
        headers={
            "X-MBX-APIKEY": keys.api_key,
            "Content-Type": "application/x-www-form-urlencoded",
        },
    ) as answer:
        body = await answer.json()

    assert answer.status == 200, body
    assert answer.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    assert answer.headers["Content-Type"].startswith("application/json")


async def test_a_symbol_in_chinese_script_arrives_as_it_was_signed(client: Client) -> None:
    keys = client.server.secrets
    payload = f"symbol={quote('币安人生USDT')}&orderId=1&timestamp={client.now_ms}"
    signature = hmac.new(keys.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    url = URL(f"{client.rest_url}/fapi/v1/order?{payload}&signature={signature}", encoded=True)

    async with client.session.get(url, headers={"X-MBX-APIKEY": keys.api_key}) as answer:
        body = await answer.json()

    assert (answer.status, body["code"]) == (400, -1121)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/fapi/v1/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/fapi/v1/account", 404),
        ("POST", "/fapi/v1/klines", 405),
        ("GET", "/fapi/v3/balance", 401),
        ("POST", "/fapi/v1/listenKey", 401),
    ],
)
async def test_what_is_not_served_is_refused_in_json(
    client: Client, method: str, path: str, status: int
) -> None:
    async with client.session.request(method, client.rest_url + path) as answer:
        body = await answer.json()

    assert answer.status == status
    assert body.keys() == {"code", "msg"}
    assert "X-MBX-USED-WEIGHT-1M" in answer.headers


async def test_too_many_requests_are_429_with_retry_after(client: Client) -> None:
    statuses = set()
    for _ in range(62):
        url = client.rest_url + "/fapi/v1/ticker/24hr"
        async with client.session.get(url) as answer:
            statuses.add(answer.status)
            if answer.status == 429:
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
                break

    assert statuses == {200, 429}


async def test_all_that_is_due_is_played_before_a_request_is_answered(tmp_path: Path) -> None:
    settings = Settings(
        state_dir=tmp_path / "x",
        speed=1e9,
        market=market_file(tmp_path, [FLAT] * 600),
        symbol="BTCUSDT",
        start_ms=START_MS,
        is_fresh=True,
    )
    async with running(settings) as client:
        await client.signed(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
        )
        time = await client.get("/fapi/v1/time")
        account = await client.signed("GET", "/fapi/v3/account")

    assert time["serverTime"] == START_MS + 600 * MINUTE_MS - 1
    assert float(account["totalWalletBalance"]) <= 10_000 - 0.3


async def test_many_requests_at_once_are_answered_one_by_one_and_whole(client: Client) -> None:
    asked = [
        client.signed(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.001"
        )
        for _ in range(20)
    ]

    orders = await asyncio.gather(*asked)
    (position,) = await client.signed("GET", "/fapi/v3/positionRisk")

    assert len({order["orderId"] for order in orders}) == 20
    assert position["positionAmt"] == "0.020"


async def test_history_of_every_kind_can_be_asked_for(client: Client) -> None:
    day_ago = client.now_ms - 24 * 60 * MINUTE_MS

    klines = await client.get(
        "/fapi/v1/klines", symbol="ETHUSDT", interval="1h", startTime=day_ago, limit=30
    )
    funding = await client.get("/fapi/v1/fundingRate", symbol="ETHUSDT", startTime=day_ago)
    newest = await client.get("/fapi/v1/fundingRate", symbol="ETHUSDT")

    assert [row[0] for row in klines] == [day_ago + n * 60 * MINUTE_MS for n in range(25)]
    assert [row["fundingTime"] for row in funding] == [day_ago + n * 28_800_000 for n in range(4)]
    assert (len(newest), newest[-1]["fundingTime"]) == (200, client.now_ms)
    assert all(float(row["markPrice"]) > 0 for row in newest)
    assert newest[-1]["markPrice"][:-6] == klines[-1][1]


async def test_an_exchange_that_cannot_store_its_account_ends_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await _trade_while_the_database_breaks(tmp_path)

    assert caught.group_contains(StoreError, match="cannot write")


async def _trade_while_the_database_breaks(folder: Path) -> None:
    async with running(Settings(state_dir=folder, speed=0.0)) as client:
        with contextlib.closing(sqlite3.connect(folder / "exchange.db")) as stranger:
            stranger.execute("DROP TABLE orders")
        with pytest.raises(aiohttp.ContentTypeError, match="500"):
            await client.signed(
                "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET",
                quantity="0.01",
            )  # fmt: skip
