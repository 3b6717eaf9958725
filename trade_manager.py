"""TradeManager: the one inbox loop, the only writer of the book, the hands of the core.

Decides nothing itself: `milo.orders.step` does. Every event comes through one queue; what the core
answers is written to the journal before it is acted upon; each request leaves as a task and comes
back as an event, so the loop never waits for the venue.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from milo.activity import Activity
from milo.clock import VenueClock, monotonic_s
from milo.commands import (
    Cancel,
    Command,
    Enter,
    LookUp,
    Note,
    Place,
    ReadAccount,
    RecordTrade,
    Trade,
    Verdict,
    WatchStop,
)
from milo.errors import (
    Busy,
    GuardLost,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Retryable,
    VenueError,
)
from milo.events import AccountEvent, OrderEvent
from milo.guard.words import Plan
from milo.inbox import (
    Absent,
    Accepted,
    AccountRead,
    Canceled,
    CoreEvent,
    Failed,
    Failure,
    FillFound,
    FundingFound,
    KillSwitch,
    ReconcileDue,
    Resumed,
    Signal,
    StopOverdue,
    SymbolReady,
    SymbolRules,
)
from milo.intervals import DAY_MS
from milo.model import Fill, NewOrder, OrderReport, PositionReport
from milo.orders.book import Book, CoreConfig
from milo.orders.codec import BOOK, CHECKPOINT, CONFIG, command_kind, encoded, event_kind
from milo.orders.ledger import open_rows
from milo.orders.step import step
from milo.orders.wanted import Wanted, has_news, is_funding_due, wanted_records
from milo.orders.watch import plan_of_entry, plans_of
from milo.ports import Guard, Journal, TradingClient

log = logging.getLogger(__name__)

INBOX_SIZE = 100_000
CHECKPOINT_EVERY = 5_000
"""Journal entries between two books written down whole."""
JOURNAL_BATCH = 200
"""Entries that change nothing at the venue wait for company, this many at most."""
LOOK_UP_DELAYS_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""An order can stay invisible for seconds after it was taken."""
LOOK_UP_PAUSE_S = 0.5
FILLS_PAGE = 1000
WEEK_MS = 7 * DAY_MS
FILLS_REACH_MS = 89 * DAY_MS
PROTECT_RETRY_DELAYS_S = (0.05, 0.1, 0.2, 0.4)
"""Pauses between tries of a protective or closing order, or a cancel, that failed for sure; the
last one again and again, until the outcome is certain."""
RECONCILE_S = 20.0
"""Wall seconds between two readings of the account where nothing else asks for one."""
LISTED_ONE_BY_ONE = 10
"""Up to so many symbols, open orders are asked for symbol by symbol: that costs less."""
READINGS_WINDOW_S = 5.0
READINGS_AT_ONCE = 10
"""So many readings of the account in that time go out at once; more of them are spaced."""
ENTRY_PATIENCE_S = 3.0
LIMITED_PAUSE_S = 1.0
BANNED = 418


