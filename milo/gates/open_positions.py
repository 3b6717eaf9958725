"""No entry while as many positions are open as the operator allows."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip where another symbol's position would be one too many."""
    limit = given.max_open_positions
    if not limit or given.other_positions < limit:
        return None
    return Skip(f"{given.other_positions} positions are open already (--max-positions {limit})")
