"""Which orders of a recorded session fill otherwise in a backtest of it, and why (layer 1).

Three executions of one account: the recorded decisions along the recorded prices, which must fill
as the record says; the decisions on closed candles along the same prices: what differs is
`forming`; and the same decisions by the rules for candles: what differs then is `path`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.backtest.contract import contract_of
from milo.backtest.decisions import Decisions
from milo.backtest.execution import run as run_backtest
from milo.backtest.ledger import Assumptions, FillAt, Ledger
from milo.backtest.parity import Cause, Difference
from milo.backtest.path import PathExecution, PathFill, PathMarket, play
from milo.backtest.path_inputs import Path, asked_again, asked_closed, closed_span, due, paid, rates
from milo.backtest.purse import decimal_of
from milo.backtest.recorded import RecordedRun
from milo.backtest.slot import FundingHistory, Slot
from milo.commands import Trade
from milo.exchange.feed import DEFAULT_FUNDING_E8
from milo.intervals import close_ms_of
from milo.model import ExitReason
from milo.money import ZERO, plain

_ATR_PERIOD = 14
_HUNDRED = Decimal(100)
_SHARE_ROUNDING = Decimal("0.00000002")
"""Backtester and engine round a part's share of fees and funding each their own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillParity:
    """How the fills compare."""

    recorded: int
    """Orders on record that are compared."""
    along_path: int
    closed: int | None
    """None where the scripts cannot be decided on closed candles alone."""
    by_candle: int | None
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare_fills(
    path: Path,
    recorded: RecordedRun,
    run_id: str,
    closed: Sequence[Decisions] | None,
) -> FillParity:
    """Compare the three executions.

    `closed`: of each session the decisions on its stored candles; None where they cannot be made
    without the account. Raises ValueError where an instrument on record cannot be read.
    """
    notes = _notes(path, recorded)
    if not path.told or not recorded.is_ever_flat:
        return FillParity(
            recorded=0, along_path=0, closed=None, by_candle=None, differences=(), notes=notes
        )
    markets = _markets(path, recorded)
    until_ms = recorded.killed_ms
    again = _execution(markets, recorded, run_id, is_again=True)
    asked = asked_again(path, recorded)
    told = [one for one in path.told if one.time_ms >= recorded.from_ms]
    play(again, told, asked, paid(path, recorded))
    fills = _compared_fills(path, recorded)
    differences = _by_order(fills, again.fills, until_ms)
    if not differences:
        differences = _by_row(recorded, again)
    counts = (len(fills), len(again.fills))
    if closed is None:
        return _parity(counts, None, None, differences, notes)
    funding = rates(path, again)
    along = _execution(markets, recorded, run_id, is_again=False)
    play(along, told, asked_closed(path, recorded, closed), due(path, funding))
    differences += _by_candle(again.fills, along.fills, Cause.FORMING, path)
    ledger = _by_rules(path, recorded, closed, funding)
    rows = _fills_of(ledger, path)
    differences += _by_candle(along.fills, rows, Cause.PATH, path)
    return _parity(counts, len(along.fills), len(rows), differences, notes)


def _parity(
    counts: tuple[int, int],
    closed: int | None,
    by_candle: int | None,
    differences: list[Difference],
    notes: tuple[str, ...],
) -> FillParity:
    return FillParity(
        recorded=counts[0],
        along_path=counts[1],
        closed=closed,
        by_candle=by_candle,
        differences=tuple(differences),
        notes=notes,
    )


def _notes(path: Path, recorded: RecordedRun) -> tuple[str, ...]:
    notes = []
    if not path.told:
        notes.append("no price was told during the run: its fills are not compared")
    elif not recorded.is_ever_flat:
        notes.append(
            "the run began with an open position and was never without one: its fills are not "
            "compared"
        )
    elif recorded.had_position:
        notes.append(
            "the run began with an open position: its fills are compared from when there was none"
        )
    if path.late:
        notes.append(
            f"{path.late:,} candles were read afterwards, so that prices are missing: fills may "
            "differ for that"
        )
    if recorded.refused:
        reason = next(iter(recorded.refused.values()))
        notes.append(
            f"{len(recorded.refused):,} entry orders were refused ({reason}, ...): they do not "
            "fill along the prices either"
        )
    if recorded.killed_ms is not None:
        notes.append("the kill switch was thrown: fills after that are not compared")
    return tuple(notes)


# --- what is executed ---------------------------------------------------------------------------


def _markets(path: Path, recorded: RecordedRun) -> list[PathMarket]:
    markets = []
    for session in path.sessions:
        ready = recorded.ready[session.history.symbol]
        markets.append(
            PathMarket(
                script=session.history.name,
                symbol=session.history.symbol,
                contract=contract_of(ready.instrument, ready.brackets),
                fees=ready.fees,
            )
        )
    return markets


