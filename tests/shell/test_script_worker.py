"""The script's process: what it gets, what it may use, and what happens when it misbehaves."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from milo.candles import Candles
from milo.clock import monotonic_s
from milo.errors import ConfigError, InvariantBroken, ScriptError
from milo.model import Candle
from milo.script.worker import spawn
from milo.script.worker.process import WorkerProcess
from script_executor import (
    AccountView,
    EvaluationRequest,
    PositionView,
    ScriptExecutor,
    ScriptLimits,
    check_script,
)
from tests.script_runs import HOUR_MS, walk

SHORT = ScriptLimits(first_cpu_ms=200, cpu_ms=200, wall_floor_s=20)
CANDLES = walk(60)
ACCOUNT = AccountView(available_balance=10_000.0)
GOOD = """
rsi = await calculate_rsi(data, 14)
line, signal = await calculate_macd(data)
condition_true = rsi[-1] > 0
action_if_true = "long(1%risk@10x,sl=2%,rr=3)"
print(f"{len(data)} {rsi[-1]:.9f} {line[-1]:.9f} {lastclose}")
"""

Make = Callable[..., ScriptExecutor]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make executors of script texts; they are closed after the test."""
    made: list[ScriptExecutor] = []

    def executor(text: str, *, name: str = "my.script", **options: object) -> ScriptExecutor:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        made.append(ScriptExecutor(path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield executor
    for item in made:
        await item.close()


def request(candles: Candles = CANDLES, forming: Candle | None = None) -> EvaluationRequest:
    return EvaluationRequest(candles=candles, forming=forming, account=ACCOUNT)


def following(candles: Candles, close: float = 61_000.0) -> Candle:
    last = candles.candle(-1)
    return Candle(last.open_ms + HOUR_MS, last.close, 70_000.0, 50_000.0, close, 7.0)


def process_of(executor: ScriptExecutor) -> WorkerProcess:
    worker = executor._keeper.worker
    assert worker is not None
    return worker.process


async def test_start_tells_what_the_script_says_about_itself(make: Make) -> None:
    executor = make(
        """
        coin = "BTCUSDT"
        timeframe = "4h"
        n = param("period", 14, 5, 50)
        rsi = await calculate_rsi(data, n)
        condition_true = rsi[-1] < 30
        """
    )

    header = await executor.start()

    assert (header.name, header.timeframe, header.coin) == ("my", "4h", "BTCUSDT")
    assert header.indicators == ("calculate_rsi",)
    assert [(i.name, i.default, i.low, i.high) for i in header.inputs] == [("period", 14, 5, 50)]
    assert len(header.text_sha256) == 64
    assert header.warnings == ()


async def test_evaluation_gives_the_chosen_action_and_what_was_printed(make: Make) -> None:
    executor = make(
        """
        condition_true = lastclose > 0
        action_if_true = long(risk=1, leverage=10, sl="2%")
        action_if_false = "close"
        print("one")
        print("two", end="")
        plot(lastclose, "close")
        mark("here")
        """
    )
    await executor.start()

    result = await executor.evaluate(request())

    assert (result.condition, result.action) == (True, "long(1%risk@10x,sl=2%)")
    assert (result.prints, result.marks, result.warnings) == (("one", "two"), ("here",), ())
    assert [(plot.name, plot.pane) for plot in result.plots] == [("close", "price")]
    assert result.plots[0].value == CANDLES.close[-1]


async def test_growing_history_gives_what_a_fresh_worker_gives(make: Make) -> None:
    growing, fresh = make(GOOD, name="a.script"), make(GOOD, name="b.script")
    await asyncio.gather(growing.start(), fresh.start())
    candles = CANDLES
    for _ in range(3):
        await growing.evaluate(request(candles, following(candles, 59_000.0)))
        candles = candles.appended(following(candles))

    results = [
        await growing.evaluate(request(candles)),
        await fresh.evaluate(request(candles)),
        await growing.evaluate(request(Candles.from_rows(CANDLES_ROWS))),
        await growing.evaluate(request(candles)),
    ]

    assert results[0].prints == results[1].prints == results[3].prints
    assert results[0].prints[0].startswith("63 ")
    assert results[2].prints[0].startswith("40 ")


CANDLES_ROWS = [
    (c.open_ms, c.open, c.high, c.low, c.close, c.volume) for c in list(walk(40, seed=9))
]


async def test_forming_candle_and_account_reach_the_script(make: Make) -> None:
    executor = make(
        """
        print(len(data), live_candle["close"], available_balance)
        for p in open_positions:
            print(p["symbol"], p["side"], p["qty"], p["stop"], p["take"])
        """
    )
    await executor.start()
    position = PositionView(
        symbol="BTCUSDT", side="short", qty=0.5, entry_price=1.0, unrealized_pnl=-3.5, stop=2.5
    )
    account = AccountView(available_balance=12.25, positions=(position,))

    result = await executor.evaluate(
        EvaluationRequest(candles=CANDLES, forming=following(CANDLES, 61.5), account=account)
    )

    assert result.prints == ("61 61.5 12.25", "BTCUSDT short 0.5 2.5 None")
    assert result.warnings == ("condition_true was not assigned; it counts as False",)


async def test_inputs_change_the_script_without_its_text(make: Make) -> None:
    text = "print(param('period', 14, 5, 50), param('share', 0.5))"
    executor = make(text, inputs={"period": 20.0})
    await executor.start()

    assert (await executor.evaluate(request())).prints == ("20 0.5",)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"perod": 20}, "my.script: the script has no input 'perod'; its inputs: period"),
        ({"period": 51}, "my.script: input 'period': 51 is not within 5 .. 50"),
        ({"period": 7.5}, "my.script: input 'period' takes whole numbers, not 7.5"),
        ({"period": float("nan")}, "my.script: input 'period': nan is not a finite number"),
    ],
)
async def test_inputs_that_do_not_fit_are_a_wrong_use(
    make: Make, inputs: dict[str, float], message: str
) -> None:
    executor = make("print(param('period', 14, 5, 50))", inputs=inputs)

    with pytest.raises(ConfigError) as caught:
        await executor.start()

    assert str(caught.value) == message


