"""No entry on a symbol that the exchange does not trade now."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip unless the symbol's status is TRADING."""
    if given.instrument.is_trading:
        return None
    return Skip(f"{given.instrument.symbol} is not trading: {given.instrument.status}")
