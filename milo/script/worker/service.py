"""The worker: the process in which a script runs (a room; started by milo.script.worker.boot).

Reads requests, writes one reply for each, and ends when the engine closes the pipe. Whatever is
wrong with a request ends it too: the engine starts another.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from milo.clock import processor_s
from milo.script.deciding import Decider
from milo.script.faults import ScriptFault
from milo.script.history import History
from milo.script.language import CheckedScript
from milo.script.limits import MAX_MESSAGE, MAX_WARNINGS
from milo.script.names import ACCOUNT_NAMES
from milo.script.policy import Vetoed
from milo.script.protocol import (
    CANDLES,
    COLUMN,
    COLUMN_HEAD_BYTES,
    DECIDE,
    EVALUATE,
    EXPLAIN,
    HISTORY,
    INPUTS,
    LOAD,
    MAX_REQUEST_BYTES,
    PING,
    Explained,
    Fault,
    FrameError,
    FrameReader,
    Loaded,
    Ready,
    Reply,
    Result,
    WireInput,
    WirePlot,
    parse_column,
    parse_decide,
    parse_evaluate,
    parse_history,
    parse_inputs,
    parse_load,
    parse_ping,
    reply_frame,
)
from milo.script.runner import Account, BudgetFault, ScriptRunner, TimeBudget
from milo.script.text import clean_line
from milo.script.views import CandleBase
from milo.script.worker.backend import backend_of
from milo.script.worker.confine import Exposed

_READ_BYTES: Final = 64 * 1024
"""Python asks for that much memory at each read; a MiB would be mapped and unmapped each time,
which took a third of an evaluation."""
_TICK_S: Final = 0.01
_COLUMNS_KEPT: Final = 12
"""Of indicators, from one set of inputs to the next: arrays over candles need room beside them."""
_COMPILED_CODE_IMPORTS: Final = ("_strptime", "time")
"""What datetime's compiled code imports while it works."""
_LATE_IMPORTS: Final = (
    *_COMPILED_CODE_IMPORTS, "unicodedata", "encodings.idna", "encodings.utf_8_sig", "linecache",
)  # fmt: skip
"""What the interpreter imports when it first needs it: after the lock it could not."""


def serve(fd_in: int, fd_out: int, memory_mb: int, engine: int) -> None:
    """Lock this process in, then answer requests until the pipe closes.

    `engine` is the process id of the parent, with which this process ends.
    """
    backend = backend_of()
    backend.follow(engine)
    worker = prepare(fd_out)
    # It asks the kernel about its descriptor, which it could not behind the lock.
    requests = io.FileIO(fd_in, closefd=False)
    try:
        held = backend.lock(memory_mb)
    except (Exposed, OSError) as error:
        text = clean_line(f"the script worker cannot be locked: {error}", MAX_MESSAGE)
        worker.send(Fault(request=0, kind="worker", message=text))
        return
    worker.send(Ready(request=0, held=held))
    reader = FrameReader(MAX_REQUEST_BYTES)
    while received := os.read(fd_in, _READ_BYTES):
        for kind, payload in reader.feed(received):
            worker.handle(kind, payload)
        begun = reader.begun(COLUMN, COLUMN_HEAD_BYTES)
        if begun is not None and not worker.take_column(requests, *begun):
            return


def prepare(fd_out: int) -> Worker:
    """Do all that is possible only before the lock: imports, signals, settings of libraries."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for name in _LATE_IMPORTS:
        __import__(name)
    # The engine's thread may have blocked signals, and a program that is started inherits that.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    worker = Worker(fd_out)
    # What lives now lives as long as the process: no need to look at it again and again.
    gc.collect()
    gc.freeze()
    return worker


class _Timer:
    """CPU time of an evaluation, held from inside so that the error can name the line.

    A courtesy: the engine counts the same time from outside and kills. Where many candles are
    decided in one go, a tick looks now and then how long the one at hand has been running.
    """

    def __init__(self, fd_out: int) -> None:
        self.limit_s = 0.0
        """What one candle may take."""
        self.slice_s = 0.0
        """After this no other is begun, where there are many."""
        self.file_name = ""
        """The script's, in tracebacks."""
        self.line: int | None = None
        """Where the script was when its time was spent."""
        self.is_fresh = False
        self.is_over = False
        self.is_spent = False
        self._is_armed = False
        self._is_many = False
        self._began_s = self._candle_s = self._tick_s = 0.0
        signal.signal(signal.SIGPROF, self._on_signal)
        # In the midst of one long operation no Python code gets to run, and no `_on_signal`: when
        # the engine's own count is over, it asks for the line by this signal, and kills.
        faulthandler.register(signal.SIGUSR1, file=fd_out, all_threads=False)

    def arm(self, *, is_many: bool = False) -> None:
        self.line = None
        self.is_over = self.is_spent = self.is_fresh = False
        self._is_many = is_many
        self._is_armed = True
        if not is_many:
            signal.setitimer(signal.ITIMER_PROF, self.limit_s)
            return
        self._began_s = self._candle_s = self._tick_s = processor_s()
        signal.setitimer(signal.ITIMER_PROF, _TICK_S, _TICK_S)

    def disarm(self) -> None:
        self._is_armed = False
        signal.setitimer(signal.ITIMER_PROF, 0.0)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A signal may arrive just after the evaluation it was meant for.
        if not self._is_armed or (self._is_many and not self._is_too_long()):
            return
        self._is_armed = False
        self.is_spent = True
        while frame is not None and frame.f_code.co_filename != self.file_name:
            frame = frame.f_back
        self.line = None if frame is None else frame.f_lineno
        raise TimeBudget

    def _is_too_long(self) -> bool:
        """Say whether the candle at hand has used up its time; it began since the last tick."""
        now_s = processor_s()
        if self.is_fresh:
            self.is_fresh = False
            self._candle_s = self._tick_s
        self._tick_s = now_s
        self.is_over = now_s - self._began_s >= self.slice_s
        return now_s - self._candle_s >= self.limit_s


