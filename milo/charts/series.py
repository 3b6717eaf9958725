"""The JSON of `GET /data`: MILOBOT's four members, and ours beside them (pure).

`historical`, `liveCandle`, `zigzag` and `divergences` are as MILOBOT had them, with times in ISO
8601 UTC. A full answer holds the newest closed candles and every member. An answer to a valid
cursor is an increment: `historical` holds only candles that closed since, and a list that has not
changed is null. Indices always count in the `historical` of a full answer.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from milo.candles import Candles
from milo.charts.members import (
    MAX_LOG_LINES,
    MAX_TRADES,
    iso_column,
    iso_ms,
    log_item,
    meta_item,
    position_item,
    trade_item,
)
from milo.charts.overlays import OVERLAYS, Item
from milo.charts.snapshot import ChartSnapshot
from milo.charts.views import SeriesView
from milo.model import Candle

CANDLE_LIMIT: Final = 5_000
_MAX_CACHED: Final = 8

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a page already has; opaque to it."""

    series: str
    """Names one run, symbol and interval; another one's cursor gets a full answer."""
    count: int
    last_open_ms: int
    trades: int
    log: int

    def text(self) -> str:
        return f"{self.series}.{self.count}.{self.last_open_ms}.{self.trades}.{self.log}"


def parse_cursor(text: str | None) -> Cursor | None:
    """Return the cursor of an earlier answer, or None where it is not one."""
    parts = (text or "").split(".")
    if len(parts) != 5 or any(len(part) > 20 for part in parts):
        return None
    try:
        count, last_open_ms, trades, log = (int(part) for part in parts[1:])
    except ValueError:
        return None
    return Cursor(parts[0], count, last_open_ms, trades, log)


@dataclass(slots=True)
class _Encoded:
    """The costly members of one series, valid while its closed candles are the same."""

    count: int
    overlays: dict[str, bytes]
    historical: bytes | None = None
    """Of a full answer; made when the first one is asked for."""


class SeriesEncoder:
    """Turns snapshots into the body of `GET /data`; keeps what does not change between polls.

    Not thread-safe.
    """

    def __init__(self, *, limit: int = CANDLE_LIMIT) -> None:
        self._limit = limit
        self._cache: OrderedDict[str, _Encoded] = OrderedDict()

    def body(self, snapshot: ChartSnapshot, view: SeriesView, since: str | None = None) -> bytes:
        """Return the answer's JSON; `since` is the `cursor` of the page's newest answer.

        `view` is that of the snapshot's series.
        """
        candles = snapshot.candles
        encoded = self._encoded(view)
        trades = _encode([trade_item(mark) for mark in snapshot.trades[-MAX_TRADES:]])
        log = _encode([log_item(line) for line in snapshot.log[-MAX_LOG_LINES:]])
        cursor = Cursor(
            series=view.series,
            count=len(candles),
            last_open_ms=int(candles.open_ms[-1]) if len(candles) else 0,
            trades=zlib.crc32(trades),
            log=zlib.crc32(log),
        )
        known = self._known(parse_cursor(since), cursor, candles)
        is_unchanged = known is not None and known.count == cursor.count
        overlays = dict.fromkeys(encoded.overlays, b"null") if is_unchanged else encoded.overlays
        members = {
            "historical": self._historical(encoded, candles, known),
            **overlays,
            "liveCandle": _encode(_live_row(snapshot.forming)),
            "increment": _encode(known is not None),
            "cursor": _encode(cursor.text()),
            "meta": _encode(meta_item(snapshot, self._limit)),
            "position": _encode(position_item(snapshot.position)),
            "trades": b"null" if known and known.trades == cursor.trades else trades,
            "log": b"null" if known and known.log == cursor.log else log,
        }
        return b"{" + b",".join(b'"%b":%b' % (k.encode(), v) for k, v in members.items()) + b"}"

    def _historical(self, encoded: _Encoded, candles: Candles, known: Cursor | None) -> bytes:
        if known is not None:
            return _encode(candle_rows(candles, known.count))
        if encoded.historical is None:
            first = max(0, len(candles) - self._limit)
            encoded.historical = _encode(candle_rows(candles, first))
        return encoded.historical

    def _known(self, known: Cursor | None, now: Cursor, candles: Candles) -> Cursor | None:
        """Return the page's cursor where what it has is a prefix of what there is now."""
        if known is None or known.series != now.series or not 0 < known.count <= now.count:
            return None
        # A page that slept for long gets a full answer, which is no larger.
        if now.count - known.count >= self._limit:
            return None
        return known if candles.open_ms[known.count - 1] == known.last_open_ms else None

    def _encoded(self, view: SeriesView) -> _Encoded:
        cached = self._cache.get(view.series)
        if cached is None or cached.count != len(view.candles):
            cached = _encode_closed(view, self._limit)
            self._cache[view.series] = cached
        self._cache.move_to_end(view.series)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return cached


def _encode_closed(view: SeriesView, limit: int) -> _Encoded:
    first = max(0, len(view.candles) - limit)
    items = view.items()
    overlays = {
        overlay.name: _encode(
            overlay_items(items[overlay.name], first, overlay.index_keys, overlay.time_keys)
        )
        for overlay in OVERLAYS
    }
    return _Encoded(len(view.candles), overlays)


def overlay_items(
    items: Iterable[Item], first: int, index_keys: tuple[str, ...], time_keys: tuple[str, ...]
) -> list[Item]:
    """Return the items that lie within the candles from `first` on, their indices counted from it.

    Times become ISO 8601; NaN stays (the encoder writes null).
    """
    return [
        item
        | {key: item[key] - first for key in index_keys}
        | {key: iso_ms(item[key]) for key in time_keys}
        for item in items
        if item[index_keys[0]] >= first
    ]


def candle_rows(candles: Candles, first: int) -> list[Item]:
    """Return the closed candles from index `first` on as MILOBOT's mappings."""
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    values = (column[first:].tolist() for column in columns)
    rows = zip(iso_column(candles.open_ms[first:]), *values, strict=True)
    return [
        {"time": time, "open": o, "high": h, "low": low, "close": c, "volume": v}
        for time, o, h, low, c, v in rows
    ]


def _live_row(candle: Candle | None) -> Item | None:
    if candle is None:
        return None
    return {
        "time": iso_ms(candle.open_ms),
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
    }
