"""`--initdb SYMBOL...`: fill the store with closed candles and funding rates."""

from __future__ import annotations

import asyncio

from milo.cli import backfill
from milo.cli.context import App
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.clock import monotonic_s
from milo.errors import ConfigError
from milo.intervals import INTERVALS

AT_ONCE = 4
"""Series under way together; the client's weight budget decides the pace."""


async def run(app: App) -> int:
    """Fetch up to --history candles a series and print what is stored now."""
    symbols = [checked_symbol(value) for value in app.arguments.values]
    is_chosen = app.config.origins["interval"] != "default"
    intervals = app.config.interval if is_chosen else INTERVALS
    async with open_venue(app, Purpose(symbol=symbols[0])) as venue:
        for symbol in symbols:
            await venue.instrument(symbol)
        started_s = monotonic_s()
        new = await _fill_all(app, venue, symbols, intervals)
        seconds = monotonic_s() - started_s
        for symbol in symbols:
            oldest = [await _report(app, venue, symbol, interval) for interval in intervals]
            await _fill_funding(app, venue, symbol, oldest)
        app.console.say(f"{new:,} new candles in {seconds:.1f} s, stored in {venue.folder}")
    return 0


async def _fill_all(
    app: App, venue: OpenVenue, symbols: list[str], intervals: tuple[str, ...]
) -> int:
    from tqdm import tqdm

    series = [(symbol, interval) for symbol in symbols for interval in intervals]
    slots = asyncio.Semaphore(AT_ONCE)
    with tqdm(total=len(series), unit="series", disable=None, leave=False) as bar:

        async def one(symbol: str, interval: str) -> int:
            async with slots:
                bar.set_postfix_str(f"{symbol} {interval}")
                count = await backfill.fill(venue, symbol, interval, count=app.config.history)
                bar.update()
                return count

        async with asyncio.TaskGroup() as tasks:
            jobs = [tasks.create_task(one(*pair)) for pair in series]
    return sum(job.result() for job in jobs)


async def _fill_funding(app: App, venue: OpenVenue, symbol: str, oldest: list[int | None]) -> None:
    """Fetch the settlements since the oldest of the candles; without candles none."""
    known = [open_ms for open_ms in oldest if open_ms is not None]
    if known:
        new = await backfill.fill_funding(venue, symbol, from_ms=min(known))
        app.console.say(f"{symbol}  {new:,} new funding rates")


async def _report(app: App, venue: OpenVenue, symbol: str, interval: str) -> int | None:
    """Tell what is stored and return the first open time."""
    candles = await backfill.load(venue, symbol, interval, count=app.config.history)
    app.console.say(f"{symbol} {interval:>3}  {len(candles):>6,} candles")
    return int(candles.open_ms[0]) if len(candles) else None


def checked_symbol(text: str) -> str:
    """Return the symbol in capitals; ConfigError where it cannot be one."""
    symbol = text.strip().upper()
    if not symbol.isalnum():
        raise ConfigError(f"{text!r} is not a symbol: letters and digits, such as BTCUSDT")
    return symbol
