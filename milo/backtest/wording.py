"""A backtest's figures, assumptions and proof in words, for every form of report (layer 1).

Texts of strangers (names, messages) are not made harmless here: each form does that its own way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.backtest.curve import Drawdown
from milo.backtest.described import DescribedMarket, DescribedScript, RunDescription
from milo.backtest.ledger import Assumptions, FillAt, Intrabar, Ledger, Trade
from milo.backtest.realism import Realism
from milo.backtest.slot_stats import SlotStats
from milo.backtest.stats import Group, Stats
from milo.clock import iso_minute
from milo.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from milo.model import Direction
from milo.money import decimals_of, plain, shown

UNDEFINED = "--"
_MOST_PLACES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A backtest with all that is said about it; `report.make_report` makes it."""

    ledger: Ledger
    description: RunDescription
    stats: Stats
    realism: Realism
    slots: tuple[SlotStats, ...]
    """Each script and symbol apart, in the description's order."""


Row = tuple[str, str]
"""A label and its value."""


def money(value: Decimal | float | None, *, is_signed: bool = False) -> str:
    """Return USDT with two decimals; of a float as many as of a decimal."""
    if value is None:
        return UNDEFINED
    text = f"{value:z,.2f}"
    is_gain = is_signed and not text.startswith("-") and text.strip("0,.")
    return f"+{text}" if is_gain else text


def percent(share: Decimal | float | None, places: int = 2, *, is_signed: bool = False) -> str:
    """Return a fraction as per cent: 0.1234 is `12.34 %`."""
    if share is None:
        return UNDEFINED
    text = f"{share * 100:z,.{places}f}"
    is_gain = is_signed and not text.startswith("-") and text.strip("0,.")
    return f"+{text} %" if is_gain else f"{text} %"


def ratio(value: float | None, places: int = 2) -> str:
    return UNDEFINED if value is None else f"{value:z,.{places}f}"


def exact_percent(share: Decimal) -> str:
    """Return a rate with all its digits: 0.00045 is `0.045 %`."""
    return f"{plain(share * 100)} %"


def length(ms: float | None) -> str:
    """Return a time span in its two largest units: `3 d 4 h`, `4 h 5 min`, `12 s`."""
    if ms is None:
        return UNDEFINED
    if ms < MINUTE_MS:
        return f"{ms / 1000:.0f} s"
    # The last ms of a candle belongs to its length: 23:59:59.999 is a whole day.
    minutes = round(ms / MINUTE_MS)
    days, hours = minutes * MINUTE_MS // DAY_MS, minutes * MINUTE_MS % DAY_MS // HOUR_MS
    if days:
        return f"{days:,} d {hours} h" if hours else f"{days:,} d"
    left = minutes % 60
    if hours:
        return f"{hours} h {left} min" if left else f"{hours} h"
    return f"{left} min"


def days(value: float) -> str:
    return length(value * DAY_MS)


def minute(ms: int | None) -> str:
    """Return `2024-01-31 12:00`, the time of day in UTC."""
    return UNDEFINED if ms is None else iso_minute(ms)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def result_rows(stats: Stats) -> list[Row]:
    """Return what the run earned."""
    return [
        ("start balance", f"{money(stats.start_balance)} USDT"),
        ("final equity", f"{money(stats.final_equity)} USDT"),
        ("net result", f"{money(_net_result(stats), is_signed=True)} USDT"),
        ("return", percent(stats.total_return, is_signed=True)),
        ("CAGR (365 days)", percent(stats.cagr, is_signed=True)),
        ("buy & hold", percent(stats.buy_and_hold, is_signed=True)),
        ("exposure", percent(stats.exposure, 1)),
        ("fees paid", f"{money(stats.fees)} USDT"),
        ("funding", f"{money(stats.funding, is_signed=True)} USDT"),
    ]


def risk_rows(stats: Stats) -> list[Row]:
    """Return how rough the way was."""
    fall = stats.drawdown
    return [
        ("max drawdown", percent(None if fall is None else -fall.depth)),
        ("in money", UNDEFINED if fall is None else f"{money(-fall.money)} USDT"),
        ("from peak", minute(None if fall is None else fall.peak_ms)),
        ("to trough", minute(None if fall is None else fall.trough_ms)),
        ("recovered", _recovered(fall)),
        ("its duration", UNDEFINED if fall is None else days(fall.days)),
        ("longest drawdown", days(stats.longest_drawdown_days) if fall else UNDEFINED),
        ("days of returns", f"{stats.daily_returns:,}"),
        ("volatility a year", percent(stats.volatility, 1)),
        ("Sharpe", ratio(stats.sharpe)),
        ("Sortino", ratio(stats.sortino)),
        ("Calmar", ratio(stats.calmar)),
    ]


