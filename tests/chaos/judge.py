"""The judge: what the exchange's ledger of one run says about the promises of issue "No position
without a stop".

It believes only the ledger (and, for the comparison of the books, what the engine wrote), reads it
from its first line to its last, and imports nothing of the product.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tests.chaos.ledger import (
    OURS,
    ZERO,
    Line,
    Window,
    World,
    blocked_ms,
    blocked_windows,
    decimal_of,
    is_true,
    parse_id,
)

LIMIT_MS = 3_000.0
LEFTOVER_MS = 5_000.0
GRACE_MS = 150.0
"""What was under way when a pause was asked for."""
MENDING_MS = 500.0
"""A client asks for the time so soon after a protective request was refused for it."""
ARRIVAL_MS = 6_000.0
"""A process sends its first request this long after its start at the latest."""
EVIDENCE_LINES = 40

EXPOSED = "exposed_ms"
TWICE = "executed_twice"
LEFT_OVER = "left_over"
BOOKS = "books_differ"
STOPS_CANCELLED = "stops_cancelled"
DURING_PAUSE = "requests_during_pause"
INVARIANTS = (EXPOSED, TWICE, LEFT_OVER, BOOKS, STOPS_CANCELLED, DURING_PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken promise and the lines that show it."""

    invariant: str
    text: str
    amount: float = 1.0
    """Milliseconds for exposures, otherwise a count."""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A time in which a position had neither stop nor closing order."""

    symbol: str
    begin_ms: float
    end_ms: float
    subtracted_ms: float

    @property
    def length_ms(self) -> float:
        return self.end_ms - self.begin_ms

    @property
    def rest_ms(self) -> float:
        return self.length_ms - self.subtracted_ms

    @property
    def excess_ms(self) -> float:
        return max(0.0, self.rest_ms - LIMIT_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A process of ours that was started."""

    t: float
    """Wall ms since the epoch."""
    who: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What one run's ledger says."""

    findings: list[Finding] = field(default_factory=list)
    exposures: list[Exposure] = field(default_factory=list)
    requests_of_newcomers: int = 0
    """Requests during a pause of processes that were started in it and not told yet."""
    unheard_pauses: int = 0
    """Pauses of which nobody could know: who had asked was killed before the answer came."""
    has_stop: bool = False
    has_target: bool = False
    has_liquidation: bool = False
    trades: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    """Windows begun, by name."""
    hits: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, invariant: str) -> float:
        """Return the measured amount; 0 is the only good one."""
        return sum(one.amount for one in self.findings if one.invariant == invariant)

    @property
    def is_good(self) -> bool:
        return not self.findings

    @property
    def has_end(self) -> bool:
        return self.has_stop or self.has_target or self.has_liquidation


def judge(lines: Sequence[Line], started: Sequence[Started] = ()) -> Verdict:
    """Return the verdict on everything that the ledger alone can tell."""
    verdict = Verdict()
    windows = blocked_windows(lines)
    _count(lines, verdict)
    walk = _Walk(lines, windows, verdict)
    walk.run()
    verdict.findings += executed_twice(lines)
    _judge_pauses(lines, started, verdict)
    return verdict


def shown(lines: Sequence[Line]) -> tuple[str, ...]:
    return tuple(json.dumps(line) for line in lines)


