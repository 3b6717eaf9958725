"""Import candle files into history.db, all or nothing (layer 2)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from milo.errors import ConfigError
from milo.klinefile import KlineRow, KlineRows
from milo.store.candle_files import ReadStopped, read_kline_file
from milo.store.klines import count_klines, find_gaps, upsert_klines

T = TypeVar("T")

_ROWS_BETWEEN_LOOKS = 10_000


class StoreWriter(Protocol):
    """What an import needs of DBManager: one function of a connection in one transaction."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did."""

    symbol: str
    interval: str
    rows: int
    """Candles of the file, each open time once."""
    new: int
    replaced: int
    """Stored before with other values."""
    unchanged: int
    gaps: tuple[tuple[int, int], ...]
    """What is still missing between the file's first and last candle; as `find_gaps`."""
    first_open_ms: int
    last_open_ms: int
    duplicates: int
    disordered: int


async def import_klines(
    store: StoreWriter, path: Path, *, symbol: str, interval: str
) -> ImportReport:
    """Store the candles of a file under a symbol and interval, in one transaction.

    The store is history.db, apart from every venue's own candles. Reading happens in a thread.
    Cancelling it leaves the store as it was, unless the commit has begun.
    Raises ConfigError where the file cannot be used or has a bad row, StoreError where the
    database cannot be written; nothing is stored then.
    """
    stop = threading.Event()
    try:
        table = await asyncio.to_thread(
            read_kline_file, path, interval=interval, should_stop=stop.is_set
        )
        table.refuse_bad_rows()
        if not table.has_volume:
            raise ConfigError(f"{path} has no volume column: mark prices are not candles of trades")
        return await store.write(
            lambda conn: import_rows(conn, table, symbol, should_stop=stop.is_set)
        )
    finally:
        stop.set()


def import_rows(
    conn: sqlite3.Connection,
    table: KlineRows,
    symbol: str,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> ImportReport:
    """Store a file's candles within the caller's transaction; ReadStopped if told to stop."""
    interval = table.interval
    first, last = int(table.open_ms[0]), int(table.open_ms[-1])
    before = count_klines(conn, symbol, interval, start_ms=first, before_ms=last + 1)
    written = upsert_klines(conn, symbol, interval, _until_stopped(table, should_stop))
    after = count_klines(conn, symbol, interval, start_ms=first, before_ms=last + 1)
    gaps = find_gaps(conn, symbol, interval, start_ms=first, end_ms=last)
    new = after - before
    return ImportReport(
        symbol=symbol,
        interval=interval,
        rows=len(table),
        new=new,
        replaced=written - new,
        unchanged=len(table) - written,
        gaps=tuple(gaps),
        first_open_ms=first,
        last_open_ms=last,
        duplicates=table.duplicates,
        disordered=table.disordered,
    )


def _until_stopped(table: KlineRows, should_stop: Callable[[], bool]) -> Iterator[KlineRow]:
    for count, row in enumerate(table.rows()):
        if count % _ROWS_BETWEEN_LOOKS == 0 and should_stop():
            raise ReadStopped(f"the import of {table.name} was stopped: nothing was stored")
        yield row