def trade_rows(stats: Stats) -> list[Row]:
    """Return what the closed trades were like."""
    trades = stats.trades
    everything = trades.all
    best = None if trades.best is None else trades.best.net
    worst = None if trades.worst is None else trades.worst.net
    return [
        ("closed trades", f"{everything.trades:,}"),
        ("won / lost", f"{everything.wins:,} / {everything.losses:,}"),
        ("win rate", percent(everything.win_rate, 1)),
        ("profit factor", ratio(everything.profit_factor)),
        ("expectancy", _usdt(everything.expectancy)),
        ("expectancy in R", ratio(everything.expectancy_r)),
        ("SQN", ratio(trades.sqn)),
        ("average win", money(trades.average_win, is_signed=True)),
        ("average loss", money(trades.average_loss)),
        ("win / loss size", ratio(trades.payoff)),
        ("best trade", money(best, is_signed=True)),
        ("worst trade", money(worst, is_signed=True)),
        ("most wins in a row", f"{trades.longest_wins:,}"),
        ("most losses in a row", f"{trades.longest_losses:,}"),
        ("average holding", length(trades.average_holding_ms)),
        ("longest holding", length(trades.longest_holding_ms)),
        ("trades a day", ratio(trades.per_day)),
        ("open at the end", _left_open(stats)),
        ("liquidations", f"{stats.liquidations:,}"),
        ("refused signals", f"{stats.refusals:,}"),
        ("ambiguous candles", f"{stats.ambiguous:,}"),
    ]


def slot_names(report: Report) -> list[str]:
    """Return what tells the scripts and symbols of a run apart, the symbol first."""
    is_one = len({slot.script for slot in report.slots}) == 1
    return [
        f"{slot.symbol} {slot.interval}" + ("" if is_one else f" {slot.script}")
        for slot in report.slots
    ]


SLOT_COLUMNS = (
    "net", "trades", "won", "long", "short", "fees", "funding", "own fall", "in fall",
)  # fmt: skip
"""What `slot_cells` tells; long and short: the net of the closed trades on that side."""


def slot_cells(slot: SlotStats) -> list[str]:
    """Return the figures of one script and symbol, one for each of `SLOT_COLUMNS`."""
    return [
        money(slot.net, is_signed=True),
        f"{slot.trades.trades:,}",
        percent(slot.trades.win_rate, 1),
        _side(slot.long),
        _side(slot.short),
        money(slot.fees),
        money(slot.funding, is_signed=True),
        percent(None if slot.fall is None else -slot.fall, 1),
        money(slot.in_drawdown, is_signed=True),
    ]


def whole_cells(stats: Stats) -> list[str]:
    """Return the same figures of the account."""
    trades = stats.trades
    fall = stats.drawdown
    return [
        money(_net_result(stats), is_signed=True),
        f"{trades.all.trades:,}",
        percent(trades.all.win_rate, 1),
        *(_side(trades.by_direction.get(side)) for side in Direction),
        money(stats.fees),
        money(stats.funding, is_signed=True),
        percent(None if fall is None else -fall.depth, 1),
        money(None if fall is None else -fall.money, is_signed=True),
    ]


def _side(group: Group | None) -> str:
    return UNDEFINED if group is None or not group.trades else money(group.net, is_signed=True)


def _net_result(stats: Stats) -> float:
    return stats.final_equity - float(stats.start_balance)


def _usdt(value: float | None) -> str:
    return UNDEFINED if value is None else f"{money(value, is_signed=True)} USDT"


def _recovered(fall: Drawdown | None) -> str:
    if fall is None:
        return UNDEFINED
    return "not yet" if fall.recovered_ms is None else minute(fall.recovered_ms)


def _left_open(stats: Stats) -> str:
    if not stats.open_trades:
        return "0"
    return f"{stats.open_trades:,} ({money(stats.open_net, is_signed=True)})"


def assumption_rows(ledger: Ledger, description: RunDescription) -> list[Row]:
    """Return every assumption of the run."""
    rows = taken_rows(ledger.assumptions, funding=_funding_rule(ledger))
    if ledger.halted_days:
        rows.append(("daily loss", f"opening stopped on {counted(ledger.halted_days, 'day')}"))
    rows += [("sizing", note) for note in ledger.notes]
    rows += [("note", note) for note in description.notes]
    return rows


def taken_rows(taken: Assumptions, *, funding: str) -> list[Row]:
    """Return what is taken for granted before anything happens; `funding` in the caller's words."""
    return [
        ("start balance", f"{shown(taken.start_balance)} USDT"),
        (
            "fees",
            f"taker {exact_percent(taken.taker_fee)}, maker {exact_percent(taken.maker_fee)} "
            "of the notional",
        ),
        ("slippage", f"{exact_percent(taken.slippage)} against market fills and stops"),
        ("fills", _fill_rule(taken)),
        ("inside a candle", _intrabar_rule(taken)),
        ("funding", funding),
        ("limits", _limits(taken)),
    ]


