"""No entry on a symbol that is not on the operator's list."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip where there is a list and the symbol is not on it."""
    allowed, symbol = given.allowed_symbols, given.instrument.symbol
    if not allowed or symbol in allowed:
        return None
    return Skip(f"{symbol} is not among the allowed symbols {', '.join(allowed)} (--symbols)")
