"""The error table: every code of the protocol sheet has its reaction and its exception."""

from __future__ import annotations

import json

import pytest

from milo.errors import (
    Busy,
    ClockSkew,
    OrderNotFound,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    Refused,
    Unauthorized,
    VenueError,
)
from milo.wire.answers import Answer, error_in
from milo.wire.codes import CODES, Reaction, reaction_of, rule_of

TABLE: list[tuple[list[int], Reaction, type[VenueError]]] = [
    ([-1000, -1006, -1007], Reaction.RECONCILE, OutcomeUnknown),
    ([-1001, -1008, -1016], Reaction.RETRY, Busy),
    ([-1003, -1015], Reaction.RETRY, RateLimited),
    ([-1021, -5028], Reaction.RETRY, ClockSkew),
    ([-1022], Reaction.FIX, Refused),
    ([-1102, -1104, -1106, -1130, -1111, -1116], Reaction.FIX, Refused),
    ([-4014, -4023, -4003, -4004, -4005, -4015], Reaction.FIX, Refused),
    ([-1121, -1122, -4140, -4141], Reaction.REFUSE, Refused),
    ([-1125], Reaction.RECONCILE, Refused),
    ([-2008, -2014, -2015, -2017, -1002], Reaction.STOP, Unauthorized),
    ([-2010], Reaction.REFUSE, Refused),
    ([-2011, -2013], Reaction.RECONCILE, OrderNotFound),
    ([-2018, -2019, -4050, -4051], Reaction.REFUSE, Refused),
    ([-2021, -4142], Reaction.REFUSE, Refused),
    ([-2022, -4118], Reaction.RECONCILE, Refused),
    ([-2023, -4109], Reaction.STOP, Unauthorized),
    ([-2025, -4045], Reaction.REFUSE, Refused),
    ([-2027, -2028, -4028, -4161, -4200, -4209, -4403], Reaction.REFUSE, Refused),
    ([-4046, -4059, -4171, -5027], Reaction.OK, Refused),
    ([-4047, -4048, -4067, -4068], Reaction.REFUSE, Refused),
    ([-4061, -4060, -4062], Reaction.FIX, Refused),
    ([-4087, -4088, -4105, -4106, -4107, -4189, -4400, -4401], Reaction.REFUSE, Refused),
    ([-4116], Reaction.RECONCILE, OutcomeUnknown),
    ([-4117], Reaction.RECONCILE, OutcomeUnknown),
    ([-4120], Reaction.FIX, Refused),
    ([-4130, -4509], Reaction.RECONCILE, Refused),
    ([-4131, -5041], Reaction.RETRY, Busy),
    ([-4137, -4138], Reaction.FIX, Refused),
    ([-4164], Reaction.REFUSE, Refused),
    ([-4531], Reaction.REFUSE, Refused),
    ([-5021, -5022], Reaction.REFUSE, Refused),
]
ROWS = [(code, reaction, error) for codes, reaction, error in TABLE for code in codes]


def raised(status: int, body: object, headers: dict[str, str] | None = None) -> VenueError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = error_in(
        Answer(status=status, headers=headers or {}, body=content),
        request="POST /fapi/v1/order",
        venue_ms=1_700_000_000_000,
        speed=1.0,
    )
    assert error is not None
    return error


@pytest.mark.parametrize(("code", "reaction", "error_type"), ROWS)
def test_each_code_has_its_reaction_and_its_exception(
    code: int, reaction: Reaction, error_type: type[VenueError]
) -> None:
    error = raised(400, {"code": code, "msg": "Some text."})

    assert type(error) is error_type
    assert (error.code, error.http_status) == (code, 400)
    assert reaction_of(error) is reaction


def test_the_table_holds_no_code_that_this_test_does_not_know() -> None:
    listed = {code for code, _, _ in ROWS} | set(range(-4209, -4199))

    assert set(CODES) == listed


