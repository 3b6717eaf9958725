"""Running hostile scripts in real workers, and what must still hold afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from milo.clock import monotonic_s
from milo.errors import ScriptError
from milo.model import ScriptHeader, ScriptResult
from milo.script.protocol import (
    Fault,
    Loaded,
    LoadOptions,
    Result,
    candle_frames,
    evaluate_frame,
    history_frame,
    load_frame,
)
from milo.script.worker.process import Budget, WorkerProcess
from script_executor import AccountView, EvaluationRequest, ScriptExecutor, ScriptLimits
from tests.hostile.corpus import CANARY, Case
from tests.script_runs import walk

CANDLES: Final = walk(60)
SECRET_NAME: Final = "MILO_HOSTILE_TEST_SECRET"
SECRET: Final = "7f3c-the-engine-alone-knows-this-51ab"
BUDGET_MS: Final = 100
LIMITS: Final = ScriptLimits(
    start_wall_s=60, load_cpu_ms=2_000, first_cpu_ms=2_000, cpu_ms=2_000, wall_floor_s=30,
    memory_mb=96, awaits=5_000,
)  # fmt: skip
"""Time enough for what is to end otherwise: by itself, by memory, by awaits."""
IMPATIENT: Final = replace(LIMITS, first_cpu_ms=BUDGET_MS, cpu_ms=BUDGET_MS)
GOOD: Final = """
rsi = await calculate_rsi(data, 14)
line, signal = await calculate_macd(data)
points = await classify_swing_points(await calculate_zigzag(data), data)
found = await detect_divergences(rsi, points, data, 5, 2)
condition_true = rsi[-1] > 0
action_if_true = long(risk=1, leverage=10, sl="2%", rr=3)
plot(rsi, "RSI")
mark(f"{len(points)} {len(found)}")
print(f"{len(data)} {rsi[-1]!r} {line[-1]!r} {signal[-1]!r} {lastclose!r} {math.pi!r}")
print([p["label"] for p in points], sorted("cab"), max(1, 2), str(1.5), len("abc"))
print(datetime.strptime("2026-01-02", "%Y-%m-%d"), open_positions, available_balance)
"""
AT_ONCE: Final = 2
_SLOWEST_TICK_S: Final = 5.0


def request() -> EvaluationRequest:
    return EvaluationRequest(
        candles=CANDLES, account=AccountView(available_balance=10_000.0), forming=None
    )


@dataclass
class Observed:
    """What became of one case."""

    case: Case
    header: ScriptHeader | None = None
    header_error: ScriptError | None = None
    results: list[ScriptResult | ScriptError] = field(default_factory=list)
    took_s: float = 0.0
    good_beside: list[ScriptResult] = field(default_factory=list)
    """What a good script gave in its own worker right after."""
    good_after: Result | None = None
    """What it gave in the very process that had run the hostile one."""

    def shown(self) -> str:
        """Return every text that came back."""
        parts = [str(self.header_error or "")]
        if self.header is not None:
            parts += [*self.header.warnings, self.header.coin or "", *self.header.indicators]
            parts += [item.name for item in self.header.inputs]
        for result in self.results:
            if isinstance(result, ScriptError):
                parts += [str(result), *result.prints]
            else:
                parts += [result.action, *result.prints, *result.warnings, *result.marks]
                parts += [text for plot in result.plots for text in (plot.name, plot.pane)]
        return "\n".join(parts)


async def run_case(case: Case, folder: Path, good: ScriptExecutor, turn: asyncio.Lock) -> Observed:
    """Evaluate a case twice in a worker of its own, a good script beside it, and one after it."""
    path = folder / f"{case.name}.script"
    path.write_bytes(case.text.replace(CANARY.encode(), str(folder / "canary").encode()))
    is_endless = case.kind == "breach" and case.words in ("stopped", "stopped after")
    executor = ScriptExecutor(path, limits=IMPATIENT if is_endless else LIMITS)
    seen = Observed(case)
    try:
        try:
            seen.header = await executor.start()
        except ScriptError as error:
            seen.header_error = error
        else:
            for _ in range(2):
                started_s = monotonic_s()
                seen.results.append(await _evaluated(executor))
                seen.took_s = max(seen.took_s, monotonic_s() - started_s)
                async with turn:
                    seen.good_beside.append(await good.evaluate(request()))
                last = seen.results[-1]
                if isinstance(last, ScriptError) and last.breach:
                    break
            else:
                assert executor._keeper.worker is not None
                seen.good_after = await good_in(executor._keeper.worker.process)
    finally:
        await executor.close()
        path.unlink()
    return seen


async def _evaluated(executor: ScriptExecutor) -> ScriptResult | ScriptError:
    try:
        return await executor.evaluate(request())
    except ScriptError as error:
        return error


async def good_in(worker: WorkerProcess) -> Result:
    """Load and run the good script in a process in which another one ran before."""
    return await run_in(worker, GOOD.encode())


async def run_in(worker: WorkerProcess, text: bytes) -> Result:
    """Load and run a script that shall run, in a process that may have run others."""
    loaded = await load_in(worker, text)
    assert isinstance(loaded, Loaded), (text, loaded)
    reply = await evaluated_in(worker)
    assert isinstance(reply, Result), (text, reply)
    return reply


async def evaluated_in(worker: WorkerProcess) -> Result | Fault:
    """Evaluate the loaded script once, with time enough for every honest one."""
    frames = history_frame() + candle_frames(CANDLES, 0)
    frames += evaluate_frame(_NUMBER, len(CANDLES), 5_000, b"", 10_000.0, ())
    reply, _ = await worker.ask(_NUMBER, frames, Budget(cpu_ms=10_000, wall_s=60))
    assert isinstance(reply, Result | Fault), reply
    return reply


@asynccontextmanager
async def started_worker() -> AsyncIterator[WorkerProcess]:
    """Start a worker that is ready for `load_in`; it is gone afterwards."""
    worker = WorkerProcess(memory_mb=LIMITS.memory_mb)
    try:
        await worker.ask(0, b"", Budget(cpu_ms=None, wall_s=60))
        yield worker
    finally:
        worker.kill("done")
        await worker.reap()


_NUMBER: Final = 2**30
_OPTIONS: Final = LoadOptions(name="good.script", max_awaits=5_000, recursion=400)


async def load_in(worker: WorkerProcess, text: bytes) -> Loaded | Fault:
    """Load a text in a worker that may have loaded others."""
    frames = load_frame(_NUMBER, 9_000, _OPTIONS, text)
    reply, _ = await worker.ask(_NUMBER, frames, Budget(cpu_ms=10_000, wall_s=60))
    assert isinstance(reply, Loaded | Fault), reply
    return reply


@asynccontextmanager
async def engine_watched(folder: Path) -> AsyncIterator[None]:
    """Check, around hostile scripts, what no script may touch: the engine and its files."""
    canary = folder / "canary"
    canary.write_text(SECRET, encoding="utf-8")
    os.environ[SECRET_NAME] = SECRET
    before = _folder_state(folder)
    open_files, children = _open_files(), _children()
    ticks = asyncio.get_running_loop().create_task(_slowest_tick_s())
    try:
        yield
    finally:
        ticks.cancel()
        del os.environ[SECRET_NAME]
    with suppress(asyncio.CancelledError):
        await ticks
    assert _slowest[0] < _SLOWEST_TICK_S, "the event loop stood still"
    assert _folder_state(folder) == before
    assert _open_files() == open_files
    assert _children() <= children


_slowest = [0.0]


async def _slowest_tick_s() -> None:
    """Note the longest time for which the event loop answered nobody."""
    _slowest[0] = 0.0
    while True:
        started_s = monotonic_s()
        await asyncio.sleep(0.02)
        _slowest[0] = max(_slowest[0], monotonic_s() - started_s - 0.02)


def _folder_state(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _children() -> set[str]:
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found.update((task / "children").read_text().split())
    return found
