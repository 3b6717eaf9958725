"""What the core asks the shell to do (layer 0). Each comes back as an event of `milo.inbox`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from milo.model import Direction, ExitReason, NewOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """Set margin type and leverage where they differ, then place the entry order."""

    order: NewOrder
    leverage: int | None
    """None: already set."""
    must_set_isolated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place a protective or closing order."""

    order: NewOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    symbol: str
    client_id: str
    is_conditional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """Ask the venue what became of an order whose outcome is unknown."""

    symbol: str
    client_id: str
    is_conditional: bool
    is_protective: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStop:
    """Send StopOverdue after `after_s` wall seconds, whatever happens in between.

    The core itself knows whether it still matters: that a stop was not confirmed, that an order's
    executions were not seen, or that a refused close is due again.
    """

    symbol: str
    client_id: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAccount:
    """Read balance and positions again: what the book believes may be wrong."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided about an entry that a script asked for; nothing is to be done about it."""

    symbol: str
    script: str
    action: str
    candle_open_ms: int
    is_taken: bool
    reason: str
    """Why it was skipped; empty where it was taken."""


class NoteKind(StrEnum):
    """What a note to the operator is about."""

    ENTRY = "entry"
    EXIT = "exit"
    REFUSED = "refused"
    ADJUSTED = "adjusted"
    PROBLEM = "problem"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Tell the operator, in one readable line."""

    kind: NoteKind
    symbol: str
    script: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTrade:
    """A position, or a part of it, was closed: one row of the trade list."""

    trade: Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One row of the trade list; exit fields None while open; money in USDT.

    `profit` is net of fees and funding; `funding` is what was received (negative: paid).
    """

    symbol: str
    script: str
    direction: Direction
    qty: Decimal
    entry_ms: int
    entry_price: Decimal
    exit_ms: int | None
    exit_price: Decimal | None
    reason: ExitReason | None
    fees: Decimal
    funding: Decimal
    profit: Decimal


Command = Enter | Place | Cancel | LookUp | WatchStop | ReadAccount | Verdict | Note | RecordTrade
