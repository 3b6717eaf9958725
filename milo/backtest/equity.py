"""The equity of each candle, from what changed the account (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from milo.backtest.lane import Lane
from milo.backtest.purse import Purse
from milo.candles import Floats
from milo.exchange.feed import E8
from milo.exchange.fixed import E16

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """Wallet and unrealised profit at each close; columns of one length."""

    times_ms: Times
    equity: Floats
    exposed: NDArray[np.bool_]


def equity_curve(lanes: Sequence[Lane], purse: Purse) -> EquityCurve:
    """Return the curve over the decided candles of all lanes, at their close times together."""
    parts = [lane.close_ms[lane.first : lane.end] for lane in lanes]
    times_ms = parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
    equity = _steps(times_ms, purse.change_ms, [wallet / E8 for wallet in purse.change_wallet])
    equity[: _first_at(times_ms, purse.change_ms)] = purse.start / E8
    exposed = np.zeros(len(times_ms), np.bool_)
    for lane in lanes:
        if lane.changes:
            _add_lane(lane, times_ms, equity, exposed)
    return EquityCurve(times_ms, equity, exposed)


def buy_and_hold(lane: Lane) -> float:
    """Return the last close over the first open, less 1; 0 where nothing is decided."""
    if lane.end == lane.first:
        return 0.0
    return lane.close.item(lane.end - 1) / lane.open.item(lane.first) - 1


def _add_lane(lane: Lane, times_ms: Times, equity: Floats, exposed: NDArray[np.bool_]) -> None:
    changes_ms = [change[0] for change in lane.changes]
    first = _first_at(times_ms, changes_ms)
    tail = slice(first, len(times_ms))
    own = lane.close_ms[lane.first : lane.end]
    if len(own) == len(times_ms):
        price = lane.close[lane.first + first : lane.end]
    else:
        price = _last_prices(lane, times_ms[tail])
    qty = _steps(times_ms, changes_ms, [qty / E8 for _, qty, _ in lane.changes])[tail]
    entry = _steps(times_ms, changes_ms, [entry / E16 for _, _, entry in lane.changes])[tail]
    profit = np.subtract(price, entry, out=entry)
    profit *= qty
    equity[tail] += profit
    exposed[tail] |= qty != 0


def _last_prices(lane: Lane, times_ms: Times) -> Floats:
    """Return the last price known at each time, none before the lane's first open."""
    rows = np.maximum(np.searchsorted(lane.open_ms, times_ms, side="right") - 1, 0)
    return np.where(lane.close_ms[rows] <= times_ms, lane.close[rows], lane.open[rows])


def _first_at(times_ms: Times, changes_ms: Sequence[int]) -> int:
    """Return the first place of the curve that a change has reached."""
    return int(np.searchsorted(times_ms, changes_ms[0])) if changes_ms else len(times_ms)


def _steps(times_ms: Times, changes_ms: Sequence[int], values: Sequence[float]) -> Floats:
    """Return at each time the value of the last change until then; 0 before the first."""
    places = np.searchsorted(times_ms, np.array(changes_ms, np.int64))
    lengths = np.diff(places, append=len(times_ms), prepend=0)
    stepped: Floats = np.repeat(np.array([0.0, *values]), lengths)
    return stepped
