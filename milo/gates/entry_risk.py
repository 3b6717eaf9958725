"""No entry that could lose more at its stop than the operator allows, however it was sized."""

from __future__ import annotations

from milo.gates.verdict import SizedInput, Skip
from milo.money import shown


def gate(given: SizedInput) -> Skip | None:
    """Skip where the loss at the stop, fees of both sides included, is too much of the equity."""
    limit = given.max_risk
    if not limit or given.loss_at_stop <= limit * given.equity:
        return None
    return Skip(
        f"its stop would cost {shown(given.loss_at_stop)} USDT, fees included, "
        f"{given.loss_at_stop / given.equity:.2%} of the equity of {shown(given.equity)} USDT; "
        f"the limit is {limit:.2%} (--max-risk)"
    )
