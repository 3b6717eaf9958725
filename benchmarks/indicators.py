"""What indicators cost: `python -m benchmarks.indicators`.

Over a million made-up candles beside TA-Lib's own functions; one more candle on a long history; and
a script that loops over 5,000 candles with prefix windows. Ours and TA-Lib's take turns, and the
thread's own processor time is counted, so that other processes disturb little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import talib

from milo import ta
from milo.candles import Candles
from milo.script.history import History
from milo.script.protocol import candle_frames
from milo.script.runner import ScriptRunner
from milo.ta.running import RunningIndicators
from milo.ta.swings import labels_of

TALIB_LIMIT = 1.3
STEP_LIMIT_US = 100.0
LOOP_LIMIT_S = 2.0
LOOP_CANDLES = 5_000
MINUTE_MS = 60_000
FRAME_HEAD = 5

_SPECS = {spec.name: spec for spec in ta.INDICATORS}
_LOOP = b"""
for count in range(1, len(data) + 1):
    window = data[:count]
    rsi = await calculate_rsi(window, 14)
    points = await calculate_zigzag(window)
    swings = await classify_swing_points(points, window)
    found = await detect_divergences(rsi, points, window, 20, 0)
"""
_SERIES = (
    ("calculate_sma", (20,)),
    ("calculate_ema", (20,)),
    ("calculate_ema_internal", (9,)),
    ("calculate_dema", (9,)),
    ("calculate_rsi", (14,)),
    ("calculate_macd", (12, 26, 9)),
    ("calculate_atr", (14,)),
    ("calculate_obv", ()),
    ("calculate_stochastic", (14, 3)),
    ("calculate_average_volume", (14,)),
    ("calculate_zigzag", (None, ta.DEFAULT_FACTOR)),
)


def made_up(count: int) -> Candles:
    """Return candles of a random walk, in ticks of 0.1."""
    rng = np.random.default_rng(1)
    close = np.round(np.exp(np.cumsum(rng.normal(size=count)) * 0.001) * 50_000, 1)
    high = close * (1 + rng.random(count) * 0.002)
    low = close * (1 - rng.random(count) * 0.002)
    return Candles.from_columns(
        np.arange(count) * MINUTE_MS, close, high, low, close, rng.random(count) * 100
    )


def taking_turns(works: list[Callable[[], Any]], runs: int) -> list[float]:
    """Return the median seconds of each work."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for work, taken in zip(works, times, strict=True):
            start = time.thread_time()
            work()
            taken.append(time.thread_time() - start)
    return [statistics.median(taken) for taken in times]


def beside_talib(candles: Candles, runs: int) -> bool:
    """Print each time and ratio; True where all are within the limit."""
    high, low, close, volume = candles.high, candles.low, candles.close, candles.volume
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "SMA(20)": (lambda: ta.sma(close, 20), lambda: talib.SMA(close, 20)),
        "EMA(20)": (lambda: ta.ema(close, 20), lambda: talib.EMA(close, 20)),
        "RSI(14)": (lambda: ta.rsi(close, 14), lambda: talib.RSI(close, 14)),
        "MACD": (lambda: ta.macd(close), lambda: talib.MACD(close, 12, 26, 9)),
        "ATR(14)": (
            lambda: ta.atr(high, low, close, 14),
            lambda: talib.ATR(high, low, close, 14),
        ),
        "OBV": (lambda: ta.obv(close, volume), lambda: talib.OBV(close, volume)),
    }
    is_good = True
    for name, works in pairs.items():
        ours, theirs = taking_turns(list(works), runs)
        ratio = ours / theirs
        is_good = is_good and ratio <= TALIB_LIMIT
        print(f"{name}: {ours * 1e3:.2f} ms, TA-Lib {theirs * 1e3:.2f} ms, {ratio:.2f} x")
    rsi, zigzag = ta.rsi(close), ta.zigzag(close)
    points = zigzag.points()
    others: dict[str, Callable[[], Any]] = {
        "stochastic": lambda: ta.stochastic(high, low, close),
        "ZigZag": lambda: ta.zigzag(close),
        f"{len(points)} points as mappings": zigzag.points,
        "their labels": lambda: ta.classify_swing_points(points),
        "divergences": lambda: ta.detect_divergences(rsi, points),
    }
    for name, work in others.items():
        print(f"{name}: {taking_turns([work], 3)[0] * 1e3:.1f} ms")
    return is_good


def one_more_candle(candles: Candles, history: int, steps: int) -> float:
    """Return the median microseconds of all indicators of the language for one more candle."""
    running = RunningIndicators()

    def look(count: int) -> None:
        running.begin(is_forming=False)
        answers = {}
        for name, parameters in _SERIES:
            spec = _SPECS[name]
            columns = tuple(
                getattr(candles, "close" if column == "values" else column)[:count]
                for column in spec.takes
            )
            answers[name] = running.answer((name,), spec, parameters, columns)
        rsi = answers["calculate_rsi"]
        swings = answers["calculate_zigzag"].swings(count, candles.open_ms)
        labels_of(swings)
        search, _ = running.search(("divergences",), _SPECS["detect_divergences"], (3, 0))
        search.of_zigzag(rsi, swings, count)
        ta.find_extremum_in_window(rsi, count - 1, 5, 0, True)

    times = []
    look(history)
    look(history + 1)
    for count in range(history + 2, history + 2 + steps):
        start = time.thread_time()
        look(count)
        times.append(time.thread_time() - start)
    return statistics.median(times) * 1e6


def loop_over_prefixes(candles: Candles, runs: int) -> float:
    """Return the median seconds of a script that looks at each prefix of the candles."""
    runner = ScriptRunner(max_awaits=1_000_000, recursion=400, c_import=__import__)
    runner.load("loop.script", _LOOP)

    def run() -> None:
        history = History()
        history.extend(candle_frames(candles, 0)[FRAME_HEAD:])
        runner.evaluate(history.base(None), len(history), (0.0, []))

    return taking_turns([run], runs)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="what indicators cost")
    parser.add_argument("--runs", type=int, default=21, help="how often each is computed (21)")
    parser.add_argument("--candles", type=int, default=1_000_000, help="how many (1,000,000)")
    given = parser.parse_args()
    candles = made_up(max(given.candles, LOOP_CANDLES))
    is_good = beside_talib(candles, given.runs)
    for history in (500, 1_000, LOOP_CANDLES - 400):
        step_us = one_more_candle(candles, history, 300)
        print(f"one more candle after {history}, all of the language: {step_us:.0f} us")
        is_good = is_good and step_us <= STEP_LIMIT_US
    loop_s = loop_over_prefixes(candles.prefix(LOOP_CANDLES), 3)
    print(f"a loop over {LOOP_CANDLES} prefixes: {loop_s:.2f} s")
    return int(not (is_good and loop_s <= LOOP_LIMIT_S))


if __name__ == "__main__":
    raise SystemExit(main())
