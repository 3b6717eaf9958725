"""Random programs in the language: they end by themselves, print much, and touch every feature.

A generator of this project's own, so that a seed gives the same program for ever and a program is
one text. Values stay small: what the size checks refuse is a question for other tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

_T = TypeVar("_T")

_DEPTH: Final = 3
_KINDS: Final = ("int", "float", "str", "bool", "list", "dict", "set", "tuple")


class Programs:
    """Makes one program after another from a random generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names: dict[str, list[str]] = {}
        self._functions: list[tuple[str, bool]] = []
        self._count = 0
        self._lines: list[str] = []

    def program(self) -> str:
        """Return a new program."""
        self._names = {kind: [] for kind in _KINDS}
        self._functions = []
        self._lines = []
        self._count = 0
        if self._chance(0.3):
            self._lines += ["import math", "import statistics"]
        else:
            self._lines += ["import statistics"]
        for _ in range(self._rng.randint(3, 12)):
            self._statement(0)
        for kind in _KINDS:
            for name in self._names[kind][:4]:
                shown = f"sorted({name})" if kind == "set" else name
                self._add(0, f"print({name!r}, {shown})")
        self._add(0, f"condition_true = {self._bool(1)}")
        return "\n".join(self._lines) + "\n"

    # -- statements --------------------------------------------------------------------------

    def _statement(self, indent: int) -> None:
        makers: list[Callable[[int], None]] = [
            self._assignment, self._assignment, self._assignment, self._print, self._if, self._for,
            self._while, self._try, self._augmented, self._unpacking, self._item, self._deletion,
            self._assertion, self._bare, self._walrus,
        ]  # fmt: skip
        if indent == 0:
            makers += [self._function, self._function, self._generator, self._closure]
        makers[self._rng.randrange(len(makers))](indent)

    def _block(self, indent: int) -> None:
        """A block's own names are known behind it only where it always runs: none are kept."""
        known = {kind: list(names) for kind, names in self._names.items()}
        before = len(self._lines)
        for _ in range(self._rng.randint(1, 3)):
            if indent >= _DEPTH:
                self._print(indent)
            else:
                self._statement(indent)
        if len(self._lines) == before:
            self._add(indent, "pass")
        self._names = known

    def _add(self, indent: int, line: str) -> None:
        self._lines.append("    " * indent + line)

    def _new(self, kind: str) -> str:
        self._count += 1
        name = self._pick(("x", "y", "wert", "가격", "größe", "total")) + str(self._count)
        self._names[kind].append(name)
        return name

    def _assignment(self, indent: int) -> None:
        kind = self._pick(_KINDS)
        value = self._of(kind, 2)
        if self._chance(0.15) and self._names[kind]:
            name = self._pick(self._names[kind])
        else:
            name = self._new(kind)
        annotation = self._pick(("", "", "", f": {kind}", ": Unknown[name]", ": 'text'"))
        self._add(indent, f"{name}{annotation} = {value}")

    def _print(self, indent: int) -> None:
        kind = self._pick(("int", "float", "str", "bool", "list", "dict", "tuple"))
        options = self._pick(("", "", ", sep='|'", ", end='.\\n'"))
        self._add(indent, f"print({self._of(kind, 2)}, {self._text(1)}{options})")

    def _if(self, indent: int) -> None:
        self._add(indent, f"if {self._bool(2)}:")
        self._block(indent + 1)
        if self._chance(0.4):
            self._add(indent, f"elif {self._bool(1)}:")
            self._block(indent + 1)
        if self._chance(0.5):
            self._add(indent, "else:")
            self._block(indent + 1)

    def _for(self, indent: int) -> None:
        kind = self._pick(("int", "str"))
        source = f"range({self._rng.randint(0, 4)})" if kind == "int" else self._text(1) + "[:4]"
        self._count += 1
        name = f"i{self._count}"
        self._add(indent, f"for {name} in {source}:")
        self._names[kind].append(name)
        self._block(indent + 1)
        if self._chance(0.3):
            self._add(indent + 1, self._pick(("continue", f"if {self._bool(1)}: break", "pass")))
        self._names[kind].remove(name)
        if self._chance(0.2):
            self._add(indent, "else:")
            self._block(indent + 1)

    def _while(self, indent: int) -> None:
        self._count += 1
        name = f"n{self._count}"
        self._add(indent, f"{name} = {self._rng.randint(0, 4)}")
        condition = self._pick((f"{name} > 0", f"{name} > 0 and {self._bool(1)}"))
        self._add(indent, f"while {condition}:")
        self._add(indent + 1, f"{name} -= 1")
        self._block(indent + 1)

    def _try(self, indent: int) -> None:
        self._add(indent, "try:")
        self._block(indent + 1)
        if self._chance(0.5):
            self._add(indent + 1, self._failing())
        kinds = self._pick(("Exception", "(ValueError, LookupError)", "ArithmeticError"))
        self._count += 1
        name = f"e{self._count}"
        self._add(indent, f"except {kinds} as {name}:")
        self._add(indent + 1, f"print(repr({name}), isinstance({name}, ValueError))")
        if self._chance(0.2):
            self._add(indent + 1, "raise RuntimeError('again')" if self._chance(0.3) else "pass")
        if self._chance(0.3):
            self._add(indent, "else:")
            self._block(indent + 1)
        if self._chance(0.4):
            self._add(indent, "finally:")
            self._block(indent + 1)

    def _failing(self) -> str:
        return self._pick((
            "raise ValueError('told', 5)", "print([1, 2][7])", "print({'a': 1}['b'])",
            "print(int('x1'))", f"print(1 // {self._int(1)} // 0)", "print(math.sqrt(-1))",
            "raise KeyError('k') from None", "print(undefined_later)\nundefined_later = 1",
            "print('a' + 1)", "print(statistics.mean([]))", "print('%d' % 'x')",
            "print(datetime(2026, 13, 1))", "assert 1 > 2, 'smaller'", "print((1, 2).index(3))",
        )).split("\n")[0].replace("undefined_later", "[][0]")  # fmt: skip

    def _augmented(self, indent: int) -> None:
        kind = self._pick(("int", "float", "str", "list", "set"))
        if not self._names[kind]:
            self._assignment(indent)
            return
        name = self._pick(self._names[kind])
        operators = {
            "int": ("+=", "-=", "*=", "//=", "%=", "|=", "&=", "^="),
            "float": ("+=", "-=", "*=", "/=", "%="), "str": ("+=",), "list": ("+=",),
            "set": ("|=", "&=", "-=", "^="),
        }  # fmt: skip
        value = self._of(kind, 1)
        operator = self._pick(operators[kind])
        if kind == "int" and operator == "*=":
            value = str(self._rng.randint(-3, 3))
        if operator in ("//=", "%=", "/="):
            value = f"({value} or 3)" if kind == "int" else "2.5"
        self._add(indent, f"{name} {operator} {value}")

    def _unpacking(self, indent: int) -> None:
        value = self._of(self._pick(("list", "tuple")), 1)
        first, rest = self._new("int"), self._new("list")
        self._add(indent, f"{first}, *{rest} = [0, *{value}]")
        if self._chance(0.4):
            other = self._new("int")
            self._add(indent, f"{first}, {other} = {self._int(1)}, {self._int(1)}")

    def _item(self, indent: int) -> None:
        if self._chance(0.5) and self._names["dict"]:
            name = self._pick(self._names["dict"])
            key = self._pick(("'a'", "'b'", "'new'"))
            self._add(indent, f"{name}[{key}] = {self._int(1)}")
            if self._chance(0.5):
                operator = self._pick(("+=", "*=", "-=", "**="))
                self._add(indent, f"{name}[{key}] {operator} {self._rng.randint(0, 3)}")
        elif self._names["list"]:
            name = self._pick(self._names["list"])
            self._add(indent, f"{name}[:1] = {self._list(1)}[:3]")
            if self._chance(0.5):
                self._add(indent, f"{name}.append({self._int(1)})")

    def _deletion(self, indent: int) -> None:
        if self._names["list"]:
            name = self._pick(self._names["list"])
            self._add(indent, f"del {name}[{self._pick((':1', '5:', '::2'))}]")

    def _assertion(self, indent: int) -> None:
        self._add(indent, f"assert {self._bool(1)} or True, {self._text(1)}")

    def _bare(self, indent: int) -> None:
        self._add(indent, self._pick(("pass", "...", "'a text'", self._int(1))))

    def _walrus(self, indent: int) -> None:
        kind = self._pick(("int", "str", "list"))
        self._count += 1
        name = f"w{self._count}"
        self._add(indent, f"print(({name} := {self._of(kind, 1)}), [{name}, ({name} := 5)][0])")

    def _function(self, indent: int) -> None:
        self._count += 1
        name, is_async = f"f{self._count}", self._chance(0.4)
        marks = self._pick(("a, b=2", "a, *rest, b=2", "a: int, b: 'x' = 2, **more", "a, *, b=5"))
        self._add(indent, f"{'async ' if is_async else ''}def {name}({marks}):")
        known = {kind: list(names) for kind, names in self._names.items()}
        self._names["int"] = ["a", "b"]
        self._block(indent + 1)
        self._add(indent + 1, f"return {self._int(2)}")
        self._names = known
        self._functions.append((name, is_async))

    def _generator(self, indent: int) -> None:
        self._count += 1
        name = f"g{self._count}"
        self._add(indent, f"def {name}(n):")
        self._add(indent + 1, "try:")
        self._add(indent + 2, f"for i in range(n % 4): yield i * {self._rng.randint(1, 4)}")
        self._add(indent + 2, self._pick(("yield from (7, 8)", "return", "x = yield 5")))
        self._add(indent + 1, "finally:")
        self._add(indent + 2, f"print('end of {name}')")
        self._add(indent, f"{self._new('list')} = list({name}({self._int(1)}))")
        if self._chance(0.4):
            self._add(indent, f"print(next({name}(3), None), sum({name}(2)))")

    def _closure(self, indent: int) -> None:
        self._count += 1
        name, value = f"c{self._count}", self._int(1)
        self._add(indent, f"def {name}(start):")
        self._add(indent + 1, "count = start")
        self._add(indent + 1, "def up(by=1):")
        self._add(indent + 2, "nonlocal count")
        self._add(indent + 2, self._pick(("count += by", "count = count * 2 - by", "count -= by")))
        self._add(indent + 2, "return count")
        self._add(indent + 1, "return up")
        self._add(indent, f"{name}u = {name}({value})")
        self._add(indent, f"print({name}u(), {name}u(by=3), [{name}u() for _ in range(2)])")

    # -- expressions -------------------------------------------------------------------------

    def _of(self, kind: str, depth: int) -> str:
        return {
            "int": self._int, "float": self._float, "str": self._text, "bool": self._bool,
            "list": self._list, "dict": self._dict, "set": self._set, "tuple": self._tuple,
        }[kind](depth)  # fmt: skip

    def _name_or(self, kind: str, literal: str) -> str:
        names = self._names[kind]
        return self._pick(names) if names and self._chance(0.6) else literal

    def _int(self, depth: int) -> str:
        literal = self._pick(("0", "1", "2", "7", "-3", "100", "1_000", "0x1f"))
        if depth <= 0 or self._chance(0.3):
            return self._name_or("int", literal)
        a, b = self._int(depth - 1), self._int(depth - 1)
        choices = [
            f"({a} + {b})", f"({a} - {b})", f"({a} % 50 * {b})", f"({a} // ({b} or 4))",
            f"({a} % ({b} or 5))", f"({a} & {b})", f"({a} | {b})", f"({a} ^ {b})", f"-{a}",
            f"~{a}", f"({a} % 7 << 3)", f"({a} >> 1)", f"({a} % 5) ** 3", f"abs({a})",
            f"len({self._text(depth - 1)})", f"len({self._list(depth - 1)})",
            f"min({a}, {b})", f"max({a}, {b}, 3)", f"sum({self._list(depth - 1)})",
            f"({a} if {self._bool(depth - 1)} else {b})", f"int({self._float(depth - 1)} % 1000)",
            f"divmod({a}, 7)[1]", f"pow({a}, 2)", f"({a}).bit_length()",
            f"{self._text(depth - 1)}.count('a')", f"math.gcd({a}, {b})", "ord('k')",
            f"(lambda u, v=2: u + v)({a})", f"sum(u * 2 for u in {self._list(depth - 1)})",
            f"{{'a': {a}}}.get('a', {b})", f"[{a}, {b}][-1]",
            f"next(iter([{a}]))", f"round({self._float(depth - 1)} % 100)",
            f"{self._tuple(depth - 1)}[0]", f"int({a} > {b})", f"math.floor({a} / 3)",
        ]  # fmt: skip
        if self._functions:
            name, is_async = self._pick(self._functions)
            call = self._pick((f"{name}({a})", f"{name}({a}, b={b})", f"{name}(*[{a}])"))
            choices.append(f"(await {call})" if is_async and self._is_at_top() else "5")
            if not is_async:
                choices += [call, call]
        return self._pick(choices)

    def _is_at_top(self) -> bool:
        """Await only where no plain `def` and no lambda is around."""
        return self._names["int"] != ["a", "b"] and not any(
            line.startswith(("def ", "async def ")) for line in self._open_blocks()
        )

    def _open_blocks(self) -> list[str]:
        """Return the last line without indentation: the statement that is being written."""
        for line in reversed(self._lines):
            if line and not line.startswith(" "):
                return [line]
        return []

    def _float(self, depth: int) -> str:
        literal = self._pick(("0.5", "1.25", "-2.0", "100.0", "1e-3", ".75"))
        if depth <= 0 or self._chance(0.3):
            return self._name_or("float", literal)
        a, b = self._float(depth - 1), self._float(depth - 1)
        return self._pick((
            f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} / ({b} or 1.5))",
            f"({a} % 3.5)", f"abs({a})", f"-{a}", f"round({a}, 2)",
            f"float({self._int(depth - 1)})",
            f"math.sqrt(abs({a}))", f"math.floor({a} % 1e6) / 2", f"({self._int(depth - 1)} / 4)",
            f"statistics.fmean([{a}, {b}])", f"statistics.median([{a}, {b}, 1.0])",
            f"math.fsum([{a}, {b}])", f"math.hypot({a}, {b})", f"max({a}, {b})",
            f"math.copysign({a}, {b})", f"math.atan2({a}, {b})", f"(2.0 ** ({a} % 3))",
            f"timedelta(seconds={a} % 1000).total_seconds()",
        ))  # fmt: skip

    def _bool(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.2):
            return self._name_or("bool", self._pick(("True", "False")))
        a, b, c = self._int(depth - 1), self._int(depth - 1), self._int(depth - 1)
        p, q = self._bool(depth - 1), self._bool(depth - 1)
        return self._pick((
            f"({a} < {b})", f"({a} <= {b} < {c})", f"({a} == {b})", f"({a} != {b} > {c})",
            f"({p} and {q})", f"({p} or {q})", f"(not {p})", f"({a} in {self._list(depth - 1)})",
            f"({self._text(depth - 1)} > {self._text(depth - 1)})", f"({p} is {q})",
            f"({self._text(depth - 1)}.startswith('a'))", f"any([{p}, {q}])", f"all([{p}, {q}])",
            f"isinstance({a}, (int, str))", f"callable({a})", f"bool({self._list(depth - 1)})",
            f"('a' not in {self._dict(depth - 1)})", f"({self._set(depth - 1)} <= {{1, 2, 3}})",
            f"math.isclose({self._float(depth - 1)}, 0.5)", f"({p} if {q} else {p})",
        ))  # fmt: skip

    def _text(self, depth: int) -> str:
        literal = self._pick(("'a'", "'abc'", "''", "'x,y z'", "'Größe'", "'한국'", '"it\'s"'))
        if depth <= 0 or self._chance(0.3):
            return self._name_or("str", literal)
        a, b = self._text(depth - 1), self._text(depth - 1)
        n, v = self._int(depth - 1), self._float(depth - 1)
        return self._pick((
            f"({a} + {b})", f"{a} * ({n} % 4)", f"{a}.upper()", f"{a}.replace('a', 'bb')",
            f"'-'.join({a}.split(','))", f"{a}[:3]", f"{a}[::-1]", f"{a}.center(7, '*')",
            f"str({n})", f"repr({a})", f'f"""{{({n})}}"""', f'f"""{{({v}):.2f}}|{{({n}):>6}}"""',
            f'f"""{{({n}):{{({n}) % 9}}}}"""', f"'%s and %5d' % ({a}, {n})", f"'%.3f%%' % {v}",
            f"chr({n} % 26 + 97)", f"hex({n})", f"bin({n} % 100)", f"{a}.zfill(5)",
            f"{a}.ljust({n} % 9)", f"({a} if {self._bool(depth - 1)} else {b})",
            f"''.join(sorted({a}))", f"{a}.strip().title()", f"str({self._list(depth - 1)})",
            f'f"""{{({v})!r:>12}} {{({n})=}}"""', f"str.lower({a})", f"{a}.expandtabs(3)",
            f"datetime.fromtimestamp({n} % 10**9, timezone.utc).strftime('%Y-%m-%d')",
            f"(lambda s: s + '!')({a})", "' \u00e9'.strip()",
        ))  # fmt: skip

    def _list(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.25):
            return self._name_or("list", self._pick(("[]", "[1]", "[3, 1, 2]", "[5, 5]")))
        a, b = self._list(depth - 1), self._list(depth - 1)
        n, p = self._int(depth - 1), self._bool(depth - 1)
        return self._pick((
            f"({a} + {b})", f"{a} * ({n} % 3)", f"sorted({a})", f"list(reversed({a}))",
            f"{a}[1:]", f"{a}[::-1]", f"[{n}, *{a}]", f"[u * 2 for u in {a}]",
            f"[u for u in {a} if {p}]", f"[u + v for u in {a}[:3] for v in {b}[:3]]",
            f"list(range({n} % 5))", f"list(map(lambda u: u + 1, {a}))",
            f"list(filter(lambda u: u > {n}, {a}))", f"[u for u, v in zip({a}, {b})]",
            f"[i for i, u in enumerate({a})]", f"list({self._dict(depth - 1)}.values())",
            f"sorted({self._set(depth - 1)})", f"list({self._tuple(depth - 1)})",
            f"sorted({a}, key=lambda u: -u, reverse={p})",
            f"[int(u) for u in str(abs({n}))]", f"{a}.copy()", f"[0] * ({n} % 4)",
        ))  # fmt: skip

    def _dict(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.3):
            return self._name_or("dict", self._pick(("{}", "{'a': 1}", "{'a': 1, 'b': 2}")))
        a, b = self._dict(depth - 1), self._dict(depth - 1)
        return self._pick((
            f"{{**{a}, 'c': {self._int(depth - 1)}}}", f"({a} | {b})", f"dict({a}, d=4)",
            f"{{k: v * 2 for k, v in {a}.items()}}", f"dict(zip('ab', {self._list(depth - 1)}))",
            f"dict.fromkeys({self._text(depth - 1)}[:3], 1)", f"{a}.copy()",
            f"{{str(u): u for u in {self._list(depth - 1)}}}", f"dict(sorted({a}.items()))",
        ))  # fmt: skip

    def _set(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.3):
            return self._name_or("set", self._pick(("{1}", "{1, 2}", "set()")))
        a, b = self._set(depth - 1), self._set(depth - 1)
        return self._pick((
            f"({a} | {b})", f"({a} & {b})", f"({a} - {b})", f"{a} ^ {b}", f"set({self._list(1)})",
            f"{{u % 5 for u in {self._list(depth - 1)}}}", f"{a}.union({self._list(depth - 1)})",
        ))  # fmt: skip

    def _tuple(self, depth: int) -> str:
        a, b = self._int(depth - 1), self._int(depth - 1)
        return self._pick((f"({a},)", f"({a}, {b})", f"({a}, *({b}, 3))", f"divmod({a}, 7)"))

    # -- chance ------------------------------------------------------------------------------

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _pick(self, items: Sequence[_T]) -> _T:
        return items[self._rng.randrange(len(items))]
