"""What scripts cost: `make bench-scripts`.

Measured with the engine's own ScriptExecutor, ScriptEngine and DBManager on made-up candles, in
real worker processes: one evaluation, a script that spins, the start of a worker, and many scripts
at a common close. Prints each figure beside its limit; exit code 1 where one is over it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from db_manager import DBManager
from milo.activity import Activity
from milo.candles import Candles
from milo.errors import ScriptError
from milo.events import KlineEvent
from milo.model import Candle
from milo.script.limits import ScriptLimits
from milo.script.worker.spares import Spares
from milo.store import klines
from script_engine import ScriptEngine, Slot
from script_executor import AccountView, EvaluationRequest, ScriptExecutor

EVALUATION_LIMIT_US = 100.0
REPLACEMENT_LIMIT_MS = 300.0
"""Above the script's budget."""
START_LIMIT_MS = 400.0
MEMORY_LIMIT_MB = 40.0
CLOSE_LIMIT_MS = 1000.0
HISTORY = 500
HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
ACCOUNT = AccountView(available_balance=10_000.0)
TRIVIAL = """\
condition_true = lastclose > open
action_if_true = "long(1%risk@10x,sl=2%)"
"""
SPINS_AT = "while len(data) == {count}:\n    pass\ncondition_true = lastclose > open\n"


@dataclass(frozen=True)
class Figure:
    """One measured value and the most that it may be."""

    what: str
    value: float
    limit: float
    unit: str
    more: str = ""

    @property
    def is_good(self) -> bool:
        return self.value < self.limit

    def __str__(self) -> str:
        verdict = "" if self.is_good else "  TOO MUCH"
        return (
            f"{self.what:<58} {self.value:8.1f} {self.unit} (below {self.limit:g}){verdict}"
            f"{self.more and '  ' + self.more}"
        )


class Market:
    """Endless hourly candles of a random walk; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a made-up market, no secret
        self._price = 100.0
        self._next_ms = START_MS

    def next(self) -> Candle:
        opened = self._price
        self._price = opened * (1 + self._random.gauss(0, 0.01))
        high = max(opened, self._price) * 1.002
        low = min(opened, self._price) * 0.998
        candle = Candle(self._next_ms, opened, high, low, self._price, 100.0)
        self._next_ms += HOUR_MS
        return candle

    def history(self) -> Candles:
        rows = [self.next() for _ in range(HISTORY)]
        return Candles.from_rows(
            [(c.open_ms, c.open, c.high, c.low, c.close, c.volume) for c in rows]
        )


def request(candles: Candles) -> EvaluationRequest:
    return EvaluationRequest(candles=candles, account=ACCOUNT)


def script(path: Path, text: str, spares: Spares) -> ScriptExecutor:
    """Return the executor of a script that is written to `path` first."""
    path.write_text(text, encoding="utf-8")
    return ScriptExecutor(path, spares=spares)


@asynccontextmanager
async def running(path: Path, text: str, spares: Spares) -> AsyncIterator[ScriptExecutor]:
    """Run one script's worker."""
    executor = script(path, text, spares)
    await executor.start()
    try:
        yield executor
    finally:
        await executor.close()


async def evaluations(folder: Path, runs: int) -> Figure:
    """Measure the round trip of one evaluation, a new candle each time."""
    market, times_us = Market(1), []
    candles = market.history()
    async with running(folder / "trivial.script", TRIVIAL, Spares()) as executor:
        await executor.evaluate(request(candles))
        for _ in range(runs):
            candles = candles.appended(market.next())
            asked = request(candles)
            began_s = time.perf_counter()
            await executor.evaluate(asked)
            times_us.append((time.perf_counter() - began_s) * 1e6)
    return Figure(
        f"a trivial script on a new candle, median of {runs:,}",
        statistics.median(times_us),
        EVALUATION_LIMIT_US,
        "us",
        f"p99 {percentile(times_us, 0.99):.0f}",
    )


