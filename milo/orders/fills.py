"""What executions do to the book: positions grow, shrink and end; trades get their rows. Pure."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from milo.commands import NoteKind, ReadAccount, RecordTrade, Trade
from milo.inbox import Signal
from milo.model import EntryIntent, ExitReason, Fill
from milo.money import ZERO, plain, to_wallet
from milo.orders.book import ExitPart, OpenTrade, SymbolBook
from milo.orders.ids import Leg
from milo.orders.lines import exit_line
from milo.orders.protect import ensure_protection, sweep_leftovers
from milo.orders.signals import launch_queued
from milo.orders.turn import Turn, find_order, trade_of


def on_fill(turn: Turn, fill: Fill, *, is_liquidation: bool, is_order_done: bool) -> None:
    """Apply one execution once, whatever number of times it is reported."""
    state = turn.of(fill.symbol)
    if fill.trade_id <= state.last_trade_id:
        return
    state = turn.change(state, last_trade_id=fill.trade_id)
    own_id = find_order(state, fill.client_id, fill.venue_id)
    trade = state.trade
    if own_id is not None and state.orders[own_id].leg is Leg.ENTRY:
        _on_entry_fill(turn, state, fill)
    elif trade is not None and fill.side is trade.direction.exit_side:
        reason = _reason(state, own_id, is_liquidation=is_liquidation)
        part_key = own_id or f"venue-{fill.venue_id}"
        _on_exit_fill(turn, state, fill, reason, part_key, is_order_done=is_order_done)
    else:
        _on_foreign_fill(turn, state, fill)


def _on_entry_fill(turn: Turn, state: SymbolBook, fill: Fill) -> None:
    trade = state.trade
    if trade is None:
        assert state.entering is not None
        trade = _opened(state, state.entering.signal, fill)
    else:
        qty = trade.qty + fill.qty
        value = trade.entry_price * trade.qty + fill.price * fill.qty
        trade = dataclasses.replace(
            trade, qty=qty, entry_price=value / qty, fees=trade.fees + fill.fee
        )
    state = turn.change(state, trade=trade)
    ensure_protection(turn, state)


def _opened(state: SymbolBook, signal: Signal, fill: Fill) -> OpenTrade:
    assert isinstance(signal.intent, EntryIntent)
    assert state.entering is not None
    return OpenTrade(
        script=signal.script,
        direction=signal.intent.direction,
        qty=fill.qty,
        entry_price=fill.price,
        entry_ms=fill.time_ms,
        leverage=state.entering.leverage,
        fees=fill.fee,
        intent=signal.intent,
        key=state.entering.key,
        atr=signal.atr,
    )


def _on_exit_fill(
    turn: Turn,
    state: SymbolBook,
    fill: Fill,
    reason: ExitReason,
    part_key: str,
    *,
    is_order_done: bool,
) -> None:
    trade = trade_of(state)
    closed_qty = min(fill.qty, trade.qty)
    part = trade.exits.get(part_key, ExitPart())
    part = ExitPart(
        qty=part.qty + closed_qty,
        value=part.value + closed_qty * fill.price,
        realized=part.realized + fill.realized,
        fees=part.fees + fill.fee,
        last_ms=fill.time_ms,
    )
    state = turn.change_trade(
        state, qty=trade.qty - closed_qty, exits={**trade.exits, part_key: part}
    )
    if fill.qty > closed_qty:
        state = turn.change(
            state, foreign_qty=state.foreign_qty + fill.side.sign * (fill.qty - closed_qty)
        )
    if is_order_done or trade_of(state).qty == 0:
        _record(turn, state, part_key, reason)


def _record(turn: Turn, state: SymbolBook, part_key: str, reason: ExitReason) -> None:
    """Write the row of a closed part; the position's end also writes parts still pending."""
    trade = trade_of(state)
    part = trade.exits[part_key]
    others = sum((p.qty for key, p in trade.exits.items() if key != part_key), ZERO)
    held = trade.qty + part.qty + others
    is_last = trade.qty + others == 0
    fees = trade.fees if is_last else to_wallet(trade.fees * part.qty / held)
    funding = trade.funding if is_last else to_wallet(trade.funding * part.qty / held)
    row = Trade(
        symbol=state.ready.instrument.symbol,
        script=trade.script,
        direction=trade.direction,
        qty=part.qty,
        entry_ms=trade.entry_ms,
        entry_price=trade.entry_price,
        exit_ms=part.last_ms,
        exit_price=part.value / part.qty,
        reason=reason,
        fees=fees + part.fees,
        funding=funding,
        profit=part.realized - fees - part.fees + funding,
    )
    turn.give(RecordTrade(trade=row))
    turn.note(NoteKind.EXIT, state, exit_line(row, state.ready.instrument.tick))
    exits = {key: value for key, value in trade.exits.items() if key != part_key}
    state = turn.change_trade(
        state, fees=trade.fees - fees, funding=trade.funding - funding, exits=exits
    )
    if trade.qty:
        return
    if exits:
        key = next(iter(exits))
        _record(turn, state, key, _reason(state, key, is_liquidation=False))
        return
    sweep_leftovers(turn, state)
    turn.change(turn.of(row.symbol), trade=None, entering=None)
    launch_queued(turn, row.symbol)


def _on_foreign_fill(turn: Turn, state: SymbolBook, fill: Fill) -> None:
    before = state.foreign_qty
    after = before + fill.side.sign * fill.qty
    state = turn.change(state, foreign_qty=after)
    if state.trade is not None:
        # Somebody adds to our position from outside: in one-way mode it is one position now.
        turn.give(ReadAccount(why="a fill that is not ours"))
    turn.note(
        NoteKind.PROBLEM,
        state,
        f"{fill.side} {plain(fill.qty)} @ {plain(fill.price)} was not ordered by Milo; left alone",
    )


def _reason(state: SymbolBook, own_id: str | None, *, is_liquidation: bool) -> ExitReason:
    if is_liquidation:
        return ExitReason.LIQUIDATION
    own = state.orders.get(own_id or "")
    if own is None:
        # Closed from outside (a command, the exchange's own page): not by stop or target of ours.
        return ExitReason.CLOSE
    match own.leg:
        case Leg.STOP:
            return ExitReason.STOP
        case Leg.TARGET:
            return ExitReason.TARGET
        case _:
            return own.reason or ExitReason.CLOSE


def on_funding(turn: Turn, symbol: str, change: Decimal) -> None:
    """Book a funding payment on the symbol's open trade."""
    state = turn.book.symbols.get(symbol)
    if state is None or state.trade is None or not change:
        return
    turn.change_trade(state, funding=state.trade.funding + change)
