"""The account as read from the venue, taken into the book: at start, and whenever in doubt. Pure.

1. What the venue says of balances and margins replaces what we believed.
2. A position on a script's symbol with a stop or target of ours is ours: it is adopted.
3. A position without any order of ours is somebody else's: it is left alone and said.
4. A position of ours without a stop gets one; an order of ours without a position is cancelled.
5. A position that we believed open and the venue does not have is closed in the book only by its
   fills (which are asked for); a snapshot alone never drops a trade.
6. An order missing from a snapshot is not gone: the venue is asked about it by name.
7. A snapshot that is older than executions we have seen is not believed.
8. A position without orders that the newest orders say was opened by an entry of ours is ours too.
9. A position of ours without a known stop is protected first and explained later.
10. Reading the account twice changes nothing that reading it once did not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.commands import NoteKind
from milo.events import USER_ROUTE, StreamReset
from milo.inbox import NO_SCRIPT, AccountRead, SymbolReady
from milo.model import (
    Direction,
    ExitReason,
    NewOrder,
    OrderReport,
    OrderType,
    PositionReport,
)
from milo.money import ZERO, plain
from milo.orders.book import Account, Book, OpenTrade, OwnOrder, SymbolBook
from milo.orders.fills import take_what_waits, write_off
from milo.orders.ids import Leg, is_ours, leg_of, signal_key
from milo.orders.machine import OrderState, state_of
from milo.orders.protect import (
    ensure_protection,
    ensure_target,
    start_stop_watch,
    watch_trigger,
)
from milo.orders.reports import BRACKETS, look_up, on_report
from milo.orders.suspect import protect_suspect
from milo.orders.turn import Turn, trade_of

OVERTAKEN_LIMIT = 5
"""After so many readings in a row that events have overtaken, one is believed all the same."""


GHOST_READS = 3
GHOST_LIMIT = 12
"""After so many readings without a position the book's is given up; the second, where orders of
ours seemed to be under way all the time."""


def on_symbol_ready(turn: Turn, ready: SymbolReady) -> None:
    """Enter a symbol in the book, or refresh what the venue says of it."""
    symbol = ready.instrument.symbol
    known = turn.book.symbols.get(symbol)
    leverage, is_isolated = ready.config.leverage, ready.config.is_isolated
    if known is None:
        known = SymbolBook(ready=ready, leverage=leverage, is_isolated=is_isolated)
    elif ready.script == NO_SCRIPT:
        ready = dataclasses.replace(ready, script=known.ready.script)
    turn.change(known, ready=ready, leverage=leverage, is_isolated=is_isolated)


def on_stream_reset(turn: Turn, reset: StreamReset) -> None:
    """Open nothing until the account was read again: events may have been lost."""
    if reset.route == USER_ROUTE:
        turn.book = dataclasses.replace(turn.book, is_account_stale=True)
        turn.read_account(f"user stream: {reset.reason}")


def on_account_read(turn: Turn, read: AccountRead) -> None:
    """Take balances, positions and orders as the venue tells them."""
    reread = turn.book.reread
    is_overtaken = _is_overtaken(turn.book)
    is_after_gap = turn.book.is_account_stale
    turn.book = dataclasses.replace(
        turn.book,
        is_reading=False,
        reread=None,
        overtaken=turn.book.overtaken + 1 if is_overtaken else 0,
        funding_ms=read.began_ms if read.has_funding else turn.book.funding_ms,
    )
    if not is_overtaken:
        _take_balance(turn, read)
    elif turn.book.is_account_stale:
        reread = reread or "account events came while it was being read"
    positions = {position.symbol: position for position in read.positions if position.qty}
    for symbol in turn.book.symbols:
        snapshot = _Snapshot(
            position=positions.get(symbol),
            orders=[order for order in read.orders if order.symbol == symbol],
            is_overtaken=is_overtaken,
            is_after_gap=is_after_gap,
            recent=[order for order in read.recent if order.symbol == symbol],
            began_ms=read.began_ms,
        )
        _take_symbol(turn, symbol, snapshot)
    _note_elsewhere(turn, read.positions)
    if reread is not None:
        turn.read_account(reread)


def distrust_future(turn: Turn) -> None:
    """Where the clock has gone back, take back until when records count as read.

    It was wrong, and what happened meanwhile would lie before that time for long. Executions have
    the venue's own times.
    """
    if turn.book.funding_ms > turn.now_ms:
        turn.book = dataclasses.replace(turn.book, funding_ms=0)
    for state in turn.book.symbols.values():
        if state.read_ms > turn.now_ms:
            turn.change(state, read_ms=0)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a reading of the account says of one symbol."""

    position: PositionReport | None
    orders: Sequence[OrderReport]
    is_overtaken: bool
    is_after_gap: bool
    recent: Sequence[OrderReport]
    """Its newest regular orders, where the position was not known when it was read."""
    began_ms: int


