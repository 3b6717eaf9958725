"""`--closeposition N|SYMBOL` and `--closeallpositions`: close at market, confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from milo.cli.context import App
from milo.cli.positions import open_positions, position_line
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.clock import wall_ms
from milo.errors import ConfigError, EngineError, OrderNotFound, OutcomeUnknown, Refused
from milo.model import NewOrder, OrderType, PositionReport
from milo.ops.folder_lock import LOCK_FILE, holder_of
from milo.orders.ids import Leg, client_id, is_ours, run_id_of, signal_key
from milo.shown import shown_line

TRIES = 25
PAUSE_S = 0.2
NOTHING_TO_REDUCE = frozenset({-2022, -4118})
"""Somebody else was faster, or is about to be: the position tells."""


async def run(app: App) -> int:
    """Close one position or all; exit code 0 once the venue says that they are flat."""
    async with open_venue(app, Purpose(needs_keys=True)) as venue:
        positions = await open_positions(venue)
        if app.arguments.values:
            chosen = [_chosen(app.arguments.values[0], positions, venue)]
        else:
            chosen = positions
        if not chosen:
            app.console.say(f"no open position on {venue.title}")
            return 0
        if venue.is_real and not app.config.live:
            raise ConfigError(f"{venue.title} is read only: closing needs --live")
        _confirm(app, chosen)
        if not app.arguments.values:
            await _let_engine_close(app, venue)
            chosen = await open_positions(venue)
        return 0 if await _close_all(app, venue, chosen) else EngineError.exit_code


async def _close_all(app: App, venue: OpenVenue, chosen: list[PositionReport]) -> bool:
    """Close one after the other; one that cannot be closed does not keep the rest open."""
    run_id = run_id_of(wall_ms())
    is_good = True
    for position in chosen:
        try:
            await _close(venue, position, run_id)
        except EngineError as error:
            app.console.warn(f"{shown_line(position.symbol)}: NOT closed: {error}")
            is_good = False
        else:
            app.console.say(f"{shown_line(position.symbol)}: closed")
    return is_good


def _chosen(text: str, positions: list[PositionReport], venue: OpenVenue) -> PositionReport:
    if text.isdigit() and text.isascii() and 1 <= int(text) <= len(positions):
        return positions[int(text) - 1]
    for position in positions:
        if position.symbol == text.upper():
            return position
    if not positions:
        raise ConfigError(f"no open position on {venue.title}")
    names = ", ".join(f"{n} {p.symbol}" for n, p in enumerate(positions, start=1))
    raise ConfigError(f"no open position {text!r}; open are: {names}")


def _confirm(app: App, chosen: list[PositionReport]) -> None:
    if app.arguments.is_confirmed:
        return
    for position in chosen:
        app.console.say(f"     {position_line(position)}")
    typed = app.console.ask(f"Close {len(chosen)} position(s) at market? Type yes: ")
    if typed.strip().lower() not in ("y", "yes"):
        raise ConfigError("not confirmed: nothing was closed")


async def _let_engine_close(app: App, venue: OpenVenue) -> None:
    """Throw the kill switch of the engine that trades here, and give it time to close its own."""
    engine = holder_of(venue.folder, LOCK_FILE)
    if engine is None:
        return
    app.console.say(f"kill switch: the engine (process {engine}) opens nothing any more and closes")
    try:
        os.kill(engine, signal.SIGUSR1)
    except ProcessLookupError:
        return
    for _ in range(TRIES):
        if not await open_positions(venue):
            app.console.say("every position is closed")
            return
        await asyncio.sleep(PAUSE_S)
    app.console.warn("not everything is closed yet: closing the rest from here")


async def _close(venue: OpenVenue, position: PositionReport, run_id: str) -> None:
    symbol = position.symbol
    key = signal_key("command", symbol, position.update_ms, "close")
    order = NewOrder(
        symbol=symbol,
        side=position.direction.exit_side,
        type=OrderType.MARKET,
        client_id=client_id(run_id, key, Leg.CLOSE),
        qty=abs(position.qty),
        is_reduce_only=True,
    )
    # Never sent again where the outcome is unknown: it shows in the position.
    with contextlib.suppress(OutcomeUnknown):
        try:
            await venue.client.place_order(order)
        except Refused as error:
            if error.code not in NOTHING_TO_REDUCE:
                raise
    for _ in range(TRIES):
        left = {p.symbol for p in await venue.client.positions() if p.qty}
        if symbol not in left:
            await _cancel_ours(venue, symbol)
            return
        await asyncio.sleep(PAUSE_S)
    raise EngineError(
        f"{symbol} is still open after {TRIES * PAUSE_S:g} s; look at --listopenpositions"
    )


async def _cancel_ours(venue: OpenVenue, symbol: str) -> None:
    """Cancel what protected the position, where the venue has not ended it itself."""
    for order in await venue.client.open_orders(symbol):
        if not is_ours(order.client_id):
            continue
        try:
            await venue.client.cancel_order(
                symbol, order.client_id, is_conditional=order.is_conditional
            )
        except OrderNotFound:
            continue
