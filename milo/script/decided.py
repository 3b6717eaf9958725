"""What the engine takes from a worker's answers about many candles (layer 1, the engine's side).

The schema has bounded an answer; here its places must lie where they were asked for and follow one
another, its codes must exist, and each action is read by the grammar, as single answers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from milo.backtest.decisions import Decisions, Proof
from milo.clock import iso_minute
from milo.errors import ScriptError
from milo.script.actions import DO_NOTHING
from milo.script.answers import Forged, checked_action
from milo.script.failures import Failures
from milo.script.limits import MAX_MESSAGE, MAX_WARNINGS, ScriptLimits
from milo.script.protocol import FAILED, AskedWays, Decided, DecideRequest, Fault, WireAction
from milo.script.results import Results
from milo.script.text import clean_line


@dataclass(frozen=True, slots=True)
class Runs:
    """One checked answer: from candle `at[k]` up to `at[k + 1]`, or `until`, `code[k]` applies."""

    at: NDArray[np.int64]
    code: NDArray[np.int64]
    until: int


def checked_runs(reply: Decided, asked: DecideRequest) -> Runs:
    """Return where an answer's actions change; raises Forged where it cannot be one of ours."""
    span = reply.until - asked.first
    if not 0 <= span <= asked.stop - asked.first:
        raise Forged("candles that nobody asked for")
    if reply.breach is not None and reply.until == asked.stop:
        raise Forged("a breach behind the last candle")
    if not span and reply.breach is None and not reply.differing:
        raise Forged("no progress")
    if len(reply.at) % 4 or len(reply.code) * 2 != len(reply.at):
        raise Forged("places that are not whole")
    at = np.frombuffer(reply.at, dtype="<u4").astype(np.int64)
    code = np.frombuffer(reply.code, dtype="<u2").astype(np.int64)
    if bool(len(at)) != bool(span) or (span and (at[0] != 0 or at[-1] >= span)):
        raise Forged("places outside of the candles")
    if (np.diff(at) <= 0).any() or (np.diff(code) == 0).any():
        raise Forged("places that do not follow one another")
    if len(code) and code.max() > len(reply.actions):
        raise Forged("an action that is not in its table")
    if len(set(reply.actions)) != len(reply.actions):
        raise Forged("an action that is told twice")
    _check_errors(reply, at, code, span)
    _check_proof(reply, asked, span)
    return Runs(at + asked.first, code, reply.until)


def _check_errors(
    reply: Decided, at: NDArray[np.int64], code: NDArray[np.int64], span: int
) -> None:
    places = [error.at for error in reply.errors]
    if any(later <= earlier for earlier, later in pairwise(places)):
        raise Forged("errors that do not follow one another")
    for place in places:
        if place >= span or code[np.searchsorted(at, place, side="right") - 1] != FAILED:
            raise Forged("an error where there is none")


def _check_proof(reply: Decided, asked: DecideRequest, span: int) -> None:
    if not reply.differing <= reply.checked <= asked.stop - asked.first:
        raise Forged("more comparisons than candles")
    if reply.doubtful > asked.stop - asked.first:
        raise Forged("more doubts than candles")
    is_arrays = reply.is_lifted or reply.checked or reply.doubtful
    if is_arrays and AskedWays.ARRAYS not in asked.ways:
        raise Forged("arrays that nobody asked for")


