"""No entry beside a position that Milo did not open: in one-way mode they would become one."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip
from milo.money import plain


def gate(given: GateInput) -> Skip | None:
    """Skip while a foreign position is open on the symbol."""
    if not given.foreign_qty:
        return None
    return Skip(
        f"a position of {plain(given.foreign_qty)} that Milo did not open is there; close it first"
    )
