"""One script on the candles of one symbol, ready to be executed (layer 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from milo.backtest.contract import Contract
from milo.candles import Candles
from milo.exchange.feed import E8
from milo.intervals import HOUR_MS, INTERVAL_MS, close_ms_of

_EIGHT_HOURS_MS = 8 * HOUR_MS
_SECOND_MS = 1000

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingHistory:
    """Stored settlements of one symbol: times ascending (ms UTC), and their rates (0.0001)."""

    times_ms: Times
    rates: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one script trades. Candles are closed, oldest first, from the start of the history."""

    script: str
    symbol: str
    interval: str
    candles: Candles
    contract: Contract
    first: int = 0
    """The first candle that is decided; `run` takes it from the decisions."""
    end: int | None = None
    """The candle after the last that is decided; None: all are."""
    finer: Candles | None = None
    """Candles of `Assumptions.finer_interval`, for `Intrabar.FINER`."""
    funding: FundingHistory | None = None


@dataclass(frozen=True, slots=True)
class Settlements:
    """Funding settlements to come, ascending, stored and assumed ones together."""

    times_ms: list[int]
    rates_e8: list[int]
    is_known: list[bool]
    rows: list[int] = field(default_factory=list)
    """The candle that each falls into, or that came before it."""
    marks_e8: list[int] = field(default_factory=list)
    """The price at which each is settled."""


def close_times(open_ms: Times, interval: str) -> Times:
    """Return the close time of each candle, the last ms before the next would open; int64."""
    if interval == "1M":
        return np.array([close_ms_of(open_ms, interval) for open_ms in open_ms.tolist()], np.int64)
    closes: Times = open_ms + (INTERVAL_MS[interval] - 1)
    return closes


def settlements_of(
    history: FundingHistory | None, *, from_ms: int, until_ms: int, assumed_e8: int
) -> Settlements:
    """Return the settlements in [from_ms, until_ms].

    A stored time is cut to the second: the exchange settles some ms after the hour, before any
    order that is sent at that hour can fill. 00:00, 08:00 and 16:00 UTC count at the assumed rate
    where no settlement is stored for the eight hours that end there.
    """
    if history is None:
        stored = np.empty(0, np.int64)
        rates = np.empty(0, np.int64)
    else:
        stored = history.times_ms // _SECOND_MS * _SECOND_MS
        rates = np.rint(history.rates * E8).astype(np.int64)
    grid = np.arange(-(-from_ms // _EIGHT_HOURS_MS), until_ms // _EIGHT_HOURS_MS + 1)
    grid = grid * _EIGHT_HOURS_MS
    is_covered = np.searchsorted(stored, grid, side="right") > np.searchsorted(
        stored, grid - _EIGHT_HOURS_MS, side="right"
    )
    assumed = grid[~is_covered]
    is_inside = (stored >= from_ms) & (stored <= until_ms)
    times = np.concatenate((stored[is_inside], assumed))
    order = np.argsort(times, kind="stable")
    known = np.arange(len(times)) < int(is_inside.sum())
    all_rates = np.concatenate((rates[is_inside], np.full(len(assumed), assumed_e8)))
    return Settlements(times[order].tolist(), all_rates[order].tolist(), known[order].tolist())