async def test_error_names_file_candle_line_and_column_and_what_was_printed(make: Make) -> None:
    executor = make("print('before')\nx = 1 / (lastclose - lastclose)")
    await executor.start()

    with pytest.raises(ScriptError) as caught:
        await executor.evaluate(request())

    error = caught.value
    assert str(error) == (
        "my.script line 2, column 5, bar 2026-01-03 11:00 UTC:"
        " ZeroDivisionError: float division by zero\n"
        "    x = 1 / (lastclose - lastclose)\n"
        "        ^^^^^^^^^^^^^^^^^^^^^^^^^^^"
    )
    assert (error.script, error.line, error.column, error.breach) == ("my", 2, 5, False)
    assert error.prints == ("before",)


async def test_caret_stands_right_behind_tabs_and_wide_characters(make: Make) -> None:
    executor = make("if True:\n\t가격 = 1 / (lastclose - lastclose)  # \u200d")
    await executor.start()

    with pytest.raises(ScriptError) as caught:
        await executor.evaluate(request())

    assert str(caught.value).splitlines()[1:] == [
        "    가격 = 1 / (lastclose - lastclose)  # \u200d",
        "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    ]


async def test_script_that_fails_on_one_candle_goes_on_with_the_next(make: Make) -> None:
    executor = make("condition_true = 1 / (len(data) - 60) > 0")
    await executor.start()
    pid = process_of(executor).pid

    with pytest.raises(ScriptError, match="ZeroDivisionError"):
        await executor.evaluate(request())
    result = await executor.evaluate(request(CANDLES.appended(following(CANDLES))))

    assert result.condition
    assert process_of(executor).pid == pid


async def test_action_outside_the_grammar_is_an_error_with_its_text(make: Make) -> None:
    executor = make("condition_true = True\naction_if_true = 'long(500%risk@10x)'")
    header = await executor.start()

    with pytest.raises(ScriptError) as caught:
        await executor.evaluate(request())

    reason = "action 'long(500%risk@10x)': risk of 500% is not above 0 and at most 100"
    assert header.warnings == (f"line 2: {reason}",)
    assert str(caught.value).startswith(
        f"my.script line 2, column 1, bar 2026-01-03 11:00 UTC: action_if_true: {reason}\n"
    )


async def test_refused_script_is_an_error_at_start(make: Make) -> None:
    executor = make("import os")

    with pytest.raises(ScriptError, match=r"^my.script line 1, column 8: import of 'os'") as caught:
        await executor.start()

    assert (caught.value.line, caught.value.breach) == (1, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"#" * 70_000, "larger than 65536 bytes"),
        (b"x = '\xff'", "line 1, column 6: the file is not UTF-8 text here"),
    ],
)
async def test_unreadable_file_is_one_clear_line(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "my.script"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ScriptError) as caught:
        await check_script(path)

    assert words in str(caught.value)