def _execution(
    markets: Sequence[PathMarket], recorded: RecordedRun, run_id: str, *, is_again: bool
) -> PathExecution:
    assert recorded.balance is not None
    arrivals = {name: fill.time_ms for name, fill in recorded.fills.items()} if is_again else {}
    return PathExecution(
        markets,
        recorded.config,
        run_id=run_id,
        balance=recorded.balance,
        arrivals=arrivals,
        refused=recorded.refused,
        acted=recorded.acted,
        day_wallet=None if recorded.had_position else recorded.day_wallet,
    )


def _by_rules(
    path: Path,
    recorded: RecordedRun,
    closed: Sequence[Decisions],
    funding: Sequence[FundingHistory],
) -> Ledger:
    """Return what a backtest on the candles gives, orders filling at the close of their signal."""
    config = recorded.config
    slots, decisions = [], []
    for market, session in enumerate(path.sessions):
        symbol, interval = session.history.symbol, session.history.timeframe
        ready, candles = recorded.ready[symbol], path.stored[market]
        first, end = closed_span(session, candles, recorded.from_ms)
        slots.append(
            Slot(
                script=session.history.name,
                symbol=symbol,
                interval=interval,
                candles=candles.prefix(end),
                contract=contract_of(ready.instrument, ready.brackets),
                funding=funding[market],
            )
        )
        decisions.append(closed[market].within(first, end))
    fees = recorded.ready[path.sessions[0].history.symbol].fees
    assert recorded.balance is not None
    return run_backtest(
        slots,
        decisions,
        Assumptions(
            start_balance=recorded.balance,
            taker_fee=fees.taker,
            maker_fee=fees.maker,
            slippage=ZERO,
            fill_at=FillAt.CLOSE,
            funding_rate=decimal_of(DEFAULT_FUNDING_E8),
            max_entry_risk=config.max_entry_risk * _HUNDRED or None,
            max_leverage=Decimal(config.max_leverage) or None,
            max_positions=config.max_open_positions or None,
            max_daily_loss=config.max_daily_loss * _HUNDRED or None,
            allowed_symbols=config.allowed_symbols or None,
        ),
    )


# --- how they compare ---------------------------------------------------------------------------


def _compared_fills(path: Path, recorded: RecordedRun) -> dict[str, PathFill]:
    """Return the recorded fills that prices on record can tell of."""
    found = {}
    for name, fill in recorded.fills.items():
        is_later = fill.reason in _BY_PRICE and fill.time_ms > path.last_ms[fill.symbol]
        # At that very time came the order that ended the position which the run had begun with.
        is_first = fill.time_ms == recorded.from_ms and fill.reason is None
        is_before = recorded.had_position and fill.time_ms <= recorded.from_ms and not is_first
        if not is_later and not is_before:
            found[name] = fill
    return found


_BY_PRICE = frozenset({ExitReason.STOP, ExitReason.TARGET, ExitReason.LIQUIDATION})


def _by_order(
    recorded: Mapping[str, PathFill], given: Sequence[PathFill], until_ms: int | None
) -> list[Difference]:
    """Return the orders that fill otherwise along the recorded prices."""
    here = _named(given)
    there = _named(recorded.values())
    differences = []
    for name in sorted({**there, **here}, key=lambda one: (there.get(one) or here[one]).time_ms):
        mine, theirs = here.get(name), there.get(name)
        one = theirs or mine
        assert one is not None
        if until_ms is not None and one.time_ms >= until_ms:
            continue
        texts = _full(theirs), _full(mine)
        if texts[0] != texts[1]:
            note = f"order {name} does not fill so along the recorded prices"
            differences.append(_difference(mine or one, Cause.UNEXPLAINED, *texts, note))
    return differences


def _named(fills: Iterable[PathFill]) -> dict[str, PathFill]:
    """Return the fills by order; forced ones, which the exchange names, by their number."""
    named: dict[str, PathFill] = {}
    forced: dict[str, int] = defaultdict(int)
    for fill in sorted(fills, key=lambda fill: fill.time_ms):
        name = fill.order
        if fill.reason is ExitReason.LIQUIDATION:
            forced[fill.symbol] += 1
            name = f"of liquidation {forced[fill.symbol]} of {fill.symbol}"
        named[name] = fill
    return named


