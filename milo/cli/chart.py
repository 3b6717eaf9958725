"""`--chart`: stored candles on the chart page, without trading."""

from __future__ import annotations

import asyncio

from milo.cli.backtest_data import database_of
from milo.cli.charting import check_listening, serving_chart
from milo.cli.context import App
from milo.cli.stored_chart import StoredChart


async def run(app: App) -> int:
    """Serve until stopped, or for --seconds."""
    check_listening(app)
    source = await asyncio.to_thread(StoredChart, app.config)
    folder, _ = database_of(app.config)
    async with serving_chart(app, source, folder=folder, is_public=True) as url:
        app.console.say(f"chart: {url}")
        app.console.say("Ctrl-C ends it")
        if app.config.seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(app.config.seconds)
    return 0
