"""What the engine hands to a script for one candle (layer 1)."""

from __future__ import annotations

from dataclasses import dataclass

from milo.candles import Candles
from milo.clock import iso_minute
from milo.model import Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """An open position as `open_positions` shows it; plain numbers, for reading only."""

    symbol: str
    side: str
    """`long` or `short`."""
    qty: float
    """Positive for both sides."""
    entry_price: float
    unrealized_pnl: float
    stop: float | None = None
    take: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """The account as a script sees it, in USDT."""

    available_balance: float
    positions: tuple[PositionView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """One candle to decide on.

    `candles` are closed, from the run's fixed start to the newest; `forming` is the candle after
    them where the script shall see it.
    """

    candles: Candles
    account: AccountView
    forming: Candle | None = None

    @property
    def newest(self) -> str:
        """The open time of the candle that is decided on, for messages; "" where there is none."""
        if self.forming is not None:
            return iso_minute(self.forming.open_ms)
        return iso_minute(self.candles.candle(-1).open_ms) if len(self.candles) else ""
