"""Isolated margin: brackets and liquidation price. All amounts in quote currency (USDT).

Source: the exchange's FAQ on liquidation price and leverage brackets; with isolated margin the
wallet in its formula is the position's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from milo.model import Direction, LeverageBracket
from milo.money import ZERO


def bracket_of(brackets: Sequence[LeverageBracket], notional: Decimal) -> LeverageBracket:
    """Return the bracket of a notional in (floor, cap]; the last one beyond the table's end."""
    for bracket in brackets:
        if notional <= bracket.cap:
            return bracket
    return brackets[-1]


def max_leverage(brackets: Sequence[LeverageBracket]) -> int:
    """Return the highest leverage that the symbol allows at any notional."""
    return max(bracket.max_leverage for bracket in brackets)


def max_notional(brackets: Sequence[LeverageBracket], leverage: int) -> Decimal:
    """Return the largest notional at which `leverage` is allowed; 0 where it never is."""
    return max((b.cap for b in brackets if b.max_leverage >= leverage), default=ZERO)


def liquidation_price(
    direction: Direction,
    *,
    qty: Decimal,
    entry_price: Decimal,
    isolated_wallet: Decimal,
    brackets: Sequence[LeverageBracket],
) -> Decimal | None:
    """Return the isolated liquidation price, unrounded; None where there is none (<= 0).

    The bracket that counts is the one in which the notional at that very price lies. The
    maintenance margin is the largest that any bracket's line gives, so that the right price is the
    one that is met first: the highest of all brackets' for a long, the lowest for a short.
    """
    sign = direction.sign
    prices = [
        (isolated_wallet + bracket.cum - sign * qty * entry_price)
        / (qty * (bracket.maint_ratio - sign))
        for bracket in brackets
    ]
    price = max(prices) if direction is Direction.LONG else min(prices)
    return price if price > 0 else None
