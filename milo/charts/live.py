"""What a page that looks on is told, message by message: only what has changed (pure).

One `LiveFeed` stands behind each connected page. It knows what that page was told, and makes one
message of a newer snapshot, however many changes lie between: a slow page gets fewer messages, not
older ones. docs/chart.md holds the messages' members.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from milo.candles import PRICE_COLUMNS
from milo.charts.indicators import LINE_NAMES
from milo.charts.members import (
    MAX_LOG_LINES,
    MAX_TRADES,
    log_item,
    meta_item,
    position_item,
    said_item,
    trade_item,
)
from milo.charts.overlays import OVERLAYS, Item
from milo.charts.snapshot import ChartSnapshot
from milo.charts.trail import Said
from milo.charts.views import SeriesView

MOST_ROWS: Final = 1_000
"""A page that is more candles behind loads the history anew."""
PULSE_MS: Final = 1_000
"""The clock and the market's age are told at least this often."""
_TICKING: Final = ("clock", "marketAgeMs")

_encode = msgspec.json.Encoder().encode


class LiveFeed:
    """What one page was told of the series that it watches."""

    def __init__(self, *, series: str | None = None, total: int = 0, settled: int = 0) -> None:
        """`series` and `total`: of the history that the page has; without, it loads it first.

        Of the overlays' items it has those that end before index `settled`.
        """
        self._series = series
        self._total = total
        self._settled = settled
        self._items: dict[str, list[Item]] = {}
        self._told: dict[str, Any] = {}
        self._live: list[float | int | None] | None = None
        self._said: tuple[int, Said | None] = (0, None)
        self._told_ms: int | None = None
        self._seq = 0

    def message(self, snapshot: ChartSnapshot, view: SeriesView, now_ms: int) -> bytes | None:
        """Return the next message, JSON in UTF-8; None where there is nothing to tell.

        `now_ms`: any clock that does not go back; it paces the pulse.
        """
        found: dict[str, Any] = {}
        self._tell_series(found, view)
        self._tell_live(found, snapshot, view)
        self._tell_said(found, snapshot)
        for name, value in _members(snapshot).items():
            if name not in self._told or self._told[name] != value:
                self._told[name] = value
                found[name] = value
        is_due = self._told_ms is None or now_ms - self._told_ms >= PULSE_MS
        if not found and not is_due:
            return None
        self._told_ms = now_ms
        self._seq += 1
        return _encode(
            {
                "seq": self._seq,
                **found,
                "clockMs": snapshot.clock_ms,
                "ageMs": snapshot.market_age_ms,
            }
        )

    def _tell_series(self, found: dict[str, Any], view: SeriesView) -> None:
        total = len(view.candles)
        behind = total - self._total
        if self._series != view.series or not 0 <= behind <= MOST_ROWS:
            self._series = view.series
            self._items = view.items()
            found |= {"series": view.series, "total": total, "reload": True}
        elif behind or not self._items:
            lines = view.lines()
            found |= {"total": total, "rows": _rows(view, lines, self._total)}
            items = view.items()
            known = self._items or settled_items(items, self._settled)
            for overlay in OVERLAYS:
                change = tail_change(
                    known[overlay.name], items[overlay.name], overlay.index_keys[0]
                )
                if change is not None:
                    found[overlay.name] = change
            self._items = items
        self._total = total

    def _tell_live(self, found: dict[str, Any], snapshot: ChartSnapshot, view: SeriesView) -> None:
        forming = snapshot.forming
        live: list[float | int | None] | None = None
        if forming is not None:
            values = view.live(forming)
            live = [forming.open_ms, *(getattr(forming, name) for name in PRICE_COLUMNS)]
            live += [values[name] for name in LINE_NAMES]
        if "rows" in found or "reload" in found or live != self._live:
            self._live = live
            found["live"] = live

    def _tell_said(self, found: dict[str, Any], snapshot: ChartSnapshot) -> None:
        """Tell what the script said since; a forming candle's words replace the ones before."""
        trail = None if snapshot.script is None else snapshot.script.trail
        if trail is None:
            return
        place, newest = self._said
        if "reload" in found:
            # The history brings the words of its candles, all but the forming one's.
            place, newest = max(0, len(trail) - 1), None
        first, said = trail.since(max(0, place - 1))
        new = [item for item in said if item is not newest]
        if new:
            found["said"] = [said_item(item) for item in new[-MOST_ROWS:]]
        if said:
            self._said = (first + len(said), said[-1])


def settled_items(items: dict[str, list[Item]], end: int) -> dict[str, list[Item]]:
    """Return the items that end before index `end`."""
    return {
        overlay.name: [item for item in items[overlay.name] if item[overlay.index_keys[-1]] < end]
        for overlay in OVERLAYS
    }


def tail_change(old: list[Item], new: list[Item], key: str) -> dict[str, Any] | None:
    """Return {"from": index, "items": [...]}: items from that index on are to be replaced.

    None where nothing has changed. Items are ascending by `key`, several may have the same.
    """
    same = 0
    for before, after in zip(old, new, strict=False):
        if before != after:
            break
        same += 1
    if same == len(old) == len(new):
        return None
    start = min(items[same][key] for items in (old, new) if same < len(items))
    # Others of the same index that have not changed are replaced as well.
    return {"from": start, "items": [item for item in new if item[key] >= start]}


def _rows(view: SeriesView, lines: dict[str, Any], first: int) -> list[list[float | int]]:
    candles = view.candles
    columns = [candles.open_ms[first:].tolist()]
    columns += [getattr(candles, name)[first:].tolist() for name in PRICE_COLUMNS]
    columns += [lines[name][first:].tolist() for name in LINE_NAMES]
    return [list(row) for row in zip(*columns, strict=True)]


def _members(snapshot: ChartSnapshot) -> dict[str, Any]:
    meta = meta_item(snapshot, MOST_ROWS)
    for name in _TICKING:
        del meta[name]
    return {
        "meta": meta,
        "position": position_item(snapshot.position),
        "trades": [trade_item(mark) for mark in snapshot.trades[-MAX_TRADES:]],
        "log": [log_item(line) for line in snapshot.log[-MAX_LOG_LINES:]],
    }
