"""Whether a stream connection still serves: silence, age, and when to test it (layer 1, pure).

A market stream that brings nothing is on a wrong route or a dead socket, even where the venue
still answers pings. A user stream may rightly be quiet, so it is tested with a ping and must
answer. Times are monotonic wall seconds, passed in.
"""

from __future__ import annotations

from enum import Enum

LONGEST_CHECK_S = 1.0


class Health(Enum):
    """What to do about a connection."""

    FINE = "fine"
    QUIET = "quiet"
    """Send a ping."""
    SILENT = "silent"
    """Connect anew: it brings nothing any more."""
    OLD = "old"
    """Connect anew before the venue ends it."""


class Liveness:
    """The watch over one connection; `silence_s` None switches the watch for silence off."""

    def __init__(
        self, *, is_market: bool, silence_s: float | None, lifetime_s: float, now_s: float
    ) -> None:
        self._is_market = is_market
        self._silence_s = silence_s
        self._end_s = now_s + lifetime_s
        self._text_s = now_s
        self._any_s = now_s
        self._ping_s = now_s
        self._due_s = now_s

    @property
    def check_every_s(self) -> float:
        """How often `verdict` has to be asked, also while nothing comes."""
        return (
            LONGEST_CHECK_S
            if self._silence_s is None
            else min(LONGEST_CHECK_S, self._silence_s / 4)
        )

    def heard(self, now_s: float, *, is_text: bool) -> None:
        """Note a frame; text is what streams carry, the rest are pings and pongs."""
        self._any_s = now_s
        if is_text:
            self._text_s = now_s

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to ask for a verdict again."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self.check_every_s
        return True

    def verdict(self, now_s: float, *, is_clock_still: bool) -> Health:
        """Return the connection's health; on a stepped venue silence means nothing."""
        if now_s >= self._end_s:
            return Health.OLD
        if self._silence_s is None or is_clock_still:
            return Health.FINE
        if self._is_market:
            return Health.SILENT if now_s - self._text_s >= self._silence_s else Health.FINE
        quiet_s = now_s - self._any_s
        if quiet_s >= 2 * self._silence_s:
            return Health.SILENT
        if quiet_s >= self._silence_s and now_s - self._ping_s >= self._silence_s:
            self._ping_s = now_s
            return Health.QUIET
        return Health.FINE
