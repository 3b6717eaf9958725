"""No entry once the kill switch was thrown."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip for the rest of the run."""
    return None if given.halted is None else Skip(f"trading is halted: {given.halted}")
