"""ApiClient: what is sent, what counts as success, and what is never shown."""

from __future__ import annotations

import logging
import traceback
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

import api_client
from api_client import ApiClient
from milo.clock import VenueClock, wall_ms
from milo.errors import (
    Refused,
    Unauthorized,
    VenueError,
)
from milo.model import NewOrder, OrderStatus, OrderType, Side
from milo.wire.dialects import ASTER, BINANCE
from milo.wire.sign import HmacSigner
from tests.scripted_venue import (
    ALGO,
    ENTRY,
    KEY,
    ORDER,
    SECRET,
    STOP,
    ScriptedVenue,
    client_of,
    error,
    never_answer,
)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "RETRY_DELAYS_S", (0.01, 0.02, 0.04))


def is_signed_as_sent(sent: str) -> bool:
    payload, _, signature = sent.rpartition("&signature=")
    return HmacSigner(KEY, SECRET).sign(payload.encode()) == signature


async def test_a_signed_read_is_signed_over_exactly_the_query_that_is_sent(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/openAlgoOrders", [])
    venue.script("/fapi/v1/openOrders", [])

    await client.open_orders("币安人生USDT")

    for raw_path in venue.raw_paths:
        query = raw_path.partition("?")[2]
        assert query.startswith("symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&recvWindow=5000&")
        assert is_signed_as_sent(query)
    assert {request.headers["X-MBX-APIKEY"] for request in venue.requests} == {KEY}


async def test_an_order_is_signed_over_exactly_the_body_that_is_sent(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/algoOrder", ALGO)
    order = NewOrder(
        symbol="BTCUSDT",
        side=Side.SELL,
        type=OrderType.STOP_MARKET,
        client_id="m1:a/b.c_d-e",
        trigger_price=Decimal(57000),
        is_close_position=True,
    )

    await client.place_order(order)

    (request,) = venue.requests
    body = venue.bodies[0].decode()
    assert request.query_string == ""
    assert request.content_type == "application/x-www-form-urlencoded"
    assert is_signed_as_sent(body)
    params = dict(parse_qsl(body))
    assert params["clientAlgoId"] == "m1:a/b.c_d-e"
    assert abs(int(params["timestamp"]) - wall_ms()) < 2_000


async def test_public_requests_carry_no_key(venue: ScriptedVenue, client: ApiClient) -> None:
    venue.script("/fapi/v1/ping", {})

    await client.ping()

    assert "X-MBX-APIKEY" not in venue.requests[0].headers
    assert venue.raw_paths == ["/fapi/v1/ping"]


async def test_listen_key_requests_carry_the_key_but_no_signature(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/listenKey", {"listenKey": "abc"})

    key = await client.new_listen_key()
    await client.keep_listen_key(key)
    await client.close_listen_key(key)

    assert venue.titles() == [
        f"{method} /fapi/v1/listenKey" for method in ("POST", "PUT", "DELETE")
    ]
    assert all(request.headers["X-MBX-APIKEY"] == KEY for request in venue.requests)
    assert not any("signature" in path for path in venue.raw_paths)


async def test_what_needs_keys_says_so_where_there_are_none(venue: ScriptedVenue) -> None:
    async with client_of(venue.url, signer=None) as client:
        with pytest.raises(Unauthorized, match="--set-keys"):
            await client.balance()

    assert venue.requests == []


async def test_the_timestamp_is_the_venues_time(venue: ScriptedVenue) -> None:
    clock = VenueClock(speed=0.0)
    clock.sync(1_700_000_000_000)
    venue.script("/fapi/v1/positionSide/dual", {"dualSidePosition": False})
    async with client_of(venue.url, clock=clock) as client:
        assert await client.is_hedge_mode() is False

    assert "&timestamp=1700000000000&" in venue.raw_paths[0]


@pytest.mark.parametrize(
    ("dialect", "is_conditional", "path"),
    [
        (BINANCE, True, "/fapi/v1/algoOrder"),
        (BINANCE, False, "/fapi/v1/order"),
        (ASTER, True, "/fapi/v1/order"),
        (ASTER, False, "/fapi/v1/order"),
    ],
)
async def test_orders_go_to_the_service_that_holds_them(
    venue: ScriptedVenue, dialect: Any, is_conditional: bool, path: str
) -> None:
    venue.script("/fapi/v1/algoOrder", ALGO)
    venue.script("/fapi/v1/order", ORDER)
    async with client_of(venue.url, dialect=dialect) as client:
        await client.place_order(STOP if is_conditional else ENTRY)
        report = await client.query_order("BTCUSDT", "m1", is_conditional=is_conditional)
        await client.cancel_order("BTCUSDT", "m1", is_conditional=is_conditional)

    assert venue.titles() == [f"{method} {path}" for method in ("POST", "GET", "DELETE")]
    assert report.status is OrderStatus.NEW
    assert report.is_conditional is (path == "/fapi/v1/algoOrder")


async def test_open_orders_are_regular_and_conditional_ones_together(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/openAlgoOrders", [ALGO])
    venue.script("/fapi/v1/openOrders", [ORDER])

    found = await client.open_orders()

    assert [order.client_id for order in found] == ["m1-s", "m1-e"]


async def test_candles_before_2019_are_not_asked_for(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/klines", [])

    await client.klines("BTCUSDT", "1h", start_ms=0)
    before = await client.klines("BTCUSDT", "1h", end_ms=1_546_300_799_999)

    assert before == []
    assert venue.raw_paths == [
        "/fapi/v1/klines?symbol=BTCUSDT&interval=1h&startTime=1546300800000&limit=499"
    ]


async def test_redirects_are_not_followed(venue: ScriptedVenue, client: ApiClient) -> None:
    venue.script(
        "/fapi/v1/ping", web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    )

    with pytest.raises(Refused, match="HTTP 302"):
        await client.ping()


# --- settings that are already so


@pytest.mark.parametrize("code", [-4046, -4059, "-4171", -5027])
async def test_nothing_to_change_is_success(
    venue: ScriptedVenue, client: ApiClient, code: int | str
) -> None:
    venue.script("/fapi/v1/marginType", error(400, code, "No need to change margin type."))
    venue.script("/fapi/v1/positionSide/dual", error(400, code, "No need to change."))

    await client.set_isolated("BTCUSDT")
    await client.set_hedge_mode(False)

    assert len(venue.requests) == 2


async def test_a_setting_that_cannot_change_is_refused(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/marginType", error(400, -4048, "Margin type cannot be changed."))

    with pytest.raises(Refused, match=r"cannot be changed \(code -4048\); close positions"):
        await client.set_isolated("BTCUSDT")


async def test_setting_the_leverage_returns_the_one_in_force(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script(
        "/fapi/v1/leverage", {"leverage": 7, "maxNotionalValue": "1000", "symbol": "BTCUSDT"}
    )

    assert await client.set_leverage("BTCUSDT", 8) == 7


# --- what is not to be seen


async def test_neither_keys_nor_signatures_reach_logs_or_errors(
    venue: ScriptedVenue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue.script("/fapi/v1/order", error(400, -1022, "Signature for this request is not valid."))
    venue.script("/fapi/v1/openAlgoOrders", error(503, 0, "Service Unavailable"))
    venue.script("/fapi/v1/positionSide/dual", never_answer)
    texts = []
    async with client_of(venue.url, timeout_s=0.2) as client:
        for call in (client.place_order(ENTRY), client.open_orders(), client.is_hedge_mode()):
            with pytest.raises(VenueError) as raised:
                await call
            texts.append("".join(traceback.format_exception(raised.value)))

    seen = caplog.text + "".join(texts)
    assert "request_retried" in seen
    assert KEY not in seen
    assert SECRET not in seen
    assert "signature=" not in seen


async def test_a_client_outside_of_its_context_says_so(venue: ScriptedVenue) -> None:
    client = client_of(venue.url)

    with pytest.raises(RuntimeError, match="context"):
        await client.ping()
    await client.close()
