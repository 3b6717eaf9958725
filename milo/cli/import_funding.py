"""`--import-funding FILE`: store funding rates of a file for backtests."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from milo.cli.context import App
from milo.clock import iso_minute
from milo.errors import ConfigError
from milo.fundingfile import FundingRows
from milo.store.candle_files import read_funding_file
from milo.store.files import make_private_folder
from milo.store.funding import upsert_funding
from milo.store.places import HISTORY

_BAD_ROWS_SHOWN = 10


async def run(app: App) -> int:
    """Import one file into history.db in one transaction; tell the rows that are left out."""
    config = app.config
    path = Path(app.arguments.values[0])
    symbol = None if config.origins["symbol"] == "default" else config.only_symbol
    rows = await asyncio.to_thread(read_funding_file, path, symbol=symbol)
    folder = config.data_dir.resolve()
    try:
        make_private_folder(folder)
    except OSError as error:
        raise ConfigError(f"cannot use the data directory {folder}: {error.strerror}") from None
    async with app.make.store(folder, market_name=HISTORY, with_journal=False) as store:
        changed = await store.write(lambda conn: upsert_funding(conn, rows.rates))
    _tell(app, path, rows, changed)
    app.console.say(f"stored in {folder / HISTORY}")
    return 0


def _tell(app: App, path: Path, rows: FundingRows, changed: int) -> None:
    for bad in rows.bad[:_BAD_ROWS_SHOWN]:
        app.console.warn(f"{path}, line {bad.line}: {bad.reason}; left out")
    further = rows.bad_count - _BAD_ROWS_SHOWN
    if further > 0:
        app.console.warn(f"{path}: {further:,} further rows left out")
    for symbol, count in Counter(rate.symbol for rate in rows.rates).items():
        times = [rate.time_ms for rate in rows.rates if rate.symbol == symbol]
        app.console.say(
            f"{symbol}: {count:,} funding rates from {iso_minute(times[0])} to "
            f"{iso_minute(times[-1])} UTC"
        )
    app.console.say(
        f"{changed:,} new or changed, {len(rows.rates) - changed:,} unchanged, "
        f"{rows.bad_count:,} bad rows left out"
    )
