"""Opening a venue: its folder, its store, its client, and the embedded exchange where it is one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from milo.cli.context import App, Client, Store
from milo.clock import VenueClock
from milo.config import Config, nearest, shown_value
from milo.errors import ConfigError
from milo.model import Instrument
from milo.ops.exchange_process import LINGER_S, EmbeddedExchange, attach, launch
from milo.ops.folder_lock import FolderLock
from milo.ports import Signer
from milo.secret import Secret
from milo.setting_values import STEPPED
from milo.store import klines
from milo.store.files import make_private_folder
from milo.wire.dialects import BINANCE, VENUES, Dialect, Venue
from milo.wire.sign import HmacSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVenue:
    """A venue that is ready to be asked."""

    name: str
    title: str
    folder: Path
    dialect: Dialect
    rest_url: str
    ws_url: str
    clock: VenueClock
    client: Client
    store: Store
    exchange: EmbeddedExchange | None
    """None on a venue outside."""
    account: str
    """Names the account: what an earlier run knew of it may be taken up."""
    signer: Signer | None
    is_real: bool
    password: Secret | None = field(default=None, repr=False)
    """The key file's, for the guard that a run starts; other commands have forgotten it."""

    @property
    def is_stepped(self) -> bool:
        return self.exchange is not None and self.clock.speed == STEPPED

    async def instrument(self, symbol: str) -> Instrument:
        """Return the symbol's instrument; ConfigError names near ones where it is unknown."""
        known = await self.client.exchange_info()
        if symbol not in known:
            close = nearest(symbol, list(known))
            hint = f"; nearest: {', '.join(close)}" if close else ""
            raise ConfigError(f"{self.name} does not know the symbol {symbol}{hint}")
        return known[symbol]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a command needs of the venue."""

    needs_keys: bool = False
    speed: float = 1.0
    """For an embedded exchange that must be started, where the user names no other."""
    is_run: bool = False
    """A script run: a replay starts afresh, and only one may be on the venue at a time."""
    timeframe: str | None = None
    symbol: str | None = None
    """The symbol that the command itself names, as a script's header does."""


@contextlib.asynccontextmanager
async def open_venue(app: App, purpose: Purpose) -> AsyncIterator[OpenVenue]:
    """Open the configured venue; everything is closed again at the end, in order."""
    config = app.config
    async with AsyncExitStack() as stack:
        if config.is_sim:
            yield await _open_sim(app, purpose, stack)
        else:
            yield await _open_outside(app, purpose, stack)


async def _open_sim(app: App, purpose: Purpose, stack: AsyncExitStack) -> OpenVenue:
    config = app.config
    if config.key_password is not None:
        # The embedded exchange has keys of its own.
        config.key_password.forget()
    symbol = market_symbol(config, purpose.symbol)
    folder = await asyncio.to_thread(sim_folder, config, symbol)
    _make_folder(folder)
    if purpose.is_run:
        stack.enter_context(FolderLock(folder))
    exchange = await _sim_exchange(config, purpose, folder)
    stack.push_async_callback(exchange.stop)
    address = exchange.address
    speed = STEPPED if address.speed == "max" else float(address.speed)
    clock = VenueClock(speed=speed)
    signer = HmacSigner(address.api_key, address.api_secret)
    client = await stack.enter_async_context(
        app.make.client(
            dialect=BINANCE,
            rest_url=address.rest_url,
            clock=clock,
            signer=signer,
            pause_folder=folder,
        )
    )
    await client.sync_clock()
    store = await stack.enter_async_context(app.make.store(folder))
    # A simulated clock can be set back by starting afresh: what lies ahead of it is not known yet.
    now_ms = clock.now_ms()
    await store.write(lambda conn: klines.discard_from(conn, now_ms))
    return OpenVenue(
        name="sim",
        title=address.title,
        folder=folder,
        dialect=BINANCE,
        rest_url=address.rest_url,
        ws_url=address.ws_url,
        clock=clock,
        client=client,
        store=store,
        exchange=exchange,
        account=address.account,
        signer=signer,
        is_real=False,
    )


async def _sim_exchange(config: Config, purpose: Purpose, folder: Path) -> EmbeddedExchange:
    running = await attach(folder)
    if running is None:
        return await launch(folder, exchange_arguments(config, purpose))
    misfit = _misfit(config, purpose, running) or _fault_misfit(config, await running.status())
    if misfit is None:
        return running
    if purpose.is_run and (await running.status())["lingers"]:
        # It was left behind by an engine that died (we hold the engines' lock): begin again.
        await running.shut_down(folder)
        return await launch(folder, exchange_arguments(config, purpose))
    raise ConfigError(
        f"the embedded exchange of {folder} {misfit} (process {running.address.pid}); end it first"
    )


