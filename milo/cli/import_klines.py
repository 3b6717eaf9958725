"""`--import-klines FILE`: store candles of a file for research."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from milo.cli.context import App
from milo.clock import iso_minute
from milo.errors import ConfigError
from milo.store.files import make_private_folder
from milo.store.imports import import_klines
from milo.store.places import HISTORY

T = TypeVar("T")


class _Lazily:
    """Opens the store at the first write, so that a refused file leaves nothing behind."""

    def __init__(self, app: App, folder: Path) -> None:
        self._app = app
        self._folder = folder

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        make = self._app.make.store
        async with make(self._folder, market_name=HISTORY, with_journal=False) as store:
            return await store.write(work)


async def run(app: App) -> int:
    """Import one file under --symbol and --interval into history.db, or nothing of it."""
    config = app.config
    for name in ("symbol", "interval"):
        if config.origins[name] == "default":
            raise ConfigError(f"--import-klines needs --{name}")
    if len(config.interval) != 1:
        raise ConfigError("--import-klines takes one interval")
    path = Path(app.arguments.values[0])
    folder = config.data_dir.resolve()
    try:
        make_private_folder(folder)
    except OSError as error:
        raise ConfigError(f"cannot use the data directory {folder}: {error.strerror}") from None
    report = await import_klines(
        _Lazily(app, folder), path, symbol=config.only_symbol, interval=config.interval[0]
    )
    app.console.say(
        f"{report.symbol} {report.interval}: {report.rows:,} candles from "
        f"{iso_minute(report.first_open_ms)} to {iso_minute(report.last_open_ms)} UTC; "
        f"{report.new:,} new, {report.replaced:,} replaced, {len(report.gaps):,} gaps"
    )
    app.console.say(f"stored in {folder / HISTORY}")
    return 0
