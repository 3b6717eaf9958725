"""Closed candles in market.db and history.db: functions of a connection (layer 2).

A candle is identified by (symbol, interval, open_ms). Only closed candles are stored; the caller
sees to that, the functions here refuse what cannot be a candle at all.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from milo.candles import PRICE_COLUMNS, Candles
from milo.errors import StoreError
from milo.intervals import INTERVAL_MS, back_from, next_open_ms, open_of

if TYPE_CHECKING:
    from milo.klinefile import KlineRow


# Many rows in one statement store two to three times as many a second as one at a time. SQLite
# before 3.32 binds at most 999 values.
_ROWS_AT_ONCE = 160


def _upsert_sql(count: int) -> str:
    values = ", ".join(
        f"(?1, ?2, {', '.join(f'?{6 * row + item + 3}' for item in range(6))})"
        for row in range(count)
    )
    return f"""
        INSERT INTO klines (symbol, interval, open_ms, open, high, low, close, volume)
        VALUES {values}
        ON CONFLICT (symbol, interval, open_ms) DO UPDATE SET
            open = excluded.open, high = excluded.high, low = excluded.low,
            close = excluded.close, volume = excluded.volume
        WHERE (open, high, low, close, volume)
            IS NOT (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
    """  # noqa: S608 - placeholders only


_UPSERT_ONE = _upsert_sql(1)
_UPSERT_MANY = _upsert_sql(_ROWS_AT_ONCE)

_ROW = np.dtype([("open_ms", np.int64), *((name, np.float64) for name in PRICE_COLUMNS)])


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCount:
    """What is stored of one symbol and interval."""

    symbol: str
    interval: str
    count: int
    first_open_ms: int
    last_open_ms: int


def upsert_klines(
    conn: sqlite3.Connection, symbol: str, interval: str, rows: Iterable[KlineRow]
) -> int:
    """Store closed candles, replacing those with the same open time; return how many differed.

    A row equal to what is stored already counts 0 and writes nothing.
    Raises StoreError, naming the row, for an open time off the interval's boundaries or values
    that are no candle; the caller's transaction must then be rolled back (DBManager.write does).
    """
    _check_series(symbol, interval)
    # Not `total_changes`: that counts what the triggers write as well.
    differed = 0
    checked = _checked(symbol, interval, rows)
    while len(batch := list(islice(checked, _ROWS_AT_ONCE))) == _ROWS_AT_ONCE:
        values = (symbol, interval, *chain.from_iterable(batch))
        differed += conn.execute(_UPSERT_MANY, values).rowcount
    ones = conn.executemany(_UPSERT_ONE, [(symbol, interval, *row) for row in batch])
    return differed + max(0, ones.rowcount)


def _check_series(symbol: str, interval: str) -> None:
    if not symbol:
        raise StoreError("candles without a symbol cannot be stored")
    if interval not in INTERVAL_MS:
        raise StoreError(f"candles of {symbol}: there is no interval {interval!r}")


def _checked(symbol: str, interval: str, rows: Iterable[KlineRow]) -> Iterator[KlineRow]:
    is_month = interval == "1M"
    length, origin = INTERVAL_MS[interval], open_of(0, interval)
    for row in rows:
        open_ms, price, high, low, close, volume = row
        if not (
            type(open_ms) is int
            and 0.0 < low <= price <= high < math.inf
            and low <= close <= high
            and 0.0 <= volume < math.inf
        ):
            raise StoreError(f"{symbol} {interval}: not a candle: {row!r}")
        if open_of(open_ms, interval) != open_ms if is_month else (open_ms - origin) % length:
            raise StoreError(f"{symbol} {interval}: candle opens off a boundary: {row!r}")
        yield row


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesState:
    """The marks of what a series holds now; equal marks mean equal candles."""

    version: int
    """Another one after every change."""
    rewritten: int
    """Another one after every change but candles added behind all that were ever there."""


def series_state(conn: sqlite3.Connection, symbol: str, interval: str) -> SeriesState | None:
    """Return the marks that the database's triggers keep; None where the series has none."""
    row = conn.execute(
        "SELECT version, rewritten FROM series_versions WHERE symbol = ? AND interval = ?",
        (symbol, interval),
    ).fetchone()
    return None if row is None else SeriesState(version=row[0], rewritten=row[1])


def load_candles(
    conn: sqlite3.Connection,
    symbol: str,
    interval: str,
    *,
    limit: int | None = None,
    start_ms: int | None = None,
    before_ms: int | None = None,
) -> Candles:
    """Return the stored candles with start_ms <= open_ms < before_ms, oldest first.

    `limit` keeps the newest ones. Gaps are not filled; see `find_gaps`.
    """
    rows = conn.execute(
        """SELECT open_ms, open, high, low, close, volume FROM klines
           WHERE symbol = ? AND interval = ? AND open_ms >= ? AND open_ms < ?
           ORDER BY open_ms DESC LIMIT ?""",
        (symbol, interval, *_range(start_ms, before_ms), -1 if limit is None else max(0, limit)),
    )
    table = np.fromiter(rows, dtype=_ROW)[::-1]
    return Candles.from_columns(*(table[name].copy() for name in _ROW.names or ()))


def _range(start_ms: int | None, before_ms: int | None) -> tuple[int, int]:
    lowest, highest = -(2**63), 2**63 - 1
    return (
        lowest if start_ms is None else start_ms,
        highest if before_ms is None else before_ms,
    )


def first_open_ms(conn: sqlite3.Connection, symbol: str, interval: str) -> int | None:
    """Return the open time of the oldest stored candle; None where there is none."""
    return _edge(conn, symbol, interval, "min")


def last_open_ms(conn: sqlite3.Connection, symbol: str, interval: str) -> int | None:
    """Return the open time of the newest stored candle; None where there is none."""
    return _edge(conn, symbol, interval, "max")


def _edge(conn: sqlite3.Connection, symbol: str, interval: str, which: str) -> int | None:
    row = conn.execute(
        f"SELECT {which}(open_ms) FROM klines WHERE symbol = ? AND interval = ?",  # noqa: S608 - min or max
        (symbol, interval),
    ).fetchone()
    return None if row[0] is None else int(row[0])


def count_klines(
    conn: sqlite3.Connection,
    symbol: str,
    interval: str,
    *,
    start_ms: int | None = None,
    before_ms: int | None = None,
) -> int:
    """Return how many candles with start_ms <= open_ms < before_ms are stored."""
    row = conn.execute(
        """SELECT count(*) FROM klines
           WHERE symbol = ? AND interval = ? AND open_ms >= ? AND open_ms < ?""",
        (symbol, interval, *_range(start_ms, before_ms)),
    ).fetchone()
    return int(row[0])


def list_series(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return every stored (symbol, interval), sorted; quick however many candles there are."""
    series: list[tuple[str, str]] = []
    last = ("", "")
    # From one series to the next by the key: DISTINCT would read every candle.
    while row := conn.execute(
        """SELECT symbol, interval FROM klines WHERE (symbol, interval) > (?, ?)
           ORDER BY symbol, interval LIMIT 1""",
        last,
    ).fetchone():
        last = (row[0], row[1])
        series.append(last)
    return series


def count_series(conn: sqlite3.Connection) -> list[SeriesCount]:
    """Return what is stored, one item for each symbol and interval."""
    return [
        SeriesCount(
            symbol=symbol,
            interval=interval,
            count=row[0],
            first_open_ms=row[1],
            last_open_ms=row[2],
        )
        for symbol, interval in list_series(conn)
        for row in conn.execute(
            """SELECT count(*), min(open_ms), max(open_ms) FROM klines
               WHERE symbol = ? AND interval = ?""",
            (symbol, interval),
        )
    ]


def find_gaps(
    conn: sqlite3.Connection, symbol: str, interval: str, *, start_ms: int, end_ms: int
) -> list[tuple[int, int]]:
    """Return what is missing among the candles that open from start_ms to end_ms, both included.

    Each gap is (open time of its first missing candle, of its last one), oldest first: just what
    the exchange's startTime and endTime want.
    """
    _check_series(symbol, interval)
    first = open_of(start_ms, interval)
    if first < start_ms:
        first = next_open_ms(first, interval)
    last = open_of(end_ms, interval)
    if first > last:
        return []
    rows = conn.execute(
        """SELECT open_ms FROM klines
           WHERE symbol = ? AND interval = ? AND open_ms BETWEEN ? AND ? ORDER BY open_ms""",
        (symbol, interval, first, last),
    )
    # Neighbours on both sides of the range make the ends gaps like any other.
    before, after = back_from(first, interval, 1), next_open_ms(last, interval)
    stored = np.fromiter((open_ms for (open_ms,) in rows), dtype=np.int64)
    opens = np.concatenate([[before], stored, [after]])
    # Every step that skips a candle is longer than the nominal length, months included.
    suspects = np.flatnonzero(np.diff(opens) > INTERVAL_MS[interval]).tolist()
    gaps = ((next_open_ms(int(opens[i]), interval), int(opens[i + 1])) for i in suspects)
    return [
        (missing, back_from(present, interval, 1)) for missing, present in gaps if missing < present
    ]


def discard_from(conn: sqlite3.Connection, from_ms: int) -> int:
    """Delete every candle that was not closed yet at `from_ms`, of all series; return how many.

    For a simulated market whose clock went back: what it has not played yet must not be known. A
    longer candle that opened before `from_ms` and closes after it goes too.
    """
    return sum(
        conn.execute(
            "DELETE FROM klines WHERE symbol = ? AND interval = ? AND open_ms >= ?",
            (symbol, interval, open_of(from_ms, interval)),
        ).rowcount
        for symbol, interval in list_series(conn)
    )
