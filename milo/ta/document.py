"""The page `docs/indicators.md`, made from INDICATORS.

Make it anew with `python -m milo.ta.document > docs/indicators.md`; a test holds it true.
"""

from __future__ import annotations

from milo.ta import INDICATORS, IndicatorSpec, Parameter, Returns

_INTRODUCTION = """\
# Indicators

Scripts call these names with `await`. Everything is causal: a value depends on its own candle and
those before it, and never changes once that candle is closed. Series are floats, one for each
candle, NaN until defined; a history that is too short gives NaN, never an error. A period that is
not a whole number (14.0 is none) or is too small is a `ValueError` at its line.

This page is made from the list in `milo/ta/__init__.py` by `python -m milo.ta.document`.
"""

_OWN = """
## The language's own

Definitions are TradingView's. `calculate_zigzag` takes its `threshold` in percent of price: 1.5
means that a leg reverses once the close has moved by more than 1.5 % against it. Without one the
threshold is, at each candle, `factor` times the mean absolute move of closes in percent up to that
candle.
"""

_MORE = """
## TA-Lib's

Definitions are TA-Lib's. Only functions that do not look ahead are here.
"""


def indicators_page() -> str:
    """Return the page as Markdown."""
    own = [spec for spec in INDICATORS if spec.source != "TA-Lib"]
    more = [spec for spec in INDICATORS if spec.source == "TA-Lib"]
    return "\n".join([_INTRODUCTION + _OWN, _table(own) + _MORE, _table(more)])


def _table(specs: list[IndicatorSpec]) -> str:
    rows = ["| call | returns | what it is |", "|---|---|---|"]
    rows += [f"| `{call_of(spec)}` | {_returns(spec)} | {spec.description} |" for spec in specs]
    return "\n".join(rows) + "\n"


def call_of(spec: IndicatorSpec) -> str:
    """Return how a script calls the indicator: `calculate_rsi(data, period=14)`."""
    first = ["data"] if spec.takes_candles else list(spec.takes)
    return f"{spec.name}({', '.join(first + [_shown(p) for p in spec.parameters])})"


def _shown(parameter: Parameter) -> str:
    if parameter.is_required:
        return parameter.name
    default = parameter.default
    return f"{parameter.name}={default if default is None else format(default, 'g')}"


def _returns(spec: IndicatorSpec) -> str:
    match spec.returns:
        case Returns.SERIES:
            return "series"
        case Returns.TUPLE:
            return f"({', '.join(spec.outputs)})"
        case Returns.LAST:
            return "a number"
        case Returns.POINTS | Returns.ITEMS:
            return "list of mappings"
        case Returns.ITEM:
            return f"mapping {', '.join(spec.outputs)}"


if __name__ == "__main__":
    print(indicators_page(), end="")
