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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from milo.candles import Candles
from milo.clock import iso_minute, monotonic_s
from milo.errors import ConfigError, InvariantBroken, ScriptError
from milo.model import Isolation, ScriptHeader, ScriptResult
from milo.script.answers import (
    Forged,
    checked_action,
    checked_header,
    checked_marks,
    checked_plots,
)
from milo.script.faults import fault_text, last_mention
from milo.script.inputs import input_values
from milo.script.limits import MAX_MESSAGE, MAX_PRINT_LINES, ScriptLimits
from milo.script.protocol import (
    Fault,
    Loaded,
    LoadOptions,
    Ready,
    Result,
    evaluate_frame,
    inputs_frame,
    load_frame,
    pack_row,
    ping_frame,
)
from milo.script.request import AccountView, EvaluationRequest, PositionView
from milo.script.text import clean, clean_line, shown_source
from milo.script.worker.backend import backend_of
from milo.script.worker.prepared import OutputMeter, Prepared
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
        self._has_joined = False
        self._header: ScriptHeader | None = None
        self._raw = b""
        self._lines: list[str] = []
        self._worker: Prepared | None = None
        self._preparing: asyncio.Task[Prepared] | None = None
        self._dying: list[WorkerProcess] = []
        self._candles: Candles | None = None
        self._lost_s: list[float] = []
        self._requests = 0
        self._evaluations = 0
        self._is_busy = False
        self._output = OutputMeter(self._limits.run_output_bytes)

    async def start(self) -> ScriptHeader:
        """Load and check the script in a fresh worker and return what it says about itself.

        Raises ScriptError with file, line, column and source line where it is refused or cannot
        be read, ConfigError where the inputs do not fit it.
        """
        self._raw = read_script(self._path)
        text = self._raw.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        self._lines = [shown_source(line) for line in text.split("\n")]
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
            raise await self._broken(failure, _newest_of(request)) from None
        except asyncio.CancelledError:
            # Nobody waits for that answer any more, and the next one must not find it.
            self._kill("cancelled")
            raise
        finally:
            self._is_busy = False
        if isinstance(reply, Fault):
            raise await self._faulted(reply, cpu_ms, _newest_of(request))
        return self._result(reply, cpu_ms, request)

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
        process = await self._spares.take()
        try:
            isolation = self._judged(process)
            header = replace(await self._load(process), isolation=isolation)
            if self._header not in (None, header):
                raise WorkerFailure(f"the same text says other things now {SECURITY_EVENT}")
            process.send(inputs_frame(self._checked_inputs(header)))
            worker = Prepared(process, header)
            if self._candles is not None:
                # Taken in before the next evaluation, so that its time is not charged for it.
                wait = Budget(cpu_ms=None, wall_s=self._limits.start_wall_s)
                number = self._next_number()
                frames = worker.take_in(self._candles) + ping_frame(number)
                reply, _ = await process.ask(number, frames, wait)
                if not isinstance(reply, Ready):
                    raise WorkerFailure(_NO_ANSWER)
        except BaseException:
            process.kill("not prepared")
            self._dying.append(process)
            raise
        return worker

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
            raise await self._faulted(reply, cpu_ms)
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
        self._candles = request.candles
        frames = worker.take_in(request.candles)
        coming = request.forming
        forming = b""
        if coming is not None:
            forming = pack_row(
                coming.open_ms, coming.open, coming.high, coming.low, coming.close, coming.volume
            )
        frames += evaluate_frame(
            number,
            len(request.candles),
            soft_ms,
            forming,
            request.account.available_balance,
            request.account.positions,
        )
        with self._reserve(is_first):
            reply, cpu_ms = await worker.process.ask(number, frames, budget)
        if not isinstance(reply, Result | Fault):
            worker.process.kill(_NO_ANSWER)
            raise worker.process.failure or WorkerFailure("")
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

    def _result(self, result: Result, cpu_ms: float, request: EvaluationRequest) -> ScriptResult:
        name = "action_if_true" if result.condition else "action_if_false"
        action = result.if_true if result.condition else result.if_false
        prints, dropped = self._prints(result.printed, result.dropped_bytes)
        try:
            action = checked_action(action)
        except ValueError as error:
            raise self._error(
                f"{name}: {error}",
                _newest_of(request),
                last_mention(self._lines, name),
                prints=prints,
            ) from None
        warnings = [clean_line(text, MAX_MESSAGE) for text in result.warnings]
        if dropped:
            warnings.append(f"{dropped} bytes of printed text were dropped: too much output")
        return ScriptResult(
            condition=result.condition,
            action=action,
            prints=prints,
            warnings=tuple(warnings),
            plots=checked_plots(result),
            marks=checked_marks(result),
            cpu_ms=cpu_ms,
        )

    def _prints(self, printed: str, dropped: int) -> tuple[tuple[str, ...], int]:
        if not printed:
            return (), dropped
        kept = self._output.take(printed)
        if kept is None:
            return (), dropped + len(printed.encode("utf-8", "replace"))
        lines = clean(kept).removesuffix("\n").split("\n")
        dropped += sum(len(line.encode("utf-8", "replace")) + 1 for line in lines[MAX_PRINT_LINES:])
        return tuple(lines[:MAX_PRINT_LINES]), dropped

    async def _faulted(self, fault: Fault, cpu_ms: float, candle: str | None = None) -> ScriptError:
        """Return the error of an answer that is a fault; budgets cost the worker its life.

        `candle` is None while the script is only loaded.
        """
        prints, _ = self._prints(fault.printed, 0)
        place = (fault.line, fault.column, fault.end_column)
        limits = self._limits
        match fault.kind:
            case "script" | "veto":
                message = clean_line(fault.message, MAX_MESSAGE)
                return self._error(message, candle or "", place, prints=prints)
            case "time":
                is_first = self._evaluations == 1
                limit = limits.first_cpu_ms if is_first else limits.cpu_ms
                limit = limits.load_cpu_ms if candle is None else limit
                message = f"stopped after {cpu_ms:.0f} ms of CPU time (limit {limit} ms)"
            case "awaits":
                message = f"stopped after {limits.awaits} awaits"
            case "memory":
                message = f"stopped: out of memory (limit {limits.memory_mb} MB)"
            case "worker":
                message = clean_line(fault.message, MAX_MESSAGE)
        if candle is None:
            return self._error(message, "", place, prints=prints)
        self._replace()
        await self._reap()
        return self._error(f"{message}. {_NO_ORDER}", candle, place, breach=True, prints=prints)

    async def _broken(self, failure: WorkerFailure, candle: str) -> ScriptError:
        told = await self._reap()
        # What was wrong with an answer may be told in the answer's own words.
        message = clean_line(told or failure.text, MAX_MESSAGE)
        line = failure.line
        if line is not None and not 1 <= line <= len(self._lines):
            line = None
        place = (line, None, None)
        text = f"{message}. {_NO_ORDER}"
        is_security = SECURITY_EVENT in message
        return self._error(text, candle, place, breach=failure.is_breach, security=is_security)

    def _error(
        self,
        message: str,
        candle: str,
        place: tuple[int | None, int | None, int | None] = (None, None, None),
        *,
        breach: bool = False,
        security: bool = False,
        prints: tuple[str, ...] = (),
    ) -> ScriptError:
        line, column, end_column = place
        text = fault_text(
            self._file_name,
            message,
            self._lines,
            line=line,
            column=column,
            end_column=end_column,
            candle=candle,
        )
        return ScriptError(
            text,
            script=stem_of(self._path),
            message=message,
            line=line,
            column=column,
            breach=breach,
            security=security,
            prints=prints,
        )


def _newest_of(request: EvaluationRequest) -> str:
    """Return the open time of the candle that is decided on, for messages."""
    if request.forming is not None:
        return iso_minute(request.forming.open_ms)
    return iso_minute(request.candles.candle(-1).open_ms) if len(request.candles) else ""


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
