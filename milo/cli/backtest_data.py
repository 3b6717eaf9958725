"""The stored candles and funding rates of a backtest: found, cut, explained where missing."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from milo.backtest.contract import Contract, contract_of, rules_for
from milo.candles import Candles
from milo.clock import iso_minute
from milo.config import Config
from milo.errors import ConfigError
from milo.exchange.feed import can_build
from milo.intervals import INTERVAL_MS
from milo.model import FundingRate
from milo.resampling import resampled
from milo.store.columns import load_columns
from milo.store.connections import reading
from milo.store.funding import load_funding
from milo.store.instruments import load_brackets, load_instruments
from milo.store.klines import first_open_ms, last_open_ms, list_series
from milo.store.migrations import MARKET
from milo.store.places import HISTORY

_log = logging.getLogger(__name__)


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
    contract: Contract
    finer: Candles | None = None
    notes: tuple[str, ...] = ()
    """What is to be known of how the candles came about, one sentence each."""
    funding: tuple[FundingRate, ...] = field(default=(), repr=False)


def database_of(config: Config) -> tuple[Path, str]:
    """Return (folder, file name) of the candles that backtests read.

    Imported candles (history.db), or the venue's own where --exchange names one.
    """
    if config.origins.get("exchange", "default") == "default":
        return config.data_dir.resolve(), HISTORY
    # Here: it knows how to start an exchange, which takes as long to load as all else.
    from milo.cli.venue import venue_folder

    return venue_folder(config), "market.db"


def check_database(config: Config) -> Path:
    """Return the database of the candles; ConfigError where there is none."""
    folder, name = database_of(config)
    path = folder / name
    if not path.is_file():
        raise ConfigError(
            f"no candles are stored ({path} is not there): "
            "store some with --import-klines FILE --symbol SYMBOL --interval INTERVAL"
        )
    return path


def load_markets(config: Config, wanted: Sequence[tuple[str, str]]) -> list[StoredMarket]:
    """Return the stored candles of each (symbol, interval).

    Raises ConfigError where there are none to decide on, StoreError where they cannot be read.
    """
    folder, name = database_of(config)
    path = folder / name
    with reading(path, MARKET) as conn:
        return [_load_market(config, path, conn, *series) for series in wanted]


def _load_market(
    config: Config, path: Path, conn: sqlite3.Connection, symbol: str, interval: str
) -> StoredMarket:
    source = str(path)
    found = _found(path, conn, symbol, interval)
    candles = found.candles
    if not len(candles):
        known = _nothing_stored(symbol, interval, list_series(conn), source)
        raise ConfigError(f"{known} ({found.note})" if found.note else known)
    first, end = _decided(config, candles, f"{symbol} {interval}")
    finer = None
    if config.intrabar in INTERVAL_MS:
        finer = _finer(config, path, conn, symbol, interval)
    steps = np.diff(candles.open_ms)
    return StoredMarket(
        symbol=symbol,
        interval=interval,
        candles=candles,
        first=first,
        end=end,
        source=source,
        gaps=int(np.count_nonzero(steps > 1.2 * INTERVAL_MS[interval])),
        finer=None if finer is None else finer.candles,
        notes=tuple(one.note for one in (found, finer) if one is not None and one.note),
        funding=tuple(load_funding(conn, symbol)),
        contract=_contract(conn, symbol, candles),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    candles: Candles
    note: str = ""
    """Set where the candles are not stored as they are."""


def _found(path: Path, conn: sqlite3.Connection, symbol: str, interval: str) -> _Found:
    """Return the stored candles, or else those that finer stored ones make up; or none."""
    candles = _stored(path, conn, symbol, interval)
    base = None if len(candles) else _base_of(conn, symbol, interval)
    if base is None:
        return _Found(candles=candles)
    made = resampled(_stored(path, conn, symbol, base), base, interval)
    note = f"{symbol}: {interval} made of stored {base}"
    if made.left_out:
        count = f"{made.left_out:,} candle{'s' if made.left_out > 1 else ''}"
        note = f"{note}; {count} left out of which some {base} are missing"
    return _Found(candles=made.candles, note=note)


def _base_of(conn: sqlite3.Connection, symbol: str, interval: str) -> str | None:
    """Return the stored interval that reaches furthest, of several the longest; or None."""
    possible = []
    for name, base in list_series(conn):
        if name != symbol or base == interval or not can_build(base, interval):
            continue
        first_ms, last_ms = first_open_ms(conn, name, base), last_open_ms(conn, name, base)
        if first_ms is not None and last_ms is not None:
            length = INTERVAL_MS[base]
            possible.append((last_ms + length - first_ms, length, base))
    return max(possible)[2] if possible else None


def _stored(path: Path, conn: sqlite3.Connection, symbol: str, interval: str) -> Candles:
    with load_columns(path, conn, symbol, interval) as stored:
        if stored.problem:
            _log.warning("columns_not_mapped reason=%r", stored.problem)
        return stored.candles


def _contract(conn: sqlite3.Connection, symbol: str, candles: Candles) -> Contract:
    """Return the stored filters and leverage brackets; without them, what a replay would take."""
    instrument = load_instruments(conn).get(symbol)
    brackets = load_brackets(conn).get(symbol)
    if instrument is None or brackets is None:
        return rules_for(symbol, candles)
    return contract_of(instrument, brackets)


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


def _finer(
    config: Config, path: Path, conn: sqlite3.Connection, symbol: str, interval: str
) -> _Found:
    wanted = config.intrabar
    if INTERVAL_MS[wanted] >= INTERVAL_MS[interval]:
        raise ConfigError(f"--intrabar {wanted} is not finer than the script's {interval}")
    finer = _found(path, conn, symbol, wanted)
    if not len(finer.candles):
        text = f"--intrabar {wanted}: no {wanted} candles of {symbol} in {path}"
        raise ConfigError(f"{text} ({finer.note})" if finer.note else text)
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
