"""Expressions of a lifted script: names, items, operators, calls (layer 1).

A call of the script's own function runs its body anew, for the candles that come to the call.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from milo.script.lift_calls import Calls, Library, decide_over, items_present, known, plain_of
from milo.script.lift_market import LIFTED_INDICATORS, Market
from milo.script.lift_ops import (
    Block,
    binary,
    bool_items,
    compare,
    length_of,
    plainly,
    spread,
    truth,
    unary,
)
from milo.script.lift_scopes import arguments_of, local_names_of, target_names
from milo.script.lift_values import (
    GARBAGE,
    REASONS,
    UNBOUND,
    Bools,
    Call,
    Choice,
    Column,
    Frame,
    Function,
    History,
    Items,
    Line,
    Method,
    NotLiftable,
    Opaque,
    Path,
    Row,
    Value,
    is_plain,
    merge,
)
from milo.script.limits import MAX_FORMAT_WIDTH
from milo.script.vocabulary import MARKET_NAMES

_WIDTH: Final = re.compile(r"\d+")
MOST_STEPS: Final = 20_000
"""Syntax nodes that one block may evaluate: unrolled loops and calls counted each time."""
MOST_CALLS: Final = 16
"""How deep calls of the script's own functions may be nested."""


class Expressions:
    """The expressions of a script, for all candles of a block; `Walk` has its statements."""

    def __init__(
        self,
        block: Block,
        market: Market,
        library: Library,
        inputs: Mapping[str, float],
    ) -> None:
        """Take `inputs`, those that the user changed."""
        self.block = block
        self._market = market
        self._functions = library.functions
        self._calls = Calls(block, library, inputs)
        self._indicators = library.indicators
        self._frame = Frame(None, frozenset())
        self._globals = self._frame
        self._depth = 0
        self._steps = 0

    def _body(self, statements: list[ast.stmt], path: Path | None) -> Path | None:
        raise NotImplementedError

    # Expressions ---------------------------------------------------------------------------------

    def value(self, node: ast.expr, path: Path) -> Value:
        """Return the value of an expression on the candles of the path."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise NotLiftable("too many steps for one candle", node.lineno)
        run = _EXPRESSIONS.get(type(node))
        try:
            if run is None:
                raise NotLiftable(REASONS.get(type(node), "this expression"))
            return run(self, node, path)
        except NotLiftable as reason:
            if reason.line is None:
                reason.line = node.lineno
            raise

    def _truth(self, node: ast.expr, path: Path) -> bool | Bools:
        found = truth(self.block, self.value(node, path), path)
        if isinstance(found, bool):
            return found
        # A way that no candle takes is not walked.
        if not found.any():
            return False
        return True if found.all() else found

    def _name(self, node: ast.Name, path: Path) -> Value:
        return self._load(node.id, path)

    def _load(self, name: str, path: Path) -> Value:
        """Return a variable; candles on which nothing was assigned to it become doubtful."""
        frame: Frame | None = self._frame
        while frame is not None:
            if frame is self._globals or name in frame.local_names:
                break
            frame = frame.outer
        assert frame is not None, "the outermost frame is that of the script"
        value = frame.names.get(name, UNBOUND)
        if value is UNBOUND:
            if frame is self._globals:
                return self._constant_name(name, path)
            return self.block.fail(path)
        if isinstance(value, Choice):
            return self._bound(name, value, frame, path)
        return value

    def _bound(self, name: str, value: Choice, frame: Frame, path: Path) -> Value:
        """Replace what was never assigned by what the name means without that."""
        if not any(one is UNBOUND for _, one in value.alternatives):
            return value
        pairs = []
        for mask, one in value.alternatives:
            if one is UNBOUND:
                part = path.where(mask)
                is_ours = frame is self._globals
                one = self._constant_name(name, part) if is_ours else self.block.fail(part)
            pairs.append((mask, one))
        return merge(pairs)

    def _constant_name(self, name: str, path: Path) -> Value:
        if name in MARKET_NAMES:
            return self._market.name(self.block, name)
        if name in self._functions:
            return self._functions[name]
        return self.block.fail(path)

    def _attribute(self, node: ast.Attribute, path: Path) -> Value:
        def one(owner: Value, part: Path) -> Value:
            if isinstance(owner, Row) and node.attr not in ("get", "keys", "values", "items"):
                return self._market.field(self.block, owner, node.attr, part)
            return self._calls.attribute(owner, node.attr, part)

        return spread(self.block, path, one, [self.value(node.value, path)])

    def _subscript(self, node: ast.Subscript, path: Path) -> Value:
        owner = self.value(node.value, path)
        if isinstance(node.slice, ast.Slice):
            limits = tuple(
                None if limit is None else self.value(limit, path)
                for limit in (node.slice.lower, node.slice.upper, node.slice.step)
            )
            return spread(
                self.block, path, lambda one, part: self._slice(one, limits, part), [owner]
            )
        return spread(self.block, path, self._item, [owner, self.value(node.slice, path)])

    def _slice(self, owner: Value, limits: tuple[Value, ...], path: Path) -> Value:
        if isinstance(owner, History | Line):
            return self._market.part(self.block, owner, limits, path)
        key = slice(*(plain_of(limit) for limit in limits))
        if isinstance(owner, Items):
            if owner.present is not None:
                raise NotLiftable("a slice of what differs from candle to candle")
            items = plainly(self.block, path, lambda: owner.items[key])
            return GARBAGE if items is GARBAGE else Items(owner.kind, items)
        whole = plain_of(owner)
        return known(plainly(self.block, path, lambda: whole[key]))

    def _item(self, owner: Value, key: Value, path: Path) -> Value:
        if isinstance(owner, History | Line):
            return self._market.item(self.block, owner, key, path)
        if isinstance(owner, Row):
            return self._market.field(self.block, owner, plain_of(key), path)
        if isinstance(owner, Items):
            if owner.present is not None or not is_plain(key):
                raise NotLiftable("an item of what differs from candle to candle")
            return plainly(self.block, path, lambda: owner.items[key])
        if not is_plain(owner):
            raise NotLiftable("an item of what differs from candle to candle")
        constant = plain_of(key)
        return known(plainly(self.block, path, lambda: owner[constant]))

    def _operate(self, kind: type[ast.operator], left: Value, right: Value, path: Path) -> Value:
        return spread(
            self.block, path, lambda one, two, part: binary(self.block, kind, one, two, part),
            [left, right],
        )  # fmt: skip

    def _binary(self, node: ast.BinOp, path: Path) -> Value:
        left = self.value(node.left, path)
        return self._operate(type(node.op), left, self.value(node.right, path), path)

    def _unary(self, node: ast.UnaryOp, path: Path) -> Value:
        value = self.value(node.operand, path)
        if isinstance(node.op, ast.Not):
            found = truth(self.block, value, path)
            return not found if isinstance(found, bool) else Column(~found)
        kind = type(node.op)
        return spread(
            self.block, path, lambda one, part: unary(self.block, kind, one, part), [value]
        )

    def _logical(self, node: ast.BoolOp, path: Path) -> Value:
        is_and = isinstance(node.op, ast.And)
        value = self.value(node.values[0], path)
        part = path
        for following in node.values[1:]:
            found = truth(self.block, value, part)
            if isinstance(found, bool):
                if found is not is_and:
                    return value
                value = self.value(following, part)
                continue
            inner = part.where(found, is_and)
            rest = self._rest(node, following, inner)
            return self._both(is_and, found, value, rest)
        return value

    def _rest(self, node: ast.BoolOp, first: ast.expr, path: Path) -> Value:
        """Return `first and ...` for the candles that come so far."""
        values = node.values[node.values.index(first) :]
        if len(values) == 1:
            return self.value(first, path)
        return self._logical(ast.BoolOp(op=node.op, values=values), path)

    def _both(self, is_and: bool, found: Bools, value: Value, rest: Value) -> Value:
        if isinstance(value, Column) and value.kind == "b":
            if isinstance(rest, Column) and rest.kind == "b":
                return Column(found & rest.items if is_and else found | rest.items)
            if isinstance(rest, bool):
                return value if rest is is_and else rest
        go_on = found if is_and else ~found
        return merge([(go_on, rest), (~go_on, value)])

    def _compare(self, node: ast.Compare, path: Path) -> Value:
        left = self.value(node.left, path)
        result: Value = True
        part = path
        for operation, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node, part)
            kind = type(operation)
            found = spread(
                self.block, part,
                lambda one, two, inner, kind=kind: compare(self.block, kind, one, two, inner),
                [left, right],
            )  # fmt: skip
            if found is GARBAGE:
                return GARBAGE if result is True else result
            if isinstance(result, Column) and isinstance(found, Column):
                result = Column(result.items & found.items)
            elif not isinstance(result, Column):
                result = found
            elif found is False:
                result = False
            if result is False or right_node is node.comparators[-1]:
                return result
            if isinstance(found, Column):
                part = part.where(bool_items(found))  # type: ignore[arg-type]
            left = right
        return result

    def _choose(self, node: ast.IfExp, path: Path) -> Value:
        condition = self._truth(node.test, path)
        if isinstance(condition, bool):
            return self.value(node.body if condition else node.orelse, path)
        one = self.value(node.body, path.where(condition))
        other = self.value(node.orelse, path.where(condition, False))
        return merge([(condition, one), (~condition, other)])

    def _sequence(self, kind: str, node: ast.Tuple | ast.List, path: Path) -> Value:
        if any(isinstance(item, ast.Starred) for item in node.elts):
            raise NotLiftable("a star in a list")
        return Items(kind, tuple(self.value(item, path) for item in node.elts))

    def _dict(self, node: ast.Dict, path: Path) -> Value:
        """Only of constants: methods that change it are not to be had."""
        if any(key is None for key in node.keys):
            raise NotLiftable("'**' in a dict")
        keys = [plain_of(self.value(key, path)) for key in node.keys if key is not None]
        values = [plain_of(self.value(value, path)) for value in node.values]
        return plainly(self.block, path, lambda: dict(zip(keys, values, strict=True)))

    def _joined(self, node: ast.JoinedStr, path: Path) -> Value:
        parts = [self.value(part, path) for part in node.values]
        if all(isinstance(part, str) for part in parts):
            return "".join(parts)
        if any(part is GARBAGE for part in parts):
            return GARBAGE

        def one(*texts: Any) -> Value:
            *given, _ = texts
            if all(isinstance(text, str) for text in given):
                return "".join(given)
            return Opaque(sum(map(length_of, given)))

        return spread(self.block, path, one, parts)

    def _formatted(self, node: ast.FormattedValue, path: Path) -> Value:
        value = self.value(node.value, path)
        spec = "" if node.format_spec is None else self.value(node.format_spec, path)
        is_constant = not isinstance(node.format_spec, ast.JoinedStr) or all(
            isinstance(part, ast.Constant) for part in node.format_spec.values
        )
        if not is_constant:
            # Its widths are checked when they are known.
            if not isinstance(spec, str):
                raise NotLiftable("a format that differs from candle to candle")
            if any(int(width) > MAX_FORMAT_WIDTH for width in _WIDTH.findall(spec)):
                return self.block.fail(path)
        return self._calls.formatted(value, node.conversion, spec, path)

    def _lambda(self, node: ast.Lambda, path: Path) -> Value:
        body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        return self._function(node, "<lambda>", body, path, is_async=False)

    def _walrus(self, node: ast.NamedExpr, path: Path) -> Value:
        if self._frame.is_comprehension:
            raise NotLiftable("':=' in a comprehension")
        value = self.value(node.value, path)
        names, mask = self._frame.names, path.mask()
        if mask is None:
            names[node.target.id] = value
        else:
            # The others, which do not come here, keep what the name held.
            old = names.get(node.target.id, UNBOUND)
            names[node.target.id] = merge([(mask, value), (~mask, old)])
        return value

    # Loops in one line ---------------------------------------------------------------------------

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, path: Path) -> Value:
        items: list[Value] = []
        present: list[Bools | None] = []
        for item, mask, _ in self._elements(node, path, []):
            items.append(item)
            present.append(mask)
        is_whole = all(mask is None for mask in present)
        return Items("list", tuple(items), None if is_whole else tuple(present))

    def _elements(
        self, node: ast.ListComp | ast.GeneratorExp, path: Path, live: list[Bools]
    ) -> Iterator[tuple[Value, Bools | None, Path]]:
        """Yield (item, candles on which it is there or None for all, the path to it).

        `live` may be given, from item to item, the candles that still ask for another.
        """
        names = frozenset(name for part in node.generators for name in target_names(part.target))
        inner = Frame(self._frame, names, is_comprehension=True)
        outer = self._frame
        yield from self._nested(node, 0, None, path, (outer, inner), live)

    def _nested(
        self,
        node: ast.ListComp | ast.GeneratorExp,
        level: int,
        present: Bools | None,
        path: Path,
        frames: tuple[Frame, Frame],
        live: list[Bools],
    ) -> Iterator[tuple[Value, Bools | None, Path]]:
        """One `for` of a comprehension, and those within it."""
        part = node.generators[level]
        outer, inner = frames
        source = self._within(outer if level == 0 else inner, part.iter, path)
        for item, mask in list(items_present(source)):
            here, there = path.where(live[-1]) if live else path, present
            if mask is not None:
                here, there = here.where(mask), mask if there is None else there & mask
            self._frame, saved = inner, self._frame
            self._bind(part.target, item, here)
            self._frame = saved
            is_out = False
            for condition in part.ifs:
                found = truth(self.block, self._within(inner, condition, here), here)
                if isinstance(found, bool):
                    is_out = is_out or not found
                else:
                    here, there = here.where(found), found if there is None else there & found
                if is_out:
                    break
            if is_out:
                continue
            if level + 1 < len(node.generators):
                yield from self._nested(node, level + 1, there, here, frames, live)
            else:
                yield self._within(inner, node.elt, here), there, here

    def _within(self, frame: Frame, node: ast.expr, path: Path) -> Value:
        """Return the value of an expression that sees another frame."""
        self._frame, saved = frame, self._frame
        try:
            return self.value(node, path)
        finally:
            self._frame = saved

    def _decided(self, node: ast.GeneratorExp, path: Path, *, is_any: bool) -> Value:
        """Return any or all: no candle goes on once it is decided."""
        live: list[Bools] = []
        items = self._elements(node, path, live)
        return decide_over(self._calls, items, live, is_any=is_any)

    # Calls ---------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, path: Path) -> Value:
        function = self.value(node.func, path)
        if function is GARBAGE:
            return GARBAGE
        if isinstance(function, Choice):
            raise NotLiftable("a call of what differs from candle to candle")
        if any(isinstance(item, ast.Starred) for item in node.args) or any(
            item.arg is None for item in node.keywords
        ):
            raise NotLiftable("a call with stars")
        if len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp):
            return self._call_on_generator(function, node, node.args[0], path)
        arguments = [self.value(item, path) for item in node.args]
        options = {str(item.arg): self.value(item.value, path) for item in node.keywords}
        return self._called(function, arguments, options, path)

    def _call_on_generator(
        self, function: Value, node: ast.Call, generator: ast.GeneratorExp, path: Path
    ) -> Value:
        for name in ("any", "all"):
            if function is self._functions[name]:
                return self._decided(generator, path, is_any=name == "any")
        names = ("sum", "min", "max", "list", "tuple")
        if not any(function is self._functions[name] for name in names):
            raise NotLiftable("a generator that is handed on")
        items = self._comprehension(generator, path)
        options = {str(item.arg): self.value(item.value, path) for item in node.keywords}
        return self._called(function, [items], options, path)

    def _called(
        self, function: Value, arguments: list[Value], options: dict[str, Value], path: Path
    ) -> Value:
        if isinstance(function, Function):
            if function.is_async:
                if arguments_of(function, arguments, options) is None:
                    return self.block.fail(path)
                return Call(lambda inner: self._inlined(function, arguments, options, inner))
            return self._inlined(function, arguments, options, path)
        if not is_plain(function) and not isinstance(function, Method):
            return self.block.fail(path)
        name = self._indicators.get(id(function))
        if name is not None:
            if name not in LIFTED_INDICATORS:
                raise NotLiftable(f"{name} gives a list")
            return Call(partial(self._indicator, name, arguments, options))
        if any(value is GARBAGE for value in (*arguments, *options.values())):
            return GARBAGE
        return self._calls.call(function, arguments, options, path)

    def _indicator(
        self, name: str, arguments: list[Value], options: dict[str, Value], path: Path
    ) -> Value:
        if any(value is GARBAGE for value in (*arguments, *options.values())):
            return GARBAGE
        return self._market.indicator(self.block, name, arguments, options, path)

    def _await(self, node: ast.Await, path: Path) -> Value:
        if not isinstance(node.value, ast.Call):
            raise NotLiftable("an await of what is no call")
        value = self.value(node.value, path)
        if value is GARBAGE:
            return GARBAGE
        if not isinstance(value, Call):
            raise NotLiftable("an await of what is no call")
        return value.run(path)

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        name: str,
        body: list[ast.stmt],
        path: Path,
        *,
        is_async: bool,
    ) -> Function:
        arguments = node.args
        if arguments.vararg is not None or arguments.kwarg is not None:
            raise NotLiftable("a function with starred parameters")
        return Function(
            name=name,
            arguments=arguments,
            body=body,
            frame=self._frame,
            is_async=is_async,
            local_names=local_names_of(node),
            defaults=tuple(self.value(item, path) for item in arguments.defaults),
            named_defaults={
                argument.arg: self.value(item, path)
                for argument, item in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
                if item is not None
            },
        )

    def _inlined(
        self, function: Function, arguments: list[Value], options: dict[str, Value], path: Path
    ) -> Value:
        given = arguments_of(function, arguments, options)
        if given is None:
            return self.block.fail(path)
        if self._depth >= MOST_CALLS:
            raise NotLiftable(f"calls nested more than {MOST_CALLS} deep")
        frame = Frame(function.frame, function.local_names, given)
        saved = self._frame
        self._frame = frame
        self._depth += 1
        try:
            end = self._body(function.body, path)
        finally:
            self._frame = saved
            self._depth -= 1
        if end is not None:
            frame.returned.append((end, None))
        if len(frame.returned) == 1:
            return frame.returned[0][1]
        pairs = []
        for one, value in frame.returned:
            mask = one.mask()
            pairs.append((self.block.full(True) if mask is None else mask, value))
        return merge(pairs)

    def _bind(self, target: ast.expr, value: Value, path: Path) -> None:
        if isinstance(target, ast.Name):
            self._frame.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value, path)
        else:
            raise NotLiftable("an item is changed")

    def _unpack(self, targets: list[ast.expr], value: Value, path: Path) -> None:
        if any(isinstance(target, ast.Starred) for target in targets):
            raise NotLiftable("unpacking with a star")
        if isinstance(value, Choice):
            raise NotLiftable("unpacking of what differs from candle to candle")
        if value is not GARBAGE:
            if not isinstance(value, Items | str | range | Row):
                if is_plain(value) or isinstance(value, Column):
                    value = self.block.fail(path)
                else:
                    raise NotLiftable("unpacking of a whole series")
            elif isinstance(value, Row):
                raise NotLiftable("unpacking of a candle")
        if value is GARBAGE:
            for target in targets:
                self._bind(target, GARBAGE, path)
            return
        pairs = list(items_present(value))
        if any(mask is not None for _, mask in pairs):
            raise NotLiftable("unpacking of what differs from candle to candle")
        if len(pairs) != len(targets):
            self.block.doubt(path)
            pairs = [(GARBAGE, None)] * len(targets)
        for target, (item, _) in zip(targets, pairs, strict=True):
            self._bind(target, item, path)


_EXPRESSIONS: Final[dict[type[ast.expr], Callable[[Expressions, Any, Path], Value]]] = {
    ast.Constant: lambda walk, node, path: node.value,
    ast.Name: Expressions._name,
    ast.Attribute: Expressions._attribute,
    ast.Subscript: Expressions._subscript,
    ast.BinOp: Expressions._binary,
    ast.UnaryOp: Expressions._unary,
    ast.BoolOp: Expressions._logical,
    ast.Compare: Expressions._compare,
    ast.IfExp: Expressions._choose,
    ast.Call: Expressions._call,
    ast.Await: Expressions._await,
    ast.Tuple: lambda walk, node, path: walk._sequence("tuple", node, path),
    ast.List: lambda walk, node, path: walk._sequence("list", node, path),
    ast.Dict: Expressions._dict,
    ast.JoinedStr: Expressions._joined,
    ast.FormattedValue: Expressions._formatted,
    ast.Lambda: Expressions._lambda,
    ast.ListComp: Expressions._comprehension,
    ast.NamedExpr: Expressions._walrus,
}
