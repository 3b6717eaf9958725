"""Keeps on record what scripts saw and answered, without holding anything up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from milo.backtest.described import candles_sha256
from milo.backtest.session import (
    RecordedEvaluation,
    RecordedHistory,
    RecordedPrice,
    SessionRecord,
)
from milo.candles import Candles
from milo.cli.context import Slot, Store
from milo.clock import VenueClock, monotonic_s
from milo.model import Candle
from milo.script.actions import DO_NOTHING
from milo.store import sessions

if TYPE_CHECKING:
    from milo.cli.plans import Plan
    from milo.events import KlineEvent
    from milo.script.request import AccountView, EvaluationRequest

_WRITTEN_EVERY_S = 5.0
_MOST_WAITING = 1_000


class Evaluated(Protocol):
    """What the script engine tells of an evaluation."""

    @property
    def slot(self) -> Slot: ...
    @property
    def request(self) -> EvaluationRequest: ...
    @property
    def action(self) -> str | None: ...


class SessionRecorder:
    """Collects the records of one run and writes them in batches, after what they led to.

    They protect nothing: a crash may lose the last seconds of them.
    """

    def __init__(self, store: Store, run_id: str, clock: VenueClock) -> None:
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._scripts: dict[tuple[str, str], int] = {}
        self._readers: set[int] = set()
        self._forming: dict[int, tuple[Candle, int]] = {}
        self._closed_ms: dict[int, int] = {}
        self._number = 0
        self._waiting: list[SessionRecord] = []
        self._written_s = monotonic_s()
        self._writing: asyncio.Task[None] | None = None

    async def begin(
        self, plan: Plan, candles: Candles, *, inputs: Mapping[str, float], is_live_loop: bool
    ) -> None:
        """Write down where a script's history starts, before it is evaluated."""
        script = len(self._scripts)
        self._scripts[plan.symbol, plan.timeframe] = script
        if plan.header.reads_account:
            self._readers.add(script)
        known = {item.name for item in plan.header.inputs}
        history = RecordedHistory(
            script=script,
            name=plan.header.name,
            path=str(plan.path.resolve()),
            text_sha256=plan.header.text_sha256,
            inputs={name: value for name, value in inputs.items() if name in known},
            symbol=plan.symbol,
            timeframe=plan.timeframe,
            first_ms=int(candles.open_ms[0]),
            last_ms=int(candles.open_ms[-1]),
            candles_sha256=candles_sha256(candles),
            reads_account=plan.header.reads_account,
            is_live_loop=is_live_loop,
        )
        await self._store.journal(lambda conn: sessions.save_history(conn, self._run_id, history))

    def told(self, event: KlineEvent) -> None:
        """Take in a candle of the stream, before the scripts see it."""
        script = self._scripts.get((event.symbol, event.interval))
        if script is not None:
            self._price(script, event.candle, event.event_ms, is_closed=event.is_closed)

    def closed(self, symbol: str, interval: str, candle: Candle) -> None:
        """Take in a closed candle, unless the stream has told it already: it filled a gap."""
        script = self._scripts[symbol, interval]
        if self._closed_ms.get(script) != candle.open_ms:
            self._price(script, candle, self._clock.now_ms(), is_closed=True)

    def _price(self, script: int, candle: Candle, time_ms: int, *, is_closed: bool) -> None:
        number = self._next()
        if is_closed:
            self._closed_ms[script] = candle.open_ms
        else:
            self._forming[script] = (candle, number)
        self._waiting.append(
            RecordedPrice(
                number=number, script=script, time_ms=time_ms, is_closed=is_closed, candle=candle
            )
        )

    def evaluated(self, evaluated: Evaluated) -> None:
        """Take in an evaluation and what it answered."""
        slot, request = evaluated.slot, evaluated.request
        script = self._scripts[slot.symbol, slot.timeframe]
        forming = request.forming
        newest_ms = int(request.candles.open_ms[-1]) if forming is None else forming.open_ms
        self._waiting.append(
            RecordedEvaluation(
                number=self._next(),
                script=script,
                time_ms=self._clock.now_ms(),
                open_ms=newest_ms,
                price=None if forming is None else self._number_of(script, forming),
                action=evaluated.action,
                account_json=_account_json(request.account) if script in self._readers else None,
            )
        )
        # An order is about to be written down and sent where the script asked for something.
        if evaluated.action == DO_NOTHING:
            self._write_if_due()

    def _number_of(self, script: int, forming: Candle) -> int:
        candle, number = self._forming[script]
        if candle is forming:
            return number
        # A newer state came in while this one was in hand: it stands on record a second time.
        self._price(script, forming, self._clock.now_ms(), is_closed=False)
        self._forming[script] = (candle, number)
        return self._number

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _write_if_due(self) -> None:
        is_due = monotonic_s() - self._written_s >= _WRITTEN_EVERY_S
        if not is_due and len(self._waiting) < _MOST_WAITING:
            return
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        records, self._waiting = self._waiting, []
        self._written_s = monotonic_s()
        if records:
            await self._store.journal(
                lambda conn: sessions.append_records(conn, self._run_id, records)
            )

    async def finish(self) -> None:
        """Write what is left; raises what an earlier writing raised."""
        if self._writing is not None:
            await self._writing
        await self._write()


def _account_json(account: AccountView) -> str:
    return json.dumps(asdict(account))
