"""The worker's answers about many candles: one by one, or over arrays (layer 1, for the worker).

Arrays are believed only as far as they are compared: each candle with a signal, each that arrays
could not decide, and a sample of the others are decided one by one as well.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from milo.script.actions import DO_NOTHING
from milo.script.batch import Record
from milo.script.faults import ScriptFault
from milo.script.language import CheckedScript
from milo.script.lift import UNKNOWN, Lifted, NotLiftable, plan_lift
from milo.script.limits import MAX_CHANGES, MAX_MESSAGE
from milo.script.protocol import (
    FAILED,
    AskedWays,
    Decided,
    DecideRequest,
    WireAction,
    WireBreach,
    WireError,
)
from milo.script.runner import BudgetFault, ScriptRunner
from milo.script.text import clean_line
from milo.script.views import CandleBase

_SAMPLE_STEP: Final = 997
_SAMPLE_START: Final = 200
_MOST_COMPARED: Final = MAX_CHANGES // 2 - 2
"""In one answer: each may change the action twice."""

Bools = NDArray[np.bool_]


class Decider:
    """Decides many candles of one script; keeps what arrays gave for all of them."""

    def __init__(self, runner: ScriptRunner, script: CheckedScript) -> None:
        """Take the script, loaded and as it was checked."""
        self._runner = runner
        self._script: CheckedScript | None = script
        """None once it is known that arrays are of no use."""
        self._note = ""
        self._arrays: _Arrays | None = None

    def decided(self, base: CandleBase, asked: DecideRequest) -> Decided:
        """Decide until the time, the answer's room or the candles are at an end."""
        record = Record(asked.first)
        arrays = self._arrays_of(base, asked) if AskedWays.ARRAYS in asked.ways else None
        if arrays is None:
            return self._by_itself(base, asked, record)
        return self._compared(base, asked, record, arrays)

    def _arrays_of(self, base: CandleBase, asked: DecideRequest) -> _Arrays | None:
        known = self._arrays
        if known is not None and known.base is base and asked.first >= known.first:
            return known
        if self._script is None:
            return None
        try:
            plan = plan_lift(self._script)
            lifted = plan.run(base, asked.first, self._runner.session.inputs)
            self._arrays = _Arrays(base, asked, lifted)
        except NotLiftable as reason:
            where = "" if reason.line is None else f"line {reason.line}: "
            self._drop(f"{where}{reason.message}")
        except MemoryError:
            self._drop("arrays over all candles need more memory than there is")
        return self._arrays

    def _drop(self, note: str) -> None:
        self._script = self._arrays = None
        self._note = note

    def _by_itself(self, base: CandleBase, asked: DecideRequest, record: Record) -> Decided:
        run = _Run(self._runner, base, asked)
        run.over(range(asked.first, asked.stop), record)
        until = run.done or asked.first
        record.cut(until)
        return self._answer(asked, record, run, until=until)

    def _compared(
        self, base: CandleBase, asked: DecideRequest, record: Record, arrays: _Arrays
    ) -> Decided:
        start, stop = asked.first - arrays.first, asked.stop - arrays.first
        begin, end = np.searchsorted(arrays.must, (start, stop))
        places = arrays.must[begin : min(end, begin + _MOST_COMPARED)]
        if end - begin > _MOST_COMPARED:
            stop = int(arrays.must[begin + _MOST_COMPARED])
        compared = _Compared(record, arrays, places)
        run = _Run(self._runner, base, asked)
        run.over((places + arrays.first).tolist(), compared)
        count = compared.count_until(run.done)
        if run.breach is not None or count < len(places):
            # Up to the one that was not decided any more, or that overran its budget.
            stop = int(places[count])
        until = arrays.first + stop
        if compared.differing:
            self._drop(
                f"arrays gave something else on {compared.differing} candles than the script"
                f" itself, first on candle {compared.first_differing}"
            )
            return self._answer(
                asked, Record(asked.first), run, until=asked.first,
                checked=compared.checked, differing=compared.differing,
            )  # fmt: skip
        codes = arrays.codes(record, start, stop)
        codes[places[:count] - start] = compared.codes[:count]
        changes = np.flatnonzero(np.diff(codes, prepend=-1))
        record.at, record.code = changes.tolist(), codes[changes].tolist()
        return self._answer(
            asked, record, run, until=until, is_lifted=True, checked=compared.checked,
            doubtful=int(arrays.doubtful[start:stop].sum()),
        )  # fmt: skip

    def _answer(
        self, asked: DecideRequest, record: Record, run: _Run, *, until: int,
        is_lifted: bool = False, checked: int = 0, differing: int = 0, doubtful: int = 0,
    ) -> Decided:  # fmt: skip
        at, code = record.packed()
        breach = run.breach if not differing else None
        return Decided(
            request=asked.request,
            until=until,
            at=at,
            code=code,
            actions=tuple(
                WireAction(text=text, is_true=is_true) for text, is_true in record.actions
            ),
            errors=tuple(_error(place, error) for place, error in record.errors),
            breach=breach and WireBreach(kind=breach.kind, line=breach.line),  # type: ignore[arg-type]
            warnings=self._runner.warnings(),
            printed=run.printed,
            dropped_bytes=run.dropped_bytes,
            is_lifted=is_lifted,
            checked=checked,
            differing=differing,
            doubtful=doubtful,
            note=clean_line(self._note, MAX_MESSAGE),
        )


