"""Whether an entry is taken, and its size: the gates and the sizing of a live run (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from milo import gates
from milo.backtest.lane import EntrySize, Lane
from milo.backtest.ledger import Assumptions, FillAt
from milo.backtest.purse import Purse, decimal_of
from milo.exchange.feed import E8
from milo.exchange.instruments import to_e8
from milo.gates.verdict import GateInput, SizedInput
from milo.intervals import DAY_MS
from milo.model import CommissionRate, EntryIntent
from milo.money import ZERO, from_float
from milo.orders.protection import Unprotectable, plan_protection
from milo.orders.quick_sizing import QuickSizer, QuickTerms
from milo.orders.sizing import EntryRefused, SizingInput, size_entry

_HUNDRED = Decimal(100)
_MOST_KEPT = 1_000
_FIRST_WINDOW = 16
_LARGEST_WINDOW = 65_536


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry is not taken. Before candle `until` the same signal is surely refused too."""

    reason: str
    until: int = 0


class Desk:
    """Judges entries by the account as it stands."""

    def __init__(self, assumptions: Assumptions, purse: Purse, lanes: Sequence[Lane]) -> None:
        self._purse = purse
        self._lanes = lanes
        self._fees = CommissionRate(maker=assumptions.maker_fee, taker=assumptions.taker_fee)
        self._max_risk = (assumptions.max_entry_risk or ZERO) / _HUNDRED
        self._max_daily_loss = (assumptions.max_daily_loss or ZERO) / _HUNDRED
        self._max_leverage = int(assumptions.max_leverage or 0)
        self._max_positions = assumptions.max_positions or 0
        self._allowed = assumptions.allowed_symbols or ()
        # An order for the next open goes out after the close: at midnight, on the day that begins.
        self._delay_ms = 1 if assumptions.fill_at is FillAt.NEXT_OPEN else 0
        self._lasting: dict[tuple[int, str], str | None] = {}
        self._terms = {
            id(lane): QuickTerms(lane.contract.instrument, lane.contract.brackets, self._fees)
            for lane in lanes
        }
        self._quick: dict[tuple[int, int], tuple[EntryIntent, QuickSizer]] = {}
        """By the numbers of lane and intent; the intent is kept so that its number stays its."""
        self.halted_days: set[int] = set()

    def judge(
        self,
        lane: Lane,
        intent: EntryIntent,
        action: str,
        index: int,
        *,
        run_end: int = 0,
        is_relaunch: bool = False,
        needs_reason: bool = True,
    ) -> EntrySize | Refused:
        """Return the sized entry that a signal on candle `index` asks for, or why not.

        `run_end`: until there the signal stays the same. `is_relaunch`: of a reversal, once the
        opposite position is gone. `needs_reason`: False where nobody will read it.
        """
        time_ms = lane.close_ms.item(index)
        equity = self.equity(time_ms)
        refused = self._ask_gates(lane, intent, action, time_ms, equity)
        if refused is not None:
            return refused
        if not needs_reason and self._is_surely_refused(lane, intent, index, equity):
            return Refused("", self._refused_until(lane, intent, index, run_end))
        try:
            return self._sized(lane, intent, index, equity)
        except (EntryRefused, Unprotectable) as error:
            if is_relaunch:
                return Refused(str(error))
            until = self._refused_until(lane, intent, index, run_end)
            return Refused(f"{action} not sent: {error}", until)

    def equity(self, time_ms: int) -> Decimal:
        """Return wallet and unrealised profit at the last prices, USDT."""
        equity = decimal_of(self._purse.wallet)
        for lane in self._lanes:
            if lane.trade is not None:
                profit = lane.price_at(time_ms) - decimal_of(lane.trade.entry_price)
                equity += decimal_of(lane.position.qty) * profit
        return equity

    def _ask_gates(
        self, lane: Lane, intent: EntryIntent, action: str, time_ms: int, equity: Decimal
    ) -> Refused | None:
        lasting = self._lasting_refusal(lane, intent, action)
        if lasting is not None:
            return Refused(lasting, until=lane.end)
        if not self._max_daily_loss and not self._max_positions:
            return None
        now_ms = time_ms + self._delay_ms
        lost_today, others = self._state(lane, now_ms, equity)
        if not others and 2 * lost_today <= self._max_daily_loss:
            return None  # as far from the account's limits as when they were asked
        skip = gates.ask(self._gate_input(lane, intent, action, lost_today, others))
        if skip is None:
            return None
        if self._max_daily_loss and lost_today >= self._max_daily_loss:
            self.halted_days.add(now_ms // DAY_MS)
            if self._is_still(lane):
                morning_ms = (now_ms // DAY_MS + 1) * DAY_MS - self._delay_ms
                return Refused(skip.reason, int(np.searchsorted(lane.close_ms, morning_ms)))
        return Refused(skip.reason)

    def _state(self, lane: Lane, now_ms: int, equity: Decimal) -> tuple[Decimal, int]:
        """Return the share of the day's first wallet that is lost, and other symbols' positions."""
        day_wallet = decimal_of(self._purse.day_wallet(now_ms))
        lost_today = 1 - equity / day_wallet if day_wallet and equity < day_wallet else ZERO
        others = sum(
            other.trade is not None
            or (other.pending is not None and other.pending.entry is not None)
            for other in self._lanes
            if other is not lane
        )
        return lost_today, others

    def gate_input(self, lane: Lane, intent: EntryIntent, action: str, index: int) -> GateInput:
        """Return what the gates are asked about a signal on candle `index`."""
        time_ms = lane.close_ms.item(index)
        state = self._state(lane, time_ms + self._delay_ms, self.equity(time_ms))
        return self._gate_input(lane, intent, action, *state)

    def _is_still(self, lane: Lane) -> bool:
        """Return whether nothing changes the account until this lane opens something."""
        return len(self._lanes) == 1 and lane.trade is None

    def _is_surely_refused(
        self, lane: Lane, intent: EntryIntent, index: int, equity: Decimal
    ) -> bool:
        available = (self._purse.available + lane.position.wallet) / E8
        quick = self._quick_sizer(lane, intent)
        candle = slice(index, index + 1)
        return bool(_surely_refused(quick, lane, candle, float(equity), available)[0])

    def _refused_until(self, lane: Lane, intent: EntryIntent, index: int, run_end: int) -> int:
        """Return the next candle of the run at which sizing might not refuse."""
        start = index + 1
        if not self._is_still(lane):
            return start
        quick, wallet = self._quick_sizer(lane, intent), self._purse.wallet / E8
        window = _FIRST_WINDOW
        while start < run_end:
            stop = min(start + window, run_end)
            refused = _surely_refused(quick, lane, slice(start, stop), wallet, wallet)
            place = int(refused.argmin())
            if not refused[place]:
                return start + place
            start, window = stop, min(4 * window, _LARGEST_WINDOW)
        return start

    def refused_while_flat(
        self, lane: Lane, intent: EntryIntent, action: str, candles: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return at which candles a signal that the gates let pass is surely refused, or always
        is, while this lane alone has the account and opens nothing."""
        if self._lasting_refusal(lane, intent, action) is not None:
            return np.ones(len(candles), np.bool_)
        wallet = self._purse.wallet / E8
        quick = self._quick_sizer(lane, intent)
        return _surely_refused(quick, lane, candles, wallet, wallet)

    def _lasting_refusal(self, lane: Lane, intent: EntryIntent, action: str) -> str | None:
        """Return what the gates say whatever the account: asked once for each action."""
        key = (id(lane), action)
        if key not in self._lasting:
            if len(self._lasting) >= _MOST_KEPT:
                self._lasting.clear()
            skip = gates.ask(self._gate_input(lane, intent, action, ZERO, 0))
            self._lasting[key] = None if skip is None else skip.reason
        return self._lasting[key]

    def _gate_input(
        self, lane: Lane, intent: EntryIntent, action: str, lost_today: Decimal, others: int
    ) -> GateInput:
        return GateInput(
            instrument=lane.contract.instrument,
            is_account_known=True,
            may_trade=True,
            foreign_qty=ZERO,
            unexplained_qty=ZERO,
            action=action,
            lost_today=lost_today,
            max_daily_loss=self._max_daily_loss,
            other_positions=others,
            max_open_positions=self._max_positions,
            leverage=intent.leverage,
            max_leverage=self._max_leverage,
            allowed_symbols=self._allowed,
        )

    def _sized(self, lane: Lane, intent: EntryIntent, index: int, equity: Decimal) -> EntrySize:
        # The margin of the opposite position, where one is open, is free once it is closed.
        available = self._purse.available + lane.position.wallet
        close = lane.close.item(index)
        quick = self._quick_sizer(lane, intent)
        atr = lane.atr_at(index) if quick.needs_atr else None
        found = self._quick_size(lane, quick, close, equity, available / E8, atr)
        if found is not None:
            return found
        sized = size_entry(
            intent,
            SizingInput(
                price=from_float(close),
                atr=None if atr is None else from_float(atr),
                equity=equity,
                available=decimal_of(available),
                instrument=lane.contract.instrument,
                brackets=lane.contract.brackets,
                fees=self._fees,
            ),
        )
        skip = gates.ask_sized(
            SizedInput(loss_at_stop=sized.loss_at_stop, equity=equity, max_risk=self._max_risk)
        )
        if skip is not None:
            raise EntryRefused(skip.reason)
        return EntrySize(
            qty=to_e8(sized.qty),
            leverage=sized.leverage,
            loss_at_stop=sized.loss_at_stop,
            stop_price=sized.protection.stop_price,
            target_price=sized.protection.target_price,
            notes=sized.notes,
        )

    def _quick_size(
        self,
        lane: Lane,
        quick: QuickSizer,
        close: float,
        equity: Decimal,
        available: float,
        atr: float | None,
    ) -> EntrySize | None:
        """Return what the exact sizing would, where floats are certain of it and of the gate."""
        found = quick.size(close, float(equity), available, atr)
        if found is None:
            return None
        tick = lane.contract.instrument.tick
        price = from_float(close)
        steps, (stop_ticks, target) = found
        stop = stop_ticks * tick
        loss = steps * quick.step * (abs(price - stop) + self._fees.taker * (price + stop))
        if self._max_risk and loss > self._max_risk * equity:
            return None
        return EntrySize(
            qty=steps * quick.step_e8,
            leverage=quick.leverage,
            loss_at_stop=loss,
            stop_price=stop,
            target_price=None if target is None else target * tick,
            notes=(),
        )

    def protect(
        self, lane: Lane, intent: EntryIntent, size: EntrySize, entry_price: int, index: int
    ) -> tuple[Decimal, Decimal | None]:
        """Return stop and target of a position that filled at `entry_price` (e8).

        Raises Unprotectable where they cannot stand.
        """
        quick = self._quick_sizer(lane, intent)
        atr = lane.atr_at(index) if quick.needs_atr else None
        contract = lane.contract
        tick = contract.instrument.tick
        found = quick.plan(entry_price, size.qty / E8, size.leverage, atr)
        if found is not None:
            target = found.target_ticks
            return found.stop_ticks * tick, None if target is None else target * tick
        plan = plan_protection(
            intent,
            entry_price=decimal_of(entry_price),
            qty=decimal_of(size.qty),
            leverage=size.leverage,
            atr=None if atr is None else from_float(atr),
            instrument=contract.instrument,
            brackets=contract.brackets,
        )
        return plan.stop_price, plan.target_price

    def _quick_sizer(self, lane: Lane, intent: EntryIntent) -> QuickSizer:
        """Return the sizer of an intent; those of the lane's last intents are kept."""
        key = (id(lane), id(intent))
        kept = self._quick.get(key)
        if kept is None:
            if len(self._quick) >= _MOST_KEPT:
                self._quick.clear()
            kept = self._quick[key] = (intent, QuickSizer(intent, self._terms[id(lane)]))
        return kept[1]


def _surely_refused(
    quick: QuickSizer,
    lane: Lane,
    candles: slice | NDArray[np.int64],
    equity: float,
    available: float,
) -> NDArray[np.bool_]:
    atrs = lane.atrs[candles] if quick.needs_atr else None
    return quick.surely_refused(lane.close[candles], equity, available, atrs)
