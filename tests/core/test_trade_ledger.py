"""The trade list: every execution counted once, and rows that add up to the wallet's change."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from milo.events import AccountEvent, OrderEvent, StreamReset
from milo.inbox import Absent, CoreEvent, Failed, Failure, ReconcileDue
from milo.model import ExitReason, Fill, NewOrder, OrderReport, OrderStatus, OrderType, Side
from milo.orders.ledger import open_rows
from milo.orders.seen import KEPT, SeenTrades
from tests.order_desk import SYMBOL, Desk, orders_in

LOT = Decimal("0.001")
LOTS = 95
"""What the entry below buys."""
ENTRY = "long(1%risk@10x,sl=2%,rr=3)"

MONEY = st.decimals(-1000, 1000, places=8)
FEES = st.decimals(0, 10, places=8)


@dataclass(frozen=True)
class Execution:
    """One execution with amounts as the venue might state them."""

    order: str
    lots: int
    price: Decimal
    realized: Decimal
    fee: Decimal


def partition(draw: st.DrawFn, total: int, most: int) -> list[int]:
    cuts = draw(st.sets(st.integers(1, total - 1), max_size=most - 1)) if total > 1 else set()
    edges = [0, *sorted(cuts), total]
    return [after - before for before, after in itertools.pairwise(edges)]


@st.composite
def executions(draw: st.DrawFn, order: str, total: int, *, closes: bool) -> list[Execution]:
    return [
        Execution(
            order=order,
            lots=lots,
            price=draw(st.decimals(100, 100_000, places=1)),
            realized=draw(MONEY) if closes else Decimal(0),
            fee=draw(FEES),
        )
        for lots in partition(draw, total, 4)
    ]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Execution], list[Execution], list[Decimal]]:
    """Return an entry's executions, those that close a part of it, and funding payments."""
    entry = draw(executions("entry", LOTS, closes=False))
    closing: list[Execution] = []
    for index, lots in enumerate(partition(draw, draw(st.integers(1, LOTS - 1)), 4)):
        closing += draw(executions(f"web_{index}", lots, closes=True))
    return entry, closing, draw(st.lists(MONEY, max_size=3))


class Teller:
    """Turns executions into the events that tell of them."""

    def __init__(self, entry: NewOrder) -> None:
        self._entry = entry
        self._trade_id = 1000
        self._filled: dict[str, int] = {}
        self._totals: dict[str, int] = {}

    def tell(self, items: list[Execution]) -> list[CoreEvent]:
        for item in items:
            self._totals[item.order] = self._totals.get(item.order, 0) + item.lots
        return [self._event(item) for item in items]

    def _event(self, item: Execution) -> OrderEvent:
        self._trade_id += 1
        self._filled[item.order] = self._filled.get(item.order, 0) + item.lots
        filled, total = self._filled[item.order], self._totals[item.order]
        is_entry = item.order == "entry"
        client_id = self._entry.client_id if is_entry else item.order
        venue_id = 1 if is_entry else 2 + int(item.order.removeprefix("web_"))
        side = Side.BUY if is_entry else Side.SELL
        report = OrderReport(
            symbol=SYMBOL,
            client_id=client_id,
            venue_id=venue_id,
            side=side,
            type=OrderType.MARKET,
            status=OrderStatus.FILLED if filled == total else OrderStatus.PARTIALLY_FILLED,
            qty=total * LOT,
            filled_qty=filled * LOT,
            avg_price=None,
            price=Decimal(0),
            trigger_price=Decimal(0),
            is_reduce_only=False,
            is_close_position=False,
            is_conditional=False,
            update_ms=self._trade_id,
        )
        fill = Fill(
            symbol=SYMBOL,
            client_id=client_id,
            venue_id=venue_id,
            trade_id=self._trade_id,
            side=side,
            qty=item.lots * LOT,
            price=item.price,
            realized=item.realized,
            fee=item.fee,
            fee_asset="USDT",
            is_maker=False,
            time_ms=self._trade_id,
        )
        return OrderEvent(
            report=report, execution="TRADE", fill=fill, is_liquidation=False, event_ms=1
        )


def funding(amount: Decimal, event_ms: int) -> AccountEvent:
    return AccountEvent(
        reason="FUNDING_FEE",
        wallet=None,
        change=amount,
        positions=(),
        funding_symbol=SYMBOL,
        event_ms=event_ms,
    )


def amount_of(*groups: list[Execution]) -> Decimal:
    return sum((e.realized - e.fee for group in groups for e in group), Decimal(0))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(history=histories(), order=st.randoms(use_true_random=False))
