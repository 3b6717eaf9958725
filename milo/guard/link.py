"""The engine's end of the guard: proof that it may send, plans, and a new guard for a dead one.

The engine sends only while it has proof that the guard does not: an answer to a message that it
sent less than `PROOF_S` ago, or the knowledge that no guard runs. The guard's own lease is longer
than that, so the two never send at the same time, even where the engine itself stood still.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Protocol

from milo.clock import monotonic_s, wall_ms
from milo.errors import EngineError, GuardLost
from milo.guard.lines import (
    MAX_LINE,
    BadLine,
    Beat,
    Bye,
    Hello,
    Message,
    Standing,
    Watch,
    line_of,
    read_ack,
)
from milo.guard.words import Holder, Plan

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
BEAT_S = 0.25
PROOF_S = 0.75
SILENCE_S = 1.0
"""A guard that leaves a message unanswered for so long is replaced."""
STALL_S = 0.6
"""A beat that comes so late means that this process itself stood still."""
PATIENCE_S = 0.5
RETRY_S = 0.2


class Address(Protocol):
    """Where a guard listens."""

    @property
    def pid(self) -> int: ...
    @property
    def port(self) -> int: ...
    @property
    def token(self) -> str: ...


class Keeper(Protocol):
    """Finds, starts and ends the guard's process."""

    def find(self) -> Address | None: ...
    def is_gone(self) -> bool: ...
    async def start(self, while_absent: Callable[[float], None]) -> Address: ...
    async def end(self) -> bool: ...


class _Lost(EngineError):
    """The guard does not answer, or its connection is gone."""


