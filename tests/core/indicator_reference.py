"""What the indicators are, written down plainly: loops over exact fractions, no numpy, no TA-Lib.

The tests compare milo.ta with this. Run as a program it prints the golden values:
`python tests/core/indicator_reference.py > tests/golden/indicators.json`.
Undefined values are None. Everything here is slow and meant to be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

Exact = list[Fraction | None]


def exact(values: Sequence[float]) -> list[Fraction]:
    return [Fraction(value) for value in values]


def sma(values: Sequence[Fraction], period: int) -> Exact:
    return [
        sum(values[i - period + 1 : i + 1], Fraction(0)) / period if i >= period - 1 else None
        for i in range(len(values))
    ]


def _smoothed(values: Sequence[Fraction | None], period: int, alpha: Fraction) -> Exact:
    """Average with weight alpha, begun with the mean of the first `period` defined values."""
    start = next((i for i, value in enumerate(values) if value is not None), len(values))
    result: Exact = []
    for i in range(len(values)):
        if i < start + period - 1:
            result.append(None)
        elif i == start + period - 1:
            result.append(sum(values[start : i + 1], Fraction(0)) / period)
        else:
            result.append(alpha * values[i] + (1 - alpha) * result[-1])
    return result


def ema(values: Sequence[Fraction | None], period: int) -> Exact:
    return _smoothed(values, period, Fraction(2, period + 1))


def dema(values: Sequence[Fraction], period: int) -> Exact:
    once = ema(values, period)
    twice = ema(once, period)
    return [None if b is None else 2 * a - b for a, b in zip(once, twice, strict=True)]


def rsi(closes: Sequence[Fraction], period: int) -> Exact:
    moves = [b - a for a, b in pairwise(closes)]
    gains = _smoothed([max(move, Fraction(0)) for move in moves], period, Fraction(1, period))
    losses = _smoothed([max(-move, Fraction(0)) for move in moves], period, Fraction(1, period))
    result: Exact = [None] if closes else []
    for gain, loss in zip(gains, losses, strict=True):
        if gain is None:
            result.append(None)
        elif loss == 0:
            result.append(Fraction(100))
        else:
            result.append(100 - 100 / (1 + gain / loss))
    return result


def macd(closes: Sequence[Fraction], fast: int, slow: int, signal: int) -> tuple[Exact, Exact]:
    pairs = zip(ema(closes, fast), ema(closes, slow), strict=True)
    line = [None if a is None or b is None else a - b for a, b in pairs]
    return line, ema(line, signal)


def atr(
    highs: Sequence[Fraction], lows: Sequence[Fraction], closes: Sequence[Fraction], period: int
) -> Exact:
    ranges = []
    for i, (high, low) in enumerate(zip(highs, lows, strict=True)):
        before = closes[i - 1] if i else None
        gaps = [] if before is None else [abs(high - before), abs(low - before)]
        ranges.append(max([high - low, *gaps]))
    return _smoothed(ranges, period, Fraction(1, period))


def obv(closes: Sequence[Fraction], volumes: Sequence[Fraction]) -> Exact:
    result: Exact = []
    total = Fraction(0)
    for i, volume in enumerate(volumes):
        if i and closes[i] > closes[i - 1]:
            total += volume
        elif i and closes[i] < closes[i - 1]:
            total -= volume
        result.append(total)
    return result


def stochastic(
    highs: Sequence[Fraction],
    lows: Sequence[Fraction],
    closes: Sequence[Fraction],
    k_period: int,
    d_period: int,
) -> tuple[Exact, Exact]:
    k: Exact = []
    for i, close in enumerate(closes):
        if i < k_period - 1:
            k.append(None)
            continue
        top = max(highs[i - k_period + 1 : i + 1])
        bottom = min(lows[i - k_period + 1 : i + 1])
        k.append(100 * (close - bottom) / (top - bottom) if top > bottom else Fraction(50))
    d: Exact = []
    for i in range(len(k)):
        window = k[max(i - d_period + 1, 0) : i + 1]
        is_whole = len(window) == d_period and None not in window
        d.append(sum(window, Fraction(0)) / d_period if is_whole else None)
    return k, d


def zigzag_pivots(
    closes: Sequence[Fraction], threshold: float | None = None, factor: float = 2.2
) -> list[dict[str, Any]]:
    """Return the confirmed pivots: at each candle, look at all closes since the last pivot."""
    pivots: list[dict[str, Any]] = []
    for i in range(1, len(closes)):
        limit = _threshold_percent(closes[: i + 1], threshold, factor)
        while True:
            found = _reversal(closes[: i + 1], pivots, limit)
            if found is None:
                break
            kind, index = found
            pivots.append(
                {"index": index, "type": kind, "value": closes[index], "confirmed_index": i}
            )
    return pivots


def _threshold_percent(
    closes: Sequence[Fraction], threshold: float | None, factor: float
) -> Fraction:
    if threshold is not None:
        return Fraction(threshold)
    moves = [100 * abs(b - a) / a for a, b in pairwise(closes)]
    return Fraction(factor) * sum(moves, Fraction(0)) / len(moves)


def _reversal(
    closes: Sequence[Fraction], pivots: list[dict[str, Any]], limit: Fraction
) -> tuple[str, int] | None:
    first = pivots[-1]["index"] + 1 if pivots else 0
    since = closes[first:]
    if not since:
        return None
    high = first + since.index(max(since))
    low = first + since.index(min(since))
    candidates = []
    if (not pivots or pivots[-1]["type"] == "low") and _percent(closes, high) > limit:
        candidates.append((high, "peak"))
    if (not pivots or pivots[-1]["type"] == "peak") and _percent(closes, low) > limit:
        candidates.append((low, "low"))
    if not candidates:
        return None
    index, kind = min(candidates)
    return kind, index


def _percent(closes: Sequence[Fraction], index: int) -> Fraction:
    return 100 * abs(closes[-1] - closes[index]) / closes[index]


def golden_candles(count: int = 80) -> list[list[float]]:
    """Return rows (open_ms, open, high, low, close, volume) of a fixed random walk in cents."""
    state, cents = 20_240_101, 10_000
    rows = []
    for i in range(count):
        steps = []
        for _ in range(5):
            state = (state * 1_103_515_245 + 12_345) % 2**31
            steps.append(state >> 16)
        before = cents
        cents += steps[0] % 401 - 200
        high = max(before, cents) + steps[1] % 120
        low = min(before, cents) - steps[2] % 120
        prices = [price / 100 for price in (before, high, low, cents)]
        rows.append([i * 3_600_000, *prices, float(steps[3] % 1000)])
    return rows


def golden_values() -> dict[str, Any]:
    rows = golden_candles()
    highs, lows, closes, volumes = (exact([row[i] for row in rows]) for i in (2, 3, 4, 5))
    line, signal = macd(closes, 12, 26, 9)
    k, d = stochastic(highs, lows, closes, 14, 3)
    series = {
        "sma(20)": sma(closes, 20),
        "ema(20)": ema(closes, 20),
        "dema(10)": dema(closes, 10),
        "rsi(14)": rsi(closes, 14),
        "macd line(12, 26)": line,
        "macd signal(9)": signal,
        "atr(14)": atr(highs, lows, closes, 14),
        "obv": obv(closes, volumes),
        "stochastic k(14)": k,
        "stochastic d(3)": d,
        "average_volume(14)": sma(volumes, 14),
    }
    pivots = [{**pivot, "value": float(pivot["value"])} for pivot in zigzag_pivots(closes)]
    return {
        "candles": rows,
        "series": {
            name: [None if value is None else float(value) for value in values]
            for name, values in series.items()
        },
        "zigzag(factor 2.2)": pivots,
    }


if __name__ == "__main__":
    print(json.dumps(golden_values(), indent=1))
