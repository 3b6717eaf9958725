"""The report of a backtest for a console: plain text in aligned columns (layer 1).

`milo.backtest.content` has the same for `--json`, `milo.backtest.html` for a browser.
"""

from __future__ import annotations

from collections.abc import Sequence

from milo.backtest import wording
from milo.backtest.curve import yearly_returns
from milo.backtest.described import DescribedScript, RunDescription
from milo.backtest.layout import WIDTH, columns_of, cut, labelled, section, table, wrapped
from milo.backtest.ledger import Ledger, Trade
from milo.backtest.realism import judge
from milo.backtest.slot_stats import measure_slots
from milo.backtest.stats import Group, Stats, measure
from milo.backtest.wording import UNDEFINED, Report, Row, counted, minute, money, percent, ratio
from milo.money import shown
from milo.shown import shown_line

LAST_TRADES = 10
_HALF = 48
_MESSAGES = 5
_MARKS = "? stop and target in one candle   ^ past its level at an open   ! at a high or low"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def make_report(ledger: Ledger, description: RunDescription) -> Report:
    """Return the ledger with its figures and its grade. ValueError where no script ran."""
    stats = measure(ledger, start_ms=description.start_ms)
    realism = judge(ledger, stats, description)
    return Report(
        ledger=ledger,
        description=description,
        stats=stats,
        realism=realism,
        slots=measure_slots(ledger, description, stats),
    )


def report_text(report: Report) -> str:
    """Return the whole report, lines of at most `WIDTH` columns, without a newline at the end.

    Names and messages of strangers stand in it with nothing that steers a terminal.
    """
    sections = [
        _head(report),
        _figures(report.stats),
        _slots(report),
        _splits(report.stats),
        _months(report.stats),
        _last_trades(report),
        section("ASSUMPTIONS", wording.assumption_rows(report.ledger, report.description)),
        _scripts(report.description),
        section("CANDLES", _market_rows(report.description)),
        section("REFUSED SIGNALS", _refusal_rows(report.ledger)),
        _messages(report.description),
        _realism(report),
    ]
    lines = "\n\n".join("\n".join(lines) for lines in sections if lines).split("\n")
    return "\n".join(cut(line.rstrip(), WIDTH) for line in lines)


def _head(report: Report) -> list[str]:
    titles = [shown_line(wording.title(script)) for script in report.description.scripts]
    first = f"BACKTEST  {', '.join(titles[:2])}"
    more = f" and {len(titles) - 2} more" if len(titles) > 2 else ""
    return [
        f"{cut(first, WIDTH - len(more))}{more}",
        wording.period_line(report.stats, report.description),
    ]


def _figures(stats: Stats) -> list[str]:
    result, risk = wording.result_rows(stats), wording.risk_rows(stats)
    trades = wording.trade_rows(stats)
    half = (len(trades) + 1) // 2
    return [
        *_columns("RESULT", result, "RISK", risk),
        "",
        *_columns("TRADES", trades[:half], "", trades[half:]),
    ]


def _columns(
    left_title: str, left: Sequence[Row], right_title: str, right: Sequence[Row]
) -> list[str]:
    """Return two columns of labels and values side by side, the values at the right edges."""
    lines = [f"{left_title:<{WIDTH - _HALF}}{right_title}"]
    for place in range(max(len(left), len(right))):
        cells = [_pair(*rows[place]) if place < len(rows) else "" for rows in (left, right)]
        lines.append(f"{cells[0]:<{WIDTH - _HALF}}{cells[1]}")
    return lines


def _pair(label: str, value: str) -> str:
    return f"  {label}{value:>{_HALF - 2 - len(label)}}"


def _slots(report: Report) -> list[str]:
    """Return each script and symbol apart, and the account; nothing where there is only one."""
    if len(report.slots) < 2:
        return []
    rows = [wording.slot_cells(slot) for slot in report.slots]
    rows.append(wording.whole_cells(report.stats))
    names = [f"  {shown_line(name)}" for name in [*wording.slot_names(report), "all together"]]
    columns = zip(wording.SLOT_COLUMNS, *rows, strict=True)
    left = WIDTH - sum(2 + max(map(len, column)) for column in columns)
    has_room = max(map(columns_of, names)) <= left
    first = names if has_room else [""] * len(names)
    cells = [[name, *row] for name, row in zip(first, rows, strict=True)]
    head, *lines = table(("SYMBOLS", *wording.SLOT_COLUMNS), cells, names=1)
    if has_room:
        return [head, *lines]
    # A name that is too long for its column stands above its figures.
    return [head, *(line for pair in zip(names, lines, strict=True) for line in pair)]


def _splits(stats: Stats) -> list[str]:
    trades = stats.trades
    if not trades.all.trades:
        return []
    named = [*trades.by_direction.items()]
    named += [*trades.by_script.items()] if len(trades.by_script) > 1 else []
    named += [(f"exit: {reason}", group) for reason, group in trades.by_reason.items()]
    head = ("SPLIT", "trades", "won", "net", "profit factor", "expectancy", "in R")
    return table(head, [_split_row(name, group) for name, group in named], names=1)


def _split_row(name: str, group: Group) -> list[str]:
    return [
        f"  {cut(shown_line(name), 30)}",
        f"{group.trades:,}",
        percent(group.win_rate, 1),
        money(group.net, is_signed=True),
        ratio(group.profit_factor),
        money(group.expectancy, is_signed=True),
        ratio(group.expectancy_r),
    ]


