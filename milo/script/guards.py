"""Size checks for what a short script could blow up, and the virtual modules (layer 1).

They are a courtesy: an error with a line instead of a dead worker. The wall is the worker's memory
limit and the engine's SIGKILL.
"""

from __future__ import annotations

import datetime
import math
import operator
import re
import statistics
from collections.abc import Callable, Iterable
from typing import Any, Final

from milo.script.limits import (
    MAX_COMBINATORIAL,
    MAX_FORMAT_WIDTH,
    MAX_INT_BITS,
    MAX_SEQUENCE,
)
from milo.script.vocabulary import MODULES

_SIZED: Final = (str, list, tuple)
# Format specs read the digits of every alphabet, % formats those of ASCII only.
_NUMBER: Final = re.compile(r"\d+")
_CONVERSION: Final = re.compile(r"[-+ #0]*(\*|[0-9]*)(?:\.(\*|[0-9]*))?[hlL]?")


def _check_length(length: int) -> None:
    if length > MAX_SEQUENCE:
        raise OverflowError(f"{length} items or characters are too many; at most {MAX_SEQUENCE}")


def _check_bits(bits: int) -> None:
    if bits > MAX_INT_BITS:
        raise OverflowError(f"a whole number of {bits} bits is too large; use a float like 2.0")


def _check_mul(left: Any, right: Any) -> None:
    if isinstance(left, int):
        if isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        elif isinstance(right, _SIZED):
            _check_length(len(right) * left)
    elif isinstance(left, _SIZED) and isinstance(right, int):
        _check_length(len(left) * right)


def _check_pow(base: Any, exponent: Any) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0 and abs(base) > 1:
        _check_bits(base.bit_length() * exponent)


def _check_lshift(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left:
        _check_bits(left.bit_length() + right)


def _modulo(operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(left: Any, right: Any) -> Any:
        if isinstance(left, str):
            _check_percent(left)
        return operate(left, right)

    return run


def _check_percent(text: str) -> None:
    """Look at the widths of a % format; the text around them may hold any number."""
    at = text.find("%")
    while at >= 0:
        start = _behind_key(text, at + 1)
        match = _CONVERSION.match(text, start)
        assert match is not None, "each part may be empty"
        for width in match.groups():
            if width == "*":
                raise ValueError("'*' in a % format is not available; use an f-string")
            if width:
                _check_width(width)
        # One character more is the kind: in %% it is no beginning.
        at = text.find("%", match.end() + 1)


def _behind_key(text: str, start: int) -> int:
    """Where the key of `%(key)s` ends; it may hold brackets of its own."""
    if not text.startswith("(", start):
        return start
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if not depth:
            return index + 1
    return len(text)


def _check_widths(text: str) -> None:
    for number in _NUMBER.findall(text):
        _check_width(number)


def _check_width(number: str) -> None:
    if len(number) > 9 or int(number) > MAX_FORMAT_WIDTH:
        raise ValueError(f"a width of {number[:20]} is too large; at most {MAX_FORMAT_WIDTH}")


def _guarded(
    check: Callable[[Any, Any], None], operate: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], Any]:
    def run(left: Any, right: Any) -> Any:
        # Most arithmetic of scripts is on floats, which cannot grow.
        if type(left) is not float and type(right) is not float:
            check(left, right)
        return operate(left, right)

    return run


OPERATIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "mul": _guarded(_check_mul, operator.mul),
    "pow": _guarded(_check_pow, operator.pow),
    "lshift": _guarded(_check_lshift, operator.lshift),
    "mod": _modulo(operator.mod),
    "imul": _guarded(_check_mul, operator.imul),
    "ipow": _guarded(_check_pow, operator.ipow),
    "ilshift": _guarded(_check_lshift, operator.ilshift),
    "imod": _modulo(operator.imod),
}


def load_item(container: Any, key: Any) -> tuple[Any, Any, Any]:
    """Return the parts that `store_item` needs, read in Python's order."""
    return container, key, container[key]


