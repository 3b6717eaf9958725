"""The published lists: every name and attribute that a script may write (layer 1).

What is not listed here does not exist for scripts. The lists are data, so that a reader can review
them; `milo.script.language` holds scripts to them, `milo.script.names` fills them with meaning.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUILTINS: Final = _words(
    "abs all any bin bool callable chr dict divmod enumerate filter float frozenset hex int"
    " isinstance iter len list map max min next oct ord pow print range repr reversed round set"
    " slice sorted str sum tuple zip"
)

EXCEPTIONS: Final = _words(
    "ArithmeticError AssertionError AttributeError EOFError Exception FloatingPointError"
    " ImportError IndexError KeyError LookupError MemoryError NameError NotImplementedError"
    " OSError OverflowError RecursionError RuntimeError StopIteration SyntaxError TimeoutError"
    " TypeError UnboundLocalError UnicodeError ValueError ZeroDivisionError"
)

MARKET_NAMES: Final = _words(
    "data chart_data live_candle lastclose open high low volume previousclose averagevolume"
    " available_balance open_positions"
)

FUNCTIONS: Final = _words("long short close plot mark param")

BARE_MODULE_NAMES: Final = _words("math datetime timedelta timezone")
"""Known without import; `datetime` is the class until `import datetime` makes it the module."""

RESULT_NAMES: Final = ("condition_true", "action_if_true", "action_if_false")

MODULES: Final = {
    "math": _words(
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e"
        " erf erfc exp exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose"
        " isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nan nextafter"
        " perm pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc ulp"
    ),
    "statistics": _words(
        "StatisticsError correlation covariance fmean geometric_mean harmonic_mean"
        " linear_regression mean median median_grouped median_high median_low mode multimode"
        " pstdev pvariance quantiles stdev variance"
    ),
    "datetime": _words("MAXYEAR MINYEAR UTC date datetime time timedelta timezone"),
}
"""The three virtual modules and their members: pure functions, no clock, no files."""

_TEXT = (
    "capitalize casefold center count endswith expandtabs find index isalnum isalpha isascii"
    " isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join"
    " ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust"
    " rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper"
    " zfill"
)
_LISTS = "append clear copy count extend index insert pop remove reverse sort"
_DICTS = "clear copy fromkeys get items keys pop popitem setdefault update values"
_SETS = (
    "add clear copy difference difference_update discard intersection intersection_update"
    " isdisjoint issubset issuperset pop remove symmetric_difference symmetric_difference_update"
    " union update"
)
_NUMBERS = (
    "as_integer_ratio bit_count bit_length conjugate denominator imag is_integer numerator real"
)
_DATES = (
    "astimezone combine ctime date day days dst fold fromisocalendar fromisoformat fromordinal"
    " fromtimestamp hour isocalendar isoformat isoweekday max microsecond microseconds min minute"
    " month replace resolution second seconds strftime strptime time timestamp timetz toordinal"
    " total_seconds tzinfo tzname utc utcfromtimestamp utcoffset week weekday year"
)
_CANDLES = "time open high low close volume"
_RECORDS = "intercept slope start step stop"

ATTRIBUTES: Final = frozenset(
    " ".join((_TEXT, _LISTS, _DICTS, _SETS, _NUMBERS, _DATES, _CANDLES, _RECORDS)).split()
).union(*MODULES.values())

UNBINDABLE: Final = frozenset({"print", "printed", "builtins", "breakpoint", "param"})
"""Names that a script may not give away: our own `print` and `param` must stay what they are; the
others are reserved by RestrictedPython."""

ATTRIBUTE_ADVICE: Final = {
    "format": 'use an f-string, like f"{price:.2f}"',
    "format_map": 'use an f-string, like f"{price:.2f}"',
    "now": "scripts have no clock; the candle's time is data[-1].time (ms UTC)",
    "today": "scripts have no clock; the candle's time is data[-1].time (ms UTC)",
    "utcnow": "scripts have no clock; the candle's time is data[-1].time (ms UTC)",
    "iloc": "take an item, like rsi[-1]",
    "loc": "take an item, like rsi[-1]",
    "tolist": "use list(...)",
    "shift": "take an earlier item, like rsi[-2]",
    "rolling": "use a slice, like rsi[-5:]",
    "mean": "use sum(...) / len(...) or statistics.fmean(...)",
    "iat": "take an item, like rsi[-1]",
    "shape": "use len(...)",
    "size": "use len(...)",
    "encode": "scripts handle text only",
}

NAME_ADVICE: Final = {
    "np": "numpy is not available; indicators and math are there without import",
    "numpy": "numpy is not available; indicators and math are there without import",
    "pd": "pandas is not available; data and indicator results are plain sequences",
    "pandas": "pandas is not available; data and indicator results are plain sequences",
    "ta": "use the calculate_... functions",
    "talib": "use the calculate_... functions",
    "close_price": "use lastclose or data[-1].close",
    "time": "the candle's time is data[-1].time (ms UTC)",
    "type": "use isinstance(value, float)",
    "getattr": "write the attribute or the item itself",
    "setattr": "use a dict",
    "hasattr": "write the attribute or the item itself",
    "format": 'use an f-string, like f"{price:.2f}"',
    "random": "decisions must be repeatable, so there is no randomness",
    "input": "use param(name, default, low, high)",
    "object": "use a dict",
    "statistics": "write 'import statistics' first",
    "Decimal": "use float",
    "os": "scripts have no files and no system",
    "sys": "scripts have no files and no system",
    "asyncio": "await the calculate_... functions directly",
    "BaseException": "use Exception",
    "bytes": "scripts handle text and numbers only",
    "complex": "scripts handle text and numbers only",
    "true": "write True",
    "false": "write False",
    "null": "write None",
    "none": "write None",
}
