"""One worker process as the engine sees it: start, ask, measure, kill, reap (a room).

On end of file, a bad frame, a wrong number or a passed deadline the process is killed first and
reaped afterwards: a process that has closed its pipe may still be running. One that has spent its
budget is asked, by a signal, at which line it is, and killed a moment later whatever it says.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from milo.script.protocol import (
    MAX_REPLY_BYTES,
    FrameError,
    FrameReader,
    Ready,
    Reply,
    parse_reply,
)
from milo.script.worker.spawn import Spawned, spawn

_READ_BYTES: Final = MAX_REPLY_BYTES + 4096
_SHORTEST_WATCH_S: Final = 0.005
_CPU_HEADROOM_S: Final = 60
_REAP_S: Final = 10.0
_LAST_WORDS_S: Final = 0.05
_LAST_WORDS_BYTES: Final = 16 * 1024
# A script's frame in what faulthandler writes; `<frozen ...>` is the interpreter's own.
_SCRIPT_FRAME: Final = re.compile(rb'File "<(?!frozen )[^\n]*>", line ([0-9]{1,7}) in')

SECURITY_EVENT: Final = "(security event)"
"""Stands in the reason where a worker did what no script of the language can make it do."""

_log = logging.getLogger(__name__)


Parts = Sequence[bytes | memoryview]
"""Frames, cut anywhere."""


class WorkerFailure(Exception):
    """The worker overran a budget, broke the protocol or died; it has been killed.

    `text` is the reason for a person. `is_silent_end`: it ended while nobody asked it anything.
    `line`: the script's line at which it says it was; None where it did not. `is_breach` is False
    where no script can be blamed, as none was in it yet.
    """

    def __init__(self, text: str, *, is_silent_end: bool = False, line: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.is_silent_end = is_silent_end
        self.line = line
        self.is_breach = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one request may use; `cpu_ms` None where only the wall counts (our own start-up)."""

    cpu_ms: int | None
    wall_s: float


@dataclass(slots=True)
class _Pending:
    number: int
    answer: asyncio.Future[Reply]
    budget: Budget
    deadline_s: float
    cpu_start_ms: float | None
    watch: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Ending:
    """A worker whose budget is spent, in the moment in which it may say where it is."""

    text: str
    timer: asyncio.TimerHandle
    words: bytearray = field(default_factory=bytearray)

    def line(self) -> int | None:
        found = _SCRIPT_FRAME.search(self.words)
        return None if found is None else int(found[1])


