"""A script's values as a trader reads them, in a few characters (layer 1, for the worker).

Only types that a script can hold come here; none of them runs code of the script when it is shown.
"""

from __future__ import annotations

from typing import Any, Final

from milo.script.lazy_list import LazyList
from milo.script.limits import MAX_STEP_VALUE
from milo.script.text import clean_line
from milo.script.views import CandleHistory, CandleView, Series

_ITEMS: Final = 4
_DEPTH: Final = 2
_TEXT: Final = 80
_LONGEST_INT_BITS: Final = 200
_TRUE_OR_FALSE: Final = (
    bool,
    int,
    float,
    str,
    type(None),
    list,
    LazyList,
    tuple,
    dict,
    set,
    frozenset,
)
_KEPT: Final = (bool, float, type(None), Series, CandleHistory)
"""What cannot change any more and is short: shown only when it is asked for."""


def kept(value: Any) -> tuple[Any, bool | None]:
    """Return what is noted of a value: itself, or already its text; and whether it counts as true.

    None for what Python would have to ask the value itself.
    """
    truth = bool(value) if type(value) in _TRUE_OR_FALSE else None
    return (value if type(value) in _KEPT else Shown(shown(value))), truth


class Shown(str):
    """A value's text, made when it was seen."""

    __slots__ = ()


def text_of(noted: Any) -> str:
    """Return the text of what `kept` noted."""
    return str(noted) if isinstance(noted, Shown) else shown(noted)


def pair_texts(left: Any, right: Any) -> tuple[str, str]:
    """Return two compared values; floats whose texts are the same get all of their digits."""
    texts = text_of(left), text_of(right)
    if texts[0] == texts[1] and isinstance(left, float) and isinstance(right, float):
        return repr(left), repr(right)
    return texts


def shown(value: Any, depth: int = 0) -> str:
    """Return a value as one line of at most MAX_STEP_VALUE characters."""
    return clean_line(_shown(value, depth), MAX_STEP_VALUE)


def _shown(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return f"{value:.10g}"
    if kind is int:
        bits = value.bit_length()
        return str(value) if bits <= _LONGEST_INT_BITS else f"a whole number of {bits:,} bits"
    if kind is str:
        return f'"{value}"' if len(value) <= _TEXT else f'"{value[:_TEXT]}…" ({len(value):,} long)'
    if kind is Series:
        count = len(value)
        return f"{value[-1]:.10g} (newest of {count:,})" if count else "an empty series"
    if kind is LazyList:
        return f"{len(value):,} in all, newest {_shown(value[-1], depth)}" if value else "[]"
    if kind is CandleHistory:
        count = len(value)
        return f"{count:,} candles, newest close {value[-1].close:.10g}" if count else "no candles"
    if isinstance(value, CandleView):
        return (
            f"open {value.open:.10g}, high {value.high:.10g}, low {value.low:.10g}, "
            f"close {value.close:.10g}, volume {value.volume:.10g}"
        )
    if kind in (list, tuple, dict) and depth < _DEPTH:
        return _items(value, depth + 1)
    if kind in (list, tuple, dict, set, frozenset):
        return f"a {kind.__name__} of {len(value):,}"
    if value is None:
        return "None"
    if kind.__module__ == "datetime":
        return str(value)
    return f"a {kind.__name__}"


def _items(value: list[Any] | tuple[Any, ...] | dict[Any, Any], depth: int) -> str:
    parts: list[str] = []
    for item in value:
        if len(parts) == _ITEMS:
            break
        text = _shown(item, depth)
        if isinstance(value, dict):
            text += f": {_shown(value[item], depth)}"
        parts.append(text)
    if len(value) > _ITEMS:
        parts.append(f"… {len(value):,} in all")
    brackets = {list: "[]", tuple: "()", dict: "{}"}[type(value)]
    return brackets[0] + ", ".join(parts) + brackets[1]
