"""A script's tree in which values are looked at, and what each look belongs to (layer 1).

`watched` puts a call of a function of ours around conditions, their parts, assigned values and
indicators; it returns what it is given, so that the script goes on as it would without. Nothing is
evaluated twice or in another order.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Final

from milo.script.limits import MAX_STEP_TEXT
from milo.script.rewrite import PREFIX
from milo.script.text import clean_line

LOOK: Final = PREFIX + "look"
"""The function around what is looked at: (number, value) -> the value."""

_SIGNS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Spot:
    """A place of the script whose value is looked at, or a line that has such places."""

    number: int
    """Of the look; 0 where there is none of its own."""
    line: int
    text: str
    is_test: bool = False
    """What decides which way the script goes, or a part of that."""
    is_name: bool = False
    """A name that the line has given a value to."""
    parts: list[Spot] = field(default_factory=list)
    signs: tuple[str, ...] = ()
    """Of a comparison: those between its operands."""
    operands: tuple[Spot, ...] = ()
    """Of a comparison, each with a look of its own."""
    is_sequence: bool = False
    """The parts of `and` and `or`: the first is always looked at, another perhaps not."""


@dataclass(slots=True, kw_only=True, eq=False)
class Statement:
    """A line of the script, or several: what it looks at and what it is about."""

    spot: Spot
    binds: frozenset[str] = frozenset()
    """Names that get a value here."""
    reads: frozenset[str] = frozenset()
    around: tuple[Statement, ...] = ()
    """Tests and functions in which it stands, outermost first."""
    function: str = ""
    """The function that is defined here; its inner statements have it around them."""


def watched(tree: ast.Module, text: str, indicators: frozenset[str]) -> list[Statement]:
    """Change the tree of a checked script; return its statements, in the order of the text."""
    watcher = _Watcher(text, indicators)
    watcher.visit(tree)
    return watcher.statements


class _Watcher(ast.NodeTransformer):
    """Recursive, which is safe: the language check has bounded the depth."""

    def __init__(self, text: str, indicators: frozenset[str]) -> None:
        self._lines = [line.encode() for line in text.split("\n")]
        self._indicators = indicators
        self.statements: list[Statement] = []
        self._around: list[Statement] = []
        self._parts: list[Spot] = []
        """Where spots of expressions go."""
        self._count = 0

    # -- statements --------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.AST]:
        one = len(node.targets) == 1 and not isinstance(node.targets[0], ast.Tuple | ast.List)
        spot = self._begin(node, binds=node.targets, reads=node.value)
        if one:
            node.value = self._valued(spot, node.value)
            return node
        if self._is_indicator(node.value):
            # Its names tell what it gave.
            self.generic_visit(node.value)
        else:
            node.value = self.visit(node.value)
        return [node, *self._named(spot, node, node.targets)]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return node
        spot = self._begin(node, binds=[node.target], reads=node.value)
        node.value = self._valued(spot, node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.AST]:
        spot = self._begin(node, binds=[node.target], reads=node)
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        spot.number = self._next()
        name = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        return [node, self._statement_of(spot, name, node)]

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if node.value is None:
            return node
        spot = self._begin(node, reads=node.value)
        node.value = self._valued(spot, node.value)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self._test(node, node.test)
        for body in (node.body, node.orelse):
            self._body(body)
        self._around.pop()
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        return self.visit_If(node)  # type: ignore[arg-type]  # the same three parts

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        # Python blames its test for the failure, and would blame all of it if that were changed.
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        spot = self._begin(node, binds=[node.target], reads=node.iter)
        node.iter = self.visit(node.iter)
        seen = self._named(spot, node, [node.target])
        self._around.append(self.statements[-1])
        self._body(node.body)
        node.body[:0] = seen
        self._body(node.orelse)
        self._around.pop()
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self._begin(node, reads=node.value)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # Defaults are worked out where the function is defined, not in it.
        node.args = self.visit(node.args)
        self._begin(node)
        made = self.statements[-1]
        made.function, made.binds = node.name, frozenset((node.name,))
        self._around.append(made)
        self._body(node.body)
        self._around.pop()
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.visit_FunctionDef(node)  # type: ignore[arg-type]  # the same parts

    def _body(self, body: list[ast.stmt]) -> None:
        changed: list[ast.stmt] = []
        for statement in body:
            made = self.visit(statement)
            changed += made if isinstance(made, list) else [made]
        body[:] = changed

    def _begin(
        self, node: ast.stmt, *, binds: list[ast.expr] | None = None, reads: ast.AST | None = None
    ) -> Spot:
        """Begin a statement: what is looked at from now on belongs to it."""
        spot = Spot(number=0, line=node.lineno, text=self._head(node))
        self._parts = spot.parts
        bound = {name for target in binds or [] for name in _stored(target)}
        read: set[str] = set()
        for item in ast.walk(reads) if reads is not None else ():
            if isinstance(item, ast.Name):
                (read if isinstance(item.ctx, ast.Load) else bound).add(item.id)
        self.statements.append(
            Statement(
                spot=spot,
                binds=frozenset(bound),
                reads=frozenset(read),
                around=tuple(self._around),
            )
        )
        return spot

    def _test(self, node: ast.If | ast.While, test: ast.expr) -> None:
        """Begin a statement with a test, around those that follow."""
        spot = self._begin(node, reads=test)
        spot.is_test = True
        node.test = self._valued(spot, test)
        self._around.append(self.statements[-1])

    def _valued(self, spot: Spot, value: ast.expr) -> ast.expr:
        """Look at a statement's value; where that is a condition itself, it is not told twice."""
        self._parts = spot.parts
        changed: ast.expr = self.visit(value)
        whole = spot.parts[-1] if spot.parts and self._is_spot(value) else None
        if whole is None:
            spot.number = self._next()
            return self._look(spot.number, changed)
        before = spot.parts[:-1]
        spot.number, spot.signs, spot.operands = whole.number, whole.signs, whole.operands
        spot.is_sequence, spot.parts = whole.is_sequence, [*before, *whole.parts]
        return changed

    def _is_spot(self, node: ast.expr) -> bool:
        """Say whether `visit` makes this expression a spot, which is then the last one."""
        return (
            isinstance(node, ast.Compare | ast.BoolOp | ast.IfExp)
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
            or self._is_indicator(node)
        )

    def _is_indicator(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Await) or not isinstance(node.value, ast.Call):
            return False
        called = node.value.func
        return isinstance(called, ast.Name) and called.id in self._indicators

    def _named(self, spot: Spot, node: ast.stmt, targets: list[ast.expr]) -> list[ast.stmt]:
        """Return the statements that look at each name once it has its value."""
        looks = []
        for name in dict.fromkeys(name for target in targets for name in _stored(target)):
            part = Spot(number=self._next(), line=node.lineno, text=name, is_name=True)
            spot.parts.append(part)
            looks.append(self._statement_of(part, ast.Name(name, ast.Load()), node))
        return looks

    def _statement_of(self, spot: Spot, value: ast.expr, node: ast.stmt) -> ast.stmt:
        look = self._look(spot.number, ast.copy_location(value, node))
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(look), node))

    # -- expressions -------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        spot = self._spot(node, is_test=True)
        outer, self._parts = self._parts, spot.parts
        values = [node.left, *node.comparators]
        looked, operands = [], []
        for value in values:
            operands.append(Spot(number=self._next(), line=value.lineno, text=self._text(value)))
            looked.append(self._look(operands[-1].number, self.visit(value)))
        node.left, node.comparators = looked[0], looked[1:]
        spot.operands = tuple(operands)
        spot.signs = tuple(_SIGNS[type(sign)] for sign in node.ops)
        return self._end(spot, outer, node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        spot = self._spot(node, is_test=True)
        spot.is_sequence = True
        outer, self._parts = self._parts, spot.parts
        node.values = [self._part(value) for value in node.values]
        return self._end(spot, outer, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if not isinstance(node.op, ast.Not):
            return self.generic_visit(node)
        spot = self._spot(node, is_test=True)
        outer, self._parts = self._parts, spot.parts
        node.operand = self._part(node.operand)
        return self._end(spot, outer, node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        spot = self._spot(node)
        outer, self._parts = self._parts, spot.parts
        node.test = self._part(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return self._end(spot, outer, node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        spot = self._spot(node)
        spot.text, spot.is_name = node.target.id, True
        outer, self._parts = self._parts, spot.parts
        node.value = self._look(spot.number, self.visit(node.value))
        self._parts = outer
        outer.append(spot)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        # Python 3.11 does not know where the parts of an f-string stand.
        return node

    def visit_Await(self, node: ast.Await) -> ast.AST:
        if not self._is_indicator(node):
            return self.generic_visit(node)
        spot = self._spot(node)
        outer, self._parts = self._parts, spot.parts
        self.generic_visit(node)
        return self._end(spot, outer, node)

    def _part(self, node: ast.expr) -> ast.expr:
        """Look at a part of a condition, which is told as one whatever it is."""
        changed: ast.expr
        if self._is_spot(node):
            changed = self.visit(node)
            self._parts[-1].is_test = True
            return changed
        spot = self._spot(node, is_test=True)
        outer, self._parts = self._parts, spot.parts
        changed = self.visit(node)
        self._parts = outer
        outer.append(spot)
        return self._look(spot.number, changed)

    def _spot(self, node: ast.expr, *, is_test: bool = False) -> Spot:
        number = self._next()
        return Spot(number=number, line=node.lineno, text=self._text(node), is_test=is_test)

    def _end(self, spot: Spot, outer: list[Spot], node: ast.expr) -> ast.expr:
        self._parts = outer
        outer.append(spot)
        return self._look(spot.number, node)

    # -- looks -------------------------------------------------------------------------------

    def _next(self) -> int:
        self._count += 1
        return self._count

    @staticmethod
    def _look(number: int, value: ast.expr) -> ast.expr:
        call = ast.Call(
            func=ast.Name(LOOK, ast.Load()), args=[ast.Constant(number), value], keywords=[]
        )
        return ast.fix_missing_locations(ast.copy_location(call, value))

    def _text(self, node: ast.stmt | ast.expr) -> str:
        """Return what stands in the file; what takes several lines as Python would write it."""
        if node.end_lineno == node.lineno:
            raw = self._lines[node.lineno - 1][node.col_offset : node.end_col_offset]
            text = raw.decode("utf-8", "replace")
        else:
            text = ast.unparse(node)
        return clean_line(text, MAX_STEP_TEXT)

    def _head(self, node: ast.stmt) -> str:
        """Return a statement's text, of one with a body only what stands before that."""
        match node:
            case ast.If() | ast.While():
                source = self._lines[node.lineno - 1][node.col_offset :]
                word = "while" if isinstance(node, ast.While) else "if"
                word = "elif" if source.startswith(b"elif") else word
                text = f"{word} {self._text(node.test)}"
            case ast.For():
                text = f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                text = f"def {node.name}({ast.unparse(node.args)})"
            case _:
                return self._text(node)
        return clean_line(text, MAX_STEP_TEXT)


def _stored(target: ast.expr) -> list[str]:
    """Return the names that an assignment to the target gives a value to."""
    return [
        item.id
        for item in ast.walk(target)
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)
    ]
