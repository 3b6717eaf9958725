"""Whether an entry is taken, and its size: the gates and the sizing of a live run (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo import gates
from milo.backtest.lane import Lane
from milo.backtest.ledger import Assumptions, FillAt
from milo.backtest.purse import Purse, decimal_of
from milo.exchange.fixed import nearest
from milo.gates.verdict import GateInput, SizedInput
from milo.intervals import DAY_MS
from milo.model import CommissionRate, EntryIntent
from milo.money import ZERO
from milo.orders.protection import Unprotectable
from milo.orders.sizing import EntryRefused, Sized, SizingInput, size_entry

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry is not taken. `is_lasting`: nothing that happens in the run changes it."""

    reason: str
    is_lasting: bool = False


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
        self.halted_days: set[int] = set()

    def judge(
        self, lane: Lane, intent: EntryIntent, action: str, index: int, *, is_relaunch: bool = False
    ) -> Sized | Refused:
        """Return the sized entry that a signal on candle `index` asks for, or why not.

        `is_relaunch`: of a reversal, once the opposite position is gone.
        """
        time_ms = lane.close_ms.item(index)
        equity = self.equity(time_ms)
        refused = self._ask_gates(lane, intent, action, time_ms, equity)
        if refused is not None:
            return refused
        try:
            sized = self._sized(lane, intent, index, equity)
        except (EntryRefused, Unprotectable) as error:
            return Refused(str(error) if is_relaunch else f"{action} not sent: {error}")
        return sized

    def equity(self, time_ms: int) -> Decimal:
        """Return wallet and unrealised profit at the last prices, USDT."""
        equity = decimal_of(self._purse.wallet)
        for lane in self._lanes:
            position = lane.position
            if position.qty:
                entry = decimal_of(nearest(position.entry_e16, 10**8))
                equity += decimal_of(position.qty) * (lane.price_at(time_ms) - entry)
        return equity

    def _ask_gates(
        self, lane: Lane, intent: EntryIntent, action: str, time_ms: int, equity: Decimal
    ) -> Refused | None:
        lasting = self._lasting_refusal(lane, intent, action)
        if lasting is not None:
            return Refused(lasting, is_lasting=True)
        now_ms = time_ms + self._delay_ms
        day_wallet = decimal_of(self._purse.day_wallet(now_ms))
        lost_today = max(ZERO, 1 - equity / day_wallet) if day_wallet else ZERO
        others = sum(
            other.trade is not None
            or (other.pending is not None and other.pending.entry is not None)
            for other in self._lanes
            if other is not lane
        )
        if not lost_today and not others:
            return None
        skip = gates.ask(self._gate_input(lane, intent, action, lost_today, others))
        if skip is None:
            return None
        if self._max_daily_loss and lost_today >= self._max_daily_loss:
            self.halted_days.add(now_ms // DAY_MS)
        return Refused(skip.reason)

    def _lasting_refusal(self, lane: Lane, intent: EntryIntent, action: str) -> str | None:
        """Return what the gates say whatever the account: asked once for each action."""
        key = (id(lane), action)
        if key not in self._lasting:
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

    def _sized(self, lane: Lane, intent: EntryIntent, index: int, equity: Decimal) -> Sized:
        # The margin of the opposite position, where one is open, is free once it is closed.
        available = decimal_of(self._purse.available + lane.position.wallet)
        sized = size_entry(
            intent,
            SizingInput(
                price=lane.price_at(lane.close_ms.item(index)),
                atr=lane.atr_of(intent, index),
                equity=equity,
                available=available,
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
        return sized
