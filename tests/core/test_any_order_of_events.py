"""Whatever is lost, late, doubled or out of order: in the end book, venue and money agree.

A storm carries out the core's commands and delivers what comes of them in an order that a seeded
generator chooses, with lost answers, lost and repeated stream events, deadlines that pass early,
and a price that jumps. Then everything comes to rest, and the venue's own ledger is the judge.
"""

from __future__ import annotations

import random
from decimal import Decimal
from enum import Enum

import pytest

from milo.commands import Cancel, Command, Enter, LookUp, Place, ReadAccount, WatchStop
from milo.events import AccountEvent, AlgoEvent, LeverageEvent, OrderEvent, StreamReset
from milo.inbox import CoreEvent, Failed, Failure, ReconcileDue, StopOverdue
from milo.model import ExitReason, Side
from tests.order_desk import SYMBOL, Desk
from tests.paper_venue import PaperVenue

ACTIONS = (
    "long(1%risk@10x,sl=2%,rr=3)",
    "short(1%risk@10x,sl=1%,tp=2%)",
    "long(5%margin@5x)",
    "short(2%margin@20x)",
    "close",
    "close(50%)",
)
PARTS = ("0.001", "0.02")
SLIPS = ("-30", "0", "30")
PRICES = ("47000", "48500", "49600", "49990", "50000", "50010", "50600", "51500", "53500")
FAULTS = ("none", "none", "none", "answer lost", "request lost", "request late")
CODES = (-2010, -2019, -2021, -4131, -1111)
STREAM = OrderEvent | AlgoEvent | AccountEvent | LeverageEvent


class Weather(Enum):
    """What else goes wrong, besides lost answers, repeated events and early deadlines."""

    LOSSY = "stream events are lost, and come out of order"
    LATE = "requests that were given up arrive later; orders are refused"
    MORTAL = "the engine dies and starts again; what was under way is lost, or arrives unseen"
    CROWDED = "somebody else reduces the position and cancels orders; orders are refused"


