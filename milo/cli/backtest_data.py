"""The stored candles and funding rates of a backtest: found, cut, explained where missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from milo.candles import Candles
from milo.cli.context import App, Store
from milo.cli.import_klines import HISTORY
from milo.cli.venue import venue_folder
from milo.clock import iso_minute
from milo.config import Config
from milo.errors import ConfigError
from milo.intervals import INTERVAL_MS
from milo.model import FundingRate
from milo.store.funding import load_funding
from milo.store.klines import list_series, load_candles


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMarket:
    """One symbol's candles, whole, and which of them are decided: first <= index < end."""

    symbol: str
    interval: str
    candles: Candles
    first: int
    end: int
    source: str
    """Where they are stored."""
    gaps: int
    """How many times candles are missing between two that are there."""
    finer: Candles | None = None
    funding: tuple[FundingRate, ...] = field(default=(), repr=False)


def database_of(config: Config) -> tuple[Path, str]:
    """Return (folder, file name) of the candles that backtests read.

    Imported candles (history.db), or the venue's own where --exchange names one.
    """
    if config.origins.get("exchange", "default") == "default":
        return config.data_dir.resolve(), HISTORY
    return venue_folder(config), "market.db"


async def load_market(app: App, store: Store, symbol: str, interval: str) -> StoredMarket:
    """Return the stored candles of one symbol; ConfigError where there are none to decide on."""
    config = app.config
    source = _source(config)
    candles = await store.read(lambda conn: load_candles(conn, symbol, interval))
    if not len(candles):
        known = await store.read(list_series)
        raise ConfigError(_nothing_stored(symbol, interval, known, source))
    first, end = _decided(config, candles, f"{symbol} {interval}")
    finer = None
    if config.intrabar in INTERVAL_MS:
        finer = await _finer(config, store, symbol, interval, source)
    rates = await store.read(lambda conn: load_funding(conn, symbol))
    steps = np.diff(candles.open_ms)
    return StoredMarket(
        symbol=symbol,
        interval=interval,
        candles=candles,
        first=first,
        end=end,
        source=source,
        gaps=int(np.count_nonzero(steps > 1.2 * INTERVAL_MS[interval])),
        finer=finer,
        funding=tuple(rates),
    )


def _source(config: Config) -> str:
    folder, name = database_of(config)
    return str(folder / name)


def _decided(config: Config, candles: Candles, title: str) -> tuple[int, int]:
    """Return the range of candles that --timerange leaves: those that open within it."""
    span = config.timerange
    opens = candles.open_ms
    first, end = 0, len(candles)
    if span is not None and span.start_ms is not None:
        first = int(np.searchsorted(opens, span.start_ms))
    if span is not None and span.end_ms is not None:
        end = int(np.searchsorted(opens, span.end_ms))
    if first >= end:
        raise ConfigError(
            f"--timerange {span} holds no candle of {title}: stored are "
            f"{iso_minute(int(opens[0]))} to {iso_minute(int(opens[-1]))} UTC"
        )
    return first, end


async def _finer(config: Config, store: Store, symbol: str, interval: str, source: str) -> Candles:
    wanted = config.intrabar
    if INTERVAL_MS[wanted] >= INTERVAL_MS[interval]:
        raise ConfigError(f"--intrabar {wanted} is not finer than the script's {interval}")
    finer = await store.read(lambda conn: load_candles(conn, symbol, wanted))
    if not len(finer):
        raise ConfigError(f"--intrabar {wanted}: no {wanted} candles of {symbol} in {source}")
    return finer


def _nothing_stored(symbol: str, interval: str, known: list[tuple[str, str]], source: str) -> str:
    text = f"no {interval} candles of {symbol} in {source}"
    if known:
        listed = ", ".join(f"{name} {kind}" for name, kind in known[:8])
        more = f" and {len(known) - 8} more" if len(known) > 8 else ""
        return f"{text}; there are {listed}{more}"
    return (
        f"{text}; store some first: --import-klines FILE --symbol {symbol} --interval {interval}, "
        f"or --initdb {symbol} and then --exchange with the backtest"
    )
