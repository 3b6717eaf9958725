"""What happens in one chaos run: faults, kills, market and script, all drawn from (seed, number).

The same seed and number give the same plan on every machine; how the processes then interleave is
the machine's own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Fault = dict[str, Any]

FAULTS_BEGIN_MS = 2_000
"""By then the engine has started and sends its first entries."""
FAULTS_END_MS = 6_600
RUN_MS = 9_000
"""When the engine is ended in order: what is before it since the last fault is quiet."""
FEWEST_FAULTS, MOST_FAULTS = 7, 12
FIRST_KILL_MS = 2_400
LAST_KILL_MS = 6_800

STEPS = (
    "signal-journaled", "guard-told", "settings-made", "entry-before-send", "entry-sent",
    "entry-answered", "fill-seen", "stop-journaled", "stop-before-send", "stop-sent",
    "stop-answered", "target-before-send", "target-sent", "target-answered", "close-before-send",
    "close-sent", "close-answered",
)  # fmt: skip
"""Where an engine can die: the steps of an entry, its protection and its end."""

ENGINE, GUARD, BOTH = "engine", "guard", "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill -9."""

    who: str
    at_ms: int
    """Wall time since the exchange's first start. A kill at a step happens then at the latest."""
    arm_ms: int = 0
    """A step counts from this wall time on."""
    step: str | None = None
    nth: int = 1
    """Which occurrence of the step."""
    delay_ms: int = 0
    """`*-sent`: how long the request is under way. `both`: between the two kills."""
    restart_ms: int = 500
    """How long the engine stays dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything that is decided before a run."""

    seed: int
    number: int
    market: int
    """Which of the lively windows, 0 the liveliest."""
    start_row: int
    """Where in the window's lively part the run begins, candles."""
    script: str
    """Its text."""
    faults: tuple[Fault, ...]
    kills: tuple[Kill, ...]


def plan_run(seed: int, number: int) -> RunPlan:
    """Return the plan of run `number` of the chaos run `seed`."""
    rng = random.Random(f"chaos {seed} {number}")  # text seeds are the same on every machine
    kills = _kills(rng)
    return RunPlan(
        seed=seed,
        number=number,
        market=rng.randrange(24),
        start_row=rng.randrange(12),
        script=_script(rng, kills),
        faults=_faults(rng),
        kills=kills,
    )


# --- faults -----------------------------------------------------------------------------------

LAST_LOST_MS = 4_000
"""Later no entry or close is lost: what became of it would still be open at the end of the run."""
_MAY_LOSE = frozenset({"request_lost", "unknown_503", "unknown_code"})
_ORDERS = ("entry", "stop", "target", "close", "any")
_REFUSALS = {
    "entry": (-2019, -2027, -1001, -1008, -1015, -4131, -4116, -2010, -4164),
    "stop": (-2021, -4130, -4509, -1001, -1008, -4045, -4116, -1000),
    "target": (-2021, -4130, -4509, -1001, -4045),
    "close": (-2022, -1001, -1008, -4131, -1000, -4118),
    "cancel": (-2011, -1001, -4117),
    "query": (-2013, -1001),
    "read": (-1001, -1000, -1021),
}
"""Codes that the exchange gives to such a request, and that ask for different reactions."""


def _of_orders(rng: random.Random) -> Fault:
    return {"on": rng.choice(_ORDERS), "count": rng.randint(1, 3)}


def _lost(rng: random.Random) -> Fault:
    # A lost entry is looked for during seconds in which nothing else is tried: more rarely.
    on = rng.choices(_ORDERS, weights=(1, 3, 3, 3, 1))[0]
    return {"on": on, "count": 1 if on in ("entry", "any") else rng.randint(1, 3)}


def _unknown(rng: random.Random) -> Fault:
    is_executed = rng.random() < 0.5
    return {**(_of_orders(rng) if is_executed else _lost(rng)), "executed": is_executed}


def _unknown_code(rng: random.Random) -> Fault:
    return {**_unknown(rng), "code": rng.choice((-1006, -1007))}


def _refuse_code(rng: random.Random) -> Fault:
    on = rng.choice(tuple(_REFUSALS))
    return {"on": on, "code": rng.choice(_REFUSALS[on]), "count": rng.randint(1, 3)}


def _slow(rng: random.Random) -> Fault:
    return {
        "on": rng.choice((*_ORDERS, "query", "read")),
        "delay_ms": rng.randint(100, 1_500),
        "after": rng.random() < 0.5,
        "count": rng.randint(1, 4),
    }


def _partial_fill(rng: random.Random) -> Fault:
    return {
        "parts": rng.randint(2, 4),
        "pause_ms": rng.randint(40, 300),
        "dry": rng.random() < 0.4,
    }


def _nothing(rng: random.Random) -> Fault:
    return {}


@dataclass(frozen=True, slots=True)
class _Kind:
    weight: int
    shortest_ms: int
    longest_ms: int
    more: Callable[[random.Random], Fault] = _nothing


