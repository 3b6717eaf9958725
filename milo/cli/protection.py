"""Whether a position is protected by what stands at the venue. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

from milo.model import OrderReport, OrderType, PositionReport
from milo.money import ZERO

_STOPS = (OrderType.STOP_MARKET, OrderType.STOP)
_TARGETS = (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT)


class Shield(StrEnum):
    """What the venue's own list of open orders says of a position."""

    WHOLE = "protected"
    PART = "STOP TOO SMALL"
    NONE = "NO STOP"


def shield_of(position: PositionReport, orders: Sequence[OrderReport]) -> Shield:
    """Return whether stops at the venue cover all of the position."""
    stops = _exits(position, orders, _STOPS)
    if not stops:
        return Shield.NONE
    covered = sum((stop.qty for stop in stops), ZERO)
    is_whole = any(stop.is_close_position for stop in stops) or covered >= abs(position.qty)
    return Shield.WHOLE if is_whole else Shield.PART


def stop_of(position: PositionReport, orders: Sequence[OrderReport]) -> OrderReport | None:
    """Return the position's stop, the nearest where there are several."""
    stops = _exits(position, orders, _STOPS)
    sign = position.direction.sign
    return max(stops, key=lambda order: sign * order.trigger_price, default=None)


def target_of(position: PositionReport, orders: Sequence[OrderReport]) -> OrderReport | None:
    """Return the position's target, the nearest where there are several."""
    targets = _exits(position, orders, _TARGETS)
    sign = position.direction.sign
    return min(targets, key=lambda order: sign * order.trigger_price, default=None)


def closing_stop_of(position: PositionReport, orders: Sequence[OrderReport]) -> OrderReport | None:
    """Return the stop that closes the whole position whatever its size, if there is one."""
    stops = _exits(position, orders, _STOPS)
    return next((stop for stop in stops if stop.is_close_position), None)


def trigger_of(order: OrderReport | None) -> Decimal | None:
    return None if order is None else order.trigger_price


def _exits(
    position: PositionReport, orders: Sequence[OrderReport], types: tuple[OrderType, ...]
) -> list[OrderReport]:
    return [
        order
        for order in orders
        if order.symbol == position.symbol
        and order.type in types
        and order.side is position.direction.exit_side
        and (order.is_close_position or order.is_reduce_only)
        and not order.status.is_final
    ]
