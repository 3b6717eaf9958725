"""ScriptExecutor: starts, bounds and kills the process in which a script runs.

One script, one worker process, one request at a time, one answer, one deadline. Nothing that a
worker sends is believed: every answer is decoded by a fixed schema, cleaned, and its action parsed
here. Whatever goes wrong with a worker, it is killed first and asked nothing afterwards.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from milo.candles import Candles
from milo.clock import iso_minute, monotonic_s
from milo.errors import ConfigError, InvariantBroken, ScriptError
from milo.intervals import INTERVALS
from milo.model import Candle, Plot, ScriptHeader, ScriptInput, ScriptResult
from milo.script.actions import parse_action
from milo.script.faults import fault_text, last_mention
from milo.script.inputs import input_values
from milo.script.limits import MAX_LABEL, MAX_MARK, MAX_MESSAGE, MAX_TEXT_BYTES, ScriptLimits
from milo.script.protocol import (
    Fault,
    Loaded,
    LoadOptions,
    Result,
    candle_frames,
    evaluate_frame,
    history_frame,
    inputs_frame,
    load_frame,
    pack_row,
    ping_frame,
)
from milo.script.request import AccountView, EvaluationRequest, PositionView
from milo.script.text import clean, clean_line, shown_source
from milo.script.worker.process import Budget, WorkerFailure, WorkerProcess

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
_LONGEST_NAME: Final = 255


@dataclass(slots=True)
class _Prepared:
    """A worker with the script loaded, and what it has been told of the candles."""

    process: WorkerProcess
    header: ScriptHeader
    known: int = 0
    last: Candle | None = None


class ScriptExecutor:
    """Runs one script in a worker process: `start`, then `evaluate` one at a time, then `close`."""

    def __init__(
        self,
        path: Path,
        *,
        inputs: Mapping[str, float] | None = None,
        limits: ScriptLimits | None = None,
    ) -> None:
        self._path = path
        self._inputs = dict(inputs or {})
        self._limits = limits or ScriptLimits()
        self._raw = b""
        self._lines: list[str] = []
        self._worker: _Prepared | None = None
        self._preparing: asyncio.Task[_Prepared] | None = None
        self._dying: list[WorkerProcess] = []
        self._candles: Candles | None = None
        self._requests = 0
        self._evaluations = 0
        self._is_busy = False
        self._output = _OutputMeter(self._limits.run_output_bytes)

    async def start(self) -> ScriptHeader:
        """Load and check the script in a fresh worker and return what it says about itself.

        Raises ScriptError with file, line, column and source line where it is refused or cannot
        be read, ConfigError where the inputs do not fit it.
        """
        self._raw = _read(self._path)
        text = self._raw.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        self._lines = [shown_source(line) for line in text.split("\n")]
        try:
            self._worker = await self._prepare()
        except WorkerFailure as failure:
            raise await self._broken(failure, "") from None
        return self._worker.header

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

    # -- the worker --------------------------------------------------------------------------

    async def _prepare(self) -> _Prepared:
        """Start a worker and load the script and the last known candles into it."""
        limits = self._limits
        try:
            process = WorkerProcess(memory_mb=limits.memory_mb)
        except OSError as error:
            raise WorkerFailure(f"the script's process cannot start: {error}") from error
        try:
            start = Budget(cpu_ms=None, wall_s=limits.start_wall_s)
            reply, _ = await process.ask(0, b"", start)
            if isinstance(reply, Fault):
                raise WorkerFailure(clean_line(reply.message, MAX_MESSAGE))
            header = await self._load(process)
            process.send(inputs_frame(self._checked_inputs(header)))
            worker = _Prepared(process, header)
            if self._candles is not None:
                # Taken in before the next evaluation, so that its time is not charged for it.
                number = self._next_number()
                frames = _candle_frames(worker, self._candles) + ping_frame(number)
                await process.ask(number, frames, start)
        except BaseException:
            process.kill("not prepared")
            self._dying.append(process)
            raise
        return worker

    async def _load(self, process: WorkerProcess) -> ScriptHeader:
        budget, soft_ms = self._budget(self._limits.load_cpu_ms)
        options = LoadOptions(
            name=self._path.name,
            max_awaits=self._limits.awaits,
            recursion=self._limits.recursion,
        )
        number = self._next_number()
        reply, cpu_ms = await process.ask(
            number, load_frame(number, soft_ms, options, self._raw), budget
        )
        if isinstance(reply, Fault):
            if reply.kind == "veto":
                _log.warning("script_veto script=%s reason=%r", self._path.name, reply.message)
            raise await self._faulted(reply, cpu_ms)
        if not isinstance(reply, Loaded):
            raise WorkerFailure("the worker sent what is no answer (security event)")
        return self._header(reply)

    def _checked_inputs(self, header: ScriptHeader) -> dict[str, float]:
        try:
            return input_values(header.inputs, self._inputs)
        except ValueError as error:
            raise ConfigError(f"{self._path.name}: {error}") from None

    async def _ready(self) -> _Prepared:
        """Return the worker; waits where a replacement is still being prepared."""
        worker = self._worker
        if worker is not None and worker.process.failure is not None:
            failure = worker.process.failure
            self._replace()
            if not failure.is_silent_end:
                raise failure
            _log.warning("script_worker_lost script=%s", self._path.name)
            worker = None
        if worker is None:
            if self._preparing is None:
                self._replace()
            assert self._preparing is not None
            await asyncio.wait({self._preparing})
            preparing, self._preparing = self._preparing, None
            worker = self._worker = preparing.result()
        return worker

    async def _ask(
        self, worker: _Prepared, request: EvaluationRequest
    ) -> tuple[Result | Fault, float]:
        is_first = self._evaluations == 0
        self._evaluations += 1
        budget, soft_ms = self._budget(
            self._limits.first_cpu_ms if is_first else self._limits.cpu_ms
        )
        number = self._next_number()
        self._candles = request.candles
        frames = _candle_frames(worker, request.candles)
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
        reply, cpu_ms = await worker.process.ask(number, frames, budget)
        if not isinstance(reply, Result | Fault):
            worker.process.kill("the worker sent what is no answer (security event)")
            raise worker.process.failure or WorkerFailure("")
        return reply, cpu_ms

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
        """Wait for the killed processes; return what the end of the last one tells."""
        told = ""
        while self._dying:
            told = await self._dying.pop(0).reap()
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

    def _header(self, loaded: Loaded) -> ScriptHeader:
        inputs = tuple(
            ScriptInput(name=item.name, default=item.default, low=item.low, high=item.high)
            for item in loaded.inputs
        )
        words = [*loaded.indicators, *(item.name for item in inputs)]
        if loaded.coin is not None:
            words.append(loaded.coin)
        is_known = loaded.timeframe is None or loaded.timeframe in INTERVALS
        if not is_known or any(clean_line(word, MAX_LABEL) != word for word in words):
            raise WorkerFailure("the worker sent what is no answer (security event)")
        return ScriptHeader(
            name=self._path.stem,
            timeframe=loaded.timeframe,
            coin=loaded.coin,
            indicators=loaded.indicators,
            inputs=inputs,
            text_sha256=hashlib.sha256(self._raw).hexdigest(),
            warnings=tuple(clean_line(text, MAX_MESSAGE) for text in loaded.warnings),
        )

    def _result(self, result: Result, cpu_ms: float, request: EvaluationRequest) -> ScriptResult:
        name = "action_if_true" if result.condition else "action_if_false"
        action = result.if_true if result.condition else result.if_false
        prints, dropped = self._prints(result.printed, result.dropped_bytes)
        try:
            action = _checked_action(action)
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
            plots=tuple(
                Plot(
                    name=clean_line(plot.name, MAX_LABEL),
                    pane=clean_line(plot.pane, MAX_LABEL),
                    value=plot.value,
                )
                for plot in result.plots
            ),
            marks=tuple(clean_line(mark, MAX_MARK) for mark in result.marks),
            cpu_ms=cpu_ms,
        )

    def _prints(self, printed: str, dropped: int) -> tuple[tuple[str, ...], int]:
        if not printed:
            return (), dropped
        kept = self._output.take(clean(printed))
        if kept is None:
            return (), dropped + len(printed.encode("utf-8", "replace"))
        return tuple(kept.removesuffix("\n").split("\n")), dropped

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
        return self._error(f"{told or failure.text}. {_NO_ORDER}", candle, breach=True)

    def _error(
        self,
        message: str,
        candle: str,
        place: tuple[int | None, int | None, int | None] = (None, None, None),
        *,
        breach: bool = False,
        prints: tuple[str, ...] = (),
    ) -> ScriptError:
        line, column, end_column = place
        text = fault_text(
            self._path.name,
            message,
            self._lines,
            line=line,
            column=column,
            end_column=end_column,
            candle=candle,
        )
        return ScriptError(
            text,
            script=self._path.stem,
            line=line,
            column=column,
            breach=breach,
            prints=prints,
        )


class _OutputMeter:
    """Counts printed text over 24 hours; what is over the limit is not passed on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._since_s = monotonic_s()

    def take(self, text: str) -> str | None:
        """Return the text, or None where the limit is reached."""
        now = monotonic_s()
        if now - self._since_s >= _DAY_S:
            self._used, self._since_s = 0, now
        self._used += len(text.encode("utf-8", "replace"))
        return text if self._used <= self._limit else None


