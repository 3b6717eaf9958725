"""What a script's signal does to the book: entries, exits, reversals. Pure.

One entry and one exit at most are sent for a script, side and candle; a refusal sends nothing, so
that a later evaluation of the same candle may still act, but it is told only once.
"""

from __future__ import annotations

from decimal import Decimal

from milo import gates
from milo.commands import Enter, NoteKind, Place, Verdict
from milo.gates.verdict import GateInput, SizedInput
from milo.inbox import Signal
from milo.intervals import next_open_ms
from milo.model import EntryIntent, ExitIntent, ExitReason, NewOrder, OrderType
from milo.money import ZERO
from milo.orders.book import Entering, OpenTrade, SymbolBook
from milo.orders.ids import Leg, client_id, signal_key
from milo.orders.limits import lost_today, positions_in_use
from milo.orders.protection import Unprotectable
from milo.orders.sizing import (
    EntryRefused,
    ExitRefused,
    Sized,
    SizingInput,
    size_entry,
    size_exit,
)
from milo.orders.suspect import UNANSWERED_S
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
    kind = _entry_kind(intent)
    if state.queued is not None or state.is_entering or _has_acted(state, kind, signal):
        return
    skip = _ask_gates(turn, state, signal)
    if skip is not None:
        _refuse(turn, state, kind, signal, skip)
        if state.unexplained_qty:
            turn.read_account("a position without known executions")
        return
    try:
        sized = _sized(turn, state, signal, intent, freed=_margin_of(turn, state))
    except (EntryRefused, Unprotectable) as error:
        _refuse(turn, state, kind, signal, f"{signal.action} not sent: {error}")
        return
    state = turn.change(state, acted={**state.acted, kind: signal.candle_open_ms})
    if trade is None:
        _enter(turn, state, signal, sized)
        return
    # The opposite side is open: close it first; the entry follows once the position is gone,
    # sized again with what the account then has.
    state = turn.close_at_market(state, ExitReason.REVERSE, Leg.REVERSE)
    turn.change(state, queued=signal)


def _on_exit(turn: Turn, state: SymbolBook, signal: Signal, intent: ExitIntent) -> None:
    trade = state.trade
    if state.queued is not None:
        # The script has changed its mind before its reversal was through.
        state = turn.change(state, queued=None)
    if trade is None or trade.is_closing:
        return
    kind = f"exit-{trade.direction}"
    if _has_acted(state, kind, signal):
        return
    if not turn.config.may_trade:
        _refuse(turn, state, kind, signal, f"read only: {signal.action} was not sent")
        return
    if intent.percent == _HUNDRED:
        state = turn.change(state, acted={**state.acted, kind: signal.candle_open_ms})
        turn.close_at_market(state, ExitReason.CLOSE)
        return
    try:
        qty = size_exit(intent, trade.qty, state.ready.instrument)
    except ExitRefused as error:
        _refuse(turn, state, kind, signal, f"{signal.action}: {error}")
        return
    state = turn.change(state, acted={**state.acted, kind: signal.candle_open_ms})
    _close_part(turn, state, trade, qty, key=_key_of(signal, kind))


def _close_part(turn: Turn, state: SymbolBook, trade: OpenTrade, qty: Decimal, *, key: str) -> None:
    order = NewOrder(
        symbol=state.ready.instrument.symbol,
        side=trade.direction.exit_side,
        type=OrderType.MARKET,
        client_id=client_id(turn.book.run_id, key, Leg.CLOSE),
        qty=qty,
        is_reduce_only=True,
    )
    turn.add_order(state, order, Leg.CLOSE, key=trade.key, reason=ExitReason.CLOSE)
    turn.give(Place(order=order))


def launch_queued(turn: Turn, symbol: str) -> None:
    """Send the entry that waited for a reversal, once fills and account agree on flat."""
    state = turn.book.symbols.get(symbol)
    if state is None or state.queued is None or turn.book.is_account_stale:
        return
    if state.trade is not None or state.unexplained_qty:
        return
    signal = state.queued
    state = turn.change(state, queued=None)
    assert isinstance(signal.intent, EntryIntent)
    refusal = _ask_gates(turn, state, signal) or _lateness(turn, signal)
    if refusal is None:
        try:
            sized = _sized(turn, state, signal, signal.intent, freed=ZERO)
        except (EntryRefused, Unprotectable) as error:
            refusal = str(error)
        else:
            _enter(turn, state, signal, sized)
            return
    _judge(turn, signal, refusal)
    turn.note(NoteKind.REFUSED, state, f"{signal.action} not sent after the close: {refusal}")