def _fill_rule(taken: Assumptions) -> str:
    if taken.fill_at is FillAt.CLOSE:
        return "entries and closes at the close of the signal's candle (--fill close)"
    return "entries and closes at the open after the signal's candle"


def _intrabar_rule(taken: Assumptions) -> str:
    match taken.intrabar:
        case Intrabar.FINER:
            return f"candles of {taken.finer_interval} tell what came first; where not, the stop"
        case Intrabar.NEARER_OPEN:
            return "the side nearer the open comes first (--intrabar tradingview)"
        case Intrabar.STOP_FIRST:
            return "stop before target where a candle holds both; touching is a hit"


def _funding_rule(ledger: Ledger) -> str:
    rate = exact_percent(ledger.assumptions.funding_rate)
    if not ledger.settlements:
        return f"no settlement of an open position (assumed where unknown: {rate} each 8 h)"
    return (
        f"{counted(ledger.settlements, 'settlement')}, {ledger.unknown_settlements:,} of them "
        f"at the assumed {rate} each 8 h"
    )


def _limits(taken: Assumptions) -> str:
    named = [
        ("risk of an entry", taken.max_entry_risk, " %"),
        ("leverage", taken.max_leverage, "x"),
        ("open positions", taken.max_positions, ""),
        ("loss a day", taken.max_daily_loss, " %"),
    ]
    parts = [
        f"{name} at most {plain(Decimal(value))}{unit}"
        for name, value, unit in named
        if value is not None
    ]
    if taken.allowed_symbols is not None:
        parts.append(f"only {', '.join(taken.allowed_symbols)}")
    return "; ".join(parts) or "none"


def proof_line(script: DescribedScript) -> str:
    """Return how a script's decisions came about, and what was compared, in one line."""
    proof, decided = script.proof, script.decided
    if not proof.is_lifted:
        reason = f": {proof.note}" if proof.note else ""
        if not proof.differing:
            return f"decided candle by candle{reason}"
        return (
            f"arrays dropped, decided candle by candle: {proof.differing:,} of {proof.checked:,} "
            f"compared candles differed{reason}"
        )
    doubtful = f", {proof.doubtful:,} doubtful ones one by one" if proof.doubtful else ""
    differences = counted(proof.differing, "difference")
    return (
        f"decided on arrays{doubtful}; {proof.checked:,} of {decided:,} candles run one by one "
        f"and compared: {differences}"
    )


def inputs_line(script: DescribedScript) -> str:
    """Return the inputs of a script, those that were changed with their default."""
    parts = [
        f"{item.name}={item.value:g}"
        + ("" if item.value == item.default else f" (default {item.default:g})")
        for item in script.inputs
    ]
    return ", ".join(parts) or "none"


def market_line(market: DescribedMarket) -> str:
    """Return what the candles of a symbol are."""
    source = f", from {market.source}" if market.source else ""
    return (
        f"{counted(market.count, 'candle')} of {market.interval}, {minute(market.first_ms)} to "
        f"{minute(market.last_ms)}{source}"
    )


def instrument_line(market: DescribedMarket) -> str | None:
    """Return the steps that prices and quantities were rounded to; None where not told."""
    known = market.instrument
    if known is None:
        return None
    return (
        f"tick {plain(known.tick)}, step {plain(known.market_step)}, least quantity "
        f"{plain(known.market_min_qty)}, least notional {shown(known.min_notional)} USDT"
    )


def refusal_reasons(ledger: Ledger) -> list[tuple[str, int]]:
    """Return why signals were refused, the most frequent first, among those that were kept."""
    return Counter(refusal.reason for refusal in ledger.refusals).most_common()


def period_line(stats: Stats, description: RunDescription) -> str:
    """Return when the run traded, and how long it took."""
    return (
        f"{minute(stats.start_ms)} to {minute(stats.end_ms)} UTC, {stats.days:,.1f} days, "
        f"{counted(description.decided, 'candle')} decided in {description.seconds:.2f} s"
    )


def title(script: DescribedScript) -> str:
    """Return a script with its market: `macd_crossover on BTCUSDT 1h`."""
    return f"{script.name} on {script.symbol} {script.interval}"


def price_places(description: RunDescription, trades: Sequence[Trade], symbol: str) -> int:
    """Return how many decimals a symbol's prices are shown with: its tick's, else its fills'."""
    for market in description.markets:
        if market.symbol == symbol and market.instrument is not None:
            return decimals_of(market.instrument.tick)
    prices = [trade.entry_price for trade in trades if trade.symbol == symbol]
    return min(_MOST_PLACES, max(map(decimals_of, prices), default=2))
