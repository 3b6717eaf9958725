"""Answers of the venue: the error in them, and how long it asks us to wait (layer 1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from milo.errors import RateLimited, Retryable, VenueError
from milo.wire.codes import Rule, rule_of

_BANNED_UNTIL = re.compile(r"banned until (\d{12,14})")
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer as the transport received it; header names are looked up without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Status(msgspec.Struct):
    code: int | str | None = None
    msg: str | None = None


_STATUS = msgspec.json.Decoder(_Status)


def status_in(body: bytes) -> tuple[int, str]:
    """Return the code (0 where absent; it may come as text) and message of an answer's body."""
    if not body.startswith(b"{"):
        return 0, _first_words(body)
    try:
        found = _STATUS.decode(body)
    except msgspec.MsgspecError:
        return 0, _first_words(body)
    try:
        code = int(found.code or 0)
    except ValueError:
        code = 0
    return code, _one_line(found.msg or "")


def error_in(answer: Answer, *, request: str, venue_ms: int, speed: float) -> VenueError | None:
    """Return the error that an answer means, or None where it is a success.

    `request` names it for people ("POST /fapi/v1/order"). `venue_ms` and `speed` turn a ban's end,
    which is a time of the venue's clock, into wall time (speed 0: a stepped venue, taken as 1).
    """
    code, message = status_in(answer.body)
    if 200 <= answer.status < 300 and code >= 0:
        return None
    rule = rule_of(status=answer.status, code=code, message=message)
    text = _text(request, answer.status, code, message, rule)
    if not issubclass(rule.error, Retryable):
        return rule.error(text, code=code, http_status=answer.status)
    wait_s = asked_wait_s(answer, message, venue_ms=venue_ms, speed=speed)
    retry_after_ms = 0 if wait_s is None else max(1, int(wait_s * 1000))
    return rule.error(text, code=code, http_status=answer.status, retry_after_ms=retry_after_ms)


def asked_wait_s(answer: Answer, message: str, *, venue_ms: int, speed: float) -> float | None:
    """Return the wall seconds that the venue asks us to wait, or None where it does not say."""
    retry_after = answer.headers.get("Retry-After", "")
    if retry_after.isdecimal():
        return float(retry_after)
    banned = _BANNED_UNTIL.search(message)
    if banned is None:
        return None
    return max(0.0, (int(banned.group(1)) - venue_ms) / 1000 / (speed or 1.0))


def is_order_limit(error: RateLimited) -> bool:
    """Whether only placing orders is limited (-1015), not requests as such."""
    return error.code == -1015


def _text(request: str, status: int, code: int, message: str, rule: Rule) -> str:
    what = message or rule.meaning
    number = f"code {code}" if code else f"HTTP {status}"
    hint = f"; {rule.hint}" if rule.hint else ""
    return f"{request}: {what.rstrip('.')} ({number}){hint}"


def _first_words(body: bytes) -> str:
    # An HTML page of a proxy or firewall says nothing that a user could act on.
    text = body[: 4 * _LONGEST_TEXT].decode("utf-8", "replace")
    return "" if text.lstrip().startswith("<") else _one_line(text)


def _one_line(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:_LONGEST_TEXT]
