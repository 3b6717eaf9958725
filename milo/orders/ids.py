"""Client order ids: a pure function of (run, signal, leg), so that no retry can double an order.

Source for the allowed form, `^[.A-Z:/a-z0-9_-]{1,36}$`: the exchange's new-order page.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

PREFIX = "milo-"
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


class Leg(StrEnum):
    """What an order of ours is for."""

    ENTRY = "e"
    STOP = "s"
    TARGET = "t"
    CLOSE = "c"
    REVERSE = "r"


def run_id_of(wall_ms: int) -> str:
    """Return the run's id: the start's wall time in base 36, eight characters."""
    digits = ""
    while wall_ms:
        wall_ms, rest = divmod(wall_ms, 36)
        digits = _ALPHABET[rest] + digits
    return digits.rjust(8, "0")[-8:]


def signal_key(script: str, symbol: str, candle_open_ms: int, what: str) -> str:
    """Return ten hex digits that name one signal: one a script, symbol, candle and kind."""
    text = f"{script}|{symbol}|{candle_open_ms}|{what}"
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def client_id(run_id: str, key: str, leg: Leg, attempt: int = 1) -> str:
    """Return the client order id of a leg; `attempt` counts replacements of the same leg."""
    return f"{PREFIX}{run_id}-{key}-{leg}{attempt if attempt > 1 else ''}"


def is_ours(client_order_id: str) -> bool:
    """Return whether the id was made by Milo, in this run or another."""
    return client_order_id.startswith(PREFIX)


def key_of(client_order_id: str) -> str | None:
    """Return the signal's key in an id of ours; None where the id is not of our making."""
    parts = client_order_id.removeprefix(PREFIX).split("-")
    return parts[1] if is_ours(client_order_id) and len(parts) == 3 else None


def leg_of(client_order_id: str) -> Leg | None:
    """Return what an order of ours was for; None where the id is not of our making."""
    if not is_ours(client_order_id):
        return None
    tail = client_order_id.rsplit("-", 1)[-1][:1]
    return Leg(tail) if tail in list(Leg) else None
