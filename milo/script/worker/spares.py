"""Workers that stand ready without a script, for all scripts of a process (a room).

To start a worker takes longer than to load a script into it, so that the one which takes over from
a killed worker stands there before. They are few, whatever the number of scripts, and no more start
at once than there are processors: a start has a deadline.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from typing import Final

from milo.script.limits import MAX_MESSAGE, ScriptLimits
from milo.script.protocol import Fault, Ready
from milo.script.text import clean_line
from milo.script.worker.process import SECURITY_EVENT, Budget, WorkerFailure, WorkerProcess
from milo.script.worker.spawn import Spawned

_log = logging.getLogger(__name__)

MOST_SPARES: Final = 2
"""Two scripts that must be stopped on the same candle are both replaced at once."""


class Spares:
    """Starts workers, and keeps some in reserve while somebody uses it. One event loop only.

    Users `join` and `leave`; when the last one leaves, the spare workers are killed.
    """

    def __init__(
        self,
        *,
        limits: ScriptLimits | None = None,
        most: int = MOST_SPARES,
        early: list[Spawned] | None = None,
    ) -> None:
        """Keep `most` in reserve at the most. `early`: workers that are starting already.

        What is taken over of them is taken out of the list.
        """
        limits = limits or ScriptLimits()
        self._memory_mb = limits.memory_mb
        self._budget = Budget(cpu_ms=None, wall_s=limits.start_wall_s)
        self._most = most
        self._early = [] if early is None else early
        self._users = 0
        self._spares: deque[asyncio.Task[WorkerProcess]] = deque()
        self._filling: asyncio.TimerHandle | None = None
        self._places = asyncio.Semaphore(os.cpu_count() or 1)

    @property
    def memory_mb(self) -> int:
        return self._memory_mb

    @property
    def pids(self) -> list[int]:
        """The processes that stand ready now."""
        done = [task for task in self._spares if task.done() and not task.cancelled()]
        return [task.result().pid for task in done if task.exception() is None]

    def join(self) -> None:
        """Begin to use it."""
        self._users += 1

    async def leave(self) -> None:
        """End using it; whoever is the last waits until the spare workers are gone."""
        self._users -= 1
        if self._users > 0:
            return
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        spares, self._spares = self._spares, deque()
        for task in spares:
            task.cancel()
        if spares:
            await asyncio.wait(spares)
        for task in spares:
            if not task.cancelled() and task.exception() is None:
                process = task.result()
                process.kill("closed")
                await process.reap()

    def fill(self, *, after_s: float = 0.0) -> None:
        """Begin to start what is missing in the reserve, after a while; returns at once."""
        if self._filling is not None or len(self._spares) >= min(self._most, self._users):
            return
        if after_s > 0:
            self._filling = asyncio.get_running_loop().call_later(after_s, self._fill)
        else:
            self._fill()

    def _fill(self) -> None:
        self._filling = None
        while len(self._spares) < min(self._most, self._users):
            task = asyncio.get_running_loop().create_task(self.start(), name="spare script worker")
            task.add_done_callback(_note_failure)
            self._spares.append(task)

    async def take(self, memory_mb: int | None = None) -> WorkerProcess:
        """Return a worker without a script: a spare one, or one that is started now.

        `memory_mb`: where it needs more than the others have. Raises WorkerFailure where none can
        be started. It is the caller's from now on.
        """
        if memory_mb is not None and memory_mb > self._memory_mb:
            return await self.start(memory_mb)
        while self._spares:
            task = self._spares.popleft()
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                self._spares.appendleft(task)
                raise
            if task.cancelled() or task.exception() is not None:
                continue
            process = task.result()
            if process.failure is None:
                return process
            # Somebody else has killed it while it stood there.
            await process.reap()
        return await self.start()

    async def start(self, memory_mb: int | None = None) -> WorkerProcess:
        """Start a worker and wait until it is ready; raises WorkerFailure where it cannot."""
        try:
            return await self._start(memory_mb or self._memory_mb)
        except WorkerFailure as failure:
            failure.is_breach = False
            raise

    async def _start(self, memory_mb: int) -> WorkerProcess:
        async with self._places:
            try:
                process = WorkerProcess(memory_mb=memory_mb, spawned=self._early_one(memory_mb))
            except OSError as error:
                raise WorkerFailure(f"the script's process cannot start: {error}") from error
            try:
                reply, _ = await process.ask(0, b"", self._budget)
                if isinstance(reply, Fault):
                    raise WorkerFailure(clean_line(reply.message, MAX_MESSAGE))
                if not isinstance(reply, Ready):
                    raise WorkerFailure(f"the worker sent what is no answer {SECURITY_EVENT}")
                process.ready = reply
            except BaseException:
                process.kill("not started")
                await process.reap()
                raise
            return process

    def _early_one(self, memory_mb: int) -> Spawned | None:
        """Return a worker that is starting already and may use as much."""
        for place, spawned in enumerate(self._early):
            if spawned.memory_mb >= memory_mb:
                return self._early.pop(place)
        return None


def _note_failure(task: asyncio.Task[WorkerProcess]) -> None:
    # The next one who needs a worker tries again, and is told.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("spare_worker_failed error=%s", error)
