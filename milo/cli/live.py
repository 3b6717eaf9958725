"""A running script session: streams in, scripts evaluated, orders out, until something ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from milo.activity import Activity
from milo.cli import backfill
from milo.cli.context import App, Engine, Manager, Slot, Streams
from milo.cli.journal import RunJournal
from milo.cli.kill_switch import KillSwitchWatch
from milo.cli.operator import Operator
from milo.cli.plans import Plan
from milo.cli.recorder import SessionRecorder
from milo.cli.stepping import Stepper
from milo.cli.venue import OpenVenue
from milo.clock import monotonic_s
from milo.commands import Note
from milo.errors import EngineError, VenueError
from milo.events import (
    USER_ROUTE,
    AccountEvent,
    AlgoEvent,
    IgnoredEvent,
    KlineEvent,
    LeverageEvent,
    ListenKeyExpired,
    OrderEvent,
    StreamReset,
)
from milo.guard.link import GuardLink
from milo.inbox import NO_SCRIPT, Signal, SymbolRules
from milo.intervals import open_of
from milo.model import Candle
from milo.money import ZERO
from milo.orders.book import Account, Book, CoreConfig
from milo.orders.ledger import open_rows
from milo.script.request import AccountView, PositionView
from milo.store import instruments, klines
from milo.wire.streams import kline_stream

log = logging.getLogger(__name__)

STREAM_TIMEOUT_S = 15.0
KEEP_ALIVE_S = 30 * 60.0
"""The listen key lives an hour."""
SETTLE_S = 0.3
"""Without stepping: this long nothing must happen before a run counts as settled."""
SETTLE_LIMIT_S = 10.0
SILENCE_S = 30.0
EXCHANGE_GONE_S = 10.0
"""An embedded exchange that has not answered for so long has ended."""
DAY_S = 24 * 3600.0


class LiveSession:
    """Wires one run together; `run` returns when it has ended."""

    def __init__(
        self,
        app: App,
        venue: OpenVenue,
        plans: Sequence[Plan],
        *,
        run_id: str,
        journal: RunJournal,
        operator: Operator,
        resumed: Book | None = None,
        guard: GuardLink | None = None,
        kill_asked: asyncio.Event,
    ) -> None:
        self._app = app
        self._venue = venue
        self._plans = plans
        self._operator = operator
        self._activity = Activity()
        self._ended = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._last_stream_s = monotonic_s()
        self.last_market_s: float | None = None
        self.start_wallet = ZERO
        self.carried = ZERO
        """What open positions had realised, less fees, before this run took them up."""
        if resumed is not None:
            self.carried = sum((row.profit for row in open_rows(resumed)), ZERO)
        loop_kind = app.arguments.loop
        self.manager: Manager = app.make.manager(
            client=venue.client,
            journal=journal,
            clock=venue.clock,
            activity=self._activity,
            run_id=run_id,
            config=CoreConfig(
                venue_expires_brackets=venue.dialect.has_algo_service,
                may_trade=not venue.is_real or app.config.live,
                max_daily_loss=app.config.max_daily_loss / 100,
                max_open_positions=app.config.max_positions,
                max_entry_risk=app.config.max_risk / 100,
                max_leverage=app.config.max_leverage,
                allowed_symbols=app.config.symbols or (),
            ),
            on_note=self._on_note,
            resumed=resumed,
            guard=guard,
        )
        self._guard = guard
        if guard is not None:
            guard.on_takeover = self._on_takeover
            guard.stuck_s = self.manager.stuck_s
        self._kill_switch = KillSwitchWatch(self.manager, operator, app.config.data_dir, kill_asked)
        self.engine: Engine = app.make.engine(
            emit=self._on_signal,
            account=self.account_view,
            store=self._store_candle,
            refill=self._refill,
            say=operator.script_line,
            activity=self._activity,
            is_live_loop=loop_kind == "live",
        )
        self.engine.on_closed = self._on_closed
        self.recorder = SessionRecorder(venue.store, run_id, venue.clock)
        self.engine.on_evaluated = self.recorder.evaluated
        self._streams: Streams = app.make.streams(
            dialect=venue.dialect,
            ws_url=venue.ws_url,
            clock=venue.clock,
            silence_s=None if venue.exchange is not None else SILENCE_S,
            labelled=venue.is_stepped,
        )
        self._stepper = Stepper(self._streams, self._activity) if venue.is_stepped else None
        self.slots: list[Slot] = []

    @property
    def venue(self) -> OpenVenue:
        return self._venue

    @property
    def isolations(self) -> dict[str, str]:
        """How each script's process is locked in."""
        return {plan.header.name: plan.isolation_line for plan in self._plans}

    @property
    def unisolated(self) -> str | None:
        """Why a script's process is not locked in; None where all are."""
        found = (plan.header.isolation for plan in self._plans)
        return next((one.text for one in found if one is not None and not one.is_isolated), None)

    @property
    def operator(self) -> Operator:
        return self._operator

    async def prepare(self) -> None:
        """Load histories and the account, open the streams."""
        config = self._app.config
        for plan in self._plans:
            await backfill.fill(self._venue, plan.symbol, plan.timeframe, count=config.history)
            candles = await backfill.load(
                self._venue, plan.symbol, plan.timeframe, count=config.history
            )
            if not len(candles):
                raise EngineError(f"no closed {plan.timeframe} candles of {plan.symbol} yet")
            slot = self.engine.add(
                header=plan.header,
                symbol=plan.symbol,
                timeframe=plan.timeframe,
                runner=plan.executor,
                candles=candles,
            )
            self.slots.append(slot)
            await self.recorder.begin(
                plan,
                candles,
                inputs=self._app.arguments.inputs,
                is_live_loop=self._app.arguments.loop == "live",
            )
            self._operator.say_history(slot)
        # The user stream first: nothing that happens to an order may be missed.
        self._streams.open_user(await self._venue.client.new_listen_key())
        if self._app.arguments.loop is not None:
            self._streams.open_market(
                sorted({kline_stream(plan.symbol, plan.timeframe) for plan in self._plans})
            )
        await self._streams.wait_open(STREAM_TIMEOUT_S)
        await self.manager.prepare(await self._read_rules())

    async def run(self) -> None:
        """Run until the candles, the seconds or the market's data are used up."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                running = [tasks.create_task(self.manager.run(), name="trade manager")]
                self.start_wallet = (await self._account()).wallet
                await self._take_lease()
                running += [
                    tasks.create_task(self.engine.run(), name="script engine"),
                    tasks.create_task(self._pump(), name="stream pump"),
                    tasks.create_task(self._keep_alive(), name="listen key"),
                    tasks.create_task(self._keep_house(), name="housekeeping"),
                    tasks.create_task(self._kill_switch.run(), name="kill switch"),
                ]
                await self._until_ended(tasks)
                for task in running:
                    task.cancel()
        finally:
            await asyncio.shield(self.recorder.finish())
            await self._streams.close()

    async def _take_lease(self) -> None:
        """Take over from the guard: from here on this process answers for the positions."""
        if self._guard is not None:
            await self._guard.open()
            self._operator.say(f"guard: process {self._guard.pid}")

    def end(self) -> None:
        """Let the run end; what is under way is finished first."""
        self._ended.set()

    async def _account(self) -> Account:
        """Return the account once the core has taken it in; no script runs before."""
        while (account := self.manager.book.account) is None:  # noqa: ASYNC110 - a few ms, once
            await asyncio.sleep(0.002)
        return account

    async def _until_ended(self, tasks: asyncio.TaskGroup) -> None:
        if self._app.arguments.loop is None:
            for slot in self.slots:
                result = await self.engine.evaluate_newest(slot)
                self._operator.say_result(slot, result)
        else:
            await self._loop(tasks)
        await self._until_settled()

    async def _loop(self, tasks: asyncio.TaskGroup) -> None:
        seconds = self._app.config.seconds
        stepping = None
        if self._stepper is not None and self._venue.exchange is not None:
            stepper, exchange = self._stepper, self._venue.exchange
            stepping = tasks.create_task(
                stepper.run(exchange, self._venue.clock, self._ended), name="stepper"
            )
        elif self._venue.exchange is not None:
            stepping = tasks.create_task(self._watch_exchange(), name="exchange watch")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        self._ended.set()
        if stepping is not None and self._stepper is None:
            stepping.cancel()
        elif stepping is not None:
            await stepping

    async def _watch_exchange(self) -> None:
        """End the run when a replayed market has no more candles, or the exchange is gone.

        One that is started again after a crash is missing for a moment only.
        """
        exchange = self._venue.exchange
        assert exchange is not None
        missing_since_s: float | None = None
        while True:
            await asyncio.sleep(1.0)
            try:
                status = await exchange.status()
            except EngineError as error:
                missing_since_s = missing_since_s or monotonic_s()
                if monotonic_s() - missing_since_s >= EXCHANGE_GONE_S:
                    raise
                log.warning("exchange_missing error=%s", error)
                continue
            missing_since_s = None
            if status["finished"]:
                self._operator.say("the market's data is used up")
                self.end()
                return

    async def _until_settled(self) -> None:
        """Wait until nothing is under way and every stream event that is coming has come."""
        if self._stepper is not None and self._venue.exchange is not None:
            await self._stepper.settle(self._venue.exchange)
            return
        deadline_s = monotonic_s() + SETTLE_LIMIT_S
        quiet_since_s = monotonic_s()
        while monotonic_s() < deadline_s:
            is_at_work = not self._activity.is_idle or self._venue.client.in_flight > 0
            busy = is_at_work or not self.manager.book.is_calm
            last_s = max(quiet_since_s, self._last_stream_s)
            if busy:
                quiet_since_s = monotonic_s()
            elif monotonic_s() - last_s >= SETTLE_S:
                return
            await asyncio.sleep(0.02)
        if not self.manager.book.is_calm:
            self._operator.problem("ending while orders are under way: look at --listopenpositions")

    async def _pump(self) -> None:
        while True:
            item = await self._streams.next()
            self._dispatch(item.event)
            self._streams.consumed(item)
            if self._stepper is not None:
                self._stepper.poke()

    def _dispatch(self, event: Any) -> None:
        match event:
            case KlineEvent() if self._ended.is_set():
                # The run is ending: what is under way is finished, nothing new is decided.
                pass
            case KlineEvent():
                self.last_market_s = monotonic_s()
                self._follow_clock(event.event_ms)
                self.recorder.told(event)
                self.engine.on_kline(event)
            case OrderEvent() | AlgoEvent() | AccountEvent() | LeverageEvent():
                self._last_stream_s = monotonic_s()
                self._follow_clock(event.event_ms)
                self.manager.submit(event)
            case ListenKeyExpired():
                self._operator.problem("the listen key expired: opening the user stream again")
                self._renew_user_stream()
            case StreamReset():
                self._operator.problem(f"{event.route} stream: {event.reason}; reading again")
                if event.route == USER_ROUTE:
                    self.manager.submit(event)
            case IgnoredEvent():
                pass

    def _follow_clock(self, event_ms: int) -> None:
        if self._venue.exchange is not None:
            self._venue.clock.advance_to(event_ms)

    def _renew_user_stream(self) -> None:
        assert self._tasks is not None
        self._tasks.create_task(self._open_user_again(), name="user stream")

    async def _open_user_again(self) -> None:
        while True:
            try:
                self._streams.open_user(await self._venue.client.new_listen_key())
            except VenueError as error:
                log.warning("listen_key_failed error=%s", error)
                await asyncio.sleep(1.0)
                continue
            self.manager.submit(StreamReset(route=USER_ROUTE, reason="listen key renewed"))
            return

    async def _keep_alive(self) -> None:
        speed = self._venue.clock.speed or 1.0
        while True:
            await asyncio.sleep(max(KEEP_ALIVE_S / speed, 0.5))
            client = self._venue.client
            try:
                await client.keep_listen_key(await client.new_listen_key())
                if self._venue.exchange is None:
                    await client.sync_clock()
            except VenueError as error:
                log.warning("keep_alive_failed error=%s", error)

    async def _keep_house(self) -> None:
        """Once a day: read the exchange's rules again, and tidy the database."""
        while True:
            await asyncio.sleep(DAY_S)
            try:
                await self.manager.refresh(await self._read_rules())
            except VenueError as error:
                log.warning("refresh_failed error=%s", error)
            await self._venue.store.maintain_daily()

    async def _read_rules(self) -> list[SymbolRules]:
        """Read the exchange's rules, store them all, and return those of the scripts' symbols."""
        client, store = self._venue.client, self._venue.store
        now_ms = self._venue.clock.now_ms()
        known = await client.exchange_info()
        brackets = await client.leverage_brackets()
        await store.write(
            lambda conn: instruments.save_instruments(conn, known.values(), refreshed_ms=now_ms)
        )
        await store.write(
            lambda conn: instruments.save_brackets(conn, brackets, refreshed_ms=now_ms)
        )
        for plan in self._plans:
            if plan.symbol not in known or plan.symbol not in brackets:
                raise EngineError(f"{self._venue.name} does not trade {plan.symbol} any more")
        scripts = {plan.symbol: plan.header.name for plan in self._plans}
        for symbol in await self._held():
            if symbol in known and symbol in brackets:
                scripts.setdefault(symbol, NO_SCRIPT)
        return [
            SymbolRules(instrument=known[symbol], brackets=brackets[symbol], script=script)
            for symbol, script in scripts.items()
        ]

    async def _held(self) -> list[str]:
        """Return the symbols with a position: one that is ours is seen after, whoever opened it."""
        positions = await self._venue.client.positions()
        return sorted(position.symbol for position in positions if position.qty)

    def _on_takeover(self) -> None:
        """Read everything again: the guard may have placed a stop, or closed a position."""
        self.manager.submit(StreamReset(route=USER_ROUTE, reason="the guard had taken over"))

    def _on_signal(self, signal: Signal) -> None:
        self.manager.submit(signal)

    def _on_note(self, note: Note) -> None:
        self._operator.note(note)

    def _on_closed(self, slot: Slot) -> None:
        wanted = self._app.config.candles
        if wanted is not None and self.slots[0].closed_seen >= wanted:
            self.end()

    def account_view(self) -> AccountView:
        """Return the account as scripts may see it."""
        book = self.manager.book
        marks: Mapping[str, Decimal] = self.engine.marks()
        rows = []
        for symbol, state in book.symbols.items():
            trade = state.trade
            if trade is None:
                continue
            mark = marks.get(symbol, trade.entry_price)
            profit = trade.direction.sign * trade.qty * (mark - trade.entry_price)
            rows.append(
                PositionView(
                    symbol=symbol,
                    side=str(trade.direction),
                    qty=float(trade.qty),
                    entry_price=float(trade.entry_price),
                    unrealized_pnl=float(profit),
                    stop=_float(trade.stop_price),
                    take=_float(trade.target_price),
                )
            )
        available = ZERO if book.account is None else book.account.available
        return AccountView(available_balance=float(available), positions=tuple(rows))

    async def _store_candle(self, symbol: str, interval: str, candle: Candle) -> None:
        self.recorder.closed(symbol, interval, candle)
        row = (candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume)
        await self._venue.store.write(
            lambda conn: klines.upsert_klines(conn, symbol, interval, [row])
        )

    async def _refill(self, symbol: str, interval: str, from_ms: int) -> list[Candle]:
        rows = await self._venue.client.klines(symbol, interval, start_ms=from_ms, limit=499)
        before_ms = open_of(self._venue.clock.now_ms(), interval)
        return [Candle(*row[:6]) for row in rows if row[0] < before_ms]


def _float(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
