"""The reserve of workers: few, ready before they are needed, and gone with the last script."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from milo.candles import Candles
from milo.clock import monotonic_s
from milo.errors import ScriptError
from milo.model import Candle
from milo.script.worker.spares import MOST_SPARES, Spares
from script_executor import AccountView, EvaluationRequest, ScriptExecutor, ScriptLimits
from tests.script_runs import HOUR_MS, walk

CANDLES = walk(60)
GOOD = "condition_true = lastclose > 0\nprint(len(data), lastclose)\n"
SPINS_AT_61 = GOOD + "while len(data) == 61:\n    pass\n"

Make = Callable[..., ScriptExecutor]


@pytest_asyncio.fixture
async def spares() -> Spares:
    return Spares()


@pytest_asyncio.fixture
async def make(tmp_path: Path, spares: Spares) -> AsyncIterator[Make]:
    made: list[ScriptExecutor] = []

    def executor(text: str = GOOD, **options: object) -> ScriptExecutor:
        path = tmp_path / f"script{len(made)}.script"
        path.write_text(text, encoding="utf-8")
        made.append(ScriptExecutor(path, **({"spares": spares} | options)))  # type: ignore[arg-type]
        return made[-1]

    yield executor
    for item in made:
        await item.close()


def request(candles: Candles = CANDLES) -> EvaluationRequest:
    return EvaluationRequest(candles=candles, account=AccountView(available_balance=1.0))


def one_more(candles: Candles = CANDLES) -> Candles:
    last = candles.candle(-1)
    return candles.appended(
        Candle(last.open_ms + HOUR_MS, last.close, 70_000.0, 50_000.0, 60_500.0, 7.0)
    )


def pid_of(executor: ScriptExecutor) -> int:
    assert executor._keeper.worker is not None
    return executor._keeper.worker.process.pid


async def ready(spares: Spares, count: int = 1) -> list[int]:
    """Wait until the reserve is full; return its processes."""
    async with asyncio.timeout(20):
        while len(spares.pids) < count:  # noqa: ASYNC110 - processes start
            await asyncio.sleep(0.01)
    return spares.pids


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_script_that_runs_once_starts_no_spare_worker(make: Make, spares: Spares) -> None:
    executor = make()
    await executor.start()

    await executor.evaluate(request())

    assert not spares._spares


async def test_many_scripts_share_a_few_spare_workers(make: Make, spares: Spares) -> None:
    executors = [make() for _ in range(MOST_SPARES + 2)]
    await asyncio.gather(*(executor.start() for executor in executors))

    for candles in (CANDLES, one_more()):
        await asyncio.gather(*(executor.evaluate(request(candles)) for executor in executors))
    pids = await ready(spares, MOST_SPARES)

    assert len(spares._spares) == MOST_SPARES
    assert not set(pids) & {pid_of(executor) for executor in executors}


async def test_spare_worker_takes_over_from_a_killed_one_and_another_is_started(
    make: Make, spares: Spares
) -> None:
    executor = make(SPINS_AT_61)
    await executor.start()
    await executor.evaluate(request())
    before = await executor.evaluate(request())
    (spare,) = await ready(spares)
    killed = pid_of(executor)
    started_s = monotonic_s()

    with pytest.raises(ScriptError, match=r"stopped after \d+ ms of CPU time \(limit 250 ms\)"):
        await executor.evaluate(request(one_more()))
    assert executor._keeper.preparing is not None
    await asyncio.wait({executor._keeper.preparing})
    took_s = monotonic_s() - started_s
    after = await executor.evaluate(request())
    (next_spare,) = await ready(spares)

    # Its budget and 300 ms are the goal, which the benchmark holds; here the machine may be busy.
    assert took_s < 5
    assert pid_of(executor) == spare
    assert after.prints == before.prints
    assert next_spare not in (killed, spare)
    assert not is_alive(killed)


async def test_spinning_first_evaluation_finds_a_spare_worker_at_its_end(
    make: Make, spares: Spares
) -> None:
    executor = make(SPINS_AT_61, limits=ScriptLimits(first_cpu_ms=1500))
    await executor.start()

    with pytest.raises(ScriptError, match=r"stopped after \d+ ms of CPU time \(limit 1500 ms\)"):
        await executor.evaluate(request(one_more()))
    result = await executor.evaluate(request())

    assert result.condition


async def test_last_script_takes_the_spare_workers_with_it(make: Make, spares: Spares) -> None:
    first, second = make(), make()
    await asyncio.gather(first.start(), second.start())
    for _ in range(2):
        await first.evaluate(request())
    pids = await ready(spares, 2)

    await first.close()
    alive = [is_alive(pid) for pid in pids]
    await second.close()

    assert alive == [True, True]
    assert [is_alive(pid) for pid in pids] == [False, False]


async def test_closing_while_a_spare_worker_starts_leaves_no_process(
    make: Make, spares: Spares
) -> None:
    others = _children()
    executor = make()
    await executor.start()
    spares.fill()
    await asyncio.sleep(0.01)
    children = set(_children()).difference(others)

    await executor.close()

    assert len(children) >= 2
    assert not any(is_alive(pid) for pid in children)


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


async def test_spare_worker_that_somebody_killed_is_passed_over(make: Make, spares: Spares) -> None:
    executor = make(SPINS_AT_61)
    await executor.start()
    for _ in range(2):
        await executor.evaluate(request())
    (spare,) = await ready(spares)
    os.kill(spare, signal.SIGKILL)
    with os.fdopen(os.pidfd_open(spare)) as gone:
        await asyncio.to_thread(select.select, [gone], [], [], 10)

    with pytest.raises(ScriptError):
        await executor.evaluate(request(one_more()))
    result = await executor.evaluate(request())

    assert result.condition
    assert pid_of(executor) != spare


async def test_worker_with_another_memory_limit_is_never_a_spare_one(
    make: Make, spares: Spares
) -> None:
    executor = make(SPINS_AT_61, limits=ScriptLimits(memory_mb=64))
    await executor.start()
    for _ in range(2):
        await executor.evaluate(request())

    assert not spares._spares
    assert executor._keeper._spares.memory_mb == 64
    assert not executor._keeper._spares._spares


async def test_more_scripts_than_processors_start_one_after_another(make: Make) -> None:
    executors = [make() for _ in range(6)]

    headers = await asyncio.gather(*(executor.start() for executor in executors))

    assert [header.name for header in headers] == [f"script{index}" for index in range(6)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal")
def test_spare_workers_die_with_their_engine(tmp_path: Path, project_dir: Path) -> None:
    (tmp_path / "my.script").write_text(GOOD, encoding="utf-8")
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(project_dir)!r})
from pathlib import Path
from milo.script.worker.spares import Spares
from script_executor import ScriptExecutor
async def main():
    spares = Spares()
    executor = ScriptExecutor(Path({str(tmp_path / "my.script")!r}), spares=spares)
    await executor.start()
    spares.fill()
    while not spares.pids:
        await asyncio.sleep(0.01)
    print(spares.pids[0], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        with os.fdopen(os.pidfd_open(pid)) as spare:
            engine.kill()
            gone, _, _ = select.select([spare], [], [], 20)

    assert gone


UNINTERRUPTED = {
    "sum of a range": ("x = sum(range(10**12))", 3),
    "membership": ("x = 10**12 in iter(lambda: 1, 2)", 3),
    "function": ("def f():\n    return max(range(10**12))\nx = f()", 4),
    "finally goes on": (
        "def g():\n    while True:\n        try:\n            while True:\n                pass\n"
        "        finally:\n            continue\ng()",
        6,
    ),
    "generator's finally": (
        "def g():\n    try:\n        yield 1\n    finally:\n        while True:\n            pass\n"
        "it = g()\nnext(it)",
        7,
    ),
}


@pytest.mark.parametrize(("text", "line"), UNINTERRUPTED.values(), ids=UNINTERRUPTED.keys())
async def test_line_is_named_also_where_no_python_code_gets_to_run(
    make: Make, text: str, line: int
) -> None:
    indented = "".join(f"    {row}\n" for row in text.splitlines())
    executor = make(f"condition_true = True\nif len(data) > 60:\n{indented}")
    await executor.start()
    await executor.evaluate(request())

    with pytest.raises(ScriptError) as caught:
        await executor.evaluate(request(one_more()))

    source = (f"condition_true = True\nif len(data) > 60:\n{indented}").splitlines()
    assert caught.value.line in (line, line + 1)
    assert str(caught.value).startswith(f"script0.script line {caught.value.line}")
    assert str(caught.value).splitlines()[1].strip() == source[caught.value.line - 1].strip()
