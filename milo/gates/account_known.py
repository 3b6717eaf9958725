"""No entry while the state of the account is not known."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip until balance and positions have been read."""
    return None if given.is_account_known else Skip("the account's state is not known yet")
