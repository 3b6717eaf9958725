"""Carries out a script's decisions on stored candles: fills, protection, funding (layer 1).

`run` does it at once for decisions that were made before. `Execution` goes candle by candle, for
scripts that read the account: `account_view` before a candle's decision, `take` after it, in the
order of the candles' closes, and `finish` at the end. Both give the same ledger. The rules stand in
docs/backtest.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from milo.backtest.decisions import Decisions
from milo.backtest.desk import Desk, Refused
from milo.backtest.equity import buy_and_hold, equity_curve, slot_shares
from milo.backtest.journal import RunJournal
from milo.backtest.lane import (
    AT_OPEN,
    DECISION,
    SETTLEMENT,
    WITHIN,
    EntrySize,
    Event,
    Lane,
    Pending,
)
from milo.backtest.ledger import Assumptions, FillAt, Ledger
from milo.backtest.purse import Exit, OpenTrade, Purse, decimal_of
from milo.backtest.runs import ActionRuns, is_relevant
from milo.backtest.slot import Slot
from milo.backtest.touch import Met, Touch
from milo.exchange.account import liquidation_price, notional_of
from milo.exchange.feed import E8
from milo.exchange.fixed import show
from milo.exchange.instruments import to_e8
from milo.model import EntryIntent, ExitIntent, ExitReason, Intent
from milo.orders.protection import Unprotectable
from milo.orders.sizing import ExitRefused, size_exit
from milo.script.actions import DO_NOTHING, parse_action
from milo.script.request import AccountView, PositionView

_REASONS = {
    Met.STOP: ExitReason.STOP,
    Met.TARGET: ExitReason.TARGET,
    Met.LIQUIDATION: ExitReason.LIQUIDATION,
}

_MOST_INTENTS = 1_000
_FIRST_CANDLES = 64
_MOST_CANDLES = 65_536


def run(slots: Sequence[Slot], decisions: Sequence[Decisions], assumptions: Assumptions) -> Ledger:
    """Return what the decisions would have earned; one Decisions for each slot, in their order.

    Raises ValueError where they do not fit together, or two slots trade one symbol.
    """
    ranges = [(made.first, made.first + made.count) for made in decisions]
    execution = Execution(slots, assumptions, ranges)
    execution.run([ActionRuns(made) for made in decisions])
    return execution.finish()


class Execution:
    """One account and the slots that trade on it, in the order of time."""

    def __init__(
        self,
        slots: Sequence[Slot],
        assumptions: Assumptions,
        ranges: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """`ranges`: candles [first, end) of each slot that are decided; by default the slot's own.

        Raises ValueError where two slots trade one symbol: in one-way mode that is one position.
        """
        symbols = [slot.symbol for slot in slots]
        if len(set(symbols)) < len(symbols):
            raise ValueError("two scripts trade one symbol: in one-way mode that is one position")
        if ranges is None:
            ranges = [(s.first, len(s.candles) if s.end is None else s.end) for s in slots]
        self._assumptions = assumptions
        self._is_at_close = assumptions.fill_at is FillAt.CLOSE
        self._slippage = to_e8(assumptions.slippage)
        self._purse = Purse(to_e8(assumptions.start_balance), to_e8(assumptions.taker_fee))
        self._lanes = [
            Lane(slot, assumptions, first, end)
            for slot, (first, end) in zip(slots, ranges, strict=True)
        ]
        self._desk = Desk(assumptions, self._purse, self._lanes)
        self._journal = RunJournal()
        self._intents: dict[str, Intent | None] = {}
        self._taken: list[tuple[str, int, int]] = [("", -1, -1)] * len(slots)
        """Of each lane: the last action, its candle, and the number of its run of equal ones."""

    # --- candle by candle ---------------------------------------------------------------------

    def close_ms(self, slot: int, index: int) -> int:
        """Return the close time of a slot's candle."""
        return self._lanes[slot].close_ms.item(index)

    def account_view(self, slot: int, index: int) -> AccountView:
        """Return the account as the script of a slot sees it at the close of candle `index`."""
        time_ms = self._lanes[slot].close_ms.item(index)
        self._advance_to(time_ms)
        rows = []
        for lane in self._lanes:
            trade, position = lane.trade, lane.position
            if trade is None:
                continue
            entry = decimal_of(trade.entry_price)
            profit = decimal_of(position.qty) * (lane.price_at(time_ms) - entry)
            target = trade.target_price
            rows.append(
                PositionView(
                    symbol=lane.slot.symbol,
                    side=str(trade.direction),
                    qty=abs(position.qty) / E8,
                    entry_price=float(entry),
                    unrealized_pnl=float(profit),
                    stop=float(trade.stop_price),
                    take=None if target is None else float(target),
                )
            )
        return AccountView(available_balance=self._purse.available / E8, positions=tuple(rows))

    def take(self, slot: int, index: int, action: str) -> None:
        """Carry out what a slot's script decided at the close of candle `index`.

        Candles come in the order of their closes, all slots together, each once; one whose action
        is "donothing" may be left out. Raises ValueError where `action` is none.
        """
        lane = self._lanes[slot]
        if not lane.decided <= index < lane.end:
            raise ValueError(f"candle {index} is not among {lane.decided} to {lane.end - 1}")
        last, last_index, number = self._taken[slot]
        if action != last or index != last_index + 1:
            number = index
        self._taken[slot] = (action, index, number)
        lane.decided = index + 1
        if action == DO_NOTHING:
            return
        intent = self._intent_of(action)
        self._advance_to(lane.close_ms.item(index))
        if is_relevant(intent, lane.held):
            self._decide(lane, index, action, intent, number)

    def _intent_of(self, action: str) -> Intent | None:
        if action not in self._intents:
            if len(self._intents) >= _MOST_INTENTS:
                self._intents.clear()
            self._intents[action] = parse_action(action)
        return self._intents[action]

    def finish(self) -> Ledger:
        """Let the candles that are left pass and return the ledger; to be called once."""
        for lane in self._lanes:
            lane.decided = lane.end
        self._advance_to(None)
        for lane in self._lanes:
            if lane.trade is not None:
                index = lane.end - 1
                price = round(lane.close.item(index) * E8)
                exit_ = Exit(
                    index=index,
                    time_ms=lane.close_ms.item(index),
                    price=price,
                    reason=ExitReason.CLOSE,
                )
                self._purse.close_on_paper(lane.position, lane.trade, exit_)
        return self._ledger()

    def _advance_to(self, time_ms: int | None) -> None:
        """Let everything happen until a candle's close at `time_ms`; None: to the end."""
        if all(lane.trade is None and lane.pending is None for lane in self._lanes):
            return
        queue: list[tuple[int, int, int, int]] = []
        untils = []
        for number, lane in enumerate(self._lanes):
            until = (
                lane.end - 1 if time_ms is None else min(lane.last_opened(time_ms), lane.end - 1)
            )
            untils.append(until)
            _put(queue, number, lane.next_event(until))
        while queue:
            at_ms, phase, number, index = heapq.heappop(queue)
            if time_ms is not None and at_ms > time_ms:
                return
            lane = self._lanes[number]
            self._happen(lane, Event(at_ms, phase, index), time_ms)
            _put(queue, number, lane.next_event(untils[number]))

    # --- all at once --------------------------------------------------------------------------

    def run(self, runs: Sequence[ActionRuns]) -> None:
        """Carry out decisions that were all made before, jumping from one event to the next."""
        if len(runs) == 1:
            self._run_alone(self._lanes[0], runs[0])
            return
        queue: list[tuple[int, int, int, int]] = []
        due: list[int] = [-1] * len(runs)
        for number in range(len(runs)):
            self._put_next(queue, number, runs[number], due)
        while queue:
            time_ms, phase, number, index = heapq.heappop(queue)
            lane = self._lanes[number]
            if phase == DECISION:
                self._decide_run(lane, index, runs[number], due[number])
            else:
                self._happen(lane, Event(time_ms, phase, index))
            self._put_next(queue, number, runs[number], due)

    def _run_alone(self, lane: Lane, runs: ActionRuns) -> None:
        """Do the same for one lane, which need not queue."""
        while True:
            event, run, index = None, -1, -1
            if lane.pending is not None:
                event = lane.next_event(lane.pending.candle)
            elif (found := runs.next(lane.decided, lane.held)) is None:
                event = lane.next_event(lane.end - 1)
            else:
                index, run = found
                if lane.trade is not None:
                    event = lane.next_event(index)
                    if event is not None and event > (lane.close_ms.item(index), DECISION, index):
                        event = None
            if event is not None:
                self._happen(lane, event)
            elif run >= 0:
                is_refused = self._decide_run(lane, index, runs, run)
                if is_refused and lane.trade is None and self._journal.is_full:
                    self._pass_refused(lane, runs)
            else:
                return

    def _pass_refused(self, lane: Lane, runs: ActionRuns) -> None:
        """Count the runs that follow, as long as all of them are surely refused too."""
        relevant = runs.relevant(None)
        window = _FIRST_CANDLES
        while True:
            place = relevant.place(lane.decided)
            candles, codes, places = relevant.candles(place, window, runs)
            if not len(candles) or candles[0] < lane.decided:
                return
            refused = np.zeros(len(candles), np.bool_)
            for code in np.flatnonzero(np.bincount(codes)).tolist():
                intent, is_it = runs.intent_of(code), codes == code
                assert isinstance(intent, EntryIntent)
                refused[is_it] = self._desk.refused_while_flat(
                    lane, intent, runs.actions[code], candles[is_it]
                )
            first = int(refused.argmin())
            end = places.item(-1) + 1 if refused[first] else places.item(first)
            if end > place:
                last_run = relevant.runs.item(end - 1)
                self._journal.pass_refused(lane.slot.symbol, end - place, last_run)
                lane.decided = relevant.ends.item(end - 1)
            if not refused[first]:
                return
            window = min(4 * window, _MOST_CANDLES)

    def _decide_run(self, lane: Lane, index: int, runs: ActionRuns, run: int) -> bool:
        """Act on a run of equal actions from candle `index` on; return whether it was refused
        for longer than a candle can change."""
        lane.decided = index + 1
        end = runs.end(run)
        until = self._decide(lane, index, runs.action(run), runs.intent(run), run, end)
        # Another run of the same action is another refusal, and has to be told.
        lane.decided = max(index + 1, min(until, end))
        return until > index

    def _put_next(
        self,
        queue: list[tuple[int, int, int, int]],
        number: int,
        runs: ActionRuns,
        due: list[int],
    ) -> None:
        """Put the lane's next event into the queue: of its position, or its next decision."""
        lane = self._lanes[number]
        pending = lane.pending
        if pending is not None:
            # Nothing is decided before the order that waits has been filled.
            _put(queue, number, lane.next_event(pending.candle))
            return
        found = runs.next(lane.decided, lane.held)
        if found is None:
            _put(queue, number, lane.next_event(lane.end - 1))
            return
        index, due[number] = found
        decision = Event(lane.close_ms.item(index), DECISION, index)
        event = lane.next_event(index)
        # A settlement in the gap after a candle comes after that candle's decision.
        _put(queue, number, decision if event is None else min(event, decision))

    # --- what happens -------------------------------------------------------------------------

    def _happen(self, lane: Lane, event: Event, now_ms: int | None = None) -> None:
        """Let an event happen, and settlements that follow it until `now_ms` (None: any)."""
        if event.phase == SETTLEMENT:
            # Of several lanes each waits for its turn: the wallet changes in the order of time.
            until_ms = lane.calm_ms if len(self._lanes) == 1 else event.time_ms
            self._settle(lane, event, until_ms if now_ms is None else min(until_ms, now_ms))
        elif event.phase == AT_OPEN:
            if lane.trade is not None:
                touch = lane.touch_at_open(event.candle)
                if touch is not None:
                    self._touched(lane, event, touch)
                else:
                    lane.pass_open(event.candle)
            pending, lane.pending = lane.pending, None
            if pending is not None:
                self._fill(lane, pending, event)
        elif event.phase == WITHIN:
            self._touched(lane, event, lane.touch_within(event.candle))

    def _settle(self, lane: Lane, event: Event, until_ms: int) -> None:
        """Settle funding, and again until `until_ms` as long as the levels stay where they are."""
        assert lane.trade is not None
        settlements = lane.settlements
        due = lane.due_until(max(event.time_ms, until_ms))
        done = self._purse.settle(lane.position, lane.trade, settlements, due, lane.safe_wallet())
        lane.note_settled(done)
        self._journal.settlements += done - due.start
        self._journal.unknown_settlements += settlements.is_known[due.start : done].count(False)

    def _touched(self, lane: Lane, event: Event, touch: Touch) -> None:
        trade, position = lane.trade, lane.position
        assert trade is not None
        is_liquidation = touch.met is Met.LIQUIDATION
        slippage = 0 if is_liquidation else self._slippage
        exit_ = Exit(
            index=event.candle,
            time_ms=event.time_ms,
            price=lane.fill_price(touch.price, -position.sign, slippage),
            reason=_REASONS[touch.met],
            is_gap=touch.is_gap,
            is_extreme=touch.is_extreme,
            is_ambiguous=touch.is_ambiguous,
        )
        if is_liquidation:
            self._purse.liquidate(position, trade, exit_, lane.rules)
            self._journal.liquidations += 1
        else:
            self._purse.close(position, trade, abs(position.qty), exit_)
        self._journal.ambiguous += touch.is_ambiguous
        lane.note_reduced(event.time_ms, event.candle)
        lane.decided = max(lane.decided, event.candle)

    def _fill(self, lane: Lane, pending: Pending, event: Event) -> None:
        """Fill market orders at the open of their candle, or at the close of their signal's."""
        price = (lane.close if self._is_at_close else lane.open).item(event.candle)
        if pending.closing and lane.trade is not None:
            reason = ExitReason.CLOSE if pending.entry is None else ExitReason.REVERSE
            self._close(lane, pending.closing, event, price, reason)
        if pending.entry is None:
            return
        size = pending.size
        if size is None:
            # Of a reversal: with what the account has now.
            judged = self._desk.judge(
                lane, pending.entry, pending.action, pending.candle - 1, is_relaunch=True
            )
            if isinstance(judged, Refused):
                reason_text = f"{pending.action} not sent after the close: {judged.reason}"
                self._refuse(lane, pending, reason_text)
                return
            size = judged
        self._open(lane, pending, size, event, price)

    def _close(self, lane: Lane, qty: int, event: Event, price: float, reason: ExitReason) -> None:
        """Close at market, with the market at `price`."""
        trade, position = lane.trade, lane.position
        assert trade is not None
        exit_ = Exit(
            index=event.candle,
            time_ms=event.time_ms,
            price=lane.fill_price(price, -position.sign, self._slippage),
            reason=reason,
        )
        self._purse.close(position, trade, min(qty, abs(position.qty)), exit_)
        lane.note_reduced(event.time_ms, event.candle + self._is_at_close)

    def _open(
        self, lane: Lane, pending: Pending, size: EntrySize, event: Event, price: float
    ) -> None:
        """Open a position at market, and protect it from the fill."""
        intent = pending.entry
        assert intent is not None
        refusal = self._exchange_refusal(lane, size.qty, round(price * E8), size.leverage)
        if refusal is not None:
            self._refuse(lane, pending, f"entry refused by the exchange: {refusal}")
            return
        for text in size.notes:
            self._journal.note(lane.slot.symbol, text)
        sign = intent.direction.sign
        fill_price = lane.fill_price(price, sign, self._slippage)
        fee = self._purse.open(
            lane.position, sign * size.qty, fill_price, size.leverage, event.time_ms
        )
        trade = OpenTrade(
            script=lane.slot.script,
            intent=intent,
            leverage=size.leverage,
            entry_index=event.candle,
            entry_ms=event.time_ms,
            entry_price=fill_price,
            entry_qty=size.qty,
            risk=size.loss_at_stop,
            stop_price=size.stop_price,
            target_price=size.target_price,
            liquidation=liquidation_price(lane.position, lane.rules),
            fees=fee,
        )
        try:
            trade.stop_price, trade.target_price = self._desk.protect(
                lane, intent, size, fill_price, pending.candle - 1
            )
        except Unprotectable as error:
            self._journal.note(lane.slot.symbol, f"position closed at once: {error}")
            is_protected = False
        else:
            is_protected = sign * (price - float(trade.stop_price)) > 0
        lane.begin(trade, is_at_close=self._is_at_close)
        if not is_protected:
            # Nothing can protect it, or the market is beyond its stop already.
            self._close(lane, size.qty, event, price, ExitReason.STOP)

    def _exchange_refusal(self, lane: Lane, qty: int, price: int, leverage: int) -> str | None:
        """Return what the exchange says to an order that the market has run away from."""
        notional = notional_of(price, qty)
        rules = lane.rules
        if notional < rules.min_notional:
            return (
                f"Order's notional must be no smaller than {show(rules.min_notional)} "
                "(unless you choose reduce only)."
            )
        if notional > lane.max_notional(leverage):
            return "Exceeded the maximum allowable position at current leverage."
        if not self._purse.can_open(qty, price, leverage):
            return "Margin is insufficient."
        return None

    # --- decisions ----------------------------------------------------------------------------

    def _decide(
        self,
        lane: Lane,
        index: int,
        action: str,
        intent: Intent | None,
        number: int,
        run_end: int = 0,
    ) -> int:
        """Act on a relevant action at the close of a candle.

        Return the candle before which the same action is surely refused; 0 where nobody knows.
        """
        match intent:
            case EntryIntent():
                judged = self._desk.judge(
                    lane,
                    intent,
                    action,
                    index,
                    run_end=run_end,
                    needs_reason=not self._journal.is_full,
                )
                if isinstance(judged, Refused):
                    self._journal.refuse(lane, index, action, number, judged.reason)
                    return judged.until
                closing = abs(lane.position.qty)
                self._send(
                    lane,
                    Pending(
                        candle=index + 1,
                        action=action,
                        run=number,
                        closing=closing,
                        entry=intent,
                        size=None if closing else judged,
                    ),
                )
            case ExitIntent():
                self._decide_exit(lane, index, action, intent, number)
            case None:
                pass
            case _:
                assert_never(intent)
        return 0

    def _decide_exit(
        self, lane: Lane, index: int, action: str, intent: ExitIntent, number: int
    ) -> None:
        held = decimal_of(abs(lane.position.qty))
        try:
            qty = size_exit(intent, held, lane.contract.instrument)
        except ExitRefused as error:
            self._journal.refuse(lane, index, action, number, f"{action}: {error}")
            return
        self._send(lane, Pending(candle=index + 1, action=action, run=number, closing=to_e8(qty)))

    def _send(self, lane: Lane, order: Pending) -> None:
        if not self._is_at_close:
            lane.pending = order
            return
        index = order.candle - 1
        self._fill(lane, order, Event(lane.close_ms.item(index), DECISION, index))

    def _refuse(self, lane: Lane, pending: Pending, reason: str) -> None:
        self._journal.refuse(lane, pending.candle - 1, pending.action, pending.run, reason)

    def _ledger(self) -> Ledger:
        purse, journal = self._purse, self._journal
        curve = equity_curve(self._lanes, purse)
        return Ledger(
            assumptions=self._assumptions,
            trades=tuple(purse.trades),
            refusals=tuple(journal.refusals),
            refusal_count=journal.refusal_count,
            notes=journal.notes(),
            wallet=decimal_of(purse.wallet),
            fees=decimal_of(purse.fees),
            funding=decimal_of(purse.funding),
            times_ms=curve.times_ms,
            equity=curve.equity,
            exposed=curve.exposed,
            buy_and_hold={lane.slot.symbol: buy_and_hold(lane) for lane in self._lanes},
            liquidations=journal.liquidations,
            ambiguous=journal.ambiguous,
            settlements=journal.settlements,
            unknown_settlements=journal.unknown_settlements,
            halted_days=len(self._desk.halted_days),
            shares=slot_shares(self._lanes, purse, curve),
        )


def _put(queue: list[tuple[int, int, int, int]], number: int, event: Event | None) -> None:
    if event is not None:
        heapq.heappush(queue, (event.time_ms, event.phase, number, event.candle))