class Storm:
    """Drives a desk by choices; each choice is one small step of the world."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.weather = list(Weather)[seed % len(Weather)]
        self.trace: list[str] = []
        venue = PaperVenue(SYMBOL, Decimal(50_000), has_algo_service=self._random.random() < 0.7)
        venue.names_triggered_orders = self._random.random() < 0.5
        self.desk = Desk(venue=venue)
        self.desk.due.clear()
        self.stream: list[CoreEvent] = []
        self.answers: list[list[CoreEvent]] = []
        self.timers: list[StopOverdue] = []
        self.old: list[CoreEvent] = []
        self.limbo: list[Enter | Place] = []
        self.lost = 0
        self.candle = 0
        self.lives = 0

    def blow(self, steps: int) -> None:
        for _ in range(steps):
            choices = [self._signal, self._price]
            choices += [self._carry_out] * (4 if self.desk.due else 0)
            choices += [self._deliver] * (4 if self.stream else 0)
            choices += [self._answer] * (4 if self.answers else 0)
            choices += [self._deadline] * bool(self.timers)
            choices += [self._repeat] * bool(self.old)
            choices += [self._liquidate] * bool(self.desk.venue.qty)
            match self.weather:
                case Weather.LOSSY:
                    choices += [self._lose] * bool(self.stream)
                case Weather.MORTAL:
                    choices += [self._die]
                    choices += [self._arrive] * bool(self.limbo)
                case Weather.LATE:
                    choices += [self._refuse_next, self._dry_up]
                    choices += [self._arrive] * bool(self.limbo)
                case Weather.CROWDED:
                    choices += [self._refuse_next, self._dry_up]
                    choices += [self._reduce_by_hand] * bool(self.desk.venue.qty)
                    choices += [self._cancel_by_hand] * any(True for _ in self.desk.venue.live())
            choices += [self._fund] * bool(self.desk.venue.qty and not self.stream)
            choices += [self._reset] * bool(self.lost)
            self._random.choice(choices)()

    def rest(self) -> None:
        """Let all that is under way come to its end, without further faults.

        As the engine does at intervals, the account is read once more when all is quiet.
        """
        reconciled = 0
        for _ in range(400):
            self._sort_commands()
            self.desk.venue.refusals.clear()
            self.desk.venue.is_dry = False
            if self.limbo:
                self._arrive()
            elif self.stream:
                self._give(self.stream.pop(0))
            elif self.answers:
                self._answer_from(0)
            elif self.desk.due:
                self._do(self.desk.due.pop(0), fault="none")
            elif self.lost:
                self._reset()
            elif self.timers:
                self._give(self.timers.pop(0))
            elif reconciled < 2:
                reconciled += 1
                self._give(ReconcileDue())
            else:
                return
        raise AssertionError("it never came to rest")

    # --- steps of the world ---------------------------------------------------------------------

    def _give(self, event: CoreEvent) -> None:
        self.trace.append(f"  <- {event}")
        before = len(self.desk.log)
        self.desk.deliver(event)
        for command in self.desk.log[before:]:
            self.trace.append(f"  -> {command}")
        self._sort_commands()

    def _sort_commands(self) -> None:
        for command in self.desk.due:
            if isinstance(command, WatchStop):
                self.timers.append(StopOverdue(symbol=SYMBOL, client_id=command.client_id))
        requests = (Enter, Place, Cancel, LookUp, ReadAccount)
        self.desk.due[:] = [c for c in self.desk.due if isinstance(c, requests)]

    def _signal(self) -> None:
        self.candle += self._random.randrange(2)
        self.desk.venue.now_ms = max(self.desk.venue.now_ms, self.candle * 3_600_000)
        self.trace.append(f"candle {self.candle}")
        self.desk.signal(self._random.choice(ACTIONS), candle=self.candle)
        self._sort_commands()

    def _price(self) -> None:
        price = Decimal(self._random.choice(PRICES))
        self._told(self.desk.venue.move_to(price))

    def _liquidate(self) -> None:
        self._told(self.desk.venue.liquidate())

    def _reduce_by_hand(self) -> None:
        venue = self.desk.venue
        side = Side.SELL if venue.qty > 0 else Side.BUY
        qty = abs(venue.qty) if self._random.random() < 0.5 else Decimal("0.001")
        self._told(venue.trade_by_hand(side, qty))

    def _cancel_by_hand(self) -> None:
        order = self._random.choice(list(self.desk.venue.live()))
        self._told(self.desk.venue.cancel_by_hand(order.client_id))

    def _dry_up(self) -> None:
        """Let orders find less than they want, or all of it again."""
        self.desk.venue.is_dry = not self.desk.venue.is_dry

    def _refuse_next(self) -> None:
        self.desk.venue.refusals[self._random.choice("estcr")] = self._random.choice(CODES)

    def _arrive(self) -> None:
        """Let a request reach the venue that everybody had given up."""
        command = self.limbo.pop(self._random.randrange(len(self.limbo)))
        self.trace.append(f"  arrives {command}")
        self._told([event for event in self.desk.carry_out(command) if isinstance(event, STREAM)])

    def _die(self) -> None:
        """Let the engine die: each request under way is lost, late, or carried out unseen."""
        self.trace.append("  the engine dies")
        for command in self.desk.due:
            fate = self._random.choice(("lost", "late", "carried out"))
            if isinstance(command, Enter | Place) and fate == "late":
                self.limbo.append(command)
            elif isinstance(command, Enter | Place | Cancel) and fate == "carried out":
                self.desk.carry_out(command)
        self.stream.clear()
        self.answers.clear()
        self.timers.clear()
        self.lives += 1
        before = len(self.desk.log)
        read = self.desk.die_and_resume(f"{self.lives}run0run"[-8:])
        for command in self.desk.log[before:]:
            self.trace.append(f"  -> {command}")
        for event in read:
            self._give(event)

    def _fund(self) -> None:
        for event in self.desk.venue.fund(Decimal("0.0001")):
            self._give(event)

    def _carry_out(self) -> None:
        index = self._random.randrange(len(self.desk.due))
        fault = self._random.choice(FAULTS if self.weather is Weather.LATE else FAULTS[:-1])
        self._do(self.desk.due.pop(index), fault=fault)

    def _do(self, command: Command, *, fault: str) -> None:
        self.trace.append(f"  do {command} ({fault})")
        if isinstance(command, Enter | Place) and fault != "none":
            self._send_badly(command, fault)
            return
        if isinstance(command, Enter | Place) and not self.desk.venue.parts:
            count = self._random.randrange(3)
            self.desk.venue.parts = [Decimal(self._random.choice(PARTS)) for _ in range(count)]
            self.desk.venue.slips = [Decimal(self._random.choice(SLIPS)) for _ in range(count)]
        was_protected = self.desk.venue.is_protected
        events = self.desk.carry_out(command)
        if isinstance(command, Cancel) and was_protected and self._belongs_to_trade(command):
            assert self.desk.venue.is_protected, f"{command} took the last stop"
        self._told([event for event in events if isinstance(event, STREAM)])
        answer = [event for event in events if not isinstance(event, STREAM)]
        if answer:
            self.answers.append(answer)

    def _belongs_to_trade(self, command: Cancel) -> bool:
        """Whether a stop of the position that is open, and not being closed, is cancelled."""
        trade, own = self.desk.state.trade, self.desk.state.orders.get(command.client_id)
        is_open = trade is not None and not trade.is_closing and self.desk.venue.qty != 0
        return is_open and own is not None and trade is not None and own.key == trade.key

    def _send_badly(self, command: Enter | Place, fault: str) -> None:
        if fault == "answer lost":
            events = self.desk.carry_out(command)
            self._told([event for event in events if isinstance(event, STREAM)])
        elif fault == "request late":
            self.limbo.append(command)
        lost = Failed(
            symbol=SYMBOL,
            client_id=command.order.client_id,
            failure=Failure.UNKNOWN,
            code=0,
            text="no answer",
        )
        self.answers.append([lost])

    def _told(self, events: list[CoreEvent]) -> None:
        self.stream += events

    def _deliver(self) -> None:
        index = self._random.randrange(min(3, len(self.stream)))
        if self.weather is not Weather.LOSSY:
            kind = type(self.stream[index])
            index = next(i for i, event in enumerate(self.stream) if isinstance(event, kind))
        event = self.stream.pop(index)
        self.old.append(event)
        self._give(event)

    def _lose(self) -> None:
        self.trace.append(f"  lost {self.stream.pop(0)}")
        self.lost += 1

    def _repeat(self) -> None:
        self._give(self._random.choice(self.old))

    def _answer(self) -> None:
        self._answer_from(self._random.randrange(len(self.answers)))

    def _answer_from(self, index: int) -> None:
        answer = self.answers[index]
        self._give(answer.pop(0))
        if not answer:
            self.answers.remove(answer)

    def _deadline(self) -> None:
        self._give(self.timers.pop(self._random.randrange(len(self.timers))))

    def _reset(self) -> None:
        self.lost = 0
        self._give(StreamReset(route="user", reason="was silent"))


def check(storm: Storm) -> None:
    desk, venue = storm.desk, storm.desk.venue
    trade = desk.state.trade
    held = Decimal(0) if trade is None else trade.direction.sign * trade.qty
    assert held == venue.qty
    assert desk.state.foreign_qty == 0
    if venue.qty:
        assert venue.is_protected
    else:
        assert not [order for order in venue.live() if order.type.is_conditional]
    assert desk.profit() == desk.earned()
    assert desk.book.account is not None
    assert desk.book.account.wallet == venue.wallet


@pytest.mark.parametrize("first", range(0, 600, 50))
def test_book_venue_and_money_agree_after_any_storm(first: int) -> None:
    for seed in range(first, first + 50):
        storm = Storm(seed)
        try:
            storm.blow(20 + seed % 60)
            storm.rest()
            check(storm)
        except AssertionError:
            print(f"storm {seed}, {storm.weather.value}", *storm.trace, sep="\n")
            raise


def test_storms_see_stops_targets_reversals_and_liquidations() -> None:
    reasons = set()
    for seed in range(200):
        storm = Storm(seed)
        storm.blow(20 + seed % 60)
        storm.rest()
        reasons |= {row.reason for row in storm.desk.rows()}

    assert reasons == set(ExitReason) - {ExitReason.UNKNOWN, ExitReason.FUNDING}
