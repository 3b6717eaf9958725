"""Random answers at the engine: a worker that a script has taken over may write anything.

Each case is a real process that carries out a plan of random frames, half frames, noise, silence
and sudden ends; the executor must answer with a result or a ScriptError, and reap the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from milo.clock import monotonic_s
from milo.errors import ConfigError, ScriptError
from milo.model import ScriptResult
from milo.script.actions import parse_action
from milo.script.worker import spawn
from script_executor import AccountView, EvaluationRequest, ScriptExecutor, ScriptLimits
from tests.fuzz.scripts import Finds
from tests.script_runs import walk

_CANDLES: Final = walk(40)
_LIMITS: Final = ScriptLimits(
    start_wall_s=2, load_cpu_ms=100, first_cpu_ms=100, cpu_ms=100, wall_factor=1, wall_floor_s=0.25
)
_SLOWEST_S: Final = 30.0
"""Far above all time limits of a case together: what takes longer hangs."""

# Reads a plan and follows it. Whatever it reads from the engine it does not look at.
_WORKER: Final = """
import json, os, sys, time
into, out = int(sys.argv[2]), int(sys.argv[3])
for step, value in json.load(open(__file__ + ".plan")):
    try:
        if step == "write":
            os.write(out, bytes.fromhex(value))
        elif step == "drip":
            for byte in bytes.fromhex(value):
                os.write(out, bytes([byte]))
                time.sleep(0.001)
        elif step == "read":
            os.read(into, value)
        elif step == "asked":
            # Until a question, about one candle, its values or many candles, or the end.
            while not {69, 66, 88} & set(os.read(into, 1 << 20) or b"E"):
                pass
        elif step == "close":
            os.close(value and out or into)
        elif step == "wait":
            time.sleep(value)
        elif step == "exit":
            os._exit(value)
        elif step == "signal":
            os.kill(os.getpid(), value)
    except OSError:
        pass
