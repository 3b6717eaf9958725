"""The book: all orders, positions and brackets as we know them. Immutable values.

Only `milo.orders.step` makes new books; only TradeManager's loop holds the current one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from milo.events import AccountEvent
from milo.inbox import Signal, SymbolReady
from milo.model import Direction, EntryIntent, ExitReason, Fill, NewOrder, Side
from milo.money import ZERO
from milo.orders.ids import Leg
from milo.orders.machine import OrderState
from milo.orders.seen import NOTHING_SEEN, SeenTrades

SAME_FUNDING_MS = 60_000
_NAMELESS = frozenset({OrderState.PLACING, OrderState.UNKNOWN, OrderState.ABSENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """What the fills of an entry order will be protected by."""

    signal: Signal
    leverage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOrder:
    """An order of ours, from before it is sent until it is forgotten."""

    order: NewOrder
    leg: Leg
    state: OrderState
    key: str
    """Of the trade it belongs to."""
    reason: ExitReason | None = None
    """Why it closes, where it does."""
    entering: Entering | None = None
    """Of an entry order: kept as long as it, because even a dead order can fill late."""
    venue_id: int | None = None
    """The regular order's id; for a conditional order that of the order it became."""
    filled_qty: Decimal = ZERO
    """What the venue says has been filled."""
    seen_qty: Decimal = ZERO
    """What we have seen filled, execution by execution."""
    is_watched: bool = False
    """A deadline for its executions is running."""
    is_doubted: bool = False
    """It stood, was missing from a snapshot, and nothing has told of it since."""
    is_given_up: bool = False
    """Absent, and not there either when it was asked for once more."""
    asked: int = 0
    """How often its missing executions have been asked for."""

    @property
    def has_unseen_fills(self) -> bool:
        return self.seen_qty < self.filled_qty

    @property
    def is_missing(self) -> bool:
        """It was not found, and may have arrived all the same: it is asked for once more."""
        return self.state is OrderState.ABSENT and not self.is_given_up

    @property
    def is_complete(self) -> bool:
        """Nothing more is to come from it, and all that came has been seen."""
        return self.state.is_final and not self.has_unseen_fills


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """An execution told before what it belongs to: an entry's other ones, or its order's number."""

    fill: Fill
    own_id: str | None = None
    """The order of ours that filled; None where it is not known, or somebody else's."""
    is_liquidation: bool = False
    is_order_done: bool = False
    """Counts for orders of others, whose end nothing else tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPart:
    """What one closing order has filled so far and no row tells yet."""

    reason: ExitReason
    qty: Decimal = ZERO
    value: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class SeenFunding:
    """A funding payment that was booked, and where it was told."""

    time_ms: int
    amount: Decimal
    is_statement: bool
    """Read from the venue's statement; else told by the stream."""

    def is_same(self, other: SeenFunding) -> bool:
        """Whether both tell of one payment: stream and statement may be seconds apart."""
        if self.is_statement is other.is_statement:
            return self.time_ms == other.time_ms
        is_near = abs(self.time_ms - other.time_ms) < SAME_FUNDING_MS
        return is_near and self.amount == other.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTrade:
    """A position that has ended: what a payment that is told late needs to know of it."""

    script: str
    direction: Direction
    entry_ms: int
    entry_price: Decimal
    exit_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrade:
    """The position that a script holds on a symbol, from its first fill to its last."""

    script: str
    direction: Direction
    qty: Decimal
    """Still open; unsigned."""
    entry_price: Decimal
    """Average price of the entry fills."""
    entry_ms: int
    leverage: int
    fees: Decimal = ZERO
    """Entry fees of the open quantity."""
    funding: Decimal = ZERO
    """Funding received (negative: paid) and not yet assigned to a closed part."""
    realized: Decimal = ZERO
    """What entry fills realised, not yet assigned: they also closed something told late."""
    intent: EntryIntent | None = None
    """None for a position that was adopted at start."""
    key: str = ""
    """Of the signal; names the client ids of stop, target and closing orders."""
    atr: Decimal | None = None
    stop_id: str | None = None
    stop_price: Decimal | None = None
    is_stop_confirmed: bool = False
    stop_watch: str | None = None
    """Client id under which the deadline for a confirmed stop is running."""
    target_id: str | None = None
    target_price: Decimal | None = None
    bridge_id: str | None = None
    """Client id of the stop that stands in while the position's own is moved."""
    next_stop: Decimal | None = None
    """Where it is moved to."""
    liquidation: Decimal | None = None
    attempts: int = 0
    """How many stops have been placed for it."""
    target_attempts: int = 0
    closes: int = 0
    """How many orders have been sent that close all of it."""
    closing_id: str | None = None
    """The one that is under way."""
    is_announced: bool = False
    exits: Mapping[str, ExitPart] = field(default_factory=dict)
    """By client id of the closing order, or `venue-N` for one that is not ours."""

    @property
    def is_closing(self) -> bool:
        return self.closing_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolBook:
    """Everything about one symbol that a script trades."""

    ready: SymbolReady
    leverage: int
    is_isolated: bool
    trade: OpenTrade | None = None
    orders: Mapping[str, OwnOrder] = field(default_factory=dict)
    queued: Signal | None = None
    """An opposite entry that waits until the position it reverses is closed."""
    acted: Mapping[str, int] = field(default_factory=dict)
    """Kind of signal -> open time of the candle on which it was last acted upon."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Kind of signal -> open time of the candle on which its refusal was last told."""
    venue_qty: Decimal = ZERO
    """Signed position as the account stream last told it."""
    foreign_qty: Decimal = ZERO
    """Signed position that Milo did not open and leaves alone."""
    snapshot_ms: int = 0
    """A position was taken over as it stood then: earlier executions are part of it."""
    flat_reads: int = 0
    """How many readings in a row had no position where the book has one."""
    is_snapshot_doubted: bool = False
    """The last snapshot was older than what executions had told; another was asked for."""
    seen: SeenTrades = NOTHING_SEEN
    last_trade_id: int = 0
    """The highest seen."""
    fill_ms: int = 0
    """Time of the newest execution seen."""
    read_ms: int = 0
    """Until then the venue's list of executions has been read, and nothing was missing in it."""
    funding_seen: tuple[SeenFunding, ...] = ()
    """The newest funding payments, so that each is booked once."""
    ended: tuple[EndedTrade, ...] = ()
    """The newest positions of ours that have ended, oldest first."""
    stray_funding: tuple[tuple[int, Decimal], ...] = ()
    """(time, amount) of funding that came while no position of ours was known."""
    waiting: tuple[Execution, ...] = ()
    """Executions that cannot be understood yet."""
    foreign_fills: tuple[Execution, ...] = ()
    """The newest executions that seemed to be none of ours; an entry told late can explain them."""
    unclaimed: Mapping[int, Decimal] = field(default_factory=dict)
    """Venue's order id -> quantity filled, where no order of ours was known by that number."""

    @property
    def is_entering(self) -> bool:
        """An entry order may still fill, or has filled without our having seen it all."""
        return any(own.leg is Leg.ENTRY and not own.is_complete for own in self.orders.values())

    def is_entering_by(self, side: Side) -> bool:
        """As `is_entering`, of entries on one side of the order book."""
        return any(
            own.leg is Leg.ENTRY and own.order.side is side and not own.is_complete
            for own in self.orders.values()
        )

    @property
    def is_calm(self) -> bool:
        """No answer, execution or confirmation is awaited."""
        trade = self.trade
        if trade is not None and (
            not trade.is_stop_confirmed or trade.is_closing or trade.bridge_id is not None
        ):
            return False
        is_awaited = any(
            own.has_unseen_fills
            or own.state in (OrderState.PLACING, OrderState.UNKNOWN)
            or (own.leg not in (Leg.STOP, Leg.TARGET) and not own.state.is_final)
            for own in self.orders.values()
        )
        return not is_awaited and self.queued is None and not self.waiting

    def pending_entry(self, key: str) -> OwnOrder | None:
        """Return the entry of a trade that may still open something; None where it is resolved."""
        for own in self.orders.values():
            if own.leg is Leg.ENTRY and own.key == key and (own.is_missing or not own.is_complete):
                return own
        return None

    def stops_of(self, key: str) -> list[OwnOrder]:
        """Return the stops that were sent for a trade, oldest first."""
        return [own for own in self.orders.values() if own.leg is Leg.STOP and own.key == key]

    @property
    def unexplained_qty(self) -> Decimal:
        """Signed: what the account shows beyond our position and the foreign one."""
        trade = self.trade
        ours = ZERO if trade is None else trade.direction.sign * trade.qty
        return self.venue_qty - self.foreign_qty - ours

    def nameless_orders(self, side: Side) -> list[str]:
        """Return market orders on a side that may stand at the venue under an unknown number."""
        return [
            client_id
            for client_id, own in self.orders.items()
            if own.venue_id is None
            and own.state in _NAMELESS
            and own.order.side is side
            and not own.order.is_conditional
            and not own.is_given_up
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The USDT account by the stream's last word."""

    wallet: Decimal
    locked: Mapping[str, Decimal]
    """Isolated wallet by symbol."""
    elsewhere_unrealized: Decimal = ZERO
    """Unrealised profit, at the last reading, of positions that no script of ours holds."""
    elsewhere_held: Decimal = ZERO
    """What else, at the last reading, made less available: cross positions, open orders."""
    last_event: AccountEvent | None = None
    """The newest event that told of it."""

    @property
    def available(self) -> Decimal:
        """Wallet less isolated margins: what a new isolated position can use."""
        return self.wallet - sum(self.locked.values(), ZERO) - self.elsewhere_held


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    run_id: str
    account: Account | None = None
    """None: not known, and nothing is opened."""
    is_account_stale: bool = False
    """Events may have been lost: nothing is opened until the account was read again."""
    is_reading: bool = False
    """A reading of the account was asked for and has not come."""
    reread: str | None = None
    """Why it must be read once more after that: doubt arose while it was being read."""
    events_in_reading: int = 0
    """Account events that came since it was asked for: it may be older than they are."""
    overtaken: int = 0
    """How many readings in a row such events have overtaken."""
    funding_ms: int = 0
    """Until then the venue's list of funding payments has been read."""
    halted: str | None = None
    """Why nothing is opened any more in this run: the kill switch; None while all is well."""
    day: int = 0
    """Days since 1970 (UTC, the venue's clock) of `day_wallet`."""
    day_wallet: Decimal | None = None
    """The wallet as the day began for us; transfers since then are added."""
    symbols: Mapping[str, SymbolBook] = field(default_factory=dict)

    @property
    def is_calm(self) -> bool:
        """Nothing is under way: every position has its confirmed stop, no answer is awaited."""
        return not self.is_reading and all(state.is_calm for state in self.symbols.values())

    def with_symbol(self, symbol_book: SymbolBook) -> Book:
        symbol = symbol_book.ready.instrument.symbol
        return dataclasses.replace(self, symbols={**self.symbols, symbol: symbol_book})

    def unrealized(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the unrealised profit of all positions at `marks` (entry price where unknown)."""
        total = ZERO if self.account is None else self.account.elsewhere_unrealized
        for symbol, trade in self.open_trades():
            if symbol in marks:
                total += trade.direction.sign * trade.qty * (marks[symbol] - trade.entry_price)
        return total

    def open_trades(self) -> Iterable[tuple[str, OpenTrade]]:
        """Return (symbol, trade) of each position that a script holds."""
        return [
            (symbol, state.trade)
            for symbol, state in self.symbols.items()
            if state.trade is not None
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """What the core is told of the run and never changes."""

    stop_deadline_s: float = 2.2
    """Wall seconds between first fill and confirmed stop, after which the position is closed: so
    that the closing order is under way before the three seconds of the promise are over."""
    venue_expires_brackets: bool = True
    """Whether the venue has an Algo service: it ends closePosition orders itself once the position
    is gone, takes none without a position, and no second one of a kind."""
    may_trade: bool = True
    """False on a real venue without --live: signals are shown, nothing is sent."""
    max_daily_loss: Decimal = ZERO
    """Share of the day's first wallet balance (0.2 = 20 %) that may be lost in a UTC day before
    nothing is opened any more that day; 0: no limit."""
    max_open_positions: int = 0
    """How many positions may be open at once; 0: no limit."""
    max_entry_risk: Decimal = ZERO
    """Share of the equity (0.2 = 20 %) that one entry may lose at its stop; 0: no limit."""
    max_leverage: int = 0
    """The most leverage that an action may ask for; 0: no limit."""
    allowed_symbols: tuple[str, ...] = ()
    """On which entries are allowed; none: any."""