class _Walk:
    """One pass over the ledger: exposures, leftovers, cancelled stops."""

    def __init__(self, lines: Sequence[Line], windows: Sequence[Window], verdict: Verdict) -> None:
        self._lines = lines
        self._windows = windows
        self._verdict = verdict
        self._world = World()
        self._exposed: dict[str, int] = {}
        """Symbol -> index of the line since which it is exposed."""
        self._told: set[tuple[str, object]] = set()

    def run(self) -> None:
        for index, line in enumerate(self._lines):
            self._find_leftovers(line["t"], index)
            if line["kind"] == "request" and line["method"] == "DELETE":
                self._judge_cancel(line, index)
            self._world.take(line)
            for symbol in self._world.positions:
                self._follow(symbol, index)
        if not self._lines:
            return
        last = len(self._lines) - 1
        for symbol in list(self._exposed):
            self._close(symbol, last)
        self._find_leftovers(self._lines[last]["t"], last, is_end=True)

    def _follow(self, symbol: str, index: int) -> None:
        is_exposed = self._world.is_exposed(symbol)
        if is_exposed and symbol not in self._exposed:
            self._exposed[symbol] = index
        elif not is_exposed and symbol in self._exposed:
            self._close(symbol, index)

    def _close(self, symbol: str, index: int) -> None:
        first = self._exposed.pop(symbol)
        begin_ms, end_ms = self._lines[first]["t"], self._lines[index]["t"]
        exposure = Exposure(
            symbol=symbol,
            begin_ms=begin_ms,
            end_ms=end_ms,
            subtracted_ms=blocked_ms(self._windows, begin_ms, end_ms),
        )
        self._verdict.exposures.append(exposure)
        if exposure.excess_ms > 0:
            text = (
                f"{symbol} had neither a confirmed stop nor a closing order for"
                f" {exposure.length_ms:.0f} ms, {exposure.subtracted_ms:.0f} ms of them blocked"
            )
            around = self._around(first, index)
            self._tell(EXPOSED, text, around, amount=exposure.excess_ms)

    def _find_leftovers(self, now_ms: float, index: int, *, is_end: bool = False) -> None:
        for symbol, flat_ms in self._world.flat_since_ms.items():
            for kind, key, order in self._world.leftovers(symbol):
                since_ms = max(flat_ms, self._world.opened_ms[kind, key])
                blocked = blocked_ms(self._windows, since_ms, now_ms)
                open_ms = now_ms - since_ms - blocked
                if (kind, key) in self._told or (open_ms < LEFTOVER_MS and not is_end):
                    continue
                self._told.add((kind, key))
                text = f"{order['client_id']} left over on {symbol}, flat for {open_ms:.0f} ms"
                self._tell(LEFT_OVER, text, [order, *self._around(index, index)])

    def _judge_cancel(self, request: Line, index: int) -> None:
        """A cancel of the only stop of an open position is a breach, whoever wanted it."""
        params, world = request["params"], self._world
        symbol = str(params.get("symbol", ""))
        name = params.get("clientAlgoId") or params.get("origClientOrderId")
        number = params.get("algoId")
        is_mass = request["path"].endswith(("/algoOpenOrders", "/allOpenOrders"))
        symbols = [symbol] if symbol else list(world.positions)
        for one in symbols:
            if not world.positions.get(one, ZERO):
                continue
            stops = world.live_stops(one)
            gone = [
                stop
                for stop in stops
                if is_mass or stop["client_id"] == name or str(stop["algo_id"]) == str(number)
            ]
            if gone and len(gone) == len(stops) and not world.is_closing(one):
                text = f"the only stop of {one} ({gone[0]['client_id']}) was to be cancelled"
                self._tell(STOPS_CANCELLED, text, [*gone, *self._around(index, index)])

    def _around(self, first: int, last: int) -> list[Line]:
        lines = list(self._lines[max(0, first - 6) : last + 4])
        if len(lines) <= EVIDENCE_LINES:
            return lines
        half = EVIDENCE_LINES // 2
        return lines[:half] + lines[-half:]

    def _tell(
        self, invariant: str, text: str, lines: Sequence[Line], *, amount: float = 1.0
    ) -> None:
        self._verdict.findings.append(
            Finding(invariant=invariant, text=text, amount=amount, evidence=shown(lines))
        )


def executed_twice(lines: Sequence[Line]) -> list[Finding]:
    """Find client ids with two filled orders, and signals that were filled more than once over."""
    by_id: dict[str, dict[object, Line]] = defaultdict(dict)
    by_key: dict[tuple[str, str], dict[object, Line]] = defaultdict(dict)
    with_entries: set[str] = set()
    for line in lines:
        if line["kind"] != "order" or not line["client_id"].startswith(OURS):
            continue
        name = parse_id(line["client_id"])
        if name is not None and name.leg == "e":
            with_entries.add(name.key)
        if decimal_of(line["filled"]) <= 0:
            continue
        by_id[line["client_id"]][line["order_id"]] = line
        if name is not None:
            by_key[name.key, name.leg][line["order_id"]] = line
    found = [
        _twice(f"{client_id} was filled as {len(orders)} orders", orders)
        for client_id, orders in by_id.items()
        if len(orders) > 1
    ]
    for (key, leg), orders in by_key.items():
        # Closes under a trade's own key may follow one another as it grows; a partial close has a
        # key of its own, and is one intent as an entry is.
        is_one_intent = leg == "e" or (leg == "c" and key not in with_entries)
        filled = sum((decimal_of(line["filled"]) for line in orders.values()), ZERO)
        largest = max(decimal_of(line["qty"]) for line in orders.values())
        if is_one_intent and filled > largest:
            found.append(_twice(f"signal {key}, leg {leg}: {filled} filled of {largest}", orders))
    return found


def _twice(text: str, orders: dict[object, Line]) -> Finding:
    return Finding(invariant=TWICE, text=text, evidence=shown(list(orders.values())))


