"""What a gate is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from milo.model import Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """What gates may look at when an entry is asked for."""

    instrument: Instrument
    is_account_known: bool
    may_trade: bool
    foreign_qty: Decimal
    """Signed position on the symbol that Milo did not open."""
    unexplained_qty: Decimal
    """What the account shows on the symbol beyond Milo's position and the foreign one; signed."""
    action: str
    halted: str | None = None
    """Why the run opens nothing any more; None while it may."""
    lost_today: Decimal = Decimal(0)
    """Share of the day's first wallet that is lost now."""
    max_daily_loss: Decimal = Decimal(0)
    """The same as a limit; 0: none."""
    other_positions: int = 0
    """Symbols besides this one with a position, or an entry under way."""
    max_open_positions: int = 0
    """0: no limit."""
    leverage: Decimal = Decimal(1)
    """What the action asks for."""
    max_leverage: int = 0
    """0: no limit."""
    allowed_symbols: tuple[str, ...] = ()
    """None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedInput:
    """What gates may look at once an entry is sized; money in USDT."""

    loss_at_stop: Decimal
    """Taker fees of both sides included."""
    equity: Decimal
    max_risk: Decimal = Decimal(0)
    """Share of the equity (0.2 = 20 %); 0: no limit."""


@dataclass(frozen=True, slots=True)
class Skip:
    reason: str


Gate = Callable[[GateInput], Skip | None]
SizedGate = Callable[[SizedInput], Skip | None]
