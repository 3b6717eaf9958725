"""The error table as data: what each code or status of the venue asks of us (layer 1).

Source: exchange documentation, "Error codes" and "HTTP return codes"; -4130 and -4509 are not
documented and were observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from milo.errors import (
    Busy,
    ClockSkew,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Retryable,
    Unauthorized,
    VenueError,
)


class Reaction(StrEnum):
    """What the caller does about an error."""

    RETRY = "retry"
    """Nothing happened: send again later, with a new timestamp and signature."""
    RECONCILE = "reconcile"
    """Read the venue's state before doing anything; never resend."""
    OK = "ok"
    """What was asked for is already so."""
    FIX = "fix"
    """Our request was malformed: a bug or a stale filter; do not retry."""
    REFUSE = "refuse"
    """The venue said no; tell the strategy."""
    STOP = "stop"
    """Stop trading and alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table: the reaction, the error it is raised as, and what a user can do."""

    meaning: str
    reaction: Reaction
    error: type[VenueError]
    hint: str = ""


_ERRORS: dict[Reaction, type[VenueError]] = {
    Reaction.RETRY: Busy,
    Reaction.RECONCILE: OutcomeUnknown,
    Reaction.OK: Refused,
    Reaction.FIX: Refused,
    Reaction.REFUSE: Refused,
    Reaction.STOP: Unauthorized,
}

_KEY_HINT = (
    "check that the API key belongs to this venue (demo keys never work on the real one), "
    "is allowed to trade futures, and allows this computer's IP address"
)
_FLAT_HINT = "close positions and cancel open orders of this symbol first"
_CLOCK_HINT = "check this computer's clock"


def _rule(
    meaning: str,
    reaction: Reaction,
    *,
    error: type[VenueError] | None = None,
    hint: str = "",
) -> Rule:
    return Rule(meaning=meaning, reaction=reaction, error=error or _ERRORS[reaction], hint=hint)


_RETRY, _RECONCILE, _OK = Reaction.RETRY, Reaction.RECONCILE, Reaction.OK
_FIX, _REFUSE, _STOP = Reaction.FIX, Reaction.REFUSE, Reaction.STOP