class Merger:
    """Puts the answers about one stretch of candles together, and applies the halting rule."""

    def __init__(self, first: int, stop: int, open_ms: NDArray[np.int64], results: Results) -> None:
        """Take the stretch, `first` <= index < `stop`, the times of all candles, and what makes
        errors."""
        self.first = first
        self.stop = stop
        self._open_ms = open_ms
        self._results = results
        self._note = ""
        self._checked = self._differing = 0
        self.restart()

    def restart(self) -> None:
        """Forget all answers: arrays that differ are worth nothing."""
        self.next = self.first
        """The candle from which on nothing is decided yet."""
        self._failures = Failures(self._open_ms)
        self._at: list[NDArray[np.int64]] = []
        self._code: list[NDArray[np.int64]] = []
        self._actions: dict[str, int] = {DO_NOTHING: 0}
        self._warnings: dict[str, None] = {}
        self._prints: tuple[str, ...] = ()
        self._is_lifted = False
        self._doubtful = 0
        self._proved = 0

    @property
    def halted_at(self) -> int | None:
        """The candle after whose failure the script is not run again."""
        return self._failures.halted_at

    @property
    def has_differed(self) -> bool:
        return self._differing > 0

    @property
    def is_done(self) -> bool:
        return self.halted_at is not None or self.next >= self.stop

    def take(self, reply: Decided, asked: DecideRequest) -> None:
        """Take an answer in; raises Forged where it is none."""
        runs = checked_runs(reply, asked)
        if reply.differing:
            self._checked, self._differing = self._proved + reply.checked, reply.differing
            self._note = clean_line(reply.note, MAX_MESSAGE) or "arrays differed"
            self.restart()
            return
        self._is_lifted |= reply.is_lifted
        self._doubtful += reply.doubtful
        self._proved += reply.checked
        if not reply.is_lifted and not self._note:
            self._note = clean_line(reply.note, MAX_MESSAGE)
        for text in reply.warnings[:MAX_WARNINGS]:
            if len(self._warnings) < MAX_WARNINGS:
                self._warnings[clean_line(text, MAX_MESSAGE)] = None
        codes, wrong = self._codes_of(reply.actions)
        self._apply_failures(reply, runs, wrong)
        self._prints, _ = self._results.prints(reply.printed, reply.dropped_bytes)
        end = runs.until if self.halted_at is None else self.halted_at + 1
        keep = runs.at < end
        self._at.append(runs.at[keep])
        self._code.append(codes[runs.code[keep]])
        self.next = end

    def failed(self, error: ScriptError) -> None:
        """Note that the next candle's evaluation failed as a whole: a budget, or the worker."""
        self._at.append(np.array([self.next]))
        self._code.append(np.array([0]))
        self._failures.failed(self.next, error)
        self.next += 1

    def decisions(self) -> Decisions:
        """Return what has been decided; nothing is done from the halt on."""
        at, code = np.concatenate([*self._at, []]), np.concatenate([*self._code, []])
        if self.next < self.stop:
            at, code = np.append(at, self.next), np.append(code, 0)
        is_change = np.ones(len(at), dtype=bool)
        is_change[1:] = np.diff(code) != 0
        return Decisions(
            first=self.first,
            count=self.stop - self.first,
            at=at[is_change].astype(np.int64),
            code=code[is_change].astype(np.int32),
            actions=tuple(self._actions),
            proof=Proof(
                is_lifted=self._is_lifted,
                checked=self._checked + self._proved,
                differing=self._differing,
                doubtful=self._doubtful,
                note="" if self._is_lifted else self._note,
            ),
            errors=tuple(self._failures.told),
            error_count=self._failures.count,
            halted_at=self.halted_at,
            warnings=tuple(self._warnings),
            prints=self._prints,
        )

    def _codes_of(
        self, actions: tuple[WireAction, ...]
    ) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Return our code of each code of an answer, and what is wrong with those that are no
        actions."""
        codes = np.zeros(len(actions) + 1, dtype=np.int64)
        wrong = {}
        for number, action in enumerate(actions, 1):
            try:
                text = checked_action(action.text)
            except ValueError as error:
                wrong[number] = str(error)
                continue
            codes[number] = self._actions.setdefault(text, len(self._actions))
        return codes, wrong

    def _apply_failures(self, reply: Decided, runs: Runs, wrong: dict[int, str]) -> None:
        """Follow the halting rule from run to run."""
        # Not by numpy's isin, which loads a whole package at its first call.
        fails = np.zeros(len(reply.actions) + 1, dtype=bool)
        fails[[FAILED, *wrong]] = True
        is_failure = fails[runs.code]
        if not is_failure.any():
            self._failures.succeeded()
            return
        told = {error.at + self.next: error for error in reply.errors}
        ends = np.append(runs.at[1:], runs.until)
        for start, end, code, is_failed in zip(
            runs.at.tolist(), ends.tolist(), runs.code.tolist(), is_failure.tolist(), strict=True
        ):
            if not is_failed:
                self._failures.succeeded()
                continue
            for index in range(start, end):
                error = None
                if not self._failures.wants_words:
                    pass
                elif code in wrong:
                    action = reply.actions[code - 1]
                    error = self._results.wrong_action(self._time(index), action, wrong[code])
                elif (found := told.get(index)) is not None:
                    message = clean_line(found.message, MAX_MESSAGE)
                    place = (found.line, found.column, found.end_column)
                    error = self._results.error(message, self._time(index), place)
                self._failures.failed(index, error)
                if self.halted_at is not None:
                    return

    def _time(self, index: int) -> str:
        return iso_minute(int(self._open_ms[index]))


def breach_of(reply: Decided) -> Fault | None:
    """Return the budget that the candle behind an answer has overrun."""
    breach = reply.breach
    if breach is None:
        return None
    return Fault(request=reply.request, kind=breach.kind, message="", line=breach.line)


class Pace:
    """How many candles a worker may decide before it answers.

    Where one had to be killed, the candle that it was at is not known: it is sought again among
    fewer candles, and one by one at last.
    """

    def __init__(self, limits: ScriptLimits) -> None:
        self._limits = limits
        self._step = 0
        self._left_ms = 0.0

    @property
    def is_slow(self) -> bool:
        return self._step > 0

    @property
    def slice_ms(self) -> int:
        """CPU ms after which the answer is due; 0 for a single candle."""
        return 0 if self._step == len(_FEW) else self._limits.slice_ms

    def stop(self, next: int, stop: int) -> int:
        """Return the candle behind the last that is asked for now."""
        few = (stop, *_FEW)[self._step]
        return min(stop, next + few)

    def used(self, cpu_ms: float) -> None:
        """Note an answer; what is not found within the time of a slice or two will not be."""
        self._left_ms -= cpu_ms
        if self._left_ms <= 0:
            self._step = 0

    def slow_down(self) -> bool:
        """Note that a worker was killed; False where the candle is known."""
        if self._step < len(_FEW):
            self._step += 1
            self._left_ms = 2.0 * self._limits.slice_ms
            return True
        self._step = 0
        return False


_FEW: Final = (256, 1)
