"""A worker that a script has taken over, and that answers by hand: nothing of it is believed.

Each worker here is a real process that speaks the protocol up to one forgery.
"""

from __future__ import annotations

import asyncio
import json
import os
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from milo.activity import Activity
from milo.clock import monotonic_s
from milo.errors import ScriptError
from milo.inbox import Signal
from milo.model import Candle, ScriptResult
from milo.script.worker import spawn
from script_engine import ScriptEngine, Slot, _intent_of
from script_executor import AccountView, EvaluationRequest, ScriptExecutor, ScriptLimits
from tests.script_runs import walk

CANDLES = walk(60)
IMPATIENT = ScriptLimits(
    start_wall_s=5, load_cpu_ms=500, first_cpu_ms=500, cpu_ms=500, wall_factor=2, wall_floor_s=1
)
READY: dict[str, Any] = {"request": 0}
LOADED: dict[str, Any] = {
    "request": 1, "timeframe": None, "coin": None, "indicators": [], "inputs": [], "warnings": [],
}  # fmt: skip
RESULT: dict[str, Any] = {
    "request": 2, "condition": True, "if_true": "close", "if_false": "donothing", "printed": "",
    "dropped_bytes": 0, "warnings": [], "plots": [], "marks": [],
}  # fmt: skip
DECIDED: dict[str, Any] = {
    "request": 2, "until": 60, "at": "AAAAAA==", "code": "AQA=",
    "actions": [{"text": "close", "is_true": True}, {"text": "donothing", "is_true": False}],
    "errors": [], "breach": None, "warnings": [], "printed": "", "dropped_bytes": 0,
    "is_lifted": False, "checked": 0, "differing": 0, "doubtful": 0, "note": "",
}  # fmt: skip
STEP: dict[str, Any] = {
    "line": 1, "depth": 0, "text": "a > b", "value": "1 > 2", "held": False, "times": 1,
    "is_test": True, "decides": True,
}  # fmt: skip
EXPLAINED: dict[str, Any] = {
    "request": 3, "condition": True, "if_true": "close", "if_false": "donothing", "error": "",
    "warnings": [], "steps": [STEP], "left_out": 0,
}  # fmt: skip
INPUT: dict[str, Any] = {"name": "n", "default": 1, "low": None, "high": None}
# Sends `frame(kind, fields)` or raw bytes when it starts, when a script is loaded, when asked.
WORKER = """
import base64, json, os, struct, sys, time
into, out = int(sys.argv[2]), int(sys.argv[3])

def frame(kind, fields):
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return struct.pack("<IB", len(body), ord(kind)) + body

def write(raw):
    os.write(out, raw)

def exactly(count):
    got = b""
    while len(got) < count:
        part = os.read(into, count - len(got))
        if not part:
            os._exit(0)
        got += part
    return got

def wait_for(kind):
    while True:
        length, found = struct.unpack("<IB", exactly(5))
        payload = exactly(length)
        if found == ord(kind):
            return struct.unpack_from("<I", payload)[0]
        if found == ord("P"):
            write(frame("Y", {{"request": struct.unpack("<I", payload)[0]}}))

READY, LOADED, RESULT, DECIDED, EXPLAINED = (json.loads(text) for text in {fields!r})
STEP = EXPLAINED["steps"][0]

def packed(kind, *numbers):
    return base64.b64encode(struct.pack("<%d%s" % (len(numbers), kind), *numbers)).decode()

def runs(at, code, **changes):
    return dict(DECIDED, at=packed("I", *at), code=packed("H", *code), **changes)

{start}
LOADED["request"] = wait_for("L")
{load}
RESULT["request"] = DECIDED["request"] = wait_for({question!r})
{asked}
wait_for("never")
"""


