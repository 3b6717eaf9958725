"""Stored candles as mapped column files beside their database (layer 2).

SQLite stays the truth. Reading a million rows out of it takes about a second, nearly all of it in
making Python numbers of them; so what was read once is kept in the folder `<database>.columns`, a
file a series in the layout of `milo.columnfile`, and mapped from then on: every process that maps
it shares the same pages. The folder can be deleted at any time.

When is such a file right? The database keeps two random marks for each series, by triggers: one
that is new after every change and one that is new after every change but candles added at the end
(`series_versions`, see milo.store.migrations). The file carries the marks that it was read under;
equal marks, read in the same snapshot as the candles would be, prove that nothing has changed, in
microseconds. A trigger sees every writer: another process, an older connection, a person with the
sqlite3 shell, INSERT OR REPLACE too. It costs an import about 0.7 us a candle (100,000 candles
into an empty file: 0.16 s instead of 0.10 s, the statements alone). Counting once for each call of
`upsert_klines` would cost nothing, but then whoever goes around it makes a wrong backtest, and no
cheap second look finds a candle that was put into a gap or replaced: counting the rows of a series
reads all of it. As a belt beside the triggers the first and last open time are compared as well.

A series that grew is not read anew. Where the second mark still stands, the old part is unchanged;
the last candles of the file are read again with those behind them, and must be the same (which
finds a database that was restored from a copy and has grown in another way since). The file is
then written again whole, from the old one's memory: 48 MB cost less than a tenth of reading the
rows, only a load does it, and whoever has the old file mapped keeps it as it was. Room for growth
inside of the file would save that at the price of writing to pages that others have mapped.

A file is written under another name, flushed to the disk and renamed. Two processes that build
the same file at once each write their own, and the last one stays; if that is the older one, the
next load sees it by its marks. A damaged file, or one that is not our own, is never used: it is
built again. Where the folder cannot be written, candles come from SQLite each time.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milo.candles import PRICE_COLUMNS, Candles
from milo.clock import wall_ms
from milo.columnfile import (
    PAGE,
    ColumnHeader,
    UnusableColumns,
    mapped_candles,
    packed_columns,
    read_header,
    series_digest,
)
from milo.store.connections import reading
from milo.store.files import make_private_folder
from milo.store.klines import (
    SeriesState,
    first_open_ms,
    last_open_ms,
    load_candles,
    series_state,
)
from milo.store.migrations import MARKET
from milo.store.places import column_folder

_OVERLAP = 1_000
"""So many candles of an old file are read again before it is continued."""
_LEFTOVER_MS = 3_600_000
"""No build takes an hour: what lies about for longer was left by a process that died."""
_SHOWN_CHARS = 32


@dataclass(slots=True, kw_only=True)
class StoredColumns:
    """The candles of one series, mapped where possible; a context manager.

    `candles` stay usable after `close`, which only gives the file's descriptor back.
    """

    candles: Candles
    file: int | None
    """A descriptor for reading the file that is mapped, for processes that are to share its pages
    (`milo.columnfile.mapped_candles` over their own mapping); None where there is no file."""
    path: Path | None
    """Where the file is; another process may have put a newer one there meanwhile."""
    problem: str = ""
    """Why there is no file although there are candles."""

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        file, self.file = self.file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> StoredColumns:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_columns(db_path: Path, symbol: str, interval: str) -> StoredColumns:
    """Return all stored candles of a series from a market.db or history.db.

    A database of an older Milo is brought up to date first. Raises StoreError.
    """
    with reading(db_path, MARKET) as conn:
        return load_columns(db_path, conn, symbol, interval)


def load_columns(
    db_path: Path, conn: sqlite3.Connection, symbol: str, interval: str
) -> StoredColumns:
    """Return all candles of a series as of one moment, through the column file where possible.

    `conn` is a connection to the database at `db_path`, reading only will do; a transaction that
    is open decides what is seen. Close the result. Raises sqlite3.Error.
    """
    path = column_path(db_path, symbol, interval)
    series = series_digest(symbol, interval)
    old = _mapped(path, series)
    try:
        with _snapshot(conn):
            state = series_state(conn, symbol, interval)
            if old is not None and _is_fresh(old, state, conn, symbol, interval):
                return StoredColumns(candles=old.candles, file=os.dup(old.file), path=path)
            candles = _continued(old, state, conn, symbol, interval)
            if candles is None:
                candles = load_candles(conn, symbol, interval)
    finally:
        if old is not None:
            os.close(old.file)
    if not len(candles):
        return StoredColumns(candles=candles, file=None, path=None)
    if state is None:
        # Somebody has emptied the table; the next change of the series mends that.
        return _unmapped(candles, "the database does not tell the version of the series")
    parts = packed_columns(candles, series=series, version=state.version, rewritten=state.rewritten)
    try:
        built = _build(path, parts, series)
    except OSError as error:
        return _unmapped(candles, f"{path} cannot be written: {error.strerror or error}")
    return StoredColumns(candles=built.candles, file=built.file, path=path)


def column_path(db_path: Path, symbol: str, interval: str) -> Path:
    """Return where the column file of a series belongs.

    A symbol may hold any letters, and some disks do not tell 1m from 1M: the name shows what is
    plain ASCII, and is told apart by a part of the series' digest.
    """
    shown = "".join(
        char if char.isascii() and char.isalnum() else "_" for char in symbol[:_SHOWN_CHARS]
    )
    mark = series_digest(symbol, interval).hex()[:16]
    return column_folder(db_path) / f"{shown}-{interval}-{mark}.columns"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mapped:
    file: int
    header: ColumnHeader
    candles: Candles


def _mapped(path: Path, series: bytes) -> _Mapped | None:
    """Map a column file; None where there is none that can be used. The caller closes `file`."""
    try:
        # O_NONBLOCK: a pipe of that name must not keep us waiting.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        with contextlib.suppress(OSError, UnusableColumns):
            return _map_file(file, series)
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _map_file(file: int, series: bytes) -> _Mapped:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_size < PAGE:
        raise UnusableColumns("not a column file")
    # What somebody else can write to could change, or be cut short, under the mapping.
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnusableColumns("others can write to it")
    memory = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    header = read_header(memory)
    if header.series != series:
        raise UnusableColumns("another series")
    return _Mapped(file=file, header=header, candles=mapped_candles(memory))


def _is_fresh(
    old: _Mapped, state: SeriesState | None, conn: sqlite3.Connection, symbol: str, interval: str
) -> bool:
    header = old.header
    if state is None or (header.version, header.rewritten) != (state.version, state.rewritten):
        return False
    first_ms, last_ms = first_open_ms(conn, symbol, interval), last_open_ms(conn, symbol, interval)
    return (first_ms, last_ms) == (header.first_ms, header.last_ms)


def _continued(
    old: _Mapped | None,
    state: SeriesState | None,
    conn: sqlite3.Connection,
    symbol: str,
    interval: str,
) -> Candles | None:
    """Return the old file's candles and those behind them; None where it is not a beginning."""
    if old is None or state is None or old.header.rewritten != state.rewritten:
        return None
    known = _columns(old.candles)
    shared = min(_OVERLAP, len(old.candles))
    start_ms = int(old.candles.open_ms[-shared])
    newer = _columns(load_candles(conn, symbol, interval, start_ms=start_ms))
    for was, now in zip(known, newer, strict=True):
        if was[-shared:].tobytes() != now[:shared].tobytes():
            return None
    return Candles.from_columns(
        *(np.concatenate([was[:-shared], now]) for was, now in zip(known, newer, strict=True))
    )


