"""What a script decided on many candles, without the candles at which nothing changed (layer 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from milo.script.actions import DO_NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionError:
    """A candle on which the script failed: no order is sent for it."""

    index: int
    """The candle's place in the history, as everywhere here."""
    line: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How the decisions came about, and what was compared to show that they are the script's own.

    `checked` of the candles were decided again one by one, `differing` of them otherwise: then
    the arrays were not used, and `note` says so.
    """

    is_lifted: bool
    checked: int
    differing: int
    doubtful: int = 0
    """Candles that arrays could not decide (an error, say): decided one by one."""
    note: str = ""
    """Why the script was not lifted, with its line; empty where it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """One script's actions on the candles `first` <= index < `first + count` of its history.

    The action that applies from candle `at[k]` up to the one before `at[k + 1]` is
    `actions[code[k]]`; `at` is strictly increasing, int64, and begins with `first`. `actions[0]` is
    "donothing", which also stands for candles with an error and for those after a halt. The texts
    follow the action grammar (`milo.script.actions.parse_action` accepts each).
    """

    first: int
    count: int
    at: NDArray[np.int64]
    code: NDArray[np.int32]
    actions: tuple[str, ...]
    proof: Proof
    errors: tuple[DecisionError, ...] = ()
    """The first ones; `error_count` counts all."""
    error_count: int = 0
    halted_at: int | None = None
    """The candle after whose failure the script was not run again."""
    warnings: tuple[str, ...] = ()
    prints: tuple[str, ...] = ()
    """The lines that it printed on the last candle; those of others come from `evaluate`."""

    def action_at(self, index: int) -> str:
        """Return the action of one candle; "donothing" outside of what was decided."""
        if not self.first <= index < self.first + self.count:
            return DO_NOTHING
        place = int(np.searchsorted(self.at, index, side="right")) - 1
        return self.actions[int(self.code[place])]

    def within(self, first: int, end: int) -> Decisions:
        """Return what was decided on the candles first <= index < end.

        Raises ValueError where they are not among those that were decided.
        """
        if not self.first <= first < end <= self.first + self.count:
            raise ValueError(f"candles {first} to {end} were not decided")
        start = int(np.searchsorted(self.at, first, side="right")) - 1
        stop = int(np.searchsorted(self.at, end, side="left"))
        at = self.at[start:stop].copy()
        at[0] = first
        return replace(self, first=first, count=end - first, at=at, code=self.code[start:stop])

    def signal_spans(self) -> Iterator[tuple[int, int]]:
        """Yield [first, end) of each run of candles whose action is not "donothing"."""
        ends = [*self.at[1:].tolist(), self.first + self.count]
        for start, end, code in zip(self.at.tolist(), ends, self.code.tolist(), strict=True):
            if self.actions[code] != DO_NOTHING:
                yield start, end