def _misfit(config: Config, purpose: Purpose, running: EmbeddedExchange) -> str | None:
    """Return why a running exchange is not the one that is asked for; None where it is."""
    speed = _speed_text(running.address.speed)
    if config.speed is not None and shown_value("speed", config.speed) != speed:
        return f"already runs at speed {speed}"
    if purpose.is_run and config.market is not None and not config.resume:
        return "is in use, and this run starts afresh"
    return None


def _fault_misfit(config: Config, status: Mapping[str, Any]) -> str | None:
    """Return why a running exchange fails in another way than is asked for; None where it does."""
    if config.faults is not None:
        asked = (_faults_text(config.faults), config.fault_seed)
        if asked != (status["faults"], status["fault_seed"]):
            return f"already runs with {status['faults'] or 'no'} faults"
    if config.ledger is not None and str(config.ledger.resolve()) != status["ledger"]:
        return f"already writes {status['ledger'] or 'no ledger'}"
    return None


def _faults_text(faults: str) -> str:
    """Return the profile's name, or the whole path of the file."""
    file = Path(faults)
    return str(file.resolve()) if file.is_file() else faults


def _speed_text(speed: str) -> str:
    return speed if speed == "max" else f"{float(speed):g}"


def exchange_arguments(config: Config, purpose: Purpose) -> list[str]:
    """Return the command line of the embedded exchange for these settings."""
    speed = purpose.speed if config.speed is None else config.speed
    arguments = ["--speed", shown_value("speed", speed), "--seed", str(config.seed)]
    arguments += ["--balance-start", str(config.balance_start), "--linger", f"{LINGER_S:g}"]
    files = {
        "--market": config.market,
        "--funding": config.funding,
        "--exchange-info": config.exchange_info,
        "--brackets": config.brackets,
    }
    for flag, path in files.items():
        if path is not None:
            arguments += [flag, str(_existing(path, flag))]
    if config.market is not None:
        arguments += ["--symbol", market_symbol(config, purpose.symbol)]
        if purpose.timeframe is not None:
            arguments += ["--timeframe", purpose.timeframe]
        arguments.append("--fresh" if purpose.is_run and not config.resume else "--resume")
    if config.start is not None:
        if config.market is None:
            raise ConfigError("--start belongs to --market FILE")
        arguments += ["--start", str(config.start)]
    return arguments + _fault_arguments(config, speed)


def _fault_arguments(config: Config, speed: float) -> list[str]:
    """Return what the exchange is told of faults and the ledger. Raises ConfigError."""
    arguments: list[str] = []
    if config.ledger is not None:
        arguments += ["--ledger", str(config.ledger.resolve())]
    if config.faults is None:
        return arguments
    if speed == STEPPED:
        raise ConfigError("--faults needs a clock that runs: add --speed X (not max)")
    arguments += ["--faults", _faults_text(config.faults), "--fault-seed", str(config.fault_seed)]
    return [*arguments, "--restart-on-fault"]


def market_symbol(config: Config, in_script: str | None) -> str:
    """Return whose candles a market file holds: --symbol says, or else the script's own coin.

    Raises ConfigError where nobody says it: a file does not know its symbol.
    """
    if config.market is None:
        return config.symbol[0]
    _existing(config.market, "--market")
    if config.origins["symbol"] != "default":
        return config.only_symbol
    if in_script is None:
        raise ConfigError("--market needs --symbol: whose candles does the file hold?")
    return in_script


def sim_folder(config: Config, symbol: str) -> Path:
    """Return the folder of the simulated venue; its name holds what its market is made of."""
    if config.market is None:
        suffix = "" if config.seed == 1 else f"-seed{config.seed}"
        return (config.data_dir / f"sim{suffix}").resolve()
    digest = hashlib.sha256()
    for path in (config.market, config.funding):
        if path is not None:
            digest.update(_bytes_of(path))
    digest.update(symbol.encode())
    return (config.data_dir / f"sim-market-{digest.hexdigest()[:12]}").resolve()


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _existing(path: Path, flag: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"{flag} {path}: no such file")
    return path.resolve()


