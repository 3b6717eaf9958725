"""The candles of a run: a lively part of a recording, or a random walk where there is none."""

from __future__ import annotations

import functools
import gzip
import random
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RECORDING = PROJECT.parent / "shared/data/klines/BTCUSDT_1m_perp_2025-05_2025-06.csv.gz"
SYMBOL = "BTCUSDT"
TIMEFRAME = "1m"
HISTORY_ROWS = 200
LIVELY_ROWS = 40
REST_ROWS = 40
"""Candles after the lively part, so that the market never ends before the run."""
LIVELIEST = 40
"""From so many windows a run takes its own."""
HEADER = "open_time_ms,open,high,low,close,volume"
_MINUTE_MS = 60_000
_WALK_START_MS = 1_746_057_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A market file and where its exchange begins to play."""

    path: Path
    start_ms: int
    title: str


def write_market(folder: Path, *, window: int, start_row: int, seed: int) -> Cut:
    """Write the market file of a run; `window` and `start_row` name a part of the recording."""
    path = folder / "market.csv"
    if RECORDING.is_file():
        header, rows = _recording()
        lively = _lively_windows()
        first = lively[window % len(lively)] + start_row
        title = f"{RECORDING.name} row {first}"
        kept = rows[first - HISTORY_ROWS : first + LIVELY_ROWS + REST_ROWS]
    else:
        header, kept = HEADER, _walk(random.Random(f"walk {seed} {window}"))
        title = f"random walk {seed} {window}"
    path.write_text("\n".join((header, *kept)) + "\n")
    start_ms = int(kept[HISTORY_ROWS].split(",")[0])
    return Cut(path=path, start_ms=start_ms, title=title)


@functools.cache
def _recording() -> tuple[str, tuple[str, ...]]:
    with gzip.open(RECORDING, "rt") as file:
        header, *rows = file.read().splitlines()
    return header, tuple(rows)


@functools.cache
def _lively_windows() -> tuple[int, ...]:
    """Return the first rows of the windows whose candles are the tallest, tallest first."""
    _, rows = _recording()
    heights = []
    for row in rows:
        _, _, high, low, close = row.split(",")[:5]
        heights.append((float(high) - float(low)) / float(close))
    last = len(rows) - LIVELY_ROWS - REST_ROWS - LIVELY_ROWS
    starts = range(HISTORY_ROWS, last, LIVELY_ROWS)
    ranked = sorted(starts, key=lambda first: -sum(heights[first : first + LIVELY_ROWS]))
    return tuple(ranked[:LIVELIEST])


def _walk(rng: random.Random) -> list[str]:
    """Return candles of a random walk with steps of about 0.1 %."""
    rows = []
    price = 100_000.0
    for index in range(HISTORY_ROWS + LIVELY_ROWS + REST_ROWS):
        close = price * (1 + rng.gauss(0, 0.001))
        high = max(price, close) * (1 + abs(rng.gauss(0, 0.0005)))
        low = min(price, close) * (1 - abs(rng.gauss(0, 0.0005)))
        open_ms = _WALK_START_MS + index * _MINUTE_MS
        rows.append(f"{open_ms},{price:.1f},{high:.1f},{low:.1f},{close:.1f},50")
        price = close
    return rows
