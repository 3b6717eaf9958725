"""The order desks: regular orders, and the Algo service's conditional ones. Pure.

A request that came through the filters is judged against the account and the market, refused with
the exchange's code or carried out at once.
"""

from __future__ import annotations

from milo.exchange.account import notional_of
from milo.exchange.clearing import EXPIRED_IOC, Clearing
from milo.exchange.filters import OrderRequest, check_notional, check_percent_price
from milo.exchange.matching import is_marketable, trail, triggered_type, would_trigger_now
from milo.exchange.refusals import ApiRefusal, refusal
from milo.exchange.rules import MAX_OPEN_ALGOS, SymbolRules
from milo.exchange.state import Algo, Order
from milo.model import OrderStatus, OrderType


class OrderDesk:
    """Places and cancels regular orders."""

    def __init__(self, clearing: Clearing) -> None:
        self._clearing = clearing
        self._state = clearing.state

    def place(self, request: OrderRequest) -> Order:
        """Carry the order out; ApiRefusal where the exchange says no, and then nothing changed."""
        order = self.check(request)
        order.order_id = self._state.next_order_id()
        order.client_id = order.client_id or self._state.next_client_id()
        return self.enter(order, self._clearing.prices[order.symbol])

    def check(self, request: OrderRequest) -> Order:
        """Return the order as it would be placed, still without id. Raises ApiRefusal."""
        rules = _tradable(self._clearing, request.symbol)
        last = self._clearing.prices[request.symbol]
        check_percent_price(request, rules, last, last)
        check_notional(request, rules, request.price or last)
        if request.client_id and self._state.has_open_client_id(request.client_id):
            raise refusal(-4116)
        if len(list(self._state.orders_of(request.symbol))) >= rules.max_orders:
            raise refusal(-2025)
        order = self._order_of(request)
        self.check_account(order, last)
        is_now = _is_now(order, last)
        if order.time_in_force == "FOK" and not is_now:
            raise refusal(-5021)
        if order.time_in_force == "GTX" and is_now:
            raise refusal(-5022)
        return order

    def check_account(self, order: Order, last: int) -> None:
        """Raise where position, leverage or margin forbid the order: -2022, -2027, -2019."""
        clearing, symbol = self._clearing, order.symbol
        position = self._state.position(symbol)
        if order.is_reduce_only:
            if position.sign != -order.side.sign:
                raise refusal(-2022)
            return
        need = clearing.order_need(order, last)
        if not need:
            return
        exposure = notional_of(order.price or last, max(0, clearing.exposure_after(order)))
        if exposure > clearing.rules[symbol].max_notional(self._state.leverage(symbol)):
            raise refusal(-2027)
        funds = clearing.available()
        if position.sign == -order.side.sign and _is_now(order, last):
            funds += position.wallet + position.unrealized(last)  # it closes before it opens
        if need > funds:
            raise refusal(-2019)

    def enter(self, order: Order, last: int) -> Order:
        """Put a checked order into the book: filled at once, resting, or expired."""
        self._clearing.open_order(order)
        if _is_now(order, last):
            self._clearing.take(order, last)
        elif order.time_in_force in ("IOC", "FOK"):
            self._clearing.finish_order(order, OrderStatus.EXPIRED, expiry_reason=EXPIRED_IOC)
        return order

    def cancel(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """Cancel an open order; -2011 where there is none of that id."""
        order = self._state.find_order(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise refusal(-2011)
        self._clearing.finish_order(order, OrderStatus.CANCELED)
        return order

    def cancel_all(self, symbol: str) -> None:
        """Cancel all open regular orders of the symbol; conditional ones stay."""
        for order in list(self._state.orders_of(symbol)):
            self._clearing.finish_order(order, OrderStatus.CANCELED)

    def _order_of(self, request: OrderRequest) -> Order:
        now_ms = self._clearing.now_ms
        return Order(
            order_id=0,
            client_id=request.client_id or "",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            qty=request.qty,
            price=request.price,
            time_ms=now_ms,
            update_ms=now_ms,
            is_reduce_only=request.is_reduce_only,
            orig_type=request.type,
            stp_mode=request.stp_mode,
        )


class AlgoDesk:
    """Places, cancels and triggers conditional orders."""

    def __init__(self, clearing: Clearing, orders: OrderDesk) -> None:
        self._clearing = clearing
        self._state = clearing.state
        self._orders = orders
        self.is_stuck = False
        """Set while orders whose level is met get no further than TRIGGERING."""
        self.stuck: list[Algo] = []
        """Orders that got stuck, for who counts them."""

    def place(self, request: OrderRequest) -> Algo:
        """Keep the order until its trigger; ApiRefusal where the exchange says no.

        Margin is not looked at before the trigger, as at the real Algo service.
        """
        rules = _tradable(self._clearing, request.symbol)
        last = self._clearing.prices[request.symbol]
        check_notional(request, rules, request.price or request.trigger_price or last)
        if sum(1 for _ in self._state.all_open_algos()) >= MAX_OPEN_ALGOS:
            raise refusal(-4045)
        if request.client_id and self._state.has_open_algo_client_id(request.client_id):
            raise refusal(-4116)
        algo = self._algo_of(request)
        self._check_gte(algo)
        if would_trigger_now(algo, last):
            raise refusal(-2021)
        algo.algo_id = self._state.next_algo_id()
        algo.client_id = algo.client_id or self._state.next_client_id()
        if algo.is_trailing and not algo.activate_price:
            algo.activate_price = last
            trail(algo, last)
        self._clearing.open_algo(algo)
        return algo

    def cancel(self, algo_id: int | None, client_id: str | None) -> Algo:
        """Cancel a conditional order that waits; -2011 without one, -4117 at its trigger."""
        algo = self._state.find_algo(algo_id, client_id)
        if algo is not None and algo.status is OrderStatus.TRIGGERING:
            raise refusal(-4117)
        if algo is None or not algo.is_open:
            raise refusal(-2011)
        self._clearing.move_algo(algo, OrderStatus.CANCELED)
        return algo

    def cancel_all(self, symbol: str) -> None:
        """Cancel all conditional orders of the symbol that wait."""
        for algo in list(self._state.algos_of(symbol)):
            self._clearing.move_algo(algo, OrderStatus.CANCELED)

    def trigger(self, algo: Algo, price: int) -> None:
        """Turn the order into a regular one, at a moment when the market stands at `price`."""
        clearing = self._clearing
        algo.trigger_ms = clearing.now_ms
        clearing.move_algo(algo, OrderStatus.TRIGGERING)
        if self.is_stuck:
            self.stuck.append(algo)
            return
        self.become_order(algo, price)

    def become_order(self, algo: Algo, price: int) -> None:
        """Let a TRIGGERING order become a regular one, with the market at `price`."""
        clearing = self._clearing
        order = self._regular_of(algo)
        if not order.qty:
            clearing.move_algo(algo, OrderStatus.EXPIRED)
            return
        try:
            self._orders.check_account(order, price)
            if order.time_in_force == "GTX" and _is_now(order, price):
                raise refusal(-5022)
        except ApiRefusal as error:
            clearing.move_algo(algo, OrderStatus.REJECTED, reason=str(error))
            return
        order.order_id = algo.order_id = self._state.next_order_id()
        self._state.add_order(order)
        clearing.move_algo(algo, OrderStatus.TRIGGERED)
        self._orders.enter(order, price)

    def _regular_of(self, algo: Algo) -> Order:
        position = self._state.position(algo.symbol)
        closable = abs(position.qty) if position.sign == -algo.side.sign else 0
        order_type = triggered_type(algo)
        is_plain_limit = order_type is OrderType.LIMIT and not algo.is_gte
        return Order(
            order_id=0,
            client_id=algo.client_id,
            symbol=algo.symbol,
            side=algo.side,
            type=order_type,
            time_in_force=algo.time_in_force if is_plain_limit else "GTC",
            qty=closable if algo.is_close_position else algo.qty,
            price=algo.price,
            time_ms=self._clearing.now_ms,
            update_ms=self._clearing.now_ms,
            is_reduce_only=algo.is_reduce_only,
            is_close_position=algo.is_close_position,
            orig_type=algo.type,
            stop_price=algo.trigger_price,
            working_type=algo.working_type,
            stp_mode=algo.stp_mode,
            is_price_protected=algo.is_price_protected,
            algo_id=algo.algo_id,
        )

    def _check_gte(self, algo: Algo) -> None:
        """Raise -4509 without a position to close, -4130 where one of that kind closes it."""
        if not algo.is_gte:
            return
        if self._state.position(algo.symbol).sign != -algo.side.sign:
            raise refusal(-4509)
        for other in self._state.algos_of(algo.symbol):
            is_same = other.type is algo.type and other.side is algo.side
            if is_same and other.is_close_position and algo.is_close_position:
                raise refusal(-4130)

    def _algo_of(self, request: OrderRequest) -> Algo:
        now_ms = self._clearing.now_ms
        return Algo(
            algo_id=0,
            client_id=request.client_id or "",
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force,
            qty=request.qty,
            price=request.price,
            trigger_price=request.trigger_price,
            time_ms=now_ms,
            update_ms=now_ms,
            is_reduce_only=request.is_reduce_only,
            is_close_position=request.is_close_position,
            working_type=request.working_type,
            stp_mode=request.stp_mode,
            is_price_protected=request.is_price_protected,
            activate_price=request.activate_price,
            callback_rate=request.callback_rate,
        )


def _is_now(order: Order, last: int) -> bool:
    """Return whether the order trades at once against a market at `last`."""
    if order.type is OrderType.MARKET:
        return True
    return is_marketable(order.side, order.price, last)


def _tradable(clearing: Clearing, symbol: str) -> SymbolRules:
    rules = clearing.rules[symbol]
    if not rules.is_trading:
        raise refusal(-1122)
    return rules
