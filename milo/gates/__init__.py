"""Entry filters, asked in order; the first skip ends it. One filter a file.

To add one: write `milo/gates/<name>.py` with a function (GateInput) -> Skip | None, and add it to
GATES.
"""

from __future__ import annotations

from milo.gates import (
    account_known,
    daily_loss,
    foreign_position,
    halted,
    open_positions,
    read_only,
    trading_status,
    unexplained_position,
)
from milo.gates.verdict import Gate, GateInput, Skip

GATES: tuple[Gate, ...] = (
    halted.gate,
    read_only.gate,
    account_known.gate,
    trading_status.gate,
    foreign_position.gate,
    unexplained_position.gate,
    daily_loss.gate,
    open_positions.gate,
)


def ask(given: GateInput) -> Skip | None:
    """Return the first gate's reason to skip the entry, or None to take it."""
    for gate in GATES:
        verdict = gate(given)
        if verdict is not None:
            return verdict
    return None