class WorkerProcess:
    """A running worker. To be made and used on one event loop, in the thread that made it.

    The kernel kills the worker when that thread ends (see milo.script.worker.confine).
    """

    def __init__(
        self, *, memory_mb: int, is_trial: bool = False, spawned: Spawned | None = None
    ) -> None:
        """Start the process; returns before it is ready. Raises OSError where it cannot start.

        `is_trial`: it tries to break out instead of serving (see milo.script.worker.trial).
        `spawned`: one that is starting already, in its stead; it is ours from now on.
        """
        self._loop = asyncio.get_running_loop()
        if spawned is None:
            spawned = spawn(memory_mb, "trial" if is_trial else "worker")
        self.memory_mb = spawned.memory_mb
        """What it may use above what it needs for itself."""
        self._process = spawned.process
        self._to_worker, self._from_worker = spawned.to_worker, spawned.from_worker
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self._outbox: deque[memoryview] = deque()
        self._pending: deque[_Pending] = deque()
        self._cpu_ceiling_s = 0.0
        self._ending: _Ending | None = None
        self.failure: WorkerFailure | None = None
        self.ready: Ready | None = None
        """What it said when it stood; None before."""
        self._loop.add_reader(self._from_worker, self._on_readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_ms(self) -> float | None:
        """Return the processor time that the worker has used; None where nobody can say."""
        try:
            return time.clock_gettime((~self._process.pid << 3) | 2) * 1000
        except OSError:
            return None

    async def ask(self, number: int, frames: bytes, budget: Budget) -> tuple[Reply, float]:
        """Send a request and return (its answer, CPU ms used).

        Raises WorkerFailure where there is none within the budget; the worker is dead then.
        """
        if self.failure is not None:
            raise self.failure
        started = self.cpu_ms()
        pending = _Pending(
            number,
            self._loop.create_future(),
            budget,
            self._loop.time() + budget.wall_s,
            started if budget.cpu_ms is not None else None,
        )
        self._raise_cpu_ceiling(started, budget)
        self._pending.append(pending)
        first_s = budget.wall_s if budget.cpu_ms is None else budget.cpu_ms / 1000
        pending.watch = self._loop.call_later(first_s, self._watch, pending)
        self.send(frames)
        reply = await pending.answer
        if self.failure is not None:
            # More came than the answer.
            raise self.failure
        ended = self.cpu_ms()
        return reply, ended - started if started is not None and ended is not None else 0.0

    def send(self, frames: bytes | Parts) -> None:
        """Send frames that are not answered, or the beginning of a request.

        Parts of them are not copied: they may not change any more.
        """
        if self.failure is not None or not frames:
            return
        is_waiting = bool(self._outbox)
        parts = [frames] if isinstance(frames, bytes) else frames
        self._outbox.extend(map(memoryview, parts))
        if not is_waiting and not self._write():
            self._loop.add_writer(self._to_worker, self._on_writable)

    def _write(self) -> bool:
        """Write what the pipe takes; return whether nothing is left."""
        while self._outbox:
            part = self._outbox[0]
            try:
                sent = os.write(self._to_worker, part)
            except BlockingIOError:
                return False
            except OSError:
                # A broken pipe: the reader's end of file tells the same, with the reason.
                self._outbox.clear()
                break
            if sent == len(part):
                self._outbox.popleft()
            else:
                self._outbox[0] = part[sent:]
        return True

    def kill(self, text: str, *, is_silent_end: bool = False, line: int | None = None) -> None:
        """Kill the process and fail what waits for it; to be reaped afterwards."""
        if self.failure is not None:
            return
        if self._ending is not None:
            self._ending.timer.cancel()
        self.failure = WorkerFailure(text, is_silent_end=is_silent_end, line=line)
        self._process.kill()
        self._loop.remove_reader(self._from_worker)
        if self._outbox:
            self._loop.remove_writer(self._to_worker)
            self._outbox.clear()
        os.close(self._to_worker)
        os.close(self._from_worker)
        while self._pending:
            pending = self._pending.popleft()
            if pending.watch is not None:
                pending.watch.cancel()
            if not pending.answer.done():
                pending.answer.set_exception(self.failure)
                # Whoever waited may have been cancelled.
                pending.answer.exception()

    async def reap(self) -> str:
        """Wait until the killed process is gone; return what its end says, "" where nothing."""
        try:
            code = await asyncio.to_thread(self._process.wait, _REAP_S)
        except subprocess.TimeoutExpired:
            # The kernel holds it in a call that no signal ends; it runs nothing any more.
            _log.warning("worker_not_reaped pid=%s after_s=%g", self.pid, _REAP_S)
            return ""
        return _told_by(code)

    def _on_readable(self) -> None:
        try:
            received = os.read(self._from_worker, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if self._ending is not None:
            self._hear(self._ending, received)
            return
        if not received:
            self.kill("the worker ended", is_silent_end=not self._pending)
            return
        try:
            for kind, payload in self._reader.feed(received):
                self._answer(parse_reply(kind, payload))
            if not self._pending and not self._reader.is_empty:
                raise FrameError("more than was asked for")
        except FrameError as error:
            self.kill(f"the worker sent what is no answer {SECURITY_EVENT}: {error}")

    def _answer(self, reply: Reply) -> None:
        if not self._pending or self._pending[0].number != reply.request:
            raise FrameError("an answer that nobody asked for")
        pending = self._pending.popleft()
        if pending.watch is not None:
            pending.watch.cancel()
        if not pending.answer.done():
            pending.answer.set_result(reply)

    def _on_writable(self) -> None:
        if self._write():
            self._loop.remove_writer(self._to_worker)

    def _watch(self, pending: _Pending) -> None:
        """Kill when a budget is spent; CPU time cannot pass faster than the wall's."""
        budget = pending.budget
        left_s = pending.deadline_s - self._loop.time()
        if left_s <= 0:
            self._stop(f"stopped after {budget.wall_s:g} s without an answer")
            return
        if budget.cpu_ms is not None and pending.cpu_start_ms is not None:
            now = self.cpu_ms()
            used = now - pending.cpu_start_ms if now is not None else 0.0
            if used >= budget.cpu_ms:
                self._stop(f"stopped after {used:.0f} ms of CPU time (limit {budget.cpu_ms} ms)")
                return
            left_s = min(left_s, (budget.cpu_ms - used) / 1000)
        delay = max(_SHORTEST_WATCH_S, left_s)
        pending.watch = self._loop.call_later(delay, self._watch, pending)

    def _stop(self, text: str) -> None:
        """Let the worker say at which line it is, and kill it a moment later.

        Its interpreter answers this signal in the midst of any operation (see
        milo.script.worker.service); whatever it had to say otherwise comes too late.
        """
        timer = self._loop.call_later(_LAST_WORDS_S, self._end)
        self._ending = _Ending(text, timer)
        self._process.send_signal(signal.SIGUSR1)

    def _hear(self, ending: _Ending, received: bytes) -> None:
        ending.words += received
        is_enough = len(ending.words) > _LAST_WORDS_BYTES or ending.line() is not None
        if is_enough or not received:
            self._end()

    def _end(self) -> None:
        assert self._ending is not None
        self.kill(self._ending.text, line=self._ending.line())

    def _raise_cpu_ceiling(self, used_ms: float | None, budget: Budget) -> None:
        """Let the kernel end it (SIGXCPU) should we not be there to do it."""
        if used_ms is None or budget.cpu_ms is None or sys.platform != "linux":
            return
        wanted = (used_ms + budget.cpu_ms) / 1000 + 1
        if wanted <= self._cpu_ceiling_s:
            return
        self._cpu_ceiling_s = wanted + _CPU_HEADROOM_S
        try:
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (int(self._cpu_ceiling_s), hard))
        except OSError:
            # Some containers forbid it: the watch above and the parent-death signal remain.
            self._cpu_ceiling_s = float("inf")


def _told_by(code: int) -> str:
    """Say how a worker ended, where that tells more than that we killed it."""
    # SIGUSR1 ends a worker that does not know it yet, or not any more; then its budget was spent.
    if code in (0, -signal.SIGKILL, -signal.SIGUSR1):
        return ""
    if code == -signal.SIGXCPU:
        return "used up its processor time"
    if code == -signal.SIGSYS:
        return f"tried a forbidden system call {SECURITY_EVENT}"
    if code < 0:
        return f"crashed (signal {-code})"
    return f"ended by itself (exit code {code})"
