"""Programs made worse: pieces of hostile ones, wrong tokens, odd characters, odd arguments."""

from __future__ import annotations

import random
import re
from typing import Final

from milo.ta import INDICATORS
from tests.fuzz.programs import Programs
from tests.hostile.corpus import families
from tests.plain_python import benign_scripts

# What only burns time and memory would make the run slow, and is tested one by one elsewhere.
_SLOW: Final = frozenset({"cpu", "memory", "depth", "swallowing", "texts"})
_TOKEN: Final = re.compile(r"\w+|[^\w\s]|\s+")
_PIECES: Final = (
    "__class__", ".__class__", ".gi_frame", ".close", ".format", "._base", "_", "__", "print",
    "data",
    "math", "len", "exec", "eval", "open", "close", "long", "param", "mark", "plot", "lambda:",
    "lambda x:",
    "await ", "async ", "yield ", "yield from ", "return ", "del ", "global ", "nonlocal ",
    "import math",
    "from datetime import ", "raise ", "try:", "finally:", "except Exception as e:", "else:",
    "if 1:",
    "for x in data:", "while x:", "with ", "class A:", "match x:", "def f():", "async def f():",
    "@", "@print",
    "*", "**", "<<", "%", "//", ":=", "=", "+=", "**=", "<<=", "(", ")", "[", "]", "{", "}", ":",
    ",", ";",
    ".", "\n", "\n    ", "\t", "\\\n", "'", '"', "'''", 'f"{', "}", "!r", "=}", ":>{9}}", "0",
    "1", "-1",
    "10**9", "1e999", "0xffff", "1j", "b'x'", "'\\ud800'", "'\\x00'", "'\\x1b[2J'", "'\\u202e'",
    "None", "True",
    "...", "range(9)", "calculate_rsi(data)", "await calculate_rsi(data)", "condition_true = ",
    "action_if_true = ", "coin = ", "timeframe = '1h'", "data[-1]", "data[::-1]", "[]", "{}",
    "()", "dict(",
    "sorted(", "map(", "zip(", "iter(", "next(", "isinstance(", "slice(", "str(",
    "'%s' % ", "Ｎｏｎｅ", "ｅval", "𝐱",
    "ㅤ", "é", "가", "👩‍👧", "\ufeff", "\u200b", "\x00", "\x0c", "\r", "\u2028", "\x85",
    "#", "# coding: utf-7\n",
)  # fmt: skip


class Mutations:
    """Makes one bad program after another from a random generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._programs = Programs(rng)
        self._texts = [
            case.text.decode("utf-8", "replace")
            for family, cases in sorted(families().items())
            if family not in _SLOW
            for case in cases
        ]
        self._texts += benign_scripts().values()

    def program(self) -> str:
        """Return a new bad program."""
        rng = self._rng
        text = self._programs.program() if rng.random() < 0.3 else rng.choice(self._texts)
        if rng.random() < 0.3:
            text += rng.choice(self._texts)
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
            text = self._changed(text)
        return text

    def _changed(self, text: str) -> str:
        rng = self._rng
        match rng.randrange(6):
            case 0:
                at = rng.randint(0, len(text))
                return text[:at] + rng.choice(_PIECES) + text[at:]
            case 1:
                lines = text.split("\n")
                at = rng.randrange(len(lines))
                lines[at : at + 1] = [lines[at]] * rng.choice((0, 2))
                return "\n".join(lines)
            case 2:
                lines = text.split("\n")
                rng.shuffle(lines)
                return "\n".join(lines)
            case 3:
                other = rng.choice(self._texts).split("\n")
                lines = text.split("\n")
                lines.insert(rng.randint(0, len(lines)), rng.choice(other))
                return "\n".join(lines)
            case _:
                tokens = _TOKEN.findall(text) or [""]
                at = rng.randrange(len(tokens))
                is_own = rng.random() < 0.5
                tokens[at] = rng.choice(tokens) if is_own else rng.choice(_PIECES)
                return "".join(tokens)


_ARGUMENTS: Final = (
    "0", "1", "2", "3", "50", "60", "61", "-1", "100000", "2**31 - 1", "2**31", "2**63", "2**64",
    "10**30", "True", "None", "1.5", "-0.0", "math.nan", "math.inf", "1e308", "5e-324", "'x'", "[]",
    "()", "{}", "data", "data[:0]", "data[5:5]", "data[:1]", "data[-2:]", "chart_data", "math",
    "len",
    "[1, 2]", "(1,)", "slice(1)", "data[-1]", "range(3)", "list[int]", "(x for x in [1])",
    "[math.nan] * 60", "[1e308] * 60", "[-1e308, 1e308] * 30", "[0.0] * 60", "[10**400]", "['a']",
    "[1.0, 2.0, 3.0] * 20", "[dict(c) for c in data]", "[{'close': 1.0}]", "[0.0] * 200000",
    "[{'close': math.nan, 'high': 1e308, 'low': -1e308, 'open': 0.0, 'volume': -5, 'time': 9**30}]"
    " * 60",
    "await calculate_rsi(data)", "await calculate_zigzag(data, 0.5)",
    "(await calculate_macd(data))[0]",
    "[{'type': 'peak', 'value': 1.0, 'index': 5, 'confirmed_index': 'x'}] * 3",
    "[{'type': 'low', 'value': 1.0, 'index': True, 'time': []},"
    " {'type': 'low', 'value': math.nan, 'index': 59, 'confirmed_index': -5},"
    " {'type': 'low', 'value': 2, 'index': 3}]",
)  # fmt: skip


class Calls:
    """Calls indicators, which are compiled code for the most part, with arguments of every kind."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def program(self) -> str:
        """Return a few calls, each of which may fail by itself."""
        return "import statistics\n" + "".join(self._call() for _ in range(5))

    def _call(self) -> str:
        rng = self._rng
        spec = rng.choice(INDICATORS)
        arguments = [rng.choice(_ARGUMENTS) for _ in range(rng.randint(0, 4))]
        if rng.random() < 0.7:
            arguments[:1] = ["data" if spec.takes_candles else "await calculate_rsi(data)"]
        names = [parameter.name for parameter in spec.parameters]
        if names and rng.random() < 0.6:
            arguments.append(f"{rng.choice(names)}={rng.choice(_ARGUMENTS)}")
        return (
            f"try:\n    r = await {spec.name}({', '.join(arguments)})\n"
            "    print(str(r)[:40])\n    print(str(list(r))[-40:])\n"
            "except Exception as e:\n    print(str(e)[:60])\n"
        )
