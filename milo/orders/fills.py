"""What executions do to the book: positions grow, shrink and end; trades get their rows. Pure.

Every amount is the venue's own (realised profit, fee, funding), so that the rows add up to the
wallet's change to the last digit.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from milo.commands import NoteKind, RecordTrade, Trade
from milo.model import Direction, EntryIntent, ExitReason, Fill
from milo.money import ZERO, plain, to_wallet
from milo.orders.book import (
    EndedTrade,
    Entering,
    Execution,
    ExitPart,
    OpenTrade,
    OwnOrder,
    SeenFunding,
    SymbolBook,
)
from milo.orders.ids import Leg
from milo.orders.lines import exit_line
from milo.orders.protect import announce, start_stop_watch, sweep_leftovers
from milo.orders.suspect import stop_to_take_over
from milo.orders.turn import Turn, find_order, trade_of

UNCLAIMED_KEPT = 50
FOREIGN_KEPT = 20
FUNDING_KEPT = 10
ENDED_KEPT = 50
"""So many of each are remembered of a symbol, the newest."""


def on_fill(turn: Turn, item: Execution, *, may_wait: bool = True) -> None:
    """Take in one execution once, whatever number of times and in which order they are reported.

    `may_wait`: what is still to come may say what it means; else it is taken as it is.
    """
    fill = item.fill
    state = turn.of(fill.symbol)
    if fill.trade_id in state.seen:
        return
    if item.own_id is None:
        item = dataclasses.replace(item, own_id=find_order(state, fill.client_id, fill.venue_id))
    if may_wait and _must_wait(state, fill, item.own_id):
        others = (w for w in state.waiting if w.fill.trade_id != fill.trade_id)
        turn.change(state, waiting=(*others, item))
        return
    state = turn.change(
        state,
        seen=state.seen.with_id(fill.trade_id),
        last_trade_id=max(state.last_trade_id, fill.trade_id),
        fill_ms=max(state.fill_ms, fill.time_ms),
    )
    if _explains_foreign(state, fill, item.own_id):
        foreign_qty = state.foreign_qty - fill.side.sign * fill.qty
        state = turn.change(state, foreign_qty=foreign_qty)
    elif _is_in_snapshot(state, fill, item.own_id):
        return
    state = _count(turn, state, fill, item.own_id)
    _apply(turn, state, item, _in_quote_asset(turn, state, fill))


def _apply(turn: Turn, state: SymbolBook, item: Execution, fill: Fill) -> None:
    own_id, trade = item.own_id, state.trade
    own = None if own_id is None else state.orders[own_id]
    if own is not None and own.entering is not None and _opens(trade, fill):
        _on_entry_fill(turn, state, fill, own, own.entering)
    elif own is not None and trade is not None and own.entering is not None:
        _on_late_entry_fill(turn, state, fill, own_id or "", own.entering)
    elif trade is not None and fill.side is trade.direction.exit_side:
        reason = _reason(trade, own, fill, is_liquidation=item.is_liquidation)
        part_key = own_id or f"venue-{fill.venue_id}"
        _on_exit_fill(turn, state, fill, reason, part_key)
        if own is None and item.is_order_done:
            settle_part(turn, fill.symbol, part_key)
    else:
        _on_foreign_fill(turn, state, dataclasses.replace(item, fill=fill))


def _must_wait(state: SymbolBook, fill: Fill, own_id: str | None) -> bool:
    """Whether what is still to come may say what this execution means."""
    if own_id is None and not fill.client_id and state.nameless_orders(fill.side):
        # Known by number only, and an order of ours has no number yet.
        return True
    if own_id is not None and state.orders[own_id].leg is Leg.ENTRY:
        return False
    trade = state.trade
    if trade is not None and (fill.side is not trade.direction.exit_side or fill.qty <= trade.qty):
        return False
    # It closes more than we have seen opened: an entry under way may explain it.
    return state.is_entering_by(fill.side.opposite)


def _explains_foreign(state: SymbolBook, fill: Fill, own_id: str | None) -> bool:
    """Whether a position that was taken for somebody else's was opened by this, our own fill."""
    is_before = own_id is not None and fill.time_ms <= state.snapshot_ms
    return is_before and state.trade is None and fill.side.sign * state.foreign_qty > 0


def _is_in_snapshot(state: SymbolBook, fill: Fill, own_id: str | None) -> bool:
    # A position that was taken over as it stood holds what was executed until then.
    if fill.time_ms == state.snapshot_ms:
        return own_id is None
    return fill.time_ms < state.snapshot_ms


