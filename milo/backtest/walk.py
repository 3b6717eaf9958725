"""Walk-forward: choose inputs on one stretch of candles, judge them on the next (layer 1).

Whoever tries a hundred combinations on the same candles finds a good one, by luck alone. So each
window's combination is chosen on its training part and judged only on the part that follows, which
the choice has not seen. Windows roll: three parts to train on, one to test, and on by one part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import e, exp, log1p, sqrt
from statistics import NormalDist, pvariance
from typing import Any, Final

import numpy as np

from milo.backtest.curve import YEAR_DAYS, daily_equity, sharpe
from milo.backtest.ledger import Ledger
from milo.backtest.search import Combination
from milo.backtest.stats import equity_curve, measure

TRAIN_PARTS: Final = 3
MIN_TRADES: Final = 10
"""Fewer closed trades on the training part say nothing: such a combination is not chosen."""
RANKS: Final = ("sharpe", "calmar", "sortino", "return", "profit_factor")
_EULER: Final = 0.5772156649015329

Range = tuple[int, int]
"""Candles first <= index < end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one combination earned on one range of candles, from the first balance and flat."""

    total_return: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    drawdown: float
    """The deepest, a share of its peak; 0 where nothing fell."""
    profit_factor: float | None
    win_rate: float | None
    trades: int
    liquidations: int
    daily: tuple[float, ...]
    """Equity at the end of each UTC day as a multiple of the first balance; begins with 1."""

    def ranked_by(self, rank: str) -> float | None:
        """Return the figure of `RANKS` of that name."""
        return self.total_return if rank == "return" else getattr(self, rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one combination: a score for each range, or why there is none."""

    inputs: Combination
    scores: tuple[Score, ...] = ()
    error: str = ""


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
    """Of the tested parts, one after the other."""
    drawdown: float
    """By equities at the end of days."""
    sharpe: float | None
    trades: int
    efficiency: float | None
    """Yearly growth on the tested parts over that on the training parts; None where the training
    parts did not grow. Source: Pardo 2008, walk-forward efficiency."""


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
    daily = daily_equity(equity_curve(ledger, start_ms))
    return Score(
        total_return=stats.total_return,
        sharpe=stats.sharpe,
        sortino=stats.sortino,
        calmar=stats.calmar,
        drawdown=0.0 if stats.drawdown is None else stats.drawdown.depth,
        profit_factor=stats.trades.all.profit_factor,
        win_rate=stats.trades.all.win_rate,
        trades=stats.trades.all.trades,
        liquidations=stats.liquidations,
        daily=tuple((daily / daily[0]).tolist()),
    )


def walk_forward(rows: Sequence[Row], windows: Sequence[Window], rank: str) -> Walk:
    """Return what the windows choose among the rows, and how it went on."""
    steps = tuple(_step(rows, number, window, rank) for number, window in enumerate(windows))
    growth = np.ones(1)
    for step in steps:
        if step.tested is not None:
            growth = np.concatenate((growth, growth[-1] * np.array(step.tested.daily[1:])))
    peaks = np.maximum.accumulate(growth)
    returns = growth[1:] / growth[:-1] - 1.0 if (growth > 0).all() else None
    return Walk(
        steps=steps,
        total_return=float(growth[-1]) - 1.0,
        drawdown=float(1.0 - (growth / peaks).min()),
        sharpe=sharpe(returns),
        trades=sum(step.tested.trades for step in steps if step.tested is not None),
        efficiency=_efficiency(steps),
    )


def best_first(rows: Sequence[Row], rank: str, place: int) -> list[Row]:
    """Return the rows that may be chosen by their score at `place`, the best first.

    Equal ones come in the order of their inputs, whatever the order in which they were tried.
    """
    ranked = [
        (figure, row)
        for row in rows
        if row.scores
        and row.scores[place].trades >= MIN_TRADES
        and (figure := row.scores[place].ranked_by(rank)) is not None
    ]
    return [row for figure, row in sorted(ranked, key=lambda pair: (-pair[0], pair[1].inputs))]


def luckiest_sharpe(rows: Sequence[Row]) -> float | None:
    """Return the best Sharpe ratio that as many tries would have shown if none was any good.

    The expected maximum of N independent ratios around 0 that spread as these do. Searches try
    neighbours, which are not independent: the true figure is lower. None with fewer than two.
    Source: Bailey and Lopez de Prado 2014, "The Deflated Sharpe Ratio", Journal of Portfolio
    Management 40(5), equation 1.
    """
    ratios = [
        row.scores[0].sharpe for row in rows if row.scores and row.scores[0].sharpe is not None
    ]
    if len(ratios) < 2:
        return None
    normal, count = NormalDist(), len(ratios)
    first = normal.inv_cdf(1.0 - 1.0 / count)
    second = normal.inv_cdf(1.0 - 1.0 / (count * e))
    return sqrt(pvariance(ratios)) * ((1.0 - _EULER) * first + _EULER * second)


def row_item(row: Row) -> dict[str, Any]:
    """Return a row as plain data, for a line of JSON."""
    scores = [{name: getattr(score, name) for name in Score.__slots__} for score in row.scores]
    return {"inputs": list(row.inputs), "scores": scores, "error": row.error}


def row_of(item: Mapping[str, Any]) -> Row:
    """Return the row of plain data; KeyError, TypeError or ValueError where it is none."""
    scores = tuple(
        Score(**{**score, "daily": tuple(map(float, score["daily"]))}) for score in item["scores"]
    )
    return Row(inputs=tuple(item["inputs"]), scores=scores, error=str(item["error"]))


def _step(rows: Sequence[Row], number: int, window: Window, rank: str) -> Step:
    train, test = 1 + 2 * number, 2 + 2 * number
    ranked = best_first(rows, rank, train)
    if not ranked:
        return Step(window=window, chosen=None, trained=None, tested=None)
    best = ranked[0]
    return Step(
        window=window, chosen=best.inputs, trained=best.scores[train], tested=best.scores[test]
    )


def _efficiency(steps: Sequence[Step]) -> float | None:
    def yearly(chosen: Callable[[Step], Score | None]) -> float | None:
        scores = [score for step in steps if (score := chosen(step)) is not None]
        days = sum(len(score.daily) - 1 for score in scores)
        if not days or any(score.daily[-1] <= 0 for score in scores):
            return None
        grown = sum(log1p(score.daily[-1] - 1.0) for score in scores)
        return exp(min(700.0, grown * YEAR_DAYS / days)) - 1.0

    trained, tested = yearly(lambda step: step.trained), yearly(lambda step: step.tested)
    if trained is None or tested is None or trained <= 0:
        return None
    return tested / trained
