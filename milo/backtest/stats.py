"""The figures of a backtest, from its ledger (layer 1).

Ratios and shares are floats, money is exact. What is undefined is None (shown as "--"), never 0,
NaN or infinity. Positions that were still open at the end count in the equity, and are left out of
everything that is said about trades: nobody knows how they end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from milo.backtest import curve as curves
from milo.backtest.curve import Curve, Drawdown, Month
from milo.backtest.ledger import Ledger, Trade
from milo.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Closed trades taken together: all of them, or those of one side, symbol or exit reason.

    A trade is won where its net result (fees and funding included) is above 0, lost where it is
    below; one at exactly 0 is neither.
    """

    trades: int
    wins: int
    losses: int
    net: Decimal
    """Profit less fees, with funding."""
    win_rate: float | None
    """Wins over trades; None without trades."""
    profit_factor: float | None
    """What the won trades brought over what the lost ones took; None where none was lost."""
    expectancy: float | None
    """Mean net result, USDT."""
    expectancy_r: float | None
    """Mean net result in R (the planned loss at the stop), of the trades with a planned loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStats:
    """What the closed trades say."""

    all: Group
    by_direction: dict[str, Group]
    by_symbol: dict[str, Group]
    by_reason: dict[str, Group]
    by_script: dict[str, Group]
    sqn: float | None
    """`system_quality`."""
    average_win: float | None
    average_loss: float | None
    """Negative."""
    payoff: float | None
    """Average win over average loss, positive."""
    best: Trade | None
    worst: Trade | None
    longest_wins: int
    longest_losses: int
    """The most lost trades in a row, in the order of the exits; one at 0 ends a row."""
    average_holding_ms: float | None
    longest_holding_ms: int | None
    per_day: float | None
    """Closed trades over the days of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """All figures of one backtest. `docs/backtest-report.md` lists them with their formulas."""

    start_ms: int
    end_ms: int
    days: float
    start_balance: Decimal
    final_equity: float
    total_return: float | None
    cagr: float | None
    buy_and_hold: float | None
    """The mean over the symbols: the same money in each."""
    exposure: float | None
    """The share of candles at whose close a position was open."""
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    drawdown: Drawdown | None
    longest_drawdown_days: float
    daily_returns: int
    """How many days volatility, Sharpe and Sortino are made of."""
    trades: TradeStats
    open_trades: int
    open_net: Decimal
    """Of the positions still open at the end, as if closed at the last close."""
    fees: Decimal
    funding: Decimal
    liquidations: int
    refusals: int
    ambiguous: int
    months: tuple[Month, ...]


def equity_curve(ledger: Ledger, start_ms: int) -> Curve:
    """Return the ledger's equity curve; `start_ms` is the open time of the first decided candle."""
    return Curve(
        start_ms=start_ms,
        start=float(ledger.assumptions.start_balance),
        times_ms=ledger.times_ms,
        equity=ledger.equity,
    )


def measure(ledger: Ledger, *, start_ms: int) -> Stats:
    """Return all figures; `start_ms` is the open time of the first decided candle."""
    curve = equity_curve(ledger, start_ms)
    falls = curves.drawdowns(curve)
    drawdown = curves.deepest_drawdown(curve, falls)
    cagr = curves.annual_growth(curve)
    returns = curves.daily_returns(curve)
    closed = [trade for trade in ledger.trades if not trade.is_open]
    left_open = [trade for trade in ledger.trades if trade.is_open]
    held = list(ledger.buy_and_hold.values())
    return Stats(
        start_ms=start_ms,
        end_ms=curve.end_ms,
        days=curve.days,
        start_balance=ledger.assumptions.start_balance,
        final_equity=curve.final,
        total_return=curves.total_return(curve),
        cagr=cagr,
        buy_and_hold=sum(held) / len(held) if held else None,
        exposure=int(np.count_nonzero(ledger.exposed)) / len(ledger.exposed)
        if len(ledger.exposed)
        else None,
        volatility=curves.volatility(returns),
        sharpe=curves.sharpe(returns),
        sortino=curves.sortino(returns),
        calmar=curves.calmar(cagr, drawdown),
        drawdown=drawdown,
        longest_drawdown_days=curves.longest_drawdown_days(curve, falls),
        daily_returns=0 if returns is None else len(returns),
        trades=_trade_stats(closed, curve.days),
        open_trades=len(left_open),
        open_net=sum((trade.net for trade in left_open), ZERO),
        fees=ledger.fees,
        funding=ledger.funding,
        liquidations=ledger.liquidations,
        refusals=ledger.refusal_count,
        ambiguous=ledger.ambiguous,
        months=curves.monthly_returns(curve),
    )


