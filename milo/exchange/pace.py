"""The exchange's clock: how fast it runs, and what is due (wall time is read here only)."""

from __future__ import annotations

from milo.clock import monotonic_s, wall_ms
from milo.exchange.quota import Instant

STEPPED = 0.0
"""The speed called `max`: the clock moves only when the engine reports idle."""


class Pace:
    """Exchange ms per wall ms since an anchor; safety time is wall time in either case."""

    def __init__(self, speed: float, start_ms: int) -> None:
        self.speed = speed
        self.started_s = monotonic_s()
        self._start_ms = start_ms

    @property
    def is_stepped(self) -> bool:
        return self.speed == STEPPED

    @property
    def shown_speed(self) -> float | str:
        """The speed as people and clients read it: a number or `max`."""
        if self.is_stepped:
            return "max"
        return int(self.speed) if self.speed.is_integer() else self.speed

    def uptime_s(self) -> float:
        return monotonic_s() - self.started_s

    def due_ms(self) -> int:
        """Return what the clock should show by now; where it started, for a stepped one."""
        return self._start_ms + int(self.uptime_s() * 1000 * self.speed)

    def follow_wall_clock(self) -> None:
        """Let the clock show the computer's wall time from now on."""
        self._start_ms = wall_ms() - int(self.uptime_s() * 1000 * self.speed)

    def safety_ms(self) -> int:
        """Return safety time: its windows begin with the exchange's minutes at speed 1."""
        if self.is_stepped:
            return int(monotonic_s() * 1000)
        return int(self.due_ms() / self.speed)

    def instant(self, now_ms: int) -> Instant:
        """Return the time of a request that is answered with the market as of `now_ms`."""
        return Instant(
            now_ms=now_ms,
            due_ms=now_ms if self.is_stepped else max(now_ms, self.due_ms()),
            safety_ms=self.safety_ms(),
            speed=self.speed,
        )
