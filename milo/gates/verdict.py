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


@dataclass(frozen=True, slots=True)
class Skip:
    reason: str


Gate = Callable[[GateInput], Skip | None]