def system_quality(multiples: NDArray[np.float64]) -> float | None:
    """Return SQN: the root of the number of trades times mean / standard deviation (n - 1) of R.

    None with fewer than two trades, or where all are alike. The number is not cut at 100, as some
    do. Source: Tharp 2008, "The Definitive Guide to Position Sizing".
    """
    if len(multiples) < curves.MIN_RETURNS:
        return None
    spread = float(multiples.std(ddof=1))
    if spread <= curves.ROUNDING * float(np.abs(multiples).max()):
        return None
    return sqrt(len(multiples)) * float(multiples.mean()) / spread


class _Result(NamedTuple):
    """A closed trade with what is asked of it again and again."""

    trade: Trade
    net: Decimal
    outcome: int
    """+1 won, -1 lost, 0 neither."""
    multiple: float | None
    """The net result in R."""


def _result(trade: Trade) -> _Result:
    net, risk = trade.net, trade.risk
    outcome = (net > 0) - (net < 0)
    return _Result(trade, net, outcome, float(net) / float(risk) if risk > 0 else None)


def _trade_stats(closed: Sequence[Trade], days: float) -> TradeStats:
    results = [_result(trade) for trade in closed]
    everything = _group(results)
    average_win = _mean([result.net for result in results if result.outcome > 0])
    average_loss = _mean([result.net for result in results if result.outcome < 0])
    holding = [trade.exit_ms - trade.entry_ms for trade in closed]
    return TradeStats(
        all=everything,
        by_direction=_groups(results, everything, lambda trade: trade.direction),
        by_symbol=_groups(results, everything, lambda trade: trade.symbol),
        by_reason=_groups(results, everything, lambda trade: trade.exit_reason),
        by_script=_groups(results, everything, lambda trade: trade.script),
        sqn=system_quality(_multiples(results)),
        average_win=average_win,
        average_loss=average_loss,
        payoff=None if average_win is None or average_loss is None else average_win / -average_loss,
        best=max(results, key=lambda result: result.net).trade if results else None,
        worst=min(results, key=lambda result: result.net).trade if results else None,
        longest_wins=_longest_row(result.outcome > 0 for result in results),
        longest_losses=_longest_row(result.outcome < 0 for result in results),
        average_holding_ms=sum(holding) / len(holding) if holding else None,
        longest_holding_ms=max(holding, default=None),
        per_day=len(closed) / days if days > 0 else None,
    )


def group_of(closed: Sequence[Trade]) -> Group:
    """Return closed trades taken together."""
    return _group([_result(trade) for trade in closed])


def _groups(
    results: Sequence[_Result], everything: Group, key: Callable[[Trade], str]
) -> dict[str, Group]:
    names = [key(result.trade) for result in results]
    if len(set(names)) == 1:
        return {str(names[0]): everything}
    parted: dict[str, list[_Result]] = {}
    for name, result in zip(names, results, strict=True):
        parted.setdefault(name, []).append(result)
    return {str(name): _group(parted[name]) for name in sorted(parted)}


def _group(results: Sequence[_Result]) -> Group:
    won = [result.net for result in results if result.outcome > 0]
    lost = [result.net for result in results if result.outcome < 0]
    brought, taken = sum(won, ZERO), -sum(lost, ZERO)
    multiples = _multiples(results)
    count = len(results)
    return Group(
        trades=count,
        wins=len(won),
        losses=len(lost),
        net=brought - taken,
        win_rate=len(won) / count if count else None,
        profit_factor=float(brought / taken) if taken else None,
        expectancy=float((brought - taken) / count) if count else None,
        expectancy_r=float(multiples.mean()) if len(multiples) else None,
    )


def _multiples(results: Iterable[_Result]) -> NDArray[np.float64]:
    return np.array([result.multiple for result in results if result.multiple is not None])


def _mean(amounts: Sequence[Decimal]) -> float | None:
    return float(sum(amounts, ZERO) / len(amounts)) if amounts else None


def _longest_row(counts: Iterable[bool]) -> int:
    return max(
        (sum(1 for _ in row) for is_counted, row in groupby(counts) if is_counted), default=0
    )