def test_rows_add_up_whatever_the_order_and_however_often_it_is_told(
    history: tuple[list[Execution], list[Execution], list[Decimal]], order: random.Random
) -> None:
    entry, closing, payments = history
    desk = Desk()
    teller = Teller(orders_in(desk.signal(ENTRY))[0])
    events = [*teller.tell(entry), *teller.tell(closing)]
    events += [funding(paid, 10_000 + index) for index, paid in enumerate(payments)]
    events += order.choices(events, k=5)
    order.shuffle(events)

    desk.deliver(*events)

    assert desk.profit() == amount_of(entry, closing) + sum(payments, Decimal(0))
    closed = sum((row.qty for row in desk.rows()), Decimal(0))
    still_open = sum((row.qty for row in open_rows(desk.book)), Decimal(0))
    assert closed + still_open == LOTS * LOT
    assert desk.trade.qty == LOTS * LOT - sum(e.lots for e in closing) * LOT
    assert desk.state.foreign_qty == 0
    assert desk.state.waiting == ()


@settings(deadline=None, derandomize=True, max_examples=100)
@given(history=histories())
def test_in_order_each_closing_order_is_one_row(
    history: tuple[list[Execution], list[Execution], list[Decimal]],
) -> None:
    entry, closing, payments = history
    desk = Desk()
    teller = Teller(orders_in(desk.signal(ENTRY))[0])

    desk.deliver(*teller.tell(entry))
    desk.deliver(*(funding(paid, 10_000 + index) for index, paid in enumerate(payments)))
    desk.deliver(*teller.tell(closing))

    names = list(dict.fromkeys(item.order for item in closing))
    lots = [sum(e.lots for e in closing if e.order == name) for name in names]
    assert [row.qty for row in desk.rows()] == [count * LOT for count in lots]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(history=histories(), last=st.tuples(MONEY, FEES))
def test_the_last_row_takes_what_is_left_to_the_last_digit(
    history: tuple[list[Execution], list[Execution], list[Decimal]],
    last: tuple[Decimal, Decimal],
) -> None:
    entry, closing, payments = history
    desk = Desk()
    teller = Teller(orders_in(desk.signal(ENTRY))[0])
    rest = Execution(
        order="web_9",
        lots=LOTS - sum(e.lots for e in closing),
        price=Decimal(50_000),
        realized=last[0],
        fee=last[1],
    )

    desk.deliver(*teller.tell(entry))
    desk.deliver(*(funding(paid, 10_000 + index) for index, paid in enumerate(payments)))
    desk.deliver(*teller.tell(closing), *teller.tell([rest]))

    rows = desk.rows()
    assert desk.state.trade is None
    assert open_rows(desk.book) == ()
    assert sum((row.profit for row in rows), Decimal(0)) == (
        amount_of(entry, closing, [rest]) + sum(payments, Decimal(0))
    )
    assert sum((row.funding for row in rows), Decimal(0)) == sum(payments, Decimal(0))
    fees = sum((e.fee for e in (*entry, *closing, rest)), Decimal(0))
    assert sum((row.fees for row in rows), Decimal(0)) == fees


# --- single rows --------------------------------------------------------------------------------


def test_a_row_carries_its_share_of_entry_fees_and_funding() -> None:
    desk = Desk()
    desk.enter("long(1%margin@10x,sl=2%)")
    desk.deliver(*desk.venue.fund(Decimal("0.001")))

    desk.signal("close(50%)", candle=1)
    desk.settle()
    row = desk.rows()[0]

    # 0.02 BTC at 50,000: 0.5 to enter; 1.00 of funding paid; half of it left with half of it.
    assert (row.qty, row.funding, row.fees) == (Decimal("0.01"), Decimal("-0.5"), Decimal("0.5"))
    assert row.profit == Decimal("-1.0")


def test_an_open_row_shows_what_is_realised_so_far() -> None:
    desk = Desk()
    desk.enter("long(1%margin@10x,sl=2%)")
    desk.deliver(*desk.venue.fund(Decimal("-0.001")))

    row = open_rows(desk.book)[0]

    assert (row.fees, row.funding, row.profit) == (Decimal("0.5"), Decimal(1), Decimal("0.5"))
    assert (row.exit_ms, row.exit_price, row.reason) == (None, None, None)


def test_funding_told_before_the_entry_that_it_follows_is_counted() -> None:
    desk = Desk()
    enter = desk.signal(ENTRY)[0]
    events = desk.carry_out(enter)
    desk.due.clear()
    paid = desk.venue.fund(Decimal("0.0001"))

    desk.deliver(*paid, *events)

    assert desk.trade.funding == desk.venue.funding
    assert desk.profit() == desk.earned()