class Fake:
    """Makes executors whose worker is a program of the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.made: list[ScriptExecutor] = []

    def __call__(
        self,
        *,
        start: str = 'write(frame("Y", READY))',
        load: str = 'write(frame("D", LOADED))',
        asked: str = 'write(frame("R", RESULT))',
        question: str = "E",
    ) -> ScriptExecutor:
        program = self._folder / "forging_worker.py"
        fields = [json.dumps(part) for part in (READY, LOADED, RESULT, DECIDED, EXPLAINED)]
        parts = {"start": start, "load": load, "asked": asked}
        program.write_text(
            WORKER.format(
                fields=fields,
                question=question,
                **{name: textwrap.dedent(text) for name, text in parts.items()},
            ),
            encoding="utf-8",
        )
        self._monkeypatch.setattr(spawn, "BOOT", program)
        script = self._folder / "my.script"
        script.write_text("condition_true = True\n", encoding="utf-8")
        self.made.append(ScriptExecutor(script, limits=IMPATIENT, is_trusted=True))
        return self.made[-1]


@pytest_asyncio.fixture
async def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fake]:
    fake = Fake(tmp_path, monkeypatch)
    yield fake
    for executor in fake.made:
        await executor.close()


def request(count: int = 60) -> EvaluationRequest:
    candles = CANDLES if count == 60 else walk(count)
    return EvaluationRequest(candles=candles, account=AccountView(available_balance=1.0))


async def fails(work: Callable[[], Any]) -> ScriptError:
    """Return the error, which is fit to be shown whatever the worker had sent."""
    with pytest.raises(ScriptError) as caught:
        await work()
    text = str(caught.value)
    assert "\x1b" not in text
    assert all(line.startswith(("my.script", "    ")) for line in text.splitlines())
    assert len(text) < 1000
    return caught.value


def pid_of(executor: ScriptExecutor) -> int:
    assert executor._keeper.worker is not None
    return executor._keeper.worker.process.pid


def assert_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_program_of_these_tests_is_believed_where_it_forges_nothing(fake: Fake) -> None:
    executor = fake()
    await executor.start()

    result = await executor.evaluate(request())

    assert (result.condition, result.action) == (True, "close")


AT_START = {
    "no frame": 'write(b"\\xff" * 100)',
    "another number": 'write(frame("Y", {"request": 7}))',
    "another kind": 'write(frame("R", dict(RESULT, request=0)))',
    "loaded before there is a script": 'write(frame("D", dict(LOADED, request=0)))',
    "two": 'write(frame("Y", READY) * 2)',
    "nothing, slowly": "os.close(out)\ntime.sleep(60)",
    "escapes in a refusal": (
        'write(frame("F", {"request": 0, "kind": "worker", "message": "x\\n\\x1b[2Jmilo: sold"}))'
    ),
}


@pytest.mark.parametrize("act", AT_START.values(), ids=AT_START.keys())
async def test_what_is_wrong_at_the_start_ends_in_one_clear_error(fake: Fake, act: str) -> None:
    executor = fake(start=act)

    error = await fails(executor.start)

    # The script was not in it yet: nothing to hold against it.
    assert not error.breach


WHILE_LOADING = {
    "result": 'write(frame("R", dict(RESULT, request=1)))',
    "ready": 'write(frame("Y", {"request": 1}))',
    "two": 'write(frame("D", LOADED) * 2)',
    "result behind it": 'write(frame("D", LOADED) + frame("R", RESULT))',
    "number of nobody": 'write(frame("D", dict(LOADED, request=2)))',
    "timeframe": 'write(frame("D", dict(LOADED, timeframe="7m")))',
    "coin with a path": 'write(frame("D", dict(LOADED, coin="../../fapi/v1/order")))',
    "coin with a query": 'write(frame("D", dict(LOADED, coin="BTC&side=SELL")))',
    "coin that reads backwards": 'write(frame("D", dict(LOADED, coin="BTC\\u202eTDSU")))',
    "no coin": 'write(frame("D", dict(LOADED, coin="")))',
    "indicator": 'write(frame("D", dict(LOADED, indicators=["calculate_profit"])))',
    "indicator twice": 'write(frame("D", dict(LOADED, indicators=["calculate_sma"] * 2)))',
}


async def test_loading_that_never_ends_is_ended(fake: Fake) -> None:
    executor = fake(load="time.sleep(60)")

    error = await fails(executor.start)

    assert "stopped after 1 s without an answer" in str(error)


@pytest.mark.parametrize("act", WHILE_LOADING.values(), ids=WHILE_LOADING.keys())
async def test_forged_header_is_refused(fake: Fake, act: str) -> None:
    executor = fake(load=act)

    error = await fails(executor.start)

    assert error.breach
    assert "security event" in str(error)


FORGED_INPUTS: dict[str, dict[str, Any]] = {
    "huge whole number": {"default": 10**400},
    "huge fraction": {"default": 1e300},
    "huge range": {"high": 10**17},
    "no name": {"name": ""},
    "name with a line end": {"name": "n\nhalted: no"},
    "out of its range": {"default": 5, "low": 6},
    "range upside down": {"low": 3, "high": -3},
}


@pytest.mark.parametrize("changes", FORGED_INPUTS.values(), ids=FORGED_INPUTS.keys())
async def test_forged_input_is_refused(fake: Fake, changes: dict[str, Any]) -> None:
    forged = json.dumps(INPUT | changes)
    executor = fake(load=f'write(frame("D", dict(LOADED, inputs=[json.loads({forged!r})])))')

    assert "security event" in str(await fails(executor.start))


async def test_input_that_is_declared_twice_is_refused(fake: Fake) -> None:
    executor = fake(
        load=f'write(frame("D", dict(LOADED, inputs=[json.loads({json.dumps(INPUT)!r})] * 2)))'
    )

    assert "security event" in str(await fails(executor.start))


WHEN_ASKED = {
    "number of an older request": 'write(frame("R", dict(RESULT, request=1)))',
    "number of the next request": 'write(frame("R", dict(RESULT, request=3)))',
    "loaded": 'write(frame("D", dict(LOADED, request=2)))',
    "escapes in an unknown field": 'write(frame("R", dict(RESULT, **{"x\\n\\x1b[2Jmilo: a": 1})))',
    "number as text": 'write(frame("R", dict(RESULT, request="2")))',
    "condition is 1": 'write(frame("R", dict(RESULT, condition=1)))',
    "lone surrogate": (
        'write(frame("R", json.dumps(RESULT).replace("close", "\\\\ud800").encode()))'
    ),
    "not UTF-8": 'write(frame("R", json.dumps(RESULT).encode().replace(b"close", b"\\xff")))',
    "infinite line": (
        'write(frame("R", json.dumps(dict(RESULT, plots=[{"name": "a", "pane": "b",'
        ' "value": 1}])).replace(": 1}", ": 1e999}").encode()))'
    ),
    "deep": 'write(frame("R", b"[" * 60000))',
    "an answer to what is not asked yet": (
        'write(frame("R", RESULT) + frame("R", dict(RESULT, request=3)))'
    ),
}


@pytest.mark.parametrize("act", WHEN_ASKED.values(), ids=WHEN_ASKED.keys())
async def test_forged_answer_kills_the_worker_and_sends_no_order(fake: Fake, act: str) -> None:
    executor = fake(asked=act)
    await executor.start()
    pid = pid_of(executor)

    error = await fails(lambda: executor.evaluate(request()))

    assert error.breach
    assert error.security
    assert "security event" in str(error)
    assert "No order was sent." in str(error)
    assert_gone(pid)


async def test_second_answer_that_comes_later_is_no_answer_to_the_next_question(fake: Fake) -> None:
    executor = fake(
        asked="""
        write(frame("R", RESULT))
        time.sleep(0.05)
        write(frame("R", dict(RESULT, request=3)))
        """
    )
    await executor.start()
    first = await executor.evaluate(request())
    worker = executor._keeper.worker
    assert worker is not None
    while worker.process.failure is None:  # noqa: ASYNC110 - until the loop has read it
        await asyncio.sleep(0.005)

    error = await fails(lambda: executor.evaluate(request()))

    assert first.action == "close"
    assert error.breach
    assert "nobody asked for" in str(error)


async def test_worker_that_ends_after_each_answer_is_not_replaced_for_ever(fake: Fake) -> None:
    executor = fake(asked='write(frame("R", RESULT))\nos._exit(0)')
    await executor.start()
    for _ in range(4):
        await executor.evaluate(request())
        worker = executor._keeper.worker
        assert worker is not None
        while worker.process.failure is None:  # noqa: ASYNC110 - until the loop has seen its end
            await asyncio.sleep(0.005)

    error = await fails(lambda: executor.evaluate(request()))

    assert error.breach


async def test_answer_that_comes_in_drops_ends_with_the_time_for_it(fake: Fake) -> None:
    executor = fake(
        asked="""
        whole = frame("R", RESULT)
        for index in range(len(whole)):
            write(whole[index : index + 1])
            time.sleep(0.05)
        """
    )
    await executor.start()
    started_s = monotonic_s()

    error = await fails(lambda: executor.evaluate(request()))

    assert "stopped after 1 s without an answer" in str(error)
    assert monotonic_s() - started_s < 5


STANDING_STILL = {
    "closes what it reads": "os.close(into)\ntime.sleep(60)",
    "reads nothing": "time.sleep(60)",
}


@pytest.mark.parametrize("act", STANDING_STILL.values(), ids=STANDING_STILL.keys())
async def test_worker_that_takes_no_candles_delays_nobody(fake: Fake, act: str) -> None:
    executor = fake(load=f'write(frame("D", LOADED))\n{act}')
    await executor.start()
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    counting = asyncio.create_task(count_turns())
    # More than the pipe holds.
    error = await fails(lambda: executor.evaluate(request(30_000)))
    counting.cancel()

    assert "without an answer" in str(error)
    assert turns > 20


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        ("long(" + "\t" * 150 + "1%risk@10x)", "long( 1%risk@10x)"),
        ("\rclose\r\n(50%)\n", "close (50%)"),
        (" LONG(1%Risk@10X, sl=2%)\n\n", "LONG(1%Risk@10X, sl=2%)"),
    ],
)
async def test_action_is_what_the_grammar_read_and_nothing_else(
    fake: Fake, action: str, shown: str
) -> None:
    executor = fake(asked=f'write(frame("R", dict(RESULT, if_true={action!r})))')
    await executor.start()

    result = await executor.evaluate(request())

    assert result.action == shown
    # The engine reads the same text again.
    assert _intent_of(result.action) is not None


@pytest.mark.parametrize(
    "action",
    ["long(1%ris\u212a@10x)", "long(\u0661%risk@10x)", "close\x00", "close\u2028", "clo\x1b[2Jse"],
)
async def test_action_in_other_letters_than_plain_ones_is_an_error(fake: Fake, action: str) -> None:
    executor = fake(asked=f'write(frame("R", dict(RESULT, if_true={action!r})))')
    await executor.start()

    error = await fails(lambda: executor.evaluate(request()))

    assert "has no meaning in an action" in str(error)


async def test_texts_of_an_answer_are_cleaned_before_anybody_sees_them(fake: Fake) -> None:
    evil = "a\x1b]0;x\x07\u202e\r<b>"
    executor = fake(
        asked=f"""
        evil = {evil!r}
        write(frame("R", dict(
            RESULT, printed=evil + "\\n" + evil, warnings=[evil], marks=[evil],
            plots=[{{"name": evil, "pane": evil, "value": 1}}],
        )))
        """
    )
    await executor.start()

    result: ScriptResult = await executor.evaluate(request())

    texts = [*result.prints, *result.warnings, *result.marks]
    texts += [text for plot in result.plots for text in (plot.name, plot.pane)]
    assert len(texts) == 6
    assert set(texts) == {"a?]0;x???<b>"}


EXPLAINING = """
write(frame("R", RESULT))
wait_for("X")
{}
"""
FORGED_EXPLANATIONS = {
    "a result": 'write(frame("R", dict(RESULT, request=3)))',
    "number of nobody": 'write(frame("W", dict(EXPLAINED, request=4)))',
    "twice": 'write(frame("W", EXPLAINED) * 2)',
    "a line that is not there": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, line=9)])))',
    "line 0": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, line=0)])))',
    "a part of nothing": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, depth=1)])))',
    "held, never looked at": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, times=0)])))',
    "too deep": 'write(frame("W", dict(EXPLAINED, steps=[STEP, dict(STEP, depth=13)])))',
    "too many rows": (
        'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, text="", value="")] * 401)))'
    ),
    "too long a text": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, text="x" * 161)])))',
    "too long a value": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, value="x" * 161)])))',
    "held is 1": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, held=1)])))',
    "another field": 'write(frame("W", dict(EXPLAINED, steps=[dict(STEP, more=1)])))',
    "more than a frame": 'write(struct.pack("<IB", 65537, ord("W")))',
}


@pytest.mark.parametrize("act", FORGED_EXPLANATIONS.values(), ids=FORGED_EXPLANATIONS.keys())
async def test_forged_explanation_kills_the_worker(fake: Fake, act: str) -> None:
    executor = fake(asked=EXPLAINING.format(act))
    await executor.start()
    pid = pid_of(executor)

    error = await fails(lambda: executor.explain(request()))

    assert error.breach
    assert error.security
    assert "security event" in str(error)
    assert_gone(pid)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ("time.sleep(60)", "stopped after 1 s without an answer"),
        (
            'write(frame("F", {"request": 3, "kind": "time", "message": ""}))',
            "(limit 500 ms)",
        ),
    ],
    ids=["silence", "a fault"],
)
async def test_without_an_explanation_there_is_still_the_decision(
    fake: Fake, act: str, why: str
) -> None:
    executor = fake(asked=EXPLAINING.replace("{}", act))
    await executor.start()
    pid = pid_of(executor)

    told = await executor.explain(request())

    assert told.result is not None
    assert told.result.action == "close"
    assert told.steps == ()
    assert why in told.note
    assert "No order" not in told.note
    assert_gone(pid)


async def test_texts_of_an_explanation_are_cleaned(fake: Fake) -> None:
    evil = "a\x1b]0;x\x07\u202e\r<b>"
    executor = fake(
        asked=EXPLAINING.format(
            f'write(frame("W", dict(EXPLAINED, error={evil!r},'
            f" steps=[dict(STEP, text={evil!r}, value={evil!r})])))"
        )
    )
    await executor.start()

    told = await executor.explain(request())

    assert (told.steps[0].text, told.steps[0].value) == ("a?]0;x???<b>", "a?]0;x???<b>")
    assert (
        told.note
        == "the values may mislead: the script failed while it was looked at: a?]0;x???<b>"
    )
    # The action is that of the plain evaluation, whatever the explanation claims.
    assert told.result is not None
    assert told.result.action == "close"


async def test_explanation_that_claims_another_decision_is_told_to_mislead(fake: Fake) -> None:
    executor = fake(asked=EXPLAINING.format('write(frame("W", dict(EXPLAINED, condition=False)))'))
    await executor.start()

    told = await executor.explain(request())

    assert (
        told.note == "the values may mislead: the script decided otherwise while it was looked at"
    )
    assert told.result is not None
    assert told.result.condition is True


async def test_line_of_a_fault_may_be_anywhere(fake: Fake) -> None:
    executor = fake(
        asked="""
        write(frame("F", {"request": 2, "kind": "script", "message": "m", "line": 2**31,
                          "column": 2**31, "end_column": 0, "printed": ""}))
        """
    )
    await executor.start()

    error = await fails(lambda: executor.evaluate(request()))

    assert not error.breach


async def test_replacement_that_says_other_things_of_the_same_text_is_refused(
    fake: Fake, tmp_path: Path
) -> None:
    turn = tmp_path / "turn"
    executor = fake(
        load=f"""
        is_second = os.path.exists({str(turn)!r})
        open({str(turn)!r}, "w").close()
        write(frame("D", dict(LOADED, coin="DOGEUSDT" if is_second else "BTCUSDT")))
        """,
        asked="os._exit(0)",
    )
    header = await executor.start()
    await fails(lambda: executor.evaluate(request()))

    error = await fails(lambda: executor.evaluate(request()))

    assert header.coin == "BTCUSDT"
    assert "says other things now (security event)" in str(error)


async def test_script_behind_a_forged_answer_is_halted_at_once(fake: Fake) -> None:
    executor = fake(asked='write(frame("R", dict(RESULT, condition=1, if_true="close")))')
    header = await executor.start()
    said: list[str] = []
    signals: list[Signal] = []

    async def keep(symbol: str, interval: str, candle: Candle) -> None: ...

    async def refill(symbol: str, interval: str, from_ms: int) -> list[Candle]:
        return []

    def say(slot: Slot, line: str, is_problem: bool) -> None:
        said.append(line)

    engine = ScriptEngine(
        emit=signals.append,
        account=lambda: AccountView(available_balance=1.0),
        store=keep,
        refill=refill,
        say=say,
        activity=Activity(),
        is_live_loop=False,
    )
    slot = engine.add(
        header=header, symbol="BTCUSDT", timeframe="1h", runner=executor, candles=CANDLES
    )

    result = await engine.evaluate_newest(slot)

    assert (result, signals) == (None, [])
    assert slot.is_halted
    assert said[-1].startswith("halted after a security event: it is not run again before")


# -- answers about many candles ----------------------------------------------------------------


async def test_honest_answer_about_many_candles_is_believed(fake: Fake) -> None:
    executor = fake(question="B", asked='write(frame("M", runs([0, 10, 59], [2, 1, 2])))')
    await executor.start()

    decisions = await executor.decide(CANDLES)

    assert decisions.at.tolist() == [0, 10, 59]
    assert [decisions.action_at(index) for index in (9, 10, 58, 59)] == [
        "donothing", "close", "close", "donothing",
    ]  # fmt: skip


FORGED_DECISIONS = {
    "result": 'write(frame("R", RESULT))',
    "ready": 'write(frame("Y", {"request": DECIDED["request"]}))',
    "two": 'write(frame("M", runs([0], [1])) * 2)',
    "another number": 'write(frame("M", runs([0], [1]) | {"request": 1}))',
    "unknown field": 'write(frame("M", runs([0], [1], more=1)))',
    "text for a number": 'write(frame("M", runs([0], [1]) | {"until": "60"}))',
    "no base64": 'write(frame("M", dict(DECIDED, at="****")))',
    "half a place": 'write(frame("M", dict(DECIDED, at="AAAA")))',
    "places without codes": 'write(frame("M", runs([0, 5], [1])))',
    "codes without places": 'write(frame("M", runs([0], [1, 2])))',
    "nothing for many": 'write(frame("M", runs([], [])))',
    "not from the first on": 'write(frame("M", runs([1], [1])))',
    "backwards": 'write(frame("M", runs([0, 9, 5], [1, 2, 1])))',
    "twice in one place": 'write(frame("M", runs([0, 9, 9], [1, 2, 1])))',
    "behind the end": 'write(frame("M", runs([0, 60], [1, 2])))',
    "far behind the end": 'write(frame("M", runs([0, 2**32 - 1], [1, 2])))',
    "further than asked": 'write(frame("M", runs([0], [1]) | {"until": 61}))',
    "code that is in no table": 'write(frame("M", runs([0], [3])))',
    "largest code": 'write(frame("M", runs([0], [65535])))',
    "the same again": 'write(frame("M", runs([0, 5], [1, 1])))',
    "an action twice": 'write(frame("M", runs([0], [1]) | {"actions": DECIDED["actions"] * 2}))',
    "too many actions": 'write(frame("M", runs([0], [1]) | {"actions": ['
    '{"text": str(k), "is_true": True} for k in range(257)]}))',
    "too many places": 'write(frame("M", runs(range(3073), [1, 2] * 1536 + [1])))',
    "a long action": 'write(frame("M", runs([0], [1]) | {"actions": ['
    '{"text": "x" * 201, "is_true": True}]}))',
    "no progress": 'write(frame("M", dict(DECIDED, at="", code="", until=0)))',
    "an error without a failure": 'write(frame("M", runs([0], [1]) | {"errors": ['
    '{"at": 3, "message": "m"}]}))',
    "an error behind the end": 'write(frame("M", runs([0], [0]) | {"errors": ['
    '{"at": 60, "message": "m"}]}))',
    "errors out of order": 'write(frame("M", runs([0], [0]) | {"errors": ['
    '{"at": 3, "message": "m"}, {"at": 2, "message": "m"}]}))',
    "too many errors": 'write(frame("M", runs([0], [0]) | {"errors": ['
    '{"at": k, "message": "m"} for k in range(5)]}))',
    "a breach behind the end": 'write(frame("M", runs([0], [1]) | {"breach": {"kind": "time"}}))',
    "a breach of another kind": 'write(frame("M", runs([0], [1]) | {"until": 9,'
    ' "breach": {"kind": "veto"}}))',
    "more compared than there is": 'write(frame("M", runs([0], [1]) | {"checked": 61}))',
    "more differing than compared": 'write(frame("M", runs([0], [1]) | {"checked": 2,'
    ' "differing": 3}))',
    "lone surrogate": 'write(frame("M", json.dumps(DECIDED)'
    '.replace("close", "\\\\ud800").encode()))',
    "deep": 'write(frame("M", b"[" * 60000))',
}


@pytest.mark.parametrize("act", FORGED_DECISIONS.values(), ids=FORGED_DECISIONS.keys())
async def test_forged_answer_about_many_candles_halts_and_decides_nothing(
    fake: Fake, act: str
) -> None:
    executor = fake(question="B", asked=act)
    await executor.start()
    pid = pid_of(executor)

    decisions = await executor.decide(CANDLES)

    (error,) = decisions.errors
    assert "security event" in error.message
    assert "No order was sent." in error.message
    assert decisions.halted_at == 0
    assert {decisions.action_at(index) for index in range(60)} == {"donothing"}
    assert_gone(pid)


ARRAYS_UNASKED = {
    "lifted": '{"is_lifted": True}',
    "compared": '{"checked": 1}',
    "differing": '{"checked": 1, "differing": 1}',
    "doubtful": '{"doubtful": 1}',
}


@pytest.mark.parametrize("changes", ARRAYS_UNASKED.values(), ids=ARRAYS_UNASKED.keys())
async def test_arrays_that_nobody_asked_for_are_no_answer(fake: Fake, changes: str) -> None:
    executor = fake(question="B", asked=f'write(frame("M", runs([0], [1]) | {changes}))')
    await executor.start()

    decisions = await executor.decide(CANDLES, with_arrays=False)

    assert "security event" in decisions.errors[0].message


async def test_worker_that_always_finds_arrays_wrong_is_asked_without_them_once(
    fake: Fake,
) -> None:
    executor = fake(
        question="B",
        asked="""
        wrong = dict(DECIDED, at="", code="", until=0, checked=1, differing=1)
        write(frame("M", wrong))
        wrong["request"] = wait_for("B")
        write(frame("M", wrong))
        """,
    )
    await executor.start()

    decisions = await executor.decide(CANDLES)

    assert "security event" in decisions.errors[0].message
    assert decisions.halted_at == 0


async def test_texts_of_an_answer_about_many_candles_are_cleaned(fake: Fake) -> None:
    evil = "a\x1b]0;x\x07\u202e\r<b>"
    executor = fake(
        question="B",
        asked=f"""
        evil = {evil!r}
        write(frame("M", runs([0, 3, 6], [0, 2, 3]) | {{
            "errors": [{{"at": 1, "message": evil, "line": 2**31}}], "warnings": [evil],
            "printed": evil, "note": evil,
            "actions": DECIDED["actions"] + [{{"text": evil, "is_true": True}}],
        }}))
        """,
    )
    await executor.start()

    decisions = await executor.decide(CANDLES)

    texts = [*decisions.warnings, *decisions.prints, decisions.proof.note]
    texts += [error.message for error in decisions.errors]
    assert len(texts) >= 5
    for text in texts:
        assert not any(ord(letter) < 32 or letter == "\u202e" for letter in text.replace("\n", ""))
    assert decisions.halted_at == 10


async def test_worker_that_stands_still_over_many_candles_is_ended(fake: Fake) -> None:
    executor = fake(question="B", asked="time.sleep(60)")
    await executor.start()
    started_s = monotonic_s()

    decisions = await executor.decide(CANDLES, count=1)

    assert decisions.error_count == 1
    assert "without an answer" in decisions.errors[0].message
    assert monotonic_s() - started_s < 30