def _in_quote_asset(turn: Turn, state: SymbolBook, fill: Fill) -> Fill:
    """Return the fill with a fee that the wallet paid; say so where it was taken elsewhere."""
    if not fill.fee or fill.fee_asset == state.ready.instrument.quote_asset:
        return fill
    turn.note(
        NoteKind.INFO,
        state,
        f"a fee of {plain(fill.fee)} {fill.fee_asset} is not part of the trade's profit",
    )
    return dataclasses.replace(fill, fee=ZERO)


def _count(turn: Turn, state: SymbolBook, fill: Fill, own_id: str | None) -> SymbolBook:
    if own_id is None:
        qty = state.unclaimed.get(fill.venue_id, ZERO) + fill.qty
        newest = dict(list(state.unclaimed.items())[-UNCLAIMED_KEPT:])
        return turn.change(state, unclaimed={**newest, fill.venue_id: qty})
    own = state.orders[own_id]
    seen_qty = own.seen_qty + fill.qty
    return turn.change_order(
        state, own_id, seen_qty=seen_qty, filled_qty=max(own.filled_qty, seen_qty)
    )


def claim(turn: Turn, symbol: str, own_id: str) -> None:
    """Credit an order with executions that were taken in before its number was known.

    What an entry had executed was taken for somebody else's: now it opens the position.
    """
    state = turn.of(symbol)
    own = state.orders[own_id]
    unclaimed = dict(state.unclaimed)
    seen_qty = own.seen_qty + unclaimed.pop(own.venue_id or 0, ZERO)
    state = turn.change_order(state, own_id, seen_qty=seen_qty)
    state = turn.change(state, unclaimed=unclaimed)
    if own.entering is None:
        return
    for item in state.foreign_fills:
        if item.fill.venue_id == own.venue_id:
            state = _no_longer_foreign(turn, turn.of(symbol), item)
            mine = dataclasses.replace(item, own_id=own_id)
            _apply(turn, state, mine, mine.fill)


def _no_longer_foreign(turn: Turn, state: SymbolBook, item: Execution) -> SymbolBook:
    others = tuple(other for other in state.foreign_fills if other is not item)
    foreign_qty = state.foreign_qty
    if foreign_qty:
        # A reading of the account may have settled it already.
        foreign_qty -= item.fill.side.sign * item.fill.qty
    return turn.change(state, foreign_fills=others, foreign_qty=foreign_qty)


def _opens(trade: OpenTrade | None, fill: Fill) -> bool:
    # An entry given up for dead can fill late, against a position that came after it.
    return trade is None or fill.side is trade.direction.entry_side


def _on_entry_fill(
    turn: Turn, state: SymbolBook, fill: Fill, own: OwnOrder, entering: Entering
) -> None:
    trade = state.trade
    if trade is None:
        trade = _opened(state, fill, own, entering)
        state = turn.change(state, trade=trade, stray_funding=())
        if not trade.is_stop_confirmed:
            start_stop_watch(turn, state)
        _reclaim(turn, fill.symbol, fill.trade_id)
    else:
        qty = trade.qty + fill.qty
        value = trade.entry_price * trade.qty + fill.price * fill.qty
        turn.change_trade(
            state,
            qty=qty,
            entry_price=value / qty,
            fees=trade.fees + fill.fee,
            realized=trade.realized + fill.realized,
        )


def _reclaim(turn: Turn, symbol: str, entry_trade_id: int) -> None:
    """Take executions that came after an entry, and were told before it, as closing it."""
    state = turn.of(symbol)
    side = trade_of(state).direction.exit_side
    later = [
        item
        for item in state.foreign_fills
        if item.fill.side is side and item.fill.trade_id > entry_trade_id
    ]
    for item in later:
        state = _no_longer_foreign(turn, turn.of(symbol), item)
        _apply(turn, state, item, item.fill)


def _on_late_entry_fill(
    turn: Turn, state: SymbolBook, fill: Fill, own_id: str, entering: Entering
) -> None:
    """Take an entry that fills against a later position: it closes that, and the rest opens."""
    trade = trade_of(state)
    closed_qty = min(fill.qty, trade.qty)
    fee = to_wallet(fill.fee * closed_qty / fill.qty)
    closing = dataclasses.replace(fill, qty=closed_qty, fee=fee)
    _on_exit_fill(turn, state, closing, ExitReason.CLOSE, f"late-{own_id}")
    if trade.qty > closed_qty:
        settle_part(turn, fill.symbol, f"late-{own_id}")
    elif fill.qty > closed_qty:
        opening = dataclasses.replace(
            fill, qty=fill.qty - closed_qty, fee=fill.fee - fee, realized=ZERO
        )
        state = turn.of(fill.symbol)
        _on_entry_fill(turn, state, opening, state.orders[own_id], entering)


