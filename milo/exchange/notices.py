"""What the exchange tells the account's owner: the events of the user stream, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from milo.exchange.state import Algo, Order, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNotice:
    """A regular order changed; `order` is a copy as of then."""

    order: Order
    execution: str
    """NEW, CANCELED, CALCULATED, EXPIRED or TRADE."""
    trade: Trade | None
    expiry_reason: int
    """0 none, 2 IOC, 4 reduce-only knocked out, 5 liquidation."""
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionState:
    """A position as an account notice shows it; e8, prices of entry and break-even e16."""

    symbol: str
    qty: int
    entry_e16: int
    break_even_e16: int
    realized: int
    unrealized: int
    wallet: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNotice:
    """The wallet and one position changed."""

    reason: str
    """ORDER or FUNDING_FEE."""
    wallet: int
    cross_wallet: int
    change: int
    """Balance change except realised profit and commission."""
    position: PositionState
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoNotice:
    """A conditional order changed; `algo` is a copy, `order` one of what it became."""

    algo: Algo
    order: Order | None
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageNotice:
    """A symbol's leverage was changed."""

    symbol: str
    leverage: int
    time_ms: int


Notice = OrderNotice | AccountNotice | AlgoNotice | LeverageNotice
