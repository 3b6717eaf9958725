"""Walk-forward: choose inputs on one stretch of candles, judge them on the next (layer 1).

Whoever tries a hundred combinations on the same candles finds a good one, by luck alone. So each
window's combination is chosen on its training part and judged only on the part that follows, which
the choice has not seen. Windows roll: three parts to train on, one to test, and on by one part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log, sqrt
from typing import Any, Final

import msgspec
import numpy as np

from milo.backtest import curve as curves
from milo.backtest.curve import YEAR_DAYS, daily_returns
from milo.backtest.ledger import Ledger
from milo.backtest.search import Combination
from milo.backtest.stats import equity_curve, measure

TRAIN_PARTS: Final = 3
POINTS: Final = 24
"""An equity curve is kept as so many points, evenly spread over its candles."""

Range = tuple[int, int]
"""Candles first <= index < end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one combination earned on one range of candles, from the first balance and flat."""

    total_return: float | None
    cagr: float | None
    buy_and_hold: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    drawdown: float
    """The deepest, a share of its peak; 0 where nothing fell."""
    profit_factor: float | None
    expectancy_r: float | None
    sqn: float | None
    win_rate: float | None
    trades: int
    wins: int
    won: float
    """What the won trades brought together, USDT; and what the lost ones took, positive."""
    lost: float
    liquidations: int
    days: float
    peak: float
    """The highest equity as a multiple of the first balance, at least 1."""
    trough: float
    """The lowest, at most 1."""
    returns: int
    """How many daily returns there are; then their mean, deviation (n), skewness, kurtosis."""
    mean: float
    deviation: float
    skewness: float
    kurtosis: float
    points: tuple[float, ...]
    """Some of the equity as a multiple of the first balance; the last one is the end."""

    def ranked_by(self, rank: str) -> float | None:
        """Return the figure that `--rank` calls so (`milo.setting_values.RANKS`)."""
        return self.total_return if rank == "return" else getattr(self, rank)

    @property
    def growth(self) -> float:
        """The last equity as a multiple of the first balance, never below 0."""
        return max(0.0, 1.0 + (self.total_return or 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one combination: a score for each range, or why there is none."""

    inputs: Combination
    scores: tuple[Score, ...] = ()
    error: str = ""
    failures: int = 0
    """On how many candles the script failed; a candle on which it fails sends no order."""
    failure: str = ""
    """What it said on the first of them."""
    is_halted: bool = False
    """It failed so often that it was not run to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One training part and the part that follows it."""

    train: Range
    test: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a window chose, and how it went on; None where no combination traded enough."""

    window: Window
    chosen: Combination | None
    trained: Score | None
    tested: Score | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """All windows together: what somebody who chose anew at each would have had."""

    steps: tuple[Step, ...]
    total_return: float
    """Of the tested parts, one after the other; nothing is earned where nothing was chosen."""
    cagr: float | None
    buy_and_hold: float | None
    """Over the tested parts, also where nothing was chosen; None without any row."""
    drawdown: float
    sharpe: float | None
    """Of the daily returns of all tested parts together."""
    trades: int
    win_rate: float | None
    profit_factor: float | None
    won_windows: int
    """In how many the choice made money."""
    efficiency: float | None
    """Growth a day on the tested parts over that on the training parts, by logarithms; None where
    the training parts did not grow. Source: Pardo 2008, walk-forward efficiency, who annualises
    profits."""
    points: tuple[float, ...]
    """Equity as a multiple of the first balance along the tested parts."""


def windows_of(first: int, end: int, count: int) -> tuple[Window, ...]:
    """Return `count` rolling windows over the candles first <= index < end.

    Raises ValueError where there are too few candles for them.
    """
    parts = count + TRAIN_PARTS
    edges = [first + (end - first) * part // parts for part in range(parts + 1)]
    if len(set(edges)) <= parts:
        raise ValueError(f"{end - first:,} candles are too few for {count} windows")
    return tuple(
        Window(
            train=(edges[number], edges[number + TRAIN_PARTS]),
            test=(edges[number + TRAIN_PARTS], edges[number + TRAIN_PARTS + 1]),
        )
        for number in range(count)
    )


def ranges_of_windows(first: int, end: int, windows: Sequence[Window]) -> tuple[Range, ...]:
    """Return what each combination is scored on: everything, then each train and test part."""
    return ((first, end), *(part for window in windows for part in (window.train, window.test)))


def score_of(ledger: Ledger, *, start_ms: int) -> Score:
    """Return the figures of one run; `start_ms` is the open time of its first candle."""
    stats = measure(ledger, start_ms=start_ms)
    curve = equity_curve(ledger, start_ms)
    trades, equity = stats.trades, curve.equity / curve.start
    places = np.linspace(0, len(equity), POINTS + 1).astype(np.int64)[1:] - 1
    return Score(
        total_return=stats.total_return,
        cagr=stats.cagr,
        buy_and_hold=stats.buy_and_hold,
        sharpe=stats.sharpe,
        sortino=stats.sortino,
        calmar=stats.calmar,
        drawdown=0.0 if stats.drawdown is None else stats.drawdown.depth,
        profit_factor=trades.all.profit_factor,
        expectancy_r=trades.all.expectancy_r,
        sqn=trades.sqn,
        win_rate=trades.all.win_rate,
        trades=trades.all.trades,
        wins=trades.all.wins,
        won=(trades.average_win or 0.0) * trades.all.wins,
        lost=-(trades.average_loss or 0.0) * trades.all.losses,
        liquidations=stats.liquidations,
        days=stats.days,
        peak=max(1.0, float(equity.max())),
        trough=min(1.0, float(equity.min())),
        points=tuple(equity[np.maximum(places, 0)].round(6).tolist()),
        **_moments(daily_returns(curve)),
    )


def _moments(returns: curves.Floats | None) -> dict[str, Any]:
    if returns is None:
        return {"returns": 0, "mean": 0.0, "deviation": 0.0, "skewness": 0.0, "kurtosis": 3.0}
    mean, deviation = float(returns.mean()), float(returns.std())
    is_flat = deviation <= curves.ROUNDING * float(np.abs(returns).max())
    scaled = (returns - mean) / (1.0 if is_flat else deviation)
    return {
        "returns": len(returns),
        "mean": mean,
        "deviation": 0.0 if is_flat else deviation,
        "skewness": 0.0 if is_flat else float((scaled**3).mean()),
        "kurtosis": 3.0 if is_flat else float((scaled**4).mean()),
    }


def walk_forward(
    rows: Sequence[Row], windows: Sequence[Window], rank: str, min_trades: int
) -> Walk:
    """Return what the windows choose among the rows, and how it went on.

    A combination with fewer than `min_trades` closed trades on a training part is not chosen.
    """
    steps = tuple(
        _step(rows, number, window, rank, min_trades) for number, window in enumerate(windows)
    )
    any_row = next((row for row in rows if row.scores), None)
    # Of days and of holding every combination knows the same.
    spans = [] if any_row is None else [any_row.scores[2 + 2 * n] for n in range(len(windows))]
    tested = [step.tested for step in steps if step.tested is not None]
    growth, drawdown, points = _stitched([step.tested for step in steps])
    trades, lost = sum(one.trades for one in tested), sum(one.lost for one in tested)
    held = 1.0
    for span in spans:
        held *= 1.0 + (span.buy_and_hold or 0.0)
    return Walk(
        steps=steps,
        total_return=growth - 1.0,
        cagr=_yearly(growth, sum(span.days for span in spans)),
        buy_and_hold=held - 1.0 if spans else None,
        drawdown=drawdown,
        sharpe=_sharpe(tested, sum(span.returns for span in spans)),
        trades=trades,
        win_rate=sum(one.wins for one in tested) / trades if trades else None,
        profit_factor=sum(one.won for one in tested) / lost if lost > 0 else None,
        won_windows=sum(one.growth > 1.0 for one in tested),
        efficiency=_efficiency(steps),
        points=points,
    )


def _stitched(tested: Sequence[Score | None]) -> tuple[float, float, tuple[float, ...]]:
    """Return growth, deepest drawdown and some points of the parts one after the other."""
    level = peak = 1.0
    drawdown = 0.0
    points: list[float] = []
    for one in tested:
        if one is None:
            points += [level] * POINTS
            continue
        # Within the part as it is told; below an earlier peak, from the part's lowest point.
        drawdown = max(drawdown, one.drawdown, 1.0 - level * one.trough / peak)
        points += [level * point for point in one.points]
        peak = max(peak, level * one.peak)
        level *= one.growth
    return level, min(1.0, drawdown), tuple(points)


def _yearly(growth: float, days: float) -> float | None:
    if days < 1:
        return None
    if growth <= 0:
        return -1.0
    try:
        return expm1(log(growth) * YEAR_DAYS / days)
    except OverflowError:
        return None


def _sharpe(tested: Sequence[Score], count: int) -> float | None:
    """Return the Sharpe ratio of `count` days, those of the parts and as many flat ones."""
    if count < curves.MIN_RETURNS:
        return None
    mean = sum(one.returns * one.mean for one in tested) / count
    squares = sum(one.returns * (one.deviation**2 + one.mean**2) for one in tested)
    variance = (squares - count * mean**2) / (count - 1)
    largest = max((abs(one.mean) + one.deviation for one in tested), default=0.0)
    if variance <= (curves.ROUNDING * largest) ** 2:
        return None
    return mean / sqrt(variance) * sqrt(YEAR_DAYS)


def best_first(rows: Sequence[Row], rank: str, place: int, min_trades: int) -> list[Row]:
    """Return the rows that may be chosen by their score at `place`, the best first.

    Equal ones come in the order of their inputs, whatever the order in which they were tried.
    """
    ranked = [
        (figure, row)
        for row in rows
        if row.scores
        and row.scores[place].trades >= min_trades
        and (figure := row.scores[place].ranked_by(rank)) is not None
    ]
    return [row for figure, row in sorted(ranked, key=lambda pair: (-pair[0], pair[1].inputs))]


def row_item(row: Row) -> dict[str, Any]:
    """Return a row as plain data, for a line of JSON."""
    item: dict[str, Any] = msgspec.to_builtins(row)
    return item


def row_of(item: Mapping[str, Any]) -> Row:
    """Return the row of plain data; ValueError where it is none."""
    return msgspec.convert(item, type=Row)


def _step(rows: Sequence[Row], number: int, window: Window, rank: str, min_trades: int) -> Step:
    train, test = 1 + 2 * number, 2 + 2 * number
    ranked = best_first(rows, rank, train, min_trades)
    if not ranked:
        return Step(window=window, chosen=None, trained=None, tested=None)
    best = ranked[0]
    return Step(
        window=window, chosen=best.inputs, trained=best.scores[train], tested=best.scores[test]
    )


def _efficiency(steps: Sequence[Step]) -> float | None:
    trained = _growth_a_day([step.trained for step in steps if step.trained is not None])
    tested = _growth_a_day([step.tested for step in steps if step.tested is not None])
    if trained is None or tested is None or trained <= 0:
        return None
    return tested / trained


def _growth_a_day(parts: Sequence[Score]) -> float | None:
    """Return the mean logarithm of growth; None without days, or where nothing was left."""
    days = sum(part.days for part in parts)
    if days <= 0 or any(part.growth <= 0 for part in parts):
        return None
    return sum(log(part.growth) for part in parts) / days
