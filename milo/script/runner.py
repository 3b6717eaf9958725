"""Runs one script: load it once, evaluate it for each candle (layer 1, used by the worker).

No process, no pipe, no clock here: what bounds an evaluation from outside is passed in as `arm` and
`disarm`.
"""

from __future__ import annotations

import builtins
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import CodeType, FunctionType, GeneratorType, TracebackType
from typing import Any, Final

from milo.script.faults import ScriptFault, last_mention
from milo.script.language import CheckedScript, check
from milo.script.limits import MAX_ACTION, MAX_MESSAGE
from milo.script.names import (
    INDICATOR_NAMES,
    AwaitBudget,
    Session,
    market_names,
    script_builtins,
)
from milo.script.places import column_of
from milo.script.policy import veto
from milo.script.rewrite import compile_script
from milo.script.text import clean, clean_line
from milo.script.views import CandleBase
from milo.script.vocabulary import EXCEPTIONS, RESULT_NAMES


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

_SCRIPT_ERRORS: Final = tuple(getattr(builtins, name) for name in sorted(EXCEPTIONS))
"""What a script can raise: whatever it can name."""


def _nothing() -> bool:
    """For runs that nothing bounds from outside."""
    return False


class ScriptRunner:
    """One script in one namespace of constants; every evaluation gets fresh variables."""

    def __init__(
        self,
        *,
        max_awaits: int,
        recursion: int,
        c_import: Callable[..., Any],
        arm: Callable[[], object] = _nothing,
        disarm: Callable[[], bool] = _nothing,
    ) -> None:
        """Take what bounds an evaluation: `arm` starts it and may raise TimeBudget in the script,
        `disarm` ends it and says whether the time was spent."""
        self.session = Session(max_awaits)
        self._recursion = recursion
        self._depth = 0
        self._arm = arm
        self._disarm = disarm
        self._builtins = script_builtins(self.session, c_import)
        self._script: CheckedScript | None = None
        self._code: CodeType | None = None
        self._lines: list[str] = []

    def load(self, name: str, raw: bytes) -> CheckedScript:
        """Check and compile a script's text; raises ScriptFault (Vetoed) where it is refused."""
        script = check(raw, INDICATOR_NAMES)
        veto(script.text)
        code, notes = compile_script(script.tree, f"<{name}>")
        self._script, self._code, self._lines = script, code, script.text.split("\n")
        return replace(script, warnings=(*script.warnings, *notes))

    def evaluate(
        self, base: CandleBase, closed_count: int, account: tuple[float, list[dict[str, Any]]]
    ) -> Outcome:
        """Run the script on candles; the session then holds what it printed and drew.

        Raises ScriptFault at the script's line for its own errors, BudgetFault for budgets.
        """
        assert self._script is not None, "load comes first"
        assert self._code is not None
        self.session.reset()
        namespace = market_names(base, closed_count, account, self._script.used_names)
        namespace["__builtins__"] = self._builtins
        namespace["__name__"] = "script"
        limit = sys.getrecursionlimit()
        # Always called from the same place, so measured once.
        self._depth = self._depth or _depth()
        fault: ScriptFault | None = None
        outcome: Outcome | None = None
        try:
            self._arm()
            sys.setrecursionlimit(self._depth + self._recursion)
            try:
                _run(self._code, namespace)
                outcome = self._outcome(namespace)
            except ScriptFault as own:
                fault = own
            except (*_SCRIPT_ERRORS, AwaitBudget, TimeBudget) as error:
                fault = self._fault_of(error)
            # Generators that wait in a `finally` end here, within the budget.
            namespace.clear()
            if self._script.has_finalizers and not self._end_generators(self._code.co_filename):
                fault = fault or ScriptFault("generators that make others when they end never end")
        except TimeBudget as error:
            fault = fault or self._fault_of(error)
        finally:
            is_spent = self._disarm()
            sys.setrecursionlimit(limit)
        fault = self._swallowed(is_spent, fault)
        if fault is not None:
            raise fault
        assert outcome is not None
        return outcome

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

    def _swallowed(self, is_spent: bool, fault: ScriptFault | None) -> ScriptFault | None:
        """A `finally` may hide even what no `except` catches, by an error of its own too."""
        if isinstance(fault, BudgetFault):
            return fault
        if is_spent:
            return BudgetFault("time", "", fault or ScriptFault(""))
        if self.session.is_over_awaits:
            return BudgetFault("awaits", "", fault or ScriptFault(""))
        return fault

    def _outcome(self, namespace: dict[str, Any]) -> Outcome:
        warnings: list[str] = []
        condition = namespace.get("condition_true")
        if "condition_true" not in namespace:
            warnings.append("condition_true was not assigned; it counts as False")
            condition = False
        if not isinstance(condition, bool):
            raise self._result_fault(
                "condition_true", f"must be True or False, not {_shown(condition)}"
            )
        actions = []
        for name in RESULT_NAMES[1:]:
            action = namespace.get(name, "donothing")
            if not isinstance(action, str):
                raise self._result_fault(name, f"must be a text in quotes, not {_shown(action)}")
            action = clean(action)
            if len(action) > MAX_ACTION:
                raise self._result_fault(
                    name, f"has {len(action)} characters; at most {MAX_ACTION} are read"
                )
            actions.append(action)
        return Outcome(
            condition=condition,
            if_true=actions[0],
            if_false=actions[1],
            warnings=tuple(warnings),
        )

    def _result_fault(self, name: str, message: str) -> ScriptFault:
        """Blame the last line that names a result."""
        line, column, end_column = last_mention(self._lines, name)
        return ScriptFault(f"{name} {message}", line=line, column=column, end_column=end_column)

    def _fault_of(self, error: BaseException) -> ScriptFault:
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


def _run(code: CodeType, namespace: dict[str, Any]) -> None:
    running = FunctionType(code, namespace)()
    if running is None:
        return
    try:
        running.send(None)
    except StopIteration:
        return
    running.close()
    raise ScriptFault("the script waits for something that is not an indicator")


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
    ("'CandleHistory' object does not support item", "; candles cannot be changed"),
    ("'Series' object does not support item", "; a series cannot be changed: list(rsi) can"),
    ("maximum recursion depth", "; a function calls itself too often"),
)
_OUR_NAMES: Final = {
    "CandleView": "candle",
    "CandleHistory": "data",
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