_ROWS: tuple[tuple[tuple[int, ...], Rule], ...] = (
    # -1000 is "unknown error": nobody promises that an order was not executed.
    ((-1000, -1006, -1007), _rule("execution unknown", _RECONCILE)),
    ((-1001, -1008, -1016), _rule("failed for sure, venue busy", _RETRY)),
    ((-1003,), _rule("too many requests", _RETRY, error=RateLimited)),
    ((-1015,), _rule("too many orders", _RETRY, error=RateLimited)),
    (
        (-1021, -5028),
        _rule("timestamp outside the window", _RETRY, error=ClockSkew, hint=_CLOCK_HINT),
    ),
    ((-1022,), _rule("bad signature", _FIX, hint="check the API secret")),
    (
        (-1102, -1104, -1106, -1111, -1116, -1130),
        _rule("malformed request", _FIX),
    ),
    ((-4003, -4004, -4005, -4014, -4023), _rule("price or quantity breaks a filter", _FIX)),
    ((-1121, -1122, -4140, -4141), _rule("symbol unknown or not trading", _REFUSE)),
    # The key is gone for good, so that sending the same request again is no use.
    ((-1125,), _rule("listen key unknown", _RECONCILE, error=Refused)),
    (
        (-1002, -2008, -2014, -2015, -2017),
        _rule("key, permission or environment wrong", _STOP, hint=_KEY_HINT),
    ),
    ((-2010,), _rule("new order rejected", _REFUSE)),
    ((-2011, -2013), _rule("order not known", _RECONCILE, error=OrderNotFound)),
    ((-2018, -2019, -4050, -4051), _rule("margin is short", _REFUSE)),
    ((-2021, -4142), _rule("would trigger at once", _REFUSE)),
    # Nothing was done, but the position or an order is not what we believe.
    ((-2022, -4118), _rule("reduce-only rejected", _RECONCILE, error=Refused)),
    ((-2023,), _rule("account in liquidation", _STOP)),
    ((-2025, -4045), _rule("too many open orders", _REFUSE, hint="cancel orders not needed")),
    (
        (-2027, -2028, -4028, -4161, *range(-4209, -4199), -4403),
        _rule("leverage not allowed here", _REFUSE, hint="use a lower leverage"),
    ),
    ((-4015,), _rule("client order id invalid", _FIX)),
    ((-4046, -4059, -4171, -5027), _rule("nothing to change", _OK)),
    (
        (-4047, -4048, -4067, -4068),
        _rule("mode cannot change with orders or positions", _REFUSE, hint=_FLAT_HINT),
    ),
    ((-4060, -4061, -4062), _rule("position side does not fit the mode", _FIX)),
    (
        (-4087, -4088, -4105, -4106, -4107, -4189, -4400, -4401),
        _rule("only reducing orders are allowed", _REFUSE),
    ),
    ((-4109,), _rule("account archived", _STOP, hint="transfer any asset to the account")),
    ((-4116,), _rule("client order id is in use", _RECONCILE)),
    ((-4117,), _rule("stop is triggering", _RECONCILE)),
    ((-4120,), _rule("conditional order sent to the wrong service", _FIX)),
    ((-4130,), _rule("such a close-position order exists", _RECONCILE, error=Refused)),
    ((-4509,), _rule("no open position", _RECONCILE, error=Refused)),
    ((-4131, -5041), _rule("no price to fill at now", _RETRY)),
    ((-4137, -4138), _rule("quantity or reduce-only with close-position", _FIX)),
    ((-4164,), _rule("notional too small", _REFUSE)),
    ((-4531,), _rule("position modes are being synchronised", _REFUSE)),
    ((-5021, -5022), _rule("fill-or-kill or post-only order expired", _REFUSE)),
)

CODES: dict[int, Rule] = {code: rule for codes, rule in _ROWS for code in codes}

STATUSES: dict[int, Rule] = {
    401: _rule("not authorised", _STOP, hint=_KEY_HINT),
    403: _rule(
        "blocked by the venue's firewall",
        _REFUSE,
        hint="wait some minutes; check that the venue serves your region",
    ),
    404: _rule("no such address", _FIX, hint="check the venue's REST address"),
    408: _rule("execution unknown", _RECONCILE),
    418: _rule("banned for ignoring rate limits", _RETRY, error=RateLimited),
    429: _rule("too many requests", _RETRY, error=RateLimited),
    451: _rule("not available in this region", _STOP),
}
"""What a status means where the body carries no code of the table; other 5xx are unknown."""

_UNKNOWN = _rule("execution unknown", _RECONCILE)
_UNAVAILABLE = _rule("failed for sure, venue busy", _RETRY)
_NO = _rule("refused", _REFUSE)
_ELSEWHERE = _rule("redirected", _FIX, hint="check the venue's REST address")


def rule_of(*, status: int, code: int, message: str) -> Rule:
    """Return the rule for an answer; `code` 0 where the body carries none.

    A code of the table decides. Without one the status does, and any 5xx but the documented
    "Service Unavailable" leaves the outcome unknown.
    """
    if code in CODES:
        return CODES[code]
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:
        is_unavailable = message.strip(" .").casefold() == "service unavailable"
        return _UNAVAILABLE if status == 503 and is_unavailable else _UNKNOWN
    return _ELSEWHERE if 300 <= status < 400 else _NO


def reaction_of(error: VenueError) -> Reaction:
    """Return the reaction to an error that a venue raised; errors without a code by their class."""
    if error.code in CODES:
        return CODES[error.code].reaction
    match error:
        case Unauthorized():
            return Reaction.STOP
        case Refused():
            return Reaction.REFUSE
        case Retryable():
            return Reaction.RETRY
        case _:
            return Reaction.RECONCILE
