"""Random scripts against the worker, against plain CPython, and a look at what they hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, time, timedelta, timezone
from types import (
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any, Final

import numpy as np

from milo.clock import monotonic_s
from milo.script.faults import ScriptFault
from milo.script.guards import VirtualModule
from milo.script.history import History
from milo.script.protocol import (
    Fault,
    Loaded,
    LoadOptions,
    Result,
    candle_frames,
    evaluate_frame,
    load_frame,
)
from milo.script.runner import Outcome, ScriptRunner
from milo.script.text import clean, clean_line
from milo.script.views import CandleBase, CandleView, SeriesBase
from milo.script.worker.process import Budget, WorkerFailure, WorkerProcess
from tests.fuzz.mutations import Calls, Mutations
from tests.fuzz.programs import Programs
from tests.plain_python import printed_by_cpython
from tests.script_runs import _import_for_compiled_code, walk

_CANDLES: Final = walk(60)
_MEMORY_MB: Final = 128
_CPU_MS: Final = 100
_AWAITS: Final = 1_000
_OPTIONS: Final = LoadOptions(name="fuzz.script", max_awaits=_AWAITS, recursion=200)
# Told by the size checks, by Python's own limits, or because the program nests too deeply: all
# written in docs/scripts.md, and none of them is what plain CPython would say.
_DOCUMENTED: Final = ("too large", "too many", "Exceeds the limit", "recursion", "nested more than")


@dataclass
class Finds:
    """What went wrong, each with the program that shows it, and how often what happened."""

    counts: Counter[str] = field(default_factory=Counter)
    programs: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, text: str) -> None:
        self.programs.append((what, text))


class WatchedRunner(ScriptRunner):
    """Looks at everything that a script has left behind before it is thrown away."""

    def __init__(self) -> None:
        super().__init__(max_awaits=_AWAITS, recursion=200, c_import=_import_for_compiled_code)
        self.strange: list[str] = []

    def _outcome(self, namespace: dict[str, Any]) -> Outcome:
        held = {name: value for name, value in namespace.items() if not name.startswith("__")}
        given = list(self._builtins.values())
        given += [
            member
            for module in given
            if isinstance(module, VirtualModule)
            for member in vars(module).values()
        ]
        self.strange = [
            f"{name} holds {found!r}"
            for name, value in held.items()
            for found in _forbidden(value, namespace, given)
        ]
        return super()._outcome(namespace)


_NEVER: Final = (
    FrameType, CodeType, TracebackType, ModuleType, np.ndarray, np.generic, CandleBase, SeriesBase,
    History, ScriptRunner, bytes, bytearray, memoryview,
)  # fmt: skip


def _forbidden(value: Any, own: dict[str, Any], given: list[Any], depth: int = 3) -> list[object]:
    """Return what no script may hold: parts of the interpreter, of numpy, of the host."""
    if isinstance(value, _NEVER):
        return [value]
    if isinstance(value, FunctionType):
        is_given = any(value is item for item in given)
        is_method = value.__qualname__.startswith(("guarded_method.", "_unbound.", "_bounded."))
        return [] if value.__globals__ is own or is_given or is_method else [value]
    if isinstance(value, MethodType | BuiltinFunctionType):
        is_given = any(value == item for item in given)
        return [] if is_given or isinstance(value.__self__, _VALUES) else [value]
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [bad for item in list(value)[:50] for bad in _forbidden(item, own, given, depth - 1)]
    if depth and isinstance(value, dict):
        parts = [*value.keys(), *value.values()][:100]
        return [bad for item in parts for bad in _forbidden(item, own, given, depth - 1)]
    return []


_VALUES: Final = (
    str, int, float, list, tuple, dict, set, frozenset, range, slice, type, CandleView,
    GeneratorType,
    CoroutineType, date, time, timedelta, timezone,
)  # fmt: skip
"""Methods of these are a script's own business (tests/golden/script_attributes.txt)."""


