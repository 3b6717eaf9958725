"""What the equity of each candle says: drawdowns, daily returns, ratios, months (layer 1).

Everything that is annualised takes a year of 365 days: these markets never close. Returns are
fractions (0.01 = 1 %). What is undefined is None, never 0, NaN or infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import expm1, log, sqrt

import numpy as np
from numpy.typing import NDArray

from milo.intervals import DAY_MS, next_open_ms, open_of

YEAR_DAYS = 365
MIN_RETURNS = 2
"""Fewer daily returns have no standard deviation."""
ROUNDING = 1e-12
"""A spread below this share of the largest return is the rounding of equal returns."""
_BLOCK = 2_048

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """An equity curve with what it began with.

    `times_ms` (int64, increasing) and `equity` (float64) are of one length; `start` is the equity
    at `start_ms`, before the first of them.
    """

    start_ms: int
    start: float
    times_ms: NDArray[np.int64]
    equity: Floats

    @property
    def end_ms(self) -> int:
        return int(self.times_ms[-1]) if len(self.times_ms) else self.start_ms

    @property
    def final(self) -> float:
        return float(self.equity[-1]) if len(self.equity) else self.start

    @property
    def days(self) -> float:
        # A candle closes one ms before the next one opens.
        return (self.end_ms + 1 - self.start_ms) / DAY_MS if len(self.times_ms) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """A fall of the equity from a peak, until it was reached again."""

    depth: float
    """A share of the peak, positive: 0.25 is a fall by a quarter."""
    money: float
    """From the same peak to the same trough, USDT."""
    peak_ms: int
    trough_ms: int
    recovered_ms: int | None
    """None where the peak was not reached again."""
    days: float
    """From the peak until it was reached again, or to the end of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The return of one calendar month (UTC); the first and last may be parts of one."""

    year: int
    month: int
    result: float | None
    """None where the month began without money."""


def total_return(curve: Curve) -> float | None:
    """Return final / start - 1; None where the run began without money."""
    return curve.final / curve.start - 1 if curve.start > 0 else None


def annual_growth(curve: Curve) -> float | None:
    """Return the CAGR: (final / start) ** (365 / days) - 1.

    None for runs of less than one day, for those that end in debt, and where the power is beyond
    what a float can hold: a short run says nothing about a year. -1 where nothing is left.
    """
    if curve.days < 1 or curve.start <= 0 or curve.final < 0:
        return None
    if curve.final == 0:
        return -1.0
    try:
        return expm1(log(curve.final / curve.start) * YEAR_DAYS / curve.days)
    except OverflowError:
        return None


def drawdowns(curve: Curve) -> Floats:
    """Return, for each time, equity / highest equity so far - 1: 0 at a peak, else negative.

    The start balance is the first peak. All zeros where there was no money to begin with.
    """
    if not len(curve.equity) or curve.start <= 0:
        return np.zeros(len(curve.equity))
    falls: Floats = curve.equity / _peaks(curve)
    falls -= 1.0
    return falls


def _peaks(curve: Curve) -> Floats:
    """Return the highest equity so far at each time, the start included.

    Block by block: most of a curve's blocks stay below a peak that is over, and need no look at
    their single items.
    """
    equity = curve.equity
    blocks = range(0, len(equity), _BLOCK)
    highest = np.maximum.reduceat(equity, blocks)
    before = np.maximum.accumulate(np.concatenate(([curve.start], highest[:-1])))
    peaks = np.repeat(before, _BLOCK)[: len(equity)]
    for place in np.flatnonzero(highest > before).tolist():
        block = slice(blocks[place], blocks[place] + _BLOCK)
        peaks[block] = np.maximum(np.maximum.accumulate(equity[block]), before[place])
    return peaks


def deepest_drawdown(curve: Curve, falls: Floats) -> Drawdown | None:
    """Return the drawdown that took the largest share of its peak; None where nothing fell.

    `falls` is `drawdowns(curve)`. The peak's time is the last one at which the equity stood at
    that peak, the trough's the first at the lowest point.
    """
    if not len(falls):
        return None
    trough = int(np.argmin(falls))
    if falls[trough] >= 0:
        return None
    at_peak = np.flatnonzero(falls[:trough] == 0.0)
    peak, peak_ms = curve.start, curve.start_ms
    if len(at_peak):
        peak = float(curve.equity[at_peak[-1]])
        peak_ms = int(curve.times_ms[at_peak[-1]])
    back = np.flatnonzero(falls[trough:] == 0.0)
    recovered_ms = int(curve.times_ms[trough + back[0]]) if len(back) else None
    until_ms = curve.end_ms if recovered_ms is None else recovered_ms
    return Drawdown(
        depth=-float(falls[trough]),
        money=peak - float(curve.equity[trough]),
        peak_ms=peak_ms,
        trough_ms=int(curve.times_ms[trough]),
        recovered_ms=recovered_ms,
        days=(until_ms - peak_ms) / DAY_MS,
    )


def longest_drawdown_days(curve: Curve, falls: Floats) -> float:
    """Return the longest time in days that the equity stayed below a peak; 0 where it never did."""
    if not len(falls) or not falls.min() < 0:
        return 0.0
    at_peak = np.flatnonzero(falls == 0.0)
    # The start stands before the first candle, the end after the last.
    places = np.concatenate(([-1], at_peak, [len(falls)]))
    times = np.concatenate(([curve.start_ms], curve.times_ms[at_peak], [curve.end_ms]))
    is_below = np.diff(places) > 1
    return float(np.diff(times)[is_below].max(initial=0)) / DAY_MS


def daily_equity(curve: Curve) -> Floats:
    """Return the equity at the end of each UTC day that the run touched, before it the start.

    A day without candles keeps the equity of the day before. The first and last day count as whole
    days even where the run covers a part of them.
    """
    if not len(curve.equity):
        return np.array([curve.start])
    first, last = curve.start_ms // DAY_MS, curve.end_ms // DAY_MS
    ends = np.arange(first + 1, last + 2, dtype=np.int64) * DAY_MS
    return _at(curve, ends)


def daily_returns(curve: Curve) -> Floats | None:
    """Return the change of `daily_equity` from day to day; None where a day began without money."""
    daily = daily_equity(curve)
    if (daily[:-1] <= 0).any():
        return None
    return np.asarray(daily[1:] / daily[:-1] - 1.0)


def volatility(returns: Floats | None) -> float | None:
    """Return the standard deviation (n - 1) of daily returns times sqrt(365).

    None with fewer than two days.
    """
    if returns is None or len(returns) < MIN_RETURNS:
        return None
    return float(returns.std(ddof=1)) * sqrt(YEAR_DAYS)


def sharpe(returns: Floats | None) -> float | None:
    """Return mean / standard deviation (n - 1) of daily returns, times sqrt(365).

    The risk-free rate is 0. None with fewer than two days, or where all days are alike.
    Source: Sharpe 1994, "The Sharpe Ratio", Journal of Portfolio Management 21(1).
    """
    if returns is None or len(returns) < MIN_RETURNS:
        return None
    spread = float(returns.std(ddof=1))
    if spread <= ROUNDING * float(np.abs(returns).max()):
        return None
    return float(returns.mean()) / spread * sqrt(YEAR_DAYS)


def sortino(returns: Floats | None) -> float | None:
    """Return mean / downside deviation of daily returns, times sqrt(365).

    The target is 0, and the downside deviation is the root of the mean over all days of
    min(return, 0) squared. None with fewer than two days, or where no day lost.
    Source: Sortino and Price 1994, Journal of Investing 3(3).
    """
    if returns is None or len(returns) < MIN_RETURNS:
        return None
    losses = np.minimum(returns, 0.0)
    downside = sqrt(float(np.mean(losses * losses)))
    return float(returns.mean()) / downside * sqrt(YEAR_DAYS) if downside > 0 else None


def calmar(growth: float | None, drawdown: Drawdown | None) -> float | None:
    """Return the CAGR over the depth of the deepest drawdown, both of the whole run.

    None where either is undefined. Source: Young 1991, Futures 20(1), who takes 36 months.
    """
    return None if growth is None or drawdown is None else growth / drawdown.depth


def monthly_returns(curve: Curve) -> tuple[Month, ...]:
    """Return the months that the run touched, oldest first; none for an empty curve."""
    if not len(curve.equity):
        return ()
    opens = [open_of(curve.start_ms, "1M")]
    while opens[-1] <= curve.end_ms:
        opens.append(next_open_ms(opens[-1], "1M"))
    ends = _at(curve, np.array(opens[1:], dtype=np.int64))
    months = []
    for place, open_ms in enumerate(opens[:-1]):
        began, ended = float(ends[place]), float(ends[place + 1])
        moment = datetime.fromtimestamp(open_ms // 1000, UTC)
        result = ended / began - 1 if began > 0 else None
        months.append(Month(year=moment.year, month=moment.month, result=result))
    return tuple(months)


def yearly_returns(months: tuple[Month, ...]) -> dict[int, float | None]:
    """Return each year's return: its months, one after the other."""
    years: dict[int, float | None] = {}
    for month in months:
        so_far = years.get(month.year, 0.0)
        is_known = so_far is not None and month.result is not None
        years[month.year] = (
            (1 + (so_far or 0.0)) * (1 + (month.result or 0.0)) - 1 if is_known else None
        )
    return years


def _at(curve: Curve, ends_ms: NDArray[np.int64]) -> Floats:
    """Return the start, then the last equity before each of these times, the start before any."""
    places = np.searchsorted(curve.times_ms, ends_ms, side="left")
    known = np.where(places > 0, curve.equity[places - 1], curve.start)
    return np.concatenate(([curve.start], known))
