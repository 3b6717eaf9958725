"""The guard's room: listens to the engine, holds the lease, and sends what `decide` says.

While the engine holds the lease, nothing is sent. The guard takes over when nothing was heard for
`LEASE_S`, or at once when the connection breaks without a goodbye; it hands back as soon as an
engine says anything again and the guard's own orders under way are answered.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Protocol

from milo.clock import monotonic_s
from milo.errors import Refused, Retryable, StoreError, VenueError
from milo.guard import decide
from milo.guard.decide import (
    Action,
    Answer,
    CancelStop,
    Counts,
    Flatten,
    PlaceStop,
    Result,
    Watched,
)
from milo.guard.lines import (
    MAX_LINE,
    Ack,
    BadLine,
    Beat,
    Bye,
    Hello,
    Message,
    Standing,
    Watch,
    line_of,
    plan_text,
    read_message,
    read_plan,
)
from milo.guard.words import Holder, Plan
from milo.money import plain
from milo.ports import TradingClient

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LEASE_S = 1.0
TICK_S = 0.05
STALL_S = 0.3
"""A tick that comes so late means that this process itself stood still."""
HELLO_TIMEOUT_S = 2.0
ORDER_TIMEOUT_S = 2.4
READ_TIMEOUT_S = 0.9
READ_EVERY_S = 0.2
CALM_READ_EVERY_S = 1.0
CALM_AFTER_S = 3.0
"""So long after the takeover readings become rare: the rate limit is the engine's too."""
CLOCK_EVERY_S = 10.0
"""Asked for the time so often, the connection stays open: a takeover waits for no handshake."""
CLOCK_RETRY_S = 5.0
CLOCK_TIMEOUT_S = 2.0
BANNED = 418
IDLE_END_S = 60.0
GONE_AFTER_S = 10.0
GONE_LOOK_S = 1.0
FORGET_FLAT_S = 60.0


class Client(TradingClient, Protocol):
    """ApiClient, as the guard uses it."""

    @property
    def pause_left_s(self) -> float: ...
    async def sync_clock(self) -> None: ...


class Plans(Protocol):
    """Where the plans survive the guard's own death."""

    def load(self) -> list[tuple[str, int, int]]: ...
    def change(
        self, *, kept: Iterable[tuple[str, str, str, int, int]] = (), dropped: Iterable[str] = ()
    ) -> None: ...