class _Conversation:
    """One connection to a guard: what was sent on it, and who waits for an answer."""

    def __init__(
        self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = pid
        self.reader = reader
        self.writer = writer
        self.sent_s: dict[int, float] = {}
        """Messages that are not answered yet, oldest first."""
        self.waiting: dict[int, asyncio.Future[Holder]] = {}

    def close(self) -> None:
        self.writer.close()
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(GuardLost("not sent: the guard was lost"))
                # Whoever waited may have gone; then nobody is left to be told.
                future.exception()


class GuardLink:
    """Connects one run with its venue's guard: `open`, then `run` as a task, `bye` at the end."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        run_id: str,
        pid: int,
        symbols: tuple[str, ...],
        on_problem: Callable[[str], None],
    ) -> None:
        self._keeper = keeper
        self._run_id = run_id
        self._own_pid = pid
        self._symbols = symbols
        self._on_problem = on_problem
        self.on_takeover: Callable[[], None] = _nothing
        """Called when the guard has acted, or may have: read the account again."""
        self.stuck_s: Callable[[], float] = _not_stuck
        """For how long the engine has been at one thing: it does not beat while it hangs."""
        self._talk: _Conversation | None = None
        self._plans: tuple[Plan, ...] | None = None
        self._n = 0
        self._took: int | None = None
        self._proof_s = float("-inf")
        self._news = asyncio.Event()
        self._is_leaving = False
        self._opened = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The guard's process; None while there is none."""
        return None if self._talk is None else self._talk.pid

    # --- for the trade manager ------------------------------------------------------------------

    def may_send(self) -> bool:
        """Return whether the guard sends nothing now: it said so, or is dead."""
        return monotonic_s() - self._proof_s < PROOF_S

    async def until_may_send(self) -> None:
        """Wait until `may_send`."""
        while not self.may_send():
            news = self._news
            await news.wait()

    async def announce(self, plan: Plan) -> None:
        """Tell a plan and wait until the guard has it; GuardLost where it does not say so."""
        talk = self._talk
        if talk is None:
            raise GuardLost("not sent: there is no guard at the moment")
        n = self._send(Watch(n=self._next(), plan=_stamped(plan)))
        try:
            async with asyncio.timeout(SILENCE_S):
                holder = await self._answer(talk, n)
        except TimeoutError:
            raise GuardLost("not sent: the guard does not answer") from None
        if holder is not Holder.ENGINE or not self.may_send():
            raise GuardLost("not sent: the guard has taken over for the moment")

    def standing(self, plans: tuple[Plan, ...]) -> None:
        """Tell the whole list of what must be protected now, and again after each new start."""
        self._plans = plans
        if self._talk is not None:
            self._send(Standing(n=self._next(), plans=tuple(_stamped(plan) for plan in plans)))

    # --- life -----------------------------------------------------------------------------------

    async def stand_by(self) -> None:
        """See to it that a guard runs; one that has taken over goes on until `open`."""
        if self._keeper.find() is None:
            await self._begin_anew()

    async def _begin_anew(self) -> Address:
        if not await self._keeper.end():
            raise EngineError("an old guard hangs and cannot be ended")
        return await self._keeper.start(self._prove)

    async def open(self) -> None:
        """Take the lease from the guard, or from a new one; EngineError where there is none.

        From now on the engine answers for every position: it must be ready to.
        """
        await self._find_or_start()
        self._opened.set()

    async def _find_or_start(self) -> None:
        address = self._keeper.find()
        if address is not None:
            try:
                await self._connect(address)
            except _Lost as lost:
                log.warning("guard_replaced pid=%d why=%s", address.pid, lost)
            else:
                return
        await self._converse_with(await self._begin_anew())

    async def run(self) -> None:
        """Keep the lease from `open` until `bye`; replace a guard that is lost."""
        await self._opened.wait()
        try:
            while not self._is_leaving:
                await self._run_once()
        finally:
            self._hang_up()

    async def _run_once(self) -> None:
        try:
            if self._talk is not None:
                await self._converse(self._talk)
        except* _Lost as group:
            self._mourn(group.exceptions[0])
        self._hang_up()
        if not self._is_leaving:
            await self._replace()
            self.on_takeover()

    def _mourn(self, why: BaseException) -> None:
        if not self._is_leaving:
            log.warning("guard_lost why=%s", why)
            self._on_problem(f"the guard is lost ({why}): starting another")

    async def bye(self, *, ends_guard: bool) -> None:
        """End in order, while `run` still runs: the guard sees after what is not confirmed yet."""
        self._is_leaving = True
        talk = self._talk
        if talk is None:
            return
        n = self._send(Bye(n=self._next(), ends_guard=ends_guard))
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._answer(talk, n)
        except (TimeoutError, GuardLost):
            log.warning("guard_bye_unanswered")
        self._hang_up()

    # --- one connection -------------------------------------------------------------------------

    async def _connect(self, address: Address) -> None:
        try:
            async with asyncio.timeout(SILENCE_S):
                reader, writer = await asyncio.open_connection(HOST, address.port, limit=MAX_LINE)
        except (OSError, TimeoutError) as error:
            raise _Lost(f"cannot connect: {type(error).__name__}") from error
        talk = _Conversation(address.pid, reader, writer)
        self._talk = talk
        try:
            async with asyncio.timeout(SILENCE_S):
                hello = Hello(
                    n=self._next(),
                    token=address.token,
                    run=self._run_id,
                    pid=self._own_pid,
                    symbols=self._symbols,
                )
                self._send(hello)
                await self._hear(talk)
        except (TimeoutError, _Lost) as error:
            self._hang_up()
            raise _Lost("it does not answer") from error
        self._tell_again()

    async def _converse(self, talk: _Conversation) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(talk), name="guard answers")
            tasks.create_task(self._beat(talk), name="guard beats")

    async def _listen(self, talk: _Conversation) -> None:
        while True:
            await self._hear(talk)

    async def _hear(self, talk: _Conversation) -> None:
        """Take in one answer; _Lost where the connection ends."""
        try:
            line = await talk.reader.readline()
            ack = read_ack(line) if line else None
        except (OSError, ValueError, BadLine) as error:
            raise _Lost(str(error)) from error
        if ack is None:
            raise _Lost("its connection broke")
        sent_s = talk.sent_s.pop(ack.n, None)
        if sent_s is not None and ack.holder is Holder.ENGINE:
            self._prove(sent_s)
        future = talk.waiting.pop(ack.n, None)
        if future is not None and not future.done():
            future.set_result(ack.holder)
        self._note_takeovers(ack.took, ack.holder)

    def _note_takeovers(self, took: int, holder: Holder) -> None:
        """Say once the guard has handed back that it acted in between."""
        if holder is Holder.GUARD:
            self._took = -1
        elif took != self._took:
            # The count of a guard that was there before this run says nothing to it.
            is_first = self._took is None
            self._took = took
            if not is_first:
                self._on_problem("the guard had taken over for a while: reading the account")
                self._tell_again()
                self.on_takeover()

    def _tell_again(self) -> None:
        # What the guard found settled it has forgotten.
        if self._plans is not None:
            self.standing(self._plans)

    async def _beat(self, talk: _Conversation) -> None:
        patient_until_s = 0.0
        # `bye` hangs up while this is on its way to be cancelled.
        while talk is self._talk:
            before_s = monotonic_s()
            if self.stuck_s() < PROOF_S:
                self._send(Beat(n=self._next()))
            await asyncio.sleep(BEAT_S)
            now_s = monotonic_s()
            if now_s - before_s > STALL_S:
                # This process stood still: the answers may be waiting to be read.
                patient_until_s = now_s + PATIENCE_S
            oldest_s = next(iter(talk.sent_s.values()), now_s)
            if now_s - oldest_s > SILENCE_S and now_s > patient_until_s:
                raise _Lost(f"no answer for {SILENCE_S:g} s")

    def _next(self) -> int:
        self._n += 1
        return self._n

    def _send(self, message: Message) -> int:
        talk = self._talk
        assert talk is not None
        talk.sent_s[message.n] = monotonic_s()
        talk.writer.write(line_of(message))
        return message.n

    async def _answer(self, talk: _Conversation, n: int) -> Holder:
        future: asyncio.Future[Holder] = asyncio.get_running_loop().create_future()
        talk.waiting[n] = future
        return await future

    def _hang_up(self) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.close()

    def _prove(self, at_s: float) -> None:
        """Remember that the guard was not sending at `at_s`, nor will before its lease is over."""
        self._proof_s = max(self._proof_s, at_s)
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- another guard --------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._converse_with(await self._keeper.start(self._prove))

    async def _converse_with(self, address: Address) -> None:
        """Connect with a guard that has just been started."""
        self._took = None
        await self._connect(address)
        log.info("guard_started pid=%d", address.pid)

    async def _replace(self) -> None:
        """End what is left of the guard and start another, however often it takes."""
        while True:
            if await self._keeper.end():
                self._prove_death()
                try:
                    await self._start()
                except EngineError as error:
                    log.error("guard_not_started error=%s", error)
                    self._on_problem(f"no guard: {error}; nothing is opened meanwhile")
                else:
                    return
            await self._rest()

    async def _rest(self) -> None:
        """Wait a little; without a guard, what protects may go out meanwhile."""
        for _ in range(5):
            self._prove_death()
            await asyncio.sleep(RETRY_S)

    def _prove_death(self) -> None:
        looked_s = monotonic_s()
        if self._keeper.is_gone():
            self._prove(looked_s)


def _stamped(plan: Plan) -> Plan:
    return dataclasses.replace(plan, sent_ms=wall_ms())


def _nothing() -> None:
    return


def _not_stuck() -> float:
    return 0.0
