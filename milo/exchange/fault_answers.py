"""The answers that a fault gives in the place of the exchange's own. Pure.

Source: exchange-api.md sections 6 and 7: statuses and texts of the real exchange.
"""

from __future__ import annotations

import msgspec

from milo.exchange.api import Answer
from milo.exchange.faults import Fault, whole_seconds
from milo.exchange.quota import WEIGHT_LIMIT, Instant
from milo.exchange.refusals import refusal

_UNKNOWN = "Unknown error, please check your request or try again later."
_UNAVAILABLE = "Service Unavailable."
_STATUSES = {
    -1000: 500, -1001: 503, -1002: 401, -1003: 429, -1006: 503, -1007: 503, -1008: 503, -1015: 429,
    -1016: 503, -2014: 401, -2015: 401,
}  # fmt: skip


def answer_of(fault: Fault, now_ms: float, at: Instant) -> Answer:
    """Return the answer to a request that `fault` has met; `now_ms` is the schedule's time."""
    rest_ms = fault.ends_ms - now_ms
    match fault.name:
        case "unknown_503":
            return _error(503, 0, _UNKNOWN)
        case "unavailable_503":
            return _error(503, 0, _UNAVAILABLE)
        case "too_many_429":
            text = (
                f"Too many requests; current limit of IP(127.0.0.1) is {WEIGHT_LIMIT} requests per"
                " minute. Please use the websocket for live updates to avoid polling the API."
            )
            return _error(429, -1003, text, retry_after_s=whole_seconds(rest_ms))
        case "banned_418":
            until_ms = at.exchange_ms(at.safety_ms + int(rest_ms))
            text = (
                f"Way too many requests; IP(127.0.0.1) banned until {until_ms}. Please use the"
                " websocket for live updates to avoid bans."
            )
            return _error(418, -1003, text, retry_after_s=whole_seconds(rest_ms))
    return _error(_STATUSES.get(fault.code, 400), fault.code, str(refusal(fault.code)))


def pause_s(answer: Answer) -> int:
    """Return how many seconds of silence the answer asks for; 0 for none.

    A limit of orders alone (-1015) asks for no silence.
    """
    if answer.status not in (429, 418) or code_of(answer) != -1003:
        return 0
    return int(answer.headers.get("Retry-After", "0"))


class _Code(msgspec.Struct):
    code: int | str = 0


_CODE = msgspec.json.Decoder(_Code)


def code_of(answer: Answer) -> int:
    """Return the error code in an answer's body; 0 where it is none."""
    return 0 if answer.status < 400 else int(_CODE.decode(answer.body).code)


def _error(status: int, code: int, text: str, *, retry_after_s: int = 0) -> Answer:
    return Answer(
        status=status,
        body=msgspec.json.encode({"code": code, "msg": text}),
        headers={"Retry-After": str(retry_after_s)} if retry_after_s else {},
    )
