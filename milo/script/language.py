"""The language: which Python a script may use, as an allow-list of syntax (layer 1).

`check` reads a text without running it and raises ScriptFault at the first thing that is not
listed, with what to write instead. Whatever this module does not know is refused, so that new
syntax of a new Python is not trusted before somebody has looked at it. Runs in the worker only.
"""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from keyword import iskeyword
from typing import Final

from milo.script.faults import ScriptFault
from milo.script.header import Header, read_header
from milo.script.limits import (
    MAX_FORMAT_WIDTH,
    MAX_INT_LITERAL_BITS,
    MAX_NODES,
    MAX_STRING_LITERAL,
    MAX_TREE_DEPTH,
    MAX_WARNINGS,
)
from milo.script.places import Places, close_match, running_children
from milo.script.scopes import free_names
from milo.script.text import is_unseen_in_name, source_text
from milo.script.vocabulary import (
    ATTRIBUTE_ADVICE,
    ATTRIBUTES,
    BARE_MODULE_NAMES,
    BUILTINS,
    EXCEPTIONS,
    FUNCTIONS,
    MARKET_NAMES,
    MODULES,
    UNBINDABLE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedScript:
    """A script that may run: its tree (not yet rewritten) and what it says about itself."""

    text: str
    tree: ast.Module
    has_finalizers: bool
    """Its generators may hold code that still runs when they are thrown away."""
    header: Header
    indicators: tuple[str, ...]
    """The calculate_... names that it uses, sorted."""
    used_names: frozenset[str]
    """Every name of the vocabulary that it reads."""
    warnings: tuple[str, ...]


def check(raw: bytes, indicator_names: frozenset[str]) -> CheckedScript:
    """Return the checked script; raise ScriptFault with place and advice where it is refused."""
    text = source_text(raw)
    places = Places(text)
    tree, notes = _parse(text)
    _measure(tree, places)
    _Checker(places).run(tree, _known(indicator_names))
    header = read_header(tree, places)
    used = free_names(tree, places, _known(indicator_names))
    notes += [f"line {note.line}: {note.text}" for note in header.notes]
    notes += _missing_awaits(tree, indicator_names)
    notes += _mixed_names(tree)
    return CheckedScript(
        text=text,
        tree=tree,
        has_finalizers=_has_finalizers(tree),
        header=header,
        indicators=tuple(sorted(used & indicator_names)),
        used_names=used,
        warnings=tuple(notes[:MAX_WARNINGS]),
    )


def _known(indicator_names: frozenset[str]) -> frozenset[str]:
    return BUILTINS | EXCEPTIONS | MARKET_NAMES | FUNCTIONS | BARE_MODULE_NAMES | indicator_names


def _parse(text: str) -> tuple[ast.Module, list[str]]:
    """Parse; Python's own warnings (an invalid escape, say) come back as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise syntax_fault(error) from None
        except (MemoryError, RecursionError, ValueError, OverflowError):
            raise ScriptFault("the script is nested too deeply to be read") from None
    return tree, [f"line {item.lineno}: {item.message}" for item in caught]


def syntax_fault(error: SyntaxError) -> ScriptFault:
    """Return Python's SyntaxError as a fault, in the place that it names."""
    message = error.msg or "not valid Python"
    if "await' outside" in message:
        message = "'await' in a plain 'def'; write 'async def', and await the function's call"
    end = error.end_offset if error.end_lineno == error.lineno else None
    return ScriptFault(
        f"syntax error: {message}",
        line=error.lineno,
        column=error.offset or None,
        end_column=end if end and end > 0 else None,
    )


def _measure(tree: ast.Module, places: Places) -> None:
    """Bound the number of nodes and their depth, annotations included."""
    count = 0
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > MAX_TREE_DEPTH:
            raise places.fault(node, f"nested more than {MAX_TREE_DEPTH} levels deep; use names")
        if count > MAX_NODES:
            raise ScriptFault(f"the script has more than {MAX_NODES} parts")
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


def _has_finalizers(tree: ast.Module) -> bool:
    nodes = list(ast.walk(tree))
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes) and any(
        isinstance(node, ast.Try) and node.finalbody for node in nodes
    )


def _missing_awaits(tree: ast.Module, indicator_names: frozenset[str]) -> list[str]:
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    return [
        f"line {node.lineno}: {node.func.id}(...) is called without 'await'"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in indicator_names
        and id(node) not in awaited
    ]


