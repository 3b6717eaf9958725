"""ScriptExecutor: starts, bounds and kills the process in which a script runs.

One script, one worker process, one request at a time, one answer, one deadline. Nothing that a
worker sends is believed: every answer is decoded by a fixed schema, cleaned, and its action parsed
here. The worker itself is kept by `milo.script.worker.keeper`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from milo.backtest.decisions import Decisions
from milo.candles import Candles
from milo.clock import iso_minute
from milo.errors import InvariantBroken, ScriptError
from milo.model import ScriptHeader, ScriptResult
from milo.script.answers import Forged
from milo.script.decided import Merger, Pace, breach_of
from milo.script.explanation import Explanation, checked_steps, difference
from milo.script.limits import ScriptLimits
from milo.script.protocol import (
    EVALUATE,
    EXPLAIN,
    AskedWays,
    Decided,
    DecideRequest,
    Explained,
    Fault,
    Reply,
    Result,
    decide_frame,
    evaluate_frame,
    pack_row,
)
from milo.script.request import AccountView, EvaluationRequest, PositionView
from milo.script.results import OutputMeter, Results
from milo.script.text import shown_source
from milo.script.worker.keeper import NO_ORDER, Keeper
from milo.script.worker.prepared import Prepared
from milo.script.worker.process import WorkerFailure
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

_GRACE_MS: Final = 50


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
        self._limits = limits or ScriptLimits()
        if spares is None or spares.memory_mb != self._limits.memory_mb:
            spares = Spares(limits=self._limits, most=0)
        self._evaluations = 0
        self._is_busy = False
        # As it is shown: whoever wrote the script may have chosen its name as well.
        self._file_name = shown_line(path.name, MAX_NAME)
        self._output = OutputMeter(self._limits.run_output_bytes)
        self._results = Results(stem_of(path), self._file_name, (), self._output)
        self._keeper = Keeper(
            results=self._results,
            file_name=self._file_name,
            inputs=dict(inputs or {}),
            limits=self._limits,
            spares=spares,
            is_trusted=is_trusted,
        )

    async def start(self) -> ScriptHeader:
        """Load and check the script in a fresh worker and return what it says about itself.

        Raises ScriptError with file, line, column and source line where it is refused or cannot
        be read, ConfigError where the inputs do not fit it.
        """
        raw = read_script(self._path)
        text = raw.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        lines = [shown_source(line) for line in text.split("\n")]
        name = stem_of(self._path)
        self._results = Results(name, self._file_name, lines, self._output)
        try:
            return await self._keeper.start(name, raw, self._results)
        except WorkerFailure as failure:
            raise await self._keeper.broken(failure, "") from None

    async def evaluate(self, request: EvaluationRequest) -> ScriptResult:
        """Run the script on the newest candle and return its checked answer.

        Raises ScriptError for the script's own errors, and with `breach` where the worker had to
        be killed; a new one is then being made ready. No action is to be taken for that candle.
        """
        reply, cpu_ms = await self._evaluated(request)
        return await self._plain(request, reply, cpu_ms)

    async def explain(self, request: EvaluationRequest) -> Explanation:
        """Evaluate as `evaluate` does, and once more to be told what the script works out.

        Where the script fails the explanation holds its error; where only the telling takes too
        long, it holds no values. Raises ScriptError as `evaluate` does where the worker had to be
        killed, and where it sent what is no answer.
        """
        reply, cpu_ms = await self._evaluated(request)
        result, error = None, None
        try:
            result = await self._plain(request, reply, cpu_ms)
        except ScriptError as failure:
            if failure.breach:
                raise
            error = failure
        try:
            told, cpu_ms = await self._evaluated(request, EXPLAIN)
            if isinstance(told, Fault):
                limit_ms = self._limits.first_cpu_ms
                raise await self._keeper.faulted(told, cpu_ms, request.newest, limit_ms)
        except ScriptError as failure:
            if failure.security:
                raise
            reason = failure.message.removesuffix(f" {NO_ORDER}")
            note = f"its values cannot be told: {reason}"
            return Explanation(result=result, error=error, steps=(), note=note)
        assert isinstance(told, Explained)
        try:
            steps = checked_steps(told, self._results)
        except Forged as forged:
            raise await self._forged(f"the worker claims {forged}", request.newest) from None
        plain = reply if isinstance(reply, Result) else None
        return Explanation(
            result=result,
            error=error,
            steps=steps,
            left_out=told.left_out,
            note=difference(told, plain),
        )

    async def _plain(self, request: EvaluationRequest, reply: Reply, cpu_ms: float) -> ScriptResult:
        if isinstance(reply, Fault):
            is_first = self._evaluations == 1
            limit_ms = self._limits.first_cpu_ms if is_first else self._limits.cpu_ms
            raise await self._keeper.faulted(reply, cpu_ms, request.newest, limit_ms)
        assert isinstance(reply, Result)
        return self._results.result(reply, cpu_ms, request.newest)

    async def _forged(self, reason: str, candle: str) -> ScriptError:
        """Kill a worker whose answer can be none of ours, and return the error to raise."""
        assert self._keeper.worker is not None, "it has just answered"
        failure = self._keeper.no_answer(self._keeper.worker, reason)
        self._keeper.replace()
        return await self._keeper.broken(failure, candle)

    async def _evaluated(
        self, request: EvaluationRequest, kind: int = EVALUATE
    ) -> tuple[Reply, float]:
        """Ask about one candle; return the answer, of the right kind or a Fault."""
        if self._is_busy or not self._keeper.has_script:
            raise InvariantBroken("a script is evaluated once at a time, after its start")
        self._is_busy = True
        try:
            worker = await self._keeper.ready()
            return await self._ask(worker, request, kind)
        except WorkerFailure as failure:
            self._keeper.replace()
            raise await self._keeper.broken(failure, request.newest) from None
        except asyncio.CancelledError:
            # Nobody waits for that answer any more, and the next one must not find it.
            self._keeper.kill("cancelled")
            raise
        finally:
            self._is_busy = False

    @property
    def reads_account(self) -> bool:
        """True where the answer depends on balance or positions: such a script is evaluated
        candle by candle. Known after `start`."""
        header = self._keeper.header
        return header is not None and header.reads_account

    async def set_inputs(self, inputs: Mapping[str, float]) -> None:
        """Run with other inputs from now on, as if it had been started with these.

        What the worker knows of the candles stays. Raises ConfigError where they do not fit the
        script, ScriptError where no worker can be had; to be called after `start`, and not while
        something is asked.
        """
        if self._is_busy or self._keeper.header is None:
            raise InvariantBroken("inputs change between two questions, after the start")
        try:
            await self._keeper.set_inputs(inputs)
        except WorkerFailure as failure:
            self._keeper.replace()
            raise await self._keeper.broken(failure, "") from None
        self._evaluations = 0

    async def hold(self, candles: Candles) -> None:
        """Let the worker take in a long history before it is asked about parts of it.

        `evaluate` with a prefix of these candles then computes no indicator twice. Raises
        ScriptError where no worker can be had.
        """
        try:
            await self._keeper.holding(candles)
        except WorkerFailure as failure:
            self._keeper.replace()
            raise await self._keeper.broken(failure, "") from None

    async def decide(
        self,
        candles: Candles,
        *,
        first: int = 0,
        count: int | None = None,
        with_arrays: bool = True,
        prove_all: bool = False,
        prove_changes: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Decisions:
        """Decide `count` candles from index `first` on, all up to the end where it is None.

        Each as `evaluate` would, with the candles up to it and no forming one; failures count and
        halt as they do live, by the clock of the candles. Printed text comes of the last one only.
        `with_arrays`: all at once where the script can be lifted, and a part one by one as proof,
        or all of them (`prove_all`), or of those with a signal only the ones at which it begins or
        ends (`prove_changes`, for many runs of one script). `progress` is told how far it is.
        Raises ScriptError where no worker can be had, ValueError where there are no such candles.
        A script that reads the account is not for this.
        """
        count = len(candles) - first if count is None else count
        if first < 0 or count < 1 or first + count > len(candles):
            raise ValueError(f"candles {first} to {first + count} of {len(candles)}")
        if self._is_busy or self._keeper.header is None or self.reads_account:
            raise InvariantBroken("one script at a time decides, after its start, by candles alone")
        self._is_busy = True
        ways = AskedWays.ARRAYS if with_arrays else AskedWays(0)
        ways |= AskedWays.PROVE_ALL if prove_all else 0
        ways |= AskedWays.PROVE_CHANGES if prove_changes else 0
        merger = Merger(first, first + count, candles.open_ms, self._results)
        try:
            await self._decide_all(candles, merger, ways, progress)
        except asyncio.CancelledError:
            self._keeper.kill("cancelled")
            raise
        finally:
            self._is_busy = False
        return merger.decisions()

    async def close(self) -> None:
        """Kill the worker and wait until it is gone; may be called twice."""
        await self._keeper.close()

    @property
    def pid(self) -> int | None:
        """The process in which the script is now; None while another is made ready."""
        worker = self._keeper.worker
        return None if worker is None else worker.process.pid

    async def _ask(
        self, worker: Prepared, request: EvaluationRequest, kind: int
    ) -> tuple[Reply, float]:
        is_first = self._evaluations == 0
        self._evaluations += 1
        # Nobody waits on a market for an explanation, and to give it takes longer.
        is_long = is_first or kind == EXPLAIN
        budget, soft_ms = self._keeper.budget(
            self._limits.first_cpu_ms if is_long else self._limits.cpu_ms
        )
        number = self._keeper.next_number()
        coming = request.forming
        parts = worker.take_in(request.candles, with_forming=coming is not None)
        self._keeper.candles = worker.known
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
            kind=kind,
        )
        frames = b"".join([*parts, question])
        with self._keeper.reserve(is_first):
            reply, cpu_ms = await worker.process.ask(number, frames, budget)
        if not isinstance(reply, Fault | (Result if kind == EVALUATE else Explained)):
            raise self._keeper.no_answer(worker)
        return reply, cpu_ms

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
                worker = await self._keeper.holding(candles)
                asked = self._asked(worker, merger, ways, pace)
                reply, cpu_ms = await self._ask_decide(worker, asked)
                pace.used(cpu_ms)
                if isinstance(reply, Decided):
                    try:
                        merger.take(reply, asked)
                    except Forged as error:
                        raise self._keeper.no_answer(worker, f"the worker claims {error}") from None
            except WorkerFailure as failure:
                self._keeper.replace()
                broken = await self._keeper.broken(failure, candle)
                if not failure.is_breach:
                    raise broken from None
                ways &= ~AskedWays.ARRAYS
                if broken.security or not pace.slow_down():
                    merger.failed(broken)
                continue
            if isinstance(reply, Fault):
                # Between two candles, or in what is done for all of them.
                ways &= ~AskedWays.ARRAYS
                broken = await self._keeper.faulted(reply, asked.candle_ms, candle, asked.candle_ms)
                if not pace.slow_down():
                    merger.failed(broken)
                continue
            fault = breach_of(reply)
            if fault is not None and not merger.is_done:
                candle = iso_minute(int(candles.open_ms[merger.next]))
                merger.failed(
                    await self._keeper.faulted(fault, asked.candle_ms, candle, asked.candle_ms)
                )
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
        return DecideRequest(
            self._keeper.next_number(), merger.next, stop, candle_ms, pace.slice_ms, ways
        )

    async def _ask_decide(
        self, worker: Prepared, asked: DecideRequest
    ) -> tuple[Decided | Fault, float]:
        budget, soft_ms = self._keeper.budget(asked.candle_ms)
        if asked.slice_ms:
            # The worker says by itself which candle was too slow; that takes it a moment.
            budget, _ = self._keeper.budget(asked.candle_ms + asked.slice_ms + _GRACE_MS)
        frame = decide_frame(asked._replace(candle_ms=soft_ms))
        reply, cpu_ms = await worker.process.ask(asked.request, frame, budget)
        if not isinstance(reply, Decided | Fault):
            raise self._keeper.no_answer(worker)
        return reply, cpu_ms


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
