"""`--print-indicators`: every indicator on the newest closed candle."""

from __future__ import annotations

from milo.cli import backfill
from milo.cli.context import App
from milo.cli.venue import Purpose, open_venue
from milo.clock import iso_minute
from milo.errors import EngineError


async def run(app: App) -> int:
    """Print one line an indicator for --symbol and --interval."""
    symbol, interval = app.config.symbol, app.config.interval[0]
    async with open_venue(app, Purpose(symbol=symbol, timeframe=interval)) as venue:
        await venue.instrument(symbol)
        await backfill.fill(venue, symbol, interval, count=app.config.history)
        candles = await backfill.load(venue, symbol, interval, count=app.config.history)
        if not len(candles):
            raise EngineError(f"no closed {interval} candles of {symbol} yet")
        newest = candles.candle(len(candles) - 1)
        app.console.say(
            f"{symbol} {interval}, {venue.title}: candle of {iso_minute(newest.open_ms)} UTC, "
            f"{len(candles):,} candles"
        )
        app.console.say(
            f"open {newest.open:g}  high {newest.high:g}  low {newest.low:g}  "
            f"close {newest.close:g}  volume {newest.volume:g}"
        )
        for line in await app.make.indicators().report(candles):
            app.console.say(line)
    return 0
