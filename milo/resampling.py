"""Candles of a longer interval, made of those of a shorter one (layer 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from milo.candles import Candles
from milo.intervals import INTERVAL_MS, open_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Candles that were made of shorter ones."""

    candles: Candles
    left_out: int
    """How many are not there because some, but not all, of their parts are."""


def resampled(candles: Candles, base_interval: str, interval: str) -> Resampled:
    """Return the candles of `interval` of which every part is there; volumes are summed.

    The candles open at boundaries of `base_interval`, whole numbers of which make one of
    `interval` (`milo.exchange.feed.can_build`).
    """
    if not len(candles):
        return Resampled(candles=candles, left_out=0)
    starts, opens = grouped(candles.open_ms, interval)
    ends = np.append(starts[1:], len(candles)) - 1
    is_whole = (ends - starts + 1) * INTERVAL_MS[base_interval] == _lengths(opens, interval)
    first, last = starts[is_whole], ends[is_whole]
    made = Candles.from_columns(
        opens[is_whole],
        candles.open[first],
        np.maximum.reduceat(candles.high, starts)[is_whole],
        np.minimum.reduceat(candles.low, starts)[is_whole],
        candles.close[last],
        np.add.reduceat(candles.volume, starts)[is_whole],
    )
    return Resampled(candles=made, left_out=len(opens) - len(made))


def grouped(
    open_ms: NDArray[np.int64], interval: str
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the first row of each candle of `interval`, and the candles' open times.

    `open_ms` is ascending and not empty.
    """
    opens: NDArray[np.int64]
    if interval == "1M":
        opens = _month_opens(open_ms, later=0)
    else:
        # Weeks open on Monday, all else counts from 1970.
        length, origin = INTERVAL_MS[interval], open_of(0, interval)
        opens = (open_ms - origin) // length * length + origin
    starts = np.flatnonzero(np.diff(opens, prepend=opens[0] - 1))
    return starts, opens[starts]


def _lengths(opens: NDArray[np.int64], interval: str) -> NDArray[np.int64] | int:
    if interval == "1M":
        return _month_opens(opens, later=1) - opens
    return INTERVAL_MS[interval]


def _month_opens(times_ms: NDArray[np.int64], *, later: int) -> NDArray[np.int64]:
    months = times_ms.astype("datetime64[ms]").astype("datetime64[M]") + later
    opens: NDArray[np.int64] = months.astype("datetime64[ms]").astype(np.int64)
    return opens
