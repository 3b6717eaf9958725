"""No orders on a real venue without --live."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip where the run may not trade, and say what would have been sent."""
    if given.may_trade:
        return None
    return Skip(f"read only: {given.action} was not sent; real orders need --live")
