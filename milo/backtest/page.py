"""The report's page as markup: everything in words, readable without its JavaScript (layer 1).

Every text goes through `markup.text`, which leaves nothing that a browser would act on.
"""

from __future__ import annotations

from collections.abc import Sequence

from milo.backtest import wording
from milo.backtest.curve import Month, yearly_returns
from milo.backtest.markup import card, figures, listed, pair, table, text
from milo.backtest.page_content import MAX_TRADES
from milo.backtest.realism import CheckResult, Finding, Realism
from milo.backtest.stats import Group, Stats
from milo.backtest.wording import UNDEFINED, Report, counted, minute, money, percent, ratio
from milo.shown import shown_line

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HEAT = (0.0005, 0.03, 0.08)
"""From which monthly return on a cell takes the next stronger colour."""
_MOST_MESSAGES = 200
_FINDINGS = {
    Finding.FINE: ("ok", "muted"),
    Finding.DOUBT: ("doubt", "warn"),
    Finding.HARM: ("serious", "bad"),
    Finding.UNKNOWN: (UNDEFINED, "muted"),
}
_CHART_TOOLS = (
    ("left", "Older", "←"),
    ("right", "Newer", "→"),
    ("out", "Zoom out", "−"),
    ("in", "Zoom in", "+"),
)


def page_title(report: Report) -> str:
    """Return the page's title, not escaped."""
    titles = [shown_line(wording.title(item)) for item in report.description.scripts]
    more = f" and {len(titles) - 2} more" if len(titles) > 2 else ""
    return f"{', '.join(titles[:2])}{more}"


def page_body(report: Report) -> str:
    """Return the markup of the page's body, without its data and its JavaScript."""
    stats = report.stats
    parts = [
        _head(report),
        _tiles(report),
        _chart("equity", "Equity and drawdown", extra=""),
        _chart(
            "price",
            "Price and trades",
            extra='<select id="market" aria-label="Market"></select>',
        ),
        pair(
            card("Result", figures(wording.result_rows(stats))),
            card("Risk", figures(wording.risk_rows(stats))),
            card("Trades", figures(wording.trade_rows(stats))),
        ),
        card("Scripts and symbols", _slots(report)),
        card("Monthly returns, % (UTC)", _heat(stats.months)),
        card("Split of the closed trades", _splits(stats)),
        _trades(report),
        card("Realism", _realism(report.realism, stats)),
        card("Settings and assumptions", _assumptions(report)),
        card("Scripts, candles and proof", _origin(report)),
        _messages(report),
    ]
    return f"<main>{''.join(parts)}</main>"


def _head(report: Report) -> str:
    period = wording.period_line(report.stats, report.description)
    return (
        f'<header><p class="brand">Milo backtest</p><h1>{text(page_title(report))}</h1>'
        f'<p class="sub">{text(period)}</p></header>'
    )


def _tiles(report: Report) -> str:
    stats = report.stats
    fall, trades = stats.drawdown, stats.trades.all
    when = "" if fall is None else f"{_day(fall.peak_ms)} to {_day(fall.trough_ms)}"
    result = stats.final_equity - float(stats.start_balance)
    earned = f"{money(result, is_signed=True)} USDT"
    points = f"{counted(report.realism.points, 'point')} of doubt"
    expected = f"expectancy {ratio(trades.expectancy_r)} R"
    tiles = [
        ("Return", percent(stats.total_return, is_signed=True), earned, _tone(result)),
        ("Buy & hold", percent(stats.buy_and_hold, is_signed=True), "", ""),
        ("CAGR", percent(stats.cagr, is_signed=True), "a year of 365 days", ""),
        ("Max drawdown", percent(None if fall is None else -fall.depth), when, ""),
        ("Sharpe", ratio(stats.sharpe), f"Sortino {ratio(stats.sortino)}", ""),
        ("Profit factor", ratio(trades.profit_factor), expected, ""),
        ("Win rate", percent(trades.win_rate, 1), counted(trades.trades, "closed trade"), ""),
        ("Realism", report.realism.grade, points, ""),
    ]
    cells = "".join(
        f'<div class="tile"><dt>{text(name)}</dt><dd class="{tone}">{text(value)}</dd>'
        f'<dd class="note">{text(note)}</dd></div>'
        for name, value, note, tone in tiles
    )
    return f'<dl class="tiles" aria-label="Headline numbers">{cells}</dl>'


