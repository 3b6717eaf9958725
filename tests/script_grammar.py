"""Random scripts: whatever a script might compute of its candles, sensible or not."""

from __future__ import annotations

import random

SERIES = ("rsi", "line", "signal", "k", "fast", "slow", "atr", "sma")
MATHEMATICS = (
    "sqrt", "fabs", "floor", "ceil", "trunc", "exp", "log", "log10", "log1p", "sin", "tanh", "atan",
    "copysign", "fmod", "hypot", "atan2", "isnan", "isfinite", "pow",
)  # fmt: skip
PRICES = ("lastclose", "open", "high", "low", "volume", "previousclose", "averagevolume")
HEAD = """
import math
import statistics
from math import sqrt
rsi = await calculate_rsi(data, {a})
line, signal = await calculate_macd(data, fast=3, slow={b}, signal=4)
k, d = await calculate_stochastic(data, k_period={a})
fast = await calculate_ema(data, period={a})
slow = await calculate_ema_internal(fast, {a})
atr = await calculate_atr(data)
sma = await calculate_sma(data, {b})
average = await calculate_average_volume(data, {a})
p = param("p", {a}, 1, 100)

def clamp(x, lower=-1.0, upper=1):
    if x < lower:
        return lower
    elif x > upper:
        return upper
    return x

def ratio(one, other):
    return one / other if other else 0

async def slope(values, back=2):
    average = await calculate_ema_internal(values, 2)
    return average[-1] - average[-back]

pick = lambda x, y: x if x > y else y
"""