async def _open_outside(app: App, purpose: Purpose, stack: AsyncExitStack) -> OpenVenue:
    config = app.config
    _refuse_sim_settings(config)
    known = venue_of(config.exchange)
    name, title, dialect, is_real = known.name, known.title, known.dialect, known.is_real
    rest_url, ws_url = known.rest_url, known.ws_url
    signer, password = await asyncio.to_thread(unlocked, app, name, is_needed=purpose.needs_keys)
    if password is not None and not purpose.is_run:
        password.forget()
    folder = venue_folder(config)
    _make_folder(folder)
    if purpose.is_run:
        stack.enter_context(FolderLock(folder))
    clock = VenueClock()
    client = await stack.enter_async_context(
        app.make.client(
            dialect=dialect,
            rest_url=rest_url,
            clock=clock,
            signer=signer,
            pause_folder=folder,
        )
    )
    await client.sync_clock()
    store = await stack.enter_async_context(app.make.store(folder))
    return OpenVenue(
        name=name,
        title=title,
        folder=folder,
        dialect=dialect,
        rest_url=rest_url,
        ws_url=ws_url,
        clock=clock,
        client=client,
        store=store,
        exchange=None,
        account=_account_of(signer),
        signer=signer,
        is_real=is_real,
        password=password,
    )


def venue_of(text: str) -> Venue:
    """Return the venue outside that a setting names; ConfigError if unknown."""
    if text in VENUES:
        return VENUES[text]
    name, rest_url, ws_url = _parse_url(text)
    title = f"exchange at {rest_url}"
    return Venue(
        name=name, title=title, rest_url=rest_url, ws_url=ws_url, dialect=BINANCE, is_real=True
    )


def _account_of(signer: Signer | None) -> str:
    """Return a name of the account behind an API key that does not tell the key."""
    if signer is None:
        return "none"
    return hashlib.sha256(signer.api_key.encode()).hexdigest()[:16]


def _refuse_sim_settings(config: Config) -> None:
    names = ("market", "speed", "start", "funding", "exchange_info", "brackets", "faults", "ledger")
    for name in names:
        if getattr(config, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} belongs to the embedded exchange (--exchange sim)")


def _parse_url(text: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigError(f"not a URL: {text!r} ({error})") from None
    if parts.username is not None or parts.password is not None:
        # It would stand in titles, folder names and the guard's command line.
        raise ConfigError("a venue's URL holds no user name and no password: leave them away")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        names = ", ".join(["sim", *VENUES])
        close = nearest(text, ["sim", *VENUES])
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(f"unknown venue {text!r}{hint}; use {names} or a base URL")
    rest_url = f"{parts.scheme}://{parts.netloc}"
    ws_url = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    return parts.netloc.replace(":", "-"), rest_url, ws_url


def venue_folder(config: Config) -> Path:
    """Return the folder of the configured venue, which may not be there yet; ConfigError."""
    if config.is_sim:
        return sim_folder(config, market_symbol(config, None))
    return (config.data_dir / venue_name(config.exchange)).resolve()


def venue_name(text: str) -> str:
    """Return the name under which a venue's keys and data are kept; ConfigError if unknown."""
    if text in VENUES:
        return text
    if text == "sim":
        raise ConfigError("the embedded exchange (sim) makes its own keys; it takes none")
    return _parse_url(text)[0]


def keys_path(config: Config) -> Path:
    """Return where the key file is, or goes: MILOBOT's ./keys.json is honoured where it exists."""
    if config.keys_file is not None:
        return config.keys_file
    own = config.data_dir / "keys.json"
    seeds = Path("keys.json")
    return seeds if seeds.is_file() and not own.is_file() else own


def unlocked(app: App, venue: str, *, is_needed: bool) -> tuple[Signer | None, Secret | None]:
    """Return the venue's signer and the key file's password; asks for it where nobody gave it.

    The caller forgets the password as soon as it is of no more use.
    """
    if not is_needed:
        return None, None
    path = keys_path(app.config)
    keys = app.make.keys(path)
    if not keys.exists():
        raise ConfigError(
            f"{venue} needs API keys and {path} does not exist; "
            f"run: python main.py --set-keys {app.config.exchange}"
        )
    password = app.config.key_password
    told = keys.migrate_plaintext(password)
    if told is not None:
        app.console.warn(told)
    if password is None:
        password = app.console.ask_secret(f"Password of {path}: ")
    return keys.signer(venue, password), password


def _make_folder(folder: Path) -> None:
    try:
        make_private_folder(folder)
    except OSError as error:
        raise ConfigError(f"cannot use the data directory {folder}: {error.strerror}") from None