def _judge_pauses(lines: Sequence[Line], started: Sequence[Started], verdict: Verdict) -> None:
    """Find requests that do not protect and came while the exchange had asked for a pause."""
    pauses: list[Line] = []
    newcomers = _Newcomers(started)
    clocks = _WrongClocks()
    for line in lines:
        newcomers.take(line)
        clocks.take(line)
        if line["kind"] == "pause":
            if line.get("heard", True):
                pauses.append(line)
            else:
                verdict.unheard_pauses += 1
        elif line["kind"] == "request" and not is_true(line.get("protective")):
            pause = _pause_at(pauses, line["t"])
            if pause is None or clocks.are_mended_by(line):
                continue
            if newcomers.are_untold:
                verdict.requests_of_newcomers += 1
                continue
            text = (
                f"{line['method']} {line['path']} {line['t'] - pause['t']:.0f} ms into a pause of"
                f" {pause['until_t'] - pause['t']:.0f} ms"
            )
            verdict.findings.append(
                Finding(invariant=DURING_PAUSE, text=text, evidence=shown([pause, line]))
            )


def _pause_at(pauses: Sequence[Line], t: float) -> Line | None:
    """Return the pause that a request disregards: the first one that it should have known."""
    for pause in pauses:
        if pause["t"] + GRACE_MS < t < pause["until_t"]:
            return pause
    return None


class _WrongClocks:
    """Protective requests that were refused for their time: to ask for it is a part of them."""

    def __init__(self) -> None:
        self._protective: set[object] = set()
        self._refused_ms: float | None = None

    def take(self, line: Line) -> None:
        if line["kind"] == "request" and is_true(line.get("protective")):
            self._protective.add(line["n"])
        elif line["kind"] == "answer" and line["n"] in self._protective and line["code"] == -1021:
            self._refused_ms = line["t"]

    def are_mended_by(self, line: Line) -> bool:
        """Whether this request asks for the time because of the last refusal; once for each."""
        refused_ms, is_time = self._refused_ms, line["path"].endswith("/time")
        if not is_time or refused_ms is None or line["t"] - refused_ms > MENDING_MS:
            return False
        self._refused_ms = None
        return True


class _Newcomers:
    """Processes that have just come to the exchange and were not refused yet.

    They cannot know of a pause. One is known by the first request of any client of ours, for the
    exchange's time, soon after a process was started.
    """

    def __init__(self, started: Sequence[Started]) -> None:
        self._started = started
        self._told_ms: float | None = 0.0
        """When the newest one was refused; None: not yet."""
        self._now_ms = 0.0

    def take(self, line: Line) -> None:
        self._now_ms = line["t"]
        if line["kind"] == "request" and line["path"].endswith("/time"):
            if any(0 <= line["t"] - one.t <= ARRIVAL_MS for one in self._started):
                self._told_ms = None
        elif line["kind"] == "answer" and line.get("status") in (418, 429):
            self._told_ms = line["t"] if self._told_ms is None else self._told_ms

    @property
    def are_untold(self) -> bool:
        return self._told_ms is None or self._now_ms <= self._told_ms + GRACE_MS


def _count(lines: Sequence[Line], verdict: Verdict) -> None:
    """Count faults, trades, and how positions ended."""
    algo_types: dict[object, str] = {}
    algo_of: dict[object, object] = {}
    for line in lines:
        kind = line["kind"]
        if kind == "fault" and line["at"] in ("begin", "hit"):
            counts = verdict.faults if line["at"] == "begin" else verdict.hits
            counts[line["name"]] = counts.get(line["name"], 0) + 1
        elif kind == "algo":
            algo_types[line["algo_id"]] = line["type"]
            if line.get("order_id"):
                algo_of[line["order_id"]] = line["algo_id"]
        elif kind == "order" and line.get("algo_id"):
            algo_of[line["order_id"]] = line["algo_id"]
        elif kind == "trade":
            verdict.trades += 1
            verdict.has_liquidation |= is_true(line.get("forced"))
            ended_by = algo_types.get(algo_of.get(line["order_id"]), "")
            verdict.has_stop |= ended_by.startswith("STOP")
            verdict.has_target |= ended_by.startswith("TAKE_PROFIT")


def exposure_sums(exposures: Sequence[Exposure]) -> dict[str, float]:
    """Return the sums that the report prints, in ms."""
    return {
        "all_ms": sum(one.length_ms for one in exposures),
        "subtracted_ms": sum(one.subtracted_ms for one in exposures),
        "longest_ms": max((one.length_ms for one in exposures), default=0.0),
        "longest_rest_ms": max((one.rest_ms for one in exposures), default=0.0),
        "excess_ms": sum(one.excess_ms for one in exposures),
    }


def money(value: Decimal) -> str:
    return format(value.normalize(), "f")
