"""The book: all orders, positions and brackets as we know them. Immutable values.

Only `milo.orders.step` makes new books; only TradeManager's loop holds the current one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from milo.inbox import Signal, SymbolReady
from milo.model import Direction, EntryIntent, ExitReason, NewOrder
from milo.money import ZERO
from milo.orders.ids import Leg
from milo.orders.machine import OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOrder:
    """An order of ours, from before it is sent until it is forgotten."""

    order: NewOrder
    leg: Leg
    state: OrderState
    reason: ExitReason | None = None
    """Why it closes, where it does."""
    venue_id: int | None = None
    """The regular order's id; for a conditional order that of the order it became."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPart:
    """What one closing order has filled so far."""

    qty: Decimal = ZERO
    value: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    last_ms: int = 0


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
    intent: EntryIntent | None = None
    """None for a position that was adopted at start."""
    key: str = ""
    """Of the signal; names the client ids of stop and target."""
    atr: Decimal | None = None
    stop_id: str | None = None
    stop_price: Decimal | None = None
    is_stop_confirmed: bool = False
    target_id: str | None = None
    target_price: Decimal | None = None
    liquidation: Decimal | None = None
    attempts: int = 0
    """How many stops have been placed for it."""
    is_closing: bool = False
    is_announced: bool = False
    exits: Mapping[str, ExitPart] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entering:
    """The entry under way: what its fills will be protected by."""

    signal: Signal
    key: str
    leverage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolBook:
    """Everything about one symbol that a script trades."""

    ready: SymbolReady
    leverage: int
    is_isolated: bool
    trade: OpenTrade | None = None
    orders: Mapping[str, OwnOrder] = field(default_factory=dict)
    entering: Entering | None = None
    queued: Signal | None = None
    """An opposite entry that waits until the position it reverses is closed."""
    acted: Mapping[str, int] = field(default_factory=dict)
    """Kind of signal -> open time of the candle on which it was last acted upon."""
    venue_qty: Decimal = ZERO
    """Signed position as the account stream last told it."""
    foreign_qty: Decimal = ZERO
    """Signed position that Milo did not open and leaves alone."""
    last_trade_id: int = 0

    def live_orders(self, leg: Leg) -> list[str]:
        """Return client ids of our orders of this leg that are not final."""
        return [
            client_id
            for client_id, own in self.orders.items()
            if own.leg is leg and not own.state.is_final
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The USDT account by the stream's last word."""

    wallet: Decimal
    locked: Mapping[str, Decimal]
    """Isolated margin by symbol."""
    elsewhere_unrealized: Decimal = ZERO
    """Unrealised profit, at the last reading, of positions whose price we do not follow."""

    @property
    def available(self) -> Decimal:
        """Wallet less isolated margins: what a new isolated position can use."""
        return self.wallet - sum(self.locked.values(), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    run_id: str
    account: Account | None = None
    """None: not known, and nothing is opened."""
    symbols: Mapping[str, SymbolBook] = field(default_factory=dict)

    def with_symbol(self, symbol_book: SymbolBook) -> Book:
        symbol = symbol_book.ready.instrument.symbol
        return dataclasses.replace(self, symbols={**self.symbols, symbol: symbol_book})

    def unrealized(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the unrealised profit of all positions at `marks` (entry price where unknown)."""
        total = ZERO if self.account is None else self.account.elsewhere_unrealized
        for symbol, entry in self.symbols.items():
            trade = entry.trade
            if trade is not None and symbol in marks:
                total += trade.direction.sign * trade.qty * (marks[symbol] - trade.entry_price)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """What the core is told of the run and never changes."""

    stop_deadline_s: float = 3.0
    """Wall seconds between first fill and confirmed stop, after which the position is closed."""
    venue_expires_brackets: bool = True
    """Whether the venue ends closePosition orders itself once the position is gone."""
    may_trade: bool = True
    """False on a real venue without --live: signals are shown, nothing is sent."""
