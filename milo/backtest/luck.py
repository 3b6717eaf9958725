"""How good the best of many combinations would look without any skill (layer 1).

Whoever tries many combinations finds one that fits the past by chance. If none of N strategies has
any skill and their estimated Sharpe ratios scatter with a standard deviation, the best of them is
expected at

    deviation * ((1 - g) * z(1 - 1/N) + g * z(1 - 1/(N e)))

with g = 0.5772 (Euler and Mascheroni's constant) and z the quantiles of the normal distribution.
The deflated Sharpe ratio is the probability that the best one's true Sharpe ratio lies above that
mark, given how many days it rests on and how skewed and heavy-tailed they are.
Source: Bailey and Lopez de Prado 2014, "The Deflated Sharpe Ratio: Correcting for Selection Bias,
Backtest Overfitting, and Non-Normality", Journal of Portfolio Management 40(5).

Combinations that lie side by side are nearly one strategy: N counts more of them than there are,
which makes the mark too high, and they scatter less, which makes it too low. So this stands beside
the out-of-sample result, not instead of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import e, sqrt
from statistics import NormalDist, stdev
from typing import Final

from milo.backtest.curve import YEAR_DAYS
from milo.backtest.search import Combination
from milo.backtest.walk import Row, best_first

EULER_MASCHERONI: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """The best Sharpe ratio of a search beside what chance alone would bring; both of a year."""

    tried: int
    """Combinations that have a Sharpe ratio, and traded enough."""
    best: float
    inputs: Combination
    """Of the best."""
    deviation: float
    """How far the ratios scatter."""
    expected_best: float
    deflated: float | None
    """The probability that the best one's true ratio is higher than that; None: cannot be told."""


def expected_maximum(tried: int, deviation: float) -> float:
    """Return the expected highest of so many Sharpe ratios whose true value is 0."""
    if tried < 2:
        return 0.0
    return deviation * (
        (1.0 - EULER_MASCHERONI) * _NORMAL.inv_cdf(1.0 - 1.0 / tried)
        + EULER_MASCHERONI * _NORMAL.inv_cdf(1.0 - 1.0 / (tried * e))
    )


def deflated_sharpe(
    sharpe: float, mark: float, days: int, skewness: float, kurtosis: float
) -> float | None:
    """Return the probability that the true Sharpe ratio of a day lies above `mark`.

    `sharpe` and `mark` are of a day; kurtosis is 3 for normal returns. None with fewer than two
    days, or where the returns are such that the estimate has no variance.
    """
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if days < 2 or variance <= 0:
        return None
    return _NORMAL.cdf((sharpe - mark) * sqrt(days - 1) / sqrt(variance))


def luck_of(rows: Sequence[Row], min_trades: int) -> Luck | None:
    """Return how lucky the highest Sharpe ratio over all candles may be; None with less than two.

    Rows with fewer than `min_trades` closed trades do not count.
    """
    ranked = best_first(rows, "sharpe", 0, min_trades)
    if len(ranked) < 2:
        return None
    scores = [row.scores[0] for row in ranked]
    sharpes = [score.sharpe for score in scores if score.sharpe is not None]
    best, deviation = scores[0], stdev(sharpes)
    mark = expected_maximum(len(sharpes), deviation)
    year = sqrt(YEAR_DAYS)
    return Luck(
        tried=len(sharpes),
        best=sharpes[0],
        inputs=ranked[0].inputs,
        deviation=deviation,
        expected_best=mark,
        deflated=deflated_sharpe(
            sharpes[0] / year, mark / year, best.returns, best.skewness, best.kurtosis
        ),
    )
