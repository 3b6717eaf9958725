"""What the journal of a run says of its account, its orders and its trades (layer 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from milo.backtest.path import PathFill
from milo.commands import RecordTrade, Trade, Verdict
from milo.errors import StoreError
from milo.events import AccountEvent, OrderEvent
from milo.inbox import (
    AccountRead,
    Failed,
    Failure,
    FillFound,
    FundingFound,
    KillSwitch,
    Signal,
    SymbolReady,
)
from milo.intervals import open_of
from milo.model import Direction, EntryIntent, ExitReason, Fill, Side
from milo.money import ZERO
from milo.orders.book import Book, CoreConfig
from milo.orders.codec import BOOK, CHECKPOINT, COMMAND, CONFIG, EVENT, decoded
from milo.orders.ids import Leg, is_ours, leg_of
from milo.orders.replay import Entry
from milo.script.actions import parse_action

KINDS = (
    CONFIG,
    BOOK,
    CHECKPOINT,
    f"{COMMAND}.{RecordTrade.__name__}",
    f"{COMMAND}.{Verdict.__name__}",
    *(
        f"{EVENT}.{kind.__name__}"
        for kind in (
            SymbolReady,
            AccountRead,
            AccountEvent,
            OrderEvent,
            FillFound,
            FundingFound,
            Signal,
            Failed,
            KillSwitch,
        )
    ),
)
"""The journal's entries that are read here."""

_FUNDING = "FUNDING_FEE"
_REASONS = {
    Leg.STOP: ExitReason.STOP,
    Leg.TARGET: ExitReason.TARGET,
    Leg.CLOSE: ExitReason.CLOSE,
    Leg.REVERSE: ExitReason.REVERSE,
}


@dataclass(slots=True, kw_only=True)
class RecordedRun:
    """One run's orders that filled and what they met with."""

    config: CoreConfig = field(default_factory=CoreConfig)
    balance: Decimal | None = None
    """The wallet at `from_ms`; None where the account was never read."""
    day_wallet: tuple[int, Decimal] | None = None
    from_ms: int = 0
    """What was before is not compared: a position was open that the run had not opened."""
    had_position: bool = False
    """The run began with an open position."""
    is_ever_flat: bool = True
    acted: dict[str, dict[str, int]] = field(default_factory=dict)
    """By symbol: kind of decision and the candle on which it was carried out before `from_ms`."""
    ready: dict[str, SymbolReady] = field(default_factory=dict)
    fills: dict[str, PathFill] = field(default_factory=dict)
    """By client order id (`order_name`), each order's executions together."""
    rows: list[Trade] = field(default_factory=list)
    payments: dict[tuple[int, str], Decimal] = field(default_factory=dict)
    """What was received (negative: paid) by settlement time and symbol."""
    signals: list[tuple[int, Signal]] = field(default_factory=list)
    """Those that changed anything, and when the core took them in."""
    refused: dict[str, str] = field(default_factory=dict)
    """Entry orders that were not taken, by client order id, with the reason."""
    killed_ms: int | None = None
    """When the kill switch was thrown."""


def order_name(client_id: str) -> str:
    """Return an order's name without the number of the attempt: tries of one thing are one."""
    if not is_ours(client_id):
        return "autoclose" if client_id.startswith("autoclose") else client_id
    return client_id.rstrip("0123456789")


def recorded_run(entries: Iterable[Entry], timeframes: Mapping[str, str]) -> RecordedRun:
    """Return what the entries of `KINDS` say; `timeframes` by symbol.

    Raises StoreError where an entry cannot be read, or the run has none.
    """
    reader = _Reader(timeframes)
    for _, time_ms, kind, body in entries:
        reader.take(time_ms, kind, decoded(kind, body))
    if reader.run.balance is None:
        raise StoreError("the run ended before it had read its account")
    return reader.run


