"""Filling the store with closed candles from a venue, oldest first, page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from milo.candles import Candles
from milo.cli.context import Client, KlineRow
from milo.cli.venue import OpenVenue
from milo.intervals import DAY_MS, back_from, next_open_ms, open_of
from milo.model import FundingRate
from milo.store import funding, klines

PAGE = 499
"""Candles a request: the most that the exchange gives for weight 2."""
FUNDING_PAGE = 1_000
"""Settlements a request, the most there are; each costs one of the pool for funding rates."""


async def fill(
    venue: OpenVenue,
    symbol: str,
    interval: str,
    *,
    count: int,
    on_page: Callable[[int], None] = lambda rows: None,
) -> int:
    """Store the newest `count` closed candles where they are missing; return how many were new.

    What is stored already is not fetched again. `on_page` hears of each page's size.
    """
    now_ms = venue.clock.now_ms()
    start_ms = back_from(now_ms, interval, count)
    end_ms = open_of(now_ms, interval)
    gaps = await venue.store.read(
        lambda conn: klines.find_gaps(conn, symbol, interval, start_ms=start_ms, end_ms=end_ms - 1)
    )
    new = 0
    for from_ms, to_ms in gaps:
        before_ms = next_open_ms(to_ms, interval)
        new += await _fetch(venue, symbol, interval, from_ms, min(before_ms, end_ms), on_page)
    return new


async def fill_funding(venue: OpenVenue, symbol: str, *, from_ms: int) -> int:
    """Store the settlements since `from_ms` that are missing; return how many were new.

    What lies between the oldest and the newest stored rate is taken as whole.
    """
    first_ms = await venue.store.read(lambda conn: funding.first_funding_ms(conn, symbol))
    last_ms = await venue.store.read(lambda conn: funding.last_funding_ms(conn, symbol))
    # A contract's first settlement comes up to a day after its first candle.
    is_begun = first_ms is not None and first_ms - from_ms <= DAY_MS
    cursor_ms = last_ms + 1 if is_begun and last_ms is not None else from_ms
    new = 0
    while cursor_ms <= venue.clock.now_ms():
        page = await venue.client.funding_rates(symbol, start_ms=cursor_ms, limit=FUNDING_PAGE)
        rates = [rate for rate in page if rate.time_ms >= cursor_ms]
        if not rates:
            break
        new += await venue.store.write(_upsert_funding(rates))
        cursor_ms = rates[-1].time_ms + 1
    return new


def _upsert_funding(rates: list[FundingRate]) -> Callable[[sqlite3.Connection], int]:
    return lambda conn: funding.upsert_funding(conn, rates)


async def load(
    venue: OpenVenue,
    symbol: str,
    interval: str,
    *,
    count: int | None = None,
    start_ms: int | None = None,
) -> Candles:
    """Return the newest `count` closed candles of the store as of the venue's clock.

    With `start_ms` those that open before it are left out.
    """
    before_ms = open_of(venue.clock.now_ms(), interval)
    return await venue.store.read(
        lambda conn: klines.load_candles(
            conn, symbol, interval, limit=count, start_ms=start_ms, before_ms=before_ms
        )
    )


async def _fetch(
    venue: OpenVenue,
    symbol: str,
    interval: str,
    from_ms: int,
    before_ms: int,
    on_page: Callable[[int], None],
) -> int:
    new = 0
    cursor_ms = from_ms
    while cursor_ms < before_ms:
        page = await _page(venue.client, symbol, interval, cursor_ms, before_ms)
        if not page:
            break
        new += await venue.store.write(_upsert(symbol, interval, page))
        on_page(len(page))
        cursor_ms = next_open_ms(page[-1][0], interval)
    return new


def _upsert(
    symbol: str, interval: str, page: list[KlineRow]
) -> Callable[[sqlite3.Connection], int]:
    rows = [row[:6] for row in page]
    return lambda conn: klines.upsert_klines(conn, symbol, interval, rows)


async def _page(
    client: Client, symbol: str, interval: str, from_ms: int, before_ms: int
) -> list[KlineRow]:
    rows = await client.klines(symbol, interval, start_ms=from_ms, end_ms=before_ms - 1, limit=PAGE)
    return [row for row in rows if from_ms <= row[0] < before_ms]
