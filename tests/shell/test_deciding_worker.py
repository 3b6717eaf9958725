"""Many candles decided in one go by the real worker: answers, budgets, halts, memory."""

from __future__ import annotations

import asyncio
import os
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from milo.backtest.decisions import Decisions
from milo.candles import Candles
from milo.clock import monotonic_s
from milo.errors import ConfigError, InvariantBroken, ScriptError
from milo.script.halting import HaltRule
from script_executor import AccountView, EvaluationRequest, ScriptExecutor, ScriptLimits
from tests.script_runs import walk

CANDLES = walk(400)
LONG = walk(6000)
SHORT = ScriptLimits(first_cpu_ms=200, cpu_ms=200, wall_floor_s=20)
ACCOUNT = AccountView(available_balance=10_000.0)
CROSSING = """
line, signal = await calculate_macd(data)
try:
    crossed = [line[-2] <= signal[-2] and line[-1] > signal[-1]]
except IndexError:
    crossed = [False]
condition_true = crossed[0]
action_if_true = "long(1%risk@10x,sl=2%,tp=6%)"
action_if_false = "close" if line[-1] < signal[-1] else "donothing"
print(len(data))
"""

Make = Callable[..., ScriptExecutor]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make executors of script texts; they are closed after the test."""
    made: list[ScriptExecutor] = []

    def executor(text: str, **options: object) -> ScriptExecutor:
        path = tmp_path / "my.script"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        made.append(ScriptExecutor(path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield executor
    for item in made:
        await item.close()


def request(candles: Candles) -> EvaluationRequest:
    return EvaluationRequest(candles=candles, account=ACCOUNT)


async def live(
    executor: ScriptExecutor, candles: Candles, first: int = 0
) -> tuple[list[str], list[str], int | None]:
    """Return actions, errors and the halt of a run that sees one candle after another close."""
    rule, actions, errors = HaltRule(), [], []
    for index in range(first, len(candles)):
        try:
            result = await executor.evaluate(request(candles.prefix(index + 1)))
        except ScriptError as error:
            errors.append(error.message)
            actions.append("donothing")
            now_s = candles.candle(index).open_ms / 1000
            if rule.failed(now_s, is_breach=error.breach, is_security=error.security):
                return actions, errors, index
        else:
            rule.succeeded()
            actions.append(result.action)
    return actions, errors, None


def listed(decisions: Decisions, stop: int | None = None) -> list[str]:
    first, end = decisions.first, decisions.first + decisions.count
    return [decisions.action_at(index) for index in range(first, end if stop is None else stop)]


async def test_decisions_are_those_of_a_live_run(make: Make) -> None:
    executor = make(CROSSING)
    await executor.start()

    decisions = await executor.decide(CANDLES, first=30)
    actions, errors, _ = await live(executor, CANDLES, 30)

    assert listed(decisions) == actions
    assert len(set(actions)) == 3
    assert (decisions.errors, errors, decisions.halted_at) == ((), [], None)
    assert decisions.prints == ("400",)
    assert decisions.at[0] == 30
    assert (np.diff(decisions.at) > 0).all()
    assert decisions.actions[0] == "donothing"


FAILING = {
    "now and then": "condition_true = 1 / (len(data) % 4) > 0.4",
    "five in a row": "condition_true = len(data) % 60 < 55 or 1 / 0 > 1\naction_if_true = 'close'",
    "four in a row": "condition_true = len(data) % 60 < 56 or 1 / 0 > 1\naction_if_true = 'close'",
    "a wrong action": "condition_true = True\n"
    "action_if_true = 'clos' if len(data) > 390 else 'close'",
    "a wrong action in the other case": "action_if_false = 'clo' if len(data) > 390 else 'close'",
    "at once": "condition_true = data[-9].close > 1",
}


@pytest.mark.parametrize("text", FAILING.values(), ids=FAILING.keys())
async def test_failures_are_told_and_halt_as_in_a_live_run(make: Make, text: str) -> None:
    executor = make(text)
    await executor.start()

    decisions = await executor.decide(CANDLES, first=8 if "data[-9]" not in text else 0)
    actions, errors, halted_at = await live(executor, CANDLES, decisions.first)

    assert decisions.halted_at == halted_at
    assert listed(decisions, None if halted_at is None else halted_at + 1) == actions
    assert decisions.error_count == len(errors)
    assert [error.message for error in decisions.errors] == errors[: len(decisions.errors)]
    assert len(decisions.errors) >= min(4, len(errors))
    if halted_at is not None:
        assert set(listed(decisions)[halted_at - decisions.first :]) == {"donothing"}


ENDLESS = {
    "loop": "while True:\n    lastclose += 1",
    "C loop": "x = sum(range(10**12))",
    "finally goes on": "def g():\n    while True:\n        try:\n            while True:\n"
    "                pass\n        finally:\n            continue\ng()",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS.keys())
async def test_candle_that_never_ends_is_told_and_the_next_one_decided(
    make: Make, text: str
) -> None:
    body = textwrap.indent(text, "    ")
    executor = make(
        f"if len(data) == 3001:\n{body}\ncondition_true = len(data) > 3000\n"
        "action_if_true = 'close'",
        limits=SHORT,
    )
    await executor.start()
    pid = executor.pid

    decisions = await executor.decide(LONG)

    (error,) = decisions.errors
    assert error.index == 3000
    assert error.line is not None
    assert 2 <= error.line <= 8
    assert error.message.startswith("stopped after")
    assert "(limit 200 ms). No order was sent." in error.message
    assert decisions.halted_at is None
    assert [decisions.action_at(index) for index in (2999, 3000, 3001, 5999)] == [
        "donothing", "donothing", "close", "close",
    ]  # fmt: skip
    assert executor.pid != pid


async def test_endless_candle_is_ended_within_its_budget(make: Make) -> None:
    executor = make("if len(data) == 3001:\n    x = sum(range(10**12))\ncondition_true = False",
                    limits=SHORT)  # fmt: skip
    await executor.start()
    await executor.decide(LONG, count=100)
    pid = executor.pid
    assert pid is not None
    started_s = monotonic_s()
    deciding = asyncio.create_task(executor.decide(LONG, first=100))
    while _is_there(pid):  # noqa: ASYNC110 - until it is gone
        await asyncio.sleep(0.01)
    took_s = monotonic_s() - started_s
    await deciding

    # A slice, the candle's own, and 300 ms; as processor time on a busy machine.
    assert took_s < 4 * (0.1 + 0.2 + 0.3)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_three_breaches_of_a_day_halt(make: Make) -> None:
    executor = make("while len(data) % 10 == 9:\n    lastclose += 1\ncondition_true = True\n"
                    "action_if_true = 'close'", limits=SHORT)  # fmt: skip
    await executor.start()

    decisions = await executor.decide(CANDLES)

    assert [error.index for error in decisions.errors] == [8, 18, 28]
    assert decisions.halted_at == 28
    assert listed(decisions)[:30] == ["close"] * 8 + ["donothing"] + ["close"] * 9 + [
        "donothing", *["close"] * 9, "donothing", "donothing",
    ]  # fmt: skip


async def test_other_budgets_are_told_as_live(make: Make) -> None:
    executor = make(
        "x = []\nwhile len(data) == 21:\n    x.append('y' * 1000000)\n"
        "for i in range(300000 if len(data) == 61 else 0):\n    await calculate_obv(data)",
        limits=ScriptLimits(first_cpu_ms=5000, cpu_ms=5000, memory_mb=64, awaits=2000),
    )
    await executor.start()

    decisions = await executor.decide(CANDLES)

    memory, awaits = decisions.errors
    assert (memory.index, memory.line) == (20, 3)
    assert "stopped: out of memory (limit 64 MB). No order was sent." in memory.message
    assert (awaits.index, awaits.line) == (60, 5)
    assert "stopped after 2000 awaits. No order was sent." in awaits.message


async def test_slow_candle_is_a_breach_though_the_others_are_quick(make: Make) -> None:
    slow = "if len(data) == 301:\n    for i in range(10**9):\n        lastclose += 1"
    executor = make(f"{slow}\ncondition_true = True", limits=SHORT)
    await executor.start()

    decisions = await executor.decide(CANDLES)

    assert [error.index for error in decisions.errors] == [300]


async def test_account_is_read_by_evaluations_only(make: Make) -> None:
    executor = make("condition_true = available_balance > 1\naction_if_true = 'close'")
    await executor.start()

    assert executor.reads_account
    with pytest.raises(InvariantBroken):
        await executor.decide(CANDLES)
    await executor.hold(LONG)
    result = await executor.evaluate(request(LONG.prefix(50)))
    assert result.action == "close"


async def test_prefixes_of_held_candles_are_evaluated_as_if_nothing_came_after(
    make: Make,
) -> None:
    text = CROSSING + "print(open_positions, available_balance, data[-1].close, line[-1])"
    executor, plain = make(text), make(text)
    await executor.start()
    await plain.start()
    await executor.hold(CANDLES)
    worker = executor._keeper.worker

    for count in (400, 30, 31, 200, 5):
        held = await executor.evaluate(request(CANDLES.prefix(count)))
        alone = await plain.evaluate(request(CANDLES.prefix(count)))
        assert (held.action, held.prints) == (alone.action, alone.prints)

    assert executor._keeper.worker is worker
    assert worker is not None
    assert len(worker.known) == len(CANDLES)


@pytest.mark.parametrize("text", ["available_balance += 0", "def f():\n    return open_positions"])
async def test_account_that_is_named_at_all_counts_as_read(make: Make, text: str) -> None:
    executor = make(f"{text}\ncondition_true = True")

    header = await executor.start()

    assert header.reads_account


async def test_no_part_of_the_account_is_read_by_candles_alone(make: Make) -> None:
    executor = make(CROSSING)

    assert not (await executor.start()).reads_account


async def test_cancelled_decisions_leave_a_script_that_still_runs(make: Make) -> None:
    # Slow enough that it takes several slices: the first one's end is when it is cancelled.
    executor = make(CROSSING + "\nx = sorted(range(2000))", limits=ScriptLimits(slice_ms=10))
    await executor.start()

    def cancel(_: int) -> None:
        deciding.cancel()

    deciding = asyncio.create_task(executor.decide(LONG, with_arrays=False, progress=cancel))
    with pytest.raises(asyncio.CancelledError):
        await deciding

    decisions = await executor.decide(CANDLES)

    assert decisions.error_count == 0


async def test_progress_is_told_and_ends_with_all(make: Make) -> None:
    executor = make(CROSSING, limits=ScriptLimits(slice_ms=10))
    await executor.start()
    told: list[int] = []

    await executor.decide(LONG, first=1000, progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 5000


@pytest.mark.parametrize(("first", "count"), [(-1, 5), (0, 0), (395, 6), (400, None)])
async def test_candles_that_are_not_there_are_refused(
    make: Make, first: int, count: int | None
) -> None:
    executor = make(CROSSING)
    await executor.start()

    with pytest.raises(ValueError, match="of 400"):
        await executor.decide(CANDLES, first=first, count=count)


async def test_memory_grows_for_a_long_history_and_only_for_that(make: Make) -> None:
    executor = make("condition_true = lastclose > 0")
    await executor.start()
    ordinary = executor._keeper.worker
    assert ordinary is not None
    times = np.arange(60_000, dtype=np.int64) * 60_000
    price = np.full(60_000, 5.0)
    long = Candles.from_columns(times, price, price, price, price, price)

    await executor.decide(CANDLES)
    same = executor._keeper.worker
    decisions = await executor.decide(long, first=59_000)

    assert same is ordinary
    assert executor._keeper.worker is not None
    assert executor._keeper.worker.memory_mb > ordinary.memory_mb
    assert decisions.error_count == 0


def test_memory_of_a_history_is_in_proportion() -> None:
    limits = ScriptLimits()

    assert limits.memory_for(5_000) == limits.memory_mb
    assert 300 < limits.memory_for(1_000_000) - limits.memory_mb < 400


TUNED = """
fast = await calculate_ema(data, param("fast", 5, 2, 50))
slow = await calculate_ema(data, param("slow", 20, 2, 200))
condition_true = len(data) > 1 and fast[-1] > slow[-1] and fast[-2] <= slow[-2]
action_if_true = f"long(1%risk@{param('leverage', 5, 1, 20)}x,sl=2%)"
action_if_false = "close" if fast[-1] < slow[-1] else "donothing"
"""
SETS = [{}, {"fast": 9.0}, {"fast": 9.0, "slow": 40.0, "leverage": 7.0}, {"slow": 30.0}, {}]


@pytest.mark.parametrize("extra", ["", "while False:\n    pass\n"], ids=["arrays", "one by one"])
async def test_a_worker_with_other_inputs_decides_as_one_that_was_started_with_them(
    make: Make, extra: str
) -> None:
    worker = make(TUNED + extra)
    await worker.start()
    pid = worker.pid

    for inputs in SETS:
        await worker.set_inputs(inputs)
        again = await worker.decide(LONG)
        fresh = make(TUNED + extra, inputs=inputs)
        await fresh.start()
        anew = await fresh.decide(LONG)
        assert (again.actions, again.proof) == (anew.actions, anew.proof)
        assert again.at.tolist() == anew.at.tolist()
        assert again.code.tolist() == anew.code.tolist()

    assert worker.pid == pid
    assert (extra == "") is again.proof.is_lifted


async def test_inputs_that_do_not_fit_are_refused_and_the_ones_before_stay(make: Make) -> None:
    worker = make(TUNED, inputs={"fast": 9.0})
    await worker.start()
    before = await worker.decide(CANDLES)

    with pytest.raises(ConfigError, match=r"'fast': 51 is not within 2 \.\. 50"):
        await worker.set_inputs({"fast": 51.0})

    after = await worker.decide(CANDLES)
    assert after.at.tolist() == before.at.tolist()


async def test_the_worker_after_a_killed_one_has_the_inputs_that_were_set_last(make: Make) -> None:
    spinning = (
        'n = param("n", 0, 0, 9)\nif n == 1 and len(data) == 300:\n    while True:\n        pass\n'
    )
    text = (
        spinning
        + 'condition_true = len(data) % 50 == n\naction_if_true = "short(1%risk@5x,sl=2%)"\n'
    )
    worker = make(text, limits=SHORT)
    await worker.start()

    await worker.set_inputs({"n": 1.0})
    broken = await worker.decide(CANDLES)
    await worker.set_inputs({"n": 2.0})
    after = await worker.decide(CANDLES)

    assert broken.error_count == 1
    assert broken.action_at(350).startswith("short")
    assert after.error_count == 0
    assert [index for index in range(400) if after.action_at(index) != "donothing"] == [
        index for index in range(400) if (index + 1) % 50 == 2
    ]


STANDING = """
average = await calculate_ema(data, 20)
condition_true = lastclose > average[-1]
action_if_true = "long(1%risk@5x,sl=2%)" if volume > averagevolume else "long(2%risk@5x,sl=3%)"
action_if_false = "close"
"""
BARELY_PROVED = [
    STANDING,
    TUNED,
    CROSSING,
    STANDING + "ratio = 1 / (len(data) % 50 - 7)\n",
    STANDING.replace('"close"', '"close" if len(data) % 3 else "nonsense"'),
    STANDING.replace('"close"', 'f"short(1%risk@5x,sl={round(high - low, 2)})"'),
]


@pytest.mark.parametrize("text", BARELY_PROVED)
async def test_proving_only_changes_decides_the_same(make: Make, text: str) -> None:
    worker = make(text)
    await worker.start()

    for first in (0, 700):
        full = await worker.decide(LONG, first=first)
        await worker.set_inputs({})
        few = await worker.decide(LONG, first=first, prove_changes=True)
        await worker.set_inputs({})

        assert few.actions == full.actions
        assert few.at.tolist() == full.at.tolist()
        assert few.code.tolist() == full.code.tolist()
        # Each answer tells its first errors in full, and answers are cut otherwise.
        assert (few.errors[:1], few.error_count) == (full.errors[:1], full.error_count)
        assert (few.halted_at, few.warnings) == (full.halted_at, full.warnings)
        assert few.proof.is_lifted is full.proof.is_lifted
        assert few.proof.checked <= full.proof.checked


async def test_proving_only_changes_compares_where_a_signal_begins_and_ends(make: Make) -> None:
    worker = make(STANDING)
    await worker.start()

    few = await worker.decide(LONG, prove_changes=True)

    changes = len(few.at)
    assert few.proof.is_lifted
    assert changes < few.proof.checked < 2 * changes + 250 < len(LONG)


async def test_proving_only_changes_compares_no_more_than_all_signals(make: Make) -> None:
    worker = make(TUNED.replace('"close" if fast[-1] < slow[-1] else "donothing"', '"donothing"'))
    await worker.start()

    full = await worker.decide(LONG)
    await worker.set_inputs({})
    few = await worker.decide(LONG, prove_changes=True)

    assert few.at.tolist() == full.at.tolist()
    assert few.proof.checked == full.proof.checked
