"""A venue of one symbol and one account, as plain arithmetic: it judges what the core does.

Nothing here is shared with the core but the words. It takes the core's orders, moves its own
wallet and position, and tells what happened in the events of the real protocol.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from milo.events import AccountEvent, AlgoEvent, LeverageEvent, OrderEvent, PositionChange
from milo.inbox import Absent, Accepted, AccountRead, Canceled, CoreEvent, Failed, Failure
from milo.model import (
    Balance,
    Fill,
    NewOrder,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    Side,
)

ZERO = Decimal(0)
LIVE = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


def cut(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.00000001"), rounding=ROUND_DOWN)


@dataclass
class Resting:
    """An order as the venue keeps it."""

    order: NewOrder
    venue_id: int
    status: OrderStatus
    filled: Decimal = ZERO
    became: int | None = None

    def report(self, now_ms: int) -> OrderReport:
        order = self.order
        return OrderReport(
            symbol=order.symbol,
            client_id=order.client_id,
            venue_id=self.venue_id,
            side=order.side,
            type=order.type,
            status=self.status,
            qty=order.qty or ZERO,
            filled_qty=self.filled,
            avg_price=None,
            price=ZERO,
            trigger_price=order.trigger_price or ZERO,
            is_reduce_only=order.is_reduce_only,
            is_close_position=order.is_close_position,
            is_conditional=order.is_conditional,
            update_ms=now_ms,
            triggered_venue_id=self.became,
        )


@dataclass
class PaperVenue:
    """One symbol in one-way mode with isolated margin; every public method returns its events."""

    symbol: str
    price: Decimal
    wallet: Decimal = Decimal(10_000)
    taker: Decimal = Decimal("0.0005")
    leverage: int = 20
    has_algo_service: bool = True
    names_triggered_orders: bool = True
    """Whether the order that a stop becomes keeps our client id."""
    fee_asset: str = "USDT"
    parts: list[Decimal] = field(default_factory=list)
    """Quantities in which the next market orders fill, taken from the front; empty: at once."""
    slips: list[Decimal] = field(default_factory=list)
    """By how much the price moves before each part after the first, taken from the front."""
    is_dry: bool = False
    """The market has no more to give than the parts: the rest of an order expires."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Leg letter -> error code with which the next order of that leg is refused."""
    now_ms: int = 1_000_000
    qty: Decimal = ZERO
    entry: Decimal = ZERO
    isolated: Decimal = ZERO
    changed_ms: int = 0
    orders: dict[str, Resting] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    funding: Decimal = ZERO
    payments: list[tuple[int, Decimal]] = field(default_factory=list)
    """The statement: (time, amount) of every funding payment."""
    _last_id: int = 500

    # --- requests -----------------------------------------------------------------------------

    def set_leverage(self, leverage: int) -> list[CoreEvent]:
        self.leverage = leverage
        return [LeverageEvent(symbol=self.symbol, leverage=leverage, event_ms=self.now_ms)]

    def place(self, order: NewOrder) -> tuple[CoreEvent, list[CoreEvent]]:
        """Take an order; return the request's answer, and the stream's events in order."""
        code = self.refusals.pop(order.client_id.rsplit("-", 1)[-1][:1], None)
        code = code or self._refusal(order)
        if code is not None:
            return self._failed(order, code), []
        resting = Resting(order, self._next_id(), OrderStatus.NEW)
        self.orders[order.client_id] = resting
        if order.is_conditional:
            events: list[CoreEvent] = [self._told(resting)]
        else:
            events = [self._order_event(resting, "NEW", None), *self._execute(resting)]
        return Accepted(report=resting.report(self.now_ms)), events

    def cancel(self, client_id: str) -> tuple[CoreEvent, list[CoreEvent]]:
        resting = self.orders.get(client_id)
        answer = Canceled(symbol=self.symbol, client_id=client_id)
        if resting is None or resting.status not in LIVE:
            return answer, []
        resting.status = OrderStatus.CANCELED
        return answer, [self._told(resting)]

    def look_up(self, client_id: str) -> list[CoreEvent]:
        """Answer a look-up by name: the order and then its executions, or that it is not there."""
        resting = self.orders.get(client_id)
        if resting is None:
            return [Absent(symbol=self.symbol, client_id=client_id)]
        return [Accepted(report=resting.report(self.now_ms))]

    def fills_of(self, client_id: str) -> list[Fill]:
        resting = self.orders.get(client_id)
        if resting is None:
            return []
        venue_id = resting.became if resting.order.is_conditional else resting.venue_id
        return [_nameless(fill) for fill in self.fills if fill.venue_id == venue_id]

    def fills_since(self, start_ms: int) -> list[Fill]:
        return [_nameless(fill) for fill in self.fills if fill.time_ms >= start_ms]

    def account_read(self, *, with_recent: bool = False) -> AccountRead:
        unrealized = cut(self.qty * (self.price - self.entry)) if self.qty else ZERO
        position = PositionReport(
            symbol=self.symbol,
            qty=self.qty,
            entry_price=self.entry,
            mark_price=self.price,
            unrealized=unrealized,
            liquidation_price=ZERO,
            isolated_margin=self.isolated + unrealized,
            update_ms=self.changed_ms,
        )
        return AccountRead(
            balance=Balance(
                wallet=self.wallet,
                available=self.wallet - self.isolated,
                unrealized=unrealized,
            ),
            positions=(position,) if self.qty else (),
            orders=tuple(
                resting.report(self.now_ms)
                for resting in self.orders.values()
                if resting.status in LIVE
            ),
            recent=tuple(
                resting.report(self.now_ms)
                for resting in self.orders.values()
                if with_recent and not resting.order.is_conditional
            ),
        )

    # --- the market ---------------------------------------------------------------------------

    def move_to(self, price: Decimal, *, later_ms: int = 1000) -> list[CoreEvent]:
        """Let the price jump; what it triggers fills at the new price."""
        self.price = price
        self.now_ms += later_ms
        events: list[CoreEvent] = []
        for resting in list(self.orders.values()):
            if resting.status in LIVE and resting.order.is_conditional and self._hits(resting):
                events += self._trigger(resting)
        return events

    def fund(self, rate: Decimal) -> list[CoreEvent]:
        """Settle funding on the position, at the price."""
        if not self.qty:
            return []
        self.now_ms += 1
        amount = cut(-self.qty * self.price * rate)
        self.wallet += amount
        self.isolated += amount
        self.funding += amount
        self.payments.append((self.now_ms, amount))
        self.changed_ms = self.now_ms
        return [self._account_event("FUNDING_FEE", amount)]

    def liquidate(self) -> list[CoreEvent]:
        """Close the position by force."""
        if not self.qty:
            return []
        self.now_ms += 1
        venue_id = self._next_id()
        return self._forced(f"autoclose-{venue_id}", venue_id, abs(self.qty), is_liquidation=True)

    def trade_by_hand(self, side: Side, qty: Decimal) -> list[CoreEvent]:
        """Let somebody else trade on the account."""
        self.now_ms += 1
        venue_id = self._next_id()
        return self._forced(f"web_{venue_id}", venue_id, qty, side=side)

    def cancel_by_hand(self, client_id: str) -> list[CoreEvent]:
        return self.cancel(client_id)[1]

    # --- what a judge asks --------------------------------------------------------------------

    def live(self) -> Iterator[NewOrder]:
        """Yield our orders that stand."""
        for resting in self.orders.values():
            if resting.status in LIVE:
                yield resting.order

    @property
    def is_protected(self) -> bool:
        """Whether a stop on the right side closes the whole position."""
        side = Side.SELL if self.qty > 0 else Side.BUY
        return any(
            order.type is OrderType.STOP_MARKET
            and order.side is side
            and (order.is_close_position or (order.qty or ZERO) >= abs(self.qty))
            for order in self.live()
        )

    # --- inside -------------------------------------------------------------------------------

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _refusal(self, order: NewOrder) -> int | None:
        closes = self.qty != 0 and (self.qty > 0) == (order.side is Side.SELL)
        if order.is_reduce_only and not closes:
            return -2022
        if not order.is_close_position:
            return None
        if not closes and self.has_algo_service:
            return -4509
        for other in self.live():
            if self.has_algo_service and other.type is order.type and other.side is order.side:
                return -4130
        return -2021 if self._hits(Resting(order, 0, OrderStatus.NEW)) else None

    def _failed(self, order: NewOrder, code: int) -> Failed:
        return Failed(
            symbol=self.symbol,
            client_id=order.client_id,
            failure=Failure.REFUSED,
            code=code,
            text=f"refused ({code})",
        )

    def _hits(self, resting: Resting) -> bool:
        order = resting.order
        assert order.trigger_price is not None
        is_stop = order.type is OrderType.STOP_MARKET
        is_up = (order.side is Side.BUY) == is_stop
        beyond = self.price - order.trigger_price
        return beyond >= 0 if is_up else beyond <= 0

    def _trigger(self, resting: Resting) -> list[CoreEvent]:
        order = resting.order
        closable = self.qty if order.side is Side.SELL else -self.qty
        if closable <= 0:
            resting.status = OrderStatus.EXPIRED
            return [self._told(resting)]
        if not self.has_algo_service:
            # The order itself goes on as a market order, under the same names.
            resting.status = OrderStatus.EXPIRED
            told = self._told(resting)
            resting.order = dataclasses.replace(order, type=OrderType.MARKET, qty=closable)
            return [told, self._order_event(resting, "NEW", None), *self._execute(resting)]
        resting.status = OrderStatus.TRIGGERING
        events = [self._told(resting)]
        resting.became, resting.status = self._next_id(), OrderStatus.TRIGGERED
        events.append(self._told(resting))
        name = order.client_id if self.names_triggered_orders else f"engine-{resting.became}"
        market = Resting(
            dataclasses.replace(order, type=OrderType.MARKET, client_id=name, qty=closable),
            resting.became,
            OrderStatus.NEW,
        )
        events += [self._order_event(market, "NEW", None), *self._execute(market, resting)]
        return events

    def _execute(self, resting: Resting, algo: Resting | None = None) -> list[CoreEvent]:
        """Fill a market order, in parts where parts are planned; then tidy up."""
        order = resting.order
        assert order.qty is not None
        events: list[CoreEvent] = []
        while resting.filled < order.qty:
            left = order.qty - resting.filled
            if order.is_reduce_only:
                left = min(left, max(ZERO, -order.side.sign * self.qty))
            if self.is_dry and resting.filled and not self.parts:
                left = ZERO
            if not left:
                resting.status = OrderStatus.EXPIRED
                events.append(self._order_event(resting, "EXPIRED", None))
                break
            if resting.filled and self.slips:
                self.price += self.slips.pop(0)
            part = min(left, self.parts.pop(0)) if self.parts else left
            events += self._fill(resting, part, order.side)
        if algo is not None:
            algo.filled, algo.status = resting.filled, OrderStatus.FINISHED
            events.append(self._told(algo))
        return events + self._tidy()

    def _forced(
        self,
        client_id: str,
        venue_id: int,
        qty: Decimal,
        *,
        side: Side | None = None,
        is_liquidation: bool = False,
    ) -> list[CoreEvent]:
        closing = Side.SELL if self.qty > 0 else Side.BUY
        order = NewOrder(
            symbol=self.symbol,
            side=side or closing,
            type=OrderType.MARKET,
            client_id=client_id,
            qty=qty,
        )
        resting = Resting(order, venue_id, OrderStatus.NEW)
        events = self._fill(resting, qty, order.side, is_liquidation=is_liquidation)
        return events + self._tidy()

    def _fill(
        self, resting: Resting, qty: Decimal, side: Side, *, is_liquidation: bool = False
    ) -> list[CoreEvent]:
        self.now_ms += 1
        realized = self._apply(side.sign * qty)
        fee = cut(self.price * qty * self.taker)
        self.wallet += realized - (fee if self.fee_asset == "USDT" else ZERO)
        self.changed_ms = self.now_ms
        resting.filled += qty
        is_done = resting.filled == resting.order.qty
        resting.status = OrderStatus.FILLED if is_done else OrderStatus.PARTIALLY_FILLED
        fill = Fill(
            symbol=self.symbol,
            client_id=resting.order.client_id,
            venue_id=resting.venue_id,
            trade_id=self._next_id(),
            side=side,
            qty=qty,
            price=self.price,
            realized=realized,
            fee=fee,
            fee_asset=self.fee_asset,
            is_maker=False,
            time_ms=self.now_ms,
        )
        self.fills.append(fill)
        told = self._order_event(resting, "CALCULATED" if is_liquidation else "TRADE", fill)
        return [
            self._account_event("ORDER", ZERO),
            dataclasses.replace(told, is_liquidation=is_liquidation),
        ]

    def _apply(self, signed: Decimal) -> Decimal:
        """Change the position; return the realised profit."""
        realized = ZERO
        if self.qty * signed < 0:
            closing = min(abs(self.qty), abs(signed))
            sign = 1 if self.qty > 0 else -1
            realized = cut(sign * closing * (self.price - self.entry))
            self.isolated -= cut(self.isolated * closing / abs(self.qty))
            self.qty -= sign * closing
            signed += sign * closing
            if not self.qty:
                self.isolated = self.entry = ZERO
        if signed:
            held = abs(self.qty)
            cost = self.entry * held + self.price * abs(signed)
            self.qty += signed
            self.entry = cost / abs(self.qty)
            self.isolated += cut(self.price * abs(signed) / self.leverage)
        return realized

    def _tidy(self) -> list[CoreEvent]:
        """End what needs a position, where the venue does that."""
        events: list[CoreEvent] = []
        for resting in self.orders.values():
            is_bracket = resting.status in LIVE and resting.order.is_close_position
            held = self.qty if resting.order.side is Side.SELL else -self.qty
            if is_bracket and held <= 0 and self.has_algo_service:
                resting.status = OrderStatus.EXPIRED
                events.append(self._told(resting))
        return events

    def _told(self, resting: Resting) -> CoreEvent:
        """Return the event of a conditional order, by the service that keeps it."""
        report = resting.report(self.now_ms)
        if self.has_algo_service:
            return AlgoEvent(report=report, reject_reason="", event_ms=self.now_ms)
        return OrderEvent(
            report=dataclasses.replace(report, is_conditional=False, triggered_venue_id=None),
            execution="NEW" if resting.status is OrderStatus.NEW else "EXPIRED",
            fill=None,
            is_liquidation=False,
            event_ms=self.now_ms,
        )

    def _order_event(self, resting: Resting, execution: str, fill: Fill | None) -> OrderEvent:
        return OrderEvent(
            report=resting.report(self.now_ms),
            execution=execution,
            fill=fill,
            is_liquidation=False,
            event_ms=self.now_ms,
        )

    def _account_event(self, reason: str, change: Decimal) -> AccountEvent:
        return AccountEvent(
            reason=reason,
            wallet=self.wallet,
            change=change,
            positions=(
                PositionChange(
                    symbol=self.symbol,
                    qty=self.qty,
                    entry_price=self.entry,
                    unrealized=ZERO,
                    isolated_wallet=self.isolated,
                ),
            ),
            funding_symbol=self.symbol if reason == "FUNDING_FEE" else None,
            event_ms=self.now_ms,
        )


def _nameless(fill: Fill) -> Fill:
    # The venue's trade list knows orders by number only.
    return dataclasses.replace(fill, client_id="")
