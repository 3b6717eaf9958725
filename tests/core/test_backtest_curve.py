"""What a backtest's equity curve says: worked by hand, and against slow loops on random curves."""

from __future__ import annotations

import math
import random
import statistics
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from milo.backtest import curve as curves
from milo.backtest.curve import Curve, Drawdown

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000
"""2024-01-01 00:00 UTC."""


def daily(*equity: float, start: float = 100.0, start_ms: int = START_MS) -> Curve:
    """Return a curve of one equity a day, at the day's end."""
    return Curve(
        start_ms=start_ms,
        start=start,
        times_ms=start_ms + np.arange(1, len(equity) + 1, dtype=np.int64) * DAY_MS - 1,
        equity=np.array(equity, dtype=np.float64),
    )


def deepest(curve: Curve) -> Drawdown | None:
    return curves.deepest_drawdown(curve, curves.drawdowns(curve))


@pytest.mark.parametrize("count", [1, 2, 2_047, 2_048, 2_049, 9_000])
@pytest.mark.parametrize("drift", [-0.2, 0.0, 0.2])
def test_falls_from_the_highest_equity_so_far_are_the_same_in_curves_of_any_length(
    count: int, drift: float
) -> None:
    dice = np.random.default_rng(count)
    equity = np.round(100 + np.cumsum(dice.normal(drift, 1, count)), 1)
    for start in (90.0, 100.0, 160.0):
        curve = daily(*equity.tolist(), start=start)

        falls = curves.drawdowns(curve)

        highest = np.maximum(np.maximum.accumulate(equity), start)
        assert falls.tolist() == (equity / highest - 1).tolist()


def test_return_and_growth_of_a_year_are_the_same() -> None:
    curve = daily(*[100.0] * 364, 150.0)

    assert curves.total_return(curve) == 0.5
    assert curves.annual_growth(curve) == pytest.approx(0.5)


def test_growth_of_half_a_year_is_compounded() -> None:
    curve = daily(*[100.0] * 72, 110.0)  # 73 days: a fifth of a year

    assert curves.annual_growth(curve) == pytest.approx(1.1**5 - 1)


def test_growth_is_undefined_where_a_year_cannot_be_told() -> None:
    hours = Curve(
        start_ms=START_MS,
        start=100.0,
        times_ms=np.array([START_MS + HOUR_MS - 1], dtype=np.int64),
        equity=np.array([120.0]),
    )

    assert curves.annual_growth(hours) is None
    assert curves.annual_growth(daily()) is None
    assert curves.annual_growth(daily(-5.0)) is None
    assert curves.annual_growth(daily(1e9)) is None  # 10^7 to the power of 365
    assert curves.annual_growth(daily(0.0)) == -1.0


def test_drawdown_names_peak_trough_and_recovery() -> None:
    curve = daily(110, 120, 120, 90, 96, 120, 100)

    fall = deepest(curve)

    assert fall == Drawdown(
        depth=pytest.approx(0.25),
        money=30.0,
        peak_ms=START_MS + 3 * DAY_MS - 1,  # the last time it stood at its peak
        trough_ms=START_MS + 4 * DAY_MS - 1,
        recovered_ms=START_MS + 6 * DAY_MS - 1,
        days=3.0,
    )


def test_a_fall_from_the_start_balance_counts_and_may_stay_open() -> None:
    curve = daily(80, 90)

    fall = deepest(curve)

    assert fall is not None
    assert (fall.depth, fall.money) == (pytest.approx(0.2), 20.0)
    assert (fall.peak_ms, fall.recovered_ms) == (START_MS, None)
    assert fall.days == pytest.approx(2.0)


def test_a_curve_that_never_falls_has_no_drawdown() -> None:
    curve = daily(100, 100, 105)

    assert deepest(curve) is None
    assert curves.longest_drawdown_days(curve, curves.drawdowns(curve)) == 0
    assert deepest(daily()) is None


def test_the_longest_drawdown_need_not_be_the_deepest() -> None:
    curve = daily(100, 50, 100, 99, 99, 99, 101)

    falls = curves.drawdowns(curve)

    assert curves.longest_drawdown_days(curve, falls) == 4
    assert curves.deepest_drawdown(curve, falls) is not None
    assert falls.tolist() == pytest.approx([0, -0.5, 0, -0.01, -0.01, -0.01, 0])


