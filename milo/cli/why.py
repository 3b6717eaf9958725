"""What is told about one candle of a backtest: values, and the account's side of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from milo import gates
from milo.backtest.contract import Contract
from milo.backtest.inquiry import Moment, Outcome
from milo.backtest.ledger import Assumptions
from milo.cli.explain import (
    Limits,
    NotSent,
    Row,
    Situation,
    arithmetic_rows,
    exit_rows,
    sized_rows,
)
from milo.errors import ScriptError
from milo.gates.verdict import GateInput, SizedInput
from milo.model import (
    Balance,
    Candle,
    CommissionRate,
    EntryIntent,
    ExitIntent,
    PositionReport,
)
from milo.money import ZERO, plain, shown
from milo.orders.protection import Unprotectable
from milo.orders.sizing import EntryRefused, ExitRefused, size_entry
from milo.script.actions import parse_action
from milo.script.explanation import Explanation

_ASKED_IN_BACKTESTS = ("symbols", "leverage", "trading_status", "daily_loss", "open_positions")
"""The other gates ask about a live account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One gate's answer, with what it looked at."""

    name: str
    text: str
    is_passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One script's candle."""

    script: str
    symbol: str
    interval: str
    candle: Candle
    index: int
    close_ms: int
    fill_at: str
    """Where orders are filled: `open` of the next candle, or `close` of this one."""
    explanation: Explanation | None
    """None where the script's worker had to be killed: `failure` says why."""
    failure: ScriptError | None
    action: str
    """What the run carried out."""
    halted_ms: int | None
    """The candle after whose failure the script was not run any more; None: it was running."""
    moment: Moment
    situation: Situation
    gates: tuple[GateRow, ...]
    sizing: tuple[Row, ...]
    refusal: str
    """Why nothing was sent for the action; "" where it was, or nothing was asked for."""
    outcome: Outcome | None = None
    """What became of the order; None where there was none, or no candle to fill it."""


def situation_of(moment: Moment, contract: Contract, assumptions: Assumptions) -> Situation:
    """Return the account at the close of a candle as the sizing of a live run would be told."""
    held, symbol = moment.held, contract.instrument.symbol
    position = None
    if held is not None:
        position = PositionReport(
            symbol=symbol,
            qty=held.direction.sign * held.qty,
            entry_price=held.entry_price,
            mark_price=moment.price,
            unrealized=held.unrealized,
            liquidation_price=held.liquidation_price or ZERO,
            isolated_margin=held.wallet + held.unrealized,
        )
    return Situation(
        instrument=contract.instrument,
        brackets=contract.brackets,
        fees=CommissionRate(maker=assumptions.maker_fee, taker=assumptions.taker_fee),
        config=None,
        balance=Balance(
            wallet=moment.wallet,
            available=moment.available,
            unrealized=moment.equity - moment.wallet,
        ),
        position=position,
        is_position_ours=True,
        price=moment.price,
        atr=moment.atr,
        limits=Limits(
            max_entry_risk=(assumptions.max_entry_risk or ZERO) / 100,
            max_leverage=int(assumptions.max_leverage or 0),
            allowed_symbols=assumptions.allowed_symbols or (),
        ),
    )


def gate_rows(given: GateInput, action: str, situation: Situation) -> tuple[GateRow, ...]:
    """Return what each gate says to an entry, the one that knows its size included."""
    rows = []
    for name, skip in gates.verdicts(given):
        if name in _ASKED_IN_BACKTESTS:
            text = _looked_at(name, given) if skip is None else skip.reason
            rows.append(GateRow(name=name, text=text, is_passed=skip is None))
    intent = parse_action(action)
    assert isinstance(intent, EntryIntent), "gates are asked about entries"
    limit, equity = situation.limits.max_entry_risk, situation.balance.equity
    try:
        loss = size_entry(intent, situation.sizing_input()).loss_at_stop
    except (EntryRefused, Unprotectable):
        return tuple(rows)
    sized = gates.ask_sized(SizedInput(loss_at_stop=loss, equity=equity, max_risk=limit))
    text = f"{shown(loss)} USDT at the stop, {loss / equity:.2%} of the equity; "
    text += f"at most {limit:.2%} (--max-risk)" if limit else "no limit (--max-risk)"
    rows.append(
        GateRow(
            name="entry_risk",
            text=text if sized is None else sized.reason,
            is_passed=sized is None,
        )
    )
    return tuple(rows)


def _looked_at(name: str, given: GateInput) -> str:
    match name:
        case "symbols":
            allowed = ", ".join(given.allowed_symbols) or "any"
            return f"{given.instrument.symbol}; allowed: {allowed} (--symbols)"
        case "leverage":
            return f"{plain(given.leverage)}x; {_at_most(given.max_leverage, 'x')} (--max-leverage)"
        case "trading_status":
            return f"{given.instrument.symbol} is trading"
        case "daily_loss":
            limit = f"at most {given.max_daily_loss:.2%}" if given.max_daily_loss else "no limit"
            return f"{given.lost_today:.2%} lost today; {limit} (--max-daily-loss)"
    open_now = f"{given.other_positions} positions on other symbols"
    return f"{open_now}; {_at_most(given.max_open_positions, '')} (--max-positions)"


def _at_most(limit: int | Decimal, unit: str) -> str:
    return f"at most {limit}{unit}" if limit else "no limit"


def sizing_rows(action: str, situation: Situation) -> tuple[Row, ...]:
    """Return how an action's quantity comes about, as far as it does; as `--explain` tells it."""
    intent = parse_action(action)
    rows: list[Row] = []
    try:
        match intent:
            case EntryIntent():
                position = situation.position
                if position is None or position.direction is not intent.direction:
                    rows += arithmetic_rows(intent, situation)
                    sized = size_entry(intent, situation.sizing_input())
                    rows += sized_rows(intent, sized, situation)
            case ExitIntent():
                rows += exit_rows(intent, situation)
    except (NotSent, EntryRefused, ExitRefused, Unprotectable):
        # The run says so in its own words.
        pass
    return tuple(rows)