def _lateness(turn: Turn, signal: Signal) -> str | None:
    """Return why the signal is no longer worth acting upon: its next candle has closed as well."""
    next_ms = next_open_ms(signal.candle_open_ms, signal.timeframe)
    if turn.now_ms < next_open_ms(next_ms, signal.timeframe):
        return None
    return "the candle after its signal has closed already"


def _ask_gates(turn: Turn, state: SymbolBook, signal: Signal) -> str | None:
    assert isinstance(signal.intent, EntryIntent)
    skip = gates.ask(
        GateInput(
            instrument=state.ready.instrument,
            is_account_known=turn.book.account is not None and not turn.book.is_account_stale,
            may_trade=turn.config.may_trade,
            foreign_qty=state.foreign_qty,
            unexplained_qty=state.unexplained_qty,
            action=signal.action,
            halted=turn.book.halted,
            lost_today=lost_today(turn.book, signal.marks),
            max_daily_loss=turn.config.max_daily_loss,
            other_positions=positions_in_use(turn.book, signal.symbol),
            max_open_positions=turn.config.max_open_positions,
            leverage=signal.intent.leverage,
            max_leverage=turn.config.max_leverage,
            allowed_symbols=turn.config.allowed_symbols,
        )
    )
    return None if skip is None else skip.reason


def _has_acted(state: SymbolBook, kind: str, signal: Signal) -> bool:
    return state.acted.get(kind) == signal.candle_open_ms


def _refuse(turn: Turn, state: SymbolBook, kind: str, signal: Signal, text: str) -> None:
    if state.refused.get(kind) == signal.candle_open_ms:
        return
    turn.note(NoteKind.REFUSED, state, text)
    _judge(turn, signal, text)
    turn.change(state, refused={**state.refused, kind: signal.candle_open_ms})


def _judge(turn: Turn, signal: Signal, refusal: str = "") -> None:
    """Put on record what became of a signal."""
    turn.give(
        Verdict(
            symbol=signal.symbol,
            script=signal.script,
            action=signal.action,
            candle_open_ms=signal.candle_open_ms,
            is_taken=not refusal,
            reason=refusal,
        )
    )


def _sized(
    turn: Turn, state: SymbolBook, signal: Signal, intent: EntryIntent, *, freed: Decimal
) -> Sized:
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
    sized = size_entry(intent, given)
    skip = gates.ask_sized(
        SizedInput(
            loss_at_stop=sized.loss_at_stop,
            equity=given.equity,
            max_risk=turn.config.max_entry_risk,
        )
    )
    if skip is not None:
        raise EntryRefused(skip.reason)
    return sized


def _margin_of(turn: Turn, state: SymbolBook) -> Decimal:
    # What closing the opposite position will free, near enough to refuse a hopeless reversal.
    account = turn.book.account
    if account is None or state.trade is None:
        return ZERO
    return account.locked.get(state.ready.instrument.symbol, ZERO)


def _entry_kind(intent: EntryIntent) -> str:
    return f"entry-{intent.direction}"


def _key_of(signal: Signal, kind: str) -> str:
    return signal_key(signal.script, signal.symbol, signal.candle_open_ms, kind)


def _enter(turn: Turn, state: SymbolBook, signal: Signal, sized: Sized) -> None:
    for text in sized.notes:
        turn.note(NoteKind.ADJUSTED, state, text)
    assert isinstance(signal.intent, EntryIntent)
    key = _key_of(signal, _entry_kind(signal.intent))
    order = NewOrder(
        symbol=signal.symbol,
        side=signal.intent.direction.entry_side,
        type=OrderType.MARKET,
        client_id=client_id(turn.book.run_id, key, Leg.ENTRY),
        qty=sized.qty,
    )
    entering = Entering(signal=signal, leverage=sized.leverage)
    state = turn.add_order(state, order, Leg.ENTRY, key=key, entering=entering)
    turn.give(
        Enter(
            order=order,
            leverage=None if sized.leverage == state.leverage else sized.leverage,
            must_set_isolated=not state.is_isolated,
        )
    )
    turn.watch_order(state, order.client_id, UNANSWERED_S)
    _judge(turn, signal)