class _Run:
    """One request's time on the runner: candles that nobody looks at, then the last one."""

    def __init__(self, runner: ScriptRunner, base: CandleBase, asked: DecideRequest) -> None:
        self._runner = runner
        self._base = base
        self._shown = asked.stop - 1 if AskedWays.SHOW_LAST in asked.ways else -1
        self.done = 0
        """The count of candles up to the last one decided; 0 where there is none."""
        self.breach: BudgetFault | None = None
        self.printed = ""
        self.dropped_bytes = 0

    def over(self, indices: range | list[int], taker: Record | _Compared) -> None:
        """Decide candles, in ascending order."""
        is_shown = bool(indices) and indices[-1] == self._shown
        quiet = indices[:-1] if is_shown else indices
        if quiet:
            counts = [index + 1 for index in quiet] if isinstance(quiet, list) else _next(quiet)
            self.done, self.breach = self._runner.decide(self._base, counts, taker, is_quiet=True)
            if self.done <= quiet[-1] or taker.is_full:
                return
        if is_shown:
            counts = range(self._shown + 1, self._shown + 2)
            done, self.breach = self._runner.decide(self._base, counts, taker, is_quiet=False)
            self.done = done or self.done
            session = self._runner.session
            self.printed = "".join(session.printed)
            self.dropped_bytes = session.dropped_bytes


def _next(indices: range) -> range:
    return range(indices.start + 1, indices.stop + 1)


