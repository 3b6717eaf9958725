"""Keeps the worker that one script is in: starts, judges, replaces, kills and reaps it (a room).

Whatever goes wrong with a worker, it is killed first and asked nothing afterwards; the next one is
prepared meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from milo.candles import Candles
from milo.clock import monotonic_s
from milo.errors import ConfigError, ScriptError
from milo.model import Isolation, ScriptHeader
from milo.script.answers import Forged, checked_header
from milo.script.inputs import input_values
from milo.script.limits import MAX_MESSAGE, ScriptLimits
from milo.script.protocol import (
    Fault,
    Loaded,
    LoadOptions,
    Ready,
    inputs_frame,
    load_frame,
    ping_frame,
)
from milo.script.results import Results
from milo.script.text import clean_line
from milo.script.worker.backend import backend_of
from milo.script.worker.prepared import Prepared
from milo.script.worker.process import (
    SECURITY_EVENT,
    Budget,
    WorkerFailure,
    WorkerProcess,
)
from milo.script.worker.spares import Spares

_log = logging.getLogger(__name__)

_DAY_S: Final = 24 * 3600.0
NO_ORDER: Final = "No order was sent."
_ADVICE: Final = (
    "Use a kernel and a container that allow seccomp filters, or run scripts that you have read"
    " and trust with --trust-script, unisolated"
)
_NO_ANSWER: Final = "the worker sent what is no answer"
_SPINNING_S: Final = 0.25
"""An evaluation that takes longer may well end with a killed worker."""
_MOST_LOST: Final = 3
_CALM_S: Final = 0.02
"""A spare worker is started this long after a candle: what it decided goes out first."""


class Keeper:
    """One script's worker: `start`, then `ready` before each question, then `close`."""

    def __init__(
        self,
        *,
        results: Results,
        file_name: str,
        inputs: Mapping[str, float],
        limits: ScriptLimits,
        spares: Spares,
        is_trusted: bool,
    ) -> None:
        """Take what a worker is loaded with and bounded by; `file_name` is fit to be shown.

        `is_trusted`: keep also a worker that the kernel cannot lock in.
        """
        self._results = results
        self._file_name = file_name
        self._inputs = inputs
        self._limits = limits
        self._spares = spares
        self._is_trusted = is_trusted
        self._memory_mb = self._given_mb = limits.memory_mb
        self._has_joined = False
        self._name = ""
        self._raw = b""
        self.header: ScriptHeader | None = None
        """What the script says about itself, once it was loaded."""
        self.worker: Prepared | None = None
        """The worker that has the script now; None while another is made ready."""
        self.preparing: asyncio.Task[Prepared] | None = None
        self.dying: list[WorkerProcess] = []
        self.candles: Candles | None = None
        """What the next worker is given before it is asked."""
        self._lost_s: list[float] = []
        self._requests = 0

    async def start(self, name: str, raw: bytes, results: Results) -> ScriptHeader:
        """Load a script's text into a fresh worker and return what it says about itself.

        Raises ScriptError where it is refused, ConfigError where the inputs do not fit it,
        WorkerFailure where no worker can be had.
        """
        self._name, self._raw, self._results = name, raw, results
        if not self._has_joined:
            self._has_joined = True
            self._spares.join()
        # A task, so that `close` ends it also where nobody waits for the start any more.
        self.preparing = asyncio.get_running_loop().create_task(self._prepare())
        self.worker = await self._prepared(self.preparing)
        self.header = self.worker.header
        return self.header

    async def set_inputs(self, inputs: Mapping[str, float]) -> None:
        """Give these inputs to the worker, and to those that come after it.

        Raises ConfigError where they do not fit the script, which must have been loaded, and
        WorkerFailure where no worker can be had.
        """
        assert self.header is not None, "start comes first"
        values = self._checked_inputs(self.header, inputs)
        self._inputs = inputs
        # One that is being prepared may have been given the inputs before already.
        worker = await self.ready()
        worker.process.send(inputs_frame(values))
        worker.has_decided = False

    @property
    def has_script(self) -> bool:
        """True from the first `start` on, also where that failed."""
        return bool(self._raw)

    async def close(self) -> None:
        """Kill the worker and wait until it is gone; may be called twice."""
        self.kill("closed")
        preparing, self.preparing = self.preparing, None
        if preparing is not None:
            preparing.cancel()
            await asyncio.wait({preparing})
            if not preparing.cancelled() and preparing.exception() is None:
                # It was ready before it could be cancelled.
                self.worker = preparing.result()
                self.kill("closed")
        await self.reap()
        if self._has_joined:
            self._has_joined = False
            await self._spares.leave()

    async def _prepare(self) -> Prepared:
        """Take a worker and load the script and the last known candles into it."""
        process = await self._spares.take(self._memory_mb)
        self._given_mb = process.memory_mb
        try:
            isolation = self._judged(process)
            header = replace(await self._load(process), isolation=isolation)
            if self.header not in (None, header):
                raise WorkerFailure(f"the same text says other things now {SECURITY_EVENT}")
            process.send(inputs_frame(self._checked_inputs(header, self._inputs)))
            worker = Prepared(process, header)
            if self.candles is not None:
                await self._give(worker, self.candles)
        except BaseException:
            process.kill("not prepared")
            self.dying.append(process)
            raise
        return worker

    async def _give(self, worker: Prepared, candles: Candles) -> None:
        """Let a worker take in candles before it is asked: its time is not charged for that."""
        parts = worker.take_in(candles)
        if not parts:
            return
        wait = Budget(cpu_ms=None, wall_s=self._limits.start_wall_s)
        number = self.next_number()
        worker.process.send(parts)
        reply, _ = await worker.process.ask(number, ping_frame(number), wait)
        if not isinstance(reply, Ready):
            raise self.no_answer(worker)

    @staticmethod
    def no_answer(worker: Prepared, reason: str = _NO_ANSWER) -> WorkerFailure:
        """Kill a worker whose answer can be none of ours, and return the failure to raise."""
        text = f"{reason} {SECURITY_EVENT}"
        worker.process.kill(text)
        return worker.process.failure or WorkerFailure(text)

    def _judged(self, process: WorkerProcess) -> Isolation:
        """Return how the worker is locked; WorkerFailure where that is not enough."""
        assert process.ready is not None, "the reserve gives out workers that stand"
        isolation = backend_of().judge(process.pid, process.ready.held)
        if not isolation.is_isolated and not self._is_trusted:
            raise WorkerFailure(f"scripts cannot be locked in here: {isolation.text}. {_ADVICE}")
        return isolation

    async def _load(self, process: WorkerProcess) -> ScriptHeader:
        budget, soft_ms = self.budget(self._limits.load_cpu_ms)
        options = LoadOptions(
            name=self._file_name,
            max_awaits=self._limits.awaits,
            recursion=self._limits.recursion,
        )
        number = self.next_number()
        reply, cpu_ms = await process.ask(
            number, load_frame(number, soft_ms, options, self._raw), budget
        )
        if isinstance(reply, Fault):
            if reply.kind == "veto":
                _log.warning("script_veto script=%s reason=%r", self._file_name, reply.message)
            raise await self.faulted(reply, cpu_ms, None, self._limits.load_cpu_ms)
        if not isinstance(reply, Loaded):
            raise WorkerFailure(f"{_NO_ANSWER} {SECURITY_EVENT}")
        try:
            return checked_header(
                reply,
                name=self._name,
                text_sha256=hashlib.sha256(self._raw).hexdigest(),
            )
        except Forged as error:
            raise WorkerFailure(f"the worker claims {error} {SECURITY_EVENT}") from None

    def _checked_inputs(
        self, header: ScriptHeader, inputs: Mapping[str, float]
    ) -> dict[str, float]:
        try:
            return input_values(header.inputs, inputs)
        except ValueError as error:
            raise ConfigError(f"{self._file_name}: {error}") from None

    async def ready(self) -> Prepared:
        """Return the worker; waits where a replacement is still being prepared."""
        worker = self.worker
        if worker is not None and worker.process.failure is not None:
            failure = worker.process.failure
            self.replace()
            if not failure.is_silent_end or self._is_lost_often():
                raise failure
            _log.warning("script_worker_lost script=%s", self._file_name)
            worker = None
        if worker is None:
            if self.preparing is None:
                self.replace()
            assert self.preparing is not None
            worker = self.worker = await self._prepared(self.preparing)
        return worker

    async def holding(self, candles: Candles) -> Prepared:
        """Return a worker that has these candles, and memory enough for them."""
        self.candles = candles
        self._memory_mb = max(self._memory_mb, self._limits.memory_for(len(candles)))
        if self.worker is not None and self.worker.memory_mb < self._memory_mb:
            self.kill("too small")
            await self.reap()
        worker = await self.ready()
        await self._give(worker, candles)
        return worker

    def _is_lost_often(self) -> bool:
        """Note that a worker ended while nobody asked it; who does so again and again is to blame.

        Now and then the kernel or a person may have killed it.
        """
        now_s = monotonic_s()
        self._lost_s = [lost_s for lost_s in self._lost_s if now_s - lost_s < _DAY_S] + [now_s]
        return len(self._lost_s) > _MOST_LOST

    async def _prepared(self, preparing: asyncio.Task[Prepared]) -> Prepared:
        await asyncio.wait({preparing})
        if self.preparing is preparing:
            self.preparing = None
        return preparing.result()

    @contextlib.contextmanager
    def reserve(self, is_first: bool) -> Iterator[None]:
        """Have spare workers made ready while a script runs that may need one.

        One that runs once does not, unless it spins.
        """
        if not is_first:
            self._spares.fill(after_s=_CALM_S)
            yield
            return
        filling = asyncio.get_running_loop().call_later(_SPINNING_S, self._spares.fill)
        try:
            yield
        finally:
            filling.cancel()

    def replace(self) -> None:
        """Kill the worker, at once, and begin to prepare another."""
        self.kill("replaced")
        if self.preparing is None:
            self.preparing = asyncio.get_running_loop().create_task(self._prepare())

    def kill(self, reason: str) -> None:
        """Kill the worker, at once; `reap` waits for its end."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.process.kill(reason)
            self.dying.append(worker.process)

    async def reap(self) -> str:
        """Wait for the killed processes; return what the end of the last one tells.

        A replacement that fails meanwhile is left for the next time: its end tells another story.
        """
        dying, self.dying = self.dying, []
        told = ""
        try:
            while dying:
                told = await dying[0].reap()
                dying.pop(0)
        finally:
            # Cancelled: who is left is waited for the next time.
            self.dying[:0] = dying
        return told

    def budget(self, cpu_ms: int) -> tuple[Budget, int]:
        """Return the engine's budget and the worker's own, which ends a little earlier."""
        limits = self._limits
        wall_s = max(cpu_ms * limits.wall_factor / 1000, limits.wall_floor_s)
        return Budget(cpu_ms=cpu_ms, wall_s=wall_s), max(1, cpu_ms - max(5, cpu_ms // 25))

    def next_number(self) -> int:
        """Return the number of the next request."""
        self._requests = self._requests % 2**31 + 1
        return self._requests

    async def faulted(
        self, fault: Fault, cpu_ms: float, candle: str | None, limit_ms: int
    ) -> ScriptError:
        """Return the error of an answer that is a fault; budgets cost the worker its life.

        `candle` is None while the script is only loaded.
        """
        prints, _ = self._results.prints(fault.printed, 0)
        place = (fault.line, fault.column, fault.end_column)
        limits = self._limits
        match fault.kind:
            case "script" | "veto":
                message = clean_line(fault.message, MAX_MESSAGE)
                return self._results.error(message, candle or "", place, prints=prints)
            case "time":
                message = f"stopped after {cpu_ms:.0f} ms of CPU time (limit {limit_ms} ms)"
            case "awaits":
                message = f"stopped after {limits.awaits} awaits"
            case "memory":
                message = f"stopped: out of memory (limit {self._given_mb} MB)"
            case "worker":
                message = clean_line(fault.message, MAX_MESSAGE)
        if candle is None:
            return self._results.error(message, "", place, prints=prints)
        self.replace()
        await self.reap()
        return self._results.error(
            f"{message}. {NO_ORDER}", candle, place, breach=True, prints=prints
        )

    async def broken(self, failure: WorkerFailure, candle: str) -> ScriptError:
        """Return the error of a worker that has been killed, with the line where it was."""
        told = await self.reap()
        # What was wrong with an answer may be told in the answer's own words.
        message = clean_line(told or failure.text, MAX_MESSAGE)
        line = failure.line
        if line is not None and not self._results.is_line(line):
            line = None
        place = (line, None, None)
        text = f"{message}. {NO_ORDER}"
        is_security = SECURITY_EVENT in message
        return self._results.error(
            text, candle, place, breach=failure.is_breach, security=is_security
        )
