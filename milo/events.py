"""What enters the engine from outside: the streams' messages as typed values (layer 0)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from milo.model import Candle, Fill, OrderReport


@dataclass(frozen=True, slots=True, kw_only=True)
class KlineEvent:
    """A candle as the kline stream tells it; closed only where the venue says so."""

    symbol: str
    interval: str
    candle: Candle
    is_closed: bool
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkPriceEvent:
    symbol: str
    mark: Decimal
    index: Decimal
    funding_rate: Decimal
    next_funding_ms: int
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTickerEvent:
    symbol: str
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """ORDER_TRADE_UPDATE: a regular order changed; `fill` where it was an execution."""

    report: OrderReport
    execution: str
    """NEW, CANCELED, CALCULATED, EXPIRED, TRADE or AMENDMENT."""
    fill: Fill | None
    is_liquidation: bool
    """True for the exchange's own forced orders (client id `autoclose-...`, ADL, settlement)."""
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoEvent:
    """ALGO_UPDATE: a conditional order of the Algo service changed."""

    report: OrderReport
    reject_reason: str
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChange:
    symbol: str
    qty: Decimal
    """Signed; 0 once the position is gone."""
    entry_price: Decimal
    unrealized: Decimal
    isolated_wallet: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent:
    """ACCOUNT_UPDATE: the USDT wallet and the positions that changed."""

    reason: str
    """ORDER, FUNDING_FEE, MARGIN_TYPE_CHANGE, ..."""
    wallet: Decimal | None
    """USDT wallet balance after the change; None where the event carries no USDT balance."""
    change: Decimal
    """Balance change except realised profit and commission (funding, transfers)."""
    positions: tuple[PositionChange, ...]
    funding_symbol: str | None
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageEvent:
    """ACCOUNT_CONFIG_UPDATE: a symbol's leverage changed."""

    symbol: str
    leverage: int
    event_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenKeyExpired:
    listen_key: str
    event_ms: int


USER_ROUTE = "user"
"""The connection that carries orders, fills and the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReset:
    """A connection was lost or went silent and is back: what it carries may have a gap."""

    route: str
    """`market` or `user`."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredEvent:
    """A message that we do not use: subscription replies, TRADE_LITE, unknown types."""

    name: str


StreamEvent = (
    KlineEvent
    | MarkPriceEvent
    | BookTickerEvent
    | OrderEvent
    | AlgoEvent
    | AccountEvent
    | LeverageEvent
    | ListenKeyExpired
    | StreamReset
    | IgnoredEvent
)
