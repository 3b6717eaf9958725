"""No entry while the account shows a position that no execution has explained yet."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip
from milo.money import plain


def gate(given: GateInput) -> Skip | None:
    """Skip while the account's position is not the sum of what we know: an entry may be ours."""
    if not given.unexplained_qty:
        return None
    return Skip(
        f"the account shows a position of {plain(given.unexplained_qty)} whose executions are not "
        "known yet"
    )
