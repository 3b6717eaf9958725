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
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from milo.candles import Candles
from milo.charts.overlays import OVERLAYS, Item, OverlayInput
from milo.charts.snapshot import ChartPosition, ChartSnapshot, LogLine, RunNumbers, TradeMark
from milo.intervals import INTERVAL_MS
from milo.model import Candle
from milo.money import plain

CANDLE_LIMIT: Final = 5_000
_MAX_TRADES: Final = 1_000
_MAX_LOG_LINES: Final = 200
_MAX_TEXT: Final = 2_000
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
    first_open_ms: int
    last_open_ms: int
    overlays: dict[str, bytes]
    historical: bytes | None = None
    """Of a full answer; made when the first one is asked for."""

    def is_of(self, candles: Candles) -> bool:
        return (self.count, self.first_open_ms, self.last_open_ms) == (
            len(candles), *_ends(candles),
        )  # fmt: skip


class SeriesEncoder:
    """Turns snapshots into the body of `GET /data`; keeps what does not change between polls.

    `run_id` tells one start of the server from another. Not thread-safe.
    """

    def __init__(self, run_id: str, *, limit: int = CANDLE_LIMIT) -> None:
        self._run_id = run_id
        self._limit = limit
        self._cache: OrderedDict[tuple[str, str, str], _Encoded] = OrderedDict()

    def body(self, snapshot: ChartSnapshot, since: str | None = None) -> bytes:
        """Return the answer's JSON; `since` is the `cursor` of the page's newest answer."""
        candles = snapshot.candles
        encoded = self._encoded(snapshot)
        trades = _encode([_trade(mark) for mark in snapshot.trades[-_MAX_TRADES:]])
        log = _encode([_log_line(line) for line in snapshot.log[-_MAX_LOG_LINES:]])
        cursor = Cursor(
            series=_checksum_text(
                self._run_id, snapshot.venue, snapshot.symbol, snapshot.interval,
                str(encoded.first_open_ms),
            ),
            count=len(candles),
            last_open_ms=encoded.last_open_ms,
            trades=zlib.crc32(trades),
            log=zlib.crc32(log),
        )  # fmt: skip
        known = self._known(parse_cursor(since), cursor, candles)
        is_unchanged = known is not None and known.count == cursor.count
        overlays = dict.fromkeys(encoded.overlays, b"null") if is_unchanged else encoded.overlays
        members = {
            "historical": self._historical(encoded, candles, known),
            **overlays,
            "liveCandle": _encode(_live_row(snapshot.forming)),
            "increment": _encode(known is not None),
            "cursor": _encode(cursor.text()),
            "meta": _encode(self._meta(snapshot)),
            "position": _encode(_position(snapshot.position)),
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

    def _encoded(self, snapshot: ChartSnapshot) -> _Encoded:
        key = (snapshot.venue, snapshot.symbol, snapshot.interval)
        cached = self._cache.get(key)
        if cached is None or not cached.is_of(snapshot.candles):
            cached = _encode_closed(snapshot.candles, self._limit)
            self._cache[key] = cached
        self._cache.move_to_end(key)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return cached

    def _meta(self, snapshot: ChartSnapshot) -> Item:
        script = snapshot.script
        return {
            "symbol": snapshot.symbol,
            "interval": snapshot.interval,
            "intervalMs": INTERVAL_MS[snapshot.interval],
            "limit": self._limit,
            "symbols": snapshot.symbols,
            "intervals": snapshot.intervals,
            "venue": snapshot.venue,
            "title": snapshot.title,
            "isSimulated": snapshot.is_simulated,
            "unisolated": None if snapshot.unisolated is None else _clean(snapshot.unisolated),
            "clock": iso_ms(snapshot.clock_ms),
            "clockSpeed": snapshot.clock_speed,
            "marketAgeMs": snapshot.market_age_ms,
            "priceDecimals": snapshot.price_decimals,
            "state": snapshot.state,
            "alert": None if snapshot.alert is None else _clean(snapshot.alert),
            "script": None
            if script is None
            else {
                "name": _clean(script.name),
                "symbol": script.symbol,
                "interval": script.interval,
                "lastAction": None if script.last_action is None else _clean(script.last_action),
                "lastCondition": script.last_condition,
            },
            "run": _numbers(snapshot.numbers),
        }


def _encode_closed(candles: Candles, limit: int) -> _Encoded:
    first = max(0, len(candles) - limit)
    source = OverlayInput(candles)
    overlays = {
        overlay.name: _encode(
            overlay_items(
                overlay.compute(source), first, overlay.index_keys, overlay.time_keys
            )
        )
        for overlay in OVERLAYS
    }  # fmt: skip
    first_ms, last_ms = _ends(candles)
    return _Encoded(len(candles), first_ms, last_ms, overlays)


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
    rows = zip(_iso_column(candles.open_ms[first:]), *values, strict=True)
    return [
        {"time": time, "open": o, "high": h, "low": low, "close": c, "volume": v}
        for time, o, h, low, c, v in rows
    ]


def iso_ms(time_ms: int) -> str:
    """Return `2026-01-12T09:00:00Z` for ms UTC, with `.123` only where there are odd ms."""
    return _iso_column(np.array([time_ms], dtype=np.int64))[0]


def _iso_column(times_ms: NDArray[np.int64]) -> list[str]:
    moments = times_ms.astype("datetime64[ms]")
    has_odd_ms = bool(np.any(times_ms % 1000))
    texts: list[str] = np.datetime_as_string(moments, unit="ms" if has_odd_ms else "s").tolist()
    return [f"{text}Z" for text in texts]


def _ends(candles: Candles) -> tuple[int, int]:
    if not len(candles):
        return 0, 0
    return int(candles.open_ms[0]), int(candles.open_ms[-1])


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


def _position(position: ChartPosition | None) -> Item | None:
    if position is None:
        return None
    return {
        "direction": position.direction,
        "quantity": plain(position.qty),
        "entryPrice": plain(position.entry_price),
        "stopPrice": _number(position.stop_price),
        "targetPrice": _number(position.target_price),
        "liquidationPrice": _number(position.liquidation_price),
        "leverage": position.leverage,
        "unrealized": _number(position.unrealized),
        "openTime": None if position.opened_ms is None else iso_ms(position.opened_ms),
    }


def _trade(mark: TradeMark) -> Item:
    return {
        "time": iso_ms(mark.time_ms),
        "kind": mark.kind,
        "side": mark.side,
        "price": plain(mark.price),
        "quantity": plain(mark.qty),
        "reason": mark.reason,
        "profit": _number(mark.profit),
    }


def _log_line(line: LogLine) -> Item:
    return {"time": iso_ms(line.time_ms), "kind": line.kind, "text": _clean(line.text)}


def _clean(text: str) -> str:
    """Return untrusted text at a bounded length and without what UTF-8 cannot carry."""
    shown = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
    return shown.encode("utf-8", "replace").decode("utf-8")


def _numbers(numbers: RunNumbers) -> Item:
    return {
        "startBalance": _number(numbers.start_balance),
        "walletBalance": _number(numbers.wallet_balance),
        "availableBalance": _number(numbers.available_balance),
        "unrealized": _number(numbers.unrealized),
        "profit": _number(numbers.profit),
        "closedTrades": numbers.closed_trades,
        "candles": numbers.candles,
        "evaluations": numbers.evaluations,
        "signals": numbers.signals,
        "scriptErrors": numbers.script_errors,
    }


def _number(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _checksum_text(*parts: Any) -> str:
    return format(zlib.crc32("\0".join(parts).encode("utf-8", "replace")), "08x")
