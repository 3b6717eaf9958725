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

    Where the notional at that price lies in another bracket, the price is computed again with
    that one, until both agree (at most once a bracket).
    """
    sign = direction.sign
    bracket = bracket_of(brackets, qty * entry_price)
    price = ZERO
    for _ in brackets:
        denominator = qty * bracket.maint_ratio - sign * qty
        price = (isolated_wallet + bracket.cum - sign * qty * entry_price) / denominator
        if price <= 0:
            return None
        there = bracket_of(brackets, qty * price)
        if there is bracket:
            break
        bracket = there
    return price
