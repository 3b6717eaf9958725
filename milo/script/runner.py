"""Runs one script: load it once, evaluate it for each candle (layer 1, used by the worker).

No process, no pipe, no clock here: what bounds evaluations from outside is passed in as `Bounds`.
One candle and many take the same way, so that they give the same.
"""

from __future__ import annotations

import builtins
import gc
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from types import CodeType, FunctionType, GeneratorType, TracebackType
from typing import Any, Final, Protocol

from milo.script.faults import ScriptFault, last_mention
from milo.script.language import CheckedScript, check
from milo.script.limits import MAX_ACTION, MAX_MESSAGE
from milo.script.names import (
    INDICATOR_NAMES,
    AwaitBudget,
    MarketNames,
    Session,
    script_builtins,
)
from milo.script.places import column_of
from milo.script.policy import veto
from milo.script.rewrite import compile_script
from milo.script.text import clean, clean_line
from milo.script.views import CandleBase
from milo.script.vocabulary import EXCEPTIONS
from milo.script.watch import Watch
from milo.script.watch_tree import LOOK


class TimeBudget(BaseException):
    """CPU time is used up; raised in the script from outside, no `except` of it catches it."""


class BudgetFault(ScriptFault):
    """A budget was overrun: `kind` is time, awaits or memory."""

    def __init__(self, kind: str, message: str, place: ScriptFault) -> None:
        super().__init__(message, line=place.line, column=place.column, end_column=place.end_column)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the script left behind."""

    condition: bool
    if_true: str
    if_false: str
    warnings: tuple[str, ...]


_MOST_COLLECTIONS: Final = 100
"""Each may run the end of generators, which may make others."""

_MISSING: Final = object()
_LOOK_DEPTH: Final = 20
_MOST_TEXTS: Final = 1024
Account = tuple[float, list[dict[str, Any]]]
NO_ACCOUNT: Final[Account] = (float("nan"), [])
"""For scripts that do not read it."""

_SCRIPT_ERRORS: Final = tuple(getattr(builtins, name) for name in sorted(EXCEPTIONS))
"""What a script can raise: whatever it can name."""


class Bounds(Protocol):
    """What bounds a run from outside; it may raise TimeBudget in the script at any moment."""

    is_fresh: bool
    """Set to True by the runner where the next candle begins."""
    is_over: bool
    """The time for many candles is over: no other is to be begun."""
    is_spent: bool
    """The time of the candle was spent, whatever became of the TimeBudget that said so."""

    def arm(self, *, is_many: bool) -> None:
        """Begin to count."""
        ...

    def disarm(self) -> None:
        """End it."""
        ...


class Unbounded:
    """For runs that nothing bounds from outside."""

    is_fresh = False
    is_over = False
    is_spent = False

    def arm(self, *, is_many: bool) -> None: ...

    def disarm(self) -> None: ...


class Taker(Protocol):
    """Who is told what each candle gave; says True where no other is to be decided."""

    @property
    def wants_each(self) -> bool:
        """Also where action and condition are the same objects as on the candle before."""
        ...

    @property
    def wants_words(self) -> bool:
        """Message and place of an error are worth their time."""
        ...

    def took(self, index: int, condition: bool, text: str) -> bool: ...

    def failed(self, index: int, fault: ScriptFault) -> bool: ...


class _Single:
    """For one evaluation: keeps its error."""

    wants_each = False
    wants_words = True

    def __init__(self) -> None:
        self.fault: ScriptFault | None = None

    def took(self, index: int, condition: bool, text: str) -> bool:
        return True

    def failed(self, index: int, fault: ScriptFault) -> bool:
        self.fault = fault
        return True


class ScriptRunner:
    """One script in one namespace of constants; every evaluation gets fresh variables."""

    def __init__(
        self,
        *,
        max_awaits: int,
        recursion: int,
        c_import: Callable[..., Any],
        bounds: Bounds | None = None,
    ) -> None:
        """Take what bounds evaluations."""
        self.session = Session(max_awaits)
        self._recursion = recursion
        self._bounds = bounds or Unbounded()
        self._builtins = script_builtins(self.session, c_import)
        self._script: CheckedScript | None = None
        self._code: CodeType | None = None
        self._lines: list[str] = []
        self._count = 0
        """Candles up to the one that is decided on, itself included."""
        self._answer = (False, "", "")
        self._is_unassigned = False
        self._watch: Watch | None = None
        self._texts: dict[str, str] = {}
        """Actions as they were written, and cleaned."""
        self._done = 0

    def load(self, name: str, raw: bytes) -> CheckedScript:
        """Check and compile a script's text; raises ScriptFault (Vetoed) where it is refused."""
        script = check(raw, INDICATOR_NAMES)
        veto(script.text)
        code, notes = compile_script(script.tree, f"<{name}>")
        self._script, self._code, self._lines = script, code, script.text.split("\n")
        self._watch = None
        return replace(script, warnings=(*script.warnings, *notes))

    def evaluate(
        self,
        base: CandleBase,
        closed_count: int,
        account: Account,
        *,
        count: int | None = None,
    ) -> Outcome:
        """Run the script on candles, the first `count` or all of them.

        The session then holds what it printed and drew.

        Raises ScriptFault at the script's line for its own errors, BudgetFault for budgets.
        """
        single = _Single()
        count = len(base) if count is None else count
        self.session.is_quiet = False
        names = self._names(base, account)
        fault = self._within_limits(
            self._each(names, range(count, count + 1), closed_count, single), is_many=False
        )
        fault = fault or single.fault
        if fault is not None:
            raise fault
        condition, if_true, if_false = self._answer
        return Outcome(
            condition=condition, if_true=if_true, if_false=if_false, warnings=self.warnings()
        )

    def explain(
        self, base: CandleBase, closed_count: int, account: Account, *, count: int | None = None
    ) -> tuple[Outcome, ScriptFault | None, Watch]:
        """Evaluate as `evaluate` does, in the form of the script that tells what it works out.

        Return the outcome, or an empty one and the script's own error, and who looked on.
        Raises BudgetFault for budgets.
        """
        assert self._script is not None, "load comes first"
        code, recursion = self._code, self._recursion
        assert code is not None
        if self._watch is None:
            self._watch = Watch(self._script.text, code.co_filename, INDICATOR_NAMES)
        watch = self._watch
        watch.begin()
        self._builtins[LOOK] = watch.look
        # To look on takes a few calls more than the script makes itself.
        self._code, self._recursion = watch.code, recursion + _LOOK_DEPTH
        try:
            return self.evaluate(base, closed_count, account, count=count), None, watch
        except BudgetFault:
            raise
        except ScriptFault as fault:
            nothing = Outcome(condition=False, if_true="", if_false="", warnings=self.warnings())
            return nothing, fault, watch
        finally:
            self._code, self._recursion = code, recursion
            del self._builtins[LOOK]

    def decide(
        self, base: CandleBase, counts: Iterable[int], taker: Taker, *, is_quiet: bool
    ) -> tuple[int, BudgetFault | None]:
        """Run the script on prefixes of the candles, of these lengths, without an account.

        Goes on until they, the time or the taker's room are at an end, or a budget is overrun.
        Return the last length of which the taker was told, 0 where there is none, and the fault of
        the one after it that overran a budget. `is_quiet`: what it prints is of no interest.
        """
        self.session.is_quiet = is_quiet
        self._done = 0
        names = self._names(base, NO_ACCOUNT)
        fault = self._within_limits(self._each(names, counts, None, taker), is_many=True)
        if fault is not None and not isinstance(fault, BudgetFault):
            taker.failed(self._count - 1, fault)
            self._done, fault = self._count, None
        return self._done, fault

    def warnings(self) -> tuple[str, ...]:
        """Return what was noticed in the evaluations since the last `load` or call of this."""
        is_unassigned, self._is_unassigned = self._is_unassigned, False
        return ("condition_true was not assigned; it counts as False",) if is_unassigned else ()

    def _names(self, base: CandleBase, account: Account) -> MarketNames:
        assert self._script is not None, "load comes first"
        return MarketNames(base, self._builtins, account, self._script.used_names)

    def _within_limits(
        self, running: Coroutine[Any, Any, ScriptFault | None], *, is_many: bool
    ) -> ScriptFault | None:
        """Run evaluations under all limits; return the fault that ended them, if one did."""
        fault: ScriptFault | None = None
        limit = sys.getrecursionlimit()
        bounds = self._bounds
        try:
            bounds.arm(is_many=is_many)
            sys.setrecursionlimit(_depth() + self._recursion)
            try:
                running.send(None)
                fault = ScriptFault("the script waits for something that is not an indicator")
            except StopIteration as end:
                fault = end.value
            finally:
                running.close()
        except TimeBudget as error:
            # It came between two steps of ours.
            fault = self._fault_of(error)
        finally:
            bounds.disarm()
            sys.setrecursionlimit(limit)
        if bounds.is_spent and not isinstance(fault, BudgetFault):
            return BudgetFault("time", "", fault or ScriptFault(""))
        return fault

    async def _each(
        self, names: MarketNames, counts: Iterable[int], closed_count: int | None, taker: Taker
    ) -> ScriptFault | None:
        """Evaluate one candle after another; return the fault that overran a budget.

        One frame for all of them: what happens here happens a million times in a backtest.
        """
        assert self._script is not None
        assert self._code is not None
        code, bounds, session = self._code, self._bounds, self.session
        has_finalizers, wants_each = self._script.has_finalizers, taker.wants_each
        last_text: str | None = None
        last_condition = is_full = False
        for count in counts:
            self._count = count
            bounds.is_fresh = True
            session.reset()
            namespace = names.at(count, count if closed_count is None else closed_count)
            fault: ScriptFault | None = None
            try:
                running = FunctionType(code, namespace)()
                if running is not None:
                    await running
                condition, if_true, if_false = self._answer = self._results(namespace)
            except ScriptFault as own:
                fault = own
            except (*_SCRIPT_ERRORS, AwaitBudget, TimeBudget) as error:
                fault = self._fault_of(error, wants_words=taker.wants_words)
            # Generators that wait in a `finally` end here, within the budget.
            namespace.clear()
            if has_finalizers and not self._end_generators(code.co_filename):
                fault = fault or ScriptFault("generators that make others when they end never end")
            if fault or bounds.is_spent or session.awaits > session.max_awaits:
                fault = self._swallowed(fault)
                if isinstance(fault, BudgetFault):
                    return fault
                is_full = taker.failed(count - 1, fault)
                last_text = None
            else:
                text = if_true if condition else if_false
                if text is not last_text or condition is not last_condition or wants_each:
                    is_full = taker.took(count - 1, condition, text)
                    last_text, last_condition = text, condition
            self._done = count
            if is_full or bounds.is_over:
                break
        return None

    @staticmethod
    def _end_generators(file_name: str) -> bool:
        """End those that only hold each other: they would wake up in a later evaluation."""
        for _ in range(_MOST_COLLECTIONS):
            if not any(
                isinstance(item, GeneratorType)
                and item.gi_suspended
                and item.gi_code.co_filename == file_name
                for item in gc.get_objects()
            ):
                return True
            gc.collect()
        return False

    def _swallowed(self, fault: ScriptFault | None) -> ScriptFault:
        """A `finally` may hide even what no `except` catches, by an error of its own too."""
        if isinstance(fault, BudgetFault):
            return fault
        if self._bounds.is_spent:
            return BudgetFault("time", "", fault or ScriptFault(""))
        if self.session.awaits > self.session.max_awaits:
            return BudgetFault("awaits", "", fault or ScriptFault(""))
        assert fault is not None
        return fault

    def _results(self, namespace: dict[str, Any]) -> tuple[bool, str, str]:
        """Return condition and both actions; ScriptFault where they are none."""
        condition = namespace.get("condition_true", _MISSING)
        if condition is not True and condition is not False:
            if condition is not _MISSING:
                raise self._result_fault(
                    "condition_true", f"must be True or False, not {_shown(condition)}"
                )
            self._is_unassigned = True
            condition = False
        return (
            condition,
            self._action(namespace, "action_if_true"),
            self._action(namespace, "action_if_false"),
        )

    def _action(self, namespace: dict[str, Any], name: str) -> str:
        action = namespace.get(name, "donothing")
        if type(action) is not str:
            raise self._result_fault(name, f"must be a text in quotes, not {_shown(action)}")
        text = self._texts.get(action)
        if text is not None:
            return text
        text = clean(action)
        if len(text) > MAX_ACTION:
            raise self._result_fault(
                name, f"has {len(text)} characters; at most {MAX_ACTION} are read"
            )
        if len(self._texts) >= _MOST_TEXTS:
            self._texts.clear()
        self._texts[action] = text
        return text

    def _result_fault(self, name: str, message: str) -> ScriptFault:
        """Blame the last line that names a result."""
        line, column, end_column = last_mention(self._lines, name)
        return ScriptFault(f"{name} {message}", line=line, column=column, end_column=end_column)

    def _fault_of(self, error: BaseException, *, wants_words: bool = True) -> ScriptFault:
        if not wants_words and not isinstance(error, TimeBudget | AwaitBudget | MemoryError):
            return ScriptFault("")
        place = self._place_of(error.__traceback__)
        if isinstance(error, TimeBudget):
            return BudgetFault("time", "", place)
        if isinstance(error, AwaitBudget):
            return BudgetFault("awaits", "", place)
        if isinstance(error, MemoryError):
            return BudgetFault("memory", "", place)
        place.message = _message_of(error)
        return place

    def _place_of(self, trace: TracebackType | None) -> ScriptFault:
        """Return where in the script's own text an error arose: its innermost frame."""
        assert self._code is not None
        found = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._code.co_filename:
                found = trace
            trace = trace.tb_next
        if found is None:
            return ScriptFault("")
        positions = list(found.tb_frame.f_code.co_positions())
        line, end_line, column, end_column = positions[found.tb_lasti // 2]
        if line is None:
            return ScriptFault("", line=found.tb_lineno)
        start = None if column is None else column_of(self._lines, line, column)
        end = None
        if end_column is not None and end_line == line:
            end = column_of(self._lines, line, end_column)
        return ScriptFault("", line=line, column=start, end_column=end)


def _depth() -> int:
    depth = 0
    frame = sys._getframe()
    while frame is not None:
        depth += 1
        frame = frame.f_back  # type: ignore[assignment]
    return depth


_HINTS: Final = (
    ("'coroutine' object", "; 'await' is missing before the call"),
    ("coroutine", "; 'await' is missing before the call"),
    ("can't be used in 'await'", "; only calculate_... and own 'async def' are awaited"),
    ("'CandleView' object does not support item", "; candles cannot be changed"),
    ("'ColumnsView' object does not support item", "; candles cannot be changed"),
    ("'CandleHistory' object does not support item", "; candles cannot be changed"),
    ("'Series' object does not support item", "; a series cannot be changed: list(rsi) can"),
    ("maximum recursion depth", "; a function calls itself too often"),
)
_OUR_NAMES: Final = {
    "CandleView": "candle",
    "ColumnsView": "candle",
    "CandleHistory": "data",
    "LazyList": "list",
    "Session.": "",
    "entry_action": "long",
    "close_action": "close",
}


def _message_of(error: BaseException) -> str:
    """Return an error as Python says it, in names that a script's author knows, with advice."""
    try:
        text = str(error)
        if isinstance(error, KeyError) and error.args and "; it has" in text:
            # KeyError shows its text in quotes; ours is a sentence.
            text = str(error.args[0])
    except (ValueError, RecursionError, MemoryError, TypeError):
        text = "(its text cannot be shown)"
    text = clean_line(text, MAX_MESSAGE - 150)
    hint = next((advice for part, advice in _HINTS if part in text), "")
    for ours, theirs in _OUR_NAMES.items():
        text = text.replace(ours, theirs)
    name = type(error).__name__
    return f"{name}: {text}{hint}" if text else name


def _shown(value: Any) -> str:
    kind = type(value).__name__
    if kind == "coroutine":
        return "a coroutine; 'await' is missing before a call"
    if value is None:
        return "None"
    if isinstance(value, int | float):
        return f"the number {value}" if kind == "float" or abs(value) < 10**15 else "a number"
    return f"a {_OUR_NAMES.get(kind, kind)}"
