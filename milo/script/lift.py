"""Array lifting: a script evaluated for all candles at once, where its text allows (layer 1).

The syntax tree is walked once for each block of candles, with arrays for what differs from candle
to candle. NumPy computes only where it agrees with Python to the bit; a candle on which it might
not, or on which the script fails, is doubtful: the script itself must be run on it. Scripts that do
not fit (a loop over the history, the account) are refused with NotLiftable and run candle by
candle. Used in the worker only, as it reads script text.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from milo.script.language import CheckedScript
from milo.script.lift_builtins import library_of
from milo.script.lift_market import LIFTED_INDICATORS, Market
from milo.script.lift_ops import Block
from milo.script.lift_values import (
    REASONS,
    UNBOUND,
    Bools,
    Column,
    NotLiftable,
    Opaque,
    Path,
    Value,
    alternatives_of,
)
from milo.script.lift_walk import Walk
from milo.script.limits import MAX_ACTION
from milo.script.names import INDICATOR_NAMES, Session, script_builtins
from milo.script.text import clean
from milo.script.views import CandleBase

__all__ = ["LiftPlan", "Lifted", "NotLiftable", "plan_lift"]

BLOCK: Final = 131_072
"""Candles at once: their arrays stay in the processor's cache."""
UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """What the script decided on the candles from `first` on, one item for each."""

    condition: Bools
    doubtful: Bools
    """Candles to be decided by running the script on them: nothing else here means anything
    there."""
    if_true: str | None
    """The action text where it is the same for all candles; None: see `true_code`."""
    if_false: str | None
    texts: tuple[str, ...] = ()
    true_code: NDArray[np.int32] | None = None
    """Where the action is one of few texts: its place in `texts`, or UNKNOWN (-1): run the candle
    to know. None where it is the same for all, or known for none."""
    false_code: NDArray[np.int32] | None = None


def plan_lift(script: CheckedScript) -> LiftPlan:
    """Return the plan of a script that may fit; raises NotLiftable with the line where it cannot.

    What the text alone does not show, `LiftPlan.run` finds.
    """
    # The script's own tree may have been rewritten when it was compiled.
    tree = ast.parse(script.text)
    reasons = sorted(_reasons(tree), key=lambda reason: reason.line or 0)
    if reasons:
        raise reasons[0]
    if not any(
        isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and node.id == "condition_true"
        for node in ast.walk(tree)
    ):
        raise NotLiftable("condition_true is never assigned")
    return LiftPlan(tree)


_NEVER: Final = (ast.While, ast.Try, ast.Global, ast.Nonlocal, ast.Yield, ast.YieldFrom)
_LISTS: Final = INDICATOR_NAMES - LIFTED_INDICATORS
_ACCOUNT: Final = frozenset({"available_balance", "open_positions"})


def _reasons(tree: ast.Module) -> list[NotLiftable]:
    reasons = []
    for node in ast.walk(tree):
        if isinstance(node, _NEVER):
            reasons.append(NotLiftable(REASONS[type(node)], node.lineno))
        elif isinstance(node, ast.Name) and node.id in _ACCOUNT:
            text = f"'{node.id}' depends on what was traded before"
            reasons.append(NotLiftable(text, node.lineno))
        elif (
            isinstance(node, ast.Await)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id in _LISTS
        ):
            reasons.append(NotLiftable(f"{node.value.func.id} gives a list", node.lineno))
    return reasons


@dataclass(frozen=True, slots=True)
class LiftPlan:
    """A script that may fit over arrays."""

    tree: ast.Module

    def run(self, base: CandleBase, first: int, inputs: Mapping[str, float]) -> Lifted:
        """Evaluate the script on the closed candles from `first` on, each seeing those up to it.

        `inputs` are those that the user changed. Raises NotLiftable with the line where the script
        does not fit after all.
        """
        count = len(base)
        functions = script_builtins(Session(0), _no_import)
        market = Market(base, functions)
        library = library_of(functions)
        answer = _Answer.empty(max(0, count - first))
        for start in range(first, count, BLOCK):
            block = Block(start, min(start + BLOCK, count))
            walk = Walk(block, market, library, inputs)
            with np.errstate(all="ignore"):
                try:
                    walk.run(self.tree)
                    answer.add(block, walk, start - first)
                except RecursionError:
                    raise NotLiftable("nested too deeply") from None
                except MemoryError:
                    raise NotLiftable("too many arrays at once") from None
        return answer.lifted()