class _Arrays:
    """What arrays gave, and on which candles the script itself is asked as well."""

    def __init__(self, base: CandleBase, asked: DecideRequest, lifted: Lifted) -> None:
        self.base = base
        self.first = asked.first
        self.condition, self.doubtful = lifted.condition, lifted.doubtful
        self.texts = (*lifted.texts, lifted.if_true, lifted.if_false, DO_NOTHING)
        count = len(lifted.texts)
        if_true = _codes(lifted.if_true, lifted.true_code, count)
        if_false = _codes(lifted.if_false, lifted.false_code, count + 1)
        self.said = np.where(self.condition, if_true, if_false)
        """The place of each candle's action in `texts`; UNKNOWN where arrays do not tell."""
        if AskedWays.PROVE_ALL in asked.ways:
            self.must = np.arange(len(self.condition))
            """The places of candles on which the script itself is asked."""
            return
        must = self.doubtful.copy()
        nothing = count + 2
        for code, text in enumerate(self.texts):
            if text == DO_NOTHING:
                self.said[self.said == code] = nothing
        if AskedWays.PROVE_CHANGES in asked.ways:
            # Where one begins and where it ends: the candles that orders come from.
            kind = np.where(self.said == nothing, -1, 2 * self.said + self.condition)
            changes = np.flatnonzero(np.diff(kind))
            is_edge = np.zeros(len(kind), dtype=bool)
            is_edge[changes] = is_edge[changes + 1] = True
            must |= (is_edge & (self.said != nothing)) | (self.said == UNKNOWN)
        else:
            must |= self.said != nothing
        must[:_SAMPLE_START] = True
        must[-asked.first % _SAMPLE_STEP :: _SAMPLE_STEP] = True
        must[asked.stop - 1 - asked.first] = True
        self.must = np.flatnonzero(must)

    def codes(self, record: Record, start: int, stop: int) -> NDArray[np.int64]:
        """Return the record's code of what arrays say on each of these places."""
        said, condition = self.said[start:stop], self.condition[start:stop]
        codes = np.full(stop - start, record.code_of(DO_NOTHING, False))
        for code, text in enumerate(self.texts):
            if text is None or text == DO_NOTHING:
                continue
            is_said = said == code
            for is_true in (True, False):
                here = is_said & (condition == is_true)
                if here.any():
                    codes[here] = record.code_of(text, is_true)
        return codes


def _codes(
    text: str | None, codes: NDArray[np.int32] | None, code: int
) -> NDArray[np.int32] | np.int32:
    """Return each candle's code of an action, or the one for all."""
    if codes is not None:
        return codes
    return np.int32(UNKNOWN if text is None else code)


class _Compared:
    """Takes what the script itself gives, and compares it with arrays."""

    wants_each = True

    def __init__(self, record: Record, arrays: _Arrays, places: NDArray[np.intp]) -> None:
        """Take the places of the candles that will come, in their order."""
        self._record = record
        self._indices: list[int] = []
        # Lists: an item of an array costs several times as much.
        self._doubtful: list[bool] = arrays.doubtful[places].tolist()
        self._conditions: list[bool] = arrays.condition[places].tolist()
        self._said: list[int] = arrays.said[places].tolist()
        self._texts = arrays.texts
        self._last: tuple[str | None, bool] = (None, False)
        self._last_code = 0
        self._is_full = False
        self.codes: list[int] = []
        self.checked = 0
        self.differing = 0
        self.first_differing = 0

    @property
    def wants_words(self) -> bool:
        return self._record.wants_words

    @property
    def is_full(self) -> bool:
        return self._record.is_full

    def took(self, index: int, condition: bool, text: str) -> bool:
        place = len(self.codes)
        if not self._doubtful[place]:
            said = self._said[place]
            is_same = self._conditions[place] is condition
            self._compare(index, is_same and (said == UNKNOWN or self._texts[said] == text))
        last_text, last_condition = self._last
        if text is not last_text or condition is not last_condition:
            # Nothing but another action fills the answer.
            self._last = (text, condition)
            self._last_code = self._record.code_of(text, condition)
            self._is_full = self._record.is_full
        self._indices.append(index)
        self.codes.append(self._last_code)
        return self._is_full

    def failed(self, index: int, fault: ScriptFault) -> bool:
        if not self._doubtful[len(self.codes)]:
            self._compare(index, False)
        self._indices.append(index)
        self.codes.append(FAILED)
        self._record.tell(index, fault)
        return self.is_full

    def count_until(self, done: int) -> int:
        """Return how many were decided; one that was taken may have overrun its budget yet."""
        return sum(index < done for index in self._indices[-2:]) + max(0, len(self._indices) - 2)

    def _compare(self, index: int, is_same: bool) -> None:
        self.checked += 1
        if not is_same:
            self.differing += 1
            if self.differing == 1:
                self.first_differing = index


def _error(place: int, fault: ScriptFault) -> WireError:
    return WireError(
        at=place,
        message=clean_line(fault.message, MAX_MESSAGE),
        line=fault.line,
        column=fault.column,
        end_column=fault.end_column,
    )
