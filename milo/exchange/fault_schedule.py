"""Fault schedules: read from JSON and checked, or made from a profile and a seed. Pure.

`{"seed": 7, "faults": [{"id": 1, "name": "answer_lost", "at_ms": 2300, "for_ms": 800, ...}]}`;
docs/embedded-exchange.md lists names and parameters. A profile's schedule has no end: it is made
while it is played.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from milo.errors import ConfigError
from milo.exchange.faults import INSTANT, KINDS, LIMITS, Fault
from milo.exchange.refusals import has_text

_LONGEST_MS = 10**9
_MOST_PARTS = 100
_UNKNOWN_CODES = (-1006, -1007)

_REQUESTS = ("on", "count")
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "answer_lost": _REQUESTS,
    "request_lost": _REQUESTS,
    "unknown_503": (*_REQUESTS, "executed"),
    "unknown_code": (*_REQUESTS, "executed", "code"),
    "unavailable_503": _REQUESTS,
    "too_many_429": ("count",),
    "banned_418": ("count",),
    "slow": (*_REQUESTS, "delay_ms", "after"),
    "ws_silence": ("market",),
    "ws_drop": (),
    "ws_duplicate": (),
    "ws_reorder": (),
    "partial_fill": ("parts", "pause_ms", "dry", "count"),
    "invisible": _REQUESTS,
    "refuse_code": (*_REQUESTS, "code"),
    "stuck_triggering": ("count",),
    "clock_skew": ("skew_ms",),
    "restart": ("down_ms",),
    "funding": ("rate",),
    "liquidation": (),
}
NAMES = tuple(_PARAMETERS)

_NEEDED = {
    "unknown_code": "code",
    "refuse_code": "code",
    "slow": "delay_ms",
    "clock_skew": "skew_ms",
    "funding": "rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Faults in the order of their beginnings, perhaps without end."""

    seed: int
    identity: str
    """Two schedules of one identity are the same one."""
    make: Callable[[], Iterable[Fault]]
    """Return the faults from the first one on."""


def read_schedule(content: bytes, name: str) -> Schedule:
    """Return the schedule of a JSON file called `name`; ConfigError says what is wrong with it."""
    try:
        body = msgspec.json.decode(content)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{name}: not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("faults"), list):
        raise ConfigError(f'{name}: a fault schedule is {{"seed": N, "faults": [...]}}')
    seed = body.get("seed", 1)
    if not _is_whole(seed) or seed < 0:
        raise ConfigError(f"{name}: its seed must be a whole number from 0 on")
    faults = [_fault(entry, f"{name}: fault {n}") for n, entry in enumerate(body["faults"], 1)]
    if len({fault.id for fault in faults}) < len(faults):
        raise ConfigError(f"{name}: two faults have the same id")
    faults.sort(key=lambda fault: (fault.at_ms, fault.id))
    identity = hashlib.sha256(msgspec.json.encode([seed, faults])).hexdigest()[:16]
    return Schedule(seed=seed, identity=identity, make=lambda: faults)


def _fault(entry: Any, where: str) -> Fault:
    name = entry.get("name") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or name not in NAMES:
        raise ConfigError(f"{where}: no fault is called {name!r}; use one of {' '.join(NAMES)}")
    allowed = {"id", "name", "at_ms", "for_ms", *_PARAMETERS[name]}
    strange = sorted(entry.keys() - allowed)
    if strange:
        raise ConfigError(
            f"{where}: {name} takes no {strange[0]}; use {', '.join(sorted(allowed))}"
        )
    for key in ("id", "at_ms", *filter(None, [_NEEDED.get(name)])):
        if key not in entry:
            raise ConfigError(f"{where}: {name} needs {key}")
    for key, value in entry.items():
        problem = None if key == "name" else _problem(name, key, value)
        if problem:
            raise ConfigError(f"{where}: {key} {problem}, not {value!r}")
    if name in INSTANT and entry.get("for_ms"):
        raise ConfigError(f"{where}: {name} is a matter of a moment and takes no for_ms")
    return Fault(**entry)


