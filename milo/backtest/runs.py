"""A script's actions as runs of equal ones, and the next candle at which one matters (layer 1)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from milo.backtest.decisions import Decisions
from milo.model import Direction, EntryIntent, Intent
from milo.script.actions import parse_action


@dataclass(slots=True)
class _Relevant:
    """Runs that matter in one state of the position: [start, end) of each, ascending."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class ActionRuns:
    """The runs of one script's actions: which action applies at which candle."""

    def __init__(self, decisions: Decisions) -> None:
        self.actions = decisions.actions
        names = {action: number for number, action in reversed([*enumerate(self.actions)])}
        plain = np.array([names[action] for action in self.actions])[decisions.code]
        is_new = np.ones(len(plain), np.bool_)
        is_new[1:] = plain[1:] != plain[:-1]
        starts = decisions.at[is_new]
        codes = plain[is_new]
        ends = np.append(starts[1:], decisions.first + decisions.count)
        first_letters = [action.lstrip()[:1].lower() for action in self.actions]
        kinds = np.array(["lsc".find(letter) for letter in first_letters], np.int8)[codes]
        self._codes: list[int] = codes.tolist()
        self._ends: list[int] = ends.tolist()
        self._intents: dict[int, Intent | None] = {}
        is_long, is_short, is_exit = (kinds == kind for kind in range(3))
        self._flat = _relevant(starts, ends, is_long | is_short)
        self._held = {
            Direction.LONG: _relevant(starts, ends, is_short | is_exit),
            Direction.SHORT: _relevant(starts, ends, is_long | is_exit),
        }

    def next(self, index: int, held: Direction | None) -> tuple[int, int] | None:
        """Return (candle, run) of the first action at or after `index` that may change anything.

        A flat account waits for an entry; a position for an exit or for an opposite entry.
        """
        relevant = self._flat if held is None else self._held[held]
        place = bisect_right(relevant.ends, index)
        if place == len(relevant.ends):
            return None
        return max(index, relevant.starts[place]), relevant.numbers[place]

    def end(self, run: int) -> int:
        """Return the candle after the run's last."""
        return self._ends[run]

    def action(self, run: int) -> str:
        return self.actions[self._codes[run]]

    def intent(self, run: int) -> Intent | None:
        """Return what the run's action asks for; ValueError where it is no action.

        A script can have as many actions as candles: only those that come into play are read.
        """
        code = self._codes[run]
        if code not in self._intents:
            self._intents[code] = parse_action(self.actions[code])
        return self._intents[code]


def is_relevant(intent: Intent | None, held: Direction | None) -> bool:
    """Return whether an action can change anything while that side (None: nothing) is held."""
    if isinstance(intent, EntryIntent):
        return intent.direction is not held
    return intent is not None and held is not None


def _relevant(
    starts: NDArray[np.int64], ends: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> _Relevant:
    return _Relevant(
        starts[wanted].tolist(), ends[wanted].tolist(), np.flatnonzero(wanted).tolist()
    )
