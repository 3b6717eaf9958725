"""What every command is given: settings, console, and makers of the shell's parts.

main.py alone knows the root modules; it fills these ports with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from milo.ports import TradingClient

if TYPE_CHECKING:
    # Every command loads this module, and most of them need few of these.
    import sqlite3

    from milo.activity import Activity
    from milo.backtest.decisions import Decisions
    from milo.candles import Candles
    from milo.charts.snapshot import ChartSource
    from milo.charts.trail import ScriptTrail
    from milo.clock import VenueClock
    from milo.commands import Note, Trade
    from milo.config import Config
    from milo.events import MarkPriceEvent
    from milo.inbox import CoreEvent, Signal, SymbolRules
    from milo.model import (
        AccountConfig,
        Candle,
        FundingRate,
        Instrument,
        KeyPermissions,
        LeverageBracket,
        NewOrder,
        ScriptHeader,
        ScriptResult,
    )
    from milo.orders.book import Book, CoreConfig
    from milo.ports import Console, Guard, Journal, Signer
    from milo.script.explanation import Explanation
    from milo.script.request import AccountView, EvaluationRequest
    from milo.secret import Secret
    from milo.web.sessions import Sessions
    from milo.wire.dialects import Dialect

T = TypeVar("T")
KlineRow = tuple[int, float, float, float, float, float, int]


class Client(TradingClient, Protocol):
    """ApiClient: everything that Milo asks of a venue by REST."""

    @property
    def in_flight(self) -> int: ...
    @property
    def weight_used(self) -> int: ...
    @property
    def weight_cap(self) -> int: ...
    async def server_time(self) -> int: ...
    @property
    def pause_left_s(self) -> float: ...
    async def sync_clock(self) -> None: ...
    async def exchange_info(self) -> dict[str, Instrument]: ...
    async def leverage_brackets(self) -> dict[str, tuple[LeverageBracket, ...]]: ...
    async def klines(
        self,
        symbol: str,
        interval: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 499,
    ) -> list[KlineRow]: ...
    async def mark_price(self, symbol: str) -> MarkPriceEvent: ...
    async def funding_rates(
        self,
        symbol: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
    ) -> list[FundingRate]: ...
    async def is_hedge_mode(self) -> bool: ...
    async def is_multi_assets(self) -> bool: ...
    async def account_config(self) -> AccountConfig: ...
    async def key_permissions(self) -> KeyPermissions: ...
    async def try_order(self, order: NewOrder) -> None: ...
    async def set_hedge_mode(self, is_hedge: bool) -> None: ...
    async def new_listen_key(self) -> str: ...
    async def keep_listen_key(self, key: str) -> None: ...
    async def close_listen_key(self, key: str) -> None: ...


class Store(Protocol):
    """DBManager: functions of a connection, run in its own threads."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T: ...
    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T: ...
    async def journal(self, work: Callable[[sqlite3.Connection], T]) -> T: ...
    async def read_journal(self, work: Callable[[sqlite3.Connection], T]) -> T: ...
    async def maintain_daily(self, *, now_ms: int | None = None) -> Any: ...


class Streams(Protocol):
    """WebSocketManager: the venue's streams as one queue of events."""

    def open_market(self, streams: Sequence[str]) -> None: ...
    def open_user(self, listen_key: str) -> None: ...
    async def wait_open(self, timeout_s: float) -> None: ...
    async def next(self) -> Any: ...
    def consumed(self, item: Any) -> None: ...
    def consumed_counts(self) -> dict[str, int]: ...
    @property
    def is_drained(self) -> bool: ...
    async def close(self) -> None: ...


class Manager(Protocol):
    """TradeManager: the owner of the book."""

    orders_sent: int
    fills_seen: int

    @property
    def book(self) -> Book: ...
    def trades(self) -> tuple[Trade, ...]: ...
    async def prepare(self, rules: Sequence[SymbolRules]) -> None: ...
    async def refresh(self, rules: Sequence[SymbolRules]) -> None: ...
    def submit(self, event: CoreEvent) -> None: ...
    def halt(self, reason: str) -> None: ...
    def stuck_s(self) -> float: ...
    async def run(self) -> None: ...