async def test_check_returns_the_header_and_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "my.script"
    path.write_text("coin = 'ETHUSDT'\nwhile True:\n    pass\n", encoding="utf-8")

    header = await check_script(path)

    assert header.coin == "ETHUSDT"
    assert header.warnings == ("line 1: condition_true is never assigned, so it is always False",)


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="only root may look into a worker through /proc",
)
async def test_worker_gets_no_environment_and_no_files(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILO_KEY_PASSWORD", "secret")
    executor = make(GOOD)
    await executor.start()
    proc = Path("/proc") / str(process_of(executor).pid)

    files = {int(entry.name): os.readlink(entry) for entry in (proc / "fd").iterdir()}

    assert (proc / "environ").read_bytes() == b"PYTHONHASHSEED=0\0"
    assert (proc / "oom_score_adj").read_text() == "1000\n"
    assert sorted(files) == [0, 1, 2, 3, 4]
    assert [files[number] for number in range(3)] == ["/dev/null"] * 3
    assert all(files[number].startswith("pipe:") for number in (3, 4))
    assert os.readlink(proc / "cwd") == "/"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_worker_is_locked_as_the_kernel_says(make: Make) -> None:
    executor = make(GOOD)
    await executor.start()
    proc = Path("/proc") / str(process_of(executor).pid)

    lines = (line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    status = {key: value.strip() for key, value in lines}
    limits = (proc / "limits").read_text().splitlines()

    assert (status["Seccomp"], status["NoNewPrivs"], status["Threads"]) == ("2", "1", "1")
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    # Only root has anything in its bounding set that it may take out.
    assert os.getuid() != 0 or int(status["CapBnd"], 16) == 0
    for name, limit in (
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max processes", "0"),
        ("Max locked memory", "0"),
        ("Max msgqueue size", "0"),
        ("Max open files", "8"),
    ):
        row = next(line for line in limits if line.startswith(name))
        assert row.removeprefix(name).split()[:2] == [limit, limit]


async def test_endless_loop_is_killed_told_with_its_line_and_replaced(make: Make) -> None:
    executor = make(GOOD + "while len(data) == 61:\n    lastclose += 1\n", limits=SHORT)
    other = make(GOOD, name="other.script")
    await asyncio.gather(executor.start(), other.start())
    before = await executor.evaluate(request())
    pid = process_of(executor).pid
    endless = CANDLES.appended(following(CANDLES))

    with pytest.raises(ScriptError) as caught:
        await executor.evaluate(request(endless))
    untouched = await other.evaluate(request(endless))
    after = await executor.evaluate(request())

    text = str(caught.value)
    assert caught.value.breach
    assert "bar 2026-01-03 12:00 UTC: stopped after" in text
    assert "ms of CPU time (limit 200 ms). No order was sent." in text
    assert caught.value.line in (7, 8)
    assert untouched.condition
    assert (after.prints, after.action) == (before.prints, before.action)
    assert process_of(executor).pid != pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "text",
    [
        "x = sum(range(10**12))",
        "x = 10**12 in iter(lambda: 1, 2)",
        "def g():\n    try:\n        yield 1\n    finally:\n        while True:\n            pass\n"
        "it = g()\nnext(it)",
        "def g():\n    while True:\n        try:\n            while True:\n                pass\n"
        "        finally:\n            continue\ng()",
        "def f():\n    try:\n        while True:\n            pass\n"
        "    finally:\n        return 1\nf()",
    ],
    ids=["C loop", "C iterator", "generator's finally", "finally goes on", "finally returns"],
)
async def test_what_cannot_be_interrupted_is_killed_from_outside(make: Make, text: str) -> None:
    executor = make(f"if len(data) > 60:\n{textwrap.indent(text, '    ')}\n" + GOOD, limits=SHORT)
    await executor.start()
    endless = CANDLES.appended(following(CANDLES))
    before = await executor.evaluate(request())
    started_s = monotonic_s()

    with pytest.raises(ScriptError, match="stopped after") as caught:
        await executor.evaluate(request(endless))
    took_s = monotonic_s() - started_s
    after = await executor.evaluate(request())

    assert caught.value.breach
    assert took_s < 10
    assert after.prints == before.prints


async def test_memory_is_bounded(make: Make) -> None:
    text = "x = 'a' * 1000\nwhile len(data) == 60:\n    x += x\n" + GOOD
    executor = make(text)
    await executor.start()

    with pytest.raises(ScriptError, match=r"out of memory \(limit 256 MB\). No order") as caught:
        await executor.evaluate(request())
    after = await executor.evaluate(request(CANDLES.appended(following(CANDLES))))

    assert (caught.value.breach, caught.value.line) == (True, 3)
    assert after.condition


async def test_awaits_are_bounded(make: Make) -> None:
    executor = make(
        "while True:\n    x = await calculate_obv(data)", limits=ScriptLimits(awaits=50)
    )
    await executor.start()

    with pytest.raises(ScriptError, match=r"stopped after 50 awaits\. No order") as caught:
        await executor.evaluate(request())

    assert (caught.value.breach, caught.value.line) == (True, 2)


async def test_output_flood_is_dropped_and_counted_but_no_breach(make: Make) -> None:
    limits = ScriptLimits(run_output_bytes=20_000)
    executor = make(
        "for i in range(5000):\n    print('x' * 99)\ncondition_true = True", limits=limits
    )
    await executor.start()

    first = await executor.evaluate(request())
    second = await executor.evaluate(request())

    assert first.condition
    assert second.condition
    assert sum(len(line) + 1 for line in first.prints) <= 16 * 1024 + 1
    assert first.warnings == ("483616 bytes of printed text were dropped: too much output",)
    assert second.prints == ()
    assert second.warnings == ("500000 bytes of printed text were dropped: too much output",)


async def test_load_is_bounded_and_no_breach_is_needed(make: Make) -> None:
    executor = make("x = [" + "1," * 9000 + "]", limits=ScriptLimits(load_cpu_ms=6))

    with pytest.raises(ScriptError, match=r"stopped after .* ms of CPU time \(limit 6 ms\)"):
        await executor.start()


async def test_worker_that_stands_still_is_killed_by_wall_time(make: Make) -> None:
    limits = ScriptLimits(first_cpu_ms=2000, cpu_ms=500, wall_floor_s=0)
    executor = make(GOOD, limits=limits)
    await executor.start()
    before = await executor.evaluate(request())
    os.kill(process_of(executor).pid, signal.SIGSTOP)

    with pytest.raises(ScriptError, match=r"stopped after 2 s without an answer") as caught:
        await executor.evaluate(request())
    after = await executor.evaluate(request())

    assert caught.value.breach
    assert after.prints == before.prints


async def test_honest_script_may_stand_still_while_the_machine_is_busy(make: Make) -> None:
    executor = make(GOOD)
    await executor.start()
    before = await executor.evaluate(request())
    pid = process_of(executor).pid
    os.kill(pid, signal.SIGSTOP)
    asyncio.get_running_loop().call_later(1.2, os.kill, pid, signal.SIGCONT)

    after = await executor.evaluate(request())

    # 250 ms of CPU time are its budget; time in which it cannot run does not count.
    assert after.prints == before.prints
    assert after.cpu_ms < 250


async def test_lines_beyond_a_thousand_are_dropped_and_counted(make: Make) -> None:
    executor = make("print('\\n' * 5000)\ncondition_true = True")
    await executor.start()

    result = await executor.evaluate(request())

    assert len(result.prints) == 1000
    assert result.warnings == ("4001 bytes of printed text were dropped: too much output",)


BOMBS = {
    "signs": "x = " + "-" * 60_000 + "1",
    "sums": "x = " + "1+" * 30_000 + "1",
    "conditions": "x = " + "1 if 1 else " * 5_000 + "1",
    "branches": "if 1:\n    pass\n" + "elif 1:\n    pass\n" * 3_500,
    "functions": "x = " + "lambda:" * 9_000 + "1",
    "items": "x = " + "1," * 32_000,
    "digits": "x = " + "9" * 65_000,
    "strings": "x = f'" + "{1}" * 16_000 + "'",
    "comparisons": "x = 1" + "<1" * 30_000,
    "calls": "x = f" + "()" * 30_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
async def test_text_that_is_hard_to_read_is_refused_in_time(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.script"
    path.write_text(text, encoding="utf-8")
    started_s = monotonic_s()

    with pytest.raises(ScriptError, match=r"^my\.script") as caught:
        await check_script(path)

    assert not caught.value.breach
    assert monotonic_s() - started_s < 10


async def test_worker_killed_by_somebody_else_is_replaced_without_an_error(make: Make) -> None:
    executor = make(GOOD)
    await executor.start()
    before = await executor.evaluate(request())
    victim = process_of(executor)
    os.kill(victim.pid, signal.SIGKILL)
    with os.fdopen(os.pidfd_open(victim.pid)) as gone:
        await asyncio.to_thread(select.select, [gone], [], [], 10)

    while victim.failure is None:  # noqa: ASYNC110 - until the loop has read the end of file
        await asyncio.sleep(0)
    after = await executor.evaluate(request())

    assert after.prints == before.prints


async def test_cancelled_evaluation_leaves_a_script_that_still_runs(make: Make) -> None:
    executor = make("while len(data) == 61:\n    pass\n" + GOOD)
    await executor.start()
    before = await executor.evaluate(request())

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await executor.evaluate(request(CANDLES.appended(following(CANDLES))))
    after = await executor.evaluate(request())

    assert after.prints == before.prints


async def test_two_evaluations_at_once_are_our_own_mistake(make: Make) -> None:
    executor = make(GOOD)
    await executor.start()

    first, second = await asyncio.gather(
        executor.evaluate(request()), executor.evaluate(request()), return_exceptions=True
    )

    assert not isinstance(first, BaseException)
    assert isinstance(second, InvariantBroken)


async def test_close_leaves_no_process_and_may_be_called_twice(make: Make) -> None:
    executor = make(GOOD)
    await executor.start()
    pid = process_of(executor).pid

    await executor.close()
    await executor.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def child_processes() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


@pytest.mark.parametrize("wait_s", [0.0, 0.02, 0.2])
async def test_close_while_it_starts_leaves_no_process(make: Make, wait_s: float) -> None:
    others = child_processes()
    executor = make(GOOD)
    starting = asyncio.create_task(executor.start())
    await asyncio.sleep(wait_s)
    children = set(child_processes()).difference(others)

    await executor.close()
    await asyncio.wait({starting})

    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("is_ready", [False, True])
async def test_close_while_a_replacement_starts_leaves_no_process(
    make: Make, is_ready: bool
) -> None:
    executor = make("while True:\n    pass\n", limits=SHORT)
    await executor.start()
    with pytest.raises(ScriptError):
        await executor.evaluate(request())
    if is_ready:
        assert executor._keeper.preparing is not None
        await asyncio.wait({executor._keeper.preparing})

    await executor.close()

    assert executor._keeper.worker is None
    assert executor._keeper.preparing is None
    assert executor._keeper.dying == []


HOSTILE_WORKERS = {
    "garbage": ("os.write(out, b'\\xff' * 100)", "4294967295 bytes"),
    "not JSON": ("send(82, b'no')", "bad reply"),
    "unknown type": ("send(90, b'{}')", "unknown frame type 90"),
    "wrong number": ("send(70, fault(999))", "nobody asked for"),
    "two answers": ("send(70, fault(2), again=70)", "security event"),
    "another kind": ("send(89, b'{\"request\":2}')", "no answer"),
    "half a frame behind": ("send(70, fault(2), behind=b'x')", "security event"),
    "ends": ("os._exit(3)", "ended by itself (exit code 3)"),
    "crashes": ("os.kill(os.getpid(), 11)", "crashed (signal 11)"),
    "forbidden call": ("os.kill(os.getpid(), 31)", "forbidden system call (security event)"),
    "closes its pipe and spins": ("os.close(out)\n    while True: pass", "the worker ended"),
}


@pytest.mark.parametrize(("act", "words"), HOSTILE_WORKERS.values(), ids=HOSTILE_WORKERS.keys())
async def test_hostile_worker_is_killed_and_cannot_harm_the_engine(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, act: str, words: str
) -> None:
    hostile = tmp_path / "hostile_worker.py"
    hostile.write_text(
        "import json, os, struct, sys\n"
        "into, out = int(sys.argv[2]), int(sys.argv[3])\n"
        "def send(kind, body, again=None, behind=b''):\n"
        "    framed = struct.pack('<IB', len(body), kind) + body\n"
        "    os.write(out, framed * (2 if again else 1) + behind)\n"
        "def fault(n):\n"
        "    return json.dumps({'request': n, 'kind': 'script', 'message': 'm'}).encode()\n"
        "send(89, b'{\"request\":0}')\n"
        "os.read(into, 1 << 20)\n"
        "send(68, json.dumps({'request': 1, 'timeframe': None, 'coin': None, 'indicators': [],\n"
        "     'inputs': [], 'warnings': []}).encode())\n"
        # Inputs, then candles and the question: whatever has come, the question is the second.
        "while b'E' not in os.read(into, 1 << 20):\n"
        "    pass\n"
        f"if True:\n    {act}\n"
        "os.read(into, 1)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(spawn, "BOOT", hostile)
    # It has no locks and says so.
    executor = make(GOOD, is_trusted=True)
    await executor.start()
    pid = process_of(executor).pid

    with pytest.raises(ScriptError) as caught:
        await executor.evaluate(request())

    assert words in str(caught.value)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal")
def test_spinning_worker_dies_with_its_engine(tmp_path: Path, project_dir: Path) -> None:
    (tmp_path / "my.script").write_text("while True:\n    pass\n", encoding="utf-8")
    program = f"""
import asyncio, os, sys
sys.path.insert(0, {str(project_dir)!r})
from pathlib import Path
from milo.candles import Candles
from script_executor import *
async def main():
    executor = ScriptExecutor(Path({str(tmp_path / "my.script")!r}))
    await executor.start()
    candles = Candles.from_rows([(0, 1, 1, 1, 1, 1)])
    account = AccountView(available_balance=1.0)
    asked = EvaluationRequest(candles=candles, account=account)
    task = asyncio.get_running_loop().create_task(executor.evaluate(asked))
    await asyncio.sleep(0.05)
    print(executor._keeper.worker.process.pid, flush=True)
    sys.stdin.read()
    os._exit(0)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdin is not None
        pid = int(engine.stdout.readline())
        with os.fdopen(os.pidfd_open(pid)) as worker:
            engine.kill()
            ready, _, _ = select.select([worker], [], [], 20)

    assert ready