def _is_overtaken(book: Book) -> bool:
    """Whether the stream's word may be newer than the snapshot; it cannot go on for ever."""
    may_be_older = book.is_reading and book.events_in_reading > 0
    return book.account is not None and may_be_older and book.overtaken < OVERTAKEN_LIMIT


def _take_balance(turn: Turn, read: AccountRead) -> None:
    before = turn.book.account
    account = Account(
        wallet=read.balance.wallet,
        locked={p.symbol: _isolated_wallet(p) for p in read.positions if p.isolated_margin},
        last_event=None if before is None else before.last_event,
    )
    held = account.available - read.balance.available
    account = dataclasses.replace(account, elsewhere_held=max(held, ZERO))
    turn.book = dataclasses.replace(turn.book, account=account, is_account_stale=False)


def _isolated_wallet(position: PositionReport) -> Decimal:
    # The venue's "isolated margin" moves with the price: it holds the unrealised profit.
    return position.isolated_margin - position.unrealized


def _note_elsewhere(turn: Turn, positions: Sequence[PositionReport]) -> None:
    ours = {symbol for symbol, _ in turn.book.open_trades()}
    elsewhere = sum((p.unrealized for p in positions if p.symbol not in ours), ZERO)
    assert turn.book.account is not None
    account = dataclasses.replace(turn.book.account, elsewhere_unrealized=elsewhere)
    turn.book = dataclasses.replace(turn.book, account=account)


def _take_symbol(turn: Turn, symbol: str, snapshot: _Snapshot) -> None:
    position, orders = snapshot.position, snapshot.orders
    for order in (*snapshot.recent, *orders):
        on_report(turn, order)
    state = turn.of(symbol)
    if not snapshot.is_overtaken:
        # Its executions were read just before, where any were wanted.
        state = turn.change(state, read_ms=max(state.read_ms, snapshot.began_ms))
        state = turn.change(state, venue_qty=ZERO if position is None else position.qty)
    is_unexplained = state.trade is None and position is not None
    _ask_about_open_orders(turn, state, with_absent=snapshot.is_after_gap or is_unexplained)
    if state.trade is not None:
        if position is not None:
            _check_trade(turn, turn.change(state, flat_reads=0), orders)
        elif not snapshot.is_overtaken and not _is_contradicted(turn, state, orders):
            _check_ghost(turn, turn.change(state, flat_reads=state.flat_reads + 1))
    elif state.is_entering:
        # What its executions say comes; they tell whose position this is.
        return
    elif position is None:
        turn.change(state, foreign_qty=ZERO)
        _cancel_leftovers(turn, state, orders)
    elif position.qty != state.foreign_qty and _may_be_gone(state, snapshot, position):
        turn.change(state, is_snapshot_doubted=True)
        turn.read_account("a position was read that may have been closed since")
    else:
        _take_position(turn, turn.change(state, is_snapshot_doubted=False), position, snapshot)


def _may_be_gone(state: SymbolBook, snapshot: _Snapshot, position: PositionReport) -> bool:
    """Whether what the streams told is newer than the snapshot of a position; once in a row."""
    is_older = 0 < position.update_ms <= state.fill_ms and not state.is_snapshot_doubted
    return snapshot.is_overtaken or is_older


def _ask_about_open_orders(turn: Turn, state: SymbolBook, *, with_absent: bool) -> None:
    """Ask about market orders whose end may have been lost: they never stay open.

    `with_absent`: also about those that never seemed to arrive; they may have, since.
    """
    asked = {OrderState.OPEN, OrderState.PARTIAL}
    if with_absent:
        asked.add(OrderState.ABSENT)
    for own_id, own in state.orders.items():
        is_open = own.leg not in BRACKETS and own.state in asked and not own.is_given_up
        if own.has_unseen_fills or is_open:
            look_up(turn, state, own_id)


def _take_position(
    turn: Turn, state: SymbolBook, position: PositionReport, snapshot: _Snapshot
) -> None:
    orders = snapshot.orders
    stop = _bracket_of(orders, position.direction, OrderType.STOP_MARKET)
    target = _bracket_of(orders, position.direction, OrderType.TAKE_PROFIT_MARKET)
    nameless = state.nameless_orders(position.direction.entry_side)
    if nameless:
        # One of them may have arrived after all: they are being asked about.
        for own_id in nameless:
            protect_suspect(turn, turn.of(position.symbol), own_id)
        return
    if stop is not None or target is not None or _is_opened_by_us(position, snapshot.recent):
        _adopt(turn, state, position, stop, target)
        return
    if state.foreign_qty != position.qty:
        turn.note(
            NoteKind.PROBLEM,
            state,
            f"a position of {plain(position.qty)} that Milo did not open is left alone",
        )
    turn.change(state, foreign_qty=position.qty, snapshot_ms=position.update_ms)