def _opened(state: SymbolBook, fill: Fill, own: OwnOrder, entering: Entering) -> OpenTrade:
    signal = entering.signal
    assert isinstance(signal.intent, EntryIntent)
    # Usually none; where a part of the entry was opened and closed before, ids go on from there.
    before = [other.leg for other in state.orders.values() if other.key == own.key]
    stop = stop_to_take_over(state, own.key)
    return OpenTrade(
        script=signal.script,
        direction=signal.intent.direction,
        qty=fill.qty,
        entry_price=fill.price,
        entry_ms=fill.time_ms,
        leverage=entering.leverage,
        fees=fill.fee,
        funding=sum((paid for ms, paid in state.stray_funding if ms > fill.time_ms), ZERO),
        realized=fill.realized,
        intent=signal.intent,
        key=own.key,
        atr=signal.atr,
        stop_id=None if stop is None else stop.order.client_id,
        stop_price=None if stop is None else stop.order.trigger_price,
        is_stop_confirmed=stop is not None and stop.state.is_standing,
        attempts=before.count(Leg.STOP),
        target_attempts=before.count(Leg.TARGET),
        closes=before.count(Leg.CLOSE) + before.count(Leg.REVERSE),
    )


def _on_exit_fill(
    turn: Turn, state: SymbolBook, fill: Fill, reason: ExitReason, part_key: str
) -> None:
    announce(turn, state)
    state = turn.of(fill.symbol)
    trade = trade_of(state)
    closed_qty = min(fill.qty, trade.qty)
    part = trade.exits.get(part_key, ExitPart(reason=reason))
    part = dataclasses.replace(
        part,
        qty=part.qty + closed_qty,
        value=part.value + closed_qty * fill.price,
        realized=part.realized + fill.realized,
        fees=part.fees + fill.fee,
        last_ms=max(part.last_ms, fill.time_ms),
    )
    state = turn.change_trade(
        state, qty=trade.qty - closed_qty, exits={**trade.exits, part_key: part}
    )
    if fill.qty > closed_qty:
        # More was closed than was ours: what somebody else had added, or now a position of theirs;
        # or what an entry had opened that is told later. Its profit and fee are in the row already.
        excess = dataclasses.replace(fill, qty=fill.qty - closed_qty, fee=ZERO, realized=ZERO)
        state = turn.change(
            state,
            foreign_qty=state.foreign_qty + fill.side.sign * excess.qty,
            foreign_fills=(*state.foreign_fills[-FOREIGN_KEPT:], Execution(fill=excess)),
        )
    if not trade_of(state).qty:
        _end(turn, fill.symbol)


def settle_part(turn: Turn, symbol: str, part_key: str) -> None:
    """Write the row of a closing order that will fill no more; nothing where none is pending."""
    trade = turn.of(symbol).trade
    if trade is not None and part_key in trade.exits:
        _record(turn, symbol, part_key)


def take_what_waits(turn: Turn, symbol: str) -> None:
    """Take executions as they are whose orders have not told their names for long."""
    waiting = turn.of(symbol).waiting
    turn.change(turn.of(symbol), waiting=())
    for item in waiting:
        on_fill(turn, item, may_wait=False)


def write_off(turn: Turn, symbol: str) -> None:
    """End a position of which nobody knows how it ended: the rest gets a row without a price."""
    state = turn.of(symbol)
    trade = trade_of(state)
    unknown = ExitPart(reason=ExitReason.UNKNOWN, qty=trade.qty, last_ms=turn.now_ms)
    turn.change_trade(state, qty=ZERO, exits={**trade.exits, "unknown": unknown})
    # Its orders are not touched: should the venue have been wrong, they still protect.
    _end(turn, symbol, sweeps=False)
    turn.change(turn.of(symbol), flat_reads=0)


def _end(turn: Turn, symbol: str, *, sweeps: bool = True) -> None:
    """Write every row that is still due and take the position out of the book."""
    state = turn.of(symbol)
    trade = trade_of(state)
    ended = EndedTrade(
        script=trade.script,
        direction=trade.direction,
        entry_ms=trade.entry_ms,
        entry_price=trade.entry_price,
        exit_ms=max(part.last_ms for part in trade.exits.values()),
    )
    for part_key in trade.exits:
        _record(turn, symbol, part_key)
    if sweeps:
        sweep_leftovers(turn, turn.of(symbol))
    turn.change(turn.of(symbol), trade=None, ended=(*state.ended[-ENDED_KEPT + 1 :], ended))


