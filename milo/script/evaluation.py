"""What one evaluation of a script is given (layer 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from milo.candles import Candles
from milo.model import Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """The account as a script may see it; money in USDT, as floats."""

    available_balance: float = 0.0
    positions: tuple[Mapping[str, object], ...] = ()
    """Mappings with symbol, side, qty, entry_price, unrealized_pnl, stop, take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """Candles up to now and the account. `candles` are closed; they start where the run's do."""

    candles: Candles
    forming: Candle | None = None
    account: AccountView = field(default_factory=AccountView)