def _columns(candles: Candles) -> list[NDArray[Any]]:
    return [candles.open_ms, *(getattr(candles, name) for name in PRICE_COLUMNS)]


def _build(path: Path, parts: Iterable[bytes | memoryview], series: bytes) -> _Mapped:
    """Write the file in one step and map just that one; raises OSError."""
    folder = path.parent
    make_private_folder(folder)
    _remove_leftovers(folder)
    # Not by tempfile, whose import alone takes as long as a load.
    name = folder / f".{os.urandom(8).hex()}.{path.name}"
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        # Before the rename: afterwards another process's file may be there.
        built = _mapped(name, series)
        if built is None:
            raise OSError("what was written cannot be read back")
        try:
            os.replace(name, path)
        except BaseException:
            os.close(built.file)
            raise
        return built
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _remove_leftovers(folder: Path) -> None:
    now_ms = wall_ms()
    for path in folder.glob(".*.columns"):
        with contextlib.suppress(FileNotFoundError):
            if now_ms - path.stat().st_mtime * 1000 > _LEFTOVER_MS:
                path.unlink()


def _unmapped(candles: Candles, problem: str) -> StoredColumns:
    return StoredColumns(candles=candles, file=None, path=None, problem=problem)


@contextlib.contextmanager
def _snapshot(conn: sqlite3.Connection) -> Iterator[None]:
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
