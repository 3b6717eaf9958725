"""The core at a desk: a book, a paper venue, and what waits to be carried from one to the other.

Values and makers for the tests of the trading core. `Desk` carries everything out at once and in
order; tests of other orders of events take them from `deliver` and `carry_out` one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

from milo.commands import (
    Cancel,
    Command,
    Enter,
    LookUp,
    Note,
    NoteKind,
    Place,
    ReadAccount,
    RecordTrade,
    Trade,
    Verdict,
    WatchStop,
)
from milo.inbox import CoreEvent, FillFound, FundingFound, Resumed, Signal, StopOverdue, SymbolReady
from milo.model import (
    CommissionRate,
    EntryIntent,
    ExitIntent,
    Fill,
    Instrument,
    LeverageBracket,
    NewOrder,
    SymbolConfig,
)
from milo.orders.book import Book, CoreConfig, OpenTrade, SymbolBook
from milo.orders.codec import BOOK, decoded, encoded
from milo.orders.ledger import open_rows
from milo.orders.recover import book_to_resume
from milo.orders.step import step
from milo.orders.wanted import has_news, is_funding_due, wanted_records
from milo.script.actions import parse_action
from tests.paper_venue import PaperVenue

SYMBOL = "BTCUSDT"
HOUR_MS = 3_600_000
RUN_ID = "0run0run"
SCRIPT = "trend"

BTC = Instrument(
    symbol=SYMBOL,
    base_asset="BTC",
    quote_asset="USDT",
    status="TRADING",
    tick=Decimal("0.1"),
    min_price=Decimal("0.1"),
    max_price=Decimal(4_000_000),
    step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    market_step=Decimal("0.001"),
    market_min_qty=Decimal("0.001"),
    market_max_qty=Decimal(120),
    min_notional=Decimal(50),
    liquidation_fee=Decimal("0.0125"),
)
FEES = CommissionRate(maker=Decimal("0.0002"), taker=Decimal("0.0005"))


def bracket_table(*rows: tuple[int, int, str]) -> tuple[LeverageBracket, ...]:
    """Return brackets from (cap, highest leverage, maintenance ratio), continuous as real ones."""
    table: list[LeverageBracket] = []
    for cap, leverage, ratio_text in rows:
        ratio = Decimal(ratio_text)
        floor = table[-1].cap if table else Decimal(0)
        cum = table[-1].cum + floor * (ratio - table[-1].maint_ratio) if table else Decimal(0)
        table.append(
            LeverageBracket(
                floor=floor, cap=Decimal(cap), max_leverage=leverage, maint_ratio=ratio, cum=cum
            )
        )
    return tuple(table)


BRACKETS = bracket_table(
    (50_000, 125, "0.004"),
    (600_000, 100, "0.005"),
    (3_000_000, 75, "0.0065"),
    (12_000_000, 50, "0.01"),
    (70_000_000, 25, "0.02"),
    (230_000_000, 10, "0.05"),
)


def ready(
    instrument: Instrument = BTC, *, leverage: int = 20, is_isolated: bool = True
) -> SymbolReady:
    return SymbolReady(
        instrument=instrument,
        brackets=BRACKETS,
        fees=FEES,
        config=SymbolConfig(symbol=instrument.symbol, leverage=leverage, is_isolated=is_isolated),
        script=SCRIPT,
    )


def signal(
    action: str,
    *,
    price: Decimal,
    candle: int = 0,
    is_forming: bool = False,
    atr: Decimal | None = None,
    marks: dict[str, Decimal] | None = None,
) -> Signal:
    intent = parse_action(action)
    assert intent is not None
    return Signal(
        script=SCRIPT,
        symbol=SYMBOL,
        timeframe="1h",
        candle_open_ms=candle * HOUR_MS,
        is_forming=is_forming,
        action=action,
        entry=intent if isinstance(intent, EntryIntent) else None,
        exit=intent if isinstance(intent, ExitIntent) else None,
        price=price,
        atr=atr,
        marks={SYMBOL: price} if marks is None else marks,
    )


T = TypeVar("T")


class Desk:
    """Runs `step` against a paper venue and remembers what it said."""

    def __init__(
        self,
        *,
        price: str = "50000",
        config: CoreConfig | None = None,
        venue: PaperVenue | None = None,
        instrument: Instrument = BTC,
        is_isolated: bool = True,
    ) -> None:
        self.venue = venue or PaperVenue(SYMBOL, Decimal(price))
        self.config = config or CoreConfig(venue_expires_brackets=self.venue.has_algo_service)
        self.start_wallet = self.venue.wallet
        self.book = Book(run_id=RUN_ID)
        self.log: list[Command] = []
        """Every command ever given."""
        self.due: list[Command] = []
        """Commands that nobody has carried out yet."""
        self.deliver(
            ready(instrument, leverage=self.venue.leverage, is_isolated=is_isolated),
            self.venue.account_read(),
        )

    # --- from the venue to the core ------------------------------------------------------------

    def deliver(self, *events: CoreEvent) -> list[Command]:
        """Give the core events; return the commands that it answered."""
        given: list[Command] = []
        for event in events:
            self.book, commands = step(self.book, event, self.venue.now_ms, self.config)
            given += commands
        self.log += given
        self.due += given
        return given

    def signal(
        self, action: str, *, candle: int = 0, is_forming: bool = False, atr: str | None = None
    ) -> list[Command]:
        """Let the script ask for something at the venue's price."""
        return self.deliver(
            signal(
                action,
                price=self.venue.price,
                candle=candle,
                is_forming=is_forming,
                atr=None if atr is None else Decimal(atr),
            )
        )

    # --- from the core to the venue ------------------------------------------------------------

    def carry_out(self, command: Command) -> list[CoreEvent]:
        """Do what a command asks for; return everything that comes of it, the stream's part first.

        Deadlines never pass by themselves: a test lets them pass with `overdue`.
        """
        venue = self.venue
        match command:
            case Enter():
                events = [] if command.leverage is None else venue.set_leverage(command.leverage)
                answer, told = venue.place(command.order)
                return [*events, *told, answer]
            case Place():
                answer, told = venue.place(command.order)
                return [*told, answer]
            case Cancel():
                answer, told = venue.cancel(command.client_id)
                return [*told, answer]
            case LookUp():
                fills = venue.fills_of(command.client_id)
                return [*venue.look_up(command.client_id), *_found(fills)]
            case ReadAccount():
                return self.read()
            case WatchStop() | Verdict() | Note() | RecordTrade():
                return []

    def read(self) -> list[CoreEvent]:
        """Read what the book wants of the venue's records, and then the account."""
        wanted = wanted_records(self.book).get(SYMBOL)
        fills = [] if wanted is None else self.venue.fills_since(wanted.fills_ms or 0)
        state, now_ms = self.state, self.venue.now_ms
        is_known = state.trade is not None or state.is_entering
        account = self.venue.account_read(with_recent=not is_known)
        has_funding = is_funding_due(self.book, now_ms)
        if has_funding:
            account = dataclasses.replace(account, began_ms=now_ms, has_funding=True)
        found: list[CoreEvent] = _found(fills)
        if wanted is not None and (has_funding or has_news(state, fills)):
            found += [
                FundingFound(symbol=SYMBOL, amount=amount, time_ms=time_ms)
                for time_ms, amount in self.venue.payments
                if time_ms >= (wanted.funding_ms or 0)
            ]
        return [*sorted(found, key=_time_of), account]

    def die_and_resume(self, run_id: str) -> list[CoreEvent]:
        """Lose all but what the journal has, and start again; return what the start reads.

        What was to be done and was not is forgotten.
        """
        journal = decoded(BOOK, encoded(self.book))
        self.book = book_to_resume(journal, run_id=run_id, symbols=[SYMBOL])
        self.due.clear()
        config = ready(leverage=self.venue.leverage)
        self.deliver(Resumed(), config)
        return self.read()

    def settle(self) -> None:
        """Carry out all commands that are due, and those that come of them, in order."""
        while self.due:
            self.deliver(*self.carry_out(self.due.pop(0)))

    def enter(self, action: str = "long(1%risk@10x,sl=2%,rr=3)", *, candle: int = 0) -> OpenTrade:
        """Let an entry go through with everything that follows; return the position."""
        self.signal(action, candle=candle)
        self.settle()
        return self.trade

    def move_to(self, price: str) -> None:
        """Let the price move, and settle all that comes of it."""
        self.deliver(*self.venue.move_to(Decimal(price)))
        self.settle()

    def overdue(self, client_id: str) -> list[Command]:
        """Let a deadline pass."""
        return self.deliver(StopOverdue(symbol=SYMBOL, client_id=client_id))

    # --- looking -------------------------------------------------------------------------------

    @property
    def state(self) -> SymbolBook:
        return self.book.symbols[SYMBOL]

    @property
    def trade(self) -> OpenTrade:
        trade = self.state.trade
        assert trade is not None
        return trade

    def rows(self) -> list[Trade]:
        """Return the rows of closed parts so far."""
        return [command.trade for command in self.log if isinstance(command, RecordTrade)]

    def profit(self) -> Decimal:
        """Return what all rows add up to, the open one included."""
        rows = [*self.rows(), *open_rows(self.book)]
        return sum((row.profit for row in rows), Decimal(0))

    def earned(self) -> Decimal:
        """Return by how much the venue's wallet has changed."""
        return self.venue.wallet - self.start_wallet

    def notes(self, kind: NoteKind | None = None) -> list[str]:
        """Return the lines for the operator."""
        return [n.text for n in of_type(Note, self.log) if kind is None or n.kind is kind]


def of_type(kind: type[T], commands: Iterable[Command]) -> list[T]:
    """Return the commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


def orders_in(commands: Iterable[Command]) -> list[NewOrder]:
    """Return the orders that commands send, in order."""
    return [command.order for command in commands if isinstance(command, Enter | Place)]


def _time_of(event: CoreEvent) -> int:
    return event.fill.time_ms if isinstance(event, FillFound) else event.time_ms  # type: ignore[union-attr]


def _found(fills: Iterable[Fill]) -> list[CoreEvent]:
    return [FillFound(fill=fill) for fill in fills]