def test_a_gap_between_two_peaks_is_no_drawdown() -> None:
    times = START_MS + np.array([1, 50, 51], dtype=np.int64) * DAY_MS - 1
    curve = Curve(
        start_ms=START_MS, start=100.0, times_ms=times, equity=np.array([110.0, 120.0, 119.0])
    )

    assert curves.longest_drawdown_days(curve, curves.drawdowns(curve)) == pytest.approx(1)


def test_sharpe_by_hand() -> None:
    returns = curves.daily_returns(daily(110, 99, 118.8))  # +10 %, -10 %, +20 %

    mean, spread = 0.2 / 3, statistics.stdev([0.1, -0.1, 0.2])

    assert curves.sharpe(returns) == pytest.approx(mean / spread * math.sqrt(365))
    assert curves.volatility(returns) == pytest.approx(spread * math.sqrt(365))


def test_sortino_by_hand() -> None:
    returns = curves.daily_returns(daily(110, 99, 118.8))

    downside = math.sqrt(0.1**2 / 3)  # one losing day of three

    assert curves.sortino(returns) == pytest.approx(0.2 / 3 / downside * math.sqrt(365))


@pytest.mark.parametrize(
    "equity", [(), (101.0,), (100.0, 100.0, 100.0), (110.0, 121.0, 133.1)], ids=str
)
def test_sharpe_is_undefined_without_spread(equity: tuple[float, ...]) -> None:
    assert curves.sharpe(curves.daily_returns(daily(*equity))) is None


def test_sortino_is_undefined_without_a_losing_day() -> None:
    assert curves.sortino(curves.daily_returns(daily(110, 111, 115))) is None


def test_ratios_are_undefined_after_bankruptcy() -> None:
    returns = curves.daily_returns(daily(0.0, 10.0))

    assert returns is None
    assert curves.sharpe(returns) is None
    assert curves.sortino(returns) is None
    assert curves.volatility(returns) is None


def test_one_day_has_no_volatility() -> None:
    assert curves.volatility(curves.daily_returns(daily(90.0))) is None


def test_calmar_is_growth_over_depth() -> None:
    assert curves.calmar(0.5, deepest(daily(80, 90))) == pytest.approx(2.5)
    assert curves.calmar(0.5, None) is None
    assert curves.calmar(None, deepest(daily(80, 90))) is None


def test_days_without_candles_keep_the_equity_of_the_day_before() -> None:
    times = START_MS + np.array([1 * HOUR_MS, 30 * HOUR_MS, 99 * HOUR_MS], dtype=np.int64) - 1
    curve = Curve(start_ms=START_MS, start=100.0, times_ms=times, equity=np.array([90.0, 80, 70]))

    # 1 January ends with 90, 2 January with 80, nothing on the 3rd and 4th, 5 January ends with 70.
    assert curves.daily_equity(curve).tolist() == [100, 90, 80, 80, 80, 70]


def test_the_candle_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    times = START_MS + np.array([24 * HOUR_MS - 1, 25 * HOUR_MS - 1], dtype=np.int64)
    curve = Curve(start_ms=START_MS, start=100.0, times_ms=times, equity=np.array([120.0, 60.0]))

    assert curves.daily_equity(curve).tolist() == [100, 120, 60]


def test_months_multiply_to_the_whole_return() -> None:
    curve = daily(*[100 + day for day in range(1, 70)])  # to 9 March 2024

    months = curves.monthly_returns(curve)

    assert [(month.year, month.month) for month in months] == [(2024, 1), (2024, 2), (2024, 3)]
    assert [month.result for month in months] == pytest.approx(
        [131 / 100 - 1, 160 / 131 - 1, 169 / 160 - 1]
    )
    assert curves.yearly_returns(months) == {2024: pytest.approx(0.69)}


def test_a_month_that_begins_without_money_has_no_return() -> None:
    curve = daily(*[0.0] * 31, 5.0)

    months = curves.monthly_returns(curve)

    assert [month.result for month in months] == [-1.0, None]
    assert curves.yearly_returns(months) == {2024: None}


