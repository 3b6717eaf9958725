"""What a script says about itself, read from its syntax tree without running it (layer 1)."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Any, Final

from milo.intervals import INTERVALS
from milo.model import ScriptInput
from milo.script.actions import parse_action
from milo.script.limits import LARGEST_INPUT, MAX_INPUTS, MAX_LABEL
from milo.script.places import Places, close_match
from milo.script.text import is_unseen_in_name, is_word

_HEADER_NAMES: Final = ("timeframe", "coin")
_ACTION_NAMES: Final = ("action_if_true", "action_if_false")
_PARAM_PARTS: Final = ("name", "default", "low", "high")


@dataclass(frozen=True, slots=True)
class ActionNote:
    """Something that deserves a warning before the script runs."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """None where the script does not say it."""

    timeframe: str | None
    coin: str | None
    inputs: tuple[ScriptInput, ...]
    notes: tuple[ActionNote, ...]


def read_header(tree: ast.Module, places: Places) -> Header:
    """Return timeframe, coin and inputs; raise ScriptFault where one is not a valid constant."""
    found: dict[str, str] = {}
    for statement in tree.body:
        for target, value in _assignments(statement):
            _read_assignment(target, value, found, places)
    return Header(
        timeframe=found.get("timeframe"),
        coin=found.get("coin"),
        inputs=_inputs(tree, places),
        notes=tuple(_action_notes(tree)),
    )


def _assignments(statement: ast.stmt) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(statement, ast.Assign):
        return [(target, statement.value) for target in statement.targets]
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return [(statement.target, statement.value)]
    return []


def _read_assignment(
    target: ast.expr, value: ast.expr, found: dict[str, str], places: Places
) -> None:
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            if isinstance(part, ast.Name) and part.id in _HEADER_NAMES:
                raise places.fault(part, f'write {part.id} = "..." on a line of its own')
        return
    if not isinstance(target, ast.Name) or target.id not in _HEADER_NAMES:
        return
    name = target.id
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        raise places.fault(value, f"{name} must be a plain text in quotes: it is read, not run")
    text = value.value
    if any(map(is_unseen_in_name, text)):
        raise places.fault(value, f"{name} holds a character that nobody can see; delete it")
    if found.get(name, text) != text:
        raise places.fault(value, f"{name} is already '{found[name]}'; a script has one {name}")
    if name == "timeframe":
        _check_timeframe(value, text, places)
    else:
        _check_coin(value, text, places)
    found[name] = text


def _check_timeframe(node: ast.expr, text: str, places: Places) -> None:
    if text in INTERVALS:
        return
    near = close_match(text, INTERVALS)
    hint = f" (did you mean '{near}'?)" if near else ""
    raise places.fault(node, f"timeframe '{text}' is not one of {' '.join(INTERVALS)}{hint}")


def _check_coin(node: ast.expr, text: str, places: Places) -> None:
    if len(text) > MAX_LABEL or not is_word(text):
        raise places.fault(node, 'coin must be letters and digits only, like "BTCUSDT"')


def _inputs(tree: ast.Module, places: Places) -> tuple[ScriptInput, ...]:
    """Return every `param(...)`; it must be called, and with constants, so that it can be read."""
    inputs: dict[str, ScriptInput] = {}
    called: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "param":
            called.add(id(node.func))
            declared = _input(node, places)
            if inputs.setdefault(declared.name, declared) != declared:
                raise places.fault(
                    node, f"input '{declared.name}' is declared twice, and differently"
                )
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "param" and id(node) not in called:
            raise places.fault(node, 'param must be called: param("name", default, low, high)')
    if len(inputs) > MAX_INPUTS:
        raise places.fault(tree, f"{len(inputs)} inputs; at most {MAX_INPUTS} are allowed")
    return tuple(inputs.values())


def _input(call: ast.Call, places: Places) -> ScriptInput:
    given = _param_parts(call, places)
    name, default = given["name"], given["default"]
    low, high = given.get("low"), given.get("high")
    is_name = isinstance(name, str) and name.isidentifier() and len(name) <= MAX_LABEL
    if not is_name or any(map(is_unseen_in_name, name)):
        raise places.fault(call, 'the first argument of param is its name, like "period"')
    for part, value in (("default", default), ("low", low), ("high", high)):
        if part != "default" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise places.fault(call, f"{part} of param must be a number, not {value!r}")
        if not math.isfinite(value) or abs(value) > LARGEST_INPUT:
            raise places.fault(call, f"{part} of param is too large")
    if (low is not None and default < low) or (high is not None and default > high):
        raise places.fault(call, f"the default {default} is not within {low} and {high}")
    return ScriptInput(name=name, default=default, low=low, high=high)


def _param_parts(call: ast.Call, places: Places) -> dict[str, Any]:
    form = 'write param("name", default, low, high) with constants'
    if len(call.args) > len(_PARAM_PARTS):
        raise places.fault(call, f"too many arguments; {form}")
    nodes = dict(zip(_PARAM_PARTS, call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg not in _PARAM_PARTS or keyword.arg in nodes:
            raise places.fault(call, form)
        nodes[keyword.arg] = keyword.value
    if "name" not in nodes or "default" not in nodes:
        raise places.fault(call, f"name and default are needed; {form}")
    return {part: _constant(node, places, form) for part, node in nodes.items()}


def _constant(node: ast.expr, places: Places, form: str) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub | ast.UAdd)
        and isinstance(node.operand, ast.Constant)
        and isinstance(node.operand.value, int | float)
    ):
        value = node.operand.value
        return -value if isinstance(node.op, ast.USub) else value
    raise places.fault(node, form)


def _action_notes(tree: ast.Module) -> list[ActionNote]:
    notes = []
    has_condition = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            has_condition = has_condition or node.id == "condition_true"
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        for target, value in _assignments(node):
            if not isinstance(target, ast.Name) or target.id not in _ACTION_NAMES:
                continue
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                try:
                    parse_action(value.value)
                except ValueError as error:
                    notes.append(ActionNote(node.lineno, str(error)))
    if not has_condition:
        notes.append(ActionNote(1, "condition_true is never assigned, so it is always False"))
    return notes
