"""`--listopenpositions`: numbered, with stop and target."""

from __future__ import annotations

from decimal import Decimal

from milo.cli.context import App
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.model import OrderReport, OrderType, PositionReport
from milo.money import plain, shown

_STOPS = (OrderType.STOP_MARKET, OrderType.STOP)
_TARGETS = (OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT)


async def run(app: App) -> int:
    """Print one line a position."""
    async with open_venue(app, Purpose(needs_keys=True)) as venue:
        positions = await open_positions(venue)
        if not positions:
            app.console.say(f"no open position on {venue.title}")
            return 0
        orders = await venue.client.open_orders()
        app.console.say(venue.title)
        for number, position in enumerate(positions, start=1):
            app.console.say(f"{number:>3}  {position_line(position, orders)}")
    return 0


async def open_positions(venue: OpenVenue) -> list[PositionReport]:
    """Return the open positions in the order of their numbers: by symbol."""
    found = [position for position in await venue.client.positions() if position.qty]
    return sorted(found, key=lambda position: position.symbol)


def position_line(position: PositionReport, orders: tuple[OrderReport, ...]) -> str:
    """Return a position's line, with the stop and target that stand at the venue."""
    stop = _trigger(position, orders, _STOPS)
    target = _trigger(position, orders, _TARGETS)
    notional = abs(position.qty) * position.mark_price
    liquidation = plain(position.liquidation_price) if position.liquidation_price else "none"
    return (
        f"{position.symbol} {position.direction} {plain(abs(position.qty))} "
        f"@ {plain(position.entry_price)}  mark {plain(position.mark_price)}  "
        f"notional {shown(notional)}  profit {shown(position.unrealized)} USDT  "
        f"stop {'NONE' if stop is None else plain(stop)}  "
        f"target {'-' if target is None else plain(target)}  liquidation {liquidation}"
    )


def _trigger(
    position: PositionReport, orders: tuple[OrderReport, ...], types: tuple[OrderType, ...]
) -> Decimal | None:
    for order in orders:
        if order.symbol == position.symbol and order.type in types:
            is_exit = order.side is position.direction.exit_side
            if is_exit and (order.is_close_position or order.is_reduce_only):
                return order.trigger_price
    return None
