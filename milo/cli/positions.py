"""`--listopenpositions`: numbered, with what protects each and which script opened it."""

from __future__ import annotations

import sqlite3

from milo.cli.context import App
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.cli.position_rows import PositionRow, position_lines, position_row, rows_json
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.model import Direction, PositionReport
from milo.money import plain
from milo.orders.origin import KINDS, script_of
from milo.store import journal


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
        f"{position.symbol} {position.direction} {plain(abs(position.qty))} "
        f"@ {plain(position.entry_price)}"
    )


async def _rows(venue: OpenVenue) -> list[PositionRow]:
    positions = await open_positions(venue)
    if not positions:
        return []
    orders = await venue.client.open_orders()
    return [
        position_row(
            number,
            position,
            orders=orders,
            config=await venue.client.symbol_config(position.symbol),
            script=await _script(venue, position.symbol, position.direction),
        )
        for number, position in enumerate(positions, start=1)
    ]


async def _script(venue: OpenVenue, symbol: str, direction: Direction) -> str | None:
    """Return the script that opened the position, by the newest run that tells of it."""

    def look(conn: sqlite3.Connection) -> str | None:
        for run in reversed(journal.list_runs(conn)):
            entries = journal.iterate_kinds(conn, run.run_id, KINDS)
            origin = script_of(symbol, direction, ((e.kind, e.body) for e in entries))
            if origin is not None:
                return origin.script
        return None

    return await venue.store.read_journal(look)
