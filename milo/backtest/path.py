"""Carries out decisions along a path of single prices: market orders, stops, targets (layer 1).

The rules are those of the embedded exchange (docs/embedded-exchange.md): a market order fills at
the last price; between two prices of a candle the market moves continuously, so that a level is
met at its own price; from one candle's close to the next open it jumps. A touch is a hit. Prices,
quantities and money are ints e8 unless they are Decimals; times are ms UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from milo import gates
from milo.backtest.contract import Contract
from milo.backtest.purse import Exit, OpenTrade, Purse, decimal_of
from milo.backtest.slot import Settlements
from milo.exchange.account import Position, bankruptcy_price, liquidation_price
from milo.exchange.feed import E8
from milo.exchange.fixed import nearest
from milo.exchange.instruments import to_e8
from milo.exchange.matching import Level
from milo.gates.verdict import GateInput, SizedInput
from milo.intervals import DAY_MS
from milo.model import CommissionRate, Direction, EntryIntent, ExitIntent, ExitReason
from milo.money import ZERO
from milo.orders.book import CoreConfig
from milo.orders.ids import Leg, client_id, signal_key
from milo.orders.protection import Unprotectable, plan_protection
from milo.orders.sizing import (
    EntryRefused,
    ExitRefused,
    Sized,
    SizingInput,
    size_entry,
    size_exit,
)

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMarket:
    """What one script trades."""

    script: str
    symbol: str
    contract: Contract
    fees: CommissionRate


class Told(NamedTuple):
    """The price at a time, in the candle that opens at `open_ms`."""

    time_ms: int
    market: int
    """The place of the PathMarket."""
    price: int
    open_ms: int
    is_jump: bool


class Asked(NamedTuple):
    """A script's decision for an entry or an exit on the candle that opens at `open_ms`."""

    time_ms: int
    market: int
    open_ms: int
    action: str
    intent: EntryIntent | ExitIntent
    price: Decimal
    """Close of the newest candle that the script saw: the price for sizing."""
    atr: Decimal | None
    marks: Mapping[str, Decimal]


class Funded(NamedTuple):
    """A settlement of funding: by its rate, or by what was paid then."""

    time_ms: int
    market: int
    rate: int | None = None
    paid: int | None = None
    """What the wallet received; the rate follows from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFill:
    """One order that filled. `reason` is None for an entry."""

    script: str
    symbol: str
    order: str
    """Its client order id."""
    reason: ExitReason | None
    direction: Direction
    """Of the position."""
    qty: Decimal
    price: Decimal
    fee: Decimal
    realized: Decimal
    """Before fees."""
    time_ms: int
    open_ms: int
    """Of the candle in which it filled; for a script's order, of the one that was decided on."""


class _Order(NamedTuple):
    """A market order on its way."""

    due_ms: int
    order: str
    reason: ExitReason | None
    qty: int
    asked: Asked
    sized: Sized | None = None
    """Of an entry."""
    entry: Asked | None = None
    """What a reversal opens after it."""


class _Done(NamedTuple):
    """What an order did to its position."""

    order: str
    reason: ExitReason | None
    qty: int
    price: int
    time_ms: int
    open_ms: int


@dataclass(slots=True)
class _Held:
    """A position's row, the name of its orders, and the levels that it waits for."""

    trade: OpenTrade
    key: str
    atr: Decimal | None
    stop: Level | None = None
    target: Level | None = None
    liquidation: Level | None = None


@dataclass(slots=True)
class _Lane:
    market: PathMarket
    position: Position
    price: int | None = None
    open_ms: int = 0
    held: _Held | None = None
    waiting: _Order | None = None
    acted: dict[str, int] = field(default_factory=dict)

    @property
    def direction(self) -> Direction | None:
        return None if self.held is None else self.held.trade.direction


