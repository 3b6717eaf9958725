"""What the guard must know of the book: a plan for each position and entry in flight. Pure."""

from __future__ import annotations

from decimal import Decimal

from milo.guard.words import Plan
from milo.model import Direction, EntryIntent
from milo.money import ZERO
from milo.orders.book import Book, OpenTrade, OwnOrder, SymbolBook
from milo.orders.ids import Leg
from milo.orders.lots import largest_market_qty, market_step
from milo.orders.machine import OrderState
from milo.orders.protection import Protection, Unprotectable, default_stop, plan_protection


def plans_of(book: Book) -> tuple[Plan, ...]:
    """Return the plan of every position of ours and of every entry that may still fill."""
    plans: list[Plan] = []
    for state in book.symbols.values():
        trade = state.trade
        if trade is not None:
            plans.append(_of_trade(book, state, trade))
        for own_id, own in state.orders.items():
            is_its_own = trade is not None and own.key == trade.key
            if own.leg is Leg.ENTRY and not own.is_complete and not is_its_own:
                plans.append(_of_entry(book, state, own_id, own))
    return tuple(plans)


def plan_of_entry(book: Book, symbol: str, client_id: str) -> Plan | None:
    """Return the plan that an entry which is about to be sent belongs to."""
    for plan in plans_of(book):
        if plan.symbol == symbol and plan.entry_id == client_id:
            return plan
    return None


def _of_trade(book: Book, state: SymbolBook, trade: OpenTrade) -> Plan:
    entry_id, entry = _entry_of(state, trade)
    unfilled = ZERO
    if entry is not None and not entry.is_complete:
        unfilled = max(ZERO, (entry.order.qty or ZERO) - entry.seen_qty)
    return _plan(
        book,
        state,
        direction=trade.direction,
        key=trade.key,
        entry_id=entry_id,
        qty=trade.qty + unfilled,
        stop_price=trade.stop_price or _planned_stop(state, trade, entry),
        stop_ids=() if trade.stop_id is None else (trade.stop_id,),
        is_stop_confirmed=trade.is_stop_confirmed and _is_untriggered(state, trade),
        is_entry_open=entry is not None and not entry.is_complete,
    )


def _of_entry(book: Book, state: SymbolBook, own_id: str, own: OwnOrder) -> Plan:
    entering = own.entering
    assert entering is not None
    intent = entering.signal.intent
    assert isinstance(intent, EntryIntent)
    qty = own.order.qty or ZERO
    return _plan(
        book,
        state,
        direction=intent.direction,
        key=own.key,
        entry_id=own_id,
        qty=qty,
        stop_price=_stop_of_entry(state, own, entering.signal.price, qty),
        is_entry_open=True,
    )


def _plan(
    book: Book,
    state: SymbolBook,
    *,
    direction: Direction,
    key: str,
    entry_id: str,
    qty: Decimal,
    stop_price: Decimal,
    stop_ids: tuple[str, ...] = (),
    is_stop_confirmed: bool = False,
    is_entry_open: bool,
) -> Plan:
    instrument = state.ready.instrument
    largest = largest_market_qty(instrument)
    return Plan(
        symbol=instrument.symbol,
        direction=direction,
        run_id=book.run_id,
        key=key,
        entry_id=entry_id,
        qty=qty,
        stop_price=stop_price,
        stop_ids=stop_ids,
        is_stop_confirmed=is_stop_confirmed,
        is_entry_open=is_entry_open,
        tick=instrument.tick,
        step=market_step(instrument),
        max_qty=largest if largest.is_finite() else None,
    )


def _is_untriggered(state: SymbolBook, trade: OpenTrade) -> bool:
    """Whether the stop still waits: one that has triggered and not filled protects little."""
    stop = state.orders.get(trade.stop_id or "")
    return stop is None or stop.state is not OrderState.TRIGGERED


def _entry_of(state: SymbolBook, trade: OpenTrade) -> tuple[str, OwnOrder | None]:
    for own_id, own in state.orders.items():
        if own.leg is Leg.ENTRY and own.key == trade.key:
            return own_id, own
    return "", None


def _planned_stop(state: SymbolBook, trade: OpenTrade, entry: OwnOrder | None) -> Decimal:
    """Return where the stop will go that is not placed yet, near enough."""
    if entry is not None and entry.entering is not None:
        return _stop_of_entry(state, entry, trade.entry_price, trade.qty)
    try:
        tick = state.ready.instrument.tick
        return default_stop(trade.direction, trade.entry_price, trade.liquidation, tick)
    except Unprotectable:
        return trade.entry_price


def _stop_of_entry(state: SymbolBook, own: OwnOrder, price: Decimal, qty: Decimal) -> Decimal:
    # At a price at which no stop can stand, the guard's stop is refused as crossed, and the
    # position is closed: what the engine does with it, too.
    try:
        return _protection(state, own, price, qty).stop_price
    except Unprotectable:
        return price


def _protection(state: SymbolBook, own: OwnOrder, price: Decimal, qty: Decimal) -> Protection:
    entering = own.entering
    assert entering is not None
    intent = entering.signal.intent
    assert isinstance(intent, EntryIntent)
    return plan_protection(
        intent,
        entry_price=price,
        qty=qty,
        leverage=entering.leverage,
        atr=entering.signal.atr,
        instrument=state.ready.instrument,
        brackets=state.ready.brackets,
    )