def _import_for_compiled_code(name: str, *_: Any) -> Any:
    if name in _COMPILED_CODE_IMPORTS:
        return sys.modules[name]
    raise ImportError(f"'{name}' is not available to scripts")


class _Asked(NamedTuple):
    """One candle to evaluate; of `base` the first `known` are closed, and `until` ends them."""

    request: int
    base: CandleBase
    known: int
    until: int
    account: Account


class Worker:
    """One script, its candles, and the replies to the engine."""

    def __init__(self, fd_out: int) -> None:
        self._fd_out = fd_out
        self._timer = _Timer(fd_out)
        self._history = History()
        self._runner: ScriptRunner | None = None
        self._decider: Decider | None = None
        self._script: CheckedScript | None = None

    def send(self, reply: Reply) -> None:
        """Write one reply."""
        rest = memoryview(reply_frame(reply))
        while rest:
            rest = rest[os.write(self._fd_out, rest) :]

    def handle(self, kind: int, payload: bytes) -> None:
        """Carry out one request; raises FrameError for what is none."""
        if kind == CANDLES:
            self._history.extend(payload)
        elif kind == COLUMN:
            self._history.put_column(*parse_column(payload))
        elif kind == DECIDE:
            self.send(self._decide(payload))
        elif kind == EVALUATE:
            self.send(self._evaluate(payload))
        elif kind == EXPLAIN:
            self.send(self._explain(payload))
        elif kind == HISTORY:
            self._history.clear(parse_history(payload))
        elif kind == LOAD:
            self.send(self._load(payload))
        elif kind == INPUTS and self._runner is not None:
            self._set_inputs(self._runner, parse_inputs(payload))
        elif kind == PING:
            self.send(Ready(request=parse_ping(payload)))
        else:
            raise FrameError(f"unknown request {kind}")

    def take_column(self, requests: io.FileIO, length: int, begun: bytes) -> bool:
        """Read the rest of a part of a column straight into its place; False where the pipe ends.

        `length` is that of the frame's whole payload, of which `begun` is here. Read as frames, a
        million candles would be copied three times.
        """
        number, first, values = parse_column(begun)
        room = self._history.room(number, first, length - COLUMN_HEAD_BYTES)
        room[: len(values)] = values
        room = room[len(values) :]
        while room:
            count = requests.readinto(room)
            if not count:
                return False
            room = room[count:]
        return True

    def _set_inputs(self, runner: ScriptRunner, inputs: dict[str, float]) -> None:
        """Begin anew with other inputs; indicators stay while they are few."""
        runner.session.inputs = inputs
        self._history.forget_many(_COLUMNS_KEPT)
        if self._script is not None:
            self._decider = Decider(runner, self._script)

    def _load(self, payload: bytes) -> Reply:
        request, soft_ms, options, raw = parse_load(payload)
        runner = ScriptRunner(
            max_awaits=options.max_awaits,
            recursion=options.recursion,
            c_import=_import_for_compiled_code,
            bounds=self._timer,
        )
        self._timer.limit_s = soft_ms / 1000
        self._timer.arm()
        try:
            script = runner.load(options.name, raw)
        except Vetoed as fault:
            return _fault(request, "veto", fault)
        except ScriptFault as fault:
            return _fault(request, "script", fault)
        except TimeBudget:
            return Fault(request=request, kind="time", message="")
        except MemoryError:
            return Fault(request=request, kind="memory", message="")
        finally:
            self._timer.disarm()
        self._runner = runner
        self._script = script
        self._decider = Decider(runner, script)
        self._timer.file_name = f"<{options.name}>"
        inputs = [
            WireInput(name=item.name, default=item.default, low=item.low, high=item.high)
            for item in script.header.inputs
        ]
        return Loaded(
            request=request,
            timeframe=script.header.timeframe,
            coin=script.header.coin,
            indicators=script.indicators,
            inputs=tuple(inputs),
            warnings=tuple(
                clean_line(text, MAX_MESSAGE) for text in script.warnings[:MAX_WARNINGS]
            ),
            reads_account=not ACCOUNT_NAMES.isdisjoint(script.used_names),
        )

    def _evaluate(self, payload: bytes) -> Reply:
        return self._asked(payload, self._result)

    def _explain(self, payload: bytes) -> Reply:
        return self._asked(payload, self._explained)

    def _asked(self, payload: bytes, answer: Callable[[ScriptRunner, _Asked], Reply]) -> Reply:
        """Answer a request about one candle, or say what went wrong with it."""
        request, known, soft_ms, forming, balance, positions = parse_evaluate(payload)
        runner = self._runner
        here = len(self._history)
        if runner is None or (known > here if not forming else known != here):
            raise FrameError(f"{known} candles announced, {here} are here")
        self._timer.limit_s = soft_ms / 1000
        base = self._history.base(forming)
        count = known + 1 if forming else known
        try:
            return answer(runner, _Asked(request, base, known, count, (balance, positions)))
        except BudgetFault as fault:
            if fault.line is None:
                # Where an error was swallowed, its place is lost with it.
                fault.line = self._timer.line
            return _fault(request, fault.kind, fault, self._printed(runner))
        except ScriptFault as fault:
            return _fault(request, "script", fault, self._printed(runner))
        except TimeBudget:
            return Fault(request=request, kind="time", message="", line=self._timer.line)
        except MemoryError:
            return Fault(request=request, kind="memory", message="")

    def _explained(self, runner: ScriptRunner, asked: _Asked) -> Reply:
        outcome, fault, watch = runner.explain(
            asked.base, asked.known, asked.account, count=asked.until
        )
        steps, left_out = watch.steps(outcome.condition)
        return Explained(
            request=asked.request,
            condition=outcome.condition,
            if_true=outcome.if_true,
            if_false=outcome.if_false,
            error="" if fault is None else clean_line(fault.message, MAX_MESSAGE),
            warnings=outcome.warnings,
            steps=steps,
            left_out=left_out,
        )

    def _result(self, runner: ScriptRunner, asked: _Asked) -> Reply:
        outcome = runner.evaluate(asked.base, asked.known, asked.account, count=asked.until)
        session = runner.session
        return Result(
            request=asked.request,
            condition=outcome.condition,
            if_true=outcome.if_true,
            if_false=outcome.if_false,
            printed=self._printed(runner),
            dropped_bytes=session.dropped_bytes,
            warnings=outcome.warnings,
            plots=tuple(
                WirePlot(name=name, pane=pane, value=value)
                for (name, pane), value in session.plots.items()
                if np.isfinite(value)
            ),
            marks=tuple(session.marks),
        )

    def _decide(self, payload: bytes) -> Reply:
        asked = parse_decide(payload)
        here = len(self._history)
        if self._decider is None or not asked.first < asked.stop <= here:
            raise FrameError(f"{asked.stop} candles announced, {here} are here")
        self._timer.limit_s = asked.candle_ms / 1000
        self._timer.slice_s = asked.slice_ms / 1000
        try:
            reply = self._decider.decided(self._history.base(), asked)
        except TimeBudget:
            return Fault(request=asked.request, kind="time", message="", line=self._timer.line)
        except MemoryError:
            return Fault(request=asked.request, kind="memory", message="")
        if reply.breach is not None and reply.breach.line is None:
            breach = msgspec.structs.replace(reply.breach, line=self._timer.line)
            reply = msgspec.structs.replace(reply, breach=breach)
        return reply

    @staticmethod
    def _printed(runner: ScriptRunner) -> str:
        return "".join(runner.session.printed)


def _fault(request: int, kind: str, fault: ScriptFault, printed: str = "") -> Fault:
    return Fault(
        request=request,
        kind=kind,  # type: ignore[arg-type]  # one of the schema's words
        message=clean_line(fault.message, MAX_MESSAGE),
        line=fault.line,
        column=fault.column,
        end_column=fault.end_column,
        printed=printed,
    )
