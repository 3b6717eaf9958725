"""The chart page's view of stored candles: no run, no account."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from milo.backtest.contract import rules_for
from milo.candles import Candles
from milo.charts.snapshot import ChartSnapshot
from milo.cli.backtest_data import check_database
from milo.clock import monotonic_s, wall_ms
from milo.config import Config
from milo.errors import ConfigError
from milo.intervals import INTERVALS
from milo.money import decimals_of
from milo.store.columns import load_columns
from milo.store.connections import reading
from milo.store.instruments import load_instruments
from milo.store.klines import list_series
from milo.store.migrations import MARKET

_FRESH_S = 5.0
"""Another process may fill the store meanwhile: it is looked at again after so long."""
_ENOUGH_FOR_TICK = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    known: tuple[tuple[str, str], ...]
    symbol: str
    interval: str
    candles: Candles
    tick: Decimal


class StoredChart:
    """A ChartSource over a database of candles."""

    def __init__(self, config: Config) -> None:
        """Raise ConfigError where there is no database or no candle in it."""
        self._path = check_database(config)
        self._wanted = (config.symbol[0], config.interval[0])
        self._kept: dict[tuple[str | None, str | None], tuple[float, _Stored]] = {}
        self._load(None, None)

    async def snapshot(self, symbol: str | None, interval: str | None) -> ChartSnapshot:
        """Return the stored candles; see ChartSource."""
        now_s = monotonic_s()
        kept = self._kept.get((symbol, interval))
        if kept is None or now_s - kept[0] > _FRESH_S:
            stored = await asyncio.to_thread(self._load, symbol, interval)
            kept = (now_s, stored)
            self._kept[symbol, interval] = kept
        stored = kept[1]
        symbols = tuple(dict.fromkeys(name for name, _ in stored.known))
        return ChartSnapshot(
            symbol=stored.symbol,
            interval=stored.interval,
            symbols=symbols,
            intervals=_intervals_of(stored.known, stored.symbol),
            venue="stored",
            title=f"stored candles ({self._path.name})",
            is_simulated=False,
            clock_ms=wall_ms(),
            clock_speed=1.0,
            market_age_ms=None,
            price_decimals=decimals_of(stored.tick),
            candles=stored.candles,
        )

    def _load(self, symbol: str | None, interval: str | None) -> _Stored:
        path = self._path
        with reading(path, MARKET) as conn:
            known = tuple(list_series(conn))
            chosen = self._chosen(known, symbol, interval)
            with load_columns(path, conn, *chosen) as columns:
                candles = columns.candles
            instrument = load_instruments(conn).get(chosen[0])
        if instrument is None:
            newest = Candles.from_columns(
                candles.open_ms[-_ENOUGH_FOR_TICK:],
                *(
                    getattr(candles, name)[-_ENOUGH_FOR_TICK:]
                    for name in ("open", "high", "low", "close", "volume")
                ),
            )
            instrument = rules_for(chosen[0], newest).instrument
        return _Stored(
            known=known,
            symbol=chosen[0],
            interval=chosen[1],
            candles=candles,
            tick=instrument.tick,
        )

    def _chosen(
        self, known: tuple[tuple[str, str], ...], symbol: str | None, interval: str | None
    ) -> tuple[str, str]:
        """Return the series that is shown where this one is asked for."""
        if not known:
            raise ConfigError(f"{self._path} holds no candles")
        symbols = {name for name, _ in known}
        if symbol is None:
            symbol = self._wanted[0] if self._wanted[0] in symbols else known[0][0]
        elif symbol not in symbols:
            raise ConfigError(f"no candles of {symbol} are stored")
        intervals = _intervals_of(known, symbol)
        if interval is None or interval not in intervals:
            if interval is not None and interval not in INTERVALS:
                raise ConfigError(f"unknown interval {interval}")
            if interval is not None:
                raise ConfigError(f"no {interval} candles of {symbol} are stored")
            interval = self._wanted[1] if self._wanted[1] in intervals else intervals[0]
        return symbol, interval


def _intervals_of(known: tuple[tuple[str, str], ...], symbol: str) -> tuple[str, ...]:
    """Return the symbol's intervals, the shortest first."""
    own = {interval for name, interval in known if name == symbol}
    return tuple(interval for interval in INTERVALS if interval in own)
