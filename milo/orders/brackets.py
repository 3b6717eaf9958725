"""The orders of a bracket as they are sent: stops and targets that close all. Pure."""

from __future__ import annotations

from decimal import Decimal

from milo.model import Direction, NewOrder, OrderType
from milo.money import plain
from milo.orders.ids import Leg, client_id


def bracket_order(
    *,
    symbol: str,
    direction: Direction,
    run_id: str,
    key: str,
    leg: Leg,
    trigger_price: Decimal,
    attempt: int,
) -> NewOrder:
    """Return the stop or target (`leg`) of a position in `direction`; `key` is its trade's."""
    return NewOrder(
        symbol=symbol,
        side=direction.exit_side,
        type=OrderType.STOP_MARKET if leg is Leg.STOP else OrderType.TAKE_PROFIT_MARKET,
        client_id=client_id(run_id, key, leg, attempt),
        trigger_price=Decimal(plain(trigger_price)),
        is_close_position=True,
    )