def _is_opened_by_us(position: PositionReport, recent: Sequence[OrderReport]) -> bool:
    """Whether the newest order that can have opened the position is an entry of ours."""
    opening = [
        order
        for order in recent
        if order.side is position.direction.entry_side
        and order.filled_qty
        and not order.is_reduce_only
        and not order.is_close_position
    ]
    newest = max(opening, key=lambda order: (order.update_ms, order.venue_id), default=None)
    return newest is not None and leg_of(newest.client_id) is Leg.ENTRY


def _bracket_of(
    orders: Sequence[OrderReport], direction: Direction, kind: OrderType
) -> OrderReport | None:
    """Return our order of this kind that closes such a position; of several the nearest."""
    found = [
        order
        for order in orders
        if is_ours(order.client_id)
        and order.is_close_position
        and order.type is kind
        and order.side is direction.exit_side
        and not order.status.is_final
    ]
    # The nearest stop of a long is the highest one, its nearest target the lowest.
    sign = direction.sign if kind is OrderType.STOP_MARKET else -direction.sign
    return max(found, key=lambda order: sign * order.trigger_price, default=None)


def _check_trade(turn: Turn, state: SymbolBook, orders: Sequence[OrderReport]) -> None:
    """See that an open position has its stop and target."""
    trade = trade_of(state)
    if trade.is_closing or not turn.config.may_trade:
        return
    _check_stop(turn, state, orders)
    state = turn.of(state.ready.instrument.symbol)
    trade = trade_of(state)
    target = state.orders.get(trade.target_id or "")
    if target is not None and _is_missing(target, orders):
        _doubt(turn, state, target)
    elif trade.target_id is None and trade.target_price is not None:
        there = _bracket_of(orders, trade.direction, OrderType.TAKE_PROFIT_MARKET)
        if there is None:
            ensure_target(turn, state)
        else:
            state = _enter_order(turn, state, there)
            changes = {"target_id": there.client_id, "target_price": there.trigger_price}
            turn.change_trade(state, **changes)


def _is_contradicted(turn: Turn, state: SymbolBook, orders: Sequence[OrderReport]) -> bool:
    """Whether the same reading lists a stop that cannot stand without the position."""
    stop_id = trade_of(state).stop_id
    is_listed = any(o.client_id == stop_id and not o.status.is_final for o in orders)
    return is_listed and turn.config.venue_expires_brackets


def _check_ghost(turn: Turn, state: SymbolBook) -> None:
    """Give up a position that the venue does not have and whose end no execution tells.

    Its executions were asked for each time before the reading; orders under way are waited for.
    """
    if state.flat_reads >= GHOST_READS and state.waiting:
        take_what_waits(turn, state.ready.instrument.symbol)
        return
    is_pending = any(not own.is_complete or own.is_missing for own in state.orders.values())
    if state.flat_reads < GHOST_READS or (is_pending and state.flat_reads < GHOST_LIMIT):
        return
    text = "the exchange has no such position, and nothing tells how it ended: given up"
    turn.note(NoteKind.PROBLEM, state, text)
    write_off(turn, state.ready.instrument.symbol)


def _check_stop(turn: Turn, state: SymbolBook, orders: Sequence[OrderReport]) -> None:
    trade = trade_of(state)
    stop = state.orders.get(trade.stop_id or "")
    usable = [order for order in orders if _may_be_its_stop(state, order)]
    there = _bracket_of(usable, trade.direction, OrderType.STOP_MARKET)
    if there is not None and not trade.is_stop_confirmed and there.client_id != trade.stop_id:
        # Another one stands: sent earlier, or by the guard.
        _take_stop(turn, state, there)
        return
    if stop is not None and not stop.state.is_final:
        if _is_missing(stop, orders):
            _doubt_stop(turn, state, stop)
        elif not trade.is_stop_confirmed:
            start_stop_watch(turn, state)
        return
    if stop is not None:
        if stop.has_unseen_fills:
            return
        turn.note(NoteKind.PROBLEM, state, "the stop is gone: placing another")
        state = turn.change_trade(state, stop_id=None, is_stop_confirmed=False)
    if there is None:
        ensure_protection(turn, state)
    else:
        _take_stop(turn, state, there)


def _may_be_its_stop(state: SymbolBook, order: OrderReport) -> bool:
    """Whether a listed order may protect the open trade: not a stop of an earlier one that goes."""
    known = state.orders.get(order.client_id)
    return known is None or (known.key == trade_of(state).key and not known.state.is_final)


