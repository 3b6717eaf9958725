"""The one who makes things go wrong: acts on the schedule's faults, and keeps the ledger.

It stands between the REST door and the exchange. Without a schedule it only writes down what
happens. Its time is wall ms since the schedule began in this state folder, so that an exchange
that is restarted goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aiohttp import web

from milo.clock import monotonic_s, wall_fine_ms
from milo.exchange.api import Answer
from milo.exchange.clearing import CutOrder, Slicing
from milo.exchange.fault_answers import answer_of, code_of, pause_s
from milo.exchange.fault_progress import ProgressFile
from milo.exchange.fault_schedule import Schedule
from milo.exchange.faults import UNTROUBLED, Decision, Fault, Faults, Outcome, Turn, kind_of
from milo.exchange.feed import E8
from milo.exchange.fixed import money
from milo.exchange.ledger import Ledger
from milo.exchange.ledger_lines import (
    Line,
    LineMaker,
    answer_line,
    fault_line,
    params_of,
    request_line,
)
from milo.exchange.notices import Notice
from milo.exchange.pace import Pace
from milo.exchange.playing import Player
from milo.exchange.streams import StreamHub

_LOG = logging.getLogger(__name__)
_FLUSH_MS = 200.0
"""How long reordered events wait for one another."""
_LONGEST_SLEEP_S = 0.5

Execute = Callable[[web.Request, bytes, int], Awaitable[Answer]]
"""Carries a request out; the number is the fault that hides what it places, 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to go wrong, and where it is written down."""

    state_dir: Path
    schedule: Schedule | None = None
    ledger: Ledger | None = None
    is_fresh: bool = False
    """True where the schedule begins anew whatever was before."""
    faults: str | None = None
    """What was asked for, as clients are told: profile or file."""
    fault_seed: int = 1


@dataclass(slots=True, kw_only=True)
class _DuePiece:
    cut_order: CutOrder
    at_ms: float


class Troubles:
    """Carries out faults on the exchange, and writes the ledger."""

    def __init__(self, plan: Plan, player: Player, hub: StreamHub, pace: Pace) -> None:
        self._player = player
        self._venue = player.venue
        self._hub = hub
        self._pace = pace
        self._ledger = plan.ledger
        self._lines = LineMaker(self._venue.state.wallet)
        self._began_s = monotonic_s()
        self._progress_file: ProgressFile | None = None
        self._faults = Faults([])
        self._rng = np.random.default_rng(0)
        self.leave: Callable[[], None] = _stay
        """Ends the process at once, as a restart does; set by who owns the process."""
        self.drop_streams: Callable[[], None] = lambda: None
        self._due: list[_DuePiece] = []
        self._flush_ms = 0.0
        self._wake = asyncio.Event()
        player.on_notices = self._on_notices
        if plan.schedule is not None:
            self._load(plan, plan.schedule)

    def _load(self, plan: Plan, schedule: Schedule) -> None:
        self._rng = np.random.default_rng(schedule.seed)
        file = ProgressFile.opened(plan.state_dir, schedule.identity, is_fresh=plan.is_fresh)
        self._progress_file = file
        # Wall time is looked at once: a clock that is set must not move the schedule.
        self._began_s = monotonic_s() - max(0.0, wall_fine_ms() - file.began_ms) / 1000
        self._faults = Faults(schedule.make(), file.progress)

    @property
    def now_ms(self) -> float:
        """Return the schedule's time."""
        return (monotonic_s() - self._began_s) * 1000

    # --- life ---------------------------------------------------------------------------------

    def start(self, pid: int) -> None:
        """Begin, or go on: to be called once, before the first request."""
        state = self._venue.state
        self._write(
            {
                "kind": "start",
                "pid": pid,
                "account": state.account_id,
                "wallet": money(state.wallet),
                "speed": self._pace.shown_speed,
            }
        )
        self._end_restart()
        for turn in self._faults.resume(int(self.now_ms)):
            self._carry_out(turn)
        self._apply()
        self._venue.fill_rests()
        self._player.settle()

    def end(self) -> None:
        """Write that the exchange ends in order."""
        self._write({"kind": "end"})
        self._keep_progress()

    async def run(self) -> None:
        """Do what falls due, for ever."""
        while True:
            self.advance()
            self._fill_due()
            self._flush_held()
            rest_s = self._rest_s()
            self._wake.clear()
            try:
                async with asyncio.timeout(rest_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _rest_s(self) -> float:
        times = [piece.at_ms for piece in self._due]
        next_ms = self._faults.next_ms()
        if next_ms is not None:
            times.append(next_ms)
        if self._hub.disturbance.is_held:
            times.append(self._flush_ms)
        if not times:
            return _LONGEST_SLEEP_S
        return min(_LONGEST_SLEEP_S, max(0.0, (min(times) - self.now_ms) / 1000))

    # --- requests -----------------------------------------------------------------------------

    async def answer(self, request: web.Request, body: bytes, execute: Execute) -> web.Response:
        """Answer a request as the schedule has it, and write both down."""
        path, _, query = request.raw_path.partition("?")
        params = params_of(query.encode("utf-8", "surrogateescape"), body)
        has_key = "X-MBX-APIKEY" in request.headers
        n = 0
        if self._ledger is not None:
            n = self._ledger.next_request()
            self._write(request_line(n, request.method, path, params, has_key=has_key))
        self.advance()
        kind = kind_of(request.method, path, params, has_key=has_key)
        decision = self._decide(kind, n)
        if decision.before_ms:
            await asyncio.sleep(decision.before_ms / 1000)
        answer = await self._executed(request, body, execute, decision)
        if answer is not None and decision.after_ms:
            await asyncio.sleep(decision.after_ms / 1000)
        return self._sent(request, n, answer, decision)

    def _decide(self, kind: str, n: int) -> Decision:
        if not self._faults.active:
            return UNTROUBLED
        decision = self._faults.decide(kind, int(self.now_ms))
        self._write(*(fault_line(fault, "hit", n) for fault in decision.hits))
        for turn in self._faults.take_used_up():
            self._carry_out(turn)
        return decision

    async def _executed(
        self, request: web.Request, body: bytes, execute: Execute, decision: Decision
    ) -> Answer | None:
        """Carry the request out where it is to be; return its answer, None where it was lost."""
        answer = None
        if decision.is_executed:
            hiding = [fault.id for fault in decision.hits if fault.name == "invisible"]
            answer = await execute(request, body, hiding[0] if hiding else 0)
            self._take_new()
        if decision.outcome is Outcome.REPLACED:
            assert decision.fault is not None
            at = self._pace.instant(self._venue.now_ms)
            return answer_of(decision.fault, self.now_ms, at)
        return answer

    def _sent(
        self, request: web.Request, n: int, answer: Answer | None, decision: Decision
    ) -> web.Response:
        """Send the answer, or close the connection without a byte."""
        is_lost = decision.outcome in (Outcome.REQUEST_LOST, Outcome.ANSWER_LOST)
        status = 0 if answer is None else answer.status
        code = 0 if answer is None else code_of(answer)
        self._write(answer_line(n, status=status, code=code, lost=is_lost))
        if answer is None or is_lost:
            if request.transport is not None:
                request.transport.close()
            return web.Response()  # goes nowhere: the connection is closed
        wait_s = pause_s(answer)
        if wait_s:
            until_ms = wall_fine_ms() + wait_s * 1000
            # Who was killed meanwhile has told nobody, and will not.
            is_heard = request.transport is not None and not request.transport.is_closing()
            self._write({"kind": "pause", "until_t": until_ms, "heard": is_heard})
        return web.Response(
            status=answer.status,
            body=answer.body,
            content_type="application/json",
            headers=answer.headers,
        )

    # --- what begins and ends -----------------------------------------------------------------

    def advance(self) -> None:
        """Carry out what began and ended until now."""
        next_ms = self._faults.next_ms()
        if next_ms is None or next_ms > self.now_ms:
            return
        turns = self._faults.advance(int(self.now_ms))
        # A restart ends everything here: what begins at the same time begins before it.
        turns.sort(key=lambda turn: turn.fault.name == "restart")
        for turn in turns:
            self._carry_out(turn)
        self._player.settle()

    def _carry_out(self, turn: Turn) -> None:
        fault = turn.fault
        self._write(fault_line(fault, "begin" if turn.is_begin else "end"))
        self._keep_progress()
        self._apply()
        if turn.is_begin:
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        """Do what a fault does at one moment."""
        match fault.name:
            case "ws_drop":
                self.drop_streams()
            case "funding":
                self._venue.force_funding(round(fault.rate * E8))
            case "liquidation":
                self._venue.force_liquidation()
            case "restart":
                self._restart(fault)

    def _restart(self, fault: Fault) -> None:
        if self._progress_file is not None:
            self._progress_file.note_restart(fault.id, fault.down_ms)
            self._progress_file.save()
        self._player.settle()
        self._player.save()
        _LOG.info("exchange_restarts fault=%d down_ms=%d", fault.id, fault.down_ms)
        self.leave()

    def _end_restart(self) -> None:
        fault_id = 0 if self._progress_file is None else self._progress_file.take_restart()
        if fault_id:
            self._write(fault_line(Fault(id=fault_id, name="restart", at_ms=0), "end"))
            self._keep_progress()

    def _apply(self) -> None:
        """Put the exchange into the state that the open windows mean."""
        faults, venue = self._faults, self._venue
        streams = self._hub.disturbance
        streams.is_silent = bool(faults.named("ws_silence"))
        self._hub.is_market_silent = any(fault.market for fault in faults.named("ws_silence"))
        streams.is_doubled = bool(faults.named("ws_duplicate"))
        streams.refuses = bool(faults.named("ws_drop"))
        was_held, streams.is_held = streams.is_held, bool(faults.named("ws_reorder"))
        if was_held and not streams.is_held:
            self._flush()
        elif streams.is_held and not was_held:
            self._flush_ms = self.now_ms + _FLUSH_MS
        skew_ms = sum(fault.skew_ms for fault in faults.named("clock_skew"))
        venue.skew_ms = int(skew_ms * (self._pace.speed or 1.0))
        slicings = [f for f in faults.named("partial_fill") if not faults.has_had_all(f)]
        venue.clearing.slicing = _slicing_of(slicings[0]) if slicings else None
        stuck = faults.named("stuck_triggering")
        venue.algos.is_stuck = any(not faults.has_had_all(fault) for fault in stuck)
        if not stuck:
            venue.release_stuck()
        for number, fault_id in list(venue.hidden.items()):
            if fault_id not in faults.active:
                del venue.hidden[number]

    # --- what the market does -----------------------------------------------------------------

    def _on_notices(self, notices: list[Notice]) -> None:
        self._write(*self._lines.lines(notices))
        if self._venue.clearing.cut_orders or self._venue.algos.stuck:
            self._take_new()
            self._wake.set()

    def _take_new(self) -> None:
        """Count the orders that were cut up or got stuck, and plan their later pieces."""
        clearing, algos = self._venue.clearing, self._venue.algos
        cut_orders, clearing.cut_orders = clearing.cut_orders, []
        for cut_order in cut_orders:
            slicing = cut_order.slicing
            self._due.append(_DuePiece(cut_order=cut_order, at_ms=self.now_ms + slicing.pause_ms))
            self._count(slicing.fault_id)
        stuck, algos.stuck = algos.stuck, []
        for _ in stuck:
            for fault in self._faults.named("stuck_triggering")[:1]:
                self._count(fault.id)

    def _count(self, fault_id: int) -> None:
        fault = self._faults.active.get(fault_id)
        if fault is None:
            return
        self._faults.hit(fault)
        self._write(fault_line(fault, "hit"))
        if self._faults.has_had_all(fault):
            self._apply()

    def _fill_due(self) -> None:
        """Fill the pieces whose time has come."""
        due = [piece for piece in self._due if piece.at_ms <= self.now_ms]
        for piece in due:
            if self._venue.fill_piece(piece.cut_order):
                piece.at_ms += piece.cut_order.slicing.pause_ms
            else:
                self._due.remove(piece)
        if due:
            self._player.settle()

    def _flush_held(self) -> None:
        if self._hub.disturbance.is_held and self.now_ms >= self._flush_ms:
            self._flush()
            self._flush_ms = self.now_ms + _FLUSH_MS

    def _flush(self) -> None:
        """Send the events that were held back, in another order."""
        streams = self._hub.disturbance
        held, streams.held = streams.held, []
        frames = [(group.connection, delivery) for group in held for delivery in group.deliveries]
        for number in self._rng.permutation(len(frames)):
            connection, delivery = frames[int(number)]
            connection.push(delivery)

    # --- files --------------------------------------------------------------------------------

    def _write(self, *lines: Line) -> None:
        if self._ledger is not None and lines:
            self._ledger.write(self._venue.now_ms, lines)

    def _keep_progress(self) -> None:
        if self._progress_file is not None:
            self._progress_file.save()


def _slicing_of(fault: Fault) -> Slicing:
    return Slicing(fault_id=fault.id, parts=fault.parts, pause_ms=fault.pause_ms, is_dry=fault.dry)


def _stay() -> None:
    """Leave for who cannot: an exchange inside another program."""
