"""`--listopenpositions`: numbered, with what protects each and which script opened it."""

from __future__ import annotations

from milo.cli.context import App
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.cli.position_rows import PositionRow, position_lines, position_row, rows_json
from milo.cli.recovery import last_run, newest_state
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.errors import StoreError
from milo.model import Direction, PositionReport
from milo.money import plain
from milo.shown import shown_line


async def run(app: App) -> int:
    """Print the open positions, or write them where --json says."""
    check_json_path(app)
    async with open_venue(app, Purpose(needs_keys=True)) as venue:
        rows = await _rows(venue)
        title = venue.title
    if not says_json_only(app):
        lines = [title, *position_lines(rows)] if rows else [f"no open position on {title}"]
        for line in lines:
            app.console.say(line)
    give_json(app, rows_json(rows, venue=app.config.exchange))
    return 0


async def open_positions(venue: OpenVenue) -> list[PositionReport]:
    """Return the open positions in the order of their numbers: by symbol."""
    found = [position for position in await venue.client.positions() if position.qty]
    return sorted(found, key=lambda position: position.symbol)


def position_line(position: PositionReport) -> str:
    """Return in a few words which position this is."""
    return (
        f"{shown_line(position.symbol)} {position.direction} {plain(abs(position.qty))} "
        f"@ {plain(position.entry_price)}"
    )


async def _rows(venue: OpenVenue) -> list[PositionRow]:
    positions = await open_positions(venue)
    if not positions:
        return []
    orders = await venue.client.open_orders()
    holders = await _holders(venue)
    return [
        position_row(
            number,
            position,
            orders=orders,
            config=await venue.client.symbol_config(position.symbol),
            script=_script_of(position, holders),
        )
        for number, position in enumerate(positions, start=1)
    ]


async def _holders(venue: OpenVenue) -> dict[str, tuple[Direction, str]]:
    """Return, by symbol, which script holds what, as the newest run's record tells."""
    newest = await last_run(venue.store, venue.account)
    if newest is None:
        return {}
    try:
        book = (await newest_state(venue.store, newest)).book
    except StoreError:  # recorded by another Milo: nobody is known then
        return {}
    return {symbol: (trade.direction, trade.script) for symbol, trade in book.open_trades()}


def _script_of(position: PositionReport, holders: dict[str, tuple[Direction, str]]) -> str | None:
    direction, script = holders.get(position.symbol, (None, None))
    return script if direction is position.direction else None