class PathExecution:
    """One account on which decisions are carried out as prices and decisions come in, by time."""

    def __init__(
        self,
        markets: Sequence[PathMarket],
        config: CoreConfig,
        *,
        run_id: str,
        balance: Decimal,
        arrivals: Mapping[str, int] | None = None,
        refused: Mapping[str, str] | None = None,
        day_wallet: tuple[int, Decimal] | None = None,
        acted: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """`arrivals`: when orders reached the exchange, by client order id; others do at once.

        `refused`: entry orders that it did not take, with the reason.

        `day_wallet`: day (since 1970, UTC) and the wallet with which it began, where known.
        `acted`: by symbol, the candle on which a kind of decision was last carried out before.
        """
        self._config = config
        self._run_id = run_id
        self._arrivals = arrivals or {}
        self._refused = refused or {}
        taker = markets[0].fees.taker if markets else ZERO
        self.purse = Purse(to_e8(balance), to_e8(taker))
        known = acted or {}
        self._lanes = [
            _Lane(market, Position(market.symbol), acted=dict(known.get(market.symbol, {})))
            for market in markets
        ]
        self._day, self._day_wallet = (-1, balance) if day_wallet is None else day_wallet
        self.fills: list[PathFill] = []
        self.refusals: list[tuple[Asked, str]] = []
        self.rates: dict[tuple[int, int], int] = {}
        """Of each settlement (time, market) that concerned a position."""

    # --- what comes in ------------------------------------------------------------------------

    def told(self, told: Told) -> None:
        """Let the price go where it went; orders that had arrived before fill first."""
        self._pass(told.time_ms - 1)
        self._begin_day(told.time_ms)
        lane = self._lanes[told.market]
        start, lane.open_ms = lane.price, told.open_ms
        if lane.held is not None and start is not None:
            self._walk(lane, start, told)
        lane.price = told.price

    def funded(self, funded: Funded, price: int | None = None) -> None:
        """Settle funding at `price`, the market's at that very time, or at the last one."""
        self._pass(funded.time_ms - 1)
        self._begin_day(funded.time_ms)
        lane = self._lanes[funded.market]
        mark = lane.price if price is None else price
        held = lane.held
        if held is None or mark is None:
            return
        rate = funded.rate
        if rate is None:
            notional = -lane.position.qty * mark
            rate = nearest((funded.paid or 0) * E8 * E8, notional)
        self.rates[funded.time_ms, funded.market] = rate
        due = Settlements([funded.time_ms], [rate], [True], marks_e8=[mark])
        self.purse.settle(lane.position, held.trade, due, range(1), None)
        self._look_up(lane)

    def asked(self, asked: Asked) -> None:
        """Act on a decision as a live run does: at most once a kind and candle."""
        self._pass(asked.time_ms)
        self._begin_day(asked.time_ms)
        lane = self._lanes[asked.market]
        if lane.price is None or lane.waiting is not None:
            return
        if isinstance(asked.intent, EntryIntent):
            self._on_entry(lane, asked, asked.intent)
        else:
            self._on_exit(lane, asked, asked.intent)

    def finish(self) -> None:
        """Let the orders that are on their way arrive."""
        self._pass(None)

    def _begin_day(self, time_ms: int) -> None:
        day = time_ms // DAY_MS
        if day != self._day:
            self._day, self._day_wallet = day, decimal_of(self.purse.wallet)

    # --- decisions ----------------------------------------------------------------------------

    def _on_entry(self, lane: _Lane, asked: Asked, intent: EntryIntent) -> None:
        kind = f"entry-{intent.direction}"
        if lane.direction is intent.direction or lane.acted.get(kind) == asked.open_ms:
            return
        sized = self._judge(lane, asked, intent)
        if sized is None:
            return
        lane.acted[kind] = asked.open_ms
        if lane.held is None:
            self._send_entry(lane, asked, sized, asked.time_ms)
            return
        self._send(
            lane,
            leg=Leg.REVERSE,
            key=lane.held.key,
            reason=ExitReason.REVERSE,
            qty=abs(lane.position.qty),
            asked=asked,
            entry=asked,
        )

    def _on_exit(self, lane: _Lane, asked: Asked, intent: ExitIntent) -> None:
        held = lane.held
        if held is None:
            return
        kind = f"exit-{held.trade.direction}"
        if lane.acted.get(kind) == asked.open_ms:
            return
        whole = abs(lane.position.qty)
        try:
            part = size_exit(intent, decimal_of(whole), lane.market.contract.instrument)
        except ExitRefused as error:
            self.refusals.append((asked, str(error)))
            return
        lane.acted[kind] = asked.open_ms
        is_whole = intent.percent == _HUNDRED
        self._send(
            lane,
            leg=Leg.CLOSE,
            key=held.key if is_whole else _key_of(lane, asked, kind),
            reason=ExitReason.CLOSE,
            qty=whole if is_whole else to_e8(part),
            asked=asked,
        )

    def _judge(self, lane: _Lane, asked: Asked, intent: EntryIntent) -> Sized | None:
        """Return the sized entry; None, and the reason on record, where it is refused."""
        contract, config = lane.market.contract, self._config
        equity = decimal_of(self.purse.wallet)
        for other in self._lanes:
            mark = asked.marks.get(other.market.symbol)
            if other.held is not None and mark is not None:
                profit = mark - decimal_of(other.held.trade.entry_price)
                equity += decimal_of(other.position.qty) * profit
        skip = gates.ask(self._gate_input(lane, asked, intent, equity))
        if skip is not None:
            self.refusals.append((asked, skip.reason))
            return None
        try:
            sized = size_entry(
                intent,
                SizingInput(
                    price=asked.price,
                    atr=asked.atr,
                    equity=equity,
                    available=decimal_of(self.purse.available + lane.position.wallet),
                    instrument=contract.instrument,
                    brackets=contract.brackets,
                    fees=lane.market.fees,
                ),
            )
        except (EntryRefused, Unprotectable) as error:
            self.refusals.append((asked, str(error)))
            return None
        risk = SizedInput(
            loss_at_stop=sized.loss_at_stop, equity=equity, max_risk=config.max_entry_risk
        )
        skip = gates.ask_sized(risk)
        if skip is not None:
            self.refusals.append((asked, skip.reason))
            return None
        return sized

    def _gate_input(
        self, lane: _Lane, asked: Asked, intent: EntryIntent, equity: Decimal
    ) -> GateInput:
        config = self._config
        return GateInput(
            instrument=lane.market.contract.instrument,
            is_account_known=True,
            may_trade=config.may_trade,
            foreign_qty=ZERO,
            unexplained_qty=ZERO,
            action=asked.action,
            lost_today=max(ZERO, 1 - equity / self._day_wallet) if self._day_wallet else ZERO,
            max_daily_loss=config.max_daily_loss,
            other_positions=sum(
                other is not lane
                and (
                    other.held is not None
                    or (other.waiting is not None and other.waiting.sized is not None)
                )
                for other in self._lanes
            ),
            max_open_positions=config.max_open_positions,
            leverage=intent.leverage,
            max_leverage=config.max_leverage,
            allowed_symbols=config.allowed_symbols,
        )

    # --- orders on their way ------------------------------------------------------------------

    def _send_entry(self, lane: _Lane, asked: Asked, sized: Sized, now_ms: int) -> None:
        assert isinstance(asked.intent, EntryIntent)
        key = _key_of(lane, asked, f"entry-{asked.intent.direction}")
        order = client_id(self._run_id, key, Leg.ENTRY)
        due_ms = self._arrivals.get(order, now_ms)
        qty = to_e8(sized.qty)
        self._dispatch(lane, _Order(due_ms, order, None, qty, asked, sized=sized), now_ms)

    def _send(
        self,
        lane: _Lane,
        *,
        leg: Leg,
        key: str,
        reason: ExitReason,
        qty: int,
        asked: Asked,
        entry: Asked | None = None,
    ) -> None:
        order = client_id(self._run_id, key, leg)
        due_ms = self._arrivals.get(order, asked.time_ms)
        self._dispatch(lane, _Order(due_ms, order, reason, qty, asked, entry=entry), asked.time_ms)

    def _dispatch(self, lane: _Lane, order: _Order, now_ms: int) -> None:
        if order.due_ms > now_ms:
            lane.waiting = order
        else:
            self._fill(lane, order._replace(due_ms=now_ms))

    def _pass(self, time_ms: int | None) -> None:
        """Fill the orders that arrive until a time; None: all."""
        for lane in self._lanes:
            while (order := lane.waiting) is not None:
                if time_ms is not None and order.due_ms > time_ms:
                    break
                lane.waiting = None
                self._fill(lane, order)

    def _fill(self, lane: _Lane, order: _Order) -> None:
        if order.sized is not None:
            self._open(lane, order, order.sized)
            return
        if lane.held is None:
            return  # its stop or target was faster
        assert lane.price is not None
        qty = min(order.qty, abs(lane.position.qty))
        at = order.asked.open_ms
        self._close(lane, _Done(order.order, order.reason, qty, lane.price, order.due_ms, at))
        if order.entry is not None:
            assert isinstance(order.entry.intent, EntryIntent)
            sized = self._judge(lane, order.entry, order.entry.intent)
            if sized is not None:
                self._send_entry(lane, order.entry, sized, order.due_ms)

    # --- fills --------------------------------------------------------------------------------

    def _open(self, lane: _Lane, order: _Order, sized: Sized) -> None:
        asked, price, market = order.asked, lane.price, lane.market
        intent = asked.intent
        assert price is not None
        assert isinstance(intent, EntryIntent)
        refusal = self._refused.get(order.order)
        if refusal is None and not self.purse.can_open(order.qty, price, sized.leverage):
            refusal = "Margin is insufficient."
        if refusal is not None:
            self.refusals.append((asked, refusal))
            return
        signed = intent.direction.sign * order.qty
        fee = self.purse.open(lane.position, signed, price, sized.leverage, order.due_ms)
        trade = OpenTrade(
            script=market.script,
            intent=intent,
            leverage=sized.leverage,
            entry_index=asked.open_ms,
            entry_ms=order.due_ms,
            entry_price=price,
            entry_qty=order.qty,
            risk=sized.loss_at_stop,
            stop_price=sized.protection.stop_price,
            target_price=sized.protection.target_price,
            liquidation=0,
            fees=fee,
        )
        key = _key_of(lane, asked, f"entry-{intent.direction}")
        held = lane.held = _Held(trade, key, asked.atr)
        done = _Done(order.order, None, order.qty, price, order.due_ms, asked.open_ms)
        self._note(lane, held, done, fee=fee)
        try:
            plan = plan_protection(
                intent,
                entry_price=decimal_of(price),
                qty=decimal_of(order.qty),
                leverage=sized.leverage,
                atr=asked.atr,
                instrument=market.contract.instrument,
                brackets=market.contract.brackets,
            )
        except Unprotectable:
            name = client_id(self._run_id, key, Leg.CLOSE)
            self._close(lane, done._replace(order=name, reason=ExitReason.STOP))
            return
        trade.stop_price, trade.target_price = plan.stop_price, plan.target_price
        is_long = intent.direction is Direction.LONG
        held.stop = Level(to_e8(plan.stop_price), is_up=not is_long)
        if plan.target_price is not None:
            held.target = Level(to_e8(plan.target_price), is_up=is_long)
        self._look_up(lane)

    def _look_up(self, lane: _Lane) -> None:
        """Work out where the position is liquidated, now that it has changed."""
        price = liquidation_price(lane.position, lane.market.contract.rules)
        if lane.held is not None:
            level = Level(price, is_up=lane.position.qty < 0) if price else None
            lane.held.liquidation = level

    def _walk(self, lane: _Lane, start: int, told: Told) -> None:
        """Take the price from `start` to where it was told; the first level met ends the trade."""
        held = lane.held
        assert held is not None
        hits: list[tuple[int, int, Level, ExitReason]] = []
        levels = (
            (held.stop, ExitReason.STOP),
            (held.target, ExitReason.TARGET),
            (held.liquidation, ExitReason.LIQUIDATION),
        )
        for rank, (level, reason) in enumerate(levels):
            distance = None if level is None else level.distance(start, told.price)
            if level is None or distance is None:
                continue
            if reason is ExitReason.LIQUIDATION and told.is_jump:
                # Beyond the bankruptcy price no order has time to fill before it.
                beyond = Level(bankruptcy_price(lane.position), level.is_up)
                if beyond.is_met_at(told.price):
                    distance, rank = 0, -1
            hits.append((distance, rank, level, reason))
        if not hits:
            return
        distance, _, level, reason = min(hits, key=lambda hit: hit[:2])
        met = level.price if distance else start
        price = told.price if told.is_jump else met
        leg = Leg.STOP if reason is ExitReason.STOP else Leg.TARGET
        name = "" if reason is ExitReason.LIQUIDATION else client_id(self._run_id, held.key, leg)
        qty = abs(lane.position.qty)
        self._close(lane, _Done(name, reason, qty, price, told.time_ms, told.open_ms))

    def _close(self, lane: _Lane, done: _Done) -> None:
        held, purse, reason = lane.held, self.purse, done.reason
        assert held is not None
        assert reason is not None
        exit_ = Exit(index=done.open_ms, time_ms=done.time_ms, price=done.price, reason=reason)
        fees, realized = purse.fees, purse.realized
        if reason is ExitReason.LIQUIDATION:
            purse.liquidate(lane.position, held.trade, exit_, lane.market.contract.rules)
            done = done._replace(price=exit_.price)
        else:
            purse.close(lane.position, held.trade, done.qty, exit_)
        self._note(lane, held, done, fee=purse.fees - fees, realized=purse.realized - realized)
        if lane.position.qty:
            self._look_up(lane)
        else:
            lane.held = None

    def _note(self, lane: _Lane, held: _Held, done: _Done, *, fee: int, realized: int = 0) -> None:
        self.fills.append(
            PathFill(
                script=lane.market.script,
                symbol=lane.market.symbol,
                order=done.order,
                reason=done.reason,
                direction=held.trade.direction,
                qty=decimal_of(done.qty),
                price=decimal_of(done.price),
                fee=decimal_of(fee),
                realized=decimal_of(realized),
                time_ms=done.time_ms,
                open_ms=done.open_ms,
            )
        )


def play(
    execution: PathExecution,
    told: Sequence[Told],
    asked: Sequence[Asked],
    funded: Sequence[Funded],
) -> None:
    """Feed it all in order of time: at one time the settlements, then prices, then decisions.

    A settlement at the time of a price is made at that price, before the market moves there.
    """
    prices = {(one.time_ms, one.market): one.price for one in told}
    events = [
        *((one.time_ms, 0, place, one) for place, one in enumerate(funded)),
        *((one.time_ms, 1, place, one) for place, one in enumerate(told)),
        *((one.time_ms, 2, place, one) for place, one in enumerate(asked)),
    ]
    for *_, event in sorted(events, key=lambda event: event[:3]):
        match event:
            case Funded():
                execution.funded(event, prices.get((event.time_ms, event.market)))
            case Told():
                execution.told(event)
            case Asked():
                execution.asked(event)
    execution.finish()


def _key_of(lane: _Lane, asked: Asked, kind: str) -> str:
    return signal_key(lane.market.script, lane.market.symbol, asked.open_ms, kind)
