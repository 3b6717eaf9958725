"""Everything that a script can hold, and which of the listed attributes it has.

`python -m tests.script_reach > tests/golden/script_attributes.txt` writes the table. It begins with
the values of `core/reach.script`, one of each kind, and goes on with what their attributes, calls,
items and errors give, until no new type appears.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

from milo.script.guards import VirtualModule
from milo.script.history import History
from milo.script.language import check
from milo.script.names import INDICATOR_NAMES, MarketNames, Session, script_builtins
from milo.script.protocol import candle_frames
from milo.script.rewrite import PREFIX, compile_script
from milo.script.vocabulary import ATTRIBUTES, MARKET_NAMES
from tests.script_runs import _import_for_compiled_code, walk

SEEDS: Final = Path(__file__).parent / "core" / "reach.script"

SINCE: Final = {
    **{(kind, "is_integer"): (3, 12) for kind in ("int", "bool", "type int", "type bool")},
    **{
        (f"{prefix}datetime.{kind}", "strptime"): (3, 14)
        for prefix in ("", "type ")
        for kind in ("date", "time")
    },
}
"""Pairs that Python has brought since 3.11, the oldest that Milo runs on."""


def reached() -> dict[str, frozenset[str]]:
    """Return every kind of value that a script can hold with its listed attributes."""
    found: dict[str, frozenset[str]] = {}
    todo = list(_seeds())
    while todo:
        value = todo.pop()
        name = kind_of(value)
        if name in found:
            continue
        attributes = frozenset(name for name in ATTRIBUTES if _has(value, name))
        found[name] = attributes
        todo.extend(_given_by(value, attributes))
    del value
    # Coroutines that nobody awaited warn now, while the caller expects it, not in a later test.
    gc.collect()
    return found


def kind_of(value: Any) -> str:
    """Name what decides on the attributes of a value: its type, or itself where it is one."""
    if isinstance(value, VirtualModule):
        return f"module {value._title}"
    if isinstance(value, type):
        return f"type {_title(value)}"
    if type(value).__name__ == "GenericAlias":
        return f"generic {_title(value.__origin__)}"
    return _title(type(value))


def _title(kind: type) -> str:
    module = kind.__module__
    return kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"


def _has(value: Any, name: str) -> bool:
    try:
        getattr(value, name)
    except AttributeError:
        return False
    return True


def _seeds() -> Iterator[Any]:
    history = History()
    history.extend(candle_frames(walk(60), 0)[5:])
    account = (1.0, [{"symbol": "BTCUSDT", "qty": 1.0, "stop": None}])
    constants = script_builtins(Session(1000), _import_for_compiled_code)
    names = MarketNames(history.base(), constants, account, MARKET_NAMES).at(60, 60)
    code, _ = compile_script(check(SEEDS.read_bytes(), INDICATOR_NAMES).tree, "<seeds>")
    running = FunctionType(code, names)()
    if running is not None:
        with contextlib.suppress(StopIteration):
            running.send(None)
    for name, value in {**names["__builtins__"], **names}.items():
        if name.startswith("__") and not name.startswith(PREFIX):
            continue
        # Helpers are not in reach by their names, but what they return is.
        if not name.startswith(PREFIX) or isinstance(value, VirtualModule):
            yield value
            yield from value if isinstance(value, list) else ()


_ARGUMENTS: Final = ((), ("a",), (1,), (1.5, 1), ([1, 2],), ({"a": 1},), (0, 0, 0))


def _given_by(value: Any, attributes: frozenset[str]) -> Iterator[Any]:
    """Yield what a value gives away: attributes, what calling them returns or raises, items."""
    for name in sorted(attributes):
        attribute = getattr(value, name)
        yield attribute
        yield from _called(attribute)
    if isinstance(value, BuiltinFunctionType | FunctionType | MethodType | type):
        yield from _called(value)
    if isinstance(value, str | list | tuple | dict | set | frozenset | range):
        with contextlib.suppress(TypeError):
            yield from list(value)[:20]
    for operand in (1, 1.5, "a", [1], {1}, {"a": 1}):
        for operation in ("__add__", "__mul__", "__or__", "__sub__", "__truediv__", "__eq__"):
            with contextlib.suppress(Exception):
                yield getattr(value, operation)(operand)


def _called(value: Any) -> Iterator[Any]:
    if not callable(value):
        return
    for arguments in _ARGUMENTS:
        try:
            given = value(*arguments)
        except Exception as error:
            yield error
        else:
            yield given
            if type(given).__name__ == "coroutine":
                given.close()


def table() -> str:
    """Return the golden table: one line a kind, those without any attribute left out."""
    lines = []
    for kind, names in reached().items():
        listed = {name for name in names if (kind, name) not in SINCE}
        later = [
            f"{name}[{major}.{minor}]" for (of, name), (major, minor) in SINCE.items() if of == kind
        ]
        if listed or later:
            lines.append(f"{kind}: {' '.join(sorted([*listed, *later]))}")
    return "\n".join(sorted(lines)) + "\n"


def of_this_python(text: str) -> dict[str, frozenset[str]]:
    """Return the golden table as it should be on the Python that runs."""
    read = {}
    for line in text.splitlines():
        kind, names = line.split(": ")
        read[kind] = frozenset(
            name.partition("[")[0]
            for name in names.split()
            if sys.version_info >= SINCE.get((kind, name.partition("[")[0]), (3, 11))
        )
    return {kind: names for kind, names in read.items() if names}


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stdout.write(table())
