"""A backtest's report as JSON values, for `--json` (layer 1).

The schema stands in `docs/backtest-report.md`, with the rule that `schema` counts up where a key
changes its meaning. Amounts of money and prices that are exact are decimal strings, ratios are
numbers, times ms UTC; null is "undefined".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from milo.backtest.curve import Drawdown, yearly_returns
from milo.backtest.described import DescribedMarket, DescribedScript
from milo.backtest.ledger import Assumptions, Ledger, Refusal, Trade
from milo.backtest.realism import Realism
from milo.backtest.slot_stats import SlotStats
from milo.backtest.stats import Group, Stats
from milo.backtest.wording import Report, assumption_rows, proof_line
from milo.money import plain

SCHEMA = 1


def report_content(report: Report) -> dict[str, Any]:
    """Return the report; JSON text of it needs nothing but `json.dumps`."""
    description = report.description
    return {
        "schema": SCHEMA,
        "milo": description.version,
        "arguments": list(description.arguments),
        "seconds": round(description.seconds, 3),
        "scripts": [_script(script) for script in description.scripts],
        "markets": [_market(market) for market in description.markets],
        "assumptions": _assumptions(report.ledger.assumptions),
        "assumptions_in_words": [
            {"name": name, "text": text}
            for name, text in assumption_rows(report.ledger, description)
        ],
        "stats": _stats(report.stats),
        "slots": [_slot(slot) for slot in report.slots],
        "realism": _realism(report.realism),
        "trades": [trade_content(trade) for trade in report.ledger.trades],
        "refusals": [_refusal(refusal) for refusal in report.ledger.refusals],
        "funding": _funding(report.ledger),
    }


def trade_content(trade: Trade) -> dict[str, Any]:
    """Return one trade."""
    return {
        "script": trade.script,
        "symbol": trade.symbol,
        "side": str(trade.direction),
        "qty": plain(trade.qty),
        "leverage": trade.leverage,
        "entry_time": trade.entry_ms,
        "entry_price": plain(trade.entry_price),
        "exit_time": trade.exit_ms,
        "exit_price": plain(trade.exit_price),
        "reason": str(trade.exit_reason),
        "stop_price": plain(trade.stop_price),
        "target_price": _text(trade.target_price),
        "liquidation_price": _text(trade.liquidation_price),
        "profit": plain(trade.profit),
        "fees": plain(trade.fees),
        "funding": plain(trade.funding),
        "net": plain(trade.net),
        "risk": plain(trade.risk),
        "r": None if trade.r_multiple is None else float(trade.r_multiple),
        "is_open": trade.is_open,
        "is_ambiguous": trade.is_ambiguous,
        "is_gap": trade.is_gap,
        "is_extreme": trade.is_extreme,
    }


def _stats(stats: Stats) -> dict[str, Any]:
    trades = stats.trades
    return {
        "start_time": stats.start_ms,
        "end_time": stats.end_ms,
        "days": stats.days,
        "start_balance": plain(stats.start_balance),
        "final_equity": stats.final_equity,
        "return": stats.total_return,
        "cagr": stats.cagr,
        "buy_and_hold": stats.buy_and_hold,
        "exposure": stats.exposure,
        "volatility": stats.volatility,
        "sharpe": stats.sharpe,
        "sortino": stats.sortino,
        "calmar": stats.calmar,
        "max_drawdown": _drawdown(stats.drawdown),
        "longest_drawdown_days": stats.longest_drawdown_days,
        "daily_returns": stats.daily_returns,
        "trades": _group(trades.all),
        "by_side": _groups(trades.by_direction),
        "by_symbol": _groups(trades.by_symbol),
        "by_reason": _groups(trades.by_reason),
        "by_script": _groups(trades.by_script),
        "sqn": trades.sqn,
        "average_win": trades.average_win,
        "average_loss": trades.average_loss,
        "payoff": trades.payoff,
        "best": None if trades.best is None else plain(trades.best.net),
        "worst": None if trades.worst is None else plain(trades.worst.net),
        "longest_wins": trades.longest_wins,
        "longest_losses": trades.longest_losses,
        "average_holding_ms": trades.average_holding_ms,
        "longest_holding_ms": trades.longest_holding_ms,
        "trades_per_day": trades.per_day,
        "open_trades": stats.open_trades,
        "open_net": plain(stats.open_net),
        "fees": plain(stats.fees),
        "funding": plain(stats.funding),
        "liquidations": stats.liquidations,
        "refused_signals": stats.refusals,
        "ambiguous": stats.ambiguous,
        "months": [
            {"year": month.year, "month": month.month, "return": month.result}
            for month in stats.months
        ],
        "years": [
            {"year": year, "return": result}
            for year, result in yearly_returns(stats.months).items()
        ],
    }


def _slot(slot: SlotStats) -> dict[str, Any]:
    return {
        "script": slot.script,
        "symbol": slot.symbol,
        "interval": slot.interval,
        "net": plain(slot.net),
        "trades": _group(slot.trades),
        "long": _group(slot.long),
        "short": _group(slot.short),
        "open_trades": slot.open_trades,
        "open_net": plain(slot.open_net),
        "fees": plain(slot.fees),
        "funding": plain(slot.funding),
        "fall": slot.fall,
        "in_drawdown": slot.in_drawdown,
        "exposure": slot.exposure,
        "buy_and_hold": slot.buy_and_hold,
    }


def _groups(groups: dict[str, Group]) -> dict[str, Any]:
    return {name: _group(group) for name, group in groups.items()}


def _group(group: Group) -> dict[str, Any]:
    return {
        "count": group.trades,
        "wins": group.wins,
        "losses": group.losses,
        "net": plain(group.net),
        "win_rate": group.win_rate,
        "profit_factor": group.profit_factor,
        "expectancy": group.expectancy,
        "expectancy_r": group.expectancy_r,
    }


def _drawdown(fall: Drawdown | None) -> dict[str, Any] | None:
    if fall is None:
        return None
    return {
        "depth": fall.depth,
        "money": fall.money,
        "peak_time": fall.peak_ms,
        "trough_time": fall.trough_ms,
        "recovered_time": fall.recovered_ms,
        "days": fall.days,
    }


def _script(script: DescribedScript) -> dict[str, Any]:
    proof = script.proof
    return {
        "name": script.name,
        "sha256": script.text_sha256,
        "symbol": script.symbol,
        "interval": script.interval,
        "inputs": [
            {"name": item.name, "value": item.value, "default": item.default}
            for item in script.inputs
        ],
        "first_time": script.first_ms,
        "decided": script.decided,
        "proof": {
            "is_lifted": proof.is_lifted,
            "checked": proof.checked,
            "differing": proof.differing,
            "doubtful": proof.doubtful,
            "note": proof.note,
            "text": proof_line(script),
        },
        "errors": [
            {"time": error.open_ms, "line": error.line, "message": error.message}
            for error in script.errors
        ],
        "error_count": script.error_count,
        "halted_time": script.halted_ms,
        "warnings": list(script.warnings),
    }


def _market(market: DescribedMarket) -> dict[str, Any]:
    known = market.instrument
    return {
        "symbol": market.symbol,
        "interval": market.interval,
        "candles": market.count,
        "first_time": market.first_ms,
        "last_time": market.last_ms,
        "sha256": market.sha256,
        "source": market.source,
        "tick": None if known is None else plain(known.tick),
        "step": None if known is None else plain(known.market_step),
        "min_qty": None if known is None else plain(known.market_min_qty),
        "min_notional": None if known is None else plain(known.min_notional),
    }


def _assumptions(taken: Assumptions) -> dict[str, Any]:
    symbols = taken.allowed_symbols
    return {
        "start_balance": plain(taken.start_balance),
        "taker_fee": plain(taken.taker_fee),
        "maker_fee": plain(taken.maker_fee),
        "slippage": plain(taken.slippage),
        "fill_at": str(taken.fill_at),
        "intrabar": str(taken.intrabar),
        "finer_interval": taken.finer_interval,
        "funding_rate": plain(taken.funding_rate),
        "max_entry_risk": _text(taken.max_entry_risk),
        "max_leverage": _text(taken.max_leverage),
        "max_positions": taken.max_positions,
        "max_daily_loss": _text(taken.max_daily_loss),
        "allowed_symbols": None if symbols is None else list(symbols),
    }


def _realism(realism: Realism) -> dict[str, Any]:
    return {
        "grade": realism.grade,
        "points": realism.points,
        "reasons": list(realism.reasons),
        "checks": [
            {
                "key": result.check.key,
                "label": result.check.label,
                "value": result.value,
                "finding": str(result.finding),
                "doubt": result.check.doubt,
                "harm": result.check.harm,
            }
            for result in realism.results
        ],
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "script": refusal.script,
        "symbol": refusal.symbol,
        "time": refusal.open_ms,
        "action": refusal.action,
        "reason": refusal.reason,
    }


def _funding(ledger: Ledger) -> dict[str, Any]:
    return {
        "settlements": ledger.settlements,
        "unknown": ledger.unknown_settlements,
        "halted_days": ledger.halted_days,
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