@pytest.mark.parametrize(
    ("status", "body", "error_type"),
    [
        (503, {"msg": "Unknown error, please check your request or try again later."}, "unknown"),
        (503, {"code": 0, "msg": "Service Unavailable."}, "busy"),
        (503, {"msg": "Service Unavailable"}, "busy"),
        (503, {"code": -1008, "msg": "Request throttled by system-level protection."}, "busy"),
        (503, b"<html>503 Service Unavailable</html>", "unknown"),
        (502, b"<html><h1>Bad gateway</h1></html>", "unknown"),
        (504, b"", "unknown"),
        (500, {"code": -9999, "msg": "?"}, "unknown"),
        (408, {"code": -1007, "msg": "Timeout waiting for response."}, "unknown"),
        (408, b"", "unknown"),
        (429, {"code": -1003, "msg": "Too many requests"}, "limited"),
        (418, b"", "limited"),
        (403, b"<html>blocked</html>", "refused"),
        (401, b"", "unauthorized"),
        (451, b"", "unauthorized"),
        (404, b"<html>", "refused"),
        (302, b"", "refused"),
        (400, {"code": -9999, "msg": "New rule."}, "refused"),
        (200, {"code": -2019, "msg": "Margin is insufficient."}, "refused"),
    ],
)
def test_statuses_without_a_listed_code_react_as_documented(
    status: int, body: object, error_type: str
) -> None:
    expected = {
        "unknown": OutcomeUnknown,
        "busy": Busy,
        "limited": RateLimited,
        "refused": Refused,
        "unauthorized": Unauthorized,
    }[error_type]

    assert type(raised(status, body)) is expected


def test_a_code_may_come_as_text() -> None:
    assert type(raised(400, {"code": "-2013", "msg": "Order does not exist."})) is OrderNotFound


@pytest.mark.parametrize(
    "body",
    [b'{"algoId":1,"code":"200","msg":"success"}', b'{"code":200}', b"[]", b"{}", b"not json"],
)
def test_a_success_is_no_error(body: bytes) -> None:
    answer = Answer(status=200, headers={}, body=body)

    assert error_in(answer, request="GET /x", venue_ms=0, speed=1.0) is None


def test_the_text_names_request_message_code_and_what_to_do_on_one_line() -> None:
    error = raised(401, {"code": -2015, "msg": "Invalid API-key,\nIP, or permissions."})

    text = str(error)
    assert text.startswith(
        "POST /fapi/v1/order: Invalid API-key, IP, or permissions (code -2015); check that"
    )
    assert "\n" not in text


def test_a_web_page_is_not_shown_to_the_user() -> None:
    text = str(raised(403, b"<html><body>Request blocked</body></html>"))

    assert text.startswith(
        "POST /fapi/v1/order: blocked by the venue's firewall (HTTP 403); wait some minutes"
    )


def test_a_retry_after_header_is_wall_seconds() -> None:
    error = raised(429, {"code": -1003, "msg": "x"}, {"Retry-After": "7"})

    assert isinstance(error, RateLimited)
    assert error.retry_after_ms == 7_000


@pytest.mark.parametrize(("speed", "wait_ms"), [(1.0, 90_000), (60.0, 1_500), (0.0, 90_000)])
def test_the_end_of_a_ban_is_a_time_of_the_venues_clock(speed: float, wait_ms: int) -> None:
    body = b'{"code":-1003,"msg":"Way too many requests; IP banned until 1700000090000."}'

    error = error_in(
        Answer(status=418, headers={}, body=body),
        request="GET /x",
        venue_ms=1_700_000_000_000,
        speed=speed,
    )

    assert isinstance(error, RateLimited)
    assert error.retry_after_ms == wait_ms


def test_without_a_named_wait_the_caller_backs_off_by_itself() -> None:
    error = raised(429, {"code": -1003, "msg": "Too many requests"})

    assert isinstance(error, RateLimited)
    assert error.retry_after_ms == 0


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (Busy("x"), Reaction.RETRY),
        (RateLimited("x"), Reaction.RETRY),
        (ClockSkew("x"), Reaction.RETRY),
        (OutcomeUnknown("x"), Reaction.RECONCILE),
        (ProtocolError("x"), Reaction.RECONCILE),
        (Refused("x"), Reaction.REFUSE),
        (Unauthorized("x"), Reaction.STOP),
    ],
)
def test_errors_without_a_code_react_by_their_class(error: VenueError, reaction: Reaction) -> None:
    assert reaction_of(error) is reaction


def test_every_reaction_is_in_use() -> None:
    assert {rule.reaction for rule in CODES.values()} == set(Reaction)
    assert rule_of(status=400, code=-1, message="").reaction is Reaction.REFUSE