def _take_stop(turn: Turn, state: SymbolBook, there: OrderReport) -> None:
    """Make a stop of ours that stands at the venue the open trade's own."""
    state = _enter_order(turn, state, there)
    state = turn.change_trade(
        state,
        stop_id=there.client_id,
        stop_price=there.trigger_price,
        is_stop_confirmed=True,
        stop_watch=None,
    )
    watch_trigger(turn, state, there.client_id)
    ensure_target(turn, turn.of(there.symbol))


def _doubt(turn: Turn, state: SymbolBook, own: OwnOrder) -> None:
    own_id = own.order.client_id
    look_up(turn, turn.change_order(state, own_id, is_doubted=True), own_id)


def _doubt_stop(turn: Turn, state: SymbolBook, stop: OwnOrder) -> None:
    """Ask about a stop that is not listed; where no second one can stand, send another at once.

    Its answer tells what the list does not: that the first one stands.
    """
    was_open = stop.state is OrderState.OPEN
    _doubt(turn, state, stop)
    if was_open and turn.config.venue_expires_brackets:
        state = turn.of(stop.order.symbol)
        state = turn.change_trade(state, stop_id=None, is_stop_confirmed=False)
        ensure_protection(turn, state)


def _is_missing(own: OwnOrder, orders: Sequence[OrderReport]) -> bool:
    """Whether an order that stood at the venue is not in its list of open ones."""
    is_listed = any(order.client_id == own.order.client_id for order in orders)
    return own.state in (OrderState.OPEN, OrderState.TRIGGERED) and not is_listed


def _cancel_leftovers(turn: Turn, state: SymbolBook, orders: Sequence[OrderReport]) -> None:
    """Cancel stops and targets of ours that have no position to close.

    Those that the venue ends itself are left to it: the position may be newer than the reading.
    """
    for order in orders:
        if turn.config.venue_expires_brackets and order.is_close_position:
            continue
        is_bracket = order.type.is_conditional and (order.is_close_position or order.is_reduce_only)
        if is_ours(order.client_id) and is_bracket and not order.status.is_final:
            turn.cancel(order.symbol, order.client_id, is_conditional=True)


def _adopt(
    turn: Turn,
    state: SymbolBook,
    position: PositionReport,
    stop: OrderReport | None,
    target: OrderReport | None,
) -> None:
    symbol = position.symbol
    trade = OpenTrade(
        script=state.ready.script,
        direction=position.direction,
        qty=abs(position.qty),
        entry_price=position.entry_price,
        entry_ms=position.update_ms,
        leverage=state.leverage,
        key=signal_key(state.ready.script, symbol, position.update_ms, "adopted"),
        stop_id=None if stop is None else stop.client_id,
        stop_price=None if stop is None else stop.trigger_price,
        is_stop_confirmed=stop is not None,
        target_id=None if target is None else target.client_id,
        target_price=None if target is None else target.trigger_price,
        liquidation=position.liquidation_price or None,
        is_announced=True,
    )
    state = turn.change(
        state, trade=trade, foreign_qty=ZERO, snapshot_ms=position.update_ms, waiting=()
    )
    for order in (stop, target):
        if order is not None:
            state = _enter_order(turn, state, order)
    if stop is not None:
        watch_trigger(turn, state, stop.client_id)
        state = turn.of(symbol)
    turn.note(NoteKind.INFO, state, f"adopted {_adopted_words(trade)}")
    if stop is None and not turn.config.may_trade:
        turn.note(NoteKind.PROBLEM, state, "it has no stop, and this run is read only")
    ensure_protection(turn, state)


def _enter_order(turn: Turn, state: SymbolBook, report: OrderReport) -> SymbolBook:
    """Enter a stop or target that stands at the venue as the open trade's own."""
    is_stop = report.type is OrderType.STOP_MARKET
    known = state.orders.get(report.client_id)
    own = OwnOrder(
        order=NewOrder(
            symbol=report.symbol,
            side=report.side,
            type=report.type,
            client_id=report.client_id,
            trigger_price=report.trigger_price,
            is_close_position=report.is_close_position,
        ),
        leg=Leg.STOP if is_stop else Leg.TARGET,
        state=state_of(report.status),
        key=trade_of(state).key,
        reason=ExitReason.STOP if is_stop else ExitReason.TARGET,
        venue_id=report.triggered_venue_id,
        filled_qty=report.filled_qty,
        # What it had filled before is no part of the position as it was taken over.
        seen_qty=report.filled_qty if known is None else known.seen_qty,
    )
    return turn.change(state, orders={**state.orders, report.client_id: own})


def _adopted_words(trade: OpenTrade) -> str:
    words = f"{trade.direction} {plain(trade.qty)} @ {plain(trade.entry_price)}"
    stop = "no stop" if trade.stop_price is None else f"stop {plain(trade.stop_price)}"
    target = _level("target", trade.target_price)
    return f"{words}, {stop}{target}"


def _level(name: str, price: Decimal | None) -> str:
    return "" if price is None else f", {name} {plain(price)}"
