"""What one evaluation looked at, as rows that explain it (layer 1, for the worker).

The rows are the script's own lines in their order, each with the value that it gave and, below
it, the parts of its conditions. Those that decided are marked: what the results were assigned, the
tests around that, and the conditions that those read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final

import msgspec

from milo.script.limits import MAX_STEP_DEPTH, MAX_STEP_VALUE, MAX_STEPS, MAX_STEPS_BYTES
from milo.script.protocol import WireStep
from milo.script.rewrite import compile_script
from milo.script.text import clean_line
from milo.script.watch_tree import Spot, Statement, watched
from milo.script.watch_values import kept, pair_texts, text_of

_ENCODE: Final = msgspec.json.Encoder().encode
_CONDITION: Final = "condition_true"


class Look:
    """The newest value at one place."""

    __slots__ = ("noted", "order", "times", "truth")

    def __init__(self) -> None:
        self.noted: Any = None
        self.truth: bool | None = None
        self.order = 0
        """Of all looks, this one's place; 0: nothing was looked at here."""
        self.times = 0


class Watch:
    """A script's second form, which tells what it works out; for one evaluation at a time."""

    def __init__(self, text: str, file_name: str, indicators: frozenset[str]) -> None:
        """Take the text of a script that was checked and compiled before."""
        tree = ast.parse(text)
        self._statements = watched(tree, text, indicators)
        self.code: CodeType
        self.code, _ = compile_script(tree, file_name)
        self._looks: dict[int, Look] = {}
        self._order = 0

    def begin(self) -> None:
        """Forget what was looked at before."""
        self._looks.clear()
        self._order = 0

    def look(self, number: int, value: Any) -> Any:
        """Note a value and return it."""
        look = self._looks.get(number)
        if look is None:
            look = self._looks[number] = Look()
        self._order += 1
        look.order = self._order
        look.times += 1
        look.noted, look.truth = kept(value)
        return value

    def steps(self, condition: bool) -> tuple[tuple[WireStep, ...], int]:
        """Return the rows, and how many did not fit; where something has to go, what decided stays.

        `condition` is the script's, which says whose action applied.
        """
        wanted = (_CONDITION, "action_if_true" if condition else "action_if_false")
        deciding = _deciding(self._statements, wanted, self._looks)
        rows: list[WireStep] = []
        for place, statement in enumerate(self._statements):
            if self._was_reached(statement.spot):
                rows += self._rows(statement.spot, 0, place in deciding)
        return _fitting(rows)

    # -- rows --------------------------------------------------------------------------------

    def _was_reached(self, spot: Spot) -> bool:
        return spot.number in self._looks or any(map(self._was_reached, spot.parts))

    def _rows(self, spot: Spot, depth: int, decides: bool) -> Iterator[WireStep]:
        """Yield a spot that was reached, and what is below it."""
        look = self._looks.get(spot.number)
        yield WireStep(
            line=spot.line,
            depth=min(depth, MAX_STEP_DEPTH),
            text=spot.text,
            value=self._value(spot, look),
            held=self._held(spot, look),
            times=0 if look is None else min(look.times, 2**31),
            is_test=spot.is_test,
            decides=decides,
        )
        if len(spot.signs) > 1:
            yield from self._links(spot, depth + 1, decides)
        for place, part in enumerate(spot.parts):
            if spot.is_sequence and place and not self._is_later(part, spot.parts[0]):
                yield _unseen(part, depth + 1, decides)
            elif self._was_reached(part):
                yield from self._rows(part, depth + 1, decides)

    def _held(self, spot: Spot, look: Look | None) -> bool | None:
        if look is None:
            return None
        return look.truth if spot.is_test or isinstance(look.noted, bool) else None

    def _value(self, spot: Spot, look: Look | None) -> str:
        if look is None:
            return ""
        if not spot.signs:
            return text_of(look.noted)
        texts = [self._pair(spot, place) for place in range(len(spot.signs))]
        parts = [texts[0][0]]
        for sign, (_, right) in zip(spot.signs, texts, strict=True):
            parts.append(f"{sign} {right}")
        return clean_line(" ".join(parts), MAX_STEP_VALUE)

    def _pair(self, spot: Spot, place: int) -> tuple[str, str]:
        """Return the two values of a comparison's link; … for one that was not looked at."""
        left, right = spot.operands[place : place + 2]
        if not self._is_later(right, left):
            look = self._looks.get(left.number)
            return "…" if look is None else text_of(look.noted), "…"
        return pair_texts(self._looks[left.number].noted, self._looks[right.number].noted)

    def _links(self, spot: Spot, depth: int, decides: bool) -> Iterator[WireStep]:
        """Yield the links of a chain like `0 < x < 10`, up to the one that did not hold."""
        whole = self._looks.get(spot.number)
        count = len(spot.signs)
        reached = [self._is_later(spot.operands[place + 1], spot.operands[place])
                   for place in range(count)]  # fmt: skip
        for place, sign in enumerate(spot.signs):
            left, right = self._pair(spot, place)
            texts = (spot.operands[place].text, sign, spot.operands[place + 1].text)
            is_last = place + 1 == count or not reached[place + 1]
            held = not is_last or (whole is not None and bool(whole.truth))
            is_reached = all(reached[: place + 1])
            yield WireStep(
                line=spot.line,
                depth=min(depth, MAX_STEP_DEPTH),
                text=clean_line(" ".join(texts), MAX_STEP_VALUE),
                value=clean_line(f"{left} {sign} {right}", MAX_STEP_VALUE) if is_reached else "",
                held=held if is_reached else None,
                times=whole.times if is_reached and whole is not None else 0,
                is_test=True,
                decides=decides,
            )

    def _is_later(self, spot: Spot, other: Spot) -> bool:
        """Say whether a place was looked at behind the last look at another."""
        look, before = self._looks.get(spot.number), self._looks.get(other.number)
        return look is not None and before is not None and look.order > before.order