async def replacements(folder: Path, runs: int) -> Figure:
    """Measure how long a spinning script lasts beyond its budget: killed, told, replaced.

    The end is the answer of the worker that has taken over, to a question asked at once.
    """
    budget_ms = ScriptLimits().cpu_ms
    market, times_ms = Market(2), []
    candles = market.history()
    spinning = candles.appended(market.next())
    text = SPINS_AT.format(count=len(spinning))
    spares = Spares()
    async with running(folder / "spins.script", text, spares) as executor:
        await executor.evaluate(request(candles))
        for _ in range(runs):
            await executor.evaluate(request(candles))
            await reserve_of(spares)
            began_s = time.perf_counter()
            await stopped(executor, spinning)
            await executor.evaluate(request(candles))
            times_ms.append((time.perf_counter() - began_s) * 1000)
    return Figure(
        f"beyond its budget of {budget_ms} ms: `while True: pass`, worst of {runs}",
        max(times_ms) - budget_ms,
        REPLACEMENT_LIMIT_MS,
        "ms",
        f"median {statistics.median(times_ms) - budget_ms:.0f}",
    )


async def stopped(executor: ScriptExecutor, candles: Candles) -> None:
    """Let a script run into its budget."""
    try:
        await executor.evaluate(request(candles))
    except ScriptError as error:
        if error.breach:
            return
        raise
    raise AssertionError("the script was not stopped")


async def reserve_of(spares: Spares) -> None:
    """Wait until a spare worker stands ready, as it does long before the next candle."""
    async with asyncio.timeout(30):
        while not spares.pids:  # noqa: ASYNC110 - a process starts
            await asyncio.sleep(0.01)


async def starts(folder: Path, runs: int) -> list[Figure]:
    """Measure the start of a worker with its script, and its memory after an evaluation."""
    times_ms, memory_mb = [], []
    candles = Market(3).history()
    for turn in range(runs + 1):
        began_s = time.perf_counter()
        async with running(folder / "start.script", TRIVIAL, Spares()) as executor:
            took_ms = (time.perf_counter() - began_s) * 1000
            await executor.evaluate(request(candles))
            # The first one warms the file cache.
            if turn:
                times_ms.append(took_ms)
                memory_mb.append(resident_mb(executor.pid))
    return [
        Figure(
            f"start of a worker and its script, warm, median of {runs}",
            statistics.median(times_ms),
            START_LIMIT_MS,
            "ms",
            f"max {max(times_ms):.0f}",
        ),
        Figure(
            "resident memory of a worker after an evaluation", max(memory_mb), MEMORY_LIMIT_MB, "MB"
        ),
    ]


