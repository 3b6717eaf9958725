"""What a script's signal does to the book: entries, exits, reversals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from milo import gates
from milo.commands import Enter, NoteKind, Place
from milo.gates.verdict import GateInput
from milo.inbox import Signal
from milo.model import EntryIntent, ExitIntent, ExitReason, NewOrder, OrderType
from milo.money import ZERO, floor_to, plain
from milo.orders.book import Entering, SymbolBook
from milo.orders.ids import Leg, client_id, signal_key
from milo.orders.protection import Unprotectable
from milo.orders.sizing import EntryRefused, Sized, SizingInput, size_entry
from milo.orders.turn import Turn

_HUNDRED = Decimal(100)


def on_signal(turn: Turn, signal: Signal) -> None:
    """Act on a signal, at most once a kind and candle; repeated ones do nothing."""
    state = turn.of(signal.symbol)
    match signal.intent:
        case EntryIntent():
            _on_entry(turn, state, signal, signal.intent)
        case ExitIntent():
            _on_exit(turn, state, signal, signal.intent)


def _on_entry(turn: Turn, state: SymbolBook, signal: Signal, intent: EntryIntent) -> None:
    trade = state.trade
    if trade is not None and (trade.direction is intent.direction or trade.is_closing):
        return
    if state.queued is not None or state.live_orders(Leg.ENTRY):
        return
    kind = f"entry-{intent.direction}"
    if state.acted.get(kind) == signal.candle_open_ms:
        return
    state = turn.change(state, acted={**state.acted, kind: signal.candle_open_ms})
    skip = gates.ask(
        GateInput(
            instrument=state.ready.instrument,
            is_account_known=turn.book.account is not None,
            may_trade=turn.config.may_trade,
            foreign_qty=state.foreign_qty,
            action=signal.action,
        )
    )
    if skip is not None:
        turn.note(NoteKind.REFUSED, state, skip.reason)
        return
    sized = _size(turn, state, signal, intent, freed=_margin_of(turn, state))
    if sized is None:
        return
    if trade is None:
        _enter(turn, state, signal, sized)
        return
    # The opposite side is open: close it first; the entry follows once the position is gone,
    # sized again with what the account then has.
    state = turn.close_at_market(state, ExitReason.REVERSE, Leg.REVERSE)
    turn.change(state, queued=signal)


def _on_exit(turn: Turn, state: SymbolBook, signal: Signal, intent: ExitIntent) -> None:
    trade = state.trade
    if trade is None or trade.is_closing:
        return
    kind = f"exit-{trade.direction}"
    if state.acted.get(kind) == signal.candle_open_ms:
        return
    state = turn.change(state, acted={**state.acted, kind: signal.candle_open_ms})
    if not turn.config.may_trade:
        turn.note(NoteKind.REFUSED, state, f"read only: {signal.action} was not sent")
        return
    if intent.percent == _HUNDRED:
        turn.close_at_market(state, ExitReason.CLOSE)
        return
    instrument = state.ready.instrument
    step = max(instrument.step, instrument.market_step)
    qty = floor_to(trade.qty * intent.percent / _HUNDRED, step)
    if qty < max(instrument.min_qty, instrument.market_min_qty):
        turn.note(
            NoteKind.REFUSED,
            state,
            f"{signal.action}: {plain(intent.percent)} % of {plain(trade.qty)} rounds down to "
            f"{plain(qty)}, below the exchange's minimum {plain(instrument.min_qty)}",
        )
        return
    key = signal_key(signal.script, signal.symbol, signal.candle_open_ms, kind)
    order = NewOrder(
        symbol=signal.symbol,
        side=trade.direction.exit_side,
        type=OrderType.MARKET,
        client_id=client_id(turn.book.run_id, key, Leg.CLOSE),
        qty=qty,
        is_reduce_only=True,
    )
    turn.add_order(state, order, Leg.CLOSE, ExitReason.CLOSE)
    turn.give(Place(order=order))


def launch_queued(turn: Turn, symbol: str) -> None:
    """Send the entry that waited for a reversal, once fills and account agree on flat."""
    state = turn.of(symbol)
    signal = state.queued
    if signal is None or state.trade is not None or state.venue_qty:
        return
    state = turn.change(state, queued=None)
    assert isinstance(signal.intent, EntryIntent)
    sized = _size(turn, state, signal, signal.intent, freed=ZERO)
    if sized is not None:
        _enter(turn, state, signal, sized)


def _size(
    turn: Turn, state: SymbolBook, signal: Signal, intent: EntryIntent, *, freed: Decimal
) -> Sized | None:
    account = turn.book.account
    assert account is not None
    given = SizingInput(
        price=signal.price,
        atr=signal.atr,
        equity=account.wallet + turn.book.unrealized(signal.marks),
        available=account.available + freed,
        instrument=state.ready.instrument,
        brackets=state.ready.brackets,
        fees=state.ready.fees,
    )
    try:
        return size_entry(intent, given)
    except (EntryRefused, Unprotectable) as error:
        turn.note(NoteKind.REFUSED, state, f"{signal.action} not sent: {error}")
        return None


def _margin_of(turn: Turn, state: SymbolBook) -> Decimal:
    # What closing the opposite position will free, near enough to refuse a hopeless reversal.
    account = turn.book.account
    if account is None or state.trade is None:
        return ZERO
    return _at(account.locked, state.ready.instrument.symbol)


def _at(amounts: Mapping[str, Decimal], symbol: str) -> Decimal:
    return amounts.get(symbol, ZERO)


def _enter(turn: Turn, state: SymbolBook, signal: Signal, sized: Sized) -> None:
    for text in sized.notes:
        turn.note(NoteKind.ADJUSTED, state, text)
    assert isinstance(signal.intent, EntryIntent)
    key = signal_key(
        signal.script, signal.symbol, signal.candle_open_ms, f"entry-{signal.intent.direction}"
    )
    order = NewOrder(
        symbol=signal.symbol,
        side=signal.intent.direction.entry_side,
        type=OrderType.MARKET,
        client_id=client_id(turn.book.run_id, key, Leg.ENTRY),
        qty=sized.qty,
    )
    state = turn.add_order(state, order, Leg.ENTRY)
    turn.change(state, entering=Entering(signal=signal, key=key, leverage=sized.leverage))
    turn.give(
        Enter(
            order=order,
            leverage=None if sized.leverage == state.leverage else sized.leverage,
            must_set_isolated=not state.is_isolated,
        )
    )
