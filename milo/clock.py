"""The one place that reads clocks (layer 0).

Two clocks (docs/architecture.md): candle time is the venue's, in int ms UTC; safety time is the
monotonic wall clock, in float seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def wall_ms() -> int:
    """Return the computer's wall time in ms UTC."""
    return time.time_ns() // 1_000_000


def wall_fine_ms() -> float:
    """Return the computer's wall time in ms UTC with a fraction, for records of single moments."""
    return time.time_ns() / 1_000_000


def monotonic_s() -> float:
    """Return monotonic seconds, for durations and deadlines."""
    return time.monotonic()


def processor_s() -> float:
    """Return the processor time that this process has used, in seconds."""
    return time.process_time()


class VenueClock:
    """Candle time: the venue's clock as we estimate it between synchronisations.

    `speed` is venue ms per wall ms: 1 on a real venue, X on an embedded exchange at speed X, and
    0 on a stepped one, whose clock stands still until it says otherwise.
    """

    def __init__(self, *, speed: float = 1.0) -> None:
        self._speed = speed
        self._anchor_ms = wall_ms()
        self._anchor_s = monotonic_s()

    @property
    def speed(self) -> float:
        return self._speed

    def sync(self, venue_ms: int, *, at_s: float | None = None, speed: float | None = None) -> None:
        """Set the clock to `venue_ms` as of monotonic second `at_s` (default: now)."""
        self._anchor_ms = venue_ms
        self._anchor_s = monotonic_s() if at_s is None else at_s
        if speed is not None:
            self._speed = speed

    def now_ms(self) -> int:
        """Return the venue's time in ms UTC."""
        return self._anchor_ms + int((monotonic_s() - self._anchor_s) * 1000 * self._speed)

    def advance_to(self, venue_ms: int) -> None:
        """Move forward to a time that the venue itself has named; never backward."""
        if venue_ms > self.now_ms():
            self.sync(venue_ms)


def iso_utc(ms: int) -> str:
    """Return `2026-11-21 09:00:00 UTC` for a time in ms; sub-second digits are cut."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso_minute(ms: int) -> str:
    """Return `2026-11-21 09:00` (UTC) for a time in ms, as candle times are shown."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")
