"""Rate limits as buckets, with a lane for requests that protect (layer 1, pure: time is passed in).

Every limit of the venue has one bucket. A bucket remembers what was spent in the last window and
never lets more than its cap fall into any interval of that length, however the venue aligns its own
fixed windows. Normal requests stop at a share of the cap; the rest is kept for the protective lane
(reducing and conditional orders, cancels). Answers correct the buckets: where the venue has counted
more than we sent, somebody else shares the limit, and the difference is booked as spent.

Times are monotonic wall seconds: the embedded exchange stretches its windows with its speed, so
that they are wall time on every venue (design: "Two clocks"). Source: exchange documentation,
"LIMITS"; the venue's `rateLimits` name the caps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum


class LimitKind(StrEnum):
    """What a limit counts."""

    WEIGHT = "REQUEST_WEIGHT"
    ORDERS = "ORDERS"
    REQUESTS = "RAW_REQUESTS"
    FUNDING = "FUNDING_RATE"
    """The pool of its own that funding-rate pages draw from; not listed by the venue."""


class Lane(Enum):
    """Who waits: normal requests keep a share of each limit free; the others use all of it.

    A pause that the venue asked for holds all but the protective ones.
    """

    NORMAL = "normal"
    URGENT = "urgent"
    """Questions on whose answers a protection waits."""
    PROTECTIVE = "protective"
    """Reducing and conditional orders, cancels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `cap` of `kind` in `window_s` seconds."""

    kind: LimitKind
    window_s: int
    cap: int

    @property
    def header(self) -> str | None:
        """The answer header that carries the venue's own count, where there is one."""
        name = _HEADERS.get(self.kind)
        return None if name is None else f"{name}-{_window_name(self.window_s)}"


_HEADERS = {LimitKind.WEIGHT: "X-MBX-USED-WEIGHT", LimitKind.ORDERS: "X-MBX-ORDER-COUNT"}
_UNITS_S = (("D", 86_400), ("H", 3_600), ("M", 60), ("S", 1))


def _window_name(window_s: int) -> str:
    unit, length = next(pair for pair in _UNITS_S if window_s % pair[1] == 0)
    return f"{window_s // length}{unit}"


FUNDING_LIMIT = Limit(kind=LimitKind.FUNDING, window_s=300, cap=500)

WEIGHT_WINDOW_S = 60
"""The window of the request weight, on every venue of this protocol."""

DEFAULT_LIMITS: tuple[Limit, ...] = (
    Limit(kind=LimitKind.WEIGHT, window_s=WEIGHT_WINDOW_S, cap=2400),
    Limit(kind=LimitKind.ORDERS, window_s=60, cap=1200),
    Limit(kind=LimitKind.ORDERS, window_s=10, cap=300),
    FUNDING_LIMIT,
)
"""What holds until the venue's own list has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one request draws from each kind of limit."""

    weight: int = 0
    orders: int = 0
    funding: int = 0

    def of(self, kind: LimitKind) -> int:
        match kind:
            case LimitKind.WEIGHT:
                return self.weight
            case LimitKind.ORDERS:
                return self.orders
            case LimitKind.FUNDING:
                return self.funding
            case LimitKind.REQUESTS:
                return 1


class Bucket:
    """One limit and what was spent of it in the last window."""

    def __init__(self, limit: Limit, *, scale: float = 1.0) -> None:
        self.limit = limit
        self._window_s = limit.window_s * scale
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def used(self, now_s: float) -> int:
        """Return what was spent in the window that ends now."""
        while self._spent and self._spent[0][0] + self._window_s <= now_s:
            self._total -= self._spent.popleft()[1]
        return self._total

    def spend(self, amount: int, now_s: float) -> None:
        if amount > 0:
            self._spent.append((now_s, amount))
            self._total += amount

    def wait_s(self, amount: int, allowed: int, now_s: float) -> float:
        """Return the seconds until `amount` more fits under `allowed`; 0.0 if it fits now.

        An amount above `allowed` waits for an empty bucket rather than for ever.
        """
        excess = self.used(now_s) + amount - max(allowed, amount)
        if amount == 0 or excess <= 0:
            return 0.0
        for at_s, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return max(at_s + self._window_s - now_s, 0.001)
        return self._window_s

    def correct(self, counted: int, now_s: float) -> None:
        """Book what the venue counted beyond our own count as spent now."""
        self.spend(counted - self.used(now_s), now_s)


