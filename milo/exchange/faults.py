"""What goes wrong, and when: fault schedules, and the fault that meets a request. Pure.

Times are wall ms since the schedule began. A fault has a window [at_ms, at_ms + for_ms); one that
concerns requests meets those of a kind (`on`), at most `count` of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

ENTRY, CLOSE, STOP, TARGET = "entry", "close", "stop", "target"
CANCEL, QUERY, READ, ANY = "cancel", "query", "read", "any"
OTHER = "other"
"""Requests of the account that are none of these (leverage, listen keys): `any` meets them too."""
PUBLIC = ""
"""Requests without a key: only limits meet them."""
KINDS = (ENTRY, STOP, TARGET, CLOSE, CANCEL, QUERY, READ, ANY)

_PROTECTIVE = frozenset({STOP, TARGET, CLOSE, CANCEL})
_GUARDS = frozenset({STOP, CLOSE, CANCEL, ANY})

INSTANT = frozenset({"funding", "liquidation", "restart"})
"""Faults of a moment: they have no window."""

LIMITS = frozenset({"too_many_429", "banned_418"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a schedule; only the parameters of its name matter."""

    id: int
    name: str
    at_ms: int
    for_ms: int = 0
    on: str = ANY
    count: int | None = None
    """Hits at most; None: as many as come."""
    executed: bool = False
    code: int = 0
    delay_ms: int = 0
    after: bool = False
    market: bool = False
    parts: int = 2
    pause_ms: int = 0
    dry: bool = False
    skew_ms: int = 0
    down_ms: int = 0
    rate: float = 0.0

    @property
    def ends_ms(self) -> int:
        """When no request can be met any more."""
        return self.at_ms + self.for_ms

    @property
    def is_over_ms(self) -> int:
        """When what it did is over: a request that was held back is carried out later."""
        is_held = self.name == "slow" and not self.after
        return self.ends_ms + (self.delay_ms if is_held else 0)

    @property
    def blocks(self) -> str:
        """`all`: nobody reaches the exchange; `protective`: what protects is not done; `none`."""
        if self.name in ("banned_418", "restart"):
            return "all"
        is_refusal = self.name in ("request_lost", "unavailable_503", "refuse_code") or (
            self.name in ("unknown_503", "unknown_code") and not self.executed
        )
        if is_refusal and self.on == ANY:
            return "all"
        is_late = self.name == "slow" and not self.after
        return "protective" if (is_refusal or is_late) and self.on in _GUARDS else "none"

    def meets(self, kind: str) -> bool:
        """Return whether requests of that kind are met."""
        if self.name == "too_many_429":
            return kind not in _PROTECTIVE
        if self.name == "banned_418":
            return True
        return kind != PUBLIC and self.on in (ANY, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A fault's window begins or ends."""

    fault: Fault
    is_begin: bool


class Outcome(Enum):
    """What becomes of a request."""

    NORMAL = "normal"
    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    REPLACED = "replaced"
    """Its answer is another one; see Decision.fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to one request."""

    outcome: Outcome = Outcome.NORMAL
    fault: Fault | None = None
    """The one that decides the outcome."""
    hits: tuple[Fault, ...] = ()
    before_ms: int = 0
    """Wall ms that it waits before it is carried out."""
    after_ms: int = 0
    """Wall ms that its answer waits."""
    is_hidden: bool = False
    """True where an order that it places cannot be seen for a while."""

    @property
    def is_executed(self) -> bool:
        if self.outcome is Outcome.REPLACED:
            assert self.fault is not None
            return self.fault.executed
        return self.outcome is not Outcome.REQUEST_LOST


UNTROUBLED = Decision()

_OUTCOMES = {
    "request_lost": Outcome.REQUEST_LOST,
    "answer_lost": Outcome.ANSWER_LOST,
    "unknown_503": Outcome.REPLACED,
    "unknown_code": Outcome.REPLACED,
    "unavailable_503": Outcome.REPLACED,
    "too_many_429": Outcome.REPLACED,
    "banned_418": Outcome.REPLACED,
    "refuse_code": Outcome.REPLACED,
}


@dataclass(slots=True)
class Progress:
    """How far a schedule has come: what an exchange that is restarted must know."""

    told_ms: int = -1
    """Beginnings and ends until then have been told."""
    hits: dict[int, int] = field(default_factory=dict)


class Faults:
    """The faults of one schedule as time goes by; `upcoming` is ordered by at_ms."""

    def __init__(self, upcoming: Iterable[Fault], progress: Progress | None = None) -> None:
        self._upcoming: Iterator[Fault] = iter(upcoming)
        self._next = next(self._upcoming, None)
        self.active: dict[int, Fault] = {}
        self._used_up: dict[int, Fault] = {}
        """Ended early; their hits are kept until their windows' ends, for a restart."""
        self.progress = progress or Progress()

    def resume(self, now_ms: int) -> list[Turn]:
        """Go on after a pause: what began and ended while nobody was there never happened.

        What began before and ended meanwhile ends now; what began meanwhile and lasts begins now.
        """
        told_ms = self.progress.told_ms
        if told_ms < 0:
            return []
        self.advance(told_ms)
        self.take_used_up()
        return [
            turn
            for turn in self.advance(now_ms)
            if (now_ms < turn.fault.is_over_ms if turn.is_begin else turn.fault.at_ms <= told_ms)
        ]

    def advance(self, now_ms: int) -> list[Turn]:
        """Return what began and what ended until now, in order."""
        turns: list[tuple[int, Turn]] = []
        while self._next is not None and self._next.at_ms <= now_ms:
            fault, self._next = self._next, next(self._upcoming, None)
            self.active[fault.id] = fault
            turns.append((fault.at_ms, Turn(fault=fault, is_begin=True)))
        for fault in [f for f in self.active.values() if f.is_over_ms <= now_ms]:
            turns.append((fault.is_over_ms, self._end(fault)))
            self.progress.hits.pop(fault.id, None)
        for fault in [f for f in self._used_up.values() if f.is_over_ms <= now_ms]:
            del self._used_up[fault.id]
            self.progress.hits.pop(fault.id, None)
        self.progress.told_ms = max(self.progress.told_ms, now_ms)
        turns.sort(key=lambda pair: pair[0])
        return [turn for _, turn in turns]

    def next_ms(self) -> int | None:
        """Return when something begins or ends next; None where nothing does any more."""
        times = [fault.is_over_ms for fault in self.active.values()]
        if self._next is not None:
            times.append(self._next.at_ms)
        return min(times, default=None)

    def named(self, name: str) -> list[Fault]:
        """Return the faults of that name whose window is open."""
        return [fault for fault in self.active.values() if fault.name == name]

    def decide(self, kind: str, now_ms: int) -> Decision:
        """Return what happens to a request of that kind, and count the hits."""
        met = [
            fault
            for fault in self.active.values()
            if fault.at_ms <= now_ms < fault.ends_ms
            and (fault.name in _OUTCOMES or fault.name in ("slow", "invisible"))
            and fault.meets(kind)
            and not self.has_had_all(fault)
        ]
        if not met:
            return UNTROUBLED
        deciding = next((fault for fault in met if fault.name in _OUTCOMES), None)
        outcome = Outcome.NORMAL if deciding is None else _OUTCOMES[deciding.name]
        hits, before_ms, after_ms, is_hidden = [], 0, 0, False
        for fault in met:
            if fault.name == "slow":
                before_ms += 0 if fault.after else fault.delay_ms
                after_ms += fault.delay_ms if fault.after else 0
            elif fault.name == "invisible":
                if kind not in (ENTRY, CLOSE, STOP, TARGET):
                    continue
                is_hidden = True
            elif fault is not deciding:
                continue
            hits.append(fault)
        for fault in hits:
            self.progress.hits[fault.id] = self.progress.hits.get(fault.id, 0) + 1
        return Decision(
            outcome=outcome,
            fault=deciding,
            hits=tuple(hits),
            before_ms=before_ms,
            after_ms=after_ms,
            is_hidden=is_hidden,
        )

    def hit(self, fault: Fault) -> None:
        """Count a hit of what is no request."""
        self.progress.hits[fault.id] = self.progress.hits.get(fault.id, 0) + 1

    def take_used_up(self) -> list[Turn]:
        """Return the ends of faults that have had all their hits."""
        used_up = [fault for fault in self.active.values() if self._is_used_up(fault)]
        self._used_up |= {fault.id: fault for fault in used_up}
        return [self._end(fault) for fault in used_up]

    def has_had_all(self, fault: Fault) -> bool:
        """Return whether the fault has had all the hits that it may have."""
        return fault.count is not None and self.progress.hits.get(fault.id, 0) >= fault.count

    def _is_used_up(self, fault: Fault) -> bool:
        # What others did (hiding, holding back) lasts until their windows' ends.
        return fault.name in _OUTCOMES and self.has_had_all(fault)

    def _end(self, fault: Fault) -> Turn:
        del self.active[fault.id]
        return Turn(fault=fault, is_begin=False)


def kind_of(method: str, path: str, params: Mapping[str, str], *, has_key: bool) -> str:
    """Return what a request is to the schedule: entry, stop, target, ..., or "" for public."""
    if not has_key:
        return PUBLIC
    name = path.rpartition("/")[2]
    if method == "DELETE" and name in ("order", "allOpenOrders", "algoOrder", "algoOpenOrders"):
        return CANCEL
    if method == "POST" and name == "order":
        return CLOSE if params.get("reduceOnly", "").lower() == "true" else ENTRY
    if method == "POST" and name == "algoOrder":
        return TARGET if params.get("type", "").startswith("TAKE_PROFIT") else STOP
    if method == "GET":
        return QUERY if name in ("order", "algoOrder") else READ
    return OTHER


def is_protective(kind: str) -> bool:
    """Return whether a request of that kind protects or reduces."""
    return kind in _PROTECTIVE


def whole_seconds(rest_ms: float) -> int:
    """Return Retry-After's seconds: rounded up, at least one."""
    return max(1, math.ceil(rest_ms / 1000))