def _record(turn: Turn, symbol: str, part_key: str) -> None:
    state = turn.of(symbol)
    trade = trade_of(state)
    part = trade.exits[part_key]
    held = trade.qty + sum((pending.qty for pending in trade.exits.values()), ZERO)
    fees, funding, realized = (
        amount if part.qty == held else to_wallet(amount * part.qty / held)
        for amount in (trade.fees, trade.funding, trade.realized)
    )
    row = Trade(
        symbol=symbol,
        script=trade.script,
        direction=trade.direction,
        qty=part.qty,
        entry_ms=trade.entry_ms,
        entry_price=trade.entry_price,
        exit_ms=part.last_ms,
        exit_price=part.value / part.qty if part.value else None,
        reason=part.reason,
        fees=fees + part.fees,
        funding=funding,
        profit=part.realized + realized - fees - part.fees + funding,
    )
    turn.give(RecordTrade(trade=row))
    turn.note(NoteKind.EXIT, state, exit_line(row, state.ready.instrument.tick))
    exits = {key: pending for key, pending in trade.exits.items() if key != part_key}
    turn.change_trade(
        state,
        fees=trade.fees - fees,
        funding=trade.funding - funding,
        realized=trade.realized - realized,
        exits=exits,
    )


def _on_foreign_fill(turn: Turn, state: SymbolBook, item: Execution) -> None:
    fill = item.fill
    state = turn.change(
        state,
        foreign_qty=state.foreign_qty + fill.side.sign * fill.qty,
        foreign_fills=(*state.foreign_fills[-FOREIGN_KEPT:], item),
    )
    if state.trade is not None:
        # Somebody adds to our position from outside: in one-way mode it is one position now.
        turn.read_account("a fill that is not ours")
    turn.note(
        NoteKind.PROBLEM,
        turn.of(fill.symbol),
        f"{fill.side} {plain(fill.qty)} @ {plain(fill.price)} was not ordered by Milo; left alone",
    )


def _reason(
    trade: OpenTrade, own: OwnOrder | None, fill: Fill, *, is_liquidation: bool
) -> ExitReason:
    if is_liquidation:
        return ExitReason.LIQUIDATION
    if own is not None:
        return own.reason or ExitReason.CLOSE
    # Not known to be ours: closed from outside (a command, the exchange's own page), or by a stop
    # or target whose trigger was never told. The price tells them apart.
    if _has_reached(trade, fill.price, trade.stop_price, trade.direction.opposite):
        return ExitReason.STOP
    if _has_reached(trade, fill.price, trade.target_price, trade.direction):
        return ExitReason.TARGET
    return ExitReason.CLOSE


def _has_reached(
    trade: OpenTrade, price: Decimal, level: Decimal | None, toward: Direction
) -> bool:
    return level is not None and toward.sign * (price - level) >= 0


def on_funding(
    turn: Turn, symbol: str, change: Decimal, event_ms: int, *, is_statement: bool
) -> None:
    """Book a funding payment on the trade that it was paid for, once."""
    state = turn.book.symbols.get(symbol)
    paid = SeenFunding(event_ms, change, is_statement)
    if state is None or not change or any(paid.is_same(seen) for seen in state.funding_seen):
        return
    state = turn.change(state, funding_seen=(*state.funding_seen[-FUNDING_KEPT:], paid))
    trade = state.trade
    is_earlier = trade is None or event_ms < trade.entry_ms
    ended = _ended_at(state, event_ms) if is_earlier else None
    if ended is not None:
        _record_late(turn, state, ended, change)
        return
    if trade is not None and not (is_earlier and is_statement):
        turn.change_trade(state, funding=trade.funding + change)
        return
    turn.change(state, stray_funding=(*state.stray_funding[-FUNDING_KEPT:], (event_ms, change)))
    if not state.is_entering:
        text = f"funding of {plain(change)} USDT belongs to no open trade of Milo's"
        turn.note(NoteKind.INFO, state, text)


def _ended_at(state: SymbolBook, time_ms: int) -> EndedTrade | None:
    """Return the ended position that was open at a time."""
    for ended in reversed(state.ended):
        if ended.entry_ms <= time_ms <= ended.exit_ms:
            return ended
    return None


def _record_late(turn: Turn, state: SymbolBook, ended: EndedTrade, change: Decimal) -> None:
    """Write a row of its own for a payment whose position has its row already."""
    row = Trade(
        symbol=state.ready.instrument.symbol,
        script=ended.script,
        direction=ended.direction,
        qty=ZERO,
        entry_ms=ended.entry_ms,
        entry_price=ended.entry_price,
        exit_ms=ended.exit_ms,
        exit_price=None,
        reason=ExitReason.FUNDING,
        fees=ZERO,
        funding=change,
        profit=change,
    )
    turn.give(RecordTrade(trade=row))
    text = f"funding of {plain(change)} USDT was paid on a position that has ended since"
    turn.note(NoteKind.INFO, state, text)