def _unseen(spot: Spot, depth: int, decides: bool) -> WireStep:
    return WireStep(
        line=spot.line, depth=min(depth, MAX_STEP_DEPTH), text=spot.text, value="", held=None,
        times=0, is_test=True, decides=decides,
    )  # fmt: skip


def _fitting(rows: list[WireStep]) -> tuple[tuple[WireStep, ...], int]:
    """Return the rows that fit into an answer, in their order: first of all those that decided."""
    room = MAX_STEPS_BYTES
    kept_rows: set[int] = set()
    for place in sorted(range(len(rows)), key=lambda place: not rows[place].decides):
        room -= len(_ENCODE(rows[place])) + 1
        if room < 0 or len(kept_rows) == MAX_STEPS:
            break
        kept_rows.add(place)
    fitting = tuple(row for place, row in enumerate(rows) if place in kept_rows)
    return fitting, len(rows) - len(fitting)


# -- what decided ----------------------------------------------------------------------------


def _deciding(
    statements: list[Statement], results: tuple[str, ...], looks: dict[int, Look]
) -> set[int]:
    """Return the places of the statements that decided.

    Of a result: each assignment of it, and the tests around it whichever way they went. Of a name
    that those read: the same, as far as conditions are in it.
    """
    binding: dict[str, list[Statement]] = {}
    for statement in statements:
        # Who asks a function, asks what is in it.
        names = {outer.function for outer in statement.around if outer.function} | statement.binds
        if not statement.function:
            for name in names:
                binding.setdefault(name, []).append(statement)
    chosen: dict[int, Statement] = {}
    todo, known = list(results), set(results)
    while todo:
        name = todo.pop()
        for statement in binding.get(name, ()):
            tests = [outer for outer in statement.around if outer.spot.is_test]
            if not (name in results or tests or _has_condition(statement, looks)):
                continue
            for one in (*tests, statement):
                chosen[id(one)] = one
                todo += one.reads - known
                known |= one.reads
    return {place for place, statement in enumerate(statements) if id(statement) in chosen}


def _has_condition(statement: Statement, looks: dict[int, Look]) -> bool:
    """Say whether a statement's value is true or false, or was chosen by a condition."""
    spot = statement.spot
    look = looks.get(spot.number)
    if look is not None and isinstance(look.noted, bool):
        return True
    return spot.is_test or _has_test(spot)


def _has_test(spot: Spot) -> bool:
    return any(part.is_test or _has_test(part) for part in spot.parts)