class _Reader:
    def __init__(self, timeframes: Mapping[str, str]) -> None:
        self.run = RecordedRun()
        self._timeframes = timeframes
        self._seen: set[tuple[str, int]] = set()
        self._open: dict[str, Decimal] = {}

    def take(self, time_ms: int, kind: str, item: object) -> None:
        run = self.run
        match item:
            case CoreConfig():
                run.config = item
            case Book() if run.balance is None:
                self._start(item)
            case Verdict() if item.is_taken and not run.is_ever_flat:
                intent = parse_action(item.action)
                if isinstance(intent, EntryIntent):
                    acted = run.acted.setdefault(item.symbol, {})
                    acted[f"entry-{intent.direction}"] = item.candle_open_ms
            case SymbolReady():
                run.ready.setdefault(item.instrument.symbol, item)
            case AccountRead() if run.balance is None:
                self._begin(item)
            case AccountEvent():
                self._account(item)
            case OrderEvent() if item.fill is not None:
                self._fill(item.fill, item.report.client_id)
            case FillFound():
                self._fill(item.fill, item.fill.client_id)
            case FundingFound():
                run.payments.setdefault((item.time_ms, item.symbol), item.amount)
            case Signal():
                run.signals.append((time_ms, item))
            case Failed() if (
                item.failure is Failure.REFUSED and leg_of(item.client_id) is Leg.ENTRY
            ):
                run.refused[item.client_id] = item.text
            case KillSwitch():
                run.killed_ms = time_ms if run.killed_ms is None else run.killed_ms
            case RecordTrade():
                run.rows.append(item.trade)
            case _:
                pass

    def _start(self, book: Book) -> None:
        if book.day_wallet is not None:
            self.run.day_wallet = (book.day, book.day_wallet)
        self.run.acted = {symbol: dict(state.acted) for symbol, state in book.symbols.items()}

    def _begin(self, read: AccountRead) -> None:
        self.run.balance = read.balance.wallet
        self._open = {one.symbol: one.qty for one in read.positions if one.qty}
        self.run.had_position = bool(self._open)
        self.run.is_ever_flat = not self._open

    def _account(self, event: AccountEvent) -> None:
        run = self.run
        if event.reason == _FUNDING and event.funding_symbol is not None:
            run.payments[event.event_ms, event.funding_symbol] = event.change
        if run.is_ever_flat:
            return
        for change in event.positions:
            if change.symbol in self._open and not change.qty:
                del self._open[change.symbol]
            elif change.qty:
                self._open[change.symbol] = change.qty
        if not self._open and event.wallet is not None:
            run.balance, run.from_ms, run.is_ever_flat = event.wallet, event.event_ms, True

    def _fill(self, fill: Fill, client_id: str) -> None:
        if (fill.symbol, fill.trade_id) in self._seen or fill.symbol not in self._timeframes:
            return
        self._seen.add((fill.symbol, fill.trade_id))
        name = order_name(fill.client_id or client_id)
        if name == "autoclose":
            name = f"{name}-{fill.symbol}-{fill.venue_id}"
        run = self.run
        leg = leg_of(name)
        is_entry = leg is Leg.ENTRY
        reason = _REASONS.get(leg) if leg is not None else ExitReason.UNKNOWN
        if name.startswith("autoclose"):
            reason = ExitReason.LIQUIDATION
        is_long = (fill.side is Side.BUY) == is_entry
        before = run.fills.get(name)
        qty, value = fill.qty, fill.qty * fill.price
        if before is not None:
            qty, value = qty + before.qty, value + before.qty * before.price
        ready = run.ready.get(fill.symbol)
        run.fills[name] = PathFill(
            script="" if ready is None else ready.script,
            symbol=fill.symbol,
            order=name,
            reason=None if is_entry else reason,
            direction=Direction.LONG if is_long else Direction.SHORT,
            qty=qty,
            price=value / qty if before is not None else fill.price,
            fee=fill.fee + (ZERO if before is None else before.fee),
            realized=fill.realized + (ZERO if before is None else before.realized),
            time_ms=fill.time_ms,
            open_ms=open_of(fill.time_ms, self._timeframes[fill.symbol]),
        )
