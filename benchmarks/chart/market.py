"""What both charts draw: the same made-up candles, indicators, swings and divergences, as bytes."""

from __future__ import annotations

import json
from typing import Final

import numpy as np

from benchmarks.candles import synthetic
from milo.candles import Candles
from milo.charts.overlays import OverlayInput, divergence_items, swing_items
from milo.ta.averages import ema
from milo.ta.momentum import rsi

NAMES: Final = ("ema20", "ema200", "rsi14")
COLUMNS: Final = ("openMs", "open", "high", "low", "close", "volume", *NAMES)


def columns_of(count: int) -> bytes:
    """Return `COLUMNS` of that many candles one after the other, float64 in little-endian."""
    rows = synthetic(count)
    close = np.ascontiguousarray(rows[:, 4])
    indicators = (ema(close, 20), ema(close, 200), rsi(close, 14))
    stacked = np.vstack((rows.T, *indicators))
    return stacked.astype("<f8").tobytes()


def items_of(count: int) -> bytes:
    """Return the swing points and divergences of the same candles as JSON."""
    open_ms, *values = synthetic(count).T
    source = OverlayInput(Candles.from_columns(open_ms.astype(np.int64), *values))
    items = {"zigzag": swing_items(source), "divergences": divergence_items(source)}
    return json.dumps(items, separators=(",", ":")).encode()
