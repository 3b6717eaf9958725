"""ApiClient when requests fail: what is repeated, what is unknown, what the user reads."""

from __future__ import annotations

import asyncio
import socket
import ssl
import traceback
from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

import api_client
from api_client import ApiClient
from milo.clock import VenueClock, wall_ms
from milo.errors import (
    Busy,
    ClockSkew,
    ConfigError,
    OrderNotFound,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    Refused,
    Unauthorized,
    VenueError,
)
from milo.model import NewOrder
from milo.wire.sign import HmacSigner
from tests.certificates import make_certificate
from tests.scripted_venue import (
    ENTRY,
    EXIT,
    ORDER,
    STOP,
    Answer,
    ScriptedVenue,
    client_of,
    error,
    never_answer,
)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "RETRY_DELAYS_S", (0.01, 0.02, 0.04))


async def test_reads_are_repeated_after_failures_and_then_succeed(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script(
        "/fapi/v1/positionSide/dual",
        error(503, 0, "Service Unavailable"),
        web.Response(status=502, text="<html>"),
        error(500, -1001, "Internal error"),
        {"dualSidePosition": True},
    )

    assert await client.is_hedge_mode() is True
    assert len(venue.requests) == 4


async def test_reads_give_up_as_a_failure_and_never_as_unknown(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/ping", web.Response(status=502, text="<html>Bad gateway</html>"))

    with pytest.raises(Busy, match="HTTP 502"):
        await client.ping()

    assert len(venue.requests) == 4


async def test_a_refused_read_is_not_repeated(venue: ScriptedVenue, client: ApiClient) -> None:
    venue.script("/fapi/v1/klines", error(400, -1121, "Invalid symbol."))

    with pytest.raises(Refused, match="Invalid symbol"):
        await client.klines("NOPE", "1h")

    assert len(venue.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error_type"),
    [
        (error(503, 0, "Unknown error, please check your request or try again later."), "unknown"),
        (error(408, -1007, "Timeout waiting for response from backend server."), "unknown"),
        (error(400, -1006, "An unexpected response was received."), "unknown"),
        (error(400, -4116, "ClientOrderId is duplicated."), "unknown"),
        (web.Response(status=504, text="<html>"), "unknown"),
        (web.Response(status=200, text="<html>Sign in to the hotel network</html>"), "unknown"),
        (web.json_response({"orderId": "odd"}), "unknown"),
        (web.json_response(ORDER | {"status": "PONDERING"}), "unknown"),
        (error(503, 0, "Service Unavailable"), "busy"),
        (error(503, -1008, "Server is currently overloaded"), "busy"),
        (error(400, -2019, "Margin is insufficient."), "refused"),
        (error(400, -2021, "Order would immediately trigger."), "refused"),
        (error(401, -2015, "Invalid API-key, IP, or permissions for action."), "unauthorized"),
        (error(429, -1003, "Too many requests.", Retry_After="3"), "limited"),
    ],
)
@pytest.mark.parametrize("order", [ENTRY, EXIT, STOP])
async def test_an_order_is_sent_once_whatever_the_answer(
    venue: ScriptedVenue, client: ApiClient, order: NewOrder, answer: web.Response, error_type: str
) -> None:
    path = "/fapi/v1/algoOrder" if order.is_conditional else "/fapi/v1/order"
    venue.script(path, answer)
    expected = {
        "unknown": OutcomeUnknown,
        "busy": Busy,
        "refused": Refused,
        "unauthorized": Unauthorized,
        "limited": RateLimited,
    }[error_type]

    with pytest.raises(VenueError) as raised:
        await client.place_order(order)

    assert type(raised.value) is expected
    assert venue.titles() == [f"POST {path}"]


async def test_a_cancel_is_sent_once_and_says_when_the_order_is_not_known(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/order", error(400, -2011, "Unknown order sent."))
    venue.script("/fapi/v1/algoOrder", error(503, 0, "Unknown error"))

    with pytest.raises(OrderNotFound):
        await client.cancel_order("BTCUSDT", "m1", is_conditional=False)
    with pytest.raises(OutcomeUnknown):
        await client.cancel_order("BTCUSDT", "m1", is_conditional=True)

    assert len(venue.requests) == 2


async def test_a_cancel_answered_with_a_code_in_text_is_a_success(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/algoOrder", {"algoId": 9, "code": "200", "msg": "success"})

    await client.cancel_order("BTCUSDT", "m1", is_conditional=True)


async def close_without_answer(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize("call", ["place", "cancel"])
async def test_a_connection_that_breaks_under_an_order_leaves_its_outcome_unknown(
    venue: ScriptedVenue, client: ApiClient, call: str
) -> None:
    venue.script("/fapi/v1/ping", {})
    venue.script("/fapi/v1/order", close_without_answer)
    await client.ping()  # so that a kept connection is used, which aiohttp would retry by itself

    if call == "place":
        under_way: Awaitable[object] = client.place_order(ENTRY)
    else:
        under_way = client.cancel_order("BTCUSDT", "m1", is_conditional=False)

    with pytest.raises(OutcomeUnknown, match="connection broke"):
        await under_way

    assert len(venue.requests) == 2


async def test_an_answer_that_is_cut_short_leaves_an_orders_outcome_unknown(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "500"})
        await response.prepare(request)
        await response.write(b'{"orderId":7,')
        assert request.transport is not None
        request.transport.close()
        return response

    venue.script("/fapi/v1/order", half)

    with pytest.raises(OutcomeUnknown):
        await client.place_order(ENTRY)

    assert len(venue.requests) == 1


async def test_an_order_without_answer_in_time_is_unknown_and_a_read_is_repeated(
    venue: ScriptedVenue,
) -> None:
    venue.script("/fapi/v1/order", never_answer)
    venue.script("/fapi/v1/ping", never_answer, {})
    async with client_of(venue.url, timeout_s=0.2) as client:
        with pytest.raises(OutcomeUnknown, match=r"no answer within 0\.2 s"):
            await client.place_order(ENTRY)
        await client.ping()

    assert venue.titles() == ["POST /fapi/v1/order", "GET /fapi/v1/ping", "GET /fapi/v1/ping"]


async def test_a_venue_that_is_not_there_is_named_with_what_to_do() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with client_of(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Busy) as read:
            await client.ping()
        with pytest.raises(Busy) as order:
            await client.place_order(ENTRY)

    for raised in (read, order):
        text = str(raised.value)
        assert text.startswith(f"cannot reach 127.0.0.1:{port} (Connection refused)")
        assert "--serve-exchange" in text


async def test_a_name_without_address_is_told_from_a_venue_that_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_nothing(*arguments: object, **named: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", find_nothing)
    async with client_of("https://fapi.example") as client:
        with pytest.raises(Busy, match=r"cannot find fapi\.example:443: check the network"):
            await client.place_order(ENTRY)


async def test_a_connection_that_does_not_come_about_was_not_an_order() -> None:
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with client_of(url, timeout_s=0.4) as client:
            with pytest.raises(Busy, match="no connection within") as raised:
                await client.place_order(ENTRY)

    assert "signature" not in "".join(traceback.format_exception(raised.value))


async def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with client_of(url) as client:
        with pytest.raises(Busy, match=r"cannot trust 127\.0\.0\.1"):
            await client.place_order(ENTRY)
    server.close()


@pytest.mark.parametrize("url", ["", "fapi.binance.com", "ftp://x", "https://", "http://x:y"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        client_of(url)


async def test_an_answer_that_is_no_json_is_a_named_error(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/exchangeInfo", web.Response(text="<html>hello</html>"))

    with pytest.raises(ProtocolError, match="exchangeInfo"):
        await client.exchange_info()

    assert len(venue.requests) == 1


# --- the clock


async def test_the_clock_is_set_from_the_middle_of_the_round_trip(venue: ScriptedVenue) -> None:
    clock = VenueClock()
    venue.script("/fapi/v1/time", {"serverTime": 1_600_000_000_000})
    async with client_of(venue.url, clock=clock) as client:
        await client.sync_clock()
        assert await client.server_time() == 1_600_000_000_000

    assert abs(clock.now_ms() - 1_600_000_000_000) < 2_000


@pytest.mark.parametrize("code", [-1021, -5028])
async def test_a_skewed_clock_is_set_and_the_order_signed_and_sent_once_more(
    venue: ScriptedVenue, code: int
) -> None:
    clock = VenueClock()
    clock.sync(wall_ms() + 60_000)
    venue.script("/fapi/v1/order", error(400, code, "Timestamp for this request..."), ORDER)
    async with client_of(venue.url, clock=clock) as client:
        await client.place_order(ENTRY)

    sent = [dict(parse_qsl(body.decode())) for body in venue.bodies if body]
    assert venue.titles()[0] == venue.titles()[-1] == "POST /fapi/v1/order"
    assert len(sent) == 2
    assert int(sent[0]["timestamp"]) - int(sent[1]["timestamp"]) > 50_000
    assert sent[0]["signature"] != sent[1]["signature"]


async def test_a_clock_that_stays_skewed_is_reported_after_one_more_try(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    venue.script("/fapi/v1/order", error(400, -1021, "Timestamp for this request..."))

    with pytest.raises(ClockSkew, match="check this computer's clock"):
        await client.place_order(ENTRY)

    assert venue.titles().count("POST /fapi/v1/order") == 2


async def repeat_the_request(request: web.Request) -> web.StreamResponse:
    """Answer as some gateways do: with the request in the error page."""
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return web.Response(status=500, text="\n".join([request.raw_path, *lines]))


async def answer_with_nonsense(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/9.9 nonsense\r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize("answer", [repeat_the_request, answer_with_nonsense])
async def test_no_failure_tells_key_or_signature_not_even_in_its_traceback(
    venue: ScriptedVenue, answer: Answer
) -> None:
    venue.script("/fapi/v1/positionSide/dual", answer)
    venue.script("/fapi/v1/order", answer)
    key = "K" * 64

    async with client_of(venue.url, signer=HmacSigner(key, "the-secret")) as client:
        with pytest.raises(Busy) as read:
            await client.is_hedge_mode()
        with pytest.raises(OutcomeUnknown) as order:
            await client.place_order(ENTRY)

    sent = [request.query_string for request in venue.requests] + [venue.bodies[-1].decode()]
    signatures = {value for text in sent for name, value in parse_qsl(text) if name == "signature"}
    told = [*traceback.format_exception(read.value), *traceback.format_exception(order.value)]
    assert len(signatures) == 5
    assert not [secret for secret in (key, *signatures) if secret in "".join(told)]


async def test_an_unreadable_answer_does_not_tell_the_signature_that_it_repeats(
    venue: ScriptedVenue, client: ApiClient
) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.json_response({"dualSidePosition": request.query["signature"]})

    venue.script("/fapi/v1/positionSide/dual", echo)

    with pytest.raises(ProtocolError) as raised:
        await client.is_hedge_mode()

    signature = venue.requests[-1].query["signature"]
    assert signature not in "".join(traceback.format_exception(raised.value))
