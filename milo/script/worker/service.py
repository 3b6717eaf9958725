"""The worker: the process in which a script runs (a room; started by milo.script.worker.boot).

Reads requests, writes one reply for each, and ends when the engine closes the pipe. Whatever is
wrong with a request ends it too: the engine starts another.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import warnings
from types import FrameType
from typing import Any, Final

import numpy as np

from milo.script.faults import ScriptFault
from milo.script.history import History
from milo.script.limits import MAX_MESSAGE, MAX_WARNINGS
from milo.script.policy import Vetoed
from milo.script.protocol import (
    CANDLES,
    EVALUATE,
    HISTORY,
    INPUTS,
    LOAD,
    MAX_REQUEST_BYTES,
    PING,
    Fault,
    FrameError,
    FrameReader,
    Loaded,
    Ready,
    Reply,
    Result,
    WireInput,
    WirePlot,
    parse_evaluate,
    parse_inputs,
    parse_load,
    parse_ping,
    reply_frame,
)
from milo.script.runner import BudgetFault, ScriptRunner, TimeBudget
from milo.script.text import clean_line
from milo.script.worker.backend import backend_of
from milo.script.worker.confine import Exposed

_READ_BYTES: Final = 64 * 1024
"""Python asks for that much memory at each read; a MiB would be mapped and unmapped each time,
which took a third of an evaluation."""
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

    A courtesy: the engine counts the same time from outside and kills.
    """

    def __init__(self, fd_out: int) -> None:
        self.limit_s = 0.0
        self.file_name = ""
        """The script's, in tracebacks."""
        self.line: int | None = None
        """Where the script was when its time was spent."""
        self._is_armed = False
        self._is_spent = False
        signal.signal(signal.SIGPROF, self._on_signal)
        # In the midst of one long operation no Python code gets to run, and no `_on_signal`: when
        # the engine's own count is over, it asks for the line by this signal, and kills.
        faulthandler.register(signal.SIGUSR1, file=fd_out, all_threads=False)

    def arm(self) -> None:
        self._is_armed = True
        self._is_spent = False
        self.line = None
        signal.setitimer(signal.ITIMER_PROF, self.limit_s)

    def disarm(self) -> bool:
        """Stop, and say whether the time was spent."""
        self._is_armed = False
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        return self._is_spent

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A signal may arrive just after the evaluation it was meant for.
        if self._is_armed:
            self._is_armed = False
            self._is_spent = True
            while frame is not None and frame.f_code.co_filename != self.file_name:
                frame = frame.f_back
            self.line = None if frame is None else frame.f_lineno
            raise TimeBudget


def _import_for_compiled_code(name: str, *_: Any) -> Any:
    if name in _COMPILED_CODE_IMPORTS:
        return sys.modules[name]
    raise ImportError(f"'{name}' is not available to scripts")


class Worker:
    """One script, its candles, and the replies to the engine."""

    def __init__(self, fd_out: int) -> None:
        self._fd_out = fd_out
        self._timer = _Timer(fd_out)
        self._history = History()
        self._runner: ScriptRunner | None = None

    def send(self, reply: Reply) -> None:
        """Write one reply."""
        rest = memoryview(reply_frame(reply))
        while rest:
            rest = rest[os.write(self._fd_out, rest) :]

    def handle(self, kind: int, payload: bytes) -> None:
        """Carry out one request; raises FrameError for what is none."""
        if kind == CANDLES:
            self._history.extend(payload)
        elif kind == EVALUATE:
            self.send(self._evaluate(payload))
        elif kind == HISTORY:
            self._history.clear()
        elif kind == LOAD:
            self.send(self._load(payload))
        elif kind == INPUTS and self._runner is not None:
            self._runner.session.inputs = parse_inputs(payload)
        elif kind == PING:
            self.send(Ready(request=parse_ping(payload)))
        else:
            raise FrameError(f"unknown request {kind}")

    def _load(self, payload: bytes) -> Reply:
        request, soft_ms, options, raw = parse_load(payload)
        runner = ScriptRunner(
            max_awaits=options.max_awaits,
            recursion=options.recursion,
            c_import=_import_for_compiled_code,
            arm=self._timer.arm,
            disarm=self._timer.disarm,
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
        )

    def _evaluate(self, payload: bytes) -> Reply:
        request, known, soft_ms, forming, balance, positions = parse_evaluate(payload)
        runner = self._runner
        if runner is None or known != len(self._history):
            raise FrameError(f"{known} candles announced, {len(self._history)} are here")
        self._timer.limit_s = soft_ms / 1000
        try:
            outcome = runner.evaluate(self._history.base(forming), known, (balance, positions))
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
        session = runner.session
        return Result(
            request=request,
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