def _day(ms: int) -> str:
    # Hyphens that do not break: half a date on a line of its own is hard to read.
    return minute(ms)[:10].replace("-", "\u2011")


def _tone(value: float) -> str:
    return "gain" if value > 0 else "loss" if value < 0 else ""


def _chart(name: str, title: str, *, extra: str) -> str:
    tools = "".join(
        f'<button class="icon" type="button" data-act="{act}" aria-label="{label}" '
        f'title="{label}">{sign}</button>'
        for act, label, sign in _CHART_TOOLS
    )
    trade = '<p class="legend muted" id="trade-legend"></p>' if name == "price" else ""
    return (
        f'<section class="card chart-card"><div class="chart-head"><h2>{title}</h2>{extra}</div>'
        f'<p class="legend" id="{name}-legend"></p>{trade}'
        f'<div class="chart-box" id="{name}-box" tabindex="0" role="application" '
        f'aria-label="{title}"><canvas aria-hidden="true"></canvas></div>'
        f'<div class="tools" role="group" aria-label="View">{tools}'
        '<button type="button" data-act="fit">All</button>'
        '<span class="muted">Drag to scroll; click the chart, then turn the wheel to zoom; '
        "arrow keys move the crosshair</span></div></section>"
    )


def _heat(months: Sequence[Month]) -> str:
    if not months:
        return ""
    known = {(month.year, month.month): month.result for month in months}
    rows = []
    for year, whole in yearly_returns(tuple(months)).items():
        cells = "".join(
            _heat_cell(known[year, month]) if (year, month) in known else "<td></td>"
            for month in range(1, 13)
        )
        rows.append(f'<tr><th scope="row">{year}</th>{cells}{_heat_cell(whole, " total")}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in (*_MONTHS, "Year"))
    return (
        f'<div class="scroll"><table class="heat"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _heat_cell(result: float | None, kind: str = "") -> str:
    if result is None:
        return f'<td class="{kind}">{UNDEFINED}</td>'
    strength = sum(abs(result) >= least for least in _HEAT)
    heat = f"{'g' if result > 0 else 'l'}{strength}" if strength else ""
    return f'<td class="{heat}{kind}">{result * 100:+z.1f}</td>'


def _slots(report: Report) -> str:
    if len(report.slots) < 2:
        return ""
    rows = [
        [
            name,
            *wording.slot_cells(slot),
            ratio(slot.trades.profit_factor),
            ratio(slot.trades.expectancy_r),
            percent(slot.exposure, 1),
            percent(slot.buy_and_hold, is_signed=True),
        ]
        for name, slot in zip(wording.slot_names(report), report.slots, strict=True)
    ]
    stats = report.stats
    rows.append(
        [
            "all together",
            *wording.whole_cells(stats),
            ratio(stats.trades.all.profit_factor),
            ratio(stats.trades.all.expectancy_r),
            percent(stats.exposure, 1),
            percent(stats.buy_and_hold, is_signed=True),
        ]
    )
    columns = [name.capitalize() for name in wording.SLOT_COLUMNS]
    head = ("", *columns, "Profit factor", "in R", "Exposure", "Buy & hold")
    note = (
        "Net, fees and funding with positions still open at the end; long and short are the net of "
        "closed trades. Own fall: deepest fall of the start balance and this result alone. In "
        "fall: what it did to the account from peak to trough of its deepest drawdown."
    )
    return table(head, rows) + f'<p class="muted">{text(note)}</p>'


def _splits(stats: Stats) -> str:
    trades = stats.trades
    if not trades.all.trades:
        return ""
    named = [*trades.by_direction.items()]
    named += [*trades.by_script.items()] if len(trades.by_script) > 1 else []
    named += [(f"exit: {reason}", group) for reason, group in trades.by_reason.items()]
    head = ("", "Trades", "Won", "Net USDT", "Profit factor", "Expectancy", "in R")
    return table(head, [_split_row(name, group) for name, group in named])


def _split_row(name: str, group: Group) -> list[str]:
    return [
        name,
        f"{group.trades:,}",
        percent(group.win_rate, 1),
        money(group.net, is_signed=True),
        ratio(group.profit_factor),
        money(group.expectancy, is_signed=True),
        ratio(group.expectancy_r),
    ]


def _trades(report: Report) -> str:
    every = len(report.ledger.trades)
    left_out = every - min(every, MAX_TRADES)
    note = (
        f'<p class="muted">The newest {MAX_TRADES:,} of {every:,} trades; --json has all.</p>'
        if left_out
        else ""
    )
    return (
        '<section class="card"><div class="chart-head"><h2>Trade list</h2>'
        '<div id="trade-filters" role="group" aria-label="Which trades"></div>'
        f'<span class="muted" id="trade-count"></span></div>{note}'
        '<div id="trade-scroll"><table><thead id="trade-head"></thead>'
        '<tbody id="trade-body"></tbody></table></div>'
        '<button id="trade-more" type="button" hidden></button>'
        '<p class="muted">? stop and target in one candle &nbsp; ^ filled past its level at an '
        "open &nbsp; ! at the very high or low of a candle</p>"
        "<noscript><p>The charts and this list need JavaScript.</p></noscript></section>"
    )


def _realism(realism: Realism, stats: Stats) -> str:
    grade = realism.grade
    if not stats.trades.all.trades:
        said = "No trade was closed: nothing was shown."
    elif realism.reasons:
        said = (
            f"{counted(realism.points, 'point')} of doubt: 1 for a doubt, 3 for a serious one. "
            "It says how far the numbers can be believed, not how good they are."
        )
    else:
        said = "No check found a reason for doubt."
    rows = "".join(_check_row(result) for result in realism.results)
    return (
        f'<div class="grade"><b class="{grade}">{grade}</b><p>{text(said)}</p></div>'
        '<div class="scroll"><table class="checks"><thead><tr><th scope="col" class="word">Check'
        '</th><th scope="col">Value</th><th scope="col">Doubt from</th>'
        '<th scope="col">Serious from</th><th scope="col" class="word">Finding</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _check_row(result: CheckResult) -> str:
    check = result.check
    word, tone = _FINDINGS[result.finding]
    is_bad = result.finding in (Finding.DOUBT, Finding.HARM)
    said = f"{word}: {check.why}" if is_bad else word
    limits = [text(limit) for limit in check.limits]
    return (
        f'<tr><td class="word">{text(check.label)}</td><td>{text(result.shown)}</td>'
        f'<td class="muted">{limits[0]}</td><td class="muted">{limits[1]}</td>'
        f'<td class="{tone}">{text(said)}</td></tr>'
    )


def _assumptions(report: Report) -> str:
    description = report.description
    rows = wording.assumption_rows(report.ledger, description)
    rows += [
        (f"{market.symbol} rounding", steps)
        for market in description.markets
        if (steps := wording.instrument_line(market)) is not None
    ]
    rows += [
        (f"inputs of {wording.title(script)}", wording.inputs_line(script))
        for script in description.scripts
    ]
    rows.append(("arguments", " ".join(description.arguments) or "none"))
    rows.append(("Milo", description.version))
    return listed(rows)


def _origin(report: Report) -> str:
    parts = []
    for script in report.description.scripts:
        parts.append(
            f"<p><b>{text(wording.title(script))}</b></p><p>{text(wording.proof_line(script))}"
            f'</p><p class="hash muted">script sha256 {text(script.text_sha256)}</p>'
        )
    for market in report.description.markets:
        parts.append(
            f"<p><b>{text(market.symbol)}</b> {text(wording.market_line(market))}</p>"
            f'<p class="hash muted">candles sha256 {text(market.sha256)}</p>'
        )
    return "".join(parts)


def _messages(report: Report) -> str:
    lines = []
    for script in report.description.scripts:
        name = wording.title(script)
        for error in script.errors:
            place = "" if error.line is None else f"line {error.line}: "
            lines.append(("bad", f"{name}  {minute(error.open_ms)}  {place}{error.message}"))
        left_out = script.error_count - len(script.errors)
        if left_out > 0:
            lines.append(("bad", f"{name}  {counted(left_out, 'further error')}"))
        if script.halted_ms is not None:
            halted = f"{name}  halted after the candle of {minute(script.halted_ms)}"
            lines.append(("bad", halted))
        lines += [("warn", f"{name}  warning: {warning}") for warning in script.warnings]
    for reason, count in wording.refusal_reasons(report.ledger):
        lines.append(("", f"{count:,} x refused: {reason}"))
    items = "".join(
        f'<li class="{tone}">{text(line)}</li>' for tone, line in lines[:_MOST_MESSAGES]
    )
    return card(
        "Errors, warnings, refused signals", f'<ol class="messages">{items}</ol>' if items else ""
    )
