"""What is lifted over arrays, what is not and why, and which candles are left to the script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from milo.script import lift as lift_module
from milo.script.lift import NotLiftable
from tests.lifting import action, by_runner, columns, compared, lift

SAMPLES = Path(__file__).parent.parent.parent / "samples"
CANDLES = columns(90, 4)
CALM = columns(90, 4, hostile=False)

LIFTED = {
    "crossover": "line, signal = await calculate_macd(data)\n"
    "condition_true = line[-1] > signal[-1] and line[-2] <= signal[-2]",
    "keyword parameters": "k, d = await calculate_stochastic(data, d_period=2, k_period=5)\n"
    "condition_true = k[-1] > d[-1]",
    "average of an indicator": "rsi = await calculate_rsi(data, 5)\n"
    "smooth = await calculate_ema_internal(rsi, 4)\ncondition_true = rsi[-1] > smooth[-1]",
    "catalogue": "upper, middle, lower = await calculate_bbands(data, 5)\n"
    "condition_true = lower[-1] < data[-1].close > middle[-1] < upper[-1]",
    "last value": "condition_true = volume > await calculate_average_volume(data, 5)",
    "fields": 'condition_true = data[-1]["close"] > data[-2].close',
    "prices": "condition_true = low < previousclose < high and open != lastclose\n"
    "condition_true = condition_true or volume > averagevolume",
    "length": "condition_true = len(data) > 20 and data[-20].high > lastclose",
    "first candle": "condition_true = lastclose > data[0].close",
    "index that varies": "condition_true = data[len(data) // 2].close > lastclose",
    "prefix": "rsi = await calculate_rsi(data[:-1], 5)\n"
    "condition_true = rsi[-1] > 50 and len(rsi) > 4",
    "window": "condition_true = lastclose >= max(c.close for c in data[-5:])",
    "sum of a window": "rsi = await calculate_rsi(data, 3)\n"
    "condition_true = sum(rsi[-3:]) / 3 > 50",
    "count": "rsi = await calculate_rsi(data, 3)\n"
    "condition_true = sum(1 for x in rsi[-5:] if x > 60) >= 2",
    "any and all": "rsi = await calculate_rsi(data, 3)\n"
    "condition_true = any(x > 90 for x in rsi[-5:]) and not all(x > 50 for x in rsi[-3:])",
    "statistics": "import statistics\n"
    "condition_true = lastclose > statistics.fmean([c.close for c in data[-5:]])",
    "branches": "if lastclose > previousclose:\n    side = 1\nelif volume:\n    side = -1.5\n"
    "else:\n    side = None\ncondition_true = side is not None and side > 0",
    "score": "score = 0\nif lastclose > open:\n    score += 1\nif volume > 10:\n    score += 0.5\n"
    "condition_true = score >= 1",
    "loop": "total = 0.0\nfor i in range(1, 4):\n    if len(data) <= i:\n        break\n"
    "    total += data[-i].close - data[-i].open\ncondition_true = total > 0",
    "continue": "total = 0\nfor i in (1, 2, 3):\n    if len(data) < i or data[-i].volume < 10:\n"
    "        continue\n    total += i\ncondition_true = total in (2, 4)",
    "else of a loop": "for c in data[-4:]:\n    found = c.close\n    if c.close > c.open:\n"
    "        break\nelse:\n    found = None\ncondition_true = found is not None and found > open",
    "return in a loop": "def first(limit):\n    for i in (1, 2, 3):\n"
    "        if data[-i].volume > limit:\n            return i\n    return -1\n"
    "condition_true = len(data) > 3 and first(20) == 2",
    "functions": "def rising(series, n=1):\n    if len(series) <= n:\n        return False\n"
    "    return series[-1] > series[-1 - n]\n"
    "rsi = await calculate_rsi(data, 4)\ncondition_true = rising(rsi, n=2)",
    "coroutines": "async def fast(period):\n    return (await calculate_ema(data, period))[-1]\n"
    "condition_true = await fast(3) > await fast(7)",
    "lambda": "gap = lambda a, b: abs(a - b) / b\ncondition_true = gap(high, low) > 0.01",
    "mathematics": "import math\nfrom math import exp as e\n"
    "condition_true = math.log(lastclose) > math.sqrt(e(0.5)) + math.atan(volume)",
    "inputs": 'level = param("level", 50, 0, 100)\nrsi = await calculate_rsi(data, 5)\n'
    "condition_true = rsi[-1] > level",
    "rounding": "condition_true = round(lastclose, 1) > int(previousclose) // 1 + 0.05",
    "time": "condition_true = data[-1].time // 3600000 % 24 in (0, 8, 16)",
    "dates": "from datetime import datetime, timezone, timedelta, date\n"
    "opened = datetime.fromtimestamp(data[-1].time / 1000, timezone.utc)\n"
    "is_day = 8 <= opened.hour < 16 and opened.weekday() < 5\n"
    "later = opened + timedelta(hours=2)\nprint(f'{opened:%Y-%m-%d} {later}', opened.isoformat())\n"
    "condition_true = is_day and later.date() >= date(2026, 1, 2)",
    "forming candle": "condition_true = live_candle is None and len(chart_data) == len(data)",
    "drawing": 'rsi = await calculate_rsi(data, 5)\nplot(rsi, "rsi", pane="r")\n'
    'if rsi[-1] > 50:\n    mark(f"at {rsi[-1]:.1f}")\n'
    'print("rsi", rsi[-1], f"{lastclose / 3:,.2f}", "%.1f" % volume)\n'
    "condition_true = rsi[-1] > 50",
    "walrus": "condition_true = (move := lastclose - open) > 0 and move < 5",
}


@pytest.mark.parametrize("name", LIFTED)
@pytest.mark.parametrize("parts", [CANDLES, CALM], ids=["hostile", "calm"])
def test_each_feature_is_lifted_as_it_runs(name: str, parts: list[np.ndarray]) -> None:
    lifted = compared(LIFTED[name], parts)

    assert (~lifted.doubtful).sum() > 60
    assert lifted.condition.any()


NOT_LIFTED = {
    "position = open_positions\ncondition_true = True": "line 1: 'open_positions' depends",
    "condition_true = available_balance > 5": "line 1: 'available_balance' depends",
    "points = await calculate_zigzag(data)\ncondition_true = True": "line 1: calculate_zigzag",
    "x = 1\nwhile x:\n    x = 0\ncondition_true = True": "line 2: a 'while' loop",
    "try:\n    x = 1\nexcept ValueError:\n    x = 2\ncondition_true = True": "line 1: 'try'",
    "condition_true = sum(c.close for c in data) > 5": "line 1: a loop over the whole history",
    "for i in range(len(data)):\n    pass\ncondition_true = True": "line 1: a loop whose length",
    "rsi = await calculate_rsi(data[-50:], 14)\ncondition_true = True": "line 1: calculate_rsi",
    "period = 5 if volume else 7\nrsi = await calculate_rsi(data, period)\n"
    "condition_true = True": "line 2: calculate_rsi",
    "found = []\nfound.append(lastclose)\ncondition_true = True": "line 2: '.append'",
    "import statistics\ncondition_true = statistics.pstdev([c.close for c in data[-5:]]) > 1": (
        "line 2: this call takes values that are the same for all candles"
    ),
    "d = {}\nd[1] = lastclose\ncondition_true = True": "line 2: an item is changed",
    "def f(x):\n    return f(x)\ncondition_true = f(lastclose)": "calls nested more than",
    "print(lastclose)": "condition_true is never assigned",
    "for i in range(10**6):\n    pass\ncondition_true = True": "line 1: a loop of more than",
}


@pytest.mark.parametrize("text", NOT_LIFTED)
def test_what_is_not_lifted_says_why_and_where(text: str) -> None:
    with pytest.raises(NotLiftable) as reason:
        lift(text, CALM)

    assert NOT_LIFTED[text] in str(reason.value)


FAILING = {
    "condition_true = 1 / volume > 0": "a division by zero",
    "condition_true = data[-3].close > 0": "no such candle",
    "condition_true = lastclose": "no truth value",
    "if volume:\n    condition_true = True": "never assigned, a warning",
    "x = int(averagevolume)\ncondition_true = True": "no number",
    "if volume:\n    x = 1\ncondition_true = x > 0": "a name without value",
    "assert volume\ncondition_true = True": "an assertion",
    "condition_true = True\naction_if_true = 5 if volume else 'close'": "no text",
    "condition_true = True\naction_if_true = 'x' * 201 if volume else 'close'": "a long text",
    'condition_true = True\nplot(lastclose if volume else None, "x")': "nothing to plot",
    "condition_true = True\naction_if_true = long(risk=1, sl=volume)": "no stop",
    "condition_true = volume > 0 and 5 % volume > 0 or 1 / volume > 0": "behind a short circuit",
}


@pytest.mark.parametrize("text", FAILING)
def test_candles_on_which_the_script_fails_are_left_to_it(text: str) -> None:
    lifted = compared(text, CANDLES)
    failed = [outcome is None for outcome in by_runner(text, CANDLES, {}).outcomes]

    assert any(failed)
    assert lifted.doubtful[failed].all()


def test_only_the_candles_that_fail_are_doubtful() -> None:
    text = "condition_true = volume > 0 and 100 / volume > 3\ny = 1 / (len(data) - 5)"

    lifted = compared(text, CANDLES)

    assert np.flatnonzero(lifted.doubtful).tolist() == [4]


def test_a_warm_up_is_not_doubtful() -> None:
    text = "rsi = await calculate_rsi(data, 14)\ncondition_true = rsi[-1] < 60"

    lifted = compared(text, CANDLES)

    assert not lifted.doubtful.any()
    assert not lifted.condition[:14].any()


def test_actions_of_few_texts_are_known_for_each_candle() -> None:
    text = (
        "condition_true = lastclose > open\naction_if_true = long(risk=1, sl='2%')\n"
        "action_if_false = 'close' if volume else 'donothing'"
    )

    lifted = compared(text, CANDLES)

    assert lifted.if_true == "long(1%risk@1x,sl=2%)"
    assert lifted.if_false is None
    assert {action(lifted, index, False) for index in range(90)} == {"close", "donothing"}


def test_actions_with_numbers_of_the_candle_are_left_to_the_script() -> None:
    text = "condition_true = True\naction_if_true = long(risk=1, sl=round(low, 2))"

    lifted = compared(text, CALM)

    assert lifted.if_true is None
    assert lifted.true_code is None
    assert not lifted.doubtful.any()


def test_the_seams_between_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    text = LIFTED["window"]
    whole = lift(text, CANDLES)

    monkeypatch.setattr(lift_module, "BLOCK", 7)
    in_blocks = compared(text, CANDLES)

    assert (whole.condition == in_blocks.condition)[~whole.doubtful].all()
    assert (whole.doubtful == in_blocks.doubtful).all()


def test_a_run_may_begin_later() -> None:
    lifted = compared(LIFTED["crossover"], CALM, first=40)

    assert len(lifted.condition) == 50


def test_inputs_of_the_user_count() -> None:
    low = compared(LIFTED["inputs"], CALM, {"level": 20})
    high = compared(LIFTED["inputs"], CALM, {"level": 80})

    assert low.condition.sum() > high.condition.sum()


def test_no_candles_no_decisions() -> None:
    assert len(lift(LIFTED["crossover"], columns(5, 1), first=5).condition) == 0


@pytest.mark.parametrize(
    ("name", "is_lifted"),
    [
        ("macd_crossover", True),
        ("stochastic_rsi", True),
        ("ema_trend", True),
        ("breakout", True),
        ("bands_with_inputs", False),
        ("history_loop", False),
        ("rsi_reversion", False),
        ("hidden_bullish_divergence", False),
    ],
)
def test_the_samples_that_can_be_lifted_are(name: str, is_lifted: bool) -> None:
    text = (SAMPLES / f"{name}.script").read_text()

    if is_lifted:
        assert compared(text, columns(120, 3, hostile=False)).doubtful.sum() < 20
    else:
        with pytest.raises(NotLiftable):
            lift(text, CALM)