class TradeManager:
    """Runs the core on one venue's account; use as: start symbols, `run()` as a task, `submit`."""

    def __init__(
        self,
        *,
        client: TradingClient,
        journal: Journal,
        clock: VenueClock,
        activity: Activity,
        run_id: str,
        config: CoreConfig,
        on_note: Callable[[Note], None],
        resumed: Book | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Trade on from the book `resumed`, which an earlier run left, or from an empty one."""
        self._client = client
        self._journal = journal
        self._clock = clock
        self._activity = activity
        self._config = config
        self._on_note = on_note
        self._guard = guard
        self._told: tuple[Plan, ...] | None = None
        self._inbox: asyncio.Queue[CoreEvent] = asyncio.Queue(maxsize=INBOX_SIZE)
        self._unwritten: list[tuple[int, str, str]] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._closed: list[Trade] = []
        self._busy_since_s: float | None = None
        self._since_checkpoint = 0
        self._read_s: deque[float] = deque()
        self._is_resumed = resumed is not None
        self._book = Book(run_id=run_id) if resumed is None else resumed
        self.orders_sent = 0
        self.fills_seen = 0

    @property
    def book(self) -> Book:
        """The book as it stands; an immutable value."""
        return self._book

    def trades(self) -> tuple[Trade, ...]:
        """Return every row of the run: closed parts in order, then what is still open."""
        return (*self._closed, *open_rows(self._book))

    async def prepare(self, rules: Sequence[SymbolRules]) -> None:
        """Take in the symbols to trade, and read the account; raises where it cannot be read.

        A run that follows another one first takes up what was under way then.
        """
        now_ms = self._clock.now_ms()
        start = ((CONFIG, encoded(self._config)), (BOOK, encoded(self._book)))
        self._unwritten += [(now_ms, kind, body) for kind, body in start]
        await self._flush()
        if self._is_resumed:
            self.submit(Resumed())
        await self.refresh(rules)
        await self._fetch_account()

    async def refresh(self, rules: Sequence[SymbolRules]) -> None:
        """Take in the venue's rules; read the account's own fees and leverage of each symbol."""
        for rule in rules:
            symbol = rule.instrument.symbol
            fees, config = await asyncio.gather(
                self._client.commission_rate(symbol), self._client.symbol_config(symbol)
            )
            self.submit(
                SymbolReady(
                    instrument=rule.instrument,
                    brackets=rule.brackets,
                    fees=fees,
                    config=config,
                    script=rule.script,
                )
            )

    def submit(self, event: CoreEvent) -> None:
        """Put an event in the inbox. Account events are never dropped: a full inbox is an error."""
        self._activity.begin()
        self._inbox.put_nowait(event)

    def stuck_s(self) -> float:
        """Return for how many wall seconds one event has been in hand: the journal may hang."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else monotonic_s() - since_s

    def halt(self, reason: str) -> None:
        """Throw the kill switch: open nothing any more, close every position of ours."""
        self.submit(KillSwitch(reason=reason))

    async def run(self) -> None:
        """Handle events until cancelled; on the way out write what the journal still lacks."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                if self._clock.speed:
                    tasks.create_task(self._reconcile(), name="reconciliation")
                while True:
                    event = await self._inbox.get()
                    self._busy_since_s = monotonic_s()
                    try:
                        await self._handle(event)
                    finally:
                        self._busy_since_s = None
                        self._activity.end()
        finally:
            self._tasks = None
            await asyncio.shield(self._flush())

    async def _reconcile(self) -> None:
        """Ask for a reading of the account at intervals; not in stepped runs, which repeat."""
        while True:
            await asyncio.sleep(RECONCILE_S)
            self.submit(ReconcileDue())

    async def _handle(self, event: CoreEvent) -> None:
        now_ms = self._clock.now_ms()
        if isinstance(event, OrderEvent) and event.fill is not None:
            self.fills_seen += 1
        before = self._book
        self._book, commands = step(before, event, now_ms, self._config)
        if commands or self._book is not before or not isinstance(event, _MAY_BE_SKIPPED):
            self._remember(now_ms, event, commands)
            self._check_point(now_ms)
            self._tell_guard()
        if any(isinstance(command, _OUTGOING) for command in commands) or (
            len(self._unwritten) >= JOURNAL_BATCH
        ):
            await self._flush()
        for command in commands:
            self._act(command)

    def _remember(self, now_ms: int, event: CoreEvent, commands: tuple[Command, ...]) -> None:
        self._unwritten.append((now_ms, event_kind(event), encoded(event)))
        for command in commands:
            self._unwritten.append((now_ms, command_kind(command), encoded(command)))

    async def _flush(self) -> None:
        if self._unwritten:
            entries, self._unwritten = self._unwritten, []
            self._since_checkpoint += len(entries)
            await self._journal.append(entries)

    def _check_point(self, now_ms: int) -> None:
        """Write the whole book down now and then: the next start goes on from there."""
        if self._since_checkpoint >= CHECKPOINT_EVERY:
            self._since_checkpoint = 0
            self._unwritten.append((now_ms, CHECKPOINT, encoded(self._book)))

    def _act(self, command: Command) -> None:
        match command:
            case Verdict():
                pass
            case Note():
                self._on_note(command)
            case RecordTrade():
                self._closed.append(command.trade)
            case WatchStop():
                self._watch(command)
            case Enter():
                self._go(self._enter(command))
            case Place():
                self._go(self._place(command.order))
            case Cancel():
                self._go(self._cancel(command))
            case LookUp():
                self._go(self._look_up(command))
            case ReadAccount():
                self._go(self._read_account(command))

    # --- the guard

    def _tell_guard(self) -> None:
        """Tell the guard what must be protected now, where that has changed."""
        if self._guard is None or self._book.account is None:
            return
        plans = plans_of(self._book)
        if plans != self._told:
            self._told = plans
            self._guard.standing(plans)

    async def _fence(self, order: NewOrder | None = None) -> None:
        """Wait until the guard sends nothing; GuardLost for an entry that it does not watch."""
        if self._guard is None:
            return
        if order is None or order.is_conditional or order.is_reduce_only:
            await self._guard.until_may_send()
            return
        plan = plan_of_entry(self._book, order.symbol, order.client_id)
        if plan is None:
            raise GuardLost("not sent: no plan for its protection")
        await self._guard.announce(plan)

    def _go(self, work: Awaitable[None]) -> None:
        assert self._tasks is not None
        self._activity.begin()
        self._tasks.create_task(self._counted(work))

    async def _counted(self, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._activity.end()

    def _watch(self, command: WatchStop) -> None:
        overdue = StopOverdue(symbol=command.symbol, client_id=command.client_id)
        asyncio.get_running_loop().call_later(command.after_s, self.submit, overdue)

    async def _enter(self, command: Enter) -> None:
        order = command.order
        try:
            # What a strategy wanted some seconds ago may be wrong by now.
            async with asyncio.timeout(ENTRY_PATIENCE_S):
                await self._make_settings(command)
        except TimeoutError:
            error = Busy(f"not sent: its settings took longer than {ENTRY_PATIENCE_S:g} s")
            self._fail(order, Failure.REFUSED, error)
        except VenueError as error:
            self._fail(order, Failure.REFUSED, error)
        else:
            await self._send(order)

    async def _make_settings(self, command: Enter) -> None:
        if command.must_set_isolated:
            await self._client.set_isolated(command.order.symbol)
        if command.leverage is not None:
            await self._client.set_leverage(command.order.symbol, command.leverage)
        if self._book.halted is not None:
            raise Refused(f"not sent: {self._book.halted}")

    async def _place(self, order: NewOrder) -> None:
        """Send a protective or closing order until its outcome is certain, or unknown."""
        for tried in itertools.count():
            try:
                await self._send(order, raises_retryable=True)
            except Retryable as error:
                log.warning("order_retry client_id=%s error=%s", order.client_id, error)
                await asyncio.sleep(_pause_s(tried, error))
            else:
                return

    async def _send(self, order: NewOrder, *, raises_retryable: bool = False) -> None:
        self.orders_sent += 1
        try:
            await self._fence(order)
            report = await self._client.place_order(order)
        except OutcomeUnknown as error:
            self._fail(order, Failure.UNKNOWN, error)
        except Retryable as error:
            self.orders_sent -= 1
            if raises_retryable:
                raise
            self._fail(order, Failure.REFUSED, error)
        except VenueError as error:
            self.orders_sent -= 1
            self._fail(order, Failure.REFUSED, error)
        else:
            self.submit(Accepted(report=report))

    def _fail(self, order: NewOrder, failure: Failure, error: VenueError) -> None:
        log.warning(
            "order_failed symbol=%s client_id=%s outcome=%s code=%s",
            order.symbol, order.client_id, failure, error.code,
        )  # fmt: skip
        self.submit(
            Failed(
                symbol=order.symbol,
                client_id=order.client_id,
                failure=failure,
                code=error.code,
                text=str(error),
            )
        )

    async def _cancel(self, command: Cancel) -> None:
        """Cancel an order, again and again: a cancel that was carried out twice does no harm."""
        for tried in itertools.count():
            try:
                await self._fence()
                await self._client.cancel_order(
                    command.symbol, command.client_id, is_conditional=command.is_conditional
                )
            except OrderNotFound:
                break
            except (Retryable, OutcomeUnknown) as error:
                log.warning("cancel_retry client_id=%s error=%s", command.client_id, error)
                await asyncio.sleep(_pause_s(tried, error))
            except VenueError as error:
                # It may be triggering: the next reading of the account sees what became of it.
                log.warning("cancel_refused client_id=%s error=%s", command.client_id, error)
                return
            else:
                break
        self.submit(Canceled(symbol=command.symbol, client_id=command.client_id))

    async def _look_up(self, command: LookUp) -> None:
        """Ask until the venue answers; absent is what neither its name nor the lists show."""
        not_found = 0
        while True:
            is_last = not_found == len(LOOK_UP_DELAYS_S) - 1
            await asyncio.sleep(LOOK_UP_DELAYS_S[not_found])
            try:
                await self._report_found(command)
            except OrderNotFound:
                not_found += not is_last
                if not is_last or await self._is_listed(command):
                    continue
                break
            except VenueError as error:
                log.warning("look_up_failed client_id=%s error=%s", command.client_id, error)
                await asyncio.sleep(LOOK_UP_PAUSE_S)
            else:
                return
        self.submit(Absent(symbol=command.symbol, client_id=command.client_id))

    async def _is_listed(self, command: LookUp) -> bool:
        """Return whether the order is in the venue's lists, or they could not be read."""
        try:
            listed = await self._client.recent_orders(
                command.symbol, is_conditional=command.is_conditional
            )
            listed += await self._client.open_orders(command.symbol)
        except VenueError as error:
            log.warning("look_up_failed client_id=%s error=%s", command.client_id, error)
            return True
        return any(report.client_id == command.client_id for report in listed)

    async def _report_found(self, command: LookUp) -> None:
        report = await self._client.query_order(
            command.symbol,
            command.client_id,
            is_conditional=command.is_conditional,
            is_urgent=command.is_protective,
        )
        order_id = report.triggered_venue_id if report.is_conditional else report.venue_id
        fills: tuple[Fill, ...] = ()
        if report.filled_qty and order_id:
            fills = await self._client.user_trades(command.symbol, order_id=order_id)
        self.submit(Accepted(report=report))
        for fill in fills:
            self.submit(FillFound(fill=fill))

    async def _read_account(self, command: ReadAccount) -> None:
        log.info("read_account why=%r", command.why)
        await self._space_readings()
        try:
            await self._fetch_account()
        except VenueError as error:
            log.warning("read_account_failed error=%s", error)
            asyncio.get_running_loop().call_later(1.0, self._go_read_account, command)

    async def _space_readings(self) -> None:
        """Let readings follow one another no faster than the limits bear for long."""
        now_s = monotonic_s()
        while self._read_s and now_s - self._read_s[0] > READINGS_WINDOW_S:
            self._read_s.popleft()
        self._read_s.append(now_s)
        if len(self._read_s) > READINGS_AT_ONCE:
            log.warning("readings_spaced count=%d", len(self._read_s))
            await asyncio.sleep(READINGS_WINDOW_S / READINGS_AT_ONCE)

    def _go_read_account(self, command: ReadAccount) -> None:
        if self._tasks is not None:
            self._go(self._read_account(command))

    async def _fetch_account(self) -> None:
        """Read the account; first the newest fills and payments, so that no trade is lost."""
        began_ms = self._clock.now_ms()
        has_funding = is_funding_due(self._book, began_ms)
        found: list[CoreEvent] = []
        for symbol, wanted in wanted_records(self._book).items():
            found += await self._records(symbol, wanted, has_funding=has_funding)
        # Orders before positions: a stop that is listed had a position then, and what is flat
        # afterwards is flat.
        orders = await self._open_orders()
        balance, positions = await asyncio.gather(self._client.balance(), self._client.positions())
        recent = await self._recent_orders(positions)
        for event in sorted(found, key=_time_of):
            self.submit(event)
        self.submit(
            AccountRead(
                balance=balance,
                positions=positions,
                orders=orders,
                recent=recent,
                began_ms=began_ms,
                has_funding=has_funding,
            )
        )

    async def _records(self, symbol: str, wanted: Wanted, *, has_funding: bool) -> list[CoreEvent]:
        """Return the fills and payments of a symbol that may not have been seen."""
        fills = await self._fills(symbol, wanted.fills_ms)
        found: list[CoreEvent] = [FillFound(fill=fill) for fill in fills]
        has_funding = has_funding or has_news(self._book.symbols[symbol], fills)
        if has_funding and wanted.funding_ms is not None:
            paid = await self._client.funding_payments(symbol, start_ms=wanted.funding_ms)
            found += [
                FundingFound(symbol=row.symbol, amount=row.amount, time_ms=row.time_ms)
                for row in paid
            ]
        return found

    async def _fills(self, symbol: str, since_ms: int | None) -> list[Fill]:
        """Return our fills of a symbol since a time, without one the newest.

        The venue tells a week at once, and nothing that is older than three months.
        """
        if since_ms is None:
            return list(await self._client.user_trades(symbol, limit=FILLS_PAGE))
        found: list[Fill] = []
        now_ms = self._clock.now_ms()
        start_ms = max(since_ms, now_ms - FILLS_REACH_MS)
        while start_ms <= now_ms:
            end_ms = start_ms + WEEK_MS - 1
            page = await self._client.user_trades(
                symbol, start_ms=start_ms, end_ms=end_ms, limit=FILLS_PAGE
            )
            found += page
            is_full = len(page) == FILLS_PAGE and page[-1].time_ms > start_ms
            start_ms = page[-1].time_ms if is_full else end_ms + 1
        return found

    async def _open_orders(self) -> tuple[OrderReport, ...]:
        symbols = list(self._book.symbols)
        if not 0 < len(symbols) <= LISTED_ONE_BY_ONE:
            return await self._client.open_orders()
        listed = [await self._client.open_orders(symbol) for symbol in symbols]
        return tuple(report for part in listed for report in part)

    async def _recent_orders(self, positions: Sequence[PositionReport]) -> tuple[OrderReport, ...]:
        """Return the newest orders of symbols with a position that the book does not know."""
        found: tuple[OrderReport, ...] = ()
        for position in positions:
            state = self._book.symbols.get(position.symbol)
            is_known = state is None or state.trade is not None or state.is_entering
            if position.qty and not is_known:
                found += await self._client.recent_orders(position.symbol, is_conditional=False)
        return found


def _time_of(event: CoreEvent) -> int:
    return event.fill.time_ms if isinstance(event, FillFound) else event.time_ms


def _pause_s(tried: int, error: VenueError) -> float:
    """Return the seconds before a protective request is tried again.

    A ban is waited for to its end, which is told; other limits let what protects pass, but do not
    like to be asked too often.
    """
    delay_s = PROTECT_RETRY_DELAYS_S[min(tried, len(PROTECT_RETRY_DELAYS_S) - 1)]
    if not isinstance(error, RateLimited):
        return delay_s
    asked_s = error.retry_after_ms / 1000
    return max(delay_s, asked_s if error.http_status == BANNED else min(asked_s, LIMITED_PAUSE_S))


_OUTGOING = (Enter, Place, Cancel)
"""Commands that change something at the venue: the journal is committed before them."""
_MAY_BE_SKIPPED = (Signal, AccountEvent, FillFound, FundingFound)
"""Events that come in great number and, where nothing follows from them, need no record."""
