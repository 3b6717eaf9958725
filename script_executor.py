"""ScriptExecutor: starts, bounds and kills the process in which a script runs.

One script, one worker process, one request at a time, one answer, one deadline. Nothing that a
worker sends is believed: every answer is decoded by a fixed schema, cleaned, and its action parsed
here. Whatever goes wrong with a worker, it is killed first and asked nothing afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from milo.backtest.decisions import Decisions
from milo.candles import Candles
from milo.clock import iso_minute, monotonic_s
from milo.errors import ConfigError, InvariantBroken, ScriptError
from milo.model import Isolation, ScriptHeader, ScriptResult
from milo.script.answers import (
    Forged,
    checked_header,
)
from milo.script.decided import Merger, Pace, breach_of
from milo.script.inputs import input_values
from milo.script.limits import MAX_MESSAGE, ScriptLimits
from milo.script.protocol import (
    AskedWays,
    Decided,
    DecideRequest,
    Fault,
    Loaded,
    LoadOptions,
    Ready,
    Result,
    decide_frame,
    evaluate_frame,
    inputs_frame,
    load_frame,
    pack_row,
    ping_frame,
)
from milo.script.request import AccountView, EvaluationRequest, PositionView
from milo.script.results import OutputMeter, Results
from milo.script.text import clean_line, shown_source
from milo.script.worker.backend import backend_of
from milo.script.worker.prepared import Prepared
from milo.script.worker.process import (
    SECURITY_EVENT,
    Budget,
    WorkerFailure,
    WorkerProcess,
)
from milo.script.worker.script_file import read_script, stem_of
from milo.script.worker.spares import Spares
from milo.shown import MAX_NAME, shown_line

__all__ = [
    "AccountView",
    "EvaluationRequest",
    "PositionView",
    "ScriptExecutor",
    "ScriptLimits",
    "check_script",
]

_log = logging.getLogger(__name__)

_DAY_S: Final = 24 * 3600.0
_NO_ORDER: Final = "No order was sent."
_ADVICE: Final = (
    "Use a kernel and a container that allow seccomp filters, or run scripts that you have read"
    " and trust with --trust-script, unisolated"
)
_NO_ANSWER: Final = f"the worker sent what is no answer {SECURITY_EVENT}"
_SPINNING_S: Final = 0.25
"""An evaluation that takes longer may well end with a killed worker."""
_MOST_LOST: Final = 3
_GRACE_MS: Final = 50
_CALM_S: Final = 0.02
"""A spare worker is started this long after a candle: what it decided goes out first."""


class ScriptExecutor:
    """Runs one script in a worker process: `start`, then `evaluate` one at a time, then `close`."""

    def __init__(
        self,
        path: Path,
        *,
        inputs: Mapping[str, float] | None = None,
        limits: ScriptLimits | None = None,
        spares: Spares | None = None,
        is_trusted: bool = False,
    ) -> None:
        """Take the script's file, the inputs that the user set, and the reserve of workers.

        Without `spares`, or where their memory limit is another one, there is no reserve.
        `is_trusted`: run also where the kernel cannot lock the worker in; opens no lock.
        """
        self._path = path
        self._is_trusted = is_trusted
        self._file_name = shown_line(path.name, MAX_NAME)
        """As it is shown: whoever wrote the script may have chosen its name as well."""
        self._inputs = dict(inputs or {})
        self._limits = limits or ScriptLimits()
        if spares is None or spares.memory_mb != self._limits.memory_mb:
            spares = Spares(limits=self._limits, most=0)
        self._spares = spares
        self._memory_mb = self._limits.memory_mb
        self._has_joined = False
        self._header: ScriptHeader | None = None
        self._raw = b""
        self._worker: Prepared | None = None
        self._preparing: asyncio.Task[Prepared] | None = None
        self._dying: list[WorkerProcess] = []
        self._candles: Candles | None = None
        self._lost_s: list[float] = []
        self._requests = 0
        self._evaluations = 0
        self._is_busy = False
        self._output = OutputMeter(self._limits.run_output_bytes)
        self._results = Results(stem_of(path), self._file_name, (), self._output)

    async def start(self) -> ScriptHeader:
        """Load and check the script in a fresh worker and return what it says about itself.

        Raises ScriptError with file, line, column and source line where it is refused or cannot
        be read, ConfigError where the inputs do not fit it.
        """
        self._raw = read_script(self._path)
        text = self._raw.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        lines = [shown_source(line) for line in text.split("\n")]
        self._results = Results(stem_of(self._path), self._file_name, lines, self._output)
        if not self._has_joined:
            self._has_joined = True
            self._spares.join()
        try:
            # A task, so that `close` ends it also where nobody waits for the start any more.
            self._preparing = asyncio.get_running_loop().create_task(self._prepare())
            self._worker = await self._prepared(self._preparing)
        except WorkerFailure as failure:
            raise await self._broken(failure, "") from None
        self._header = self._worker.header
        return self._header

    async def evaluate(self, request: EvaluationRequest) -> ScriptResult:
        """Run the script on the newest candle and return its checked answer.

        Raises ScriptError for the script's own errors, and with `breach` where the worker had to
        be killed; a new one is then being made ready. No action is to be taken for that candle.
        """
        if self._is_busy or not self._raw:
            raise InvariantBroken("a script is evaluated once at a time, after its start")
        self._is_busy = True
        try:
            worker = await self._ready()
            reply, cpu_ms = await self._ask(worker, request)
        except WorkerFailure as failure:
            self._replace()
            raise await self._broken(failure, request.newest) from None
        except asyncio.CancelledError:
            # Nobody waits for that answer any more, and the next one must not find it.
            self._kill("cancelled")
            raise
        finally:
            self._is_busy = False
        if isinstance(reply, Fault):
            is_first = self._evaluations == 1
            limit_ms = self._limits.first_cpu_ms if is_first else self._limits.cpu_ms
            raise await self._faulted(reply, cpu_ms, request.newest, limit_ms)
        return self._results.result(reply, cpu_ms, request.newest)

    @property
    def reads_account(self) -> bool:
        """True where the answer depends on balance or positions: such a script is evaluated
        candle by candle. Known after `start`."""
        return self._header is not None and self._header.reads_account

    async def hold(self, candles: Candles) -> None:
        """Let the worker take in a long history before it is asked about parts of it.

        `evaluate` with a prefix of these candles then computes no indicator twice. Raises
        ScriptError where no worker can be had.
        """
        try:
            await self._holding(candles)
        except WorkerFailure as failure:
            self._replace()
            raise await self._broken(failure, "") from None

    async def decide(
        self,
        candles: Candles,
        *,
        first: int = 0,
        count: int | None = None,
        with_arrays: bool = True,
        prove_all: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Decisions:
        """Decide `count` candles from index `first` on, all up to the end where it is None.

        Each as `evaluate` would, with the candles up to it and no forming one; failures count and
        halt as they do live, by the clock of the candles. Printed text comes of the last one only.
        `with_arrays`: all at once where the script can be lifted, and a part one by one as proof,
        or all of them (`prove_all`). `progress` is told how many are decided.
        Raises ScriptError where no worker can be had, ValueError where there are no such candles.
        A script that reads the account is not for this.
        """
        count = len(candles) - first if count is None else count
        if first < 0 or count < 1 or first + count > len(candles):
            raise ValueError(f"candles {first} to {first + count} of {len(candles)}")
        if self._is_busy or self._header is None or self.reads_account:
            raise InvariantBroken("one script at a time decides, after its start, by candles alone")
        self._is_busy = True
        ways = AskedWays.ARRAYS if with_arrays else AskedWays(0)
        ways |= AskedWays.PROVE_ALL if prove_all else 0
        merger = Merger(first, first + count, candles.open_ms, self._results)
        try:
            await self._decide_all(candles, merger, ways, progress)
        except asyncio.CancelledError:
            self._kill("cancelled")
            raise
        finally:
            self._is_busy = False
        return merger.decisions()

    async def close(self) -> None:
        """Kill the worker and wait until it is gone; may be called twice."""
        self._kill("closed")
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.cancel()
            await asyncio.wait({preparing})
            if not preparing.cancelled() and preparing.exception() is None:
                # It was ready before it could be cancelled.
                self._worker = preparing.result()
                self._kill("closed")
        await self._reap()
        if self._has_joined:
            self._has_joined = False
            await self._spares.leave()

    @property
    def pid(self) -> int | None:
        """The process in which the script is now; None while another is made ready."""
        return None if self._worker is None else self._worker.process.pid

    # -- the worker --------------------------------------------------------------------------

    async def _prepare(self) -> Prepared:
        """Take a worker and load the script and the last known candles into it."""
        process = await self._spares.take(self._memory_mb)
        try:
            isolation = self._judged(process)
            header = replace(await self._load(process), isolation=isolation)
            if self._header not in (None, header):
                raise WorkerFailure(f"the same text says other things now {SECURITY_EVENT}")
            process.send(inputs_frame(self._checked_inputs(header)))
            worker = Prepared(process, header, self._memory_mb)
            if self._candles is not None:
                await self._give(worker, self._candles)
        except BaseException:
            process.kill("not prepared")
            self._dying.append(process)
            raise
        return worker

    async def _give(self, worker: Prepared, candles: Candles) -> None:
        """Let a worker take in candles before it is asked: its time is not charged for that."""
        parts = worker.take_in(candles)
        if not parts:
            return
        wait = Budget(cpu_ms=None, wall_s=self._limits.start_wall_s)
        number = self._next_number()
        worker.process.send(parts)
        reply, _ = await worker.process.ask(number, ping_frame(number), wait)
        if not isinstance(reply, Ready):
            raise self._no_answer(worker)

    @staticmethod
    def _no_answer(worker: Prepared) -> WorkerFailure:
        worker.process.kill(_NO_ANSWER)
        return worker.process.failure or WorkerFailure(_NO_ANSWER)

    def _judged(self, process: WorkerProcess) -> Isolation:
        """Return how the worker is locked; WorkerFailure where that is not enough."""
        assert process.ready is not None, "the reserve gives out workers that stand"
        isolation = backend_of().judge(process.pid, process.ready.held)
        if not isolation.is_isolated and not self._is_trusted:
            raise WorkerFailure(f"scripts cannot be locked in here: {isolation.text}. {_ADVICE}")
        return isolation

    async def _load(self, process: WorkerProcess) -> ScriptHeader:
        budget, soft_ms = self._budget(self._limits.load_cpu_ms)
        options = LoadOptions(
            name=self._file_name,
            max_awaits=self._limits.awaits,
            recursion=self._limits.recursion,
        )
        number = self._next_number()
        reply, cpu_ms = await process.ask(
            number, load_frame(number, soft_ms, options, self._raw), budget
        )
        if isinstance(reply, Fault):
            if reply.kind == "veto":
                _log.warning("script_veto script=%s reason=%r", self._file_name, reply.message)
            raise await self._faulted(reply, cpu_ms, None, self._limits.load_cpu_ms)
        if not isinstance(reply, Loaded):
            raise WorkerFailure(_NO_ANSWER)
        try:
            return checked_header(
                reply,
                name=stem_of(self._path),
                text_sha256=hashlib.sha256(self._raw).hexdigest(),
            )
        except Forged as error:
            raise WorkerFailure(f"the worker claims {error} {SECURITY_EVENT}") from None

    def _checked_inputs(self, header: ScriptHeader) -> dict[str, float]:
        try:
            return input_values(header.inputs, self._inputs)
        except ValueError as error:
            raise ConfigError(f"{self._file_name}: {error}") from None

    async def _ready(self) -> Prepared:
        """Return the worker; waits where a replacement is still being prepared."""
        worker = self._worker
        if worker is not None and worker.process.failure is not None:
            failure = worker.process.failure
            self._replace()
            if not failure.is_silent_end or self._is_lost_often():
                raise failure
            _log.warning("script_worker_lost script=%s", self._file_name)
            worker = None
        if worker is None:
            if self._preparing is None:
                self._replace()
            assert self._preparing is not None
            worker = self._worker = await self._prepared(self._preparing)
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
        if self._preparing is preparing:
            self._preparing = None
        return preparing.result()

    async def _ask(
        self, worker: Prepared, request: EvaluationRequest
    ) -> tuple[Result | Fault, float]:
        is_first = self._evaluations == 0
        self._evaluations += 1
        budget, soft_ms = self._budget(
            self._limits.first_cpu_ms if is_first else self._limits.cpu_ms
        )
        number = self._next_number()
        coming = request.forming
        parts = worker.take_in(request.candles, with_forming=coming is not None)
        self._candles = worker.known
        forming = b""
        if coming is not None:
            forming = pack_row(
                coming.open_ms, coming.open, coming.high, coming.low, coming.close, coming.volume
            )
        question = evaluate_frame(
            number,
            len(request.candles),
            soft_ms,
            forming,
            request.account.available_balance,
            request.account.positions,
        )
        frames = b"".join([*parts, question])
        with self._reserve(is_first):
            reply, cpu_ms = await worker.process.ask(number, frames, budget)
        if not isinstance(reply, Result | Fault):
            raise self._no_answer(worker)
        return reply, cpu_ms

    async def _holding(self, candles: Candles) -> Prepared:
        """Return a worker that has these candles, and memory enough for them."""
        self._candles = candles
        self._memory_mb = max(self._memory_mb, self._limits.memory_for(len(candles)))
        if self._worker is not None and self._worker.memory_mb < self._memory_mb:
            self._kill("too small")
            await self._reap()
        worker = await self._ready()
        await self._give(worker, candles)
        return worker

    async def _decide_all(
        self,
        candles: Candles,
        merger: Merger,
        ways: AskedWays,
        progress: Callable[[int], None] | None,
    ) -> None:
        pace = Pace(self._limits)
        while not merger.is_done:
            candle = iso_minute(int(candles.open_ms[merger.next]))
            try:
                worker = await self._holding(candles)
                asked = self._asked(worker, merger, ways, pace)
                reply, cpu_ms = await self._ask_decide(worker, asked)
                pace.used(cpu_ms)
                if isinstance(reply, Decided):
                    try:
                        merger.take(reply, asked)
                    except Forged as error:
                        worker.process.kill(f"the worker claims {error} {SECURITY_EVENT}")
                        raise worker.process.failure or WorkerFailure(_NO_ANSWER) from None
            except WorkerFailure as failure:
                self._replace()
                broken = await self._broken(failure, candle)
                if not failure.is_breach:
                    raise broken from None
                ways &= ~AskedWays.ARRAYS
                if broken.security or not pace.slow_down():
                    merger.failed(broken)
                continue
            if isinstance(reply, Fault):
                # Between two candles, or in what is done for all of them.
                ways &= ~AskedWays.ARRAYS
                broken = await self._faulted(reply, asked.candle_ms, candle, asked.candle_ms)
                if not pace.slow_down():
                    merger.failed(broken)
                continue
            fault = breach_of(reply)
            if fault is not None and not merger.is_done:
                candle = iso_minute(int(candles.open_ms[merger.next]))
                merger.failed(await self._faulted(fault, asked.candle_ms, candle, asked.candle_ms))
            if progress is not None:
                progress(merger.next - merger.first)

    def _asked(
        self, worker: Prepared, merger: Merger, ways: AskedWays, pace: Pace
    ) -> DecideRequest:
        candle_ms = self._limits.cpu_ms
        if not worker.has_decided:
            # Indicators of all candles are computed on the first.
            is_first = self._evaluations == 0
            candle_ms = self._limits.first_cpu_ms if is_first else candle_ms
            candle_ms += self._limits.more_ms_for(len(worker.known))
        self._evaluations += 1
        worker.has_decided = True
        stop = pace.stop(merger.next, merger.stop)
        if merger.has_differed or pace.is_slow:
            ways = AskedWays(0)
        if stop == merger.stop:
            ways |= AskedWays.SHOW_LAST
        return DecideRequest(self._next_number(), merger.next, stop, candle_ms, pace.slice_ms, ways)

    async def _ask_decide(
        self, worker: Prepared, asked: DecideRequest
    ) -> tuple[Decided | Fault, float]:
        budget, soft_ms = self._budget(asked.candle_ms)
        if asked.slice_ms:
            # The worker says by itself which candle was too slow; that takes it a moment.
            budget, _ = self._budget(asked.candle_ms + asked.slice_ms + _GRACE_MS)
        frame = decide_frame(asked._replace(candle_ms=soft_ms))
        reply, cpu_ms = await worker.process.ask(asked.request, frame, budget)
        if not isinstance(reply, Decided | Fault):
            raise self._no_answer(worker)
        return reply, cpu_ms

    @contextlib.contextmanager
    def _reserve(self, is_first: bool) -> Iterator[None]:
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

    def _replace(self) -> None:
        """Kill the worker, at once, and begin to prepare another."""
        self._kill("replaced")
        if self._preparing is None:
            self._preparing = asyncio.get_running_loop().create_task(self._prepare())

    def _kill(self, reason: str) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.process.kill(reason)
            self._dying.append(worker.process)

    async def _reap(self) -> str:
        """Wait for the killed processes; return what the end of the last one tells.

        A replacement that fails meanwhile is left for the next time: its end tells another story.
        """
        dying, self._dying = self._dying, []
        told = ""
        try:
            while dying:
                told = await dying[0].reap()
                dying.pop(0)
        finally:
            # Cancelled: who is left is waited for the next time.
            self._dying[:0] = dying
        return told

    def _budget(self, cpu_ms: int) -> tuple[Budget, int]:
        """Return the engine's budget and the worker's own, which ends a little earlier."""
        limits = self._limits
        wall_s = max(cpu_ms * limits.wall_factor / 1000, limits.wall_floor_s)
        return Budget(cpu_ms=cpu_ms, wall_s=wall_s), max(1, cpu_ms - max(5, cpu_ms // 25))

    def _next_number(self) -> int:
        self._requests = self._requests % 2**31 + 1
        return self._requests

    # -- answers -----------------------------------------------------------------------------

    async def _faulted(
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
                message = f"stopped: out of memory (limit {self._memory_mb} MB)"
            case "worker":
                message = clean_line(fault.message, MAX_MESSAGE)
        if candle is None:
            return self._results.error(message, "", place, prints=prints)
        self._replace()
        await self._reap()
        return self._results.error(
            f"{message}. {_NO_ORDER}", candle, place, breach=True, prints=prints
        )

    async def _broken(self, failure: WorkerFailure, candle: str) -> ScriptError:
        told = await self._reap()
        # What was wrong with an answer may be told in the answer's own words.
        message = clean_line(told or failure.text, MAX_MESSAGE)
        line = failure.line
        if line is not None and not self._results.is_line(line):
            line = None
        place = (line, None, None)
        text = f"{message}. {_NO_ORDER}"
        is_security = SECURITY_EVENT in message
        return self._results.error(
            text, candle, place, breach=failure.is_breach, security=is_security
        )


async def check_script(
    path: Path, *, inputs: Mapping[str, float] | None = None, is_trusted: bool = False
) -> ScriptHeader:
    """Load a script in a worker of its own, without running it, and return its header.

    The header names its inputs, indicators and warnings. Raises as `ScriptExecutor.start` does
    where the script is refused.
    """
    executor = ScriptExecutor(path, inputs=inputs, is_trusted=is_trusted)
    try:
        return await executor.start()
    finally:
        await executor.close()