def _problem(name: str, key: str, value: Any) -> str | None:
    """Return why a fault's value cannot be, None where it can."""
    match key:
        case "on":
            return None if value in KINDS else f"must be one of {' '.join(KINDS)}"
        case "executed" | "after" | "market" | "dry":
            return None if isinstance(value, bool) else "must be true or false"
        case "code" if name == "unknown_code":
            return None if value in _UNKNOWN_CODES else "must be -1006 or -1007"
        case "code":
            return (
                None if _is_whole(value) and has_text(value) else "must be a code of the exchange"
            )
        case "rate":
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return None if is_number and abs(value) < 1 else "must be a fraction such as 0.0001"
        case "parts":
            is_fine = _is_whole(value) and 1 <= value <= _MOST_PARTS
            return None if is_fine else f"must be from 1 to {_MOST_PARTS}"
        case "skew_ms":
            is_fine = _is_whole(value) and abs(value) <= _LONGEST_MS
            return None if is_fine else "must be a whole number of ms"
        case "count" | "id":
            return None if _is_whole(value) and value >= 1 else "must be a whole number from 1 on"
    is_fine = _is_whole(value) and 0 <= value <= _LONGEST_MS
    return None if is_fine else "must be a whole number of ms from 0 on"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# --- profiles -------------------------------------------------------------------------------------

_LOSSY = ("answer_lost", "request_lost", "unknown_503", "unknown_code", "unavailable_503",
          "refuse_code")  # fmt: skip
_STREAMS = ("ws_silence", "ws_drop", "ws_duplicate", "ws_reorder")
_PARTIAL = ("partial_fill", "invisible", "stuck_triggering")
_OTHERS = ("clock_skew", "restart", "funding", "liquidation")
_LIMITS = tuple(sorted(LIMITS))

PROFILES: dict[str, tuple[str, ...]] = {
    "none": (),
    "lossy": _LOSSY,
    "slow": ("slow",),
    "limits": _LIMITS,
    "streams": _STREAMS,
    "partial": _PARTIAL,
    "all": (*_LOSSY, "slow", *_LIMITS, *_STREAMS, *_PARTIAL, *_OTHERS),
}
"""Names of profiles, each with the faults that it is made of."""

_FIRST_MS = 1_000
_SHORTEST_GAP_MS, _LONGEST_GAP_MS = 200, 3_000
_SHORTEST_MS, _LONGEST_WINDOW_MS = 200, 2_000
_RARE = frozenset({"restart", "liquidation", "banned_418"})
_RARE_SHARE = 0.25
"""Faults that end a whole run's plans come a quarter as often as the others."""
_ORDER_CODES = (-1008, -1015, -2010, -2019, -2022, -2027, -4131, -4164, -4509)


def profile(name: str, seed: int) -> Schedule:
    """Return the endless schedule of a profile; the same seed gives the same one."""
    return Schedule(
        seed=seed,
        identity=f"{name}-{seed}",
        make=lambda: _endless(PROFILES[name], seed),
    )


def _endless(names: tuple[str, ...], seed: int) -> Iterator[Fault]:
    if not names:
        return
    rng = np.random.default_rng(seed)
    at_ms, number = _FIRST_MS, 0
    while True:
        name = names[int(rng.integers(len(names)))]
        if name in _RARE and rng.random() >= _RARE_SHARE and len(names) > len(_LIMITS):
            continue
        number += 1
        at_ms += int(rng.integers(_SHORTEST_GAP_MS, _LONGEST_GAP_MS))
        yield _drawn(rng, name, number, at_ms)


def _drawn(rng: np.random.Generator, name: str, number: int, at_ms: int) -> Fault:
    window_ms = int(rng.integers(_SHORTEST_MS, _LONGEST_WINDOW_MS))
    is_yes = bool(rng.integers(2))
    on = KINDS[int(rng.integers(len(KINDS)))]
    parameters: dict[str, Any] = {
        "on": on,
        "executed": is_yes,
        "after": is_yes,
        "market": is_yes,
        "dry": int(rng.integers(4)) == 0,
        "parts": int(rng.integers(2, 5)),
        "pause_ms": int(rng.integers(50, 600)),
        "delay_ms": int(rng.integers(50, 1_500)),
        "skew_ms": int(rng.integers(-8_000, 8_000)),
        "down_ms": int(rng.integers(100, 1_500)),
        "rate": float(rng.integers(-30, 31)) / 10_000,
    }
    codes = _UNKNOWN_CODES if name == "unknown_code" else _ORDER_CODES
    parameters["code"] = codes[int(rng.integers(len(codes)))]
    if name == "refuse_code" and on not in ("entry", "stop", "target", "close"):
        parameters["on"] = "entry"
    chosen = {key: parameters[key] for key in _PARAMETERS[name] if key in parameters}
    for_ms = 0 if name in INSTANT else window_ms
    return Fault(id=number, name=name, at_ms=at_ms, for_ms=for_ms, **chosen)