def _mixed_names(tree: ast.Module) -> list[str]:
    """Warn of names that mix alphabets which look alike: they may pass for another name."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not node.id.isascii():
            alphabets = {unicodedata.name(letter, "").split(" ")[0] for letter in node.id}
            is_greek = not _GREEK_TWINS.isdisjoint(node.id)
            if "LATIN" in alphabets and ("CYRILLIC" in alphabets or is_greek):
                found.setdefault(node.id, node.lineno)
    return [
        f"line {line}: the name '{name}' mixes letters of two alphabets that look alike"
        for name, line in found.items()
    ]


# Others, as in a name like Δclose, deceive nobody.
_GREEK_TWINS: Final = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοντυχ")

_PLAIN_NODES: Final[tuple[type[ast.AST], ...]] = (
    ast.Module, ast.Expr, ast.Assign, ast.AnnAssign, ast.Delete, ast.Pass, ast.Break, ast.Continue,
    ast.If, ast.For, ast.While, ast.Try, ast.Raise, ast.Assert, ast.Return,
    ast.Await, ast.Yield, ast.YieldFrom, ast.Lambda, ast.NamedExpr, ast.arguments,
    ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Starred,
    ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Subscript, ast.Slice,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.JoinedStr,
    ast.expr_context, ast.boolop, ast.unaryop, ast.cmpop, ast.operator,
)  # fmt: skip
"""Allowed as they are; their children are looked at."""

_ADVICE: Final = {
    "ClassDef": "'class' is not available to scripts; use functions, dicts and tuples",
    "With": "'with' is not available to scripts; there is nothing to open or to lock",
    "AsyncWith": "'async with' is not available to scripts",
    "AsyncFor": "'async for' is not available to scripts; use 'for'",
    "Match": "'match' is not available to scripts; use if / elif / else",
    "TryStar": "'except*' is not available to scripts; use 'except'",
    "TypeAlias": "'type' statements are not available to scripts; delete the line",
    "TemplateStr": "t-strings are not available to scripts; use an f-string",
}


def _place(fault: ScriptFault) -> tuple[int, int]:
    return fault.line or 0, fault.column or 0


def _begins_behind(node: ast.AST, fault: ScriptFault) -> bool:
    """Say whether a node and all its parts stand behind a fault (a decorator stands before)."""
    if not hasattr(node, "lineno") or hasattr(node, "decorator_list"):
        return False
    return (node.lineno, node.col_offset + 1) > _place(fault)  # type: ignore[attr-defined]


_LONG_NUMBER: Final = re.compile(r"\d+")
_DATE_PATTERN: Final = re.compile(r"%[A-Za-z]")


@dataclass(slots=True)
class _Checker:
    """Walks the tree without recursion and raises the fault that stands first in the text."""

    places: Places

    def run(self, tree: ast.Module, known: frozenset[str]) -> None:
        rules = self._rules()
        first: ScriptFault | None = None
        stack: list[ast.AST] = [tree]
        while stack:
            node = stack.pop()
            if first is not None and _begins_behind(node, first):
                # Looked at no further: a text full of faults would take long to complain about.
                continue
            rule = rules.get(type(node))
            try:
                if rule is not None:
                    rule(node)
                elif not isinstance(node, _PLAIN_NODES):
                    self._refuse_unknown(node)
            except ScriptFault as fault:
                if first is None or _place(fault) < _place(first):
                    first = fault
                if rule is None:
                    continue
            stack.extend(reversed(list(running_children(node))))
        try:
            free_names(tree, self.places, known)
        except ScriptFault as fault:
            if first is None or _place(fault) < _place(first):
                first = fault
        if first is not None:
            raise first

    def _rules(self) -> dict[type[ast.AST], Callable[..., None]]:
        return {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Constant: self._constant,
            ast.FormattedValue: self._formatted,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.arguments: self._arguments,
            ast.arg: self._argument,
            ast.keyword: self._keyword,
            ast.alias: self._allow,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.ExceptHandler: self._handler,
            ast.comprehension: self._comprehension,
            ast.Global: self._declaration,
            ast.Nonlocal: self._declaration,
            ast.BinOp: self._operation,
            ast.AugAssign: self._operation,
        }

    def _allow(self, node: ast.AST) -> None:
        """Nothing to check here: the parent did."""

    def _refuse_unknown(self, node: ast.AST) -> None:
        name = type(node).__name__
        raise self.places.fault(node, _ADVICE.get(name, f"'{name}' is not available to scripts"))

    def _name(self, node: ast.Name) -> None:
        self._check_name(node, node.id)
        if isinstance(node.ctx, ast.Store | ast.Del):
            self._check_bindable(node, node.id)

    def _check_name(self, node: ast.AST, name: str) -> None:
        if name.startswith("_") and name != "_":
            raise self.places.fault(
                node, f"the name '{name}' begins with an underscore; choose another"
            )
        if name.endswith("__roles__"):
            raise self.places.fault(node, f"the name '{name}' is reserved; choose another")
        if name.isascii():
            if iskeyword(name):
                # Written in wide letters, which Python reads as names and then as plain ones.
                raise self.places.fault(node, f"the name '{name}' is reserved; choose another")
        elif unseen := next(filter(is_unseen_in_name, name), None):
            raise self.places.fault(
                node,
                f"a name holds the invisible character U+{ord(unseen):04X}; delete it",
            )

    def _check_bindable(self, node: ast.AST, name: str) -> None:
        if name in UNBINDABLE:
            raise self.places.fault(node, f"'{name}' cannot be assigned; choose another name")

    def _attribute(self, node: ast.Attribute) -> None:
        at = self.places.attribute_of(node)
        if isinstance(node.ctx, ast.Store | ast.Del):
            raise self.places.fault(
                node, f"'.{node.attr}' cannot be assigned; use a variable or a dict item"
            )
        if node.attr not in ATTRIBUTES:
            message = f"attribute '.{node.attr}' is not available to scripts"
            advice = ATTRIBUTE_ADVICE.get(node.attr)
            if advice is None and (near := close_match(node.attr, ATTRIBUTES)):
                advice = f"did you mean '.{near}'?"
            raise self.places.fault_at(at, f"{message}; {advice}" if advice else message)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bytes | complex):
            kind = "bytes" if isinstance(value, bytes) else "complex"
            raise self.places.fault(node, f"{kind} literals are not available to scripts")
        if isinstance(value, str) and len(value) > MAX_STRING_LITERAL:
            raise self.places.fault(
                node, f"a text of {len(value)} characters; at most {MAX_STRING_LITERAL} are allowed"
            )
        if isinstance(value, int) and value.bit_length() > MAX_INT_LITERAL_BITS:
            raise self.places.fault(
                node, f"a number of more than {MAX_INT_LITERAL_BITS} bits; use a float like 1e40"
            )

    def _formatted(self, node: ast.FormattedValue) -> None:
        if not isinstance(node.format_spec, ast.JoinedStr):
            return
        for part in node.format_spec.values:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                if _DATE_PATTERN.search(part.value):
                    # Only dates take these, and to them a number is plain text.
                    continue
                for number in _LONG_NUMBER.findall(part.value):
                    if len(number) > len(str(MAX_FORMAT_WIDTH)):
                        raise self.places.fault(
                            node, f"a width of {number}; at most {MAX_FORMAT_WIDTH} is allowed"
                        )

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        at = self.places.definition_of(node)
        if node.decorator_list:
            raise self.places.fault(
                node.decorator_list[0], "decorators are not available to scripts; call the function"
            )
        if getattr(node, "type_params", None):
            raise self.places.fault_at(at, "type parameters are not available to scripts")
        self._check_name(node, node.name)
        self._check_bindable(node, node.name)

    def _arguments(self, node: ast.arguments) -> None:
        if node.posonlyargs:
            raise self.places.fault(
                node.posonlyargs[0], "positional-only parameters ('/') are not available to scripts"
            )

    def _argument(self, node: ast.arg) -> None:
        self._check_name(node, node.arg)
        self._check_bindable(node, node.arg)

    def _keyword(self, node: ast.keyword) -> None:
        if node.arg is not None:
            self._check_name(node, node.arg)

    def _import(self, node: ast.Import) -> None:
        for item in node.names:
            self._check_module(item, item.name)
            self._check_alias(item)

    def _import_from(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            raise self.places.fault(node, "scripts cannot import other files")
        self._check_module(node, node.module)
        members = MODULES[node.module]
        for item in node.names:
            if item.name == "*":
                raise self.places.fault(
                    node, f"'import *' is not available to scripts; name what you need of"
                    f" {node.module}"
                )  # fmt: skip
            if item.name not in members:
                near = close_match(item.name, members)
                hint = f"; did you mean '{near}'?" if near else ""
                raise self.places.fault(
                    item, f"'{item.name}' of {node.module} is not available to scripts{hint}"
                )
            self._check_alias(item)

    def _check_module(self, node: ast.AST, name: str) -> None:
        if name not in MODULES:
            raise self.places.fault(
                node,
                f"import of '{name}' is not available to scripts; only math, statistics and"
                " datetime are (indicators need no import)",
            )

    def _check_alias(self, node: ast.alias) -> None:
        bound = node.asname or node.name
        self._check_name(node, bound)
        self._check_bindable(node, bound)

    def _handler(self, node: ast.ExceptHandler) -> None:
        if node.type is None:
            raise self.places.fault(
                node, "'except:' needs the kind of error, like 'except ValueError:'"
            )
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in kinds:
            if not isinstance(kind, ast.Name | ast.Attribute):
                raise self.places.fault(
                    kind, "'except' needs the name of an error, like ValueError"
                )
        if node.name is not None:
            self._check_name(node, node.name)
            self._check_bindable(node, node.name)

    def _comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            raise self.places.fault(
                node.target, "'async for' is not available to scripts; use 'for'"
            )

    def _declaration(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            self._check_name(node, name)
            self._check_bindable(node, name)

    def _operation(self, node: ast.BinOp | ast.AugAssign) -> None:
        if isinstance(node.op, ast.MatMult):
            raise self.places.fault(node, "the operator '@' is not available to scripts")
