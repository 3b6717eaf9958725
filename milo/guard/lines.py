"""The lines between engine and guard: one JSON object each, with its kind in `type` (layer 1).

The engine speaks, the guard answers every message with an `ack`. Any message renews the lease.
"""

from __future__ import annotations

import msgspec

from milo.errors import EngineError
from milo.guard.words import Holder, Plan

MAX_LINE = 1 << 20
"""Bytes; a list of several thousand plans."""


class BadLine(EngineError):
    """The other side sent what is no message."""


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base of all messages; `n` counts the engine's messages, and names the one answered."""

    n: int


class Hello(Line, frozen=True, kw_only=True):
    """The first line of a connection."""

    token: str
    run: str
    pid: int
    symbols: tuple[str, ...]
    """What this engine answers for: plans of earlier runs on these end with its first list."""

    def __repr__(self) -> str:
        return f"Hello(run={self.run!r}, pid={self.pid})"


class Beat(Line, frozen=True, kw_only=True):
    """The engine lives."""


class Watch(Line, frozen=True, kw_only=True):
    """An entry is about to be sent."""

    plan: Plan


class Standing(Line, frozen=True, kw_only=True):
    """The whole list of what must be protected now."""

    plans: tuple[Plan, ...]


class Bye(Line, frozen=True, kw_only=True):
    """The session ends in order; `ends_guard`: it started this guard, which ends with it."""

    ends_guard: bool


class Ack(Line, frozen=True, kw_only=True):
    """The guard's answer: who holds the lease, and how often the guard has taken over so far."""

    holder: Holder
    took: int


Message = Hello | Beat | Watch | Standing | Bye

_encoder = msgspec.json.Encoder(decimal_format="string")
_messages: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_acks = msgspec.json.Decoder(Ack)
_plans = msgspec.json.Decoder(Plan)


def line_of(message: Message | Ack) -> bytes:
    """Return the message as one line, its end included."""
    return _encoder.encode(message) + b"\n"


def read_message(line: bytes) -> Message:
    """Return the engine's message; BadLine where it is none."""
    try:
        return _messages.decode(line)
    except msgspec.MsgspecError as error:
        raise BadLine(f"not a message: {error}") from error


def read_ack(line: bytes) -> Ack:
    """Return the guard's answer; BadLine where it is none."""
    try:
        return _acks.decode(line)
    except msgspec.MsgspecError as error:
        raise BadLine(f"not an answer: {error}") from error


def plan_text(plan: Plan) -> str:
    """Return the plan as JSON, for the guard's own database."""
    return _encoder.encode(plan).decode()


def read_plan(text: str) -> Plan:
    """Return a plan from its JSON; BadLine where it is none."""
    try:
        return _plans.decode(text)
    except msgspec.MsgspecError as error:
        raise BadLine(f"not a plan: {error}") from error
