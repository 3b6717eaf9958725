"""When funding is settled and at which rate: every eight hours at 0.01 %, or as a file says."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from milo.exchange.feed import DEFAULT_FUNDING_E8
from milo.intervals import HOUR_MS

_EIGHT_HOURS_MS = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class FundingSchedule:
    """Settlements; without times: 00, 08 and 16 UTC at the default rate."""

    times_ms: Sequence[int] = field(default=())
    """Ascending. The exchange settles some ms after the hour: these are taken as they are."""
    rates_e8: Sequence[int] = field(default=())

    def rate_at(self, time_ms: int) -> int:
        """Return the rate (e8) of the last settlement at or before `time_ms`.

        Before the first one of a file it is the default rate.
        """
        row = bisect_right(self.times_ms, time_ms) - 1
        return self.rates_e8[row] if row >= 0 else DEFAULT_FUNDING_E8

    def between(self, after_ms: int, until_ms: int) -> list[int]:
        """Return the settlement times in (after_ms, until_ms]."""
        if self.times_ms:
            first, end = (bisect_right(self.times_ms, time) for time in (after_ms, until_ms))
            return list(self.times_ms[first:end])
        first_ms = (after_ms // _EIGHT_HOURS_MS + 1) * _EIGHT_HOURS_MS
        return list(range(first_ms, until_ms + 1, _EIGHT_HOURS_MS))