@pytest.mark.parametrize("seed", range(12))
def test_figures_equal_slow_loops_on_random_curves(seed: int) -> None:
    curve = random_curve(seed)

    falls = curves.drawdowns(curve)
    returns = curves.daily_returns(curve)

    slow = slow_days(curve)
    assert curves.daily_equity(curve).tolist() == slow
    changes = [now / before - 1 for before, now in pairwise(slow)]
    assert returns is not None
    assert returns.tolist() == pytest.approx(changes)
    spread = statistics.stdev(changes)
    assert curves.sharpe(returns) == pytest.approx(
        statistics.fmean(changes) / spread * math.sqrt(365)
    )
    downside = math.sqrt(statistics.fmean(min(change, 0) ** 2 for change in changes))
    assert curves.sortino(returns) == pytest.approx(
        statistics.fmean(changes) / downside * math.sqrt(365)
    )
    fall = curves.deepest_drawdown(curve, falls)
    assert fall is not None
    assert (fall, curves.longest_drawdown_days(curve, falls)) == slow_drawdown(curve)
    assert [(month.year, month.month, month.result) for month in curves.monthly_returns(curve)] == (
        slow_months(curve)
    )


def random_curve(seed: int) -> Curve:
    """Return some months of irregular candles with gaps of days, and equities that repeat."""
    rng = random.Random(seed)
    now, equity = START_MS + rng.randrange(10 * DAY_MS), 1_000.0
    start_ms, times, values = now, [], []
    for _ in range(rng.randint(300, 1500)):
        now += rng.choice((HOUR_MS, HOUR_MS, HOUR_MS, 5 * HOUR_MS, 40 * HOUR_MS))
        if rng.random() < 0.6:
            equity = max(100.0, round(equity * (1 + rng.gauss(0, 0.01)), 0))
        times.append(now - 1)
        values.append(equity)
    return Curve(
        start_ms=start_ms,
        start=1_000.0,
        times_ms=np.array(times, dtype=np.int64),
        equity=np.array(values),
    )


def points(curve: Curve) -> list[tuple[int, float]]:
    pairs = zip(curve.times_ms.tolist(), curve.equity.tolist(), strict=True)
    return [(curve.start_ms, curve.start), *pairs]


def slow_days(curve: Curve) -> list[float]:
    by_day: dict[int, float] = {}
    for ms, equity in points(curve)[1:]:
        by_day[ms // DAY_MS] = equity
    found, last = [curve.start], curve.start
    for day in range(curve.start_ms // DAY_MS, curve.end_ms // DAY_MS + 1):
        last = by_day.get(day, last)
        found.append(last)
    return found


def slow_drawdown(curve: Curve) -> tuple[Drawdown, float]:
    best: Drawdown | None = None
    longest = 0
    peak_ms, peak = curve.start_ms, curve.start
    pending: Drawdown | None = None
    for ms, equity in points(curve)[1:]:
        if equity >= peak:
            if pending is not None:
                longest = max(longest, ms - peak_ms)
                if best is pending:
                    best = renewed(pending, recovered_ms=ms, days=(ms - peak_ms) / DAY_MS)
            peak_ms, peak, pending = ms, equity, None
            continue
        depth = 1 - equity / peak
        if pending is None or depth > pending.depth + 1e-15:
            fresh = Drawdown(
                depth=-(equity / peak - 1),
                money=peak - equity,
                peak_ms=peak_ms,
                trough_ms=ms,
                recovered_ms=None,
                days=(curve.end_ms - peak_ms) / DAY_MS,
            )
            if best is None or fresh.depth > best.depth:
                best = fresh
            pending = fresh
    if pending is not None:
        longest = max(longest, curve.end_ms - peak_ms)
    assert best is not None
    return best, longest / DAY_MS


def renewed(fall: Drawdown, *, recovered_ms: int, days: float) -> Drawdown:
    return Drawdown(
        depth=fall.depth,
        money=fall.money,
        peak_ms=fall.peak_ms,
        trough_ms=fall.trough_ms,
        recovered_ms=recovered_ms,
        days=days,
    )


def slow_months(curve: Curve) -> list[tuple[int, int, float]]:
    ends: dict[tuple[int, int], float] = {}
    last = curve.start
    for ms, equity in points(curve):
        moment = datetime.fromtimestamp(ms / 1000, UTC)
        ends[moment.year, moment.month] = last = equity
    assert last == curve.final
    found, before = [], curve.start
    for (year, month), end in ends.items():
        found.append((year, month, end / before - 1))
        before = end
    return found