def _no_import(*_: Any) -> NoReturn:
    raise ImportError


@dataclass(slots=True)
class _Answer:
    """The results of the blocks so far."""

    condition: Bools
    doubtful: Bools
    texts: dict[str, int] = field(default_factory=dict)
    codes: dict[str, list[tuple[int, int, int | NDArray[np.int32]]]] = field(default_factory=dict)
    """By the action's name: from where to where, and the code or codes."""

    @classmethod
    def empty(cls, count: int) -> _Answer:
        return cls(np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_))

    def add(self, block: Block, walk: Walk, at: int) -> None:
        """Take what a block's walk left behind."""
        end = at + block.size
        condition = _condition(block, walk.result("condition_true", UNBOUND))
        for name in ("action_if_true", "action_if_false"):
            code = self._code(block, walk.result(name, "donothing"))
            self.codes.setdefault(name, []).append((at, end, code))
        self.condition[at:end] = condition
        self.doubtful[at:end] = block.doubtful

    def _code(self, block: Block, value: Value) -> int | NDArray[np.int32]:
        codes: NDArray[np.int32] | None = None
        for mask, one in alternatives_of(value):
            path = Path() if mask is None else Path(None, mask)
            code = self._code_of(block, "donothing" if one is UNBOUND else one, path)
            if mask is None:
                return code
            if codes is None:
                codes = np.full(block.size, UNKNOWN, dtype=np.int32)
            codes[mask] = code
        return UNKNOWN if codes is None else codes

    def _code_of(self, block: Block, value: Value, path: Path) -> int:
        if isinstance(value, str):
            text = clean(value)
            if len(text) <= MAX_ACTION:
                return self.texts.setdefault(text, len(self.texts))
        elif isinstance(value, Opaque) and value.longest <= MAX_ACTION:
            return UNKNOWN
        block.doubt(path)
        return UNKNOWN

    def lifted(self) -> Lifted:
        texts = tuple(self.texts)
        true_text, true_code = self._joined("action_if_true", texts)
        false_text, false_code = self._joined("action_if_false", texts)
        return Lifted(
            condition=self.condition,
            doubtful=self.doubtful,
            if_true=true_text,
            if_false=false_text,
            texts=texts,
            true_code=true_code,
            false_code=false_code,
        )

    def _joined(
        self, name: str, texts: tuple[str, ...]
    ) -> tuple[str | None, NDArray[np.int32] | None]:
        """Return the only text, or the codes of several."""
        parts = self.codes.get(name, [])
        alone = {code for _, _, code in parts if isinstance(code, int)}
        if len(alone) == 1 and all(isinstance(code, int) for _, _, code in parts):
            only = alone.pop()
            return (None, None) if only == UNKNOWN else (texts[only], None)
        codes = np.full(len(self.condition), UNKNOWN, dtype=np.int32)
        for at, end, code in parts:
            codes[at:end] = code
        known = codes[~self.doubtful]
        if not len(known):
            return None, None
        lowest, highest = int(known.min()), int(known.max())
        if lowest == highest:
            return (None, None) if lowest == UNKNOWN else (texts[lowest], None)
        return None, codes


def _condition(block: Block, value: Value) -> bool | Bools:
    """Return the condition; what is no truth value makes its candles doubtful."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Column) and value.kind == "b":
        items: Bools = value.items
        return items
    condition = block.full(False)
    for mask, one in alternatives_of(value):
        if mask is None:
            block.doubt(Path())
        elif isinstance(one, bool) or (isinstance(one, Column) and one.kind == "b"):
            found = one if isinstance(one, bool) else one.items
            condition |= mask & found
        else:
            block.doubt(Path(None, mask))
    return condition
