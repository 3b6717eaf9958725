"""What enters the trading core besides the venue's own stream events (layer 0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from milo.events import AccountEvent, AlgoEvent, LeverageEvent, OrderEvent, StreamReset
from milo.model import (
    Balance,
    CommissionRate,
    EntryIntent,
    ExitIntent,
    Fill,
    Instrument,
    Intent,
    LeverageBracket,
    OrderReport,
    PositionReport,
    SymbolConfig,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A script asks for an entry or an exit."""

    script: str
    symbol: str
    timeframe: str
    candle_open_ms: int
    is_forming: bool
    action: str
    """As the script wrote it."""
    entry: EntryIntent | None = None
    exit: ExitIntent | None = None
    """Exactly one of `entry` and `exit` is there: the action, parsed."""
    price: Decimal
    """Close of the newest candle that the script saw: the price for sizing."""
    atr: Decimal | None
    """ATR(14) of the last closed candle, where the action needs it."""
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    """Latest prices of symbols with a position, for the account's equity."""

    @property
    def intent(self) -> Intent:
        intent = self.entry or self.exit
        assert intent is not None
        return intent


NO_SCRIPT = "-"
"""Stands for the script of a symbol that is only seen after, because a position is open on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """What the venue says of a symbol to everybody, and the script that trades it here."""

    instrument: Instrument
    brackets: tuple[LeverageBracket, ...]
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolReady:
    """What the core must know of a symbol before it may trade it."""

    instrument: Instrument
    brackets: tuple[LeverageBracket, ...]
    fees: CommissionRate
    config: SymbolConfig
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRead:
    """Balance, positions and open orders of the whole account, read at one time."""

    balance: Balance
    positions: tuple[PositionReport, ...]
    orders: tuple[OrderReport, ...]
    recent: tuple[OrderReport, ...] = ()
    """The newest regular orders, open or not, of symbols with a position that nobody here knows."""
    began_ms: int = 0
    """When it was begun, by the venue's clock: executions until then were read; 0: unknown."""
    has_funding: bool = False
    """Payments until then were read too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The venue took the order."""

    report: OrderReport


class Failure(StrEnum):
    REFUSED = "refused"
    """The venue said no, or nothing was sent."""
    UNKNOWN = "unknown"
    """Sent, and the outcome is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request of ours did not succeed."""

    symbol: str
    client_id: str
    failure: Failure
    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """The venue does not know the order that was looked up (after several tries)."""

    symbol: str
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled:
    """A cancel was carried out, or the order was already gone."""

    symbol: str
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillFound:
    """An execution read from the venue's list, after the stream may have lost some."""

    fill: Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingFound:
    """A funding payment read from the venue's statement, after the stream may have lost some."""

    symbol: str
    amount: Decimal
    """What the wallet received (negative: paid)."""
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The book was rebuilt from the journal: what was under way then has to be asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileDue:
    """It is time to compare the book with the venue again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitch:
    """The operator wants out: open nothing any more, close everything at market."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOverdue:
    """The time of a WatchStop is over: a stop may not be confirmed, or executions not seen."""

    symbol: str
    client_id: str


CoreEvent = (
    Signal
    | SymbolReady
    | AccountRead
    | Accepted
    | Failed
    | Absent
    | Canceled
    | FillFound
    | FundingFound
    | Resumed
    | ReconcileDue
    | KillSwitch
    | StopOverdue
    | OrderEvent
    | AlgoEvent
    | AccountEvent
    | LeverageEvent
    | StreamReset
)
