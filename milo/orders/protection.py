"""Where stop and target of a position lie. Pure; prices in quote currency.

Stops and targets are rounded to the side that risks less: toward the entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.errors import EngineError
from milo.model import (
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    Instrument,
    LeverageBracket,
)
from milo.money import ceil_to, floor_to, plain
from milo.orders.margin import liquidation_price

_HUNDRED = Decimal(100)
DEFAULT_STOP_SHARE = Decimal("0.9")
"""A stop of the engine's own lies at this share of the way from entry to liquidation."""


class Unprotectable(EngineError):
    """No stop or target can stand where the action wants it; the text has the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Stop and target of a position at an entry price."""

    stop_price: Decimal
    target_price: Decimal | None
    liquidation: Decimal | None
    """None where the position cannot be liquidated."""
    is_default_stop: bool


def plan_protection(
    intent: EntryIntent,
    *,
    entry_price: Decimal,
    qty: Decimal,
    leverage: int,
    atr: Decimal | None,
    instrument: Instrument,
    brackets: Sequence[LeverageBracket],
) -> Protection:
    """Return where stop and target go, measured from `entry_price`.

    Raises Unprotectable where a stop or target lies on the wrong side of the price, or the stop
    beyond the liquidation price, or an ATR distance is asked for and no ATR is known.
    """
    direction = intent.direction
    liquidation = liquidation_price(
        direction,
        qty=qty,
        entry_price=entry_price,
        isolated_wallet=qty * entry_price / leverage,
        brackets=brackets,
    )
    if intent.stop is None:
        stop = default_stop(direction, entry_price, liquidation, instrument.tick)
    else:
        stop = explicit_stop(intent.stop, direction, entry_price, atr, instrument)
        _check_liquidation(direction, stop, liquidation)
    target = _target(intent, entry_price, stop, leverage, atr, instrument.tick)
    for name, price in (("stop", stop), ("target", target)):
        _check_price_limits(name, price, instrument)
    return Protection(
        stop_price=stop,
        target_price=target,
        liquidation=liquidation,
        is_default_stop=intent.stop is None,
    )


def explicit_stop(
    stop: Distance,
    direction: Direction,
    entry_price: Decimal,
    atr: Decimal | None,
    instrument: Instrument,
) -> Decimal:
    """Return the stop's price as the action asks for it, rounded toward the entry."""
    price = _level(stop, entry_price, -direction.sign, atr, "stop")
    return _stop_at(price, direction, entry_price, instrument.tick)


def default_stop(
    direction: Direction, entry_price: Decimal, liquidation: Decimal | None, tick: Decimal
) -> Decimal:
    """Return the price of the engine's own stop, rounded toward the entry.

    A long without liquidation price could fall to nothing: 90 % of the way to zero. Raises
    Unprotectable where the tick is too coarse for a stop between entry and liquidation.
    """
    end = Decimal(0) if liquidation is None else liquidation
    price = entry_price + (end - entry_price) * DEFAULT_STOP_SHARE
    return _stop_at(price, direction, entry_price, tick)


def _stop_at(price: Decimal, direction: Direction, entry_price: Decimal, tick: Decimal) -> Decimal:
    rounded = _toward_entry(price, direction, is_stop=True, tick=tick)
    is_wrong = rounded >= entry_price if direction is Direction.LONG else rounded <= entry_price
    if is_wrong or rounded <= 0:
        side = "below" if direction is Direction.LONG else "above"
        raise Unprotectable(
            f"stop {plain(rounded)} must lie {side} the price {plain(entry_price)} of a {direction}"
        )
    return rounded


def _check_price_limits(name: str, price: Decimal | None, instrument: Instrument) -> None:
    if price is None:
        return
    low, high = instrument.min_price, instrument.max_price
    if price < low or (high and price > high):
        raise Unprotectable(
            f"{name} {plain(price)} lies outside the exchange's prices of {instrument.symbol}, "
            f"{plain(low)} to {plain(high)}"
        )


def _check_liquidation(direction: Direction, stop: Decimal, liquidation: Decimal | None) -> None:
    if liquidation is None:
        return
    is_beyond = stop <= liquidation if direction is Direction.LONG else stop >= liquidation
    if is_beyond:
        raise Unprotectable(
            f"stop {plain(stop)} lies beyond the liquidation price {liquidation:.8g}; "
            "use less leverage or a closer stop"
        )


def _target(
    intent: EntryIntent,
    entry_price: Decimal,
    stop: Decimal,
    leverage: int,
    atr: Decimal | None,
    tick: Decimal,
) -> Decimal | None:
    direction = intent.direction
    if intent.target is not None:
        price = _level(intent.target, entry_price, direction.sign, atr, "target")
    elif intent.reward_ratio is not None:
        risked = abs(entry_price - stop) if intent.stop is not None else entry_price / leverage
        price = entry_price + direction.sign * intent.reward_ratio * risked
    else:
        return None
    rounded = _toward_entry(price, direction, is_stop=False, tick=tick)
    is_wrong = rounded <= entry_price if direction is Direction.LONG else rounded >= entry_price
    if is_wrong or rounded <= 0:
        side = "above" if direction is Direction.LONG else "between 0 and"
        raise Unprotectable(
            f"target {plain(rounded)} must lie {side} the price {plain(entry_price)} "
            f"of a {direction}"
        )
    return rounded


def _level(
    distance: Distance, entry_price: Decimal, sign: int, atr: Decimal | None, what: str
) -> Decimal:
    match distance.kind:
        case DistanceKind.PRICE:
            return distance.value
        case DistanceKind.PERCENT:
            return entry_price * (1 + sign * distance.value / _HUNDRED)
        case DistanceKind.ATR:
            if atr is None:
                raise Unprotectable(f"{what} in ATR needs 14 closed candles of history")
            return entry_price + sign * distance.value * atr


def _toward_entry(price: Decimal, direction: Direction, *, is_stop: bool, tick: Decimal) -> Decimal:
    # A long's stop lies below the entry: rounding up brings it nearer. Its target: rounding down.
    rounds_up = (direction is Direction.LONG) == is_stop
    return ceil_to(price, tick) if rounds_up else floor_to(price, tick)
