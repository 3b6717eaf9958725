"""The equity of each candle, from what changed the account (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from milo.backtest.curve import Curve, Drawdown, deepest_drawdown, drawdowns
from milo.backtest.lane import Lane
from milo.backtest.ledger import SlotShare
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
    """Return the curve over the decided candles of all lanes, at their close times together.

    It is the wallet, less what open positions were bought for, and their value at the last price:
    the former changes with fills alone, so that only the latter costs a pass over all candles.
    """
    parts = [lane.close_ms[lane.first : lane.end] for lane in lanes]
    times_ms = parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
    wallet = _Steps(times_ms, purse.change_ms, purse.change_wallet, E8, purse.start)
    held = [lane for lane in lanes if lane.changes]
    sizes = [_Steps(times_ms, *_columns(lane, 1), E8) for lane in held]
    costs = [_Steps(times_ms, *_columns(lane, 2), E8 * E16) for lane in held]
    places = np.unique(np.concatenate([steps.places for steps in (wallet, *sizes)]))
    base = wallet.at(places) - sum(cost.at(places) for cost in costs)
    equity = _spread(base, places, len(times_ms))
    for lane, size in zip(held, sizes, strict=True):
        value = _spread(size.values, size.places, len(times_ms))
        value *= _last_prices(lane, times_ms)
        equity += value
    count = sum((size.at(places) != 0).astype(np.int64) for size in sizes)
    exposed = _spread(np.zeros(len(places)) + count > 0, places, len(times_ms))
    return EquityCurve(times_ms, equity, exposed)


def slot_shares(lanes: Sequence[Lane], purse: Purse, account: EquityCurve) -> tuple[SlotShare, ...]:
    """Return what each lane did to the account; nothing for a single one, which is the account."""
    running = [lane for lane in lanes if lane.end > lane.first]
    if len(running) < 2:
        return ()
    start_ms = min(lane.open_ms.item(lane.first) for lane in running)
    start = purse.start / E8
    whole = Curve(start_ms=start_ms, start=start, times_ms=account.times_ms, equity=account.equity)
    deepest = deepest_drawdown(whole, drawdowns(whole))
    wallets = _wallets_by_symbol(purse)
    return tuple(
        _share(lane, wallets.get(lane.slot.symbol, ([], [])), start, deepest) for lane in running
    )


def _share(
    lane: Lane, wallet: tuple[list[int], list[int]], start: float, deepest: Drawdown | None
) -> SlotShare:
    times_ms = lane.close_ms[lane.first : lane.end]
    own = Curve(
        start_ms=lane.open_ms.item(lane.first),
        start=start,
        times_ms=times_ms,
        equity=start + _result(lane, wallet, times_ms),
    )
    fall = deepest_drawdown(own, drawdowns(own))
    in_drawdown = 0.0
    if deepest is not None:
        ends_ms = np.array([deepest.peak_ms, deepest.trough_ms], np.int64)
        in_drawdown = float(np.diff(_result(lane, wallet, ends_ms))[0])
    size = _Steps(times_ms, *_columns(lane, 1), E8)
    return SlotShare(
        symbol=lane.slot.symbol,
        fall=0.0 if fall is None else fall.depth,
        in_drawdown=in_drawdown,
        exposure=float((_spread(size.values, size.places, len(times_ms)) != 0).mean()),
    )


def _result(lane: Lane, wallet: tuple[list[int], list[int]], times_ms: Times) -> Floats:
    """Return what a lane has earned at each time, its open profit included, USDT."""
    count = len(times_ms)
    steps = _Steps(times_ms, *wallet, E8)
    size = _Steps(times_ms, *_columns(lane, 1), E8)
    cost = _Steps(times_ms, *_columns(lane, 2), E8 * E16)
    result: Floats = _spread(size.values, size.places, count) * _last_prices(lane, times_ms)
    result -= _spread(cost.values, cost.places, count)
    result += _spread(steps.values, steps.places, count)
    return result


def _wallets_by_symbol(purse: Purse) -> dict[str, tuple[list[int], list[int]]]:
    """Return when each symbol's fills and settlements changed the wallet, and their sum so far."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    before = purse.start
    for symbol, time_ms, wallet in zip(
        purse.change_symbol, purse.change_ms, purse.change_wallet, strict=True
    ):
        times_ms, sums = found.setdefault(symbol, ([], []))
        sums.append((sums[-1] if sums else 0) + wallet - before)
        times_ms.append(time_ms)
        before = wallet
    return found


def buy_and_hold(lane: Lane) -> float:
    """Return the last close over the first open, less 1; 0 where nothing is decided."""
    if lane.end == lane.first:
        return 0.0
    return lane.close.item(lane.end - 1) / lane.open.item(lane.first) - 1


def _columns(lane: Lane, what: int) -> tuple[list[int], list[int]]:
    """Return the times of a lane's fills, and its quantities (1) or what they cost (2)."""
    times_ms = [change[0] for change in lane.changes]
    if what == 1:
        return times_ms, [qty for _, qty, _ in lane.changes]
    return times_ms, [qty * entry for _, qty, entry in lane.changes]


class _Steps:
    """What a value is from each of some places of the curve on; the first place is 0."""

    def __init__(
        self,
        times_ms: Times,
        changes_ms: Sequence[int],
        values: Sequence[int],
        unit: int,
        start: int = 0,
    ) -> None:
        # Of several changes at one place the last one counts.
        places = np.searchsorted(times_ms, np.array([0, *changes_ms], np.int64))
        places[0] = 0
        is_last = np.append(places[1:] != places[:-1], True)
        self.places = places[is_last]
        self.values = np.array([value / unit for value in (start, *values)])[is_last]

    def at(self, places: NDArray[np.int64]) -> Floats:
        """Return the value at each of some places."""
        values: Floats = self.values[np.searchsorted(self.places, places, side="right") - 1]
        return values


def _spread(values: NDArray[Any], places: NDArray[np.int64], count: int) -> NDArray[Any]:
    return np.repeat(values, np.diff(places, append=count))


def _last_prices(lane: Lane, times_ms: Times) -> Floats:
    """Return the last price known at each time; the lane's first and last are held beyond it."""
    own_ms = lane.close_ms[lane.first : lane.end]
    ends = (0, -1)
    if len(times_ms) == len(own_ms) and all(times_ms[end] == own_ms[end] for end in ends):
        return lane.close[lane.first : lane.end]
    rows = np.searchsorted(lane.open_ms, times_ms, side="right") - 1
    rows = np.clip(rows, 0, lane.end - 1)
    return np.where(lane.close_ms[rows] <= times_ms, lane.close[rows], lane.open[rows])