NORMAL_SHARE = 0.8
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 60.0
_FIRST_BAN_S = 120.0
_LONGEST_BAN_S = 3 * 86_400.0


class RateBudget:
    """All buckets of one venue, and the pauses that it ordered.

    `scale` stretches the windows, for a venue whose windows are not wall time.
    """

    def __init__(
        self,
        limits: Iterable[Limit] = DEFAULT_LIMITS,
        *,
        normal_share: float = NORMAL_SHARE,
        scale: float = 1.0,
    ) -> None:
        if not 0 < normal_share < 1:
            raise ValueError(f"the normal lane's share must lie between 0 and 1: {normal_share}")
        self._share = normal_share
        self._scale = scale
        self._buckets: dict[tuple[LimitKind, int], Bucket] = {}
        self._paused_until_s = 0.0
        self._orders_paused_until_s = 0.0
        self._strikes = 0
        self.learn(limits)

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(bucket.limit for bucket in self._buckets.values())

    def learn(self, limits: Iterable[Limit]) -> None:
        """Take over caps that the venue states; limits that it does not list stay as they are."""
        for limit in limits:
            key = (limit.kind, limit.window_s)
            if key in self._buckets:
                self._buckets[key].limit = limit
            else:
                self._buckets[key] = Bucket(limit, scale=self._scale)

    def used(self, kind: LimitKind, window_s: int, now_s: float) -> int:
        return self._buckets[kind, window_s].used(now_s)

    def wait_s(self, cost: Cost, lane: Lane, now_s: float) -> float:
        """Return the seconds that this request has to wait; 0.0 if it may go now."""
        waits = [
            bucket.wait_s(cost.of(bucket.limit.kind), self._allowed(bucket.limit, lane), now_s)
            for bucket in self._buckets.values()
        ]
        if lane is not Lane.PROTECTIVE:
            waits.append(self._paused_until_s - now_s)
            if cost.orders:
                waits.append(self._orders_paused_until_s - now_s)
        return max(0.0, *waits)

    def take(self, cost: Cost, lane: Lane, now_s: float) -> float:
        """Book the request if it may go now and return 0.0, else return the seconds to wait."""
        wait_s = self.wait_s(cost, lane, now_s)
        if wait_s == 0.0:
            for bucket in self._buckets.values():
                bucket.spend(cost.of(bucket.limit.kind), now_s)
        return wait_s

    def correct(self, headers: Mapping[str, str], now_s: float) -> None:
        """Correct the buckets by an answer's headers (the mapping must ignore case)."""
        for bucket in self._buckets.values():
            header = bucket.limit.header
            counted = headers.get(header) if header else None
            if counted is not None and counted.isdecimal():
                bucket.correct(int(counted), now_s)

    def pause(self, *, now_s: float, wait_s: float | None, is_ban: bool = False) -> float:
        """Hold the normal lane after 429 or 418; return for how many seconds from now.

        `wait_s` is what the venue asked for; None backs off exponentially. Answers to requests
        that were under way when the pause began do not lengthen the back-off.
        """
        if wait_s is None:
            if now_s < self._paused_until_s:
                return self._paused_until_s - now_s
            first_s, longest_s = (
                (_FIRST_BAN_S, _LONGEST_BAN_S) if is_ban else (_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            )
            wait_s = min(longest_s, first_s * float(2 ** min(self._strikes, 20)))
        if now_s >= self._paused_until_s:
            self._strikes += 1
        self._paused_until_s = max(self._paused_until_s, now_s + wait_s)
        return self._paused_until_s - now_s

    def pause_left_s(self, now_s: float) -> float:
        """Return what is left of a pause that the venue asked for; 0.0 without one."""
        return max(0.0, self._paused_until_s - now_s)

    def pause_orders(self, *, now_s: float, wait_s: float) -> None:
        """Hold normal orders after -1015; requests that place nothing go on."""
        self._orders_paused_until_s = max(self._orders_paused_until_s, now_s + wait_s)

    def settle(self, now_s: float) -> None:
        """Forget earlier rejections: a normal request was answered after the pause."""
        if now_s >= self._paused_until_s:
            self._strikes = 0

    def _allowed(self, limit: Limit, lane: Lane) -> int:
        return int(limit.cap * self._share) if lane is Lane.NORMAL else limit.cap
