"""Entry filters, asked in order; the first skip ends it. One filter a file.

To add one: write `milo/gates/<name>.py` with a function (GateInput) -> Skip | None, and add it to
GATES; one that needs to know the entry's size takes a SizedInput and belongs to SIZED_GATES.
"""

from __future__ import annotations

from milo.gates import (
    account_known,
    daily_loss,
    entry_risk,
    foreign_position,
    halted,
    leverage,
    open_positions,
    read_only,
    symbols,
    trading_status,
    unexplained_position,
)
from milo.gates.verdict import Gate, GateInput, SizedGate, SizedInput, Skip

GATES: tuple[Gate, ...] = (
    halted.gate,
    read_only.gate,
    account_known.gate,
    symbols.gate,
    leverage.gate,
    trading_status.gate,
    foreign_position.gate,
    unexplained_position.gate,
    daily_loss.gate,
    open_positions.gate,
)
SIZED_GATES: tuple[SizedGate, ...] = (entry_risk.gate,)


def ask(given: GateInput) -> Skip | None:
    """Return the first gate's reason to skip the entry, or None to take it."""
    for gate in GATES:
        verdict = gate(given)
        if verdict is not None:
            return verdict
    return None


def ask_sized(given: SizedInput) -> Skip | None:
    """Return the first gate's reason to skip an entry of that size, or None to take it."""
    for gate in SIZED_GATES:
        verdict = gate(given)
        if verdict is not None:
            return verdict
    return None


def verdicts(given: GateInput) -> list[tuple[str, Skip | None]]:
    """Return what each gate says by itself, under its module's name; for explanations."""
    return [(gate.__module__.rpartition(".")[2], gate(given)) for gate in GATES]
