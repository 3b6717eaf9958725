"""What the engine takes from a worker's answers, and what it refuses (layer 1, the engine's side).

A worker may have been taken over by the script in it: whatever it sends is a claim. The schema (see
milo.script.protocol) has bounded it; here names come from fixed sets, numbers are finite, texts are
cleaned, and the action is read by the grammar.
"""

from __future__ import annotations

import functools
import math
from typing import Final

from milo.intervals import INTERVALS
from milo.model import Plot, ScriptHeader, ScriptInput
from milo.script.actions import parse_action
from milo.script.limits import LARGEST_INPUT, MAX_LABEL, MAX_MARK, MAX_MESSAGE
from milo.script.protocol import Loaded, Result, WireInput
from milo.script.text import clean_line, is_unseen_in_name, is_word
from milo.ta import INDICATORS

_INDICATOR_NAMES: Final = frozenset(spec.name for spec in INDICATORS)


class Forged(ValueError):
    """No worker of ours answers so; the text says what is wrong with it."""


def checked_header(loaded: Loaded, *, name: str, text_sha256: str) -> ScriptHeader:
    """Return what a script says about itself; raises Forged where that cannot be."""
    if loaded.timeframe is not None and loaded.timeframe not in INTERVALS:
        raise Forged("a timeframe that does not exist")
    if loaded.coin is not None and not (is_word(loaded.coin) and len(loaded.coin) <= MAX_LABEL):
        raise Forged("a coin that is no word")
    names = set(loaded.indicators)
    if len(names) != len(loaded.indicators) or not names <= _INDICATOR_NAMES:
        raise Forged("an indicator that does not exist")
    inputs = tuple(_checked_input(item) for item in loaded.inputs)
    if len({item.name for item in inputs}) != len(inputs):
        raise Forged("an input that is declared twice")
    return ScriptHeader(
        name=name,
        timeframe=loaded.timeframe,
        coin=loaded.coin,
        indicators=loaded.indicators,
        inputs=inputs,
        text_sha256=text_sha256,
        warnings=tuple(clean_line(text, MAX_MESSAGE) for text in loaded.warnings),
        reads_account=loaded.reads_account,
    )


def _checked_input(item: WireInput) -> ScriptInput:
    is_name = item.name.isidentifier() and clean_line(item.name, MAX_LABEL) == item.name
    if not is_name or any(map(is_unseen_in_name, item.name)):
        raise Forged("an input whose name is no name")
    low = -math.inf if item.low is None else item.low
    high = math.inf if item.high is None else item.high
    numbers = [n for n in (item.default, item.low, item.high) if n is not None]
    if not all(abs(number) <= LARGEST_INPUT for number in numbers):
        raise Forged("an input that is too large")
    if not low <= item.default <= high:
        raise Forged("an input whose default is out of its range")
    return ScriptInput(name=item.name, default=item.default, low=item.low, high=item.high)


@functools.lru_cache(maxsize=256)
def checked_action(text: str) -> str:
    """Return an action that the grammar allows, white space made single spaces.

    Raises ValueError, with a text fit to be shown, for any other.
    """
    parse_action(text)
    return " ".join(text.split())


def checked_plots(result: Result) -> tuple[Plot, ...]:
    """Return the newest values of a script's lines, their names fit to be shown."""
    return tuple(
        Plot(
            name=clean_line(plot.name, MAX_LABEL),
            pane=clean_line(plot.pane, MAX_LABEL),
            value=plot.value,
        )
        for plot in result.plots
    )


def checked_marks(result: Result) -> tuple[str, ...]:
    """Return a script's notes, fit to be shown."""
    return tuple(clean_line(mark, MAX_MARK) for mark in result.marks)
