"""What each script on its symbol earned: a backtest's result taken apart (layer 1).

The parts add up: the net results of all are the account's, open positions included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.backtest.described import DescribedScript, RunDescription
from milo.backtest.ledger import Ledger, SlotShare, Trade
from milo.backtest.stats import Group, Stats, group_of
from milo.model import Direction
from milo.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStats:
    """The figures of one script on one symbol; None is "undefined". Money is USDT."""

    script: str
    symbol: str
    interval: str
    net: Decimal
    """Profit less fees, with funding, positions still open at the end included."""
    trades: Group
    """Its closed trades."""
    long: Group
    short: Group
    open_trades: int
    open_net: Decimal
    fees: Decimal
    funding: Decimal
    fall: float | None
    """The deepest fall of start balance + its own result, a share of the peak; None: no fall."""
    in_drawdown: float | None
    """What it did to the account from peak to trough of the deepest drawdown, negative: lost."""
    exposure: float | None
    buy_and_hold: float | None


def measure_slots(
    ledger: Ledger, description: RunDescription, stats: Stats
) -> tuple[SlotStats, ...]:
    """Return the figures of each script and symbol, in the order of the description."""
    shares = {share.symbol: share for share in ledger.shares}
    trades: dict[tuple[str, str], list[Trade]] = {}
    for trade in ledger.trades:
        trades.setdefault((trade.script, trade.symbol), []).append(trade)
    if len(description.scripts) == 1:
        shares = {description.scripts[0].symbol: _whole(description.scripts[0], stats)}
    return tuple(
        _measure(
            script,
            trades.get((script.name, script.symbol), ()),
            shares.get(script.symbol),
            ledger.buy_and_hold.get(script.symbol),
            stats,
        )
        for script in description.scripts
    )


def _whole(script: DescribedScript, stats: Stats) -> SlotShare:
    """Return the share of a single script, which is all of the account."""
    fall = stats.drawdown
    return SlotShare(
        symbol=script.symbol,
        fall=0.0 if fall is None else fall.depth,
        in_drawdown=0.0 if fall is None else -fall.money,
        exposure=stats.exposure or 0.0,
    )


def _measure(
    script: DescribedScript,
    trades: Sequence[Trade],
    share: SlotShare | None,
    buy_and_hold: float | None,
    stats: Stats,
) -> SlotStats:
    left_open = [trade for trade in trades if trade.is_open]
    everything, sides = _groups(trades, stats)
    return SlotStats(
        script=script.name,
        symbol=script.symbol,
        interval=script.interval,
        net=sum((trade.net for trade in trades), ZERO),
        trades=everything,
        long=sides[Direction.LONG],
        short=sides[Direction.SHORT],
        open_trades=len(left_open),
        open_net=sum((trade.net for trade in left_open), ZERO),
        fees=sum((trade.fees for trade in trades), ZERO),
        funding=sum((trade.funding for trade in trades), ZERO),
        fall=share.fall or None if share is not None else None,
        in_drawdown=None if share is None or stats.drawdown is None else share.in_drawdown,
        exposure=None if share is None else share.exposure,
        buy_and_hold=buy_and_hold,
    )


def _groups(trades: Sequence[Trade], stats: Stats) -> tuple[Group, dict[Direction, Group]]:
    """Return all closed trades of a slot and those of each side."""
    closed = [trade for trade in trades if not trade.is_open]
    if len(closed) == stats.trades.all.trades:
        # All of the account's: they have been measured.
        known = stats.trades.by_direction
        nothing = group_of([])
        return stats.trades.all, {side: known.get(side, nothing) for side in Direction}
    return group_of(closed), {
        side: group_of([trade for trade in closed if trade.direction is side]) for side in Direction
    }
