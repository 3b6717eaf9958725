"""The life of an embedded exchange: folder, market, account, doors, end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from milo.clock import iso_utc, wall_ms
from milo.errors import ConfigError, EngineError, StoreError
from milo.exchange.fault_schedule import PROFILES, Schedule, profile, read_schedule
from milo.exchange.feed import E8
from milo.exchange.ledger import Ledger
from milo.exchange.market import Market, Recording, open_market
from milo.exchange.pace import Pace
from milo.exchange.server import HOST, ExchangeServer, Limits
from milo.exchange.state import ExchangeState
from milo.exchange.state_db import Meta, Saved, Secrets, StateDb
from milo.exchange.state_dir import locked, remove_address, write_address
from milo.exchange.supervisor import RESTART_EXIT_CODE
from milo.exchange.troubles import Plan
from milo.exchange.venue import Venue

_LOG = logging.getLogger(__name__)
_WALL_SPEED = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an exchange is to run; `speed` 0 means stepped."""

    state_dir: Path
    port: int = 0
    speed: float = 1.0
    seed: int = 1
    balance_start: Decimal = Decimal(10_000)
    market: Path | None = None
    symbol: str | None = None
    timeframe: str | None = None
    start_ms: int | None = None
    funding: Path | None = None
    is_fresh: bool = False
    exchange_info: Path | None = None
    brackets: Path | None = None
    linger_s: float | None = None
    is_wall_clock: bool = False
    faults: str | None = None
    """A profile of faults, or a file with a schedule of them."""
    fault_seed: int = 1
    ledger: Path | None = None
    announced_pid: int | None = None
    """The process that people are told of, where it is not this one."""

    @property
    def follows_wall_clock(self) -> bool:
        """True where the simulated market shows the time of day; else its clock goes on."""
        return self.is_wall_clock and self.market is None and self.speed == _WALL_SPEED


def run(settings: Settings) -> None:
    """Run an exchange until it is told to stop. EngineError where it cannot start."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    with locked(settings.state_dir):
        market = market_of(settings)
        with _planned(settings) as plan, _opened(settings.state_dir) as store:
            asyncio.run(_run(settings, market, store, plan))


async def _run(settings: Settings, market: Market, store: StateDb, plan: Plan | None) -> None:
    server = build_server(settings, market, store, plan)
    if server.troubles is not None:
        server.troubles.leave = functools.partial(_leave, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    for note in market.notes:
        _LOG.info("market_note %s", note)
    try:
        await server.serve(settings.port, lambda port: _announce(settings, server, port))
    except OSError as error:
        why = "the port is in use; choose another one with --port"
        if error.errno != errno.EADDRINUSE:
            why = str(error.strerror)
        raise EngineError(f"cannot listen on {HOST}:{settings.port}: {why}") from error
    finally:
        remove_address(settings.state_dir)
    server.player.save()
    _LOG.info("exchange_ended clock=%s", iso_utc(server.venue.now_ms))


def plan_of(settings: Settings) -> Plan | None:
    """Return what is to go wrong and where it is written down; None where nothing is.

    Raises ConfigError for a schedule that cannot be used, StoreError for a ledger.
    """
    schedule = None if settings.faults is None else _schedule(settings.faults, settings.fault_seed)
    if schedule is None and settings.ledger is None:
        return None
    if schedule is not None and settings.faults != "none" and not settings.speed:
        raise ConfigError("faults happen in wall time: --faults needs --speed X, not --speed max")
    ledger = None if settings.ledger is None else Ledger(settings.ledger)
    return Plan(
        state_dir=settings.state_dir,
        schedule=schedule,
        ledger=ledger,
        is_fresh=settings.is_fresh,
        faults=settings.faults,
        fault_seed=settings.fault_seed,
    )


def _schedule(faults: str, seed: int) -> Schedule:
    if faults in PROFILES:
        return profile(faults, seed)
    try:
        return read_schedule(Path(faults).read_bytes(), faults)
    except OSError as error:
        raise ConfigError(
            f"--faults {faults}: {error.strerror}; a file, or one of {' '.join(PROFILES)}"
        ) from None


def build_server(
    settings: Settings, market: Market, store: StateDb, plan: Plan | None = None
) -> ExchangeServer:
    """Return the exchange as it was left, or with a new account. Raises EngineError."""
    keys = _secrets(store)
    saved = _saved(settings, market, store)
    if saved is None:
        state, clock_ms, listen_key = ExchangeState(), _first_clock(settings, market), None
        state.open_account(int(settings.balance_start * E8), clock_ms)
    else:
        state, clock_ms, listen_key = saved.state, saved.meta.clock_ms, saved.meta.listen_key
    state.account_id = state.account_id or secrets.token_hex(8)
    try:
        venue = Venue(market.feed, market.table, state, clock_ms)
    except ValueError as error:
        raise ConfigError(f"an instrument cannot be used: {error}") from error
    pace = Pace(settings.speed, clock_ms)
    if settings.follows_wall_clock and wall_ms() > clock_ms:
        pace.follow_wall_clock()
    limits = Limits(linger_s=settings.linger_s, parent_pid=settings.announced_pid)
    server = ExchangeServer(venue, store, keys, pace, limits, plan)
    server.listen_keys.restore(listen_key, pace.safety_ms())
    if saved is not None and server.troubles is None:
        venue.fill_rests()
        venue.release_stuck()
        server.player.settle()
    server.player.save()
    return server


def market_of(settings: Settings) -> Market:
    """Return the market that the settings name. Raises ConfigError."""
    recording = None
    if settings.market is not None:
        assert settings.symbol is not None  # the command line has seen to it
        recording = Recording(
            path=settings.market,
            symbol=settings.symbol,
            timeframe=settings.timeframe,
            start_ms=settings.start_ms,
            funding_path=settings.funding,
        )
    return open_market(
        seed=settings.seed,
        recording=recording,
        exchange_info=settings.exchange_info,
        brackets=settings.brackets,
    )


@contextlib.contextmanager
def _planned(settings: Settings) -> Iterator[Plan | None]:
    plan = plan_of(settings)
    try:
        yield plan
    finally:
        if plan is not None and plan.ledger is not None:
            plan.ledger.close()


def _leave(store: StateDb) -> NoReturn:
    """End this process as a crash does, but for the account: sockets get no farewell."""
    store.close()
    logging.shutdown()
    os._exit(RESTART_EXIT_CODE)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[StateDb]:
    store = StateDb(folder)
    try:
        yield store
    finally:
        store.close()


def _secrets(store: StateDb) -> Secrets:
    """Return the folder's keys; random ones, made on the first start."""
    found = store.secrets()
    if found is None:
        found = Secrets(
            api_key=secrets.token_hex(32),
            api_secret=secrets.token_hex(32),
            control_token=secrets.token_hex(16),
        )
        store.put_secrets(found)
    return found


