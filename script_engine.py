"""ScriptEngine: which script runs on which candle; its answer becomes a signal.

Each script has a mailbox and a task of its own: a slow script delays nobody else. Closed candles
are never skipped; of a forming candle only the newest state waits.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from milo.activity import Activity
from milo.candles import Candles
from milo.charts.trail import ScriptTrail
from milo.clock import iso_minute, monotonic_s
from milo.errors import ScriptError, VenueError
from milo.events import KlineEvent
from milo.inbox import Signal
from milo.intervals import next_open_ms
from milo.model import (
    Candle,
    DistanceKind,
    EntryIntent,
    ExitIntent,
    Intent,
    ScriptHeader,
    ScriptResult,
)
from milo.money import from_float
from milo.script.actions import parse_action
from milo.script.halting import HaltRule
from milo.script.request import AccountView, EvaluationRequest
from milo.ta import atr

log = logging.getLogger(__name__)

FORMING_PAUSE_MS = 1000
"""A forming candle is evaluated at most once in this much exchange time."""
ATR_PERIOD = 14


class Runner(Protocol):
    """Runs one script somewhere safe (ScriptExecutor)."""

    async def evaluate(self, request: EvaluationRequest) -> ScriptResult: ...


@dataclass(slots=True, kw_only=True)
class Slot:
    """One script on one symbol and timeframe, with what it has seen. Owned by ScriptEngine."""

    header: ScriptHeader
    symbol: str
    timeframe: str
    runner: Runner
    candles: Candles
    """Closed ones; grows from the run's fixed start."""
    forming: Candle | None = None
    closed_seen: int = 0
    """Closed candles since the run began."""
    evaluations: int = 0
    errors: int = 0
    signals: int = 0
    is_halted: bool = False
    last_result: ScriptResult | None = None
    trail: ScriptTrail = field(default_factory=ScriptTrail)
    """What the script said, candle by candle, for the chart."""
    mail: deque[KlineEvent] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    last_forming_ms: int = -FORMING_PAUSE_MS
    whole_until_ms: int = 0
    """Up to this open time the venue was asked, and has no candle that we lack."""
    rule: HaltRule = field(default_factory=HaltRule)
    signalled: tuple[int, str] | None = None

    @property
    def name(self) -> str:
        return self.header.name

    @property
    def last_price(self) -> float | None:
        if self.forming is not None:
            return self.forming.close
        return float(self.candles.close[-1]) if len(self.candles) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An evaluation that is over; `action` is None where the script failed."""

    slot: Slot
    request: EvaluationRequest
    action: str | None


class ScriptEngine:
    """Feeds scripts with candles and turns their answers into signals.

    `emit` takes signals; `account` gives the account as scripts see it; `store` keeps one closed
    candle (symbol, interval, candle); `refill` returns the venue's closed candles of (symbol,
    interval) from an open time on; `say` shows a line of a script (slot, line, is_problem).
    """

    def __init__(
        self,
        *,
        emit: Callable[[Signal], None],
        account: Callable[[], AccountView],
        store: Callable[[str, str, Candle], Awaitable[None]],
        refill: Callable[[str, str, int], Awaitable[Sequence[Candle]]],
        say: Callable[[Slot, str, bool], None],
        activity: Activity,
        is_live_loop: bool,
    ) -> None:
        self._emit = emit
        self._account = account
        self._store = store
        self._refill_from = refill
        self._say = say
        self._activity = activity
        self._is_live_loop = is_live_loop
        self.slots: list[Slot] = []
        self.on_closed: Callable[[Slot], None] = lambda slot: None
        """Called after a closed candle was evaluated."""
        self.on_evaluated: Callable[[Evaluated], None] = lambda evaluated: None
        """Called after each evaluation, once its signal is out."""

    def add(
        self,
        *,
        header: ScriptHeader,
        symbol: str,
        timeframe: str,
        runner: Runner,
        candles: Candles,
    ) -> Slot:
        """Take a script in, with its history; before `run`."""
        slot = Slot(
            header=header, symbol=symbol, timeframe=timeframe, runner=runner, candles=candles
        )
        self.slots.append(slot)
        return slot

    def on_kline(self, event: KlineEvent) -> None:
        """Put a candle in the mailbox of the scripts that follow it."""
        for slot in self.slots:
            if slot.symbol == event.symbol and slot.timeframe == event.interval:
                self._post(slot, event)

    def marks(self) -> dict[str, Decimal]:
        """Return the latest price of each symbol that a script follows."""
        prices = {slot.symbol: slot.last_price for slot in self.slots}
        return {symbol: from_float(p) for symbol, p in prices.items() if p is not None}

    async def run(self) -> None:
        """Run every script's loop until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for slot in self.slots:
                tasks.create_task(self._follow(slot), name=f"script {slot.name}")

    async def evaluate_newest(self, slot: Slot) -> ScriptResult | None:
        """Evaluate once on the newest closed candle; None where the script failed."""
        return await self._evaluate(slot, forming=None)

    def _post(self, slot: Slot, event: KlineEvent) -> None:
        if slot.mail and not slot.mail[-1].is_closed:
            # The waiting state of the forming candle is superseded, also by its own close.
            slot.mail[-1] = event
            return
        self._activity.begin()
        slot.mail.append(event)
        slot.wake.set()

    async def _follow(self, slot: Slot) -> None:
        while True:
            await slot.wake.wait()
            slot.wake.clear()
            while slot.mail:
                event = slot.mail.popleft()
                try:
                    await self._on_candle(slot, event)
                finally:
                    self._activity.end()

    async def _on_candle(self, slot: Slot, event: KlineEvent) -> None:
        candle = event.candle
        newest = int(slot.candles.open_ms[-1]) if len(slot.candles) else None
        if newest is not None and candle.open_ms <= newest:
            return
        if newest is not None and candle.open_ms > max(
            next_open_ms(newest, slot.timeframe), slot.whole_until_ms
        ):
            count = await self._refill(slot, newest, before_ms=candle.open_ms)
            slot.whole_until_ms = candle.open_ms
            if count and not event.is_closed and not slot.is_halted:
                # The close that was missed is decided now, as its own candle.
                await self._evaluate(slot, forming=None)
                self.on_closed(slot)
        if event.is_closed:
            await self._on_closed_candle(slot, candle)
            return
        slot.forming = candle
        is_due = event.event_ms - slot.last_forming_ms >= FORMING_PAUSE_MS
        if self._is_live_loop and is_due and not slot.is_halted:
            slot.last_forming_ms = event.event_ms
            await self._evaluate(slot, forming=candle)

    async def _on_closed_candle(self, slot: Slot, candle: Candle) -> None:
        slot.candles = slot.candles.appended(candle)
        slot.forming = None
        slot.closed_seen += 1
        await self._store(slot.symbol, slot.timeframe, candle)
        if not slot.is_halted:
            await self._evaluate(slot, forming=None)
        self.on_closed(slot)

    async def _refill(self, slot: Slot, newest_ms: int, *, before_ms: int) -> int:
        """Append what the venue has between and return how many candles that were.

        Where it has nothing, nothing was traded: that is proof enough of a whole series.
        """
        from_ms = next_open_ms(newest_ms, slot.timeframe)
        count = 0
        while from_ms < before_ms:
            page = await self._read_again(slot, from_ms)
            missed = [candle for candle in page if from_ms <= candle.open_ms < before_ms]
            if not missed:
                break
            for candle in missed:
                slot.candles = slot.candles.appended(candle)
                await self._store(slot.symbol, slot.timeframe, candle)
            slot.closed_seen += len(missed)
            count += len(missed)
            from_ms = next_open_ms(missed[-1].open_ms, slot.timeframe)
        log.info("gap_refilled symbol=%s candles=%s", slot.symbol, count)
        return count

    async def _read_again(self, slot: Slot, from_ms: int) -> Sequence[Candle]:
        while True:
            try:
                return await self._refill_from(slot.symbol, slot.timeframe, from_ms)
            except VenueError as error:
                # No script runs on a series with a hole: keep asking.
                log.warning("refill_failed symbol=%s error=%s", slot.symbol, error)
                await asyncio.sleep(1.0)

    async def _evaluate(self, slot: Slot, *, forming: Candle | None) -> ScriptResult | None:
        candle_ms = _candle_ms(slot, forming)
        if candle_ms is None:
            return None
        request = EvaluationRequest(candles=slot.candles, forming=forming, account=self._account())
        slot.evaluations += 1
        try:
            result = await slot.runner.evaluate(request)
            intent = _intent_of(result.action)
        except ScriptError as error:
            self._on_failure(slot, error, candle_ms)
            self.on_evaluated(Evaluated(slot=slot, request=request, action=None))
            return None
        slot.rule.succeeded()
        slot.last_result = result
        self._show(slot, result, candle_ms, is_forming=forming is not None)
        if intent is not None:
            self._signal(slot, result.action, intent, candle_ms, forming)
        slot.trail.add(candle_ms, result, is_forming=forming is not None)
        self.on_evaluated(Evaluated(slot=slot, request=request, action=result.action))
        return result

    def _show(self, slot: Slot, result: ScriptResult, candle_ms: int, *, is_forming: bool) -> None:
        if is_forming:
            return
        for text in (*result.warnings, *result.prints):
            self._tell(slot, text, candle_ms)

    def _tell(self, slot: Slot, text: str, candle_ms: int) -> None:
        self._say(slot, f"{iso_minute(candle_ms)} {text}", False)

    def _signal(
        self, slot: Slot, action: str, intent: Intent, candle_ms: int, forming: Candle | None
    ) -> None:
        kind = str(intent.direction) if isinstance(intent, EntryIntent) else "close"
        if slot.signalled != (candle_ms, kind):
            slot.signalled = (candle_ms, kind)
            slot.signals += 1
        price = slot.candles.close[-1] if forming is None else forming.close
        self._emit(
            Signal(
                script=slot.name,
                symbol=slot.symbol,
                timeframe=slot.timeframe,
                candle_open_ms=candle_ms,
                is_forming=forming is not None,
                action=action,
                entry=intent if isinstance(intent, EntryIntent) else None,
                exit=intent if isinstance(intent, ExitIntent) else None,
                price=from_float(float(price)),
                atr=_atr(slot.candles) if _needs_atr(intent) else None,
                marks=self.marks(),
            )
        )

    def _on_failure(self, slot: Slot, error: ScriptError, candle_ms: int) -> None:
        slot.errors += 1
        for printed in error.prints:
            self._tell(slot, printed, candle_ms)
        self._say(slot, str(error), True)
        why = slot.rule.failed(monotonic_s(), is_breach=error.breach, is_security=error.security)
        if why:
            self._halt(slot, why)

    def _halt(self, slot: Slot, why: str) -> None:
        slot.is_halted = True
        self._say(
            slot,
            f"halted after {why}: it is not run again before Milo is started anew; "
            "its protective orders stay",
            True,
        )


_intent_of = functools.lru_cache(maxsize=256)(parse_action)


def _candle_ms(slot: Slot, forming: Candle | None) -> int | None:
    if forming is not None:
        return forming.open_ms
    return int(slot.candles.open_ms[-1]) if len(slot.candles) else None


def _needs_atr(intent: Intent) -> bool:
    if not isinstance(intent, EntryIntent):
        return False
    distances = (intent.stop, intent.target)
    return any(d is not None and d.kind is DistanceKind.ATR for d in distances)


def _atr(candles: Candles) -> Decimal | None:
    values = atr(candles.high, candles.low, candles.close, ATR_PERIOD)
    newest = float(values[-1]) if len(values) else float("nan")
    return from_float(newest) if newest == newest else None