def _by_row(recorded: RecordedRun, again: PathExecution) -> list[Difference]:
    """Return the rows of the trade list that the executions do not add up to."""
    rows: dict[str, list[Trade]] = defaultdict(list)
    for row in recorded.rows:
        is_after = not recorded.had_position or row.entry_ms >= recorded.from_ms
        if row.reason is not ExitReason.FUNDING and is_after:
            rows[row.symbol].append(row)
    differences = []
    for trade in again.purse.trades:
        theirs = rows[trade.symbol].pop(0) if rows[trade.symbol] else None
        if theirs is not None and recorded.killed_ms and trade.exit_ms >= recorded.killed_ms:
            continue
        mine = _row_text(trade.entry_price, trade.exit_price, trade.qty, trade.exit_reason)
        shown = "(none)"
        is_same = False
        if theirs is not None:
            shown = _row_text(
                theirs.entry_price, theirs.exit_price or ZERO, theirs.qty, theirs.reason
            )
            pairs = (
                (theirs.fees, trade.fees),
                (theirs.funding, trade.funding),
                (theirs.profit, trade.net),
            )
            is_same = mine == shown and all(abs(a - b) <= _SHARE_ROUNDING for a, b in pairs)
            shown += _money_text(theirs.fees, theirs.funding, theirs.profit)
        mine += _money_text(trade.fees, trade.funding, trade.net)
        if not is_same:
            differences.append(
                Difference(
                    script=trade.script,
                    symbol=trade.symbol,
                    open_ms=trade.exit_index,
                    cause=Cause.UNEXPLAINED,
                    recorded=shown,
                    given=mine,
                    note="the row of the trade list is another one",
                    is_fill=True,
                )
            )
    return differences


def _by_candle(
    first: Sequence[PathFill], second: Sequence[PathFill], cause: Cause, path: Path
) -> list[Difference]:
    """Return the candles in which two executions fill otherwise, up to the last that closed."""
    ends = {}
    for session, candles in zip(path.sessions, path.stored, strict=True):
        _, end = closed_span(session, candles)
        ends[session.history.symbol] = candles.open_ms.item(end - 1) if end else -1
    sides: tuple[dict[tuple[int, str], list[PathFill]], ...] = (
        defaultdict(list),
        defaultdict(list),
    )
    for side, fills in zip(sides, (first, second), strict=True):
        for fill in fills:
            side[fill.open_ms, fill.symbol].append(fill)
    note = (
        "closed candles are decided otherwise, or on another account"
        if cause is Cause.FORMING
        else "the candle's rules and its prices fill otherwise"
    )
    differences = []
    for key in sorted(sides[0].keys() | sides[1].keys()):
        texts = [", ".join(sorted(_short(fill) for fill in side[key])) for side in sides]
        if texts[0] != texts[1] and key[0] <= ends[key[1]]:
            one = (sides[0][key] or sides[1][key])[0]
            shown = [text or "(nothing)" for text in texts]
            differences.append(_difference(one, cause, shown[0], shown[1], note))
    return differences


def _fills_of(ledger: Ledger, path: Path) -> list[PathFill]:
    """Return a backtest's fills, in the candles to which the prices' ones belong."""
    times = {
        session.history.symbol: (candles.open_ms, session.history.timeframe)
        for session, candles in zip(path.sessions, path.stored, strict=True)
    }
    entries: dict[tuple[str, int], PathFill] = {}
    exits = []
    for trade in ledger.trades:
        open_ms, timeframe = times[trade.symbol]
        key = (trade.symbol, trade.entry_ms)
        before = entries.get(key)
        entry_open = open_ms.item(trade.entry_index)
        entries[key] = PathFill(
            script=trade.script,
            symbol=trade.symbol,
            order="",
            reason=None,
            direction=trade.direction,
            qty=trade.qty + (ZERO if before is None else before.qty),
            price=trade.entry_price,
            fee=ZERO,
            realized=ZERO,
            time_ms=close_ms_of(entry_open, timeframe),
            open_ms=entry_open,
        )
        if trade.is_open:
            continue
        exits.append(
            PathFill(
                script=trade.script,
                symbol=trade.symbol,
                order="",
                reason=trade.exit_reason,
                direction=trade.direction,
                qty=trade.qty,
                price=trade.exit_price,
                fee=ZERO,
                realized=trade.profit,
                time_ms=trade.exit_ms,
                open_ms=open_ms.item(trade.exit_index),
            )
        )
    return [*entries.values(), *exits]


def _difference(fill: PathFill, cause: Cause, recorded: str, given: str, note: str) -> Difference:
    return Difference(
        script=fill.script,
        symbol=fill.symbol,
        open_ms=fill.open_ms,
        cause=cause,
        recorded=recorded,
        given=given,
        note=note,
        is_fill=True,
    )


def _short(fill: PathFill) -> str:
    what = "enter" if fill.reason is None else str(fill.reason)
    return f"{what} {fill.direction} {plain(fill.qty)} at {plain(fill.price)}"


def _full(fill: PathFill | None) -> str:
    if fill is None:
        return "(none)"
    money = f"fee {plain(fill.fee)}"
    if fill.reason is not None:
        money += f", profit {plain(fill.realized)}"
    return f"{_short(fill)}, {money}"


def _row_text(entry: Decimal, exit_price: Decimal, qty: Decimal, reason: ExitReason | None) -> str:
    return f"{plain(qty)} from {plain(entry)} to {plain(exit_price)} by {reason}"


def _money_text(fees: Decimal, funding: Decimal, net: Decimal) -> str:
    return f", fees {plain(fees)}, funding {plain(funding)}, net {plain(net)}"
