"""What a backtest leaves behind: trades, refusals, the equity of each candle (layer 1).

Money is USDT, prices and quantities are exact decimals; times are ms UTC. Arrays are float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from milo.model import Direction, ExitReason


class Intrabar(StrEnum):
    """What decides where a candle could have hit both the stop and the target."""

    STOP_FIRST = "stop"
    FINER = "finer"
    NEARER_OPEN = "tradingview"


class FillAt(StrEnum):
    """At which price a signal's market order fills."""

    NEXT_OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What a backtest takes for granted; all of it is shown in the report."""

    start_balance: Decimal
    taker_fee: Decimal
    """A share of the notional: 0.0005 = 0.05 %."""
    maker_fee: Decimal
    slippage: Decimal
    """A share of the price against every market fill and every stop."""
    fill_at: FillAt = FillAt.NEXT_OPEN
    intrabar: Intrabar = Intrabar.STOP_FIRST
    finer_interval: str | None = None
    funding_rate: Decimal
    """For settlements of which no rate is stored, each 8 hours at 00:00, 08:00, 16:00 UTC."""
    max_entry_risk: Decimal | None = None
    """Per cent of the equity, as `--max-risk`; None: no limit."""
    max_leverage: Decimal | None = None
    max_positions: int | None = None
    max_daily_loss: Decimal | None = None
    allowed_symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One position, or the part of it that one exit closed, from entry to exit."""

    script: str
    symbol: str
    direction: Direction
    qty: Decimal
    leverage: int
    entry_index: int
    """The candle in which the entry filled; its signal came with the candle before (`--fill close`:
    with the same candle)."""
    entry_ms: int
    entry_price: Decimal
    exit_index: int
    exit_ms: int
    """The open time of the candle where the exit filled at its open, else its close time."""
    exit_price: Decimal
    exit_reason: ExitReason
    """`ExitReason.UNKNOWN` is not used; a position still open at the end is closed on paper at the
    last close and says `is_open`."""
    stop_price: Decimal
    target_price: Decimal | None
    liquidation_price: Decimal | None
    profit: Decimal
    """Realised, before fees and funding."""
    fees: Decimal
    funding: Decimal
    """Received (+) or paid (-)."""
    risk: Decimal
    """What the stop was planned to lose, fees included: one R."""
    is_open: bool = False
    is_ambiguous: bool = False
    """Stop and target both lay in the candle of the exit, and the rule decided, not the data."""
    is_gap: bool = False
    """The exit filled at an open beyond its level."""
    is_extreme: bool = False
    """A fill at the very high or low of its candle: the market only touched the level."""

    @property
    def net(self) -> Decimal:
        return self.profit - self.fees + self.funding

    @property
    def r_multiple(self) -> Decimal | None:
        return self.net / self.risk if self.risk > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A signal that was not taken, in the words that a live run uses."""

    script: str
    symbol: str
    index: int
    open_ms: int
    action: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotShare:
    """What one script on its symbol did to the account's equity; USDT.

    Its result at a time is what its fills and settlements changed in the wallet until then, and
    the unrealised profit of its position: the start balance and the results of all are the equity.
    """

    symbol: str
    fall: float
    """The deepest fall of start balance + result from its peak, a share of that peak, positive."""
    in_drawdown: float
    """How its result changed between peak and trough of the account's deepest drawdown; the sum
    over all is that drawdown in money, negative."""
    exposure: float
    """The share of its own candles at whose close it held a position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that happened in one run over one or more symbols."""

    assumptions: Assumptions
    trades: tuple[Trade, ...]
    """In the order of their exits; those still open at the end come last."""
    refusals: tuple[Refusal, ...]
    """The first 1,000; `refusal_count` counts all, one a run of equal signals."""
    refusal_count: int
    notes: tuple[str, ...]
    """What sizing lowered or reduced, each text once, with how often."""
    wallet: Decimal
    """At the end, without what open positions would bring."""
    fees: Decimal
    funding: Decimal
    times_ms: NDArray[np.int64]
    """The close time of each candle of the equity curve, all symbols' together."""
    equity: NDArray[np.float64]
    """Wallet and unrealised profit at those times."""
    exposed: NDArray[np.bool_]
    """Whether any position was open at those times."""
    buy_and_hold: Mapping[str, float]
    """Last close over first open, less 1, of each symbol over the decided candles."""
    liquidations: int
    ambiguous: int
    settlements: int
    """Funding settlements of open positions."""
    unknown_settlements: int
    """Of those, how many used the assumed rate."""
    halted_days: int = 0
    """Days on which `--max-daily-loss` stopped opening."""
    shares: tuple[SlotShare, ...] = ()
    """Where several scripts or symbols ran: of each that decided any candle."""