def _months(stats: Stats) -> list[str]:
    if not stats.months:
        return []
    known = {(month.year, month.month): month for month in stats.months}
    lines = [f"{'MONTHS %':<8}" + "".join(f"{name:>7}" for name in (*_MONTHS, "year"))]
    for year, whole in yearly_returns(stats.months).items():
        cells = [
            _month_cell(known[year, month].result) if (year, month) in known else ""
            for month in range(1, 13)
        ]
        cells.append(_month_cell(whole))
        lines.append(f"  {year:<6}" + "".join(f"{cell:>7}" for cell in cells))
    return lines


def _month_cell(result: float | None) -> str:
    if result is None:
        return UNDEFINED
    # Seven columns hold up to 9999.9 with a space before it.
    return f"{result * 100:z.1f}" if abs(result) < 100 else f"{result * 100:.0e}"


def _last_trades(report: Report) -> list[str]:
    trades = report.ledger.trades
    if not trades:
        return []
    last = trades[-LAST_TRADES:]
    has_symbols = len({trade.symbol for trade in trades}) > 1
    places = {
        symbol: wording.price_places(report.description, last, symbol)
        for symbol in {trade.symbol for trade in last}
    }
    head = ["LAST", "entered", "at", "exited", "at", "why", "net", "R"]
    rows = [_trade_row(trade, places[trade.symbol]) for trade in last]
    if has_symbols:
        head.insert(1, "symbol")
        for row, trade in zip(rows, last, strict=True):
            row.insert(1, cut(shown_line(trade.symbol), 12))
    lines = table(head, rows, names=2 + has_symbols)
    if any(trade.is_ambiguous or trade.is_gap or trade.is_extreme for trade in last):
        lines.append(f"  {_MARKS}")
    left_out = len(trades) - len(last)
    if left_out:
        lines.append(f"  and {counted(left_out, 'earlier trade')}")
    return lines


def _trade_row(trade: Trade, places: int) -> list[str]:
    return [
        f"  {trade.direction}",
        minute(trade.entry_ms)[2:],
        shown(trade.entry_price, places),
        minute(trade.exit_ms)[2:],
        shown(trade.exit_price, places),
        "open" if trade.is_open else _why(trade),
        money(trade.net, is_signed=True),
        ratio(None if trade.r_multiple is None else float(trade.r_multiple)),
    ]


def _why(trade: Trade) -> str:
    marks = (("?", trade.is_ambiguous), ("^", trade.is_gap), ("!", trade.is_extreme))
    return str(trade.exit_reason) + "".join(mark for mark, is_set in marks if is_set)


def _scripts(description: RunDescription) -> list[str]:
    lines = ["SCRIPTS"]
    for script in description.scripts:
        lines += wrapped(wording.title(script), first="  ", rest="    ")
        lines += wrapped(wording.proof_line(script), first="    ", rest="      ")
        lines += labelled(
            [("  inputs", wording.inputs_line(script)), ("  sha256", script.text_sha256)]
        )
    return lines + labelled(
        [("Milo", description.version), ("arguments", " ".join(description.arguments) or "none")]
    )


def _market_rows(description: RunDescription) -> list[Row]:
    rows: list[Row] = []
    for market in description.markets:
        rows.append((market.symbol, wording.market_line(market)))
        steps = wording.instrument_line(market)
        if steps is not None:
            rows.append(("  rounding", steps))
        rows.append(("  sha256", market.sha256))
    return rows


def _refusal_rows(ledger: Ledger) -> list[Row]:
    reasons = wording.refusal_reasons(ledger)
    rows = [(f"{count:,} x", reason) for reason, count in reasons[:_MESSAGES]]
    told = sum(count for _, count in reasons[:_MESSAGES])
    if ledger.refusal_count > told:
        rows.append((f"{ledger.refusal_count - told:,} x", "other reasons"))
    return rows


def _messages(description: RunDescription) -> list[str]:
    lines: list[str] = []
    for script in description.scripts:
        told = _messages_of(script)
        if told:
            lines += wrapped(wording.title(script), first="  ", rest="    ")
        for message in told:
            lines += wrapped(message, first="    ", rest="      ")
    return ["ERRORS AND WARNINGS", *lines] if lines else []


def _messages_of(script: DescribedScript) -> list[str]:
    told = []
    for error in script.errors[:_MESSAGES]:
        place = "" if error.line is None else f"line {error.line}: "
        told.append(f"{minute(error.open_ms)} {place}{error.message}")
    further = script.error_count - len(told)
    if further > 0:
        told.append(counted(further, "further error"))
    if script.halted_ms is not None:
        told.append(f"halted after the candle of {minute(script.halted_ms)}")
    told += [f"warning: {warning}" for warning in script.warnings[:_MESSAGES]]
    further = len(script.warnings) - _MESSAGES
    if further > 0:
        told.append(counted(further, "further warning"))
    return told


def _realism(report: Report) -> list[str]:
    realism = report.realism
    lines = [f"REALISM  {realism.grade}  ({counted(realism.points, 'point')} of doubt)"]
    if not report.stats.trades.all.trades:
        lines.append("  - no trade was closed: nothing was shown")
    for reason in realism.reasons:
        lines += wrapped(reason, first="  - ", rest="    ")
    if len(lines) == 1:
        lines.append("  no check found a reason for doubt")
    return lines
