"""What engine and guard tell each other about: the plan of a position's protection (layer 0)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from milo.model import Direction


class Holder(StrEnum):
    """Who may send orders now."""

    ENGINE = "engine"
    GUARD = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one position of ours is protected, told before its entry is sent."""

    symbol: str
    direction: Direction
    run_id: str
    key: str
    """Of the signal; the guard's client ids are made from it."""
    entry_id: str
    """Client id of the entry; empty for a position that was adopted."""
    qty: Decimal
    """The most that the position can be: what is open and what the entry may still fill."""
    stop_price: Decimal
    """Rounded to the tick."""
    stop_ids: tuple[str, ...] = ()
    """Client ids of the engine's own stop, sent or confirmed."""
    is_stop_confirmed: bool = False
    """The exchange has confirmed a stop of the whole position."""
    is_entry_open: bool = False
    """The entry may still fill."""
    tick: Decimal
    step: Decimal
    """What quantities of market orders are multiples of."""
    max_qty: Decimal | None = None
    """The most that one market order may carry; None where there is no limit."""
    sent_ms: int = 0
    """Wall time, ms UTC, at which the engine told it."""

    @property
    def name(self) -> str:
        """What tells this plan from every other one."""
        return f"{self.run_id}-{self.key}-{self.symbol}-{self.direction}"
