"""Deciding many candles in tests: the worker's side in this process, and random scripts for it."""

from __future__ import annotations

import random
import textwrap

import numpy as np

from milo.candles import Candles
from milo.script.deciding import Decider
from milo.script.faults import ScriptFault
from milo.script.history import History
from milo.script.protocol import AskedWays, Decided, DecideRequest, candle_frames
from tests.script_runs import Script

ONE_BY_ONE = AskedWays(0)
Answer = tuple[str, bool] | str
"""(the action that applies, the condition), or what the script failed with."""


def history_of(candles: Candles) -> History:
    history = History()
    if len(candles):
        history.extend(candle_frames(candles, 0)[5:])
    return history


def one_by_one(script: Script, candles: Candles, first: int = 0) -> list[Answer]:
    """Return what each candle gives when nothing but the candles up to it exists."""
    answers: list[Answer] = []
    for count in range(first + 1, len(candles) + 1):
        try:
            outcome = script.run(candles.prefix(count)).outcome
        except ScriptFault as fault:
            answers.append(str(fault))
        else:
            text = outcome.if_true if outcome.condition else outcome.if_false
            answers.append((text, outcome.condition))
    return answers


def many(
    script: Script, candles: Candles, first: int = 0, ways: AskedWays = ONE_BY_ONE
) -> list[Answer]:
    """Return the same as decided in one go, from as many answers as that takes.

    Errors that an answer does not tell in full are "failed".
    """
    answers: list[Answer] = []
    for reply in replies(script, candles, first, ways):
        answers += answers_of(reply, first + len(answers))
    return answers


def replies(
    script: Script, candles: Candles, first: int = 0, ways: AskedWays = ONE_BY_ONE
) -> list[Decided]:
    decider, base = Decider(script.runner, script.checked), history_of(candles).base()
    found: list[Decided] = []
    at = first
    while at < len(candles):
        reply = decider.decided(base, DecideRequest(1, at, len(candles), 250, 100, ways))
        assert reply.breach is None, reply
        assert reply.until > at, reply
        found.append(reply)
        at = reply.until
    return found


def answers_of(reply: Decided, first: int) -> list[Answer]:
    told = {error.at: error for error in reply.errors}
    at = np.frombuffer(reply.at, "<u4").tolist()
    codes = np.frombuffer(reply.code, "<u2").tolist()
    answers: list[Answer] = []
    for start, end, code in zip(at, [*at[1:], reply.until - first], codes, strict=True):
        for place in range(start, end):
            if code:
                action = reply.actions[code - 1]
                answers.append((action.text, action.is_true))
            elif place in told:
                error = told[place]
                where = "" if error.line is None else f"line {error.line}: "
                answers.append(where + error.message)
            else:
                answers.append("failed")
    return answers


def same(first: list[Answer], second: list[Answer]) -> bool:
    """Compare; an error that is not told in full equals any."""
    return len(first) == len(second) and all(
        a == b or ("failed" in (a, b) and isinstance(a, str) and isinstance(b, str))
        for a, b in zip(first, second, strict=True)
    )


_CALLS = (
    "await calculate_sma({data}, {period})",
    "await calculate_ema({data}, {period})",
    "await calculate_rsi({data}, {period})",
    "await calculate_atr({data}, period={period})",
    "await calculate_obv({data})",
    "(await calculate_macd({data}, {period}, {period} + 5))[{number}]",
    "(await calculate_stochastic({data}))[{number}]",
    "await calculate_ema_internal(await calculate_rsi({data}), {period})",
    "await calculate_dema((await calculate_macd({data}))[0][2:], {period})",
)
_DATA = ("data", "data", "data", "data[:-1]", "data[-40:]", "data[3:]", "data[:-{number} - 2]",
         "data[::2]", "chart_data", "[c for c in data[-30:]]")  # fmt: skip
_VALUES = (
    "{series}[-1]", "{series}[-2]", "{series}[-{period}]", "lastclose", "previousclose", "open",
    "high", "low", "volume", "averagevolume", "data[-1].close", "data[-{number} - 2]['high']",
    "data[-3].time % 7.0", "max(c.high for c in data[-9:])", "sum(list({series})[-3:])",
    "len(data) % 5", "await calculate_average_volume({data}, {period})", "len({series})",
    "len(await calculate_zigzag({data}))", "sum(p['value'] for p in await calculate_zigzag(data))",
    "len(await detect_divergences(await calculate_rsi(data), await calculate_zigzag(data), data))",
    "(await find_extremum_in_window({series}, len(data) - 1, 5, 0, True))['value']",
    "sum(p['index'] for p in await classify_swing_points(await calculate_zigzag(data, 1), data))",
    "next((p['confirmed_index'] or 0 for p in (await calculate_zigzag(data, 0.7))[::-1]), 0)",
    "data[{number} * len(data) // 2 - 1].low", "statistics.fmean([c.close for c in data[-4:]])",
)  # fmt: skip


def random_script(seed: int) -> str:
    """Return a script that reads candles and indicators in random ways, errors included."""
    rng = random.Random(seed)

    def filled(text: str) -> str:
        while "{" in text:
            text = text.replace("{series}", f"({rng.choice(_CALLS)})", 1)
            text = text.replace("{data}", rng.choice(_DATA), 1)
            text = text.replace("{period}", str(rng.choice((1, 2, 3, 5, 9, 14))), 1)
            text = text.replace("{number}", str(rng.randrange(2)), 1)
        return text

    def value() -> str:
        return f"({filled(rng.choice(_VALUES))})"

    lines = ["import statistics", "", "condition_true = False"]
    lines += [f"v{number} = {value()}" for number in range(rng.randint(1, 4))]
    names = [line.split()[0] for line in lines[3:]]
    left, right = rng.choice(names), rng.choice((*names, value(), "lastclose"))
    lines.append(f"ratio = {left} / {right}" if rng.random() < 0.4 else f"ratio = {left} - {right}")
    lines.append(f"condition_true = ratio {rng.choice('<>')} {rng.choice(('0', '1', '-1', left))}")
    lines.append("action_if_true = long(risk=1, leverage=5, sl='2%')")
    if rng.random() < 0.4:
        lines.append(f"action_if_true = f'long(1%risk@3x,sl={{abs({left}) + 1:.2f}})'")
    if rng.random() < 0.5:
        lines.append(f"action_if_false = 'close' if {value()} > {right} else 'donothing'")
    if rng.random() < 0.3:
        lines.append("if len(data) % 7 == 3:\n    condition_true = data[9999].close > 1")
    if rng.random() < 0.3:
        lines += [f"plot({left}, 'a')", "mark('x')", f"print('seen', {left})"]
    return textwrap.dedent("\n".join(lines))
