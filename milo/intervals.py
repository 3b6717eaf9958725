"""Candle intervals: names, lengths and boundaries (layer 0). All times are ms UTC."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

INTERVALS: tuple[str, ...] = (
    "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M",
)  # fmt: skip

_UNIT_MS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}

INTERVAL_MS: dict[str, int] = {
    name: int(name[:-1]) * _UNIT_MS[name[-1]] for name in INTERVALS if name != "1M"
} | {"1M": 30 * DAY_MS}
"""Nominal length; a month's true length comes from `next_open_ms`."""

# Weeks open on Monday: 1970-01-05 was one.
_WEEK_ORIGIN_MS = 4 * DAY_MS


def open_of(time_ms: int, interval: str) -> int:
    """Return the open time of the candle that contains `time_ms`."""
    if interval == "1M":
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
        return _month_ms(moment.year, moment.month)
    length = INTERVAL_MS[interval]
    origin = _WEEK_ORIGIN_MS if interval == "1w" else 0
    return (time_ms - origin) // length * length + origin


def next_open_ms(open_ms: int, interval: str) -> int:
    """Return the open time of the candle after the one that opens at `open_ms`."""
    if interval == "1M":
        moment = datetime.fromtimestamp(open_ms // 1000, UTC)
        months = moment.year * 12 + moment.month
        return _month_ms(months // 12, months % 12 + 1)
    return open_ms + INTERVAL_MS[interval]


def close_ms_of(open_ms: int, interval: str) -> int:
    """Return the close time: the last ms before the next candle opens."""
    return next_open_ms(open_ms, interval) - 1


def back_from(time_ms: int, interval: str, count: int) -> int:
    """Return the open time `count` candles before the candle that contains `time_ms`."""
    if interval == "1M":
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
        months = moment.year * 12 + moment.month - 1 - count
        return _month_ms(months // 12, months % 12 + 1)
    return open_of(time_ms, interval) - count * INTERVAL_MS[interval]


def _month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