class _Engine:
    """A connection of an engine that has said hello."""

    def __init__(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self.run_id = hello.run
        self.symbols = frozenset(hello.symbols)
        self.writer = writer
        self.last_n = hello.n
        self.has_left = False


class Guard:
    """Watches one venue's account; `run` returns when the guard's work is done."""

    def __init__(
        self,
        *,
        client: Client,
        plans: Plans,
        token: str,
        is_exclusive: bool,
        is_started: bool,
        say: Callable[[str], None],
        is_venue_gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._client = client
        self._store = plans
        self._token = token
        self._is_exclusive = is_exclusive
        self._is_started = is_started
        self._say = say
        self._is_venue_gone = is_venue_gone
        self._plans: dict[str, Plan] = {}
        self._counts: dict[str, Counts] = {}
        self._watched: dict[str, Watched] = {}
        self._engine: _Engine | None = None
        self._holder = Holder.ENGINE
        self._took = 0
        self._heard_s = monotonic_s()
        self._took_s = 0.0
        self._alone_s = monotonic_s()
        self._is_yielding = False
        self._has_parted = False
        """The session that started this guard has ended in order."""
        self._orders_under_way = 0
        self._banned_until_s = 0.0
        self._readings: set[asyncio.Task[None]] = set()
        self._next_read_s = 0.0
        self._poked = asyncio.Event()
        self._ended = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, on_ready: Callable[[int], None]) -> None:
        """Listen on a free port, told to `on_ready`, and watch until the work is done."""
        self._load()
        is_clock_set = await self._set_clock()
        server = await asyncio.start_server(self._serve, HOST, 0, limit=MAX_LINE)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._heard_s = self._alone_s = monotonic_s()
                on_ready(server.sockets[0].getsockname()[1])
                running = [
                    tasks.create_task(self._watch_lease(), name="lease"),
                    tasks.create_task(self._tend(), name="tend"),
                    tasks.create_task(self._keep_clock(is_clock_set), name="clock"),
                ]
                if self._is_venue_gone is not None:
                    running.append(tasks.create_task(self._watch_venue(), name="venue"))
                await self._ended.wait()
                for task in (*running, *self._readings):
                    task.cancel()
        finally:
            self._tasks = None
            server.close()
            if self._engine is not None:
                self._engine.writer.close()

    # --- plans ----------------------------------------------------------------------------------

    def _load(self) -> None:
        for text, stops, closes in self._store.load():
            try:
                plan = read_plan(text)
            except BadLine as error:
                # Of another version, perhaps: better a guard of all other plans than none.
                log.error("plan_unreadable error=%s", error)
                continue
            self._plans[plan.name] = plan
            self._counts[plan.name] = Counts(stops=stops, closes=closes)

    def _keep(self, kept: Iterable[Plan], dropped: Iterable[str] = ()) -> None:
        kept, dropped = list(kept), list(dropped)
        for name in dropped:
            self._plans.pop(name, None)
            self._counts.pop(name, None)
            self._watched.pop(name, None)
        for plan in kept:
            self._plans[plan.name] = plan
        rows = []
        for plan in kept:
            counts = self._counts.setdefault(plan.name, Counts())
            row = (plan.name, plan.run_id, plan_text(plan), counts.stops, counts.closes)
            rows.append(row)
        try:
            self._store.change(kept=rows, dropped=dropped)
        except StoreError as error:
            # What is in memory still protects; only the guard's own death would forget it.
            log.error("plans_not_kept error=%s", error)

    def _replace(self, engine: _Engine, plans: tuple[Plan, ...]) -> None:
        """Take an engine's whole list; of other runs only what it does not answer for stays."""
        names = {plan.name for plan in plans}
        symbols = engine.symbols | {plan.symbol for plan in plans}
        dropped = [
            name
            for name, plan in self._plans.items()
            if name not in names
            and (plan.run_id == engine.run_id or plan.symbol in symbols or _is_safe(plan))
        ]
        changed = [plan for plan in plans if self._plans.get(plan.name) != plan]
        self._keep(changed, dropped)

    # --- the engine's side ----------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine = None
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = read_message(await reader.readline())
            if not isinstance(hello, Hello) or not hmac.compare_digest(hello.token, self._token):
                log.warning("stranger_refused")
                return
            engine = self._welcome(hello, writer)
            await self._listen(engine, reader)
        except (BadLine, OSError, ValueError, TimeoutError) as error:
            log.warning("connection_failed error=%s", error)
        finally:
            writer.close()
            if engine is not None:
                self._lose(engine)

    def _welcome(self, hello: Hello, writer: asyncio.StreamWriter) -> _Engine:
        engine = _Engine(hello, writer)
        before, self._engine = self._engine, engine
        if before is not None:
            before.writer.close()
        self._has_parted = False
        log.info("engine_connected pid=%d run=%s", hello.pid, hello.run)
        self._hear(engine, hello)
        return engine

    async def _listen(self, engine: _Engine, reader: asyncio.StreamReader) -> None:
        while not engine.has_left and (line := await reader.readline()):
            if engine is not self._engine:
                return
            self._hear(engine, read_message(line))

    def _hear(self, engine: _Engine, message: Message) -> None:
        """Take in a message: whatever it is, it renews the lease. Answer it."""
        self._heard_s = monotonic_s()
        engine.last_n = message.n
        if self._holder is Holder.GUARD:
            self._hand_back()
        match message:
            case Watch():
                self._keep([message.plan])
            case Standing():
                self._replace(engine, message.plans)
            case Bye():
                engine.has_left = True
            case Hello() | Beat():
                pass
        self._acknowledge(engine)
        if isinstance(message, Bye):
            self._part(message)

    def _acknowledge(self, engine: _Engine) -> None:
        ack = Ack(n=engine.last_n, holder=self._holder, took=self._took)
        engine.writer.write(line_of(ack))

    def _lose(self, engine: _Engine) -> None:
        if engine is not self._engine:
            return
        self._engine = None
        self._alone_s = monotonic_s()
        if not engine.has_left and not self._ended.is_set():
            log.warning("engine_lost run=%s", engine.run_id)
            self._take_over("the engine's connection broke")

    def _part(self, bye: Bye) -> None:
        """See after what an engine that ends in order leaves behind."""
        self._has_parted = bye.ends_guard and self._is_started
        if self._has_parted and self._is_all_confirmed():
            self._ended.set()
            return
        self._take_over("the engine has ended")

    def _is_all_confirmed(self) -> bool:
        return all(_is_safe(plan) for plan in self._plans.values())

    # --- the lease ------------------------------------------------------------------------------

    async def _watch_lease(self) -> None:
        patient_until_s = 0.0
        while True:
            before_s = monotonic_s()
            await asyncio.sleep(TICK_S)
            now_s = monotonic_s()
            if now_s - before_s > STALL_S:
                # This process stood still: what the engine said meanwhile has to be read first.
                patient_until_s = now_s + STALL_S
            is_over = now_s - self._heard_s > LEASE_S and now_s >= patient_until_s
            if is_over and self._holder is Holder.ENGINE:
                self._take_over(f"nothing heard for {LEASE_S:g} s")
            if is_over and self._must_end(now_s):
                self._ended.set()

    def _take_over(self, why: str) -> None:
        if self._holder is Holder.GUARD:
            # It was about to hand back to an engine that is gone again.
            self._is_yielding = False
            self._poked.set()
            return
        if not self._plans:
            return
        now_s = monotonic_s()
        self._holder = Holder.GUARD
        self._took += 1
        self._took_s = self._next_read_s = now_s
        self._watched = {
            name: decide.take_over(plan, self._counts[name], now_s, is_exclusive=self._is_exclusive)
            for name, plan in self._plans.items()
        }
        log.warning("took_over why=%r plans=%d", why, len(self._plans))
        self._say(f"guard: {why}; watching {len(self._plans)} position(s)")
        self._poked.set()

    def _hand_back(self) -> None:
        """Give the lease back, once the guard's orders under way are answered."""
        for task in self._readings:
            task.cancel()
        self._is_yielding = True
        if not self._orders_under_way:
            self._end_takeover()

    def _end_takeover(self) -> None:
        self._is_yielding = False
        self._holder = Holder.ENGINE
        self._keep_results()
        self._watched = {}
        log.warning("handed_back took=%d", self._took)
        self._say("guard: the engine is back")

    def _keep_results(self) -> None:
        """Keep what came of the plans: the next takeover goes on from there."""
        now_s = monotonic_s()
        flat = [name for name, watched in self._watched.items() if decide.is_flat(watched, now_s)]
        safe = [
            replace(watched.plan, is_stop_confirmed=True, is_entry_open=False)
            for watched in self._watched.values()
            if watched.qty and decide.is_settled(watched, now_s)
        ]
        self._keep(safe, flat)

    def _must_end(self, now_s: float) -> bool:
        if not self._is_started or self._engine is not None or self._is_yielding:
            return False
        if not self._has_parted and now_s - self._alone_s < IDLE_END_S:
            return False
        # After an orderly end a confirmed stop will do, and a simulated position needs no watch
        # for ever; a real one of an engine that died does.
        is_enough = self._has_parted or self._is_venue_gone is not None
        may_leave = decide.is_settled if is_enough else decide.is_flat
        return all(may_leave(watched, now_s) for watched in self._watched.values())

    # --- the takeover ---------------------------------------------------------------------------

    async def _tend(self) -> None:
        while True:
            if self._holder is Holder.GUARD and not self._is_yielding:
                self._act()
                self._read_again()
                pause_s = TICK_S
            else:
                pause_s = 3600.0
            self._poked.clear()
            try:
                async with asyncio.timeout(pause_s):
                    await self._poked.wait()
            except TimeoutError:
                continue

    def _act(self) -> None:
        now_s = monotonic_s()
        if now_s < self._banned_until_s:
            return
        for name, watched in list(self._watched.items()):
            actions = decide.due(watched, now_s)
            for action in actions:
                watched = decide.sent(watched, action, now_s)
            self._watched[name] = watched
            if actions:
                # Their numbers are kept before they are sent.
                self._counts[name] = watched.counts
                self._keep([watched.plan])
            elif decide.is_flat(watched, now_s) and _lasts(watched.flat_s, FORGET_FLAT_S, now_s):
                self._keep((), [name])
            for action in actions:
                self._orders_under_way += 1
                self._go(self._carry_out(name, action))

    def _go(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work)

    async def _carry_out(self, name: str, action: Action) -> None:
        try:
            answer = await self._send(action)
        finally:
            self._orders_under_way -= 1
        watched = self._watched.get(name)
        if watched is not None:
            now_s = monotonic_s()
            self._watched[name] = _after(watched, action, answer, now_s)
        if self._is_yielding and not self._orders_under_way:
            self._end_takeover()
            if self._engine is not None:
                self._acknowledge(self._engine)
        self._poked.set()

    async def _send(self, action: Action) -> Answer:
        try:
            async with asyncio.timeout(ORDER_TIMEOUT_S):
                if isinstance(action, CancelStop):
                    await self._client.cancel_order(
                        action.symbol, action.client_id, is_conditional=True
                    )
                    return Answer(result=Result.TAKEN)
                report = await self._client.place_order(action.order)
        except Refused as error:
            answer = Answer(result=Result.REFUSED, code=error.code)
        except Retryable as error:
            if error.http_status == BANNED:
                # Whoever goes on during a ban is banned for longer.
                self._banned_until_s = monotonic_s() + error.retry_after_ms / 1000
            answer = Answer(result=Result.NOT_SENT, code=error.code)
        except VenueError as error:
            answer = Answer(result=Result.UNKNOWN, code=error.code)
        except TimeoutError:
            answer = Answer(result=Result.UNKNOWN)
        else:
            answer = Answer(result=Result.TAKEN, status=report.status, filled_qty=report.filled_qty)
        if not isinstance(action, CancelStop):
            self._tell(action, answer)
        return answer

    def _tell(self, action: PlaceStop | Flatten, answer: Answer) -> None:
        order = action.order
        log.warning(
            "guard_order symbol=%s type=%s client_id=%s result=%s code=%d",
            order.symbol, order.type, order.client_id, answer.result, answer.code,
        )  # fmt: skip
        if answer.result is not Result.TAKEN:
            return
        if isinstance(action, Flatten):
            self._say(f"guard: {order.symbol} closed at market, {plain(answer.filled_qty)}")
        else:
            assert order.trigger_price is not None
            self._say(f"guard: {order.symbol} stop placed at {plain(order.trigger_price)}")

    # --- readings -------------------------------------------------------------------------------

    def _read_again(self) -> None:
        now_s = monotonic_s()
        if self._readings or now_s < self._next_read_s or self._client.pause_left_s:
            return
        is_calm = now_s - self._took_s > CALM_AFTER_S or all(
            decide.is_settled(watched, now_s) and _lasts(watched.flat_s, CALM_AFTER_S, now_s)
            for watched in self._watched.values()
        )
        self._next_read_s = now_s + (CALM_READ_EVERY_S if is_calm else READ_EVERY_S)
        self._read(self._read_positions())
        for symbol in {watched.plan.symbol for watched in self._watched.values()}:
            self._read(self._read_stops(symbol))
        for name, watched in self._watched.items():
            if decide.may_fill(watched, now_s) and watched.plan.entry_id:
                self._read(self._read_entry(name))

    def _read(self, work: Coroutine[None, None, None]) -> None:
        task = self._go(self._bounded(work))
        self._readings.add(task)
        task.add_done_callback(self._readings.discard)

    async def _bounded(self, work: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await work
        except (VenueError, TimeoutError) as error:
            log.warning("reading_failed error=%r", error)
        else:
            self._poked.set()

    async def _read_positions(self) -> None:
        asked_s = monotonic_s()
        positions = await self._client.positions()
        for name, watched in self._watched.items():
            self._watched[name] = decide.on_position_read(
                watched, positions, asked_s=asked_s, now_s=monotonic_s()
            )

    async def _read_stops(self, symbol: str) -> None:
        asked_s = monotonic_s()
        orders = await self._client.open_orders(symbol)
        for name, watched in self._watched.items():
            if watched.plan.symbol == symbol:
                self._watched[name] = decide.on_stops_read(
                    watched, orders, asked_s=asked_s, now_s=monotonic_s()
                )

    async def _read_entry(self, name: str) -> None:
        plan = self._watched[name].plan
        report = await self._client.query_order(plan.symbol, plan.entry_id, is_conditional=False)
        if name in self._watched:
            self._watched[name] = decide.on_entry_read(self._watched[name], report)

    # --- the venue ------------------------------------------------------------------------------

    async def _keep_clock(self, is_set: bool) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S if is_set else CLOCK_RETRY_S)
            is_set = await self._set_clock()

    async def _set_clock(self) -> bool:
        """Set the venue's clock; where that fails, its refusal of a request sets it later."""
        try:
            async with asyncio.timeout(CLOCK_TIMEOUT_S):
                await self._client.sync_clock()
        except (VenueError, TimeoutError) as error:
            log.warning("clock_not_set error=%r", error)
            return False
        return True

    async def _watch_venue(self) -> None:
        """End once the embedded exchange is gone: then there is nothing left to watch."""
        assert self._is_venue_gone is not None
        missing_s = 0.0
        while missing_s < GONE_AFTER_S:
            await asyncio.sleep(GONE_LOOK_S)
            is_gone = self._engine is None and await self._is_venue_gone()
            missing_s = missing_s + GONE_LOOK_S if is_gone else 0.0
        log.warning("venue_gone")
        self._ended.set()


def _after(watched: Watched, action: Action, answer: Answer, now_s: float) -> Watched:
    match action:
        case PlaceStop():
            return decide.on_stop_answer(watched, answer, now_s)
        case Flatten():
            return decide.on_close_answer(watched, answer, now_s)
        case CancelStop():
            return watched


def _is_safe(plan: Plan) -> bool:
    return plan.is_stop_confirmed and not plan.is_entry_open


def _lasts(since_s: float | None, long_s: float, now_s: float) -> bool:
    """Whether what began then, if it began at all, has gone on for so long."""
    return since_s is None or now_s - since_s >= long_s
