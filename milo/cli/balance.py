"""`--balance`: what the account holds."""

from __future__ import annotations

from milo.cli.context import App
from milo.cli.venue import Purpose, open_venue
from milo.money import shown


async def run(app: App) -> int:
    """Print wallet, available and unrealised USDT."""
    async with open_venue(app, Purpose(needs_keys=True)) as venue:
        balance = await venue.client.balance()
        positions = [p for p in await venue.client.positions() if p.qty]
        app.console.say(f"{venue.title}")
        app.console.say(f"wallet      {shown(balance.wallet):>16} USDT")
        app.console.say(f"unrealized  {shown(balance.unrealized):>16} USDT")
        app.console.say(f"equity      {shown(balance.equity):>16} USDT")
        app.console.say(f"available   {shown(balance.available):>16} USDT")
        app.console.say(f"open positions  {len(positions)}")
    return 0
