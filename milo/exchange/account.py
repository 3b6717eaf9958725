"""Positions and isolated margin: the arithmetic of one contract. Pure, exact ints.

Prices, quantities, ratios and money are e8 (entry prices e16). A position's quantity is signed.
Amounts that reach the wallet are cut toward zero to 8 decimals; the recorded fills of the real
exchange agree with that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from milo.exchange.feed import E8
from milo.exchange.fixed import E16, ceil_div, cut, nearest, times
from milo.exchange.rules import Bracket, SymbolRules


@dataclass(slots=True)
class Position:
    """A one-way position with isolated margin; kept (with quantity 0) once it is closed."""

    symbol: str
    qty: int = 0
    entry_e16: int = 0
    wallet: int = 0
    """Isolated wallet: what the position can lose."""
    carry: int = 0
    """Realised profit - fees + funding since the position opened: the break-even price."""
    realized: int = 0
    """Realised profit before fees, ever: `cr` of ACCOUNT_UPDATE."""
    update_ms: int = 0

    @property
    def is_open(self) -> bool:
        return self.qty != 0

    @property
    def sign(self) -> int:
        return (self.qty > 0) - (self.qty < 0)

    def unrealized(self, mark: int) -> int:
        """Return the profit at `mark`, cut toward zero."""
        return cut((mark * E8 - self.entry_e16) * self.qty, E16)

    def break_even_e16(self) -> int:
        """Return the price at which closing would leave what was there before; 0 when flat."""
        if not self.qty:
            return 0
        return self.entry_e16 - nearest(self.carry * E16, self.qty)


def notional_of(price: int, qty: int) -> int:
    """Return |price * qty|, cut."""
    return abs(times(price, qty))


def initial_margin(price: int, qty: int, leverage: int) -> int:
    """Return what a quantity needs at a price, rounded up to 1e-8."""
    return ceil_div(price * abs(qty), E8 * leverage)


def order_cost(price: int, qty: int, leverage: int, *, sign: int, mark: int) -> int:
    """Return initial margin plus open loss of an order; `sign` +1 to buy, -1 to sell.

    The open loss is what the position would show at once if it filled at its price. Source: the
    exchange's FAQ on order cost (exchange-api.md section 5).
    """
    open_loss = abs(times(min(0, sign * (mark - price)), qty))
    return initial_margin(price, qty, leverage) + open_loss


def maintenance_margin(notional: int, bracket: Bracket) -> int:
    """Return the margin below which a position of that notional is liquidated."""
    return max(0, times(notional, bracket.ratio) - bracket.cum)


def liquidation_price(position: Position, rules: SymbolRules) -> int:
    """Return the price at which margin and maintenance margin meet; 0 where there is none.

    The bracket is the one in which the notional at that very price lies; margin falls and the
    requirement is continuous, so there is exactly one. Source: the exchange's FAQ on liquidation
    prices, for isolated margin.
    """
    if not position.qty:
        return 0
    price = 0
    for bracket in rules.brackets:
        price = max(0, _bracket_liquidation_price(position, bracket))
        if notional_of(price, position.qty) <= bracket.cap:
            break
    return price


def _bracket_liquidation_price(position: Position, bracket: Bracket) -> int:
    sign = position.sign
    size = abs(position.qty)
    numerator = (position.wallet + bracket.cum) * E16 - sign * size * position.entry_e16
    denominator = size * (bracket.ratio - sign * E8)
    return nearest(numerator, denominator)


def bankruptcy_price(position: Position) -> int:
    """Return the price at which the isolated wallet is gone; 0 where no price loses it all.

    Rounded so that a fill at it never loses more than the wallet.
    """
    if not position.qty:
        return 0
    size = abs(position.qty)
    edge = position.entry_e16 * size - position.sign * position.wallet * E16
    price = ceil_div(edge, size * E8) if position.qty > 0 else edge // (size * E8)
    return max(0, price)


class FillEffect(NamedTuple):
    """What a fill did to a position: money in e8."""

    realized: int
    closed_qty: int
    opened_qty: int
    released: int
    """Isolated margin given back to the cross wallet."""
    locked: int
    """Isolated margin taken from the cross wallet."""


def apply_fill(position: Position, signed_qty: int, price: int, leverage: int) -> FillEffect:
    """Change the position by a fill and return what happened; fees are the caller's.

    The closing part comes first, at the average entry; what is left opens at `price`.
    """
    closing = 0
    if position.qty and (position.qty > 0) != (signed_qty > 0):
        closing = min(abs(position.qty), abs(signed_qty))
    realized, released = reduce_position(position, closing, price) if closing else (0, 0)
    opening = abs(signed_qty) - closing
    locked = 0
    if opening:
        signed_opening = opening if signed_qty > 0 else -opening
        locked = increase_position(position, signed_opening, price, leverage)
    return FillEffect(
        realized=realized,
        closed_qty=closing,
        opened_qty=opening,
        released=released,
        locked=locked,
    )


def reduce_position(position: Position, size: int, price: int) -> tuple[int, int]:
    """Close `size` of the position; return the realised profit and the margin released."""
    sign = position.sign
    realized = cut(sign * (price * E8 - position.entry_e16) * size, E16)
    released = cut(position.wallet * size, abs(position.qty))
    position.qty -= sign * size
    position.wallet -= released
    position.realized += realized
    position.carry += realized
    if not position.qty:
        released += position.wallet
        position.wallet = 0
        position.entry_e16 = 0
        position.carry = 0
    return realized, released


def increase_position(position: Position, signed_qty: int, price: int, leverage: int) -> int:
    """Add to the position at `price`; return the margin locked."""
    size, added = abs(position.qty), abs(signed_qty)
    total = position.entry_e16 * size + price * E8 * added
    position.entry_e16 = nearest(total, size + added)
    position.qty += signed_qty
    margin = initial_margin(price, added, leverage)
    position.wallet += margin
    return margin


def funding_payment(position: Position, mark: int, rate: int) -> int:
    """Return what a settlement adds to the wallet (negative: paid).

    Longs pay a positive rate. An isolated position never pays more than its wallet.
    """
    amount = cut(-position.qty * mark * rate, E16)
    return max(amount, -position.wallet)
