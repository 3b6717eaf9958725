"""`--backtest --script FILE`: what scripts would have done on stored candles."""

from __future__ import annotations

from milo.cli.context import App


async def run(app: App) -> int:
    """Decide, execute, report."""
    raise NotImplementedError