@functools.lru_cache(maxsize=256)
def _checked_action(text: str) -> str:
    """Return an action that the grammar allows, fit to be shown; ValueError for any other."""
    parse_action(text)
    return clean_line(text, MAX_MESSAGE)


def _newest_of(request: EvaluationRequest) -> str:
    """Return the open time of the candle that is decided on, for messages."""
    if request.forming is not None:
        return iso_minute(request.forming.open_ms)
    return iso_minute(request.candles.candle(-1).open_ms) if len(request.candles) else ""


def _candle_frames(worker: _Prepared, candles: Candles) -> bytes:
    """Return what the worker does not know yet, and note that it knows it."""
    count = len(candles)
    known, last = worker.known, worker.last
    if known == count and (last is None or candles.candle(-1) == last):
        return b""
    worker.known = count
    worker.last = candles.candle(-1) if count else None
    # Candles are contiguous: the same one in the same place means the same ones before it.
    if known == 0:
        return candle_frames(candles, 0)
    if known < count and candles.candle(known - 1) == last:
        return candle_frames(candles, known)
    return history_frame() + (candle_frames(candles, 0) if count else b"")


def _read(path: Path) -> bytes:
    name = clean_line(path.name, _LONGEST_NAME)
    if name != path.name:
        # It stands in every message and log line about the script.
        raise ScriptError(
            f"{name}: the file's name holds characters that cannot be shown; rename it",
            script=name.removesuffix(".script"),
        )
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScriptError(f"{path}: cannot be read: {reason}", script=path.stem) from None
    if len(raw) > MAX_TEXT_BYTES:
        raise ScriptError(
            f"{path.name}: larger than {MAX_TEXT_BYTES} bytes (64 KiB), the most that a script"
            " may have",
            script=path.stem,
        )
    if not raw.strip():
        raise ScriptError(f"{path.name}: the file is empty", script=path.stem)
    return raw


async def check_script(path: Path, *, inputs: Mapping[str, float] | None = None) -> ScriptHeader:
    """Load a script in a worker of its own, without running it, and return its header.

    The header names its inputs, indicators and warnings. Raises as `ScriptExecutor.start` does
    where the script is refused.
    """
    executor = ScriptExecutor(path, inputs=inputs)
    try:
        return await executor.start()
    finally:
        await executor.close()
