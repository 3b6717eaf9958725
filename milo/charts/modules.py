"""The page's modules, joined: what the entry imports comes as one file (pure).

A browser that fetches modules one by one waits for each level of imports. So the entry and all
that it imports statically are joined into one module, each in a function of its own; modules that
are loaded later get what they share with it from there. A module that is loaded later with many of
its own is joined in the same way. The sources stay plain modules, which a
browser, a type checker and an editor read as they are.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final

from milo.errors import ConfigError

_IMPORT: Final = re.compile(
    r'^import\s*(?:\{([^}]*)\}|\*\s*as\s+(\w+))\s*from\s*"(\.[^"]+)";\n', re.MULTILINE
)
_LATER: Final = re.compile(r'\bimport\("(\.[^"]+)"\)')
_EXPORT: Final = re.compile(
    r"^export (?=(?:async )?(?:function\*?|class|const) ([\w$]+))", re.MULTILINE
)
_SHARED: Final = "$modules"


def joined_modules(texts: Mapping[str, str], entries: Sequence[str], prefix: str) -> dict[str, str]:
    """Return all modules by relative path, with what an entry imports joined into it.

    A later entry holds what no earlier one does. A module that was joined only passes on what it
    has become there: whoever still asks for it by its own name gets the same functions and the same
    state. `prefix`: where they are served, `/static/`. Raises ConfigError where an import leads
    nowhere or in a circle.
    """
    found: dict[str, str] = {}
    homes: dict[str, str] = {}
    for entry in entries:
        order = [name for name in import_order(texts, entry) if name not in homes]
        needed = {homes[name] for name in import_order(texts, entry) if name in homes}
        head = _taking(needed, entries[0], prefix) or f"export const {_SHARED} = {{}};\n"
        found[entry] = head + wrapped(texts, order, prefix) + _passed_on(entry, texts[entry])
        homes |= dict.fromkeys(order, entry)
    for name, text in texts.items():
        if name in found:
            continue
        if name in homes:
            found[name] = _taking({homes[name]}, entries[0], prefix) + _passed_on(name, text)
        else:
            found[name] = _sharing(name, text, homes, entries[0], prefix)
    return found


def import_order(texts: Mapping[str, str], entry: str) -> list[str]:
    """Return the entry and all that it imports statically, each behind what it imports itself.

    Raises ConfigError where an import leads nowhere or in a circle.
    """
    order: list[str] = []
    _visit(texts, entry, order, [])
    return order


def wrapped(texts: Mapping[str, str], order: list[str], prefix: str) -> str:
    """Return modules as functions that fill the object `$modules`, in that order.

    What they import later is looked for below `prefix`.
    """
    return "".join(_wrapped(name, texts[name], prefix) for name in order)


def _visit(texts: Mapping[str, str], name: str, order: list[str], path: list[str]) -> None:
    if name in order:
        return
    if name in path:
        raise ConfigError(f"the page's modules import each other: {' -> '.join([*path, name])}")
    if name not in texts:
        raise ConfigError(f"the page's files are damaged: {path[-1:]} imports {name}")
    for match in _IMPORT.finditer(texts[name]):
        _visit(texts, _target(name, match[3]), order, [*path, name])
    order.append(name)


def _wrapped(name: str, text: str, prefix: str) -> str:
    def taken(match: re.Match[str]) -> str:
        source = f"{_SHARED}[{json.dumps(_target(name, match[3]))}]"
        return f"const {_names(match)} = {source};\n"

    text = _IMPORT.sub(taken, text)
    text = _LATER.sub(lambda match: f'import("{prefix}{_target(name, match[1])}")', text)
    exported = ", ".join(match[1] for match in _EXPORT.finditer(text))
    body = _EXPORT.sub("", text)
    return f"{_SHARED}[{json.dumps(name)}] = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def _passed_on(name: str, text: str) -> str:
    names = ", ".join(match[1] for match in _EXPORT.finditer(text))
    return f"export const {{ {names} }} = {_SHARED}[{json.dumps(name)}];\n" if names else ""


def _sharing(name: str, text: str, homes: Mapping[str, str], first: str, prefix: str) -> str:
    """Return a module that takes what was joined from there."""
    wanted = [_target(name, match[3]) for match in _IMPORT.finditer(text)]
    head = _taking({homes[target] for target in wanted if target in homes}, first, prefix)

    def taken(match: re.Match[str]) -> str:
        target = _target(name, match[3])
        if target not in homes:
            return match[0]
        return f"const {_names(match)} = {_SHARED}[{json.dumps(target)}];\n"

    return head + _IMPORT.sub(taken, text)


def _taking(homes: set[str], first: str, prefix: str) -> str:
    """Return the imports after which `$modules` holds what these files were joined of."""
    if not homes:
        return ""
    others = "".join(f'import "{prefix}{home}";\n' for home in sorted(homes - {first}))
    return f'{others}import {{ {_SHARED} }} from "{prefix}{first}";\n'


def _names(match: re.Match[str]) -> str:
    """Return what an import makes known, as the left side of a `const`."""
    if match[2] is not None:
        return str(match[2])
    return f"{{{match[1].replace(' as ', ': ')}}}"


def _target(name: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), relative))
