"""Many candles decided in one go: the same as one by one, whatever comes after a candle."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from milo.candles import Candles
from milo.model import Candle
from milo.script.deciding import Decider
from milo.script.faults import ScriptFault
from milo.script.history import History
from milo.script.limits import MAX_CHANGES, MAX_TEXTS
from milo.script.protocol import (
    MAX_REPLY_BYTES,
    AskedWays,
    DecideRequest,
    candle_frames,
    reply_frame,
)
from milo.script.runner import NO_ACCOUNT
from tests.script_batches import (
    ONE_BY_ONE,
    answers_of,
    history_of,
    many,
    one_by_one,
    random_script,
    replies,
    same,
)
from tests.script_runs import Script, packed_row, walk

CANDLES = walk(160)
LONGER = walk(2200)
SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*.script"))

ODD = {
    "a list": "seen = []\nfor c in data[-5:]:\n    seen.append(c.close)\n"
    "condition_true = max(seen) == seen[-1]",
    "an error now and then": "condition_true = 1 / (len(data) % 4) > 0.4",
    "errors of every kind": "condition_true = [True, 1, None, 'x', False][len(data) % 5]",
    "a wrong action": "condition_true = True\naction_if_true = 'close' if len(data) % 3 else 5",
    "no condition": "action_if_false = 'close' if len(data) % 9 == 1 else 'donothing'",
    "a namespace that stays clean": """
try:
    count = count + 1
except NameError:
    count = 1
condition_true = count > 1
""",
    "names given away": "lastclose += 1\ndata = data[-3:]\ncondition_true = len(data) > 3",
    "functions and closures": """
def over(limit):
    return lambda value: value > limit
async def strong(view):
    return (await calculate_rsi(view, 5))[-1]
condition_true = over(55)(await strong(data)) or over(60)(await strong(data[:9]))
""",
    "generators that wait": """
def walk():
    try:
        for c in data:
            yield c.close
    finally:
        sum([1])
condition_true = next(walk()) > lastclose
""",
    "recursion to the limit": """
def down(n):
    return 0 if n == 0 else 1 + down(n - 1)
condition_true = False
try:
    condition_true = down(300 + len(data)) > 0
except RecursionError:
    action_if_false = "close"
""",
    "other periods each time": "ema = await calculate_ema(data, 2 + len(data) % 40)\n"
    "condition_true = ema[-1] < lastclose",
    "whole numbers of three kinds": """
kind = [3, 3.0, True][len(data) % 3]
condition_true = False
try:
    condition_true = (await calculate_ema(data, kind))[-1] > lastclose
except (ValueError, TypeError):
    action_if_false = "close"
""",
    "parts by step": "part = data[::-7][:9]\n"
    "condition_true = part[0].close < part[-1].close and (await calculate_sma(part, 3))[-1] > 0",
    "prints of all kinds": """
print(data, data[-1], f"{lastclose:.3f}", sep="|")
print(10 ** 5000 if len(data) % 8 == 3 else 1)
""",
}


@pytest.fixture(autouse=True, scope="module")
def _frozen() -> Iterator[None]:
    """As in a worker, where the search for waiting generators sees the script's objects only."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_scripts_decide_the_same_in_one_go(text: str) -> None:
    script = Script(text)

    assert same(many(script, CANDLES), one_by_one(script, CANDLES))