def _saved(settings: Settings, market: Market, store: StateDb) -> Saved | None:
    """Return what is to be resumed; None for a fresh account. Raises StoreError."""
    if settings.is_fresh:
        store.clear_account()
        return None
    saved = store.load()
    if saved is None:
        return None
    _check_identity(saved.meta, market, settings)
    lost = saved.state.exposed_symbols() - set(market.feed.symbols)
    if lost:
        raise StoreError(
            f"{settings.state_dir} holds positions or orders of {', '.join(sorted(lost))}, which"
            " this market does not have"
        )
    return saved


def _check_identity(meta: Meta, market: Market, settings: Settings) -> None:
    if meta.identity != market.feed.identity:
        raise StoreError(
            f"{settings.state_dir} belongs to another market ({meta.identity}, not"
            f" {market.feed.identity}): use another folder, or --fresh to begin anew"
        )


def _first_clock(settings: Settings, market: Market) -> int:
    """Return where the clock of a fresh run starts."""
    if settings.follows_wall_clock:
        return wall_ms()
    if settings.market is None and settings.start_ms is not None:
        first_ms = max(market.feed.first_open_ms(symbol) for symbol in market.feed.symbols)
        if settings.start_ms < first_ms:
            raise ConfigError(f"--start: the market begins at {iso_utc(first_ms)}")
        return settings.start_ms
    return market.feed.default_start_ms


def _announce(settings: Settings, server: ExchangeServer, port: int) -> None:
    """Tell clients and people where the exchange is."""
    rest_url, ws_url = f"http://{HOST}:{port}", f"ws://{HOST}:{port}"
    feed, keys, speed = server.venue.feed, server.secrets, server.pace.shown_speed
    write_address(
        settings.state_dir,
        {
            "pid": settings.announced_pid or os.getpid(),
            "port": port,
            "rest_url": rest_url,
            "ws_url": ws_url,
            "api_key": keys.api_key,
            "api_secret": keys.api_secret,
            "control_token": keys.control_token,
            "account": server.venue.state.account_id,
            "identity": feed.identity,
            "title": feed.title,
            "speed": speed,
            "base_interval": feed.base_interval,
        },
    )
    print(
        f"Embedded exchange, {feed.title}: REST {rest_url}, WebSocket {ws_url},"
        f" clock {iso_utc(server.venue.now_ms)}, speed {speed}",
        flush=True,
    )