class Grammar:
    """Makes one script; every choice comes from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names: list[str] = []
        self.maybe: list[str] = []
        self.is_in_loop = False
        self.is_careful = rng.random() < 0.7
        """Few errors: otherwise almost every candle fails, and nothing is compared."""
        self.is_plain = False
        """Within a plain `def`, which cannot await."""

    def script(self) -> str:
        lines = HEAD.format(a=self.rng.choice([1, 2, 3, 5, 14]), b=self.rng.choice([4, 7, 26]))
        for _ in range(self.rng.randint(1, 6)):
            lines += self.statement(0)
        lines += f"condition_true = {self.condition(3)}\n"
        for name in ("action_if_true", "action_if_false"):
            if self.rng.random() < 0.8:
                lines += f"{name} = {self.action()}\n"
        if self.rng.random() < 0.3:
            lines += self.drawing("")
        return lines

    def statement(self, depth: int) -> str:
        rng, pad = self.rng, "    " * depth
        kind = rng.choices(
            ["assign", "augment", "if", "for", "draw", "unpack", "assert", "def"],
            [10, 3, 6 if depth < 3 else 0, 3 if depth < 2 else 0, 2, 1, 0.1, 0.7],
        )[0]
        if kind == "assign":
            value = self.number(3) if rng.random() < 0.7 else self.condition(2)
            if rng.random() < (0.01 if self.is_careful else 0.05):
                value = rng.choice(["None", "'text'", "(1, 2.5)", "rsi", "data[-1]"])
            return f"{pad}{self.bind(depth)} = {value}\n"
        if kind == "augment" and self.names:
            operator = rng.choice(["+", "-", "*"] + ["/", "//", "%"] * (not self.is_careful))
            return f"{pad}{rng.choice(self.names)} {operator}= {self.number(2)}\n"
        if kind == "if":
            return self.branches(depth)
        if kind == "for":
            return self.loop(depth)
        if kind == "draw":
            return self.drawing(pad)
        if kind == "unpack":
            one, other = self.number(1), self.number(2)
            return f"{pad}{self.bind(depth)}, {self.bind(depth)} = {one}, {other}\n"
        if kind == "assert":
            return f"{pad}assert {self.condition(1)} or lastclose > 0\n"
        if kind == "def":
            return self.function(depth)
        return f"{pad}pass\n"

    def branches(self, depth: int) -> str:
        pad = "    " * depth
        text = f"{pad}if {self.condition(2)}:\n{self.body(depth + 1)}"
        if self.rng.random() < 0.3:
            text += f"{pad}elif {self.condition(2)}:\n{self.body(depth + 1)}"
        if self.rng.random() < 0.6:
            text += f"{pad}else:\n{self.body(depth + 1)}"
        return text

    def loop(self, depth: int) -> str:
        rng, pad = self.rng, "    " * depth
        name = self.bind(depth, "n")
        source = rng.choice(
            ["range(3)", "range(1, 4)", "(1, 2.5, 3)", "rsi[-3:]", "[1, lastclose]"]
        )
        was_in_loop, self.is_in_loop = self.is_in_loop, True
        total = self.bind(depth)
        text = f"{pad}{total} = {self.leaf()}\n"
        text += f"{pad}for {name} in {source}:\n{self.body(depth + 1)}"
        text += f"{pad}    {total} += {self.number(1)}\n"
        self.is_in_loop = was_in_loop
        if rng.random() < 0.2:
            text += f"{pad}else:\n{self.body(depth + 1)}"
        return text

    def function(self, depth: int) -> str:
        pad, rng = "    " * depth, self.rng
        name = self.bind(depth, "f")
        self.names.remove(name) if name in self.names else None
        default = self.number(0)
        kept, self.names = self.names, [*self.names, "x", "y"]
        self.is_plain = True
        text = f"{pad}def {name}(x, y={default}):\n"
        if rng.random() < 0.5:
            text += f"{pad}    if {self.condition(2)}:\n{pad}        return {self.number(2)}\n"
        if rng.random() < 0.7:
            text += f"{pad}    return {self.number(3)}\n"
        else:
            text += f"{pad}    y = {self.number(2)}\n"
            text += f"{pad}    return y if {self.condition(1)} else x\n"
        self.names, self.is_plain = kept, False
        result = self.bind(depth)
        return text + f"{pad}{result} = {name}({self.number(1)})\n"

    def body(self, depth: int) -> str:
        text = "".join(self.statement(depth) for _ in range(self.rng.randint(1, 2)))
        if self.is_in_loop and self.rng.random() < 0.4:
            pad = "    " * depth
            text += f"{pad}if {self.condition(1)}:\n{pad}    "
            text += self.rng.choice(["break\n", "continue\n"])
        return text

    def bind(self, depth: int, letter: str = "v") -> str:
        name = f"{letter}{self.rng.randint(0, 5)}"
        if depth == 0 and name not in self.names:
            self.names.append(name)
        elif depth and name not in self.maybe:
            # Bound on some candles only.
            self.maybe.append(name)
        return name

    def drawing(self, pad: str) -> str:
        shown = f"{pad}shown = {self.number(2)}\n{pad}"
        return shown + self.rng.choice(
            [
                'print(f"{shown:.2f} {shown} {shown!r:>20} {lastclose:8.3f}")\n',
                'print("value", shown, sep="")\n',
                'plot(shown, "name")\n',
                'plot(rsi, "rsi", pane="rsi")\n',
                'mark(f"at {shown}")\n',
                'print("%.2f of %s" % (lastclose, shown))\n',
            ]
        )

    def action(self) -> str:
        return self.rng.choice(
            [
                '"long(1%risk@10x,sl=2%,rr=3)"',
                'long(risk=1, leverage=10, sl="2%", rr=3)',
                f'"close" if {self.condition(2)} else "donothing"',
                f"short(margin=5, sl={self.number(1)})",
                f"long(risk=1, sl=round({self.number(1)}, 2), leverage=3)",
                'f"long(1%risk@2x,sl={lastclose:.2f})"',
                "close(50)",
                f'long(risk=1) if {self.condition(1)} else short(risk={self.number(0)}, sl="1%")',
            ]
        )

    def number(self, depth: int) -> str:
        rng = self.rng
        if self.is_careful and depth > 0:
            return self.careful_number(depth)
        if depth <= 0 or rng.random() < 0.2:
            return self.leaf()
        one, other = self.number(depth - 1), self.number(depth - 1)
        return rng.choice(
            [
                f"({one} + {other})",
                f"({one} - {other})",
                f"({one} * {other})",
                f"({one} / {other})",
                f"({one} / {other})",
                f"({one} // {other})",
                f"({one} % {other})",
                f"({one} ** {rng.choice(['2', '0.5', '-1', '3', other])})",
                f"abs({one})",
                f"-{one}",
                f"min({one}, {other})",
                f"max({one}, {other}, {self.leaf()})",
                f"round({one}, {rng.randint(0, 3)})",
                f"round({one})",
                f"int({one})",
                f"float({one})",
                f"bool({one})",
                f"({one} if {self.condition(depth - 1)} else {other})",
                f"({one} and {other})",
                f"({one} or {other})",
                f"clamp({one}, upper={other})",
                f"ratio({one}, {other})",
                f"pick({one}, {other})",
                f"pow({one}, 2)",
                self.mathematics(one, other),
                self.mathematics(one, other),
                self.window(),
                one if self.is_plain else f"(await slope({rng.choice(SERIES)}))",
                f"({one} == {other}) + {other}",
                f"(w := {one})",
            ]
        )

    def careful_number(self, depth: int) -> str:
        rng = self.rng
        if rng.random() < 0.03:
            self.is_careful = False
            text = self.number(depth)
            self.is_careful = True
            return text
        if rng.random() < 0.2:
            return self.leaf()
        one, other = self.number(depth - 1), self.number(depth - 1)
        return rng.choice(
            [
                f"({one} + {other})",
                f"({one} - {other})",
                f"({one} * {other})",
                f"ratio({one}, {other})",
                f"({one} / {rng.choice(['lastclose', '(1 + abs(' + other + '))', '3'])})",
                f"({one} % {rng.choice(['7', '2.5', 'high'])})",
                f"(len(data) // {rng.choice(['3', '2.0'])})",
                f"({self.leaf()} ** 2)",
                f"abs({one})",
                f"-{one}",
                f"min({one}, {other})",
                f"max({one}, {other}, {self.leaf()})",
                f"round({one}, {rng.randint(0, 3)})",
                f"float({one})",
                f"bool({one})",
                f"(int({one}) if math.isfinite({one}) else {other})",
                f"({one} if {self.condition(depth - 1)} else {other})",
                f"({one} and {other})",
                f"({one} or {other})",
                f"clamp({one}, upper={other})",
                f"pick({one}, {other})",
                f"math.sqrt(abs({one}))",
                f"math.{rng.choice(['fabs', 'atan', 'tanh', 'isnan'])}({one})",
                f"math.{rng.choice(['copysign', 'hypot', 'atan2'])}({one}, {other})",
                self.window(),
                one if self.is_plain else f"(await slope({rng.choice(SERIES)}))",
                f"({one} == {other}) + {other}",
                f"(w := {one})",
            ]
        )

    def mathematics(self, one: str, other: str) -> str:
        name = self.rng.choice(MATHEMATICS)
        two = name in ("copysign", "fmod", "hypot", "atan2", "pow")
        return f"math.{name}({one}, {other})" if two else f"math.{name}({one})"

    def window(self) -> str:
        rng = self.rng
        series, width = rng.choice(SERIES), rng.randint(1, 6)
        return rng.choice(
            [
                f"sum({series}[-{width}:])",
                f"max({series}[-{width}:])",
                f"min({series}[-{width}:-1], default=0)",
                f"max(candle.high for candle in data[-{width}:])",
                f"sum([candle.volume for candle in data[-{width}:]]) / {width}",
                f"sum(1 for x in {series}[-{width}:] if x > {self.leaf()})",
                f"len([x for x in {series}[-{width}:] if x == x])",
                f"min((x for x in {series}[-{width}:] if x < 50), default=lastclose)",
                f"max(x for x in {series}[-{width}:] if x < {self.leaf()})",
                f"statistics.fmean({series}[-{width}:])",
                f"{series}[:-1][-{width}]",
                f"sum(abs(x - y) for x, y in zip({series}[-3:], {series}[-4:-1]))",
                f"{series}[-{width}:][0]",
                f"sum(i * x for i, x in enumerate({series}[-{width}:], 1))",
            ]
        )

    def leaf(self) -> str:
        rng = self.rng
        choices = [
            f"{rng.choice(SERIES)}[-{rng.choice([1, 1, 1, 2, 2, 3, 9])}]",
            f"{rng.choice(SERIES)}[-{rng.choice([1, 2, 4 if self.is_careful else 40])}]",
            f"data[-{rng.randint(1, 3)}].{rng.choice(['close', 'open', 'high', 'low', 'volume'])}",
            f'data[-{rng.randint(1, 3)}]["{rng.choice(["close", "time", "volume"])}"]',
            rng.choice(PRICES),
            "len(data)",
            "average",
            "p",
            str(rng.choice([0, 1, 2, 3, 10, 50, 100, -1, 10**17, 2**70])),
            str(rng.choice([0.0, -0.0, 0.5, 1.5, 30.0, 1e308, 1e-300])),
            rng.choice(["math.nan", "math.inf", "math.pi", "True", "False"]),
        ]
        if self.names:
            choices += [rng.choice(self.names)] * 5
        if self.maybe and rng.random() < (0.05 if self.is_careful else 0.3):
            choices += [rng.choice(self.maybe)] * 3
        return rng.choice(choices)

    def condition(self, depth: int) -> str:
        rng = self.rng
        one, other = self.number(depth - 1), self.number(depth - 1)
        comparison = f"{one} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {other}"
        if depth <= 0 or rng.random() < 0.3:
            return comparison
        left, right = self.condition(depth - 1), self.condition(depth - 1)
        return rng.choice(
            [
                f"({left} and {right})",
                f"({left} or {right})",
                f"(not ({left}))",
                f"({one} < {other} <= {self.leaf()})",
                f"({one} > {other} == {self.leaf()})",
                f"({left} if {right} else {comparison})",
                f"math.isnan({one})",
                f"any(x > {self.leaf()} for x in {rng.choice(SERIES)}[-3:])",
                f"all({self.leaf()} / x > 1 for x in {rng.choice(SERIES)}[-3:] if x < 60)",
                f"any([{left}, {right}])",
                f"({one} is not None and {left})",
                f"isinstance({one}, float)",
                f"({left} & ({right}))",
                "(len(data) > 20 and rsi[-20] < 50)",
                f"(({left}) == ({right}))",
                f"({one} in (1, 2.0, 3))",
                "line[-1] > signal[-1] and line[-2] <= signal[-2]",
            ]
        )
