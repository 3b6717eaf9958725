"""Programs made worse: pieces of hostile ones, wrong tokens, odd characters."""

from __future__ import annotations

import random
import re
from typing import Final

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