class Executor(Protocol):
    """ScriptExecutor: one script in its own locked process."""

    async def start(self) -> ScriptHeader: ...
    async def evaluate(self, request: EvaluationRequest) -> ScriptResult: ...
    async def set_inputs(self, inputs: Mapping[str, float]) -> None: ...
    async def explain(self, request: EvaluationRequest) -> Explanation: ...
    async def hold(self, candles: Candles) -> None: ...
    async def decide(
        self,
        candles: Candles,
        *,
        first: int = 0,
        count: int | None = None,
        prove_all: bool = False,
        prove_changes: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Decisions: ...
    async def close(self) -> None: ...


class Slot(Protocol):
    """One running script, as ScriptEngine keeps it."""

    symbol: str
    timeframe: str
    candles: Candles
    forming: Candle | None
    closed_seen: int
    evaluations: int
    errors: int
    signals: int
    is_halted: bool
    last_result: ScriptResult | None
    trail: ScriptTrail

    @property
    def name(self) -> str: ...


class Engine(Protocol):
    """ScriptEngine: evaluates scripts on candles."""

    on_closed: Callable[[Any], None]
    on_evaluated: Callable[[Any], None]

    def add(
        self,
        *,
        header: ScriptHeader,
        symbol: str,
        timeframe: str,
        runner: Executor,
        candles: Candles,
    ) -> Any: ...
    def on_kline(self, event: Any) -> None: ...
    def marks(self) -> dict[str, Any]: ...
    async def run(self) -> None: ...
    async def evaluate_newest(self, slot: Any) -> ScriptResult | None: ...


class Chart(Protocol):
    """ChartHandler: the web application."""

    @property
    def url(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Keys(Protocol):
    """KeyManager: the encrypted key file."""

    def exists(self) -> bool: ...
    def set_keys(self, venue: str, api_key: str, api_secret: str, password: Secret) -> None: ...
    def signer(self, venue: str, password: Secret) -> Signer: ...
    def migrate_plaintext(self, password: Secret | None = None) -> str | None: ...


class MakeClient(Protocol):
    def __call__(
        self,
        *,
        dialect: Dialect,
        rest_url: str,
        clock: VenueClock,
        signer: Signer | None,
        timeout_s: float = 10.0,
        connect_timeout_s: float | None = None,
        pause_folder: Path | None = None,
    ) -> AbstractAsyncContextManager[Client]: ...


class MakeStore(Protocol):
    def __call__(
        self, folder: Path, *, market_name: str = "market.db", with_journal: bool = True
    ) -> AbstractAsyncContextManager[Store]: ...


class MakeStreams(Protocol):
    def __call__(
        self,
        *,
        dialect: Dialect,
        ws_url: str,
        clock: VenueClock,
        silence_s: float | None,
        labelled: bool,
    ) -> Streams: ...


class MakeManager(Protocol):
    def __call__(
        self,
        *,
        client: TradingClient,
        journal: Journal,
        clock: VenueClock,
        activity: Activity,
        run_id: str,
        config: CoreConfig,
        on_note: Callable[[Note], None],
        resumed: Book | None = None,
        guard: Guard | None = None,
    ) -> Manager: ...


class MakeEngine(Protocol):
    def __call__(
        self,
        *,
        emit: Callable[[Signal], None],
        account: Callable[[], AccountView],
        store: Callable[[str, str, Candle], Any],
        refill: Callable[[str, str, int], Any],
        say: Callable[[Any, str, bool], None],
        activity: Activity,
        is_live_loop: bool,
    ) -> Engine: ...


class MakeExecutor(Protocol):
    def __call__(
        self, path: Path, inputs: Mapping[str, float], *, is_trusted: bool
    ) -> Executor: ...


class MakeChart(Protocol):
    def __call__(
        self, source: ChartSource, *, host: str, port: int, sessions: Sessions | None
    ) -> Chart: ...


class CheckScript(Protocol):
    def __call__(self, path: Path, *, is_trusted: bool) -> Awaitable[ScriptHeader]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """Makers of the shell's parts; imports happen when one is called."""

    client: MakeClient
    store: MakeStore
    streams: MakeStreams
    manager: MakeManager
    engine: MakeEngine
    executor: MakeExecutor
    check_script: CheckScript
    chart: MakeChart
    keys: Callable[[Path], Keys]
    indicators: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command itself was given, besides settings."""

    command: str
    values: tuple[str, ...] = ()
    scripts: tuple[Path, ...] = ()
    loop: str | None = None
    """None: once; `closed`: on each close; `live`: on forming candles too."""
    inputs: Mapping[str, float] = field(default_factory=dict)
    why_ms: int | None = None
    """`--why`: the candle to explain, ms UTC."""
    is_confirmed: bool = False
    """`--yes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The application as commands see it."""

    config: Config
    arguments: Arguments
    console: Console
    make: Makers
