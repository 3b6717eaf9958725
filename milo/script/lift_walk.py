"""Walks the syntax tree of a script once for a whole block of candles (layer 1).

An `if` whose condition differs from candle to candle runs both branches, each for its own candles,
and merges the variables behind them. Errors count only for the candles that reach them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final

from milo.script.lift_calls import Library, items_present
from milo.script.lift_expressions import Expressions
from milo.script.lift_market import Market
from milo.script.lift_ops import (
    Block,
    plainly,
)
from milo.script.lift_values import (
    REASONS,
    UNBOUND,
    Bools,
    Items,
    NotLiftable,
    Path,
    Value,
    merge,
)
from milo.script.rewrite import PREFIX

_Left = tuple[Path, dict[str, Value]]
"""Candles that left, and the variables as they were then."""


class _Loop:
    """The candles that left a loop, or one round of it, early."""

    def __init__(self) -> None:
        self.broken: list[_Left] = []
        self.continued: list[_Left] = []


class Walk(Expressions):
    """One evaluation of the script, for all candles of a block."""

    def __init__(
        self, block: Block, market: Market, library: Library, inputs: Mapping[str, float]
    ) -> None:
        super().__init__(block, market, library, inputs)
        self._loops: list[_Loop] = []

    def run(self, tree: ast.Module) -> None:
        """Evaluate the whole script; raises NotLiftable with the line."""
        self._body(tree.body, Path())

    def result(self, name: str, default: Value) -> Value:
        """Return a variable of the script as it stands at the end."""
        return self._globals.names.get(name, default)

    # Statements ----------------------------------------------------------------------------------

    def _body(self, statements: list[ast.stmt], path: Path | None) -> Path | None:
        """Run statements for the candles of the path; return those that come out at the end."""
        for statement in statements:
            if path is None:
                return None
            run = _STATEMENTS.get(type(statement))
            try:
                if run is None:
                    raise NotLiftable(REASONS.get(type(statement), "this statement"))
                path = run(self, statement, path)
            except NotLiftable as reason:
                if reason.line is None:
                    reason.line = statement.lineno
                raise
        return path

    def _expression(self, node: ast.Expr, path: Path) -> Path:
        self.value(node.value, path)
        return path

    def _assign(self, node: ast.Assign, path: Path) -> Path:
        value = self.value(node.value, path)
        for target in node.targets:
            self._bind(target, value, path)
        return path

    def _annotated(self, node: ast.AnnAssign, path: Path) -> Path:
        if node.value is not None:
            self._bind(node.target, self.value(node.value, path), path)
        return path

    def _augmented(self, node: ast.AugAssign, path: Path) -> Path:
        if not isinstance(node.target, ast.Name):
            raise NotLiftable("an item is changed")
        old = self._load(node.target.id, path)
        if isinstance(old, Items) and old.kind == "list":
            raise NotLiftable("a list is changed")
        value = self._operate(type(node.op), old, self.value(node.value, path), path)
        self._frame.names[node.target.id] = value
        return path

    def _if(self, node: ast.If, path: Path) -> Path | None:
        condition = self._truth(node.test, path)
        if isinstance(condition, bool):
            return self._body(node.body if condition else node.orelse, path)
        frame = self._frame
        before = frame.names
        then, other = path.where(condition), path.where(condition, False)
        frame.names = dict(before)
        then_end = self._body(node.body, then)
        then_names = frame.names
        frame.names = dict(before)
        other_end = self._body(node.orelse, other)
        if then_end is None:
            return other_end
        if other_end is None:
            frame.names = then_names
            return then_end
        frame.names = self._merged_names(condition, then_names, frame.names)
        if then_end is then and other_end is other:
            return path
        return self._union([then_end, other_end])

    def _merged_names(
        self, condition: Bools, then: dict[str, Value], other: dict[str, Value]
    ) -> dict[str, Value]:
        """Return the variables behind an `if`; what only one branch assigned stays what it was."""
        names = {}
        for name in then.keys() | other.keys():
            one, two = then.get(name, UNBOUND), other.get(name, UNBOUND)
            names[name] = one if one is two else merge([(condition, one), (~condition, two)])
        return names

    def _union(self, paths: list[Path]) -> Path | None:
        if not paths:
            return None
        if len(paths) == 1:
            return paths[0]
        together = self.block.full(False)
        for path in paths:
            mask = path.mask()
            if mask is None:
                return Path()
            together |= mask
        return Path(None, together)

    def _for(self, node: ast.For, path: Path) -> Path | None:
        items = list(items_present(self.value(node.iter, path)))
        loop = _Loop()
        current: Path | None = path
        for item, present in items:
            if current is None:
                break
            self._loops.append(loop)
            current = self._round(node, item, present, current)
            self._loops.pop()
        if node.orelse:
            current = self._body(node.orelse, current)
        return self._rejoined(current, loop.broken)

    def _rejoined(self, current: Path | None, left: list[_Left]) -> Path | None:
        """Return all candles that come to the end of a loop, with the variables of each."""
        for path, names in left:
            if current is None:
                self._frame.names = names
            else:
                mask = path.mask()
                if mask is None:
                    mask = self.block.full(True)
                self._frame.names = self._merged_names(mask, names, self._frame.names)
            current = path if current is None else self._union([current, path])
        return current

    def _round(self, node: ast.For, item: Value, present: Bools | None, path: Path) -> Path | None:
        """Run a loop's body once; variables of candles that are not in it stay what they were."""
        frame, loop = self._frame, self._loops[-1]
        before = frame.names
        part = path if present is None else path.where(present)
        frame.names = dict(before)
        self._bind(node.target, item, part)
        loop.continued = []
        end = self._body(node.body, part)
        after = self._rejoined(end, loop.continued)
        if present is None:
            return after
        left_out = path.where(present, False)
        if after is None:
            frame.names = before
            return left_out
        frame.names = self._merged_names(present, frame.names, before)
        return self._union([after, left_out])

    def _break(self, node: ast.Break, path: Path) -> None:
        self._loops[-1].broken.append((path, dict(self._frame.names)))

    def _continue(self, node: ast.Continue, path: Path) -> None:
        self._loops[-1].continued.append((path, dict(self._frame.names)))

    def _return(self, node: ast.Return, path: Path) -> None:
        value = None if node.value is None else self.value(node.value, path)
        self._frame.returned.append((path, value))

    def _assert(self, node: ast.Assert, path: Path) -> Path | None:
        condition = self._truth(node.test, path)
        if isinstance(condition, bool):
            if condition:
                return path
            self.block.doubt(path)
            return None
        self.block.doubt(path, ~condition)
        return path

    def _raise(self, node: ast.Raise, path: Path) -> None:
        self.block.doubt(path)

    def _delete(self, node: ast.Delete, path: Path) -> Path:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                raise NotLiftable("an item is deleted")
            self._load(target.id, path)
            self._frame.names[target.id] = UNBOUND
        return path

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> Path:
        self._frame.names[node.name] = self._function(
            node, node.name, node.body, path, is_async=isinstance(node, ast.AsyncFunctionDef)
        )
        return path

    def _import(self, node: ast.Import, path: Path) -> Path:
        for item in node.names:
            self._frame.names[item.asname or item.name] = self._functions[PREFIX + item.name]
        return path

    def _import_from(self, node: ast.ImportFrom, path: Path) -> Path:
        module = self._functions[f"{PREFIX}{node.module}"]
        for item in node.names:
            value = plainly(self.block, path, getattr, module, item.name)
            self._frame.names[item.asname or item.name] = value
        return path


_STATEMENTS: Final[dict[type[ast.stmt], Callable[[Walk, Any, Path], Path | None]]] = {
    ast.Expr: Walk._expression,
    ast.Assign: Walk._assign,
    ast.AnnAssign: Walk._annotated,
    ast.AugAssign: Walk._augmented,
    ast.If: Walk._if,
    ast.For: Walk._for,
    ast.Return: Walk._return,
    ast.Pass: lambda walk, node, path: path,
    ast.Break: Walk._break,
    ast.Continue: Walk._continue,
    ast.Assert: Walk._assert,
    ast.Raise: Walk._raise,
    ast.Delete: Walk._delete,
    ast.FunctionDef: Walk._define,
    ast.AsyncFunctionDef: Walk._define,
    ast.Import: Walk._import,
    ast.ImportFrom: Walk._import_from,
}
