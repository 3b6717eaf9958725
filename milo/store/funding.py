"""Funding rates in market.db: functions of a connection (layer 2)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal

from milo.errors import StoreError
from milo.model import FundingRate
from milo.money import plain


def upsert_funding(conn: sqlite3.Connection, rates: Iterable[FundingRate]) -> int:
    """Store funding rates by (symbol, time), replacing older ones; return how many differed.

    Raises StoreError for a rate that is no finite number.
    """
    rows = []
    for rate in rates:
        if not rate.symbol or not rate.rate.is_finite():
            raise StoreError(f"not a funding rate: {rate!r}")
        rows.append((rate.symbol, rate.time_ms, plain(rate.rate)))
    before = conn.total_changes
    conn.executemany(
        """INSERT INTO funding_rates (symbol, time_ms, rate) VALUES (?, ?, ?)
           ON CONFLICT (symbol, time_ms) DO UPDATE SET rate = excluded.rate
           WHERE rate IS NOT excluded.rate""",
        rows,
    )
    return conn.total_changes - before


def load_funding(
    conn: sqlite3.Connection,
    symbol: str,
    *,
    start_ms: int | None = None,
    before_ms: int | None = None,
) -> list[FundingRate]:
    """Return the stored rates with start_ms <= time_ms < before_ms, oldest first."""
    rows = conn.execute(
        """SELECT time_ms, rate FROM funding_rates
           WHERE symbol = ? AND time_ms >= ? AND time_ms < ? ORDER BY time_ms""",
        (
            symbol,
            -(2**63) if start_ms is None else start_ms,
            2**63 - 1 if before_ms is None else before_ms,
        ),
    )
    return [FundingRate(symbol=symbol, time_ms=row[0], rate=Decimal(row[1])) for row in rows]


def last_funding_ms(conn: sqlite3.Connection, symbol: str) -> int | None:
    """Return the time of the newest stored rate; None where there is none."""
    row = conn.execute(
        "SELECT max(time_ms) FROM funding_rates WHERE symbol = ?", (symbol,)
    ).fetchone()
    return None if row[0] is None else int(row[0])


def first_funding_ms(conn: sqlite3.Connection, symbol: str) -> int | None:
    """Return the time of the oldest stored rate; None where there is none."""
    row = conn.execute(
        "SELECT min(time_ms) FROM funding_rates WHERE symbol = ?", (symbol,)
    ).fetchone()
    return None if row[0] is None else int(row[0])
