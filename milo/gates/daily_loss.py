"""No entry on a day that has lost too much already."""

from __future__ import annotations

from milo.gates.verdict import GateInput, Skip


def gate(given: GateInput) -> Skip | None:
    """Skip until the next UTC day where the day's loss has reached the limit."""
    limit = given.max_daily_loss
    if not limit or given.lost_today < limit:
        return None
    return Skip(
        f"the day's loss of {given.lost_today:.2%} has reached the limit of {limit:.2%} "
        "(--max-daily-loss); nothing is opened until the next UTC day"
    )