def test_funding_of_a_position_that_is_not_ours_is_not_counted() -> None:
    desk = Desk()
    desk.deliver(*desk.venue.trade_by_hand(Side.BUY, Decimal(1)))
    desk.deliver(*desk.venue.fund(Decimal("0.0001")))
    desk.deliver(*desk.venue.trade_by_hand(Side.SELL, Decimal(1)))

    desk.enter(ENTRY)

    assert desk.trade.funding == 0


def test_a_funding_payment_told_twice_is_booked_once() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    paid = desk.venue.fund(Decimal("0.0001"))

    desk.deliver(*paid, *paid)

    assert desk.trade.funding == desk.venue.funding
    assert desk.profit() == desk.earned()


def test_funding_that_is_told_after_the_end_gets_a_row_of_its_own() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.fund(Decimal("0.0001"))
    desk.signal("close", candle=1)
    desk.settle()
    assert desk.profit() != desk.earned()

    desk.deliver(StreamReset(route="user", reason="was silent"))
    desk.settle()

    late = desk.rows()[-1]
    assert (late.qty, late.reason) == (0, ExitReason.FUNDING)
    assert late.funding == late.profit == desk.venue.funding
    assert desk.profit() == desk.earned()


def test_funding_of_an_ended_position_is_not_booked_on_the_next_one() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.fund(Decimal("0.0001"))
    desk.signal("close", candle=1)
    desk.settle()
    desk.venue.now_ms += 1000
    desk.enter(ENTRY, candle=2)

    desk.deliver(StreamReset(route="user", reason="was silent"))
    desk.settle()

    assert desk.trade.funding == 0
    assert [row.reason for row in desk.rows()] == [ExitReason.CLOSE, ExitReason.FUNDING]
    assert desk.profit() == desk.earned()


def test_an_end_that_a_reading_finds_has_the_funding_that_was_lost_with_it() -> None:
    desk = Desk()
    desk.enter(ENTRY)
    desk.venue.fund(Decimal("0.0001"))
    desk.venue.move_to(Decimal(48_990))

    desk.deliver(ReconcileDue())
    desk.settle()

    assert [row.reason for row in desk.rows()] == [ExitReason.STOP]
    assert desk.rows()[0].funding == desk.venue.funding
    assert desk.profit() == desk.earned()


def test_funding_is_read_from_time_to_time_though_nothing_seems_lost() -> None:
    desk = Desk()
    desk.deliver(StreamReset(route="user", reason="was silent"))
    desk.settle()
    desk.enter(ENTRY)
    desk.venue.fund(Decimal("0.0001"))
    desk.deliver(ReconcileDue())
    desk.settle()
    assert desk.trade.funding == 0
    desk.venue.now_ms += 15 * 60_000

    desk.deliver(ReconcileDue())
    desk.settle()

    assert desk.trade.funding == desk.venue.funding


def test_an_entry_that_fills_against_a_later_position_closes_it_and_opens_the_rest() -> None:
    desk = Desk()
    desk.enter("short(1%margin@10x,sl=2%)", candle=1)
    desk.signal("close", candle=1)
    desk.settle()
    late = desk.signal("long(2%margin@10x,sl=2%)", candle=2)[0]
    order = orders_in([late])[0]
    desk.due.clear()
    desk.deliver(*_lost(order))
    desk.enter("short(1%margin@10x,sl=2%)", candle=3)

    desk.deliver(*desk.carry_out(late))
    desk.settle()

    assert desk.trade.qty == desk.venue.qty == Decimal("0.02")
    assert [row.reason for row in desk.rows()] == [ExitReason.CLOSE, ExitReason.CLOSE]
    assert desk.venue.is_protected
    assert desk.profit() == desk.earned()


def _lost(order: NewOrder) -> list[CoreEvent]:
    return [
        Failed(symbol=SYMBOL, client_id=order.client_id, failure=Failure.UNKNOWN, code=0, text="?"),
        Absent(symbol=SYMBOL, client_id=order.client_id),
    ]


# --- what was seen ------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.integers(1, 10**6), max_size=60))
def test_an_id_is_seen_from_its_first_telling_on(ids: list[int]) -> None:
    seen = SeenTrades()
    for trade_id in ids:
        seen = seen.with_id(trade_id)

    assert all(trade_id in seen for trade_id in ids)
    assert 10**6 + 1 not in seen


def test_the_memory_is_bounded_and_what_is_older_counts_as_seen() -> None:
    seen = SeenTrades()
    for trade_id in range(2, 2 * (KEPT + 50), 2):
        seen = seen.with_id(trade_id)

    assert len(seen.ids) == KEPT
    assert 3 in seen
    assert 2 * KEPT + 1 not in seen
