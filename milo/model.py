"""The words of Milo: immutable values that every layer shares (layer 0).

Prices, quantities and money are Decimal; times are int ms UTC; candle fields are float, because
they feed indicators.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Direction(StrEnum):
    """The side of a position or of an intent."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        return 1 if self is Direction.LONG else -1

    @property
    def entry_side(self) -> Side:
        return Side.BUY if self is Direction.LONG else Side.SELL

    @property
    def exit_side(self) -> Side:
        return self.entry_side.opposite

    @property
    def opposite(self) -> Direction:
        return Direction.SHORT if self is Direction.LONG else Direction.LONG


class OrderType(StrEnum):
    """Order types by the exchange's names; the last five are conditional."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"

    @property
    def is_conditional(self) -> bool:
        return self not in (OrderType.LIMIT, OrderType.MARKET)


class OrderStatus(StrEnum):
    """The life of an order; the algo service's states included."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.EXPIRED_IN_MATCH,
        OrderStatus.FINISHED,
    }
)


class ExitReason(StrEnum):
    """Why a position, or a part of it, was closed."""

    STOP = "stop"
    TARGET = "target"
    CLOSE = "close"
    REVERSE = "reverse"
    LIQUIDATION = "liquidation"
    UNKNOWN = "unknown"
    """The venue has the position no more, and does not tell how it ended."""
    FUNDING = "funding"
    """Nothing was closed: a payment on a position that had ended already, told late."""


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle; identified by `open_ms`, usable for decisions only when closed."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What the venue says about a symbol; steps and limits in quote price and base quantity."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_step: Decimal
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    liquidation_fee: Decimal
    onboard_ms: int = 0

    @property
    def is_trading(self) -> bool:
        return self.status == "TRADING"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageBracket:
    """One step of the margin table: applies to notionals in (floor, cap]."""

    floor: Decimal
    cap: Decimal
    max_leverage: int
    maint_ratio: Decimal
    cum: Decimal
    """Maintenance margin = notional * maint_ratio - cum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommissionRate:
    """Fractions of notional (0.0005 = 0.05 %)."""

    maker: Decimal
    taker: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The account's USDT as the venue states it."""

    wallet: Decimal
    available: Decimal
    unrealized: Decimal

    @property
    def equity(self) -> Decimal:
        return self.wallet + self.unrealized


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReport:
    """A position as the venue states it; `qty` is signed (short < 0)."""

    symbol: str
    qty: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized: Decimal
    liquidation_price: Decimal
    """0 where there is none."""
    isolated_margin: Decimal
    update_ms: int = 0

    @property
    def direction(self) -> Direction:
        return Direction.LONG if self.qty > 0 else Direction.SHORT


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolConfig:
    """Leverage and margin type that the account has set for a symbol."""

    symbol: str
    leverage: int
    is_isolated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """The account's modes, and whether it may trade at all."""

    can_trade: bool
    is_hedge: bool
    is_multi_assets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPermissions:
    """What an API key may do."""

    can_withdraw: bool
    can_trade_futures: bool
    is_ip_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order to be sent. `is_close_position` closes all and takes no quantity."""

    symbol: str
    side: Side
    type: OrderType
    client_id: str
    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    is_reduce_only: bool = False
    is_close_position: bool = False
    time_in_force: str | None = None
    """GTC, IOC, FOK or GTX; only for LIMIT."""

    @property
    def is_conditional(self) -> bool:
        return self.type.is_conditional


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """An order as the venue states it, from an answer, a query or a stream."""

    symbol: str
    client_id: str
    venue_id: int
    side: Side
    type: OrderType
    status: OrderStatus
    qty: Decimal
    filled_qty: Decimal
    avg_price: Decimal | None
    """None where the answer does not say (order replies since 2026-06-30)."""
    price: Decimal
    trigger_price: Decimal
    is_reduce_only: bool
    is_close_position: bool
    is_conditional: bool
    """True where the order lives in the exchange's Algo service."""
    update_ms: int
    triggered_venue_id: int | None = None
    """The regular order that a conditional one became."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. `realized` is the venue's profit before fees; `fee` is in USDT."""

    symbol: str
    client_id: str
    venue_id: int
    """The id of the (regular) order that filled."""
    trade_id: int
    side: Side
    qty: Decimal
    price: Decimal
    realized: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate:
    symbol: str
    time_ms: int
    rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPayment:
    """What a funding settlement added to the wallet (negative: paid), USDT."""

    symbol: str
    amount: Decimal
    time_ms: int


class DistanceKind(StrEnum):
    """How a stop or target is written in an action."""

    PERCENT = "%"
    ATR = "atr"
    PRICE = "price"


@dataclass(frozen=True, slots=True)
class Distance:
    value: Decimal
    kind: DistanceKind


class AmountKind(StrEnum):
    RISK = "risk"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryIntent:
    """`long(...)` or `short(...)`: percentages as written (1 means 1 %), leverage as written."""

    direction: Direction
    amount: Decimal
    amount_kind: AmountKind
    leverage: Decimal
    stop: Distance | None = None
    target: Distance | None = None
    reward_ratio: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitIntent:
    """`close` or `close(N%)`; percent 100 closes all."""

    percent: Decimal = Decimal(100)


Intent = EntryIntent | ExitIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Whether a script's process is locked in, and by what; `text` is for a person."""

    is_isolated: bool
    text: str

    @property
    def line(self) -> str:
        """What every screen says."""
        return f"{'isolated' if self.is_isolated else 'UNISOLATED'}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptHeader:
    """What a script says about itself before it runs; None where the header is missing."""

    name: str
    timeframe: str | None
    coin: str | None
    indicators: tuple[str, ...] = ()
    inputs: tuple[ScriptInput, ...] = ()
    text_sha256: str = ""
    warnings: tuple[str, ...] = ()
    isolation: Isolation | None = None
    """Of the process that read the script, and will run it."""
    reads_account: bool = False
    """It reads balance or positions: its decisions depend on more than candles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptInput:
    """One declared `param()`."""

    name: str
    default: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptResult:
    """The worker's answer for one evaluation, checked by the engine's side."""

    condition: bool
    action: str
    """The action string that applies (already chosen by the condition)."""
    prints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    marks: tuple[str, ...] = ()
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A script's own line: its newest value at the candle of the evaluation."""

    name: str
    pane: str
    value: float
