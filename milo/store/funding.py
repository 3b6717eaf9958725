"""Funding rates in market.db: functions of a connection (layer 2)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise

from milo.errors import StoreError
from milo.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from milo.model import FundingRate
from milo.money import plain

_LONGEST_PAUSE_MS = 8 * HOUR_MS + MINUTE_MS
"""Settlements are recorded some ms late, now and then some seconds."""


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


def find_funding_gaps(
    conn: sqlite3.Connection, symbol: str, *, start_ms: int, end_ms: int
) -> list[tuple[int, int]]:
    """Return where settlements may be missing in start_ms..end_ms, as (first ms, last ms).

    Two rates up to eight hours apart have none between them: fewer than one settlement in eight
    hours no contract has. A single one that is missing where they come every four hours is not
    seen. The first rate may come up to a day after `start_ms`, where a contract begins.
    """
    rows = conn.execute(
        """SELECT time_ms FROM funding_rates WHERE symbol = ? AND time_ms >= ? AND time_ms <= ?
           ORDER BY time_ms""",
        (symbol, start_ms, end_ms),
    )
    times = [row[0] for row in rows]
    if not times:
        return [(start_ms, end_ms)]
    gaps = [(start_ms, times[0] - 1)] if times[0] - start_ms > DAY_MS else []
    gaps += [
        (earlier + 1, later - 1)
        for earlier, later in pairwise(times)
        if later - earlier > _LONGEST_PAUSE_MS
    ]
    if times[-1] < end_ms:
        gaps.append((times[-1] + 1, end_ms))
    return gaps
