"""History as binary columns: the answer of `GET /history` (pure).

Layout, little-endian: the length of the header as uint32; the header, JSON in UTF-8, padded with
spaces so that what follows begins at a multiple of 8; then the columns of float64.
docs/chart.md holds the header's members.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np

from milo.candles import PRICE_COLUMNS, Candles, Floats
from milo.charts.indicators import LINE_NAMES
from milo.charts.members import said_item
from milo.charts.overlays import OVERLAYS, Item
from milo.charts.trail import ScriptTrail
from milo.charts.views import SeriesView

MOST_ROWS: Final = 200_000
USUAL_ROWS: Final = 5_000
MOST_BUCKETS: Final = 4_000
CANDLE_NAMES: Final = ("openMs", *PRICE_COLUMNS)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """Which rows a page asks for: `count` of them before index `end` (None: the newest)."""

    end: int | None = None
    count: int = USUAL_ROWS
    buckets: int = 0
    """Into how many parts the whole history is divided for the overview; 0: none is wanted."""

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of its range."""
        if self.end is not None and self.end < 0:
            raise ValueError("end must not be below 0")
        if not 0 <= self.count <= MOST_ROWS:
            raise ValueError(f"count must be from 0 to {MOST_ROWS}")
        if not 0 <= self.buckets <= MOST_BUCKETS:
            raise ValueError(f"overview must be from 0 to {MOST_BUCKETS}")


def history_body(
    view: SeriesView,
    wanted: HistoryRequest,
    trail: ScriptTrail | None = None,
    meta: Item | None = None,
) -> bytes:
    """Return the rows with their indicators, the overlay items that touch them, and what the
    script of `trail` said on them. `meta` goes with them as it is."""
    candles = view.candles
    total = len(candles)
    end = total if wanted.end is None else min(wanted.end, total)
    first = max(0, end - wanted.count)
    lines = view.lines()
    columns: list[Any] = [candles.open_ms[first:end].astype(np.float64)]
    columns += [getattr(candles, name)[first:end] for name in PRICE_COLUMNS]
    columns += [lines[name][first:end] for name in LINE_NAMES]
    overview = overview_columns(candles, wanted.buckets)
    header = {
        "series": view.series,
        "meta": meta,
        "first": first,
        "count": end - first,
        "total": total,
        "columns": [*CANDLE_NAMES, *LINE_NAMES],
        **touching_items(view.items(), first, end),
        "said": _said(trail, candles, first, end),
        "buckets": len(overview[0]) if overview else 0,
    }
    return packed(header, [*columns, *overview])


def _said(trail: ScriptTrail | None, candles: Candles, first: int, end: int) -> list[Item]:
    if trail is None or first == end:
        return []
    times = candles.open_ms
    return [said_item(said) for said in trail.between(int(times[first]), int(times[end - 1]))]


def touching_items(items: dict[str, list[Item]], first: int, end: int) -> dict[str, list[Item]]:
    """Return the overlay items of which some part lies in rows first <= index < end.

    Of points that a line joins, one more on either side: the line reaches into the rows.
    """
    found: dict[str, list[Item]] = {}
    for overlay in OVERLAYS:
        listed = items[overlay.name]
        start_key, end_key = overlay.index_keys[0], overlay.index_keys[-1]
        if start_key == end_key:
            start = bisect_left(listed, first, key=itemgetter(start_key))
            stop = bisect_left(listed, end, lo=start, key=itemgetter(start_key))
            listed = listed[max(0, start - 1) : stop + 1]
        else:
            listed = [i for i in listed if i[end_key] >= first and i[start_key] < end]
        found[overlay.name] = listed
    return found


def overview_columns(candles: Candles, buckets: int) -> list[Floats]:
    """Return low, high and last close of the history in at most `buckets` parts of like length."""
    count = len(candles)
    if not buckets or not count:
        return []
    starts = np.unique(np.linspace(0, count, min(buckets, count), endpoint=False).astype(np.int64))
    last = np.append(starts[1:], count) - 1
    return [
        np.minimum.reduceat(candles.low, starts),
        np.maximum.reduceat(candles.high, starts),
        candles.close[last],
    ]


def packed(header: dict[str, Any], columns: Sequence[Floats]) -> bytes:
    """Return a header and float64 columns in the layout above."""
    text = _encode(header)
    text += b" " * (-(4 + len(text)) % 8)
    parts = [np.ascontiguousarray(column, dtype="<f8").tobytes() for column in columns]
    return b"".join((len(text).to_bytes(4, "little"), text, *parts))
