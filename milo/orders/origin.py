"""Which script opened a position, read from the journal's entries. Pure.

An entry order's client id holds the key of its signal, and the key is made of the script's name:
only the signal that fits the key counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from milo.model import Direction
from milo.money import ZERO
from milo.orders.ids import key_of, signal_key

KINDS = (
    "event.Signal",
    "command.Enter",
    "event.OrderEvent",
    "event.Accepted",
    "event.AccountEvent",
    "event.AccountRead",
)
"""The kinds of journal entry that tell of it; others need not be read."""


class _Intent(msgspec.Struct, frozen=True):
    direction: Direction | None = None
    """None where the signal was an exit."""


class _Signal(msgspec.Struct, frozen=True):
    script: str
    symbol: str
    candle_open_ms: int
    intent: _Intent


class _Order(msgspec.Struct, frozen=True):
    symbol: str
    client_id: str


class _Enter(msgspec.Struct, frozen=True):
    order: _Order


class _Report(msgspec.Struct, frozen=True):
    symbol: str
    client_id: str
    filled_qty: Decimal = ZERO


class _Reported(msgspec.Struct, frozen=True):
    report: _Report


class _Position(msgspec.Struct, frozen=True):
    symbol: str
    qty: Decimal


class _Positions(msgspec.Struct, frozen=True):
    positions: tuple[_Position, ...] = ()


_SIGNAL = msgspec.json.Decoder(_Signal)
_ENTER = msgspec.json.Decoder(_Enter)
_REPORTED = msgspec.json.Decoder(_Reported)
_POSITIONS = msgspec.json.Decoder(_Positions)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run tells of a position: the script that opened it, or None for nobody of ours."""

    script: str | None


def script_of(
    symbol: str, direction: Direction, entries: Iterable[tuple[str, str]]
) -> Origin | None:
    """Return who opened the position that is open after `entries`, one run's (kind, body) in order.

    None where the run tells nothing of it: the position is older, and an earlier run may know.
    """
    signals: dict[str, str] = {}
    entered: dict[str, str | None] = {}
    origin: Origin | None = None
    for kind, body in entries:
        match kind:
            case "event.Signal":
                signals |= _key_of_signal(symbol, direction, body)
            case "command.Enter":
                order = _ENTER.decode(body).order
                if order.symbol == symbol:
                    entered[order.client_id] = signals.get(key_of(order.client_id) or "")
            case "event.OrderEvent" | "event.Accepted":
                report = _REPORTED.decode(body).report
                if report.filled_qty and report.client_id in entered:
                    origin = Origin(entered[report.client_id])
            case "event.AccountEvent":
                if any(p.symbol == symbol and not p.qty for p in _POSITIONS.decode(body).positions):
                    origin = Origin(None)
            case "event.AccountRead":
                # Later readings can be older than the fills that were told before them.
                held = {p.symbol for p in _POSITIONS.decode(body).positions if p.qty}
                if not entered and symbol not in held:
                    origin = Origin(None)
            case _:
                continue
    return origin


def _key_of_signal(symbol: str, direction: Direction, body: str) -> dict[str, str]:
    signal = _SIGNAL.decode(body)
    if signal.symbol != symbol or signal.intent.direction is not direction:
        return {}
    key = signal_key(signal.script, symbol, signal.candle_open_ms, f"entry-{direction}")
    return {key: signal.script}