"""

_RESULT: Final[dict[str, Any]] = {
    "request": 2, "condition": True, "if_true": "close", "if_false": "donothing", "printed": "a\n",
    "dropped_bytes": 0, "warnings": ["w"], "plots": [{"name": "a", "pane": "b", "value": 1.5}],
    "marks": ["m"],
}  # fmt: skip
_LOADED: Final[dict[str, Any]] = {
    "request": 1, "timeframe": "1h", "coin": "BTCUSDT", "indicators": ["calculate_rsi"],
    "inputs": [{"name": "n", "default": 14, "low": 5, "high": 50}], "warnings": [],
}  # fmt: skip
_FAULT: Final[dict[str, Any]] = {
    "request": 2, "kind": "script", "message": "m", "line": 1, "column": 1, "end_column": 2,
    "printed": "",
}  # fmt: skip
_DECIDED: Final[dict[str, Any]] = {
    "request": 2, "until": 40, "at": "AAAAAAUAAAA=", "code": "AQAAAA==",
    "actions": [{"text": "close", "is_true": True}], "errors": [{"at": 5, "message": "m"}],
    "breach": None, "warnings": ["w"], "printed": "a\n", "dropped_bytes": 0, "is_lifted": False,
    "checked": 0, "differing": 0, "doubtful": 0, "note": "n",
}  # fmt: skip
_EXPLAINED: Final[dict[str, Any]] = {
    "request": 3, "condition": True, "if_true": "close", "if_false": "donothing", "error": "",
    "warnings": ["w"], "left_out": 0,
    "steps": [
        {
            "line": 1, "depth": 0, "text": "n > 1", "value": "2 > 1", "held": True, "times": 1,
            "is_test": True, "decides": True,
        },
    ],
}  # fmt: skip
_FIELDS: Final = {
    "R": _RESULT, "M": _DECIDED, "W": _EXPLAINED, "D": _LOADED, "F": _FAULT, "Y": {"request": 0},
}  # fmt: skip
_TO_EXPLAIN: Final = ("explain", 0)
"""In a plan: the engine asks for values; the worker knows no such step."""
_ODD: Final = (
    None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63, 2**64, 10**30, 10**400, 1e308, -0.0, 1.5, "",
    "a",
    "close", "\x1b[2J", "\u202e", "\ud800", "a" * 600, "é" * 20_000, [], [[]], {},
    [None], ["a"] * 50,
    [{"name": "a", "pane": "b", "value": 1e308}] * 40, {"a": 1}, "long(1%risk@10x)", "1m", "script",
    [{"name": "n", "default": 10**400, "low": -(10**400), "high": 10**400}], "veto", "time",
    "worker",
    "AAAA", "AAAAAA==", "/////w==", "AQACAA==", "AAAAAAEAAAA=", {"kind": "time", "line": 3},
    [{"text": "close\x1b", "is_true": False}], [{"at": 39, "message": "\x1b[2J", "line": -1}],
    [{"line": 2, "depth": 0, "text": "\x1b[2J", "value": "\u202e", "held": None, "times": 0,
      "is_test": False, "decides": False}],
    [{"line": 9, "depth": 12, "text": "", "value": "", "held": True, "times": 2**31,
      "is_test": True, "decides": True}] * 401,
    [{"name": "n\n", "default": 1, "low": None, "high": None}], "memory", "awaits", "donothing\n",
)  # fmt: skip


class FrameFuzz:
    """Runs one plan after another against an executor of its own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._rng = random.Random(seed)
        self._program = folder / "noisy_worker.py"
        self._plan_file = folder / "noisy_worker.py.plan"
        self._script = folder / "fuzz.script"
        self.finds = Finds()

    async def run(self, count: int | None, until_s: float) -> None:
        """Judge `count` plans (None: no limit), and stop at a time of the monotonic clock."""
        self._program.write_text(_WORKER, encoding="utf-8")
        self._script.write_text('n = param("n", 14, 5, 50)\ncondition_true = True\n')
        made = 0
        with _started_from(self._program):
            while (count is None or made < count) and monotonic_s() < until_s:
                made += 1
                await self._judge(self._plan())

    async def _judge(self, plan: list[tuple[str, Any]]) -> None:
        shown = json.dumps(plan)
        self._plan_file.write_text(shown, encoding="utf-8")
        files, children = _open_files(), _children()
        started_s = monotonic_s()
        try:
            async with asyncio.timeout(_SLOWEST_S):
                await self._follow(plan)
        except TimeoutError:
            self.finds.add("hangs", shown)
        except Exception as error:
            self.finds.add(f"raised {error!r}", shown)
        self.finds.counts["plans"] += 1
        if monotonic_s() - started_s > _SLOWEST_S / 2:
            self.finds.add(f"took {monotonic_s() - started_s:.1f} s", shown)
        if _open_files() != files or _children() - children:
            self.finds.add("left files or processes behind", shown)

    async def _follow(self, plan: list[tuple[str, Any]]) -> None:
        inputs = {"n": 20.0} if self._rng.random() < 0.5 else None
        executor = ScriptExecutor(self._script, inputs=inputs, limits=_LIMITS, is_trusted=True)
        try:
            try:
                await executor.start()
            except (ScriptError, ConfigError) as error:
                self.finds.counts["refused at start"] += 1
                self._check_text(str(error), plan)
                return
            if _TO_EXPLAIN in plan:
                await self._explain(executor, plan)
                return
            if self._is_many(plan):
                await self._decide(executor, plan)
                return
            for _ in range(2):
                account = AccountView(available_balance=1.0)
                request = EvaluationRequest(candles=_CANDLES, account=account)
                try:
                    result = await executor.evaluate(request)
                except ScriptError as error:
                    self.finds.counts["errors"] += 1
                    self._check_text(str(error), plan)
                else:
                    self.finds.counts["results"] += 1
                    self._check_result(result, plan)
        finally:
            await executor.close()

    @staticmethod
    def _is_many(plan: list[tuple[str, Any]]) -> bool:
        """Half of the plans answer a question about many candles."""
        return sum(len(str(value)) for _, value in plan) % 2 == 0

    async def _explain(self, executor: ScriptExecutor, plan: list[tuple[str, Any]]) -> None:
        request = EvaluationRequest(candles=_CANDLES, account=AccountView(available_balance=1.0))
        try:
            told = await executor.explain(request)
        except ScriptError as error:
            self.finds.counts["errors"] += 1
            self._check_text(str(error), plan)
            return
        self.finds.counts["explanations"] += 1
        for text in (told.note, *(part for step in told.steps for part in (step.text, step.value))):
            self._check_text(text, plan)
        if any(step.line > 2 or step.depth > 12 for step in told.steps):
            self.finds.add(f"rows that are none: {told.steps}", json.dumps(plan))

    async def _decide(self, executor: ScriptExecutor, plan: list[tuple[str, Any]]) -> None:
        try:
            decisions = await executor.decide(_CANDLES)
        except ScriptError as error:
            self.finds.counts["errors"] += 1
            self._check_text(str(error), plan)
            return
        self.finds.counts["decisions"] += 1
        texts = [error.message for error in decisions.errors]
        for text in (*texts, *decisions.warnings, *decisions.prints, decisions.proof.note):
            self._check_text(text, plan)
        at, code = decisions.at.tolist(), decisions.code.tolist()
        is_whole = at[0] == 0 and sorted(set(at)) == at and at[-1] < len(_CANDLES)
        if not is_whole or max(code) >= len(decisions.actions) or min(code) < 0:
            self.finds.add(f"decisions that are none: {decisions}", json.dumps(plan))
        for action in decisions.actions:
            parse_action(action)

    def _check_result(self, result: ScriptResult, plan: list[tuple[str, Any]]) -> None:
        if not isinstance(result.condition, bool) or len(result.action) > 200:
            self.finds.add(f"a result that is none: {result}", json.dumps(plan))
        for text in (result.action, *result.prints, *result.warnings, *result.marks):
            self._check_text(text, plan)

    def _check_text(self, text: str, plan: list[tuple[str, Any]]) -> None:
        shown = text.replace("\n", "").replace("\u2026", "")
        if any(ord(character) < 32 or character in "\u202e\ud800\x9b" for character in shown):
            self.finds.add(f"text that is not clean: {text!a}", json.dumps(plan))

    # -- plans -------------------------------------------------------------------------------

    def _plan(self) -> list[tuple[str, Any]]:
        """Follow the protocol for a while, then leave it."""
        rng = self._rng
        plan: list[tuple[str, Any]] = []
        stage = rng.choice((0, 1, 1, 2, 2, 2, 2, 3, 3))
        if stage > 0:
            plan += [("write", _frame("Y", _FIELDS["Y"]).hex()), ("read", 1 << 20)]
        if stage > 1:
            plan += [("write", _frame("D", _LOADED).hex()), ("asked", 0)]
            if stage > 2:
                plan += [_TO_EXPLAIN, ("write", _frame("R", _RESULT).hex()), ("asked", 0)]
            elif rng.random() < 0.2:
                plan += [("write", _frame("R", _RESULT).hex()), ("asked", 0)]
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            plan.append(self._step(stage))
        # Then it ends, or stands still for longer than anybody waits.
        return [*plan, ("wait", 20)] if rng.random() < 0.3 else [*plan, ("wait", 0.05)]

    def _step(self, request: int) -> tuple[str, Any]:
        rng = self._rng
        match rng.randrange(12):
            case 0:
                return "exit", rng.randrange(256)
            case 1:
                return "signal", rng.choice((6, 9, 11, 13, 15, 24, 31))
            case 2:
                return "close", rng.randint(0, 1)
            case 3:
                return "wait", rng.choice((0.01, 0.1))
            case 4:
                return "drip", self._noise(request)[:120].hex()
            case 5:
                return "read", rng.choice((1, 100, 1 << 20))
            case _:
                return "write", self._noise(request).hex()

    def _noise(self, request: int) -> bytes:
        rng = self._rng
        expected = rng.choice(("Y", "D", "RM", "W")[request])
        kind = rng.choice((expected, expected, expected, "F", rng.choice("YDRMWFLEXZ\x00")))
        match rng.randrange(14):
            case 0:
                return rng.randbytes(rng.choice((1, 4, 5, 6, 100, 5_000)))
            case 1:
                return struct.pack("<IB", rng.choice((0, 1, 65_536, 65_537, 2**32 - 1)), ord(kind))
            case 2:
                deep = rng.choice((b"[", b'{"a":', b"[[", b'{"request":[')) * rng.choice(
                    (100, 9_000)
                )
                return _framed(kind, deep[:60_000])
            case 3:
                whole = _frame(kind, self._fields(kind, request))
                return whole[: rng.randint(1, len(whole))]
            case 4:
                return _frame(kind, self._fields(kind, request)) * rng.choice((2, 3, 50))
            case 5:
                raw = bytearray(_frame(kind, self._fields(kind, request)))
                for _ in range(rng.randint(1, 4)):
                    raw[rng.randrange(len(raw))] = rng.randrange(256)
                return bytes(raw)
            case 6:
                text = json.dumps(self._fields(kind, request))
                changed = text.replace(
                    "1", rng.choice(("NaN", "1e999", "-Infinity", "9" * 5_000)), 1
                )
                return _framed(kind, changed.encode())
            case _:
                return _frame(kind, self._fields(kind, request))

    def _fields(self, kind: str, request: int) -> dict[str, Any]:
        rng = self._rng
        fields = dict(_FIELDS.get(kind, _RESULT) if rng.random() < 0.9 else _FAULT)
        if rng.random() < 0.8:
            fields["request"] = request
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            fields[rng.choice((*fields, "more"))] = rng.choice(_ODD)
        return fields


def _framed(kind: str, body: bytes) -> bytes:
    return struct.pack("<IB", len(body), ord(kind)) + body


def _frame(kind: str, fields: dict[str, Any]) -> bytes:
    return _framed(kind, json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@contextmanager
def _started_from(program: Path) -> Iterator[None]:
    """Let every worker that starts be this program."""
    own = spawn.BOOT
    spawn.BOOT = program
    try:
        yield
    finally:
        spawn.BOOT = own


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _children() -> set[str]:
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found.update((task / "children").read_text().split())
    return found
