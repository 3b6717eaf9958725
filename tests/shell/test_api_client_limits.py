"""ApiClient and rate limits: who waits, who goes first, what a pause lets through."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

import api_client
from api_client import MAX_AT_ONCE, ApiClient
from milo.clock import VenueClock, monotonic_s, wall_ms
from milo.errors import (
    RateLimited,
    Refused,
)
from milo.wire.limits import Limit, LimitKind
from tests.scripted_venue import (
    ALGO,
    ENTRY,
    EXIT,
    ORDER,
    STOP,
    ScriptedVenue,
    client_of,
    error,
    never_answer,
)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "RETRY_DELAYS_S", (0.01, 0.02, 0.04))


async def test_at_most_five_requests_are_under_way_and_a_protective_one_has_a_slot_more(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    gate = asyncio.Event()

    async def wait_for_gate(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.json_response({})

    venue.script("/fapi/v1/ping", wait_for_gate)
    venue.script("/fapi/v1/order", ORDER)
    pings = [asyncio.ensure_future(client.ping()) for _ in range(20)]
    async with asyncio.timeout(5):
        while venue.at_once < MAX_AT_ONCE:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)

    report = await client.place_order(EXIT)

    assert report.client_id == "m1-e"
    assert client.in_flight == 20
    assert venue.at_once == MAX_AT_ONCE
    gate.set()
    await asyncio.gather(*pings)
    assert venue.most_at_once == MAX_AT_ONCE + 1
    assert client.in_flight == 0


async def test_requests_that_are_cancelled_while_they_wait_leave_no_slot_taken(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/ping", *[never_answer] * MAX_AT_ONCE, {})
    stuck = [asyncio.ensure_future(client.ping()) for _ in range(MAX_AT_ONCE + 10)]
    async with asyncio.timeout(5):
        while venue.at_once < MAX_AT_ONCE:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)

    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)

    assert client.in_flight == 0
    await asyncio.gather(*(client.ping() for _ in range(MAX_AT_ONCE + 5)))


async def test_learned_limits_hold_normal_requests_back(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/ping", {})
    venue.script("/fapi/v1/order", ORDER)
    venue.script(
        "/fapi/v1/exchangeInfo",
        {
            "symbols": [],
            "rateLimits": [
                {
                    "rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10,
                    "limit": 5,
                }
            ],
        },
    )  # fmt: skip
    await client.exchange_info()
    for _ in range(4):
        await client.place_order(ENTRY)

    with pytest.raises(RateLimited, match="not sent") as raised:
        await client.place_order(ENTRY)

    assert 8_000 < raised.value.retry_after_ms <= 10_000
    await client.place_order(EXIT)
    assert venue.titles().count("POST /fapi/v1/order") == 5


async def test_the_venues_own_count_holds_normal_requests_back(
    venue: ScriptedVenue, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "PATIENCE_S", 1.0)
    venue.script("/fapi/v1/ping", web.json_response({}, headers={"X-MBX-USED-WEIGHT-1M": "2399"}))
    venue.script("/fapi/v1/order", ORDER)
    await client.ping()

    with pytest.raises(RateLimited, match="not sent"):
        await client.ping()

    await client.cancel_order("BTCUSDT", "m1", is_conditional=False)
    assert venue.titles() == ["GET /fapi/v1/ping", "DELETE /fapi/v1/order"]


@pytest.mark.parametrize("status", [429, 418])
async def test_while_the_venue_wants_a_pause_only_what_protects_is_sent(
    venue: ScriptedVenue, client: ApiClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(api_client, "PATIENCE_S", 0.1)
    venue.script("/fapi/v1/ping", error(status, -1003, "Too many requests", Retry_After="60"))
    venue.script("/fapi/v1/order", ORDER)
    venue.script("/fapi/v1/algoOrder", ALGO)

    with pytest.raises(RateLimited):
        await client.ping()
    with pytest.raises(RateLimited, match="not sent"):
        await client.place_order(ENTRY)
    await client.place_order(EXIT)
    await client.place_order(STOP)
    await client.cancel_order("BTCUSDT", "m1", is_conditional=True)

    assert venue.titles() == [
        "GET /fapi/v1/ping",
        "POST /fapi/v1/order",
        "POST /fapi/v1/algoOrder",
        "DELETE /fapi/v1/algoOrder",
    ]


async def test_a_read_waits_for_the_end_of_a_short_pause_and_goes_on(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/ping", error(429, -1003, "Too many requests", Retry_After="1"), {})
    started_s = monotonic_s()

    await client.ping()

    assert monotonic_s() - started_s >= 1.0
    assert len(venue.requests) == 2


async def test_the_end_of_a_ban_is_read_from_its_text(venue: ScriptedVenue) -> None:
    clock = VenueClock()
    venue.script(
        "/fapi/v1/order",
        error(418, -1003, f"Way too many requests; IP banned until {wall_ms() + 500_000}."),
    )
    async with client_of(venue.url, clock=clock) as client:
        with pytest.raises(RateLimited) as raised:
            await client.place_order(ENTRY)

    assert 490_000 < raised.value.retry_after_ms <= 500_000


async def test_an_order_limit_holds_entries_but_neither_reads_nor_exits(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/ping", {})
    venue.script("/fapi/v1/order", error(400, -1015, "Too many new orders."), ORDER)

    with pytest.raises(RateLimited) as first:
        await client.place_order(ENTRY)
    with pytest.raises(RateLimited, match="not sent"):
        await client.place_order(ENTRY)
    await client.ping()
    await client.place_order(EXIT)

    assert first.value.retry_after_ms == 10_000
    assert len(venue.requests) == 3


async def test_a_firewall_page_is_refused_and_pauses_the_rest(
    venue: ScriptedVenue, client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "PATIENCE_S", 0.1)
    venue.script("/fapi/v1/ping", web.Response(status=403, text="<html>Request blocked</html>"))

    with pytest.raises(Refused, match="firewall"):
        await client.ping()
    with pytest.raises(RateLimited, match="not sent"):
        await client.ping()

    assert len(venue.requests) == 1


async def test_limits_may_be_given_from_outside(venue: ScriptedVenue) -> None:
    venue.script("/fapi/v1/order", ORDER)
    limits = [Limit(kind=LimitKind.ORDERS, window_s=60, cap=2)]
    async with client_of(venue.url, limits=limits) as client:
        await client.place_order(ENTRY)
        with pytest.raises(RateLimited, match="not sent"):
            await client.place_order(ENTRY)