class ScriptFuzz:
    """One worker after another, each for as many programs as it survives."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._programs = Programs(self._rng)
        self._mutations = Mutations(self._rng)
        self._calls = Calls(self._rng)
        self._worker: WorkerProcess | None = None
        self.finds = Finds()

    async def run(self, count: int | None, until_s: float) -> None:
        """Judge `count` programs (None: no limit), and stop at a time of the monotonic clock."""
        made = 0
        try:
            while (count is None or made < count) and monotonic_s() < until_s:
                made += 1
                match made % 5:
                    case 0:
                        await self.judge(self._calls.program(), is_plain=False, is_pure=True)
                    case 1 | 2:
                        await self.judge(self._mutations.program(), is_plain=False)
                    case _:
                        await self.judge(self._programs.program(), is_plain=True)
        finally:
            await self._end()

    async def judge(self, text: str, *, is_plain: bool, is_pure: bool = False) -> None:
        """Run one program in the worker and here, and note whatever must not be.

        `is_plain`: it must print what CPython prints. `is_pure`: numbers only, the same everywhere.
        """
        raw = text.encode("utf-8", "replace")
        try:
            reply = await self._asked(raw)
        except WorkerFailure as failure:
            told = f"{failure.text} {await self._end()}".strip()
            self.finds.counts["killed"] += 1
            if "CPU time" not in told and "used up its processor time" not in told:
                self.finds.add(f"the worker failed: {told}", text)
            return
        if isinstance(reply, Fault):
            await self._judge_fault(reply, text, is_plain)
            return
        self.finds.counts["ran"] += 1
        runner = WatchedRunner()
        ours = self._run_here(runner, raw)
        if ours is None or isinstance(ours, ScriptFault):
            self.finds.add(f"ran in the worker, but not here: {ours}", text)
            return
        if runner.strange:
            self.finds.add(f"strange: {runner.strange}", text)
        if is_pure and reply.printed != "".join(runner.session.printed):
            self.finds.add(f"printed {reply.printed!r} in the worker, not so here", text)
        if is_plain:
            await self._compare(reply, text)

    async def _judge_fault(self, fault: Fault, text: str, is_plain: bool) -> None:
        self.finds.counts[fault.kind] += 1
        if fault.kind == "veto":
            self.finds.add(f"only the second check refused it: {fault.message}", text)
        elif fault.kind == "worker":
            self.finds.add(f"the worker gave up: {fault.message}", text)
        if fault.message != clean_line(fault.message, 500):
            self.finds.add(f"an error that is not clean: {fault.message!a}", text)
        if not is_plain or fault.kind != "script":
            return
        try:
            printed = await asyncio.to_thread(printed_by_cpython, text)
        except Exception as error:
            told = clean_line(str(error), 300)[:40]
            is_same = fault.message.startswith(type(error).__name__) and told in fault.message
            if not is_same and not any(words in fault.message for words in _DOCUMENTED):
                self.finds.add(f"said {fault.message!r} for {error!r}", text)
            self.finds.counts["same error"] += is_same
        else:
            if not any(words in fault.message for words in _DOCUMENTED):
                self.finds.add(f"said {fault.message!r}; CPython printed {printed[:80]!r}", text)

    async def _compare(self, reply: Result, text: str) -> None:
        try:
            printed = await asyncio.to_thread(printed_by_cpython, text)
        except Exception as error:
            self.finds.add(f"ran, but CPython said {error!r}", text)
            return
        self.finds.counts["same output"] += 1
        if reply.printed != clean(printed):
            self.finds.add(f"printed {reply.printed!r}, CPython {printed!r}", text)

    def _run_here(self, runner: WatchedRunner, raw: bytes) -> Outcome | ScriptFault | None:
        """What ended in time in the worker ends here too."""
        history = History()
        history.extend(candle_frames(_CANDLES, 0)[5:])
        try:
            runner.load("fuzz.script", raw)
            return runner.evaluate(history.base(b""), len(history), (10_000.0, []))
        except ScriptFault as fault:
            return fault

    async def _asked(self, raw: bytes) -> Result | Fault:
        if self._worker is None:
            self._worker = WorkerProcess(memory_mb=_MEMORY_MB)
            await self._worker.ask(0, b"", Budget(cpu_ms=None, wall_s=60))
            self._worker.send(candle_frames(_CANDLES, 0))
            self.finds.counts["workers"] += 1
        worker = self._worker
        budget = Budget(cpu_ms=2_000, wall_s=60)
        loaded, _ = await worker.ask(1, load_frame(1, 1_900, _OPTIONS, raw), budget)
        if not isinstance(loaded, Loaded):
            assert isinstance(loaded, Fault)
            return loaded
        frames = evaluate_frame(2, len(_CANDLES), _CPU_MS, b"", 10_000.0, ())
        reply, _ = await worker.ask(2, frames, Budget(cpu_ms=2 * _CPU_MS, wall_s=60))
        assert isinstance(reply, Result | Fault)
        return reply

    async def _end(self) -> str:
        worker, self._worker = self._worker, None
        if worker is None:
            return ""
        worker.kill("done")
        return await worker.reap()
