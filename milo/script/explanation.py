"""What a script worked out on one candle, as the rest of Milo gets it (the engine's side, layer 1).

The worker's rows are claims like all that it says: bounded by the schema, and here cleaned and held
to the script's own lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from milo.errors import ScriptError
from milo.model import ScriptResult
from milo.script.answers import Forged
from milo.script.limits import MAX_MESSAGE, MAX_STEP_TEXT, MAX_STEP_VALUE
from milo.script.protocol import Explained, Result
from milo.script.results import Results
from milo.script.text import clean_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A line of a script, or a part of one, with what it gave; all texts are fit to be shown."""

    line: int
    depth: int
    """0 for a line; a part belongs to the row above with less depth."""
    text: str
    value: str
    held: bool | None
    """Of a condition: whether it held; None also where nobody looked at it."""
    times: int
    """How often it was looked at; the value is the last one. 0: not at all."""
    is_test: bool
    decides: bool
    """It belongs to what the condition and the action that applied come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One candle: the ordinary result or error, and how it came about."""

    result: ScriptResult | None
    """None where the script failed: then there is an error."""
    error: ScriptError | None
    steps: tuple[Step, ...]
    left_out: int = 0
    """Rows that were too many."""
    note: str = ""
    """What is wrong with the rows; empty where nothing is."""


def checked_steps(reply: Explained, results: Results) -> tuple[Step, ...]:
    """Return a worker's rows; raises Forged where they cannot be those of the script."""
    depth = -1
    for step in reply.steps:
        if not results.is_line(step.line):
            raise Forged("a line that the script does not have")
        if step.depth > depth + 1:
            raise Forged("a part of nothing")
        if step.held is not None and not step.times:
            raise Forged("an answer to what was not asked")
        depth = step.depth
    return tuple(
        Step(
            line=step.line,
            depth=step.depth,
            text=clean_line(step.text, MAX_STEP_TEXT),
            value=clean_line(step.value, MAX_STEP_VALUE),
            held=step.held,
            times=step.times,
            is_test=step.is_test,
            decides=step.decides,
        )
        for step in reply.steps
    )


def difference(reply: Explained, plain: Result | None) -> str:
    """Return how the evaluation that was looked at differs from the plain one; "" as a rule.

    `plain` is None where the script failed.
    """
    if plain is None:
        return (
            ""
            if reply.error
            else "the values may mislead: the script did not fail while it was looked at"
        )
    if reply.error:
        message = clean_line(reply.error, MAX_MESSAGE)
        return f"the values may mislead: the script failed while it was looked at: {message}"
    told = (reply.condition, reply.if_true, reply.if_false, reply.warnings)
    if told != (plain.condition, plain.if_true, plain.if_false, plain.warnings):
        return "the values may mislead: the script decided otherwise while it was looked at"
    return ""