def resident_mb(pid: int) -> float:
    """Return the memory that a process has in RAM, shared pages included."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


class Stage:
    """Many scripts on as many symbols under one engine, as in a run, but without an exchange."""

    def __init__(self, store: DBManager) -> None:
        self._store = store
        self.activity = Activity()
        self.idle = asyncio.Event()
        self.done_s: dict[str, float] = {}
        self.problems: list[str] = []
        self.engine = ScriptEngine(
            emit=lambda signal: None,
            account=lambda: ACCOUNT,
            store=self._keep,
            refill=self._nothing,
            say=self._heard,
            activity=self.activity,
            is_live_loop=False,
        )
        self.engine.on_closed = self._evaluated
        self.activity.when_idle(self.idle.set)

    async def close_at_once(self, markets: dict[str, Market]) -> float:
        """Close a candle of every symbol; return the ms until each script is done."""
        candles = {symbol: market.next() for symbol, market in markets.items()}
        self.done_s.clear()
        self.idle.clear()
        began_s = time.perf_counter()
        for symbol, candle in candles.items():
            self.engine.on_kline(
                KlineEvent(
                    symbol=symbol,
                    interval="1h",
                    candle=candle,
                    is_closed=True,
                    event_ms=candle.open_ms + HOUR_MS,
                )
            )
        await self.idle.wait()
        return (max(self.done_s.values()) - began_s) * 1000

    async def _keep(self, symbol: str, interval: str, candle: Candle) -> None:
        row = (candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume)
        await self._store.write(lambda conn: klines.upsert_klines(conn, symbol, interval, [row]))

    async def _nothing(self, symbol: str, interval: str, from_ms: int) -> Sequence[Candle]:
        return []

    def _heard(self, slot: Slot, line: str, is_problem: bool) -> None:
        if is_problem:
            self.problems.append(f"{slot.symbol} {line}")

    def _evaluated(self, slot: Slot) -> None:
        # A script that spins is measured by itself; the others are not to wait for it.
        if slot.errors == 0:
            self.done_s[slot.symbol] = time.perf_counter()


async def common_closes(folder: Path, scripts: int, rounds: int) -> list[Figure]:
    """Measure many scripts at a common close; the last one spins once, at the last close."""
    symbols = [f"SYMBOL{index}USDT" for index in range(scripts)]
    markets = {symbol: Market(index) for index, symbol in enumerate(symbols)}
    texts = itertools.cycle(path.read_text() for path in sorted(SAMPLES.glob("*.script")))
    spinning = SPINS_AT.format(count=HISTORY + rounds + 1)
    spares, executors = Spares(), []
    async with DBManager(folder / "store") as store:
        stage = Stage(store)
        for symbol, text in zip(symbols, texts, strict=False):
            own = spinning if symbol == symbols[-1] else own_symbol(text, symbol)
            executors.append(script(folder / f"{symbol}.script", own, spares))
        try:
            headers = await asyncio.gather(*(executor.start() for executor in executors))
            for symbol, header, executor in zip(symbols, headers, executors, strict=True):
                stage.engine.add(
                    header=header, symbol=symbol, timeframe="1h", runner=executor,
                    candles=markets[symbol].history(),
                )  # fmt: skip
            async with asyncio.TaskGroup() as tasks:
                running_engine = tasks.create_task(stage.engine.run())
                times_ms = [await stage.close_at_once(markets) for _ in range(rounds)]
                if stage.problems:
                    raise AssertionError(stage.problems[0])
                beside_ms = await stage.close_at_once(markets)
                running_engine.cancel()
        finally:
            await asyncio.gather(*(executor.close() for executor in executors))
    assert len(stage.problems) == 1, stage.problems
    return [
        Figure(
            f"{scripts} scripts on {scripts} symbols at a common close, worst of {rounds}",
            max(times_ms),
            CLOSE_LIMIT_MS,
            "ms",
            f"median {statistics.median(times_ms):.0f}",
        ),
        Figure(f"the other {scripts - 1} while one of them spins", beside_ms, CLOSE_LIMIT_MS, "ms"),
    ]


def own_symbol(text: str, symbol: str) -> str:
    """Return a sample that trades another symbol, on hourly candles."""
    text = re.sub(r'^coin = ".*"$', f'coin = "{symbol}"', text, flags=re.MULTILINE)
    return re.sub(r'^timeframe = ".*"$', 'timeframe = "1h"', text, flags=re.MULTILINE)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def measure(folder: Path, runs: int, scripts: int) -> list[Figure]:
    """Return all figures; `runs` evaluations, and a hundredth of it of all that takes longer."""
    few = max(2, runs // 100)
    return [
        await evaluations(folder, runs),
        await replacements(folder, few),
        *await starts(folder, few),
        *await common_closes(folder, scripts, few),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="what scripts cost, in time and memory")
    parser.add_argument("--runs", type=int, default=2000, help="how many evaluations (2000)")
    parser.add_argument("--scripts", type=int, default=50, help="how many at once (50)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="milo-scripts-") as folder:
        figures = asyncio.run(measure(Path(folder), given.runs, given.scripts))
    for figure in figures:
        print(figure)
    return int(not all(figure.is_good for figure in figures))


if __name__ == "__main__":
    raise SystemExit(main())
