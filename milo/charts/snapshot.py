"""What the chart page shows at one moment, as immutable values, and who gives them.

The chart owns no state of the engine: it asks a `ChartSource` for a `ChartSnapshot` and draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from milo.candles import Candles
from milo.charts.trail import ScriptTrail
from milo.model import Candle, Direction, ExitReason, Side


class RunState(StrEnum):
    """What the engine behind the chart is doing."""

    VIEWING = "viewing"
    """No script: stored or streamed candles only."""
    WAITING = "waiting"
    """Starting, filling the store or reconnecting: no decisions now."""
    RUNNING = "running"
    HALTED = "halted"
    """The script was stopped after failures; protective orders stay."""
    FINISHED = "finished"
    """The run is over; nothing on the page will change."""


class MarkKind(StrEnum):
    ENTRY = "entry"
    EXIT = "exit"


class LogKind(StrEnum):
    """Where a line of the page's log comes from, and how loud it is."""

    PRINT = "print"
    """Text that the script printed: untrusted."""
    EVENT = "event"
    """Signals, orders, fills: what an operator would tell a friend."""
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartPosition:
    """The open position of the shown symbol; `qty` is positive, `direction` says the side."""

    direction: Direction
    qty: Decimal
    entry_price: Decimal
    opened_ms: int | None = None
    stop_price: Decimal | None = None
    """None while the venue has not confirmed a stop."""
    target_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    leverage: int | None = None
    unrealized: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeMark:
    """One entry or exit of the shown symbol."""

    time_ms: int
    kind: MarkKind
    side: Side
    price: Decimal
    qty: Decimal
    reason: ExitReason | None = None
    """Only for exits."""
    profit: Decimal | None = None
    """Of an exit, net of fees and funding; None where it is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    time_ms: int
    kind: LogKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartScript:
    """The script that trades the shown symbol."""

    name: str
    symbol: str
    interval: str
    last_action: str | None = None
    """The newest evaluation's action string; None before the first one."""
    last_condition: bool | None = None
    trail: ScriptTrail | None = None
    """What it said on each candle; only beside the candles that it runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNumbers:
    """Numbers of the whole run; money in USDT, None where it is not known yet."""

    start_balance: Decimal | None = None
    wallet_balance: Decimal | None = None
    available_balance: Decimal | None = None
    unrealized: Decimal | None = None
    profit: Decimal | None = None
    """Realised by all trades so far, net."""
    closed_trades: int = 0
    candles: int = 0
    evaluations: int = 0
    signals: int = 0
    script_errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartSnapshot:
    """Everything that the page shows of one symbol and interval.

    `candles` are the closed ones from the fixed start of the run's history, so that the overlays
    are those that the script sees; older answers are prefixes of newer ones.
    """

    symbol: str
    interval: str
    symbols: tuple[str, ...]
    """What may be asked for; holds `symbol`."""
    intervals: tuple[str, ...]
    venue: str
    title: str
    """Shown on the page, such as `simulated market (seed 1)`."""
    is_simulated: bool
    """The embedded exchange: simulated or replayed prices, no money."""
    clock_ms: int
    """The venue's clock now."""
    clock_speed: float
    """Venue ms per wall ms; 0 where the clock is stepped."""
    market_age_ms: int | None
    """Wall ms since the last message of the market; None before the first one."""
    price_decimals: int
    candles: Candles
    forming: Candle | None = None
    state: RunState = RunState.VIEWING
    script: ChartScript | None = None
    position: ChartPosition | None = None
    trades: tuple[TradeMark, ...] = ()
    """Of this symbol, oldest first."""
    log: tuple[LogLine, ...] = ()
    """The newest lines, oldest first."""
    alert: str | None = None
    """One line that stays on the page until it is None again, such as why the script halted."""
    numbers: RunNumbers = RunNumbers()
    is_real: bool = False
    """Orders cost real money at this venue."""
    unisolated: str | None = None
    """Why the scripts' processes are not locked in; None where they are, or where none runs."""


class ChartSource(Protocol):
    """Whoever knows what the chart shows."""

    async def snapshot(self, symbol: str | None, interval: str | None) -> ChartSnapshot:
        """Return the present state; None means the run's own symbol or interval.

        Raises ConfigError where the symbol or interval is not one that can be shown, and another
        EngineError where it cannot be read now.
        """
        ...
