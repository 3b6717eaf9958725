"""What a backtest's account does at one candle, told while it runs up to there (layer 1).

`Inquiry` is the ordinary execution, candle by candle, with somebody who takes notes: the same code
decides, sizes and fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from milo.backtest.desk import Refused
from milo.backtest.execution import Execution
from milo.backtest.lane import Event, Lane, Pending
from milo.backtest.ledger import Assumptions, Trade
from milo.backtest.purse import OpenTrade, decimal_of
from milo.backtest.runs import is_relevant
from milo.backtest.slot import Slot
from milo.exchange.account import liquidation_price
from milo.gates.verdict import GateInput
from milo.model import Direction, EntryIntent, ExitIntent
from milo.money import from_float
from milo.orders.sizing import ExitRefused, size_exit
from milo.script.actions import parse_action


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An open position; money in USDT."""

    direction: Direction
    qty: Decimal
    leverage: int
    entry_index: int
    entry_ms: int
    entry_price: Decimal
    stop_price: Decimal
    target_price: Decimal | None
    liquidation_price: Decimal | None
    """As it is now; funding moves it."""
    wallet: Decimal
    """Isolated margin, without the open profit."""
    unrealized: Decimal
    """At the last price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The account at the close of a candle, before what is decided there; money in USDT."""

    price: Decimal
    atr: Decimal | None
    """ATR(14) of the candle; None while it is not defined."""
    wallet: Decimal
    equity: Decimal
    available: Decimal
    held: Held | None
    closed: tuple[Trade, ...]
    """What ended within the candle, at its open included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the order that a candle's decision sent."""

    time_ms: int
    opened: Held | None = None
    """As it was filled; None where nothing was opened, or it was closed again at once."""
    closed: tuple[Trade, ...] = ()
    refusal: str = ""
    """Why the order was refused when it should have been filled."""


class Inquiry(Execution):
    """An execution that can be asked about candles.

    `note` them first; then, in the order of closes: `account_view` and `moment` of a noted candle,
    `take` of its action, and `pass_to` the next candle's open; `outcome` tells what was filled.
    """

    def __init__(self, slots: Sequence[Slot], assumptions: Assumptions) -> None:
        """Raises ValueError as `Execution` does."""
        super().__init__(slots, assumptions)
        self._noted: set[tuple[str, int]] = set()
        self._outcomes: dict[tuple[str, int], Outcome] = {}
        self._refusal = ""

    def note(self, slot: int, index: int) -> None:
        """Keep what becomes of the decision on a candle."""
        self._noted.add((self._lanes[slot].slot.symbol, index))

    def moment(self, slot: int, index: int) -> Moment:
        """Return the account at the close of a candle, which `account_view` has let pass."""
        lane, purse = self._lanes[slot], self._purse
        time_ms = lane.close_ms.item(index)
        symbol, atr = lane.slot.symbol, lane.atr_at(index)
        ended = (row for row in purse.trades if row.symbol == symbol and row.exit_index == index)
        return Moment(
            price=from_float(lane.close.item(index)),
            atr=None if atr is None else from_float(atr),
            wallet=decimal_of(purse.wallet),
            equity=self._desk.equity(time_ms),
            available=decimal_of(purse.available),
            held=self._held(lane, time_ms),
            closed=tuple(ended),
        )

    def _held(self, lane: Lane, time_ms: int) -> Held | None:
        trade, position = lane.trade, lane.position
        if trade is None:
            return None
        entry = decimal_of(trade.entry_price)
        liquidation = liquidation_price(position, lane.rules)
        return Held(
            direction=trade.direction,
            qty=decimal_of(abs(position.qty)),
            leverage=trade.leverage,
            entry_index=trade.entry_index,
            entry_ms=trade.entry_ms,
            entry_price=entry,
            stop_price=trade.stop_price,
            target_price=trade.target_price,
            liquidation_price=decimal_of(liquidation) if liquidation else None,
            wallet=decimal_of(position.wallet),
            unrealized=decimal_of(position.qty) * (lane.price_at(time_ms) - entry),
        )

    def gate_input(self, slot: int, index: int, action: str) -> GateInput | None:
        """Return what the gates are asked about an action; None where they are not asked."""
        lane, intent = self._lanes[slot], parse_action(action)
        if not isinstance(intent, EntryIntent) or not is_relevant(intent, lane.held):
            return None
        return self._desk.gate_input(lane, intent, action, index)

    def refusal(self, slot: int, index: int, action: str) -> str:
        """Return why an action is not sent, in the words of the run; "" where it is, or nothing is
        to be sent. To be asked before `take`."""
        lane, intent = self._lanes[slot], parse_action(action)
        if not is_relevant(intent, lane.held):
            return ""
        match intent:
            case EntryIntent():
                judged = self._desk.judge(lane, intent, action, index)
                return judged.reason if isinstance(judged, Refused) else ""
            case ExitIntent():
                try:
                    size_exit(intent, decimal_of(abs(lane.position.qty)), lane.contract.instrument)
                except ExitRefused as error:
                    return f"{action}: {error}"
        return ""

    def pass_to(self, time_ms: int) -> None:
        """Let everything happen until a time, candle opens at it included."""
        self._advance_to(time_ms)

    def outcome(self, slot: int, index: int) -> Outcome | None:
        """Return what became of a noted candle's order; None where none was sent, or no candle
        came in which it could be filled."""
        return self._outcomes.get((self._lanes[slot].slot.symbol, index))

    def _fill(self, lane: Lane, pending: Pending, event: Event) -> None:
        key = (lane.slot.symbol, pending.candle - 1)
        if key not in self._noted:
            super()._fill(lane, pending, event)
            return
        before: OpenTrade | None = lane.trade
        count, self._refusal = len(self._purse.trades), ""
        super()._fill(lane, pending, event)
        self._outcomes[key] = Outcome(
            time_ms=event.time_ms,
            opened=None if lane.trade is before else self._held(lane, event.time_ms),
            closed=tuple(self._purse.trades[count:]),
            refusal=self._refusal,
        )

    def _refuse(self, lane: Lane, pending: Pending, reason: str) -> None:
        self._refusal = reason
        super()._refuse(lane, pending, reason)