def store_item(name: str, container: Any, key: Any, old: Any, operand: Any) -> None:
    """Carry out `container[key] op= operand`."""
    container[key] = OPERATIONS[name](old, operand)


def format_value(value: Any, spec: str, conversion: int) -> str:
    """Format as an f-string does, with a width that the script computed."""
    if not isinstance(value, datetime.date | datetime.time) or conversion != -1:
        # Dates read their spec as a pattern, in which numbers are plain text.
        _check_widths(spec)
    if conversion == ord("r"):
        value = repr(value)
    elif conversion == ord("s"):
        value = str(value)
    elif conversion == ord("a"):
        value = ascii(value)
    return format(value, spec)


def guarded_method(owner: Any, name: str) -> Any:
    """Return a method by name; those of texts check the length of what they would make."""
    if isinstance(owner, str):
        checked: dict[str, Callable[..., str]] = {
            "join": _join,
            "replace": _replace,
            "expandtabs": _expand,
        }
        make = checked.get(name, _padder(name))

        def method(*arguments: Any, **options: Any) -> str:
            return make(owner, *arguments, **options)

        return method
    if owner is str:
        return _unbound(name)
    return getattr(owner, name)


def _unbound(name: str) -> Callable[..., str]:
    def method(owner: str, *arguments: Any, **options: Any) -> str:
        if not isinstance(owner, str):
            raise TypeError(f"str.{name} needs a str, not {type(owner).__name__}")
        return str(guarded_method(owner, name)(*arguments, **options))

    return method


def _join(owner: str, parts: Iterable[str]) -> str:
    listed = list(parts)
    length = len(owner) * max(0, len(listed) - 1)
    length += sum(len(part) for part in listed if isinstance(part, str))
    _check_length(length)
    return owner.join(listed)


def _replace(owner: str, old: str, new: str, count: int = -1) -> str:
    if isinstance(old, str) and isinstance(new, str) and len(new) > len(old):
        _check_length(len(owner) + owner.count(old) * (len(new) - len(old)))
    return owner.replace(old, new, count)


def _expand(owner: str, tabsize: int = 8) -> str:
    if isinstance(tabsize, int):
        _check_length(len(owner) + owner.count("\t") * max(0, tabsize))
    return owner.expandtabs(tabsize)


def _padder(name: str) -> Callable[..., str]:
    def pad(owner: str, width: int, *fill: str) -> str:
        if isinstance(width, int):
            _check_length(width)
        return str(getattr(owner, name)(width, *fill))

    return pad


def power(base: Any, exp: Any, mod: Any = None) -> Any:
    """The builtin `pow` with the size check of `**`."""
    if mod is None:
        return OPERATIONS["pow"](base, exp)
    return pow(base, exp, mod)


def _bounded(function: Callable[..., int], name: str) -> Callable[..., int]:
    def run(*arguments: Any) -> int:
        for value in arguments:
            if isinstance(value, int) and value > MAX_COMBINATORIAL:
                raise OverflowError(f"{name}({value}) is too large; at most {MAX_COMBINATORIAL}")
        return function(*arguments)

    return run


class VirtualModule:
    """A copy of a module that holds the listed members only."""

    def __init__(self, name: str, members: dict[str, Any]) -> None:
        self.__dict__.update(members)
        self.__dict__["_title"] = name

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._title} has no '{name}' for scripts")

    def __repr__(self) -> str:
        return f"<module '{self._title}'>"


def virtual_modules() -> dict[str, VirtualModule]:
    """Return math, statistics and datetime as scripts see them."""
    sources = {"math": math, "statistics": statistics, "datetime": datetime}
    modules = {}
    for title, source in sources.items():
        # Some functions are younger than the oldest Python that Milo runs on.
        members = {name: getattr(source, name) for name in MODULES[title] if hasattr(source, name)}
        for name in ("factorial", "comb", "perm"):
            if name in members:
                members[name] = _bounded(members[name], name)
        modules[title] = VirtualModule(title, members)
    return modules
