"""What the embedded exchange remembers: orders, trades, income, counters, and what changed. Pure.

Every record is plain data, so that it can be stored and read back as it is. Prices, quantities and
money are e8 ints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from milo.exchange.account import Position
from milo.exchange.fixed import nearest
from milo.intervals import DAY_MS
from milo.model import OrderStatus, OrderType, Side

FIRST_ORDER_ID = 1_000_000_001
FIRST_ALGO_ID = 2_000_000_001
FIRST_TRADE_ID = 500_000_001
FIRST_INCOME_ID = 700_000_001

DEFAULT_LEVERAGE = 20
ASSET = "USDT"

GTE = "GTE_GTC"
"""Good till expired: time in force of what goes with its position (closePosition orders)."""

KEEP_UNFILLED_MS = 3 * DAY_MS
KEEP_MS = 90 * DAY_MS

_Record = TypeVar("_Record")


@dataclass(slots=True)
class Order:
    """A regular order, alive or final."""

    order_id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: str
    qty: int
    price: int
    time_ms: int
    update_ms: int
    is_reduce_only: bool = False
    is_close_position: bool = False
    orig_type: OrderType = OrderType.LIMIT
    stop_price: int = 0
    working_type: str = "CONTRACT_PRICE"
    stp_mode: str = "EXPIRE_MAKER"
    is_price_protected: bool = False
    status: OrderStatus = OrderStatus.NEW
    filled: int = 0
    quote_e16: int = 0
    """Sum of price * quantity over the fills, exact."""
    algo_id: int = 0
    """The conditional order that became this one; 0 for none."""

    @property
    def is_open(self) -> bool:
        return not self.status.is_final

    @property
    def remaining(self) -> int:
        return self.qty - self.filled

    @property
    def avg_price(self) -> int:
        return nearest(self.quote_e16, self.filled) if self.filled else 0


@dataclass(slots=True)
class Algo:
    """A conditional order, alive or final."""

    algo_id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: str
    qty: int
    price: int
    trigger_price: int
    time_ms: int
    update_ms: int
    is_reduce_only: bool = False
    is_close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    stp_mode: str = "EXPIRE_MAKER"
    is_price_protected: bool = False
    activate_price: int = 0
    callback_rate: int = 0
    """Trailing stops: 1e-8 of one per cent, as sent (1 means 1 %)."""
    is_activated: bool = False
    extreme: int = 0
    """Trailing stops: the best price since activation."""
    status: OrderStatus = OrderStatus.NEW
    trigger_ms: int = 0
    order_id: int = 0
    """The regular order that it became; 0 before."""
    reject_reason: str = ""

    @property
    def is_open(self) -> bool:
        return self.status is OrderStatus.NEW

    @property
    def is_gte(self) -> bool:
        """True where it lives only as long as the position that it closes."""
        return self.time_in_force == GTE

    @property
    def is_trailing(self) -> bool:
        return self.type is OrderType.TRAILING_STOP_MARKET

    @property
    def is_stop(self) -> bool:
        """True where it fires when the price moves against its side's position."""
        return self.type in (OrderType.STOP, OrderType.STOP_MARKET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One execution of ours."""

    trade_id: int
    order_id: int
    symbol: str
    side: Side
    price: int
    qty: int
    realized: int
    fee: int
    is_maker: bool
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Income:
    """One line of the account's statement; the sum over all lines is the wallet balance."""

    income_id: int
    symbol: str
    kind: str
    """TRANSFER, REALIZED_PNL, COMMISSION, FUNDING_FEE or INSURANCE_CLEAR."""
    amount: int
    info: str
    trade_id: int
    """0 where it belongs to no trade."""
    time_ms: int


@dataclass(slots=True)
class Counters:
    """The next ids: counters, so that the same run gives the same ids."""

    order_id: int = FIRST_ORDER_ID
    algo_id: int = FIRST_ALGO_ID
    trade_id: int = FIRST_TRADE_ID
    income_id: int = FIRST_INCOME_ID
    client_id: int = 1
    listen_key: int = 1


@dataclass(slots=True)
class Changes:
    """What must be stored: keys of records that changed, and new records."""

    orders: set[int] = field(default_factory=set)
    algos: set[int] = field(default_factory=set)
    positions: set[str] = field(default_factory=set)
    leverages: set[str] = field(default_factory=set)
    trades: list[Trade] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    has_meta: bool = False
    """True where the wallet, the counters or a listen key changed."""

    def __bool__(self) -> bool:
        return bool(
            self.orders
            or self.algos
            or self.positions
            or self.leverages
            or self.trades
            or self.incomes
            or self.has_meta
        )


class ExchangeState:
    """All records of one account, with indices for what is open, and a list of changes."""

    def __init__(self) -> None:
        self.wallet = 0
        self.start_balance = 0
        self.start_ms = 0
        self.account_id = ""
        """Names the account; made at random by who opens it."""
        self.counters = Counters()
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, Algo] = {}
        self.positions: dict[str, Position] = {}
        self.leverages: dict[str, int] = {}
        self.trades: list[Trade] = []
        self.incomes: list[Income] = []
        self.open_orders: dict[str, dict[int, Order]] = {}
        self.open_algos: dict[str, dict[int, Algo]] = {}
        self.order_names: dict[tuple[str, str], int] = {}
        self.algo_names: dict[str, int] = {}
        self.changes = Changes()

    def open_account(self, balance: int, now_ms: int) -> None:
        """Start with a balance, as a transfer into the account."""
        self.wallet = self.start_balance = balance
        self.start_ms = now_ms
        self.add_income("TRANSFER", "", balance, now_ms, info="start balance")

    def take_changes(self) -> Changes:
        """Return what changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    def position(self, symbol: str) -> Position:
        """Return the symbol's position, a flat one where there was none yet."""
        found = self.positions.get(symbol)
        if found is None:
            found = self.positions[symbol] = Position(symbol)
        return found

    def leverage(self, symbol: str) -> int:
        return self.leverages.get(symbol, DEFAULT_LEVERAGE)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        self.leverages[symbol] = leverage
        self.changes.leverages.add(symbol)

    def add_order(self, order: Order) -> None:
        """Keep a new or changed order, and index it while it is open."""
        self.orders[order.order_id] = order
        self.order_names[order.symbol, order.client_id] = order.order_id
        self.changes.orders.add(order.order_id)
        _index(self.open_orders, order.symbol, order.order_id, order, order.is_open)

    def add_algo(self, algo: Algo) -> None:
        """Keep a new or changed conditional order, and index it while it waits for its trigger."""
        self.algos[algo.algo_id] = algo
        self.algo_names[algo.client_id] = algo.algo_id
        self.changes.algos.add(algo.algo_id)
        _index(self.open_algos, algo.symbol, algo.algo_id, algo, algo.is_open)

    def add_trade(self, trade: Trade) -> None:
        self.trades.append(trade)
        self.changes.trades.append(trade)

    def add_income(
        self, kind: str, symbol: str, amount: int, now_ms: int, *, info: str = "", trade_id: int = 0
    ) -> None:
        """Write a line of the statement; amounts of 0 leave no line."""
        if not amount:
            return
        income = Income(
            income_id=self.next_income_id(),
            symbol=symbol,
            kind=kind,
            amount=amount,
            info=info,
            trade_id=trade_id,
            time_ms=now_ms,
        )
        self.incomes.append(income)
        self.changes.incomes.append(income)

    def next_order_id(self) -> int:
        self.changes.has_meta = True
        self.counters.order_id += 1
        return self.counters.order_id - 1

    def next_algo_id(self) -> int:
        self.changes.has_meta = True
        self.counters.algo_id += 1
        return self.counters.algo_id - 1

    def next_trade_id(self) -> int:
        self.changes.has_meta = True
        self.counters.trade_id += 1
        return self.counters.trade_id - 1

    def next_income_id(self) -> int:
        self.changes.has_meta = True
        self.counters.income_id += 1
        return self.counters.income_id - 1

    def next_client_id(self) -> str:
        """Return a client order id for who sent none: a counter, so that runs repeat."""
        self.changes.has_meta = True
        self.counters.client_id += 1
        return f"sim{self.counters.client_id - 1:019d}"

    def orders_of(self, symbol: str) -> Iterable[Order]:
        """Return the symbol's open orders, oldest first."""
        return self.open_orders.get(symbol, {}).values()

    def algos_of(self, symbol: str) -> Iterable[Algo]:
        """Return the symbol's conditional orders that wait for their trigger, oldest first."""
        return self.open_algos.get(symbol, {}).values()

    def all_open_orders(self) -> Iterator[Order]:
        for orders in self.open_orders.values():
            yield from orders.values()

    def all_open_algos(self) -> Iterator[Algo]:
        for algos in self.open_algos.values():
            yield from algos.values()

    def held(self) -> list[Position]:
        """Return the open positions, by symbol."""
        return sorted(
            (position for position in self.positions.values() if position.is_open),
            key=lambda position: position.symbol,
        )

    def exposed_symbols(self) -> set[str]:
        """Return the symbols with a position or an open order of any kind."""
        symbols = {position.symbol for position in self.positions.values() if position.is_open}
        return symbols | set(self.open_orders) | set(self.open_algos)

    def find_order(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """Return the order by id, else by client id: the newest of that name."""
        if order_id is None:
            order_id = self.order_names.get((symbol, client_id or ""), 0)
        order = self.orders.get(order_id)
        return order if order is not None and order.symbol == symbol else None

    def find_algo(self, algo_id: int | None, client_id: str | None) -> Algo | None:
        """Return the conditional order by id, else by client id: the newest of that name."""
        if algo_id is None:
            algo_id = self.algo_names.get(client_id or "", 0)
        return self.algos.get(algo_id)

    def has_open_client_id(self, client_id: str) -> bool:
        return any(order.client_id == client_id for order in self.all_open_orders())

    def has_open_algo_client_id(self, client_id: str) -> bool:
        return any(algo.client_id == client_id for algo in self.all_open_algos())

    def forget(self, now_ms: int) -> None:
        """Drop from memory what the exchange no longer answers for; the store keeps it.

        Final orders without a fill live 3 days, everything else 90.
        """
        self.orders = {
            key: order
            for key, order in self.orders.items()
            if order.is_open or not _is_over(order.time_ms, order.filled, now_ms)
        }
        self.algos = {
            key: algo
            for key, algo in self.algos.items()
            if algo.is_open or not _is_over(algo.time_ms, algo.order_id, now_ms)
        }
        self.order_names = {(o.symbol, o.client_id): o.order_id for o in self.orders.values()}
        self.algo_names = {algo.client_id: algo.algo_id for algo in self.algos.values()}
        self.trades = [trade for trade in self.trades if trade.time_ms > now_ms - KEEP_MS]
        self.incomes = [income for income in self.incomes if income.time_ms > now_ms - KEEP_MS]


def _is_over(time_ms: int, has_fill: int, now_ms: int) -> bool:
    return time_ms <= now_ms - (KEEP_MS if has_fill else KEEP_UNFILLED_MS)


def _index(
    table: dict[str, dict[int, _Record]], symbol: str, key: int, record: _Record, is_open: bool
) -> None:
    records = table.get(symbol)
    if is_open:
        if records is None:
            records = table[symbol] = {}
        records[key] = record
    elif records is not None:
        records.pop(key, None)
        if not records:
            del table[symbol]
