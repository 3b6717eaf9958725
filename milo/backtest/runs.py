"""A script's actions as runs of equal ones, and the next candle at which one matters (layer 1)."""

from __future__ import annotations

from array import array
from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from milo.backtest.decisions import Decisions
from milo.model import Direction, EntryIntent, Intent
from milo.script.actions import parse_action

_LONG, _SHORT, _EXIT = range(3)
_MATTERS = {
    None: (_LONG, _SHORT),
    Direction.LONG: (_SHORT, _EXIT),
    Direction.SHORT: (_LONG, _EXIT),
}
"""Which kinds of actions can change anything while that side (None: nothing) is held."""


class ActionRuns:
    """The runs of one script's actions: which action applies at which candle."""

    def __init__(self, decisions: Decisions) -> None:
        self.actions = decisions.actions
        names = {action: number for number, action in reversed([*enumerate(self.actions)])}
        plain: NDArray[np.int64] = np.array([names[action] for action in self.actions])[
            decisions.code
        ]
        is_new = np.ones(len(plain), np.bool_)
        is_new[1:] = plain[1:] != plain[:-1]
        self._codes: NDArray[np.int64] = plain[is_new]
        self._starts = decisions.at[is_new]
        self._ends: NDArray[np.int64] = np.append(
            self._starts[1:], decisions.first + decisions.count
        )
        first_letters = [action.lstrip()[:1].lower() for action in self.actions]
        kinds = np.array(["lsc".find(letter) for letter in first_letters], np.int8)
        self._kinds = kinds[self._codes]
        self._relevant: dict[Direction | None, Relevant] = {}
        self._intents: dict[int, Intent | None] = {}

    def relevant(self, held: Direction | None) -> Relevant:
        """Return the runs that may change anything while that side (None: nothing) is held.

        A flat account waits for an entry; a position for an exit or for an opposite entry.
        """
        if held not in self._relevant:
            one, other = _MATTERS[held]
            runs = np.flatnonzero((self._kinds == one) | (self._kinds == other))
            self._relevant[held] = Relevant(runs, self._starts[runs], self._ends[runs])
        return self._relevant[held]

    def next(self, index: int, held: Direction | None) -> tuple[int, int] | None:
        """Return (candle, run) of the first action at or after `index` that may change anything."""
        return self.relevant(held).next(index)

    def end(self, run: int) -> int:
        """Return the candle after the run's last."""
        end: int = self._ends.item(run)
        return end

    def codes(self, runs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each run's action: the same for equal texts."""
        codes: NDArray[np.int64] = self._codes[runs]
        return codes

    def action(self, run: int) -> str:
        code: int = self._codes.item(run)
        return self.actions[code]

    def intent(self, run: int) -> Intent | None:
        """Return what the run's action asks for; ValueError where it is no action."""
        return self.intent_of(self._codes.item(run))

    def intent_of(self, code: int) -> Intent | None:
        """Return what the action of that number asks for; ValueError where it is no action.

        A script can have as many actions as candles: only those that come into play are read.
        """
        if code not in self._intents:
            self._intents[code] = parse_action(self.actions[code])
        return self._intents[code]


class Relevant:
    """The runs that matter in one state of the position, ascending; columns of one length."""

    def __init__(
        self, runs: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> None:
        self.runs = runs
        self.starts = starts
        self.ends = ends
        # Searched item by item, where an array of numpy would make an object of each at a high
        # price. The next place that is asked for lies mostly beside the last one.
        self._ends = array("q", ends.tobytes())
        self._place = 0

    def place(self, index: int) -> int:
        """Return the place of the first run that is not over before `index`."""
        ends, place = self._ends, self._place
        if place and ends[place - 1] > index:
            place = 0
        if place < len(ends) and ends[place] <= index:
            place = bisect_right(ends, index, place + 1)
        self._place = place
        return place

    def candles(
        self, place: int, most: int, runs: ActionRuns
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the candles of the runs from a place on, with the code and the place of each.

        Whole runs only, together of at most `most` candles; none where the first one is longer.
        """
        stop = place + most
        starts, ends = self.starts[place:stop], self.ends[place:stop]
        totals = np.cumsum(ends - starts)
        count = int(np.searchsorted(totals, most, side="right"))
        lengths = (ends - starts)[:count]
        places = np.repeat(np.arange(place, place + count), lengths)
        shifts = np.repeat(starts[:count] - (totals[:count] - lengths), lengths)
        return np.arange(len(places)) + shifts, runs.codes(self.runs[places]), places

    def next(self, index: int) -> tuple[int, int] | None:
        """Return (candle, run) of the first run at or after `index`."""
        place = self.place(index)
        if place == len(self._ends):
            return None
        return max(index, self.starts.item(place)), self.runs.item(place)


def is_relevant(intent: Intent | None, held: Direction | None) -> bool:
    """Return whether an action can change anything while that side (None: nothing) is held."""
    if isinstance(intent, EntryIntent):
        return intent.direction is not held
    return intent is not None and held is not None
