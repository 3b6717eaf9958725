"""What quantities a market order may carry; limits and steps of 0 mean that there is none. Pure."""

from __future__ import annotations

from decimal import Decimal

from milo.model import Instrument


def market_step(instrument: Instrument) -> Decimal:
    """Return the step of which the quantity of a market order is a multiple."""
    return max(instrument.step, instrument.market_step)


def smallest_market_qty(instrument: Instrument) -> Decimal:
    """Return the least that a market order may carry."""
    return max(instrument.min_qty, instrument.market_min_qty)


def largest_market_qty(instrument: Instrument) -> Decimal:
    """Return the most that one market order may carry; infinite where there is no limit."""
    limits = [limit for limit in (instrument.max_qty, instrument.market_max_qty) if limit]
    return min(limits, default=Decimal("Infinity"))
