"""How much an entry buys or sells, by the rules of the script language, section 5. Pure.

The price for sizing is the close of the newest candle that the script saw; quantities are rounded
down; nothing is ever rounded up to the exchange's minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.errors import EngineError
from milo.model import (
    AmountKind,
    CommissionRate,
    Direction,
    EntryIntent,
    ExitIntent,
    Instrument,
    LeverageBracket,
)
from milo.money import ZERO, floor_to, plain, shown
from milo.orders.lots import largest_market_qty, market_step, smallest_market_qty
from milo.orders.margin import bracket_of, max_leverage, max_notional
from milo.orders.protection import Protection, explicit_stop, plan_protection

_HUNDRED = Decimal(100)
HEADROOM = Decimal("1.01")
"""Margin and fees are kept this factor below the available balance (the exchange's own order cost
can lie above ours)."""


class EntryRefused(EngineError):
    """The entry is not sent; the text has the numbers."""


class ExitRefused(EngineError):
    """The exit is not sent; the text has the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """An entry ready to be sent."""

    qty: Decimal
    leverage: int
    price: Decimal
    """The price for sizing, not a limit."""
    margin: Decimal
    loss_at_stop: Decimal
    """If entered at `price` and stopped at the stop's price, taker fees of both sides included."""
    profit_at_target: Decimal | None
    """If entered at `price` and closed at the target's price, taker fees of both sides deducted."""
    protection: Protection
    """At `price`; planned again from the fill."""
    notes: tuple[str, ...]
    """What was lowered or reduced, and why."""

    @property
    def notional(self) -> Decimal:
        return self.qty * self.price


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingInput:
    """What sizing needs to know; money in USDT."""

    price: Decimal
    atr: Decimal | None
    equity: Decimal
    available: Decimal
    instrument: Instrument
    brackets: Sequence[LeverageBracket]
    fees: CommissionRate


def size_entry(intent: EntryIntent, given: SizingInput) -> Sized:
    """Return the sized entry.

    Raises EntryRefused or Unprotectable, with the numbers, where nothing may be sent.
    """
    if given.price <= 0 or given.equity <= 0:
        raise EntryRefused(
            f"nothing to size with: price {plain(given.price)}, equity {shown(given.equity)} USDT"
        )
    notes: list[str] = []
    share = given.equity * intent.amount / _HUNDRED
    leverage = _whole_leverage(intent, given, notes)
    qty, leverage = _wanted(intent, given, share, leverage, notes)
    qty = _affordable(qty, given, leverage, notes)
    qty = _rounded(qty, given, notes)
    protection = plan_protection(
        intent,
        entry_price=given.price,
        qty=qty,
        leverage=leverage,
        atr=given.atr,
        instrument=given.instrument,
        brackets=given.brackets,
    )
    target = protection.target_price
    return Sized(
        qty=qty,
        leverage=leverage,
        price=given.price,
        margin=qty * given.price / leverage,
        loss_at_stop=qty * loss_per_unit(given.price, protection.stop_price, given.fees),
        profit_at_target=None
        if target is None
        else qty * profit_per_unit(intent.direction, given.price, target, given.fees),
        protection=protection,
        notes=tuple(notes),
    )


def size_exit(intent: ExitIntent, held: Decimal, instrument: Instrument) -> Decimal:
    """Return how much of a position `close(N%)` closes; all of it is never refused.

    Raises ExitRefused where the part is below the exchange's smallest order.
    """
    if intent.percent == _HUNDRED:
        return held
    qty = floor_to(held * intent.percent / _HUNDRED, market_step(instrument))
    smallest = smallest_market_qty(instrument)
    if qty < smallest:
        raise ExitRefused(
            f"{plain(intent.percent)} % of {plain(held)} rounds down to {plain(qty)}, below the "
            f"exchange's minimum {plain(smallest)}"
        )
    return qty


def _whole_leverage(intent: EntryIntent, given: SizingInput, notes: list[str]) -> int:
    highest = max_leverage(given.brackets)
    if not 1 <= intent.leverage <= highest:
        raise EntryRefused(
            f"leverage {plain(intent.leverage)}x is outside 1x to {highest}x of "
            f"{given.instrument.symbol}"
        )
    whole = int(intent.leverage)
    if whole != intent.leverage:
        notes.append(f"leverage {plain(intent.leverage)}x lowered to {whole}x: whole numbers only")
    return whole


def _wanted(
    intent: EntryIntent, given: SizingInput, share: Decimal, leverage: int, notes: list[str]
) -> tuple[Decimal, int]:
    """Return quantity and leverage before the account's limits, leverage allowed by bracket.

    `share` is the part of the equity, in USDT, that is risked or becomes margin.
    """
    if intent.amount_kind is AmountKind.RISK and intent.stop is not None:
        stop = explicit_stop(
            intent.stop, intent.direction, given.price, given.atr, given.instrument
        )
        qty = share / loss_per_unit(given.price, stop, given.fees)
        allowed = min(leverage, bracket_of(given.brackets, qty * given.price).max_leverage)
    else:
        allowed = leverage
        while allowed > 1 and share * allowed > max_notional(given.brackets, allowed):
            allowed -= 1
        qty = share * allowed / given.price
    notional = qty * given.price
    if allowed < leverage:
        notes.append(
            f"leverage lowered from {leverage}x to {allowed}x: the most that the exchange allows "
            f"for {shown(notional)} USDT of {given.instrument.symbol}"
        )
    largest = max_notional(given.brackets, allowed)
    if notional > largest:
        notes.append(
            f"notional reduced from {shown(notional)} to {shown(largest)} USDT: the exchange's cap"
        )
        qty = largest / given.price
    return qty, allowed


def _affordable(qty: Decimal, given: SizingInput, leverage: int, notes: list[str]) -> Decimal:
    cost_per_unit = given.price * (Decimal(1) / leverage + given.fees.taker) * HEADROOM
    most = max(given.available, ZERO) / cost_per_unit
    if qty <= most:
        return qty
    notes.append(
        f"quantity reduced from {qty:.6g} to {most:.6g}: margin and fees at {leverage}x "
        f"exceed the available {shown(given.available)} USDT"
    )
    return most


def _rounded(qty: Decimal, given: SizingInput, notes: list[str]) -> Decimal:
    instrument = given.instrument
    largest = largest_market_qty(instrument)
    if qty > largest:
        notes.append(
            f"quantity reduced from {qty:.6g} to {plain(largest)}: the exchange's largest "
            "market order"
        )
        qty = largest
    rounded = floor_to(qty, market_step(instrument))
    smallest = smallest_market_qty(instrument)
    if rounded < smallest:
        raise EntryRefused(
            f"quantity {qty:.6g} {instrument.symbol} rounds down to {plain(rounded)}, below the "
            f"exchange's minimum {plain(smallest)}"
        )
    if rounded * given.price < instrument.min_notional:
        raise EntryRefused(
            f"notional {shown(rounded * given.price)} USDT is below the exchange's minimum "
            f"{plain(instrument.min_notional)} USDT of {instrument.symbol}"
        )
    return rounded


def profit_per_unit(
    direction: Direction, entry_price: Decimal, exit_price: Decimal, fees: CommissionRate
) -> Decimal:
    """Return what one unit earns between two prices, taker fees of both sides deducted."""
    gross = direction.sign * (exit_price - entry_price)
    return gross - fees.taker * (entry_price + exit_price)


def loss_per_unit(price: Decimal, stop: Decimal, fees: CommissionRate) -> Decimal:
    """Return what one unit loses between entry and stop, taker fees of both sides included."""
    return abs(price - stop) + fees.taker * (price + stop)
