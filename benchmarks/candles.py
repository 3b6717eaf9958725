"""Made-up 1-minute candles for the backtest benchmark, the same ones on every machine.

A price walks in steps whose sizes have fat tails, as a liquid perpetual's do: some 50 % of
volatility a year, half of the candles open a few ticks beside the last close, all prices are
multiples of the tick. A shorter series is the beginning of a longer one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Candles = NDArray[np.float64]
"""One row a candle: open time (ms UTC), open, high, low, close, volume."""

TICK = 0.1
MINUTE_MS = 60_000
START_MS = 1_672_531_200_000
"""2023-01-01 00:00 UTC."""
_FIRST_PRICE = 60_000.0
_STEPS = 8
"""Moves of the price within a candle."""
SIGMA = 0.0007
"""The standard deviation of a candle's return."""
_TAIL = 4.0
"""Degrees of freedom of the steps: the smaller, the fatter the tails."""
_GAP_SHARE = 0.5
_WIDEST_GAP = 8
"""Ticks between a close and the next open."""
_AT_ONCE = 50_000
"""Candles of one draw: what is drawn never depends on how many are asked for."""


def synthetic(count: int, *, seed: int = 1, sigma: float = SIGMA) -> Candles:
    """Return `count` candles, shape (count, 6); the same for the same seed and sigma."""
    parts, price = [], _FIRST_PRICE
    for block in range(-(-count // _AT_ONCE)):
        part = _block(np.random.default_rng([seed, block]), price, sigma)
        price = float(part[-1, 4])
        parts.append(part)
    candles = np.concatenate(parts)[:count]
    candles[:, 0] = START_MS + MINUTE_MS * np.arange(count)
    return candles


def _block(random: np.random.Generator, price: float, sigma: float) -> Candles:
    """Return the next `_AT_ONCE` candles after a close at `price`, their times not filled in."""
    step_sigma = sigma / np.sqrt(_STEPS * _TAIL / (_TAIL - 2))
    steps = random.standard_t(_TAIL, (_AT_ONCE, _STEPS)) * step_sigma
    is_gap = random.random(_AT_ONCE) < _GAP_SHARE
    gaps = np.where(is_gap, random.integers(-_WIDEST_GAP, _WIDEST_GAP + 1, _AT_ONCE), 0) * TICK
    path = price * np.exp(np.cumsum(steps.ravel()).reshape(_AT_ONCE, _STEPS))
    before = np.concatenate(([price], path[:-1, -1]))
    walked = np.column_stack((before + gaps, path))
    candles = np.empty((_AT_ONCE, 6))
    candles[:, 1] = walked[:, 0]
    candles[:, 2] = walked.max(axis=1)
    candles[:, 3] = walked.min(axis=1)
    candles[:, 4] = walked[:, -1]
    candles[:, 1:5] = np.round(candles[:, 1:5] / TICK) / round(1 / TICK)
    candles[:, 5] = np.round(random.lognormal(3.0, 1.0, _AT_ONCE), 3)
    return candles


def write_csv(path: Path, candles: Candles) -> None:
    """Write candles in the form that `--import-klines` reads."""
    with path.open("w", encoding="ascii") as file:
        file.write("open_time,open,high,low,close,volume\n")
        for open_ms, *prices, volume in candles.tolist():
            file.write(f"{open_ms:.0f},{','.join(f'{p:.10g}' for p in prices)},{volume:.10g}\n")


def read_csv(path: Path) -> Candles:
    """Read the first six columns of a file with one header line; gzip too."""
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(6), ndmin=2)


def main() -> None:
    parser = argparse.ArgumentParser(description="write candles as DIR/candles.csv and .npy")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--sigma", type=float, default=SIGMA)
    parser.add_argument("--file", type=Path, help="take these candles instead of made-up ones")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    candles = read_csv(given.file) if given.file else synthetic(given.count, sigma=given.sigma)
    write_csv(given.folder / "candles.csv", candles)
    np.save(given.folder / "candles.npy", candles)


if __name__ == "__main__":
    main()
