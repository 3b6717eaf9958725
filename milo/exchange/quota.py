"""Rate limits: weights, order counts, 429 and then 418 (layer 1).

Windows are fixed pieces of safety time: wall time, in which a client's own limits count too.
Source: exchange-api.md section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from milo.exchange.refusals import ApiRefusal

MINUTE_MS = 60_000
WEIGHT_LIMIT = 2_400
ORDERS_PER_MINUTE = 1_200
ORDERS_PER_10S = 300
FUNDING_PER_5M = 500

_REFUSALS_BEFORE_BAN = 10
"""Requests answered 429 in one window before the next one means a ban."""
_FIRST_BAN_MS = 2 * MINUTE_MS
_LONGEST_BAN_MS = 3 * 24 * 60 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """A request's time: on the exchange's clock, and in safety time."""

    now_ms: int
    """What has been played until now."""
    due_ms: int
    """What the clock should show; ahead of `now_ms` where the machine is too slow."""
    safety_ms: int
    speed: float
    """Exchange ms per safety ms; 0 where the clock is stepped and no time-out applies."""

    def exchange_ms(self, safety_ms: int) -> int:
        """Return the exchange's time at a moment of safety time."""
        return self.due_ms + int((safety_ms - self.safety_ms) * (self.speed or 1.0))


class Window:
    """A count that starts again at every multiple of its length."""

    def __init__(self, length_ms: int, limit: int) -> None:
        self.length_ms = length_ms
        self.limit = limit
        self._number = -1
        self._used = 0

    def used(self, safety_ms: int) -> int:
        """Return the count of the running window."""
        number = safety_ms // self.length_ms
        if number != self._number:
            self._number, self._used = number, 0
        return self._used

    def add(self, units: int, safety_ms: int) -> bool:
        """Count units; return whether the limit still holds."""
        self._used = self.used(safety_ms) + units
        return self._used <= self.limit

    def rest_s(self, safety_ms: int) -> int:
        """Return the seconds until the next window, rounded up."""
        return -(-(self.length_ms - safety_ms % self.length_ms) // 1000)


class Quota:
    """The limits of the one IP address and the one account."""

    def __init__(self) -> None:
        self._weight = Window(MINUTE_MS, WEIGHT_LIMIT)
        self._minute = Window(MINUTE_MS, ORDERS_PER_MINUTE)
        self._ten = Window(10_000, ORDERS_PER_10S)
        self._funding = Window(5 * MINUTE_MS, FUNDING_PER_5M)
        self._refused = Window(MINUTE_MS, _REFUSALS_BEFORE_BAN)
        self._banned_until_ms = 0
        self._ban_ms = _FIRST_BAN_MS

    def charge(self, weight: int, at: Instant) -> None:
        """Count a request; ApiRefusal 429 over the limit, 418 for who does not stop then."""
        if at.safety_ms < self._banned_until_ms:
            raise self._ban(at)
        if self._weight.add(weight, at.safety_ms):
            return
        if not self._refused.add(1, at.safety_ms):
            self._banned_until_ms = at.safety_ms + self._ban_ms
            self._ban_ms = min(2 * self._ban_ms, _LONGEST_BAN_MS)
            raise self._ban(at)
        raise ApiRefusal(
            -1003,
            f"Too many requests; current limit of IP(127.0.0.1) is {WEIGHT_LIMIT} requests per"
            " minute. Please use the websocket for live updates to avoid polling the API.",
            status=429,
            retry_after_s=self._weight.rest_s(at.safety_ms),
        )

    def charge_funding(self, at: Instant) -> None:
        """Count a request of the funding history's own pool."""
        if not self._funding.add(1, at.safety_ms):
            raise ApiRefusal(
                -1003,
                f"Too many requests; current limit is {FUNDING_PER_5M} requests per 5 minutes.",
                status=429,
                retry_after_s=self._funding.rest_s(at.safety_ms),
            )

    def charge_order(self, at: Instant) -> None:
        """Count an order; ApiRefusal -1015 over one of the two limits."""
        for window, name in ((self._ten, "TEN_SECONDS"), (self._minute, "MINUTE")):
            if window.used(at.safety_ms) >= window.limit:
                raise ApiRefusal(
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per {name}.",
                    status=429,
                    retry_after_s=window.rest_s(at.safety_ms),
                )
        self._ten.add(1, at.safety_ms)
        self._minute.add(1, at.safety_ms)

    def weight_header(self, at: Instant) -> dict[str, str]:
        return {"X-MBX-USED-WEIGHT-1M": str(self._weight.used(at.safety_ms))}

    def order_headers(self, at: Instant) -> dict[str, str]:
        return {
            "X-MBX-ORDER-COUNT-10S": str(self._ten.used(at.safety_ms)),
            "X-MBX-ORDER-COUNT-1M": str(self._minute.used(at.safety_ms)),
        }

    def _ban(self, at: Instant) -> ApiRefusal:
        until_ms = at.exchange_ms(self._banned_until_ms)
        return ApiRefusal(
            -1003,
            f"Way too many requests; IP(127.0.0.1) banned until {until_ms}. Please use the"
            " websocket for live updates to avoid bans.",
            status=418,
            retry_after_s=-(-(self._banned_until_ms - at.safety_ms) // 1000),
        )
