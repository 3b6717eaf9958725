"""`--guard`: the guard, alone on a venue or started by a session (`--guard started`)."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from milo.cli.context import App, Client
from milo.cli.venue import market_symbol, sim_folder, unlocked, venue_of
from milo.clock import VenueClock, monotonic_s
from milo.config import Config
from milo.errors import ConfigError
from milo.guard.run import Guard
from milo.ops.exchange_process import attach
from milo.ops.folder_lock import GUARD_LOCK, FolderLock
from milo.ops.guard_process import GuardAddress, remove_address, write_address
from milo.ports import Signer
from milo.store.guard_plans import GuardPlans
from milo.wire.dialects import BINANCE, Dialect
from milo.wire.sign import HmacSigner

STARTED = "started"
TIMEOUT_S = 0.8
"""Of one answer: what has not come by then is tried again under another name."""
CONNECT_TIMEOUT_S = 1.5
"""A handshake with TLS takes three round trips, of 0.3 s each to the other side of the world."""
LOCK_PATIENCE_S = 1.0
"""Who looks whether a guard runs holds its lock for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What the guard has to know of a venue."""

    title: str
    folder: Path
    dialect: Dialect
    rest_url: str
    clock: VenueClock
    signer: Signer | None
    is_sim: bool


async def run(app: App) -> int:
    """Watch until stopped, or until a session that started this guard needs it no more."""
    is_started = _is_started(app.arguments.values)
    place = await _place(app)
    async with AsyncExitStack() as stack:
        stack.enter_context(await _locked(place.folder))
        plans = GuardPlans(place.folder)
        stack.callback(plans.close)
        client: Client = await stack.enter_async_context(
            app.make.client(
                dialect=place.dialect,
                rest_url=place.rest_url,
                clock=place.clock,
                signer=place.signer,
                timeout_s=TIMEOUT_S,
                connect_timeout_s=CONNECT_TIMEOUT_S,
                pause_folder=place.folder,
            )
        )
        token = secrets.token_hex(16)
        guard = Guard(
            client=client,
            plans=plans,
            token=token,
            is_exclusive=place.dialect.has_algo_service,
            is_started=is_started,
            say=app.console.say,
            is_venue_gone=_gone_test(place) if place.is_sim else None,
        )
        stack.callback(remove_address, place.folder)

        def announce(port: int) -> None:
            address = GuardAddress(pid=os.getpid(), port=port, token=token, venue=place.rest_url)
            write_address(place.folder, address)
            app.console.say(
                f"guard: watching {place.title} in {place.folder}, process {address.pid}"
            )

        await guard.run(announce)
    return 0


def _is_started(values: tuple[str, ...]) -> bool:
    if values not in ((), (STARTED,)):
        raise ConfigError(f"--guard takes no value, or {STARTED} from a session; see --help")
    return bool(values)


async def _locked(folder: Path) -> FolderLock:
    """Return the lock, free or nearly so; entering it raises ConfigError where it is held."""
    deadline_s = monotonic_s() + LOCK_PATIENCE_S
    while monotonic_s() < deadline_s:
        try:
            with FolderLock(folder, GUARD_LOCK):
                break
        except ConfigError:
            await asyncio.sleep(0.02)
    return FolderLock(folder, GUARD_LOCK)


async def _place(app: App) -> _Place:
    config = app.config
    return await _sim_place(config) if config.is_sim else await _outside_place(app)


async def _sim_place(config: Config) -> _Place:
    folder = await asyncio.to_thread(sim_folder, config, market_symbol(config, None))
    exchange = await attach(folder)
    if exchange is None:
        raise ConfigError(f"no embedded exchange runs on {folder}: there is nothing to guard")
    address = exchange.address
    if address.speed == "max":
        raise ConfigError("a stepped exchange (--speed max) stands still without its engine")
    return _Place(
        title=address.title,
        folder=folder,
        dialect=BINANCE,
        rest_url=address.rest_url,
        clock=VenueClock(speed=float(address.speed)),
        signer=HmacSigner(address.api_key, address.api_secret),
        is_sim=True,
    )


async def _outside_place(app: App) -> _Place:
    venue = venue_of(app.config.exchange)
    if venue.is_real and not app.config.live:
        raise ConfigError(f"{venue.title}: the guard sends real orders; give --live")
    signer, password = await asyncio.to_thread(unlocked, app, venue.name, is_needed=True)
    if password is not None:
        password.forget()
    folder = (app.config.data_dir / venue.name).resolve()
    return _Place(
        title=venue.title,
        folder=folder,
        dialect=venue.dialect,
        rest_url=venue.rest_url,
        clock=VenueClock(),
        signer=signer,
        is_sim=False,
    )


def _gone_test(place: _Place) -> Callable[[], Awaitable[bool]]:
    async def is_gone() -> bool:
        return await attach(place.folder) is None

    return is_gone
