"""Running scripts in tests: candles to run on, and the runner without its process."""

from __future__ import annotations

import importlib
import math
import random
import textwrap
from dataclasses import dataclass, field
from typing import Any

from milo.candles import Candles
from milo.model import Candle
from milo.script.faults import ScriptFault
from milo.script.history import History
from milo.script.protocol import candle_frames, pack_row
from milo.script.runner import Outcome, ScriptRunner

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC."""


def walk(count: int, seed: int = 1, interval_ms: int = HOUR_MS) -> Candles:
    """Return candles of a random walk with trends: every indicator finds something in it."""
    rng = random.Random(seed)
    price = 60_000.0
    rows = []
    for index in range(count):
        drift = 0.002 * math.sin(index / 37) + 0.003 * math.sin(index / 11)
        opened = price
        price = opened * (1 + drift + rng.gauss(0, 0.004))
        high = max(opened, price) * (1 + abs(rng.gauss(0, 0.001)))
        low = min(opened, price) * (1 - abs(rng.gauss(0, 0.001)))
        rows.append((START_MS + index * interval_ms, opened, high, low, price, rng.uniform(5, 50)))
    return Candles.from_rows(rows)


@dataclass(frozen=True)
class Run:
    """What one evaluation gave."""

    outcome: Outcome
    printed: str
    plots: dict[tuple[str, str], float]
    marks: list[str]

    @property
    def condition(self) -> bool:
        return self.outcome.condition


@dataclass
class Script:
    """A script in this process: checked, compiled and run as the worker does it."""

    text: str
    name: str = "my.script"
    inputs: dict[str, float] = field(default_factory=dict)
    max_awaits: int = 200_000
    runner: ScriptRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = ScriptRunner(
            max_awaits=self.max_awaits, recursion=400, c_import=_import_for_compiled_code
        )
        self.checked = self.runner.load(self.name, textwrap.dedent(self.text).encode())
        self.runner.session.inputs = self.inputs

    def run(
        self,
        candles: Candles,
        forming: Candle | None = None,
        *,
        balance: float = 10_000.0,
        positions: list[dict[str, Any]] | None = None,
    ) -> Run:
        """Evaluate once; raises ScriptFault as the runner does."""
        history = History()
        if len(candles):
            # Behind the five bytes of the frame's head.
            history.extend(candle_frames(candles, 0)[5:])
        packed = b"" if forming is None else packed_row(forming)
        outcome = self.runner.evaluate(
            history.base(packed), len(history), (balance, positions or [])
        )
        session = self.runner.session
        return Run(outcome, "".join(session.printed), dict(session.plots), list(session.marks))


def packed_row(candle: Candle) -> bytes:
    """Return a candle as the 48 bytes of the protocol."""
    return pack_row(
        candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume
    )


def run(text: str, candles: Candles | None = None, **inputs: float) -> Run:
    """Load a text and evaluate it once on 60 candles, or on those given."""
    return Script(text, inputs=inputs).run(walk(60) if candles is None else candles)


def fault(text: str, candles: Candles | None = None) -> ScriptFault:
    """Return the fault that loading or running a text raises."""
    try:
        run(text, candles)
    except ScriptFault as found:
        return found
    raise AssertionError("the script was accepted and ran")


def _import_for_compiled_code(name: str, *_: Any) -> Any:
    if name in ("_strptime", "time"):
        return importlib.import_module(name)
    raise ImportError(name)