@pytest.mark.parametrize("path", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_samples_decide_the_same_in_one_go(path: Path) -> None:
    script = Script(path.read_text())

    assert same(many(script, CANDLES, 20), one_by_one(script, CANDLES, 20))


@pytest.mark.parametrize("seed", range(60))
def test_random_scripts_decide_the_same_in_one_go(seed: int) -> None:
    script = Script(random_script(seed))
    candles = walk(90, seed)
    expected = one_by_one(script, candles)

    assert same(many(script, candles), expected)
    assert same(many(script, candles, 0, AskedWays.ARRAYS), expected)


@pytest.mark.parametrize("path", SAMPLES, ids=[path.stem for path in SAMPLES])
@pytest.mark.parametrize("ways", [AskedWays.ARRAYS, AskedWays.ARRAYS | AskedWays.PROVE_ALL])
def test_arrays_decide_what_the_script_decides(path: Path, ways: AskedWays) -> None:
    script = Script(path.read_text())

    # A script that loops over its whole history costs the square of it.
    candles = LONGER.prefix(800) if path.stem == "history_loop" else LONGER

    assert same(many(script, candles, 20, ways), many(script, candles, 20))


def test_proof_counts_signals_doubts_and_a_sample() -> None:
    script = Script(
        "rsi = await calculate_rsi(data)\ncondition_true = rsi[-1] > 65\naction_if_true = 'close'"
    )

    found = replies(script, LONGER, 5, AskedWays.ARRAYS)
    proved = replies(script, LONGER, 5, AskedWays.ARRAYS | AskedWays.PROVE_ALL)
    signals = {
        index for index, answer in enumerate(many(script, LONGER)) if answer == ("close", True)
    }
    wanted = signals | set(range(5, 205)) | {997, 1994, len(LONGER) - 1}

    assert all(reply.is_lifted for reply in found)
    assert sum(reply.checked + reply.doubtful for reply in found) == len(wanted)
    assert sum(reply.checked + reply.doubtful for reply in proved) == len(LONGER) - 5
    assert all(reply.differing == 0 for reply in (*found, *proved))


def test_arrays_that_differ_are_given_up_and_that_is_said() -> None:
    script = Script(
        "limit = param('limit', 65, 0, 100)\nrsi = await calculate_rsi(data)\n"
        "condition_true = rsi[-1] > limit\naction_if_true = 'close'"
    )
    decider, base = Decider(script.runner, script.checked), history_of(LONGER).base()

    def asked(first: int, stop: int) -> DecideRequest:
        return DecideRequest(1, first, stop, 250, 100, AskedWays.ARRAYS)

    before = decider.decided(base, asked(0, 1500))
    # What arrays gave for all candles is worth nothing any more; the script itself shows that.
    script.runner.session.inputs = {"limit": 100}
    differing = decider.decided(base, asked(1500, len(LONGER)))
    after = decider.decided(base, asked(0, len(LONGER)))

    assert before.is_lifted
    assert (differing.until, differing.at, differing.breach) == (1500, b"", None)
    assert 0 < differing.differing <= differing.checked
    assert "arrays gave something else on" in differing.note
    assert not after.is_lifted
    assert after.note == differing.note


def test_reason_why_there_are_no_arrays_is_told_with_its_line() -> None:
    (reply,) = replies(Script(ODD["a list"]), CANDLES, 0, AskedWays.ARRAYS)
    (other,) = replies(
        Script("x = 1\ntry:\n    x = 2\nexcept ValueError:\n    x = 3\ncondition_true = x > 1"),
        CANDLES, 0, AskedWays.ARRAYS,
    )  # fmt: skip

    assert not (reply.is_lifted and other.is_lifted)
    assert other.note.startswith("line 2: ")


def followed_by(candles: Candles, count: int, seed: int) -> Candles:
    """Return the first `count` candles with others behind them than there were."""
    rng = random.Random(seed)
    other = candles.prefix(count)
    for _ in range(rng.randint(0, 60)):
        last = other.candle(-1)
        price = last.close * rng.choice((0.5, 0.99, 1.01, 2.0, rng.uniform(0.9, 1.1)))
        other = other.appended(
            Candle(last.open_ms + 3_600_000, last.close, max(last.close, price) * 1.01,
                   min(last.close, price) * 0.99, price, rng.uniform(0, 1e6))
        )  # fmt: skip
    return other


TEXTS = [
    *(path.read_text() for path in SAMPLES),
    *(text for text in ODD.values() if "errors" not in text),
    *(random_script(seed) for seed in range(100, 140)),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_comes_after_a_candle_changes_nothing(text: str) -> None:
    script = Script(text)
    whole = many(script, CANDLES)

    for seed in range(4):
        count = random.Random(seed).randrange(30, len(CANDLES))
        changed = many(script, followed_by(CANDLES, count, seed))
        assert same(changed[:count], whole[:count])


def test_the_first_errors_of_an_answer_are_told_with_their_place() -> None:
    (reply,) = replies(Script("x = 1\ncondition_true = x / 0 > 1"), CANDLES)

    assert [error.at for error in reply.errors] == [0, 1, 2, 3]
    assert {(error.message, error.line) for error in reply.errors} == {
        ("ZeroDivisionError: division by zero", 2)
    }


def test_printed_text_comes_of_the_last_candle_only() -> None:
    script = Script("print(len(data))")

    (silent,) = replies(script, CANDLES)
    (reply,) = replies(script, CANDLES, 0, AskedWays.SHOW_LAST)

    assert silent.printed == ""
    assert reply.printed == f"{len(CANDLES)}\n"


def test_warnings_are_told_once() -> None:
    (reply,) = replies(Script("x = 1"), CANDLES)

    assert reply.warnings == ("condition_true was not assigned; it counts as False",)


@pytest.mark.parametrize("letter", ['"', "x", "\U0001f600", "\\"])
def test_answers_of_many_different_actions_fit_into_frames(letter: str) -> None:
    longest = letter * 190
    script = Script(
        f"condition_true = True\naction_if_true = {longest!r} + str(len(data))\n"
        f"print({letter!r} * 16000)"
    )

    found = replies(script, CANDLES, 0, AskedWays.SHOW_LAST)

    assert all(len(reply_frame(reply)) <= MAX_REPLY_BYTES for reply in found)
    assert found[-1].until == len(CANDLES)
    assert all(len(reply.actions) <= MAX_TEXTS for reply in found)


def test_an_answer_ends_where_it_would_hold_too_many_changes() -> None:
    candles = walk(MAX_CHANGES + 500)

    first, second = replies(Script("condition_true = len(data) % 2 == 0"), candles)

    assert len(first.at) == 4 * (MAX_CHANGES - 1)
    assert second.until == len(candles)


def test_results_of_indicators_are_not_kept_for_ever() -> None:
    script = Script("ema = await calculate_ema(data, 1 + len(data))\ncondition_true = True")
    base = history_of(walk(3000)).base()

    tracemalloc.start()
    try:
        reply = Decider(script.runner, script.checked).decided(
            base, DecideRequest(1, 0, len(base), 250, 100, ONE_BY_ONE)
        )
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert reply.until == len(base)
    # 3,000 of them, each of 3,000 numbers.
    assert 0 < base.computed.tally[0] < 5_000_000
    assert held_bytes < 8 * 6_000_000


GOING_ON = """
rsi = await calculate_rsi(data, 5)
average = await calculate_ema_internal(rsi, 3)
line, signal = await calculate_macd(data, 3, 8, 3)
points = await calculate_zigzag(data)
found = await detect_divergences(rsi, points, data, 3, 2)
condition_true = len(found) > 3
places = sum(p["index"] for p in points) + sum(item["endIndex"] for item in found)
extremes = sum(p["value"] for p in points) + sum(item["startRSI"] for item in found)
volume = await calculate_average_volume(data, 4)
action_if_true = action_if_false = repr(
    [rsi[-1], average[-1], line[-1], signal[-1], volume, places, extremes, found[-1:] != []]
)
"""


def test_many_candles_and_single_ones_take_turns_over_one_history() -> None:
    rng = random.Random(8)
    candles = walk(260)
    script, fresh = Script(GOING_ON), Script(GOING_ON)
    decider, history = Decider(script.runner, script.checked), History()
    expected = one_by_one(fresh, candles)
    changes = set()

    while len(history) < len(candles):
        before = len(history)
        coming = candles.prefix(min(len(candles), before + rng.choice([1, 1, 2, 9, 40])))
        history.extend(candle_frames(coming, before)[5:])
        count = len(history)
        way = rng.choice(["many", "one", "forming"])
        changes.add(way)
        if way == "many":
            first = rng.randrange(count)
            asked = DecideRequest(1, first, count, 250, 100, ONE_BY_ONE)
            assert (
                answers_of(decider.decided(history.base(), asked), first) == expected[first:count]
            )
        elif way == "one":
            outcome = script.runner.evaluate(history.base(), count, NO_ACCOUNT)
            assert (outcome.if_true, outcome.condition) == expected[count - 1]
        else:
            last = candles.candle(count - 1)
            forming = replace(last, open_ms=last.open_ms + 60_000, close=last.low)
            outcome = script.runner.evaluate(history.base(packed_row(forming)), count, NO_ACCOUNT)
            alone = fresh.run(coming, forming).outcome
            assert (outcome.if_true, outcome.condition) == (alone.if_true, alone.condition)
    assert len(changes) == 3


def test_a_fault_of_a_single_evaluation_is_that_of_the_batch() -> None:
    script = Script("condition_true = data[-9].close > 1")

    (reply,) = replies(script, CANDLES)
    with pytest.raises(ScriptFault) as caught:
        script.run(CANDLES.prefix(3))

    assert reply.errors[2].message == caught.value.message
    assert reply.errors[2].column == caught.value.column