_KINDS = {
    "answer_lost": _Kind(10, 400, 2_500, _of_orders),
    "request_lost": _Kind(8, 300, 1_500, _lost),
    "unknown_503": _Kind(8, 400, 2_000, _unknown),
    "unknown_code": _Kind(7, 400, 2_000, _unknown_code),
    "unavailable_503": _Kind(6, 300, 1_500, _of_orders),
    "too_many_429": _Kind(5, 500, 2_000),
    "banned_418": _Kind(3, 400, 1_200),
    "slow": _Kind(9, 500, 2_500, _slow),
    "ws_silence": _Kind(6, 400, 2_500, lambda rng: {"market": rng.random() < 0.3}),
    "ws_drop": _Kind(6, 100, 1_000),
    "ws_duplicate": _Kind(6, 800, 3_000),
    "ws_reorder": _Kind(6, 800, 3_000),
    "partial_fill": _Kind(9, 800, 3_000, _partial_fill),
    "invisible": _Kind(6, 500, 3_000),
    "refuse_code": _Kind(10, 400, 2_000, _refuse_code),
    "stuck_triggering": _Kind(4, 500, 2_500),
    "clock_skew": _Kind(
        4, 400, 2_000, lambda rng: {"skew_ms": rng.choice((-9_000, -2_500, 2_500, 9_000))}
    ),
    "restart": _Kind(5, 0, 0, lambda rng: {"down_ms": rng.randint(150, 1_200)}),
    "funding": _Kind(5, 0, 0, lambda rng: {"rate": rng.choice((0.0001, -0.0003, 0.001, -0.002))}),
    "liquidation": _Kind(4, 0, 0),
}
FAULT_NAMES = tuple(_KINDS)


def _faults(rng: random.Random) -> tuple[Fault, ...]:
    names = rng.choices(
        FAULT_NAMES,
        weights=[kind.weight for kind in _KINDS.values()],
        k=rng.randint(FEWEST_FAULTS, MOST_FAULTS),
    )
    starts_ms = sorted(rng.randint(FAULTS_BEGIN_MS, FAULTS_END_MS - 600) for _ in names)
    found: list[Fault] = []
    has_restart = False
    for name, at_ms in zip(names, starts_ms, strict=True):
        if name == "restart" and has_restart:
            name = "answer_lost"  # one restart a run: each costs a second of it
        has_restart |= name == "restart"
        found.append(_fault(rng, len(found) + 1, name, at_ms))
    return tuple(found)


def _fault(rng: random.Random, number: int, name: str, at_ms: int) -> Fault:
    kind = _KINDS[name]
    for_ms = rng.randint(kind.shortest_ms, kind.longest_ms)
    if for_ms:
        for_ms = min(for_ms, FAULTS_END_MS - at_ms)
    more = kind.more(rng)
    if at_ms > LAST_LOST_MS and name in _MAY_LOSE and more["on"] in ("entry", "close", "any"):
        more["on"] = "stop"
    return {"id": number, "name": name, "at_ms": at_ms, "for_ms": for_ms, **more}


# --- kills ------------------------------------------------------------------------------------


def _kills(rng: random.Random) -> tuple[Kill, ...]:
    count = rng.choices((1, 2, 3), weights=(50, 42, 8))[0]
    # Far enough apart that the next engine gets to do something.
    slot_ms = (LAST_KILL_MS - FIRST_KILL_MS) // count
    begins_ms = [FIRST_KILL_MS + index * slot_ms for index in range(count)]
    return tuple(_kill(rng, begin_ms, slot_ms) for begin_ms in begins_ms)


def _kill(rng: random.Random, begin_ms: int, slot_ms: int) -> Kill:
    who = rng.choices((ENGINE, GUARD, BOTH), weights=(72, 16, 12))[0]
    # With both dead nobody protects anything until the engine is back: that is not to be late.
    restart_ms = 200 if who == BOTH else rng.randint(200, 1_600)
    delay_ms = rng.randint(1, 60) if who == BOTH else rng.randint(1, 30)
    if who == GUARD or rng.random() < 0.15:
        at_ms = begin_ms + rng.randint(0, slot_ms)
        return Kill(who=who, at_ms=at_ms, delay_ms=delay_ms, restart_ms=restart_ms)
    is_first = begin_ms == FIRST_KILL_MS
    return Kill(
        who=who,
        at_ms=begin_ms + slot_ms,
        # A later engine has little time: what it does first is as good as anything.
        arm_ms=begin_ms + rng.randint(-800, slot_ms // 3) if is_first else begin_ms,
        step=rng.choice(STEPS),
        nth=rng.choice((1, 1, 1, 2)) if is_first else 1,
        delay_ms=delay_ms,
        restart_ms=restart_ms,
    )


# --- the script -------------------------------------------------------------------------------

_TEMPLATE = """\
timeframe = "1m"
coin = "BTCUSDT"

turn = int(data[-1].time / 60000) % {period}
rising = data[-1].close >= data[-1].open
condition_true = {condition}
action_if_true = "long({amount}@{leverage}x,sl={stop}%{target})"
action_if_false = {otherwise}
"""


def _script(rng: random.Random, kills: Sequence[Kill]) -> str:
    """Return a script with tight stops that enters on nearly each candle."""
    steps = {kill.step or "" for kill in kills}
    targets = [",rr=1", ",rr=1", ",rr=0.5", ",rr=2"]
    if not any(step.startswith("target") for step in steps):
        targets.append("")
    leverage = rng.choice((10, 20, 20, 50))
    # Another leverage for shorts: then the settings are made before each change of direction.
    other_leverage = rng.choice((12, 25))
    if "settings-made" not in steps and rng.random() < 0.5:
        other_leverage = leverage
    amount = rng.choice(("1%risk", "0.5%risk", "5%margin", "20%margin"))
    stop = rng.choice(("0.08", "0.1", "0.15", "0.2", "0.3"))
    target = rng.choice(targets)
    short = f'"short({amount}@{other_leverage}x,sl={stop}%{target})"'
    close = rng.choice(('"close"', '"close(50%)"'))
    condition, otherwise = rng.choice(
        (
            ("rising", short),
            ("rising", f"{short} if turn > 0 else {close}"),
            ("turn % 2 == 0", short),
            ("turn == 0", f"{short} if turn == 2 else {close}"),
        )
    )
    return _TEMPLATE.format(
        period=rng.choice((3, 3, 4)),
        condition=condition,
        amount=amount,
        leverage=leverage,
        stop=stop,
        target=target,
        otherwise=otherwise,
    )
