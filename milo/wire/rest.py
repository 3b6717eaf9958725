"""What a REST request is, and how answers become typed values (layer 1).

A request knows its parameters, what it costs, who may overtake it, what a repetition would do, and
how its answer is read. It is built here and in `market`, `account` and `orders`; sending it is the
shell's work. Times are int ms UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from milo.errors import ProtocolError
from milo.wire.limits import Cost, Lane

T = TypeVar("T")
S = TypeVar("S")

RECV_WINDOW_MS = 5000
"""How old a signed request may be when the venue takes it."""

LIGHT = Cost(weight=1)

Params = tuple[tuple[str, str], ...]


class Security(Enum):
    """What a request must carry."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Effect(Enum):
    """What sending a request a second time would do."""

    READ = "read"
    """Nothing: it may be repeated, and a lost answer is only a failure."""
    SETTING = "setting"
    """The same as once: it may be repeated."""
    ORDER = "order"
    """Possibly a second order: it is never repeated after it went out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[T]):
    """One REST call, complete but for timestamp and signature."""

    method: str
    path: str
    params: Params = ()
    security: Security = Security.NONE
    effect: Effect = Effect.READ
    cost: Cost = LIGHT
    lane: Lane = Lane.NORMAL
    parse: Callable[[bytes], T]
    """Reads the body of a successful answer; raises ProtocolError."""

    @property
    def title(self) -> str:
        """The request's name for people and logs: no parameter, so no secret, is in it."""
        return f"{self.method} {self.path}"

    @property
    def is_in_body(self) -> bool:
        """Whether the parameters go into a form body instead of the query."""
        return self.method == "POST"


def timed(params: Params, timestamp_ms: int) -> Params:
    """Return the parameters of a signed request with its timestamp, which come last."""
    return (*params, ("recvWindow", str(RECV_WINDOW_MS)), ("timestamp", str(timestamp_ms)))


def given(*params: tuple[str, str | int | None]) -> Params:
    """Return the parameters that have a value; the venue wants absent ones left out."""
    return tuple((name, str(value)) for name, value in params if value is not None)


_GREATEST_EXPONENT = 40


class WireStruct(msgspec.Struct, rename="camel"):
    """Base of the shapes that the venue sends; unknown keys are ignored, absurd numbers are not."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal):
                _check_number(value)


def _check_number(value: Decimal) -> None:
    # Decimal reads "NaN" and "1e999999", which would surface far from here.
    if not value.is_finite() or abs(value.adjusted()) > _GREATEST_EXPONENT:
        raise ValueError(f"not a number of money or quantity: {value}")


def decode(body: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[S], *, what: str) -> S:
    """Return the decoded body; ProtocolError names what it was and where it does not fit."""
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"unreadable answer ({what}): {error}") from error


def decimal_of(raw: msgspec.Raw) -> Decimal | None:
    """Return the number in a field that may be text, number, null, empty or absent.

    Raises ProtocolError where it is none of these.
    """
    text = bytes(raw).strip(b'"')
    if text in (b"", b"null"):
        return None
    try:
        value = Decimal(text.decode("ascii"))
        _check_number(value)
    except (InvalidOperation, ValueError) as error:
        raise ProtocolError(f"not a number: {text[:40]!r}") from error
    return value


def decimal_or_zero(raw: msgspec.Raw) -> Decimal:
    """Return the number, or 0 where the field is one that the venue leaves empty for "none"."""
    return decimal_of(raw) or Decimal(0)


def present(value: Decimal | None) -> Decimal | None:
    """Return a price that is there: the venue writes "no price yet" as 0 or leaves it out."""
    return value or None


_ANYTHING = msgspec.json.Decoder(msgspec.Raw)


def read_nothing(body: bytes) -> None:
    """Check that the answer is JSON; its content says nothing that we need."""
    decode(body, _ANYTHING, what="confirmation")
