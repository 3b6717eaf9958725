"""The clearing house: fills, fees, margin, funding and liquidation of one account. Pure.

It owns the rules of money: the wallet changes only here, by realised profit, fees and funding that
are cut to 8 decimals, so that wallet = start + realised - fees + funding to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from milo.exchange.account import (
    Position,
    apply_fill,
    bankruptcy_price,
    funding_payment,
    initial_margin,
    liquidation_price,
    maintenance_margin,
    notional_of,
    order_cost,
)
from milo.exchange.fixed import times
from milo.exchange.notices import (
    AccountNotice,
    AlgoNotice,
    LeverageNotice,
    Notice,
    OrderNotice,
    PositionState,
)
from milo.exchange.rules import MAKER_FEE_E8, TAKER_FEE_E8, SymbolRules
from milo.exchange.state import Algo, ExchangeState, Order, Trade
from milo.model import OrderStatus, OrderType, Side

EXPIRED_IOC = 2
EXPIRED_REDUCE_ONLY = 4
EXPIRED_LIQUIDATED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicing:
    """How market orders are cut up: pieces, wall ms between them, and whether a rest expires."""

    fault_id: int
    parts: int
    pause_ms: int
    is_dry: bool


@dataclass(slots=True, kw_only=True)
class CutOrder:
    """A market order of which pieces are still to be filled."""

    order: Order
    slicing: Slicing
    pieces: list[int] = field(default_factory=list)
    """Quantities to come, e8; the last is what remains then, unless the rest expires."""


class Clearing:
    """Carries out fills on the account; prices are told to it, notices are collected in it."""

    def __init__(self, state: ExchangeState, rules: Mapping[str, SymbolRules]) -> None:
        self.state = state
        self.rules = rules
        self.prices: dict[str, int] = {}
        """Last price, which is the mark price too, of every symbol that is watched."""
        self.now_ms = 0
        self.touched: set[str] = set()
        """Symbols whose orders or position changed: their levels must be looked up again."""
        self.slicing: Slicing | None = None
        """Set while market orders are cut up."""
        self.cut_orders: list[CutOrder] = []
        """Orders that were cut up, for who sees to their later pieces."""
        self._notices: list[Notice] = []

    def take_notices(self) -> list[Notice]:
        """Return what happened since the last call, in order."""
        notices, self._notices = self._notices, []
        return notices

    # --- balances -----------------------------------------------------------------------------

    def cross_wallet(self) -> int:
        """Return the wallet less what isolated positions hold."""
        return self.state.wallet - sum(p.wallet for p in self.state.positions.values())

    def available(self) -> int:
        """Return what new positions and orders may use; below 0 where fees ate into it."""
        return self.cross_wallet() - self.orders_margin()

    def orders_margin(self) -> int:
        """Return what all open orders hold."""
        return sum(self.order_margin(symbol) for symbol in self.state.open_orders)

    def order_margin(self, symbol: str) -> int:
        """Return what the symbol's open orders hold: the dearer of its two sides.

        What only reduces the position needs nothing.
        """
        leverage = self.state.leverage(symbol)
        return max(
            sum(initial_margin(price, qty, leverage) for qty, price in self._opening(symbol, side))
            for side in Side
        )

    def order_need(self, order: Order, last: int) -> int:
        """Return by how much a new order raises what is held: its cost, less what it closes."""
        symbol, side = order.symbol, order.side
        leverage = self.state.leverage(symbol)
        price = order.price or last
        held = self.order_margin(symbol)
        own_side = sum(initial_margin(p, q, leverage) for q, p in self._opening(symbol, side))
        opening = self._opening_qty(order)
        cost = order_cost(price, opening, leverage, sign=side.sign, mark=last) if opening else 0
        return max(held, own_side + cost) - held

    def exposure_after(self, order: Order) -> int:
        """Return the quantity held if the order and all open ones of its side filled."""
        sign = order.side.sign
        position = self.state.position(order.symbol)
        resting = sum(
            other.remaining
            for other in self.state.orders_of(order.symbol)
            if other.side is order.side and not other.is_reduce_only
        )
        return sign * position.qty + order.qty + resting

    def _opening(self, symbol: str, side: Side) -> list[tuple[int, int]]:
        """Return (qty, price) of the side's open orders beyond what closes the position."""
        position = self.state.position(symbol)
        free = abs(position.qty) if position.sign == -side.sign else 0
        parts = []
        for order in self.state.orders_of(symbol):
            if order.side is not side or order.is_reduce_only:
                continue
            closing = min(free, order.remaining)
            free -= closing
            if order.remaining > closing:
                price = order.price or self.prices[symbol]  # a market order in pieces has none
                parts.append((order.remaining - closing, price))
        return parts

    def _opening_qty(self, order: Order) -> int:
        """Return how much of a new order opens, after what the side's older orders close."""
        position = self.state.position(order.symbol)
        if position.sign != -order.side.sign:
            return order.qty
        resting = sum(
            other.remaining
            for other in self.state.orders_of(order.symbol)
            if other.side is order.side and not other.is_reduce_only
        )
        return max(0, order.qty - max(0, abs(position.qty) - resting))

    def liquidation_price(self, symbol: str) -> int:
        """Return the price of the symbol's liquidation, e8; 0 where there is none."""
        return liquidation_price(self.state.position(symbol), self.rules[symbol])

    def maintenance(self, position: Position) -> int:
        """Return the position's maintenance margin at the last price."""
        notional = notional_of(self.prices[position.symbol], position.qty)
        return maintenance_margin(notional, self.rules[position.symbol].bracket_of(notional))

    # --- orders -------------------------------------------------------------------------------

    def open_order(self, order: Order) -> None:
        """Take a new regular order into the book and tell of it."""
        self.state.add_order(order)
        self.touched.add(order.symbol)
        self._tell_order(order, "NEW")

    def finish_order(self, order: Order, status: OrderStatus, *, expiry_reason: int = 0) -> None:
        """Take an order out of the book: CANCELED or EXPIRED."""
        order.status = status
        order.update_ms = self.now_ms
        self.state.add_order(order)
        self.touched.add(order.symbol)
        self._tell_order(order, status.value, expiry_reason=expiry_reason)
        self._finish_algo_of(order)

    def open_algo(self, algo: Algo) -> None:
        """Take a new conditional order into the Algo service and tell of it."""
        self.state.add_algo(algo)
        self.touched.add(algo.symbol)
        self.tell_algo(algo)

    def move_algo(self, algo: Algo, status: OrderStatus, *, reason: str = "") -> None:
        """Change a conditional order's status and tell of it."""
        algo.status = status
        algo.update_ms = self.now_ms
        algo.reject_reason = reason
        self.state.add_algo(algo)
        self.touched.add(algo.symbol)
        self.tell_algo(algo)

    def tell_algo(self, algo: Algo) -> None:
        """Tell how a conditional order stands, with the order that it became."""
        order = self.state.orders.get(algo.order_id)
        self._notices.append(
            AlgoNotice(
                algo=replace(algo),
                order=replace(order) if order is not None else None,
                time_ms=self.now_ms,
            )
        )

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set a symbol's leverage and tell of it where it changed."""
        if leverage == self.state.leverage(symbol):
            return
        self.state.set_leverage(symbol, leverage)
        self._notices.append(LeverageNotice(symbol=symbol, leverage=leverage, time_ms=self.now_ms))

    # --- money --------------------------------------------------------------------------------

    def fill(self, order: Order, price: int, *, is_maker: bool) -> None:
        """Fill all that remains of the order at `price`.

        A reduce-only order fills what there is to reduce; the rest of it expires.
        """
        self._fill_part(order, order.remaining, price, is_maker=is_maker)
        if order.remaining and order.is_open:
            self.finish_order(order, OrderStatus.EXPIRED, expiry_reason=EXPIRED_REDUCE_ONLY)
        self._tidy(self.state.position(order.symbol))

    def take(self, order: Order, price: int) -> None:
        """Fill an order that trades at once: whole, or a first piece while orders are cut up."""
        cut_order = self._cut_up(order)
        if cut_order is None:
            self.fill(order, price, is_maker=False)
            return
        if self.fill_piece(cut_order, price):
            self.cut_orders.append(cut_order)

    def fill_piece(self, cut_order: CutOrder, price: int) -> bool:
        """Fill the next piece at `price`; return whether more are to come.

        An order that has ended meanwhile is left as it is.
        """
        order, pieces = cut_order.order, cut_order.pieces
        if not order.is_open:
            return False
        qty = pieces.pop(0)
        if not pieces and not cut_order.slicing.is_dry:
            self.fill(order, price, is_maker=False)
            return False
        self._fill_part(order, qty, price, is_maker=False)
        self._tidy(self.state.position(order.symbol))
        if not pieces and order.is_open:
            self.finish_order(order, OrderStatus.EXPIRED, expiry_reason=EXPIRED_IOC)
        return bool(pieces) and order.is_open

    def _cut_up(self, order: Order) -> CutOrder | None:
        """Return the order in pieces of whole steps; None where it is to be filled at once."""
        slicing = self.slicing
        if slicing is None or order.type is not OrderType.MARKET:
            return None
        position, qty = self.state.position(order.symbol), order.remaining
        if order.is_reduce_only:
            qty = min(qty, max(0, -order.side.sign * position.qty))
        step = self.rules[order.symbol].market_lot.step or 1
        shares = slicing.parts + (1 if slicing.is_dry else 0)
        piece = max(step, qty // shares // step * step)
        count = min(shares, qty // piece) if piece else 0
        if count < 2:
            return None
        pieces = [piece] * (count - 1)
        if not slicing.is_dry:
            pieces.append(qty - sum(pieces))
        return CutOrder(order=order, slicing=slicing, pieces=pieces)

    def _fill_part(self, order: Order, qty: int, price: int, *, is_maker: bool) -> None:
        """Fill so much of the order; of a reduce-only one never more than there is to reduce."""
        if order.is_reduce_only:
            held = -order.side.sign * self.state.position(order.symbol).qty
            qty = min(qty, max(0, held))
        if qty:
            rate = MAKER_FEE_E8 if is_maker else TAKER_FEE_E8
            fee = times(notional_of(price, qty), rate)
            self._execute(order, qty, price, fee=fee, is_maker=is_maker)

    def liquidate(self, symbol: str, price: int) -> None:
        """Close the position by force; `price` is where the market meets the liquidation price.

        Beyond the bankruptcy price the insurance fund takes over: the loss, fee included, is never
        more than the isolated wallet.
        """
        position = self.state.position(symbol)
        for order in list(self.state.orders_of(symbol)):
            self.finish_order(order, OrderStatus.EXPIRED, expiry_reason=EXPIRED_LIQUIDATED)
        bankrupt = bankruptcy_price(position)
        fill_price = max(price, bankrupt) if position.qty > 0 else min(price, bankrupt)
        order = self._forced_order(position, fill_price)
        self.open_order(order)
        left = position.wallet + position.unrealized(fill_price)
        fee = times(notional_of(fill_price, position.qty), self.rules[symbol].liquidation_fee)
        fee = max(0, min(fee, left))
        self._execute(order, order.qty, fill_price, fee=fee, is_maker=False, is_forced=True)
        self._tidy(position)

    def settle_funding(self, symbol: str, rate: int) -> None:
        """Settle funding on the symbol's position at the last price."""
        position = self.state.position(symbol)
        if not position.qty:
            return
        amount = funding_payment(position, self.prices[symbol], rate)
        self.state.wallet += amount
        position.wallet += amount
        position.carry += amount
        self.state.add_income("FUNDING_FEE", symbol, amount, self.now_ms)
        self._position_changed(position)
        self._tell_account("FUNDING_FEE", position, change=amount)

    def _execute(
        self,
        order: Order,
        qty: int,
        price: int,
        *,
        fee: int,
        is_maker: bool,
        is_forced: bool = False,
    ) -> None:
        position = self.state.position(order.symbol)
        leverage = self.state.leverage(order.symbol)
        effect = apply_fill(position, order.side.sign * qty, price, leverage)
        if position.qty:
            position.carry -= fee
        self.state.wallet += effect.realized - fee
        trade = Trade(
            trade_id=self.state.next_trade_id(),
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            qty=qty,
            realized=effect.realized,
            fee=fee,
            is_maker=is_maker,
            time_ms=self.now_ms,
        )
        self._book(trade, is_forced=is_forced)
        order.filled += qty
        order.quote_e16 += price * qty
        is_done = not order.remaining
        order.status = OrderStatus.FILLED if is_done else OrderStatus.PARTIALLY_FILLED
        order.update_ms = self.now_ms
        self.state.add_order(order)
        self._position_changed(position)
        self._tell_account("ORDER", position)
        self._tell_order(order, "CALCULATED" if is_forced else "TRADE", trade=trade)
        self._finish_algo_of(order)

    def _book(self, trade: Trade, *, is_forced: bool) -> None:
        """Write a trade and its lines of the statement."""
        state, symbol, trade_id = self.state, trade.symbol, trade.trade_id
        state.add_trade(trade)
        info = str(trade_id)
        state.add_income(
            "REALIZED_PNL", symbol, trade.realized, self.now_ms, info=info, trade_id=trade_id
        )
        kind = "INSURANCE_CLEAR" if is_forced else "COMMISSION"
        state.add_income(kind, symbol, -trade.fee, self.now_ms, info=info, trade_id=trade_id)

    def _forced_order(self, position: Position, price: int) -> Order:
        order_id = self.state.next_order_id()
        return Order(
            order_id=order_id,
            client_id=f"autoclose-{order_id}",
            symbol=position.symbol,
            side=Side.SELL if position.qty > 0 else Side.BUY,
            type=OrderType.LIMIT,
            time_in_force="IOC",
            qty=abs(position.qty),
            price=price,
            time_ms=self.now_ms,
            update_ms=self.now_ms,
        )

    def _tidy(self, position: Position) -> None:
        """Expire what needs a position, once that position is gone or has turned."""
        for algo in list(self.state.algos_of(position.symbol)):
            if algo.is_gte and position.sign != -algo.side.sign:
                self.move_algo(algo, OrderStatus.EXPIRED)
        for order in list(self.state.orders_of(position.symbol)):
            if order.is_reduce_only and position.sign != -order.side.sign:
                self.finish_order(order, OrderStatus.EXPIRED, expiry_reason=EXPIRED_REDUCE_ONLY)

    def _finish_algo_of(self, order: Order) -> None:
        """Tell that a triggered conditional order has ended, once its regular order has."""
        algo = self.state.algos.get(order.algo_id) if order.algo_id else None
        if algo is not None and not order.is_open and not algo.status.is_final:
            self.move_algo(algo, OrderStatus.FINISHED)

    def _position_changed(self, position: Position) -> None:
        position.update_ms = self.now_ms
        self.state.changes.positions.add(position.symbol)
        self.state.changes.has_meta = True
        self.touched.add(position.symbol)

    # --- notices ------------------------------------------------------------------------------

    def _tell_order(
        self,
        order: Order,
        execution: str,
        *,
        trade: Trade | None = None,
        expiry_reason: int = 0,
    ) -> None:
        self._notices.append(
            OrderNotice(
                order=replace(order),
                execution=execution,
                trade=trade,
                expiry_reason=expiry_reason,
                time_ms=self.now_ms,
            )
        )

    def _tell_account(self, reason: str, position: Position, *, change: int = 0) -> None:
        self._notices.append(
            AccountNotice(
                reason=reason,
                wallet=self.state.wallet,
                cross_wallet=self.cross_wallet(),
                change=change,
                position=self.position_state(position),
                time_ms=self.now_ms,
            )
        )

    def position_state(self, position: Position) -> PositionState:
        """Return the position as it stands at the last price."""
        return PositionState(
            symbol=position.symbol,
            qty=position.qty,
            entry_e16=position.entry_e16,
            break_even_e16=position.break_even_e16(),
            realized=position.realized,
            unrealized=position.unrealized(self.prices[position.symbol]),
            wallet=position.wallet,
        )
