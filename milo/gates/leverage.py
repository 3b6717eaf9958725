"""No entry at more leverage than the operator allows."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip
from milo.money import plain


def gate(given: GateInput) -> Skip | None:
    """Skip where the action asks for more; it is not lowered silently."""
    limit = given.max_leverage
    if not limit or given.leverage <= limit:
        return None
    return Skip(
        f"leverage {plain(given.leverage)}x is above the limit of {limit}x (--max-leverage)"
    )
