"""What is drawn over the candles: JSON lists computed from closed candles, one function each.

To add one: write a function of an `OverlayInput` and register it in `OVERLAYS`; its name becomes a
member of `GET /data`. The first of its index keys is the one by which old items are cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from milo.candles import Candles
from milo.ta.divergences import detect_divergences
from milo.ta.momentum import rsi
from milo.ta.swings import classify_swing_points
from milo.ta.zigzag import zigzag

Item = dict[str, Any]


class OverlayInput:
    """Closed candles, and what several overlays need of them, computed once."""

    def __init__(self, candles: Candles) -> None:
        self.candles = candles

    @cached_property
    def swings(self) -> list[Item]:
        """Swing points with labels, oldest first; only the last one may be provisional."""
        points = zigzag(self.candles.close).points(open_ms=self.candles.open_ms)
        return classify_swing_points(points)


@dataclass(frozen=True, slots=True)
class Overlay:
    """A named overlay, and which members of its items are candle indices and times (ms UTC)."""

    name: str
    compute: Callable[[OverlayInput], list[Item]]
    index_keys: tuple[str, ...]
    time_keys: tuple[str, ...]


def swing_items(source: OverlayInput) -> list[Item]:
    """Return the ZigZag's points: index, time, value, type (peak, low), label, confirmed."""
    wanted = ("index", "time", "value", "type", "label", "confirmed")
    return [{key: point[key] for key in wanted} for point in source.swings]


def divergence_items(source: OverlayInput) -> list[Item]:
    """Return divergences of price and RSI(14) as `detect_divergences` gives them, with times."""
    if not len(source.candles):
        return []
    return detect_divergences(rsi(source.candles.close), source.swings, source.candles)


OVERLAYS: Final = (
    Overlay("zigzag", swing_items, ("index",), ("time",)),
    Overlay(
        "divergences", divergence_items, ("startIndex", "endIndex"), ("startTime", "endTime")
    ),
)  # fmt: skip
